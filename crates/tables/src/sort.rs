//! External sort of records of a 128-bit key and a few bytes, within a budget: sorted runs in scratch files, merged
//! at the end.

use crate::error::TablesError;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use store::{Cache, Scratch};

/// Bytes that an entry takes beside its payload.
const ENTRY_BYTES: usize = size_of::<Entry>();
/// Bytes of the frame of a record in a run: key and length.
const FRAME_BYTES: usize = 20;
const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES_MIN: usize = 4 << 10;

#[derive(Clone, Copy)]
struct Entry {
    key: u128,
    start: u32,
    length: u32,
}

/// Records in any order. Keys are distinct, or the order among equal keys does not matter.
pub struct Sorter {
    cache: Cache,
    budget_bytes: usize,
    entries: Vec<Entry>,
    payloads: Vec<u8>,
    runs: Vec<Scratch>,
}

impl Sorter {
    /// No records yet. Less than 64 KiB is not taken for a budget.
    pub fn new(cache: &Cache, budget_bytes: u64) -> Self {
        let budget_bytes = usize::try_from(budget_bytes).unwrap_or(usize::MAX);
        let budget_bytes = budget_bytes.clamp(64 << 10, 2 << 30);
        Sorter {
            cache: cache.clone(),
            budget_bytes,
            entries: Vec::new(),
            payloads: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// Where a run cannot be written.
    pub fn push(&mut self, key: u128, payload: &[u8]) -> Result<(), TablesError> {
        let taken = self.entries.len() * ENTRY_BYTES + self.payloads.len();
        // Growing vectors hold the old and the new room for a moment.
        if (taken + payload.len()) * 2 > self.budget_bytes && !self.entries.is_empty() {
            self.spill()?;
        }
        let start = self.payloads.len() as u32;
        self.entries.push(Entry {
            key,
            start,
            length: payload.len() as u32,
        });
        self.payloads.extend_from_slice(payload);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), TablesError> {
        self.entries.sort_unstable_by_key(|entry| entry.key);
        let mut run = self.cache.scratch()?;
        let mut buffer = Vec::with_capacity(WRITE_BYTES + FRAME_BYTES);
        for entry in &self.entries {
            buffer.extend_from_slice(&entry.key.to_le_bytes());
            buffer.extend_from_slice(&entry.length.to_le_bytes());
            buffer.extend_from_slice(payload_of(&self.payloads, entry));
            if buffer.len() >= WRITE_BYTES {
                run.append(&buffer)?;
                buffer.clear();
            }
        }
        run.append(&buffer)?;
        self.runs.push(run);
        self.entries.clear();
        self.payloads.clear();
        Ok(())
    }

    /// The records in the order of their keys.
    ///
    /// # Errors
    /// Where a run cannot be written or read.
    pub fn sorted(mut self) -> Result<Sorted, TablesError> {
        if self.runs.is_empty() {
            self.entries.sort_unstable_by_key(|entry| entry.key);
            let (entries, payloads) = (self.entries, self.payloads);
            return Ok(Sorted(Source::Memory {
                entries,
                payloads,
                next: 0,
            }));
        }
        self.spill()?;
        (self.entries, self.payloads) = (Vec::new(), Vec::new());
        let chunk = (self.budget_bytes / self.runs.len()).clamp(READ_BYTES_MIN, 4 << 20);
        let mut runs = Vec::new();
        let mut heap = BinaryHeap::new();
        for (number, scratch) in self.runs.into_iter().enumerate() {
            let mut run = Run {
                scratch,
                chunk,
                read: 0,
                buffer: Vec::new(),
                at: 0,
                length: 0,
            };
            if let Some(key) = run.advance()? {
                heap.push(Reverse((key, number)));
            }
            runs.push(run);
        }
        Ok(Sorted(Source::Runs {
            runs,
            heap,
            given: None,
        }))
    }
}

fn payload_of<'p>(payloads: &'p [u8], entry: &Entry) -> &'p [u8] {
    &payloads[entry.start as usize..][..entry.length as usize]
}

