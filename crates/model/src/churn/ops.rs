//! The ops of churn as values: what each reads and writes, in order, and what it returns.

use super::history::Moments;
use super::quality::Quality;
use crate::bootstrap::Interval;
use serde::{Deserialize, Serialize};

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChurnOp {
    /// Counts what the users of a block had.
    Histories(HistoriesOp),
    /// Takes the users of a block that are of the sample.
    Sample(SampleOp),
    /// Fits and judges the regressions on the sample.
    Fit(FitOp),
    /// Scores the users of a block.
    Score(ScoreOp),
}

/// Reads the partition of a block of users, with times. Writes their histories. Sums: users who are there at the first cut and at
/// the second, then those of each who churn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoriesOp {
    /// When.
    pub moments: Moments,
}

/// The factors of users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// Columns that are read; 0: there are none.
    pub columns: u32,
    /// f32 per row, padding included.
    pub width: u32,
}

/// Reads the histories of a block and, where there are factors, those of the first cut and of the second. Writes the rows of the sample: the
/// id of the row, the histories at both cuts, and the columns of both factors. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleOp {
    /// The id of the block's first row.
    pub first: u32,
    /// Of factors.
    pub factors: Factors,
    /// Users whose draw is below are taken; `None`: all.
    pub below: Option<u64>,
    /// Of the draws.
    pub seed: u64,
}

/// Reads the sample of all blocks. Writes the regression that scores. Returns [`Told`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitOp {
    /// Columns of factors.
    pub columns: u32,
    /// What holds weights.
    pub ridge: f64,
    /// Bootstrap replicates.
    pub replicates: u32,
    /// Of the bootstrap.
    pub seed: u64,
}

/// Reads the histories of a block, where there are factors those of the last cut, and the regression. Writes scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreOp {
    /// Of factors.
    pub factors: Factors,
}

/// A figure and where it may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// As measured.
    pub value: f64,
    /// 95 %.
    pub interval: Option<Interval>,
}

/// What a regression came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// What it reads.
    pub name: String,
    /// Its figures.
    pub quality: Quality,
    /// 95 % of each figure: area, lift, error.
    pub intervals: [Option<Interval>; 3],
    /// The area of the one that scores less its own.
    pub gain: Figure,
}

/// A tenth of the users by the probability that they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tenth {
    /// Users.
    pub users: u64,
    /// The mean of their probabilities.
    pub foretold: f64,
    /// The share of them who churned.
    pub churned: f64,
}

/// What the sample tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Users of the sample at the first cut and at the second.
    pub users: [u64; 2],
    /// Those of them who churned.
    pub churned: [u64; 2],
    /// The regressions; none where all or none churn.
    pub ranked: Vec<Ranked>,
    /// The place of the one that scores.
    pub chosen: u32,
    /// Its weights for standardized features of histories.
    pub weights: Vec<(String, f64)>,
    /// Whether its probabilities come true, the lowest first.
    pub calibration: Vec<Tenth>,
}
