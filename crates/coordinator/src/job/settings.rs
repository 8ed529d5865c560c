//! The settings, typed: what the verbs are given.
//!
//! **Invariant:** plain data, checked together before any verb sees it; nothing in here reads a file.

mod lists;
mod workers;

pub use lists::{Recommend, Rising, Rules, Similar, SimilarIndex};
pub use workers::Workers;

use model::Stopping;
use model::forecast::Forecast;
use model::graph::gcn::{Features, Readout, SelfWeights, Weights};
use model::graph::lightgcn::HeadName;
use model::graph::{Activation, Edges, Normalization};
use model::sgd::{Loss, Optimizer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use tables::TimeRange;
use tensor::{ByteSize, Cycle, Duplicates, Mode, TimeBin};

/// A path or a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Location {
    /// Of the local file system, absolute or relative to where the process runs.
    Path(PathBuf),
    /// With a scheme other than `file`.
    Url(String),
}

impl Location {
    /// Reads a path or a URL; a relative path starts at `base`.
    pub fn new(text: &str, base: &Path) -> Self {
        match text.split_once("://") {
            Some(("file", path)) => Location::Path(tidy(&base.join(path))),
            Some(_) => Location::Url(text.to_owned()),
            None => Location::Path(tidy(&base.join(text))),
        }
    }

    /// The path, if it is local.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Location::Path(path) => Some(path),
            Location::Url(_) => None,
        }
    }

    /// A place below it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Location::Path(path) => Location::Path(path.join(name)),
            Location::Url(url) => Location::Url(format!("{}/{name}", url.trim_end_matches('/'))),
        }
    }

    /// The scheme of a URL.
    pub fn scheme(&self) -> Option<&str> {
        match self {
            Location::Path(_) => None,
            Location::Url(url) => url.split_once("://").map(|(scheme, _)| scheme),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => path.display().fmt(f),
            Location::Url(url) => f.write_str(url),
        }
    }
}

/// Takes `.` and `name/..` out of a path. The base is canonical, so that a link in it cannot mislead.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(tidied.components().next_back(), Some(Component::Normal(_))) =>
            {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    if tidied.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        tidied
    }
}

/// `[input]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// Files, directories, globs and URLs, not yet expanded.
    pub files: Vec<Location>,
    /// The column of user ids; empty where the job does not ingest.
    pub user: String,
    /// The column of product ids; empty where the job does not ingest.
    pub product: String,
    /// The column of times.
    pub time: Option<String>,
    /// The times that are wanted.
    pub range: TimeRange,
    /// The width of a bin.
    pub time_bin: TimeBin,
    /// Where contexts come from.
    pub context: Option<Context>,
    /// The column of values.
    pub value: Option<String>,
    /// The column of events, and what each counts, by name.
    pub event: Option<(String, Vec<(String, f64)>)>,
    /// Whether values below 0 are taken off the others of their pair.
    pub nets: bool,
    /// What becomes of duplicates.
    pub duplicates: Duplicates,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// `[input.user_attributes]`.
    pub user_attributes: Option<AttributeTables>,
    /// `[input.product_attributes]`.
    pub product_attributes: Option<AttributeTables>,
    /// `[input.user_edges]`.
    pub user_edges: Option<EdgeLists>,
    /// `[input.product_edges]`.
    pub product_edges: Option<EdgeLists>,
}

/// `input.context` and `input.context_cycle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// The ids of a column.
    Column(String),
    /// The places of times in a cycle.
    Cycle(Cycle),
}

/// Tables of attributes of a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeTables {
    /// Files, directories, globs and URLs, not yet expanded.
    pub files: Vec<Location>,
    /// The column of ids.
    pub id: String,
    /// The columns to take; empty: all others.
    pub columns: Vec<String>,
    /// Integers that are names.
    pub categorical: Vec<String>,
    /// Levels that an attribute keeps.
    pub max_levels: u32,
    /// Columns that all attributes may take in a model.
    pub max_columns: u32,
}

/// Lists of edges of a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeLists {
    /// Files, directories, globs and URLs, not yet expanded.
    pub files: Vec<Location>,
    /// The column of rows that take.
    pub from: String,
    /// The column of rows that they take from.
    pub to: String,
    /// The column of weights.
    pub weight: Option<String>,
    /// Whether edges lead one way.
    pub directed: bool,
}

