//! Buffers of dropped blocks, for the blocks that follow: with new ones every epoch clears and faults in the pages of all tables
//! again, 1 % of it.
//!
//! **Invariant:** no result depends on what lies in a buffer when a task takes it.

use crate::work::Held;
use std::sync::{Arc, Mutex, PoisonError};
use store::AlignedBuf;

/// Shorter ones cost the allocator nothing.
const LEAST_BYTES: usize = 64 << 10;

/// What builds for tests fill a buffer with: as numbers these are none.
const UNWRITTEN: u8 = 0xff;

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub struct SpareBuffers {
    most_bytes: u64,
    kept: Mutex<Vec<AlignedBuf>>,
}

impl SpareBuffers {
    /// None yet, and never more than so many bytes of them.
    pub fn new(most_bytes: u64) -> Self {
        SpareBuffers {
            most_bytes,
            kept: Mutex::default(),
        }
    }

    /// A buffer of this length, of which whatever is read must have been written before.
    pub fn take(&self, len: usize) -> AlignedBuf {
        let found = self.fitting(len);
        let mut buffer = found.unwrap_or_else(|| AlignedBuf::zeroed(len));
        // So that tests see it where something is read that was not written.
        if cfg!(debug_assertions) {
            buffer.bytes_mut().fill(UNWRITTEN);
        }
        buffer
    }

    /// An empty buffer with memory for this length.
    pub fn take_empty(&self, len: usize) -> AlignedBuf {
        let found = self.fitting(len);
        found.map_or_else(|| AlignedBuf::with_capacity(len), AlignedBuf::emptied)
    }

    fn fitting(&self, len: usize) -> Option<AlignedBuf> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().rposition(|buffer| buffer.len() == len);
        place.map(|place| kept.remove(place))
    }

    /// Takes what is held no longer, unless somebody still reads it. Where there is too much, the oldest go.
    pub fn give(&self, held: Held) {
        let Held::Memory { buffer, .. } = held else {
            return;
        };
        let Some(buffer) = Arc::into_inner(buffer).filter(|buffer| buffer.len() >= LEAST_BYTES)
        else {
            return;
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffer);
        let mut bytes: usize = kept.iter().map(AlignedBuf::len).sum();
        while bytes as u64 > self.most_bytes {
            bytes -= kept.remove(0).len();
        }
    }

    /// Lets all of them go.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(len: usize) -> Held {
        Held::in_memory(AlignedBuf::zeroed(len), 64)
    }

    fn lengths(spare: &SpareBuffers) -> Vec<usize> {
        let kept = spare.kept.lock().unwrap();
        kept.iter()
            .map(|buffer| buffer.len() / LEAST_BYTES)
            .collect()
    }

    #[test]
    fn buffers_come_back_by_length_within_the_bound_and_never_while_they_are_read() {
        let spare = SpareBuffers::new(3 * LEAST_BYTES as u64);
        let read = held(LEAST_BYTES);
        spare.give(read.clone());
        assert_eq!(lengths(&spare), [], "it is still read");
        spare.give(read);
        spare.give(held(2 * LEAST_BYTES));
        assert_eq!(lengths(&spare), [1, 2]);
        spare.give(held(LEAST_BYTES));
        assert_eq!(lengths(&spare), [2, 1], "the first was too much");
        spare.give(held(LEAST_BYTES - 64));
        assert_eq!(lengths(&spare), [2, 1], "too short");
        assert_eq!(spare.take(2 * LEAST_BYTES).len(), 2 * LEAST_BYTES);
        assert_eq!(lengths(&spare), [1]);
        assert_eq!(spare.take(2 * LEAST_BYTES).len(), 2 * LEAST_BYTES);
        assert_eq!(lengths(&spare), [1], "a new one");
        let empty = spare.take_empty(LEAST_BYTES);
        assert_eq!((empty.len(), lengths(&spare)), (0, vec![]));
        spare.give(held(4 * LEAST_BYTES));
        assert_eq!(lengths(&spare), [], "alone too much");
    }
}
