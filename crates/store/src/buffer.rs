//! Bytes whose first address is a multiple of 64, so that they can be read as f32 or u32 and by any vector load.

use crate::huge::Pages;
use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};
use tensor::{Digest, SealedRef};

/// A cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

impl Line {
    #[cfg(test)]
    pub(crate) fn of(byte: u8) -> Self {
        Line([byte; 64])
    }
}

/// An owned, 64-byte aligned buffer of fixed length.
pub struct AlignedBuf {
    memory: Memory,
    len: usize,
}

/// Where the bytes are: at least as many as were written or asked for.
enum Memory {
    Heap(Vec<Line>),
    Huge(Pages),
}

impl Memory {
    fn lines(&self) -> &[Line] {
        match self {
            Memory::Heap(lines) => lines,
            Memory::Huge(pages) => pages.lines(),
        }
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        match self {
            Memory::Heap(lines) => lines,
            Memory::Huge(pages) => pages.lines_mut(),
        }
    }
}

impl AlignedBuf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let memory = match Pages::new(len) {
            Some((mut pages, is_zero)) => {
                if !is_zero {
                    pages.lines_mut()[..len.div_ceil(64)].fill(Line::zeroed());
                }
                Memory::Huge(pages)
            }
            None => Memory::Heap(vec![Line::zeroed(); len.div_ceil(64)]),
        };
        AlignedBuf { memory, len }
    }

    /// Nothing, with memory for `len` bytes: what is received is not zeroed before.
    pub fn with_capacity(len: usize) -> Self {
        let memory = match Pages::new(len) {
            Some((pages, _)) => Memory::Huge(pages),
            None => Memory::Heap(Vec::with_capacity(len.div_ceil(64))),
        };
        AlignedBuf { memory, len: 0 }
    }

    /// The same memory, with nothing in it.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        if let Memory::Heap(lines) = &mut self.memory {
            lines.clear();
        }
        self.len = 0;
        self
    }

    /// Adds `bytes` behind what there is.
    pub fn append(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Memory::Huge(pages) = &self.memory
            && end > size_of_val(pages.lines())
        {
            let held = pages.lines()[..self.len.div_ceil(64)].to_vec();
            self.memory = Memory::Heap(held);
        }
        match &mut self.memory {
            Memory::Huge(pages) => {
                let there: &mut [u8] = bytemuck::cast_slice_mut(pages.lines_mut());
                there[self.len..end].copy_from_slice(bytes);
            }
            Memory::Heap(lines) => {
                let begun = self.len.next_multiple_of(64) - self.len;
                let (filling, whole) = bytes.split_at(begun.min(bytes.len()));
                let there: &mut [u8] = bytemuck::cast_slice_mut(lines);
                there[self.len..][..filling.len()].copy_from_slice(filling);
                let (whole, rest) = whole.as_chunks::<64>();
                lines.extend(whole.iter().map(|line| Line(*line)));
                if !rest.is_empty() {
                    let mut last = Line::zeroed();
                    last.0[..rest.len()].copy_from_slice(rest);
                    lines.push(last);
                }
            }
        }
        self.len = end;
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
        &bytemuck::cast_slice(self.memory.lines())[..self.len]
    }

    /// All bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(self.memory.lines_mut())[..self.len]
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

impl Clone for AlignedBuf {
    fn clone(&self) -> Self {
        Self::copy_of(self.bytes())
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
        // Within the heap, from the heap beyond what was asked for, within huge pages and beyond them.
        for (asked, len) in [(500, 1000), (200_000, 150_001), (200_000, 250_003)] {
            let bytes: Vec<u8> = (0..len).map(|i: u32| (i * 7 + i / 256) as u8).collect();
            for piece in [1, 3, 63, 64, 65, 128, 999, len as usize] {
                let mut buffer = AlignedBuf::with_capacity(asked);
                for part in bytes.chunks(piece) {
                    buffer.append(part);
                }
                buffer.append(&[]);
                assert!(buffer.bytes() == bytes, "{piece} of {len}");
                assert_eq!(buffer.bytes().as_ptr().align_offset(64), 0);
                let mut again = buffer.emptied();
                assert!(again.is_empty());
                again.append(&bytes[..130]);
                assert_eq!(again.bytes(), &bytes[..130]);
            }
            assert_eq!(AlignedBuf::copy_of(&bytes).clone().bytes(), bytes);
        }
    }

    #[test]
    fn zeroed_memory_is_zero_also_where_it_was_used_before() {
        for len in [1000, 300_000] {
            for _ in 0..20 {
                let buffers: Vec<AlignedBuf> = (0..20)
                    .map(|_| {
                        let mut buffer = AlignedBuf::zeroed(len);
                        assert!(buffer.bytes().iter().all(|&byte| byte == 0));
                        buffer.bytes_mut().fill(7);
                        buffer
                    })
                    .collect();
                assert!(buffers.iter().all(|buffer| buffer.len() == len));
            }
        }
    }
}
