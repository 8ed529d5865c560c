//! Objects that a worker holds, as bytes and as rows, wherever they lie.
//!
//! **Invariant:** the same rows give the same bytes from memory, from a map and by positioned reads.

use crate::work::{Held, Part};
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;
use store::sums::CHUNK_BYTES;
use store::{AlignedBuf, Section, StoreError};

/// All bytes of a held object: 64-byte aligned.
#[derive(Clone, Debug)]
pub enum HeldBytes {
    /// Shared with whoever holds the object.
    Memory(Arc<AlignedBuf>),
    /// Of a sealed file: borrowed from its map, or read.
    File(Section),
}

impl Deref for HeldBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            HeldBytes::Memory(buffer) => buffer.bytes(),
            HeldBytes::File(section) => section,
        }
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Held {
    /// An object in memory.
    ///
    /// # Panics
    /// Where the buffer is not made of whole rows: a bug of ours.
    pub fn in_memory(buffer: AlignedBuf, row_bytes: u32) -> Self {
        let whole = if row_bytes == 0 {
            buffer.is_empty()
        } else {
            buffer.len().is_multiple_of(row_bytes as usize)
        };
        assert!(whole, "an object is made of whole rows");
        Held::Memory {
            buffer: Arc::new(buffer),
            row_bytes,
        }
    }

    /// A copy of rows of `width` floats each.
    ///
    /// # Panics
    /// Where the values are not whole rows: a bug of ours.
    pub fn from_rows(values: &[f32], width: usize) -> Self {
        Self::in_memory(
            AlignedBuf::copy_of(bytemuck::cast_slice(values)),
            (width * size_of::<f32>()) as u32,
        )
    }

    /// The bytes of a row.
    pub fn row_bytes(&self) -> u32 {
        match self {
            Held::Memory { row_bytes, .. } | Held::File { row_bytes, .. } => *row_bytes,
        }
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Held::Memory { buffer, .. } => buffer.len() as u64,
            Held::File { file, .. } => file.len(),
        }
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.bytes()
            .checked_div(u64::from(self.row_bytes()))
            .unwrap_or(0)
    }

    /// The anonymous memory it takes while it is held.
    pub fn anonymous_bytes(&self) -> u64 {
        match self {
            Held::Memory { buffer, .. } => buffer.len() as u64,
            Held::File { .. } => 0,
        }
    }

    /// All of it. Takes memory where a file is read and not mapped.
    ///
    /// # Errors
    /// Where a file is damaged or cannot be read.
    pub fn whole(&self) -> Result<HeldBytes, StoreError> {
        match self {
            Held::Memory { buffer, .. } => Ok(HeldBytes::Memory(buffer.clone())),
            Held::File { file, .. } => file.section(0..file.len()).map(HeldBytes::File),
        }
    }

    /// The length of a part, packed.
    ///
    /// # Errors
    /// Where a row lies beyond the last.
    pub fn part_bytes(&self, part: &Part) -> Result<u64, StoreError> {
        let rows = self.rows();
        let (count, largest) = match part {
            Part::Whole => return Ok(self.bytes()),
            Part::Rows(wanted) => (
                wanted.len() as u64,
                wanted.iter().max().map(|&row| u64::from(row) + 1),
            ),
            Part::Span(span) => (
                span.end.saturating_sub(span.start),
                Some(span.end.max(span.start)),
            ),
        };
        match largest {
            Some(end) if end > rows => Err(self.beyond(end - 1)),
            _ => Ok(count * u64::from(self.row_bytes())),
        }
    }

    /// A part, packed.
    ///
    /// # Errors
    /// Where a row lies beyond the last, or a file is damaged or cannot be read.
    pub fn part(&self, part: &Part) -> Result<AlignedBuf, StoreError> {
        let mut packed = AlignedBuf::zeroed(self.part_bytes(part)? as usize);
        match part {
            Part::Whole => self.read(0, packed.bytes_mut())?,
            Part::Span(span) => {
                self.read(span.start * u64::from(self.row_bytes()), packed.bytes_mut())?;
            }
            Part::Rows(rows) => self.gather(rows, packed.bytes_mut())?,
        }
        Ok(packed)
    }

    /// The slices of rows, in the order asked for, handed to `each` with their place: for gathers that need no packed copy.
    ///
    /// # Errors
    /// Where a row lies beyond the last, or a file is damaged or cannot be read.
    pub fn row_slices(
        &self,
        rows: &[u32],
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<(), StoreError> {
        let row_bytes = u64::from(self.row_bytes());
        let count = self.rows();
        let mut window: (Range<u64>, Option<HeldBytes>) = (0..0, None);
        for (place, &row) in rows.iter().enumerate() {
            if u64::from(row) >= count {
                return Err(self.beyond(row.into()));
            }
            let start = u64::from(row) * row_bytes;
            let end = start + row_bytes;
            if window.1.is_none() || start < window.0.start || end > window.0.end {
                window = self.window(start..end)?;
            }
            if let Some(bytes) = &window.1 {
                each(
                    place,
                    &bytes[(start - window.0.start) as usize..(end - window.0.start) as usize],
                );
            }
        }
        Ok(())
    }

    /// Bytes around a row: all in memory, the chunks that hold it in a file, since no less can be checked.
    fn window(&self, row: Range<u64>) -> Result<(Range<u64>, Option<HeldBytes>), StoreError> {
        match self {
            Held::Memory { buffer, .. } => Ok((
                0..buffer.len() as u64,
                Some(HeldBytes::Memory(buffer.clone())),
            )),
            Held::File { file, .. } => {
                let start = row.start / CHUNK_BYTES * CHUNK_BYTES;
                let end = row.end.next_multiple_of(CHUNK_BYTES).min(file.len());
                Ok((start..end, Some(HeldBytes::File(file.section(start..end)?))))
            }
        }
    }

    fn gather(&self, rows: &[u32], packed: &mut [u8]) -> Result<(), StoreError> {
        let row_bytes = self.row_bytes() as usize;
        self.row_slices(rows, |place, bytes| {
            packed[place * row_bytes..][..row_bytes].copy_from_slice(bytes);
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        match self {
            Held::Memory { buffer, .. } => {
                out.copy_from_slice(&buffer.bytes()[offset as usize..][..out.len()]);
                Ok(())
            }
            Held::File { file, .. } => file.read_into(offset, out),
        }
    }

    fn beyond(&self, row: u64) -> StoreError {
        let row_bytes = u64::from(self.row_bytes());
        let file = match self {
            Held::Memory { .. } => PathBuf::from("an object in memory"),
            Held::File { file, .. } => file.path().to_owned(),
        };
        let start = row.saturating_mul(row_bytes);
        StoreError::Beyond {
            file,
            start,
            end: start.saturating_add(row_bytes),
            len: self.bytes(),
        }
    }
}
