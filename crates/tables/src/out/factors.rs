//! Rows of factors as files that other programs read: Parquet and Arrow with ids beside lists of one length, or a NumPy array and
//! its ids in a file of their own.

use crate::out::unfinished::Unfinished;
use crate::out::{OutError, properties};
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorsFormat {
    /// Parquet.
    Parquet,
    /// The file format of Arrow IPC (Feather 2), not compressed: it can be mapped.
    Arrow,
    /// NumPy's, version 1.0, little-endian f32 row after row.
    Npy,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The name and the type of the column of ids.
    pub id: (String, DataType),
    /// Rows.
    pub rows: u64,
    /// Factors of a row.
    pub columns: u32,
    /// Kept in the schema of Parquet and Arrow.
    pub metadata: Vec<(String, String)>,
}

enum Encoder {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<File>>),
    Npy {
        numbers: BufWriter<File>,
        ids: Box<ArrowWriter<File>>,
        ids_unfinished: Unfinished,
    },
}

/// A file in the making. Dropped without [`FactorsWriter::finish`], it leaves nothing behind.
pub struct FactorsWriter {
    encoder: Encoder,
    schema: Arc<Schema>,
    columns: u32,
    unfinished: Unfinished,
}

impl FactorsWriter {
    /// Begins `NAME.parquet`, `NAME.arrow`, or `NAME.npy` and `NAME_ids.parquet` of a folder.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn create(
        folder: &Path,
        name: &str,
        format: FactorsFormat,
        shape: Shape,
    ) -> Result<Self, OutError> {
        let columns = shape.columns;
        let extension = match format {
            FactorsFormat::Parquet => "parquet",
            FactorsFormat::Arrow => "arrow",
            FactorsFormat::Npy => "npy",
        };
        let path = folder.join(format!("{name}.{extension}"));
        let (unfinished, mut file) = Unfinished::create(&path)?;
        let (id, data_type) = shape.id;
        let list = if id == "factors" {
            "factors_"
        } else {
            "factors"
        };
        let id = Field::new(id, data_type, false);
        let schema = match format {
            FactorsFormat::Npy => Schema::new(vec![id]),
            FactorsFormat::Parquet | FactorsFormat::Arrow => {
                let entry = Arc::new(Field::new_list_field(DataType::Float32, false));
                let list_type = DataType::FixedSizeList(entry, columns as i32);
                Schema::new(vec![id, Field::new(list, list_type, false)])
            }
        };
        let metadata: HashMap<String, String> = shape.metadata.into_iter().collect();
        let schema = Arc::new(schema.with_metadata(metadata));
        let parquet = |path: &Path, file: File| {
            let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()));
            let writer = writer.map_err(|error| OutError::Parquet {
                path: path.to_owned(),
                error,
            });
            writer.map(Box::new)
        };
        let encoder = match format {
            FactorsFormat::Parquet => Encoder::Parquet(parquet(&path, file)?),
            FactorsFormat::Arrow => {
                let writer = FileWriter::try_new(file, &schema);
                Encoder::Arrow(Box::new(writer.map_err(|error| arrow(&path, error))?))
            }
            FactorsFormat::Npy => {
                let ids_path = ids_path(folder, name);
                let (ids_unfinished, ids_file) = Unfinished::create(&ids_path)?;
                let head = npy_head(shape.rows, columns);
                file.write_all(&head).map_err(|error| io(&path, error))?;
                Encoder::Npy {
                    numbers: BufWriter::new(file),
                    ids: parquet(&ids_path, ids_file)?,
                    ids_unfinished,
                }
            }
        };
        Ok(FactorsWriter {
            encoder,
            schema,
            columns,
            unfinished,
        })
    }

    /// Adds rows: their ids, and their factors row after row.
    ///
    /// # Errors
    /// Where the file cannot be written.
    ///
    /// # Panics
    /// Where there are not `columns` factors an id.
    pub fn write(&mut self, ids: ArrayRef, factors: Vec<f32>) -> Result<(), OutError> {
        let rows = factors.len() / self.columns as usize;
        assert!(
            rows == ids.len() && rows * self.columns as usize == factors.len(),
            "a row of factors an id"
        );
        let path = self.unfinished.path();
        let parquet = |error| OutError::Parquet {
            path: path.to_owned(),
            error,
        };
        if let Encoder::Npy {
            numbers,
            ids: writer,
            ..
        } = &mut self.encoder
        {
            let ids = RecordBatch::try_new(self.schema.clone(), vec![ids]);
            let ids = ids.map_err(|error| arrow(path, error))?;
            writer.write(&ids).map_err(parquet)?;
            let little: Vec<u8> = factors.iter().flat_map(|x| x.to_le_bytes()).collect();
            return numbers.write_all(&little).map_err(|error| io(path, error));
        }
        let entry = Arc::new(Field::new_list_field(DataType::Float32, false));
        let numbers = Arc::new(Float32Array::from(factors));
        let lists = FixedSizeListArray::try_new(entry, self.columns as i32, numbers, None);
        let batch = lists.and_then(|lists| {
            RecordBatch::try_new(self.schema.clone(), vec![ids, Arc::new(lists)])
        });
        let batch = batch.map_err(|error| arrow(path, error))?;
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(&batch).map_err(parquet),
            Encoder::Arrow(writer) => writer.write(&batch).map_err(|error| arrow(path, error)),
            Encoder::Npy { .. } => Ok(()),
        }
    }

    /// Makes the file durable under its name; tells it, and that of its ids where they have one of their own.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    pub fn finish(self) -> Result<Vec<PathBuf>, OutError> {
        let path = self.unfinished.path().to_owned();
        let mut paths = vec![path.clone()];
        let parquet = |error| OutError::Parquet {
            path: path.clone(),
            error,
        };
        let file = match self.encoder {
            Encoder::Parquet(writer) => writer.into_inner().map_err(parquet)?,
            Encoder::Arrow(writer) => {
                let file = writer.into_inner();
                file.map_err(|error| arrow(&path, error))?
            }
            Encoder::Npy {
                numbers,
                ids,
                ids_unfinished,
            } => {
                let ids = ids.into_inner().map_err(parquet)?;
                paths.push(ids_unfinished.path().to_owned());
                ids_unfinished.finish(&ids)?;
                let file = numbers.into_inner();
                file.map_err(|error| io(&path, error.into_error()))?
            }
        };
        self.unfinished.finish(&file)?;
        Ok(paths)
    }
}

