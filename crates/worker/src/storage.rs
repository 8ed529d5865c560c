//! Depots and input files as a worker reaches them: what the coordinator serves on a stream of its own,
//! and local files that both see.

use crate::counters::Counters;
use crate::inputs::Inputs;
use crate::resident;
use crate::seams::{Executor, through};
use bytes::{Bytes, BytesMut};
use depot::{Depot, DepotError};
use exec::failure_of;
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Cache, Sealed};
use tensor::{DepotId, ObjectKey, SealedRef};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::time::timeout;
use wire::settings::{CHUNK_IDLE_TIMEOUT, STORAGE_TIMEOUT};
use wire::{CHUNK_BYTES_MAX, Chunk, Input, Reach, StorageReply, StorageRequest};

/// One request asks for at most this much, so that a lost stream costs little and memory stays bounded.
pub(crate) const READ_BYTES_MAX: u64 = 4 << 20;
/// Requests under way at once on one stream.
const REQUESTS_MAX: usize = 4;
/// Relays under way at once beside them: they may wait for room, for which reads must not wait.
const RELAYS_MAX: usize = 2;

/// The coordinator's end of a storage stream, as channels.
#[derive(Debug)]
pub struct Served {
    requests: mpsc::Sender<StorageRequest>,
    waiting: Mutex<BTreeMap<u64, mpsc::UnboundedSender<StorageReply>>>,
    next: AtomicU64,
    turns: Semaphore,
    relays: Semaphore,
}

impl Served {
    /// A client that sends on `requests`.
    pub fn new(requests: mpsc::Sender<StorageRequest>) -> Self {
        Served {
            requests,
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            turns: Semaphore::new(REQUESTS_MAX),
            relays: Semaphore::new(RELAYS_MAX),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, mpsc::UnboundedSender<StorageReply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a reply to whoever asked. Late replies to requests that were given up are dropped.
    pub fn deliver(&self, reply: StorageReply) {
        let id = match &reply {
            StorageReply::Attach { .. } => return,
            StorageReply::Content { id, .. }
            | StorageReply::Head { id, .. }
            | StorageReply::Stored { id }
            | StorageReply::Failed { id, .. } => *id,
        };
        let to = self.waiting().get(&id).cloned();
        if let Some(to) = to {
            let _ = to.send(reply);
        }
    }

    /// The stream has ended: whoever waits learns it.
    pub fn ended(&self) {
        self.waiting().clear();
    }

    /// A turn for a relay.
    pub(crate) async fn relay_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.relays.acquire().await.map_err(|_| gone())
    }

    /// Says something to the coordinator.
    pub(crate) async fn request(&self, request: StorageRequest) -> Result<(), Failure> {
        self.requests.send(request).await.map_err(|_| gone())
    }

    pub(crate) fn ask(&self) -> Asked<'_> {
        let id = self.next.fetch_add(1, Relaxed);
        let (to, replies) = mpsc::unbounded_channel();
        self.waiting().insert(id, to);
        Asked {
            served: self,
            id,
            replies,
        }
    }

    async fn read(
        &self,
        bytes: u64,
        request: impl FnOnce(u64) -> StorageRequest,
    ) -> Result<Bytes, Failure> {
        let _turn = self.turns.acquire().await.map_err(|_| gone())?;
        let mut asked = self.ask();
        self.request(request(asked.id)).await?;
        let mut content = BytesMut::with_capacity(bytes as usize);
        while (content.len() as u64) < bytes {
            match asked.reply().await? {
                StorageReply::Content { chunk, .. } => {
                    let data = chunk
                        .verified()
                        .map_err(|damaged| exhausted(damaged.to_string()))?;
                    content.extend_from_slice(&data);
                }
                StorageReply::Failed { failure, .. } => return Err(failure),
                StorageReply::Attach { .. }
                | StorageReply::Head { .. }
                | StorageReply::Stored { .. } => return Err(gone()),
            }
        }
        Ok(content.freeze())
    }

