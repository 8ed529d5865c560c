//! Steps and tasks while they are unfinished.

use crate::queues::Place;
use crate::reduction::Reduction;
use crate::verification::Claim;
use std::collections::BTreeMap;
use std::sync::Arc;
use tensor::{KeyRange, Step, Task, TaskId, WorkerId};

/// A step of which tasks are outstanding.
pub(crate) struct StepState {
    pub done: Vec<bool>,
    pub left: usize,
    pub reduction: Reduction,
    pub frees: Vec<KeyRange>,
    /// Tasks that come after one of ours.
    pub followers: BTreeMap<u32, Vec<TaskId>>,
    pub chains: BTreeMap<u32, Chain>,
    /// Milliseconds and cost of the tasks done so far, to tell which one is slow.
    pub spent: (u64, u64),
}

/// Tasks that run on one worker, one after the other.
#[derive(Default)]
pub(crate) struct Chain {
    pub worker: Option<WorkerId>,
    pub tasks: Vec<u32>,
}

impl StepState {
    pub(crate) fn new(step: &Step) -> Self {
        let mut chains: BTreeMap<u32, Chain> = BTreeMap::new();
        for task in &step.tasks {
            if let Some(chain) = task.chain {
                chains.entry(chain).or_default().tasks.push(task.id.index);
            }
        }
        StepState {
            done: vec![false; step.tasks.len()],
            left: step.tasks.len(),
            reduction: Reduction::new(step.partial, step.tasks.len()),
            frees: step.frees.clone(),
            followers: BTreeMap::new(),
            chains,
            spent: (0, 0),
        }
    }

    /// The task before this one in its chain.
    pub(crate) fn predecessor(&self, task: &Task) -> Option<TaskId> {
        let tasks = &self.chains.get(&task.chain?)?.tasks;
        let place = tasks.binary_search(&task.id.index).ok()?;
        Some(TaskId {
            step: task.id.step,
            index: tasks[place.checked_sub(1)?],
        })
    }
}

/// An assignment that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub worker: WorkerId,
    pub attempt: u32,
}

/// A task that is not done, or that is to be done again because what it wrote is lost.
pub(crate) struct Entry {
    pub task: Arc<Task>,
    /// Ranges it reads that are incomplete, plus tasks it comes after that are not done.
    pub missing: u32,
    pub live: Vec<Live>,
    /// Where it is listed as ready, if it is.
    pub place: Option<Place>,
    /// The next attempt. Never one that an answer from before may carry.
    pub attempts: u32,
    /// Failures for passing reasons so far.
    pub failures: u32,
    /// Workers that could not do it: others are tried first.
    pub avoid: Vec<WorkerId>,
    /// Who panicked at it.
    pub panicked: Option<WorkerId>,
    /// Its results are compared: it is computed twice.
    pub verify: bool,
    /// Results that wait for another.
    pub claims: Vec<Claim>,
    /// It was done before: its partial is known and its step is not told again.
    pub again: bool,
}

impl Entry {
    /// Whether a worker is to be given this task only where no other can be: it could not do it, or has done it.
    pub(crate) fn shuns(&self, worker: WorkerId) -> bool {
        self.avoid.contains(&worker) || self.has_claim(worker)
    }

    /// Whether a result of this worker waits to be compared.
    pub(crate) fn has_claim(&self, worker: WorkerId) -> bool {
        self.claims.iter().any(|claim| claim.worker == worker)
    }
}
