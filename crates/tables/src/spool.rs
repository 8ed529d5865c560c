//! Intermediate bytes that stay in memory while they are few and go to an unnamed sealed file when they are not.

use crate::error::TablesError;
use store::{AlignedBuf, Cache, Sealed, SealWriter};

/// Bytes in the making.
pub struct Spool<'a> {
    cache: &'a Cache,
    limit_bytes: usize,
    memory: Vec<u8>,
    file: Option<SealWriter>,
}

/// What became of a [`Spool`].
#[derive(Debug)]
pub enum Spooled {
    /// Few.
    Memory(AlignedBuf),
    /// Many.
    File(Sealed),
}

impl<'a> Spool<'a> {
    /// Keeps up to `limit_bytes` in memory.
    pub fn new(cache: &'a Cache, limit_bytes: u64) -> Self {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Spool { cache, limit_bytes, memory: Vec::new(), file: None }
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), TablesError> {
        if let Some(file) = &mut self.file {
            return Ok(file.append(bytes)?);
        }
        if self.memory.len() + bytes.len() <= self.limit_bytes {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let mut file = self.cache.writer()?;
        file.append(&std::mem::take(&mut self.memory))?;
        file.append(bytes)?;
        self.file = Some(file);
        Ok(())
    }

    /// All bytes.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn finish(self) -> Result<Spooled, TablesError> {
        Ok(match self.file {
            Some(file) => Spooled::File(file.seal_unnamed()?),
            None => Spooled::Memory(AlignedBuf::copy_of(&self.memory)),
        })
    }
}
