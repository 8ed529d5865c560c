//! The maps of side information, from their reduced sums.

use super::objects::{Numbers, bug, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::maps::solve_maps;
use model::als::side::side_len;
use model::als::{MapTally, MapsOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`MapsOp`] in progress.
pub struct MapsWork {
    op: MapsOp,
    room: Room,
    /// The sums and, where there are some, the last maps.
    keys: Vec<ObjectKey>,
    write: ObjectKey,
    solved: Option<(AlignedBuf, MapTally)>,
}

impl MapsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: MapsOp, room: &Room) -> Result<Self, Failure> {
        let (width, rank) = (op.width(), op.rank as usize);
        let threads = room.pool.current_num_threads();
        // The sums, both maps, and for each thread a Gram and its factor.
        let needed = 8 * side_len(width, &op.side)
            + 8 * op.side.columns() * width
            + 16 * threads * rank * rank;
        fits(needed as u64, room.budget_bytes)?;
        let [write] = task.writes[..] else {
            return Err(bug(task, "writes more or less than one object"));
        };
        let keys = (0..=usize::from(op.side.mapped)).map(|place| key_at(task, place));
        Ok(MapsWork {
            keys: keys.collect::<Result<_, _>>()?,
            op,
            room: room.clone(),
            write,
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
        let last = came.get(1).map(Numbers::typed);
        let mut out = AlignedBuf::zeroed(4 * self.op.side.columns() * self.op.width());
        let solve = || solve_maps(&self.op, came[0].typed(), last, out.typed_mut());
        let tally = self.room.pool.install(solve);
        self.solved = Some((out, tally));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (maps, tally) = self.solved.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held(maps, 4 * self.op.width()))],
            partial: tally.encode(),
            pieces: 1,
            ..Output::default()
        })
    }
}
