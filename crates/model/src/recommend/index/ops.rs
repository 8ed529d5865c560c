//! The ops of the index as values: what each reads and writes, in order, and what it returns.

use serde::{Deserialize, Serialize};
use tensor::Grid;

/// An op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexOp {
    /// Makes centres of the sample.
    Centres(CentresOp),
    /// Says the list of each row of a block.
    Assign(AssignOp),
    /// How far away the lists are that hold the true neighbours of a sample.
    Ranks(RanksOp),
    /// Brings the rows of some lists together.
    Shard(ShardOp),
    /// Looks for the rows that are like those of a block.
    Search(SearchOp),
}

/// Reads the sample of all blocks. Writes the centres: those that lack a row are infinitely far away. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CentresOp {
    /// f32 per row.
    pub width: u32,
    /// How many.
    pub lists: u32,
}

/// Reads the block of directions, what is known of its rows ([`crate::evaluate::ProductRow`]) and the centres. Writes the list of each row, a word
/// each. Sums: rows of each list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignOp {
    /// f32 per row.
    pub width: u32,
}

/// Reads the true lists of the sample's rows of a block, the block of directions, the centres, and the lists of all rows. Sums: of the true
/// neighbours, how many are in the nearest list of their row, in the second, and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RanksOp {
    /// Of the rows.
    pub grid: Grid,
    /// f32 per row.
    pub width: u32,
    /// The id of the block's first row.
    pub first: u32,
}

/// Reads the lists of all rows, what is known of all of them, and rows of all directions. Writes the directions of the rows in these lists
/// in panels, one list after the other, and their words. Returns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardOp {
    /// Of the rows.
    pub grid: Grid,
    /// f32 per row.
    pub width: u32,
    /// The first list.
    pub first: u32,
    /// Behind the last.
    pub end: u32,
}

/// Reads the block of directions, its lists, the centres, then rows and words of each shard. Writes an object of [`tensor::Recommended`]
/// rows. Sums: rows with a list, rows of lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchOp {
    /// f32 per row.
    pub width: u32,
    /// The id of the block's first row.
    pub first: u32,
    /// Rows of the block.
    pub rows: u32,
    /// The length of a list.
    pub k: u32,
    /// Lists that are looked through for each row.
    pub probes: u32,
    /// Where the rows of each list begin among all, and where those of the last end.
    pub starts: Vec<u32>,
    /// The first list of each shard, and behind the last.
    pub shards: Vec<u32>,
    /// The rows to serve, by place in the block, rising; `None`: all.
    pub chosen: Option<Vec<u32>>,
}
