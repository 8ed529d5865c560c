//! Original ids of rows, from the sealed dictionaries.

use super::engine::{Engine, failed};
use crate::failure::Failure;
use plan::Refusal;
use store::dictionary::{Dictionary, IdRef};
use tables::out::ids::Ids;
use tensor::{Axis, DataSet, DepotId};

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

/// Replaces `{user:ROW}` and `{product:ROW}` in the sentences of a failure by column and original id.
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
