//! What the benches share: the generated matrix, in memory and as Parquet, and the machine's peak.

pub mod matrix;
pub mod parquet;
pub mod peak;
pub mod scaling;
