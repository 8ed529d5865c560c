//! `[input.user_edges]` and `[input.product_edges]`, and the keys of `[model]` that need them.

use super::{locations, names_input};
use crate::job::merge::{Faults, Merged};
use crate::job::settings::EdgeLists;

/// The lists of a mode, where files are named.
pub(super) fn lists(merged: &Merged, mode: &str, faults: &mut Faults) -> Option<EdgeLists> {
    let key = |name: &str| format!("input.{mode}_edges.{name}");
    let files = locations(merged, &key("files"), faults);
    if files.is_empty() {
        for path in ["from", "to", "weight", "directed"].map(key) {
            if merged.is_given(&path) {
                let sentence = format!(
                    "`{path}` needs lists of edges: name their files with `input.{mode}_edges.files`, or remove the key"
                );
                faults.push(merged.origin(&path), sentence);
            }
        }
        return None;
    }
    let text = |name: &str| merged.text(&key(name)).map(str::to_owned);
    Some(EdgeLists {
        files,
        from: text("from").unwrap_or_default(),
        to: text("to").unwrap_or_default(),
        weight: text("weight"),
        directed: merged.flag(&key("directed")),
    })
}

/// What `[model]` says of edges must have some.
pub(super) fn uses(merged: &Merged, faults: &mut Faults) {
    for mode in ["user", "product"] {
        let (weight, files) = (
            format!("model.{mode}_edge_weight"),
            format!("input.{mode}_edges.files"),
        );
        if merged.is_given(&weight) && names_input(merged) && merged.texts(&files).is_empty() {
            let sentence = format!(
                "`{weight}` needs edges between {mode}s: name their files with `{files}`, or remove the key"
            );
            faults.push(merged.origin(&weight), sentence);
        }
    }
}
