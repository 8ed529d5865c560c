//! What the coordinator's mind wants done.

use crate::failure::Failure;
use std::sync::Arc;
use tensor::{Digest, KeyRange, ObjectKey, Reduced, StepId, Task, TaskId, WorkerId};

/// Who has an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This worker, in memory or spilled.
    Worker(WorkerId),
    /// A depot, as the content of a sealed object of the model's depot.
    Durable {
        /// The sealed object.
        digest: Digest,
        /// Its length.
        bytes: u64,
        /// The bytes of one row.
        row_bytes: u32,
    },
}

/// Where to get objects that the assigned worker does not hold itself. Keys of kind `Sealed` need no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The objects, neighbouring blocks with one holder joined.
    pub keys: KeyRange,
    /// Holders, the preferred first.
    pub holders: Vec<Holder>,
}

/// A task for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What to do.
    pub task: Arc<Task>,
    /// Counts the assignments of this task, from 0; to be returned with the result.
    pub attempt: u32,
    /// Its result is compared with another's: what it writes is to be told with its hash.
    pub verify: bool,
    /// Where to find what the worker does not hold.
    pub sources: Vec<Source>,
}

/// Why a worker is no longer of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// It was silent beyond its lease.
    Silent,
    /// It wanted to leave, and has nothing left to do.
    Drained,
    /// It lives, but nobody can have what it holds.
    Unreached,
    /// Two others came to another result of a task than it did.
    Disagreed,
}

/// Something to do. Actions are done in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Hand tasks to a worker; it runs them in this order and fetches ahead.
    Assign(WorkerId, Vec<Assignment>),
    /// Ask for a task back if it has not begun.
    Revoke(WorkerId, TaskId, u32),
    /// A worker is to drop these objects, whether it made them or pulled a copy; it need not have them.
    Drop(WorkerId, Vec<KeyRange>),
    /// A step is whole. Tell the program.
    StepDone(StepId, Reduced),
    /// An object that unfinished work needs is lost and not durable: restore the program from the last
    /// durable checkpoint and answer with [`crate::Event::Restarted`].
    RollBack(ObjectKey),
    /// A worker has fallen silent: nobody is to ask it for objects until it is trusted again.
    Suspect(WorkerId),
    /// This worker takes long for this task, which is given to another as well; nothing is to be done about it.
    Slow(WorkerId, TaskId),
    /// Two workers came to different results of a task; a third decides, and nothing else is to be done about it.
    Differ(TaskId, [WorkerId; 2]),
    /// A suspected worker speaks again: what it holds can be had of it.
    Trust(WorkerId),
    /// A worker is no longer of the run: close its session. [`crate::Event::WorkerLost`] need not follow.
    Dismiss(WorkerId, Dismissal),
    /// The run cannot succeed: end it, with this reason.
    Stop(Failure),
}
