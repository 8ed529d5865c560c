//! What tests share: worlds that pretend, and laws that check.
//!
//! **Invariant:** only code here and in `tests/tests` pretends; nothing here is linked into a binary.

pub mod browser;
pub mod dense;
pub mod doors;
pub mod factors;
pub mod filtered;
pub mod generate;
pub mod graph;
pub mod http;
pub mod ingested;
pub mod inline;
pub mod interpose;
pub mod jobs;
pub mod laws;
pub mod liar;
pub mod linked;
pub mod lists;
pub mod mutate;
pub mod nemesis;
pub mod pages;
pub mod process;
pub mod promtool;
pub mod python;
pub mod stir;
pub mod stores;
pub mod tiled;
