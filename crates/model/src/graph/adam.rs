//! Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015) on the rows of a block:
//!
//!   m ← β1 m + (1 − β1) g,  v ← β2 v + (1 − β2) g²,  x ← x − rate · (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε)
//!
//! with the gradient g = share · D⁻ᵃ s + λ d x, s the sums that came back through the layers, d the degree of the row. Parameters
//! are kept as Dᵃ x, as the layers read them ([`super::lightgcn::schedule`]).

use super::ops::{AdamOp, Power};
use kernels::{Adam, AdamRow, Simd, width_of};
use rayon::prelude::*;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// Rows that a thread moves at a time.
const SHARE_ROWS: usize = 1_024;

/// 1 − βᵗ, by products alone.
fn correction(beta: f64, step: u32) -> f64 {
    let (mut power, mut square, mut left) = (1.0, beta, step);
    while left > 0 {
        if left % 2 == 1 {
            power *= square;
        }
        square *= square;
        left /= 2;
    }
    1.0 - power
}

/// A block of each: the parameters, and the means of the gradients and of their squares.
pub struct Moved<'a> {
    /// Dᵃ x.
    pub rows: &'a mut [f32],
    /// m.
    pub means: &'a mut [f32],
    /// v.
    pub squares: &'a mut [f32],
}

/// Moves rows along their gradients.
///
/// # Panics
/// Where there are not as many rows of each as degrees.
pub fn adam(simd: Simd, op: &AdamOp, degrees: &[f64], sums: &[f32], moved: Moved<'_>) {
    let width = width_of(op.columns as usize);
    let Moved {
        rows,
        means,
        squares,
    } = moved;
    for table in [sums, rows, means, squares] {
        assert_eq!(table.len(), degrees.len() * width, "a degree a row");
    }
    let betas = [BETA_1, BETA_2];
    let all = Adam {
        keep: betas.map(|beta| beta as f32),
        take: betas.map(|beta| (1.0 - beta) as f32),
        correct: betas.map(|beta| (1.0 / correction(beta, op.step)) as f32),
        epsilon: EPSILON,
    };
    let share = SHARE_ROWS * width;
    let shares = rows
        .par_chunks_mut(share)
        .zip(means.par_chunks_mut(share))
        .zip(squares.par_chunks_mut(share))
        .zip(sums.par_chunks(share))
        .zip(degrees.par_chunks(SHARE_ROWS));
    shares.for_each(|((((rows, means), squares), sums), degrees)| {
        let own = degrees.iter().map(|&degree| {
            let plain = Power(-op.power.0).of(degree) as f32;
            AdamRow {
                by: op.share * Power(-op.of_gradients.0).of(degree) as f32,
                held: (op.regularization * degree) as f32 * plain,
                rate: op.rate * op.power.of(degree) as f32,
            }
        });
        let own: Vec<AdamRow> = own.collect();
        kernels::adam(simd, all, &own, sums, [rows, means, squares]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_those_of_powers() {
        for step in [1_u32, 2, 3, 10, 1000] {
            let exact = 1.0 - 0.999_f64.powi(step as i32);
            assert!((correction(0.999, step) - exact).abs() < 1e-12);
        }
    }

    /// Against the formulas in f64, on parameters kept in the scale of layers.
    #[test]
    fn steps_are_those_of_the_paper() {
        let degrees: [f64; 3] = [4.0, 9.0, 0.0];
        let (width, steps) = (16, 5);
        let mut exact: Vec<[f64; 3]> = (0..48)
            .map(|i| [f64::from(i % 7) * 0.1 - 0.3, 0.0, 0.0])
            .collect();
        let root = |i: usize| degrees[i / width].sqrt();
        let scaled = |x: f64, i: usize| if root(i) > 0.0 { x / root(i) } else { 0.0 };
        let mut rows: Vec<f32> = (0..48).map(|i| scaled(exact[i][0], i) as f32).collect();
        let (mut means, mut squares) = (vec![0.0; 48], vec![0.0; 48]);
        for step in 1..=steps {
            let sums: Vec<f32> = (0..48).map(|i| ((i * step) as f32 * 0.7).sin()).collect();
            let op = AdamOp {
                columns: 16,
                power: Power(-1),
                of_gradients: Power(-1),
                share: 0.25,
                rate: 0.01,
                regularization: 0.002,
                step: step as u32,
            };
            let moved = Moved {
                rows: &mut rows,
                means: &mut means,
                squares: &mut squares,
            };
            adam(Simd::detect(), &op, &degrees, &sums, moved);
            for (i, [x, m, v]) in exact.iter_mut().enumerate() {
                let g = 0.25 * root(i) * f64::from(sums[i]) + 0.002 * degrees[i / width] * *x;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let corrected = (
                    *m / (1.0 - 0.9_f64.powi(step)),
                    *v / (1.0 - 0.999_f64.powi(step)),
                );
                *x -= 0.01 * corrected.0 / (corrected.1.sqrt() + 1e-8);
            }
        }
        for (i, x) in rows.iter().enumerate() {
            let exact = scaled(exact[i][0], i);
            assert!(
                (f64::from(*x) - exact).abs() < 1e-6,
                "{x} instead of {exact}"
            );
        }
    }
}
