//! Original ids of a mode, by row id, and columns of them.

use crate::out::OutError;
use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::dictionary::{Dictionary, IdRef};
use tensor::{Grid, IdKind};

/// The dictionaries of all blocks of a mode.
#[derive(Clone, Debug)]
pub struct Ids {
    column: String,
    kind: IdKind,
    grid: Grid,
    blocks: Vec<Dictionary>,
}

impl Ids {
    /// Of the blocks of a grid, in order; `column` is the name in the input.
    ///
    /// # Errors
    /// Where a dictionary does not fit the grid.
    pub fn new(
        column: String,
        kind: IdKind,
        grid: Grid,
        blocks: Vec<Dictionary>,
    ) -> Result<Self, OutError> {
        let fits = |(rows, block): (&u32, &Dictionary)| {
            block.rows() == *rows as usize && block.kind() == kind
        };
        if grid.rows.len() == blocks.len() && grid.rows.iter().zip(&blocks).all(fits) {
            Ok(Ids {
                column,
                kind,
                grid,
                blocks,
            })
        } else {
            Err(OutError::Dictionary { column })
        }
    }

    /// The same ids in a column of another name.
    #[must_use]
    pub fn named(self, column: String) -> Self {
        Ids { column, ..self }
    }

    /// The name of the column in the input, or the one that it was given.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The type of the column in files: integers keep their sign at 64 bits.
    pub fn data_type(&self) -> DataType {
        match self.kind {
            IdKind::Int64 => DataType::Int64,
            IdKind::UInt64 => DataType::UInt64,
            IdKind::Utf8 => DataType::Utf8,
            IdKind::Binary => DataType::Binary,
        }
    }

    /// Whether the id of a row in use was erased.
    pub fn is_erased(&self, row: u32) -> bool {
        let (block, local) = self.grid.split(row);
        let block = self.blocks.get(block.0 as usize);
        block.is_some_and(|block| block.is_erased(local))
    }

    /// The original id of a row; `None` where no row is in use, or its id was erased.
    pub fn get(&self, row: u32) -> Option<IdRef<'_>> {
        let (block, local) = self.grid.split(row);
        self.blocks.get(block.0 as usize)?.get(local)
    }

    /// An id as people write it: bytes in hexadecimals, text as it is.
    pub fn shown(&self, row: u32) -> Option<String> {
        Some(match self.get(row)? {
            IdRef::Int64(id) => id.to_string(),
            IdRef::UInt64(id) => id.to_string(),
            IdRef::Utf8(id) => id.to_owned(),
            IdRef::Binary(id) => hexadecimal(id),
        })
    }

    /// The rows of ids as [`Ids::shown`] gives them.
    ///
    /// # Errors
    /// An id that no row has.
    pub fn rows_of<'a>(&self, shown: &'a [String]) -> Result<Vec<u32>, &'a str> {
        let mut found: BTreeMap<String, Option<u32>> = BTreeMap::new();
        found.extend(shown.iter().map(|id| (id.clone(), None)));
        for row in self
            .grid
            .block_ids()
            .flat_map(|block| self.grid.row_ids(block))
        {
            if let Some(place) = self.shown(row).and_then(|id| found.get_mut(&id)) {
                *place = Some(row);
            }
        }
        let row = |id: &'a String| found[id].ok_or(id.as_str());
        shown.iter().map(row).collect()
    }

    /// A column of the ids of these rows.
    ///
    /// # Errors
    /// [`OutError::Row`] where a row is not in use.
    pub fn array(&self, rows: impl Iterator<Item = u32>) -> Result<ArrayRef, OutError> {
        let ids = rows.map(|row| {
            self.get(row).ok_or_else(|| OutError::Row {
                column: self.column.clone(),
                row,
            })
        });
        Ok(match self.kind {
            IdKind::Int64 => {
                let column: Result<Int64Array, OutError> = ids.map(|id| id.map(int64)).collect();
                Arc::new(column?)
            }
            IdKind::UInt64 => {
                let column: Result<UInt64Array, OutError> = ids.map(|id| id.map(uint64)).collect();
                Arc::new(column?)
            }
            IdKind::Utf8 => {
                let column: Result<StringArray, OutError> = ids.map(|id| id.map(utf8)).collect();
                Arc::new(column?)
            }
            IdKind::Binary => {
                let column: Result<BinaryArray, OutError> = ids.map(|id| id.map(binary)).collect();
                Arc::new(column?)
            }
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
    digits.collect()
}

// Dictionaries hold ids of one kind, checked when `Ids` was made: the other kinds do not occur.

fn int64(id: IdRef<'_>) -> Option<i64> {
    if let IdRef::Int64(id) = id {
        Some(id)
    } else {
        None
    }
}

fn uint64(id: IdRef<'_>) -> Option<u64> {
    if let IdRef::UInt64(id) = id {
        Some(id)
    } else {
        None
    }
}

fn utf8(id: IdRef<'_>) -> Option<&str> {
    if let IdRef::Utf8(id) = id {
        Some(id)
    } else {
        None
    }
}

fn binary(id: IdRef<'_>) -> Option<&[u8]> {
    if let IdRef::Binary(id) = id {
        Some(id)
    } else {
        None
    }
}
