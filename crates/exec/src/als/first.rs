//! Counts before training, and the first factors.

use crate::objects::{Numbers, block_written, fits, held, held_gram, key_at, numbers, partition};
use crate::trouble::failure_of;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::first::first_factors;
use model::als::{InitOp, Totals, TotalsOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{BlockId, ObjectKey, Task};

/// Interactions that are looked at together.
const PIECE: u64 = 1 << 18;

/// A [`TotalsOp`] in progress.
pub struct TotalsWork {
    op: TotalsOp,
    first_id: u32,
    room: Room,
    key: ObjectKey,
    totals: Option<Totals>,
    pieces: u64,
}

impl TotalsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub fn new(task: &Task, op: TotalsOp, room: &Room) -> Result<Self, Failure> {
        let first_id = op.rows.row_ids(BlockId(task.id.index)).start;
        Ok(TotalsWork {
            op,
            first_id,
            room: room.clone(),
            key: key_at(task, 0)?,
            totals: None,
            pieces: 0,
        })
    }
}

impl Work for TotalsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.totals {
            None => Need::Fetch(vec![Want::Object(self.key, Part::Whole)]),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched.into_iter().next().expect("one answer per want");
        let partition = partition(fetched, self.key)?;
        let mut totals = Totals::default();
        for start in (0..partition.interactions()).step_by(PIECE as usize) {
            let range = start..partition.interactions().min(start + PIECE);
            let damaged = |error| failure_of(error, Some(self.key));
            let piece = partition.piece(range.clone()).map_err(damaged)?;
            let rows = partition.rows_of(range.clone());
            let offsets = &partition.offsets()[rows.start..=rows.end];
            let csr = piece
                .csr(offsets, 1 << 32)
                .expect("a partition's own pieces are rows");
            totals.add(&self.op.formula, csr, self.first_id + rows.start as u32);
            self.room.done_for_now(&partition, range);
            self.pieces += 1;
        }
        self.totals = Some(totals);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let partial = self.totals.expect("everything is counted").encode();
        Ok(Output {
            partial,
            pieces: self.pieces,
            ..Output::default()
        })
    }
}

/// An [`InitOp`].
pub struct InitWork {
    op: InitOp,
    block: BlockId,
    /// The rows that are given.
    given_key: Option<ObjectKey>,
    given: Option<Numbers>,
    writes: Vec<ObjectKey>,
    room: Room,
}

impl InitWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task writes no block, or the block does not fit the budget.
    pub fn new(task: &Task, op: InitOp, room: &Room) -> Result<Self, Failure> {
        let block = block_written(task)?;
        let rows = u64::from(op.grid.rows[block.0 as usize]);
        fits(
            rows * 4 * u64::from(op.rank.next_multiple_of(16)),
            room.budget_bytes,
        )?;
        Ok(InitWork {
            given_key: if op.given {
                Some(key_at(task, 0)?)
            } else {
                None
            },
            given: None,
            op,
            block,
            writes: task.writes.clone(),
            room: room.clone(),
        })
    }
}

impl Work for InitWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.given_key.filter(|_| self.given.is_none()) {
            Some(key) => Need::Fetch(vec![Want::Object(key, Part::Whole)]),
            None => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched.into_iter().next().expect("one answer per want");
        self.given = Some(numbers(fetched, self.given_key)?);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let width = self.op.rank.next_multiple_of(16) as usize;
        let rows = self.op.grid.rows[self.block.0 as usize] as usize;
        let mut out = AlignedBuf::zeroed(rows * width * 4);
        let given = self.given.as_ref().map(Numbers::typed);
        first_factors(&self.op, self.block, given, out.typed_mut());
        let gram = self
            .writes
            .get(1)
            .map(|&key| (key, held_gram(&self.room, width, out.typed())));
        let mut objects = vec![(self.writes[0], held(out, 4 * width))];
        objects.extend(gram);
        Ok(Output {
            objects,
            pieces: 1,
            ..Output::default()
        })
    }
}