/// One run being read. The current payload is `buffer[at - length .. at]`.
struct Run {
    scratch: Scratch,
    chunk: usize,
    read: u64,
    buffer: Vec<u8>,
    at: usize,
    length: usize,
}

impl Run {
    fn fill(&mut self, needed: usize) -> Result<(), TablesError> {
        if self.buffer.len() - self.at >= needed {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let kept = self.buffer.len();
        let more = (self.chunk.max(needed) - kept).min((self.scratch.len() - self.read) as usize);
        self.buffer.resize(kept + more, 0);
        self.scratch
            .read_into(self.read, &mut self.buffer[kept..])?;
        self.read += more as u64;
        if self.buffer.len() < needed {
            return Err(TablesError::Malformed("a run of a sort ends early"));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<u128>, TablesError> {
        if self.at == self.buffer.len() && self.read == self.scratch.len() {
            return Ok(None);
        }
        self.fill(FRAME_BYTES)?;
        let frame = &self.buffer[self.at..][..FRAME_BYTES];
        let key = u128::from_le_bytes(frame[..16].try_into().expect("16 bytes"));
        self.length = u32::from_le_bytes(frame[16..].try_into().expect("4 bytes")) as usize;
        self.at += FRAME_BYTES;
        self.fill(self.length)?;
        self.at += self.length;
        Ok(Some(key))
    }
}

/// Records in order.
pub struct Sorted(Source);

enum Source {
    Memory {
        entries: Vec<Entry>,
        payloads: Vec<u8>,
        next: usize,
    },
    Runs {
        runs: Vec<Run>,
        heap: BinaryHeap<Reverse<(u128, usize)>>,
        given: Option<usize>,
    },
}

impl Sorted {
    /// The next record, lent until the one after it is asked for.
    ///
    /// # Errors
    /// Where a run cannot be read.
    pub fn next_record(&mut self) -> Result<Option<(u128, &[u8])>, TablesError> {
        match &mut self.0 {
            Source::Memory {
                entries,
                payloads,
                next,
            } => {
                let entry = entries.get(*next);
                *next += 1;
                Ok(entry.map(|entry| (entry.key, payload_of(payloads, entry))))
            }
            Source::Runs { runs, heap, given } => {
                if let Some(run) = given.take()
                    && let Some(key) = runs[run].advance()?
                {
                    heap.push(Reverse((key, run)));
                }
                let Some(Reverse((key, run))) = heap.pop() else {
                    return Ok(None);
                };
                *given = Some(run);
                let run = &runs[run];
                Ok(Some((key, &run.buffer[run.at - run.length..run.at])))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use store::IoMode;

    fn check(records: &[(u128, Vec<u8>)], budget_bytes: u64) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), 1 << 30, IoMode::Pread).unwrap();
        let mut sorter = Sorter::new(&cache, budget_bytes);
        for (key, payload) in records {
            sorter.push(*key, payload).unwrap();
        }
        let mut sorted = sorter.sorted().unwrap();
        let mut expected = records.to_vec();
        expected.sort();
        for (key, payload) in expected {
            assert_eq!(
                sorted.next_record().unwrap(),
                Some((key, payload.as_slice()))
            );
        }
        assert_eq!(sorted.next_record().unwrap(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn records_come_in_order_with_and_without_runs(
            keys in proptest::collection::btree_set(0_u128..1 << 40, 0..3000),
            budget_bytes in prop_oneof![Just(1_u64), Just(1 << 30)],
        ) {
            let mut records: Vec<(u128, Vec<u8>)> = keys
                .into_iter()
                .map(|key| (key << 60, vec![key as u8; (key % 61) as usize]))
                .collect();
            records.sort_by_key(|(key, _)| (key >> 60).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            check(&records, budget_bytes);
        }
    }

    #[test]
    fn a_payload_longer_than_the_budget_passes() {
        check(
            &[(2, vec![7; 300_000]), (1, vec![8; 200_000]), (3, vec![])],
            1,
        );
    }
}
