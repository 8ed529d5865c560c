//! The ops of influencers as values: what each reads and writes, in order, and what it returns.

use serde::{Deserialize, Serialize};
use tensor::Grid;

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InfluenceOp {
    /// Strengths by edges.
    Edges(EdgesOp),
    /// How many have what may be shared.
    Counts,
    /// Strengths by what is shared.
    Strengths(OthersOp),
    /// What goes through that which is shared.
    Through(OthersOp),
    /// Scores, and the best of a block.
    Scores(ScoresOp),
    /// Nearly isolated rows that influencers reach.
    Reached(ReachedOp),
}

/// Reads the block's partition of edges and, where these are directed, that of the edges turned. Writes strength and neighbours of each row,
/// an f64 each. Returns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgesOp {
    /// The id of the block's first row.
    pub first: u32,
    /// Partitions of the block.
    pub partitions: u32,
}

/// `Strengths` reads the block's partition and what all columns are; `Through` likewise. Both write two f64 a row: strength and products
/// that are shared, which are the same; or how many have it, and Σ 1 / s. (`Counts` reads the partition and writes how many have
/// it, and 0.) They return nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OthersOp {
    /// The grid of the columns.
    pub columns: Grid,
}

/// Reads the block's partitions, what all columns are (the rows themselves, where ties are edges), and where they are not also the block's
/// own strengths. Returns [`Scored`] rows, the highest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoresOp {
    /// The id of the block's first row.
    pub first: u32,
    /// Partitions of the block.
    pub partitions: u32,
    /// The grid of the columns.
    pub columns: Grid,
    /// Whether ties are edges.
    pub edges: bool,
    /// Rows that are told.
    pub top: u32,
}

/// A row with its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The row.
    pub row: u32,
    /// Its score.
    pub score: f64,
    /// Its strength.
    pub strength: f64,
    /// Neighbours, or what it shares.
    pub ties: u64,
}

/// Reads the block's partitions, its strengths, and where ties are no edges what all columns are and the marks of all influencers. Writes
/// (place of the influencer, row) of each nearly isolated row and influencer that holds enough of its ties, a u32 each. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReachedOp {
    /// The id of the block's first row.
    pub first: u32,
    /// Partitions of the block.
    pub partitions: u32,
    /// The grid of the columns, where ties are no edges.
    pub columns: Option<Grid>,
    /// Influencers by row id, rising, each with its place; where ties are edges.
    pub influencers: Vec<(u32, u32)>,
    /// The most ties of a row that is nearly isolated.
    pub ties_max: u32,
    /// The least share of its ties.
    pub share: f64,
}
