//! The workers as the driver sees them: a seam, so that a cluster and a test's fake are the same to it.

use exec::Held;
use plan::Profile;
use std::future::Future;
use tensor::{ObjectKey, WorkerId};
use wire::{FromWorker, ToWorker};

/// Something about a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Its session is open: it can be given tasks.
    Joined(WorkerId, Profile),
    /// It said something.
    Said(WorkerId, FromWorker),
    /// Its session is over; the sentence says why.
    Lost(WorkerId, String),
}

/// The workers of one run.
pub trait Crew: Send {
    /// Sends a message without waiting; one to a worker that is gone is lost without a word.
    fn send(&mut self, worker: WorkerId, message: ToWorker);

    /// Ends the session of a worker that the plan has given up. `Lost` does not follow.
    fn dismiss(&mut self, worker: WorkerId);

    /// Waits for the next thing that happens. Dropping the wait loses nothing.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Pulls a whole object from a holder; where that fails, a sentence says why.
    fn pull(
        &self,
        worker: WorkerId,
        key: ObjectKey,
    ) -> impl Future<Output = Result<Held, String>> + Send;

    /// Bulk bytes that went through the coordinator so far.
    fn served_bytes(&self) -> u64;
}
