//! `[input.user_attributes]` and `[input.product_attributes]`, and the keys of `[model]` that need them.

use super::{locations, names_input};
use crate::job::merge::{Faults, Merged};
use crate::job::settings::AttributeTables;

/// The tables of a mode, where files are named.
pub(super) fn tables(merged: &Merged, mode: &str, faults: &mut Faults) -> Option<AttributeTables> {
    let key = |name: &str| format!("input.{mode}_attributes.{name}");
    let files = locations(merged, &key("files"), faults);
    if files.is_empty() {
        let others = ["id", "columns", "categorical", "max_levels", "max_columns"];
        for path in others.map(key) {
            if merged.is_given(&path) {
                let sentence = format!(
                    "`{path}` needs tables of attributes: name their files with `input.{mode}_attributes.files`, or remove \
                     the key"
                );
                faults.push(merged.origin(&path), sentence);
            }
        }
        return None;
    }
    let of_input = merged.text(&format!("input.{mode}")).unwrap_or_default();
    let id = merged.text(&key("id")).unwrap_or(of_input).to_owned();
    let columns = merged.texts(&key("columns")).to_vec();
    let categorical = merged.texts(&key("categorical")).to_vec();
    for (path, names) in [
        (key("columns"), &columns),
        (key("categorical"), &categorical),
    ] {
        if names.contains(&id) {
            let sentence =
                format!("`{path}` names the column `{id}`, which holds the ids: remove it");
            faults.push(merged.origin(&path), sentence);
        }
        let twice = (1..names.len()).find(|&place| names[..place].contains(&names[place]));
        if let Some(place) = twice {
            let sentence = format!("`{path}` names the column `{}` twice", names[place]);
            faults.push(merged.origin(&path), sentence);
        }
    }
    let untaken = categorical
        .iter()
        .find(|name| !columns.is_empty() && !columns.contains(name));
    if let Some(name) = untaken {
        let sentence = format!(
            "`{}` names the column `{name}`, which `{}` does not take: add it there, or remove it here",
            key("categorical"),
            key("columns")
        );
        faults.push(merged.origin(&key("categorical")), sentence);
    }
    let count = |name: &str| merged.count(&key(name)).unwrap_or_default() as u32;
    Some(AttributeTables {
        files,
        id,
        columns,
        categorical,
        max_levels: count("max_levels"),
        max_columns: count("max_columns"),
    })
}

/// What `[model]` says of attributes must have some.
pub(super) fn uses(merged: &Merged, faults: &mut Faults) {
    let weight = |mode: &str| format!("model.{mode}_attribute_weight");
    let used = |mode: &str| merged.real(&weight(mode)).unwrap_or_default() > 0.0;
    for mode in ["user", "product"] {
        let files = format!("input.{mode}_attributes.files");
        if used(mode) && names_input(merged) && merged.texts(&files).is_empty() {
            let sentence = format!(
                "`{}` needs attributes of {mode}s: name their files with `{files}`, or remove the weight",
                weight(mode)
            );
            faults.push(merged.origin(&weight(mode)), sentence);
        }
    }
    let linear = "model.linear_attributes";
    let is_linear = merged.flag(linear);
    if is_linear && !merged.flag("model.biases") {
        let sentence = "`model.linear_attributes` adds what attributes come to to the biases: set `model.biases`, or remove the key";
        faults.push(merged.origin(linear), sentence);
    }
    if is_linear && merged.real("model.regularization") == Some(0.0) {
        let sentence = "`model.linear_attributes` needs `model.regularization` above 0: it is what holds a bias to the terms of its row";
        faults.push(merged.origin(linear), sentence);
    }
    let files = ["user", "product"].map(|mode| format!("input.{mode}_attributes.files"));
    if is_linear && names_input(merged) && files.iter().all(|files| merged.texts(files).is_empty())
    {
        let sentence = format!(
            "`{linear}` needs attributes: name their files with `{}` or `{}`, or remove the key",
            files[0], files[1]
        );
        faults.push(merged.origin(linear), sentence);
    }
    let path = "model.attribute_regularization";
    if merged.is_given(path) && !used("user") && !used("product") && !is_linear {
        let sentence = "`model.attribute_regularization` is for attributes: give `user_attribute_weight`, \
                        `product_attribute_weight` or `linear_attributes`, or remove the key";
        faults.push(merged.origin(path), sentence);
    }
}
