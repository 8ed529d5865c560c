//! Where original ids stand in some blocks.

use crate::columns::{i64_from_ordered, integers, texts};
use crate::error::TablesError;
use arrow::array::{Array, ArrayRef};
use std::cmp::Ordering;
use store::Sealed;
use store::dictionary::{Dictionary, IdRef};
use tensor::IdKind;

/// The rows of some blocks by their ids.
pub struct Places {
    kind: IdKind,
    dictionaries: Vec<Dictionary>,
    /// Every row as (block, local), in the order of ids.
    rows: Vec<(u32, u32)>,
}

impl Places {
    /// Bytes for so many rows of blocks whose dictionaries have so many bytes.
    pub const fn bytes(rows: u64, dictionaries: u64) -> u64 {
        8 * rows + dictionaries
    }

    /// Of the blocks' dictionaries.
    ///
    /// # Errors
    /// Where a dictionary is damaged.
    pub fn new(kind: IdKind, dictionaries: Vec<Sealed>) -> Result<Self, TablesError> {
        let dictionaries: Vec<Dictionary> = dictionaries
            .into_iter()
            .map(Dictionary::open)
            .collect::<Result<_, _>>()?;
        let places = |(block, dictionary): (usize, &Dictionary)| {
            (0..dictionary.rows() as u32).map(move |local| (block as u32, local))
        };
        let mut rows: Vec<(u32, u32)> = dictionaries.iter().enumerate().flat_map(places).collect();
        let id = |&(block, local): &(u32, u32)| dictionaries[block as usize].get(local);
        rows.sort_unstable_by(|a, b| id(a).cmp(&id(b)));
        Ok(Places {
            kind,
            dictionaries,
            rows,
        })
    }

    /// The rows of each block.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        self.dictionaries.iter().map(Dictionary::rows)
    }

    /// The id of a row, for people.
    pub fn id(&self, block: u32, local: u32) -> String {
        let id = self.dictionaries[block as usize].get(local);
        id.map_or_else(String::new, |id| id.to_string())
    }

    /// The place of each of some ids; `None` where the blocks do not have it.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn of(&self, ids: &ArrayRef) -> Result<Vec<Option<(u32, u32)>>, TablesError> {
        let mut places = Vec::with_capacity(ids.len());
        match self.kind {
            IdKind::Int64 => integers(ids, IdKind::Int64, |id| {
                let id = id.map(|id| IdRef::Int64(i64_from_ordered(id)));
                places.push(id.and_then(|id| self.find(id)));
            })?,
            IdKind::UInt64 => integers(ids, IdKind::UInt64, |id| {
                places.push(id.and_then(|id| self.find(IdRef::UInt64(id))));
            })?,
            IdKind::Utf8 => texts(ids, |id| {
                let id = id.and_then(|id| str::from_utf8(id).ok());
                places.push(id.and_then(|id| self.find(IdRef::Utf8(id))));
            })?,
            IdKind::Binary => texts(ids, |id| {
                places.push(id.and_then(|id| self.find(IdRef::Binary(id))));
            })?,
        }
        Ok(places)
    }

    /// The place of an id.
    pub(crate) fn find(&self, id: IdRef<'_>) -> Option<(u32, u32)> {
        let compare = |&(block, local): &(u32, u32)| {
            let other = self.dictionaries[block as usize].get(local);
            other.map_or(Ordering::Less, |other| other.cmp(&id))
        };
        let found = self.rows.binary_search_by(compare).ok()?;
        Some(self.rows[found])
    }
}
