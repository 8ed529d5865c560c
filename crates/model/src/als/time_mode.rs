//! The time mode: few rows, very many interactions. Every user block adds up its part of the equations of
//! all bins; a tree brings them together; one task solves.
//!
//! **Invariant:** a bin's interactions in a block are summed by their position among them, in canonical order of the
//! block; so pieces and threads change no bit.

use super::formula::Formula;
use super::half_step::Factors;
use super::items::add;
use super::non_negative::descend;
use super::ops::{FailedRow, Tally, TimePartialOp, TimeSolveOp};
use super::sum::{Desk, Desks, Interactions, SEGMENT, Sum};
use crate::reduce::tree_sum;
use kernels::{CHUNK, LANES, Simd, Source, system_len, upper_index, upper_len};
use rayon::prelude::*;
use std::ops::Range;
use tensor::CsrRef;
use tensor::csr::Values;

/// The f64 of one bin's equations: the system (upper triangle and right-hand side), then the count.
pub const fn packed_len(width: usize) -> usize {
    system_len(width) + 1
}

/// What a user block adds to the equations of all bins, in progress.
pub struct TimePartial {
    simd: Simd,
    formula: Formula,
    sums: Vec<Sum>,
}

impl TimePartial {
    /// Nothing added yet.
    pub fn new(simd: Simd, op: &TimePartialOp) -> Self {
        TimePartial {
            simd,
            formula: op.formula,
            sums: vec![Sum::default(); op.bins as usize],
        }
    }

    /// Bytes that it holds between pieces, for a block of so many interactions.
    pub fn bytes(width: usize, bins: u64, interactions: u64, threads: usize) -> u64 {
        let trees = (interactions / SEGMENT).min(bins);
        let long = Sum::bytes(width, interactions.max(1));
        (bins - trees) * Sum::bytes(width, 1)
            + (trees + 2 * threads as u64) * long
            + threads as u64 * Desk::bytes(width, 0)
    }

    /// Bytes per interaction of a piece, beside its own.
    pub const PIECE_BYTES: u64 = 8;

    /// Adds a piece. `users` holds the rows of the block by their place in it; the piece's first row is the block's
    /// `first_row`; `factors.times` is not read.
    ///
    /// # Panics
    /// Where the piece has no times, or one beyond the bins.
    pub fn piece(
        &mut self,
        csr: CsrRef<'_>,
        first_row: u32,
        users: kernels::Rows<'_>,
        factors: Factors<'_>,
        desks: &Desks,
    ) {
        let times = csr.times().expect("a tensor's interactions have times");
        let (simd, width) = (self.simd, self.formula.width());
        let (starts, order) = by_bin(times, self.sums.len());
        let rows = row_of_each(&csr, first_row);
        let items = |bin: usize| BinItems {
            simd,
            formula: &self.formula,
            users,
            products: factors.columns,
            order: &order[starts[bin]..starts[bin + 1]],
            rows: &rows,
            columns: csr.columns(),
            values: csr.values(),
        };
        let is_long = |bin: usize| (starts[bin + 1] - starts[bin]) as u64 > SEGMENT;
        let mut sums = std::mem::take(&mut self.sums);
        for (bin, sum) in sums.iter_mut().enumerate().filter(|(bin, _)| is_long(*bin)) {
            let items = items(bin);
            sum.extend_on_all(simd, width, &items, items.order.len(), desks);
        }
        let short = sums
            .par_iter_mut()
            .enumerate()
            .filter(|(bin, _)| !is_long(*bin));
        short.for_each(|(bin, sum)| {
            let items = items(bin);
            desks.at(|desk| sum.extend(simd, width, &items, items.order.len(), desk));
        });
        self.sums = sums;
    }

    /// The partial: [`packed_len`] numbers per bin.
    ///
    /// # Panics
    /// Where `out` has another length.
    pub fn finish(self, out: &mut [f64]) {
        let width = self.formula.width();
        assert_eq!(
            out.len(),
            self.sums.len() * packed_len(width),
            "equations of all bins"
        );
        for (sum, out) in self
            .sums
            .into_iter()
            .zip(out.chunks_exact_mut(packed_len(width)))
        {
            let (system, count) = out.split_at_mut(system_len(width));
            count[0] = sum.count() as f64;
            system.copy_from_slice(&sum.total(self.simd, width));
        }
    }
}

