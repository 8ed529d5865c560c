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

/// Something of each of the two small modes, in canonical order: an interaction's bin and context, whether a file has
/// them, their tables.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Small<T> {
    /// Of time.
    pub time: T,
    /// Of context.
    pub context: T,
}

impl<T> Small<T> {
    /// The same made of each.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> Small<U> {
        Small {
            time: of(self.time),
            context: of(self.context),
        }
    }

    /// With something else of each.
    pub fn zip<U>(self, other: Small<U>) -> Small<(T, U)> {
        Small {
            time: (self.time, other.time),
            context: (self.context, other.context),
        }
    }

    /// Lent.
    pub fn as_ref(&self) -> Small<&T> {
        Small {
            time: &self.time,
            context: &self.context,
        }
    }

    /// Each with its mode.
    pub fn each(self) -> [(Mode, T); 2] {
        [(Mode::Time, self.time), (Mode::Context, self.context)]
    }

    /// That of a small mode; `None` of a large one.
    pub fn of(&self, mode: Mode) -> Option<&T> {
        match mode {
            Mode::User | Mode::Product => None,
            Mode::Time => Some(&self.time),
            Mode::Context => Some(&self.context),
        }
    }
}

impl Small<bool> {
    /// How many there are.
    pub fn count(self) -> usize {
        usize::from(self.time) + usize::from(self.context)
    }
}
