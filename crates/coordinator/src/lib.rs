//! The shell that feeds `plan` and does what it says; command line, progress, reports.

pub mod failure;
pub mod job;
pub mod memory;

pub use failure::Failure;