    async fn put(
        &self,
        depot: DepotId,
        object: SealedRef,
        section: impl Fn(Range<u64>) -> Result<Bytes, Failure>,
    ) -> Result<(), Failure> {
        let _turn = self.turns.acquire().await.map_err(|_| gone())?;
        let mut asked = self.ask();
        let id = asked.id;
        let SealedRef { digest, bytes } = object;
        let put = StorageRequest::Put {
            id,
            depot,
            digest,
            bytes,
        };
        self.request(put).await?;
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + CHUNK_BYTES_MAX as u64);
            let chunk = Chunk::new(section(at..end)?);
            self.request(StorageRequest::Content { id, chunk }).await?;
            at = end;
        }
        match asked.reply().await? {
            StorageReply::Stored { .. } => Ok(()),
            StorageReply::Failed { failure, .. } => Err(failure),
            StorageReply::Attach { .. }
            | StorageReply::Head { .. }
            | StorageReply::Content { .. } => Err(gone()),
        }
    }
}

/// A request under way; given up when dropped.
pub(crate) struct Asked<'a> {
    served: &'a Served,
    pub(crate) id: u64,
    replies: mpsc::UnboundedReceiver<StorageReply>,
}

impl Asked<'_> {
    pub(crate) async fn reply(&mut self) -> Result<StorageReply, Failure> {
        match timeout(CHUNK_IDLE_TIMEOUT, self.replies.recv()).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) | Err(_) => Err(gone()),
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.served.waiting().remove(&self.id);
    }
}

fn exhausted(sentence: String) -> Failure {
    Failure::Exhausted { sentence }
}

fn gone() -> Failure {
    exhausted("the coordinator's storage stream does not answer".into())
}

fn refused(refusal: Refusal, sentence: String) -> Failure {
    Failure::Refused { refusal, sentence }
}

/// Everything durable that a session knows.
pub struct Storage {
    /// The stream that the coordinator opens shortly after the session.
    pub served: watch::Receiver<Option<Arc<Served>>>,
    /// Depots that this worker reaches itself; the others are served.
    pub direct: BTreeMap<DepotId, Arc<Depot>>,
    /// The session's input files.
    pub inputs: Vec<Input>,
    /// How this worker reaches those that are not served.
    pub ways: Inputs,
    /// Where sealed objects are staged.
    pub cache: Arc<Cache>,
    /// Runs what touches files.
    pub executor: Arc<dyn Executor>,
    /// Counts bytes.
    pub counters: Arc<Counters>,
}

impl Storage {
    pub(crate) async fn served(&self) -> Result<Arc<Served>, Failure> {
        let mut served = self.served.clone();
        let there = timeout(STORAGE_TIMEOUT, served.wait_for(Option::is_some)).await;
        match there {
            Ok(Ok(served)) => served.clone().ok_or_else(gone),
            Ok(Err(_)) | Err(_) => Err(gone()),
        }
    }

