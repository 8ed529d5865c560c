//! Where inputs and depots are, and the answers to workers that see less of them than this process does.

use bytes::Bytes;
use futures::future::BoxFuture;
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::Receiver;
use tensor::{DepotId, SealedRef};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, StreamExt};
use wire::{CHUNK_BYTES_MAX, Chunk, Input, Reach, StorageReply, StorageRequest};

/// Replies that wait for the transport: with chunks of 1 MiB, also the megabytes they may take.
pub const REPLIES_MAX: usize = 8;
/// Requests of one worker that are answered at once.
const REQUESTS_MAX: usize = 4;

/// Bytes that can be read by range without blocking the caller.
pub trait Source: Send + Sync {
    /// Length in bytes.
    fn bytes(&self) -> u64;
    /// How a daemon reaches it.
    fn reach(&self) -> Reach;
    /// How a worker in this process reaches it.
    fn reach_embedded(&self) -> Reach;
    /// Reads a range.
    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, Failure>>;
}

/// A local file, which daemons cannot see.
pub struct LocalFile {
    file: Arc<File>,
    name: String,
    bytes: u64,
}

impl LocalFile {
    /// Opens it.
    ///
    /// # Errors
    /// With a sentence that names it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let fail = |error: std::io::Error| {
            let refusal = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Refusal::Permission,
                std::io::ErrorKind::NotFound => Refusal::BadData,
                _ => Refusal::Io,
            };
            Failure::Refused {
                refusal,
                sentence: format!("{name} cannot be opened: {error}"),
            }
        };
        let file = File::open(path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        Ok(LocalFile {
            file: Arc::new(file),
            name,
            bytes,
        })
    }
}

impl tensor::ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Source for LocalFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn reach(&self) -> Reach {
        Reach::Served
    }

    fn reach_embedded(&self) -> Reach {
        Reach::Url(self.name.clone())
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, Failure>> {
        let (file, name) = (Arc::clone(&self.file), self.name.clone());
        Box::pin(async move {
            let read = move || {
                let mut buffer = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut buffer, range.start)
                    .map(|()| Bytes::from(buffer))
            };
            let failed = |error: &dyn std::fmt::Display| Failure::Refused {
                refusal: Refusal::Io,
                sentence: format!("{name} cannot be read: {error}"),
            };
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(error)) => Err(failed(&error)),
                Err(error) => Err(failed(&error)),
            }
        })
    }
}

/// A depot as a session needs it.
pub trait Store: Send + Sync {
    /// Its URL or path.
    fn url(&self) -> String;
    /// Whether daemons reach the URL as this process does.
    fn is_shared(&self) -> bool;
    /// Reads a range of an object.
    fn read(
        &self,
        object: tensor::Digest,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Bytes, Failure>>;
    /// Begins to receive an object into a local cache.
    ///
    /// # Errors
    /// Where the cache has no room.
    fn receive(&self, object: SealedRef) -> Result<Receiver, Failure>;
    /// Makes a received object durable.
    fn put(&self, object: store::Sealed) -> BoxFuture<'static, Result<(), Failure>>;
}

/// The inputs and depots of a session.
#[derive(Default)]
pub struct Places {
    /// The user's files, in the order that ops number them.
    pub inputs: Vec<Arc<dyn Source>>,
    /// The durable places.
    pub depots: BTreeMap<DepotId, Arc<dyn Store>>,
    served: AtomicU64,
}

impl Places {
    /// Inputs and depots.
    pub fn new(inputs: Vec<Arc<dyn Source>>, depots: BTreeMap<DepotId, Arc<dyn Store>>) -> Self {
        Places {
            inputs,
            depots,
            served: AtomicU64::new(0),
        }
    }

    /// Inputs as daemons reach them.
    pub fn inputs_for_daemons(&self) -> Vec<Input> {
        self.inputs
            .iter()
            .map(|input| Input {
                reach: input.reach(),
                bytes: input.bytes(),
            })
            .collect()
    }

    /// Inputs as workers in this process reach them.
    pub fn inputs_embedded(&self) -> Vec<Input> {
        self.inputs
            .iter()
            .map(|input| Input {
                reach: input.reach_embedded(),
                bytes: input.bytes(),
            })
            .collect()
    }

    /// Depots as daemons reach them.
    pub fn depots_for_daemons(&self) -> Vec<(DepotId, Reach)> {
        let reach = |store: &Arc<dyn Store>| {
            if store.is_shared() {
                Reach::Url(store.url())
            } else {
                Reach::Served
            }
        };
        self.depots
            .iter()
            .map(|(depot, store)| (*depot, reach(store)))
            .collect()
    }

    /// Depots as workers in this process reach them.
    pub fn depots_embedded(&self) -> Vec<(DepotId, Reach)> {
        self.depots
            .iter()
            .map(|(depot, store)| (*depot, Reach::Url(store.url())))
            .collect()
    }

