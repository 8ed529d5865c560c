//! The job: settings from a TOML file, the environment and flags.
//!
//! **Invariant:** text is parsed, checked together and frozen here; verbs see typed [`Settings`] only.

pub mod advising;
pub mod check;
pub mod describe;
pub mod document;
pub mod files;
pub mod keys;
pub mod merge;
mod running;
pub mod search;
pub mod settings;
pub mod tuning;
pub mod value;

pub use check::Needs;
pub use merge::{Faults, Given, Merged};
pub use settings::Settings;
