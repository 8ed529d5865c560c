//! What the benches share: the generated matrix, in memory and as Parquet.

pub mod matrix;
pub mod parquet;
