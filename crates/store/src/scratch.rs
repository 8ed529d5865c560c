//! Files that are never sealed: spools and runs of an external sort. They lose their name at once, so that
//! nothing is left of them when the process dies.

use crate::cache::{Reservation, Shared};
use crate::error::StoreError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tensor::ReadAt;

/// An unnamed file: appended to, and read anywhere.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    path: PathBuf,
    len: u64,
    reservation: Reservation,
}

impl Scratch {
    pub(crate) fn create(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let path = shared.temporary_path();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(StoreError::io(&path, "created"))?;
        std::fs::remove_file(&path).map_err(StoreError::io(&path, "unlinked"))?;
        Ok(Scratch {
            file,
            path,
            len: 0,
            reservation: Reservation::empty(shared.clone()),
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end. Not buffered: hand over large pieces.
    ///
    /// # Errors
    /// Where the disk or the cache is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.reservation.grow_to(self.len + bytes.len() as u64)?;
        self.file
            .write_all_at(bytes, self.len)
            .map_err(StoreError::write(&self.path, self.len))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// Where the range leaves the file or it cannot be read.
    pub fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(StoreError::io(&self.path, "read"))
    }
}

impl ReadAt for Scratch {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
