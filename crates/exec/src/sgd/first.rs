//! Counts before training, and the first rows of a super-block.

use super::{other_rows, other_writes};
use crate::objects::{Numbers, block_written, fits, held, key_at, numbers, partition};
use crate::trouble::failure_of;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::sgd::first::{first_rows, noise};
use model::sgd::{FirstOp, Noise, Totals};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, Mode, ObjectKey, SuperBlocks, Task};

/// Interactions that are looked at together: at least, at most, and the bytes of one.
const PIECE_MIN: u64 = 1 << 10;
const PIECE_MAX: u64 = 1 << 18;
const INTERACTION_BYTES: u64 = 12;

/// A [`FirstOp`] in progress: one partition after the other.
pub(super) struct FirstWork {
    op: FirstOp,
    blocks: std::ops::Range<u32>,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    room: Room,
    out: AlignedBuf,
    done: usize,
    filled: usize,
    totals: Totals,
    piece: u64,
    pieces: u64,
}

impl FirstWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or the super-block does not fit the budget.
    pub(super) fn new(task: &Task, op: FirstOp, room: &Room) -> Result<Self, Failure> {
        let one = block_written(task)?.0;
        let joined = SuperBlocks::new(&op.grid, op.side);
        let blocks = joined.blocks(one);
        if task.writes.len() != 1 + usize::from(op.noise.is_some()) {
            return Err(other_writes(task));
        }
        let count = if op.given.is_some() { 2 } else { 1 } * blocks.len();
        let keys = (0..count)
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let row_bytes = 4 * op.row_len() as u64;
        let rows = u64::from(joined.rows(one));
        // Weights and their alias table while it is made.
        let beside = if op.noise.is_some() { 32 } else { 0 };
        let fixed = rows * (row_bytes + beside);
        fits(fixed + PIECE_MIN * INTERACTION_BYTES, room.budget_bytes)?;
        let most = (room.budget_bytes - fixed) / INTERACTION_BYTES;
        Ok(FirstWork {
            room: room.clone(),
            out: AlignedBuf::zeroed((rows * row_bytes) as usize),
            op,
            blocks,
            keys,
            writes: task.writes.clone(),
            done: 0,
            filled: 0,
            totals: Totals::default(),
            piece: most.min(PIECE_MAX),
            pieces: 0,
        })
    }

    /// What is given of the block that is next.
    fn given_key(&self) -> Option<&ObjectKey> {
        self.keys.get(self.blocks.len() + self.done)
    }

    fn count(&mut self, partition: &Partition, block: BlockId) -> Result<(), Failure> {
        // Both orientations hold the same values: the users' are counted.
        if self.op.mode != Mode::User {
            return Ok(());
        }
        let first_id = self.op.grid.row_ids(block).start;
        for start in (0..partition.interactions()).step_by(self.piece as usize) {
            let range = start..partition.interactions().min(start + self.piece);
            let piece = partition
                .piece(range.clone())
                .map_err(|error| failure_of(error, Some(self.keys[self.done])))?;
            let rows = partition.rows_of(range.clone());
            let offsets = &partition.offsets()[rows.start..=rows.end];
            let csr = piece
                .csr(offsets, 1 << 32)
                .expect("a partition's own pieces are rows");
            self.totals.add(&self.op, csr, first_id + rows.start as u32);
            self.room.done_for_now(partition, range);
            self.pieces += 1;
        }
        Ok(())
    }
}

impl Work for FirstWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.done == self.blocks.len() {
            return Ok(Need::Nothing);
        }
        let keys = [Some(&self.keys[self.done]), self.given_key()];
        let wants = keys.into_iter().flatten();
        let wants = wants.map(|&key| Want::Object(key, Part::Whole));
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let first = fetched.next().expect("one answer per want");
        let partition = partition(first, self.keys[self.done])?;
        let given = fetched
            .next()
            .map(|given| numbers(given, self.given_key().copied()));
        let given = given.transpose()?;
        let given = given.as_ref().map(Numbers::typed);
        let block = BlockId(self.blocks.start + self.done as u32);
        let rows = self.op.grid.rows[block.0 as usize];
        if partition.rows() != rows {
            return Err(other_rows(block.0, partition.rows(), rows));
        }
        let end = self.filled + rows as usize * self.op.row_len();
        let out = &mut self.out.typed_mut()[self.filled..end];
        first_rows(&self.op, block, partition.offsets(), given, out);
        self.count(&partition, block)?;
        self.filled = end;
        self.done += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Output, Failure> {
        let slots = self.op.noise.map(|power| {
            let (slots, weight) = noise(&self.op, power, self.out.typed());
            self.totals.noise = weight;
            held(
                AlignedBuf::copy_of(bytemuck::cast_slice(&slots)),
                size_of::<Noise>(),
            )
        });
        let rows = held(self.out, 4 * self.op.row_len());
        Ok(Output {
            objects: self
                .writes
                .into_iter()
                .zip(std::iter::once(rows).chain(slots))
                .collect(),
            partial: self.totals.encode(),
            pieces: self.pieces.max(1),
            ..Output::default()
        })
    }
}
