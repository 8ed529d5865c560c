//! The inner loops: slices in, slices out.
//!
//! **Invariant:** a kernel neither allocates, nor does I/O, nor starts a thread, nor fails. Every kernel gives
//! the same bits on every instruction set: lanes run across outputs, the terms of one output are added in a fixed
//! order, and only IEEE add, multiply, fused multiply-add, divide and square root are used.
#![allow(
    clippy::inline_always,
    reason = "a vector's methods must be compiled inside the function that enables its instructions"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "tiles walk several arrays by one index, as their formulas do"
)]

pub mod activation;
pub mod adam;
pub mod binned;
pub mod cg;
pub mod cholesky;
mod coming;
pub mod confidence;
pub mod cross;
pub mod distances;
pub mod dot;
pub mod dual;
pub mod eigen;
pub mod losses;
pub mod measure;
pub mod non_negative;
pub mod normal;
pub mod panel;
pub mod peak;
pub mod random;
pub mod rotate;
pub mod rows;
pub mod sgd;
pub mod shift;
pub mod simd;
pub mod slopes;
pub mod softmax;
pub mod spmm;
pub mod spread;
pub mod subspace;
mod tile;
pub mod top;
pub mod unit;
mod vector;

pub use activation::{Activation, activate, deactivate};
pub use adam::{Adam, AdamRow, AdamTables, adam};
pub use binned::{Binned, add_binned, add_by_bin, flush_scaled, sum_products};
pub use cg::{Common, Equations, conjugate_gradients, conjugate_gradients_scratch};
pub use cholesky::{FailedPivot, batch_len, keeps_systems, solve, solve_scratch};
pub use coming::RowId;
pub use confidence::linear_confidence;
pub use cross::cross;
pub use distances::distances;
pub use dot::dot;
pub use dual::{Dual, dual, dual_scratch};
pub use eigen::{eigen, eigen_scratch};
pub use measure::{fit, inner};
pub use non_negative::{non_negative, non_negative_scratch};
pub use normal::{
    Base, CHUNK, Onto, accumulate, add, begin, close, close_long, flush, gram, panel_len,
    system_len, upper_index, upper_len,
};
pub use panel::{GROUP, Source, add_lines, add_targets, pack, scores};
pub use random::Random;
pub use rotate::rotate;
pub use rows::Rows;
pub use shift::shift;
pub use simd::{Path, Simd, SimdError};
pub use slopes::{Losses, slopes};
pub use softmax::softmax;
pub use spmm::{LINE, Lines, Weights, spmm, spmm_times};
pub use spread::{Places, spread};
pub use subspace::{subspace, subspace_scratch};
pub use top::{
    Added, Caps, Products, Ranked, Users, finish, pack_products, packed_len, rank, rank_scratch,
};
pub use unit::{unit, unit_back};

/// Lanes of a vector, and the number that every width is a multiple of.
pub const LANES: usize = 16;

/// The largest width the solvers take.
pub const WIDTH_MAX: usize = 512;

/// The rank padded with zeros to whole vectors: the length of a factor row in memory.
pub const fn width_of(rank: usize) -> usize {
    rank.next_multiple_of(LANES)
}

/// Whether a number can be divided by: a pivot, a diagonal, a norm.
#[inline(always)]
fn is_sound(number: f32) -> bool {
    number > 0.0 && number < f32::INFINITY
}
