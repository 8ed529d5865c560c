//! The algorithm: `[model]`.

use super::{Key, MANY, choice, count, real, text, texts};
use crate::job::value::Shape;

pub(super) const KEYS: &[Key] = &[
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
];
