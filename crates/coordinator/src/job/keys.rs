//! The registry: every setting once, with its type, its default and what it is for.
//!
//! **Invariant:** whatever names a setting (the job file, `STRATA_*`, flags, `--help`, `config`,
//! `docs/settings.md`, the suggestions for a misspelt key) reads it from [`KEYS`].

use crate::job::value::Shape;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands in the job file, as in `model.rank`.
    pub path: &'static str,
    /// What values it takes.
    pub shape: Shape,
    /// The value that holds where none is given, as it would be written on a command line.
    pub default: Option<&'static str>,
    /// The flag that sets it, where there is a short one (of keys of `[generate]` with that verb alone); `--set PATH=VALUE`
    /// sets any.
    pub flag: Option<&'static str>,
    /// What it does, and what holds where neither value nor default is given.
    pub help: &'static str,
}

impl Key {
    /// The table of the job file, as in `model` or `output.recommend`.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// The name inside its table.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// The variable of the environment: `STRATA_MEMORY` for `run.memory`, `STRATA_MODEL_RANK` for `model.rank`.
    pub fn variable(&self) -> String {
        let path = self.path.strip_prefix("run.").unwrap_or(self.path);
        format!(
            "{ENV_PREFIX}{}",
            path.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// What the variables of the environment begin with.
pub const ENV_PREFIX: &str = "STRATA_";

/// The sections in the order of a job file, each with its purpose.
pub const SECTIONS: &[(&str, &str)] = &[
    ("input", "What to read."),
    (
        "input.user_attributes",
        "What is known of users besides: one row a user, with null where it is not known. Text and booleans become levels, \
         numbers are standardized.",
    ),
    ("input.product_attributes", "The same of products."),
    (
        "input.user_edges",
        "Edges between users: who follows or knows whom, one row an edge. Ids without an interaction are left out and counted. What \
         uses them: docs/graphs.md.",
    ),
    (
        "input.product_edges",
        "The same between products: what belongs together, replaces or is bought with what.",
    ),
    (
        "split",
        "What is held out. By bins, by hash or by given files, as the keys say; without keys nothing is held out.",
    ),
    ("model", "What to train."),
    (
        "output",
        "Where the results go: a path, or a URL (`file://`, `s3://`, `gs://`, `az://`).",
    ),
    (
        "output.recommend",
        "The products to recommend to every user; without `file` or `folder` none are written.",
    ),
    (
        "output.rules",
        "What lists may hold, whatever the model scores (docs/recommend.md): `recommend` obeys it, and `evaluate` tells what it costs.",
    ),
    (
        "output.rising",
        "Which products rise for whom, by a model with factors of time; `recommend` writes them where `file` is named.",
    ),
    (
        "output.similar",
        "The products that are like each product, or the users like each user.",
    ),
    (
        "output.export",
        "The factors as files for other programs; without `folder` none are written.",
    ),
    (
        "output.report",
        "The report: one HTML file to look at (docs/report.md).",
    ),
    (
        "output.segments",
        "Users, or products, brought together by their factors (docs/segments.md); `run` does it where `file` is named.",
    ),
    (
        "output.influencers",
        "Users, or products, through whom others are reached who are tied to nobody else (docs/segments.md); `run` looks for them where `file` is \
         named.",
    ),
    (
        "output.churn",
        "Users whose purchases will stop (docs/churn.md); `run` scores them where `file` is named.",
    ),
    ("evaluate", "How held-out interactions are scored."),
    (
        "update",
        "What `coordinator update` adds to a data set (docs/update.md). Other verbs do not read it.",
    ),
    (
        "advise",
        "What `coordinator advise` compares (docs/advise.md). Other verbs do not read it.",
    ),
    (
        "cold",
        "How `coordinator cold` holds out users and products as if they were new (docs/cold-start.md). Other verbs do not read it.",
    ),
    (
        "tune",
        "What `coordinator tune` searches (docs/tune.md). Other verbs do not read it.",
    ),
    (
        "plan",
        "The machines that `coordinator plan` plans for. Other verbs do not read it.",
    ),
    (
        "generate",
        "The purchases that `coordinator generate` makes (docs/generate.md). Other verbs do not read it.",
    ),
    (
        "run",
        "The machine. Nothing in this section changes a bit of the results.",
    ),
];

const fn text(path: &'static str, help: &'static str) -> Key {
    Key {
        path,
        shape: Shape::Text,
        default: None,
        flag: None,
        help,
    }
}

const fn texts(path: &'static str, help: &'static str) -> Key {
    Key {
        path,
        shape: Shape::Texts,
        default: None,
        flag: None,
        help,
    }
}

const fn choice(
    path: &'static str,
    known: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Key {
    Key {
        path,
        shape: Shape::Choice(known),
        default: Some(default),
        flag: None,
        help,
    }
}

const fn count(
    path: &'static str,
    least: u64,
    most: u64,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key {
        path,
        shape: Shape::Count { least, most },
        default,
        flag: None,
        help,
    }
}

const fn real(
    path: &'static str,
    least: f64,
    most: f64,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key {
        path,
        shape: Shape::Real { least, most },
        default,
        flag: None,
        help,
    }
}

const fn with_flag(key: Key, flag: &'static str) -> Key {
    Key {
        flag: Some(flag),
        ..key
    }
}

const fn with_default(key: Key, default: &'static str) -> Key {
    Key {
        default: Some(default),
        ..key
    }
}

const MANY: u64 = i64::MAX as u64;

/// Every setting, in the order of a job file.
pub const KEYS: &[Key] = &[
    texts(
        "input.files",
        "Parquet files, directories of them (with all that lies below, as `day=2026-01-01/part-0.parquet`), globs (`*`, `?`, `**`), or URLs (`s3://`, `gs://`, `az://`, `https://`; one that ends with a slash is a directory). Needed to ingest.",
    ),
    text(
        "input.user",
        "The column of user ids: integers, text or bytes. Needed to ingest.",
    ),
    text(
        "input.product",
        "The column of product ids: integers, text or bytes. Needed to ingest.",
    ),
    text(
        "input.time",
        "The column of times: dates, timestamps, or integers (seconds since 1970 UTC). Folders may tell it instead, as `day=2026-01-01`. Absent: no time.",
    ),
    choice(
        "input.time_bin",
        &["hour", "day", "week", "month", "quarter", "none"],
        "week",
        "The width of a bin of time, in UTC; weeks start on Monday. Read only where `time` names a column.",
    ),
    text(
        "input.from",
        "Rows before this time are left out: a day (YYYY-MM-DD, in UTC), or a number where times are integers. Folders and row groups without a \
         wanted row are not read.",
    ),
    text(
        "input.until",
        "Rows from this time on are left out: `from = \"2025-01-01\"` and `until = \"2026-01-01\"` leave a year.",
    ),
    text(
        "input.context",
        "The column of contexts, as the store or the channel: integers, text or bytes, at most 65,536 of them. Absent: no context, \
         unless `context_cycle` makes one.",
    ),
    choice(
        "input.context_cycle",
        &["none", "hour-of-day", "day-of-week", "month-of-year"],
        "none",
        "A context from the times instead of a column: the place of each in a cycle, in UTC. Needs `time` and a `time_bin`.",
    ),
    text(
        "input.value",
        "The column of values: integers, floats or decimals. Absent: every row counts 1.",
    ),
    text(
        "input.event",
        "The column of events, text or integers: what a row is, a view or a purchase. Needs `event_weights`.",
    ),
    Key {
        path: "input.event_weights",
        shape: Shape::Weights,
        default: None,
        flag: None,
        help: "What each event counts: values (1 without a column of values) are multiplied by it before duplicates are combined. \
               An event that is not named is a bad row.",
    },
    choice(
        "input.negative",
        &["refuse", "net"],
        "refuse",
        "Values below 0, as of returns, for models that weigh by values: bad rows, or `net`: taken off the other values of the pair \
         by every view; pairs that come to 0 or less are left out. Needs `duplicates` = \"sum\".",
    ),
    choice(
        "input.duplicates",
        &["sum", "max", "last", "count"],
        "count",
        "What becomes of several rows of one user, product, bin and context. `count` counts rows (by their events' weights) and reads no values.",
    ),
    choice(
        "input.on_bad_row",
        &["reject", "skip"],
        "reject",
        "Null ids, values that are not finite or not allowed, unreadable times: fail at the first, or leave out and count.",
    ),
    texts(
        "input.user_attributes.files",
        "Parquet files, directories of them, or globs. Without them there are no attributes of users.",
    ),
    text(
        "input.user_attributes.id",
        "The column of user ids in them. Absent: the name that `input.user` gives.",
    ),
    texts(
        "input.user_attributes.columns",
        "The columns to take. Absent: all others.",
    ),
    texts(
        "input.user_attributes.categorical",
        "Columns of integers that are names (codes, numbers of shops) and not quantities.",
    ),
    count(
        "input.user_attributes.max_levels",
        1,
        65_536,
        Some("100"),
        "Levels that an attribute keeps, the most frequent ones; all rarer ones together become one more.",
    ),
    count(
        "input.user_attributes.max_columns",
        1,
        65_536,
        Some("512"),
        "Columns that all attributes may take: one a number, one a level. More are refused.",
    ),
    texts(
        "input.product_attributes.files",
        "Parquet files, directories of them, or globs. Without them there are no attributes of products.",
    ),
    text(
        "input.product_attributes.id",
        "The column of product ids in them. Absent: the name that `input.product` gives.",
    ),
    texts(
        "input.product_attributes.columns",
        "The columns to take. Absent: all others.",
    ),
    texts(
        "input.product_attributes.categorical",
        "Columns of integers that are names (codes, numbers of shops) and not quantities.",
    ),
    count(
        "input.product_attributes.max_levels",
        1,
        65_536,
        Some("100"),
        "Levels that an attribute keeps, the most frequent ones; all rarer ones together become one more.",
    ),
    count(
        "input.product_attributes.max_columns",
        1,
        65_536,
        Some("512"),
        "Columns that all attributes may take: one a number, one a level. More are refused.",
    ),
    texts(
        "input.user_edges.files",
        "Parquet files, directories of them, or globs. Without them there are no edges between users.",
    ),
    with_default(
        text(
            "input.user_edges.from",
            "The column of the users that take from others: of those who follow.",
        ),
        "from",
    ),
    with_default(
        text(
            "input.user_edges.to",
            "The column of the users that they take from: of those who are followed.",
        ),
        "to",
    ),
    text(
        "input.user_edges.weight",
        "The column of weights, 0 or more, added up where an edge stands several times. Absent: each edge weighs 1, however often it \
         stands.",
    ),
    Key {
        path: "input.user_edges.directed",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Whether edges lead one way, from `from` to `to`. Else each is also one back, and need stand only once.",
    },
    texts(
        "input.product_edges.files",
        "Parquet files, directories of them, or globs. Without them there are no edges between products.",
    ),
    with_default(
        text(
            "input.product_edges.from",
            "The column of the products that take from others: of those who follow.",
        ),
        "from",
    ),
    with_default(
        text(
            "input.product_edges.to",
            "The column of the products that they take from: of those who are followed.",
        ),
        "to",
    ),
    text(
        "input.product_edges.weight",
        "The column of weights, 0 or more, added up where an edge stands several times. Absent: each edge weighs 1, however often it \
         stands.",
    ),
    Key {
        path: "input.product_edges.directed",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Whether edges lead one way, from `from` to `to`. Else each is also one back, and need stand only once.",
    },
    count(
        "split.validation_bins",
        0,
        100_000,
        None,
        "Whole bins before the test bins that are held out for validation.",
    ),
    count(
        "split.test_bins",
        0,
        100_000,
        None,
        "The last whole bins, held out for the test. A partial last bin is dropped.",
    ),
    real(
        "split.validation_fraction",
        0.0,
        0.9,
        None,
        "The share of interactions, by hash, held out for validation.",
    ),
    real(
        "split.test_fraction",
        0.0,
        0.9,
        None,
        "The share of interactions, by hash, held out for the test.",
    ),
    texts(
        "split.validation_files",
        "Files whose rows are the validation part.",
    ),
    texts("split.test_files", "Files whose rows are the test part."),
    count(
        "split.seed",
        0,
        MANY,
        Some("0"),
        "The seed of a split by hash.",
    ),
    choice(
        "model.kind",
        &[
            "als",
            "sgd",
            "line",
            "spectral",
            "filter",
            "lightgcn",
            "gcn",
            "ucmf",
            "popularity",
        ],
        "als",
        "The algorithm: `als` solves, `sgd` descends on samples, `line` is `sgd` with the loss and the negatives of LINE, \
         `spectral` takes the singular vectors of the graph of users and products, `filter` scores by what this graph lets \
         pass (GF-CF), `lightgcn` learns an embedding that is smoothed over \
         this graph, `gcn` one that goes through layers with weights on it, `ucmf` rows of one length that may learn to tell labels too, `popularity` counts among users of one label (`user_label`).",
    ),
    choice(
        "model.time",
        &["ignore", "factor", "decay"],
        "ignore",
        "`ignore` factorizes users x products, `factor` users x products x time, `decay` users x products with interactions \
         that count less the older they are.",
    ),
    real(
        "model.half_life",
        1e-3,
        1e6,
        None,
        "`time = \"decay\"`: the age at which an interaction counts half, in bins of `input.time_bin`. Ages count from the last \
         bin of training. Needed there.",
    ),
    choice(
        "model.preset",
        &["explicit", "hu", "rendle", "full"],
        "hu",
        "How interactions weigh: `explicit` fits values, `hu` and `rendle` fit implicit feedback against all unobserved cells, \
         `full` fits values and zeros in all other cells (CP decomposition).",
    ),
    count(
        "model.rank",
        1,
        512,
        Some("64"),
        "The length of a factor row.",
    ),
    count(
        "model.epochs",
        0,
        100_000,
        Some("10"),
        "Passes over all modes; of `spectral` and `filter`, iterations. `lightgcn`, `gcn` and `ucmf` need more than the others: 20 to 50. 0 is for \
         `gcn` with `initial_weights`.",
    ),
    real(
        "model.regularization",
        0.0,
        1e12,
        None,
        "Lambda. `als` holds row i by lambda times (its count)^nu, descent its rows at every sample. Absent: 0.003, in \
         a tensor of implicit feedback 0.003 by its bins and contexts (with contexts 0.0001 at the most), 1e-6 for the preset `full`, and 0.03 for `sgd` and `line`. `lightgcn` and `gcn` hold the embedding of row i by lambda times its degree. Absent: 0.01.",
    ),
    real(
        "model.nu",
        0.0,
        2.0,
        Some("1.0"),
        "The power of the count in the regularization: 1 scales by frequency, 0 is plain.",
    ),
    real(
        "model.alpha",
        0.0,
        1e12,
        Some("0.5"),
        "`hu`: the weight of an interaction is alpha times its value, above that of an unobserved cell.",
    ),
    real(
        "model.alpha0",
        0.0,
        1e12,
        None,
        "The weight of an unobserved cell. Absent: 1 for `hu`, 0.1 for `rendle`, either by the bins and contexts in a tensor; `explicit` has none, `full` always 1. 1 of all pairs in `lightgcn` and `gcn`, 0.3 in `ucmf`.",
    ),
    real(
        "model.epsilon",
        1e-12,
        1e12,
        None,
        "`hu`: weights are alpha log(1 + value / epsilon). Absent: they are linear.",
    ),
    real(
        "model.power",
        0.01,
        10.0,
        None,
        "`hu`: weights are alpha times this power of the value; below 1 it tames long tails. Absent: they are linear, or as `epsilon` says.",
    ),
    real(
        "model.init",
        1e-12,
        1e3,
        Some("0.1"),
        "The standard deviation of the first factors, times the square root of the rank.",
    ),
    count(
        "model.seed",
        0,
        MANY,
        Some("0"),
        "The seed of everything random.",
    ),
    real(
        "model.tolerance",
        0.0,
        1.0,
        Some("0.0"),
        "Training ends early when an epoch lowers the objective by a smaller share. 0: never.",
    ),
    count(
        "model.patience",
        0,
        100_000,
        Some("0"),
        "Early stopping: training ends after so many epochs without a better one on the validation part, and the model of the \
         best is kept. 3 to 5 is usual; `epochs` is then a bound. 0: all epochs are trained and the last is kept.",
    ),
    text(
        "model.stop_metric",
        "By what epochs are compared: `recall@K`, `ndcg@K`, `map@K` or `precision@K` of new products on a sample of users \
         (with `all_products ` before it: of all), `rmse` or `mae` of values. Absent: `ndcg@20`, of values `rmse`.",
    ),
    real(
        "model.min_improvement",
        0.0,
        1.0,
        Some("0.0"),
        "An epoch counts as better only by more than this share of the best: 0.002 ends long climbs that are hardly worth their \
         time.",
    ),
    choice(
        "model.solver",
        &["auto", "cholesky", "dual", "cg", "subspace"],
        "cholesky",
        "How a row is solved. Exactly: `cholesky`, or `dual` where it has fewer interactions than columns. Nearly, from its last factors: `cg`, `subspace`. `auto` takes the cheapest.",
    ),
    count(
        "model.cg_steps",
        1,
        100,
        Some("3"),
        "Steps of conjugate gradients for each row and epoch.",
    ),
    real(
        "model.user_attribute_weight",
        0.0,
        1e12,
        Some("0.0"),
        "`als`: how strongly users' factors are held to tell their attributes (lambda 1). 0: attributes are not used.",
    ),
    real(
        "model.product_attribute_weight",
        0.0,
        1e12,
        Some("0.0"),
        "`als`: the same of products.",
    ),
    real(
        "model.attribute_regularization",
        1e-12,
        1e12,
        Some("0.01"),
        "`als`: the maps from factors to an attribute are held by this times the count of rows that have it (lambda 2), linear terms \
         by this times what regularizes the biases of these rows.",
    ),
    Key {
        path: "model.linear_attributes",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "`als` with `biases`: what is known of a user or a product adds a term an attribute to his bias, so that rows with few \
               interactions, and those with none, are scored by what they are. Held by `attribute_regularization`.",
    },
    real(
        "model.time_smoothing",
        0.0,
        1e12,
        Some("0.0"),
        "How strongly the factors of a bin hold on to those of the bins beside it: counts times the squared distance of neighbours. The interactions of a bin are its scale. 0: not at all.",
    ),
    choice(
        "model.forecast",
        &["last", "drift", "seasonal"],
        "last",
        "The factors of bins that training has not seen: those of its last bin, those that go on in the mean step from its first bin to its last, or those of a `period` before.",
    ),
    count(
        "model.period",
        1,
        100_000,
        None,
        "Bins after which the seasons come again, for the forecast \"seasonal\": 52 for a year of weeks.",
    ),
    Key {
        path: "model.non_negative",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "`als`: keeps all factors at 0 or more, so that a row is a sum of parts that people can name. Needs the solver `cholesky`.",
    },
    choice(
        "model.context",
        &["ignore", "factor"],
        "ignore",
        "`ignore` collapses contexts, `factor` gives them factors of their own: one more mode of the tensor. Lists are for the mean \
         context, unless `output.recommend.context` names one.",
    ),
    Key {
        path: "model.hold_context",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Keeps the context factors at ones, for comparisons.",
    },
    Key {
        path: "model.hold_time",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Keeps the time factors at ones, for comparing the tensor with the matrix.",
    },
    Key {
        path: "model.center",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "`explicit`: fit the distance of values from their mean over the training part.",
    },
    choice(
        "model.loss",
        &[
            "squared",
            "logistic",
            "bernoulli-poisson",
            "poisson",
            "bpr",
            "all-pairs",
        ],
        "logistic",
        "`sgd`: what is minimised. `squared` fits values, `bpr` ranks; the two of Poisson cover every cell with factors of 0 or more. \
         `lightgcn`, `gcn`, `ucmf`: `all-pairs`, which is their own where the key is absent and holds scores of interactions to 1 and those of all \
         pairs to 0, or `bpr`, `logistic` or `squared`.",
    ),
    count(
        "model.negatives",
        0,
        1000,
        None,
        "`sgd`, `line`: negatives drawn for an interaction. Absent: 5 for `line`, 4 for `logistic`, 1 for `bpr`, else none. `lightgcn`, \
         `gcn`, `ucmf`: of the losses `logistic` and `squared`, up to 100, of which each costs a pass over the interactions. Absent: 1 and none.",
    ),
    real(
        "model.noise_power",
        0.0,
        2.0,
        None,
        "`sgd`, `line`: products are drawn in proportion to this power of their count. Absent: 0.75 for `line`, 0.5 for `logistic`, else 0. \
         `lightgcn`, `gcn`, `ucmf`: the same with their negatives, of which each product is one about once at 0. Absent: 0.",
    ),
    choice(
        "model.optimizer",
        &["adagrad", "sgd"],
        "adagrad",
        "`sgd`, `line`: `adagrad` shortens the steps of a row as its gradients add up, `sgd` does not.",
    ),
    real(
        "model.rate",
        1e-12,
        1e6,
        None,
        "`sgd`, `line`, `lightgcn`, `gcn`, `ucmf`: the length of a step. Absent: 0.1; of the graph's and of `ucmf`, whose steps are Adam's, 0.05 for `all-pairs` and `squared`, and 0.01 for `bpr`, `logistic` and where `gcn` reads attributes alone.",
    ),
    real(
        "model.decay",
        1e-6,
        1.0,
        Some("1.0"),
        "`sgd`, `line`, `lightgcn`, `gcn`, `ucmf`: what the rate is multiplied by after every epoch. Below 1, steps end short enough to settle: 0.98 of a hundred epochs ends at an eighth.",
    ),
    count(
        "model.layers",
        0,
        4,
        None,
        "`lightgcn`, `gcn`: how far an embedding is smoothed over the graph. 1 averages with neighbours, 2 with users of the same products, and so \
         on; 0 is plain factorization by the same steps. Every layer costs two passes over the data forwards and two back. Absent: 2; of `gcn`, which has 1 to 4 (each averages once more: a \
         fourth seldom helps), 1.",
    ),
    count(
        "model.batches",
        1,
        10_000,
        None,
        "`lightgcn`, `gcn`, `ucmf`: parts of an epoch, dealt by hash, each with a step and all layers of its own: more of them learn more in an epoch, \
         which takes longer in the same measure. Absent: 20 for `bpr` and `logistic`, 4 for `all-pairs` and `squared`.",
    ),
    choice(
        "model.activation",
        &["identity", "relu", "tanh"],
        "identity",
        "`gcn`: what each layer but the last goes through, number by number. `identity` leaves a linear model.",
    ),
    real(
        "model.dropout",
        0.0,
        0.99,
        Some("0.0"),
        "`gcn`: the share of numbers between layers that every step of training drops, drawn anew each time; what is scored has all of them.",
    ),
    choice(
        "model.readout",
        &["last", "mean"],
        "mean",
        "`gcn`: what is scored: the last layer, or the mean of all layers and of what the first one reads, as in `lightgcn`. The mean keeps what \
         a row has of its own, however many layers average.",
    ),
    choice(
        "model.self_weights",
        &["tied", "free"],
        "tied",
        "`gcn`: a layer multiplies a row's own numbers with the matrix of its neighbours (`tied`), or with one of their own (`free`).",
    ),
    choice(
        "model.weights",
        &["separate", "shared"],
        "separate",
        "`gcn`: users and products have matrices of their own, or the same.",
    ),
    choice(
        "model.features",
        &["embeddings", "attributes", "both"],
        "embeddings",
        "`gcn`: what the first layer reads: a learnt row for each user and product, their attributes through a learnt matrix, or the \
         sum of both.",
    ),
    choice(
        "model.normalization",
        &["none", "symmetric", "random-walk"],
        "none",
        "`spectral`, `lightgcn`, `gcn`: what the graph is divided by: nothing, the roots of the degrees on both \
         sides (where the key is absent, `lightgcn` and `gcn`), or the degrees of users; of layers, of the rows that they make, which are means of their neighbours then.",
    ),
    Key {
        path: "model.self_loops",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "`lightgcn`, `gcn`: whether every user and product has an edge to itself in the graph that layers go along, A + I, which counts \
               in degrees, too.",
    },
    choice(
        "model.edges",
        &["binary", "values"],
        "binary",
        "`spectral`, `filter`, `lightgcn`, `gcn`: whether an interaction weighs 1 or its value in the graph. Degrees are sums of weights.",
    ),
    real(
        "model.temperature",
        1e-3,
        1e3,
        Some("1.0"),
        "`ucmf`: what the cosine of a user's row and a product's is divided by to be a score, beside the product's bias: the lower, the further \
         scores reach, and the more a few near neighbours count.",
    ),
    text(
        "model.user_label",
        "`ucmf`: the attribute of users, one of levels, that a classifier learns to tell from their rows, as the rows learn to let it. Users \
         without it do not count. Absent: none.",
    ),
    text(
        "model.product_label",
        "The same of products, as their department.",
    ),
    text(
        "model.user_label_check",
        "`ucmf`: an attribute of users with labels that are not taught, but which users without `user_label` are compared with; the share \
         that is right is among the metrics of an epoch. Absent: none.",
    ),
    text("model.product_label_check", "The same of products."),
    real(
        "model.cotraining",
        0.0,
        1e6,
        Some("0.01"),
        "`ucmf`: what the labels of a mode weigh together, beside the interactions of an epoch together. 0: the classifier learns from rows that \
         know nothing of it, which tells what they know of labels anyway.",
    ),
    real(
        "model.user_edge_weight",
        0.0,
        1e6,
        None,
        "What an edge of [input.user_edges], times its weight, counts. `spectral`, `lightgcn`, `gcn`: beside an interaction, in products with the graph and in degrees; absent: 1. \
         `als`: how strongly users are held to the mean of those they have edges to; absent: 0. 0: edges are not used.",
    ),
    real(
        "model.product_edge_weight",
        0.0,
        1e6,
        None,
        "The same of [input.product_edges].",
    ),
    count(
        "model.walk_length",
        1,
        3,
        Some("1"),
        "`spectral`: walks on the graph up to this length count: A, A + A^2, A + A^2 + A^3. Without edges between users or between \
         products, these never meet after two steps, so 2 scores as 1; 3 weighs strong directions more.",
    ),
    count(
        "model.oversampling",
        0,
        511,
        None,
        "`spectral`, `filter`: columns that are iterated beyond the rank, so that the last ones converge too. Absent: 8, and what fills the last \
         vector of 16.",
    ),
    real(
        "model.filter_weight",
        0.0,
        1e6,
        Some("0.3"),
        "`filter`: the weight of the low-pass part, the `rank` strongest directions of the graph, beside the linear part. 0: the linear \
         part alone. More where interactions are few.",
    ),
    Key {
        path: "model.filter_linear",
        shape: Shape::Flag,
        default: Some("true"),
        flag: None,
        help: "`filter`: whether the linear part counts: products by the users that they share. Its scores are made from the data set each \
               time; without it the model is plain factors.",
    },
    count(
        "model.filter_nearest",
        0,
        1000,
        Some("0"),
        "`filter`: of every product only so many others, the nearest by the cosine of their users, speak for it in the linear part: with \
         `filter_weight` = 0 that is item kNN. 50 to 200 are usual. 0: all speak, by the filter's own weights.",
    ),
    real(
        "model.filter_shrinkage",
        0.0,
        1e6,
        Some("0"),
        "`filter`: added to the denominator of the cosine where only the nearest count, in users: pairs that few users share weigh less.",
    ),
    count(
        "model.distill",
        0,
        512,
        Some("0"),
        "`filter`: columns of plain factors that are fitted to the filter's scores of all pairs, the best of so many, and then scored instead of \
         them: such a model needs no data set. 0: the filter scores itself.",
    ),
    texts(
        "model.initial_products",
        "Parquet files with products' first factors, as of an earlier model: a column of ids (named as in the data, or `id`) and one of lists, or one a factor. Products without a row start as ever.",
    ),
    text(
        "model.initial_weights",
        "`gcn`: the place of an earlier model of the kind, whose matrices of layers and attributes this one begins with. With `epochs` = 0 and \
         `features` = \"attributes\" nothing is trained: users and products that the earlier model never saw are embedded from their attributes \
         and neighbours.",
    ),
    texts(
        "model.initial_users",
        "The same of users, for `lightgcn`, `gcn` and descent (`sgd`, `line`), and for solvers of `als` that go on from last factors (`cg`, `subspace`, and `auto` above rank 32).",
    ),
    texts(
        "model.initial_time",
        "The same of bins of time, each told by a date or timestamp in it or by its number from 0 (with `time_bin = \"none\"` by \
         the number that the data have). Bins without a row start at ones.",
    ),
    texts(
        "model.initial_contexts",
        "`als`: the same of contexts, told by their ids, or by their place in the cycle from 0.",
    ),
    Key {
        path: "model.biases",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "`als`, `sgd`: users, products and bins have biases beside their factors; they carry what a user gives or a product gets whoever meets it. For `explicit`.",
    },
    text(
        "output.data",
        "The data set: sealed partitions, dictionaries, manifests. Needed by every verb that reads or makes it.",
    ),
    text(
        "output.model",
        "The model: checkpoints, factors, manifests. Needed to train and by what follows.",
    ),
    count(
        "output.recommend.top",
        1,
        10_000,
        Some("20"),
        "Products for each user.",
    ),
    text(
        "output.recommend.file",
        "The Parquet file: user, rank, product, score, in the ids of the input.",
    ),
    text(
        "output.recommend.folder",
        "Instead of `file`, for lists of many users: a folder of Parquet files that are one table, `part-00000.parquet` and so on, with \
         `_SUCCESS` when all are there. Parts that a broken run has written are kept by the next one.",
    ),
    text(
        "output.recommend.context",
        "`context = \"factor\"`: the context for which lists are, by its id or by the word of its place in a cycle (`saturday`, `july`, \
         `07`). Absent: none in particular, the mean by the interactions of training.",
    ),
    count(
        "output.recommend.bins_ahead",
        1,
        100_000,
        Some("1"),
        "For which bin behind the end of the data the lists are, where `model.forecast` tells bins apart: 1 is the first.",
    ),
    choice(
        "output.recommend.seen",
        &["exclude", "include"],
        "exclude",
        "Whether products that the user has already had are left out.",
    ),
    text(
        "output.recommend.explanations",
        "A Parquet file of reasons (with `folder`, a folder of parts, too): user, rank, product, score, and `because_` a past product, what that contributes to the score. For \
         models of the kind `als`.",
    ),
    count(
        "output.recommend.reasons",
        1,
        1000,
        Some("5"),
        "Past products that are named for each recommendation in `explanations`, those that contribute most.",
    ),
    text(
        "output.recommend.date",
        "Instead of `bins_ahead`: a day (YYYY-MM-DD), or the number of a bin where times are such numbers, whose bin the lists are for.",
    ),
    texts(
        "output.recommend.users",
        "The original ids of the users to list for; bytes in hexadecimals. Absent: all.",
    ),
    text(
        "output.rules.allow",
        "A file of products that lists may hold, and no others: Parquet with the column of products, or text with an id a line.",
    ),
    text(
        "output.rules.deny",
        "A file of products that no list may hold, in the same forms.",
    ),
    text(
        "output.rules.windows",
        "A Parquet file of when products may be had: the column of products, `from` and `to` (dates, timestamps or integers; not yet at \
         `to`; null: open). What it does not name may be had at any time. It is held against the first moment of the bin that lists are for.",
    ),
    count(
        "output.rules.most",
        1,
        1000,
        None,
        "The most products with one level of `most_by` in a list.",
    ),
    text(
        "output.rules.most_by",
        "The attribute of products by whose levels lists are capped; products without one are not counted.",
    ),
    real(
        "output.rules.damping",
        0.0,
        1e6,
        Some("0"),
        "What a score loses, times the natural logarithm of how many users had the product in training.",
    ),
    count(
        "output.rising.top",
        1,
        1000,
        Some("10"),
        "Products for each user, at the most.",
    ),
    text(
        "output.rising.file",
        "The Parquet file: user, rank, product, and `score`, by how much it rises; what falls is left out.",
    ),
    count(
        "output.rising.over",
        1,
        100_000,
        Some("4"),
        "The last bins of training whose mean is what scores of the bin to come are compared with.",
    ),
    choice(
        "output.rising.seen",
        &["include", "exclude"],
        "include",
        "Whether products that the user has already had are left out.",
    ),
    choice(
        "output.similar.of",
        &["product", "user"],
        "product",
        "Whose rows are compared.",
    ),
    count(
        "output.similar.top",
        1,
        1000,
        Some("20"),
        "How many are listed for each.",
    ),
    text(
        "output.similar.file",
        "The Parquet file: id, rank, the like one's id, and the cosine of their rows of factors. `run` writes it too.",
    ),
    texts(
        "output.similar.ids",
        "The original ids to list for, as in `[\"1029743\", \"995242\"]`; bytes in hexadecimals. Absent: all. Without `file` the lists \
         are shown.",
    ),
    choice(
        "output.similar.index",
        &["auto", "exact", "index"],
        "auto",
        "Whether all pairs are compared, or those that an index brings together: `auto` takes an index from some 20 milliard pairs on.",
    ),
    real(
        "output.similar.recall",
        0.5,
        1.0,
        Some("0.99"),
        "The share of the true lists that an index must hold, by a sample: as much of it is looked through as that takes. Where that is more \
         than a fifth, all pairs are compared.",
    ),
    text(
        "output.export.folder",
        "The folder: `user.parquet`, `product.parquet`, and those of small modes, each an id and its row of factors.",
    ),
    choice(
        "output.export.format",
        &["parquet", "arrow", "npy"],
        "parquet",
        "`arrow` is Arrow IPC; `npy` a NumPy array, and its ids beside it as Parquet.",
    ),
    text(
        "output.report.file",
        "The HTML file. Absent: `report` writes `report.html` where it is started; `run` and `advise` write none.",
    ),
    choice(
        "output.segments.of",
        &["user", "product"],
        "user",
        "Whose rows are brought together.",
    ),
    Key {
        path: "output.segments.k",
        shape: Shape::Counts {
            least: 2,
            most: 128,
        },
        default: Some("4,8,16"),
        flag: None,
        help: "How many segments. Of several counts, the one with the best silhouette.",
    },
    choice(
        "output.segments.distance",
        &["cosine", "euclidean"],
        "cosine",
        "`cosine` compares directions of rows: their lengths tell how much is bought, not what. `euclidean` compares rows as they are.",
    ),
    text(
        "output.segments.file",
        "The Parquet file: id, segment, distance to its centre, silhouette. What is known of the segments lies beside it, with the ending \
         `.json`.",
    ),
    count(
        "output.segments.sample",
        100,
        20_000,
        Some("4000"),
        "About so many rows choose the first centres and have a silhouette; attributes are told from them.",
    ),
    count(
        "output.segments.top",
        1,
        1000,
        Some("10"),
        "Products that are told of each segment.",
    ),
    count(
        "output.segments.least_buyers",
        1,
        1_000_000,
        Some("5"),
        "The fewest buyers in a segment of a product that is told to be bought beyond its share.",
    ),
    count(
        "output.segments.iterations",
        1,
        1000,
        Some("100"),
        "The most iterations; they end earlier where centres rest.",
    ),
    count(
        "output.segments.seed",
        0,
        MANY,
        Some("0"),
        "Of the sample and the first centres.",
    ),
    choice(
        "output.influencers.of",
        &["user", "product"],
        "user",
        "Who is looked for.",
    ),
    choice(
        "output.influencers.by",
        &["auto", "edges", "purchases"],
        "auto",
        "What ties them: the edges of `[input.user_edges]` (or of products), or the purchases that two of them share. `auto`: edges where \
         there are some.",
    ),
    count("output.influencers.top", 1, 10_000, Some("20"), "How many."),
    count(
        "output.influencers.most_ties",
        1,
        1000,
        Some("2"),
        "The most ties of one who is nearly isolated.",
    ),
    real(
        "output.influencers.share",
        0.0,
        1.0,
        Some("0.1"),
        "The least part of the ties of one who is reached that is with the influencer.",
    ),
    count(
        "output.influencers.offers",
        0,
        1000,
        Some("10"),
        "Products to offer through each: what those who are reached would buy by the model and do not have. Of users alone.",
    ),
    text(
        "output.influencers.file",
        "The Parquet file: id, rank, score, ties, strength, and as lists who is reached, what to offer, and how many would want it.",
    ),
    count(
        "output.churn.horizon",
        1,
        10_000,
        None,
        "Bins without a purchase after which a user has churned; at most the test part. Absent: `split.test_bins`.",
    ),
    Key {
        path: "output.churn.factors",
        shape: Shape::Flag,
        default: Some("true"),
        flag: None,
        help: "Whether users' factors are read too, with kind `als`: a model of what was before is trained for it, and kept in `churn` below \
               `output.model`.",
    },
    real(
        "output.churn.regularization",
        1e-6,
        1e6,
        Some("1"),
        "What holds the weights of the regression: half of it times their squares, of standardized features, is added to the log loss of all users \
         of the sample.",
    ),
    count(
        "output.churn.sample",
        100,
        1_000_000,
        Some("50000"),
        "About so many users teach the regression and judge it. All are scored.",
    ),
    count(
        "output.churn.seed",
        0,
        MANY,
        Some("0"),
        "Of the sample and the bootstrap.",
    ),
    text(
        "output.churn.file",
        "The Parquet file: id, score (the probability that the user buys nothing within the horizon), recency, frequency, interactions, trend.",
    ),
    Key {
        path: "evaluate.k",
        shape: Shape::Counts {
            least: 1,
            most: 1000,
        },
        default: Some("10,20,50"),
        flag: None,
        help: "The lengths of the lists that are scored.",
    },
    count(
        "evaluate.replicates",
        0,
        10_000,
        Some("200"),
        "Bootstrap replicates over users for the intervals. 0: none.",
    ),
    texts(
        "update.files",
        "Parquet files with new rows, directories of them, or globs. Absent: the files of `input.files` that are not in the data set yet.",
    ),
    count(
        "update.deltas_max",
        0,
        64,
        Some("8"),
        "Updates that a data set keeps beside its partitions before it is compacted. Each costs a little when views are made.",
    ),
    count(
        "update.epochs",
        0,
        MANY,
        Some("0"),
        "Epochs that the model at `output.model` is trained on for, from its own factors and with the settings of [model]. 0: it is left alone.",
    ),
    Key {
        path: "update.fold_in",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Whether users with new interactions are folded into the model (`als`) at `output.model`: each is solved once, from all that he \
               has and the products as they are; nobody else moves. It costs what their interactions cost.",
    },
    Key {
        path: "update.compact",
        shape: Shape::Flag,
        default: Some("true"),
        flag: None,
        help: "Whether an update that comes on top of `update.deltas_max` others compacts the data set. Else it is refused.",
    },
    real(
        "advise.seconds",
        0.01,
        1e9,
        Some("20"),
        "What each model may train, in seconds on the workers of the first call: turned into epochs once, written down, and the same \
         ever after. No model trains for more epochs than its kind needs.",
    ),
    with_default(
        text(
            "advise.metric",
            "What is compared, for new products and for all: `recall@K`, `ndcg@K`, `map@K` or `precision@K`.",
        ),
        "ndcg@20",
    ),
    real(
        "advise.worth",
        0.0,
        10.0,
        Some("0.02"),
        "The least gain, as a share, that is worth a model that asks for more.",
    ),
    texts(
        "advise.models",
        "The models to compare, by their names in the table. Absent: all that the data allow.",
    ),
    real(
        "cold.users",
        0.0,
        0.9,
        Some("0.1"),
        "The share of users that are held out. 0: none.",
    ),
    real(
        "cold.products",
        0.0,
        0.9,
        Some("0.1"),
        "The share of products that are held out. 0: none.",
    ),
    Key {
        path: "cold.history",
        shape: Shape::Counts {
            least: 0,
            most: 100,
        },
        default: Some("0,1,3,5,10"),
        flag: None,
        help: "How many purchases (of a product: buyers) of those who are held out are known, the first ones. Who has no more than the most is not \
               held out.",
    },
    count(
        "cold.most",
        10,
        100_000,
        Some("5000"),
        "The most users, and the most products, that are held out.",
    ),
    count(
        "cold.k",
        1,
        1000,
        Some("20"),
        "The length of the lists that are judged.",
    ),
    count(
        "cold.seed",
        0,
        MANY,
        Some("0"),
        "Of the draw of users and products.",
    ),
    Key {
        path: "tune.search",
        shape: Shape::Search,
        default: None,
        flag: None,
        help: "Keys of [model], each with a list (`rank = [32, 64]`) or a range (`regularization = { from = 0.0001, to = 0.1, \
               scale = \"log\" }`). On a command line: `rank = 32, 64; regularization = 0.0001..0.1 log`.",
    },
    count(
        "tune.trials",
        1,
        10_000,
        Some("27"),
        "Points that are drawn, each once. Of a space that has fewer: all.",
    ),
    count(
        "tune.rungs",
        1,
        10,
        Some("3"),
        "Comparisons: after each but the last only the best train on. 1: every trial trains \
         for all `model.epochs`.",
    ),
    count(
        "tune.eta",
        2,
        100,
        Some("3"),
        "One of so many trials goes on to the next rung, which has so many times the epochs.",
    ),
    text(
        "tune.metric",
        "By what trials are compared, written as `model.stop_metric`. Absent: that one; without it `ndcg@20`, of values `rmse`.",
    ),
    count("tune.seed", 0, MANY, Some("0"), "The seed of the points."),
    count(
        "plan.workers",
        1,
        100_000,
        None,
        "Workers, each a process with `run.memory` and `run.threads` on a machine of its own. Absent: those of `run.workers`.",
    ),
    Key {
        path: "plan.network",
        shape: Shape::Size,
        default: Some("1000000000"),
        flag: None,
        help: "Bytes that a worker can receive in a second.",
    },
    Key {
        path: "plan.disk",
        shape: Shape::Size,
        default: Some("1000000000"),
        flag: None,
        help: "Bytes that a worker can read from its disk in a second. Data that stay in the system's cache are faster.",
    },
    with_flag(
        count(
            "generate.users",
            1,
            4_000_000_000,
            Some("10000"),
            "Users, those included who happen to buy nothing.",
        ),
        "users",
    ),
    with_flag(
        count(
            "generate.products",
            1,
            1_000_000_000,
            Some("2000"),
            "Products.",
        ),
        "products",
    ),
    with_flag(
        count(
            "generate.days",
            1,
            36_500,
            Some("364"),
            "Days, from `start` on.",
        ),
        "days",
    ),
    with_flag(
        count(
            "generate.interactions",
            1,
            1_000_000_000_000,
            Some("500000"),
            "Rows: exactly so many.",
        ),
        "interactions",
    ),
    with_flag(
        count("generate.rank", 1, 512, Some("16"), "Planted factors."),
        "rank",
    ),
    with_flag(
        count(
            "generate.departments",
            1,
            512,
            Some("8"),
            "Departments of products, each with factors of its own, and as many segments of users, each at home in one. At most `rank`; 1: none.",
        ),
        "departments",
    ),
    with_flag(
        count(
            "generate.interests",
            1,
            16,
            Some("3"),
            "Factors that a user is interested in, with weights 1, 1/2, 1/3 and so on.",
        ),
        "interests",
    ),
    with_flag(
        real(
            "generate.loyalty",
            0.0,
            1.0,
            Some("0.5"),
            "How likely a user's further interests are of the user's own department, beyond chance.",
        ),
        "loyalty",
    ),
    with_flag(
        real(
            "generate.contrast",
            0.0,
            5.0,
            Some("1.5"),
            "How far apart a factor holds its products: the spread of the logarithm of their weights. 0: as far as they are popular.",
        ),
        "contrast",
    ),
    with_flag(
        real(
            "generate.popularity",
            0.0,
            1.0,
            Some("0.2"),
            "The share of rows that follow popularity and no taste. 1: no structure at all.",
        ),
        "popularity",
    ),
    with_flag(
        real(
            "generate.zipf",
            0.0,
            3.0,
            Some("0.8"),
            "The exponent of Zipf's law of products.",
        ),
        "zipf",
    ),
    with_flag(
        real(
            "generate.activity",
            0.0,
            3.0,
            Some("1.0"),
            "The spread of the logarithm of users' rows: 0 all alike, 1 as in a shop.",
        ),
        "activity",
    ),
    with_flag(
        real(
            "generate.season",
            0.0,
            20.0,
            Some("0.0"),
            "How sharp the seasons of factors are, each with its height at another time: 0 none, 1 clear, 4 nearly all within a third of the cycle.",
        ),
        "season",
    ),
    with_flag(
        count(
            "generate.season_days",
            2,
            36_500,
            Some("364"),
            "The length of the cycle of seasons.",
        ),
        "season-days",
    ),
    with_flag(
        real(
            "generate.drift",
            0.0,
            1.0,
            Some("0.0"),
            "The share of a user's taste that is another one on the last day; it grows from 0 on the first.",
        ),
        "drift",
    ),
    with_flag(
        real(
            "generate.repeat",
            0.0,
            1.0,
            Some("0.0"),
            "The share of rows that buy again what an earlier row of the user bought.",
        ),
        "repeat",
    ),
    with_flag(
        real(
            "generate.attributes",
            0.0,
            1.0,
            Some("0.8"),
            "How much attributes tell: the share of segments and departments that are true, and the correlation of ages and prices with factors.",
        ),
        "attributes",
    ),
    with_flag(
        count(
            "generate.friends",
            0,
            1000,
            Some("0"),
            "Edges from a user to others, on average. 0: none are written, unless there are influencers.",
        ),
        "friends",
    ),
    with_flag(
        real(
            "generate.homophily",
            0.0,
            1.0,
            Some("0.8"),
            "The share of edges that lead to a user of the same first interest, beyond chance.",
        ),
        "homophily",
    ),
    with_flag(
        count(
            "generate.influencers",
            0,
            1_000_000,
            Some("0"),
            "Users to whom others lead who have no other edge.",
        ),
        "influencers",
    ),
    with_flag(
        count(
            "generate.followers",
            1,
            10000,
            Some("50"),
            "How many lead to each influencer.",
        ),
        "followers",
    ),
    with_flag(
        count(
            "generate.quantity",
            1,
            255,
            Some("1"),
            "Rows are of 1 up to so many pieces, in a column `quantity`. 1: there is no such column.",
        ),
        "quantity",
    ),
    with_flag(
        choice(
            "generate.ids",
            &["integer", "text"],
            "integer",
            "Whether ids are numbers or names.",
        ),
        "ids",
    ),
    with_flag(
        with_default(
            text("generate.start", "The first day, as YYYY-MM-DD."),
            "2024-01-01",
        ),
        "start",
    ),
    with_flag(
        choice(
            "generate.layout",
            &["files", "days"],
            "files",
            "Files with a column `day`, or a folder for every day (`day=2024-01-01`) and no such column.",
        ),
        "layout",
    ),
    with_flag(
        count(
            "generate.rows_per_file",
            1,
            50_000_000,
            Some("2000000"),
            "Rows of a file, about. A file has all rows of its users, by day; with `layout` = \"days\" so many rows are spread over the files of all days.",
        ),
        "rows-per-file",
    ),
    with_flag(
        count("generate.seed", 0, MANY, Some("0"), "Of all that is drawn."),
        "seed",
    ),
    with_flag(
        with_default(
            text(
                "run.workers",
                "A number of workers inside this process, addresses of daemons (HOST:PORT,...), dns://SERVICE:PORT, or file:///PATH with an address a line.",
            ),
            "1",
        ),
        "workers",
    ),
    Key {
        path: "run.memory",
        shape: Shape::Size,
        default: None,
        flag: Some("memory"),
        help: "The memory of each process, as in 8GiB; at least 256MiB. Absent: 60 % of what the machine or its cgroup allows.",
    },
    with_flag(
        count(
            "run.threads",
            1,
            4096,
            None,
            "Compute threads of each embedded worker. Absent: the cores, shared out.",
        ),
        "threads",
    ),
    with_flag(
        choice(
            "run.io",
            &["mmap", "pread"],
            "mmap",
            "How sealed files are read.",
        ),
        "io",
    ),
    with_flag(
        choice(
            "run.simd",
            &["auto", "avx512", "avx2", "portable"],
            "auto",
            "The instructions of the kernels; `auto` takes the widest that the machine has.",
        ),
        "simd",
    ),
    with_flag(
        text(
            "run.scratch",
            "The directory for caches and spilled blocks of embedded workers. Absent: one in the temporary directory, removed at the end; a data set on the same disk is then read where it lies, without a copy.",
        ),
        "scratch",
    ),
    count(
        "run.checkpoint_epochs",
        1,
        100_000,
        Some("1"),
        "A checkpoint after so many epochs at the earliest; the last epoch always has one.",
    ),
    count(
        "run.checkpoint_percent",
        1,
        100,
        Some("5"),
        "The most of the time that may pass while a checkpoint is made: after one that took a second, the next begins 19 seconds later at the earliest. 100: one after every `checkpoint_epochs`.",
    ),
    real(
        "run.ingest_checkpoint_seconds",
        0.0,
        1e9,
        Some("60"),
        "An ingest keeps what it has done beside the data set after so many seconds at the earliest, and goes on there after a fall. 0: never.",
    ),
    with_flag(
        real(
            "run.verify_fraction",
            0.0,
            1.0,
            Some("0"),
            "The share of tasks that a second worker computes as well, to compare: of three results the one that differs shuts its worker out of the run. 1 takes twice as long, and lets nothing through that one machine gets wrong.",
        ),
        "verify-fraction",
    ),
    count(
        "run.slow_factor",
        0,
        1000,
        Some("3"),
        "A task that takes so many times as long as others of its step, by their cost, and a second more, is given to an idle worker as well, and the first result counts. 0: never.",
    ),
    with_flag(
        text(
            "run.trace",
            "Write what every worker did and when to this file, for a viewer of Chrome traces.",
        ),
        "trace",
    ),
    with_flag(
        text(
            "run.trace_endpoint",
            "Tell a collector of OpenTelemetry what every worker did and when: the URL at which it takes OTLP over HTTP, as http://localhost:4318 (docs/operations.md). Absent: nobody.",
        ),
        "trace-endpoint",
    ),
    with_flag(
        text(
            "run.http",
            "Show the run while it goes on at this HOST:PORT: a page for people, /metrics, /status.json, /healthz and /readyz (docs/live.md). Absent: nowhere.",
        ),
        "http",
    ),
    with_flag(
        text(
            "run.tls",
            "A folder with ca.crt, tls.crt and tls.key, as `coordinator tls init` makes them: daemons are reached over TLS, and each end shows who it is. Absent: nothing is encrypted.",
        ),
        "tls",
    ),
    with_flag(
        with_default(
            text(
                "run.log",
                "What to log to stderr: error, warn, info, debug, trace, or a filter such as `warn,plan=debug`.",
            ),
            "warn",
        ),
        "log",
    ),
];

/// The setting at a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a path is a table of the job file.
pub fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|(name, _)| *name == path)
}

/// What the user may have meant by a path that is no setting.
pub fn nearest(path: &str) -> Option<&'static str> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(elsewhere) = KEYS.iter().find(|key| key.name() == name) {
        return Some(elsewhere.path);
    }
    let likeness = |key: &Key| {
        let same_section = if key.section() == section { 0.1 } else { 0.0 };
        strsim::normalized_damerau_levenshtein(key.name(), name) + same_section
    };
    let best = KEYS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= 0.55).then_some(best.path)
}

/// The nearest of a few words, if it is near.
pub fn nearest_word<'a>(words: impl IntoIterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(candidate, word);
    let best = words
        .into_iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= 0.5).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_once_in_a_known_section_with_a_default_of_its_type() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(
                seen.insert(key.path) && seen.insert(key.variable().leak()),
                "{} stands twice",
                key.path
            );
            assert!(is_section(key.section()), "{}", key.path);
            if let Some(default) = key.default {
                key.shape
                    .read_text(default)
                    .unwrap_or_else(|why| panic!("{}: {why}", key.path));
            }
        }
    }

    #[test]
    fn the_nearest_key_is_suggested() {
        assert_eq!(nearest("model.rnak"), Some("model.rank"));
        assert_eq!(
            nearest("model.regularisation"),
            Some("model.regularization")
        );
        assert_eq!(nearest("input.rank"), Some("model.rank"));
        assert_eq!(nearest("input.usr"), Some("input.user"));
        assert_eq!(nearest("model.zzzzzz"), None);
    }
}
