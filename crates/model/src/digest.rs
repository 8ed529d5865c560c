//! What the digest of a model covers (DESIGN 3.10): mode by mode in order, name, shape, then the f32 rows by row id
//! without padding. The hash itself is the caller's.

/// Feeds tables to a hash, one after the other, in the order of their modes.
pub struct DigestFeed<F> {
    hash: F,
    packed: Vec<u8>,
}

/// Bytes handed to the hash at a time.
const PART: usize = 1 << 16;

impl<F: FnMut(&[u8])> DigestFeed<F> {
    /// A feed to `hash`.
    pub fn new(hash: F) -> Self {
        DigestFeed {
            hash,
            packed: Vec::with_capacity(PART),
        }
    }

    /// Begins a table: the length of its name (u32) and its name, then rows (u64) and rank (u32), little-endian.
    pub fn table(&mut self, name: &str, rows: u64, rank: u32) {
        (self.hash)(&(name.len() as u32).to_le_bytes());
        (self.hash)(name.as_bytes());
        (self.hash)(&rows.to_le_bytes());
        (self.hash)(&rank.to_le_bytes());
    }

    /// The next rows of the table that was begun last, by rising row id; each is `width` floats of which `rank` count.
    ///
    /// # Panics
    /// Where `rows` ends inside a row.
    pub fn rows(&mut self, rows: &[f32], rank: u32, width: u32) {
        assert!(rows.len().is_multiple_of(width as usize), "whole rows");
        for row in rows.chunks_exact(width as usize) {
            for x in &row[..rank as usize] {
                self.packed.extend_from_slice(&x.to_le_bytes());
            }
            if self.packed.len() >= PART {
                (self.hash)(&self.packed);
                self.packed.clear();
            }
        }
        (self.hash)(&self.packed);
        self.packed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(parts: &[&[f32]], width: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut feed = DigestFeed::new(|some: &[u8]| bytes.extend_from_slice(some));
        feed.table("user", 3, 2);
        for part in parts {
            feed.rows(part, 2, width);
        }
        drop(feed);
        bytes
    }

    #[test]
    fn neither_padding_nor_the_cut_into_blocks_is_covered() {
        let plain = fed(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], 2);
        assert_eq!(plain.len(), 4 + 4 + 8 + 4 + 6 * 4);
        assert_eq!(&plain[4..8], b"user");
        assert_eq!(
            plain,
            fed(&[&[1.0, 2.0, 0.0, 3.0, 4.0, 0.0], &[5.0, 6.0, 0.0]], 3)
        );
        assert_ne!(plain, fed(&[&[1.0, 2.0, 3.0, 4.0, 5.0, -6.0]], 2));
    }
}
