//! Which products rise for whom: those whose score in the bin to come exceeds the mean of the last bins most.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::rules::{self, Lists};
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::report::RisingReport;
use model::recommend::{self, Recommend};
use plan::Refusal;
use tables::out::{ListFile, RecommendationsWriter};
use tensor::{DataSet, ObjectKey, Recommended};

/// Refuses a job that asks what rises by a model without factors of time, before anything is written.
///
/// # Errors
/// Names what to set.
pub fn check(engine: &Engine<'_>, views: &Views) -> Result<(), Failure> {
    if engine.settings.output.rising.file.is_none() || views.moments.is_some() {
        return Ok(());
    }
    let sentence = "`output.rising.file` asks what rises, and this model knows no time: set `model.time` = \"factor\" and train, or take the \
                    key out";
    Err(Failure::new(Refusal::Config, sentence))
}

/// Writes them, where the job asks for them; [`check`] came before.
///
/// # Errors
/// Where the file cannot be written; nothing is left of it then.
pub async fn rising(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Option<RisingReport>, Failure> {
    let wish = &engine.settings.output.rising;
    let (Some(file), Some(moments)) = (wish.file.clone(), views.moments) else {
        return Ok(None);
    };
    let io = |error: &dyn std::fmt::Display| Failure::new(Refusal::Io, error.to_string());
    let users = ids::of_axis(engine, &data.user).await?;
    let products = ids::of_axis(engine, &data.product).await?;
    let mut writer =
        RecommendationsWriter::create(&file, users, products).map_err(|error| io(&error))?;
    let held_out = [&views.validation, &views.test];
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: model.factors(Some(moments.recommended.over(wish.over)))?,
        train: views.train.clone(),
        held_out: held_out.into_iter().flatten().cloned().collect(),
        alike: None,
    };
    let settings = recommend::Settings {
        k: wish.top,
        exclude_train: wish.exclude_seen,
        exclude_held_out: wish.exclude_seen,
        rules: model::rules::Rules {
            // What damping takes off says nothing of what changes.
            damping: 0.0,
            ..rules::of(engine, data, Lists::Recommended).await?
        },
        ..recommend::Settings::default()
    };
    let offset = input.factors.offset;
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let mut risers = 0;
    let sink = |_: ObjectKey, held: exec::Held| {
        let refused = |sentence: String| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        // Lists are sorted: what falls stands behind what rises, and the mean of values is in neither bin.
        let rising = Recommended::rows(&bytes).map(|row| Recommended {
            score: row.score - offset,
            ..row
        });
        let rising: Vec<Recommended> = rising.filter(|row| row.score > 0.0).collect();
        risers += rising.iter().filter(|row| row.rank == 1).count() as u64;
        let rows: Vec<u8> = rising.into_iter().flat_map(Recommended::to_row).collect();
        writer
            .write(&rows)
            .map_err(|error| refused(error.to_string()))
    };
    let run = key_of(&[b"rising", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(sink)),
        ..Stage::plain("rising", run, 0)
    };
    engine.run(&mut program, stage).await?;
    Ok(Some(RisingReport {
        users: risers,
        rows: writer.finish().map_err(|error| io(&error))?,
        file,
    }))
}
