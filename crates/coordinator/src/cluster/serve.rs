//! Files that only the coordinator sees, served to a worker on a stream: ranged reads of the user's files
//! and of local depots, puts, and relays of what peers hold.

use super::Shared;
use super::relay::{Relay, Relays};
use bytes::Bytes;
use depot::{Depot, DepotError};
use futures::stream;
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tensor::{DepotId, Digest, SealedRef};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use wire::{Chunk, StorageReply, StorageRequest};
use worker::StorageLink;
use worker::inputs::Inputs;
use worker::seams::{Dialer, Executor, through};
use worker::storage::depot_failure;

/// Reads under way at once for all workers together: each holds a few MiB.
const READS_MAX: usize = 8;
/// Chunks of a put that may wait for the depot.
const PUT_CHUNKS: usize = 4;

/// Where an input lies that this process reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputPlace {
    /// On this machine.
    Path(PathBuf),
    /// In the memory of this process, by its URL.
    Resident(String),
    /// Where workers reach it, too: an object under a URL, or a table in the memory of one of them.
    Url(String),
}

/// One of the user's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it lies.
    pub place: InputPlace,
    /// Its length.
    pub bytes: u64,
    /// When it was last written, in seconds and nanoseconds as its file system tells; zeros of what is in memory.
    pub written: (i64, i64),
}

/// What can be served.
pub(super) struct Files {
    pub(super) inputs: Vec<InputFile>,
    pub(super) depots: BTreeMap<DepotId, Arc<Depot>>,
    /// Bytes that went through here.
    pub(super) bytes: AtomicU64,
    reads: Semaphore,
    executor: Arc<dyn Executor>,
    ways: Inputs,
}

impl Files {
    pub(super) fn new(
        inputs: Vec<InputFile>,
        depots: BTreeMap<DepotId, Arc<Depot>>,
        executor: Arc<dyn Executor>,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        Files {
            inputs,
            depots,
            bytes: AtomicU64::new(0),
            reads: Semaphore::new(READS_MAX),
            ways: Inputs::new(Arc::clone(&executor), dialer, 0),
            executor,
        }
    }

    /// Answers one worker until its stream ends.
    pub(super) async fn serve(
        self: Arc<Self>,
        shared: Arc<Shared>,
        mut link: StorageLink,
        attach: StorageReply,
    ) {
        let replies = link.replies;
        if replies.send(attach).await.is_err() {
            return;
        }
        let mut puts: BTreeMap<u64, mpsc::Sender<Chunk>> = BTreeMap::new();
        let mut relays = Relays::default();
        // Dropped with this future: what is under way for a lost worker ends with it.
        let mut answers = JoinSet::new();
        while let Some(request) = link.requests.recv().await {
            while answers.try_join_next().is_some() {}
            let (files, replies) = (Arc::clone(&self), replies.clone());
            match request {
                StorageRequest::ReadInput { id, input, range } => {
                    answers.spawn(async move {
                        let _turn = files.reads.acquire().await;
                        let content = files.input(input, range).await;
                        files.answer(id, content, &replies).await;
                    });
                }
                StorageRequest::ReadObject {
                    id,
                    depot,
                    digest,
                    range,
                } => {
                    answers.spawn(async move {
                        let _turn = files.reads.acquire().await;
                        let content = files.object(depot, digest, range).await;
                        files.answer(id, content, &replies).await;
                    });
                }
                StorageRequest::Put {
                    id,
                    depot,
                    digest,
                    bytes,
                } => {
                    let (chunks, content) = mpsc::channel(PUT_CHUNKS);
                    puts.retain(|_, put| !put.is_closed());
                    puts.insert(id, chunks);
                    answers.spawn(async move {
                        let reply =
                            match files.put(depot, SealedRef { digest, bytes }, content).await {
                                Ok(()) => StorageReply::Stored { id },
                                Err(failure) => StorageReply::Failed { id, failure },
                            };
                        // A worker that is gone needs no answer.
                        let _ = replies.send(reply).await;
                    });
                }
                StorageRequest::Content { id, chunk } => {
                    if let Some(put) = puts.get(&id) {
                        // An object that is there already is stored without looking at the content.
                        let _ = put.send(chunk).await;
                    }
                }
                StorageRequest::Relay { id, holder, pull } => {
                    let takes = relays.begin(id);
                    let relay = Relay { id, holder, pull };
                    answers.spawn(relay.carry(Arc::clone(&shared), takes, replies));
                }
                StorageRequest::Take { id, range } => relays.take(id, range),
            }
        }
    }

    async fn answer(
        &self,
        id: u64,
        content: Result<Bytes, Failure>,
        replies: &mpsc::Sender<StorageReply>,
    ) {
        match content {
            Ok(content) => {
                self.bytes.fetch_add(content.len() as u64, Relaxed);
                for chunk in Chunk::cut(content) {
                    if replies
                        .send(StorageReply::Content { id, chunk })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
            Err(failure) => {
                let _ = replies.send(StorageReply::Failed { id, failure }).await;
            }
        }
    }

    async fn input(&self, number: u32, range: Range<u64>) -> Result<Bytes, Failure> {
        let input = self.inputs.get(number as usize);
        let input = input.ok_or_else(|| unknown(format!("input {number}")))?;
        let path = match &input.place {
            InputPlace::Path(path) => path.clone(),
            InputPlace::Resident(url) | InputPlace::Url(url) => {
                return self.ways.read(url, input.bytes, range).await;
            }
        };
        let reading = move || {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            let read =
                File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, range.start));
            read.map(|()| Bytes::from(bytes))
                .map_err(|error| Failure::Refused {
                    refusal: Refusal::Io,
                    sentence: format!("{} could not be read: {error}", path.display()),
                })
        };
        let read = through(|job| self.executor.file(job), reading).await;
        read.unwrap_or_else(|| Err(unknown("a coordinator that is ending".to_owned())))
    }

    fn depot(&self, depot: DepotId) -> Result<&Arc<Depot>, Failure> {
        self.depots
            .get(&depot)
            .ok_or_else(|| unknown(format!("depot {}", depot.0)))
    }

    async fn object(
        &self,
        depot: DepotId,
        digest: Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let read = self.depot(depot)?.read(digest, range).await;
        read.map_err(|error| depot_failure(error, None))
    }

    async fn put(
        &self,
        depot: DepotId,
        object: SealedRef,
        content: mpsc::Receiver<Chunk>,
    ) -> Result<(), Failure> {
        // A damaged chunk ends the stream: nothing becomes visible, and the worker may put again.
        let parts = stream::unfold((content, object.bytes), |(mut content, left)| async move {
            if left == 0 {
                return None;
            }
            let part = match content.recv().await.map(Chunk::verified) {
                Some(Ok(data)) => Ok(data),
                Some(Err(_)) | None => Err(DepotError::Abandoned),
            };
            let left = part
                .as_ref()
                .map_or(0, |data: &Bytes| left.saturating_sub(data.len() as u64));
            Some((part, (content, left)))
        });
        self.bytes.fetch_add(object.bytes, Relaxed);
        self.depot(depot)?
            .put_stream(object, parts)
            .await
            .map_err(|error| depot_failure(error, None))
    }
}

fn unknown(what: String) -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence: format!("a worker asked for {what}, which is not served"),
    }
}