    /// Bytes that went through this process.
    pub fn served_bytes(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.served.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Answers the requests of one worker until its stream ends.
pub async fn answer(
    mut requests: impl Stream<Item = StorageRequest> + Unpin,
    replies: mpsc::Sender<StorageReply>,
    places: Arc<Places>,
) {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut puts: BTreeMap<u64, Put> = BTreeMap::new();
    while let Some(request) = requests.next().await {
        match request {
            StorageRequest::ReadInput { id, input, range } => {
                let source = places.inputs.get(input as usize).cloned();
                let reader = source.map(|source| move |part| source.read(part));
                read(id, range, reader, &replies, &places, &slots);
            }
            StorageRequest::ReadObject {
                id,
                depot,
                digest,
                range,
            } => {
                let store = places.depots.get(&depot).cloned();
                let reader = store.map(|store| move |part| store.read(digest, part));
                read(id, range, reader, &replies, &places, &slots);
            }
            StorageRequest::Put {
                id,
                depot,
                digest,
                bytes,
            } => {
                let put = Put::begin(&places, depot, SealedRef { digest, bytes });
                proceed(id, put, &mut puts, &replies).await;
            }
            StorageRequest::Content { id, chunk } => {
                // Content of a put that failed before is passed over: its failure was told.
                let Some(put) = puts.remove(&id) else {
                    continue;
                };
                places.count(chunk.clone().unverified().len());
                proceed(id, put.take(chunk), &mut puts, &replies).await;
            }
        }
    }
}

/// An object on its way in.
struct Put {
    store: Arc<dyn Store>,
    receiver: Receiver,
    left: u64,
}

impl Put {
    fn begin(places: &Places, depot: DepotId, object: SealedRef) -> Result<Self, Failure> {
        let store = places.depots.get(&depot).cloned().ok_or_else(unknown)?;
        let receiver = store.receive(object)?;
        Ok(Put {
            store,
            receiver,
            left: object.bytes,
        })
    }

    fn take(mut self, chunk: Chunk) -> Result<Self, Failure> {
        let refused = |sentence: String| Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let data = chunk
            .verified()
            .map_err(|damaged| refused(damaged.to_string()))?;
        self.left = self
            .left
            .checked_sub(data.len() as u64)
            .ok_or_else(|| refused("a worker sent more than it announced".to_owned()))?;
        self.receiver
            .append(&data)
            .map_err(|error| refused(error.to_string()))?;
        Ok(self)
    }

    async fn finish(self) -> Result<(), Failure> {
        let refused = |sentence: String| Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let seal = tokio::task::spawn_blocking(move || self.receiver.finish());
        let sealed = seal.await.map_err(|error| refused(error.to_string()))?;
        self.store
            .put(sealed.map_err(|error| refused(error.to_string()))?)
            .await
    }
}

/// Keeps a put that goes on, finishes one that is whole, tells a failure.
async fn proceed(
    id: u64,
    put: Result<Put, Failure>,
    puts: &mut BTreeMap<u64, Put>,
    replies: &mpsc::Sender<StorageReply>,
) {
    let reply = match put {
        Ok(put) if put.left > 0 => {
            puts.insert(id, put);
            return;
        }
        Ok(put) => match put.finish().await {
            Ok(()) => StorageReply::Stored { id },
            Err(failure) => StorageReply::Failed { id, failure },
        },
        Err(failure) => StorageReply::Failed { id, failure },
    };
    // The worker is gone where nobody takes the reply.
    let _ = replies.send(reply).await;
}

fn unknown() -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence: "a worker asked for a place that the session does not have".to_owned(),
    }
}

/// Reads a range chunk by chunk, beside other requests.
fn read<R>(
    id: u64,
    range: Range<u64>,
    reader: Option<R>,
    replies: &mpsc::Sender<StorageReply>,
    places: &Arc<Places>,
    slots: &Arc<Semaphore>,
) where
    R: Fn(Range<u64>) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync + 'static,
{
    let (replies, places, slots) = (replies.clone(), Arc::clone(places), Arc::clone(slots));
    tokio::spawn(async move {
        // The semaphore is never closed.
        let _slot = slots.acquire_owned().await;
        let Some(reader) = reader else {
            let _ = replies
                .send(StorageReply::Failed {
                    id,
                    failure: unknown(),
                })
                .await;
            return;
        };
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + CHUNK_BYTES_MAX as u64);
            let reply = match reader(start..end).await {
                Ok(bytes) => {
                    places.count(bytes.len());
                    StorageReply::Content {
                        id,
                        chunk: Chunk::new(bytes),
                    }
                }
                Err(failure) => StorageReply::Failed { id, failure },
            };
            let failed = matches!(reply, StorageReply::Failed { .. });
            if replies.send(reply).await.is_err() || failed {
                return;
            }
            start = end;
        }
    });
}
