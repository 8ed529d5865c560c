//! Arrow batches in and out of Parquet, for a program that holds us and has its tables in memory: what it brings is read where it
//! lies, or staged as the file that an ingest reads; what a verb wrote is read back whole.
//!
//! **Invariant:** nothing is decided here: a column that is missing or of the wrong type is staged, so that the ingest says what it
//! says of any file.

use crate::out::OutError;
use crate::resident::{GROUP_ROWS, Resident};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What became of a stream.
pub enum Taken {
    /// It stays in memory, and is read there.
    Resident(Resident),
    /// It stands in the file.
    Staged,
}

/// Takes the named columns of a stream: into memory where they need no more than `room_bytes` there, and no more than copying to be
/// read as Parquet; else into a file, as [`stage`] does. Gives the rows, too.
///
/// # Errors
/// Where the stream ends in an error, or the file cannot be written; nothing is left of it then.
pub fn take(
    path: &Path,
    mut stream: impl RecordBatchReader,
    columns: &[String],
    room_bytes: u64,
    mut heard: impl FnMut(u64) -> bool,
) -> Result<(Taken, u64), OutError> {
    let arrow = |error: ArrowError| OutError::Arrow {
        path: path.to_owned(),
        error,
    };
    let schema = stream.schema();
    if !Resident::takes(&schema, columns) {
        return Ok((Taken::Staged, stage(path, stream, columns, heard)?));
    }
    let places: Result<Vec<usize>, ArrowError> =
        columns.iter().map(|name| schema.index_of(name)).collect();
    let places = places.map_err(arrow)?;
    let schema = Arc::new(schema.project(&places).map_err(arrow)?);
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().transpose().map_err(arrow)? {
        let batch = batch.project(&places).map_err(arrow)?;
        rows += batch.num_rows() as u64;
        bytes += batch.columns().iter().map(bytes_of).sum::<u64>();
        batches.push(batch);
        if bytes > room_bytes {
            let held = batches.into_iter().map(Ok);
            let rest = stream.map(|batch| batch.and_then(|batch| batch.project(&places)));
            let all = RecordBatchIterator::new(held.chain(rest), schema);
            return Ok((Taken::Staged, stage(path, all, columns, heard)?));
        }
        if !heard(rows) {
            return Err(stopped(path));
        }
    }
    let resident = Resident::new(&schema, &batches).map_err(|error| OutError::Parquet {
        path: path.to_owned(),
        error,
    })?;
    Ok((Taken::Resident(resident), rows))
}

/// What an array says of memory, of which its neighbours may have a part.
fn bytes_of(array: &ArrayRef) -> u64 {
    let bytes = array.to_data().get_slice_memory_size();
    bytes.unwrap_or_else(|_| array.get_array_memory_size()) as u64
}

fn stopped(path: &Path) -> OutError {
    let error = io::Error::new(io::ErrorKind::Interrupted, "stopped on request");
    let path = path.to_owned();
    OutError::Io { path, error }
}

/// Writes the named columns of a stream into a Parquet file, batch by batch, and gives the rows. `heard` is told the rows so far and
/// says whether to go on.
///
/// Where a named column is missing the file gets all columns and no row: the ingest then tells which one, and which there are.
///
/// # Errors
/// Where the stream ends in an error, or the file cannot be written; nothing is left of it then.
pub fn stage(
    path: &Path,
    stream: impl RecordBatchReader,
    columns: &[String],
    mut heard: impl FnMut(u64) -> bool,
) -> Result<u64, OutError> {
    let done = staged(path, stream, columns, &mut heard);
    if done.is_err() {
        // The error is what matters; the folder is a temporary one.
        let _ = std::fs::remove_file(path);
    }
    done
}

