//! Learnt rows as they are scored, and the gradients back: x with the bias b behind it is kept as [x, b], and scored as
//! [by · x/|x|, b], or with a 1 in place of b where others have the biases. Rows of zeros, which no interaction names, are zeros.

use crate::graph::ops::{UnitBackOp, UnitOp};
use kernels::{Simd, unit, unit_back, width_of};
use rayon::prelude::*;

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 1_024;

/// What is scored of learnt rows.
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn forward(simd: Simd, op: &UnitOp, learnt: &[f32], out: &mut [f32]) {
    let (last, width) = (op.columns as usize - 1, width_of(op.columns as usize));
    out.copy_from_slice(learnt);
    out.par_chunks_mut(SHARE_ROWS * width).for_each(|rows| {
        let mut biases = Vec::with_capacity(rows.len() / width);
        for row in rows.chunks_exact_mut(width) {
            biases.push(std::mem::take(&mut row[last]));
        }
        unit(simd, width, op.by, rows);
        for (row, bias) in rows.chunks_exact_mut(width).zip(biases) {
            row[last] = match op.biased {
                true => bias,
                false if row.iter().all(|&x| x == 0.0) => 0.0,
                false => 1.0,
            };
        }
    });
}

/// Gradients by learnt rows out of those by what is scored of them, in place.
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn back(simd: Simd, op: &UnitBackOp, learnt: &[f32], gradients: &mut [f32]) {
    let (last, width) = (op.columns as usize - 1, width_of(op.columns as usize));
    let share = SHARE_ROWS * width;
    let shares = gradients
        .par_chunks_mut(share)
        .zip(learnt.par_chunks(share));
    shares.for_each(|(gradients, learnt)| {
        let mut rows = learnt.to_vec();
        for row in rows.chunks_exact_mut(width) {
            row[last] = 0.0;
        }
        let mut biases = Vec::with_capacity(rows.len() / width);
        for gradient in gradients.chunks_exact_mut(width) {
            biases.push(std::mem::take(&mut gradient[last]));
        }
        unit_back(simd, width, op.by, &rows, gradients);
        for (gradient, bias) in gradients.chunks_exact_mut(width).zip(biases) {
            gradient[last] = if op.biased { bias } else { 0.0 };
        }
    });
}

/// Bytes that going back takes beside rows.
pub fn back_bytes(columns: u32, threads: usize) -> u64 {
    4 * (threads * SHARE_ROWS * (width_of(columns as usize) + 1)) as u64
}
