//! The small modes: a user block's part of the equations of all rows, and their solution.

use crate::objects::{
    Numbers, bad_partition, bug, fits, held, held_gram, key_at, numbers, read_at,
};
use crate::pieces::{Gather, Pass, Passing};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::desk::Desks;
use model::als::half_step::Factors;
use model::als::small_mode::{SmallPartial, mean_of, packed_len, solve_small, solving_bytes};
use model::als::{Rows, SmallPartialOp, SmallSolveOp, Tally};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{CsrRef, Mode, ObjectKey, Small, Task};

/// A [`SmallPartialOp`] in progress.
pub struct SmallPartialPass {
    op: SmallPartialOp,
    writes: Vec<ObjectKey>,
    /// Users and, where it is factored, the other small mode.
    keys: Vec<ObjectKey>,
    sums: SmallPartial,
    started: Option<Started>,
}

/// What there is once the first fetch came.
struct Started {
    users: Numbers,
    /// The other small mode, where it is factored.
    other: Option<Numbers>,
    desks: Desks,
}

impl SmallPartialPass {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn begin(task: &Task, op: SmallPartialOp, room: &Room) -> Result<Passing<Self>, Failure> {
        let width = op.formula.width();
        let partition_key = key_at(task, 0)?;
        let mut keys = vec![key_at(task, 1)?];
        if op.other().is_some() {
            keys.push(key_at(task, 3)?);
        }
        let ObjectKey::Sealed { bytes, .. } = partition_key else {
            return Err(bug(task, "reads no sealed partition first"));
        };
        let (bins, threads) = (u64::from(op.rows()), room.pool.current_num_threads());
        // A column and an id of the mode take eight bytes, so the file bounds the interactions.
        let sums = SmallPartial::bytes(&op.formula, bins, bytes / 8, threads);
        let other = op.other().map_or(0, |(_, rows)| u64::from(rows));
        let fixed = sums + bins * packed_len(&op.formula) as u64 * 8 + other * 4 * width as u64;
        let extra = SmallPartial::PIECE_BYTES;
        let gather = Gather::new(
            &op.columns,
            read_at(task, 2)?,
            width,
            fixed,
            extra,
            room.budget_bytes,
        )?;
        let sums = SmallPartial::new(room.simd, &op);
        let pass = SmallPartialPass {
            op,
            writes: task.writes.clone(),
            keys: keys.clone(),
            sums,
            started: None,
        };
        Ok(Passing::new(pass, room, partition_key, keys, gather))
    }
}

