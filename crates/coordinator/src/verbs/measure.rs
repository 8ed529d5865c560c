//! Evaluates a model against the test part, beside the baselines.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::rules::{self, Lists};
use super::stored_model::StoredModel;
use crate::failure::Failure;
use model::evaluate::{self, Evaluate, Evaluation, Goal, Slice};
use model::metrics::Measure;
use model::rules::Rules;
use plan::Refusal;
use tensor::{DataSet, Duplicates, Partitions, SplitPart, ViewSpec};

/// What is measured beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Parts by themselves.
    pub slices: Vec<Slice>,
    /// Whose replicates are kept.
    pub kept: Option<(Measure, u32)>,
    /// The training view with values that fade with age.
    pub faded: Option<Partitions>,
    /// What lists must obey.
    pub rules: Rules,
}

/// The figures of a model on the test part.
///
/// # Errors
/// Where the model is of other data, or nothing is held out.
pub async fn evaluate(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Evaluation, Failure> {
    evaluate_priced(engine, (data, views), model, Wanted::default()).await
}

/// The same with what is wanted besides, but rules and kept replicates, which the job's rules decide.
///
/// # Errors
/// As [`evaluate`].
pub async fn evaluate_priced(
    engine: &Engine<'_>,
    (data, views): (&DataSet, &Views),
    model: &StoredModel,
    wanted: Wanted,
) -> Result<Evaluation, Failure> {
    let rules = rules::of(engine, data, Lists::Tested).await?;
    if rules.are_none() || model.record.algorithm.fits_values() {
        return evaluate_more(engine, (data, views), model, wanted).await;
    }
    let ks = &engine.settings.evaluate.k;
    let k = ks.iter().find(|&&k| k == 20).or(ks.get(ks.len() / 2));
    let wanted = Wanted {
        kept: k.map(|&k| (Measure::Ndcg, k)),
        ..wanted
    };
    let free = evaluate_more(engine, (data, views), model, wanted.clone()).await?;
    // Parts by themselves are of the model, and told once.
    let wanted = Wanted {
        rules,
        slices: Vec::new(),
        ..wanted
    };
    let ruled = evaluate_more(engine, (data, views), model, wanted).await?;
    let kept = k.map(|&k| Measure::Ndcg.at(k));
    Ok(free.with_rules(ruled, kept.as_deref()))
}

/// The same, and what is wanted besides.
///
/// # Errors
/// As [`evaluate`].
pub async fn evaluate_more(
    engine: &Engine<'_>,
    (data, views): (&DataSet, &Views),
    model: &StoredModel,
    wanted: Wanted,
) -> Result<Evaluation, Failure> {
    let own = match data.duplicates {
        Duplicates::Count | Duplicates::Sum => evaluate::OwnWeight::Values,
        Duplicates::Max | Duplicates::Last => evaluate::OwnWeight::Interactions,
    };
    let input = evaluate::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: model.factors(views.moments.map(|at| at.test))?,
        train: views.train.clone(),
        validation: views.validation.clone(),
        test: views.test.clone(),
        recent: views.recent.clone(),
        faded: wanted.faded,
        part: SplitPart::Test,
        own,
    };
    let settings = evaluate::Settings {
        goal: if model.record.algorithm.fits_values() {
            Goal::Ratings
        } else {
            Goal::Ranking
        },
        ks: engine.settings.evaluate.k.clone(),
        replicates: engine.settings.evaluate.replicates,
        seed: engine.settings.model.seed,
        slices: wanted.slices,
        kept: wanted.kept,
        rules: wanted.rules,
        ..evaluate::Settings::default()
    };
    let mut program = Evaluate::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let run = key_of(&[b"evaluate", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        ..Stage::plain("evaluate", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let found = program.found().cloned();
    found.ok_or_else(|| Failure::new(Refusal::Bug, "the evaluation ended without a result"))
}

/// Refuses a model of other data or of another split than the job's.
///
/// # Errors
/// With what to do.
pub fn fits(data: &DataSet, train: &ViewSpec, model: &StoredModel) -> Result<(), Failure> {
    if model.manifest.lineage != data.lineage {
        let sentence =
            "the model was trained on another data set than that of `output.data`: train again";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    if model.record.train != *train {
        let sentence = "the model was trained on another part of the data than this job's [split] and `model.time` say: \
                        use the job it was trained with, or train again";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    Ok(())
}
