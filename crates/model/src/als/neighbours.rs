//! Rows that are held to the mean of their neighbours in the last epoch: the objective of row i of a mode with edges S gains
//!
//!   w d_i |x_i − m_i|²,  d_i = Σ_k s_ik,  m_i = Σ_k s_ik x'_k / d_i
//!
//! with x' the mode's rows as they were before the half-step, so rows stay independent and each is still solved exactly: w d_i joins
//! its ridge, w S x' its right-hand side. A row without interactions becomes m_i. (Ma et al., *Recommender systems with social
//! regularization*, 2011, their average of friends, each weighed by the count of these.)

use super::equations::Note;
use kernels::{Simd, inner};

/// What the neighbours of the rows of a block come to.
pub struct Neighbours {
    width: usize,
    /// w d.
    ridges: Vec<f32>,
    /// w S x'.
    pulls: Vec<f32>,
}

impl Neighbours {
    /// Of a weight, d of each row and S x'.
    ///
    /// # Panics
    /// Where there is not a row of sums for each degree.
    pub fn new(weight: f64, width: usize, degrees: &[f64], sums: &[f32]) -> Self {
        assert_eq!(sums.len(), degrees.len() * width, "a degree a row");
        let by = weight as f32;
        Neighbours {
            width,
            ridges: degrees.iter().map(|d| (weight * d) as f32).collect(),
            pulls: sums.iter().map(|sum| by * sum).collect(),
        }
    }

    /// Bytes for so many rows, with what they are made of.
    pub fn bytes(width: usize, rows: u64) -> u64 {
        rows * (8 * width as u64 + 12)
    }

    /// What joins the ridge of a row, and its right-hand side.
    pub(super) fn row(&self, row: usize) -> (f32, &[f32]) {
        (
            self.ridges[row],
            &self.pulls[row * self.width..][..self.width],
        )
    }

    /// Gives the notes of solved rows w d |x − m|² for what their equations say of it: w d |x|² − 2 x·(w S x').
    pub(super) fn complete(&self, simd: Simd, offsets: &[u64], rows: &[f32], notes: &mut [Note]) {
        let rows = rows.chunks_exact(self.width).zip(offsets.windows(2));
        for (place, ((x, ends), note)) in rows.zip(notes).enumerate() {
            let (ridge, pull) = self.row(place);
            if ridge > 0.0 && ends[0] < ends[1] {
                let constant = inner(simd, pull, pull) / f64::from(ridge);
                note.fit -= constant;
                note.regularization += constant - 2.0 * inner(simd, pull, x);
            }
        }
    }

    /// Rows without interactions become what their neighbours are in the mean.
    pub fn read_out(&self, offsets: &[u64], rows: &mut [f32]) {
        let rows = rows.chunks_exact_mut(self.width).zip(offsets.windows(2));
        for (place, (x, ends)) in rows.enumerate() {
            let (ridge, pull) = self.row(place);
            if ridge > 0.0 && ends[0] == ends[1] {
                for (x, pull) in x.iter_mut().zip(pull) {
                    *x = pull / ridge;
                }
            }
        }
    }
}
