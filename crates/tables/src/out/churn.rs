//! Churn as a Parquet file: the id of each user who is there, how likely he is to stop, and what that is read from.

use crate::out::OutError;
use crate::out::columns::Columns;
use crate::out::ids::Ids;
use arrow::array::{Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::path::Path;
use std::sync::Arc;

/// Rows of a batch: what is held of ids at once.
const BATCH_ROWS: usize = 1 << 16;

/// A user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChurnRow {
    /// The row.
    pub row: u32,
    /// The probability that he buys nothing within the horizon.
    pub score: f32,
    /// Bins since the last with a purchase.
    pub recency: u32,
    /// Bins with a purchase.
    pub frequency: u32,
    /// Interactions.
    pub interactions: u32,
    /// ln((1 + interactions of the last horizon) / (1 + those of the one before)).
    pub trend: f32,
}

/// A file in the making. Dropped without [`ChurnWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct ChurnWriter {
    columns: Columns,
    ids: Ids,
}

impl ChurnWriter {
    /// Begins the file.
    ///
    /// # Errors
    /// Where its directory cannot be written.
    pub fn create(path: &Path, ids: Ids) -> Result<Self, OutError> {
        let fields = vec![
            Field::new(ids.column(), ids.data_type(), false),
            Field::new("score", DataType::Float32, false),
            Field::new("recency", DataType::UInt32, false),
            Field::new("frequency", DataType::UInt32, false),
            Field::new("interactions", DataType::UInt32, false),
            Field::new("trend", DataType::Float32, false),
        ];
        let columns = Columns::create(path, fields)?;
        Ok(ChurnWriter { columns, ids })
    }

    /// Adds users.
    ///
    /// # Errors
    /// Where a row is not of the data set or the file cannot be written.
    pub fn write(&mut self, rows: &[ChurnRow]) -> Result<(), OutError> {
        for rows in rows.chunks(BATCH_ROWS) {
            let counts = |of: fn(&ChurnRow) -> u32| {
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(of)))
            };
            let numbers = |of: fn(&ChurnRow) -> f32| {
                Arc::new(Float32Array::from_iter_values(rows.iter().map(of)))
            };
            self.columns.write(vec![
                self.ids.array(rows.iter().map(|of| of.row))?,
                numbers(|of| of.score),
                counts(|of| of.recency),
                counts(|of| of.frequency),
                counts(|of| of.interactions),
                numbers(|of| of.trend),
            ])?;
        }
        Ok(())
    }

    /// Makes the file durable under its name; gives its rows.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    pub fn finish(self) -> Result<u64, OutError> {
        self.columns.finish()
    }
}
