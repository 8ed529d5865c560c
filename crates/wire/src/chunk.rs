//! Bulk bytes travel in chunks of at most 1 MiB (FINDINGS 4), each with its CRC32C.

use bytes::Bytes;

/// The most bytes in one chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Some bytes and their checksum, not yet compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    data: Bytes,
    crc32c: u32,
}

/// The bytes of a chunk are not those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of {bytes} bytes arrived damaged")]
pub struct ChunkDamaged {
    /// Its length.
    pub bytes: usize,
}

impl Chunk {
    /// A chunk of these bytes.
    ///
    /// # Panics
    /// Above [`CHUNK_BYTES_MAX`].
    pub fn new(data: Bytes) -> Self {
        assert!(
            data.len() <= CHUNK_BYTES_MAX,
            "a chunk of {} bytes",
            data.len()
        );
        let crc32c = crc32c::crc32c(&data);
        Chunk { data, crc32c }
    }

    /// What arrived.
    pub fn received(data: Bytes, crc32c: u32) -> Self {
        Chunk { data, crc32c }
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The claimed checksum.
    pub fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// The bytes, compared with their checksum.
    pub fn verified(self) -> Result<Bytes, ChunkDamaged> {
        if crc32c::crc32c(&self.data) == self.crc32c {
            Ok(self.data)
        } else {
            Err(ChunkDamaged {
                bytes: self.data.len(),
            })
        }
    }

    /// The bytes as they came, to be sent on.
    pub fn unverified(self) -> Bytes {
        self.data
    }

    /// Cuts bytes into chunks.
    pub fn cut(data: Bytes) -> impl Iterator<Item = Chunk> {
        let count = data.len().div_ceil(CHUNK_BYTES_MAX);
        (0..count).map(move |i| {
            let start = i * CHUNK_BYTES_MAX;
            Chunk::new(data.slice(start..data.len().min(start + CHUNK_BYTES_MAX)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_noticed() {
        let chunk = Chunk::new(Bytes::from_static(b"strata"));
        assert_eq!(chunk.clone().verified().unwrap(), "strata");
        let damaged = Chunk::received(Bytes::from_static(b"stratb"), chunk.crc32c());
        assert_eq!(damaged.verified(), Err(ChunkDamaged { bytes: 6 }));
    }

    #[test]
    fn cut_bytes_join_to_the_same() {
        for len in [
            0,
            1,
            CHUNK_BYTES_MAX,
            CHUNK_BYTES_MAX + 1,
            3 * CHUNK_BYTES_MAX,
        ] {
            let data: Bytes = (0..len).map(|i| (i % 251) as u8).collect();
            let joined: Vec<u8> = Chunk::cut(data.clone())
                .flat_map(|c| c.verified().unwrap())
                .collect();
            assert_eq!(joined, data);
        }
    }
}
