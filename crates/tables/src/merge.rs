//! Merging the runs of ids of all segments.
//!
//! A run is a sequence of entries in the order of their ids: the count (u32), then the id: eight big-endian bytes of the
//! ordered number of an integer, or the length (u32) and the bytes of a text. Ids compare as bytes in either case.

use crate::error::TablesError;
use crate::op::IdRunPlace;
use std::cmp::Ordering;
use std::ops::Range;

const CHUNK_BYTES_MIN: u64 = 4 << 10;
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// What the merge finds.
pub trait IdSink {
    /// An id of the `run`-th run, the `local`-th there, is the `ordinal`-th of all.
    fn member(&mut self, run: usize, local: u32, ordinal: u64) -> Result<(), TablesError>;
    /// The next id of all, with its count over all runs.
    fn id(&mut self, id: &[u8], count: u64) -> Result<(), TablesError>;
}

/// The count of the entry that a run of ids begins with, and the place of its id; else the bytes that it would have, 0 where
/// that cannot be told yet.
pub(crate) fn entry(bytes: &[u8], fixed: bool) -> Result<(u32, Range<usize>), u64> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 4);
        word.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    };
    let head = if fixed { 4 } else { 8 };
    let length = if fixed { Some(8) } else { word(4) };
    let (Some(count), Some(length)) = (word(0), length) else {
        return Err(0);
    };
    let end = head + length as usize;
    if bytes.len() < end {
        return Err(end as u64);
    }
    Ok((count, head..end))
}

struct Cursor {
    place: IdRunPlace,
    /// Bytes of the run asked for so far.
    asked: u64,
    buffer: Vec<u8>,
    at: usize,
    /// The open entry: its count and the place of its id in the buffer.
    count: u32,
    id: Range<usize>,
    local: u32,
    /// The length of the next entry, where only its beginning is there.
    lacks: u64,
}

impl Cursor {
    fn left(&self) -> u64 {
        self.place.run.bytes - self.asked
    }

    /// Parses the entry at `at`; `false` where it is not whole.
    fn parse(&mut self, fixed: bool) -> bool {
        match entry(&self.buffer[self.at..], fixed) {
            Ok((count, id)) => {
                (self.count, self.lacks) = (count, 0);
                self.id = self.at + id.start..self.at + id.end;
                true
            }
            Err(lacks) => {
                self.lacks = lacks;
                false
            }
        }
    }

    fn id(&self) -> &[u8] {
        &self.buffer[self.id.clone()]
    }
}

/// The merge in progress.
pub struct IdMerge {
    fixed: bool,
    chunk_bytes: u64,
    cursors: Vec<Cursor>,
    /// A binary heap of cursors with an open entry, the least id first.
    heap: Vec<u32>,
    /// Cursors that lack bytes.
    starved: Vec<u32>,
    ordinal: u64,
    current: Vec<u8>,
    count: u64,
    is_open: bool,
}

impl IdMerge {
    /// Of runs of integer ids (`fixed`) or of texts; the buffers take about `budget_bytes`.
    pub fn new(runs: &[IdRunPlace], fixed: bool, budget_bytes: u64) -> Self {
        // A refill may hold half a chunk of the last one, and is copied behind it.
        let share = budget_bytes / (3 * runs.len().max(1) as u64);
        let cursor = |place: &IdRunPlace| Cursor {
            place: *place,
            asked: 0,
            buffer: Vec::new(),
            at: 0,
            count: 0,
            id: 0..0,
            local: 0,
            lacks: 0,
        };
        let mut merge = IdMerge {
            fixed,
            chunk_bytes: share.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
            cursors: runs.iter().map(cursor).collect(),
            heap: Vec::new(),
            starved: Vec::new(),
            ordinal: 0,
            current: Vec::new(),
            count: 0,
            is_open: false,
        };
        let starved = (0..runs.len() as u32).filter(|&run| runs[run as usize].run.bytes > 0);
        merge.starved = starved.collect();
        merge
    }

    /// Distinct ids so far; all of them once nothing is wanted.
    pub fn ids(&self) -> u64 {
        self.ordinal
    }

    /// What to fetch next: the run, the split whose object holds it, the bytes there. Empty: all is merged.
    pub fn wants(&mut self) -> Vec<(usize, u32, Range<u64>)> {
        if self.starved.is_empty() {
            return Vec::new();
        }
        let mut wants = Vec::new();
        for (run, cursor) in self.cursors.iter_mut().enumerate() {
            let kept = (cursor.buffer.len() - cursor.at) as u64;
            // What has an open entry lacks nothing; what is starved and keeps much lacks the rest of a long entry.
            if cursor.left() == 0 || (cursor.lacks == 0 && kept * 2 > self.chunk_bytes) {
                continue;
            }
            let more = self.chunk_bytes.max(cursor.lacks).min(cursor.left());
            let start = cursor.place.start + cursor.asked;
            wants.push((run, cursor.place.split, start..start + more));
            cursor.asked += more;
        }
        wants
    }

    /// Takes what [`IdMerge::wants`] asked of a run.
    pub fn feed(&mut self, run: usize, bytes: &[u8]) {
        let cursor = &mut self.cursors[run];
        let at = cursor.at;
        cursor.buffer.drain(..at);
        cursor.at = 0;
        cursor.id = cursor.id.start.saturating_sub(at)..cursor.id.end.saturating_sub(at);
        cursor.buffer.extend_from_slice(bytes);
    }

