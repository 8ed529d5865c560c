//! Inputs that this process reads itself: files of its machine, tables in its memory and in that of other workers, objects under URLs.

use crate::resident;
use crate::seams::{Dialer, Executor, PeerLink, PullError, through};
use crate::storage::{depot_failure, pieces};
use bytes::{Bytes, BytesMut};
use depot::Input;
use exec::{Held, SpareBuffers};
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::AlignedBuf;
use tensor::{ReadAt, WorkerId};
use wire::{Peer, TableRead};

/// Who asks for tables is no peer of a session.
const NOBODY: WorkerId = WorkerId(u32::MAX);

/// Ways to inputs, opened when first used.
pub struct Inputs {
    executor: Arc<dyn Executor>,
    dialer: Arc<dyn Dialer>,
    holders: Mutex<BTreeMap<String, Arc<dyn PeerLink>>>,
    objects: Mutex<BTreeMap<String, Input>>,
    spare: Arc<SpareBuffers>,
}

/// A part of a table in memory. Columns of a row group are as long as those of the next, so that their buffers serve again: new pages,
/// which the system clears one by one, are a tenth of the processor's time of an ingest.
struct Lent {
    buffer: AlignedBuf,
    home: Arc<SpareBuffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, AlignedBuf::with_capacity(0));
        self.home.give(Held::in_memory(buffer, 1));
    }
}

/// Where an input lies.
enum Place<'a> {
    /// On this machine, or in the memory of this process.
    Here(&'a str),
    /// In the memory of a worker, by its address.
    Held(&'a str),
    /// Under a URL.
    Object,
}

fn place(url: &str) -> Place<'_> {
    match resident::holder(url) {
        Some(holder) if resident::find(url).is_none() => Place::Held(holder),
        Some(_) => Place::Here(url),
        // A path is absolute.
        None if url.starts_with('/') || resident::is(url) => Place::Here(url),
        None => match url.split_once("://") {
            Some(("file", path)) => Place::Here(path),
            Some(_) => Place::Object,
            None => Place::Here(url),
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inputs {
    /// None is open yet. Buffers of `spare_bytes` at most are kept for what is read next.
    pub fn new(executor: Arc<dyn Executor>, dialer: Arc<dyn Dialer>, spare_bytes: u64) -> Self {
        Inputs {
            executor,
            dialer,
            holders: Mutex::default(),
            objects: Mutex::default(),
            spare: Arc::new(SpareBuffers::new(spare_bytes)),
        }
    }

    /// How long what lies under a URL or is held by a worker is.
    ///
    /// # Errors
    /// Where it is not there, or its place does not answer.
    pub async fn bytes(&self, url: &str) -> Result<u64, Failure> {
        if let Place::Held(holder) = place(url) {
            let read = self.table(holder, url, 0..0, false).await;
            return read
                .map(|(_, bytes)| bytes)
                .map_err(|error| gone(holder, &error));
        }
        let found = Input::open(url).await;
        let found = found.map_err(|error| depot_failure(error, None))?;
        let bytes = found.bytes();
        lock(&self.objects).insert(url.to_owned(), found);
        Ok(bytes)
    }

    /// Bytes of an input, which has `bytes` in all.
    ///
    /// # Errors
    /// Where it has fewer, or cannot be read.
    pub async fn read(&self, url: &str, bytes: u64, range: Range<u64>) -> Result<Bytes, Failure> {
        match place(url) {
            Place::Here(path) => {
                let (path, spare) = (path.to_owned(), Arc::clone(&self.spare));
                let reading = move || read(&path, range, &spare);
                let done = through(|job| self.executor.file(job), reading).await;
                done.unwrap_or_else(|| {
                    let sentence = "the worker is ending".to_owned();
                    Err(Failure::Exhausted { sentence })
                })
            }
            Place::Held(holder) => {
                let mut parts = BytesMut::with_capacity((range.end - range.start) as usize);
                for part in pieces(range) {
                    let read = self.table(holder, url, part, false).await;
                    let (part, _) = read.map_err(|error| gone(holder, &error))?;
                    parts.extend_from_slice(&part);
                }
                Ok(parts.freeze())
            }
            Place::Object => {
                let object = self.object(url, bytes)?;
                let read = object.read(range).await;
                read.map_err(|error| depot_failure(error, None))
            }
        }
    }

    /// Says that nobody reads it again. Whoever holds it may be gone, and then nothing is to be forgotten.
    pub async fn let_go(&self, url: &str) {
        match place(url) {
            Place::Held(holder) => drop(self.table(holder, url, 0..0, true).await),
            Place::Here(url) => resident::let_go(url),
            Place::Object => {}
        }
    }

    async fn table(
        &self,
        holder: &str,
        url: &str,
        range: Range<u64>,
        last: bool,
    ) -> Result<(Bytes, u64), PullError> {
        let link = Arc::clone(
            lock(&self.holders)
                .entry(holder.to_owned())
                .or_insert_with(|| {
                    self.dialer.peer(&Peer {
                        worker: NOBODY,
                        address: holder.to_owned(),
                    })
                }),
        );
        let url = url.to_owned();
        link.read_table(TableRead { url, range, last }).await
    }

    fn object(&self, url: &str, bytes: u64) -> Result<Input, Failure> {
        let mut objects = lock(&self.objects);
        if let Some(object) = objects.get(url) {
            return Ok(object.clone());
        }
        let object = Input::of(url, bytes).map_err(|error| depot_failure(error, None))?;
        objects.insert(url.to_owned(), object.clone());
        Ok(object)
    }
}

fn gone(holder: &str, error: &PullError) -> Failure {
    let sentence = format!(
        "rows that the worker at {holder} had in its memory cannot be read ({error}): start again, with the rows"
    );
    Failure::Refused {
        refusal: Refusal::Unavailable,
        sentence,
    }
}

/// Bytes of what can be read anywhere.
///
/// # Errors
/// Where it has fewer, or cannot be read.
pub(crate) fn part(
    input: &dyn ReadAt,
    range: Range<u64>,
    spare: &Arc<SpareBuffers>,
) -> io::Result<Bytes> {
    let mut buffer = spare.take((range.end - range.start) as usize);
    input.read_at(range.start, buffer.bytes_mut())?;
    Ok(Bytes::from_owner(Lent {
        buffer,
        home: Arc::clone(spare),
    }))
}

/// Bytes of an input that this process reaches: a local file, or a table in its memory.
fn read(at: &str, range: Range<u64>, spare: &Arc<SpareBuffers>) -> Result<Bytes, Failure> {
    let done = match resident::find(at) {
        Some(input) => part(&*input, range, spare),
        None => File::open(at).and_then(|file| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes.into())
        }),
    };
    done.map_err(|error| Failure::Refused {
        refusal: Refusal::Io,
        sentence: format!("{at} could not be read: {error}"),
    })
}