/// Positions of a piece sorted by bin, stably, and where each bin begins.
fn by_bin(times: &[u32], bins: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; bins + 1];
    for &bin in times {
        starts[bin as usize + 1] += 1;
    }
    (0..bins).for_each(|bin| starts[bin + 1] += starts[bin]);
    let mut next = starts.clone();
    let mut order = vec![0; times.len()];
    for (position, &bin) in times.iter().enumerate() {
        order[next[bin as usize]] = position as u32;
        next[bin as usize] += 1;
    }
    (starts, order)
}

/// The row in the block of each interaction of a piece.
fn row_of_each(csr: &CsrRef<'_>, first_row: u32) -> Vec<u32> {
    let mut rows = Vec::with_capacity(csr.interactions());
    for row in 0..csr.rows() {
        rows.resize(rows.len() + csr.row(row).len(), first_row + row as u32);
    }
    rows
}

/// Interactions of one bin, anywhere in the piece.
struct BinItems<'a> {
    simd: Simd,
    formula: &'a Formula,
    users: kernels::Rows<'a>,
    products: kernels::Rows<'a>,
    order: &'a [u32],
    rows: &'a [u32],
    columns: &'a [u32],
    values: Values<'a>,
}

impl Interactions for BinItems<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, system: &mut [f32]) {
        let count = range.len();
        let Desk {
            panel,
            weights,
            targets,
            ids: [products, users],
            ..
        } = desk;
        for (e, &position) in self.order[range].iter().enumerate() {
            let position = position as usize;
            let term = self.formula.term(self.values.at(position));
            (weights[e], targets[e]) = (term.weight, term.target);
            (products[e], users[e]) = (self.columns[position], self.rows[position]);
        }
        debug_assert!(count <= CHUNK);
        let sources = [
            Source {
                rows: self.products,
                ids: &products[..count],
            },
            Source {
                rows: self.users,
                ids: &users[..count],
            },
        ];
        let terms = (&weights[..count], &targets[..count]);
        add(self.simd, self.formula, &sources, terms, panel, system);
    }
}

/// Solves the rows of all bins in f64 from their reduced equations; `out` holds before what they start from, where the op
/// descends. A bin without interactions is exactly zero.
///
/// # Panics
/// Where a length is not that of the op.
pub fn solve_times(
    op: &TimeSolveOp,
    equations: &[f64],
    grams: Option<(&[f64], &[f64])>,
    out: &mut [f32],
) -> Tally {
    let width = op.formula.width();
    assert_eq!(
        equations.len(),
        op.bins as usize * packed_len(width),
        "equations of all bins"
    );
    assert_eq!(out.len(), op.bins as usize * width, "a row per bin");
    let base: Vec<f64> = match grams {
        Some((users, products)) if op.formula.has_base() => users
            .iter()
            .zip(products)
            .map(|(u, p)| op.formula.alpha0 * u * p)
            .collect(),
        _ => vec![0.0; upper_len(width)],
    };
    let bins = equations
        .par_chunks_exact(packed_len(width))
        .zip(out.par_chunks_exact_mut(width));
    let solved: Vec<Result<(f64, f64), usize>> = bins
        .map(|(equations, out)| solve_bin(op, equations, &base, out))
        .collect();
    let failed = solved.iter().zip(0..).find_map(|(bin, row)| {
        bin.err().map(|pivot| FailedRow {
            row,
            pivot: pivot as u32,
        })
    });
    let notes: Vec<(f64, f64)> = solved.into_iter().map(Result::unwrap_or_default).collect();
    let sum = |of: fn(&(f64, f64)) -> f64| tree_sum(&notes.iter().map(of).collect::<Vec<_>>());
    Tally {
        fit: sum(|note| note.0),
        regularization: sum(|note| note.1),
        failed,
    }
}

