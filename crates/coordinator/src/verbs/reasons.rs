//! Whether the lists of a model can be explained, and by which equations.

use super::data::{self, Views};
use super::engine::Engine;
use super::stored_model::{Algorithm, StoredModel};
use crate::failure::Failure;
use model::als::Formula;
use model::recommend::Explaining;
use plan::Refusal;
use tensor::DataSet;

/// How the lists of a model are explained.
///
/// # Errors
/// Where its users are not made by equations of what they bought alone.
pub async fn of(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Explaining, Failure> {
    let refused = |why: &str| {
        let sentence = format!(
            "`output.recommend.explanations` is not for {why}: what a past product contributes is exact where a user's factors solve \
             equations of his purchases alone; take the key out, or train such a model of the kind \"als\""
        );
        Err(Failure::new(Refusal::Config, sentence))
    };
    let Algorithm::Als(als) = &model.record.algorithm else {
        let kind = model.record.algorithm.kind();
        return refused(&format!("a model of the kind \"{kind}\""));
    };
    if als.user_attribute_weight > 0.0 || als.user_edge_weight > 0.0 || als.linear_attributes {
        return refused("a model whose users are held to attributes or edges");
    }
    if als.non_negative {
        return refused("a model with `model.non_negative`");
    }
    let (train, decay) = data::faded(engine, data, views, als).await?;
    Ok(Explaining {
        top: engine.settings.output.recommend.reasons,
        formula: Formula {
            offset: model.record.offset,
            decay,
            ..Formula::of(als)
        },
        partitions: train.user_major,
    })
}
