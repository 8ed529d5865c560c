//! The partitions of one block as one: what was ingested and what updates added, merged in canonical order.
//!
//! **Invariant:** the values of equal interactions are combined two at a time, the older one first, in f64, and each result is
//! rounded to the f32 that a partition holds. So what is merged here is what a compaction would have sealed, whenever that
//! was.

use crate::combine::Combined;
use crate::error::TablesError;
use store::Sealed;
use store::partition::{Partition, Piece};
use tensor::{Duplicates, Small};

/// Bytes of memory per interaction of a piece, where files are read by positioned reads: column, time, context, value.
const INTERACTION_BYTES: u64 = 16;

/// The open partitions of a block.
pub(crate) struct Staged {
    /// The oldest first.
    sources: Vec<Partition>,
}

/// Row, column, time and context.
type Key = (u32, u32, Small<u32>);

impl Staged {
    /// Opens the partitions of a block, the oldest first.
    ///
    /// # Errors
    /// Where one is damaged, or they are not of one block.
    pub(crate) fn open(files: Vec<Sealed>) -> Result<Self, TablesError> {
        let sources: Vec<Partition> = files
            .into_iter()
            .map(Partition::open)
            .collect::<Result<_, _>>()?;
        let first = sources
            .first()
            .ok_or(TablesError::Malformed("a block without a partition"))?;
        let (rows, has) = ((first.orientation(), first.block()), first.has());
        let fits =
            |other: &Partition| (other.orientation(), other.block()) == rows && other.has() == has;
        if !sources.iter().all(fits) {
            return Err(TablesError::Malformed("partitions of other blocks"));
        }
        Ok(Staged { sources })
    }

    /// The most rows that one of them has: an older one does not know of later rows.
    pub(crate) fn rows(&self) -> u32 {
        let rows = self.sources.iter().map(Partition::rows);
        rows.max().unwrap_or(0)
    }

    /// Whether one of so many last ones has interactions of a row.
    pub(crate) fn last_have(&self, sources: u32, row: u32) -> bool {
        let mut last = self.sources.iter().rev().take(sources as usize);
        last.any(|source| {
            let ends = source.offsets().get(row as usize..row as usize + 2);
            ends.is_some_and(|ends| ends[0] < ends[1])
        })
    }

    /// Whether interactions have times, and contexts.
    pub(crate) fn has(&self) -> Small<bool> {
        self.sources[0].has()
    }

    /// Hands over every interaction in canonical order, equal ones combined: row, column, time and context (0 where there are
    /// none), value.
    ///
    /// # Errors
    /// Where a file is damaged, a combined value overflows, or `take` fails.
    pub(crate) fn each(
        &self,
        rule: Duplicates,
        budget_bytes: u64,
        mut take: impl FnMut(u32, u32, Small<u32>, f32) -> Result<(), TablesError>,
    ) -> Result<(), TablesError> {
        let share = budget_bytes / (2 * INTERACTION_BYTES * self.sources.len() as u64);
        let length = share.clamp(1 << 10, 1 << 20);
        let cursor = |partition| Cursor::new(partition, length);
        let mut cursors: Vec<Cursor<'_>> =
            self.sources.iter().map(cursor).collect::<Result<_, _>>()?;
        while let Some((least, (key, mut value))) = least(&cursors) {
            cursors[least].step()?;
            let mut rival: Option<Key> = None;
            for (number, cursor) in cursors.iter_mut().enumerate() {
                if number == least {
                    continue;
                }
                if cursor.key() == Some(key) {
                    value = combined(rule, value, cursor.value)?;
                    cursor.step()?;
                }
                let next = cursor.key();
                rival = rival.into_iter().chain(next).min();
            }
            take(key.0, key.1, key.2, value)?;
            // The others have nothing before their first.
            let alone = &mut cursors[least];
            while let Some(key) = alone
                .key()
                .filter(|key| rival.is_none_or(|rival| *key < rival))
            {
                take(key.0, key.1, key.2, alone.value)?;
                alone.step()?;
            }
        }
        Ok(())
    }
}

fn combined(rule: Duplicates, older: f32, newer: f32) -> Result<f32, TablesError> {
    let mut combined = Combined::new(rule, older.into());
    combined.add(newer.into());
    let value = combined.value();
    if value.is_infinite() {
        let column = "value".to_owned();
        return Err(TablesError::ValueOverflow { column });
    }
    Ok(value)
}

/// The cursor with the least key, of equals the oldest.
fn least(cursors: &[Cursor<'_>]) -> Option<(usize, (Key, f32))> {
    let open = cursors.iter().enumerate();
    let open = open.filter_map(|(number, cursor)| Some((number, (cursor.key()?, cursor.value))));
    open.min_by_key(|(_, (key, _))| *key)
}

/// Where the reading of a partition stands.
struct Cursor<'a> {
    partition: &'a Partition,
    offsets: &'a [u64],
    /// Interactions of a piece.
    length: u64,
    piece: Option<Piece>,
    /// The open interaction; the number of all where there is none.
    at: u64,
    row: usize,
    column: u32,
    small: Small<u32>,
    value: f32,
}

impl<'a> Cursor<'a> {
    fn new(partition: &'a Partition, length: u64) -> Result<Self, TablesError> {
        let mut cursor = Cursor {
            partition,
            offsets: partition.offsets(),
            length,
            piece: None,
            at: 0,
            row: 0,
            column: 0,
            small: Small::default(),
            value: 0.0,
        };
        cursor.open()?;
        Ok(cursor)
    }

    fn key(&self) -> Option<Key> {
        (self.at < self.partition.interactions()).then_some((
            self.row as u32,
            self.column,
            self.small,
        ))
    }

    fn step(&mut self) -> Result<(), TablesError> {
        self.at += 1;
        self.open()
    }

    fn open(&mut self) -> Result<(), TablesError> {
        let inside = |piece: &Piece| self.at < piece.base + piece.columns.len() as u64;
        if !self.piece.as_ref().is_some_and(inside) {
            self.turn()?;
        }
        let Some(piece) = &self.piece else {
            return Ok(());
        };
        while self.offsets[self.row + 1] <= self.at {
            self.row += 1;
        }
        let place = (self.at - piece.base) as usize;
        self.column = piece.columns[place];
        self.small = piece.small_ids().map(|ids| ids.map_or(0, |ids| ids[place]));
        self.value = piece.values.as_values().at(place);
        Ok(())
    }

    /// Drops the piece and takes the next one, if there is one.
    fn turn(&mut self) -> Result<(), TablesError> {
        if let Some(piece) = self.piece.take() {
            self.partition.drop_behind(piece.base..self.at);
        }
        let end = self.partition.interactions();
        if self.at < end {
            let range = self.at..end.min(self.at + self.length);
            self.piece = Some(self.partition.piece(range)?);
        }
        Ok(())
    }
}
