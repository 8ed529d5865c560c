//! From the ids of an update to rows: those that are known keep theirs, new ones are appended, in the order of ids, each to the
//! block that has most room. The dictionaries of blocks that grow are sealed anew; a row never changes its id.

use crate::dictionary::typed_id;
use crate::edges::{Matching, Next};
use crate::error::TablesError;
use crate::merge::{IdMerge, IdSink};
use crate::op::{GrowOp, GrowReport};
use crate::sort::{Sorted, Sorter};
use crate::spool::{Slots, Spooled};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use store::dictionary::{Dictionary, DictionaryWriter};
use store::{Cache, Sealed};
use tensor::IdKind;

/// Numbers of a run that are read or written together.
const NUMBERS: usize = 1 << 10;

/// What a [`Growing`] lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The dictionaries of these blocks.
    Dictionaries(Range<usize>),
    /// Bytes of the ids of some splits, in this order.
    Ids(Vec<(u32, Range<u64>)>),
}

/// Ids on their way to rows.
pub struct Growing {
    op: GrowOp,
    cache: Cache,
    budget_bytes: u64,
    phase: Phase,
    /// The runs that bytes were asked for.
    asked: Vec<usize>,
}

enum Phase {
    /// Known ids are looked up.
    Match(Box<Matching>),
    /// All runs are merged, and new ids get rows.
    Merge(Box<IdMerge>, Box<Appended>),
    /// Dictionaries are written.
    Write(Box<Writing>),
}

/// What became of all ids.
pub struct Grown {
    /// The rows of all runs' ids, one run after the other, as u32.
    pub rows: Spooled,
    /// The dictionaries of the blocks that grew.
    pub files: Vec<Sealed>,
    /// The partial.
    pub report: GrowReport,
}

