//! Merging the runs of ids of a mode, a chunk of each at a time.

use super::{failure, held, of_split, rows};
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use plan::Failure;
use tables::dictionary::DictionaryBuild;
use tables::op::{self, DictionaryOp};
use tensor::{DepotId, ObjectKey, Read, Task};

pub(super) struct DictionaryWork {
    build: DictionaryBuild,
    read: Read,
    write: ObjectKey,
    /// The runs of the wants under way.
    asked: Vec<usize>,
    pieces: u64,
}

impl DictionaryWork {
    pub(super) fn new(op: DictionaryOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        Ok(DictionaryWork {
            build: DictionaryBuild::new(op, &room.cache, room.budget_bytes).map_err(failure)?,
            read: task.reads[0],
            write: task.writes[0],
            asked: Vec::new(),
            pieces: 0,
        })
    }
}

impl Work for DictionaryWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let mut wants = Vec::new();
        self.asked.clear();
        for (run, split, range) in self.build.wants() {
            self.asked.push(run);
            wants.push(Want::Object(
                of_split(&self.read, split)?,
                Part::Span(range),
            ));
        }
        Ok(if wants.is_empty() {
            Need::Nothing
        } else {
            Need::Fetch(wants)
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        self.pieces += 1;
        for (&run, fetched) in self.asked.iter().zip(fetched) {
            self.build.feed(run, rows(fetched)?.bytes());
        }
        self.build.advance().map_err(failure)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let built = self.build.finish().map_err(failure)?;
        let put = |file| Put {
            depot: DepotId::DATA,
            file,
        };
        Ok(Output {
            objects: vec![(self.write, held(built.rows, 4))],
            puts: built.files.into_iter().map(put).collect(),
            partial: op::encode(&built.report),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
