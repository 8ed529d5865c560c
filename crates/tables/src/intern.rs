//! Local numbers of the ids of a segment: the first id seen is 0, the next 1, and so on. Open addressing over a
//! vector of ids; nothing is allocated per row.

use crate::columns::{integers, texts};
use crate::error::TablesError;
use arrow::array::{Array, ArrayRef};
use tensor::IdKind;

/// The local number of a null.
pub const NULL: u32 = u32::MAX;

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 1 << 10;

/// The ids of one mode in one segment.
#[derive(Debug)]
pub struct Interner {
    kind: IdKind,
    slots: Vec<u32>,
    /// Ordered numbers of integer ids.
    numbers: Vec<u64>,
    /// Bytes of text ids, one after the other.
    bytes: Vec<u8>,
    /// Ends of text ids in `bytes`.
    ends: Vec<u64>,
}

impl Interner {
    /// No ids yet.
    pub fn new(kind: IdKind) -> Self {
        Interner {
            kind,
            slots: vec![EMPTY; SLOTS_MIN],
            numbers: Vec::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self.kind, IdKind::Int64 | IdKind::UInt64)
    }

    /// Distinct ids.
    pub fn len(&self) -> usize {
        if self.is_number() {
            self.numbers.len()
        } else {
            self.ends.len()
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the ids.
    pub fn id_bytes(&self) -> usize {
        self.numbers.len() * 8 + self.bytes.len() + self.ends.len() * 8
    }

    /// Forgets all ids and keeps the room.
    pub fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.numbers.clear();
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends the local number of every id of a decoded column, [`NULL`] for null.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn intern(&mut self, array: &ArrayRef, locals: &mut Vec<u32>) -> Result<(), TablesError> {
        locals.reserve(array.len());
        if self.is_number() {
            // Files sorted by an id repeat it: the last answer is often the next.
            let mut last = (None, NULL);
            integers(array, self.kind, |id| {
                if id != last.0 {
                    last = (id, id.map_or(NULL, |id| self.number(id)));
                }
                locals.push(last.1);
            })
        } else {
            texts(array, |id| locals.push(id.map_or(NULL, |id| self.text(id))))
        }
    }

    fn number(&mut self, id: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = hash_number(id) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => break,
                local if self.numbers[local as usize] == id => return local,
                _ => slot = (slot + 1) & mask,
            }
        }
        let local = self.numbers.len() as u32;
        self.slots[slot] = local;
        self.numbers.push(id);
        self.grow_if_full();
        local
    }

    fn text(&mut self, id: &[u8]) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = hash_text(id) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => break,
                local if self.text_at(local) == id => return local,
                _ => slot = (slot + 1) & mask,
            }
        }
        let local = self.ends.len() as u32;
        self.slots[slot] = local;
        self.bytes.extend_from_slice(id);
        self.ends.push(self.bytes.len() as u64);
        self.grow_if_full();
        local
    }

    fn text_at(&self, local: u32) -> &[u8] {
        let local = local as usize;
        let start = if local == 0 {
            0
        } else {
            self.ends[local - 1] as usize
        };
        &self.bytes[start..self.ends[local] as usize]
    }

    fn grow_if_full(&mut self) {
        if self.len() * 2 < self.slots.len() {
            return;
        }
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![EMPTY; mask + 1];
        for local in 0..self.len() as u32 {
            let hash = if self.is_number() {
                hash_number(self.numbers[local as usize])
            } else {
                hash_text(self.text_at(local))
            };
            let mut slot = hash as usize & mask;
            while slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            slots[slot] = local;
        }
        self.slots = slots;
    }

    /// The local numbers whose count is not 0, in the order of their ids.
    pub fn ordered(&self, counts: &[u32]) -> Vec<u32> {
        let used = (0..self.len() as u32).filter(|&local| counts[local as usize] > 0);
        if self.is_number() {
            let mut keyed: Vec<(u64, u32)> = used
                .map(|local| (self.numbers[local as usize], local))
                .collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|(_, local)| local).collect()
        } else {
            let mut locals: Vec<u32> = used.collect();
            locals.sort_unstable_by(|&a, &b| self.text_at(a).cmp(self.text_at(b)));
            locals
        }
    }

    /// Appends an entry of a run ([`crate::merge`]): the count, and the id as bytes that sort as ids do.
    pub fn write_entry(&self, local: u32, count: u32, run: &mut Vec<u8>) {
        run.extend_from_slice(&count.to_le_bytes());
        if self.is_number() {
            run.extend_from_slice(&self.numbers[local as usize].to_be_bytes());
        } else {
            let id = self.text_at(local);
            run.extend_from_slice(&(id.len() as u32).to_le_bytes());
            run.extend_from_slice(id);
        }
    }
}

fn hash_number(id: u64) -> u64 {
    let mixed = (id ^ (id >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn hash_text(id: &[u8]) -> u64 {
    let mut hash = id.len() as u64;
    let (words, rest) = id.as_chunks::<8>();
    for word in words {
        hash = hash_number(hash.rotate_left(23) ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash_number(hash.rotate_left(23) ^ u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn locals_follow_first_sight_and_runs_follow_ids() {
        let mut interner = Interner::new(IdKind::Int64);
        let array: ArrayRef = Arc::new(Int32Array::from(vec![
            Some(5),
            Some(-2),
            None,
            Some(5),
            Some(9),
        ]));
        let mut locals = Vec::new();
        interner.intern(&array, &mut locals).unwrap();
        assert_eq!(locals, [0, 1, NULL, 0, 2]);
        assert_eq!(interner.ordered(&[2, 1, 1]), [1, 0, 2]);
        assert_eq!(
            interner.ordered(&[2, 0, 1]),
            [0, 2],
            "an id whose rows were all bad is left out"
        );
    }

    #[test]
    fn many_texts_are_told_apart() {
        let texts: Vec<String> = (0..20_000).map(|i| format!("id-{}", i % 7000)).collect();
        let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let mut interner = Interner::new(IdKind::Utf8);
        let mut locals = Vec::new();
        interner.intern(&array, &mut locals).unwrap();
        assert_eq!(interner.len(), 7000);
        assert!(
            locals
                .iter()
                .enumerate()
                .all(|(i, &local)| local as usize == i % 7000)
        );
        interner.clear();
        assert!(interner.is_empty());
    }
}
