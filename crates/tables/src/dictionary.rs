//! From the merged ids of a mode to its rows: ranks by count, rows by dealing, the sealed dictionary of each block, and
//! the row of every id of every run. Ids are numbered in their order (the ordinal) while they wait for their rows.

use crate::columns::i64_from_ordered;
use crate::error::TablesError;
use crate::merge::{IdMerge, IdSink};
use crate::op::{DictionaryOp, DictionaryReport};
use crate::sort::{Sorted, Sorter};
use crate::spool::{Slots, Spooled};
use std::ops::Range;
use store::dictionary::{DictionaryWriter, IdRef};
use store::{Cache, Scratch, Sealed};
use tensor::{CONTEXTS_MAX, Grid, IdKind, Mode};

const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 256 << 10;
/// Ordinals of a run that wait to be written together.
const MEMBERS: usize = 1 << 10;

/// A dictionary in the course of its merge.
pub struct DictionaryBuild {
    op: DictionaryOp,
    cache: Cache,
    budget_bytes: u64,
    merge: IdMerge,
    gathered: Gathered,
}

/// What the merge leaves behind.
struct Gathered {
    /// Ids in order: length (u32) and bytes.
    ids: Scratch,
    buffer: Vec<u8>,
    /// (count descending, ordinal).
    ranks: Sorter,
    next: u64,
    /// The ordinals of the ids of each run, one run after the other.
    ordinals: Slots,
    /// Where each run's ordinals begin, and its ordinals not yet there.
    runs: Vec<(u64, Vec<u32>)>,
}

impl IdSink for Gathered {
    fn member(&mut self, run: usize, _local: u32, ordinal: u64) -> Result<(), TablesError> {
        let (at, waiting) = &mut self.runs[run];
        waiting.push(ordinal as u32);
        if waiting.len() >= MEMBERS {
            self.ordinals.put(*at, waiting)?;
            *at += waiting.len() as u64;
            waiting.clear();
        }
        Ok(())
    }

