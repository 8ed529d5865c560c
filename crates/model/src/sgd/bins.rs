//! Factors of bins in descent: every tile of a stratum adds its gradients up beside bins that stay as they are, and one
//! small task then moves them (DESIGN 5.3).
//!
//! Version w of the bins is what the gradients of the first w strata, counted over all epochs, made of them. A tile of
//! stratum p reads version p − 1, so it waits for no tile of the stratum before, which meanwhile reads the same users or
//! products: bins lag by one stratum, always by the same one, and nobody meets a barrier.
//!
//! **Invariant:** gradients are added by the tree over the users' super-blocks, never as they arrive.

use super::first::given_row;
use super::ops::{BinsOp, FirstBinsOp};
use crate::reduce::tree_add;
use kernels::sgd::{COUNT, SQUARES, row_len};
use rayon::prelude::*;

/// Bins that a thread moves together.
const TOGETHER: usize = 16;

impl BinsOp {
    /// Floats of a row.
    pub fn row_len(&self) -> usize {
        row_len(kernels::width_of(self.rank as usize))
    }
}

impl FirstBinsOp {
    /// Floats of a row.
    pub fn row_len(&self) -> usize {
        row_len(kernels::width_of(self.rank as usize))
    }
}

/// The bins before the first stratum, as they are given; the others are ones, the tensor being the matrix in each of them.
///
/// # Panics
/// Where what is given are not as many rows.
pub fn first_bins(op: &FirstBinsOp, given: Option<&[f32]>, out: &mut [f32]) {
    let rank = op.rank as usize;
    for (bin, row) in out.chunks_exact_mut(op.row_len()).enumerate() {
        match given_row(op.given, given, op.rank, bin) {
            Some(given) => row[..rank].copy_from_slice(&given[..rank]),
            None => row[..rank].fill(1.0),
        }
    }
}

/// The version that tiles of a stratum read, counted from 0 over all epochs.
pub fn version_read(stratum: u64) -> u64 {
    stratum.saturating_sub(1)
}

/// Moves each bin along the mean over its samples of s u ∘ v + λ t, in the paces of the other rows; `gradients` are the sums
/// of the tiles, and their counts the samples. A bin without samples stays.
///
/// # Panics
/// Where lengths differ.
pub fn move_bins(op: &BinsOp, gradients: &[&[f32]], rows: &mut [f32]) {
    let (rank, len) = (op.rank as usize, op.row_len());
    let width = kernels::width_of(rank);
    let fits = |gradient: &&[f32]| gradient.len() == rows.len();
    assert!(gradients.iter().all(fits), "as many bins in each tile");
    let together = rows.par_chunks_mut(TOGETHER * len).enumerate();
    let scratch = || vec![vec![0.0_f64; len]; gradients.len()];
    together.for_each_init(scratch, |sums, (at, rows)| {
        for (place, row) in rows.chunks_exact_mut(len).enumerate() {
            let start = (at * TOGETHER + place) * len;
            for (sum, gradient) in sums.iter_mut().zip(gradients) {
                let terms = &gradient[start..start + len];
                sum.iter_mut()
                    .zip(terms)
                    .for_each(|(sum, term)| *sum = f64::from(*term));
            }
            let mut leaves: Vec<&mut [f64]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
            tree_add(&mut leaves);
            if let Some(sum) = leaves.into_iter().next() {
                move_bin(op, rank, width, sum, row);
            }
        }
    });
}

fn move_bin(op: &BinsOp, rank: usize, width: usize, sum: &mut [f64], row: &mut [f32]) {
    let samples = sum[width + COUNT];
    if samples == 0.0 {
        return;
    }
    let mut squares = 0.0;
    for (gradient, t) in sum[..rank].iter_mut().zip(&row[..rank]) {
        *gradient = *gradient / samples + f64::from(op.regularization) * f64::from(*t);
        squares += *gradient * *gradient;
    }
    let tail = &mut row[width..];
    tail[COUNT] += samples as f32;
    let mut pace = f64::from(op.rate);
    if op.adagrad {
        tail[SQUARES] += (squares / rank as f64) as f32;
        pace /= (f64::from(tail[SQUARES]) + 1e-20).sqrt();
    }
    for (t, gradient) in row.iter_mut().zip(&sum[..rank]) {
        *t = (f64::from(*t) - pace * gradient) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(adagrad: bool) -> BinsOp {
        BinsOp {
            bins: 3,
            rank: 2,
            rate: 0.5,
            adagrad,
            regularization: 0.1,
        }
    }

    #[test]
    fn bins_move_along_the_mean_of_their_samples() {
        let len = op(true).row_len();
        let width = kernels::width_of(2);
        let mut tiles = vec![vec![0.0_f32; 3 * len]; 5];
        for (tile, gradient) in (1_u8..).zip(&mut tiles) {
            gradient[0] = f32::from(tile);
            gradient[width + COUNT] = 2.0;
        }
        let gradients: Vec<&[f32]> = tiles.iter().map(Vec::as_slice).collect();
        for adagrad in [false, true] {
            let mut rows = vec![0.0; 3 * len];
            let first = FirstBinsOp {
                bins: 3,
                rank: 2,
                given: None,
            };
            first_bins(&first, None, &mut rows);
            move_bins(&op(adagrad), &gradients, &mut rows);
            // Σ = 15 over ten samples, and 0 in the second column.
            let mean = [1.5 + 0.1, 0.1_f64];
            let square = mean.iter().map(|g| g * g).sum::<f64>() / 2.0;
            let pace = if adagrad { 0.5 / square.sqrt() } else { 0.5 };
            for (t, g) in rows.iter().zip(mean) {
                assert!((f64::from(*t) - (1.0 - pace * g)).abs() < 1e-6, "{t}");
            }
            assert_eq!(rows[width + COUNT], 10.0);
            // Nobody met the others.
            assert_eq!(rows[len..len + 3], [1.0, 1.0, 0.0]);
            assert_eq!(rows[len + width..2 * len], [0.0; 16]);
        }
    }

    #[test]
    fn a_stratum_reads_what_the_one_before_the_last_left() {
        assert_eq!([0, 1, 2, 9].map(version_read), [0, 0, 1, 8]);
    }
}
