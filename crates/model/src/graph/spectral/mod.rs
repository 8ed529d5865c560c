//! The spectral model: A ≈ L Mᵀ of low rank, by randomized subspace iteration (Halko, Martinsson and Tropp, *Finding
//! structure with randomness*, 2011), on products with the partitions alone.
//!
//! An epoch takes orthonormal columns V to Y = B V, B the normalized users × products; the eigenbasis W of YᵀY gives the singular
//! values σ of B in their span and the triplets (Y W / σ, σ, V W), of which a model is published; Z = Bᵀ Y, made orthonormal
//! twice, is the V of the next epoch. With edges between users or between products A has no two sides: `linked`.

mod linked;
pub mod program;
pub mod schedule;
pub mod settings;

pub use super::normalization::Normalization;
pub use program::{Iterated, Iteration, Rounds, Spectral};
pub use settings::{RANK_MAX, Settings, SettingsError};
