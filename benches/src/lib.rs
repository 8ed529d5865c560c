//! What the benches share: the generated matrix.

pub mod matrix;
