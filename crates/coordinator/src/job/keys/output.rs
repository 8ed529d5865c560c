//! Where what is made goes: `[output]` and its tables.

use super::{Key, MANY, choice, count, real, text, texts};
use crate::job::value::Shape;

pub(super) const KEYS: &[Key] = &[
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
];
