//! `[output.segments]`.

use super::ascending;
use crate::job::merge::Merged;
use crate::job::settings::Segments;
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
