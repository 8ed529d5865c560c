//! Rows of small modes that have no dictionary, by what a column says of them: bins of time by a moment in them or by their
//! number, the places of a cycle by theirs.

use crate::columns::{TimeKind, Times, data_type, time_kind};
use crate::error::TablesError;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use tensor::TimeBin;

/// Rows that are numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The column of the data's input.
    pub column: String,
    /// How many.
    pub rows: u32,
    /// Of bins, their width and the absolute number of the first.
    pub bins: Option<(TimeBin, i64)>,
}

impl Numbered {
    /// How a column tells rows.
    ///
    /// # Errors
    /// Where it does not.
    pub fn kind(
        &self,
        file: &str,
        schema: &Schema,
        role: &'static str,
        column: &str,
    ) -> Result<TimeKind, TablesError> {
        let found = data_type(file, schema, role, column)?;
        let known = time_kind(found);
        let fits = |kind: &TimeKind| *kind == TimeKind::Integer || self.bins.is_some();
        known.filter(fits).ok_or_else(|| TablesError::WrongType {
            file: file.to_owned(),
            column: column.to_owned(),
            role,
            found: found.to_string(),
            expected: if self.bins.is_some() {
                "a date, a timestamp or the number of a bin"
            } else {
                "an integer, the place in the cycle from 0"
            },
        })
    }

    /// The row of each entry of a column; `None` where the data have no such row. Integers are numbers of rows from 0, but for
    /// bins that the data have as integers: these keep their own.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn of(&self, column: &ArrayRef) -> Result<Vec<Option<u32>>, TablesError> {
        let is_number = time_kind(column.data_type()) == Some(TimeKind::Integer);
        let times = Times::of(column)?;
        let place = |row: usize| {
            let number = times.at(row)?;
            let place = match self.bins {
                Some((bin, first)) if !is_number => bin.index(number).checked_sub(first)?,
                Some((TimeBin::None, first)) => number.checked_sub(first)?,
                _ => number,
            };
            u32::try_from(place).ok().filter(|&place| place < self.rows)
        };
        Ok((0..column.len()).map(place).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int32Array, TimestampMillisecondArray};
    use std::sync::Arc;

    #[test]
    fn bins_are_found_by_moment_or_number() {
        let weeks = Numbered {
            column: "day".into(),
            rows: 3,
            bins: Some((TimeBin::Week, 1)),
        };
        let places = |of: &Numbered, column: ArrayRef| of.of(&column).unwrap();
        // 1970-01-05 was the Monday of the week of number 1.
        let days = Date32Array::from(vec![Some(3), Some(4), Some(10), Some(24), Some(25), None]);
        let expected = [None, Some(0), Some(0), Some(2), None, None];
        assert_eq!(places(&weeks, Arc::new(days)), expected);
        let moments = TimestampMillisecondArray::from(vec![4 * 86_400_000, 11 * 86_400_000 + 1]);
        assert_eq!(places(&weeks, Arc::new(moments)), [Some(0), Some(1)]);
        let numbers = || Arc::new(Int32Array::from(vec![-1, 0, 2, 3]));
        assert_eq!(places(&weeks, numbers()), [None, Some(0), Some(2), None]);
        let plain = Numbered {
            bins: Some((TimeBin::None, -1)),
            ..weeks.clone()
        };
        assert_eq!(places(&plain, numbers()), [Some(0), Some(1), None, None]);
        let cycle = Numbered {
            bins: None,
            ..weeks
        };
        assert_eq!(places(&cycle, numbers()), [None, Some(0), Some(2), None]);
    }
}