    /// Runs what touches files, or copies much, on a thread for it.
    pub(crate) async fn file<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = through(|job| self.executor.file(job), work).await;
        done.unwrap_or_else(|| Err(exhausted("the worker is ending".into())))
    }

    /// Bytes of an input file.
    ///
    /// # Errors
    /// Where it has fewer, or cannot be read.
    pub async fn read_input(&self, number: u32, range: Range<u64>) -> Result<Bytes, Failure> {
        let input = self
            .inputs
            .get(number as usize)
            .filter(|input| range.end <= input.bytes)
            .ok_or_else(|| {
                refused(
                    Refusal::Bug,
                    format!("bytes {range:?} of input {number} were asked for, which has fewer"),
                )
            })?;
        self.counters.stored(range.end - range.start);
        if let Reach::Url(url) = &input.reach {
            let read = self.ways.read(url, input.bytes, range.clone()).await;
            // Whom this worker does not reach, the coordinator may.
            if read.is_ok() || resident::holder(url).is_none() {
                return read;
            }
        }
        let served = self.served().await?;
        let mut parts = BytesMut::with_capacity((range.end - range.start) as usize);
        for part in pieces(range) {
            let bytes = part.end - part.start;
            let request = |id| StorageRequest::ReadInput {
                id,
                input: number,
                range: part,
            };
            parts.extend_from_slice(&served.read(bytes, request).await?);
        }
        Ok(parts.freeze())
    }

    /// A sealed object: from the cache, or from its depot and then compared with its hash.
    ///
    /// # Errors
    /// [`Failure::Corrupt`] where the depot's bytes are not those of its name.
    pub async fn sealed(&self, depot: DepotId, object: SealedRef) -> Result<Sealed, Failure> {
        let key = ObjectKey::Sealed {
            depot,
            digest: object.digest,
            bytes: object.bytes,
        };
        let of = move |error| failure_of(error, Some(key));
        let cache = Arc::clone(&self.cache);
        if let Some(file) = self.file(move || cache.find(object).map_err(of)).await? {
            return Ok(file);
        }
        if let Some(direct) = self.direct.get(&depot) {
            self.counters.stored(object.bytes);
            return direct
                .fetch(object, &self.cache)
                .await
                .map_err(|error| depot_failure(error, Some(key)));
        }
        let served = self.served().await?;
        let cache = Arc::clone(&self.cache);
        let mut receiver = self
            .file(move || cache.receiver(object).map_err(of))
            .await?;
        for part in pieces(0..object.bytes) {
            let bytes = part.end - part.start;
            let request = |id| StorageRequest::ReadObject {
                id,
                depot,
                digest: object.digest,
                range: part,
            };
            let content = served.read(bytes, request).await?;
            self.counters.stored(bytes);
            let append = move || receiver.append(&content).map(|()| receiver).map_err(of);
            receiver = self.file(append).await?;
        }
        self.file(move || receiver.finish().map_err(of)).await
    }

    /// Makes a sealed file durable.
    ///
    /// # Errors
    /// What the depot says.
    pub async fn put(&self, depot: DepotId, file: &Sealed) -> Result<(), Failure> {
        self.counters.stored(file.len());
        if let Some(direct) = self.direct.get(&depot) {
            return direct
                .put(file)
                .await
                .map_err(|error| depot_failure(error, None));
        }
        let section = |range| match file.section(range) {
            Ok(section) => Ok(Bytes::from_owner(section)),
            Err(error) => Err(failure_of(error, None)),
        };
        let served = self.served().await?;
        served.put(depot, file.reference(), section).await
    }

    /// Makes an object in memory durable, of which the hash has just been taken.
    ///
    /// # Errors
    /// What the depot says.
    pub async fn put_bytes(
        &self,
        depot: DepotId,
        object: SealedRef,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        self.counters.stored(object.bytes);
        if let Some(direct) = self.direct.get(&depot) {
            return direct
                .put_bytes(object, bytes)
                .await
                .map_err(|error| depot_failure(error, None));
        }
        let section = |range: Range<u64>| Ok(bytes.slice(range.start as usize..range.end as usize));
        self.served().await?.put(depot, object, section).await
    }
}

/// What a depot's errors mean to the plan.
pub fn depot_failure(error: DepotError, key: Option<ObjectKey>) -> Failure {
    let refusal = match (error, key) {
        (DepotError::Store(error), key) => return failure_of(error, key),
        (DepotError::Damaged { .. }, Some(key)) => return Failure::Corrupt { key, holder: None },
        (
            error @ (DepotError::Unavailable { .. }
            | DepotError::Full { .. }
            | DepotError::Abandoned),
            _,
        ) => {
            return exhausted(error.to_string());
        }
        (
            error @ (DepotError::Url { .. }
            | DepotError::Input { .. }
            | DepotError::NoBucket { .. }),
            _,
        ) => (Refusal::Config, error.to_string()),
        (error @ (DepotError::NoObject { .. } | DepotError::Silent { .. }), _) => {
            (Refusal::Unavailable, error.to_string())
        }
        (error @ (DepotError::Denied { .. } | DepotError::NoCredentials { .. }), _) => {
            (Refusal::Permission, error.to_string())
        }
        (error @ (DepotError::Missing { .. } | DepotError::Manifest { .. }), _) => {
            (Refusal::BadData, error.to_string())
        }
        (error, _) => (Refusal::Io, error.to_string()),
    };
    refused(refusal.0, refusal.1)
}

/// Opens the depots that are reached directly.
///
/// # Errors
/// Where a URL is none of a depot.
pub fn open_depots(depots: &[(DepotId, Reach)]) -> Result<BTreeMap<DepotId, Arc<Depot>>, Failure> {
    let direct = depots.iter().filter_map(|(id, reach)| match reach {
        Reach::Url(url) => Some((*id, url)),
        Reach::Served => None,
    });
    let open = |(id, url): (DepotId, &String)| {
        let depot = Depot::open(url).map_err(|error| depot_failure(error, None))?;
        Ok((id, Arc::new(depot)))
    };
    direct.map(open).collect()
}

pub(crate) fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let count = (range.end - range.start).div_ceil(READ_BYTES_MAX);
    (0..count).map(move |i| {
        let start = range.start + i * READ_BYTES_MAX;
        start..range.end.min(start + READ_BYTES_MAX)
    })
}
