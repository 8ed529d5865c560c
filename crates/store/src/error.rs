//! Why the store failed, by what can be done about it.

use std::io;
use std::path::{Path, PathBuf};
use tensor::{ByteSize, Digest};

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{} could not be {doing}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried, as in "could not be *read*".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full: free space or give another directory.
    #[error("no space is left for {} (at {at}): free some, or choose another directory", path.display())]
    DiskFull {
        /// Which file was being written.
        path: PathBuf,
        /// How far it had come.
        at: ByteSize,
    },
    /// Everything in the cache is in use and the rest of its capacity does not hold what is to be written.
    #[error("the cache {} holds {used} in use of {capacity}, and {needed} more are needed", directory.display())]
    CacheFull {
        /// Which cache.
        directory: PathBuf,
        /// What is to be written.
        needed: ByteSize,
        /// What cannot be thrown out.
        used: ByteSize,
        /// Its bound.
        capacity: ByteSize,
    },
    /// The bytes are not the ones that were sealed: discard the file and fetch another copy.
    #[error("chunk {chunk} of {} is damaged: it is not what was sealed", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// The content that it should have.
        digest: Digest,
        /// Which chunk of [`crate::sums::CHUNK_BYTES`].
        chunk: u64,
    },
    /// What was received is not what was asked for: fetch it again.
    #[error("received {found} where {expected} was asked for")]
    Mismatch {
        /// The content asked for.
        expected: Digest,
        /// The content that came.
        found: Digest,
    },
    /// The file was sealed as it is, but is not of the format that it should have.
    #[error("{} is not a {what}: {reason}", file.display())]
    Malformed {
        /// Which file.
        file: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A read reaches beyond the end of a sealed file.
    #[error("bytes {start}..{end} were asked of {}, which has {len}", file.display())]
    Beyond {
        /// Which file.
        file: PathBuf,
        /// First byte asked for.
        start: u64,
        /// One after the last byte asked for.
        end: u64,
        /// Length of the file.
        len: u64,
    },
    /// Another process uses the directory.
    #[error("{} is in use by another process: give each process a directory of its own", directory.display())]
    InUse {
        /// Which directory.
        directory: PathBuf,
    },
}

impl StoreError {
    /// Turns what the system said into an error that names the file. A full disk has a name of its own, whatever was tried.
    pub(crate) fn io(
        path: &Path,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> StoreError + use<> {
        Self::told(path, doing, 0)
    }

    /// The same for a write.
    pub(crate) fn write(path: &Path, at: u64) -> impl FnOnce(io::Error) -> StoreError + use<> {
        Self::told(path, "written", at)
    }

    fn told(
        path: &Path,
        doing: &'static str,
        at: u64,
    ) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => StoreError::DiskFull {
                path,
                at: ByteSize(at),
            },
            _ => StoreError::Io {
                path,
                doing,
                source,
            },
        }
    }

    /// For the seams that speak `io::Error`.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            StoreError::Io { source, .. } => source.kind(),
            StoreError::DiskFull { .. } | StoreError::CacheFull { .. } => {
                io::ErrorKind::StorageFull
            }
            StoreError::Damaged { .. }
            | StoreError::Mismatch { .. }
            | StoreError::Malformed { .. } => io::ErrorKind::InvalidData,
            StoreError::Beyond { .. } => io::ErrorKind::UnexpectedEof,
            StoreError::InUse { .. } => io::ErrorKind::ResourceBusy,
        };
        io::Error::new(kind, self)
    }
}
