//! Newcomers through a graph convolution: it is trained without them and reads nothing but attributes, so that its matrices embed whoever
//! has attributes or a first purchase, untrained (Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, 2017).
//!
//! **Invariant:** what embeds newcomers never saw them: only the graph below its matrices has their first interactions.

use super::super::data::Views;
use super::super::initial::Initial;
use super::super::stored_model::StoredModel;
use super::super::{train, weights};
use super::{Side, plain};
use crate::failure::Failure;
use crate::job::settings::{Model, ModelKind, Settings};
use model::graph::gcn::{self, Features, Readout, SelfWeights};
use model::graph::learning::HeadName;
use plan::Refusal;
use tensor::newcomers::Kept;

/// Epochs of training: nothing is held out that could end it.
const EPOCHS: u32 = 30;

impl Side<'_> {
    /// Models that embed newcomers by so much of each: by their attributes alone, where they have some, and with their first interactions.
    /// None where the data know no attributes.
    pub(super) async fn convolved(
        &self,
        views: &Views,
    ) -> Result<Vec<(u32, StoredModel)>, Failure> {
        if self.data.attributes.is_empty() {
            return Ok(Vec::new());
        }
        let settings = convolution(self.engine.settings);
        let trained = self.trained(&settings, views).await?;
        let mut models = Vec::new();
        for &history in &self.engine.settings.cold.history {
            if history > 0 {
                models.push((history, self.embedded(&trained, history).await?));
            }
        }
        // It has embedded those without interactions as it would any.
        if self.data.attributes.contains_key(&self.mode) {
            models.insert(0, (0, trained));
        }
        Ok(models)
    }

    /// The matrices of a model, over a graph that has the first interactions of newcomers.
    async fn embedded(&self, trained: &StoredModel, history: u32) -> Result<StoredModel, Failure> {
        let mut settings = convolution(self.engine.settings);
        settings.model.epochs = 0;
        let engine = self.engine.for_job(&settings);
        let views = self.views(history, Kept::Before).await?;
        let taken = weights::of(trained, self.data, true);
        let taken = taken.map_err(|what| Failure::new(Refusal::Bug, what))?;
        let initial = Initial::with_weights(taken);
        let model = train::train_from(&engine, self.data, &views, initial).await?;
        Ok(model.model)
    }
}

/// A graph convolution of the job's rank and seed that reads attributes alone, with what it has where no job says anything but for
/// two: as in the paper, own rows have a matrix of their own, and the last layer is scored. In the mean of layers what attributes make
/// of a row counts as much as its neighbours, of whom newcomers have few: after five purchases lists found a quarter as much.
fn convolution(settings: &Settings) -> Settings {
    let mut settings = plain(settings);
    let usual = gcn::Settings::DEFAULT;
    settings.model = Model {
        kind: ModelKind::Gcn,
        epochs: EPOCHS,
        features: Features::Attributes,
        layers: usual.layers,
        activation: usual.activation,
        dropout: usual.dropout,
        readout: Readout::Last,
        self_weights: SelfWeights::Free,
        weights: usual.weights,
        normalization: usual.normalization,
        self_loops: usual.self_loops,
        edges: usual.edges,
        head: HeadName::AllPairs,
        batches: usual.learning.batches,
        alpha0: usual.learning.alpha0,
        negatives: usual.learning.negatives,
        noise_power: None,
        rate: usual.learning.rate,
        decay: usual.learning.decay,
        regularization: usual.regularization,
        init: usual.init_scale,
        tolerance: usual.tolerance,
        ..settings.model
    };
    settings
}
