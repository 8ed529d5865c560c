//! A half-step on one block: pieces in, a new version of the block and its Gram partial out.

use crate::objects::{
    Numbers, bad_data, bad_partition, block_written, bug, held, held_gram, held_row, key_at,
    numbers, read_at, sealed_numbers,
};
use crate::pieces::{Gather, Pass, Passing};
use crate::work::{Fetched, Output, Room};
use model::als::basis::basis_len;
use model::als::desk::Desks;
use model::als::half_step::{Factors, HalfStep, Shared};
use model::als::neighbours::Neighbours;
use model::als::side::{Side, side_len};
use model::als::small_mode::packed_len;
use model::als::{HalfStepOp, Rows, SideOp, Tally};
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, CsrRef, ObjectKey, Small, Task};

/// A [`HalfStepOp`] in progress.
pub struct HalfStepPass {
    op: HalfStepOp,
    block: BlockId,
    writes: Vec<ObjectKey>,
    /// The longest row that the partition can have.
    longest: u64,
    /// What is read besides partition and table, in the op's order.
    keys: Vec<ObjectKey>,
    started: Option<Started>,
}

/// What there is once the first fetch came.
struct Started {
    small: Small<Option<Numbers>>,
    step: HalfStep,
    side: Option<Arc<Side>>,
    desks: Desks,
    /// The last version, where rows without interactions stay as they are there.
    last: Option<Numbers>,
    out: AlignedBuf,
}

impl HalfStepPass {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn begin(task: &Task, op: HalfStepOp, room: &Room) -> Result<Passing<Self>, Failure> {
        let block = block_written(task)?;
        let width = op.formula.width();
        let partition_key = key_at(task, 0)?;
        let keys: Vec<_> = (2..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let rows = u64::from(op.rows.rows[block.0 as usize]);
        let threads = room.pool.current_num_threads();
        let ObjectKey::Sealed { bytes, .. } = partition_key else {
            return Err(bug(task, "reads no sealed partition first"));
        };
        // A column takes four bytes of the file.
        let longest = bytes / 4;
        // The new version and the last one, as long as it is read.
        let versions = if op.warm || op.keeps { 2 } else { 1 };
        let basis = if op.basis { basis_len(width) } else { 0 };
        let fixed = HalfStep::bytes(&op, rows, longest, threads)
            + rows * (versions * 4 * width as u64 + 8)
            + 8 * basis as u64
            + op.side
                .as_ref()
                .map_or(0, |side| Side::bytes(side, width, rows, threads))
            + op.small
                .map(|rows| u64::from(rows.unwrap_or(0)))
                .each()
                .iter()
                .map(|(_, rows)| rows)
                .sum::<u64>()
                * 4
                * width as u64;
        let gather = Gather::new(
            &op.columns,
            read_at(task, 1)?,
            width,
            fixed,
            0,
            room.budget_bytes,
        )?;
        let pass = HalfStepPass {
            op,
            block,
            writes: task.writes.clone(),
            longest,
            keys: keys.clone(),
            started: None,
        };
        Ok(Passing::new(pass, room, partition_key, keys, gather))
    }
}

impl Pass for HalfStepPass {
    fn start(
        &mut self,
        room: &Room,
        partition: &Partition,
        came: Vec<Fetched>,
    ) -> Result<(), Failure> {
        let mut small = Vec::new();
        for (&key, fetched) in self.keys.iter().zip(came) {
            small.push(match key {
                ObjectKey::Sealed { .. } => sealed_numbers(fetched, key)?,
                _ => numbers(fetched, Some(key))?,
            });
        }
        let mut came = small.into_iter();
        let has_base = self.op.formula.has_base();
        let basis = came.next_if(self.op.basis);
        let gram = came.next_if(has_base && basis.is_none());
        let pairs = self.op.small.map(|rows| {
            let table = came.next_if(rows.is_some());
            let gram = came.next_if(has_base && basis.is_none() && rows.is_some());
            (table, gram)
        });
        let small_grams = pairs.as_ref().map(|(_, gram)| gram.as_ref());
        let last = came.next_if(self.op.warm || self.op.keeps);
        let words = came.next_if(self.op.side.is_some());
        let mapped = self.op.side.as_ref().filter(|side| side.mapped);
        let maps = came.next_if(mapped.is_some_and(SideOp::holds_factors));
        let terms = came.next_if(mapped.is_some_and(|side| side.linear));
        let degrees = came.next_if(self.op.neighbours.is_some());
        let pulls = came.next_if(self.op.neighbours.is_some());
        let block = self.block;
        if partition.rows() != self.op.rows.rows[block.0 as usize] {
            let what = format!(
                "of block {} has {} rows, its data set another number",
                block.0,
                partition.rows()
            );
            return Err(bad_partition(&what));
        }
        let shared = Shared {
            gram: gram.as_ref().map(Numbers::typed),
            small_grams: small_grams.map(|gram| gram.map(Numbers::typed)),
            basis: basis.as_ref().map(Numbers::typed),
        };
        let mut step = HalfStep::new(room.simd, &self.op, block, shared);
        let side = match (&self.op.side, words) {
            (Some(op), Some(words)) => {
                let words = words.typed::<u32>();
                let expected = partition.rows() as usize * op.attributes.len();
                if words.len() != expected {
                    let sentence = format!(
                        "the attributes of block {} have {} entries instead of {expected}: ingest the data set again",
                        block.0,
                        words.len()
                    );
                    return Err(bad_data(sentence));
                }
                let maps = maps.as_ref().map(Numbers::typed);
                let terms = terms.as_ref().map(Numbers::typed);
                let rank = self.op.formula.rank;
                let side = Side::new(room.simd, rank, op, words, maps, terms);
                let side = Arc::new(side);
                step = step.with_side(Arc::clone(&side));
                Some(side)
            }
            _ => None,
        };
        let width = self.op.formula.width();
        if let (Some(weight), Some(degrees), Some(pulls)) = (self.op.neighbours, degrees, pulls) {
            let of = Neighbours::new(weight, width, degrees.typed(), pulls.typed());
            step = step.with_neighbours(of);
        }
        let mut out = room.buffers.take(partition.rows() as usize * width * 4);
        let first = last.as_ref().filter(|_| self.op.warm).map(Numbers::typed);
        let offsets = partition.offsets();
        room.pool
            .install(|| step.start(first, offsets, out.typed_mut()));
        let panel = HalfStep::panel(&self.op, self.longest);
        let desks = room.desks(width, panel);
        self.started = Some(Started {
            small: pairs.map(|(table, _)| table),
            step,
            side,
            desks,
            last: last.filter(|_| self.op.keeps),
            out,
        });
        Ok(())
    }

