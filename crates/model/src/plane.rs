//! The plane in which rows differ most: their first two principal components, for people to look at.
//!
//! Matrix-free subspace iteration (Halko, Martinsson, Tropp, *Finding structure with randomness*, 2011): the covariance is never
//! formed, so that wide rows cost no more than their length.

use kernels::Simd;
use kernels::eigen::{eigen, eigen_scratch};
use kernels::random::Random;

/// Directions that are iterated; those beyond the second speed up the first two.
const DIRECTIONS: usize = 8;
/// Multiplications with the covariance. The gap behind [`DIRECTIONS`] decides what is left: nothing that can be seen.
const ROUNDS: usize = 60;
/// Keeps the first directions apart from other random numbers.
const PURPOSE: u32 = 0x706c_616e;

/// Rows on their plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plane {
    /// Where each row lies: what it differs from the mean along the two directions.
    pub points: Vec<[f64; 2]>,
    /// The share of the variance that both have together.
    pub share: f64,
}

/// The plane of some rows of so many columns each, all sums in f64 in the order of rows. Of each direction the component of the
/// largest size is positive. `None` where the rows do not differ, or are no numbers.
///
/// # Panics
/// Where the last row is cut.
pub fn plane(rows: &[f32], columns: usize) -> Option<Plane> {
    assert!(
        columns > 0 && rows.len().is_multiple_of(columns),
        "whole rows"
    );
    let count = rows.len() / columns;
    let mut centred: Vec<f64> = rows.iter().map(|&x| f64::from(x)).collect();
    for column in 0..columns {
        let sum: f64 = centred.iter().skip(column).step_by(columns).sum();
        let mean = sum / count.max(1) as f64;
        centred
            .iter_mut()
            .skip(column)
            .step_by(columns)
            .for_each(|x| *x -= mean);
    }
    let variance: f64 = centred.iter().map(|x| x * x).sum();
    if !variance.is_normal() {
        return None;
    }
    let kept = DIRECTIONS.min(columns);
    let mut basis = vec![0.0; kept * columns];
    for (place, x) in basis.iter_mut().enumerate() {
        *x = Random::new(0, PURPOSE, 0, 0).normal(place as u32);
    }
    orthonormal(&mut basis, columns);
    for _ in 0..ROUNDS {
        basis = multiplied(&centred, &basis, columns);
        orthonormal(&mut basis, columns);
    }
    let (mut turn, values) = turned(&centred, &basis, columns)?;
    let directions: Vec<Vec<f64>> = (0..2.min(kept))
        .map(|place| {
            let weights = &mut turn[place * kept..][..kept];
            let mut direction = vec![0.0; columns];
            for (weight, vector) in weights.iter().zip(basis.chunks_exact(columns)) {
                add(&mut direction, *weight, vector);
            }
            face(&mut direction);
            direction
        })
        .collect();
    let along = |row: &[f64], place: usize| directions.get(place).map_or(0.0, |to| dot(row, to));
    let points = centred.chunks_exact(columns);
    Some(Plane {
        points: points.map(|row| [along(row, 0), along(row, 1)]).collect(),
        share: (values.iter().take(2).sum::<f64>() / variance).min(1.0),
    })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], weight: f64, vector: &[f64]) {
    to.iter_mut()
        .zip(vector)
        .for_each(|(x, y)| *x += weight * y);
}

/// X ᵀ X B, a row of B a direction.
fn multiplied(rows: &[f64], basis: &[f64], columns: usize) -> Vec<f64> {
    let mut product = vec![0.0; basis.len()];
    for row in rows.chunks_exact(columns) {
        let pairs = product
            .chunks_exact_mut(columns)
            .zip(basis.chunks_exact(columns));
        for (to, direction) in pairs {
            add(to, dot(row, direction), row);
        }
    }
    product
}

/// Gram and Schmidt, twice; what is left of a vector that depends on others is zero.
fn orthonormal(basis: &mut [f64], columns: usize) {
    for place in 0..basis.len() / columns {
        let (before, rest) = basis.split_at_mut(place * columns);
        let vector = &mut rest[..columns];
        let length = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(columns) {
                let share = dot(vector, other);
                add(vector, -share, other);
            }
        }
        let left = dot(vector, vector).sqrt();
        let scale = if left > 1e-12 * length {
            1.0 / left
        } else {
            0.0
        };
        for x in vector.iter_mut() {
            *x *= scale;
        }
    }
}

