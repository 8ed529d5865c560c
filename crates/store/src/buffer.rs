//! Bytes whose first address is a multiple of 64, so that they can be read as f32 or u32 and by any vector load.

use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};
use tensor::{Digest, SealedRef};

/// A cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// An owned, 64-byte aligned buffer of fixed length.
#[derive(Clone)]
pub struct AlignedBuf {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        AlignedBuf {
            lines: vec![Line::zeroed(); len.div_ceil(64)],
            len,
        }
    }

    /// Nothing, with memory for `len` bytes: what is received is not zeroed before.
    pub fn with_capacity(len: usize) -> Self {
        AlignedBuf {
            lines: Vec::with_capacity(len.div_ceil(64)),
            len: 0,
        }
    }

    /// The same memory, with nothing in it.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        self.lines.clear();
        self.len = 0;
        self
    }

    /// Adds `bytes` behind what there is.
    pub fn append(&mut self, bytes: &[u8]) {
        let begun = self.len.next_multiple_of(64) - self.len;
        let (filling, whole) = bytes.split_at(begun.min(bytes.len()));
        let lines: &mut [u8] = bytemuck::cast_slice_mut(&mut self.lines);
        lines[self.len..][..filling.len()].copy_from_slice(filling);
        let (whole, rest) = whole.as_chunks::<64>();
        self.lines.extend(whole.iter().map(|line| Line(*line)));
        if !rest.is_empty() {
            let mut last = Line::zeroed();
            last.0[..rest.len()].copy_from_slice(rest);
            self.lines.push(last);
        }
        self.len += bytes.len();
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.append(bytes);
        buffer
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// All bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// The name that its bytes have as a sealed object.
    pub fn reference(&self) -> SealedRef {
        SealedRef {
            digest: Digest(*blake3::hash(self.bytes()).as_bytes()),
            bytes: self.len as u64,
        }
    }

    /// The bytes as values of another plain type.
    ///
    /// # Panics
    /// Where the length is not a multiple of the type's size: a bug of ours.
    pub fn typed<T: AnyBitPattern>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes())
    }

    /// The bytes as values of another plain type, to be written.
    ///
    /// # Panics
    /// Where the length is not a multiple of the type's size: a bug of ours.
    pub fn typed_mut<T: AnyBitPattern + NoUninit>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes_mut())
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_in_pieces_is_what_is_copied_at_once() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for piece in [1, 3, 63, 64, 65, 128, 999, 1000] {
            let mut buffer = AlignedBuf::with_capacity(500);
            for part in bytes.chunks(piece) {
                buffer.append(part);
            }
            buffer.append(&[]);
            assert_eq!(buffer.bytes(), bytes);
            assert_eq!(buffer.bytes().as_ptr().align_offset(64), 0);
            // What lies behind the end is zero, as in a buffer made at once.
            assert_eq!(buffer.lines.len(), 16);
            assert_eq!(buffer.lines[15].0[40..], [0; 24]);
        }
        assert_eq!(AlignedBuf::copy_of(&bytes[..130]).bytes(), &bytes[..130]);
    }
}
