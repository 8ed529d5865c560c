//! Ops on the rows of one block: their degrees, the random ones to start from, and their products with small matrices; and what
//! is left of singular triplets.

use crate::objects::{
    Numbers, bad_partition, block_written, bug, fits, held, held_gram, key_at, numbers, partition,
};
use crate::trouble::failure_of;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::graph::degrees::{add_degrees, start_rows};
use model::graph::turn::{residuals, turn, turning_bytes};
use model::graph::{Counts, DegreesOp, Edges, Residuals, ResidualsOp, StartOp, TurnOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{BlockId, ObjectKey, Task};

/// Interactions that are counted together.
const PIECE: u64 = 1 << 18;

pub(super) fn whole(keys: &[ObjectKey]) -> Need {
    let wants = keys.iter().map(|&key| Want::Object(key, Part::Whole));
    Need::Fetch(wants.collect())
}

pub(super) fn all_numbers(
    keys: &[ObjectKey],
    fetched: Vec<Fetched>,
) -> Result<Vec<Numbers>, Failure> {
    let came = keys.iter().zip(fetched);
    came.map(|(&key, fetched)| numbers(fetched, Some(key)))
        .collect()
}

/// A [`DegreesOp`] in progress.
pub(super) struct DegreesWork {
    op: DegreesOp,
    room: Room,
    keys: Vec<ObjectKey>,
    write: ObjectKey,
    counted: Option<(Vec<f64>, Counts)>,
    pieces: u64,
}

impl DegreesWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: DegreesOp, room: &Room) -> Result<Self, Failure> {
        let &[write] = &task.writes[..] else {
            return Err(bug(task, "writes more or less than degrees"));
        };
        let reads = 1 + usize::from(op.own.is_some());
        Ok(DegreesWork {
            op,
            room: room.clone(),
            keys: (0..reads)
                .map(|read| key_at(task, read))
                .collect::<Result<_, _>>()?,
            write,
            counted: None,
            pieces: 0,
        })
    }

    /// Adds what a partition comes to, each interaction times `by`, and tells how many they are.
    fn add(
        &mut self,
        fetched: Fetched,
        (key, edges, by): (ObjectKey, Edges, f64),
        degrees: &mut Vec<f64>,
    ) -> Result<u64, Failure> {
        let partition = partition(fetched, key)?;
        if degrees.is_empty() {
            degrees.resize(partition.rows() as usize, 0.0);
        }
        if degrees.len() != partition.rows() as usize {
            return Err(bad_partition(
                "has other rows than the block's interactions",
            ));
        }
        for start in (0..partition.interactions()).step_by(PIECE as usize) {
            let range = start..partition.interactions().min(start + PIECE);
            let damaged = |error| failure_of(error, Some(key));
            let piece = partition.piece(range.clone()).map_err(damaged)?;
            let rows = partition.rows_of(range.clone());
            let offsets = &partition.offsets()[rows.start..=rows.end];
            let csr = piece.csr(offsets, 1 << 32);
            let csr =
                csr.map_err(|error| bad_partition(&format!("holds no rows of its own ({error})")))?;
            add_degrees(edges, by, csr, &mut degrees[rows]);
            self.room.done_for_now(&partition, range);
            self.pieces += 1;
        }
        Ok(partition.interactions())
    }
}

