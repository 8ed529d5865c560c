//! Logistic regression with a ridge: Newton's method in f64.
//!
//! Minimises Σᵢ ln(1 + exp(−sᵢ zᵢ)) + ½ Σⱼ λⱼ wⱼ² with zᵢ = b + w·xᵢ and sᵢ = ±1; b is not held. The second derivative is
//! Σ pᵢ (1 − pᵢ) x̃ᵢ x̃ᵢᵀ + diag(λ), so each step solves a weighted least-squares problem (iteratively reweighted: Hastie, Tibshirani and Friedman,
//! "The Elements of Statistical Learning", 4.4.1); it is halved until the objective falls.
//!
//! **Invariant:** sums run over fixed shares of rows, whose sums are added in their order.

use crate::als::dense::{cholesky, lower_len, substitute};
use kernels::random::{exp, ln};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows that are summed together.
const SHARE_ROWS: usize = 1_024;
/// The most steps; some ten are usual.
const STEPS_MAX: usize = 60;
/// Halvings of a step.
const HALVINGS_MAX: usize = 30;
/// It rests where no slope, for a row, is above this.
const SLOPE: f64 = 1e-10;

/// A fitted regression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// b.
    pub intercept: f64,
    /// w.
    pub weights: Vec<f64>,
}

/// 1 / (1 + exp(−z)).
pub(super) fn sigmoid(z: f64) -> f64 {
    let small = exp(-z.abs().min(700.0));
    if z >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

/// ln(1 + exp(z)).
fn softplus(z: f64) -> f64 {
    z.max(0.0) + ln(1.0 + exp(-z.abs().min(700.0)))
}

/// The objective, its slope, and the lower triangle of its second derivative: b last.
struct Sums {
    objective: f64,
    slope: Vec<f64>,
    curvature: Vec<f64>,
}

impl Logistic {
    /// b + w·x.
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        let terms = self.weights.iter().zip(x).map(|(w, x)| w * x);
        terms.fold(self.intercept, |sum, term| sum + term)
    }

    /// The probability of a label.
    pub fn probability(&self, x: &[f64]) -> f64 {
        sigmoid(self.log_odds(x))
    }

    /// Fits rows that have a number a ridge.
    ///
    /// # Panics
    /// Where there is not a row a label, or a ridge is not above 0.
    pub fn fit(rows: &[f64], labels: &[bool], ridges: &[f64]) -> Self {
        let columns = ridges.len();
        assert_eq!(rows.len(), labels.len() * columns, "a row a label");
        assert!(ridges.iter().all(|ridge| *ridge > 0.0), "ridges above 0");
        let mut at = Logistic {
            intercept: 0.0,
            weights: vec![0.0; columns],
        };
        let mut sums = at.sums(rows, labels, ridges);
        for _ in 0..STEPS_MAX {
            let rests = SLOPE * labels.len() as f64;
            if sums.slope.iter().all(|slope| slope.abs() <= rests) {
                break;
            }
            let mut step = sums.slope.clone();
            let mut lower = sums.curvature.clone();
            if cholesky(columns + 1, &mut lower).is_err() {
                break;
            }
            substitute(columns + 1, &lower, &mut step);
            let mut share = 1.0;
            let mut moved = None;
            for _ in 0..HALVINGS_MAX {
                let there = at.moved(&step, -share);
                let found = there.sums(rows, labels, ridges);
                if found.objective < sums.objective {
                    moved = Some((there, found));
                    break;
                }
                share *= 0.5;
            }
            let Some((there, found)) = moved else { break };
            (at, sums) = (there, found);
        }
        at
    }

    /// The log loss of a row.
    pub fn loss(&self, row: &[f64], label: bool) -> f64 {
        let z = self.log_odds(row);
        softplus(if label { -z } else { z })
    }

    fn moved(&self, step: &[f64], share: f64) -> Self {
        let (last, first) = step.split_last().expect("b at least");
        let weights = self.weights.iter().zip(first);
        Logistic {
            intercept: self.intercept + share * last,
            weights: weights.map(|(w, step)| w + share * step).collect(),
        }
    }

    fn sums(&self, rows: &[f64], labels: &[bool], ridges: &[f64]) -> Sums {
        let columns = self.weights.len();
        let shares = labels.par_chunks(SHARE_ROWS).enumerate();
        let shares = shares.map(|(share, labels)| {
            let rows = &rows[share * SHARE_ROWS * columns..][..labels.len() * columns];
            self.of_share(rows, labels)
        });
        let mut all = Sums {
            objective: 0.0,
            slope: vec![0.0; columns + 1],
            curvature: vec![0.0; lower_len(columns + 1)],
        };
        for share in shares.collect::<Vec<Sums>>() {
            all.objective += share.objective;
            add(&mut all.slope, &share.slope);
            add(&mut all.curvature, &share.curvature);
        }
        for (column, (w, ridge)) in self.weights.iter().zip(ridges).enumerate() {
            all.objective += 0.5 * ridge * w * w;
            all.slope[column] += ridge * w;
            all.curvature[lower_len(column) + column] += ridge;
        }
        all
    }

    fn of_share(&self, rows: &[f64], labels: &[bool]) -> Sums {
        let columns = self.weights.len();
        let mut sums = Sums {
            objective: 0.0,
            slope: vec![0.0; columns + 1],
            curvature: vec![0.0; lower_len(columns + 1)],
        };
        let mut row = vec![1.0; columns + 1];
        for (place, &label) in labels.iter().enumerate() {
            row[..columns].copy_from_slice(&rows[place * columns..][..columns]);
            let z = self.log_odds(&row[..columns]);
            sums.objective += softplus(if label { -z } else { z });
            let p = sigmoid(z);
            let (away, weight) = (p - f64::from(u8::from(label)), p * (1.0 - p));
            for (i, &x) in row.iter().enumerate() {
                sums.slope[i] += away * x;
                let line = &mut sums.curvature[lower_len(i)..][..=i];
                line.iter_mut()
                    .zip(&row)
                    .for_each(|(sum, other)| *sum += weight * x * other);
            }
        }
        sums
    }
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    fn drawn(rows: u32, columns: usize) -> (Vec<f64>, Vec<bool>) {
        let (mut x, mut labels) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let random = Random::new(8, 0x99, 0, row);
            let of: Vec<f64> = (0..columns).map(|i| random.normal(i as u32)).collect();
            let z = 0.3 + 1.5 * of[0] - 0.8 * of[1];
            labels.push(random.uniform_f64(40) < 1.0 / (1.0 + (-z).exp()));
            x.extend(of);
        }
        (x, labels)
    }

    #[test]
    fn without_columns_it_is_the_share() {
        let labels: Vec<bool> = (0..40).map(|i| i % 4 == 0).collect();
        let found = Logistic::fit(&[], &labels, &[]);
        // ln(1/4 / 3/4).
        assert!((found.intercept + 3.0_f64.ln()).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn one_binary_column_has_the_closed_form() {
        // 3 of 10 where x = 0, 8 of 10 where x = 1: w is the log of the odds ratio, b the log odds where x = 0.
        let x: Vec<f64> = (0..20).map(|i| f64::from(u8::from(i >= 10))).collect();
        let labels: Vec<bool> = (0..20).map(|i| i < 3 || (10..18).contains(&i)).collect();
        let found = Logistic::fit(&x, &labels, &[1e-9]);
        let (low, high) = ((3.0_f64 / 7.0).ln(), (8.0_f64 / 2.0).ln());
        assert!((found.intercept - low).abs() < 1e-6, "{found:?}");
        assert!((found.weights[0] - (high - low)).abs() < 1e-6, "{found:?}");
        assert!((found.probability(&[1.0]) - 0.8).abs() < 1e-6);
    }

    #[test]
    fn slope_and_curvature_are_those_of_finite_differences() {
        const RIDGES: [f64; 3] = [2.5, 40.0, 0.1];
        let (x, labels) = drawn(1500, 3);
        let at = Logistic {
            intercept: -0.2,
            weights: vec![0.7, -0.1, 0.4],
        };
        let sums = at.sums(&x, &labels, &RIDGES);
        let shifted = |place: usize, by: f64| {
            let mut step = [0.0; 4];
            step[place] = by;
            at.moved(&step, 1.0).sums(&x, &labels, &RIDGES)
        };
        let h = 1e-5;
        for i in 0..4 {
            let (up, down) = (shifted(i, h), shifted(i, -h));
            let slope = (up.objective - down.objective) / (2.0 * h);
            assert!((slope - sums.slope[i]).abs() < 1e-5 * (1.0 + slope.abs()));
            for j in 0..=i {
                let curve = (up.slope[j] - down.slope[j]) / (2.0 * h);
                let found = sums.curvature[lower_len(i) + j];
                assert!(
                    (curve - found).abs() < 1e-5 * (1.0 + curve.abs()),
                    "{i} {j}"
                );
            }
        }
    }

    #[test]
    fn what_was_planted_is_found_and_slopes_vanish() {
        let (x, labels) = drawn(20_000, 3);
        let found = Logistic::fit(&x, &labels, &[1.0; 3]);
        for (found, planted) in found.weights.iter().zip([1.5, -0.8, 0.0]) {
            assert!((found - planted).abs() < 0.08, "{found} {planted}");
        }
        let slope = found.sums(&x, &labels, &[1.0; 3]).slope;
        assert!(slope.iter().all(|slope| slope.abs() < 1e-5), "{slope:?}");
    }

    #[test]
    fn a_ridge_holds_what_would_run_away() {
        // Labels that a column tells without fault have no finite weight alone.
        let x: Vec<f64> = (0..100).map(|i| f64::from(i) - 49.5).collect();
        let labels: Vec<bool> = (0..100).map(|i| i >= 50).collect();
        let found = Logistic::fit(&x, &labels, &[1.0]);
        assert!(
            found.weights[0] > 0.1 && found.weights[0] < 5.0,
            "{found:?}"
        );
        assert!(found.probability(&[-1e6]) < 1e-9 && found.probability(&[1e6]) > 1.0 - 1e-9);
    }
}
