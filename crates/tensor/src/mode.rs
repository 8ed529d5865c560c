//! The axes of the tensor.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One axis of the tensor. The order is that of digests and of every listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Who acted.
    User,
    /// What was bought, seen or rated.
    Product,
    /// When, in bins.
    Time,
    /// Where or how: store, channel, weekday.
    Context,
}

impl Mode {
    /// All modes in canonical order.
    pub const ALL: [Mode; 4] = [Mode::User, Mode::Product, Mode::Time, Mode::Context];

    /// The word used in files, flags and messages.
    pub fn name(self) -> &'static str {
        match self {
            Mode::User => "user",
            Mode::Product => "product",
            Mode::Time => "time",
            Mode::Context => "context",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
