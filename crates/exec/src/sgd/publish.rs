//! A block of a model, from its rows in the super-block.

use super::other_writes;
use crate::objects::{block_written, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::sgd::PublishOp;
use model::sgd::publish::publish;
use plan::Failure;
use std::ops::Range;
use store::AlignedBuf;
use tensor::{ObjectKey, SuperBlocks, Task};

/// A [`PublishOp`] in progress.
pub(super) struct PublishWork {
    op: PublishOp,
    key: ObjectKey,
    rows: Range<u64>,
    write: ObjectKey,
    out: Option<AlignedBuf>,
}

impl PublishWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or the block does not fit the budget.
    pub(super) fn new(task: &Task, op: PublishOp, room: &Room) -> Result<Self, Failure> {
        let block = block_written(task)?;
        let &[write] = &task.writes[..] else {
            return Err(other_writes(task));
        };
        let (_, start) = SuperBlocks::new(&op.grid, op.side).place(block);
        let count = u64::from(op.grid.rows[block.0 as usize]);
        let floats = (op.trained_len() + op.width()) as u64;
        fits(count * 4 * floats, room.budget_bytes)?;
        Ok(PublishWork {
            op,
            key: key_at(task, 0)?,
            rows: u64::from(start)..u64::from(start) + count,
            write,
            out: None,
        })
    }
}

impl Work for PublishWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(if self.out.is_some() {
            Need::Nothing
        } else {
            Need::Fetch(vec![Want::Object(self.key, Part::Span(self.rows.clone()))])
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched.into_iter().next().expect("one answer per want");
        let trained = numbers(fetched, Some(self.key))?;
        let rows = (self.rows.end - self.rows.start) as usize;
        let mut out = AlignedBuf::zeroed(rows * self.op.width() * 4);
        publish(&self.op, trained.typed(), out.typed_mut());
        self.out = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let out = self.out.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held(out, 4 * self.op.width()))],
            pieces: 1,
            ..Output::default()
        })
    }
}
