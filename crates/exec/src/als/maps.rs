//! The maps and linear terms of side information, from their reduced sums.

use crate::objects::{Numbers, bug, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::linear::{TERM_WIDTH, linear_len, solve_terms};
use model::als::maps::solve_maps;
use model::als::side::{maps_len, side_len};
use model::als::{MapTally, MapsOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`MapsOp`] in progress.
pub struct MapsWork {
    op: MapsOp,
    room: Room,
    /// The sums and, where there are some, the last maps and terms.
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    solved: Option<Solved>,
}

/// What is solved: each with the bytes of a row.
struct Solved {
    tables: Vec<(AlignedBuf, usize)>,
    tally: MapTally,
}

impl MapsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: MapsOp, room: &Room) -> Result<Self, Failure> {
        let (width, rank) = (op.width(), op.rank as usize);
        let threads = room.pool.current_num_threads();
        // The sums, both maps, and for each thread a Gram and its factor; the factor of the terms' sums.
        let needed = 8 * (side_len(width, &op.side) + linear_len(&op.side))
            + 8 * op.side.columns() * width
            + 16 * threads * rank * rank;
        fits(needed as u64, room.budget_bytes)?;
        let learnt = usize::from(op.side.holds_factors()) + usize::from(op.side.linear);
        if task.writes.len() != learnt {
            return Err(bug(task, "writes other tables than its op"));
        }
        let last = if op.side.mapped { learnt } else { 0 };
        let keys = (0..=last).map(|place| key_at(task, place));
        Ok(MapsWork {
            keys: keys.collect::<Result<_, _>>()?,
            op,
            room: room.clone(),
            writes: task.writes.clone(),
            solved: None,
        })
    }
}

impl Work for MapsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.solved.is_some() {
            return Ok(Need::Nothing);
        }
        let wants = self.keys.iter().map(|&key| Want::Object(key, Part::Whole));
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self.keys.iter().zip(fetched);
        let came: Vec<Numbers> = came
            .map(|(&key, fetched)| numbers(fetched, Some(key)))
            .collect::<Result<_, _>>()?;
        let (op, side) = (&self.op, &self.op.side);
        let mut last = came[1..].iter().map(Numbers::typed);
        let (maps, linear) = came[0].typed().split_at(maps_len(op.width(), side));
        let mut solved = Solved {
            tables: Vec::new(),
            tally: MapTally::default(),
        };
        let mut solve = |width: usize, solve: &(dyn Fn(&mut [f32]) -> MapTally + Sync)| {
            let mut out = AlignedBuf::zeroed(4 * side.columns() * width);
            let tally = self.room.pool.install(|| solve(out.typed_mut()));
            solved.tally = solved.tally.and(tally);
            solved.tables.push((out, 4 * width));
        };
        if side.holds_factors() {
            let last = last.next();
            solve(op.width(), &|out| solve_maps(op, maps, last, out));
        }
        if side.linear {
            let last = last.next();
            solve(TERM_WIDTH, &|out| solve_terms(op, linear, last, out));
        }
        self.solved = Some(solved);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let Solved { tables, tally } = self.solved.expect("everything is computed");
        let objects = self.writes.into_iter().zip(tables);
        let objects = objects.map(|(key, (table, row_bytes))| (key, held(table, row_bytes)));
        Ok(Output {
            objects: objects.collect(),
            partial: tally.encode(),
            pieces: 1,
            ..Output::default()
        })
    }
}
