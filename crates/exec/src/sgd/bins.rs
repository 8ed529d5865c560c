//! The first rows of bins, and a step of them.

use super::other_writes;
use crate::als::objects::{Numbers, bad_partition, bug, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::sgd::bins::{first_bins, move_bins};
use model::sgd::{BinsOp, FirstBinsOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`FirstBinsOp`]: nothing has to come.
pub(super) struct FirstBinsWork {
    write: ObjectKey,
    out: AlignedBuf,
    row_bytes: usize,
}

impl FirstBinsWork {
    /// A task that is done.
    ///
    /// # Errors
    /// Where the task's writes are not those of its op, or the bins do not fit the budget.
    pub(super) fn new(task: &Task, op: &FirstBinsOp, room: &Room) -> Result<Self, Failure> {
        let &[write] = &task.writes[..] else {
            return Err(other_writes(task));
        };
        let row_bytes = 4 * op.row_len();
        let bytes = u64::from(op.bins) * row_bytes as u64;
        fits(bytes, room.budget_bytes)?;
        let mut out = AlignedBuf::zeroed(bytes as usize);
        first_bins(op, out.typed_mut());
        Ok(FirstBinsWork {
            write,
            out,
            row_bytes,
        })
    }
}

impl Work for FirstBinsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(Need::Nothing)
    }

    fn compute(&mut self, _fetched: Vec<Fetched>) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            objects: vec![(self.write, held(self.out, self.row_bytes))],
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`BinsOp`] in progress.
pub(super) struct BinsWork {
    op: BinsOp,
    room: Room,
    keys: Vec<ObjectKey>,
    write: ObjectKey,
    out: Option<AlignedBuf>,
}

impl BinsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or the bins do not fit the budget.
    pub(super) fn new(task: &Task, op: BinsOp, room: &Room) -> Result<Self, Failure> {
        let keys = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.len() < 2 {
            return Err(bug(task, "reads fewer objects than its op"));
        }
        let &[write] = &task.writes[..] else {
            return Err(other_writes(task));
        };
        // The new version, and in each thread a row of every tile in f64.
        let threads = room.pool.current_num_threads() as u64;
        let rows = u64::from(op.bins) + 2 * threads * keys.len() as u64;
        fits(rows * 4 * op.row_len() as u64, room.budget_bytes)?;
        Ok(BinsWork {
            op,
            room: room.clone(),
            keys,
            write,
            out: None,
        })
    }
}

impl Work for BinsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(if self.out.is_some() {
            Need::Nothing
        } else {
            let wants = self.keys.iter().map(|&key| Want::Object(key, Part::Whole));
            Need::Fetch(wants.collect())
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self
            .keys
            .iter()
            .zip(fetched)
            .map(|(&key, fetched)| numbers(fetched, Some(key)));
        let came: Vec<Numbers> = came.collect::<Result<_, _>>()?;
        let floats = self.op.bins as usize * self.op.row_len();
        if came.iter().any(|one| one.typed::<f32>().len() != floats) {
            return Err(bad_partition("is of other bins than those that came"));
        }
        let mut out = AlignedBuf::copy_of(came[0].typed());
        let gradients: Vec<&[f32]> = came[1..].iter().map(Numbers::typed).collect();
        let (op, pool) = (&self.op, &self.room.pool);
        pool.install(|| move_bins(op, &gradients, out.typed_mut()));
        self.out = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let out = self.out.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held(out, 4 * self.op.row_len()))],
            pieces: 1,
            ..Output::default()
        })
    }
}
