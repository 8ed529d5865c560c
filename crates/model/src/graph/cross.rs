//! What two tables have in common, Lᵀ X, and the rows of one times that: L (Gᵀ X) for the low-rank part L Gᵀ of a matrix that is
//! iterated with.

use super::dense::{SHARE_ROWS, TOGETHER, tree};
use super::ops::{CrossOp, TimesOp};
use kernels::{Simd, cross, rotate, width_of};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows of a width as rows of another, of which the last columns are zeros where it is wider.
fn widened(rows: &[f32], from: usize, to: usize) -> Cow<'_, [f32]> {
    if from == to {
        return Cow::Borrowed(rows);
    }
    let mut wide = vec![0.0; rows.len() / from * to];
    for (row, wide) in rows.chunks_exact(from).zip(wide.chunks_exact_mut(to)) {
        wide[..from].copy_from_slice(row);
    }
    Cow::Owned(wide)
}

/// The widths of both tables, and the wider one.
fn widths(left: u32, right: u32) -> (usize, usize, usize) {
    let (left, right) = (width_of(left as usize), width_of(right as usize));
    (left, right, left.max(right))
}

/// Bytes that either takes beside rows.
pub fn crossing_bytes(left: u32, right: u32, rows: usize, threads: usize) -> u64 {
    let (.., wide) = widths(left, right);
    let shares = rows.div_ceil(SHARE_ROWS);
    let squares = shares.div_ceil(TOGETHER) + TOGETHER.min(shares) + threads;
    (8 * squares * wide * wide + 12 * threads * SHARE_ROWS * wide) as u64
}

/// Lᵀ X of a block: a line a column of L, as wide as rows of X, in f64.
///
/// # Panics
/// Where there are not as many rows.
pub fn cross_sums(simd: Simd, op: CrossOp, left: &[f32], right: &[f32]) -> Vec<f64> {
    let (of_left, of_right, wide) = widths(op.left, op.right);
    let rows = left.len() / of_left;
    assert_eq!(rows, right.len() / of_right, "as many rows");
    let sum = |share: usize| {
        let some = share * SHARE_ROWS..rows.min((share + 1) * SHARE_ROWS);
        let left = &left[some.start * of_left..some.end * of_left];
        let right = &right[some.start * of_right..some.end * of_right];
        let pair = (widened(left, of_left, wide), widened(right, of_right, wide));
        let (mut sum, mut chunk) = (vec![0.0; wide * wide], vec![0.0; wide * wide]);
        cross(simd, wide, (&pair.0, &pair.1), &mut chunk, &mut sum);
        sum
    };
    let shares = rows.div_ceil(SHARE_ROWS);
    let groups = (0..shares).step_by(TOGETHER).map(|first| {
        let some = first..shares.min(first + TOGETHER);
        tree(some.into_par_iter().map(sum).collect())
    });
    let square = tree(groups.flatten().collect()).unwrap_or_else(|| vec![0.0; wide * wide]);
    let lines = square.chunks_exact(wide).take(op.left as usize);
    lines.flat_map(|line| line[..of_right].to_vec()).collect()
}

/// The rows of a block times a matrix of a line a column.
///
/// # Panics
/// Where lengths are not those of equally many rows, or of the op's lines.
pub fn times(simd: Simd, op: TimesOp, matrix: &[f64], rows: &[f32], out: &mut [f32]) {
    let (of_left, of_right, wide) = widths(op.left, op.right);
    assert_eq!(
        rows.len() / of_left,
        out.len() / of_right,
        "a row for a row"
    );
    assert_eq!(matrix.len(), op.left as usize * of_right, "a line a column");
    let mut square = vec![0.0; wide * wide];
    for (line, wide) in matrix
        .chunks_exact(of_right)
        .zip(square.chunks_exact_mut(wide))
    {
        wide.iter_mut().zip(line).for_each(|(x, &y)| *x = y as f32);
    }
    let shares = rows.par_chunks(SHARE_ROWS * of_left);
    shares
        .zip(out.par_chunks_mut(SHARE_ROWS * of_right))
        .for_each(|(rows, out)| {
            let rows = widened(rows, of_left, wide);
            let mut turned = vec![0.0; rows.len()];
            rotate(simd, wide, &square, &rows, &mut turned);
            for (out, turned) in out
                .chunks_exact_mut(of_right)
                .zip(turned.chunks_exact(wide))
            {
                out.copy_from_slice(&turned[..of_right]);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    fn rows(count: usize, columns: usize, step: u32) -> Vec<f32> {
        let mut rows = vec![0.0; count * width_of(columns)];
        for (at, row) in rows.chunks_exact_mut(width_of(columns)).enumerate() {
            Random::new(1, 2, step, at as u32).fill_normal(&mut row[..columns]);
        }
        rows
    }

    /// Against sums in f64, of tables of which either may be the wider, on every path alike.
    #[test]
    fn products_are_those_of_the_formulas() {
        for (left, right, count) in [(3, 40, 2500), (40, 3, 1), (20, 20, 17_000), (5, 7, 0)] {
            let (l, x) = (rows(count, left, 0), rows(count, right, 1));
            let (of_left, of_right) = (width_of(left), width_of(right));
            let (left, right) = (left as u32, right as u32);
            let sums = cross_sums(Simd::PORTABLE, CrossOp { left, right }, &l, &x);
            assert_eq!(sums.len(), left as usize * of_right);
            let cell = |rows: &[f32], width: usize, row: usize, k: usize| -> f64 {
                f64::from(rows[row * width + k])
            };
            for (i, j) in [(0, 0), (left as usize - 1, right as usize - 1), (1, 2)] {
                let terms =
                    (0..count).map(|row| cell(&l, of_left, row, i) * cell(&x, of_right, row, j));
                let exact: f64 = terms.sum();
                let found = sums[i * of_right + j];
                assert!(
                    (found - exact).abs() < 1e-3 * (1.0 + exact.abs()),
                    "{found} {exact}"
                );
            }
            let op = TimesOp { left, right };
            let mut out = vec![0.0; count * of_right];
            times(Simd::PORTABLE, op, &sums, &l, &mut out);
            for row in [0, count / 2, count.saturating_sub(1)] {
                for j in 0..if count == 0 { 0 } else { right as usize } {
                    let terms = (0..left as usize)
                        .map(|k| cell(&l, of_left, row, k) * sums[k * of_right + j]);
                    let exact: f64 = terms.sum();
                    let found = cell(&out, of_right, row, j);
                    let size: f64 = sums.iter().fold(1.0, |most, x| x.abs().max(most));
                    assert!((found - exact).abs() < 1e-4 * size, "{found} {exact}");
                }
            }
            for simd in Simd::available() {
                assert_eq!(cross_sums(simd, CrossOp { left, right }, &l, &x), sums);
                let mut other = vec![0.0; out.len()];
                times(simd, op, &sums, &l, &mut other);
                assert_eq!(other, out);
            }
        }
    }
}
