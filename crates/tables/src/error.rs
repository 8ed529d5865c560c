//! Why a table cannot be read, in sentences that name file, row and column.

use store::StoreError;
use tensor::{ByteSize, GridError};

/// What the caller can do about a [`TablesError`]; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input is not what it should be.
    BadData,
    /// The settings cannot be honoured.
    Config,
    /// Reading or writing failed.
    Io,
    /// A contract between our own parts is broken.
    Bug,
}

/// Why reading tables failed.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The bytes of a file cannot be had.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The footer or a page is not Parquet.
    #[error(
        "{file} is not a whole Parquet file ({reason}): it may be truncated or damaged, write it again"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// What the decoder said.
        reason: String,
    },
    /// A named column is not there.
    #[error("{file} has no column `{column}` ({role}); it has {known}")]
    MissingColumn {
        /// Which file.
        file: String,
        /// The column.
        column: String,
        /// What it was to be.
        role: &'static str,
        /// The columns that are there.
        known: String,
    },
    /// A named column is there more than once.
    #[error("{file} has several columns `{column}` ({role}): rename all but one")]
    AmbiguousColumn {
        /// Which file.
        file: String,
        /// The column.
        column: String,
        /// What it was to be.
        role: &'static str,
    },
    /// A column cannot play its role.
    #[error("column `{column}` ({role}) of {file} is {found}; it must be {expected}")]
    WrongType {
        /// Which file.
        file: String,
        /// The column.
        column: String,
        /// What it was to be.
        role: &'static str,
        /// Its type.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// Two files disagree.
    #[error(
        "column `{column}` is {found} in {file} but {expected} in {first}: write both with one type"
    )]
    SchemaDiffers {
        /// The file that differs.
        file: String,
        /// The column.
        column: String,
        /// Its type there.
        found: &'static str,
        /// The first file.
        first: String,
        /// Its type there.
        expected: &'static str,
    },
    /// One column was given two roles.
    #[error("column `{column}` is named both as {first} and as {second}: name another column")]
    SameColumn {
        /// The column.
        column: String,
        /// One role.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// There is nothing to ingest.
    #[error("{what}: nothing to ingest")]
    Empty {
        /// The files, and that they have no rows.
        what: String,
    },
    /// Every row is bad.
    #[error(
        "none of the {rows} rows can be used ({reasons}): check the columns that the job names"
    )]
    NothingLeft {
        /// Rows read.
        rows: u64,
        /// Counts by reason.
        reasons: String,
    },
    /// A row group cannot be decoded within the budget.
    #[error(
        "row group {row_group} of {file} needs {needed}, the budget leaves {left}: give more --memory or write smaller row groups"
    )]
    RowGroup {
        /// Which file.
        file: String,
        /// The row group.
        row_group: usize,
        /// What decoding it needs.
        needed: ByteSize,
        /// What there is.
        left: ByteSize,
    },
    /// A bad row, where bad rows are rejected.
    #[error(
        "{file}, row {row} (from 0): column `{column}` {fault}; correct it, or set on_bad_row = \"skip\" to leave such rows out"
    )]
    BadRow {
        /// Which file.
        file: String,
        /// The row, from 0.
        row: u64,
        /// The column at fault.
        column: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// An event without a weight, where bad rows are rejected.
    #[error(
        "{file}, row {row} (from 0): column `{column}` is \"{event}\", which [input.event_weights] does not name: give it a weight, or set on_bad_row = \"skip\" to leave such rows out"
    )]
    UnknownEvent {
        /// Which file.
        file: String,
        /// The row, from 0.
        row: u64,
        /// The column of events.
        column: String,
        /// The event.
        event: String,
    },
    /// The time bins are too many to be a mode.
    #[error(
        "column `{column}` spans {bins} time bins, the limit is {limit}: take a wider time_bin or correct the times"
    )]
    TooManyBins {
        /// The column.
        column: String,
        /// How many.
        bins: u64,
        /// How many may be.
        limit: u64,
    },
    /// The ids are too many to be a small mode.
    #[error(
        "column `{column}` has {contexts} different contexts, the limit is {limit}: name a coarser column, or make it an attribute"
    )]
    TooManyContexts {
        /// The column.
        column: String,
        /// How many.
        contexts: u64,
        /// How many may be.
        limit: u32,
    },
    /// A combined value leaves the range of f32.
    #[error(
        "column `{column}`: the combined value of several rows leaves the range of f32: scale it down"
    )]
    ValueOverflow {
        /// The column of values.
        column: String,
    },
    /// More rows than ids.
    #[error("column `{column}`: {source}")]
    Grid {
        /// The column.
        column: String,
        /// Why.
        source: GridError,
    },
    /// A range of times does not suit the column.
    #[error("{0}")]
    Range(String),
    /// A folder tells no time, or another than the file.
    #[error("{0}")]
    Folder(String),
    /// The blocks of a mode have no room for more ids.
    #[error(
        "column `{column}` has more new ids than the blocks of the data set have room for ({room} rows in all): ingest all files \
         anew, into another `output.data`"
    )]
    Full {
        /// The column.
        column: String,
        /// Rows of all blocks at most.
        room: u64,
    },
    /// New files do not fit the data set that they are to be added to.
    #[error("{0}")]
    OtherData(String),
    /// A split asks for what the data do not have.
    #[error("{0}")]
    Split(String),
    /// Tables of attributes do not fit their settings.
    #[error("{0}")]
    Attributes(String),
    /// A table of attributes is not what it should be.
    #[error("{0}")]
    BadAttributes(String),
    /// Lists of edges are not what they should be.
    #[error("{0}")]
    BadEdges(String),
    /// A table of vectors is not what it should be.
    #[error("{0}")]
    BadVectors(String),
    /// Ids that were named are not of the kind of the data set's.
    #[error("{0}")]
    BadIds(String),
    /// The op of a task cannot be opened.
    #[error(
        "this worker cannot open a task of tables, version {found}: use the same version everywhere"
    )]
    OpVersion {
        /// The version found.
        found: u16,
    },
    /// An intermediate object is not what the task before made.
    #[error("an intermediate object of ingest is malformed: {0}")]
    Malformed(&'static str),
    /// A sealed file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TablesError {
    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TablesError::Read { .. } | TablesError::Store(_) => ErrorKind::Io,
            TablesError::SameColumn { .. }
            | TablesError::RowGroup { .. }
            | TablesError::Range(_)
            | TablesError::Split(_)
            | TablesError::Attributes(_) => ErrorKind::Config,
            TablesError::OpVersion { .. } | TablesError::Malformed(_) => ErrorKind::Bug,
            _ => ErrorKind::BadData,
        }
    }

    /// A decoder's complaint about a file.
    pub(crate) fn corrupt(file: &str, reason: impl std::fmt::Display) -> Self {
        let text = reason.to_string();
        let reason = text
            .trim_start_matches("Parquet error: ")
            .trim_start_matches("EOF: ")
            .to_owned();
        TablesError::Corrupt {
            file: file.to_owned(),
            reason,
        }
    }
}
