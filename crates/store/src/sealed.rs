//! A sealed file: complete, read-only, named by its hash; read through a map or by positioned reads, and
//! checked chunk by chunk on the way.
//!
//! **Invariant:** only the cache makes a [`Sealed`], after the length of the file and its sums agreed.

use crate::buffer::AlignedBuf;
use crate::cache::Reservation;
use crate::error::StoreError;
use crate::map::{Hint, Map, advise_file};
use crate::partition::Layout;
use crate::sums::{self, CHUNK_BYTES, Sums};
use bytemuck::AnyBitPattern;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tensor::{Digest, ReadAt, SealedRef};

/// How sealed files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoMode {
    /// Through a map: a chunk is checked when it is first touched after opening.
    Mmap,
    /// By positioned reads into buffers of ours: a chunk is checked at every read.
    Pread,
}

/// How many of the first columns of a partition are below which limit. One limit for all of them: the first one said.
#[derive(Debug, Default)]
pub(crate) struct KnownColumns {
    limit: OnceLock<u64>,
    count: AtomicU64,
}

impl KnownColumns {
    /// The columns known, and what they are below.
    pub(crate) fn get(&self) -> (u64, u64) {
        let limit = self.limit.get().copied().unwrap_or(u64::MAX);
        (self.count.load(Ordering::Relaxed), limit)
    }

    /// These columns are below a limit; nothing is noted of columns that leave a gap, or are below another limit only.
    pub(crate) fn add(&self, columns: Range<u64>, limit: u64) {
        let follows = columns.start <= self.count.load(Ordering::Relaxed);
        if follows && limit <= *self.limit.get_or_init(|| limit) {
            self.count.fetch_max(columns.end, Ordering::Relaxed);
        }
    }
}

/// An open sealed file. Cheap to clone; the file stays on disk while a clone lives.
#[derive(Clone, Debug)]
pub struct Sealed(Arc<SealedFile>);

#[derive(Debug)]
pub(crate) struct SealedFile {
    sums: Sums,
    path: PathBuf,
    file: File,
    map: Option<Map>,
    /// One bit a chunk: checked since it was opened.
    checked: Vec<AtomicU64>,
    damaged: AtomicBool,
    known_columns: KnownColumns,
    layout: OnceLock<Layout>,
    /// What a file without a name takes of the cache, given back when the last clone is gone.
    _reservation: Option<Reservation>,
}

impl SealedFile {
    pub(crate) fn digest(&self) -> Digest {
        self.sums.digest
    }
}

