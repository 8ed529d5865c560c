//! Merging: defaults, then the job file, then `STRATA_*`, then flags; the later wins.
//!
//! **Invariant:** every setting knows where its value came from.

use crate::failure::{Complaint, Failure, Kind, Place};
use crate::job::document::Document;
use crate::job::keys::{self, ENV_PREFIX, KEYS, Key};
use crate::job::value::Value;
use plan::Refusal;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The registry.
    Default,
    /// The job file.
    File(Place),
    /// A variable of the environment.
    Environment(String),
    /// A flag, as it was written.
    Flag(String),
    /// The verb's own default.
    Verb(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => {
                let (line, _) = place.text.line_and_column(place.span.start);
                write!(f, "{}:{line}", place.text.name)
            }
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Verb(verb) => write!(f, "default of {verb}"),
        }
    }
}

/// A setting with its value, if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Option<Value>,
    /// Where it came from.
    pub origin: Origin,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Merged {
    entries: BTreeMap<&'static str, Entry>,
    /// Where relative paths of the job file start.
    pub job_directory: PathBuf,
}

/// What was given outside the job file.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Variables of the environment; those without our prefix are ignored.
    pub environment: Vec<(String, String)>,
    /// (flag as written, path of the setting, value).
    pub flags: Vec<(String, String, String)>,
}

/// Collects what is wrong, and whether only the command line is to blame.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    complaints: Vec<Complaint>,
    of_flags: usize,
}

impl Faults {
    /// A complaint about a setting, with its origin in front.
    pub fn push(&mut self, origin: &Origin, sentence: impl Into<String>) {
        let sentence = sentence.into();
        let (place, sentence) = match origin {
            Origin::Default | Origin::Verb(_) => (None, sentence),
            Origin::File(place) => (Some(place.clone()), sentence),
            Origin::Environment(by) | Origin::Flag(by) => (None, format!("{by}: {sentence}")),
        };
        self.complaints.push(Complaint { place, sentence });
    }

    fn push_of_flag(&mut self, sentence: String) {
        self.of_flags += 1;
        self.complaints.push(Complaint {
            place: None,
            sentence,
        });
    }

    /// Ends the checking: a failure if there was a complaint.
    pub fn into_result(self) -> Result<(), Failure> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::config(self.complaints);
        if self.of_flags == failure.complaints.len() {
            failure.kind = Kind::Refused(Refusal::Usage);
        }
        Err(failure)
    }
}

impl Merged {
    /// Merges; what is wrong goes to `faults`, and the setting then keeps its earlier value.
    pub fn new(job: Option<Document>, given: &Given, faults: &mut Faults) -> Self {
        let default = |key: &Key| {
            let value = key.default.and_then(|text| key.shape.read_text(text).ok());
            Entry {
                value,
                origin: Origin::Default,
            }
        };
        let entries = KEYS.iter().map(|key| (key.path, default(key))).collect();
        let mut merged = Self {
            entries,
            job_directory: PathBuf::new(),
        };
        if let Some(job) = job {
            faults.complaints.extend(job.complaints);
            merged.job_directory = job.directory;
            for (key, value, place) in job.entries {
                merged.set(key, value, Origin::File(place));
            }
        }
        merged.take_environment(&given.environment, faults);
        merged.take_flags(&given.flags, faults);
        merged
    }

    fn take_environment(&mut self, environment: &[(String, String)], faults: &mut Faults) {
        let mut ours: Vec<&(String, String)> = environment
            .iter()
            .filter(|(variable, _)| variable.starts_with(ENV_PREFIX))
            .collect();
        ours.sort();
        for (variable, text) in ours {
            let Some(key) = KEYS.iter().find(|key| key.variable() == *variable) else {
                let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
                let hint = keys::nearest_word(known.iter().map(String::as_str), variable)
                    .map_or_else(
                        || "`coordinator config --describe` lists the known ones".to_owned(),
                        |near| format!("did you mean {near}?"),
                    );
                faults.complaints.push(Complaint {
                    place: None,
                    sentence: format!("{variable} in the environment sets nothing: {hint}"),
                });
                continue;
            };
            match key.shape.read_text(text) {
                Ok(value) => self.set(key, value, Origin::Environment(variable.clone())),
                Err(wrong) => {
                    faults.complaints.push(Complaint {
                        place: None,
                        sentence: format!("{variable} {wrong}"),
                    });
                }
            }
        }
    }