impl Growing {
    /// Nothing looked up. `dictionaries` are the bytes of each block's.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new(
        op: GrowOp,
        dictionaries: &[u64],
        cache: &Cache,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let matching = Matching::new(op.known.clone(), dictionaries, cache, budget_bytes)?;
        Ok(Growing {
            op,
            cache: cache.clone(),
            budget_bytes,
            phase: Phase::Match(Box::new(matching)),
            asked: Vec::new(),
        })
    }

    /// What to fetch next; `None` where all is done.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn wants(&mut self) -> Result<Option<Lack>, TablesError> {
        if let Phase::Match(matching) = &mut self.phase {
            match matching.wants() {
                Some(Next::Dictionaries(blocks)) => return Ok(Some(Lack::Dictionaries(blocks))),
                Some(Next::Ids { split, bytes }) => {
                    return Ok(Some(Lack::Ids(vec![(split, bytes)])));
                }
                None => self.merge()?,
            }
        }
        if let Phase::Merge(merge, _) = &mut self.phase {
            let wants = merge.wants();
            if !wants.is_empty() {
                self.asked = wants.iter().map(|(run, ..)| *run).collect();
                let ids = wants.into_iter().map(|(_, split, bytes)| (split, bytes));
                return Ok(Some(Lack::Ids(ids.collect())));
            }
            self.write()?;
        }
        let Phase::Write(writing) = &self.phase else {
            return Err(TablesError::Malformed("ids that are not merged"));
        };
        let next = writing.grown.first();
        Ok(next.map(|&block| Lack::Dictionaries(block as usize..block as usize + 1)))
    }

    fn merge(&mut self) -> Result<(), TablesError> {
        let op = &self.op;
        let fixed = matches!(op.known.id_kind, IdKind::Int64 | IdKind::UInt64);
        let merge = IdMerge::new(&op.known.runs, fixed, self.budget_bytes / 4);
        let ids = op.known.runs.iter().map(|place| u64::from(place.run.ids));
        let slots = Slots::zeroed(&self.cache, ids.clone().sum(), self.budget_bytes / 8)?;
        let mut at = 0;
        let runs = ids.map(|ids| {
            let run = Run::new(at..at + ids);
            at += ids;
            run
        });
        let runs = runs.collect();
        let rooms = op.known.rows.iter().zip(0..);
        let appended = |numbers: Spooled| Appended {
            numbers,
            rows: slots,
            runs,
            rooms: rooms.map(|(&rows, block)| Reverse((rows, block))).collect(),
            op: op.clone(),
            new: Sorter::new(&self.cache, self.budget_bytes / 4),
            open: None,
        };
        let nothing = Phase::Write(Box::default());
        let Phase::Match(matching) = std::mem::replace(&mut self.phase, nothing) else {
            return Err(TablesError::Malformed("ids are merged twice"));
        };
        self.phase = Phase::Merge(Box::new(merge), Box::new(appended(matching.finish()?)));
        Ok(())
    }

    fn write(&mut self) -> Result<(), TablesError> {
        let nothing = Phase::Write(Box::default());
        let Phase::Merge(_, appended) = std::mem::replace(&mut self.phase, nothing) else {
            return Err(TablesError::Malformed("dictionaries are written twice"));
        };
        self.phase = Phase::Write(Box::new(appended.finish()?));
        Ok(())
    }

    /// Takes the dictionaries that were asked for.
    ///
    /// # Errors
    /// Where one is damaged, or the disk is full.
    pub fn know(&mut self, mut dictionaries: Vec<Sealed>) -> Result<(), TablesError> {
        match (&mut self.phase, dictionaries.pop()) {
            (Phase::Match(matching), last) => {
                dictionaries.extend(last);
                matching.know(dictionaries)
            }
            (Phase::Write(writing), Some(file)) => writing.append(&self.op, file, &self.cache),
            _ => Err(TablesError::Malformed(
                "a dictionary that was not asked for",
            )),
        }
    }

    /// Takes the bytes that were asked for, in their order.
    ///
    /// # Errors
    /// Where they are not those of runs, the blocks are full, or the disk is.
    pub fn feed(&mut self, bytes: &[&[u8]]) -> Result<(), TablesError> {
        match &mut self.phase {
            Phase::Match(matching) => bytes.iter().try_for_each(|bytes| matching.feed(bytes)),
            Phase::Merge(merge, appended) => {
                for (&run, bytes) in self.asked.iter().zip(bytes) {
                    merge.feed(run, bytes);
                }
                merge.advance(&mut **appended)
            }
            Phase::Write(_) => Err(TablesError::Malformed("ids that were not asked for")),
        }
    }

    /// What became of all ids, once nothing is wanted.
    ///
    /// # Errors
    /// Where something is wanted yet.
    pub fn finish(self) -> Result<Grown, TablesError> {
        match self.phase {
            Phase::Write(writing) if writing.grown.is_empty() => writing.done(),
            _ => Err(TablesError::Malformed("ids that have no rows yet")),
        }
    }
}

/// One run of ids: what was found of them, and their rows that are not put yet.
struct Run {
    /// Numbers that were not read, by their place among those of all runs.
    unread: Range<u64>,
    /// Those that were, from the last to the first.
    read: Vec<u32>,
    /// The place of the first row that waits.
    at: u64,
    waiting: Vec<u32>,
}

