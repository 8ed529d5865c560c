//! Some splits of tables of attributes, one after the other, as batches of rows.

use super::Column;
use crate::error::TablesError;
use crate::op::AttributeSplit;
use crate::reader::GroupReader;
use crate::survey::{arrow_metadata, parse_footer};
use arrow::array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;
use std::ops::Range;

/// Memory that reading needs besides the compressed column chunks of a row group.
pub const TABLE_FIXED_BYTES: u64 = 16 << 20;

/// Splits in the course of being read.
pub struct TableScan {
    id: String,
    columns: Vec<Column>,
    splits: Vec<AttributeSplit>,
    /// The split under way.
    at: usize,
    reader: Option<GroupReader>,
    /// The row in its file of the next batch.
    row: u64,
}

/// Rows that were decoded.
pub struct Batch {
    /// The split they are of.
    pub split: usize,
    /// The row in its file of the first.
    pub first_row: u64,
    /// Their ids.
    pub ids: ArrayRef,
    /// The columns in use.
    pub columns: Vec<ArrayRef>,
}

impl TableScan {
    /// Nothing read yet.
    pub fn new(id: &str, columns: &[Column], splits: &[AttributeSplit]) -> Self {
        TableScan {
            id: id.to_owned(),
            columns: columns.to_vec(),
            splits: splits.to_vec(),
            at: 0,
            reader: None,
            row: splits.first().map_or(0, |split| split.split.first_row),
        }
    }

    /// The most memory that any of the splits takes.
    pub fn bytes(splits: &[AttributeSplit]) -> u64 {
        let largest = splits.iter().map(|split| split.split.row_group_bytes_max);
        largest.max().unwrap_or(0) + TABLE_FIXED_BYTES
    }

    /// What to fetch next: the number of an input, and ranges of it; `None` where everything was read.
    pub fn wants(&self) -> Option<(u32, Vec<Range<u64>>)> {
        let split = self.splits.get(self.at)?;
        let ranges = match &self.reader {
            Some(reader) => reader.wants().to_vec(),
            None => vec![split.input.footer.clone()],
        };
        Some((split.split.file, ranges))
    }

    /// Takes what [`TableScan::wants`] named and hands over the rows that it holds.
    ///
    /// # Errors
    /// Where a page is damaged, or `each` says so.
    pub fn take(
        &mut self,
        mut data: Vec<Bytes>,
        mut each: impl FnMut(Batch) -> Result<(), TablesError>,
    ) -> Result<(), TablesError> {
        let mut reader = if let Some(mut reader) = self.reader.take() {
            reader.push(data)?;
            reader
        } else {
            let footer = data.pop().ok_or(TablesError::Malformed("no footer came"))?;
            self.opened(&footer)?
        };
        reader.open()?;
        while reader.is_open() {
            while let Some(batch) = reader.next_batch()? {
                let rows = batch.num_rows() as u64;
                each(self.batch(&batch)?)?;
                self.row += rows;
            }
            reader.open()?;
        }
        if reader.is_finished() {
            self.at += 1;
            self.row = self
                .splits
                .get(self.at)
                .map_or(0, |split| split.split.first_row);
        } else {
            self.reader = Some(reader);
        }
        Ok(())
    }

    fn opened(&self, footer: &[u8]) -> Result<GroupReader, TablesError> {
        let split = &self.splits[self.at];
        let file = &split.input.name;
        let metadata = arrow_metadata(file, parse_footer(file, footer)?)?;
        let groups = split.split.row_groups.clone();
        if groups.end as usize > metadata.metadata().num_row_groups() {
            let reason = "it has changed since it was surveyed";
            return Err(TablesError::corrupt(file, reason));
        }
        let names: Vec<&str> = std::iter::once(self.id.as_str())
            .chain(self.columns.iter().map(|column| column.name.as_str()))
            .collect();
        GroupReader::new(file, &metadata, groups, &names)
    }

    fn batch(&self, batch: &RecordBatch) -> Result<Batch, TablesError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .cloned()
                .ok_or(TablesError::Malformed("a decoded column is gone"))
        };
        let columns = self.columns.iter().map(|of| column(&of.name));
        Ok(Batch {
            split: self.at,
            first_row: self.row,
            ids: column(&self.id)?,
            columns: columns.collect::<Result<_, _>>()?,
        })
    }
}

/// Calls `sink` with every name of a column, `None` for null.
///
/// # Errors
/// Where the decoder gave another type than the schema promised.
pub(super) fn names(
    array: &ArrayRef,
    mut sink: impl FnMut(Option<&str>),
) -> Result<(), TablesError> {
    use arrow::array::AsArray;
    let texts = crate::columns::cast_to(array, &arrow::datatypes::DataType::Utf8)?;
    texts.as_string::<i32>().iter().for_each(&mut sink);
    debug_assert_eq!(texts.len(), array.len());
    Ok(())
}
