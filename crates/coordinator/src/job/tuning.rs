//! What `tune` is given: the settings of every trial, checked before the first begins, and the job file that it ends in.
//!
//! **Invariant:** a trial is an ordinary job whose searched keys are set: whatever a job may not say, no trial says.

use crate::failure::Failure;
use crate::job::check::{self, Needs};
use crate::job::keys::{KEYS, Key, SECTIONS};
use crate::job::merge::{Entry, Faults, Merged, Origin};
use crate::job::search::{self, Dimension, Point};
use crate::job::settings::{Location, Settings};
use crate::job::value::Value;
use model::Stopping;
use model::evaluate::Metric;
use model::tune::{Rung, rungs};
use plan::Refusal;
use std::fmt::Write as _;
use std::path::Path;

/// Where trials keep their checkpoints, below the place of the model.
pub const PLACE: &str = "tune";
/// Keys whose values are places, which start at a job file where they stand in it.
const PLACES: [&str; 20] = [
    "input.files",
    "input.user_attributes.files",
    "input.product_attributes.files",
    "input.user_edges.files",
    "input.product_edges.files",
    "split.validation_files",
    "split.test_files",
    "model.initial_users",
    "model.initial_products",
    "model.initial_time",
    "model.initial_contexts",
    "output.data",
    "output.model",
    "output.recommend.file",
    "output.recommend.folder",
    "output.similar.file",
    "output.export.folder",
    "output.segments.file",
    "output.influencers.file",
    "output.churn.file",
];

/// One point of the space as a job.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The searched keys.
    pub point: Point,
    /// All settings.
    pub settings: Settings,
}

/// A whole search.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// What is searched.
    pub space: Vec<Dimension>,
    /// By what trials are compared.
    pub metric: Metric,
    /// From the lowest.
    pub rungs: Vec<Rung>,
    /// In the order in which they were drawn.
    pub trials: Vec<Trial>,
    merged: Merged,
}

/// The settings of the job that is searched from: as it stands or, where it makes no sense without keys that only the search
/// gives, with the first value of each.
///
/// # Errors
/// Where neither makes sense.
pub fn base(merged: &Merged, needs: Needs, faults: &Faults) -> Result<Settings, Failure> {
    check::settings(merged, needs, faults.clone())
        .or_else(|_| check::settings(&first_of(merged), needs, faults.clone()))
}

/// The job with the first value of every key that it searches.
fn first_of(merged: &Merged) -> Merged {
    let mut first = merged.clone();
    if let Some(Value::Search(space)) = &merged.entry("tune.search").value {
        let values = space
            .iter()
            .filter_map(|dimension| Some((dimension.path, dimension.first()?)));
        for (path, text) in values {
            first.replace(path, &text, "tune");
        }
    }
    first
}

