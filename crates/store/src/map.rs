//! Unsafe code for files: maps of sealed ones, and the two calls that std lacks.
//!
//! **Invariant:** nobody writes to a file that is mapped here. Sealed files, and those that a depot keeps, are complete, and
//! replaced by rename or unlinked, never changed in place.
#![allow(unsafe_code)]

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;

/// The pages of a sealed file.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

/// What is known of coming reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hint {
    Sequential,
    Soon,
    Done,
}

impl Map {
    /// Maps a sealed file of `len` bytes; called by `Sealed` only, after its length was compared.
    pub(crate) fn of_sealed(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the file was sealed in a directory that this process has locked, or has a name there that was made for a
        // depot's object: it is whole and never written or truncated again, so the mapped bytes neither change nor vanish.
        unsafe { MmapOptions::new().len(len).map(file) }.map(Map)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Advice is only advice: a system that does not take it is no error.
    pub(crate) fn advise(&self, hint: Hint, range: Range<u64>) {
        let (start, len) = (range.start as usize, (range.end - range.start) as usize);
        let _ = match hint {
            Hint::Sequential => self.0.advise_range(Advice::Sequential, start, len),
            Hint::Soon => self.0.advise_range(Advice::WillNeed, start, len),
            // SAFETY: the map is a shared, read-only one of a file that never changes: pages dropped here
            // come back with the same bytes at the next touch.
            Hint::Done => unsafe {
                self.0
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, start, len)
            },
        };
    }
}

/// Tells the page cache what is known of coming reads of a file.
#[cfg(target_os = "linux")]
pub(crate) fn advise_file(file: &File, hint: Hint, range: Range<u64>) {
    let advice = match hint {
        Hint::Sequential => libc::POSIX_FADV_SEQUENTIAL,
        Hint::Soon => libc::POSIX_FADV_WILLNEED,
        Hint::Done => libc::POSIX_FADV_DONTNEED,
    };
    let (start, len) = (
        range.start as libc::off_t,
        (range.end - range.start) as libc::off_t,
    );
    // SAFETY: takes a descriptor that `file` keeps open, and touches no memory of ours.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), start, len, advice) };
}

/// Tells the page cache what is known of coming reads of a file.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise_file(_file: &File, _hint: Hint, _range: Range<u64>) {}

/// Takes disk space for a range, so that a later write there cannot meet a full disk. With `grow` the file becomes
/// that long and reads as zeros. `false` where the file system cannot do it.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, range: Range<u64>, grow: bool) -> io::Result<bool> {
    let mode = if grow { 0 } else { libc::FALLOC_FL_KEEP_SIZE };
    let (start, len) = (
        range.start as libc::off_t,
        (range.end - range.start) as libc::off_t,
    );
    loop {
        // SAFETY: takes a descriptor that `file` keeps open, and touches no memory of ours.
        if unsafe { libc::fallocate(file.as_raw_fd(), mode, start, len) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Takes disk space for a range: not on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(_file: &File, _range: Range<u64>, _grow: bool) -> io::Result<bool> {
    Ok(false)
}
