//! What a task takes and makes, by its real op and measured costs.

use super::costs::{Costs, Solve};
use super::links::{Nanos, nanos};
use super::shape::{Machine, Shape, Spread};
use kernels::upper_len;
use model::als::basis::basis_len;
use model::als::half_step::HalfStep;
use model::als::small_mode::packed_len;
use model::als::{AlsOp, HalfStepOp, Input, SmallPartialOp, Tally, Totals};
use model::{Op, several};
use plan::Wrote;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tensor::{Digest, Grid, KeyRange, ObjectKey, PartitionRef, Task};
use worker::Split;

/// Interactions that a plan of pieces looks at together, and bytes of each, as in `exec`.
const LEAST: u64 = 16_384;
const INTERACTION_BYTES: u64 = 20;
/// Tasks that a worker has in progress.
const LANES: u32 = 2;
/// Decoded ops that are kept.
const KEPT: usize = 64;

/// Rows of a table that a task asks for piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes of all rows of all pieces.
    pub bytes: u64,
    /// How many.
    pub pieces: u64,
}

/// What a task takes and makes.
pub struct Work {
    /// Of all threads of a worker.
    pub computes: Nanos,
    /// What it writes.
    pub wrote: Vec<Wrote>,
    /// What it returns.
    pub partial: Vec<u8>,
    /// Where tables that are read by rows are not had whole.
    pub pieces: Option<Pieces>,
    /// Bytes of partitions.
    pub sealed: u64,
}

/// An op with the bytes that it was opened from.
type Decoded = (Arc<[u8]>, Rc<Op>);
/// The side of a table, rows and interactions of a partition, and whether a small mode's equations are added up.
type Asked = (usize, u32, u64, bool);

/// Costs of the tasks of a shape on a kind of worker.
pub struct Works<'a> {
    costs: &'a Costs,
    solve: &'a Solve,
    machine: Machine,
    spreads: [Spread; 2],
    partitions: BTreeMap<Digest, PartitionRef>,
    grids: [Grid; 2],
    bins: u32,
    /// Where blocks begin, in rows.
    begins: [Vec<u64>; 2],
    width: u64,
    decoded: RefCell<BTreeMap<usize, Decoded>>,
    planned: RefCell<BTreeMap<Asked, Option<Pieces>>>,
}

impl<'a> Works<'a> {
    /// Those of a shape.
    ///
    /// # Errors
    /// Where a figure is missing.
    pub fn new(
        costs: &'a Costs,
        shape: &Shape,
        machine: Machine,
        input: &Input,
        width: u64,
    ) -> Result<Self, String> {
        let grids = [input.user.clone(), input.product.clone()];
        let begins = [0, 1].map(|side: usize| {
            let rows = grids[side].rows.iter();
            let mut begins = vec![0];
            begins.extend(rows.scan(0, |sum, &rows| {
                *sum += u64::from(rows);
                Some(*sum)
            }));
            begins
        });
        let both = input
            .train
            .user_major
            .iter()
            .chain(&input.train.product_major);
        Ok(Works {
            costs,
            solve: costs.solve(shape.rank, &shape.solver)?,
            machine,
            spreads: [shape.user_spread, shape.product_spread],
            partitions: both.map(|of| (of.object.digest, *of)).collect(),
            grids,
            bins: input.small.time,
            begins,
            width,
            decoded: RefCell::default(),
            planned: RefCell::default(),
        })
    }

    /// How the memory of a worker is divided.
    pub fn split(&self) -> Split {
        Split::of(self.machine.memory_bytes, false)
    }

    /// Tasks side by side.
    pub fn lanes(&self) -> u32 {
        self.split().lanes(LANES)
    }

    /// The side that a table's rows are of; none: a small mode's.
    fn side(table: u16) -> Option<usize> {
        use model::als::schedule::{PRODUCTS, TURNED_PRODUCTS, TURNED_USERS, USERS};
        match tensor::TableId(table) {
            USERS | TURNED_USERS => Some(0),
            PRODUCTS | TURNED_PRODUCTS => Some(1),
            _ => None,
        }
    }

    /// Rows of blocks of a table.
    fn rows(&self, table: u16, first: u32, count: u32) -> u64 {
        match Self::side(table) {
            Some(side) => {
                let begins = &self.begins[side];
                begins[(first + count) as usize] - begins[first as usize]
            }
            None => u64::from(self.bins),
        }
    }

