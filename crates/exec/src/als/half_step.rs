//! A half-step on one block: pieces in, a new version of the block and its Gram partial out.

use super::gather::{Gather, Planned};
use super::objects::{
    Numbers, bad_data, bad_partition, block_written, held, held_gram, held_row, key_at, numbers,
    partition, read_at, sealed_numbers,
};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::basis::basis_len;
use model::als::desk::Desks;
use model::als::half_step::{Factors, HalfStep, Shared};
use model::als::side::{Side, side_len};
use model::als::small_mode::packed_len;
use model::als::{HalfStepOp, Rows, SideOp, Tally};
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, ObjectKey, Small, Task};

/// A [`HalfStepOp`] in progress.
pub struct HalfStepWork {
    op: HalfStepOp,
    block: BlockId,
    room: Room,
    writes: Vec<ObjectKey>,
    partition_key: ObjectKey,
    /// What is read besides partition and table, in the op's order.
    small_keys: Vec<ObjectKey>,
    gather: Gather,
    started: Option<Started>,
    planned: Option<Planned>,
    pieces: u64,
    cut_rows: u64,
}

/// What there is once the first fetch came.
struct Started {
    partition: Partition,
    small: Small<Option<Numbers>>,
    step: HalfStep,
    side: Option<Arc<Side>>,
    desks: Desks,
    out: AlignedBuf,
    next: u64,
}

impl HalfStepWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: HalfStepOp, room: &Room) -> Result<Self, Failure> {
        let block = block_written(task)?;
        let width = op.formula.width();
        let partition_key = key_at(task, 0)?;
        let small_keys = (2..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let rows = u64::from(op.rows.rows[block.0 as usize]);
        let threads = room.pool.current_num_threads();
        let ObjectKey::Sealed { .. } = partition_key else {
            return Err(super::objects::bug(task, "reads no sealed partition first"));
        };
        // The new version and, while it starts, the last one.
        let versions = if op.warm { 2 } else { 1 };
        let basis = if op.basis { basis_len(width) } else { 0 };
        let fixed = HalfStep::bytes(&op, rows, longest_row(partition_key), threads)
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
        Ok(HalfStepWork {
            op,
            block,
            room: room.clone(),
            writes: task.writes.clone(),
            partition_key,
            small_keys,
            gather,
            started: None,
            planned: None,
            pieces: 0,
            cut_rows: 0,
        })
    }

    fn start(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let first = fetched.next().expect("one answer per want");
        let partition = partition(first, self.partition_key)?;
        let mut small = Vec::new();
        for (&key, fetched) in self.small_keys.iter().zip(fetched.by_ref()) {
            small.push(match key {
                ObjectKey::Sealed { .. } => sealed_numbers(fetched, key)?,
                _ => numbers(fetched, Some(key))?,
            });
        }
        self.gather.take_first(fetched)?;
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
        let last = came.next_if(self.op.warm);
        let words = came.next_if(self.op.side.is_some());
        let mapped = self.op.side.as_ref().filter(|side| side.mapped);
        let maps = came.next_if(mapped.is_some_and(SideOp::holds_factors));
        let terms = came.next_if(mapped.is_some_and(|side| side.linear));
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
        let mut step = HalfStep::new(self.room.simd, &self.op, block, shared);
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
                let side = Side::new(self.room.simd, rank, op, words, maps, terms);
                let side = Arc::new(side);
                step = step.with_side(Arc::clone(&side));
                Some(side)
            }
            _ => None,
        };
        let width = self.op.formula.width();
        let mut out = self
            .room
            .buffers
            .take(partition.rows() as usize * width * 4);
        let last = last.as_ref().map(Numbers::typed);
        let offsets = partition.offsets();
        self.room
            .pool
            .install(|| step.start(last, offsets, out.typed_mut()));
        let panel = HalfStep::panel(&self.op, longest_row(self.partition_key));
        let desks = self.room.desks(width, panel);
        self.started = Some(Started {
            partition,
            small: pairs.map(|(table, _)| table),
            step,
            side,
            desks,
            out,
            next: 0,
        });
        if !self.gather.fetches_rows() {
            self.run_pieces()?;
        }
        Ok(())
    }

    /// All pieces, where they need no fetch.
    fn run_pieces(&mut self) -> Result<(), Failure> {
        while self.plan()?.is_some() {
            self.piece(Vec::new())?;
        }
        Ok(())
    }

    /// Plans the next piece; `None` at the end of the partition.
    fn plan(&mut self) -> Result<Option<Vec<Want>>, Failure> {
        let started = self.started.as_ref().expect("the partition came first");
        if started.next == started.partition.interactions() {
            return Ok(None);
        }
        let (planned, wants) = self.gather.plan(&started.partition, started.next)?;
        self.room.soon(&started.partition, planned.range.clone());
        self.planned = Some(planned);
        Ok(Some(wants))
    }

    fn piece(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let planned = self.planned.take().expect("a piece was planned");
        let Started {
            partition,
            small,
            step,
            desks,
            out,
            next,
            ..
        } = self.started.as_mut().expect("started");
        let width = self.op.formula.width();
        let tables = small
            .as_ref()
            .map(|table| table.as_ref().map(|table| [table.typed::<f32>()]));
        let small = tables
            .as_ref()
            .map(|table| table.as_ref().map(|table| Rows::contiguous(table, width)));
        let gather = &self.gather;
        self.room.pool.install(|| {
            gather.with_piece(partition, &planned, fetched, |csr, first_row, columns| {
                step.piece(
                    csr,
                    first_row,
                    Factors { columns, small },
                    desks,
                    out.typed_mut(),
                );
            })
        })?;
        self.pieces += 1;
        self.cut_rows += u64::from(
            partition
                .offsets()
                .binary_search(&planned.range.end)
                .is_err(),
        );
        *next = planned.range.end;
        self.room.done_for_now(partition, planned.range);
        Ok(())
    }
}

