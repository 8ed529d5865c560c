//! The keys of `[model]` that name labels among attributes.

use super::names_input;
use crate::job::merge::{Faults, Merged};
use crate::job::settings::ModelKind;
use std::collections::BTreeMap;
use tensor::Mode;

/// The label of each mode, which must be an attribute that the job takes.
pub(super) fn labels(
    merged: &Merged,
    kind: ModelKind,
    faults: &mut Faults,
) -> BTreeMap<Mode, String> {
    let mut labels = BTreeMap::new();
    for mode in [Mode::User, Mode::Product] {
        let path = format!("model.{mode}_label");
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
        labels.insert(mode, name.to_owned());
    }
    if kind == ModelKind::Ucmf && labels.is_empty() && merged.is_given("model.cotraining") {
        let sentence = "`model.cotraining` weighs labels, and there are none: name an attribute with `model.user_label` or \
                        `model.product_label`, or remove the key";
        faults.push(merged.origin("model.cotraining"), sentence);
    }
    labels
}
