//! `[output.segments]` and `[output.influencers]`.

use super::{ascending, word};
use crate::job::merge::Merged;
use crate::job::settings::{Influencers, Segments, TiesBy};
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
