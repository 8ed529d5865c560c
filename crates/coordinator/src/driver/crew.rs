//! The workers as the driver sees them: a seam, so that a cluster and a test's fake are the same to it.

use crate::cluster::{Cluster, Heard};
use exec::Held;
use futures::future::BoxFuture;
use plan::Dismissal;
use std::future::Future;
use tensor::{ObjectKey, WorkerId};
use wire::ToWorker;

/// The workers of one run.
pub trait Crew {
    /// Sends a message without waiting; one to a worker that is gone is lost without a word.
    fn send(&mut self, worker: WorkerId, message: ToWorker);

    /// Ends the session of a worker that the plan has given up. `Lost` does not follow. True where it will not be dialled
    /// again in this run.
    fn dismiss(&mut self, worker: WorkerId, why: Dismissal) -> bool;

    /// A worker has fallen silent: what is asked of it is not waited for, and nobody asks it for more until it is trusted.
    fn suspect(&mut self, worker: WorkerId);

    /// A suspected worker speaks again.
    fn trust(&mut self, worker: WorkerId);

    /// Waits for the next thing that happens. Dropping the wait loses nothing.
    fn next(&mut self) -> impl Future<Output = Heard>;

    /// Pulls a whole object from a holder; where that fails, a sentence says why.
    fn pull(&self, worker: WorkerId, key: ObjectKey) -> BoxFuture<'static, Result<Held, String>>;

    /// Bulk bytes that went through the coordinator so far.
    fn served_bytes(&self) -> u64;

    /// Where a worker is, as its users named it; empty where it is in this process.
    fn address(&self, worker: WorkerId) -> String;
}

impl Crew for Cluster {
    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        Cluster::send(self, worker, message);
    }

    fn dismiss(&mut self, worker: WorkerId, why: Dismissal) -> bool {
        Cluster::dismiss(self, worker, why)
    }

    fn suspect(&mut self, worker: WorkerId) {
        Cluster::suspect(self, worker);
    }

    fn trust(&mut self, worker: WorkerId) {
        Cluster::trust(self, worker);
    }

    fn next(&mut self) -> impl Future<Output = Heard> {
        Cluster::next(self)
    }

    fn pull(&self, worker: WorkerId, key: ObjectKey) -> BoxFuture<'static, Result<Held, String>> {
        Cluster::pull(self, worker, key)
    }

    fn served_bytes(&self) -> u64 {
        Cluster::served_bytes(self)
    }

    fn address(&self, worker: WorkerId) -> String {
        Cluster::address(self, worker)
    }
}
