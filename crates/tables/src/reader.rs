//! Some columns of a file, row group by row group, through byte ranges that somebody else fetched.

use crate::error::TablesError;
use crate::survey::{chunk_ranges, leaf_of};
use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tensor::ReadAt;

/// Rows decoded at a time.
pub const BATCH_ROWS: usize = 16 << 10;

/// The columns of some row groups in the course of their decoding.
pub struct GroupReader {
    file: String,
    decoder: ParquetPushDecoder,
    row_group: Option<ParquetRecordBatchReader>,
    wants: Vec<Range<u64>>,
    finished: bool,
}

impl GroupReader {
    /// Nothing decoded yet.
    ///
    /// # Errors
    /// Where a column that the survey saw is gone.
    pub fn new(
        file: &str,
        metadata: &ArrowReaderMetadata,
        row_groups: Range<u32>,
        columns: &[&str],
    ) -> Result<Self, TablesError> {
        let leaves = leaves(metadata, columns)?;
        let decoder = ParquetPushDecoderBuilder::new_with_metadata(metadata.clone())
            .with_projection(ProjectionMask::leaves(metadata.parquet_schema(), leaves))
            .with_row_groups(row_groups.map(|group| group as usize).collect())
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| TablesError::corrupt(file, error))?;
        Ok(GroupReader {
            file: file.to_owned(),
            decoder,
            row_group: None,
            wants: Vec::new(),
            finished: false,
        })
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The ranges that the next row group lacks.
    pub fn wants(&self) -> &[Range<u64>] {
        &self.wants
    }

    /// Whether a row group is open.
    pub fn is_open(&self) -> bool {
        self.row_group.is_some()
    }

    /// Whether there is no row group any more.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Opens the next row group or says which bytes it lacks.
    ///
    /// # Errors
    /// Where the metadata are damaged.
    pub fn open(&mut self) -> Result<(), TablesError> {
        if self.row_group.is_some() || self.finished || !self.wants.is_empty() {
            return Ok(());
        }
        let next = self.decoder.try_next_reader();
        match next.map_err(|error| TablesError::corrupt(&self.file, error))? {
            DecodeResult::NeedsData(ranges) => self.wants = ranges,
            DecodeResult::Data(reader) => self.row_group = Some(reader),
            DecodeResult::Finished => self.finished = true,
        }
        Ok(())
    }

    /// Takes the bytes of [`GroupReader::wants`], in their order.
    ///
    /// # Errors
    /// Where they are of another length.
    pub fn push(&mut self, data: Vec<Bytes>) -> Result<(), TablesError> {
        let ranges = std::mem::take(&mut self.wants);
        self.decoder
            .push_ranges(ranges, data)
            .map_err(|error| TablesError::corrupt(&self.file, error))
    }

    /// The next batch of the open row group; `None` ends it.
    ///
    /// # Errors
    /// Where a page is damaged.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, TablesError> {
        // The decoder trusts lengths that a damaged page gives, and then panics where we want an error.
        let row_group = AssertUnwindSafe(&mut self.row_group);
        let batch = catch_unwind(move || { row_group }.as_mut().and_then(Iterator::next));
        let Ok(batch) = batch else {
            self.row_group = None;
            return Err(TablesError::corrupt(&self.file, "a page cannot be decoded"));
        };
        match batch {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(TablesError::corrupt(&self.file, error)),
            None => {
                self.row_group = None;
                Ok(None)
            }
        }
    }

    /// The same of the only column.
    ///
    /// # Errors
    /// Where a page is damaged.
    pub fn next_column(&mut self) -> Result<Option<ArrayRef>, TablesError> {
        Ok(self.next_batch()?.map(|batch| batch.column(0).clone()))
    }
}

/// The places of columns among those of the file.
fn leaves(metadata: &ArrowReaderMetadata, columns: &[&str]) -> Result<Vec<usize>, TablesError> {
    let leaf = |column: &&str| {
        leaf_of(metadata, column).ok_or(TablesError::Malformed(
            "a column that the survey saw is gone",
        ))
    };
    columns.iter().map(leaf).collect()
}

/// Decodes columns of a small file from its beginning to its end.
///
/// # Errors
/// Where the file cannot be read or is damaged, or `take` refuses a batch.
pub(crate) fn each_batch(
    (name, file): (&str, &dyn ReadAt),
    metadata: &ArrowReaderMetadata,
    columns: &[&str],
    mut take: impl FnMut(&RecordBatch) -> Result<(), TablesError>,
) -> Result<(), TablesError> {
    let footer = metadata.metadata();
    // The decoder trusts the footer as to where columns lie.
    chunk_ranges(name, file.len(), footer, &leaves(metadata, columns)?, &[])?;
    let groups = 0..footer.num_row_groups() as u32;
    let mut reader = GroupReader::new(name, metadata, groups, columns)?;
    reader.open()?;
    while !reader.is_finished() {
        let ranges = reader.wants().iter().cloned();
        let data: Vec<Bytes> = ranges
            .map(|range| fetched(name, file, range).map(Bytes::from))
            .collect::<Result<_, _>>()?;
        reader.push(data)?;
        reader.open()?;
        while let Some(batch) = reader.next_batch()? {
            take(&batch)?;
        }
        reader.open()?;
    }
    Ok(())
}

/// Bytes of a file that it has.
pub(crate) fn fetched(
    name: &str,
    file: &dyn ReadAt,
    range: Range<u64>,
) -> Result<Vec<u8>, TablesError> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let read = file.read_at(range.start, &mut bytes);
    read.map_err(|source| TablesError::Read {
        file: name.to_owned(),
        source,
    })?;
    Ok(bytes)
}