/// The principal directions within the span of a basis, one a row of weights, and what variance each has.
fn turned(rows: &[f64], basis: &[f64], columns: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let kept = basis.len() / columns;
    let product = multiplied(rows, basis, columns);
    let mut small = vec![0.0; kept * kept];
    for (i, direction) in basis.chunks_exact(columns).enumerate() {
        for (j, other) in product.chunks_exact(columns).enumerate().take(i + 1) {
            let entry = dot(direction, other);
            (small[i * kept + j], small[j * kept + i]) = (entry, entry);
        }
    }
    let (mut values, mut scratch) = (vec![0.0; kept], vec![0.0; eigen_scratch(kept)]);
    eigen(Simd::detect(), &mut small, &mut values, &mut scratch).then_some((small, values))
}

/// Turns a direction so that its largest component, the first of equals, is positive.
fn face(direction: &mut [f64]) {
    let largest =
        direction.iter().fold(
            0.0_f64,
            |largest, x| if x.abs() > largest.abs() { *x } else { largest },
        );
    if largest < 0.0 {
        for x in direction.iter_mut() {
            *x = -*x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The covariance as it is written, and all its eigenvectors.
    fn naive(rows: &[f32], columns: usize) -> (Vec<f64>, Vec<f64>, f64) {
        let count = rows.len() / columns;
        let x = |row: usize, column: usize| f64::from(rows[row * columns + column]);
        let mean = |column: usize| (0..count).map(|row| x(row, column)).sum::<f64>() / count as f64;
        let means: Vec<f64> = (0..columns).map(mean).collect();
        let mut covariance = vec![0.0; columns * columns];
        for row in 0..count {
            for i in 0..columns {
                for j in 0..columns {
                    covariance[i * columns + j] += (x(row, i) - means[i]) * (x(row, j) - means[j]);
                }
            }
        }
        let trace = (0..columns).map(|i| covariance[i * columns + i]).sum();
        let (mut values, mut scratch) = (vec![0.0; columns], vec![0.0; eigen_scratch(columns)]);
        assert!(eigen(
            Simd::detect(),
            &mut covariance,
            &mut values,
            &mut scratch
        ));
        let mut points = Vec::new();
        for row in 0..count {
            for direction in covariance.chunks_exact(columns).take(2) {
                points.push(
                    (0..columns)
                        .map(|i| (x(row, i) - means[i]) * direction[i])
                        .sum(),
                );
            }
        }
        (points, values, trace)
    }

    proptest! {
        #[test]
        fn points_are_those_of_the_whole_covariance(columns in 2_usize..24, count in 30_usize..80, seed: u64) {
            let mut rows = vec![0.0_f32; columns * count];
            for (row, to) in rows.chunks_exact_mut(columns).enumerate() {
                Random::new(seed, 1, 0, row as u32).fill_normal(to);
                // Two directions that stand out, beside a mean that is not zero.
                let place = row as f32 / count as f32;
                to[0] += 12.0 * place + 3.0;
                to[1] += if row % 2 == 0 { 4.0 } else { -4.0 };
            }
            let found = plane(&rows, columns).unwrap();
            let (points, values, trace) = naive(&rows, columns);
            prop_assert!((found.share - (values[0] + values[1]) / trace).abs() < 1e-9);
            let unit = values[1].sqrt();
            for (point, expected) in found.points.iter().zip(points.chunks_exact(2)) {
                prop_assert!((point[0] - expected[0]).abs() < 1e-4 * unit, "{point:?} {expected:?}");
                prop_assert!((point[1] - expected[1]).abs() < 1e-4 * unit, "{point:?} {expected:?}");
            }
        }
    }

    #[test]
    fn rows_that_do_not_differ_have_no_plane() {
        assert_eq!(plane(&[], 3), None);
        assert_eq!(plane(&[1.0, 2.0, 1.0, 2.0], 2), None);
        assert_eq!(plane(&[1.0, f32::NAN, 1.0, 2.0], 2), None);
    }

    #[test]
    fn one_column_is_a_line() {
        let found = plane(&[1.0, 2.0, 6.0], 1).unwrap();
        assert_eq!(found.points, [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]);
        assert!((found.share - 1.0).abs() < 1e-12);
    }
}
