//! The rows of the ids of edges: runs of ids, looked up in the dictionaries of their mode.
//!
//! As many dictionaries as the budget takes are there at a time, and the runs pass by them once for each such group.

use crate::attributes::Places;
use crate::dictionary::typed_id;
use crate::error::TablesError;
use crate::merge::entry;
use crate::op::MatchOp;
use crate::spool::{Slots, Spooled};
use std::ops::Range;
use store::{Cache, Sealed};
use tensor::IdKind;

/// Bytes of a run that are looked up together.
const CHUNK_BYTES: u64 = 1 << 20;

/// What a [`Matching`] lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The dictionaries of these blocks.
    Dictionaries(Range<usize>),
    /// Bytes of the ids of a split.
    Ids {
        /// Which split.
        split: u32,
        /// The bytes.
        bytes: Range<u64>,
    },
}

/// Ids in the course of being looked up.
pub struct Matching {
    op: MatchOp,
    /// Blocks whose dictionaries are there together.
    groups: Vec<Range<usize>>,
    /// The group under way.
    group: usize,
    places: Option<Places>,
    /// The run under way, how much of it was asked for, and what of that is not looked up.
    run: usize,
    asked: u64,
    rest: Vec<u8>,
    /// The number that the next id gets.
    at: u64,
    found: Slots,
}

impl Matching {
    /// Nothing looked up. `dictionaries` are the bytes of each block's.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new(
        op: MatchOp,
        dictionaries: &[u64],
        cache: &Cache,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let ids = op.runs.iter().map(|place| u64::from(place.run.ids)).sum();
        Ok(Matching {
            groups: groups(&op.rows, dictionaries, budget_bytes / 2),
            group: 0,
            places: None,
            run: 0,
            asked: 0,
            rest: Vec::new(),
            at: 0,
            found: Slots::zeroed(cache, ids, budget_bytes / 8)?,
            op,
        })
    }

    /// The least budget that will do for blocks of these rows and dictionaries of these bytes.
    pub fn bytes(rows: &[u32], dictionaries: &[u64]) -> u64 {
        let blocks = rows.iter().zip(dictionaries);
        let block = blocks.map(|(&rows, &known)| Places::bytes(rows.into(), known));
        2 * block.max().unwrap_or(0) + 4 * CHUNK_BYTES
    }

    /// What to fetch next; `None` where all is done.
    pub fn wants(&mut self) -> Option<Next> {
        let group = self.groups.get(self.group)?;
        if self.places.is_none() {
            return Some(Next::Dictionaries(group.clone()));
        }
        let place = &self.op.runs[self.run];
        let bytes = self.asked..place.run.bytes.min(self.asked + CHUNK_BYTES);
        self.asked = bytes.end;
        Some(Next::Ids {
            split: place.split,
            bytes: place.start + bytes.start..place.start + bytes.end,
        })
    }

    /// Takes the dictionaries of the group.
    ///
    /// # Errors
    /// Where one is damaged.
    pub fn know(&mut self, dictionaries: Vec<Sealed>) -> Result<(), TablesError> {
        self.places = Some(Places::new(self.op.id_kind, dictionaries)?);
        (self.run, self.at) = (0, 0);
        self.begin_run();
        Ok(())
    }

    /// Goes on to the next run that has ids, or to the next group.
    fn begin_run(&mut self) {
        self.asked = 0;
        while self
            .op
            .runs
            .get(self.run)
            .is_some_and(|place| place.run.ids == 0)
        {
            self.run += 1;
        }
        if self.run == self.op.runs.len() {
            self.places = None;
            self.group += 1;
        }
    }

    /// Takes bytes of the run.
    ///
    /// # Errors
    /// Where they are not those of a run, or the disk is full.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), TablesError> {
        let places = self.places.as_ref();
        let places = places.ok_or(TablesError::Malformed("ids come before their dictionaries"))?;
        let kind = self.op.id_kind;
        let fixed = matches!(kind, IdKind::Int64 | IdKind::UInt64);
        let first = self.groups[self.group].start;
        self.rest.extend_from_slice(bytes);
        let (mut taken, mut rows) = (0, Vec::new());
        while let Ok((_, id)) = entry(&self.rest[taken..], fixed) {
            let found = places.find(typed_id(kind, &self.rest[taken..][id.clone()])?);
            rows.push(found.map_or(0, |(block, local)| {
                1 + (((first + block as usize) as u32) << self.op.stride_log2) + local
            }));
            taken += id.end;
        }
        self.rest.drain(..taken);
        // What another group has found is not touched.
        let mut at = self.at;
        for stretch in rows.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
            if stretch[0] != 0 {
                self.found.put(at, stretch)?;
            }
            at += stretch.len() as u64;
        }
        self.at = at;
        if self.asked == self.op.runs[self.run].run.bytes {
            if !self.rest.is_empty() {
                return Err(TablesError::Malformed("a run of ids ends early"));
            }
            self.run += 1;
            self.begin_run();
        }
        Ok(())
    }

    /// The numbers of all ids, once nothing is wanted.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn finish(self) -> Result<Spooled, TablesError> {
        self.found.finish()
    }
}

