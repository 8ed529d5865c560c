//! A bounded directory of sealed files named by their hash. What is least recently used goes first, what is in
//! use never; whatever was half-written when a process died is removed at the next opening.
//!
//! Mapped files that were found stay open for a while, so that the next task that finds them need neither check their
//! chunks nor fault their pages in again; they count as idle, and are closed before a file is thrown out.
//!
//! **Invariant:** one process uses the directory at a time (it holds a lock), and a file has its final name
//! only when it is whole.

use crate::error::StoreError;
use crate::link;
use crate::scratch::Scratch;
use crate::sealed::{IoMode, Sealed, SealedFile};
use crate::sums::{self, Sums};
use crate::writer::{Receiver, SealWriter};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tensor::{ByteSize, Digest, SealedRef};

const TEMPORARY: &str = "making-";
const LOCK: &str = "lock";

/// Files that stay open: those of both orientations of the usual grid, and far from the usual limit of descriptors.
const KEPT_OPEN: usize = 192;

/// A bounded directory of sealed files named by their hash.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    directory: PathBuf,
    mode: IoMode,
    capacity: u64,
    lifetime: Lifetime,
    serial: AtomicU64,
    state: Mutex<State>,
    _lock: File,
}

/// For how long what lies in a cache is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    /// As long as the machine: what is sealed is forced to the disk.
    Lasting,
    /// Until the directory is thrown away.
    Unsynced,
    /// Until the process ends.
    Passing,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<Digest, Entry>,
    /// Open although nobody may be using them, the latest found last.
    kept_open: VecDeque<Arc<SealedFile>>,
    /// Bytes of sealed files and of everything in the making.
    used: u64,
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    last_turn: u64,
    open: Weak<SealedFile>,
}

impl Cache {
    /// Opens the directory, made where it is missing, and removes what a dead process left half-written.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it; I/O.
    pub fn open(directory: &Path, capacity_bytes: u64, mode: IoMode) -> Result<Self, StoreError> {
        Self::open_with(directory, capacity_bytes, mode, Lifetime::Lasting)
    }

    /// As [`Cache::open`], but without fsync: for tests and for directories that need not outlive the machine.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_unsynced(
        directory: &Path,
        capacity_bytes: u64,
        mode: IoMode,
    ) -> Result<Self, StoreError> {
        Self::open_with(directory, capacity_bytes, mode, Lifetime::Unsynced)
    }

    /// As [`Cache::open_unsynced`], for a directory that goes with the process: a whole file that lies on the same disk is
    /// taken in by a second name instead of a copy ([`Cache::link`]). A lasting cache copies, so that it is worth something where
    /// the other place is damaged.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_passing(
        directory: &Path,
        capacity_bytes: u64,
        mode: IoMode,
    ) -> Result<Self, StoreError> {
        Self::open_with(directory, capacity_bytes, mode, Lifetime::Passing)
    }

    fn open_with(
        directory: &Path,
        capacity: u64,
        mode: IoMode,
        lifetime: Lifetime,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(StoreError::io(directory, "created"))?;
        let lock_path = directory.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(StoreError::io(&lock_path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    directory: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::io(&lock_path, "locked")(error));
            }
        }
        let state = Mutex::new(take_stock(directory)?);
        let shared = Shared {
            directory: directory.to_owned(),
            mode,
            capacity,
            lifetime,
            serial: AtomicU64::new(0),
            state,
            _lock: lock,
        };
        shared.make_room(&mut shared.state(), 0);
        Ok(Cache(Arc::new(shared)))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// How its files are read.
    pub fn mode(&self) -> IoMode {
        self.0.mode
    }

    /// Bytes in it: sealed files, and scratch files and files in the making.
    pub fn used_bytes(&self) -> u64 {
        self.0.state().used
    }

    /// Opens a file by its content; `None` where it is not here (or was, but torn, or found damaged).
    ///
    /// # Errors
    /// Where the file is here but cannot be opened.
    pub fn find(&self, object: SealedRef) -> Result<Option<Sealed>, StoreError> {
        let mut state = self.0.state();
        let found = self.0.find(&mut state, object)?;
        Ok(self.keep_open(state, found))
    }

    /// A file that is open already, without reading anything; `None` where it is not.
    pub fn opened(&self, digest: Digest) -> Option<Sealed> {
        let mut state = self.0.state();
        let found = Shared::opened(&mut state, digest);
        self.keep_open(state, found)
    }

    fn keep_open(&self, mut state: MutexGuard<'_, State>, found: Option<Sealed>) -> Option<Sealed> {
        let closed = found
            .as_ref()
            .filter(|_| self.0.mode == IoMode::Mmap)
            .and_then(|sealed| state.keep_open(sealed.shared()));
        // A file is unmapped outside of the lock.
        drop(state);
        drop(closed);
        found
    }

    /// Throws a file out, whoever still reads it: it was found damaged.
    pub fn discard(&self, digest: Digest) {
        self.0.forget(&mut self.0.state(), digest);
    }

    /// Throws everything out, whoever still reads it: what was forgotten must not lie here either.
    pub fn clear(&self) {
        let mut state = self.0.state();
        let all: Vec<Digest> = state.files.keys().copied().collect();
        for digest in all {
            self.0.forget(&mut state, digest);
        }
    }

    /// Begins a file that will be sealed.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn writer(&self) -> Result<SealWriter, StoreError> {
        SealWriter::create(self.0.clone())
    }

    /// Begins a file whose content is known by name and comes from elsewhere.
    ///
    /// # Errors
    /// Where it cannot be created or does not fit.
    pub fn receiver(&self, expected: SealedRef) -> Result<Receiver, StoreError> {
        Ok(Receiver {
            writer: self.writer()?,
            expected,
        })
    }

    /// Takes a whole file of another directory in by a second name for it, after its bytes were read and found to be those of
    /// `object`: nothing is copied, and it stays here when it loses its other name. `None` where it has to be copied instead: the
    /// cache outlasts the process, the file is not on this disk, is not a plain file, or has other bytes.
    ///
    /// Whoever keeps the file there must never change it in place.
    ///
    /// # Errors
    /// Where this directory cannot be written.
    pub fn link(&self, file: &Path, object: SealedRef) -> Result<Option<Sealed>, StoreError> {
        if self.0.lifetime != Lifetime::Passing {
            return Ok(None);
        }
        link::take(&self.0, file, object)
    }

    /// A file without a name, for what is never sealed: runs of an external sort. Gone when dropped, or with the process.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        Scratch::create(&self.0)
    }
}

