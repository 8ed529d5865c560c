//! What `advise` found, for people and programs. `docs/advise.md` explains the figures.

use super::report::PageReport;
use super::tables::{aligned, page, right};
use indicatif::HumanCount;
use model::advise::{Answer, Family, Gap};
use model::bootstrap::Interval;
use serde::Serialize;
use std::collections::BTreeMap;

/// A comparison of models.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AdviceReport {
    /// What is compared.
    pub metric: String,
    /// The level at which all differences of a task hold together.
    pub level: f64,
    /// The least gain, as a share, that is worth a model that asks for more.
    pub worth: f64,
    /// Seconds that each model might train.
    pub budget_seconds: f64,
    /// What is said, each sentence with the models whose figures it is tied to.
    pub verdict: Vec<Sentence>,
    /// What is found for new products and for all.
    pub tasks: BTreeMap<String, TaskAdvice>,
    /// All that was compared, in the order of what it asks for.
    pub models: Vec<ModelAdvice>,
    /// The data.
    pub data: DataShape,
    /// Facts about the graph of the training files, as of `inspect --graph`.
    pub graph: serde_json::Value,
    /// The page, where the job asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PageReport>,
    /// Where this stands.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
}

/// A sentence of a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Rows of the table that it speaks of.
    pub models: Vec<String>,
}

/// What is found for a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskAdvice {
    /// Users behind the figures.
    pub users: u64,
    /// What can be said.
    pub answer: Answer,
    /// The model to use: the least that does.
    pub model: String,
    /// What it is one of.
    pub family: Family,
    /// The model with the best figure.
    pub best: String,
    /// Models than which the best is not better by what is worth it and supported.
    pub as_good: Vec<String>,
    /// Models that are worse than popularity, supported by intervals.
    pub worse_than_popularity: Vec<String>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelAdvice {
    /// Its name.
    pub name: String,
    /// What it is one of.
    pub family: Family,
    /// What is set for it beyond the job.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Epochs that were trained.
    pub epochs: u32,
    /// The epoch that was best, where epochs are compared.
    pub best_epoch: Option<u32>,
    /// Seconds of training; `null` where nothing is trained.
    pub seconds: Option<f64>,
    /// The most anonymous memory of this process meanwhile; 0 where an earlier call trained it.
    pub peak_anonymous_bytes: Option<u64>,
    /// Numbers of its tables.
    pub parameters: Option<u64>,
    /// The digest of its factors.
    pub digest: Option<String>,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Its figures, by task.
    pub tasks: BTreeMap<String, TaskFigures>,
}

/// Figures of a model in a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskFigures {
    /// Means over users.
    pub figures: BTreeMap<String, f64>,
    /// Their intervals, each by itself.
    pub intervals: BTreeMap<String, Interval>,
    /// This model less the best, less popularity and less the plain matrix, with intervals that hold for all models at once.
    pub to_best: Option<Gap>,
    /// See `to_best`.
    pub to_popularity: Option<Gap>,
    /// See `to_best`.
    pub to_matrix: Option<Gap>,
    /// Users who count in a slice, and means over them.
    pub slices: BTreeMap<String, (u64, BTreeMap<String, f64>)>,
}

/// The data that models were compared on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataShape {
    /// Users.
    pub users: u64,
    /// Products.
    pub products: u64,
    /// The one by the other.
    pub users_by_product: f64,
    /// Interactions of the training files.
    pub interactions: u64,
    /// Those that models are trained on.
    pub training: u64,
    /// Bins of time.
    pub bins: Option<u32>,
    /// What slices are made by: products that a user had, users that a product has; end exclusive.
    pub slices: BTreeMap<String, (u32, u32)>,
}

impl ModelAdvice {
    /// A row for which nothing is trained, without figures.
    pub fn untrained(name: &str, family: Family) -> Self {
        ModelAdvice {
            name: name.to_owned(),
            family,
            settings: BTreeMap::new(),
            epochs: 0,
            best_epoch: None,
            seconds: None,
            peak_anonymous_bytes: None,
            parameters: None,
            digest: None,
            failed: None,
            tasks: BTreeMap::new(),
        }
    }
}

/// Bytes of a mebibyte.
const MEBIBYTE: f64 = 1_048_576.0;

/// The table and the verdict, for people.
pub fn shown(report: &AdviceReport) -> String {
    let metric = &report.metric;
    let mut parts = Vec::new();
    for (task, advice) in report.tasks.iter().rev() {
        let header = [
            "",
            metric,
            "95 % interval",
            "to the best, all at once",
            "epochs",
            "seconds",
            "MiB",
            "numbers",
        ];
        let mut table = aligned(header.map(str::to_owned).into_iter());
        for model in &report.models {
            let Some(figures) = model.tasks.get(task) else {
                continue;
            };
            let value = figures.figures.get(metric).copied().unwrap_or_default();
            let mark = if model.name == advice.model { " *" } else { "" };
            table.add_row([
                format!("{}{mark}", model.name),
                format!("{value:.4}"),
                figures
                    .intervals
                    .get(metric)
                    .map_or_else(String::new, interval),
                figures.to_best.map_or_else(String::new, |gap| gap_of(&gap)),
                if model.epochs == 0 {
                    String::new()
                } else {
                    model.epochs.to_string()
                },
                model
                    .seconds
                    .map_or_else(String::new, |seconds| format!("{seconds:.1}")),
                model
                    .peak_anonymous_bytes
                    .filter(|&bytes| bytes > 0)
                    .map_or_else(String::new, |bytes| {
                        format!("{:.0}", bytes as f64 / MEBIBYTE)
                    }),
                model
                    .parameters
                    .map_or_else(String::new, |count| HumanCount(count).to_string()),
            ]);
        }
        parts.push(format!(
            "{}, {metric}, means over {} users; * is the least that does\n{}",
            task.replace('_', " "),
            HumanCount(advice.users),
            right(table).trim_fmt()
        ));
    }
    for model in &report.models {
        if let Some(why) = &model.failed {
            parts.push(format!("{} was not trained: {why}", model.name));
        }
    }
    let sentences: Vec<String> = report
        .verdict
        .iter()
        .map(|of| format!("- {}", of.text))
        .collect();
    parts.push(sentences.join("\n"));
    parts.extend(report.report.as_ref().map(page));
    parts.push(format!("all figures: {}", report.file));
    parts.join("\n\n")
}

/// `[.0270, .0333]`.
pub fn interval(of: &Interval) -> String {
    format!("[{:.4}, {:.4}]", of.0, of.1)
}

fn gap_of(gap: &Gap) -> String {
    if gap.difference == 0.0 && gap.interval == Interval(0.0, 0.0) {
        return "the same".to_owned();
    }
    format!(
        "{:+.4} [{:+.4}, {:+.4}]",
        gap.difference, gap.interval.0, gap.interval.1
    )
}