    /// Merges until a run lacks bytes or all are at their end.
    ///
    /// # Errors
    /// Where a run is malformed or the sink fails.
    pub fn advance(&mut self, sink: &mut impl IdSink) -> Result<(), TablesError> {
        for run in std::mem::take(&mut self.starved) {
            self.open(run)?;
        }
        while self.starved.is_empty() {
            let Some(&run) = self.heap.first() else { break };
            let cursor = &self.cursors[run as usize];
            let same = self.is_open && cursor.id() == self.current.as_slice();
            if !same {
                if self.is_open {
                    sink.id(&self.current, self.count)?;
                    self.ordinal += 1;
                }
                self.current.clear();
                self.current.extend_from_slice(cursor.id());
                (self.count, self.is_open) = (0, true);
            }
            self.count += u64::from(cursor.count);
            sink.member(run as usize, cursor.local, self.ordinal)?;
            self.step()?;
        }
        if self.starved.is_empty() && self.is_open {
            sink.id(&self.current, self.count)?;
            self.ordinal += 1;
            self.is_open = false;
        }
        Ok(())
    }

    /// Opens the entry that a cursor stands at and puts the cursor into the heap.
    fn open(&mut self, run: u32) -> Result<(), TablesError> {
        let cursor = &mut self.cursors[run as usize];
        if cursor.parse(self.fixed) {
            self.heap.push(run);
            self.sift_up();
            return Ok(());
        }
        if cursor.left() == 0 {
            return Err(TablesError::Malformed("a run of ids ends early"));
        }
        self.starved.push(run);
        Ok(())
    }

    /// Moves the cursor on top of the heap to its next entry.
    fn step(&mut self) -> Result<(), TablesError> {
        let run = self.heap[0];
        let cursor = &mut self.cursors[run as usize];
        (cursor.at, cursor.local) = (cursor.id.end, cursor.local + 1);
        if cursor.parse(self.fixed) {
            self.sift_down();
            return Ok(());
        }
        let is_end = cursor.at == cursor.buffer.len() && cursor.left() == 0;
        if !is_end && cursor.left() == 0 {
            return Err(TablesError::Malformed("a run of ids ends early"));
        }
        self.heap.swap_remove(0);
        self.sift_down();
        if !is_end {
            self.starved.push(run);
        }
        Ok(())
    }

    fn is_less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        let order = self.cursors[a as usize]
            .id()
            .cmp(self.cursors[b as usize].id());
        order.then(a.cmp(&b)) == Ordering::Less
    }

    fn sift_up(&mut self) {
        let mut at = self.heap.len() - 1;
        while at > 0 && self.is_less(at, (at - 1) / 2) {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.is_less(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::IdRun;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Default)]
    struct Found {
        ids: Vec<(Vec<u8>, u64)>,
        members: BTreeMap<(usize, u32), u64>,
    }

    impl IdSink for Found {
        fn member(&mut self, run: usize, local: u32, ordinal: u64) -> Result<(), TablesError> {
            assert!(self.members.insert((run, local), ordinal).is_none());
            Ok(())
        }

        fn id(&mut self, id: &[u8], count: u64) -> Result<(), TablesError> {
            self.ids.push((id.to_vec(), count));
            Ok(())
        }
    }

    fn text_entry(id: &[u8], count: u32, run: &mut Vec<u8>) {
        run.extend_from_slice(&count.to_le_bytes());
        run.extend_from_slice(&(id.len() as u32).to_le_bytes());
        run.extend_from_slice(id);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn merged_ids_are_the_sorted_union(
            runs in proptest::collection::vec(
                proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..12), 0..400),
                1..9,
            ),
            long in 0_usize..9000,
        ) {
            let mut runs: Vec<BTreeSet<Vec<u8>>> = runs;
            runs[0].insert(vec![9; long]);
            let bytes: Vec<Vec<u8>> = runs
                .iter()
                .map(|run| {
                    let mut bytes = vec![];
                    for id in run {
                        text_entry(id, 1 + id.len() as u32, &mut bytes);
                    }
                    bytes
                })
                .collect();
            let places: Vec<IdRunPlace> = bytes
                .iter()
                .zip(&runs)
                .map(|(bytes, run)| IdRunPlace {
                    split: 0,
                    start: 0,
                    run: IdRun { ids: run.len() as u32, bytes: bytes.len() as u64 },
                })
                .collect();
            let mut merge = IdMerge::new(&places, false, 1);
            let mut found = Found::default();
            loop {
                let wants = merge.wants();
                if wants.is_empty() {
                    break;
                }
                for (run, _, range) in wants {
                    merge.feed(run, &bytes[run][range.start as usize..range.end as usize]);
                }
                merge.advance(&mut found).unwrap();
            }
            let mut expected: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for id in runs.iter().flatten() {
                *expected.entry(id.clone()).or_default() += 1 + id.len() as u64;
            }
            prop_assert_eq!(&found.ids, &expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(merge.ids(), found.ids.len() as u64);
            for (run, ids) in runs.iter().enumerate() {
                for (local, id) in ids.iter().enumerate() {
                    let ordinal = found.members[&(run, local as u32)];
                    prop_assert_eq!(&found.ids[ordinal as usize].0, id);
                }
            }
        }
    }
}
