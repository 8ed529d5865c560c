//! What single verbs want: `[evaluate]`, `[update]`, `[advise]`, `[cold]`, `[tune]` and others.

use super::{Key, MANY, count, real, text, texts, with_default};
use crate::job::value::Shape;

pub(super) const KEYS: &[Key] = &[
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
];
