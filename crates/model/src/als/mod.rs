//! Alternating least squares, matrix and tensor: one formula for all presets (DESIGN 5.1), solved exactly.
//!
//! **Invariant:** the bits of a row depend on its interactions in canonical order and on nothing else: not
//! on threads, pieces, or what else is in the block.

mod equations;
pub mod first;
pub mod formula;
pub mod gram;
pub mod half_step;
pub mod lines;
pub mod ops;
pub mod program;
pub mod schedule;
pub mod settings;
pub mod sum;
pub mod time_mode;

pub use formula::Formula;
pub use kernels::Rows;
pub use ops::{
    AlsOp, FailedRow, First, HalfStepOp, InitOp, Tally, TimePartialOp, TimeSolveOp, Totals,
    TotalsOp,
};
pub use program::{Als, Input, Sampler, TableVersion};
pub use settings::{Preset, Scaling, Settings, SettingsError, TimeUse};
