//! Deriving a few partitions of a view, each on a thread, or the tiles of a user super-block.

use crate::ingest::{bug, failure};
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use plan::Failure;
use rayon::prelude::*;
use store::Sealed;
use tables::TablesError;
use tables::combine::Built;
use tables::op::{self, SealReport, TilesOp, ViewOp};
use tensor::{DepotId, KeyRange, Read, Task};

/// What is derived.
enum Derive {
    Partitions(ViewOp),
    Tiles(TilesOp),
}

pub(crate) struct ViewWork {
    op: Derive,
    reads: Vec<Read>,
    room: Room,
    output: Option<Output>,
}

impl ViewWork {
    pub(crate) fn new(op: ViewOp, task: &Task, room: &Room) -> Self {
        Self::of(Derive::Partitions(op), task, room)
    }

    pub(crate) fn tiles(op: TilesOp, task: &Task, room: &Room) -> Self {
        Self::of(Derive::Tiles(op), task, room)
    }

    fn of(op: Derive, task: &Task, room: &Room) -> Self {
        ViewWork {
            op,
            reads: task.reads.clone(),
            room: room.clone(),
            output: None,
        }
    }
}

impl ViewWork {
    fn partitions(&self, op: &ViewOp, sources: Vec<Sealed>) -> Result<Vec<Built>, TablesError> {
        let cache = &self.room.cache;
        let budget_bytes = self.room.budget_bytes / op.units.len().max(1) as u64;
        let mut sources = sources.into_iter();
        let units = op.units.iter();
        let units: Vec<_> = units
            .map(|unit| {
                let of_unit = sources.by_ref().take(unit.sources.len());
                (unit, of_unit.collect::<Vec<_>>())
            })
            .collect();
        self.room.pool.install(|| {
            units
                .into_par_iter()
                .map(|(unit, sources)| tables::view::derive(op, unit, sources, cache, budget_bytes))
                .collect()
        })
    }
}

impl Work for ViewWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.output.is_some() {
            return Ok(Need::Nothing);
        }
        let want = |read: &Read| match read.keys {
            KeyRange::One(key) => Ok(Want::Object(key, Part::Whole)),
            KeyRange::Blocks { .. } => Err(bug("a view reads sealed partitions")),
        };
        Ok(Need::Fetch(
            self.reads.iter().map(want).collect::<Result<_, _>>()?,
        ))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let sources = fetched
            .into_iter()
            .map(|fetched| match fetched {
                Fetched::Sealed(file) => Ok(file),
                _ => Err(bug(
                    "a view was handed something else than a sealed partition",
                )),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let derived = match &self.op {
            Derive::Partitions(op) => self.partitions(op, sources),
            Derive::Tiles(op) => {
                tables::tiles::derive(op, sources, &self.room.cache, self.room.budget_bytes)
            }
        };
        let mut output = Output {
            pieces: 1,
            ..Output::default()
        };
        let mut report = SealReport::default();
        for built in derived.map_err(failure)? {
            output.puts.push(Put {
                depot: DepotId::DATA,
                file: report.take(built),
            });
        }
        output.partial = op::encode(&report);
        self.output = Some(output);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        self.output
            .ok_or_else(|| bug("a view ends before it began"))
    }
}
