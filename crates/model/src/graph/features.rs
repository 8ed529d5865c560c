//! What the first layer of a graph convolution reads: H = F B + X, F the columns of attributes (a number has one, an attribute of levels
//! one a level), B a learnt row for each of them, X learnt rows of nodes. Rows of which nothing is known have zeros in F. The gradient
//! by B is Fᵀ G.

use super::ops::{FeaturesBackOp, FeaturesOp};
use crate::als::Columns;
use crate::als::side::entries;
use kernels::width_of;
use rayon::prelude::*;

/// The features of a block as they are kept: `known` are its words and the matrix.
///
/// # Panics
/// Where lengths are not those of equally many rows, or of the op's columns.
pub fn features(
    op: &FeaturesOp,
    degrees: &[f64],
    known: Option<(&[u32], &[f32])>,
    learnt: Option<&[f32]>,
    out: &mut [f32],
) {
    let (width, count) = (width_of(op.columns as usize), op.attributes.len());
    assert_eq!(out.len(), degrees.len() * width, "a degree a row");
    match learnt {
        Some(learnt) => out.copy_from_slice(learnt),
        None => out.fill(0.0),
    }
    if let Some((words, matrix)) = known {
        assert_eq!(words.len(), degrees.len() * count, "a word an attribute");
        let starts = Columns::starts(&op.attributes);
        out.par_chunks_mut(width)
            .zip(words.par_chunks(count))
            .for_each(|(row, words)| {
                for (column, x) in entries(&op.attributes, &starts, words) {
                    let line = &matrix[column * width..][..width];
                    for (sum, &b) in row.iter_mut().zip(line) {
                        *sum += x as f32 * b;
                    }
                }
            });
    }
    op.power.keep(width, degrees, out);
}

/// The gradients by the matrix of a block's gradients by features: a line a column, in f64, rows in their order.
///
/// # Panics
/// Where there is not a word a row and attribute.
pub fn matrix_sums(op: &FeaturesBackOp, gradients: &[f32], words: &[u32]) -> Vec<f64> {
    let (width, count) = (width_of(op.columns as usize), op.attributes.len());
    assert_eq!(words.len() / count, gradients.len() / width, "words a row");
    // Each attribute has lines of its own, so threads share none.
    let of_attribute = |place: usize| {
        let columns = &op.attributes[place..=place];
        let mut sums = vec![0.0; columns[0].count() * width];
        for (words, gradient) in words.chunks_exact(count).zip(gradients.chunks_exact(width)) {
            for (column, x) in entries(columns, &[0], &words[place..=place]) {
                let line = &mut sums[column * width..][..width];
                for (sum, &g) in line.iter_mut().zip(gradient) {
                    *sum += x * f64::from(g);
                }
            }
        }
        sums
    };
    let parts = (0..count).into_par_iter().map(of_attribute);
    parts.collect::<Vec<_>>().concat()
}
