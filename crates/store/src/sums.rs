//! CRC32C per chunk of a sealed file, kept in a small file beside it, so that a part can be checked without
//! hashing the whole.

use crate::error::StoreError;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tensor::Digest;

/// Bytes per chunk.
pub const CHUNK_BYTES: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"STRASUM1";
/// Magic, length, digest.
const HEAD_BYTES: usize = 8 + 8 + 32;

/// What is known of a sealed file besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) digest: Digest,
    pub(crate) len: u64,
    pub(crate) chunks: Vec<u32>,
}

/// Hash and sums of bytes that come in order.
pub(crate) struct Summing {
    hasher: blake3::Hasher,
    chunks: Vec<u32>,
    open: u32,
    len: u64,
}

impl Summing {
    pub(crate) fn new() -> Self {
        Summing {
            hasher: blake3::Hasher::new(),
            chunks: Vec::new(),
            open: 0,
            len: 0,
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.hasher.update(bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.len % CHUNK_BYTES;
            let (now, rest) = bytes.split_at(bytes.len().min(room as usize));
            self.open = crc32c::crc32c_append(self.open, now);
            self.len += now.len() as u64;
            if self.len.is_multiple_of(CHUNK_BYTES) {
                self.chunks.push(std::mem::take(&mut self.open));
            }
            bytes = rest;
        }
    }

    pub(crate) fn finish(mut self) -> Sums {
        if !self.len.is_multiple_of(CHUNK_BYTES) {
            self.chunks.push(self.open);
        }
        Sums {
            digest: Digest(*self.hasher.finalize().as_bytes()),
            len: self.len,
            chunks: self.chunks,
        }
    }
}

/// The sums file of a sealed file.
pub(crate) fn path_of(sealed: &Path) -> PathBuf {
    sealed.with_extension("sums")
}

impl Sums {
    /// The bytes of chunk `chunk` of the file.
    pub(crate) fn chunk_range(&self, chunk: u64) -> std::ops::Range<u64> {
        chunk * CHUNK_BYTES..((chunk + 1) * CHUNK_BYTES).min(self.len)
    }

    /// Writes the sums file at `path`. A torn one is found out by its own sum, so it needs no fsync.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 4 * self.chunks.len() + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.digest.0);
        for sum in &self.chunks {
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        File::create_new(path)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(StoreError::write(path, 0))
    }

    /// Reads a sums file; `None` where it is missing, torn or not of that content.
    pub(crate) fn read(path: &Path, digest: Digest, len: u64) -> Option<Self> {
        let count = usize::try_from(len.div_ceil(CHUNK_BYTES)).ok()?;
        let expected = HEAD_BYTES + 4 * count + 4;
        let mut bytes = Vec::new();
        File::open(path)
            .ok()?
            .take(expected as u64 + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        if bytes.len() != expected {
            return None;
        }
        let (body, own) = bytes.split_last_chunk::<4>()?;
        let (head, sums) = body.split_at(HEAD_BYTES);
        let sound = crc32c::crc32c(body) == u32::from_le_bytes(*own)
            && head[..8] == *MAGIC
            && head[8..16] == len.to_le_bytes()
            && head[16..] == digest.0;
        let chunks = sums
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&sum| u32::from_le_bytes(sum))
            .collect();
        sound.then_some(Sums {
            digest,
            len,
            chunks,
        })
    }
}