    /// Bytes of blocks; 0 of what is no block.
    pub fn block_bytes(&self, keys: KeyRange) -> u64 {
        match keys {
            KeyRange::One(ObjectKey::Block { table, block, .. }) => {
                4 * self.width * self.rows(table.0, block.0, 1)
            }
            KeyRange::Blocks {
                table,
                first,
                count,
                ..
            } => 4 * self.width * self.rows(table.0, first, count),
            KeyRange::One(_) => 0,
        }
    }

    fn decode(&self, op: &tensor::Op) -> Rc<Op> {
        let mut decoded = self.decoded.borrow_mut();
        let place = op.body.as_ptr() as usize;
        if let Some((_, op)) = decoded.get(&place) {
            return Rc::clone(op);
        }
        if decoded.len() >= KEPT {
            decoded.clear();
        }
        let opened = Rc::new(Op::decode(op).expect("an op of the program"));
        // The bytes are kept, so that no other op comes to lie at their place.
        decoded.insert(place, (Arc::clone(&op.body), Rc::clone(&opened)));
        opened
    }

    /// What a task takes.
    ///
    /// # Panics
    /// Where the program has an op that is not simulated.
    pub fn of(&self, task: &Task) -> Work {
        let op = self.decode(&task.op);
        let (seconds, partial) = match &*op {
            Op::Several(several) => return self.of_several(task, several),
            Op::Als(op) => self.of_als(op, task),
            Op::Reduce(op) => {
                let bytes = task.reads.len() as u64 * op.rows * u64::from(op.row_bytes);
                (self.streams(bytes), Vec::new())
            }
            other => panic!("no cost of {other:?} is known"),
        };
        let own = self.costs.worker_task_us.value * 1e-6;
        Work {
            computes: nanos(seconds + own),
            wrote: self.wrote(&op, task),
            partial,
            pieces: self.pieces(&op, task),
            sealed: self.partition(task).map_or(0, |of| of.object.bytes),
        }
    }

    fn of_several(&self, bundle: &Task, several: &several::Several) -> Work {
        let tasks = several.tasks(bundle).expect("a bundle of the program");
        let works: Vec<Work> = tasks.iter().map(|task| self.of(task)).collect();
        let pieces = works.iter().filter_map(|work| work.pieces);
        let pieces = pieces.reduce(|sum, next| Pieces {
            bytes: sum.bytes + next.bytes,
            pieces: sum.pieces + next.pieces,
        });
        let partials: Vec<Vec<u8>> = works.iter().map(|work| work.partial.clone()).collect();
        Work {
            computes: works.iter().map(|work| work.computes).sum(),
            wrote: works.iter().flat_map(|work| work.wrote.clone()).collect(),
            partial: several::encode(&partials),
            pieces,
            sealed: works.iter().map(|work| work.sealed).sum(),
        }
    }

    fn threads(&self) -> f64 {
        f64::from(self.machine.threads)
    }

    fn streams(&self, bytes: u64) -> f64 {
        bytes as f64 / (self.costs.stream_gbytes.value * 1e9 * self.threads())
    }

    fn of_als(&self, op: &AlsOp, task: &Task) -> (f64, Vec<u8>) {
        let known = self.partition(task);
        let interactions = known.map_or(0, |of| of.interactions);
        let (solve, threads) = (self.solve, self.threads());
        let width = self.width as f64;
        match op {
            AlsOp::Totals(_) => {
                let totals = Totals {
                    interactions,
                    weights: interactions as f64,
                    values: interactions as f64,
                    constant: interactions as f64,
                    forbidden: None,
                };
                let bytes = known.map_or(0, |of| of.object.bytes);
                (self.streams(bytes), totals.encode())
            }
            AlsOp::Init(_) => (self.streams(self.written(task)), Vec::new()),
            AlsOp::HalfStep(_) => {
                let rows = known.map_or(0, |of| of.rows);
                let microseconds =
                    interactions as f64 * solve.interaction_us + f64::from(rows) * solve.row_us;
                let gram = f64::from(rows) * width * width / (self.costs.dense_gflops.value * 1e9);
                (
                    (microseconds * 1e-6 + gram) / threads,
                    Tally::default().encode(),
                )
            }
            AlsOp::SmallPartial(_) => {
                let of = solve.small_interaction_us.unwrap_or(solve.interaction_us);
                (interactions as f64 * of * 1e-6 / threads, Vec::new())
            }
            AlsOp::SmallSolve(op) => {
                let flops = f64::from(op.rows) * width * width * width / 3.0;
                let seconds = flops / (self.costs.dense_gflops.value * 1e9 * threads);
                (seconds, Tally::default().encode())
            }
            AlsOp::Basis(_) => (solve.basis_ms * 1e-3, Vec::new()),
            AlsOp::Turn(_) => {
                let rows = self.written(task) as f64 / (4.0 * width);
                let flops = 2.0 * rows * width * width;
                (
                    flops / (self.costs.dense_gflops.value * 1e9 * threads),
                    Vec::new(),
                )
            }
            AlsOp::Maps(_) => panic!("no shape has attributes"),
        }
    }

