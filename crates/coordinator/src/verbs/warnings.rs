//! What a job asks for and training cannot heed, though it makes sense to train: told, not refused.

use super::data::Views;
use crate::job::settings::{Model, ModelKind, Preset, Settings};
use model::graph::Edges;
use model::graph::learning::HeadName;
use model::sgd::Loss;
use tensor::{DataSet, Mode};

/// The sentences for people; programs find them as `warnings`.
pub fn of(settings: &Settings, data: &DataSet, views: &Views) -> Vec<String> {
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
    warnings.extend(idle_edges(&settings.model, data));
    if settings.model.kind == ModelKind::Gcn && settings.model.layers > 3 {
        warnings.push(format!(
            "`model.layers` is {}: each layer averages over neighbours once more, and beyond three the rows of a component \
             hardly differ",
            settings.model.layers
        ));
    }
    warnings
}

/// Edges between users or products that training leaves aside without having been told to.
fn idle_edges(model: &Model, data: &DataSet) -> Option<String> {
    let asked = |mode: &Mode| match mode {
        Mode::User => model.user_edge_weight.is_some(),
        _ => model.product_edge_weight.is_some(),
    };
    let mode = data.edges.keys().find(|mode| !asked(mode))?;
    let edges = format!("the data have edges between {mode}s, which this model does not use");
    match model.kind {
        ModelKind::Spectral | ModelKind::LightGcn | ModelKind::Gcn => None,
        ModelKind::Als => Some(format!(
            "{edges}: give `model.{mode}_edge_weight`, 0.1 or 0.3, or 0 to leave them aside"
        )),
        ModelKind::Sgd
        | ModelKind::Line
        | ModelKind::Filter
        | ModelKind::Ucmf
        | ModelKind::Popularity => Some(format!(
            "{edges}: kinds that do are \"spectral\", \"lightgcn\", \"gcn\" and \"als\""
        )),
    }
}

/// Whether an interaction is one, whatever its value.
fn ignores_values(model: &Model) -> bool {
    match model.kind {
        ModelKind::Als => model.preset == Preset::Rendle,
        ModelKind::LightGcn | ModelKind::Gcn if model.head == HeadName::Squared => false,
        ModelKind::Spectral | ModelKind::Filter | ModelKind::LightGcn | ModelKind::Gcn => {
            model.edges == Edges::Binary
        }
        ModelKind::Ucmf | ModelKind::Popularity => true,
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
        ModelKind::Ucmf => "the kind \"ucmf\"",
        ModelKind::Popularity => "the kind \"popularity\"",
    }
}
