//! Early stopping: which epoch is the best so far, and when to wait no longer for a better one.

use crate::evaluate::metric::Metric;
use serde::{Deserialize, Serialize};

/// When training ends for want of progress on the validation part (Prechelt, "Early stopping: but when?", 1998, with
/// a count of epochs as the criterion).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// By what epochs are compared.
    pub metric: Metric,
    /// Epochs without a better one after which training ends.
    pub patience: u32,
    /// An epoch is better only by more than this share of the best.
    pub min_improvement: f64,
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// From 1.
    pub epoch: u32,
    /// Its metric.
    pub value: f64,
    /// The best epoch before it, whose tables nobody needs any more.
    pub before: Option<u32>,
}

impl Stopping {
    /// The best epoch after one with this value.
    pub fn judge(&self, best: Option<Best>, epoch: u32, value: f64) -> Best {
        match best {
            Some(best)
                if !self
                    .metric
                    .is_better(value, best.value, self.min_improvement) =>
            {
                best
            }
            _ => Best {
                epoch,
                value,
                before: best.map(|best| best.epoch),
            },
        }
    }

    /// Whether the best epoch lies so far back that training ends.
    pub fn gives_up(&self, best: Best, epoch: u32) -> bool {
        epoch - best.epoch >= self.patience
    }
}
