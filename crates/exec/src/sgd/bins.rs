//! The first rows of bins, and a step of them.

use super::other_writes;
use crate::objects::{Numbers, bad_partition, bug, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::sgd::bins::{first_bins, move_bins};
use model::sgd::{BinsOp, FirstBinsOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`FirstBinsOp`] in progress.
pub(super) struct FirstBinsWork {
    op: FirstBinsOp,
    /// The rows that are given, until they came.
    key: Option<ObjectKey>,
    write: ObjectKey,
    out: AlignedBuf,
}

impl FirstBinsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or the bins do not fit the budget.
    pub(super) fn new(task: &Task, op: FirstBinsOp, room: &Room) -> Result<Self, Failure> {
        let &[write] = &task.writes[..] else {
            return Err(other_writes(task));
        };
        let bytes = u64::from(op.bins) * 4 * op.row_len() as u64;
        fits(bytes, room.budget_bytes)?;
        let mut out = AlignedBuf::zeroed(bytes as usize);
        let key = op.given.map(|_| key_at(task, 0)).transpose()?;
        if key.is_none() {
            first_bins(&op, None, out.typed_mut());
        }
        Ok(FirstBinsWork {
            op,
            key,
            write,
            out,
        })
    }
}

impl Work for FirstBinsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.key {
            Some(key) => Need::Fetch(vec![Want::Object(key, Part::Whole)]),
            None => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched.into_iter().next().expect("one answer per want");
        let given = numbers(fetched, self.key.take())?;
        first_bins(&self.op, Some(given.typed()), self.out.typed_mut());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = 4 * self.op.row_len();
        Ok(Output {
            objects: vec![(self.write, held(self.out, row_bytes))],
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
