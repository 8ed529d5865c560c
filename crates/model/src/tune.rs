//! Successive halving: many trials train for a few epochs, the best of them for more (Jamieson and Talwalkar,
//! "Non-stochastic best arm identification and hyperparameter optimization", 2016).
//!
//! **Invariant:** which trials go on follows from their values alone; of equal ones the earlier.

use crate::evaluate::metric::Metric;
use std::cmp::Ordering;

/// A rung: so many trials, trained until so many epochs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Trials that reach it.
    pub trials: u32,
    /// Epochs of each, those of lower rungs included.
    pub epochs: u32,
}

/// The rungs from the lowest: each keeps one of `eta` trials and multiplies epochs by `eta`; the last has all `epochs`.
/// Rungs that would train no longer than the one below are left out.
///
/// # Panics
/// Where `eta` is below 2.
pub fn rungs(trials: u32, eta: u32, most: u32, epochs: u32) -> Vec<Rung> {
    assert!(eta >= 2, "a rung keeps fewer trials than the one below");
    let mut rungs: Vec<Rung> = Vec::new();
    for left in (0..most.max(1)).rev() {
        let share = u64::from(eta).saturating_pow(left);
        let epochs = (u64::from(epochs) / share).max(1) as u32;
        let below = rungs.last().copied();
        if below.is_some_and(|below| below.epochs >= epochs) {
            continue;
        }
        let trials = below.map_or(trials, |below| (below.trials / eta).max(1));
        rungs.push(Rung { trials, epochs });
    }
    rungs
}

/// Trials with their values, the best first; those whose value is no number come last.
pub fn ranked(metric: Metric, mut trials: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    trials.sort_by(|(one, value), (other, than)| {
        if value.is_nan() || than.is_nan() {
            value.is_nan().cmp(&than.is_nan()).then(one.cmp(other))
        } else if metric.is_better(*value, *than, 0.0) {
            Ordering::Less
        } else if metric.is_better(*than, *value, 0.0) {
            Ordering::Greater
        } else {
            one.cmp(other)
        }
    });
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_keep_one_of_eta() {
        let of = |trials, eta, most, epochs| -> Vec<(u32, u32)> {
            let rungs = rungs(trials, eta, most, epochs);
            rungs
                .iter()
                .map(|rung| (rung.trials, rung.epochs))
                .collect()
        };
        assert_eq!(of(16, 3, 3, 10), [(16, 1), (5, 3), (1, 10)]);
        assert_eq!(of(27, 3, 3, 27), [(27, 3), (9, 9), (3, 27)]);
        assert_eq!(of(4, 2, 1, 10), [(4, 10)]);
        assert_eq!(of(4, 4, 5, 3), [(4, 1), (1, 3)]);
    }

    #[test]
    fn the_best_come_first_and_the_earlier_of_equals() {
        let trials = vec![(0, 0.2), (1, 0.3), (2, 0.2), (3, 0.1)];
        let order = |metric| -> Vec<usize> {
            let ranked = ranked(metric, trials.clone());
            ranked.iter().map(|(trial, _)| *trial).collect()
        };
        assert_eq!(order(Metric::usual(false)), [1, 0, 2, 3]);
        assert_eq!(order(Metric::Rmse), [3, 0, 2, 1]);
        let broken = vec![(0, f64::NAN), (1, 0.3), (2, f64::NAN), (3, 0.1)];
        let places: Vec<usize> = ranked(Metric::Rmse, broken)
            .iter()
            .map(|(trial, _)| *trial)
            .collect();
        assert_eq!(places, [3, 1, 0, 2]);
    }
}