/// What becomes of rows that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// The first one ends the ingest.
    Reject,
    /// They are left out and counted by reason.
    Skip,
}

/// `[split]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Split {
    /// Nothing is held out.
    None,
    /// The last whole bins.
    Bins {
        /// Before the test bins.
        validation: u32,
        /// At the end.
        test: u32,
    },
    /// A share of the interactions.
    Hash {
        /// Share for validation.
        validation: f64,
        /// Share for the test.
        test: f64,
        /// The seed.
        seed: u64,
    },
    /// Files of their own.
    Given {
        /// Not yet expanded.
        validation: Vec<Location>,
        /// Not yet expanded.
        test: Vec<Location>,
    },
}

impl Split {
    /// Whether there is a test part.
    pub fn has_test(&self) -> bool {
        match self {
            Split::None => false,
            Split::Bins { test, .. } => *test > 0,
            Split::Hash { test, .. } => *test > 0.0,
            Split::Given { test, .. } => !test.is_empty(),
        }
    }

    /// Whether there is a validation part.
    pub fn has_validation(&self) -> bool {
        match self {
            Split::None => false,
            Split::Bins { validation, .. } => *validation > 0,
            Split::Hash { validation, .. } => *validation > 0.0,
            Split::Given { validation, .. } => !validation.is_empty(),
        }
    }
}

/// `model.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Alternating least squares.
    Als,
    /// Stochastic gradient descent.
    Sgd,
    /// The same with the loss and the negatives of LINE.
    Line,
    /// Singular vectors of the graph.
    Spectral,
    /// The closed-form filter of the graph.
    Filter,
    /// An embedding smoothed over the graph.
    LightGcn,
    /// Layers with weights on the graph.
    Gcn,
    /// Rows of one length that learn labels too.
    Ucmf,
    /// Counts among users of one label.
    Popularity,
}

impl ModelKind {
    /// The word of the job file.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Als => "als",
            ModelKind::Sgd => "sgd",
            ModelKind::Line => "line",
            ModelKind::Spectral => "spectral",
            ModelKind::Filter => "filter",
            ModelKind::LightGcn => "lightgcn",
            ModelKind::Gcn => "gcn",
            ModelKind::Ucmf => "ucmf",
            ModelKind::Popularity => "popularity",
        }
    }
}

/// `model.time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelTime {
    /// Collapsed: a matrix.
    Ignore,
    /// A mode with factors: a tensor.
    Factor,
    /// Collapsed, the older the less.
    Decay,
}

/// `model.preset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Fits the values of the interactions.
    Explicit,
    /// Hu, Koren, Volinsky 2008.
    Hu,
    /// Rendle et al. 2022.
    Rendle,
    /// The CP decomposition.
    Full,
}

