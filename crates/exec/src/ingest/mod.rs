//! The tasks of ingest: what each needs next, and the threads that it computes on.

mod attributes;
mod carry;
mod dictionary;
mod edges;
mod grow;
mod scan;
mod seal;
mod shuffle;
mod vectors;

use crate::trouble::failure_of;
use crate::view::ViewWork;
use crate::{Fetched, Held, Room, Work};
use plan::{Failure, Refusal};
use std::sync::Arc;
use tables::op::{EdgeRule, RowIds};
use tables::spool::Spooled;
use tables::{ErrorKind, Op, TablesError};
use tensor::{BlockId, KeyRange, ObjectKey, Read, Task};

/// Opens a task of tables.
pub(crate) fn begin(task: &Task, room: &Room) -> Result<Box<dyn Work>, Failure> {
    let op = Op::decode(&task.op).map_err(failure)?;
    let (reads, writes) = match &op {
        Op::Scan(op) => (0, 3 + usize::from(op.spec.context_column().is_some())),
        Op::Dictionary(_) => (1, 1),
        Op::Shuffle(op) => {
            let sides = if op.edges == Some(EdgeRule::Both) {
                1
            } else {
                2
            };
            (task.reads.len().clamp(3, 4), sides)
        }
        Op::Match(op) => (1 + op.rows.len(), 1),
        Op::Grow(op) => (1 + op.known.rows.len(), 1),
        Op::Seal(_) => (task.reads.len().clamp(1, 2), 0),
        Op::View(op) => {
            let sources = op.units.iter().map(|unit| unit.sources.len());
            (sources.sum(), 0)
        }
        Op::Tiles(_) | Op::Words(_) => (task.reads.len().max(1), 0),
        Op::Learn(_) => (0, 0),
        Op::Carry(op) => (op.rows.len(), op.rows.len()),
        Op::Vectors(op) => match op.ids {
            RowIds::Original(_) => (op.rows.len(), op.rows.len()),
            RowIds::Numbered(_) => (0, op.rows.len()),
        },
    };
    if (task.reads.len(), task.writes.len()) != (reads, writes) {
        return Err(bug(
            "a task of tables reads or writes other objects than its op",
        ));
    }
    Ok(match op {
        Op::Scan(op) => Box::new(scan::ScanWork::new(op, task, room)?),
        Op::Dictionary(op) => Box::new(dictionary::DictionaryWork::new(op, task, room)?),
        Op::Shuffle(op) => Box::new(shuffle::ShuffleWork::new(op, task, room)),
        Op::Seal(op) => Box::new(seal::SealWork::new(&op, task, room)?),
        Op::View(op) => Box::new(ViewWork::new(op, task, room)),
        Op::Tiles(op) => Box::new(ViewWork::tiles(op, task, room)),
        Op::Learn(op) => Box::new(attributes::LearnWork::new(&op, room)?),
        Op::Words(op) => Box::new(attributes::WordsWork::new(op, task, room)?),
        Op::Match(op) => Box::new(edges::MatchWork::new(op, task, room)?),
        Op::Carry(op) => Box::new(carry::CarryWork::new(op, task, room)?),
        Op::Grow(op) => Box::new(grow::GrowWork::new(op, task, room)?),
        Op::Vectors(op) => Box::new(vectors::VectorsWork::new(op, task, room)?),
    })
}

/// What an error of tables means to the plan.
pub(crate) fn failure(error: TablesError) -> Failure {
    let refusal = match error.kind() {
        ErrorKind::BadData => Refusal::BadData,
        ErrorKind::Config => Refusal::Config,
        ErrorKind::Io => Refusal::Io,
        ErrorKind::Bug => Refusal::Bug,
    };
    match error {
        TablesError::Store(error) => failure_of(error, None),
        error => Failure::Refused {
            refusal,
            sentence: error.to_string(),
        },
    }
}

/// A contract between our own parts is broken.
pub(crate) fn bug(sentence: &str) -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence: sentence.to_owned(),
    }
}

/// Spooled bytes as an object of rows.
fn held(spooled: Spooled, row_bytes: u32) -> Held {
    match spooled {
        Spooled::Memory(buffer) => Held::Memory {
            buffer: Arc::new(buffer),
            row_bytes,
        },
        Spooled::File(file) => Held::File { file, row_bytes },
    }
}

/// The object of a split among those that a task reads together.
fn of_split(read: &Read, split: u32) -> Result<ObjectKey, Failure> {
    match read.keys {
        KeyRange::Blocks {
            table,
            first: 0,
            count,
            version,
        } if split < count => Ok(ObjectKey::Block {
            table,
            block: BlockId(split),
            version,
        }),
        _ => Err(bug(
            "a task of tables does not read the split that its op names",
        )),
    }
}

/// Packed rows that were asked for.
fn rows(fetched: Fetched) -> Result<Arc<store::AlignedBuf>, Failure> {
    match fetched {
        Fetched::Rows(rows) => Ok(rows),
        _ => Err(bug("a task of tables was handed something else than rows")),
    }
}
