//! The generated matrix as the Parquet file that a user would bring.

use crate::matrix::Matrix;
use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Writes columns `user`, `product` (int64) and `value` (float32) in row groups of at most `group` rows.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(matrix: &Matrix, path: &Path, group: usize) -> Result<(), ParquetError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("user", DataType::Int64, false),
        Field::new("product", DataType::Int64, false),
        Field::new("value", DataType::Float32, false),
    ]));
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = File::create(path)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let mut user = 0;
    for start in (0..matrix.ids.len()).step_by(group) {
        let range = start..matrix.ids.len().min(start + group);
        let users = range.clone().map(|position| {
            while matrix.offsets[user + 1] <= position {
                user += 1;
            }
            user as i64
        });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(users.collect::<Int64Array>()),
            Arc::new(
                matrix.ids[range.clone()]
                    .iter()
                    .map(|&id| i64::from(id))
                    .collect::<Int64Array>(),
            ),
            Arc::new(Float32Array::from(matrix.values[range].to_vec())),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    Ok(())
}
