//! The Gram matrix of a block of a table: what it adds to every row of the other modes.

use kernels::{Simd, add, gram, upper_len};
use rayon::prelude::*;

/// Rows that are summed in one sequence of f64 additions; these by the binary tree over their positions.
const SEGMENT_ROWS: usize = 16_384;

/// Σ v vᵀ over the rows of a block, as an upper triangle.
pub fn block_gram(simd: Simd, width: usize, rows: &[f32]) -> Vec<f64> {
    let segment = |rows: &[f32]| {
        let mut chunk = vec![0.0; upper_len(width)];
        let mut sum = vec![0.0; upper_len(width)];
        gram(simd, width, rows, &mut chunk, &mut sum);
        sum
    };
    let mut segments: Vec<Vec<f64>> = rows.par_chunks(SEGMENT_ROWS * width).map(segment).collect();
    tree(simd, &mut segments);
    segments
        .into_iter()
        .next()
        .unwrap_or_else(|| vec![0.0; upper_len(width)])
}

fn tree(simd: Simd, segments: &mut [Vec<f64>]) {
    if segments.len() > 1 {
        let (left, right) = segments.split_at_mut(segments.len().next_power_of_two() / 2);
        tree(simd, left);
        tree(simd, right);
        add(simd, &mut left[0], &right[0]);
    }
}
