//! What a job asks for and training cannot heed, though it makes sense to train: told, not refused.

use super::data::Views;
use crate::job::settings::{Model, ModelKind, Preset, Settings};
use model::graph::Edges;
use model::sgd::Loss;

/// The sentences for people; programs find them as `warnings`.
pub fn of(settings: &Settings, views: &Views) -> Vec<String> {
    let mut warnings = Vec::new();
    let weights = settings.input.event.iter().flat_map(|(_, weights)| weights);
    let mut weights = weights.map(|(_, weight)| weight.to_bits());
    let first = weights.next();
    let differ = weights.any(|weight| Some(weight) != first);
    // Where returns are netted, weights decide what is left of a pair.
    if differ && !settings.input.nets && ignores_values(&settings.model) {
        warnings.push(format!(
            "`input.event_weights` has no effect on this model: {} counts every interaction alike, whatever its value; use the \
             preset \"hu\" for models that weigh",
            name(&settings.model)
        ));
    }
    if views.train.netted > 0 {
        warnings.push(format!(
            "{} interactions of the training part came to 0 or less as values below 0 were taken off, and were left out",
            views.train.netted
        ));
    }
    warnings
}

/// Whether an interaction is one, whatever its value.
fn ignores_values(model: &Model) -> bool {
    match model.kind {
        ModelKind::Als => model.preset == Preset::Rendle,
        ModelKind::Spectral | ModelKind::Filter | ModelKind::LightGcn | ModelKind::Gcn => {
            model.edges == Edges::Binary
        }
        ModelKind::Sgd | ModelKind::Line => !matches!(model.loss, Loss::Squared | Loss::Poisson),
    }
}

fn name(model: &Model) -> &'static str {
    match model.kind {
        ModelKind::Als => "the preset \"rendle\"",
        ModelKind::Sgd => "its loss",
        ModelKind::Line => "the kind \"line\"",
        ModelKind::Spectral => "the kind \"spectral\" with `edges` = \"binary\"",
        ModelKind::Filter => "the kind \"filter\" with `edges` = \"binary\"",
        ModelKind::LightGcn => "the kind \"lightgcn\" with `edges` = \"binary\"",
        ModelKind::Gcn => "the kind \"gcn\" with `edges` = \"binary\"",
    }
}
