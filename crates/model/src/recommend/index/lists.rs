//! Centres, and which of them are near.

use super::NO_LIST;
use super::ops::CentresOp;
use crate::evaluate::ProductRow;
use crate::segments::{panels, points, sums_of_nearest};
use kernels::{LANES, Simd, distances};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Words of a row of a shard: its id, and the hash of its original id in two.
pub const WORDS: usize = 3;
/// Rows whose distances to all centres are looked at together.
const TOGETHER: usize = 64;
/// How often centres move.
const ITERATIONS: usize = 8;

/// Centres as distances to them are computed.
pub struct Centres {
    width: usize,
    count: usize,
    packed: Vec<f32>,
}

impl Centres {
    /// Of an object of them.
    ///
    /// # Panics
    /// Where they are not whole rows.
    pub fn new(width: usize, rows: &[f32]) -> Self {
        assert!(rows.len().is_multiple_of(width), "whole centres");
        Centres {
            width,
            count: rows.len() / width,
            packed: panels(width, rows.chunks_exact(width)),
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Hands the squared distances to all centres of each row to `of`, with its place.
    pub fn each(&self, simd: Simd, rows: &[f32], of: impl Fn(usize, &[f32]) + Sync) {
        let others = self.count.next_multiple_of(LANES);
        let groups = rows.par_chunks(TOGETHER * self.width).enumerate();
        groups.for_each_init(
            || vec![0.0; TOGETHER * others],
            |apart, (group, rows)| {
                let apart = &mut apart[..rows.len() / self.width * others];
                distances(simd, self.width, rows, &self.packed, apart);
                for (place, apart) in apart.chunks_exact(others).enumerate() {
                    of(group * TOGETHER + place, &apart[..self.count]);
                }
            },
        );
    }

    /// The `some` nearest lists of each row, by rising number.
    ///
    /// # Panics
    /// Where there are not so many.
    pub fn nearest(&self, simd: Simd, rows: &[f32], some: usize) -> Vec<u32> {
        assert!((1..=self.count).contains(&some), "some of the lists");
        let others = self.count.next_multiple_of(LANES);
        let mut found = vec![0; rows.len() / self.width * some];
        let groups = rows.par_chunks(TOGETHER * self.width);
        groups
            .zip(found.par_chunks_mut(TOGETHER * some))
            .for_each_init(
                || (vec![0.0; TOGETHER * others], Vec::new()),
                |(apart, order), (rows, found)| {
                    let apart = &mut apart[..rows.len() / self.width * others];
                    distances(simd, self.width, rows, &self.packed, apart);
                    let rows = apart.chunks_exact(others).zip(found.chunks_exact_mut(some));
                    for (apart, found) in rows {
                        order.clear();
                        order.extend(0..self.count as u32);
                        let near = |x: &u32, y: &u32| nearer(apart, *x, *y);
                        order.select_nth_unstable_by(some - 1, near);
                        found.copy_from_slice(&order[..some]);
                        found.sort_unstable();
                    }
                },
            );
        found
    }
}

/// The nearer first, then the lower number.
fn nearer(apart: &[f32], x: u32, y: u32) -> Ordering {
    apart[x as usize]
        .total_cmp(&apart[y as usize])
        .then(x.cmp(&y))
}

/// How many lists are nearer than one.
pub fn rank_of(apart: &[f32], list: u32) -> usize {
    let before = |&other: &u32| nearer(apart, other, list) == Ordering::Less;
    (0..apart.len() as u32).filter(before).count()
}

/// Centres of the sample: rows of it at first, evenly taken, which move to the means of what lies nearest to them. One without rows stays.
pub fn centres(simd: Simd, op: CentresOp, sample: &[&[u32]]) -> Vec<f32> {
    let (width, lists) = (op.width as usize, op.lists as usize);
    let rows = points::rows_of_sample(width, sample);
    let count = rows.len() / width;
    let mut centres = vec![f32::INFINITY; lists * width];
    let some = lists.min(count);
    for (list, centre) in centres.chunks_exact_mut(width).take(some).enumerate() {
        centre.copy_from_slice(&rows[list * count / some * width..][..width]);
    }
    for _ in 0..ITERATIONS {
        let sums = sums_of_nearest(simd, (width, lists), &rows, &centres);
        let counts = &sums[lists * width..];
        let moved = centres
            .chunks_exact_mut(width)
            .zip(sums.chunks_exact(width));
        for ((centre, sums), &count) in moved.zip(counts) {
            if count > 0.0 {
                for (x, sum) in centre.iter_mut().zip(sums) {
                    *x = (sum / count) as f32;
                }
            }
        }
    }
    centres
}

/// The list of each row, and how many rows each has. What is no candidate is in none.
///
/// # Panics
/// Where there is not as much known as there are rows.
pub fn assign(
    simd: Simd,
    centres: &Centres,
    rows: &[f32],
    known: &[ProductRow],
) -> (Vec<u32>, Vec<f64>) {
    assert_eq!(
        rows.len(),
        known.len() * centres.width,
        "what is known of each row"
    );
    let mut found = centres.nearest(simd, rows, 1);
    let mut counts = vec![0.0; centres.count];
    for (list, known) in found.iter_mut().zip(known) {
        if known.popularity == 0 {
            *list = NO_LIST;
        } else {
            counts[*list as usize] += 1.0;
        }
    }
    (found, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    #[test]
    fn lists_are_those_of_the_nearest_centres_and_ranks_follow_from_distances() {
        let (width, count) = (16, 37);
        let row = |purpose: u32, row: u32| {
            let draw = Random::new(3, purpose, 0, row);
            (0..width as u32).map(move |k| draw.uniform(k) - 0.5)
        };
        let rows: Vec<f32> = (0..150).flat_map(|at| row(1, at)).collect();
        let sample: Vec<u32> = (0..count as u32)
            .flat_map(|at| std::iter::once(at).chain(row(2, at).map(f32::to_bits)))
            .collect();
        let simd = Simd::detect();
        let op = CentresOp {
            width: width as u32,
            lists: count as u32,
        };
        // As many rows as centres: each is its own.
        let made = centres(simd, op, &[&sample[..17 * 5], &sample[17 * 5..]]);
        let expected: Vec<f32> = (0..count as u32).flat_map(|at| row(2, at)).collect();
        assert_eq!(made, expected);
        let centres = Centres::new(width, &made);
        let square = |x: &[f32], y: &[f32]| -> f64 {
            let pairs = x.iter().zip(y);
            pairs
                .map(|(x, y)| f64::from(x - y) * f64::from(x - y))
                .sum()
        };
        let near = centres.nearest(simd, &rows, 5);
        let known = vec![
            ProductRow {
                popularity: 1,
                ..ProductRow::default()
            };
            150
        ];
        let (lists, counts) = assign(simd, &centres, &rows, &known);
        assert_eq!(counts.iter().sum::<f64>(), 150.0);
        for (at, x) in rows.chunks_exact(width).enumerate() {
            let mut order: Vec<u32> = (0..count as u32).collect();
            let apart = |list: &u32| square(x, &made[*list as usize * width..][..width]);
            order.sort_by(|x, y| apart(x).total_cmp(&apart(y)));
            let mut expected = order[..5].to_vec();
            expected.sort_unstable();
            assert_eq!(near[at * 5..][..5], expected);
            assert_eq!(lists[at], order[0]);
            let apart: Vec<f32> = (0..count as u32).map(|list| apart(&list) as f32).collect();
            assert_eq!(rank_of(&apart, order[7]), 7);
        }
        let none = [ProductRow::default()];
        assert_eq!(assign(simd, &centres, &rows[..width], &none).0, [NO_LIST]);
        // Fewer rows than centres: the others are infinitely far away.
        let few = super::centres(simd, op, &[&sample[..34]]);
        assert!(few[2 * width..].iter().all(|&x| x == f32::INFINITY));
    }
}
