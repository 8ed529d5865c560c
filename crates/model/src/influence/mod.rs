//! Influencers: rows of a mode through which much of what ties their neighbours to others goes.
//!
//! Of ties w ≥ 0 between rows, and the strength s_b = Σ_a w_ab of a row, the score of a row is
//!
//!   score(a) = Σ_{b ≠ a} w_ab / s_b
//!
//! the sum over its neighbours of the share of their ties that is with it: one step of a random walk from every row. A neighbour that knows
//! nobody else counts 1, one of many friends next to nothing. Ties are edges between the rows, in either direction, where the data have
//! some; else products that two users both bought (or users that bought both products), each of them shared out over the others who have it:
//!
//!   w_ab = Σ_{p of a and b} 1 / (d_p - 1)   (Newman, 2001)
//!
//! so that s_b is how many of b's products anyone else has, and the score is, with q_p = Σ_{b of p} 1 / s_b,
//!
//!   score(a) = Σ_{p of a, d_p > 1} (q_p - 1 / s_a) / (d_p - 1)
//!
//! two sparse products, and the projection is never made.
//!
//! **Invariant:** sums are f64 in the order of rows and columns; ties of one pair are met once, and a row has none with itself.

pub mod ops;
mod program;
mod ties;

pub use ops::InfluenceOp;
pub use program::{Found, Influencer, Influencers, Input, Settings, Ties};
pub use ties::{Neighbours, Others, best, reached, scores, strengths, through};

use tensor::TableId;

/// Strength and ties of each row, f64 each.
pub(crate) const STRENGTHS: TableId = TableId(0x0f18);
/// Of what two rows may share, how many have it, and Σ 1 / s over them, f64 each.
pub(crate) const SHARED: TableId = TableId(0x0f19);
/// What influencers have: column and the influencer's place, a u32 each.
pub(crate) const MARKS: TableId = TableId(0x0f1a);
