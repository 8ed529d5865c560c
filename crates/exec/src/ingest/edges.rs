//! Looking up the ids of edges in the dictionaries of their mode.

use super::attributes::{dictionaries, sealed};
use super::{bug, failure, held, of_split, rows};
use crate::objects::fits;
use crate::{Fetched, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use tables::edges::{Matching, Next};
use tables::op::MatchOp;
use tensor::{ObjectKey, Read, Task};

/// A [`MatchOp`] in progress.
pub(super) struct MatchWork {
    matching: Matching,
    ids: Read,
    dictionaries: Vec<ObjectKey>,
    write: ObjectKey,
    /// Whether dictionaries were asked for.
    learns: bool,
    pieces: u64,
}

impl MatchWork {
    pub(super) fn new(op: MatchOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let reads = task.reads.split_first();
        let (&ids, known) = reads.ok_or_else(|| bug("edges are matched without ids"))?;
        let dictionaries = dictionaries(known)?.0;
        let bytes = |key: &ObjectKey| match key {
            ObjectKey::Sealed { bytes, .. } => *bytes,
            _ => 0,
        };
        let bytes: Vec<u64> = dictionaries.iter().map(bytes).collect();
        fits(Matching::bytes(&op.rows, &bytes), room.budget_bytes)?;
        let matching = Matching::new(op, &bytes, &room.cache, room.budget_bytes);
        Ok(MatchWork {
            matching: matching.map_err(failure)?,
            ids,
            dictionaries,
            write: task.writes[0],
            learns: false,
            pieces: 0,
        })
    }
}

impl Work for MatchWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(next) = self.matching.wants() else {
            return Ok(Need::Nothing);
        };
        self.learns = matches!(next, Next::Dictionaries(_));
        Ok(Need::Fetch(match next {
            Next::Dictionaries(blocks) => {
                let keys = self.dictionaries[blocks].iter();
                keys.map(|&key| Want::Object(key, Part::Whole)).collect()
            }
            Next::Ids { split, bytes } => {
                let object = of_split(&self.ids, split)?;
                vec![Want::Object(object, Part::Span(bytes))]
            }
        }))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.learns {
            return self.matching.know(sealed(fetched)?).map_err(failure);
        }
        self.pieces += 1;
        for came in fetched {
            self.matching.feed(rows(came)?.bytes()).map_err(failure)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let found = self.matching.finish().map_err(failure)?;
        Ok(Output {
            objects: vec![(self.write, held(found, 4))],
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
