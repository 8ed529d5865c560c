//! The ops of stochastic gradient descent as values. What each reads and writes, in order, is its contract with the
//! program that names the keys and with the runner that brings the bytes.

use super::settings::Loss;
pub use crate::als::ops::Forbidden;
use serde::{Deserialize, Serialize};
use tensor::{Grid, Mode};

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SgdOp {
    /// Counts, and makes the first rows of a super-block.
    First(FirstOp),
    /// Descends on a tile.
    Tile(TileOp),
    /// Makes a block of a model.
    Publish(PublishOp),
    /// Makes the first rows of bins.
    FirstBins(FirstBinsOp),
    /// Moves the rows of bins.
    Bins(BinsOp),
}

/// Reads the partitions of the blocks of a super-block, in order, rows being of its mode, and, where some rows are given, the
/// same blocks of these. Writes the super-block's first
/// version and, where `noise` says so, its [`super::Noise`]. Returns [`Totals`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstOp {
    /// The mode.
    pub mode: Mode,
    /// Its grid.
    pub grid: Grid,
    /// Super-blocks; the one is that of the first write.
    pub side: u32,
    /// Columns in use.
    pub rank: u32,
    /// The seed of the run.
    pub seed: u64,
    /// Standard deviation of the factors; where all cells count, their mean.
    pub scale: f32,
    /// What is minimised: says which values are forbidden and which factors are allowed.
    pub loss: Loss,
    /// The power of a count by which negatives are drawn, where this is the table of products and they are.
    pub noise: Option<f64>,
    /// What given rows hold beside factors; `None`: none are given.
    pub given: Option<Beside>,
}

/// Reads the tile's partition, the block of users, the block of products and, with negatives, the products' noise, with
/// bins their rows. Writes the next versions of both blocks and, with bins, the sums of their gradients. Sums: the losses of its samples, each as it was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileOp {
    /// Columns in use.
    pub rank: u32,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives for an interaction; rivals for one with `bpr`.
    pub negatives: u32,
    /// The share of the noise that falls into the block of products.
    pub share: f64,
    /// The length of a step.
    pub rate: f32,
    /// Whether it shrinks with the sum of squares.
    pub adagrad: bool,
    /// λ.
    pub regularization: f32,
    /// Whether biases move.
    pub biases: bool,
    /// Added to every score.
    pub offset: f32,
    /// The seed of the run.
    pub seed: u64,
    /// From 1.
    pub epoch: u32,
    /// The number of the tile in the view.
    pub tile: u32,
    /// Rows of the block of users.
    pub users: u32,
    /// Rows of the block of products.
    pub products: u32,
    /// Bins that have factors; 0 in a matrix.
    pub bins: u32,
}

/// Reads, where some rows are given, these. Writes the first version of the bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstBinsOp {
    /// Bins.
    pub bins: u32,
    /// Columns in use.
    pub rank: u32,
    /// What given rows hold beside factors; `None`: none are given.
    pub given: Option<Beside>,
}

/// Reads the bins and, a super-block of users each, the sums of their gradients in a stratum. Writes the next version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinsOp {
    /// Bins.
    pub bins: u32,
    /// Columns in use.
    pub rank: u32,
    /// The length of a step.
    pub rate: f32,
    /// Whether it shrinks with the sum of squares.
    pub adagrad: bool,
    /// λ, of every sample.
    pub regularization: f32,
}

/// Reads a super-block of the last version (rows). Writes the block of the model that is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishOp {
    /// The mode.
    pub mode: Mode,
    /// Its grid; the block is that of the write.
    pub grid: Grid,
    /// Super-blocks.
    pub side: u32,
    /// Columns in use.
    pub rank: u32,
    /// What stands beside the factors.
    pub beside: Beside,
    /// The power of the noise.
    pub power: f64,
    /// The noise of all products together.
    pub noise: f64,
}

/// What published rows hold beside factors, so that their dot product is the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The user's bias and a one against a one and the product's bias.
    Biases,
    /// A one against the logarithm of the product's share of the noise.
    Noise,
}

impl Beside {
    /// Columns.
    pub fn columns(self) -> u32 {
        match self {
            Beside::Nothing => 0,
            Beside::Biases => 2,
            Beside::Noise => 1,
        }
    }

    /// Floats of a row of a rank with it, as they are published and given.
    pub fn width(self, rank: u32) -> usize {
        kernels::width_of((rank + self.columns()) as usize)
    }
}

impl PublishOp {
    /// Floats of a row in training.
    pub fn trained_len(&self) -> usize {
        kernels::sgd::row_len(kernels::width_of(self.rank as usize))
    }

    /// Floats of a published row.
    pub fn width(&self) -> usize {
        self.beside.width(self.rank)
    }
}

/// What is counted before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Interactions.
    pub interactions: u64,
    /// Σ y.
    pub values: f64,
    /// The noise of the super-block.
    pub noise: f64,
    /// The first value that the loss has no meaning for.
    pub forbidden: Option<Forbidden>,
}

impl Totals {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}