    fn take_flags(&mut self, flags: &[(String, String, String)], faults: &mut Faults) {
        for (flag, path, text) in flags {
            let Some(key) = keys::find(path) else {
                let hint = keys::nearest(path).map_or_else(
                    || "`coordinator config --describe` lists the settings".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                faults.push_of_flag(format!("{flag}: there is no setting `{path}`: {hint}"));
                continue;
            };
            match key.shape.read_text(text) {
                Ok(value) => self.set(key, value, Origin::Flag(flag.clone())),
                Err(wrong) => faults.push_of_flag(format!("{flag} {wrong}")),
            }
        }
    }

    /// Gives a verb's own default to a setting that nobody gave.
    ///
    /// # Panics
    /// If the registry has no such setting, or refuses the value.
    pub fn prefer(&mut self, path: &str, text: &str, verb: &str) {
        if !self.is_given(path) {
            self.replace(path, text, verb);
        }
    }

    /// Gives a setting another value in the name of a verb.
    ///
    /// # Panics
    /// If the registry has no such setting, or refuses the value.
    pub fn replace(&mut self, path: &str, text: &str, verb: &str) {
        let key =
            keys::find(path).unwrap_or_else(|| panic!("the registry has no setting `{path}`"));
        let value = key
            .shape
            .read_text(text)
            .unwrap_or_else(|wrong| panic!("`{path}` {wrong}"));
        self.set(key, value, Origin::Verb(verb.to_owned()));
    }

    /// Forgets what was given for a setting.
    pub fn reset(&mut self, key: &'static Key) {
        let value = key.default.and_then(|text| key.shape.read_text(text).ok());
        let origin = Origin::Default;
        self.entries.insert(key.path, Entry { value, origin });
    }

    fn set(&mut self, key: &'static Key, value: Value, origin: Origin) {
        self.entries.insert(
            key.path,
            Entry {
                value: Some(value),
                origin,
            },
        );
    }

    /// A setting. Asking for one that the registry lacks is a bug of ours.
    ///
    /// # Panics
    /// If there is no such setting.
    pub fn entry(&self, path: &str) -> &Entry {
        self.entries
            .get(path)
            .unwrap_or_else(|| panic!("the registry has no setting `{path}`"))
    }

    /// All settings in the order of the registry.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &Entry)> {
        KEYS.iter().map(|key| (key, self.entry(key.path)))
    }

    /// Where a setting came from.
    pub fn origin(&self, path: &str) -> &Origin {
        &self.entry(path).origin
    }

    /// Whether someone gave it.
    pub fn is_given(&self, path: &str) -> bool {
        self.entry(path).value.is_some() && self.entry(path).origin != Origin::Default
    }

    /// A text or a word.
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.entry(path).value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A list of texts.
    pub fn texts(&self, path: &str) -> &[String] {
        match &self.entry(path).value {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// A whole number.
    pub fn count(&self, path: &str) -> Option<u64> {
        match self.entry(path).value {
            Some(Value::Count(count)) => Some(count),
            _ => None,
        }
    }

    /// A list of whole numbers.
    pub fn counts(&self, path: &str) -> &[u64] {
        match &self.entry(path).value {
            Some(Value::Counts(counts)) => counts,
            _ => &[],
        }
    }

    /// A number.
    pub fn real(&self, path: &str) -> Option<f64> {
        match self.entry(path).value {
            Some(Value::Real(real)) => Some(real),
            _ => None,
        }
    }

    /// A number of bytes.
    pub fn size(&self, path: &str) -> Option<tensor::ByteSize> {
        match self.entry(path).value {
            Some(Value::Size(size)) => Some(size),
            _ => None,
        }
    }

    /// Numbers by name.
    pub fn weights(&self, path: &str) -> Option<&BTreeMap<String, f64>> {
        match &self.entry(path).value {
            Some(Value::Weights(weights)) => Some(weights),
            _ => None,
        }
    }

    /// True or false.
    pub fn flag(&self, path: &str) -> bool {
        matches!(self.entry(path).value, Some(Value::Flag(true)))
    }

    /// Where relative paths of a setting start: at the job file where they stand in it, else where we are.
    pub fn base(&self, path: &str) -> &Path {
        match self.origin(path) {
            Origin::File(_) => &self.job_directory,
            _ => Path::new(""),
        }
    }
}
