//! What a verb leaves: one JSON object on stdout, or tables for people on stderr.
//!
//! **Invariant:** both are made from the same values ([`VerbOutput`]); a verb prints nothing itself.

pub mod advice;
pub mod churn;
pub mod cold;
pub mod console;
pub mod graph;
pub mod influencers;
pub mod page;
pub mod report;
pub mod segments;
mod sparkline;
pub mod tables;

pub use console::Console;
pub use report::VerbOutput;
