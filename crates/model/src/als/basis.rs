//! The eigenbasis of a Gram matrix: in it what all rows have in common is diagonal. One task diagonalises, the other
//! table is turned once, and a half-step solves its rows there and turns them back, so nothing turned is kept.
//!
//! **Invariant:** a row is turned alone, so neither blocks nor threads change a bit.

use super::biases::Biases;
use kernels::{LANES, Simd, eigen, eigen_scratch, rotate, upper_index, upper_len};
use rayon::prelude::*;

/// Rows that one thread turns at a time.
const SHARE_ROWS: usize = 1_024;

/// The f64 of a basis as an object: the eigenvalues; what held columns add to the product with a row, in its coordinates;
/// then the eigenvectors, one a row, all padded to the width.
pub const fn basis_len(width: usize) -> usize {
    2 * width + width * width
}

/// Bytes that [`basis_of`] takes beside its result.
pub const fn basis_scratch_bytes(rank: usize) -> u64 {
    8 * (rank * rank + rank + eigen_scratch(rank)) as u64
}

/// Diagonalises a Gram matrix, or the product of several, entry by entry, given as upper triangles, over its free columns.
/// A held column stays itself, its value its own entry. A Gram that is not finite gives values that are no numbers, with
/// which no row can be solved.
///
/// # Panics
/// Where a Gram is not of the rank's width.
pub fn basis_of(simd: Simd, rank: usize, biases: Biases, grams: &[&[f64]]) -> Vec<f64> {
    let width = rank.next_multiple_of(LANES);
    assert!(
        grams.iter().all(|gram| gram.len() == upper_len(width)),
        "Grams of the width"
    );
    let entry = |i: usize, j: usize| {
        let at = upper_index(width, i.min(j), i.max(j));
        grams.iter().map(|gram| gram[at]).product::<f64>()
    };
    let free: Vec<usize> = (0..rank).filter(|&column| !biases.holds(column)).collect();
    let n = free.len();
    let mut vectors: Vec<f64> = (0..n * n)
        .map(|i| entry(free[i / n], free[i % n]))
        .collect();
    let (mut values, mut scratch) = (vec![0.0; n], vec![0.0; eigen_scratch(n)]);
    if !eigen(simd, &mut vectors, &mut values, &mut scratch) {
        values.fill(f64::NAN);
    }
    let mut basis = vec![0.0; basis_len(width)];
    let (out_values, rest) = basis.split_at_mut(width);
    let (moved, rows) = rest.split_at_mut(width);
    for ((&column, value), vector) in free.iter().zip(&values).zip(vectors.chunks_exact(n)) {
        // A Gram has no negative eigenvalue: those that come out below zero are its roundings.
        out_values[column] = if *value < 0.0 { 0.0 } else { *value };
        for (&place, &x) in free.iter().zip(vector) {
            rows[column * width + place] = x;
            moved[column] += biases
                .held()
                .map(|held| x * entry(place, held))
                .sum::<f64>();
        }
    }
    for held in biases.held() {
        out_values[held] = entry(held, held);
        rows[held * width + held] = 1.0;
    }
    basis
}

/// A basis as it is used.
pub struct Basis {
    /// Eigenvalues, the largest first; zeros in the padding.
    pub values: Vec<f64>,
    /// What the held columns add to the product of the Gram with a row.
    pub(super) moved: Vec<f64>,
    into: Vec<f32>,
    back: Vec<f32>,
}

impl Basis {
    /// The basis of an object.
    ///
    /// # Panics
    /// Where its length is not that of the width.
    pub fn open(width: usize, object: &[f64]) -> Self {
        assert_eq!(object.len(), basis_len(width), "a basis of the width");
        let (values, rest) = object.split_at(width);
        let (moved, vectors) = rest.split_at(width);
        let entry = |i: usize| vectors[i] as f32;
        Basis {
            values: values.to_vec(),
            moved: moved.to_vec(),
            back: (0..width * width).map(entry).collect(),
            into: (0..width * width)
                .map(|i| entry(i % width * width + i / width))
                .collect(),
        }
    }

    /// Bytes of an open basis.
    pub const fn bytes(width: usize) -> u64 {
        8 * (2 * width + width * width) as u64
    }

    /// Bytes that a thread takes to turn rows back.
    pub const fn turning_bytes(width: usize) -> u64 {
        4 * (SHARE_ROWS * width) as u64
    }

    /// Rows in the coordinates of the basis.
    ///
    /// # Panics
    /// Where the rows are not whole.
    pub fn turn(&self, simd: Simd, rows: &[f32], out: &mut [f32]) {
        let width = self.values.len();
        let shares = rows.par_chunks(SHARE_ROWS * width);
        shares
            .zip(out.par_chunks_mut(SHARE_ROWS * width))
            .for_each(|(rows, out)| rotate(simd, width, &self.into, rows, out));
    }

    /// Some rows in the coordinates of the basis, on this thread.
    pub(super) fn turn_some(&self, simd: Simd, rows: &[f32], out: &mut [f32]) {
        rotate(simd, self.values.len(), &self.into, rows, out);
    }

    /// The same back.
    pub(super) fn turn_some_back(&self, simd: Simd, rows: &[f32], out: &mut [f32]) {
        rotate(simd, self.values.len(), &self.back, rows, out);
    }

    /// The same rows as they were before [`Basis::turn`], but for roundings.
    pub(super) fn turn_back(&self, simd: Simd, rows: &mut [f32]) {
        let width = self.values.len();
        rows.par_chunks_mut(SHARE_ROWS * width).for_each(|rows| {
            let turned = rows.to_vec();
            rotate(simd, width, &self.back, &turned, rows);
        });
    }
}
