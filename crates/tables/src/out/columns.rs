//! Plain columns as a Parquet file, batch by batch.

use crate::out::unfinished::Unfinished;
use crate::out::{OutError, properties};
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A file in the making. Dropped without [`Columns::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Columns {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    unfinished: Unfinished,
    rows: u64,
}

impl Columns {
    /// Begins the file beside its final name; the directory is made where it is missing. The first field is an id as the input names it:
    /// others of its name get an underscore.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub(super) fn create(path: &Path, fields: Vec<Field>) -> Result<Self, OutError> {
        let (unfinished, file) = Unfinished::create(path)?;
        let id = fields.first().map(|field| field.name().clone());
        let free = |(place, field): (usize, Field)| {
            if place > 0 && Some(field.name()) == id.as_ref() {
                let name = format!("{}_", field.name());
                field.with_name(name)
            } else {
                field
            }
        };
        let fields: Vec<Field> = fields.into_iter().enumerate().map(free).collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()));
        let writer = writer.map_err(|error| failed(path, error))?;
        Ok(Columns {
            writer,
            schema,
            unfinished,
            rows: 0,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), OutError> {
        let path = self.unfinished.path();
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(|error| failed(path, error.into()))?;
        self.rows += batch.num_rows() as u64;
        let written = self.writer.write(&batch);
        written.map_err(|error| failed(path, error))
    }

    /// Adds a word to the file's metadata.
    pub(super) fn note(&mut self, word: &str, value: String) {
        let note = KeyValue::new(word.to_owned(), value);
        self.writer.append_key_value_metadata(note);
    }

    /// Makes the file durable under its name; gives its rows.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    pub(super) fn finish(self) -> Result<u64, OutError> {
        let file = self.writer.into_inner();
        let file = file.map_err(|error| failed(self.unfinished.path(), error))?;
        self.unfinished.finish(&file)?;
        Ok(self.rows)
    }
}

fn failed(path: &Path, error: ParquetError) -> OutError {
    OutError::Parquet {
        path: path.to_owned(),
        error,
    }
}
