//! Early stopping: whether what it compares can be measured.

use crate::job::merge::{Faults, Merged};
use crate::job::settings::Split;
use model::Stopping;
use model::evaluate::Metric;

/// The metric at a path; `usual` where none is given, or what is given cannot be measured of such a model.
pub(crate) fn metric(
    merged: &Merged,
    path: &str,
    fits_values: bool,
    faults: &mut Faults,
) -> Metric {
    let usual = Metric::usual(fits_values);
    let Some(text) = merged.text(path) else {
        return usual;
    };
    let metric = text.parse::<Metric>().unwrap_or_else(|wrong| {
        faults.push(merged.origin(path), format!("`{path}`: {wrong}"));
        usual
    });
    if metric.is_of_values() != fits_values {
        let (model, known) = if fits_values {
            ("fits values", "`rmse` or `mae`")
        } else {
            ("ranks products", "`ndcg@20` or another measure of lists")
        };
        let sentence = format!(
            "`{path}` = \"{text}\" cannot be measured of a model that {model}: use {known}"
        );
        faults.push(merged.origin(path), sentence);
    }
    metric
}

pub(super) fn stopping(
    merged: &Merged,
    split: &Split,
    fits_values: bool,
    faults: &mut Faults,
) -> Option<Stopping> {
    let patience = merged.count("model.patience").unwrap_or_default() as u32;
    if patience == 0 {
        for path in ["model.stop_metric", "model.min_improvement"] {
            if merged.is_given(path) {
                let sentence = format!(
                    "`{path}` compares epochs, which `model.patience` asks for: give it 1 or more, or remove the key"
                );
                faults.push(merged.origin(path), sentence);
            }
        }
        return None;
    }
    if !split.has_validation() {
        let sentence = "`model.patience` compares epochs on the validation part, and there is none: give [split] \
                        `validation_bins`, `validation_fraction` or `validation_files`";
        faults.push(merged.origin("model.patience"), sentence);
    }
    Some(Stopping {
        metric: metric(merged, "model.stop_metric", fits_values, faults),
        patience,
        min_improvement: merged.real("model.min_improvement").unwrap_or_default(),
    })
}