    fn id(&mut self, id: &[u8], count: u64) -> Result<(), TablesError> {
        self.buffer
            .extend_from_slice(&(id.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(id);
        if self.buffer.len() >= WRITE_BYTES {
            self.ids.append(&self.buffer)?;
            self.buffer.clear();
        }
        self.ranks
            .push(u128::from(!count) << 64 | u128::from(self.next), &[])?;
        self.next += 1;
        Ok(())
    }
}

/// The grid of a mode's ids at first ingest: contexts stand in one block, by rank.
///
/// # Errors
/// Where they are too many, in either case.
pub(crate) fn grid_of(
    mode: Mode,
    column: &str,
    ids: u64,
    interactions: u64,
) -> Result<Grid, TablesError> {
    if mode != Mode::Context {
        return Grid::deal(ids, interactions).map_err(|source| TablesError::Grid {
            column: column.to_owned(),
            source,
        });
    }
    if ids > u64::from(CONTEXTS_MAX) {
        return Err(TablesError::TooManyContexts {
            column: column.to_owned(),
            contexts: ids,
            limit: CONTEXTS_MAX,
        });
    }
    Ok(Grid::single(ids as u32))
}

/// A finished dictionary.
pub struct Built {
    /// The sealed dictionaries, one a block.
    pub files: Vec<Sealed>,
    /// The rows of all runs' ids, one run after the other, as u32.
    pub rows: Spooled,
    /// The partial.
    pub report: DictionaryReport,
}

impl DictionaryBuild {
    /// Nothing merged yet.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new(op: DictionaryOp, cache: &Cache, budget_bytes: u64) -> Result<Self, TablesError> {
        let fixed = matches!(op.id_kind, IdKind::Int64 | IdKind::UInt64);
        let mut total = 0;
        let runs = op
            .runs
            .iter()
            .map(|place| {
                let start = total;
                total += u64::from(place.run.ids);
                (start, Vec::new())
            })
            .collect();
        let gathered = Gathered {
            ids: cache.scratch()?,
            buffer: Vec::new(),
            ranks: Sorter::new(cache, budget_bytes / 4),
            next: 0,
            ordinals: Slots::zeroed(cache, total, budget_bytes / 8)?,
            runs,
        };
        let merge = IdMerge::new(&op.runs, fixed, budget_bytes / 4);
        Ok(DictionaryBuild {
            op,
            cache: cache.clone(),
            budget_bytes,
            merge,
            gathered,
        })
    }

    /// See [`IdMerge::wants`].
    pub fn wants(&mut self) -> Vec<(usize, u32, Range<u64>)> {
        self.merge.wants()
    }

    /// See [`IdMerge::feed`].
    pub fn feed(&mut self, run: usize, bytes: &[u8]) {
        self.merge.feed(run, bytes);
    }

    /// See [`IdMerge::advance`].
    ///
    /// # Errors
    /// Where a run is malformed or the disk is full.
    pub fn advance(&mut self) -> Result<(), TablesError> {
        self.merge.advance(&mut self.gathered)
    }

    /// Deals the rows and seals the dictionaries, once nothing is wanted.
    ///
    /// # Errors
    /// Where the rows are more than ids, or the disk is full.
    pub fn finish(self) -> Result<Built, TablesError> {
        let DictionaryBuild {
            op,
            cache,
            budget_bytes,
            mut gathered,
            ..
        } = self;
        let ids = gathered.next;
        let grid = grid_of(op.mode, &op.column, ids, op.interactions)?;
        gathered.ids.append(&std::mem::take(&mut gathered.buffer))?;
        let mut runs: Vec<Members> = Vec::new();
        let mut start = 0;
        for ((at, waiting), place) in gathered.runs.into_iter().zip(&op.runs) {
            gathered.ordinals.put(at, &waiting)?;
            let end = start + u64::from(place.run.ids);
            runs.push(Members { next: start, end });
            start = end;
        }
        let ordinals = gathered.ordinals.finish()?;
        let mut rows = Slots::zeroed(&cache, start, budget_bytes / 8)?;
        let mut dealt = Dealt::new(
            &grid,
            gathered.ranks.sorted()?,
            &cache,
            ids,
            budget_bytes / 4,
        )?;
        let mut by_row = Sorter::new(&cache, budget_bytes / 4);
        let mut reader = IdReader {
            ids: gathered.ids,
            read: 0,
            buffer: Vec::new(),
            at: 0,
        };
        let mut first = 0;
        while let Some(chunk) = dealt.next_chunk()? {
            for &row in &chunk {
                by_row.push(u128::from(row), reader.next()?)?;
            }
            for run in &mut runs {
                run.translate(&ordinals, first, &chunk, &mut rows)?;
            }
            first += chunk.len() as u64;
        }
        let files = seal(&grid, by_row.sorted()?, op.id_kind, &cache)?;
        let blocks = files.iter().map(Sealed::reference).collect();
        Ok(Built {
            files,
            rows: rows.finish()?,
            report: DictionaryReport { ids, blocks },
        })
    }
}

/// Rows in the order of ordinals, a chunk at a time.
enum Dealt {
    /// All fit.
    Once(Option<Vec<u32>>),
    /// They come sorted by (ordinal, row).
    Chunks { sorted: Sorted, chunk: usize },
}

impl Dealt {
    fn new(
        grid: &Grid,
        mut ranks: Sorted,
        cache: &Cache,
        ids: u64,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let mut rank = 0;
        let mut each = |sink: &mut dyn FnMut(u64, u32) -> Result<(), TablesError>| {
            while let Some((key, _)) = ranks.next_record()? {
                sink(key as u64, grid.dealt_row(rank))?;
                rank += 1;
            }
            Ok::<_, TablesError>(())
        };
        if ids * 4 <= budget_bytes {
            let mut rows = vec![0; ids as usize];
            each(&mut |ordinal, row| {
                rows[ordinal as usize] = row;
                Ok(())
            })?;
            return Ok(Dealt::Once(Some(rows)));
        }
        let mut sorter = Sorter::new(cache, budget_bytes);
        each(&mut |ordinal, row| sorter.push(u128::from(ordinal) << 32 | u128::from(row), &[]))?;
        let chunk = (budget_bytes / 4).max(1 << 10) as usize;
        Ok(Dealt::Chunks {
            sorted: sorter.sorted()?,
            chunk,
        })
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u32>>, TablesError> {
        match self {
            Dealt::Once(rows) => Ok(rows.take()),
            Dealt::Chunks { sorted, chunk } => {
                let mut rows = Vec::with_capacity(*chunk);
                while rows.len() < *chunk
                    && let Some((key, _)) = sorted.next_record()?
                {
                    rows.push(key as u32);
                }
                Ok((!rows.is_empty()).then_some(rows))
            }
        }
    }
}

/// The ordinals of a run that have no row yet; they rise.
struct Members {
    next: u64,
    end: u64,
}

impl Members {
    /// Gives rows to the ordinals in `first .. first + chunk.len()`.
    fn translate(
        &mut self,
        ordinals: &Spooled,
        first: u64,
        chunk: &[u32],
        rows: &mut Slots,
    ) -> Result<(), TablesError> {
        let limit = first + chunk.len() as u64;
        while self.next < self.end {
            let mut part = vec![0; (self.end - self.next).min(16 << 10) as usize];
            ordinals.read_numbers(self.next, &mut part)?;
            let inside = part.partition_point(|&ordinal| u64::from(ordinal) < limit);
            let is_last = inside < part.len();
            part.truncate(inside);
            for ordinal in &mut part {
                *ordinal = chunk[(u64::from(*ordinal) - first) as usize];
            }
            rows.put(self.next, &part)?;
            self.next += inside as u64;
            if is_last {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the gathered ids from front to back.
struct IdReader {
    ids: Scratch,
    read: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl IdReader {
    fn fill(&mut self, needed: usize) -> Result<(), TablesError> {
        if self.buffer.len() - self.at >= needed {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let kept = self.buffer.len();
        let more = (READ_BYTES.max(needed) - kept).min((self.ids.len() - self.read) as usize);
        self.buffer.resize(kept + more, 0);
        self.ids.read_into(self.read, &mut self.buffer[kept..])?;
        self.read += more as u64;
        if self.buffer.len() < needed {
            return Err(TablesError::Malformed("the gathered ids end early"));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<&[u8], TablesError> {
        self.fill(4)?;
        let word = self.buffer[self.at..][..4].try_into().expect("4 bytes");
        let length = u32::from_le_bytes(word) as usize;
        self.at += 4;
        self.fill(length)?;
        self.at += length;
        Ok(&self.buffer[self.at - length..self.at])
    }
}

fn seal(
    grid: &Grid,
    mut by_row: Sorted,
    kind: IdKind,
    cache: &Cache,
) -> Result<Vec<Sealed>, TablesError> {
    let mut files = Vec::new();
    for block in grid.block_ids() {
        let mut writer = DictionaryWriter::create(cache, kind)?;
        for row in grid.row_ids(block) {
            let (key, id) = by_row
                .next_record()?
                .ok_or(TablesError::Malformed("a row has no id"))?;
            if key != u128::from(row) {
                return Err(TablesError::Malformed("a row has no id"));
            }
            writer.push(typed_id(kind, id)?)?;
        }
        files.push(writer.seal()?);
    }
    Ok(files)
}

pub(crate) fn typed_id(kind: IdKind, id: &[u8]) -> Result<IdRef<'_>, TablesError> {
    let number = || {
        id.try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| TablesError::Malformed("an integer id of another length"))
    };
    Ok(match kind {
        IdKind::Int64 => IdRef::Int64(i64_from_ordered(number()?)),
        IdKind::UInt64 => IdRef::UInt64(number()?),
        IdKind::Utf8 => IdRef::Utf8(
            str::from_utf8(id).map_err(|_| TablesError::Malformed("a text id is not UTF-8"))?,
        ),
        IdKind::Binary => IdRef::Binary(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{IdRun, IdRunPlace};
    use std::collections::{BTreeMap, BTreeSet};
    use store::IoMode;
    use store::dictionary::Dictionary;
    use tensor::Mode;

    /// Runs of texts; the counts follow from the text and the run.
    fn runs() -> Vec<BTreeMap<String, u32>> {
        let run = |run: u64| {
            let ids: BTreeSet<u64> = (0..9000).map(|i| (i * i * 7 + run * i) % 30_011).collect();
            ids.into_iter()
                .map(|id| (format!("id-{id}"), 1 + (id + run) as u32 % 5))
                .collect()
        };
        (0..4).map(run).collect()
    }

    fn build(runs: &[BTreeMap<String, u32>], cache: &Cache, budget_bytes: u64) -> Built {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for run in runs {
            let start = bytes.len() as u64;
            for (id, count) in run {
                bytes.extend_from_slice(&count.to_le_bytes());
                bytes.extend_from_slice(&(id.len() as u32).to_le_bytes());
                bytes.extend_from_slice(id.as_bytes());
            }
            let run = IdRun {
                ids: run.len() as u32,
                bytes: bytes.len() as u64 - start,
            };
            places.push(IdRunPlace {
                split: 0,
                start,
                run,
            });
        }
        let op = DictionaryOp {
            mode: Mode::User,
            column: "u".into(),
            id_kind: IdKind::Utf8,
            runs: places,
            interactions: 1_000_000,
        };
        let mut build = DictionaryBuild::new(op, cache, budget_bytes).unwrap();
        loop {
            let wants = build.wants();
            if wants.is_empty() {
                return build.finish().unwrap();
            }
            for (run, _, range) in wants {
                build.feed(run, &bytes[range.start as usize..range.end as usize]);
            }
            build.advance().unwrap();
        }
    }

    #[test]
    fn rows_follow_counts_in_any_budget() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), 1 << 30, IoMode::Pread).unwrap();
        let runs = runs();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (id, count) in runs.iter().flatten() {
            *counts.entry(id).or_default() += u64::from(*count);
        }
        let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let grid = Grid::deal(ranked.len() as u64, 1_000_000).unwrap();
        let rows: BTreeMap<&str, u32> = ranked
            .iter()
            .enumerate()
            .map(|(rank, (id, _))| (*id, grid.dealt_row(rank as u64)))
            .collect();
        for budget_bytes in [1 << 30, 1] {
            let built = build(&runs, &cache, budget_bytes);
            assert_eq!(matches!(built.rows, Spooled::File(_)), budget_bytes == 1);
            assert_eq!(built.report.ids, ranked.len() as u64);
            let mut at = 0;
            for run in &runs {
                let mut found = vec![0; run.len()];
                built.rows.read_numbers(at, &mut found).unwrap();
                at += run.len() as u64;
                assert!(
                    run.keys()
                        .zip(found)
                        .all(|(id, row)| rows[id.as_str()] == row)
                );
            }
            for (block, file) in grid.block_ids().zip(&built.files) {
                let dictionary = Dictionary::open(file.clone()).unwrap();
                for (row, id) in grid.row_ids(block).zip(dictionary.iter()) {
                    let Some(IdRef::Utf8(id)) = id else {
                        panic!("a text id")
                    };
                    assert_eq!(rows[id], row);
                }
            }
        }
    }
}
