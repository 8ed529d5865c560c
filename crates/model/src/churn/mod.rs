//! Churn: users whose purchases will stop. Who bought before a cut and buys nothing in a horizon after it has churned.
//!
//! Regressions are fitted at an early cut, whose horizon ends before the test part begins, and judged at the cut before the test part. What
//! they know of a user (when and how often he bought, how that changed, his factors) is of before the cut alone: factors are of a model that
//! saw nothing behind the early cut, into which users are folded with what they had before each later one.
//!
//! **Invariant:** nothing that a regression reads of a user at a cut depends on an interaction behind it; sums are f64 over fixed shares of
//! rows, and draws are of rows and of nothing else.

mod fit;
mod history;
mod logistic;
pub mod ops;
mod program;
mod quality;

pub use fit::{fit, sample, scores};
pub use history::{Histories, History, Moments, WORDS};
pub use logistic::Logistic;
pub use ops::{ChurnOp, Told};
pub use program::{Churn, Input, Settings};
pub use quality::{Ordered, Quality};

use tensor::TableId;

/// What users had, at every moment.
pub(crate) const HISTORIES: TableId = TableId(0x0f20);
/// Of each block, the rows that are of the sample.
pub(crate) const SAMPLE: TableId = TableId(0x0f21);
/// The regression that scores.
pub(crate) const FITTED: TableId = TableId(0x0f22);
/// Of each user, [`SCORE_WORDS`] words.
pub const SCORES: TableId = TableId(0x0f23);

/// Words of a score: the probability (f32), bins since the last purchase, bins with a purchase, interactions (0: no score), and
/// the trend (f32).
pub const SCORE_WORDS: usize = 5;

/// What random numbers are drawn for: which rows are of the sample.
const PURPOSE_SAMPLE: u32 = 0x510;
