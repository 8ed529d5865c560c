//! What can happen to the coordinator, as far as its mind is concerned.

use crate::failure::Failure;
use tensor::{Digest, KeyRange, ObjectKey, Step, TaskId, WorkerId};

/// Milliseconds since the coordinator started, as its shell counts them. Only used for leases and graces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

/// What a worker said of itself when it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Compute threads.
    pub threads: u32,
    /// Its `--memory`, in bytes.
    pub memory_bytes: u64,
}

/// An object that a task made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// Its key, one of the task's `writes`.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub bytes: u64,
    /// The hash of its bytes, where the assignment asked for it.
    pub digest: Option<Digest>,
}

/// Something happened. Time comes beside each event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker is connected and idle.
    WorkerJoined(WorkerId, Profile),
    /// Its session ended or its heartbeat stopped. Everything it held in memory is gone.
    WorkerLost(WorkerId),
    /// It wants to leave: gives it no new task; what it holds stays readable until it is lost.
    WorkerDraining(WorkerId),
    /// It still lives.
    WorkerAlive(WorkerId),
    /// The program yields a step.
    Submit(Step),
    /// An object is durable in a depot under this content: a checkpointed block version. From now on
    /// the block can be had there, and losing the workers that hold it loses nothing.
    Durable {
        /// The block version.
        key: ObjectKey,
        /// The sealed object that holds its bytes.
        digest: Digest,
        /// Its length.
        bytes: u64,
        /// The bytes of one row, so that rows of it can be read.
        row_bytes: u32,
    },
    /// A task is done and its writes can be pulled from the worker.
    TaskDone {
        /// Who.
        worker: WorkerId,
        /// Which.
        task: TaskId,
        /// The attempt it was assigned under; results of another attempt are refused.
        attempt: u32,
        /// The partial result, empty if none.
        partial: Vec<u8>,
        /// What it wrote.
        wrote: Vec<Wrote>,
    },
    /// A task could not be done.
    TaskFailed {
        /// Who.
        worker: WorkerId,
        /// Which.
        task: TaskId,
        /// Under which attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The worker gave back a task that it had not begun ([`crate::Action::Revoke`]).
    TaskReturned {
        /// Who.
        worker: WorkerId,
        /// Which.
        task: TaskId,
        /// Under which attempt.
        attempt: u32,
    },
    /// A delivered object is no longer needed.
    Free(KeyRange),
    /// The shell waits for this object, to deliver it: if it is lost, it must be made again.
    Wanted(ObjectKey),
    /// The program was restored from a checkpoint: forget all steps and every object that is not durable.
    /// `Durable` and `Submit` events follow.
    Restarted,
    /// Only time passed.
    TimePassed,
}