/// Neighbouring blocks that fit a budget together, or that are one.
fn groups(rows: &[u32], dictionaries: &[u64], budget_bytes: u64) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (block, (&rows, &known)) in rows.iter().zip(dictionaries).enumerate() {
        let bytes = Places::bytes(rows.into(), known);
        if block > start && sum + bytes > budget_bytes {
            groups.push(start..block);
            (start, sum) = (block, 0);
        }
        sum += bytes;
    }
    groups.push(start..rows.len());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{IdRun, IdRunPlace};
    use store::IoMode;
    use store::dictionary::{DictionaryWriter, IdRef};

    #[test]
    fn ids_are_found_in_groups_of_any_size() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), 1 << 30, IoMode::Pread).unwrap();
        let blocks = [vec!["pear", "fig"], vec![], vec!["", "apple", "plum"]];
        let dictionary = |ids: &Vec<&str>| {
            let mut writer = DictionaryWriter::create(&cache, IdKind::Utf8).unwrap();
            for id in ids {
                writer.push(IdRef::Utf8(id)).unwrap();
            }
            writer.seal().unwrap()
        };
        let files: Vec<Sealed> = blocks.iter().map(dictionary).collect();
        let bytes: Vec<u64> = files.iter().map(|file| file.reference().bytes).collect();
        let runs = [
            vec!["", "apple", "kiwi", "pear"],
            vec![],
            vec!["fig", "plum"],
        ];
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        for run in &runs {
            let start = ids.len() as u64;
            for id in run {
                ids.extend_from_slice(&1_u32.to_le_bytes());
                ids.extend_from_slice(&(id.len() as u32).to_le_bytes());
                ids.extend_from_slice(id.as_bytes());
            }
            places.push(IdRunPlace {
                split: 0,
                start,
                run: IdRun {
                    ids: run.len() as u32,
                    bytes: ids.len() as u64 - start,
                },
            });
        }
        let op = MatchOp {
            id_kind: IdKind::Utf8,
            runs: places,
            rows: blocks.iter().map(|ids| ids.len() as u32).collect(),
            stride_log2: 2,
        };
        for budget_bytes in [1, 1 << 30] {
            let mut matching = Matching::new(op.clone(), &bytes, &cache, budget_bytes).unwrap();
            let mut groups = 0;
            while let Some(next) = matching.wants() {
                match next {
                    Next::Dictionaries(blocks) => {
                        groups += 1;
                        matching.know(files[blocks].to_vec()).unwrap();
                    }
                    Next::Ids { bytes, .. } => matching
                        .feed(&ids[bytes.start as usize..bytes.end as usize])
                        .unwrap(),
                }
            }
            assert_eq!(groups, if budget_bytes == 1 { 3 } else { 1 });
            let mut found = [9; 6];
            let spooled = matching.finish().unwrap();
            spooled.read_numbers(0, &mut found).unwrap();
            assert_eq!(found, [9, 10, 0, 1, 2, 11]);
        }
    }
}
