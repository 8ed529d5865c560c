//! Parquet out.
//!
//! **Invariant:** a file has its name only when it is whole; until then it lies beside it under another.

pub mod ids;
pub mod recommendations;

pub use recommendations::{OutError, RecommendationsWriter};
