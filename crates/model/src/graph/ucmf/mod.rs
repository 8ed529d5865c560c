//! Unitized and co-trained matrix factorization (Liu, Zhang and Liu, "Simplification of graph convolutional networks: a matrix
//! factorization-based perspective", 2020, arXiv 2007.09036): rows of one length, whose dot products are scored, learn to tell who has what and, by a classifier on them,
//! the labels of nodes. The authors derive both from a graph convolution: what averages with neighbours makes rows that look along the
//! same few directions, and its labels reach neighbours through what rows have in common.
//!
//! Scores are û·v̂ / t + b: rows of one length know nothing of popularity, so products have a bias b, and the temperature t says
//! how far scores reach. As tables U = [û/√t, 1], V = [v̂/√t, b], they are dot products like any other.

pub mod labels;
pub mod program;
pub mod schedule;
pub mod settings;
pub mod unit;

pub(in crate::graph) use program::levels_of;
pub use program::{Input, Ucmf, Unitized};
pub use settings::Settings;
