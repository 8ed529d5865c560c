//! The keys of `[model]` that name labels among attributes.

use super::names_input;
use crate::job::merge::{Faults, Merged};
use crate::job::settings::ModelKind;
use std::collections::BTreeMap;
use tensor::Mode;

/// The attribute that a key names for each mode, as `model.user_label`, which must be one that the job takes.
fn named(merged: &Merged, key: &str, faults: &mut Faults) -> BTreeMap<Mode, String> {
    let mut named = BTreeMap::new();
    for mode in [Mode::User, Mode::Product] {
        let path = format!("model.{mode}_{key}");
        let Some(name) = merged.text(&path) else {
            continue;
        };
        let key = |name: &str| format!("input.{mode}_attributes.{name}");
        let columns = merged.texts(&key("columns"));
        if names_input(merged) && merged.texts(&key("files")).is_empty() {
            let sentence = format!(
                "`{path}` needs attributes of {mode}s: name their files with `{}`, or remove the key",
                key("files")
            );
            faults.push(merged.origin(&path), sentence);
        } else if !columns.is_empty() && !columns.iter().any(|column| column == name) {
            let sentence = format!(
                "`{path}` is \"{name}\", which `{}` does not take: add it there, or give one of its columns",
                key("columns")
            );
            faults.push(merged.origin(&path), sentence);
        }
        named.insert(mode, name.to_owned());
    }
    named
}

/// The labels that are taught.
pub(super) fn labels(
    merged: &Merged,
    kind: ModelKind,
    faults: &mut Faults,
) -> BTreeMap<Mode, String> {
    let labels = named(merged, "label", faults);
    if kind == ModelKind::Ucmf && labels.is_empty() && merged.is_given("model.cotraining") {
        let sentence = "`model.cotraining` weighs labels, and there are none: name an attribute with `model.user_label` or \
                        `model.product_label`, or remove the key";
        faults.push(merged.origin("model.cotraining"), sentence);
    }
    if kind == ModelKind::Popularity && labels.is_empty() {
        let sentence = "the kind \"popularity\" counts among users of one label: name an attribute with `model.user_label`, such as \
                        a segment";
        faults.push(merged.origin("model.kind"), sentence);
    }
    labels
}

/// The labels that are compared with, of modes that have some that are taught.
pub(super) fn checks(
    merged: &Merged,
    kind: ModelKind,
    labels: &BTreeMap<Mode, String>,
    faults: &mut Faults,
) -> BTreeMap<Mode, String> {
    let checks = named(merged, "label_check", faults);
    for mode in checks.keys() {
        if kind == ModelKind::Ucmf && !labels.contains_key(mode) {
            let path = format!("model.{mode}_label_check");
            let sentence = format!(
                "`{path}` is for what a classifier makes of others: name what it is taught with `model.{mode}_label`, or remove \
                 the key"
            );
            faults.push(merged.origin(&path), sentence);
        }
    }
    checks
}
