//! A cluster in virtual time: the real program of a job and the real state machine of the coordinator, with workers that take
//! as long as measured figures say. What comes out is a model of clusters that nobody here has, not a measurement.
//!
//! **Invariant:** no clock and no chance: the same costs and shapes give the same bytes.

pub mod chart;
pub mod cluster;
pub mod costs;
pub mod links;
pub mod report;
pub mod shape;
pub mod work;

pub use cluster::{Course, run};
pub use costs::Costs;
pub use shape::{Machine, Shape, Trouble};
