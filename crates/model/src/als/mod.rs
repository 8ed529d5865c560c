//! Alternating least squares, matrix and tensor: one formula for all presets (DESIGN 5.1), solved exactly or by a few
//! steps from the last factors.
//!
//! **Invariant:** the bits of a row depend on its interactions in canonical order and on nothing else: not
//! on threads, pieces, or what else is in the block.

pub mod basis;
pub mod biases;
mod bin_sums;
mod bin_targets;
pub(crate) mod dense;
pub mod desk;
mod equations;
pub mod explain;
pub mod first;
pub mod formula;
pub mod gram;
pub mod half_step;
mod items;
pub mod linear;
pub mod lines;
pub mod maps;
mod neighbour_steps;
pub mod neighbours;
mod non_negative;
pub mod ops;
pub mod packed;
pub mod program;
pub mod schedule;
pub mod settings;
mod shared;
pub mod side;
mod side_steps;
pub mod small_mode;
pub mod solver;
pub mod sum;
mod time_chain;
mod waiting;
mod weightless;

pub use biases::Biases;
pub use formula::Formula;
pub use kernels::Rows;
pub use ops::{
    AlsOp, BasisOp, Columns, FailedRow, First, HalfStepOp, InitOp, MapTally, MapsOp, SideOp,
    SmallPartialOp, SmallSolveOp, Tally, Totals, TotalsOp, TurnOp,
};
pub use program::{Als, Alternation, Input};
pub use settings::{ContextUse, Preset, Scaling, Settings, SettingsError, Solver, TimeUse};
