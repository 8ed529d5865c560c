//! What became of a table that users brought along.

use serde::{Deserialize, Serialize};

/// Its rows, and those among them that the data know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// All rows.
    pub rows: u64,
    /// Those whose id is in the data set.
    pub known: u64,
}
