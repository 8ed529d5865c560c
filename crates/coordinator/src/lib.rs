//! The shell that feeds `plan` and does what it says; command line, progress, reports.

pub mod cluster;
pub mod driver;
