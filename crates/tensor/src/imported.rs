//! What became of a table that users brought along.

use crate::mode::Mode;
use serde::{Deserialize, Serialize};

/// Its rows, and those among them that the data know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// All rows.
    pub rows: u64,
    /// Those whose id is in the data set.
    pub known: u64,
}

impl Imported {
    /// The key of `[model]` that names the tables of a mode's first factors.
    pub fn key(mode: Mode) -> &'static str {
        match mode {
            Mode::User => "initial_users",
            Mode::Product => "initial_products",
            Mode::Time => "initial_time",
            Mode::Context => "initial_contexts",
        }
    }
}