/// `model.solver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Whatever is cheapest for a row of its count.
    Auto,
    /// Every row exactly.
    Cholesky,
    /// Every row exactly, short ones by their dual.
    Dual,
    /// Some steps of conjugate gradients a row.
    Cg,
    /// A sweep of block coordinate descent a row.
    Subspace,
}

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The algorithm.
    pub kind: ModelKind,
    /// What becomes of time.
    pub time: ModelTime,
    /// How interactions weigh.
    pub preset: Preset,
    /// The length of a factor row.
    pub rank: u32,
    /// Passes over all modes.
    pub epochs: u32,
    /// Lambda.
    pub regularization: f64,
    /// Whether the job says so, and not the default.
    pub regularization_given: bool,
    /// The power of the count in the regularization.
    pub nu: f64,
    /// The weight of an interaction (`hu`).
    pub alpha: f64,
    /// The weight of an unobserved cell; `None`: that of the preset.
    pub alpha0: Option<f64>,
    /// The scale of logarithmic weights (`hu`); `None`: linear.
    pub epsilon: Option<f64>,
    /// The power of values in weights (`hu`); `None`: linear.
    pub power: Option<f64>,
    /// The standard deviation of the first factors, times the square root of the rank.
    pub init: f64,
    /// The seed of everything random.
    pub seed: u64,
    /// The least relative improvement of an epoch.
    pub tolerance: f64,
    /// How epochs are compared; `None`: the last one is kept.
    pub stopping: Option<Stopping>,
    /// Whether explicit values are fitted relative to their mean.
    pub center: bool,
    /// Whether the time factors stay at ones.
    pub hold_time: bool,
    /// Whether contexts have factors.
    pub factors_context: bool,
    /// Whether these stay at ones.
    pub hold_context: bool,
    /// How strongly neighbouring bins hold together.
    pub time_smoothing: f64,
    /// How the factors of bins go on behind the last of training.
    pub forecast: Forecast,
    /// How rows are solved.
    pub solver: Solver,
    /// Steps of conjugate gradients.
    pub cg_steps: u32,
    /// How strongly users' factors are held to tell their attributes.
    pub user_attribute_weight: f64,
    /// The same of products.
    pub product_attribute_weight: f64,
    /// What holds the maps to attributes, and linear terms.
    pub attribute_regularization: f64,
    /// Whether biases have linear terms of attributes.
    pub linear_attributes: bool,
    /// The age in bins at which an interaction counts half.
    pub half_life: Option<f64>,
    /// Whether all factors are kept at 0 or more.
    pub non_negative: bool,
    /// What descent minimises.
    pub loss: Loss,
    /// What the embeddings of a graph are trained on.
    pub head: HeadName,
    /// Layers of the graph.
    pub layers: u32,
    /// Steps of an epoch on the graph; `None`: those of the head.
    pub batches: Option<u32>,
    /// Negatives for an interaction; `None`: those of the loss.
    pub negatives: Option<u32>,
    /// The power of the count by which negatives are drawn; `None`: that of the loss.
    pub noise_power: Option<f64>,
    /// How long the steps of descent are.
    pub optimizer: Optimizer,
    /// The length of a step; `None`: that of the algorithm.
    pub rate: Option<f64>,
    /// What the rate is multiplied by after every epoch.
    pub decay: f64,
    /// Whether users and products have biases.
    pub biases: bool,
    /// What the graph is divided by.
    pub normalization: Normalization,
    /// Whether nodes of the graph have edges to themselves.
    pub self_loops: bool,
    /// What an interaction weighs in the graph.
    pub edges: Edges,
    /// What an edge between users counts; `None`: as the algorithm says.
    pub user_edge_weight: Option<f64>,
    /// The same between products.
    pub product_edge_weight: Option<f64>,
    /// The longest walks that count.
    pub walk_length: u32,
    /// Columns iterated beyond the rank; `None`: what fills whole vectors.
    pub oversampling: Option<u32>,
    /// The weight of the low-pass part of a filter.
    pub filter_weight: f64,
    /// Whether its linear part counts.
    pub filter_linear: bool,
    /// Of every product so many others speak for it there; 0: all.
    pub filter_nearest: u32,
    /// What similarities of few users are shrunk by then.
    pub filter_shrinkage: f64,
    /// Columns of plain factors that stand for it; 0: it scores itself.
    pub distill: u32,
    /// What the layers of a graph convolution go through.
    pub activation: Activation,
    /// The share of numbers between them that training drops.
    pub dropout: f64,
    /// What of the layers is scored.
    pub readout: Readout,
    /// What a row's own layer is multiplied with.
    pub self_weights: SelfWeights,
    /// Whose matrices layers have.
    pub weights: Weights,
    /// What the first layer reads.
    pub features: Features,
    /// What the cosines of unit rows are divided by.
    pub temperature: f64,
    /// The attribute that is the label of the rows of a mode.
    pub labels: BTreeMap<Mode, String>,
    /// An attribute that a classifier is compared with.
    pub label_checks: BTreeMap<Mode, String>,
    /// What labels weigh beside interactions.
    pub cotraining: f64,
    /// Tables of users' first factors.
    pub initial_users: Vec<Location>,
    /// The same of products.
    pub initial_products: Vec<Location>,
    /// The same of bins.
    pub initial_time: Vec<Location>,
    /// The same of contexts.
    pub initial_contexts: Vec<Location>,
    /// The place of a model whose matrices this one begins with.
    pub initial_weights: Option<Location>,
}