/// A bound of the longest row of a partition: a column takes four bytes of its file.
fn longest_row(partition: ObjectKey) -> u64 {
    match partition {
        ObjectKey::Sealed { bytes, .. } => bytes / 4,
        _ => 0,
    }
}

impl Work for HalfStepWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.started.is_some() {
            return Ok(self.plan()?.map_or(Need::Nothing, Need::Fetch));
        }
        let small = std::iter::once(&self.partition_key).chain(&self.small_keys);
        let mut wants: Vec<Want> = small.map(|&key| Want::Object(key, Part::Whole)).collect();
        wants.extend(self.gather.first_wants());
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.started.is_some() {
            self.piece(fetched)
        } else {
            self.start(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let Started {
            mut step,
            side,
            partition,
            desks,
            mut out,
            ..
        } = self.started.expect("everything is computed");
        let width = self.op.formula.width();
        let panel = HalfStep::panel(&self.op, longest_row(self.partition_key));
        self.room.leave(width, panel, desks);
        let (pool, mut writes) = (&self.room.pool, self.writes.into_iter());
        let block = writes.next();
        let equations = self.op.sums.and_then(|mode| *self.op.small.of(mode)?);
        let equations = equations.map(|bins| {
            let row_bytes = packed_len(&self.op.formula) * 8;
            let mut equations = AlignedBuf::zeroed(bins as usize * row_bytes);
            step.small_equations(equations.typed_mut());
            held(equations, row_bytes)
        });
        let mut tally = pool.install(|| step.finish(out.typed_mut()));
        let gram = writes.next_if(self.op.formula.has_base());
        let gram = gram.map(|key| (key, held_gram(&self.room, width, out.typed())));
        let mut sums = None;
        if let (Some(op), Some(side)) = (&self.op.side, side) {
            let mut sum = vec![0.0; side_len(width, op)];
            let offsets = partition.offsets();
            pool.install(|| side.partial(&self.op, out.typed(), offsets, &mut sum));
            sums = writes.next().map(|key| (key, held_row(&sum)));
            let first = self.op.rows.row_ids(self.block).start;
            let cold = pool.install(|| side.read_out(&self.op, offsets, first, out.typed_mut()));
            tally = Tally {
                failed: tally.failed.or(cold.err()),
                ..tally
            };
        }
        // Rows without interactions have no part in anything before; to be scored, they too have their ones.
        self.op.biases.complete(width, out.typed_mut());
        let block = block.map(|key| (key, held(out, 4 * width)));
        let equations = writes.next().zip(equations);
        let objects = block.into_iter().chain(gram).chain(sums);
        Ok(Output {
            objects: objects.chain(equations).collect(),
            puts: Vec::new(),
            partial: tally.encode(),
            pieces: self.pieces,
            cut_rows: self.cut_rows,
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