    fn partition(&self, task: &Task) -> Option<&PartitionRef> {
        match task.reads.first()?.keys {
            KeyRange::One(ObjectKey::Sealed { digest, .. }) => self.partitions.get(&digest),
            _ => None,
        }
    }

    fn written(&self, task: &Task) -> u64 {
        task.writes
            .iter()
            .map(|&key| self.block_bytes(key.into()))
            .sum()
    }

    fn wrote(&self, op: &Op, task: &Task) -> Vec<Wrote> {
        let partial = match op {
            Op::Reduce(op) => op.rows * u64::from(op.row_bytes),
            Op::Als(AlsOp::Basis(_)) => 8 * basis_len(self.width as usize) as u64,
            Op::Als(AlsOp::SmallPartial(op)) => {
                8 * u64::from(op.rows()) * packed_len(&op.formula) as u64
            }
            _ => 8 * upper_len(self.width as usize) as u64,
        };
        let wrote = task.writes.iter().map(|&key| Wrote {
            key,
            bytes: match key {
                ObjectKey::Block { .. } => self.block_bytes(key.into()),
                _ => partial,
            },
            digest: None,
        });
        wrote.collect()
    }

    /// The pieces of an op that may not have a table whole, as `exec` plans them.
    fn pieces(&self, op: &Op, task: &Task) -> Option<Pieces> {
        let (side, small) = match op {
            Op::Als(AlsOp::HalfStep(op)) => (usize::from(op.columns == self.grids[1]), false),
            Op::Als(AlsOp::SmallPartial(_)) => (1, true),
            _ => return None,
        };
        // Where both grids are alike, by the side of the partition.
        let of = self.partition(task)?;
        let side = if self.grids[0] == self.grids[1] {
            usize::from(of.object.digest.0[0] == 0)
        } else {
            side
        };
        let known = (side, of.rows, of.interactions, small);
        if let Some(found) = self.planned.borrow().get(&known) {
            return *found;
        }
        let fixed = match op {
            Op::Als(AlsOp::HalfStep(op)) => self.fixed(op, of),
            Op::Als(AlsOp::SmallPartial(op)) => Self::fixed_small(op),
            _ => 0,
        };
        let found = self.cut(side, of.interactions, fixed);
        self.planned.borrow_mut().insert(known, found);
        found
    }

    fn fixed(&self, op: &HalfStepOp, of: &PartitionRef) -> u64 {
        let (rows, width) = (u64::from(of.rows), self.width);
        let versions = if op.warm { 2 } else { 1 };
        let basis = if op.basis {
            8 * basis_len(width as usize) as u64
        } else {
            0
        };
        let threads = self.machine.threads as usize;
        HalfStep::bytes(op, rows, of.object.bytes / 4, threads)
            + rows * (versions * 4 * width + 8)
            + basis
    }

    fn fixed_small(op: &SmallPartialOp) -> u64 {
        8 * u64::from(op.rows()) * packed_len(&op.formula) as u64
    }

    fn cut(&self, side: usize, interactions: u64, fixed: u64) -> Option<Pieces> {
        let rows = self.grids[side].rows_total();
        let row_bytes = 4 * self.width;
        let room = self.split().task_bytes(LANES);
        if fixed + rows * row_bytes + LEAST * INTERACTION_BYTES <= room {
            return None;
        }
        let grid = &self.grids[side];
        let words = u64::from(grid.rows.iter().copied().max().unwrap_or(0)).div_ceil(64);
        let ranks = 12 * words * u64::from(grid.blocks());
        let budget = room.saturating_sub(fixed + ranks) as f64;
        let named =
            |interactions: u64| self.spreads[side].distinct(interactions as f64, rows as f64);
        let fits = |interactions: u64| {
            named(interactions) * (row_bytes + 4) as f64 + (interactions * INTERACTION_BYTES) as f64
                <= budget
        };
        let (mut low, mut high) = (1, interactions.div_ceil(LEAST).max(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle * LEAST) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let piece = (low * LEAST).min(interactions);
        let rest = interactions % piece;
        let all = (interactions / piece) as f64 * named(piece) + named(rest);
        Some(Pieces {
            bytes: (all * row_bytes as f64) as u64,
            pieces: interactions.div_ceil(piece),
        })
    }
}

/// Columns of the tables of a program, padded.
pub fn width(rank: u32) -> u64 {
    u64::from(rank).next_multiple_of(16)
}
