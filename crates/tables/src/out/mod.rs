//! Parquet out, and other forms of factors.
//!
//! **Invariant:** a file has its name only when it is whole; until then it lies beside it under another.

pub mod churn;
mod columns;
mod error;
pub mod explanations;
pub mod factors;
pub mod generated;
pub mod ids;
pub mod influencers;
pub mod interchange;
pub mod names;
pub mod parts;
pub mod recommendations;
pub mod segments;
mod unfinished;

pub use churn::{ChurnRow, ChurnWriter};
pub use error::OutError;
pub use explanations::ExplanationsWriter;
pub use factors::{FactorsFormat, FactorsWriter, Shape};
pub use influencers::{InfluencerRow, write_influencers};
pub use names::Names;
pub use parts::{ListFile, Listed, Parts, PartsWriter};
pub use recommendations::RecommendationsWriter;
pub use segments::SegmentsWriter;
pub use unfinished::publish_text;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;

/// How Parquet is written.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(concat!("strata ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}
