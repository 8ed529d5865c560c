//! The ops of recommending as they travel.

use crate::als::Formula;
use crate::context::ContextAt;
use crate::forecast::Moment;
use crate::graph::filter::Links;
use serde::{Deserialize, Serialize};
use tensor::Grid;

/// Reads, in order: the block of U; all blocks of V; (if `moment`) the block of T; (if `context`) the block of S and its
/// mean; all blocks of
/// [`crate::evaluate::PRODUCTS`]; (if `filter`) what that asks for ([`crate::evaluate::steps::linked_reads`]); the block's user-major partitions: train, then `masks` more.
///
/// Writes an object of [`tensor::Recommended`] rows. Sums: users served, rows, users without training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecommendOp {
    /// The grid of users.
    pub users: Grid,
    /// The grid of products.
    pub products: Grid,
    /// f32 per factor row.
    pub width: u32,
    /// Where T scores.
    pub moment: Option<Moment>,
    /// Where S scores.
    pub context: Option<ContextAt>,
    /// Added to every score.
    pub offset: f32,
    /// The length of a list.
    pub k: u32,
    /// Whether the user's training products are left out.
    pub exclude_train: bool,
    /// Whether a row is left out of its own list, where users and products are rows of one mode.
    pub but_itself: bool,
    /// Further partitions whose products are left out.
    pub masks: u32,
    /// The users to serve, by place in the block, rising; `None`: all.
    pub chosen: Option<Vec<u32>>,
    /// What is added to scores by what a user had.
    pub filter: Option<Links>,
    /// The most products of a group in a list.
    pub most: Option<u32>,
}

/// Reads a block of factors, of so many f32 a row. Writes its Gram, an upper triangle of f64. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GramOp {
    /// f32 per row, padding included.
    pub width: u32,
}

/// Reads, in order: all blocks of V; the block's user-major partition of what the model was trained on; the lists that
/// [`RecommendOp`] wrote; (if `moment`) the block of T; (if `context`) the block of S and its mean; (if unobserved cells count)
/// the root of V's Gram.
///
/// Writes an object of [`tensor::Explained`] rows. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainOp {
    /// The grid of users.
    pub users: Grid,
    /// The grid of products.
    pub products: Grid,
    /// The equations that made users.
    pub formula: Formula,
    /// Where T scores.
    pub moment: Option<Moment>,
    /// Where S scores.
    pub context: Option<ContextAt>,
    /// Reasons of each recommendation.
    pub top: u32,
}