impl Work for DegreesWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.counted {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let mut next = || fetched.next().expect("one answer per want");
        let (first, edges) = (self.keys[0], self.op.edges);
        let mut degrees = Vec::new();
        let interactions = self.add(next(), (first, edges, 1.0), &mut degrees)?;
        if let Some(by) = self.op.own {
            let own = self.keys[1];
            self.add(next(), (own, Edges::Values, by), &mut degrees)?;
        }
        if self.op.loops {
            for degree in degrees.iter_mut().filter(|degree| **degree > 0.0) {
                *degree += 1.0;
            }
        }
        self.counted = Some((degrees, Counts { interactions }));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (degrees, counts) = self.counted.expect("everything is counted");
        let degrees = AlignedBuf::copy_of(bytemuck::cast_slice(&degrees));
        Ok(Output {
            objects: vec![(self.write, held(degrees, 8))],
            partial: counts.encode(),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}

/// A [`StartOp`] in progress.
pub(super) struct StartWork {
    op: StartOp,
    block: BlockId,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    out: Option<AlignedBuf>,
}

impl StartWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op, or the block does not fit the budget.
    pub(super) fn new(task: &Task, op: StartOp, room: &Room) -> Result<Self, Failure> {
        let block = block_written(task)?;
        let rows = u64::from(op.grid.rows[block.0 as usize]);
        let width = u64::from(op.columns.next_multiple_of(16));
        fits(rows * 4 * width, room.budget_bytes)?;
        let keys = (0..=usize::from(op.given)).map(|place| key_at(task, place));
        Ok(StartWork {
            keys: keys.collect::<Result<_, _>>()?,
            op,
            block,
            room: room.clone(),
            writes: task.writes.clone(),
            out: None,
        })
    }
}

impl Work for StartWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.out {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = all_numbers(&self.keys, fetched)?;
        let given = came.get(1).map(Numbers::typed);
        let width = self.op.columns.next_multiple_of(16) as usize;
        let rows = self.op.grid.rows[self.block.0 as usize] as usize;
        let mut out = AlignedBuf::zeroed(rows * width * 4);
        let degrees = came[0].typed();
        start_rows(&self.op, self.block, degrees, given, out.typed_mut());
        self.out = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let width = self.op.columns.next_multiple_of(16) as usize;
        let out = self.out.expect("everything is computed");
        let wants_gram = self.writes.len() > 1;
        let gram = wants_gram.then(|| held_gram(&self.room, width, out.typed()));
        let made = std::iter::once(held(out, 4 * width)).chain(gram);
        Ok(Output {
            objects: self.writes.into_iter().zip(made).collect(),
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`TurnOp`] in progress.
pub(super) struct TurnWork {
    op: TurnOp,
    room: Room,
    keys: [ObjectKey; 3],
    writes: Vec<ObjectKey>,
    out: Option<(AlignedBuf, Option<crate::work::Held>)>,
}

impl TurnWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: TurnOp, room: &Room) -> Result<Self, Failure> {
        block_written(task)?;
        Ok(TurnWork {
            op,
            room: room.clone(),
            keys: [key_at(task, 0)?, key_at(task, 1)?, key_at(task, 2)?],
            writes: task.writes.clone(),
            out: None,
        })
    }

    /// Floats of a row that comes out.
    fn width(&self) -> usize {
        let columns = self.op.factor.columns(self.op.columns);
        columns.next_multiple_of(16) as usize
    }
}

impl Work for TurnWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.out {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = all_numbers(&self.keys, fetched)?;
        let (rows, degrees): (&[f32], &[f64]) = (came[0].typed(), came[2].typed());
        let (room, width) = (&self.room, self.width());
        let out_bytes = degrees.len() * width * 4;
        let turning = turning_bytes(self.op.columns, room.pool.current_num_threads());
        // The block's rows may be many: a budget for them is needed only here, where they are known.
        fits(out_bytes as u64 + turning, room.budget_bytes)?;
        let mut out = room.buffers.take(out_bytes);
        let wants_gram = self.writes.len() > 1;
        let gram = room.pool.install(|| {
            turn(room.simd, self.op, came[1].typed(), rows, out.typed_mut());
            self.op
                .scales
                .apply(width, degrees, out.typed_mut(), |rows| {
                    wants_gram.then(|| held_gram(room, width, rows))
                })
        });
        self.out = Some((out, gram));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let width = self.width();
        let (out, gram) = self.out.expect("everything is computed");
        let made = std::iter::once(held(out, 4 * width)).chain(gram);
        Ok(Output {
            objects: self.writes.into_iter().zip(made).collect(),
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`ResidualsOp`] in progress.
pub(super) struct ResidualsWork {
    op: ResidualsOp,
    keys: [ObjectKey; 2],
    left: Option<Residuals>,
}

impl ResidualsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: ResidualsOp) -> Result<Self, Failure> {
        Ok(ResidualsWork {
            op,
            keys: [key_at(task, 0)?, key_at(task, 1)?],
            left: None,
        })
    }
}

impl Work for ResidualsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.left {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = all_numbers(&self.keys, fetched)?;
        self.left = Some(residuals(self.op, came[0].typed(), came[1].typed()));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            partial: self.left.expect("everything is computed").encode(),
            pieces: 1,
            ..Output::default()
        })
    }
}