impl Run {
    fn new(places: Range<u64>) -> Self {
        Run {
            at: places.start,
            unread: places,
            read: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// What was found of the next id: one more than its row, or 0.
    fn next(&mut self, numbers: &Spooled) -> Result<u32, TablesError> {
        if self.read.is_empty() {
            let count = (self.unread.end - self.unread.start).min(NUMBERS as u64);
            self.read.resize(count as usize, 0);
            numbers.read_numbers(self.unread.start, &mut self.read)?;
            self.read.reverse();
            self.unread.start += count;
        }
        let next = self.read.pop();
        next.ok_or(TablesError::Malformed("a run has more ids than it said"))
    }

    fn flush(&mut self, rows: &mut Slots) -> Result<(), TablesError> {
        rows.put(self.at, &self.waiting)?;
        self.at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// New ids on their way to rows; they come in their order.
struct Appended {
    op: GrowOp,
    /// What was found of the ids of all runs.
    numbers: Spooled,
    rows: Slots,
    runs: Vec<Run>,
    /// Rows of each block, the emptiest block first, of equals the first.
    rooms: BinaryHeap<Reverse<(u32, u32)>>,
    /// New ids by row.
    new: Sorter,
    /// The row of the open id, where it is new.
    open: Option<u32>,
}

impl Appended {
    /// The next row of the block with most room.
    fn append(&mut self) -> Result<u32, TablesError> {
        let full = || TablesError::Full {
            column: self.op.column.clone(),
            room: self.op.room * self.op.known.rows.len() as u64,
        };
        let mut emptiest = self.rooms.peek_mut().ok_or_else(full)?;
        let Reverse((rows, block)) = &mut *emptiest;
        if u64::from(*rows) >= self.op.room {
            return Err(full());
        }
        let row = (u64::from(*block) << self.op.known.stride_log2) + u64::from(*rows);
        *rows += 1;
        Ok(row as u32)
    }

    fn finish(mut self) -> Result<Writing, TablesError> {
        for run in &mut self.runs {
            run.flush(&mut self.rows)?;
        }
        let mut rows = self.op.known.rows.clone();
        for &Reverse((count, block)) in &self.rooms {
            rows[block as usize] = count;
        }
        let grown = (0..).zip(rows.iter().zip(&self.op.known.rows));
        let grown = grown.filter(|(_, (now, before))| now > before);
        Ok(Writing {
            grown: grown.map(|(block, _)| block).collect(),
            ids: Some(self.new.sorted()?),
            rows: Some(self.rows.finish()?),
            files: Vec::new(),
            report: GrowReport {
                rows,
                dictionaries: Vec::new(),
            },
        })
    }
}

impl IdSink for Appended {
    fn member(&mut self, run: usize, _local: u32, _ordinal: u64) -> Result<(), TablesError> {
        let row = match (self.runs[run].next(&self.numbers)?, self.open) {
            (0, Some(row)) => row,
            (0, None) => {
                let row = self.append()?;
                self.open = Some(row);
                row
            }
            (number, _) => number - 1,
        };
        let of_run = &mut self.runs[run];
        of_run.waiting.push(row);
        if of_run.waiting.len() == NUMBERS {
            of_run.flush(&mut self.rows)?;
        }
        Ok(())
    }

    fn id(&mut self, id: &[u8], _count: u64) -> Result<(), TablesError> {
        match self.open.take() {
            Some(row) => self.new.push(row.into(), id),
            None => Ok(()),
        }
    }
}

/// Dictionaries in the course of being sealed anew.
#[derive(Default)]
struct Writing {
    /// Blocks that have new rows and no new dictionary yet.
    grown: Vec<u32>,
    /// New ids in the order of rows.
    ids: Option<Sorted>,
    rows: Option<Spooled>,
    files: Vec<Sealed>,
    report: GrowReport,
}

impl Writing {
    /// Seals the dictionary of the first block that lacks one: what it was, and the new ids.
    fn append(&mut self, op: &GrowOp, file: Sealed, cache: &Cache) -> Result<(), TablesError> {
        const AMISS: TablesError = TablesError::Malformed("a new row has no id");
        let (block, kind) = (self.grown.remove(0), op.known.id_kind);
        let known = Dictionary::open(file)?;
        let before = op.known.rows[block as usize];
        if known.rows() != before as usize || known.kind() != kind {
            return Err(TablesError::Malformed("a dictionary of other rows"));
        }
        let mut writer = DictionaryWriter::create(cache, kind)?;
        known.iter().try_for_each(|id| match id {
            Some(id) => writer.push(id),
            None => writer.push_erased(),
        })?;
        let ids = self.ids.as_mut().ok_or(AMISS)?;
        for local in before..self.report.rows[block as usize] {
            let row = (u64::from(block) << op.known.stride_log2) + u64::from(local);
            match ids.next_record()? {
                Some((key, id)) if key == u128::from(row) => writer.push(typed_id(kind, id)?)?,
                _ => return Err(AMISS),
            }
        }
        let file = writer.seal()?;
        self.report.dictionaries.push((block, file.reference()));
        self.files.push(file);
        Ok(())
    }

    fn done(self) -> Result<Grown, TablesError> {
        Ok(Grown {
            rows: self
                .rows
                .ok_or(TablesError::Malformed("ids that have no rows yet"))?,
            files: self.files,
            report: self.report,
        })
    }
}
