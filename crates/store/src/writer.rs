//! Writing a file that will be sealed: preallocated, hashed and summed, fsynced, renamed to its hash, read-only.

use crate::cache::{Reservation, Shared};
use crate::error::StoreError;
use crate::map::allocate;
use crate::sealed::Sealed;
use crate::sums::{CHUNK_BYTES, Summing, Sums};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tensor::{Digest, SealedRef};

const BUFFER_BYTES: usize = 128 << 10;
const EXTENT_BYTES_MAX: u64 = 64 << 20;

/// A file in the making. Dropped without sealing, it leaves nothing behind.
pub struct SealWriter {
    shared: Arc<Shared>,
    file: File,
    path: PathBuf,
    reservation: Reservation,
    buffer: Vec<u8>,
    /// Bytes that count, those in `buffer` included.
    len: u64,
    /// Bytes of disk taken.
    allocated: u64,
    /// Hash of what was appended; `None` once something was written out of order.
    summing: Option<Summing>,
    named: bool,
}

impl SealWriter {
    pub(crate) fn create(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let path = shared.temporary_path();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(StoreError::io(&path, "created"))?;
        let reservation = Reservation::empty(shared.clone());
        Ok(SealWriter {
            shared,
            file,
            path,
            reservation,
            buffer: Vec::new(),
            len: 0,
            allocated: 0,
            summing: Some(Summing::new()),
            named: true,
        })
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Where the disk or the cache is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.len += bytes.len() as u64;
        if bytes.len() >= BUFFER_BYTES {
            let at = self.len - bytes.len() as u64;
            return self.put(at, bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes the file at least `len` bytes long, with zeros, its disk space taken.
    ///
    /// # Errors
    /// Where the disk or the cache is full.
    pub fn reserve(&mut self, len: u64) -> Result<(), StoreError> {
        self.flush()?;
        if len <= self.len {
            return Ok(());
        }
        self.reservation.grow_to(len)?;
        let range = self.len..len;
        if !allocate(&self.file, range.clone(), true)
            .map_err(StoreError::write(&self.path, self.len))?
        {
            let zeros = vec![0; CHUNK_BYTES as usize];
            for at in range.clone().step_by(zeros.len()) {
                let now = &zeros[..zeros.len().min((range.end - at) as usize)];
                self.file
                    .write_all_at(now, at)
                    .map_err(StoreError::write(&self.path, at))?;
            }
        }
        self.allocated = self.allocated.max(len);
        self.summing = None;
        self.len = len;
        Ok(())
    }

    /// Writes inside the reserved length. The whole is then hashed when it is sealed.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Beyond the reserved length: a bug of ours.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(
            offset + bytes.len() as u64 <= self.len,
            "a write lies inside the reserved length"
        );
        self.flush()?;
        self.summing = None;
        self.file
            .write_all_at(bytes, offset)
            .map_err(StoreError::write(&self.path, offset))
    }

    /// Seals the file under the name of its content; it stays in the cache until it must make room.
    ///
    /// # Errors
    /// Where the last bytes cannot be written.
    pub fn seal(mut self) -> Result<Sealed, StoreError> {
        let sums = self.finish()?;
        self.publish(sums)
    }

    /// Seals the file without a name: it is gone from disk when the last clone is.
    ///
    /// # Errors
    /// Where the last bytes cannot be written.
    pub fn seal_unnamed(mut self) -> Result<Sealed, StoreError> {
        let sums = self.finish()?;
        self.named = false;
        std::fs::remove_file(&self.path).map_err(StoreError::io(&self.path, "unlinked"))?;
        let file = self
            .file
            .try_clone()
            .map_err(StoreError::io(&self.path, "opened"))?;
        let reservation = std::mem::replace(
            &mut self.reservation,
            Reservation::empty(self.shared.clone()),
        );
        Sealed::new(
            file,
            self.path.clone(),
            sums,
            self.shared.mode(),
            Some(reservation),
        )
    }

    pub(crate) fn seal_as(mut self, expected: SealedRef) -> Result<Sealed, StoreError> {
        let sums = self.finish()?;
        if sums.digest != expected.digest || sums.len != expected.bytes {
            return Err(StoreError::Mismatch {
                expected: expected.digest,
                found: sums.digest,
            });
        }
        self.publish(sums)
    }

    fn publish(&mut self, sums: Sums) -> Result<Sealed, StoreError> {
        let doing = |doing| StoreError::io(&self.path, doing);
        if self.shared.syncs() {
            self.file
                .sync_data()
                .map_err(StoreError::write(&self.path, self.len))?;
        }
        let mut permissions = self.file.metadata().map_err(doing("read"))?.permissions();
        permissions.set_readonly(true);
        self.file
            .set_permissions(permissions)
            .map_err(doing("made read-only"))?;
        let sealed = self.shared.adopt(&self.path, sums, &mut self.reservation)?;
        self.named = false;
        Ok(sealed)
    }

    fn finish(&mut self) -> Result<Sums, StoreError> {
        self.flush()?;
        if self.allocated > self.len {
            self.file
                .set_len(self.len)
                .map_err(StoreError::write(&self.path, self.len))?;
        }
        self.reservation.shrink_to(self.len);
        match self.summing.take() {
            Some(summing) => Ok(summing.finish()),
            None => self.sum_again(),
        }
    }

    fn sum_again(&self) -> Result<Sums, StoreError> {
        let mut summing = Summing::new();
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        for at in (0..self.len).step_by(CHUNK_BYTES as usize) {
            let now = &mut buffer[..CHUNK_BYTES.min(self.len - at) as usize];
            self.file
                .read_exact_at(now, at)
                .map_err(StoreError::io(&self.path, "read"))?;
            summing.update(now);
        }
        Ok(summing.finish())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let at = self.len - buffer.len() as u64;
        let done = self.put(at, &buffer);
        buffer.clear();
        self.buffer = buffer;
        done
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let end = at + bytes.len() as u64;
        if end > self.allocated {
            // Taken in growing steps, so that short files stay short and long ones are not cut in pieces.
            let step = self.allocated.clamp(BUFFER_BYTES as u64, EXTENT_BYTES_MAX);
            let target = end.max(self.allocated + step);
            let target = if self.reservation.grow_to(target).is_ok() {
                target
            } else {
                end
            };
            self.reservation.grow_to(target)?;
            let taken = allocate(&self.file, self.allocated..target, false);
            if taken.is_err() {
                allocate(&self.file, self.allocated..end, false)
                    .map_err(StoreError::write(&self.path, at))?;
            }
            self.allocated = target;
        }
        self.file
            .write_all_at(bytes, at)
            .map_err(StoreError::write(&self.path, at))?;
        if let Some(summing) = &mut self.summing {
            summing.update(bytes);
        }
        Ok(())
    }
}

impl Drop for SealWriter {
    fn drop(&mut self) {
        if self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl io::Write for SealWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)
            .map(|()| bytes.len())
            .map_err(StoreError::into_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        SealWriter::flush(self).map_err(StoreError::into_io)
    }
}

impl std::fmt::Debug for SealWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealWriter({}, {} bytes)", self.path.display(), self.len)
    }
}

/// A sealed file on its way in: it becomes visible only if its content is the one asked for.
#[derive(Debug)]
pub struct Receiver {
    pub(crate) writer: SealWriter,
    pub(crate) expected: SealedRef,
}

impl Receiver {
    /// The next bytes.
    ///
    /// # Errors
    /// Where the disk or the cache is full, or more bytes came than were announced.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.writer.len() + bytes.len() as u64 > self.expected.bytes {
            return Err(StoreError::Mismatch {
                expected: self.expected.digest,
                found: Digest::default(),
            });
        }
        self.writer.append(bytes)
    }

    /// Bytes so far.
    pub fn received(&self) -> u64 {
        self.writer.len()
    }

    /// Compares the hash and, if it is the one asked for, opens the file.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] where the content differs.
    pub fn finish(self) -> Result<Sealed, StoreError> {
        self.writer.seal_as(self.expected)
    }
}
