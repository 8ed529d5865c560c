//! Dropout (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, *Dropout: a simple way to prevent neural networks from
//! overfitting*, 2014): of the numbers that a layer makes a share becomes 0 while the model trains, the others are divided by what is
//! left, so that sums stay as long in the mean. What is scored has all of them.
//!
//! **Invariant:** whether a number stays follows from seed, layer, mode, step, row id and column alone, so who makes the gradients
//! makes the mask again and nobody keeps it.

use kernels::random::Random;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tensor::Mode;

/// The purpose of the random numbers, to which twice the layer and the mode are added.
const PURPOSE: u32 = 0x330;

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 1_024;

/// What is dropped of a block's rows in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// The share of numbers, below 1.
    pub share: f64,
    /// The seed of the run.
    pub seed: u64,
    /// The rows' mode.
    pub mode: Mode,
    /// The layer, counted from 0.
    pub layer: u32,
    /// Steps of Adam before.
    pub step: u32,
    /// The id of the block's first row.
    pub first_row: u32,
}

impl Dropout {
    /// By what the numbers that stay are divided.
    pub fn kept(&self) -> f64 {
        1.0 - self.share
    }

    /// The numbers of a row, of which this is the id, that stay: each draw below that share of all words is dropped.
    fn stays(&self, row: u32) -> impl Fn(usize) -> [bool; 4] {
        let purpose = PURPOSE + 2 * self.layer + u32::from(self.mode == Mode::User);
        let random = Random::new(self.seed, purpose, self.step, row);
        let least = (self.share * 4_294_967_296.0) as u64;
        move |block| {
            random
                .block(block as u32)
                .map(|word| u64::from(word) >= least)
        }
    }

    /// Drops numbers of rows of a width, and multiplies those that stay: layers on the way up, gradients on the way down.
    pub fn apply(&self, width: usize, rows: &mut [f32]) {
        let by = (1.0 / self.kept()) as f32;
        let shares = rows.par_chunks_mut(SHARE_ROWS * width).enumerate();
        shares.for_each(|(share, rows)| {
            let first = self.first_row + (share * SHARE_ROWS) as u32;
            for (row, id) in rows.chunks_exact_mut(width).zip(first..) {
                let stays = self.stays(id);
                for (at, four) in row.chunks_exact_mut(4).enumerate() {
                    for (x, stays) in four.iter_mut().zip(stays(at)) {
                        *x = if stays { *x * by } else { 0.0 };
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Dropout = Dropout {
        share: 0.5,
        seed: 7,
        mode: Mode::User,
        layer: 0,
        step: 3,
        first_row: 4096,
    };

    #[test]
    fn a_share_is_dropped_and_the_mean_stays() {
        for share in [0.0, 0.1, 0.5, 0.9] {
            let mut rows = vec![1.0; 16 * 5000];
            Dropout { share, ..HALF }.apply(16, &mut rows);
            let dropped = rows.iter().filter(|&&x| x == 0.0).count() as f64;
            let all = rows.len() as f64;
            assert!(
                (dropped / all - share).abs() < 0.005,
                "{dropped} at {share}"
            );
            let mean = rows.iter().map(|&x| f64::from(x)).sum::<f64>() / all;
            assert!(
                (mean - 1.0).abs() < 0.02 + 0.02 * share,
                "{mean} at {share}"
            );
        }
    }

    #[test]
    fn the_mask_is_that_of_the_row_and_of_what_it_is_for() {
        let mask = |of: Dropout, rows: usize| {
            let mut rows = vec![1.0; 16 * rows];
            of.apply(16, &mut rows);
            rows
        };
        let all = mask(HALF, 3000);
        let later = Dropout {
            first_row: HALF.first_row + 1500,
            ..HALF
        };
        assert_eq!(mask(later, 1500), all[16 * 1500..]);
        let others = [
            Dropout { seed: 8, ..HALF },
            Dropout { step: 4, ..HALF },
            Dropout { layer: 1, ..HALF },
            Dropout {
                mode: Mode::Product,
                ..HALF
            },
        ];
        for other in others {
            let same = mask(other, 3000)
                .iter()
                .zip(&all)
                .filter(|(x, y)| x == y)
                .count();
            assert!(
                (same as f64 / all.len() as f64 - 0.5).abs() < 0.01,
                "{other:?}"
            );
        }
    }
}
