//! Deriving a few partitions of a view, each on a thread.

use crate::ingest::{bug, failure};
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use plan::Failure;
use rayon::prelude::*;
use tables::op::{self, SealReport, ViewOp};
use tensor::{DepotId, KeyRange, Read, Task};

pub(crate) struct ViewWork {
    op: ViewOp,
    reads: Vec<Read>,
    room: Room,
    output: Option<Output>,
}

impl ViewWork {
    pub(crate) fn new(op: ViewOp, task: &Task, room: &Room) -> Self {
        ViewWork {
            op,
            reads: task.reads.clone(),
            room: room.clone(),
            output: None,
        }
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
        let (op, cache) = (&self.op, &self.room.cache);
        let budget_bytes = self.room.budget_bytes / op.units.len().max(1) as u64;
        let derived: Vec<_> = self.room.pool.install(|| {
            let units = op.units.par_iter().zip(sources);
            units
                .map(|(unit, source)| {
                    tables::view::derive(&op.spec, unit, op.duplicates, source, cache, budget_bytes)
                })
                .collect()
        });
        let mut output = Output {
            pieces: 1,
            ..Output::default()
        };
        let mut report = SealReport::default();
        for derived in derived {
            let (file, partition) = derived.map_err(failure)?;
            output.puts.push(Put {
                depot: DepotId::DATA,
                file,
            });
            report.partitions.push(partition);
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
