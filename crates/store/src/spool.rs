//! A column in the making: in memory while it is short, in a scratch file beyond.

use crate::cache::Cache;
use crate::error::StoreError;
use crate::scratch::Scratch;
use crate::writer::SealWriter;

/// Memory that a spool takes at most.
pub(crate) const SPOOL_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Spool {
    cache: Cache,
    memory: Vec<u8>,
    disk: Option<Scratch>,
}

impl Spool {
    pub(crate) fn new(cache: &Cache) -> Self {
        Spool {
            cache: cache.clone(),
            memory: Vec::new(),
            disk: None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.disk.as_ref().map_or(0, Scratch::len) + self.memory.len() as u64
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.memory.len() + bytes.len() > SPOOL_BYTES {
            let disk = match self.disk.take() {
                Some(disk) => disk,
                None => self.cache.scratch()?,
            };
            let disk = self.disk.insert(disk);
            disk.append(&self.memory)?;
            self.memory.clear();
            if bytes.len() >= SPOOL_BYTES {
                return disk.append(bytes);
            }
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn copy_to(&self, out: &mut SealWriter) -> Result<(), StoreError> {
        if let Some(disk) = &self.disk {
            let mut buffer = vec![0; SPOOL_BYTES];
            let mut at = 0;
            while at < disk.len() {
                let now = buffer.len().min((disk.len() - at) as usize);
                disk.read_into(at, &mut buffer[..now])?;
                out.append(&buffer[..now])?;
                at += now as u64;
            }
        }
        out.append(&self.memory)
    }
}
