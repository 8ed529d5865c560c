//! Recommendations: the best k products of every user.
//!
//! Candidates are the products with a training interaction; users without one get none, since nothing is known of
//! them.

pub mod op;
pub mod program;

pub use op::RecommendOp;
pub use program::{Input, Recommend, Settings, SettingsError};

use tensor::TableId;

/// One object of [`tensor::Recommended`] rows a user block.
pub const RECOMMENDED: TableId = TableId(0x0f00);
