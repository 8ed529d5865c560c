//! Lists the rows of a mode that are like each of its rows, into one Parquet file or for people to see.

use super::data::Views;
use super::engine::{Engine, SinkFn, Stage, key_of};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::job::settings::SimilarIndex;
use crate::output::report::{AlikeReport, IndexReport, SimilarReport};
use model::recommend::index::{self, ByIndex};
use model::recommend::program::Served;
use model::recommend::{self, Recommend};
use plan::Refusal;
use tables::out::ids::Ids;
use tables::out::{ListFile, RecommendationsWriter};
use tensor::{DataSet, Mode, ObjectKey, Recommended};

/// Pairs from which on an index takes less time than to compare them all, its making included.
const PAIRS_FOR_INDEX: u64 = 20_000_000_000;
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

/// A sink of a stage.
fn into(sink: &mut Sink) -> Box<SinkFn<'_>> {
    Box::new(|_: ObjectKey, held: exec::Held| {
        let refused = |sentence: String| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        sink.take(&bytes).map_err(refused)
    })
}

/// What is compared, and for whom.
type Asked = (recommend::Input, Option<Vec<u32>>);

/// Compares all pairs.
async fn compare(
    engine: &Engine<'_>,
    model: &StoredModel,
    (input, users): Asked,
    sink: &mut Sink,
) -> Result<Served, Failure> {
    let settings = recommend::Settings {
        k: engine.settings.output.similar.top,
        exclude_train: false,
        exclude_held_out: false,
        users,
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let run = key_of(&[b"similar", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(into(sink)),
        ..Stage::plain("similar", run, 0)
    };
    engine.run(&mut program, stage).await?;
    Ok(program.served())
}

/// Looks for them by an index; `None` where that would not be worth it.
async fn look(
    engine: &Engine<'_>,
    model: &StoredModel,
    (input, users): Asked,
    sink: &mut Sink,
) -> Result<Option<(Served, IndexReport)>, Failure> {
    let wish = &engine.settings.output.similar;
    let settings = index::Settings {
        k: wish.top,
        users,
        recall: wish.recall,
    };
    let mut program = ByIndex::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let run = key_of(&[b"similar by index", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(into(sink)),
        ..Stage::plain("similar", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let observer = engine.console.observer();
    if let Some(index) = program.too_wide() {
        observer.note(&format!(
            "an index would have to look through {} of its {} lists for a recall of {}: all pairs are compared",
            index.probes, index.lists, wish.recall
        ));
        return Ok(None);
    }
    let found = program.found();
    let index = found.ok_or_else(|| Failure::new(Refusal::Bug, "the index was not made"))?;
    observer.note(&format!(
        "{} of the index's {} lists were looked through for each; on a sample they hold {:.2} % of the true lists",
        index.probes,
        index.lists,
        100.0 * index.recall
    ));
    let report = IndexReport {
        lists: index.lists,
        probes: index.probes,
        recall: index.recall,
    };
    Ok(Some((program.served(), report)))
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
    let rows = axis.grid.rows_total();
    let asked = chosen.as_ref().map_or(rows, |chosen| chosen.len() as u64);
    let by_index = match wish.index {
        SimilarIndex::Auto => asked.saturating_mul(rows) >= PAIRS_FOR_INDEX,
        SimilarIndex::Exact => false,
        SimilarIndex::Index => true,
    };
    let mut found = None;
    if by_index {
        let (input, chosen) = (input.clone(), chosen.clone());
        found = look(engine, model, (input, chosen), &mut sink).await?;
    }
    let (served, index) = match found {
        Some((served, index)) => (served, Some(index)),
        None => (
            compare(engine, model, (input, chosen), &mut sink).await?,
            None,
        ),
    };
    let similar = match sink {
        Sink::File(writer) => {
            writer.finish().map_err(|error| io(&error))?;
            Vec::new()
        }
        Sink::Shown(_, shown) => shown,
    };
    Ok(SimilarReport {
        index,
        of: wish.of.name().to_owned(),
        lists: served.users,
        rows: served.rows,
        file: wish.file.clone(),
        similar,
    })
}
