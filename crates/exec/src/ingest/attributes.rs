//! Tables of attributes: learning what a split comes to, and sealing the words of some blocks.

use super::{bug, failure};
use crate::objects::fits;
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use bytes::Bytes;
use plan::Failure;
use store::Sealed;
use tables::attributes::{Learn, TableScan, Words};
use tables::op::{self, LearnOp, WordsOp};
use tensor::{DepotId, KeyRange, ObjectKey, Read, Task};

/// A [`LearnOp`] in progress.
pub(super) struct LearnWork {
    scan: TableScan,
    learn: Learn,
    pieces: u64,
}

impl LearnWork {
    pub(super) fn new(op: &LearnOp, room: &Room) -> Result<Self, Failure> {
        let splits = std::slice::from_ref(&op.split);
        fits(TableScan::bytes(splits), room.budget_bytes)?;
        Ok(LearnWork {
            scan: TableScan::new(&op.id, &op.columns, splits),
            learn: Learn::new(op),
            pieces: 0,
        })
    }
}

impl Work for LearnWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(need(&self.scan))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        self.pieces += 1;
        let learn = &mut self.learn;
        let taken = self.scan.take(bytes(fetched)?, |batch| learn.batch(&batch));
        taken.map_err(failure)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            partial: op::encode(&self.learn.finish()),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}

/// A [`WordsOp`] in progress.
pub(super) struct WordsWork {
    op: WordsOp,
    dictionaries: Vec<ObjectKey>,
    room: Room,
    scan: TableScan,
    words: Option<Words>,
    pieces: u64,
}

impl WordsWork {
    pub(super) fn new(op: WordsOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let (dictionaries, known) = dictionaries(&task.reads)?;
        let needed = TableScan::bytes(&op.splits) + Words::bytes(&op, op.rows, known);
        fits(needed, room.budget_bytes)?;
        Ok(WordsWork {
            scan: TableScan::new(&op.id, &op.columns, &op.splits),
            op,
            dictionaries,
            room: room.clone(),
            words: None,
            pieces: 0,
        })
    }
}

impl Work for WordsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.words.is_none() {
            let wants = self.dictionaries.iter();
            let wants = wants.map(|&key| Want::Object(key, Part::Whole));
            return Ok(Need::Fetch(wants.collect()));
        }
        Ok(need(&self.scan))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let Some(words) = &mut self.words else {
            let files = sealed(fetched)?;
            self.words = Some(Words::new(self.op.clone(), files).map_err(failure)?);
            return Ok(());
        };
        self.pieces += 1;
        let taken = self.scan.take(bytes(fetched)?, |batch| words.batch(&batch));
        taken.map_err(failure)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let words = self
            .words
            .ok_or_else(|| bug("attributes end before they began"))?;
        let (files, report) = words.finish(&self.room.cache).map_err(failure)?;
        let put = |file| Put {
            depot: DepotId::DATA,
            file,
        };
        Ok(Output {
            puts: files.into_iter().map(put).collect(),
            partial: op::encode(&report),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}

/// The keys of the dictionaries that a task reads, and their bytes.
pub(super) fn dictionaries(reads: &[Read]) -> Result<(Vec<ObjectKey>, u64), Failure> {
    let key = |read: &Read| match read.keys {
        KeyRange::One(key) => Ok(key),
        KeyRange::Blocks { .. } => Err(bug("tables of ids read sealed dictionaries")),
    };
    let keys: Vec<ObjectKey> = reads.iter().map(key).collect::<Result<_, _>>()?;
    let bytes = |key: &ObjectKey| match key {
        ObjectKey::Sealed { bytes, .. } => *bytes,
        _ => 0,
    };
    let known = keys.iter().map(bytes).sum();
    Ok((keys, known))
}

/// Dictionaries that came.
pub(super) fn sealed(fetched: Vec<Fetched>) -> Result<Vec<Sealed>, Failure> {
    let sealed = |fetched| match fetched {
        Fetched::Sealed(file) => Ok(file),
        _ => Err(bug(
            "a table of ids was handed something else than a sealed dictionary",
        )),
    };
    fetched.into_iter().map(sealed).collect()
}

/// What a scan lacks.
pub(super) fn need(scan: &TableScan) -> Need {
    scan.wants().map_or(Need::Nothing, |(file, ranges)| {
        let wants = ranges.into_iter().map(|range| Want::Input(file, range));
        Need::Fetch(wants.collect())
    })
}

/// Bytes of a file that came.
pub(super) fn bytes(fetched: Vec<Fetched>) -> Result<Vec<Bytes>, Failure> {
    let bytes = |fetched| match fetched {
        Fetched::Bytes(bytes) => Ok(bytes),
        _ => Err(bug(
            "a table of attributes was handed something else than bytes",
        )),
    };
    fetched.into_iter().map(bytes).collect()
}
