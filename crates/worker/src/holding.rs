//! The objects that a worker has at hand in a session: those it made, and copies of those it pulled.

use crate::seams::{Dialer, PeerLink, PullError};
use crate::session::Worker;
use exec::Held;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{AlignedBuf, StoreError};
use tensor::{KeyRange, ObjectKey, WorkerId};
use wire::{Peer, Pull, PullPart};

/// Length of an object in bytes.
pub fn held_bytes(held: &Held) -> u64 {
    match held {
        Held::Memory { buffer, .. } => buffer.len() as u64,
        Held::File { file, .. } => file.len(),
    }
}

/// The bytes of a row.
pub fn row_bytes(held: &Held) -> u32 {
    match held {
        Held::Memory { row_bytes, .. } | Held::File { row_bytes, .. } => *row_bytes,
    }
}

fn memory_bytes(held: &Held) -> u64 {
    match held {
        Held::Memory { buffer, .. } => buffer.len() as u64,
        Held::File { .. } => 0,
    }
}

/// Packs rows of an object. `None` where a row lies beyond its end.
///
/// # Errors
/// Where a spilled copy cannot be read back.
pub fn pack(held: &Held, part: &PullPart) -> Result<Option<AlignedBuf>, StoreError> {
    let row = u64::from(row_bytes(held));
    let rows = if row == 0 { 0 } else { held_bytes(held) / row };
    let mut spans: Vec<Range<u64>> = Vec::new();
    match part {
        PullPart::Whole => spans.push(0..rows),
        PullPart::Span(span) => spans.push(span.clone()),
        PullPart::Rows(rows) => {
            for &row in rows
                .iter()
                .map(|r| u64::from(*r))
                .collect::<Vec<_>>()
                .iter()
            {
                match spans.last_mut() {
                    Some(last) if last.end == row => last.end += 1,
                    _ => spans.push(row..row + 1),
                }
            }
        }
    }
    if spans
        .iter()
        .any(|span| span.start > span.end || span.end > rows)
    {
        return Ok(None);
    }
    let bytes: u64 = spans.iter().map(|span| (span.end - span.start) * row).sum();
    let mut packed = AlignedBuf::zeroed(bytes as usize);
    let mut rest = packed.bytes_mut();
    for span in spans {
        let (from, len) = (span.start * row, ((span.end - span.start) * row) as usize);
        let (here, behind) = rest.split_at_mut(len);
        match held {
            Held::Memory { buffer, .. } => {
                here.copy_from_slice(&buffer.bytes()[from as usize..from as usize + len])
            }
            Held::File { file, .. } => file.read_into(from, here)?,
        }
        rest = behind;
    }
    Ok(Some(packed))
}

/// A copy of what a peer made.
#[derive(Debug)]
struct Copy {
    held: Held,
    used: u64,
}

#[derive(Debug, Default)]
struct Shelves {
    own: BTreeMap<ObjectKey, Held>,
    copies: BTreeMap<ObjectKey, Copy>,
    copies_bytes: u64,
    uses: u64,
}

/// What a worker has at hand.
#[derive(Debug)]
pub struct Holding {
    shelves: Mutex<Shelves>,
    copies_bytes_max: u64,
}

impl Holding {
    /// Nothing yet; copies beyond the bound go, the least recently used first.
    pub fn new(copies_bytes_max: u64) -> Self {
        Holding {
            shelves: Mutex::default(),
            copies_bytes_max,
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a task made. Made twice, it is the same bytes: the first stays.
    pub fn put(&self, key: ObjectKey, held: Held) {
        self.shelves().own.entry(key).or_insert(held);
    }

    /// What this worker made; this is what peers may pull.
    pub fn own(&self, key: ObjectKey) -> Option<Held> {
        self.shelves().own.get(&key).cloned()
    }

    /// What this worker made or copied.
    pub fn any(&self, key: ObjectKey) -> Option<Held> {
        let mut shelves = self.shelves();
        if let Some(own) = shelves.own.get(&key) {
            return Some(own.clone());
        }
        shelves.uses += 1;
        let uses = shelves.uses;
        let copy = shelves.copies.get_mut(&key)?;
        copy.used = uses;
        Some(copy.held.clone())
    }

    /// Keeps a copy as long as there is room.
    pub fn copied(&self, key: ObjectKey, held: Held) {
        let bytes = memory_bytes(&held);
        let mut shelves = self.shelves();
        if bytes > self.copies_bytes_max || shelves.copies.contains_key(&key) {
            return;
        }
        shelves.uses += 1;
        shelves.copies_bytes += bytes;
        let used = shelves.uses;
        shelves.copies.insert(key, Copy { held, used });
        while shelves.copies_bytes > self.copies_bytes_max {
            let oldest = shelves
                .copies
                .iter()
                .min_by_key(|(_, copy)| copy.used)
                .map(|(key, _)| *key);
            let Some(gone) = oldest.and_then(|key| shelves.copies.remove(&key)) else {
                break;
            };
            shelves.copies_bytes -= memory_bytes(&gone.held);
        }
    }

    /// Forgets objects, made or copied.
    pub fn drop_keys(&self, ranges: &[KeyRange]) {
        let mut shelves = self.shelves();
        for key in ranges.iter().flat_map(|range| range.keys()) {
            shelves.own.remove(&key);
            if let Some(copy) = shelves.copies.remove(&key) {
                shelves.copies_bytes -= memory_bytes(&copy.held);
            }
        }
    }

    /// How many objects are held, made and copied.
    pub fn counts(&self) -> (usize, usize) {
        let shelves = self.shelves();
        (shelves.own.len(), shelves.copies.len())
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
    fn pull(&self, pull: Pull) -> BoxFuture<'static, Result<Held, PullError>> {
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
            worker.count_sent(&pull, held_bytes(&held));
            Ok(held)
        })
    }
}
