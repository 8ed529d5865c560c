//! What a session counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use store::heap::anonymous_bytes;
use tensor::WorkerId;
use wire::{Totals, Traffic};

/// Counts of one session.
#[derive(Debug, Default)]
pub struct Counters {
    tasks: AtomicU64,
    failed: AtomicU64,
    peak: AtomicU64,
    storage: AtomicU64,
    /// Sent to and received from each peer.
    traffic: Mutex<BTreeMap<WorkerId, (u64, u64)>>,
}

impl Counters {
    /// A task is done.
    pub fn task_done(&self) {
        self.tasks.fetch_add(1, Relaxed);
    }

    /// A task could not be done.
    pub fn task_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Tasks that could not be done.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Looks at the memory of the process and remembers the most.
    pub fn sample_memory(&self) -> u64 {
        let now = anonymous_bytes();
        self.peak.fetch_max(now, Relaxed);
        now
    }

    /// The most memory seen.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// Bytes to or from a depot or an input.
    pub fn stored(&self, bytes: u64) {
        self.storage.fetch_add(bytes, Relaxed);
    }

    /// Bytes served to a peer.
    pub fn sent(&self, peer: WorkerId, bytes: u64) {
        self.traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(peer)
            .or_default()
            .0 += bytes;
    }

    /// Bytes pulled from a peer.
    pub fn received(&self, peer: WorkerId, bytes: u64) {
        self.traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(peer)
            .or_default()
            .1 += bytes;
    }

    /// Exchange with each peer.
    pub fn traffic(&self) -> Vec<Traffic> {
        let traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(&worker, &(sent_bytes, received_bytes)): (&WorkerId, &(u64, u64))| Traffic {
            worker,
            sent_bytes,
            received_bytes,
        };
        traffic.iter().map(of).collect()
    }

    /// All of it.
    pub fn totals(&self) -> Totals {
        self.sample_memory();
        Totals {
            tasks: self.tasks.load(Relaxed),
            peak_anonymous_bytes: self.peak(),
            storage_bytes: self.storage.load(Relaxed),
            traffic: self.traffic(),
        }
    }
}
