//! What is held out: `[split]`.

use super::{Key, MANY, count, real, texts};

pub(super) const KEYS: &[Key] = &[
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
];
