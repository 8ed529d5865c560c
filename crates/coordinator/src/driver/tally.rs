//! What a run came to, in counts.

use std::collections::BTreeMap;
use tensor::WorkerId;
use wire::{Done, Phase};

/// What one worker did.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct WorkerTally {
    /// Tasks it reported done.
    pub tasks: u64,
    /// Bytes it served to peers.
    pub sent_bytes: u64,
    /// Bytes it pulled from peers.
    pub received_bytes: u64,
    /// The most anonymous memory it had.
    pub peak_anonymous_bytes: u64,
    /// Seconds inside ops, waiting for inputs, and putting what must be durable.
    pub compute_seconds: f64,
    /// Seconds in which a task waited for what it needs.
    pub fetch_seconds: f64,
    /// Seconds in which results were put into a depot.
    pub send_seconds: f64,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outcome {
    /// Ended early because it was asked to; the last checkpoint is durable.
    pub cancelled: bool,
    /// Steps of the program that became whole.
    pub steps: u64,
    /// Tasks reported done, replays included.
    pub tasks_run: u64,
    /// Tasks reported done that had been before.
    pub tasks_replayed: u64,
    /// Tasks that were given to a second worker because the first took long.
    pub tasks_doubled: u64,
    /// Times the program went back to a checkpoint.
    pub rollbacks: u64,
    /// Checkpoints made durable.
    pub checkpoints: u64,
    /// Pieces that tasks were computed in.
    pub pieces: u64,
    /// Rows that a cut between pieces fell into.
    pub cut_rows: u64,
    /// By worker, those that were lost included.
    pub workers: BTreeMap<WorkerId, WorkerTally>,
    /// Bulk bytes that went through the coordinator.
    pub coordinator_bytes: u64,
    /// Of the whole run.
    pub seconds: f64,
}

impl Outcome {
    /// Seconds that all workers together spent inside ops.
    pub fn compute_seconds(&self) -> f64 {
        self.workers
            .values()
            .map(|worker| worker.compute_seconds)
            .sum()
    }

    /// Adds what a task reported, which may have been done before.
    pub(super) fn count(&mut self, worker: WorkerId, done: &Done, again: bool) {
        self.tasks_run += 1;
        self.tasks_replayed += u64::from(again);
        self.pieces += done.pieces;
        self.cut_rows += done.cut_rows;
        let tally = self.workers.entry(worker).or_default();
        tally.tasks += 1;
        tally.peak_anonymous_bytes = tally.peak_anonymous_bytes.max(done.peak_anonymous_bytes);
        tally.sent_bytes = done.traffic.iter().map(|peer| peer.sent_bytes).sum();
        tally.received_bytes = done.traffic.iter().map(|peer| peer.received_bytes).sum();
        for span in &done.spans {
            let seconds = span.length_us as f64 * 1e-6;
            match span.phase {
                Phase::Fetch => tally.fetch_seconds += seconds,
                Phase::Compute => tally.compute_seconds += seconds,
                Phase::Send => tally.send_seconds += seconds,
            }
        }
    }
}
