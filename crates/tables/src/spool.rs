//! Intermediate bytes that stay in memory while they are few and go to an unnamed sealed file when they are not.

use crate::error::TablesError;
use store::{AlignedBuf, Cache, SealWriter, Sealed};

/// Bytes in the making.
pub struct Spool {
    cache: Cache,
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

impl Spool {
    /// Keeps up to `limit_bytes` in memory.
    pub fn new(cache: &Cache, limit_bytes: u64) -> Self {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Spool {
            cache: cache.clone(),
            limit_bytes,
            memory: Vec::new(),
            file: None,
        }
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

/// Numbers that are put anywhere: in memory while they are few, in an unnamed sealed file when they are not.
pub enum Slots {
    /// Few.
    Memory(Vec<u32>),
    /// Many.
    File(Box<SealWriter>),
}

impl Slots {
    /// `count` zeros, in memory up to `limit_bytes`.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn zeroed(cache: &Cache, count: u64, limit_bytes: u64) -> Result<Self, TablesError> {
        if count * 4 <= limit_bytes {
            return Ok(Slots::Memory(vec![0; count as usize]));
        }
        let mut file = cache.writer()?;
        file.reserve(count * 4)?;
        Ok(Slots::File(Box::new(file)))
    }

    /// Puts numbers at a place.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn put(&mut self, at: u64, numbers: &[u32]) -> Result<(), TablesError> {
        match self {
            Slots::Memory(all) => all[at as usize..][..numbers.len()].copy_from_slice(numbers),
            Slots::File(file) => file.write_at(at * 4, bytemuck::cast_slice(numbers))?,
        }
        Ok(())
    }

    /// All numbers.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn finish(self) -> Result<Spooled, TablesError> {
        Ok(match self {
            Slots::Memory(all) => Spooled::Memory(AlignedBuf::copy_of(bytemuck::cast_slice(&all))),
            Slots::File(file) => Spooled::File(file.seal_unnamed()?),
        })
    }
}

impl Spooled {
    /// The 32-bit numbers from `start` on, as many as fit `into`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read_numbers(&self, start: u64, into: &mut [u32]) -> Result<(), TablesError> {
        match self {
            Spooled::Memory(buffer) => {
                into.copy_from_slice(&buffer.typed::<u32>()[start as usize..][..into.len()]);
            }
            Spooled::File(file) => file.read_into(start * 4, bytemuck::cast_slice_mut(into))?,
        }
        Ok(())
    }
}
