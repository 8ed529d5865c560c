//! A job file as values with their places.
//!
//! **Invariant:** every key of the file is either a setting or a complaint; nothing is silently ignored.

use crate::failure::{Complaint, Failure, Place, Text};
use crate::job::keys::{self, Key};
use crate::job::value::Value;
use plan::Refusal;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A job file that was read.
#[derive(Debug, Default)]
pub struct Document {
    /// The settings it gives.
    pub entries: Vec<(&'static Key, Value, Place)>,
    /// What is wrong with it.
    pub complaints: Vec<Complaint>,
    /// The directory that its relative paths start from.
    pub directory: PathBuf,
}

impl Document {
    /// Reads a job file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let content = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let directory = path
            .canonicalize()
            .map_err(|error| unreadable(path, &error))?;
        let text = Text {
            name: path.display().to_string(),
            content,
        };
        let mut document = Self::parse(text);
        document.directory = directory
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        Ok(document)
    }

    /// Takes the text of a job file apart.
    pub fn parse(text: Text) -> Self {
        let text = Arc::new(text);
        let mut document = Self::default();
        match DeTable::parse(&text.content) {
            Ok(table) => {
                document.walk("", table.get_ref(), &text);
                // Tables come sorted by key; people read from the top.
                let start =
                    |complaint: &Complaint| complaint.place.as_ref().map(|place| place.span.start);
                document.complaints.sort_by_key(start);
            }
            Err(error) => {
                let at_end = text.content.len()..text.content.len();
                let span = error.span().unwrap_or(at_end);
                let reason = error.message().lines().collect::<Vec<_>>().join(", ");
                document.complain(&text, span, format!("this is not TOML: {reason}"));
            }
        }
        document
    }

    fn walk(&mut self, section: &str, table: &DeTable<'_>, text: &Arc<Text>) {
        for (name, value) in table {
            let path = if section.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{section}.{}", name.get_ref())
            };
            match (keys::find(&path), value.get_ref()) {
                (Some(key), found) => match key.shape.read_toml(found) {
                    Ok(value_read) => {
                        self.entries.push((
                            key,
                            value_read,
                            Place {
                                text: text.clone(),
                                span: value.span(),
                            },
                        ));
                    }
                    Err(wrong) => self.complain(text, value.span(), format!("`{path}` {wrong}")),
                },
                (None, DeValue::Table(inner)) if keys::is_section(&path) => {
                    self.walk(&path, inner, text);
                }
                (None, _) if keys::is_section(&path) => {
                    self.complain(
                        text,
                        value.span(),
                        format!("`{path}` is a section: write `[{path}]` above its keys"),
                    );
                }
                (None, _) => {
                    self.complain(text, name.span(), unknown(section, &path, name.get_ref()));
                }
            }
        }
    }

    fn complain(&mut self, text: &Arc<Text>, span: Range<usize>, sentence: String) {
        self.complaints.push(Complaint {
            place: Some(Place {
                text: text.clone(),
                span,
            }),
            sentence,
        });
    }
}

/// What to say of a key that is no setting.
fn unknown(section: &str, path: &str, name: &str) -> String {
    if section.is_empty() {
        let sections = keys::SECTIONS
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| !known.contains('.'));
        let is_key = keys::KEYS.iter().any(|key| key.name() == name);
        let section = keys::nearest_word(sections.clone(), name).filter(|_| !is_key);
        return match (section, keys::nearest(name)) {
            (Some(near), _) => format!("unknown section `{name}`: did you mean `[{near}]`?"),
            (None, Some(near)) => {
                format!("unknown section or key `{name}`: did you mean `{near}`?")
            }
            (None, None) => {
                let known: Vec<String> = sections.map(|known| format!("[{known}]")).collect();
                format!("unknown section `{name}`: there are {}", known.join(", "))
            }
        };
    }
    match keys::nearest(path) {
        Some(near) if near.rsplit_once('.').is_some_and(|(its, _)| its == section) => {
            let near = near.rsplit('.').next().unwrap_or(near);
            format!("unknown key `{name}` in [{section}]: did you mean `{near}`?")
        }
        Some(near) => format!("unknown key `{name}` in [{section}]: did you mean `{near}`?"),
        None => {
            let known: Vec<String> = keys::KEYS
                .iter()
                .filter(|key| key.section() == section)
                .map(|key| format!("`{}`", key.name()))
                .collect();
            format!(
                "unknown key `{name}` in [{section}]: it knows {}",
                known.join(", ")
            )
        }
    }
}

/// A job file that cannot be read: a wrong argument where it is not there.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let name = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            Refusal::Usage,
            format!("there is no job file {name}: give the path of a TOML file"),
        ),
        io::ErrorKind::InvalidData => Failure::new(
            Refusal::Config,
            format!("the job file {name} is not UTF-8 text"),
        ),
        io::ErrorKind::IsADirectory => Failure::new(
            Refusal::Usage,
            format!("{name} is a directory, not a job file"),
        ),
        _ => Failure::io(format!("the job file {name} cannot be read"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: &[&str]) {
        let document = Document::parse(Text {
            name: "job.toml".into(),
            content: content.into(),
        });
        let found: Vec<String> = document
            .complaints
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected, "{content}");
    }

    #[test]
    fn each_fault_is_said_with_its_place() {
        check("[model]\nrank = 8\n", &[]);
        check(
            "[model]\nrnak = 8\n",
            &["job.toml:2:1: unknown key `rnak` in [model]: did you mean `rank`?"],
        );
        check(
            "[modle]\nrank = 8\n",
            &["job.toml:1:2: unknown section `modle`: did you mean `[model]`?"],
        );
        check(
            "rank = 8\n",
            &["job.toml:1:1: unknown section or key `rank`: did you mean `model.rank`?"],
        );
        check(
            "[input]\nrank = 8\n",
            &["job.toml:2:1: unknown key `rank` in [input]: did you mean `model.rank`?"],
        );
        check(
            "[model]\n  rank = 0\nepochs = \"ten\"\n",
            &[
                "job.toml:2:10: `model.rank` must be a whole number from 1 to 512, not 0",
                "job.toml:3:10: `model.epochs` must be a whole number from 0 to 100000, not \"ten\"",
            ],
        );
        check(
            "[output]\nrecommend = { topp = 3 }\n",
            &["job.toml:2:15: unknown key `topp` in [output.recommend]: did you mean `top`?"],
        );
        check(
            "model = 3\n",
            &["job.toml:1:9: `model` is a section: write `[model]` above its keys"],
        );
    }

    #[test]
    fn broken_toml_is_pointed_at() {
        let document = Document::parse(Text {
            name: "job.toml".into(),
            content: "[model\nrank = 8\n".into(),
        });
        assert_eq!(document.complaints.len(), 1);
        assert!(
            document.complaints[0]
                .to_string()
                .starts_with("job.toml:1:7: this is not TOML"),
            "{document:?}"
        );
    }
}
