//! Rows as they are compared, and the sample of them.

use super::ops::{PointsOp, SampleOp};
use super::purpose;
use kernels::{Random, Simd, unit};
use rayon::prelude::*;

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 1_024;

/// Makes points of a block's rows; how many there are. `offsets` are those of the partition of the rows.
///
/// # Panics
/// Where rows are not whole, or there are not as many as the partition has.
pub fn points(simd: Simd, op: PointsOp, offsets: &[u64], rows: &mut [f32]) -> u64 {
    let (columns, width) = (op.columns as usize, op.width as usize);
    assert_eq!(
        rows.len(),
        (offsets.len() - 1) * width,
        "a row of factors each"
    );
    let shares = rows.par_chunks_mut(SHARE_ROWS * width).enumerate();
    let counts = shares.map(|(share, rows)| {
        let offsets = &offsets[share * SHARE_ROWS..];
        let mut count = 0;
        for (row, ends) in rows.chunks_exact_mut(width).zip(offsets.windows(2)) {
            row[columns..].fill(0.0);
            if ends[0] == ends[1] {
                row.fill(0.0);
            }
            count += u64::from(is_point(row));
        }
        if op.directions {
            unit(simd, width, 1.0, rows);
        }
        count
    });
    counts.sum()
}

/// Whether a row is a point: zeros are what nothing is known of.
pub(super) fn is_point(row: &[f32]) -> bool {
    row.iter().any(|&x| x != 0.0)
}

/// The rows of a block that are of the sample, as words: id, f32s, attributes.
///
/// # Panics
/// Where there are not as many words of attributes as rows ask for.
pub fn sample(op: SampleOp, points: &[f32], words: &[u32]) -> Vec<u32> {
    let (width, attributes) = (op.width as usize, op.attributes as usize);
    assert_eq!(
        words.len() * width,
        points.len() * attributes,
        "words of every row"
    );
    let mut taken = Vec::new();
    for (local, row) in points.chunks_exact(width).enumerate() {
        let id = op.first + local as u32;
        let draw = || Random::new(op.seed, purpose::SAMPLE, 0, id).word_64(0);
        if is_point(row) && op.below.is_none_or(|below| draw() < below) {
            taken.push(id);
            taken.extend(row.iter().map(|x| x.to_bits()));
            taken.extend_from_slice(&words[local * attributes..][..attributes]);
        }
    }
    taken
}

/// Rows of the sample of all blocks, in the order of these.
#[derive(Clone, Debug)]
pub(super) struct Sampled<'a> {
    pub ids: Vec<u32>,
    pub rows: Vec<f32>,
    pub words: Vec<&'a [u32]>,
}

impl<'a> Sampled<'a> {
    /// Of objects as [`sample`] makes them.
    pub(super) fn of(width: usize, attributes: usize, blocks: &[&'a [u32]]) -> Self {
        let mut sampled = Sampled {
            ids: Vec::new(),
            rows: Vec::new(),
            words: Vec::new(),
        };
        for block in blocks {
            for row in block.chunks_exact(1 + width + attributes) {
                sampled.ids.push(row[0]);
                let numbers = row[1..=width].iter();
                sampled.rows.extend(numbers.map(|&x| f32::from_bits(x)));
                sampled.words.push(&row[1 + width..]);
            }
        }
        sampled
    }
}

/// The rows of a sample without attributes.
pub(crate) fn rows_of_sample(width: usize, blocks: &[&[u32]]) -> Vec<f32> {
    Sampled::of(width, 0, blocks).rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_directions_of_rows_with_interactions_and_samples_are_of_them() {
        let op = PointsOp {
            columns: 2,
            width: 16,
            directions: true,
        };
        let mut rows = vec![0.0; 4 * 16];
        rows[..3].copy_from_slice(&[3.0, 4.0, 9.0]);
        rows[16..18].copy_from_slice(&[1.0, 1.0]);
        rows[48..50].copy_from_slice(&[0.0, -2.0]);
        let count = points(Simd::detect(), op, &[0, 2, 2, 3, 4], &mut rows);
        assert_eq!(count, 2);
        assert!((rows[0] - 0.6).abs() < 1e-6 && (rows[1] - 0.8).abs() < 1e-6);
        assert_eq!(rows[2], 0.0, "biases are not compared");
        assert!(rows[16..48].iter().all(|&x| x == 0.0));
        let op = SampleOp {
            width: 16,
            first: 32,
            attributes: 1,
            below: None,
            seed: 3,
        };
        let taken = sample(op, &rows, &[7, 8, 9, u32::MAX]);
        assert_eq!(taken.len(), 2 * 18);
        assert_eq!(
            (taken[0], taken[17], taken[18], taken[35]),
            (32, 7, 35, u32::MAX)
        );
        let halves = [taken.as_slice(), &[]];
        let sampled = Sampled::of(16, 1, &halves);
        assert_eq!(sampled.ids, [32, 35]);
        assert_eq!(sampled.rows[17], -1.0);
        assert_eq!(sampled.words[1], [u32::MAX]);
        let none = SampleOp {
            below: Some(0),
            ..op
        };
        assert!(sample(none, &rows, &[0; 4]).is_empty());
    }
}
