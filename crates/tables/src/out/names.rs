//! How rows of a mode are named in what is written.

use crate::out::OutError;
use crate::out::ids::Ids;
use arrow::array::{ArrayRef, TimestampSecondArray, UInt32Array};
use arrow::datatypes::{DataType, TimeUnit};
use std::sync::Arc;
use tensor::{TimeAxis, TimeBin};

/// The names of a mode's rows.
#[derive(Clone, Debug)]
pub enum Names {
    /// Original ids.
    Ids(Box<Ids>),
    /// The moments at which bins begin, of UTC.
    Bins(TimeAxis),
    /// Their numbers, in a column of this name.
    Numbers(String),
}

impl Names {
    /// Of bins: by their moments where they have such.
    pub fn of_bins(time: Option<&TimeAxis>) -> Self {
        match time {
            Some(time) if time.bin != TimeBin::None => Names::Bins(time.clone()),
            _ => Names::Numbers("bin".to_owned()),
        }
    }

    /// The name and the type of their column.
    pub fn column(&self) -> (String, DataType) {
        match self {
            Names::Ids(ids) => (ids.column().to_owned(), ids.data_type()),
            Names::Bins(time) => {
                let utc = Some(Arc::from("UTC"));
                let data_type = DataType::Timestamp(TimeUnit::Second, utc);
                (time.column.clone(), data_type)
            }
            Names::Numbers(column) => (column.clone(), DataType::UInt32),
        }
    }

    /// Whether a row has one: the ids of users who were forgotten are erased.
    pub fn has(&self, row: u32) -> bool {
        match self {
            Names::Ids(ids) => !ids.is_erased(row),
            Names::Bins(_) | Names::Numbers(_) => true,
        }
    }

    /// The column of these rows.
    ///
    /// # Errors
    /// [`OutError::Row`] where a row is not in use.
    pub fn array(&self, rows: impl Iterator<Item = u32>) -> Result<ArrayRef, OutError> {
        Ok(match self {
            Names::Ids(ids) => ids.array(rows)?,
            Names::Bins(time) => {
                let start = |row: u32| time.bin.start(time.first_bin + i64::from(row));
                let starts = rows.map(|row| start(row).unwrap_or_default());
                let starts = TimestampSecondArray::from_iter_values(starts);
                Arc::new(starts.with_timezone("UTC"))
            }
            Names::Numbers(_) => Arc::new(UInt32Array::from_iter_values(rows)),
        })
    }
}
