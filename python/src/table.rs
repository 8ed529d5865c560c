//! A table in memory: what a verb wrote, for any library that speaks Arrow, and its columns for NumPy.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchIterator, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::exceptions::{PyKeyError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyList};
use std::path::PathBuf;
use std::sync::Arc;
use tables::out::interchange;

/// Record batches of one schema.
#[pyclass(frozen, module = "strata._engine")]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

#[pymethods]
impl Table {
    /// The rows of a Parquet file.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let read = py.detach(|| interchange::load(&path));
        let (schema, batches) = read.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Table { schema, batches })
    }

    /// Of columns of numbers: the name, NumPy's word for the type, and the bytes of each.
    #[staticmethod]
    fn of(columns: Vec<(String, String, Bound<'_, PyBytes>)>) -> PyResult<Self> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (name, word, bytes) in columns {
            let array = numbers(&word, bytes.as_bytes())?;
            fields.push(Field::new(name, array.data_type().clone(), false));
            arrays.push(array);
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(wrong)?;
        Ok(Table {
            schema,
            batches: vec![batch],
        })
    }

    #[getter]
    fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[getter]
    fn column_names(&self) -> Vec<&str> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    /// The Arrow `PyCapsule` interface. The schema that is asked for is a wish only, and not heeded.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches: Vec<Result<RecordBatch, ArrowError>> =
            self.batches.iter().cloned().map(Ok).collect();
        let reader = RecordBatchIterator::new(batches, Arc::clone(&self.schema));
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// A column for NumPy: the word for its type, numbers as bytes and all else as a list, and how many of them make a row (0: one).
    fn column<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<(&'static str, Bound<'py, PyAny>, usize)> {
        let at = self
            .schema
            .index_of(name)
            .map_err(|_| PyKeyError::new_err(name.to_owned()))?;
        let of_batches: Vec<&dyn Array> = self
            .batches
            .iter()
            .map(|batch| batch.column(at).as_ref())
            .collect();
        let column = if of_batches.is_empty() {
            arrow::array::new_empty_array(self.schema.field(at).data_type())
        } else {
            arrow::compute::concat(&of_batches).map_err(wrong)?
        };
        match column.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>().iter();
                Ok(("O", PyList::new(py, texts)?.into_any(), 0))
            }
            DataType::Binary => {
                let texts = column.as_binary::<i32>().iter();
                let texts = texts.map(|bytes| bytes.map(|bytes| PyBytes::new(py, bytes)));
                Ok((
                    "O",
                    PyList::new(py, texts.collect::<Vec<_>>())?.into_any(),
                    0,
                ))
            }
            DataType::FixedSizeList(item, width) if *item.data_type() == DataType::Float32 => {
                let lists = column.as_fixed_size_list();
                let values = lists.values().as_primitive::<Float32Type>().values();
                let bytes = PyBytes::new(py, values.inner().as_slice());
                Ok(("<f4", bytes.into_any(), *width as usize))
            }
            other => {
                let word = word_of(other).ok_or_else(|| {
                    let sentence = format!("the column {name} is {other}: take it by to_arrow()");
                    PyTypeError::new_err(sentence)
                })?;
                let data = column.to_data();
                let width = other.primitive_width().unwrap_or_default();
                let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
                let bytes = PyBytes::new(py, &bytes[..data.len() * width]);
                Ok((word, bytes.into_any(), 0))
            }
        }
    }
}

fn wrong(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Types of numbers as NumPy calls them.
const WORDS: &[(&str, DataType)] = &[
    ("<i1", DataType::Int8),
    ("<i2", DataType::Int16),
    ("<i4", DataType::Int32),
    ("<i8", DataType::Int64),
    ("<u1", DataType::UInt8),
    ("<u2", DataType::UInt16),
    ("<u4", DataType::UInt32),
    ("<u8", DataType::UInt64),
    ("<f4", DataType::Float32),
    ("<f8", DataType::Float64),
    ("<M8[s]", DataType::Timestamp(TimeUnit::Second, None)),
    ("<M8[ms]", DataType::Timestamp(TimeUnit::Millisecond, None)),
];

fn word_of(data_type: &DataType) -> Option<&'static str> {
    // NumPy's times are in UTC and do not say so.
    let plain = match data_type {
        DataType::Timestamp(unit, _) => &DataType::Timestamp(*unit, None),
        other => other,
    };
    let mut known = WORDS.iter();
    known.find(|(_, of)| of == plain).map(|(word, _)| *word)
}

fn numbers(word: &str, bytes: &[u8]) -> PyResult<ArrayRef> {
    let unknown = || PyTypeError::new_err(format!("a column of {word} is no column of numbers"));
    let (_, data_type) = WORDS
        .iter()
        .find(|(of, _)| *of == word)
        .ok_or_else(unknown)?;
    let width = data_type.primitive_width().ok_or_else(unknown)?;
    let data = arrow::array::ArrayData::builder(data_type.clone())
        .len(bytes.len() / width)
        .add_buffer(Buffer::from(bytes))
        .align_buffers(true)
        .build()
        .map_err(wrong)?;
    Ok(make_array(data))
}
