//! Recommendations: the best k products of every user.
//!
//! Candidates are the products with a training interaction; users without one get none, since nothing is known of
//! them. Rows that are like a row are lists of the same kind: a mode is recommended to itself, by directions.

pub mod directions;
pub mod index;
pub mod op;
pub mod program;

pub use directions::DirectionsOp;
pub use op::{ExplainOp, GramOp, RecommendOp};
pub use program::{Explaining, Input, Recommend, Settings, SettingsError};

use tensor::TableId;

/// User blocks whose lists are made in one step, and are one part of what is written: never a matter of workers or memory.
pub const BLOCKS_PER_PART: u32 = 16;

/// One object of [`tensor::Recommended`] rows a user block.
pub const RECOMMENDED: TableId = TableId(0x0f00);
/// Rows of a mode as directions, where likeness is asked for.
pub const DIRECTIONS: TableId = TableId(0x0f01);
/// One object of [`tensor::Explained`] rows a user block, where reasons are asked for.
pub const EXPLAINED: TableId = TableId(0x0f02);
