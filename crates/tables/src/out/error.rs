//! Why a file cannot be written.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use std::io;
use std::path::PathBuf;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// The directory or the file.
    #[error("{path} cannot be written: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file beside those that are written, which would be read with them.
    #[error(
        "{path} is no part of lists and would be read as one: give lists a folder of their own"
    )]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// The encoder.
    #[error("{path} cannot be encoded: {error}")]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        error: ParquetError,
    },
    /// The encoder of Arrow.
    #[error("{path} cannot be encoded: {error}")]
    Arrow {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        error: ArrowError,
    },
    /// Not a row of the data set.
    #[error("row {row} has no id in the column {column}: what is written is of another data set")]
    Row {
        /// The column of the input.
        column: String,
        /// The row id.
        row: u32,
    },
    /// Dictionaries of another grid.
    #[error("the dictionaries of the column {column} do not fit its grid: ingest again")]
    Dictionary {
        /// The column of the input.
        column: String,
    },
}
