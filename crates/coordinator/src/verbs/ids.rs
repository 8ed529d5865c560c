//! Original ids of rows, from the sealed dictionaries.

use super::engine::{Engine, failed};
use crate::failure::Failure;
use plan::Refusal;
use store::dictionary::{Dictionary, IdRef};
use tables::out::ids::Ids;
use tensor::{Axis, ContextAxis, DataSet, DepotId};

/// The ids of a mode.
///
/// # Errors
/// Where a dictionary is missing or damaged.
pub async fn of_axis(engine: &Engine<'_>, axis: &Axis) -> Result<Ids, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let damaged = |error: &dyn std::fmt::Display| Failure::new(Refusal::BadData, error.to_string());
    let mut blocks = Vec::new();
    for block in &axis.dictionary {
        let file = depot.fetch(*block, &engine.cache).await.map_err(failed)?;
        blocks.push(Dictionary::open(file).map_err(|error| damaged(&error))?);
    }
    Ids::new(axis.column.clone(), axis.id_kind, axis.grid.clone(), blocks)
        .map_err(|error| damaged(&error))
}

/// The row of the context with this id, or this place in its cycle.
///
/// # Errors
/// Where the data have none of this name.
pub async fn context_named(
    engine: &Engine<'_>,
    data: &DataSet,
    name: &str,
) -> Result<u32, Failure> {
    let names = contexts(engine, data).await?;
    names
        .iter()
        .position(|known| known == name)
        .map(|row| row as u32)
        .ok_or_else(|| {
            let known: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
            let more = if names.len() > known.len() {
                format!(" and {} more", names.len() - known.len())
            } else {
                String::new()
            };
            let sentence = format!(
                "`output.recommend.context` is \"{name}\", which the data do not have as a context; they have {}{more}",
                known.join(", ")
            );
            Failure::new(Refusal::Config, sentence)
        })
}

/// The names of all contexts by row: ids as text (bytes in hexadecimals), or the words of a cycle.
async fn contexts(engine: &Engine<'_>, data: &DataSet) -> Result<Vec<String>, Failure> {
    match data.context.as_deref() {
        None => Ok(Vec::new()),
        Some(ContextAxis::Cycle { cycle, .. }) => {
            Ok((0..cycle.places()).map(|place| cycle.name(place)).collect())
        }
        Some(ContextAxis::Ids(axis)) => {
            let ids = of_axis(engine, axis).await?;
            let name = |row: u32| match ids.get(row) {
                Some(IdRef::Utf8(id)) => id.to_owned(),
                Some(id) => shown(id),
                None => String::new(),
            };
            Ok((0..axis.grid.rows_total() as u32).map(name).collect())
        }
    }
}

/// Replaces `{user:ROW}`, `{product:ROW}` and `{context:ROW}` in the sentences of a failure by column and original id.
pub async fn named(engine: &Engine<'_>, data: &DataSet, mut failure: Failure) -> Failure {
    for (mode, axis) in [("user", &data.user), ("product", &data.product)] {
        let mark = format!("{{{mode}:");
        for complaint in &mut failure.complaints {
            while let Some((row, range)) = marked(&complaint.sentence, &mark) {
                // Without a dictionary the row itself is the best name there is.
                let ids = of_axis(engine, axis).await.ok();
                let id = ids
                    .as_ref()
                    .and_then(|ids| ids.get(row))
                    .map_or_else(|| format!("row {row}"), shown);
                complaint
                    .sentence
                    .replace_range(range, &format!("{} {id}", axis.column));
            }
        }
    }
    for complaint in &mut failure.complaints {
        while let Some((row, range)) = marked(&complaint.sentence, "{context:") {
            let names = contexts(engine, data).await.unwrap_or_default();
            let name = names.get(row as usize).cloned();
            let name = name.unwrap_or_else(|| format!("row {row}"));
            complaint
                .sentence
                .replace_range(range, &format!("context {name}"));
        }
    }
    failure
}

fn marked(sentence: &str, mark: &str) -> Option<(u32, std::ops::Range<usize>)> {
    let start = sentence.find(mark)?;
    let digits = start + mark.len();
    let end = digits + sentence[digits..].find('}')?;
    Some((sentence[digits..end].parse().ok()?, start..end + 1))
}

fn shown(id: IdRef<'_>) -> String {
    match id {
        IdRef::Int64(id) => id.to_string(),
        IdRef::UInt64(id) => id.to_string(),
        IdRef::Utf8(id) => format!("{id:?}"),
        IdRef::Binary(id) => {
            let digits = |byte: &u8| [byte >> 4, byte & 15];
            let nibbles = id.iter().flat_map(digits);
            nibbles
                .filter_map(|digit| char::from_digit(u32::from(digit), 16))
                .collect()
        }
    }
}
