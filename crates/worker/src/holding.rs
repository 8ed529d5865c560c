//! The objects that a worker has at hand in a session: those it made, and copies of those it pulled.

use crate::memory::Split;
use crate::seams::{Dialer, PeerLink, PullError};
use crate::session::Worker;
use exec::{Held, Part, Shelf, SpareBuffers};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Cache, StoreError};
use tensor::{KeyRange, ObjectKey, WorkerId};
use wire::{Peer, Pull, PullPart};

/// Rows as `exec` names them.
fn part_of(part: &PullPart) -> Part {
    match part {
        PullPart::Whole => Part::Whole,
        PullPart::Rows(rows) => Part::Rows(Arc::clone(rows)),
        PullPart::Span(span) => Part::Span(span.clone()),
    }
}

/// Packs rows of an object.
///
/// # Errors
/// [`StoreError::Beyond`] for a row beyond its end, or where a spilled copy cannot be read back.
pub fn pack(held: &Held, part: &PullPart) -> Result<Held, StoreError> {
    if *part == PullPart::Whole {
        return Ok(held.clone());
    }
    Ok(Held::Memory {
        buffer: Arc::new(held.part(&part_of(part))?),
        row_bytes: held.row_bytes(),
    })
}

/// A copy of what a peer made.
#[derive(Debug)]
struct Copy {
    held: Held,
    used: u64,
}

#[derive(Debug, Default)]
struct Copies {
    of: BTreeMap<ObjectKey, Copy>,
    bytes: u64,
    uses: u64,
}

/// What a worker has at hand.
pub struct Holding {
    own: Shelf,
    copies: Mutex<Copies>,
    copies_bytes_max: u64,
    spare: Arc<SpareBuffers>,
}

impl Holding {
    /// Nothing yet. What is made beyond its part of the memory is spilled into the cache; copies beyond
    /// theirs go, the least recently used first.
    pub fn new(split: &Split, cache: Arc<Cache>) -> Self {
        Holding {
            own: Shelf::new(split.shelf_bytes, cache),
            copies: Mutex::default(),
            copies_bytes_max: split.copies_bytes,
            spare: Arc::new(SpareBuffers::new(split.spare_bytes)),
        }
    }

    /// Buffers of what it let go.
    pub fn spare(&self) -> &Arc<SpareBuffers> {
        &self.spare
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a task made. Made twice, it is the same bytes. True where [`Holding::spill`] is then due.
    pub fn keep(&self, key: ObjectKey, held: Held) -> bool {
        self.own.keep(key, held)
    }

    /// Spills what is beyond its part of the memory: writes files, and so belongs on a thread for them.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn spill(&self) -> Result<(), StoreError> {
        self.own.spill()
    }

    /// What this worker made; this is what peers may pull.
    pub fn own(&self, key: ObjectKey) -> Option<Held> {
        self.own.get(key)
    }

    /// What this worker made or copied.
    pub fn any(&self, key: ObjectKey) -> Option<Held> {
        self.own(key).or_else(|| {
            let mut copies = self.copies();
            copies.uses += 1;
            let uses = copies.uses;
            let copy = copies.of.get_mut(&key)?;
            copy.used = uses;
            Some(copy.held.clone())
        })
    }

    /// Keeps a copy as long as there is room.
    pub fn copied(&self, key: ObjectKey, held: Held) {
        let bytes = held.anonymous_bytes();
        let mut copies = self.copies();
        // Peers of this process have it in memory anyway: a copy kept here would keep it from being spilled.
        if bytes > self.copies_bytes_max || copies.of.contains_key(&key) {
            return;
        }
        copies.uses += 1;
        copies.bytes += bytes;
        let used = copies.uses;
        copies.of.insert(key, Copy { held, used });
        while copies.bytes > self.copies_bytes_max {
            let oldest = copies
                .of
                .iter()
                .min_by_key(|(_, copy)| copy.used)
                .map(|(key, _)| *key);
            let Some(gone) = oldest.and_then(|key| copies.of.remove(&key)) else {
                break;
            };
            copies.bytes -= gone.held.anonymous_bytes();
        }
    }

    /// Forgets objects, made or copied.
    pub fn drop_keys(&self, ranges: &[KeyRange]) {
        for held in ranges.iter().flat_map(|range| self.own.drop_keys(*range)) {
            self.spare.give(held);
        }
        let mut copies = self.copies();
        for key in ranges.iter().flat_map(|range| range.keys()) {
            if let Some(copy) = copies.of.remove(&key) {
                copies.bytes -= copy.held.anonymous_bytes();
                self.spare.give(copy.held);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.own.clear();
        let copies = std::mem::take(&mut *self.copies());
        drop(copies);
        self.spare.clear();
    }

    /// How many objects are held, made and copied.
    pub fn counts(&self) -> (usize, usize) {
        (self.own.len(), self.copies().of.len())
    }
}

/// The workers of one process, which hand each other objects without copying them.
#[derive(Clone, Default)]
pub struct LocalPeers(Arc<Mutex<BTreeMap<WorkerId, Worker>>>);

impl LocalPeers {
    /// Makes a worker known under its number.
    pub fn join(&self, id: WorkerId, worker: Worker) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, worker);
    }

    /// A worker is gone.
    pub fn leave(&self, id: WorkerId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

impl Dialer for LocalPeers {
    fn here(&self) -> bool {
        true
    }

    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        Arc::new(LocalPeer {
            peers: self.clone(),
            id: peer.worker,
        })
    }
}

struct LocalPeer {
    peers: LocalPeers,
    id: WorkerId,
}

impl PeerLink for LocalPeer {
    fn pull(
        &self,
        pull: Pull,
        _spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>> {
        let worker = self
            .peers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&self.id)
            .cloned();
        Box::pin(async move {
            let Some(worker) = worker else {
                return Err(PullError::Unreachable("it has left".into()));
            };
            let held = worker.pulled(&pull).await?;
            worker.count_sent(&pull, held.bytes());
            Ok(held)
        })
    }
}
