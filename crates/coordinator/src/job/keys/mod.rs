//! The registry: every setting once, with its type, its default and what it is for.
//!
//! **Invariant:** whatever names a setting (the job file, `STRATA_*`, flags, `--help`, `config`,
//! `docs/settings.md`, the suggestions for a misspelt key) reads it from [`KEYS`].

mod generate;
mod input;
mod model;
mod output;
mod run;
mod split;
mod verbs;

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
pub const KEYS: &[Key] = &joined();

/// The parts of the registry, in the order of a job file.
const PARTS: [&[Key]; 7] = [
    input::KEYS,
    split::KEYS,
    model::KEYS,
    output::KEYS,
    verbs::KEYS,
    generate::KEYS,
    run::KEYS,
];

#[expect(
    clippy::large_stack_arrays,
    reason = "the compiler makes it, and no stack holds it"
)]
const fn joined() -> [Key; count_of_all()] {
    let mut all = [PARTS[0][0]; count_of_all()];
    let (mut part, mut next) = (0, 0);
    while part < PARTS.len() {
        let mut at = 0;
        while at < PARTS[part].len() {
            all[next] = PARTS[part][at];
            (at, next) = (at + 1, next + 1);
        }
        part += 1;
    }
    all
}

const fn count_of_all() -> usize {
    let (mut part, mut count) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
}

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