impl Sealed {
    /// `path` is for messages; the file is open and may have lost its name.
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        sums: Sums,
        mode: IoMode,
        reservation: Option<Reservation>,
    ) -> Result<Self, StoreError> {
        let found = file
            .metadata()
            .map_err(StoreError::io(&path, "read"))?
            .len();
        if found != sums.len {
            return Err(StoreError::Malformed {
                file: path,
                what: "sealed file",
                reason: format!("it has {found} bytes, {} were sealed", sums.len),
            });
        }
        let map = match (mode, usize::try_from(sums.len)) {
            (IoMode::Mmap, Ok(len)) if len > 0 => {
                Some(Map::of_sealed(&file, len).map_err(StoreError::io(&path, "mapped"))?)
            }
            _ => None,
        };
        let checked = sums.chunks.chunks(64).map(|_| AtomicU64::new(0)).collect();
        let damaged = AtomicBool::new(false);
        Ok(Sealed(Arc::new(SealedFile {
            sums,
            path,
            file,
            map,
            checked,
            damaged,
            known_columns: KnownColumns::default(),
            layout: OnceLock::new(),
            _reservation: reservation,
        })))
    }

    pub(crate) fn shared(&self) -> &Arc<SealedFile> {
        &self.0
    }

    /// Whether damage was found in it.
    pub(crate) fn is_damaged(&self) -> bool {
        self.0.damaged.load(Ordering::Relaxed)
    }

    /// What the file holds as a partition, once it was opened as one.
    pub(crate) fn layout(&self) -> &OnceLock<Layout> {
        &self.0.layout
    }

    /// What is known of the columns of a partition.
    pub(crate) fn known_columns(&self) -> &KnownColumns {
        &self.0.known_columns
    }

    pub(crate) fn from_shared(file: Arc<SealedFile>) -> Self {
        Sealed(file)
    }

    /// Content hash.
    pub fn digest(&self) -> Digest {
        self.0.digest()
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.0.sums.len
    }

    /// Whether empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its content by name.
    pub fn reference(&self) -> SealedRef {
        SealedRef {
            digest: self.digest(),
            bytes: self.len(),
        }
    }

    /// Where it lies or lay, for messages.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// How it is read.
    pub fn mode(&self) -> IoMode {
        if self.0.map.is_some() {
            IoMode::Mmap
        } else {
            IoMode::Pread
        }
    }

    /// Bytes of it: borrowed from the map, or read into an aligned buffer. Aligned to 64 where the start is.
    ///
    /// # Errors
    /// Where the range leaves the file, a chunk is damaged or the file cannot be read.
    pub fn section(&self, range: Range<u64>) -> Result<Section, StoreError> {
        self.check_range(&range)?;
        let len = (range.end - range.start) as usize;
        if self.0.map.is_some() {
            self.check_chunks(&range)?;
            return Ok(Section(Bytes::Mapped {
                file: self.clone(),
                start: range.start as usize,
                len,
            }));
        }
        let mut buffer = AlignedBuf::zeroed(len);
        self.read_checked(range.start, buffer.bytes_mut())?;
        Ok(Section(Bytes::Read(Arc::new(buffer))))
    }

    /// The bytes of a range as values of a plain type.
    ///
    /// # Errors
    /// As [`Sealed::section`].
    ///
    /// # Panics
    /// Where the range is not made of whole, aligned values: a bug of ours.
    pub fn typed<T: AnyBitPattern>(
        &self,
        range: Range<u64>,
    ) -> Result<TypedSection<T>, StoreError> {
        assert!(
            range.start.is_multiple_of(align_of::<T>() as u64),
            "a section starts at a multiple of its type"
        );
        self.section(range).map(TypedSection::new)
    }

    /// Fills `buffer` from `offset`, checked.
    ///
    /// # Errors
    /// As [`Sealed::section`].
    pub fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let range = offset..offset.saturating_add(buffer.len() as u64);
        self.check_range(&range)?;
        if self.0.map.is_none() {
            return self.read_checked(offset, buffer);
        }
        self.check_chunks(&range)?;
        // Not out of the map: a fault reads what lies around it, up to 8 MiB on some machines. Where a merge takes kilobytes of each of
        // a thousand runs and the page cache is small, that was ten times what it wanted.
        let read = self.0.file.read_exact_at(buffer, offset);
        read.map_err(StoreError::io(&self.0.path, "read"))
    }

    /// Says that every chunk was read and compared with its sum since the file was opened.
    pub(crate) fn know_all_checked(&self) {
        for word in &self.0.checked {
            word.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Checks every chunk now.
    ///
    /// # Errors
    /// The first damaged chunk.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut scratch = Vec::new();
        (0..self.0.sums.chunks.len() as u64)
            .try_for_each(|chunk| self.read_chunk(chunk, &mut scratch))
    }

    /// The file will be read from front to back.
    pub fn advise_sequential(&self) {
        self.advise(Hint::Sequential, 0..self.len());
    }

    /// These bytes will be read soon: starts reading them, without waiting.
    pub fn prefetch(&self, range: Range<u64>) {
        self.advise(Hint::Soon, range);
    }

    /// These bytes will not be read again soon: their pages may go.
    pub fn drop_behind(&self, range: Range<u64>) {
        self.advise(Hint::Done, range);
    }

    fn advise(&self, hint: Hint, range: Range<u64>) {
        const PAGE: u64 = 4096;
        let end = range.end.min(self.len());
        // A page that is half done stays.
        let (start, end) = match hint {
            Hint::Done if end < self.len() => {
                (range.start.next_multiple_of(PAGE), end / PAGE * PAGE)
            }
            Hint::Done => (range.start.next_multiple_of(PAGE), end),
            _ => (range.start / PAGE * PAGE, end),
        };
        if start >= end {
            return;
        }
        if let Some(map) = &self.0.map {
            map.advise(hint, start..end);
        }
        advise_file(&self.0.file, hint, start..end);
    }

    fn check_range(&self, range: &Range<u64>) -> Result<(), StoreError> {
        if range.start <= range.end && range.end <= self.len() {
            return Ok(());
        }
        let (start, end) = (range.start, range.end);
        Err(StoreError::Beyond {
            file: self.0.path.clone(),
            start,
            end,
            len: self.len(),
        })
    }

    /// Checks the chunks of a range that were not checked since opening. It reads them instead of touching the map,
    /// so that a broken disk is an error and not a signal.
    fn check_chunks(&self, range: &Range<u64>) -> Result<(), StoreError> {
        let mut scratch = Vec::new();
        for chunk in range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES) {
            let (word, bit) = (&self.0.checked[chunk as usize / 64], 1 << (chunk % 64));
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.read_chunk(chunk, &mut scratch)?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn read_chunk(&self, chunk: u64, scratch: &mut Vec<u8>) -> Result<(), StoreError> {
        let range = self.0.sums.chunk_range(chunk);
        scratch.resize((range.end - range.start) as usize, 0);
        self.read_whole_chunk(chunk, scratch)
    }

    /// `buffer` is as long as the chunk.
    fn read_whole_chunk(&self, chunk: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let read = self.0.file.read_exact_at(buffer, chunk * CHUNK_BYTES);
        match read {
            Ok(()) if crc32c::crc32c(buffer) == self.0.sums.chunks[chunk as usize] => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::io(&self.0.path, "read")(error));
            }
            _ => {}
        }
        // Without its sums nobody opens it again: the cache fetches another copy.
        self.0.damaged.store(true, Ordering::Relaxed);
        let _ = std::fs::remove_file(sums::path_of(&self.0.path));
        Err(StoreError::Damaged {
            file: self.0.path.clone(),
            digest: self.digest(),
            chunk,
        })
    }

    fn read_checked(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let mut scratch = Vec::new();
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let chunk = at / CHUNK_BYTES;
            let range = self.0.sums.chunk_range(chunk);
            let (now, later) = rest.split_at_mut(rest.len().min((range.end - at) as usize));
            if now.len() as u64 == range.end - range.start {
                self.read_whole_chunk(chunk, now)?;
            } else {
                self.read_chunk(chunk, &mut scratch)?;
                now.copy_from_slice(&scratch[(at - range.start) as usize..][..now.len()]);
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

impl ReadAt for Sealed {
    fn len(&self) -> u64 {
        Sealed::len(self)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_into(offset, buffer).map_err(StoreError::into_io)
    }
}

/// Bytes of a sealed file, checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Section(Bytes);

#[derive(Clone, Debug)]
enum Bytes {
    Mapped {
        file: Sealed,
        start: usize,
        len: usize,
    },
    Read(Arc<AlignedBuf>),
}

impl Section {
    /// The bytes as values of a plain type.
    ///
    /// # Panics
    /// Where they are not whole, aligned values: a bug of ours.
    pub fn typed<T: AnyBitPattern>(&self) -> &[T] {
        bytemuck::cast_slice(self)
    }

    /// The anonymous memory it takes: none when mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        match &self.0 {
            Bytes::Mapped { .. } => 0,
            Bytes::Read(buffer) => buffer.len() as u64,
        }
    }
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped { file, start, len } => file
                .0
                .map
                .as_ref()
                .map_or(&[], |map| &map.bytes()[*start..*start + *len]),
            Bytes::Read(buffer) => buffer.bytes(),
        }
    }
}

impl AsRef<[u8]> for Section {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Values of a plain type in a sealed file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TypedSection<T> {
    section: Section,
    kind: PhantomData<T>,
}

impl<T: AnyBitPattern> TypedSection<T> {
    /// # Panics
    /// Where the bytes are not whole, aligned values: a bug of ours.
    pub(crate) fn new(section: Section) -> Self {
        let _ = section.typed::<T>();
        TypedSection {
            section,
            kind: PhantomData,
        }
    }

    /// The anonymous memory it takes: none when mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        self.section.anonymous_bytes()
    }
}

impl<T: AnyBitPattern> Deref for TypedSection<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.section.typed()
    }
}
