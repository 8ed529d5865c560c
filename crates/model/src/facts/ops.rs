//! The ops of graph facts as values: what each reads and writes, in order, and what it returns.

use serde::{Deserialize, Serialize};
use tensor::{Grid, Mode};

/// The most rows of a side of which two-hop neighbourhoods are counted exactly: bits of a [`Note`].
pub const SAMPLES_MAX: usize = 256;
/// Words of 32 bits that hold them.
pub const MARK_WORDS: usize = SAMPLES_MAX / 32;

/// What a walk finds at a node, 64 bytes as rows of tables have: its degree, then a bit for each sampled row of the other side that
/// has an edge to it.
pub type Note = [u32; 16];

/// A 128-bit print of a row's neighbourhood.
pub type Print = [u64; 2];

/// A node of a forest that has edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Branch {
    /// Its place among all rows of its mode.
    pub node: u32,
    /// That of the least node of its tree.
    pub root: u32,
    /// Nodes of the other side that hang on it.
    pub others: u32,
}

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FactsOp {
    /// Counts the neighbours of a block's rows.
    Degrees(DegreesOp),
    /// Lists the neighbours of sampled rows.
    Marks(MarksOp),
    /// Writes what walks find at the rows of a block.
    Notes(NotesOp),
    /// Walks two edges from each row of a block.
    Walks(WalksOp),
    /// Joins what shares a row of the block.
    Forest(ForestOp),
    /// Joins forests.
    Join(ForestOp),
    /// Counts the trees of a forest.
    Trees(ForestOp),
    /// Counts equal prints.
    Equals(EqualsOp),
    /// Joins the ends of edges of any kind.
    Links(LinksOp),
    /// Counts the trees of a forest of users and products.
    Groves(GrovesOp),
}

/// Reads the block's partition. Writes the degrees of its rows, a u32 each, and the sorted prints of those with neighbours. Returns
/// [`Tally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegreesOp {
    /// The mode of the rows.
    pub mode: Mode,
    /// Its grid; the block is that of the write.
    pub grid: Grid,
    /// Ranges of equal size that prints are told apart by.
    pub shares: u32,
}

/// Reads the block's partition. Writes (neighbour, place of the sample) of these rows, a u32 each. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarksOp {
    /// Rows of the block and their places among the samples of their mode.
    pub rows: Vec<(u32, u32)>,
}

/// Reads the block's degrees, then marks of the other mode, object by object. Writes a [`Note`] a row. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotesOp {
    /// The grid; the block is that of the write.
    pub grid: Grid,
}

/// Reads the block's partition and the notes of the other mode (rows). Writes nothing. Returns [`WalkTally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WalksOp {
    /// Rows of the block.
    pub rows: u32,
    /// All rows of their mode.
    pub nodes: u64,
    /// The grid of the other mode.
    pub others: Grid,
    /// Sampled rows of this block and their places among all samples.
    pub samples: Vec<(u32, u32)>,
}

/// `Forest` reads a block's partition of the other mode, `Join` up to eight forests, `Trees` one. The first two write
/// [`Branch`]es, by rising node; the last returns [`TreeTally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestOp {
    /// The grid of the nodes.
    pub nodes: Grid,
}

/// Reads a stretch of the prints of each block. Returns [`EqualTally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EqualsOp {
    /// First and end of the stretch in each block.
    pub stretches: Vec<(u32, u32)>,
}

/// Reads a partition, of interactions or of edges between rows of a mode. Writes [`Branch`]es over all users and then all products, by
/// rising node: rows that edges join. An edge of a row to itself joins nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinksOp {
    /// The grids of users and of products.
    pub grids: [Grid; 2],
    /// The mode of the partition's rows.
    pub rows: Mode,
    /// That of its columns.
    pub columns: Mode,
    /// The partition's block.
    pub block: u32,
}

/// Reads such branches. Returns [`GroveTally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrovesOp {
    /// Users.
    pub users: u32,
    /// Users and products.
    pub nodes: u32,
}

/// What a block's rows are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Interactions.
    pub interactions: u64,
    /// Degrees that occur, rising, and how often.
    pub degrees: Vec<(u32, u32)>,
    /// Rows with neighbours whose draws are the least: draw and row of the block, rising.
    pub samples: Vec<(u64, u32)>,
    /// Where each share of the prints ends.
    pub ends: Vec<u32>,
}

/// Walks of length two from a block's rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WalkTally {
    /// All, back to their row included.
    pub walks: u64,
    /// The most from one row.
    pub most: u64,
    /// Over rows, the walks or, where these are more, all rows of the mode: the most entries that A² can have.
    pub bound: u64,
    /// Over edges, the product of the degrees of their ends.
    pub products: u128,
    /// Rows of the block that each sample reaches.
    pub reached: Vec<u32>,
    /// Sampled rows of this block: place and what bounds the rows that they reach.
    pub bounds: Vec<(u32, u64)>,
}

/// Trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeTally {
    /// How many.
    pub trees: u64,
    /// Nodes of the forest's mode in the largest.
    pub nodes: u64,
    /// Nodes of the other mode in it.
    pub others: u64,
}

/// Trees of users and products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroveTally {
    /// How many.
    pub trees: u64,
    /// Users in any.
    pub users: u64,
    /// Products in any.
    pub products: u64,
    /// Users of the largest.
    pub largest_users: u64,
    /// Its products.
    pub largest_products: u64,
}

/// Rows that share their neighbourhood with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EqualTally {
    /// Neighbourhoods that several rows have.
    pub groups: u64,
    /// Those rows.
    pub rows: u64,
    /// The most of one neighbourhood.
    pub most: u64,
}