impl Tuning {
    /// The job's search.
    ///
    /// # Errors
    /// Where it has none, or one of its trials is no job that makes sense.
    pub fn of(merged: &Merged, needs: Needs, base: &Settings) -> Result<Self, Failure> {
        let config = |sentence: String| Failure::new(Refusal::Config, sentence);
        let Value::Search(space) = merged.entry("tune.search").value.clone().ok_or_else(|| {
            config("`tune.search` is missing: give the keys of [model] to search, as `[tune.search]` with `rank = [32, 64]`".into())
        })?
        else {
            return Err(Failure::new(Refusal::Bug, "`tune.search` holds no space"));
        };
        if !base.split.has_validation() {
            return Err(config(
                "trials are compared on the validation part, and there is none: give [split] `validation_bins`, \
                 `validation_fraction` or `validation_files`"
                    .into(),
            ));
        }
        let count = |path: &str| merged.count(path).unwrap_or_default();
        let mut faults = Faults::default();
        let fits_values = base.model.fits_values();
        let of_epochs = base.model.stopping.map(|stopping| stopping.metric);
        let metric = match of_epochs.filter(|_| !merged.is_given("tune.metric")) {
            Some(metric) => metric,
            None => check::stopping::metric(merged, "tune.metric", fits_values, &mut faults),
        };
        faults.into_result()?;
        let points = search::points(&space, count("tune.seed"), count("tune.trials") as u32);
        let trial = |point: Point| {
            let mut of_trial = merged.clone();
            for (path, text) in &point {
                of_trial.replace(path, text, "tune");
            }
            let said =
                |failure: Failure| config(format!("{}: {}", shown(&point), failure.message()));
            let mut settings =
                check::settings(&of_trial, needs, Faults::default()).map_err(said)?;
            if settings.model.fits_values() != fits_values {
                return Err(config(format!(
                    "{}: some trials fit values and others rank, and nothing compares them: search one kind",
                    shown(&point)
                )));
            }
            let given = settings.model.stopping;
            settings.model.stopping = Some(Stopping {
                metric,
                patience: given.map_or(settings.model.epochs, |stopping| stopping.patience),
                min_improvement: given.map_or(0.0, |stopping| stopping.min_improvement),
            });
            settings.output.model = settings.output.model.map(|model| model.join(PLACE));
            Ok(Trial { point, settings })
        };
        let trials = points
            .into_iter()
            .map(trial)
            .collect::<Result<Vec<_>, _>>()?;
        let rungs = rungs(
            trials.len() as u32,
            count("tune.eta") as u32,
            count("tune.rungs") as u32,
            base.model.epochs,
        );
        Ok(Tuning {
            space,
            metric,
            rungs,
            trials,
            merged: merged.clone(),
        })
    }

    /// The job with the settings of a trial and as many epochs as were best, below a comment.
    pub fn job(&self, trial: &Trial, epochs: u32, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        for (section, _) in SECTIONS.iter().filter(|(section, _)| *section != "tune") {
            let keys = KEYS.iter().filter(|key| key.section() == *section);
            let lines: Vec<String> = keys
                .filter_map(|key| self.line(key, trial, epochs))
                .collect();
            if !lines.is_empty() {
                let _ = write!(text, "\n[{section}]\n{}\n", lines.join("\n"));
            }
        }
        text
    }

    /// A key of the job file with its value, where it needs one.
    fn line(&self, key: &'static Key, trial: &Trial, epochs: u32) -> Option<String> {
        let Entry { value, origin } = self.merged.entry(key.path);
        let name = key.name();
        if key.path == "model.epochs" {
            return Some(format!(
                "{name} = {epochs}  # the best of {}",
                value.as_ref()?
            ));
        }
        if let Some((_, text)) = trial.point.iter().find(|(path, _)| *path == key.path) {
            let value = key.shape.read_text(text).ok()?;
            let dimension = self
                .space
                .iter()
                .find(|dimension| dimension.path == key.path)?;
            return Some(format!("{name} = {value}  # of {}", dimension.choices));
        }
        let in_file = matches!(origin, Origin::File(_));
        let of_machine = key.section() == "run" && !in_file;
        // The epochs are known now.
        let compares = [
            "model.patience",
            "model.stop_metric",
            "model.min_improvement",
        ];
        if *origin == Origin::Default || of_machine || compares.contains(&key.path) {
            return None;
        }
        let value = value.clone()?;
        let value = match value {
            Value::Text(text) if PLACES.contains(&key.path) && !in_file => {
                Value::Text(absolute(&text))
            }
            Value::Texts(texts) if PLACES.contains(&key.path) && !in_file => {
                Value::Texts(texts.iter().map(|text| absolute(text)).collect())
            }
            value => value,
        };
        Some(format!("{name} = {value}"))
    }
}

/// `rank = 64, nu = 1`.
pub fn shown(point: &Point) -> String {
    let one =
        |(path, text): &(&str, String)| format!("{} = {text}", path.trim_start_matches("model."));
    point.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn absolute(text: &str) -> String {
    match Location::new(text, Path::new("")) {
        Location::Url(url) => url,
        Location::Path(path) => {
            let found = std::path::absolute(&path).unwrap_or(path);
            found.display().to_string()
        }
    }
}
