//! Steps and tasks: the one shape in which every algorithm reaches the scheduler.

use crate::key::{KeyRange, ObjectKey};
use crate::op::Op;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The program's number of a step, rising from 0 over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepId(pub u64);

/// A task within a step. Its index is also its leaf in the step's reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The step it belongs to.
    pub step: StepId,
    /// Its place in the step, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.step.0, self.index)
    }
}

/// What a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Which objects.
    pub keys: KeyRange,
    /// Whether the op will ask for a subset of rows itself; `false` means that all of it is wanted and
    /// may be fetched ahead.
    pub rows_only: bool,
}

impl Read {
    /// A read of all of it.
    pub fn whole(keys: impl Into<KeyRange>) -> Self {
        Read {
            keys: keys.into(),
            rows_only: false,
        }
    }

    /// A read of rows that the op names piece by piece.
    pub fn rows(keys: impl Into<KeyRange>) -> Self {
        Read {
            keys: keys.into(),
            rows_only: true,
        }
    }
}

/// One unit of work. It may start when every object it reads exists and every task it comes `after`
/// is done; it is done when all its writes exist. Running it twice gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// What to do, unopened by the scheduler.
    pub op: Op,
    /// What it reads, in the order that the op expects.
    pub reads: Vec<Read>,
    /// What it writes: none, one or two block versions or reduction nodes, in the op's order.
    pub writes: Vec<ObjectKey>,
    /// Tasks (of this or earlier steps) that must be done first, beyond what `reads` implies.
    pub after: Vec<TaskId>,
    /// Tasks of one chain run on one worker, in the order of their ids, each after the one before.
    pub chain: Option<u32>,
    /// Estimated work in units of one interaction, for balance and for running long tasks first.
    pub cost: u64,
}

/// How the small partial results that tasks return are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartialSpec {
    /// Tasks return nothing.
    None,
    /// Vectors of f64 (little-endian, all of one length), added by the fixed binary tree over task
    /// indices; the tree spans the next power of two, absent (empty) leaves are skipped.
    Sum,
    /// Kept apart, in task order.
    Collect,
}

/// The tasks that a program hands out together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What people see in progress and traces: `user half-step`.
    pub name: String,
    /// The tasks, `tasks[i].id.index == i`.
    pub tasks: Vec<Task>,
    /// How their partials are reduced.
    pub partial: PartialSpec,
    /// Objects that nothing submitted after this step will read. They are dropped once this step and
    /// every task submitted before it that reads them are done.
    pub frees: Vec<KeyRange>,
}

/// What became of the partials of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reduced {
    /// For [`PartialSpec::None`].
    None,
    /// For [`PartialSpec::Sum`]; empty where every leaf was absent.
    Sum(Vec<f64>),
    /// For [`PartialSpec::Collect`]: one entry a task.
    Collect(Vec<Vec<u8>>),
}
