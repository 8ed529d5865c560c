//! Objects: put once under their hash, fetched into a cache and verified there, read by range, listed.

use crate::again::again;
use crate::error::DepotError;
use crate::place::Depot;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
};
use std::ops::Range;
use store::{Cache, Sealed};
use tensor::{Digest, SealedRef};

/// Bytes of one request; every cloud takes parts of this size.
const PART_BYTES: u64 = 8 << 20;
/// Requests under way for one object.
const PARTS_AT_ONCE: usize = 2;

/// An object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name and length.
    pub object: SealedRef,
    /// When it was put, in seconds since 1970 by the clock of the store.
    pub modified_seconds: i64,
}

impl Depot {
    pub(crate) fn object_path(&self, digest: Digest) -> Path {
        self.root.clone().join("objects").join(digest.to_string())
    }

    /// Makes a sealed file durable under its hash. Putting it again costs one question; a copy of another length is replaced.
    ///
    /// # Errors
    /// Where the file is damaged or the place refuses.
    pub async fn put(&self, file: &Sealed) -> Result<(), DepotError> {
        let parts = futures::stream::iter(ranges(file.len())).then(|range| {
            let file = file.clone();
            self.off_thread(move || Ok(Bytes::from_owner(file.section(range)?)))
        });
        self.put_stream(file.reference(), parts).await
    }

    /// The same for bytes in memory, of which the caller has just taken the hash.
    ///
    /// # Errors
    /// Where the place refuses.
    pub async fn put_bytes(&self, object: SealedRef, bytes: Bytes) -> Result<(), DepotError> {
        if object.bytes > PART_BYTES {
            let parts = ranges(object.bytes)
                .map(|range| Ok(bytes.slice(range.start as usize..range.end as usize)));
            return self.put_stream(object, futures::stream::iter(parts)).await;
        }
        if self.has(object).await? {
            return Ok(());
        }
        self.put_whole(object, bytes.into()).await
    }

    /// What lies below.
    pub(crate) async fn listed(&self, prefix: &Path) -> Result<Vec<ObjectMeta>, DepotError> {
        let found = again(|| self.store.list(Some(prefix)).try_collect()).await;
        found.map_err(self.failed(prefix, "listed"))
    }