impl Model {
    /// The same as a plain matrix: without time, contexts, an early end, what else is known, and first factors.
    #[must_use]
    pub fn as_matrix(self) -> Self {
        Model {
            time: ModelTime::Ignore,
            factors_context: false,
            half_life: None,
            stopping: None,
            user_attribute_weight: 0.0,
            product_attribute_weight: 0.0,
            user_edge_weight: None,
            product_edge_weight: None,
            linear_attributes: false,
            initial_users: Vec::new(),
            initial_products: Vec::new(),
            initial_time: Vec::new(),
            initial_contexts: Vec::new(),
            ..self
        }
    }

    /// Whether it fits values, to be judged by their errors, and does not rank.
    pub fn fits_values(&self) -> bool {
        match self.kind {
            ModelKind::Als => self.preset == Preset::Explicit,
            ModelKind::Sgd | ModelKind::Line => {
                self.loss == Loss::Squared && self.negatives.unwrap_or(0) == 0
            }
            ModelKind::LightGcn | ModelKind::Gcn | ModelKind::Ucmf => {
                self.head == HeadName::Squared && self.negatives.unwrap_or(0) == 0
            }
            ModelKind::Spectral | ModelKind::Filter | ModelKind::Popularity => false,
        }
    }
}

/// `[output.segments]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segments {
    /// Whose rows are brought together.
    pub of: Mode,
    /// How many segments: the best of these, ascending, each once.
    pub k: Vec<u32>,
    /// Whether lengths of rows do not count.
    pub directions: bool,
    /// The Parquet file; `None`: none is asked for.
    pub file: Option<PathBuf>,
    /// Rows of the sample, about.
    pub sample: u32,
    /// Products that are told of each.
    pub top: u32,
    /// The fewest buyers in a segment of a product that is told to be its own.
    pub least_buyers: u32,
    /// The most iterations.
    pub iterations: u32,
    /// Of the draws.
    pub seed: u64,
}

/// What ties rows of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TiesBy {
    /// Edges where there are some, else purchases.
    Auto,
    /// Edges between them.
    Edges,
    /// Purchases that they share.
    Purchases,
}

/// `[output.influencers]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Influencers {
    /// Who is looked for.
    pub of: Mode,
    /// What ties them.
    pub by: TiesBy,
    /// How many.
    pub top: u32,
    /// The most ties of one who is nearly isolated.
    pub most_ties: u32,
    /// The least share of its ties.
    pub share: f64,
    /// Products to offer through each.
    pub offers: u32,
    /// The Parquet file; `None`: none is asked for.
    pub file: Option<PathBuf>,
}

/// `[output.churn]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Churn {
    /// Bins without a purchase; `None`: those of the test part.
    pub horizon: Option<u32>,
    /// Whether factors are read.
    pub factors: bool,
    /// What holds weights.
    pub regularization: f64,
    /// Users of the sample, about.
    pub sample: u32,
    /// Of the draws.
    pub seed: u64,
    /// The Parquet file; `None`: none is asked for.
    pub file: Option<PathBuf>,
}

/// The form of written factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Parquet.
    Parquet,
    /// Arrow IPC.
    Arrow,
    /// NumPy.
    Npy,
}

/// `[output.export]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Where files go; `None`: none are asked for.
    pub folder: Option<PathBuf>,
    /// Their form.
    pub format: ExportFormat,
}

/// `[output]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    /// The depot of the data set.
    pub data: Option<Location>,
    /// The depot of the model.
    pub model: Option<Location>,
    /// The recommendations.
    pub recommend: Recommend,
    /// What lists must obey.
    pub rules: Rules,
    /// What rises for whom.
    pub rising: Rising,
    /// The rows that are alike.
    pub similar: Similar,
    /// The factors as files.
    pub export: Export,
    /// The HTML file of the report; `None`: none is asked for.
    pub report: Option<PathBuf>,
    /// Rows brought together.
    pub segments: Segments,
    /// Rows through whom others are reached.
    pub influencers: Influencers,
    /// Users whose purchases will stop.
    pub churn: Churn,
}

/// `[cold]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cold {
    /// The share of users that are held out.
    pub users: f64,
    /// The same of products.
    pub products: f64,
    /// How much of them is known, ascending, each once.
    pub history: Vec<u32>,
    /// The most that are held out.
    pub most: u64,
    /// The length of lists.
    pub k: u32,
    /// Of the draw.
    pub seed: u64,
}