fn ids_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}_ids.parquet"))
}

fn io(path: &Path, error: std::io::Error) -> OutError {
    OutError::Io {
        path: path.to_owned(),
        error,
    }
}

fn arrow(path: &Path, error: ArrowError) -> OutError {
    OutError::Arrow {
        path: path.to_owned(),
        error,
    }
}

/// The header of the format, padded so that numbers begin at a multiple of 64 bytes.
fn npy_head(rows: u64, columns: u32) -> Vec<u8> {
    let mut said =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let ends = (10 + said.len() + 1).next_multiple_of(64);
    said.push_str(&" ".repeat(ends - 10 - said.len() - 1));
    said.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((said.len() as u16).to_le_bytes());
    head.extend(said.as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_multiple_of_64_bytes() {
        for rows in [0, 7, 1_234_567_890_123] {
            let head = npy_head(rows, 64);
            assert!(head.len().is_multiple_of(64));
            let said = u16::from_le_bytes([head[8], head[9]]) as usize;
            assert_eq!(10 + said, head.len());
            assert_eq!(head.last(), Some(&b'\n'));
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        for format in [
            FactorsFormat::Parquet,
            FactorsFormat::Arrow,
            FactorsFormat::Npy,
        ] {
            let shape = Shape {
                id: ("id".to_owned(), DataType::UInt32),
                rows: 1,
                columns: 2,
                metadata: Vec::new(),
            };
            let mut writer = FactorsWriter::create(folder.path(), "user", format, shape).unwrap();
            let ids = Arc::new(arrow::array::UInt32Array::from(vec![3]));
            writer.write(ids, vec![1.0, 2.0]).unwrap();
            drop(writer);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
