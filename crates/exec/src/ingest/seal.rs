//! Merging and sealing a few blocks, each on a thread.

use super::{bug, failure, of_split, rows};
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use plan::Failure;
use rayon::prelude::*;
use tables::combine::UnitMerge;
use tables::ingest::USER_MAJOR;
use tables::op::{self, SealOp, SealReport};
use tensor::{DepotId, KeyRange, Mode, ObjectKey, Read, Task};

pub(super) struct SealWork {
    units: Vec<(Mode, UnitMerge)>,
    reads: Vec<Read>,
    room: Room,
    /// The units and runs of the wants under way.
    asked: Vec<(usize, usize)>,
    pieces: u64,
}

impl SealWork {
    pub(super) fn new(op: &SealOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let share = room.budget_bytes / (2 * op.units.len().max(1) as u64);
        let merge = |unit: &op::SealUnit| {
            let merge = UnitMerge::new(unit.clone(), op, &room.cache, share);
            Ok((unit.orientation, merge.map_err(failure)?))
        };
        Ok(SealWork {
            units: op.units.iter().map(merge).collect::<Result<_, Failure>>()?,
            reads: task.reads.clone(),
            room: room.clone(),
            asked: Vec::new(),
            pieces: 0,
        })
    }

    fn object(&self, orientation: Mode, split: u32) -> Result<ObjectKey, Failure> {
        let is_user = orientation == Mode::User;
        let of_orientation = |read: &&Read| match read.keys {
            KeyRange::Blocks { table, .. } => (table == USER_MAJOR) == is_user,
            KeyRange::One(_) => false,
        };
        // Edges of a mode are sealed one orientation a task: both have rows of that mode.
        let read = match &self.reads[..] {
            [only] => Some(only),
            reads => reads.iter().find(of_orientation),
        };
        of_split(
            read.ok_or_else(|| bug("a seal task does not read its orientation"))?,
            split,
        )
    }
}

impl Work for SealWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let mut named = Vec::new();
        for (number, (orientation, unit)) in self.units.iter_mut().enumerate() {
            for (run, split, range) in unit.wants() {
                named.push((number, run, *orientation, split, range));
            }
        }
        let mut wants = Vec::new();
        self.asked.clear();
        for (number, run, orientation, split, range) in named {
            self.asked.push((number, run));
            wants.push(Want::Object(
                self.object(orientation, split)?,
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
        for (&(unit, run), fetched) in self.asked.iter().zip(fetched) {
            self.units[unit].1.feed(run, rows(fetched)?.typed());
        }
        let units = &mut self.units;
        let advanced: Vec<_> = self.room.pool.install(|| {
            units
                .par_iter_mut()
                .map(|(_, unit)| unit.advance())
                .collect()
        });
        advanced
            .into_iter()
            .try_for_each(|result| result.map_err(failure))
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let units = self.units;
        let sealed: Vec<_> = self.room.pool.install(|| {
            units
                .into_par_iter()
                .map(|(_, unit)| unit.finish())
                .collect()
        });
        let mut output = Output {
            pieces: self.pieces,
            ..Output::default()
        };
        let mut report = SealReport::default();
        for sealed in sealed {
            output.puts.push(Put {
                depot: DepotId::DATA,
                file: report.take(sealed.map_err(failure)?),
            });
        }
        output.partial = op::encode(&report);
        Ok(output)
    }
}
