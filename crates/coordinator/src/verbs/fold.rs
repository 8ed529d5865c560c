//! Folding users into a model: those whom updates touched are solved once, from all that they have, by the products as they are.

use super::data::{self, Views, unfinished};
use super::engine::{Engine, Stage, failed, key_of};
use super::initial::Initial;
use super::stored_model::{Algorithm, StoredModel};
use super::train;
use crate::failure::Failure;
use crate::job::settings::Split;
use crate::output::report::TrainReport;
use plan::Refusal;
use tables::Touched;
use tensor::{DataSet, DepotId, Partitions, ViewSpec};

/// Refuses a job whose model is more than users and products, or whose training part moves.
///
/// # Errors
/// Names the key that does not go with it.
pub fn check(engine: &Engine<'_>, data: &DataSet) -> Result<(), Failure> {
    let settings = engine.settings;
    let refused = |why: &str| {
        let sentence =
            format!("`update.fold_in` is not for {why}: set `update.epochs` = 1 instead");
        Err(Failure::new(Refusal::Config, sentence))
    };
    let Algorithm::Als(als) = Algorithm::for_data(&settings.model, data) else {
        let kind = Algorithm::of(&settings.model).kind();
        return refused(&format!("a model of the kind \"{kind}\", only for \"als\""));
    };
    let beside = [
        als.user_attribute_weight,
        als.product_attribute_weight,
        als.user_edge_weight,
        als.product_edge_weight,
    ];
    if beside.iter().any(|weight| *weight > 0.0) || als.linear_attributes {
        return refused("models that read attributes or edges");
    }
    if als.factors().count() > 0 || als.half_life.is_some() {
        return refused("models with factors of bins or contexts, or that fade");
    }
    if matches!(settings.split, Split::Bins { .. }) {
        return refused("a [split] by bins, whose training part moves with every update");
    }
    Ok(())
}

/// Folds those in whom updates touched since the model was made; all users where its data set was compacted since.
///
/// # Errors
/// Where the model does not fit, or the run cannot be finished.
pub async fn fold(
    engine: &Engine<'_>,
    data: &DataSet,
    earlier: &StoredModel,
) -> Result<Option<TrainReport>, Failure> {
    if earlier.manifest.lineage == data.lineage {
        let note = "the model is of all data already: it is left alone";
        engine.console.observer().note(note);
        return Ok(None);
    }
    let mut settings = engine.settings.clone();
    // Nothing is measured: it is one solve.
    settings.model.stopping = None;
    let engine = engine.for_job(&settings);
    let algorithm = Algorithm::for_data(&settings.model, data);
    let initial = Initial::folding(earlier, data, &algorithm)?;
    let train_spec = data::train_spec(&engine, data)?;
    let depot = engine.depot(DepotId::DATA)?;
    let lineage = Some(earlier.manifest.lineage);
    let known = depot.latest_data_set(lineage).await.map_err(failed)?;
    let known = known
        .filter(|(_, known)| known.parts == data.parts && data.deltas.starts_with(&known.deltas));
    let train = match known {
        Some((_, known)) => touched(&engine, data, &train_spec, known.deltas.len()).await?,
        None => data::views(&engine, data).await?.train,
    };
    engine.console.observer().note(&format!(
        "users who were touched are folded in: {} of {} interactions are theirs",
        train.interactions,
        data.interactions()
    ));
    let views = Views {
        train_spec,
        train,
        validation: None,
        test: None,
        recent: None,
        moments: None,
    };
    let trained = train::train_from(&engine, data, &views, initial).await?;
    Ok(Some(trained.report))
}

async fn touched(
    engine: &Engine<'_>,
    data: &DataSet,
    spec: &ViewSpec,
    since: usize,
) -> Result<Partitions, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    let run = key_of(&[b"touched", &data.lineage.0]);
    let mut program = Touched::new(data.clone(), spec.clone(), since);
    engine
        .run(&mut program, Stage::plain("touched", run, term))
        .await?;
    let view = program.into_view();
    view.ok_or_else(|| unfinished("the view of touched users"))
}
