//! Runs the op that makes directions of rows: a block comes whole and goes whole.

use crate::evaluate::reading::{Reads, RowBytes, bug, whole};
use crate::evaluate::stretches::short_by;
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::recommend::DirectionsOp;
use model::recommend::directions::directions;
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// The task.
pub(crate) struct DirectionsWork {
    op: DirectionsOp,
    room: Room,
    read: ObjectKey,
    write: ObjectKey,
    made: Option<AlignedBuf>,
}

impl DirectionsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(crate) fn new(task: &Task, op: DirectionsOp, room: &Room) -> Result<Self, Failure> {
        let Some(&write) = task.writes.first() else {
            return Err(bug(format!("task {} writes nothing", task.id)));
        };
        Ok(DirectionsWork {
            op,
            room: room.clone(),
            read: Reads::of(task).one()?,
            write,
            made: None,
        })
    }
}

impl Work for DirectionsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.made {
            None => Need::Fetch(vec![whole(self.read)]),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let Some(came) = fetched.into_iter().next() else {
            return Err(bug("no rows came where a block was asked for".to_owned()));
        };
        let came = RowBytes::of(came)?;
        let rows: &[u8] = came.typed();
        // The block's rows may be many: a budget for them is needed only here, where they are known.
        let (needed, budget) = (2 * rows.len() as u64, self.room.budget_bytes);
        if needed > budget {
            return Err(short_by(needed, budget));
        }
        let (op, simd) = (self.op, self.room.simd);
        let mut out = AlignedBuf::copy_of(rows);
        self.room
            .pool
            .install(|| directions(simd, op, out.typed_mut()));
        self.made = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let buffer = Arc::new(self.made.expect("everything is computed"));
        let held = Held::Memory {
            buffer,
            row_bytes: 4 * self.op.width,
        };
        Ok(Output {
            objects: vec![(self.write, held)],
            pieces: 1,
            ..Output::default()
        })
    }
}
