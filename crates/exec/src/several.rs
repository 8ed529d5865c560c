//! A bundle of small tasks: what all of them need is fetched at once, then they compute side by side.

use crate::objects::bug;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::several::{Several, encode};
use plan::Failure;
use rayon::prelude::*;
use std::collections::HashMap;
use tensor::{ObjectKey, Task};

/// The least budget of a task beside others: what is bundled has few rows, so even the widest of them fit.
const LEAST_BYTES: u64 = 128 << 20;

/// Tasks of a bundle in progress. As many as the budget lets run are begun together, then as many again.
pub(crate) struct SeveralWork {
    room: Room,
    left: std::vec::IntoIter<Task>,
    at_once: usize,
    running: Vec<Running>,
    output: Output,
    partials: Vec<Vec<u8>>,
}

/// One of the tasks, between two fetches.
enum Running {
    Wants(Box<dyn Work>, Vec<Want>),
    /// The same, by places in all that the bundle wants.
    Waits(Box<dyn Work>, Vec<usize>),
    Done(Output),
}

impl Running {
    fn begun(task: &Task, room: &Room) -> Result<Self, Failure> {
        Running::Wants(crate::begin(task, room)?, Vec::new()).advanced()
    }

    /// What it wants next, or what it made.
    fn advanced(self) -> Result<Self, Failure> {
        let Running::Wants(mut work, _) = self else {
            return Ok(self);
        };
        Ok(match work.next_need()? {
            Need::Fetch(wants) => Running::Wants(work, wants),
            Need::Nothing => Running::Done(work.finish()?),
        })
    }

    fn computed(self, fetched: &[Fetched]) -> Result<Self, Failure> {
        let Running::Waits(mut work, places) = self else {
            return Ok(self);
        };
        let came = places.into_iter().map(|place| fetched[place].clone());
        work.compute(came.collect())?;
        Running::Wants(work, Vec::new()).advanced()
    }
}

impl SeveralWork {
    /// A bundle of which nothing is begun.
    ///
    /// # Errors
    /// Where the bundle's reads and writes are not those of its tasks.
    pub(crate) fn new(task: &Task, several: &Several, room: &Room) -> Result<Self, Failure> {
        let tasks = several.tasks(task);
        let tasks = tasks.ok_or_else(|| bug(task, "does not read and write what its parts do"))?;
        let at_once = (room.budget_bytes / LEAST_BYTES).clamp(1, tasks.len().max(1) as u64);
        Ok(SeveralWork {
            room: Room {
                budget_bytes: room.budget_bytes / at_once,
                ..room.clone()
            },
            left: tasks.into_iter(),
            at_once: at_once as usize,
            running: Vec::new(),
            output: Output::default(),
            partials: Vec::new(),
        })
    }

    /// Puts by what those that are done have made, where all of them are, and begins others.
    fn go_on(&mut self) -> Result<(), Failure> {
        let done = |one: &Running| matches!(one, Running::Done(_));
        while self.running.iter().all(done) && self.left.len() + self.running.len() > 0 {
            for one in self.running.drain(..) {
                if let Running::Done(output) = one {
                    self.output.objects.extend(output.objects);
                    self.output.puts.extend(output.puts);
                    self.output.pieces += output.pieces;
                    self.output.cut_rows += output.cut_rows;
                    self.partials.push(output.partial);
                }
            }
            let some = self.left.by_ref().take(self.at_once);
            let begun = some.map(|task| Running::begun(&task, &self.room));
            self.running = begun.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// What the running ones want, whole objects once.
    fn wants(&mut self) -> Vec<Want> {
        let (mut all, mut places) = (Vec::new(), HashMap::<ObjectKey, usize>::new());
        let mut place = |want: Want| {
            let next = all.len();
            let place = match want {
                Want::Object(key, Part::Whole) => *places.entry(key).or_insert(next),
                _ => next,
            };
            if place == next {
                all.push(want);
            }
            place
        };
        for one in &mut self.running {
            *one = match std::mem::replace(one, Running::Done(Output::default())) {
                Running::Wants(work, wants) => {
                    Running::Waits(work, wants.into_iter().map(&mut place).collect())
                }
                other => other,
            };
        }
        all
    }
}

impl Work for SeveralWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        self.go_on()?;
        Ok(if self.running.is_empty() {
            Need::Nothing
        } else {
            Need::Fetch(self.wants())
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let running = std::mem::take(&mut self.running);
        let computed: Vec<Result<Running, Failure>> = self.room.pool.install(|| {
            let running = running.into_par_iter();
            running.map(|one| one.computed(&fetched)).collect()
        });
        // Of failures the first in order is told.
        self.running = computed.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            partial: encode(&self.partials),
            ..self.output
        })
    }
}