/// `[evaluate]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluate {
    /// The lengths of the lists, ascending, each once.
    pub k: Vec<u32>,
    /// Bootstrap replicates; 0: no intervals.
    pub replicates: u32,
}

/// How sealed files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Io {
    /// Mapped.
    Mmap,
    /// Read at offsets.
    Pread,
}

/// The instructions of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Simd {
    /// The widest that the machine has.
    Auto,
    /// AVX-512.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// Plain code.
    Portable,
}

/// `[run]`: the machine. Nothing in here changes a bit of the results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Who computes.
    pub workers: Workers,
    /// The memory of each process.
    pub memory: ByteSize,
    /// Threads of each embedded worker; `None`: the cores, shared out.
    pub threads: Option<u32>,
    /// How sealed files are read.
    pub io: Io,
    /// The instructions of the kernels.
    pub simd: Simd,
    /// The directory of embedded workers; `None`: a temporary one.
    pub scratch: Option<PathBuf>,
    /// A checkpoint every so many epochs.
    pub checkpoint_epochs: u32,
    /// At most this part of the time passes while one is made, in percent.
    pub checkpoint_percent: u32,
    /// An ingest keeps what it has done every so many seconds; 0: never.
    pub ingest_checkpoint_seconds: f64,
    /// The share of tasks that two workers compute, to compare.
    pub verify_fraction: f64,
    /// How many times as long as others a task takes before another worker does it as well; 0: however long.
    pub slow_factor: u64,
    /// The file of the trace.
    pub trace: Option<PathBuf>,
    /// The collector of spans; `None`: nobody.
    pub trace_endpoint: Option<String>,
    /// Where to show the run over HTTP; `None`: nowhere.
    pub http: Option<String>,
    /// The folder of certificates with which daemons are reached; `None`: without TLS.
    pub tls: Option<PathBuf>,
    /// What to log.
    pub log: String,
}

/// `[generate]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generate {
    /// What is drawn.
    pub world: model::generate::Settings,
    /// Whether ids are names.
    pub text_ids: bool,
    /// The first day, from 1970-01-01.
    pub first_day: i32,
    /// Whether every day has a folder.
    pub by_day: bool,
    /// About so many.
    pub rows_per_file: u64,
}

/// `[update]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Update {
    /// Files, directories, globs and URLs, not yet expanded.
    pub files: Vec<Location>,
    /// Deltas that a data set keeps.
    pub deltas_max: u32,
    /// Whether more are compacted; else they are refused.
    pub compact: bool,
    /// Epochs that the model is trained on for.
    pub epochs: u32,
    /// Whether users that the update touches are folded into the model.
    pub fold_in: bool,
}

/// All settings of one invocation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// `[input]`.
    pub input: Input,
    /// `[split]`.
    pub split: Split,
    /// `[model]`.
    pub model: Model,
    /// `[output]`.
    pub output: Output,
    /// `[evaluate]`.
    pub evaluate: Evaluate,
    /// `[cold]`.
    pub cold: Cold,
    /// `[generate]`.
    pub generate: Generate,
    /// `[update]`.
    pub update: Update,
    /// `[plan]`.
    pub plan: Machines,
    /// `[run]`.
    pub run: Run,
}

/// `[plan]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Machines {
    /// Workers, where they are not those of `run`.
    pub workers: Option<u32>,
    /// Bytes a second into each,
    pub network: ByteSize,
    /// and from its disk.
    pub disk: ByteSize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_start_at_their_base() {
        let base = Path::new("/jobs/weekly");
        for (text, expected) in [
            ("../out", "/jobs/out"),
            ("a/./b", "/jobs/weekly/a/b"),
            ("/abs/x", "/abs/x"),
            ("file:///abs/x", "/abs/x"),
            ("s3://bucket/x", "s3://bucket/x"),
        ] {
            assert_eq!(Location::new(text, base).to_string(), expected);
        }
        assert_eq!(
            Location::new("../../x", Path::new("")).to_string(),
            "../../x"
        );
        assert_eq!(Location::new("s3://bucket/x", base).scheme(), Some("s3"));
    }
}