impl Pass for SmallPartialPass {
    fn start(
        &mut self,
        room: &Room,
        partition: &Partition,
        came: Vec<Fetched>,
    ) -> Result<(), Failure> {
        for (mode, (has, rows)) in partition.has().zip(self.op.small).each() {
            if rows.is_some() && !has {
                return Err(bad_partition(&format!(
                    "has no ids of {mode}, which is factored"
                )));
            }
        }
        let came = self.keys.iter().zip(came);
        let mut tables = came.map(|(&key, came)| numbers(came, Some(key)));
        self.started = Some(Started {
            users: tables.next().expect("one answer per want")?,
            other: tables.next().transpose()?,
            desks: room.desks(self.op.formula.width(), 0),
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
        let each = csr.small().zip(self.op.small).each();
        let fits = each.iter().all(|(_, (ids, limit))| match (ids, limit) {
            (Some(ids), Some(limit)) => ids.iter().all(|id| id < limit),
            _ => true,
        });
        if !fits {
            return Err(bad_partition(
                "names a time bin or a context that its data set lacks",
            ));
        }
        let started = self.started.as_mut().expect("started");
        let users: [&[f32]; 1] = [started.users.typed()];
        let width = self.op.formula.width();
        let users = Rows::contiguous(&users, width);
        let other = started.other.as_ref().map(|other| [other.typed::<f32>()]);
        let other = other.as_ref().map(|other| Rows::contiguous(other, width));
        let mut small = Small::default();
        match self.op.mode {
            Mode::Context => small.time = other,
            _ => small.context = other,
        }
        let factors = Factors { columns, small };
        self.sums
            .piece(csr, first_row, users, factors, &started.desks);
        Ok(())
    }

    fn finish(self, room: &Room, _: &Partition) -> Result<Output, Failure> {
        let row_bytes = packed_len(&self.op.formula) * 8;
        let mut out = AlignedBuf::zeroed(self.op.rows() as usize * row_bytes);
        self.sums.finish(out.typed_mut());
        let desks = self.started.expect("everything is computed").desks;
        room.leave(self.op.formula.width(), 0, desks);
        Ok(Output {
            objects: vec![(self.writes[0], held(out, row_bytes))],
            ..Output::default()
        })
    }
}

/// A [`SmallSolveOp`] in progress.
pub struct SmallSolveWork {
    op: SmallSolveOp,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    solved: Option<(AlignedBuf, Option<AlignedBuf>, Tally)>,
}

impl SmallSolveWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: SmallSolveOp, room: &Room) -> Result<Self, Failure> {
        let keys = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let width = op.formula.width();
        let threads = room.pool.current_num_threads() as u64;
        // The new version and, where bins start from it, the last one.
        let versions = if op.non_negative { 2 } else { 1 };
        let row_bytes = (packed_len(&op.formula) * 8 + versions * width * 4) as u64;
        let needed = u64::from(op.rows) * row_bytes + solving_bytes(&op, threads);
        fits(needed, room.budget_bytes)?;
        Ok(SmallSolveWork {
            op,
            room: room.clone(),
            keys,
            writes: task.writes.clone(),
            solved: None,
        })
    }
}

impl Work for SmallSolveWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.solved.is_some() {
            return Ok(Need::Nothing);
        }
        Ok(Need::Fetch(
            self.keys
                .iter()
                .map(|&key| Want::Object(key, Part::Whole))
                .collect(),
        ))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self
            .keys
            .iter()
            .zip(fetched)
            .map(|(&key, fetched)| numbers(fetched, Some(key)));
        let came: Vec<Numbers> = came.collect::<Result<_, _>>()?;
        let width = self.op.formula.width();
        let mut out = AlignedBuf::zeroed(self.op.rows as usize * width * 4);
        let mut more = came[1..].iter();
        let grams = if self.op.formula.has_base() {
            self.op.grams as usize
        } else {
            0
        };
        let grams: Vec<&[f64]> = more.by_ref().take(grams).map(Numbers::typed).collect();
        if let Some(last) = more.next() {
            out.typed_mut::<f32>().copy_from_slice(last.typed());
        }
        let (op, equations) = (&self.op, came[0].typed());
        let tally = self
            .room
            .pool
            .install(|| solve_small(op, equations, &grams, out.typed_mut()));
        let mean = op.mean.then(|| {
            let mut mean = AlignedBuf::zeroed(width * 4);
            mean_of(op, equations, out.typed(), mean.typed_mut());
            mean
        });
        self.solved = Some((out, mean, tally));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (mut out, mean, tally) = self.solved.expect("everything is computed");
        let width = self.op.formula.width();
        let mut writes = self.writes.into_iter();
        let block = writes.next();
        let gram = if self.op.formula.has_base() {
            writes.next()
        } else {
            None
        };
        let mean = writes.next().zip(mean);
        let gram = gram.map(|key| (key, held_gram(&self.room, width, out.typed())));
        // A context that training did not see stays zero: it is known by that, and scores as the mean.
        if !self.op.mean {
            self.op.biases.complete(width, out.typed_mut());
        }
        let block = block.map(|key| (key, held(out, 4 * width)));
        let mean = mean.map(|(key, mean)| (key, held(mean, 4 * width)));
        let objects = block.into_iter().chain(gram).chain(mean).collect();
        Ok(Output {
            objects,
            partial: tally.encode(),
            pieces: 1,
            ..Output::default()
        })
    }
}
