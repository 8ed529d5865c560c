//! Parquet in and out: scanning users' files, ids, time bins, sorted runs, merged blocks, derived views.
//!
//! **Invariant:** files are read through byte ranges that somebody else fetched; every stage works in bounded
//! memory; the bytes of a data set follow from the files and the [`ScanSpec`] alone.

pub mod attributes;
pub mod columns;
pub mod combine;
pub mod compact;
pub mod dictionary;
pub mod edges;
pub mod error;
pub mod grow;
pub mod ingest;
pub mod intern;
pub mod merge;
pub mod numbered;
pub mod op;
pub mod order;
pub mod out;
pub mod range;
pub mod reader;
pub mod resident;
pub mod rows;
pub mod scan;
pub mod sort;
pub mod spec;
pub mod split;
pub mod spool;
mod staged;
pub mod survey;
pub mod tiles;
mod touched;
pub mod update;
pub mod vectors;
pub mod view;
mod wanted;
mod waves;
mod windows;

pub use attributes::{AttributeSpec, AttributeSurvey, IngestAttributes};
pub use compact::Compact;
pub use edges::{EdgeSpec, EdgeSurvey, IngestEdges};
pub use error::{ErrorKind, TablesError};
pub use ingest::Ingest;
pub use op::Op;
pub use range::{Bound, FolderTime, Selection, TimeRange};
pub use spec::{BadReason, ContextSpec, EventRule, OnBadRow, ScanSpec, ValueRule};
pub use split::{SplitSettings, Splits, interaction_hash, split_specs};
pub use survey::{Survey, survey, survey_selected};
pub use touched::Touched;
pub use update::Update;
pub use vectors::{VectorSpec, VectorSurvey};
pub use view::BuildViews;
pub use wanted::Wanted;
pub use windows::closed;
