//! Rows times small matrices made of an eigenbasis of a Gram: orthonormal columns, and factors; and what is left of singular
//! triplets.
//!
//! Columns become orthonormal by the eigenvectors of their Gram (Stathopoulos and Wu, *A block orthogonalization procedure
//! with constant synchronization requirements*, 2002). Once leaves them as far from it as their Gram is ill-conditioned in f32, so
//! the program does it twice.

use super::ops::{Factor, PairsOp, Residuals, ResidualsOp, TurnOp};
use crate::als::basis::basis_len;
use kernels::{Simd, eigen, eigen_scratch, rotate, upper_index, upper_len, width_of};
use rayon::prelude::*;

/// Rows that one thread turns at a time.
const SHARE_ROWS: usize = 1_024;

/// An eigenvalue below this share of the largest is a rounding of zero: f32 rows tell no more of their Gram.
const LEAST_SHARE: f64 = 1e-13;

/// σ' / σ − 1 where walks of length 3 count: A³ has R Rᵀ R for its user-product block, and so σ³.
fn cube(cubes: bool, square: f64) -> f64 {
    if cubes { 1.0 + square } else { 1.0 }
}

/// The values of a basis and its vectors, one a line.
fn open(width: usize, basis: &[f64]) -> (&[f64], std::slice::ChunksExact<'_, f64>) {
    assert_eq!(basis.len(), basis_len(width), "a basis of the width");
    (&basis[..width], basis[2 * width..].chunks_exact(width))
}

/// The matrix of a factor: row k holds what column k of a row adds to all columns.
fn matrix(columns: usize, factor: Factor, basis: &[f64]) -> Vec<f32> {
    let width = width_of(columns);
    let mut matrix = vec![0.0; width * width];
    let (values, vectors) = open(width, basis);
    let least = LEAST_SHARE * values[0].abs();
    let size = |value: f64| match factor {
        Factor::Pair { .. } => value.abs(),
        _ => value,
    };
    let some = factor.columns(columns as u32) as usize;
    for (j, (&square, vector)) in values.iter().zip(vectors).enumerate().take(some) {
        // Not only what is too small, but also what is no number.
        let sound = size(square) > least;
        let by = match factor {
            Factor::Whiten => 1.0 / square.sqrt(),
            Factor::Left { cubes, weight, .. } => {
                weight * (cube(cubes, square) / square.sqrt()).sqrt()
            }
            Factor::Right { cubes, .. } => (cube(cubes, square) * square.sqrt()).sqrt(),
            Factor::Pair { signed: true, .. } => square.signum() * square.abs().sqrt(),
            Factor::Pair { signed: false, .. } => square.abs().sqrt(),
        };
        for k in 0..columns {
            matrix[k * width + j] = if sound { (vector[k] * by) as f32 } else { 0.0 };
        }
    }
    matrix
}

/// Rows times the op's factor of a basis ([`crate::als::basis::basis_len`] f64).
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn turn(simd: Simd, op: TurnOp, basis: &[f64], rows: &[f32], out: &mut [f32]) {
    let columns = op.columns as usize;
    let width = width_of(columns);
    let out_width = width_of(op.factor.columns(op.columns) as usize);
    assert_eq!(rows.len() / width, out.len() / out_width, "a row for a row");
    let matrix = matrix(columns, op.factor, basis);
    let shares = rows.par_chunks(SHARE_ROWS * width);
    shares
        .zip(out.par_chunks_mut(SHARE_ROWS * out_width))
        .for_each(|(rows, out)| {
            if width == out_width {
                return rotate(simd, width, &matrix, rows, out);
            }
            let mut turned = vec![0.0; rows.len()];
            rotate(simd, width, &matrix, rows, &mut turned);
            let turned = turned.chunks_exact(width);
            for (turned, out) in turned.zip(out.chunks_exact_mut(out_width)) {
                out.copy_from_slice(&turned[..out_width]);
            }
        });
}

/// Bytes that turning takes beside rows.
pub fn turning_bytes(columns: u32, threads: usize) -> u64 {
    let width = width_of(columns as usize);
    4 * (width * (width + threads * SHARE_ROWS)) as u64
}

/// The eigenbasis of QᵀT Q, a line a column of Q: of values, the largest in size first, and of vectors. One that is not finite gives values
/// that are no numbers.
///
/// # Panics
/// Where it is not of the op's columns.
pub fn pairs(simd: Simd, op: PairsOp, form: &[f64]) -> Vec<f64> {
    let n = op.columns as usize;
    let width = width_of(n);
    assert_eq!(form.len(), n * width, "a line a column");
    let entry = |i: usize, j: usize| 0.5 * (form[i * width + j] + form[j * width + i]);
    let mut vectors: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
    let (mut values, mut scratch) = (vec![0.0; n], vec![0.0; eigen_scratch(n)]);
    if !eigen(simd, &mut vectors, &mut values, &mut scratch) {
        values.fill(f64::NAN);
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
    let mut basis = vec![0.0; basis_len(width)];
    for (to, &from) in order.iter().enumerate() {
        basis[to] = values[from];
        let line = (2 + to) * width;
        basis[line..line + n].copy_from_slice(&vectors[from * n..(from + 1) * n]);
    }
    basis
}

/// Bytes that this takes.
pub const fn pairs_bytes(columns: u32) -> u64 {
    let n = columns as usize;
    8 * (n * n + 2 * n + eigen_scratch(n) + basis_len(width_of(n))) as u64
}

/// What is left of the triplets: with u = B v / σ and so vᵀ Bᵀ u = σ, |Bᵀ u − σ v|² = wᵀ ZᵀZ w / σ² − σ² for v = V w; of
/// pairs |T q − μ q|² = wᵀ YᵀY w − μ² for q = Q w.
///
/// # Panics
/// Where basis or Gram are not of the op's width.
pub fn residuals(op: ResidualsOp, basis: &[f64], gram: &[f64]) -> Residuals {
    let (columns, rank) = (op.columns as usize, op.rank as usize);
    let width = width_of(columns);
    assert_eq!(gram.len(), upper_len(width), "a Gram of the width");
    let (values, vectors) = open(width, basis);
    let least = LEAST_SHARE * values[0];
    let entry = |i: usize, j: usize| gram[upper_index(width, i.min(j), i.max(j))];
    let square = |(&value, w): (&f64, &[f64])| {
        let mut form = 0.0;
        for i in 0..columns {
            let along: f64 = (0..columns).map(|k| entry(i, k) * w[k]).sum();
            form += w[i] * along;
        }
        if op.pairs {
            (form - value * value).max(0.0)
        } else if value > least {
            (form / value - value).max(0.0)
        } else {
            0.0
        }
    };
    let size = |value: &f64| {
        if op.pairs { value.abs() } else { value.sqrt() }
    };
    Residuals {
        values: values[..rank].iter().map(size).collect(),
        squares: values.iter().zip(vectors).map(square).take(rank).collect(),
    }
}
