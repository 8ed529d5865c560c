//! Descent on a tile: its partition in pieces of whole rows, both blocks in memory, one thread.

use super::{other_rows, other_writes};
use crate::objects::{Numbers, bad_partition, bug, fits, held, key_at, numbers, partition};
use crate::trouble::failure_of;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::sgd::TileOp;
use model::sgd::tile::{Blocks, Descent};
use plan::Failure;
use std::ops::Range;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{CsrRef, ObjectKey, Task};

/// Bytes of pieces at most: more gain nothing, and a smaller one is prefetched while the one before is computed.
const PIECE_BYTES_MAX: u64 = 4 << 20;

/// A [`TileOp`] in progress.
pub(super) struct TileWork {
    op: TileOp,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    done: Option<Done>,
}

/// What is handed over.
struct Done {
    users: AlignedBuf,
    products: AlignedBuf,
    bin_gradients: AlignedBuf,
    losses: f64,
    pieces: u64,
}

impl TileWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or its blocks do not fit the budget.
    pub(super) fn new(task: &Task, op: TileOp, room: &Room) -> Result<Self, Failure> {
        let keys = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<Vec<_>, _>>()?;
        let in_bins = usize::from(op.bins > 0);
        if keys.len() != 3 + usize::from(op.negatives > 0) + in_bins {
            return Err(bug(task, "reads other objects than its op"));
        }
        if task.writes.len() != 2 + in_bins {
            return Err(other_writes(task));
        }
        let work = TileWork {
            op,
            room: room.clone(),
            keys,
            writes: task.writes.clone(),
            done: None,
        };
        // A row of a piece may name every product of the block; in a tensor one may name them in several bins.
        let least = u64::from(work.op.products) * work.interaction_bytes();
        fits(work.fixed_bytes() + least, room.budget_bytes)?;
        Ok(work)
    }

    /// Both blocks as they came and as they will be, the noise, and what descent holds.
    fn fixed_bytes(&self) -> u64 {
        let rows = u64::from(self.op.users) + u64::from(self.op.products);
        let noise = u64::from(self.op.products) * 8;
        2 * rows * self.op.row_bytes() as u64 + noise + Descent::bytes(&self.op)
    }

    /// Bytes of an interaction of a piece: its product, its value and, in a tensor, its bin.
    fn interaction_bytes(&self) -> u64 {
        if self.op.bins > 0 { 12 } else { 8 }
    }

    /// Refuses a tensor's partition that has no bins, or whose longest row does not fit.
    fn check_bins(&self, partition: &Partition) -> Result<(), Failure> {
        if self.op.bins == 0 {
            return Ok(());
        }
        if !partition.has().time {
            return Err(bad_partition("has no ids of time, which is factored"));
        }
        let ends = partition.offsets().windows(2);
        let longest = ends.map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        let needed = self.fixed_bytes() + longest * self.interaction_bytes();
        fits(needed, self.room.budget_bytes)
    }

    /// The rows of each piece: as many as the budget lets be, at least one.
    fn pieces(&self, partition: &Partition) -> Vec<Range<usize>> {
        let left = self.room.budget_bytes - self.fixed_bytes();
        let most = left.min(PIECE_BYTES_MAX) / self.interaction_bytes();
        let offsets = partition.offsets();
        let rows = partition.rows() as usize;
        let (mut pieces, mut start) = (Vec::new(), 0);
        while start < rows {
            let end = offsets.partition_point(|&offset| offset <= offsets[start] + most) - 1;
            let end = end.clamp(start + 1, rows);
            pieces.push(start..end);
            start = end;
        }
        pieces
    }

    fn each_piece(
        &self,
        partition: &Partition,
        mut take: impl FnMut(&CsrRef<'_>, u32),
    ) -> Result<u64, Failure> {
        let pieces = self.pieces(partition);
        for rows in &pieces {
            let offsets = &partition.offsets()[rows.start..=rows.end];
            let range = offsets[0]..offsets[rows.len()];
            let piece = partition
                .piece(range.clone())
                .map_err(|error| failure_of(error, Some(self.keys[0])))?;
            let csr = piece
                .csr(offsets, self.op.products.into())
                .map_err(|fault| bad_partition(&format!("is none of its blocks: {fault}")))?;
            let bins = csr.small().time.unwrap_or_default();
            if self.op.bins > 0 && bins.iter().any(|&bin| bin >= self.op.bins) {
                return Err(bad_partition("names a time bin that its data set lacks"));
            }
            take(&csr, rows.start as u32);
            self.room.done_for_now(partition, range);
        }
        Ok(pieces.len() as u64)
    }

    /// The rows of a block that came, to be moved.
    fn block(&self, came: Numbers, rows: u32) -> Result<AlignedBuf, Failure> {
        let bytes: &[u8] = came.typed();
        if bytes.len() as u64 != u64::from(rows) * self.op.row_bytes() as u64 {
            return Err(bad_partition("is of other blocks than those that came"));
        }
        Ok(AlignedBuf::copy_of(bytes))
    }
}

impl Work for TileWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(if self.done.is_some() {
            Need::Nothing
        } else {
            let wants = self.keys.iter().map(|&key| Want::Object(key, Part::Whole));
            Need::Fetch(wants.collect())
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let first = fetched.next().expect("one answer per want");
        let partition = partition(first, self.keys[0])?;
        if partition.rows() != self.op.users {
            return Err(other_rows(self.op.tile, partition.rows(), self.op.users));
        }
        let mut numbers = fetched
            .zip(&self.keys[1..])
            .map(|(fetched, &key)| numbers(fetched, Some(key)));
        let mut next = || numbers.next().expect("one answer per want");
        let mut users = self.block(next()?, self.op.users)?;
        let mut products = self.block(next()?, self.op.products)?;
        let noise = (self.op.negatives > 0).then(&mut next).transpose()?;
        let bins = (self.op.bins > 0).then(&mut next).transpose()?;
        self.check_bins(&partition)?;
        let bin_floats = self.op.bins as usize * self.op.row_bytes() / 4;
        if bins
            .as_ref()
            .is_some_and(|bins| bins.typed::<f32>().len() != bin_floats)
        {
            return Err(bad_partition("is of other bins than those that came"));
        }
        let mut bin_gradients = AlignedBuf::zeroed(4 * bin_floats);
        let mut blocks = Blocks {
            users: users.typed_mut(),
            products: products.typed_mut(),
            noise: noise.as_ref().map_or(&[], Numbers::typed),
            bins: bins.as_ref().map_or(&[], Numbers::typed),
            bin_gradients: bin_gradients.typed_mut(),
        };
        let mut descent = Descent::new(&self.op, self.room.simd);
        if descent.counts_first() {
            self.each_piece(&partition, |csr, row| descent.count(csr, row))?;
        }
        let pieces = self.each_piece(&partition, |csr, row| {
            descent.piece(csr, row, &mut blocks);
        })?;
        let losses = descent.finish(&mut blocks);
        self.done = Some(Done {
            users,
            products,
            bin_gradients,
            losses,
            pieces,
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let done = self.done.expect("everything is computed");
        let row_bytes = self.op.row_bytes();
        let blocks = [done.users, done.products, done.bin_gradients];
        let blocks = blocks.map(|block| held(block, row_bytes));
        Ok(Output {
            objects: self.writes.into_iter().zip(blocks).collect(),
            partial: done.losses.to_le_bytes().to_vec(),
            pieces: done.pieces,
            ..Output::default()
        })
    }
}
