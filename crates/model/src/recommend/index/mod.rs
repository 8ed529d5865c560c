//! Likeness by an index: rows are looked for in the lists of the centres that lie nearest, instead of in all (Jégou, Douze and
//! Schmid, *Product quantization for nearest neighbor search*, 2011, without the quantization). Every pair that is looked at has its exact
//! cosine, by the kernel that compares all pairs.
//!
//! How many lists are looked through is found by the data: of a sample of rows the true lists are made, and as many are taken as hold the
//! share of these that was asked for.
//!
//! **Invariant:** centres come from a fixed sample by sums in a fixed order, and the best are chosen by a total order: no bit depends on
//! threads, workers or pieces, as it would in a graph that threads build together.

pub mod lists;
pub mod ops;
pub mod program;
pub mod search;

pub use ops::IndexOp;
pub use program::{ByIndex, Settings, lists_of};

use tensor::TableId;

/// A row that is in no list.
pub const NO_LIST: u32 = u32::MAX;

/// Of each block, the rows that are of the sample.
pub(crate) const SAMPLE: TableId = TableId(0x0f20);
/// The centre of each list.
pub(crate) const CENTRES: TableId = TableId(0x0f21);
/// The list of each row, a word each.
pub(crate) const LISTS: TableId = TableId(0x0f22);
/// The directions of the rows of some lists in panels, one list after the other; the block is the place of the shard.
pub(crate) const SHARD_ROWS: TableId = TableId(0x0f23);
/// Of each of them [`lists::WORDS`] words.
pub(crate) const SHARD_WORDS: TableId = TableId(0x0f24);
/// What was found: one object of [`tensor::Recommended`] rows a block.
pub const FOUND: TableId = TableId(0x0f25);
