//! Lists the rows of a mode that are like each of its rows, into one Parquet file or for people to see.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::report::{AlikeReport, SimilarReport};
use model::recommend::{self, Recommend};
use plan::Refusal;
use tables::out::RecommendationsWriter;
use tables::out::ids::Ids;
use tensor::{DataSet, Mode, ObjectKey, Recommended};

/// Pairs that are shown at the most.
const SHOWN_MAX: usize = 10_000;

/// Where pairs go.
enum Sink {
    File(Box<RecommendationsWriter>),
    Shown(Box<Ids>, Vec<AlikeReport>),
}

impl Sink {
    fn take(&mut self, rows: &[u8]) -> Result<(), String> {
        match self {
            Sink::File(writer) => writer.write(rows).map_err(|error| error.to_string()),
            Sink::Shown(ids, shown) => {
                let id = |row| ids.shown(row).unwrap_or_else(|| format!("row {row}"));
                shown.extend(Recommended::rows(rows).map(|pair| AlikeReport {
                    id: id(pair.user),
                    rank: pair.rank,
                    similar: id(pair.product),
                    score: pair.score,
                }));
                Ok(())
            }
        }
    }
}

/// Writes or tells the lists.
///
/// # Errors
/// Where an id is not of the data set or the file cannot be written; nothing is left of it then.
pub async fn similar(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<SimilarReport, Failure> {
    let wish = &engine.settings.output.similar;
    let (axis, partitions) = match wish.of {
        Mode::User => (&data.user, &views.train.user_major),
        _ => (&data.product, &views.train.product_major),
    };
    let ids = ids::of_axis(engine, axis).await?;
    let chosen = match &wish.ids[..] {
        [] => None,
        named => Some(ids.rows_of(named).map_err(|id| {
            let sentence = format!(
                "`output.similar.ids` has {id}, which is no {} of the data set: name ids of the column {}",
                wish.of, axis.column
            );
            Failure::new(Refusal::Config, sentence)
        })?),
    };
    let pairs = chosen.as_ref().map_or(0, Vec::len) * wish.top as usize;
    if wish.file.is_none() && pairs > SHOWN_MAX {
        let sentence = format!(
            "{pairs} pairs are too many to be shown: name a file, as in --set output.similar.file=similar.parquet"
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let io = |error: &dyn std::fmt::Display| Failure::new(Refusal::Io, error.to_string());
    let mut sink = match &wish.file {
        Some(file) => {
            let others = ids.clone().named(format!("similar_{}", axis.column));
            let writer = RecommendationsWriter::create(file, ids, others);
            Sink::File(Box::new(writer.map_err(|error| io(&error))?))
        }
        None => Sink::Shown(Box::new(ids), Vec::new()),
    };
    let (table, columns) = model.rows_of(wish.of)?;
    let input = recommend::Input::alike(axis.clone(), table, columns, partitions.clone());
    let settings = recommend::Settings {
        k: wish.top,
        exclude_train: false,
        exclude_held_out: false,
        users: chosen,
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let take = |_: ObjectKey, held: exec::Held| {
        let refused = |sentence: String| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        sink.take(&bytes).map_err(refused)
    };
    let run = key_of(&[b"similar", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(take)),
        ..Stage::plain("similar", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let served = program.served();
    let similar = match sink {
        Sink::File(writer) => {
            writer.finish().map_err(|error| io(&error))?;
            Vec::new()
        }
        Sink::Shown(_, shown) => shown,
    };
    Ok(SimilarReport {
        of: wish.of.name().to_owned(),
        lists: served.users,
        rows: served.rows,
        file: wish.file.clone(),
        similar,
    })
}
