//! Recommends products to every user, into one Parquet file.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::reasons;
use super::rising;
use super::rules::{self, Lists};
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::report::RecommendReport;
use model::context::ContextAt;
use model::recommend::{self, EXPLAINED, Recommend};
use plan::Refusal;
use tables::out::{ExplanationsWriter, RecommendationsWriter};
use tensor::{DataSet, ObjectKey};

/// Writes the lists.
///
/// # Errors
/// Where the file cannot be written; nothing is left of it then.
pub async fn recommend(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<RecommendReport, Failure> {
    let wish = &engine.settings.output.recommend;
    let file = wish.file.clone().ok_or_else(|| {
        Failure::new(
            Refusal::Config,
            "the job names no file for recommendations: set `output.recommend.file`",
        )
    })?;
    let users = ids::of_axis(engine, &data.user).await?;
    let products = ids::of_axis(engine, &data.product).await?;
    let chosen = match &wish.users[..] {
        [] => None,
        named => Some(users.rows_of(named).map_err(|id| {
            let sentence = format!(
                "`output.recommend.users` has {id}, which is no user of the data set: name ids of the column {}",
                data.user.column
            );
            Failure::new(Refusal::Config, sentence)
        })?),
    };
    let io = |error: &dyn std::fmt::Display| Failure::new(Refusal::Io, error.to_string());
    if wish.date.is_some() && data.time.is_none() {
        let sentence = "`output.recommend.date` says when lists are, but the data have no time: name the column under [input] `time`";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    rising::check(engine, views)?;
    let rules = rules::of(engine, data, Lists::Recommended).await?;
    let (mut explain, mut reasons) = (None, None);
    if let Some(file) = &wish.explanations {
        explain = Some(reasons::of(engine, data, views, model).await?);
        let writer = ExplanationsWriter::create(file, users.clone(), products.clone());
        reasons = Some(writer.map_err(|error| io(&error))?);
    }
    let mut writer =
        RecommendationsWriter::create(&file, users, products).map_err(|error| io(&error))?;
    let mut factors = model.factors(views.moments.map(|at| at.recommended))?;
    if let (Some(context), Some(name)) = (&mut factors.context, &wish.context) {
        context.at = ContextAt::Row(ids::context_named(engine, data, name).await?);
    }
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors,
        train: views.train.clone(),
        held_out: [&views.validation, &views.test]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        alike: None,
    };
    let settings = recommend::Settings {
        k: wish.top,
        exclude_train: wish.exclude_seen,
        exclude_held_out: wish.exclude_seen,
        users: chosen,
        explain,
        rules,
    };
    let barred = settings.rules.barred.len() as u64;
    let ruled = !settings.rules.are_none();
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let sink = |key: ObjectKey, held: exec::Held| {
        let refused = |sentence: String| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        let written = match (key, &mut reasons) {
            (ObjectKey::Block { table, .. }, Some(reasons)) if table == EXPLAINED => {
                reasons.write(&bytes)
            }
            _ => writer.write(&bytes),
        };
        written.map_err(|error| refused(error.to_string()))
    };
    let run = key_of(&[b"recommend", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(sink)),
        ..Stage::plain("recommend", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let rows = writer.finish().map_err(|error| io(&error))?;
    let explained = reasons.map(ExplanationsWriter::finish).transpose();
    Ok(RecommendReport {
        users: program.served().users,
        rows,
        file,
        reasons: explained.map_err(|error| io(&error))?,
        explanations: wish.explanations.clone(),
        barred: ruled.then_some(barred),
        rising: rising::rising(engine, data, views, model).await?,
    })
}