fn staged(
    path: &Path,
    stream: impl RecordBatchReader,
    columns: &[String],
    heard: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, OutError> {
    let given = stream.schema();
    let places: Option<Vec<usize>> = columns
        .iter()
        .map(|column| given.index_of(column).ok())
        .collect();
    let complete = places.is_some();
    let places = places.unwrap_or_else(|| (0..given.fields().len()).collect());
    let fields: Vec<Field> = places.iter().map(|&at| kept(given.field(at))).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let file = File::create(path).map_err(|error| OutError::Io {
        path: path.to_owned(),
        error,
    })?;
    let parquet = |error: ParquetError| OutError::Parquet {
        path: path.to_owned(),
        error,
    };
    let arrow = |error: ArrowError| OutError::Arrow {
        path: path.to_owned(),
        error,
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut writer =
        ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(parquet)?;
    let mut rows = 0;
    for batch in stream {
        if !complete {
            break;
        }
        let batch = batch.map_err(arrow)?;
        let columns: Result<Vec<ArrayRef>, ArrowError> = places
            .iter()
            .zip(schema.fields())
            .map(|(&at, field)| cast_to(batch.column(at), field.data_type()))
            .collect();
        let batch = RecordBatch::try_new(schema.clone(), columns.map_err(arrow)?).map_err(arrow)?;
        writer.write(&batch).map_err(parquet)?;
        rows += batch.num_rows() as u64;
        if !heard(rows) {
            return Err(stopped(path));
        }
    }
    writer.close().map_err(parquet)?;
    Ok(rows)
}

/// The field as Parquet holds it with its meaning: it knows no seconds, and dates in milliseconds only as numbers.
fn kept(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

fn cast_to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        Ok(Arc::clone(array))
    } else {
        arrow::compute::cast(array, data_type)
    }
}

/// All batches of a Parquet file, with its schema.
///
/// # Errors
/// Where it cannot be read or is no Parquet file.
pub fn load(path: &Path) -> Result<(SchemaRef, Vec<RecordBatch>), OutError> {
    let parquet = |error: ParquetError| OutError::Parquet {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(|error| OutError::Io {
        path: path.to_owned(),
        error,
    })?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let schema = Arc::clone(reader.schema());
    let batches: Result<Vec<RecordBatch>, ArrowError> = reader.build().map_err(parquet)?.collect();
    let batches = batches.map_err(|error| OutError::Arrow {
        path: path.to_owned(),
        error,
    })?;
    Ok((schema, batches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, TimestampSecondArray};
    use arrow::datatypes::{Int64Type, TimestampMillisecondType};

    fn purchases() -> (SchemaRef, Vec<Result<RecordBatch, ArrowError>>) {
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        let schema = Arc::new(Schema::new(vec![
            Field::new("at", seconds, false),
            Field::new("more", DataType::Int64, true),
            Field::new("user", DataType::Int64, false),
        ]));
        let batch = |from: i64| {
            let user: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 3));
            let more: ArrayRef = Arc::new(Int64Array::from(vec![None; 3]));
            let at: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(from..from + 3));
            RecordBatch::try_new(schema.clone(), vec![at, more, user])
        };
        (schema.clone(), vec![batch(0), batch(3)])
    }

    #[test]
    fn named_columns_come_back_with_their_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staged.parquet");
        let (schema, batches) = purchases();
        let mut told = Vec::new();
        let stream = RecordBatchIterator::new(batches, schema);
        let columns = ["user".to_owned(), "at".to_owned()];
        let rows = stage(&path, stream, &columns, |rows| {
            told.push(rows);
            true
        });
        assert_eq!((rows.unwrap(), told), (6, vec![3, 6]));
        let (schema, batches) = load(&path).unwrap();
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["user", "at"]);
        let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
        let users = batch.column(0).as_primitive::<Int64Type>();
        assert_eq!(users.values(), &[0, 1, 2, 3, 4, 5]);
        let at = batch.column(1).as_primitive::<TimestampMillisecondType>();
        assert_eq!(at.values(), &[0, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(at.null_count(), 0);
    }

    #[test]
    fn a_missing_column_is_left_to_the_ingest_and_a_stop_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staged.parquet");
        let (schema, batches) = purchases();
        let stream = RecordBatchIterator::new(batches, schema);
        assert_eq!(
            stage(&path, stream, &["usr".to_owned()], |_| true).unwrap(),
            0
        );
        assert_eq!(load(&path).unwrap().0.fields().len(), 3);
        let (schema, batches) = purchases();
        let stream = RecordBatchIterator::new(batches, schema);
        let stopped = stage(&path, stream, &["user".to_owned()], |_| false).unwrap_err();
        assert!(
            stopped.to_string().contains("stopped on request"),
            "{stopped}"
        );
        assert!(!path.exists());
    }

    #[test]
    fn what_has_room_is_read_in_memory_and_the_rest_is_staged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staged.parquet");
        let columns = ["user".to_owned(), "at".to_owned()];
        let taken = |columns: &[String], room_bytes| {
            let (schema, batches) = purchases();
            let stream = RecordBatchIterator::new(batches, schema);
            take(&path, stream, columns, room_bytes, |_| true).unwrap()
        };
        // Two batches of three rows of two numbers of eight bytes.
        let (found, rows) = taken(&columns, 96);
        assert!(matches!(found, Taken::Resident(_)) && rows == 6 && !path.exists());
        let (found, rows) = taken(&columns, 95);
        assert!(matches!(found, Taken::Staged) && rows == 6);
        let (schema, batches) = load(&path).unwrap();
        let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
        let users = batch.column(0).as_primitive::<Int64Type>();
        assert_eq!(users.values(), &[0, 1, 2, 3, 4, 5]);
        // Which columns there are, the file tells.
        let (found, rows) = taken(&["usr".to_owned()], u64::MAX);
        assert!(matches!(found, Taken::Staged) && rows == 0);
        assert_eq!(load(&path).unwrap().0.fields().len(), 3);
    }
}
