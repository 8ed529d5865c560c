//! Segments as a Parquet file: the id of each row, its segment, its distance to the centre, and its silhouette where it is of the sample.

use crate::out::OutError;
use crate::out::columns::Columns;
use crate::out::ids::Ids;
use arrow::array::{Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Rows of a batch: what is held of ids at once.
const BATCH_ROWS: usize = 1 << 16;

/// A file in the making. Dropped without [`SegmentsWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct SegmentsWriter {
    columns: Columns,
    ids: Ids,
}

impl SegmentsWriter {
    /// Begins the file.
    ///
    /// # Errors
    /// Where its directory cannot be written.
    pub fn create(path: &Path, ids: Ids) -> Result<Self, OutError> {
        let fields = vec![
            Field::new(ids.column(), ids.data_type(), false),
            Field::new("segment", DataType::UInt32, true),
            Field::new("distance", DataType::Float32, true),
            Field::new("silhouette", DataType::Float32, true),
        ];
        let columns = Columns::create(path, fields)?;
        Ok(SegmentsWriter { columns, ids })
    }

    /// Adds rows by their ids: of each a segment, none where it is `none`, and a distance (f32), a word each.
    ///
    /// # Errors
    /// Where a row is not of the data set or the file cannot be written.
    pub fn write(
        &mut self,
        rows: Range<u32>,
        labels: &[u32],
        none: u32,
        silhouettes: &BTreeMap<u32, f32>,
    ) -> Result<(), OutError> {
        let starts = rows.clone().step_by(BATCH_ROWS);
        for (labels, first) in labels.chunks(2 * BATCH_ROWS).zip(starts) {
            let rows = first..first + (labels.len() / 2) as u32;
            let segment = |label: &[u32]| (label[0] != none).then_some(label[0]);
            let labels = labels.chunks_exact(2);
            let segments: UInt32Array = labels.clone().map(segment).collect();
            let distances: Float32Array = labels
                .map(|label| segment(label).map(|_| f32::from_bits(label[1])))
                .collect();
            let known: Float32Array = rows
                .clone()
                .map(|row| silhouettes.get(&row).copied())
                .collect();
            self.columns.write(vec![
                self.ids.array(rows)?,
                Arc::new(segments),
                Arc::new(distances),
                Arc::new(known),
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
