//! The ops of graph models as values. What each reads and writes, in order, is its contract with the program that names
//! the keys and with the runner that brings the bytes.

use serde::{Deserialize, Serialize};
use tensor::{Grid, Mode};

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GraphOp {
    /// Counts the degrees of a block.
    Degrees(DegreesOp),
    /// Makes the random rows that training starts from.
    Start(StartOp),
    /// Multiplies a block of the adjacency with a table.
    Product(ProductOp),
    /// Arranges the interactions of a block by ranges of columns.
    Arrange(ArrangeOp),
    /// Multiplies blocks of the adjacency that were so arranged with a table.
    Ranges(RangesOp),
    /// Multiplies the rows of a block with a small matrix.
    Turn(TurnOp),
    /// What is left of singular triplets.
    Residuals(ResidualsOp),
}

/// What an interaction weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edges {
    /// One.
    Binary,
    /// Its value.
    Values,
}

/// A power of a degree, in halves: −1 stands for 1/√d. A row without a degree becomes zeros, unless the power is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power(pub i8);

/// How the rows that a task makes are scaled: as the table that the formulas speak of, and once more as they are stored, for
/// those that read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// Before their Gram is taken.
    pub made: Power,
    /// After it.
    pub stored: Power,
}

/// Reads the block's partition. Writes its degrees, an f64 a row. Returns [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegreesOp {
    /// What is added up.
    pub edges: Edges,
}

/// Reads the block's degrees. Writes its rows, normal numbers, zeros where there is no degree, and the leaf of their Gram.
/// Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartOp {
    /// The mode.
    pub mode: Mode,
    /// Its grid; the block is that of the write.
    pub grid: Grid,
    /// Columns.
    pub columns: u32,
    /// The seed of the run.
    pub seed: u64,
}

/// Reads the block's partition, the other table (rows) and the block's degrees. Writes the block of the product and, where
/// the task names a second write, the leaf of its Gram. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductOp {
    /// The grid of the rows; the block is that of the write.
    pub rows: Grid,
    /// The grid of the other table.
    pub others: Grid,
    /// Columns of both tables.
    pub columns: u32,
    /// What interactions weigh.
    pub edges: Edges,
    /// What becomes of the sums.
    pub scales: Scales,
}

/// Reads the block's partition. Writes its [`crate::graph::tiles`], one row of words. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrangeOp {
    /// The grid of the other table.
    pub others: Grid,
    /// Rows of it that make a range.
    pub range_rows: u32,
    /// What interactions weigh.
    pub edges: Edges,
}

/// Reads the tiles of consecutive blocks, the other table (rows) and the blocks' degrees. Writes for each the block of the product
/// and the leaf of its Gram. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangesOp {
    /// The grid of the rows; the first block is that of the first write.
    pub rows: Grid,
    /// The grid of the other table.
    pub others: Grid,
    /// Rows of it that make a range.
    pub range_rows: u32,
    /// Columns of both tables.
    pub columns: u32,
    /// Interactions of the blocks.
    pub interactions: u64,
    /// What becomes of the sums.
    pub scales: Scales,
}

/// What of an eigenbasis ([`crate::als::basis`]) of a Gram rows are multiplied with: its vectors W as columns, each times a function
/// of its value λ = σ². σ' is σ, or σ + σ³ where walks of length 3 count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Factor {
    /// W λ^-½: rows become orthonormal columns.
    Whiten,
    /// W √σ' / σ over the first columns, times a weight: left factors from the product with what the basis belongs to.
    Left {
        /// How many columns.
        rank: u32,
        /// Whether walks of length 3 count.
        cubes: bool,
        /// By which all scores are multiplied.
        weight: f64,
    },
    /// W √σ' over the first columns: right factors.
    Right {
        /// How many columns.
        rank: u32,
        /// Whether walks of length 3 count.
        cubes: bool,
    },
}

impl Factor {
    /// Columns of the rows that come out of rows with so many.
    pub fn columns(self, columns: u32) -> u32 {
        match self {
            Factor::Whiten => columns,
            Factor::Left { rank, .. } | Factor::Right { rank, .. } => rank,
        }
    }
}

/// Reads a block of a table, an eigenbasis and the block's degrees. Writes the block's rows times the factor and, where the task
/// names a second write, the leaf of their Gram. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnOp {
    /// Columns of the rows that are read.
    pub columns: u32,
    /// The small matrix.
    pub factor: Factor,
    /// What becomes of the products.
    pub scales: Scales,
}

/// Reads the eigenbasis of YᵀY, Y = B V with orthonormal V, and the root of the Gram of Z = Bᵀ Y. Returns [`Residuals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidualsOp {
    /// Columns of V.
    pub columns: u32,
    /// Triplets.
    pub rank: u32,
}

/// What is counted before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Interactions.
    pub interactions: u64,
}

/// Singular triplets, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// σ.
    pub values: Vec<f64>,
    /// |Bᵀ u − σ v|².
    pub squares: Vec<f64>,
}

impl Counts {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

impl Residuals {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}