    /// All bytes of what lies there; `None` where there is nothing.
    pub(crate) async fn whole(&self, path: &Path) -> Result<Option<Bytes>, DepotError> {
        let get = || async { self.store.get(path).await?.bytes().await };
        match again(get).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, "read")(error)),
        }
    }

    /// In one request.
    async fn put_whole(&self, object: SealedRef, content: PutPayload) -> Result<(), DepotError> {
        let path = self.object_path(object.digest);
        let put = again(|| self.store.put(&path, content.clone())).await;
        put.map(drop).map_err(self.failed(&path, "written"))
    }

    /// The same for bytes that come as a stream. They are hashed on the way, and what is not the object that was
    /// announced never becomes visible.
    ///
    /// # Errors
    /// The first error of the stream, [`DepotError::Damaged`] where the bytes hash to something else.
    pub async fn put_stream(
        &self,
        object: SealedRef,
        parts: impl Stream<Item = Result<Bytes, DepotError>>,
    ) -> Result<(), DepotError> {
        if self.has(object).await? {
            return Ok(());
        }
        let path = self.object_path(object.digest);
        let mut parts = std::pin::pin!(parts);
        let mut hasher = blake3::Hasher::new();
        let mut received = 0;
        if object.bytes <= PART_BYTES {
            let mut payload = Vec::new();
            while let Some(part) = parts.try_next().await? {
                hasher.update(&part);
                received += part.len() as u64;
                payload.push(part);
                if received > object.bytes {
                    break;
                }
            }
            self.compare(object, received, &hasher)?;
            return self.put_whole(object, PutPayload::from_iter(payload)).await;
        }
        let upload = self
            .store
            .put_multipart(&path)
            .await
            .map_err(self.failed(&path, "written"))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES as usize);
        let sent = async {
            while let Some(part) = parts.try_next().await? {
                hasher.update(&part);
                received += part.len() as u64;
                if received > object.bytes {
                    break;
                }
                upload
                    .wait_for_capacity(PARTS_AT_ONCE)
                    .await
                    .map_err(self.failed(&path, "written"))?;
                upload.put(part);
            }
            self.compare(object, received, &hasher)
        };
        match sent.await {
            Ok(()) => upload
                .finish()
                .await
                .map(drop)
                .map_err(self.failed(&path, "written")),
            Err(error) => {
                // The first error is the one to tell.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    fn compare(
        &self,
        object: SealedRef,
        received: u64,
        hasher: &blake3::Hasher,
    ) -> Result<(), DepotError> {
        let found = Digest(*hasher.finalize().as_bytes());
        if received == object.bytes && found == object.digest {
            return Ok(());
        }
        Err(DepotError::Damaged {
            url: self.url.to_string(),
            object: object.digest,
            found,
        })
    }

    /// Whether an object of that name and length is there.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn has(&self, object: SealedRef) -> Result<bool, DepotError> {
        let path = self.object_path(object.digest);
        match again(|| self.store.head(&path)).await {
            Ok(found) => Ok(found.size == object.bytes),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(&path, "looked up")(error)),
        }
    }

    /// The object, open in the cache: found there, or fetched and verified.
    ///
    /// # Errors
    /// [`DepotError::Missing`], [`DepotError::Damaged`], or where the cache cannot take it.
    pub async fn fetch(&self, object: SealedRef, cache: &Cache) -> Result<Sealed, DepotError> {
        if let Some(found) = cache.find(object)? {
            return Ok(found);
        }
        // Objects are put by rename and never changed: one on the disk of the cache need not be copied.
        if let Some(folder) = &self.folder {
            let file = folder.join("objects").join(object.digest.to_string());
            let cache = cache.clone();
            let linked = self.off_thread(move || Ok(cache.link(&file, object)?));
            if let Some(linked) = linked.await? {
                return Ok(linked);
            }
        }
        let mut receiver = cache.receiver(object)?;
        let mut parts = std::pin::pin!(self.parts(object));
        while let Some(part) = parts.try_next().await? {
            receiver = self
                .off_thread(move || {
                    receiver.append(&part)?;
                    Ok(receiver)
                })
                .await?;
        }
        let finished = self.off_thread(move || Ok(receiver.finish()?)).await;
        finished.map_err(|error| match error {
            DepotError::Store(store::StoreError::Mismatch { expected, found }) => {
                DepotError::Damaged {
                    url: self.url.to_string(),
                    object: expected,
                    found,
                }
            }
            error => error,
        })
    }

    /// Bytes of an object, not verified: who reads a part compares sums of its own or trusts the place.
    ///
    /// # Errors
    /// [`DepotError::Missing`], or where the range leaves the object.
    pub async fn read(&self, object: Digest, range: Range<u64>) -> Result<Bytes, DepotError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = self.object_path(object);
        again(|| self.store.get_range(&path, range.clone()))
            .await
            .map_err(|error| match error {
                Error::NotFound { .. } => DepotError::Missing {
                    url: self.url.to_string(),
                    object,
                },
                error => self.failed(&path, "read")(error),
            })
    }

    /// All of an object, piece by piece in order.
    pub fn parts(&self, object: SealedRef) -> impl Stream<Item = Result<Bytes, DepotError>> + '_ {
        let reads = ranges(object.bytes).map(move |range| self.read(object.digest, range));
        futures::stream::iter(reads).buffered(PARTS_AT_ONCE)
    }

    /// Every object, by name. What is no object of ours is left out.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn list(&self) -> Result<Vec<Listed>, DepotError> {
        let prefix = self.root.clone().join("objects");
        let found = self.listed(&prefix).await?;
        let mut listed: Vec<Listed> = found
            .into_iter()
            .filter_map(|meta| {
                let digest = Digest::from_hex(meta.location.filename()?)?;
                let object = SealedRef {
                    digest,
                    bytes: meta.size,
                };
                Some(Listed {
                    object,
                    modified_seconds: meta.last_modified.timestamp(),
                })
            })
            .collect();
        listed.sort_unstable_by_key(|listed| listed.object.digest);
        Ok(listed)
    }

    /// Hashes an object where it lies; `None` where it is missing.
    pub(crate) async fn hash(&self, object: SealedRef) -> Result<Option<Digest>, DepotError> {
        let mut hasher = blake3::Hasher::new();
        let mut parts = std::pin::pin!(self.parts(object));
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) => {
                    hasher.update(&part);
                }
                Err(DepotError::Missing { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Digest(*hasher.finalize().as_bytes())))
    }

    pub(crate) fn create() -> PutOptions {
        PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        }
    }
}

fn ranges(bytes: u64) -> impl Iterator<Item = Range<u64>> + Send {
    (0..bytes.div_ceil(PART_BYTES)).map(move |i| i * PART_BYTES..((i + 1) * PART_BYTES).min(bytes))
}
