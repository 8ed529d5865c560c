//! What workers have been given, and what waits to be given to them.

use crate::event::{Profile, Tick};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{OpFamily, StepId, Task, TaskId, WorkerId};

/// What a task keeps busy. A worker has a line for each: a checkpoint that waits for disks takes no place of what computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Computes,
    Stores,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Computes, Kind::Stores];

    pub(crate) fn of(task: &Task) -> Self {
        match task.op.family {
            OpFamily::Builtin => Kind::Stores,
            _ => Kind::Computes,
        }
    }
}

/// A task that a worker has been given and has not answered for.
pub(crate) struct Given {
    pub task: TaskId,
    pub attempt: u32,
    pub cost: u64,
    pub chained: bool,
    /// We asked for it back.
    pub revoked: bool,
}

/// What a worker has been given of one kind.
#[derive(Default)]
pub(crate) struct Line {
    /// In the order in which it runs them.
    pub queue: Vec<Given>,
    /// The cost of all of `queue`.
    load: u64,
    /// Since when the first of the queue is the first.
    pub head_since: Tick,
}

impl Line {
    pub(crate) fn give(&mut self, now: Tick, given: Given) {
        if self.queue.is_empty() {
            self.head_since = now;
        }
        self.load += given.cost;
        self.queue.push(given);
    }

    /// The worker answered for a task: how long it was the first of the queue, if it was.
    fn answered(&mut self, now: Tick, task: TaskId, attempt: u32) -> Option<u64> {
        let place = self
            .queue
            .iter()
            .position(|given| (given.task, given.attempt) == (task, attempt))?;
        self.load -= self.queue.remove(place).cost;
        if place > 0 {
            return None;
        }
        let since = std::mem::replace(&mut self.head_since, now);
        Some(now.0.saturating_sub(since.0))
    }
}

/// A worker that has joined and is not lost.
pub(crate) struct Worker {
    pub profile: Profile,
    /// When it was last heard of.
    pub seen: Tick,
    /// It takes no new task.
    pub draining: bool,
    /// It has been silent for longer than one is patient with it.
    pub suspected: bool,
    /// How long it may be silent before it is suspected.
    pub patience_ms: u64,
    /// When objects could not be had from it, though it lives.
    pub unreached: Vec<Tick>,
    lines: [Line; 2],
}

impl Worker {
    pub(crate) fn new(profile: Profile, now: Tick, patience_ms: u64) -> Self {
        Worker {
            profile,
            seen: now,
            draining: false,
            suspected: false,
            patience_ms,
            unreached: Vec::new(),
            lines: Default::default(),
        }
    }

    /// Whether it can be given tasks.
    pub(crate) fn takes_tasks(&self) -> bool {
        !self.draining && !self.suspected
    }

    pub(crate) fn line(&self, kind: Kind) -> &Line {
        &self.lines[kind as usize]
    }

    pub(crate) fn line_mut(&mut self, kind: Kind) -> &mut Line {
        &mut self.lines[kind as usize]
    }

    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.lines.iter_mut()
    }

    /// Whether it has answered for all that it was given.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.iter().all(|line| line.queue.is_empty())
    }

    /// An assignment that it has not answered for.
    pub(crate) fn given_mut(&mut self, task: TaskId, attempt: u32) -> Option<&mut Given> {
        self.lines
            .iter_mut()
            .flat_map(|line| &mut line.queue)
            .find(|given| (given.task, given.attempt) == (task, attempt))
    }

    /// The worker answered for a task: how long it was the first of its line, if it was.
    pub(crate) fn answered(&mut self, now: Tick, task: TaskId, attempt: u32) -> Option<u64> {
        self.lines
            .iter_mut()
            .find_map(|line| line.answered(now, task, attempt))
    }

    /// Cost per thread in millionths, for comparing workers.
    pub(crate) fn load_per_thread(&self, kind: Kind) -> u64 {
        let load = self.line(kind).load;
        load.saturating_mul(16) / u64::from(self.profile.threads.max(1))
    }
}

/// Cost as it is counted for balance: no task is free.
pub(crate) fn cost(task: &Task) -> u64 {
    task.cost.max(1)
}

/// Which worker a ready task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Any.
    Any,
    /// This one by preference: it has the inputs, or neighbours in the step.
    Home(WorkerId),
    /// This one only: the chain runs there.
    Pinned(WorkerId),
}

/// Earlier steps first, in a step long tasks first.
type Rank = (StepId, Reverse<u64>, u32);

fn rank(task: &Task) -> Rank {
    (task.id.step, Reverse(cost(task)), task.id.index)
}

fn id(rank: &Rank) -> TaskId {
    TaskId {
        step: rank.0,
        index: rank.2,
    }
}

/// Tasks that may start, by kind and place.
#[derive(Default)]
pub(crate) struct Ready {
    places: BTreeMap<(Kind, Place), BTreeSet<Rank>>,
}

impl Ready {
    pub(crate) fn insert(&mut self, place: Place, task: &Task) {
        let place = (Kind::of(task), place);
        self.places.entry(place).or_default().insert(rank(task));
    }

    pub(crate) fn remove(&mut self, place: Place, task: &Task) {
        let place = (Kind::of(task), place);
        if let Some(tasks) = self.places.get_mut(&place) {
            tasks.remove(&rank(task));
            if tasks.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.places.keys().any(|(listed, _)| *listed == kind)
    }

    /// The first task that is this worker's own, or anybody's.
    pub(crate) fn own(&self, kind: Kind, worker: WorkerId) -> Option<TaskId> {
        let places = [Place::Pinned(worker), Place::Home(worker), Place::Any];
        places
            .iter()
            .filter_map(|place| self.places.get(&(kind, *place))?.first())
            .min()
            .map(id)
    }

    /// The last task of the longest of the others' lists that `may` be taken from there.
    pub(crate) fn foreign(
        &self,
        kind: Kind,
        worker: WorkerId,
        may: impl Fn(TaskId) -> bool,
    ) -> Option<TaskId> {
        let others = self.places.iter().filter(|((listed, place), _)| {
            *listed == kind && matches!(place, Place::Home(home) if *home != worker)
        });
        let mut others: Vec<&BTreeSet<Rank>> = others.map(|(_, tasks)| tasks).collect();
        others.sort_by_key(|tasks| Reverse(tasks.len()));
        others
            .into_iter()
            .find_map(|tasks| tasks.iter().rev().map(id).find(|&task| may(task)))
    }

    /// Everything that is for this worker.
    pub(crate) fn of(&self, worker: WorkerId) -> Vec<TaskId> {
        let kept = |place: &Place| [Place::Pinned(worker), Place::Home(worker)].contains(place);
        self.places
            .iter()
            .filter(|((_, place), _)| kept(place))
            .flat_map(|(_, tasks)| tasks)
            .map(id)
            .collect()
    }
}