/// One bin; returns its fit and regularization, or the pivot that failed.
fn solve_bin(
    op: &TimeSolveOp,
    equations: &[f64],
    base: &[f64],
    out: &mut [f32],
) -> Result<(f64, f64), usize> {
    let (width, rank) = (op.formula.width(), op.formula.rank as usize);
    let count = equations[system_len(width)] as u64;
    if count == 0 {
        out.fill(0.0);
        return Ok((0.0, 0.0));
    }
    let ridge = f64::from(op.formula.row_regularization(count, op.cells));
    let entry = |row: usize, column: usize| {
        let i = upper_index(width, row.min(column), row.max(column));
        base[i] + equations[i] + if row == column { ridge } else { 0.0 }
    };
    let matrix: Vec<f64> = (0..rank * rank)
        .map(|i| entry(i / rank, i % rank))
        .collect();
    let rhs = &equations[upper_len(width)..][..rank];
    let solution = if op.non_negative {
        let mut x: Vec<f64> = out[..rank].iter().map(|&x| f64::from(x)).collect();
        descend(&matrix, rhs, &mut x)?;
        x
    } else {
        cholesky_solve(rank, matrix.clone(), rhs.to_vec())?
    };
    out.fill(0.0);
    out.iter_mut()
        .zip(&solution)
        .for_each(|(out, &x)| *out = x as f32);
    // The fit of what is kept, rounded to f32.
    let x: Vec<f64> = out[..rank].iter().map(|&x| f64::from(x)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let quadratic: f64 = x
        .iter()
        .zip(matrix.chunks_exact(rank))
        .map(|(&xk, row)| xk * dot(row, &x))
        .sum();
    Ok((2.0 * dot(rhs, &x) - quadratic, ridge * dot(&x, &x)))
}

/// A x = b for a symmetric positive definite A of f64, by rows of L; or the pivot that failed.
fn cholesky_solve(n: usize, mut a: Vec<f64>, mut b: Vec<f64>) -> Result<Vec<f64>, usize> {
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        let mut sums = [0.0; LANES];
        let (x_whole, y_whole) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        let rest: f64 = x_whole
            .remainder()
            .iter()
            .zip(y_whole.remainder())
            .map(|(x, y)| x * y)
            .sum();
        for (x, y) in x_whole.zip(y_whole) {
            sums.iter_mut()
                .zip(x.iter().zip(y))
                .for_each(|(sum, (x, y))| *sum += x * y);
        }
        sums.iter().sum::<f64>() + rest
    };
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        let row = &mut row[..n];
        for j in 0..i {
            let other = &above[j * n..][..n];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let pivot = row[i] - dot(&row[..i], &row[..i]);
        if pivot.is_nan() || pivot <= 0.0 || pivot.is_infinite() {
            return Err(i);
        }
        row[i] = pivot.sqrt();
        b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
    }
    for i in (0..n).rev() {
        b[i] /= a[i * n + i];
        let x = b[i];
        b[..i]
            .iter_mut()
            .zip(&a[i * n..][..i])
            .for_each(|(b, l)| *b -= l * x);
    }
    Ok(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_systems_are_solved_and_singular_ones_named() {
        let a = vec![4.0, 2.0, 2.0, 5.0];
        let x = cholesky_solve(2, a, vec![10.0, 17.0]).unwrap();
        assert!(
            (x[0] - 1.0).abs() < 1e-15 && (x[1] - 3.0).abs() < 1e-15,
            "{x:?}"
        );
        assert_eq!(
            cholesky_solve(2, vec![1.0, 1.0, 1.0, 1.0], vec![1.0, 1.0]),
            Err(1)
        );
    }

    #[test]
    fn interactions_keep_their_order_within_a_bin() {
        let (starts, order) = by_bin(&[2, 0, 2, 1, 0, 2], 4);
        assert_eq!(starts, [0, 2, 3, 6, 6]);
        assert_eq!(order, [1, 4, 3, 0, 2, 5]);
    }
}