    fn piece(
        &mut self,
        _ids: &[u32],
        csr: CsrRef<'_>,
        first_row: u32,
        columns: Rows<'_>,
    ) -> Result<(), Failure> {
        let width = self.op.formula.width();
        let started = self.started.as_mut().expect("started");
        let tables = started
            .small
            .as_ref()
            .map(|table| table.as_ref().map(|table| [table.typed::<f32>()]));
        let small = tables
            .as_ref()
            .map(|table| table.as_ref().map(|table| Rows::contiguous(table, width)));
        let factors = Factors { columns, small };
        let out = started.out.typed_mut();
        started
            .step
            .piece(csr, first_row, factors, &started.desks, out);
        Ok(())
    }

    fn finish(self, room: &Room, partition: &Partition) -> Result<Output, Failure> {
        let Started {
            mut step,
            side,
            desks,
            last,
            mut out,
            ..
        } = self.started.expect("everything is computed");
        let width = self.op.formula.width();
        let panel = HalfStep::panel(&self.op, self.longest);
        room.leave(width, panel, desks);
        let (pool, mut writes) = (&room.pool, self.writes.into_iter());
        let block = writes.next();
        let equations = self.op.sums.and_then(|mode| *self.op.small.of(mode)?);
        let equations = equations.map(|bins| {
            let row_bytes = packed_len(&self.op.formula) * 8;
            let mut equations = AlignedBuf::zeroed(bins as usize * row_bytes);
            step.small_equations(equations.typed_mut());
            held(equations, row_bytes)
        });
        let offsets = partition.offsets();
        let (mut tally, neighbours) = pool.install(|| step.finish(offsets, out.typed_mut()));
        let gram = writes.next_if(self.op.formula.has_base() && !self.op.keeps);
        let gram = gram.map(|key| (key, held_gram(room, width, out.typed())));
        let mut sums = None;
        if let (Some(op), Some(side)) = (&self.op.side, side) {
            let mut sum = vec![0.0; side_len(width, op)];
            pool.install(|| side.partial(&self.op, out.typed(), offsets, &mut sum));
            sums = writes.next().map(|key| (key, held_row(&sum)));
            let first = self.op.rows.row_ids(self.block).start;
            let cold = pool.install(|| side.read_out(&self.op, offsets, first, out.typed_mut()));
            tally = Tally {
                failed: tally.failed.or(cold.err()),
                ..tally
            };
        }
        // Rows without interactions have no part in anything before; to be scored, they are as their neighbours, and they too have
        // their ones.
        if let Some(neighbours) = neighbours {
            neighbours.read_out(offsets, out.typed_mut());
        }
        if let Some(last) = last {
            let rows = out.typed_mut::<f32>().chunks_exact_mut(width);
            let last = last.typed::<f32>().chunks_exact(width);
            for ((row, last), ends) in rows.zip(last).zip(offsets.windows(2)) {
                if ends[0] == ends[1] {
                    row.copy_from_slice(last);
                }
            }
        }
        self.op.biases.complete(width, out.typed_mut());
        let block = block.map(|key| (key, held(out, 4 * width)));
        let equations = writes.next().zip(equations);
        let objects = block.into_iter().chain(gram).chain(sums);
        Ok(Output {
            objects: objects.chain(equations).collect(),
            partial: tally.encode(),
            ..Output::default()
        })
    }
}

/// Takes the next one if there is to be one.
trait NextIf: Iterator {
    fn next_if(&mut self, wanted: bool) -> Option<Self::Item> {
        if wanted { self.next() } else { None }
    }
}

impl<I: Iterator> NextIf for I {}
