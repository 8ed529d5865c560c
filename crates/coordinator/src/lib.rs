//! The shell that feeds `plan` and does what it says; command line, progress, reports.

pub mod away;
pub mod cli;
pub mod cluster;
pub mod driver;
pub mod failure;
pub mod job;
pub mod live;
pub mod memory;
pub mod output;
pub mod progress;
pub mod verbs;

pub use failure::Failure;
