//! Columns of numbers as Parquet files of ids, names, dates and reals: what is generated, as a user would bring it.

use crate::out::OutError;
use crate::out::unfinished::Unfinished;
use arrow::array::{
    ArrayRef, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tensor::Digest;

/// Rows of a batch: what is held in Arrow's form at once.
const BATCH_ROWS: usize = 1 << 16;
/// Rows of a row group: short enough that times tell groups apart.
const GROUP_ROWS: usize = 1 << 18;
/// Values of a column up to which a dictionary is worth its while.
const DICTIONARY_VALUES: u32 = 1 << 16;

/// How numbers stand in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As themselves, 64 bits wide; so many different ones at most.
    Number(u32),
    /// As text: a prefix and the number in so many digits.
    Name(&'static str, usize),
    /// As themselves, 32 bits wide.
    Whole,
    /// As days after this one (days since 1970).
    Date(i32),
    /// 32 bits wide.
    Real,
    /// 64 bits wide.
    Double,
    /// Lists of so many.
    Reals(usize),
}

/// The numbers of a column.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Of `Number`, `Name`, `Whole`.
    Words(&'a [u32]),
    /// Of `Date`.
    Days(&'a [u16]),
    /// Of `Whole`.
    Bytes(&'a [u8]),
    /// Of `Real` and `Reals`.
    Reals(&'a [f32]),
    /// Of `Double`.
    Doubles(&'a [f64]),
}

/// A file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub digest: Digest,
}

/// A file in the making. Dropped without [`GeneratedWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct GeneratedWriter {
    writer: ArrowWriter<Hashing>,
    forms: Vec<Form>,
    schema: Arc<Schema>,
    unfinished: Unfinished,
}

impl GeneratedWriter {
    /// Begins a file of these columns beside its final name.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub fn create(path: &Path, columns: &[(&str, Form)]) -> Result<Self, OutError> {
        let (unfinished, file) = Unfinished::create(path)?;
        let fields = columns
            .iter()
            .map(|(name, form)| Field::new(*name, form.data_type(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("strata ", env!("CARGO_PKG_VERSION")).to_owned());
        for (name, form) in columns {
            let path = ColumnPath::from(*name);
            match form {
                Form::Number(values) if *values > DICTIONARY_VALUES => {
                    properties = properties
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
                }
                Form::Double | Form::Real => {
                    properties = properties.set_column_dictionary_enabled(path, false);
                }
                _ => {}
            }
        }
        let hashing = Hashing {
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        let writer = ArrowWriter::try_new(hashing, schema.clone(), Some(properties.build()))
            .map_err(|error| encoding(unfinished.path(), error))?;
        Ok(GeneratedWriter {
            writer,
            forms: columns.iter().map(|(_, form)| *form).collect(),
            schema,
            unfinished,
        })
    }

    /// Adds rows, column by column.
    ///
    /// # Errors
    /// Where the file cannot be written, or columns differ in length.
    pub fn write(&mut self, columns: &[Values<'_>]) -> Result<(), OutError> {
        let rows = match (columns.first(), self.forms.first()) {
            (Some(values), Some(form)) => values.len() / form.width(),
            _ => 0,
        };
        for start in (0..rows).step_by(BATCH_ROWS) {
            let range = start..rows.min(start + BATCH_ROWS);
            let arrays = self.forms.iter().zip(columns);
            let arrays =
                arrays.map(|(form, values)| form.array(values.slice(&range, form.width())));
            let batch = arrays
                .collect::<Result<Vec<ArrayRef>, ParquetError>>()
                .and_then(|arrays| Ok(RecordBatch::try_new(self.schema.clone(), arrays)?));
            batch
                .and_then(|batch| self.writer.write(&batch))
                .map_err(|error| encoding(self.unfinished.path(), error))?;
        }
        Ok(())
    }

    /// Makes the file durable under its name.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    pub fn finish(self) -> Result<Written, OutError> {
        let path = self.unfinished.path();
        let hashing = self
            .writer
            .into_inner()
            .map_err(|error| encoding(path, error))?;
        self.unfinished.finish(&hashing.file)?;
        Ok(Written {
            bytes: hashing.bytes,
            digest: Digest(*hashing.hasher.finalize().as_bytes()),
        })
    }
}

/// A full disk is told as such, not as a fault of the encoder.
fn encoding(path: &Path, error: ParquetError) -> OutError {
    let path = path.to_owned();
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => OutError::Io {
                path,
                error: *error,
            },
            Err(source) => OutError::Parquet {
                path,
                error: ParquetError::External(source),
            },
        },
        error => OutError::Parquet { path, error },
    }
}

/// Length and hash of a file that lies there.
///
/// # Errors
/// Where it cannot be read.
pub fn written(path: &Path) -> Result<Written, OutError> {
    let read = || -> io::Result<Written> {
        let mut hasher = blake3::Hasher::new();
        let bytes = hasher.update_reader(File::open(path)?)?.count();
        Ok(Written {
            bytes,
            digest: Digest(*hasher.finalize().as_bytes()),
        })
    };
    read().map_err(|error| OutError::Io {
        path: path.to_owned(),
        error,
    })
}

impl Form {
    fn data_type(self) -> DataType {
        match self {
            Form::Number(_) => DataType::Int64,
            Form::Name(..) => DataType::Utf8,
            Form::Whole => DataType::Int32,
            Form::Date(_) => DataType::Date32,
            Form::Real => DataType::Float32,
            Form::Double => DataType::Float64,
            Form::Reals(_) => DataType::List(item()),
        }
    }

    fn width(self) -> usize {
        match self {
            Form::Reals(width) => width,
            _ => 1,
        }
    }

    fn array(self, values: Values<'_>) -> Result<ArrayRef, ParquetError> {
        Ok(match (self, values) {
            (Form::Number(_), Values::Words(numbers)) => Arc::new(Int64Array::from_iter_values(
                numbers.iter().map(|&number| i64::from(number)),
            )),
            (Form::Name(prefix, digits), Values::Words(numbers)) => names(prefix, digits, numbers),
            (Form::Whole, Values::Words(numbers)) => Arc::new(Int32Array::from_iter_values(
                numbers.iter().map(|&number| number as i32),
            )),
            (Form::Whole, Values::Bytes(numbers)) => Arc::new(Int32Array::from_iter_values(
                numbers.iter().map(|&number| i32::from(number)),
            )),
            (Form::Date(first), Values::Days(days)) => Arc::new(Date32Array::from_iter_values(
                days.iter().map(|&day| first + i32::from(day)),
            )),
            (Form::Real, Values::Reals(reals)) => Arc::new(Float32Array::from(reals.to_vec())),
            (Form::Double, Values::Doubles(reals)) => Arc::new(Float64Array::from(reals.to_vec())),
            (Form::Reals(width), Values::Reals(reals)) => {
                let lists = OffsetBuffer::from_repeated_length(width, reals.len() / width);
                let reals = Arc::new(Float32Array::from(reals.to_vec()));
                Arc::new(ListArray::try_new(item(), lists, reals, None)?)
            }
            (form, _) => {
                let what = format!("values that are no {form:?}");
                return Err(ParquetError::General(what));
            }
        })
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, false))
}

fn names(prefix: &str, digits: usize, numbers: &[u32]) -> ArrayRef {
    let mut names =
        StringBuilder::with_capacity(numbers.len(), numbers.len() * (prefix.len() + digits));
    let mut name = [b'0'; 32];
    name[..prefix.len()].copy_from_slice(prefix.as_bytes());
    let name = &mut name[..prefix.len() + digits];
    for &number in numbers {
        let mut rest = number;
        for digit in name[prefix.len()..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        names.append_value(String::from_utf8_lossy(name));
    }
    Arc::new(names.finish())
}

impl<'a> Values<'a> {
    fn len(self) -> usize {
        match self {
            Values::Words(values) => values.len(),
            Values::Days(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Reals(values) => values.len(),
            Values::Doubles(values) => values.len(),
        }
    }

    fn slice(self, rows: &std::ops::Range<usize>, width: usize) -> Values<'a> {
        let range = rows.start * width..rows.end * width;
        match self {
            Values::Words(values) => Values::Words(&values[range]),
            Values::Days(values) => Values::Days(&values[range]),
            Values::Bytes(values) => Values::Bytes(&values[range]),
            Values::Reals(values) => Values::Reals(&values[range]),
            Values::Doubles(values) => Values::Doubles(&values[range]),
        }
    }
}

/// Counts and hashes what goes by.
#[derive(Debug)]
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Date32Type, Float32Type, Int32Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn columns_are_read_as_they_were_meant_and_the_digest_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/part.parquet");
        let columns = [
            ("number", Form::Number(u32::MAX)),
            ("name", Form::Name("u", 4)),
            ("day", Form::Date(19_000)),
            ("quantity", Form::Whole),
            ("real", Form::Real),
            ("double", Form::Double),
            ("list", Form::Reals(2)),
        ];
        let mut writer = GeneratedWriter::create(&path, &columns).unwrap();
        let values = [
            Values::Words(&[7, u32::MAX, 0]),
            Values::Words(&[7, 123, 9999]),
            Values::Days(&[0, 1, 365]),
            Values::Bytes(&[1, 2, 255]),
            Values::Reals(&[0.5, 1.5, 2.5]),
            Values::Doubles(&[0.25, 0.5, 0.75]),
            Values::Reals(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ];
        writer.write(&values).unwrap();
        writer.write(&values).unwrap();
        assert!(!path.exists(), "nothing half-written has the name");
        let found = writer.finish().unwrap();
        assert_eq!(written(&path).unwrap(), found);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(found.bytes, bytes.len() as u64);
        assert_eq!(found.digest.0, *blake3::hash(&bytes).as_bytes());

        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let batch = reader.build().unwrap().next().unwrap().unwrap();
        assert_eq!(batch.num_rows(), 6);
        assert_eq!(
            batch.column(0).as_primitive::<Int64Type>().values()[..3],
            [7, i64::from(u32::MAX), 0]
        );
        let names: Vec<_> = batch
            .column(1)
            .as_string::<i32>()
            .iter()
            .flatten()
            .take(3)
            .collect();
        assert_eq!(names, ["u0007", "u0123", "u9999"]);
        assert_eq!(
            batch.column(2).as_primitive::<Date32Type>().values()[..3],
            [19_000, 19_001, 19_365]
        );
        assert_eq!(
            batch.column(3).as_primitive::<Int32Type>().values()[..3],
            [1, 2, 255]
        );
        assert_eq!(
            batch.column(4).as_primitive::<Float32Type>().values()[..3],
            [0.5, 1.5, 2.5]
        );
        let list = batch.column(6).as_list::<i32>().value(1);
        assert_eq!(list.as_primitive::<Float32Type>().values(), &[3.0, 4.0]);
    }

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        let mut writer = GeneratedWriter::create(&path, &[("day", Form::Date(0))]).unwrap();
        let error = writer.write(&[Values::Words(&[1])]).unwrap_err();
        assert!(error.to_string().contains("no Date(0)"), "{error}");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
