//! `[output.segments]`, `[output.influencers]` and `[output.churn]`.

use super::{ascending, word};
use crate::job::merge::{Faults, Merged};
use crate::job::settings::{Churn, Influencers, Segments, Split, TiesBy};
use std::path::PathBuf;
use tensor::Mode;

/// What segments are asked for; `file` is where they go.
pub(super) fn segments(merged: &Merged, file: Option<PathBuf>) -> Segments {
    let count = |name: &str| {
        let path = format!("output.segments.{name}");
        merged.count(&path).unwrap_or_default()
    };
    Segments {
        of: match merged.text("output.segments.of") {
            Some("product") => Mode::Product,
            _ => Mode::User,
        },
        k: ascending(merged, "output.segments.k"),
        directions: merged.text("output.segments.distance") != Some("euclidean"),
        file,
        sample: count("sample") as u32,
        top: count("top") as u32,
        least_buyers: count("least_buyers") as u32,
        iterations: count("iterations") as u32,
        seed: count("seed"),
    }
}

/// What influencers are asked for; `file` is where they go.
pub(super) fn influencers(merged: &Merged, file: Option<PathBuf>) -> Influencers {
    let count = |name: &str| {
        let path = format!("output.influencers.{name}");
        merged.count(&path).unwrap_or_default() as u32
    };
    let words = [
        ("auto", TiesBy::Auto),
        ("edges", TiesBy::Edges),
        ("purchases", TiesBy::Purchases),
    ];
    Influencers {
        of: match merged.text("output.influencers.of") {
            Some("product") => Mode::Product,
            _ => Mode::User,
        },
        by: word(merged, "output.influencers.by", &words),
        top: count("top"),
        most_ties: count("most_ties"),
        share: merged.real("output.influencers.share").unwrap_or_default(),
        offers: count("offers"),
        file,
    }
}

/// What churn is asked for; `file` is where it goes.
pub(super) fn churn(merged: &Merged, file: Option<PathBuf>) -> Churn {
    let count = |name: &str| merged.count(&format!("output.churn.{name}"));
    Churn {
        horizon: count("horizon").map(|bins| bins as u32),
        factors: merged.flag("output.churn.factors"),
        regularization: merged
            .real("output.churn.regularization")
            .unwrap_or_default(),
        sample: count("sample").unwrap_or_default() as u32,
        seed: count("seed").unwrap_or_default(),
        file,
    }
}

/// Refuses churn without later bins to judge it by, where it is `wanted`.
pub(super) fn judged(merged: &Merged, churn: &Churn, split: &Split, faults: &mut Faults) {
    let path = "output.churn.horizon";
    match split {
        Split::Bins { test, .. } if *test > 0 => {
            if let Some(horizon) = churn.horizon.filter(|horizon| horizon > test) {
                let sentence = format!(
                    "`{path}` is {horizon}, and the test part has {test} bins: whether a user stays away for {horizon} cannot be seen in them; set \
                     it to at most {test}, or `split.test_bins` to {horizon}"
                );
                faults.push(merged.origin(path), sentence);
            }
        }
        _ => {
            let sentence = "churn is told from earlier bins and judged on later ones: give [split] `test_bins`, and [input] a `time`";
            faults.push(merged.origin("output.churn.file"), sentence);
        }
    }
}
