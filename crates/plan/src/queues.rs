//! What workers have been given, and what waits to be given to them.

use crate::event::{Profile, Tick};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{StepId, Task, TaskId, WorkerId};

/// A task that a worker has been given and has not answered for.
pub(crate) struct Given {
    pub task: TaskId,
    pub attempt: u32,
    pub cost: u64,
    pub chained: bool,
    /// We asked for it back.
    pub revoked: bool,
}

/// A worker that has joined and is not lost.
pub(crate) struct Worker {
    pub profile: Profile,
    /// When it was last heard of.
    pub seen: Tick,
    /// It takes no new task.
    pub draining: bool,
    /// In the order in which it runs them.
    pub queue: Vec<Given>,
    /// The cost of all of `queue`.
    pub load: u64,
    /// Since when the first of the queue is the first.
    pub head_since: Tick,
}

impl Worker {
    pub(crate) fn new(profile: Profile, now: Tick) -> Self {
        Worker {
            profile,
            seen: now,
            draining: false,
            queue: Vec::new(),
            load: 0,
            head_since: now,
        }
    }

    pub(crate) fn give(&mut self, now: Tick, given: Given) {
        if self.queue.is_empty() {
            self.head_since = now;
        }
        self.load += given.cost;
        self.queue.push(given);
    }

    /// The worker answered for a task: how long it was the first of the queue, if it was.
    pub(crate) fn answered(&mut self, now: Tick, task: TaskId, attempt: u32) -> Option<u64> {
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

    /// Cost per thread in millionths, for comparing workers.
    pub(crate) fn load_per_thread(&self) -> u64 {
        self.load.saturating_mul(16) / u64::from(self.profile.threads.max(1))
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

/// Tasks that may start, by place.
#[derive(Default)]
pub(crate) struct Ready {
    places: BTreeMap<Place, BTreeSet<Rank>>,
}

impl Ready {
    pub(crate) fn insert(&mut self, place: Place, task: &Task) {
        self.places.entry(place).or_default().insert(rank(task));
    }

    pub(crate) fn remove(&mut self, place: Place, task: &Task) {
        if let Some(tasks) = self.places.get_mut(&place) {
            tasks.remove(&rank(task));
            if tasks.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The first task that is this worker's own, or anybody's.
    pub(crate) fn own(&self, worker: WorkerId) -> Option<TaskId> {
        let places = [Place::Pinned(worker), Place::Home(worker), Place::Any];
        places
            .iter()
            .filter_map(|place| self.places.get(place)?.first())
            .min()
            .map(id)
    }

    /// The last task of the longest of the others' lists that `may` be taken from there.
    pub(crate) fn foreign(&self, worker: WorkerId, may: impl Fn(TaskId) -> bool) -> Option<TaskId> {
        let others = self
            .places
            .iter()
            .filter(|(place, _)| matches!(place, Place::Home(home) if *home != worker));
        let mut others: Vec<&BTreeSet<Rank>> = others.map(|(_, tasks)| tasks).collect();
        others.sort_by_key(|tasks| Reverse(tasks.len()));
        others
            .into_iter()
            .find_map(|tasks| tasks.iter().rev().map(id).find(|&task| may(task)))
    }

    /// Everything that is for this worker.
    pub(crate) fn of(&self, worker: WorkerId) -> Vec<TaskId> {
        let places = [Place::Pinned(worker), Place::Home(worker)];
        places
            .iter()
            .filter_map(|place| self.places.get(place))
            .flatten()
            .map(id)
            .collect()
    }
}