impl State {
    /// Keeps a file open. Gives the one that was not found for longest where there are too many.
    fn keep_open(&mut self, file: &Arc<SealedFile>) -> Option<Arc<SealedFile>> {
        let place = self
            .kept_open
            .iter()
            .rposition(|kept| Arc::ptr_eq(kept, file));
        if let Some(place) = place {
            self.kept_open.remove(place);
        }
        self.kept_open.push_back(Arc::clone(file));
        let full = self.kept_open.len() > KEPT_OPEN;
        if full {
            self.kept_open.pop_front()
        } else {
            None
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mode(&self) -> IoMode {
        self.mode
    }

    pub(crate) fn syncs(&self) -> bool {
        self.lifetime == Lifetime::Lasting
    }

    pub(crate) fn temporary_path(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{TEMPORARY}{serial}"))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    fn opened(state: &mut State, digest: Digest) -> Option<Sealed> {
        state.turn += 1;
        let turn = state.turn;
        let entry = state.files.get_mut(&digest)?;
        entry.last_turn = turn;
        let open = entry.open.upgrade().map(Sealed::from_shared);
        open.filter(|open| !open.is_damaged())
    }

    fn find(&self, state: &mut State, object: SealedRef) -> Result<Option<Sealed>, StoreError> {
        if let Some(open) = Self::opened(state, object.digest) {
            return Ok(Some(open));
        }
        let Some(entry) = state.files.get_mut(&object.digest) else {
            return Ok(None);
        };
        if entry.open.strong_count() > 0 {
            // Open, but damaged.
            self.forget(state, object.digest);
            return Ok(None);
        }
        let path = self.path(object.digest);
        let Some(sums) = Sums::read(&sums::path_of(&path), object.digest, object.bytes) else {
            self.forget(state, object.digest);
            return Ok(None);
        };
        let file = File::open(&path).map_err(StoreError::io(&path, "opened"))?;
        match Sealed::new(file, path, sums, self.mode, None) {
            Ok(sealed) => {
                entry.open = Arc::downgrade(sealed.shared());
                Ok(Some(sealed))
            }
            Err(StoreError::Malformed { .. }) => {
                self.forget(state, object.digest);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a whole file its name. Its sums are there first, so that no named file is without.
    pub(crate) fn adopt(
        &self,
        temporary: &Path,
        sums: Sums,
        reservation: &mut Reservation,
    ) -> Result<Sealed, StoreError> {
        let (digest, bytes) = (sums.digest, sums.len);
        let path = self.path(digest);
        let sums_temporary = self.temporary_path();
        sums.write(&sums_temporary)?;
        let mut state = self.state();
        let sums_path = sums::path_of(&path);
        fs::rename(&sums_temporary, &sums_path).map_err(StoreError::io(&sums_path, "renamed"))?;
        fs::rename(temporary, &path).map_err(StoreError::io(&path, "renamed"))?;
        let file = File::open(&path).map_err(StoreError::io(&path, "opened"))?;
        let sealed = Sealed::new(file, path, sums, self.mode, None)?;
        state.turn += 1;
        let entry = Entry {
            bytes,
            last_turn: state.turn,
            open: Arc::downgrade(sealed.shared()),
        };
        // What was reserved for the making is now the file's; a twin that it replaces gives its share back.
        reservation.bytes = 0;
        if let Some(twin) = state.files.insert(digest, entry) {
            state.used -= twin.bytes;
        }
        Ok(sealed)
    }

    fn forget(&self, state: &mut State, digest: Digest) {
        state.kept_open.retain(|kept| kept.digest() != digest);
        if let Some(entry) = state.files.remove(&digest) {
            state.used -= entry.bytes;
            let path = self.path(digest);
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(sums::path_of(&path));
        }
    }

    /// Throws files out, the least recently used first, until `more` bytes fit; `false` where they cannot.
    fn make_room(&self, state: &mut State, more: u64) -> bool {
        while state.used.saturating_add(more) > self.capacity {
            state.kept_open.clear();
            let idle = state
                .files
                .iter()
                .filter(|(_, entry)| entry.open.strong_count() == 0);
            let Some(oldest) = idle
                .min_by_key(|(_, entry)| entry.last_turn)
                .map(|(&digest, _)| digest)
            else {
                return false;
            };
            self.forget(state, oldest);
        }
        true
    }
}

/// Bytes of the cache's capacity taken by something without a final name; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    pub(crate) fn empty(shared: Arc<Shared>) -> Self {
        Reservation { shared, bytes: 0 }
    }

    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), StoreError> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut state = self.shared.state();
        if !self.shared.make_room(&mut state, more) {
            return Err(StoreError::CacheFull {
                directory: self.shared.directory.clone(),
                needed: ByteSize(more),
                used: ByteSize(state.used),
                capacity: ByteSize(self.shared.capacity),
            });
        }
        state.used += more;
        self.bytes = bytes;
        Ok(())
    }

    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.shared.state().used -= less;
        self.bytes -= less;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// What lies in the directory: whole files in the order of their age. Everything else that is ours is removed.
fn take_stock(directory: &Path) -> Result<State, StoreError> {
    let mut found = Vec::new();
    let read = |error| StoreError::io(directory, "listed")(error);
    for file in fs::read_dir(directory).map_err(read)? {
        let file = file.map_err(read)?;
        let path = file.path();
        let name = file.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = file.file_type().map_err(StoreError::io(&path, "read"))?;
        // No cache makes links or pipes: nothing is read through them.
        if name.starts_with(TEMPORARY) || !(kind.is_file() || kind.is_dir()) {
            fs::remove_file(&path).map_err(StoreError::io(&path, "removed"))?;
        } else if let Some(digest) = Digest::from_hex(name) {
            let metadata = file.metadata().map_err(StoreError::io(&path, "read"))?;
            let age = metadata.modified().map_err(StoreError::io(&path, "read"))?;
            found.push((age, digest, metadata.len()));
        } else if let Some(digest) = name.strip_suffix(".sums").and_then(Digest::from_hex)
            && !directory.join(digest.to_string()).exists()
        {
            fs::remove_file(&path).map_err(StoreError::io(&path, "removed"))?;
        }
    }
    found.sort_unstable();
    let mut state = State::default();
    for (_, digest, bytes) in found {
        state.turn += 1;
        state.used += bytes;
        state.files.insert(
            digest,
            Entry {
                bytes,
                last_turn: state.turn,
                open: Weak::new(),
            },
        );
    }
    Ok(state)
}
