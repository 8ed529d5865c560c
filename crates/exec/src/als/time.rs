//! The time mode: a user block's part of the equations of all bins, and their solution.

use super::gather::{Gather, Planned};
use super::objects::{
    Numbers, bad_partition, fits, held, held_row, key_at, numbers, partition, read_at,
};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::desk::Desks;
use model::als::gram::block_gram;
use model::als::half_step::Factors;
use model::als::time_mode::{TimePartial, packed_len, solve_times, solving_bytes};
use model::als::{Rows, Tally, TimePartialOp, TimeSolveOp};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// A [`TimePartialOp`] in progress.
pub struct TimePartialWork {
    op: TimePartialOp,
    room: Room,
    writes: Vec<ObjectKey>,
    keys: [ObjectKey; 2],
    gather: Gather,
    sums: Option<TimePartial>,
    started: Option<Started>,
    planned: Option<Planned>,
    pieces: u64,
    cut_rows: u64,
}

/// What there is once the first fetch came.
struct Started {
    partition: Partition,
    users: Numbers,
    desks: Desks,
    next: u64,
}

impl TimePartialWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: TimePartialOp, room: &Room) -> Result<Self, Failure> {
        let width = op.formula.width();
        let keys = [key_at(task, 0)?, key_at(task, 1)?];
        let ObjectKey::Sealed { bytes, .. } = keys[0] else {
            return Err(super::objects::bug(task, "reads no sealed partition first"));
        };
        let (bins, threads) = (u64::from(op.bins), room.pool.current_num_threads());
        // A column and a time take eight bytes, so the file bounds the interactions.
        let sums = TimePartial::bytes(&op.formula, bins, bytes / 8, threads);
        let fixed = sums + bins * packed_len(&op.formula) as u64 * 8;
        let extra = TimePartial::PIECE_BYTES;
        let gather = Gather::new(
            &op.columns,
            read_at(task, 2)?,
            width,
            fixed,
            extra,
            room.budget_bytes,
        )?;
        let sums = Some(TimePartial::new(room.simd, &op));
        Ok(TimePartialWork {
            op,
            room: room.clone(),
            writes: task.writes.clone(),
            keys,
            gather,
            sums,
            started: None,
            planned: None,
            pieces: 0,
            cut_rows: 0,
        })
    }

    fn start(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let mut next = || fetched.next().expect("one answer per want");
        let partition = partition(next(), self.keys[0])?;
        if !partition.has().time {
            return Err(bad_partition("has no times, and the time mode is factored"));
        }
        let users = numbers(next(), Some(self.keys[1]))?;
        self.gather.take_first(fetched)?;
        let desks = self.room.desks(self.op.formula.width(), 0);
        self.started = Some(Started {
            partition,
            users,
            desks,
            next: 0,
        });
        if !self.gather.fetches_rows() {
            while self.plan()?.is_some() {
                self.piece(Vec::new())?;
            }
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
            users,
            desks,
            next,
        } = self.started.as_mut().expect("started");
        let sums = self.sums.as_mut().expect("not finished");
        let users: [&[f32]; 1] = [users.typed()];
        let users = Rows::contiguous(&users, self.op.formula.width());
        let (gather, bins) = (&self.gather, self.op.bins);
        let fits = self.room.pool.install(|| {
            gather.with_piece(partition, &planned, fetched, |csr, first_row, columns| {
                let times = csr.small().time.unwrap_or_default();
                let fits = times.iter().all(|&bin| bin < bins);
                if fits {
                    sums.piece(
                        csr,
                        first_row,
                        users,
                        Factors {
                            columns,
                            times: None,
                        },
                        desks,
                    );
                }
                fits
            })
        })?;
        if !fits {
            return Err(bad_partition("names a time bin that its data set lacks"));
        }
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

impl Work for TimePartialWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.started.is_some() {
            return Ok(self.plan()?.map_or(Need::Nothing, Need::Fetch));
        }
        let mut wants: Vec<Want> = self
            .keys
            .iter()
            .map(|&key| Want::Object(key, Part::Whole))
            .collect();
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

    fn finish(mut self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = packed_len(&self.op.formula) * 8;
        let mut out = AlignedBuf::zeroed(self.op.bins as usize * row_bytes);
        self.sums
            .take()
            .expect("finished once")
            .finish(out.typed_mut());
        if let Some(started) = self.started.take() {
            self.room.leave(self.op.formula.width(), 0, started.desks);
        }
        let objects = vec![(self.writes[0], held(out, row_bytes))];
        Ok(Output {
            objects,
            pieces: self.pieces,
            cut_rows: self.cut_rows,
            ..Output::default()
        })
    }
}

/// A [`TimeSolveOp`] in progress.
pub struct TimeSolveWork {
    op: TimeSolveOp,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    solved: Option<(AlignedBuf, Tally)>,
}

impl TimeSolveWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: TimeSolveOp, room: &Room) -> Result<Self, Failure> {
        let keys = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let width = op.formula.width();
        let threads = room.pool.current_num_threads() as u64;
        // The new version and, where bins start from it, the last one.
        let versions = if op.non_negative { 2 } else { 1 };
        let row_bytes = (packed_len(&op.formula) * 8 + versions * width * 4) as u64;
        let needed = u64::from(op.bins) * row_bytes + solving_bytes(&op, threads);
        fits(needed, room.budget_bytes)?;
        Ok(TimeSolveWork {
            op,
            room: room.clone(),
            keys,
            writes: task.writes.clone(),
            solved: None,
        })
    }
}

impl Work for TimeSolveWork {
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
        let mut out = AlignedBuf::zeroed(self.op.bins as usize * self.op.formula.width() * 4);
        let mut more = came[1..].iter();
        let roots = if self.op.formula.has_base() {
            more.next().zip(more.next())
        } else {
            None
        };
        let grams = roots.map(|(users, products)| (users.typed(), products.typed()));
        if let Some(last) = more.next() {
            out.typed_mut::<f32>().copy_from_slice(last.typed());
        }
        let (op, equations) = (&self.op, came[0].typed());
        let tally = self
            .room
            .pool
            .install(|| solve_times(op, equations, grams, out.typed_mut()));
        self.solved = Some((out, tally));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (mut out, tally) = self.solved.expect("everything is computed");
        let width = self.op.formula.width();
        let gram = self.writes.get(1).map(|&key| {
            (
                key,
                held_row(
                    &self
                        .room
                        .pool
                        .install(|| block_gram(self.room.simd, width, out.typed())),
                ),
            )
        });
        self.op.biases.complete(width, out.typed_mut());
        let mut objects = vec![(self.writes[0], held(out, 4 * width))];
        objects.extend(gram);
        Ok(Output {
            objects,
            partial: tally.encode(),
            pieces: 1,
            ..Output::default()
        })
    }
}
