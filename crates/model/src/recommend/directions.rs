//! Rows as directions: what is compared where likeness is that of directions (cosines), and not of lengths, which know popularity.

use kernels::{Simd, unit};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 1_024;

/// Reads a block of rows. Writes them with the first `columns` at length 1 together and the others, which are biases, at 0; rows of zeros
/// stay. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionsOp {
    /// Columns that are compared.
    pub columns: u32,
    /// f32 per row, padding included.
    pub width: u32,
}

/// Makes directions of rows.
///
/// # Panics
/// Where rows are not whole, or not of the op's width.
pub fn directions(simd: Simd, op: DirectionsOp, rows: &mut [f32]) {
    let (columns, width) = (op.columns as usize, op.width as usize);
    assert!(
        rows.len().is_multiple_of(width) && columns <= width,
        "whole rows of {columns} columns in {width}"
    );
    rows.par_chunks_mut(SHARE_ROWS * width).for_each(|rows| {
        for row in rows.chunks_exact_mut(width) {
            row[columns..].fill(0.0);
        }
        unit(simd, width, 1.0, rows);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_have_length_one_without_biases() {
        let op = DirectionsOp {
            columns: 3,
            width: 16,
        };
        let mut rows = vec![0.0; 48];
        rows[..4].copy_from_slice(&[3.0, 0.0, 4.0, 100.0]);
        rows[32..35].copy_from_slice(&[-2.0, 1.0, 2.0]);
        directions(Simd::detect(), op, &mut rows);
        let near = |found: &[f32], expected: &[f32]| {
            let far = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
            assert!(far.fold(0.0, f32::max) < 1e-6, "{found:?}");
        };
        near(&rows[..4], &[0.6, 0.0, 0.8, 0.0]);
        near(&rows[16..32], &[0.0; 16]);
        near(&rows[32..36], &[-2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 0.0]);
    }
}
