//! Linear terms of attributes in the biases: what stands in the bias column of row i is c_i = b_i + x_iᵀw, its own bias and
//! what its attributes come to, so that a score stays one dot product. A missing attribute adds nothing.
//!
//! The own bias is what the objective regularizes, λ_i b_i² = λ_i (c_i − x_iᵀw)²: a row's equations have λ_i x_iᵀw on the
//! right-hand side of its bias, and w is the ridge regression of the biases on the attributes, in which row i weighs λ_i:
//!
//!   (Σ λ_i x xᵀ + λ2 N) w = Σ λ_i c_i x,   N_kk = Σ λ_i over the rows that have the attribute of column k.
//!
//! Only rows with interactions take part. Both are steps down the same objective, so it never rises.
//!
//! **Invariant:** sums run over the rows of a block in order, on one thread.

use super::dense::{cholesky, dot, lower_len, substitute};
use super::ops::{MapTally, MapsOp, SideOp};

/// Columns that may have terms: the triangle of their products is 16 MiB a block, and solving it takes a second or two.
pub const COLUMNS_MAX: u64 = 2048;
/// Floats of a stored row: one term, padded as all rows are.
pub const TERM_WIDTH: usize = 16;

/// The f64 that a block adds to the equations of the terms: Σ λ x xᵀ (lower triangle), Σ λ c x, and Σ λ of each attribute.
pub fn linear_len(op: &SideOp) -> usize {
    if op.linear {
        lower_len(op.columns()) + op.columns() + op.attributes.len()
    } else {
        0
    }
}

/// The parts of such sums.
struct Parts<T> {
    products: T,
    biases: T,
    held: T,
}

fn parts<'a>(op: &SideOp, sums: &'a [f64]) -> Parts<&'a [f64]> {
    let (products, rest) = sums.split_at(lower_len(op.columns()));
    let (biases, held) = rest.split_at(op.columns());
    Parts {
        products,
        biases,
        held,
    }
}

/// The sums of some rows.
pub(super) struct LinearSums<'a> {
    parts: Parts<&'a mut [f64]>,
}

impl<'a> LinearSums<'a> {
    pub(super) fn new(columns: usize, out: &'a mut [f64]) -> Self {
        let (products, rest) = out.split_at_mut(lower_len(columns));
        let (biases, held) = rest.split_at_mut(columns);
        let parts = Parts {
            products,
            biases,
            held,
        };
        LinearSums { parts }
    }

    /// Adds a row of the weight λ with the bias c. `entries` are its columns that are not 0, in order, and `observed` the
    /// attributes that it has.
    pub(super) fn add(
        &mut self,
        lambda: f64,
        bias: f64,
        entries: &[(usize, f64)],
        observed: impl Iterator<Item = usize>,
    ) {
        for (place, &(column, x)) in entries.iter().enumerate() {
            let row = &mut self.parts.products[lower_len(column)..];
            for &(other, y) in &entries[..=place] {
                row[other] += lambda * x * y;
            }
            self.parts.biases[column] += lambda * bias * x;
        }
        observed.for_each(|attribute| self.parts.held[attribute] += lambda);
    }
}

/// Solves for the terms; `last` are those that the rows were solved with.
///
/// # Panics
/// Where lengths are not those of the op.
pub fn solve_terms(op: &MapsOp, sums: &[f64], last: Option<&[f32]>, out: &mut [f32]) -> MapTally {
    let columns = op.side.columns();
    assert_eq!(sums.len(), linear_len(&op.side), "sums of the op");
    assert_eq!(out.len(), columns * TERM_WIDTH, "a row a column");
    let Parts {
        products,
        biases,
        held,
    } = parts(&op.side, sums);
    let attributes = op.side.attributes.iter().zip(held).enumerate();
    let of_columns = attributes.flat_map(|(attribute, (columns, held))| {
        let ridge = (attribute, op.regularization * held);
        std::iter::repeat_n(ridge, columns.count())
    });
    let ridges: Vec<(usize, f64)> = of_columns.collect();
    let (mut lower, mut terms) = (products.to_vec(), biases.to_vec());
    for (column, (_, ridge)) in ridges.iter().enumerate() {
        // A column of which no row knows has no equation, and a term of 0.
        let diagonal = &mut lower[lower_len(column) + column];
        *diagonal = if *ridge > 0.0 { *diagonal + ridge } else { 1.0 };
    }
    if let Err(pivot) = cholesky(columns, &mut lower) {
        let failed = Some((ridges[pivot].0 as u32, pivot as u32));
        return MapTally {
            failed,
            ..MapTally::default()
        };
    }
    substitute(columns, &lower, &mut terms);
    for (row, &term) in out.chunks_exact_mut(TERM_WIDTH).zip(&terms) {
        row[0] = term as f32;
    }
    let terms = terms_of(out);
    let quadratic: f64 = (0..columns)
        .map(|i| {
            let row = &products[lower_len(i)..][..=i];
            let (twice, ridge) = (2.0 * dot(&row[..i], &terms[..i]), ridges[i].1);
            terms[i] * (twice + (row[i] + ridge) * terms[i])
        })
        .sum();
    MapTally {
        loss: quadratic - 2.0 * dot(&terms, biases),
        taken: last.map_or(0.0, |last| 2.0 * dot(&terms_of(last), biases)),
        failed: None,
    }
}

/// Terms as they are stored.
pub(super) fn terms_of(rows: &[f32]) -> Vec<f64> {
    let rows = rows.chunks_exact(TERM_WIDTH);
    rows.map(|row| f64::from(row[0])).collect()
}
