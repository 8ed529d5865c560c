//! What the driver tells while it runs: to people, to the live page, to the journal.
//!
//! **Invariant:** a report decides nothing; a run to which nobody listens gives the same bits.

use super::WorkerTally;
use plan::{Failure, Profile};
use tensor::{News, StepId, TaskId, WorkerId};

/// What the driver tells while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// News of the program; after a roll-back an epoch is not told twice.
    News(News),
    /// A step was submitted.
    Step {
        /// Its number.
        step: StepId,
        /// Its name.
        name: String,
        /// Its tasks.
        tasks: u64,
    },
    /// So many tasks are done, of so many that were submitted up to now.
    Tasks {
        /// Done.
        done: u64,
        /// Submitted.
        submitted: u64,
        /// Bulk bytes that went through the coordinator so far.
        served_bytes: u64,
    },
    /// A checkpoint of this epoch is durable.
    Checkpoint {
        /// The epoch that it closes.
        epoch: u32,
        /// From its offer to its manifest.
        seconds: f64,
    },
    /// A line that people should see: a worker joined or was lost, a roll-back.
    Note(String),
    /// Something about a worker.
    Worker(WorkerId, OfWorker),
    /// A step became whole.
    Whole(StepId),
    /// The program went back to its last durable checkpoint.
    RolledBack,
}

/// Something about a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum OfWorker {
    /// Its session is open.
    Joined {
        /// What it offers.
        profile: Profile,
        /// Where it is; empty in this process.
        address: String,
    },
    /// It says that it lives.
    Alive {
        /// The anonymous memory of its process now.
        anonymous_bytes: u64,
    },
    /// It finishes what it has begun and takes nothing new.
    Draining,
    /// Its session is over; the sentence says why.
    Lost(String),
    /// It has fallen silent: others do its tasks until it speaks again.
    Suspected,
    /// It speaks again.
    Trusted,
    /// It takes long for this task, which was given to another as well.
    Slow(TaskId),
    /// Another came to another result of this task than it did; a third decides.
    Differs(TaskId),
    /// Two others came to another result than it did.
    ShutOut,
    /// It was silent for too long.
    GivenUp,
    /// It was given a task, after so many attempts that came to nothing.
    Given(TaskId, u32),
    /// It gave a task back that it had not begun.
    Returned(TaskId),
    /// It did a task.
    Done {
        /// Which.
        task: TaskId,
        /// It had been done before.
        again: bool,
        /// All that it did so far.
        tally: WorkerTally,
    },
    /// It could not do a task.
    Failed {
        /// Which.
        task: TaskId,
        /// Under which attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
}
