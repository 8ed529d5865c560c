//! k-means: starts on the sample, and Lloyd's iterations over points.

use super::ops::{LabelOp, SeedOp, Shape};
use super::points::{Sampled, is_point};
use super::{NO_SEGMENT, panels, purpose};
use crate::reduce::tree_add;
use kernels::{LANES, Random, Simd, distances};
use rayon::prelude::*;

/// Rows whose sums are made one after the other.
const SHARE_ROWS: usize = 8_192;
/// Rows whose distances are looked at together.
const TOGETHER: usize = 64;
/// How often centres are chosen, of which the best are kept.
const TRIES: u32 = 8;
/// Iterations on the sample.
const ITERATIONS: usize = 25;

/// Centres as distances to them are computed.
struct Centres {
    width: usize,
    k: usize,
    packed: Vec<f32>,
}

impl Centres {
    fn of(width: usize, rows: &[f32]) -> Self {
        Centres {
            width,
            k: rows.len() / width,
            packed: panels(width, rows.chunks_exact(width)),
        }
    }

    /// Hands over each row with its nearest centre, the first of equally near ones, and the squared distance; rows of zeros are not
    /// points and are passed over.
    fn each(&self, simd: Simd, rows: &[f32], mut of: impl FnMut(usize, usize, f32)) {
        let others = self.k.next_multiple_of(LANES);
        let mut apart = vec![0.0; TOGETHER * others];
        let groups = rows.chunks(TOGETHER * self.width);
        for (group, first) in groups.zip((0..).step_by(TOGETHER)) {
            let count = group.len() / self.width;
            let apart = &mut apart[..count * others];
            distances(simd, self.width, group, &self.packed, apart);
            let rows = group.chunks_exact(self.width);
            for ((row, apart), place) in rows.zip(apart.chunks_exact(others)).zip(first..) {
                if is_point(row) {
                    let (nearest, square) = nearest(&apart[..self.k]);
                    of(place, nearest, square);
                }
            }
        }
    }
}

fn nearest(squares: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::INFINITY);
    for (place, &square) in squares.iter().enumerate() {
        if square < best.1 {
            best = (place, square);
        }
    }
    best
}

/// Adds what a share of rows comes to.
fn add_share(simd: Simd, centres: &Centres, rows: &[f32], sums: &mut [f64]) {
    let (width, k) = (centres.width, centres.k);
    let (of_centres, rest) = sums.split_at_mut(k * width);
    centres.each(simd, rows, |row, nearest, square| {
        let row = &rows[row * width..][..width];
        for (sum, &x) in of_centres[nearest * width..].iter_mut().zip(row) {
            *sum += f64::from(x);
        }
        rest[nearest] += 1.0;
        rest[k] += f64::from(square);
    });
}

/// The sums of rows by the nearest of `k` centres of a width, then how many each has.
pub(crate) fn sums_of_nearest(
    simd: Simd,
    (width, k): (usize, usize),
    rows: &[f32],
    centres: &[f32],
) -> Vec<f64> {
    let shape = Shape {
        width: width as u32,
        k: k as u32,
        attributes: 0,
    };
    assign(simd, shape, rows, centres)
}

/// Memory that [`assign`] takes for so many rows.
pub fn assign_bytes(shape: Shape, rows: u64) -> u64 {
    8 * shape.sums() as u64 * rows.div_ceil(SHARE_ROWS as u64).max(1)
}

/// The sums of a block's points by their nearest centres, as the op says.
pub fn assign(simd: Simd, shape: Shape, points: &[f32], centres: &[f32]) -> Vec<f64> {
    let width = shape.width as usize;
    let centres = Centres::of(width, centres);
    let shares = points.par_chunks(SHARE_ROWS * width).map(|rows| {
        let mut sums = vec![0.0; shape.sums()];
        add_share(simd, &centres, rows, &mut sums);
        sums
    });
    let mut shares: Vec<Vec<f64>> = shares.collect();
    let mut slices: Vec<&mut [f64]> = shares.iter_mut().map(Vec::as_mut_slice).collect();
    tree_add(&mut slices);
    shares
        .into_iter()
        .next()
        .unwrap_or_else(|| vec![0.0; shape.sums()])
}

/// Centres at the means of their points; those without points go to the rows of the sample that are farthest from all centres, one
/// after the other, and stay infinitely far away where no row lies apart from them.
pub fn update(simd: Simd, shape: Shape, sums: &[f64], sample: &[&[u32]]) -> Vec<f32> {
    let width = shape.width as usize;
    let sampled = Sampled::of(width, shape.attributes as usize, sample);
    moved(simd, shape, sums, &sampled.rows)
}

fn moved(simd: Simd, shape: Shape, sums: &[f64], rows: &[f32]) -> Vec<f32> {
    let (width, k) = (shape.width as usize, shape.k as usize);
    let counts = &sums[k * width..][..k];
    let mut centres = vec![f32::INFINITY; k * width];
    for (centre, (sums, &count)) in centres
        .chunks_exact_mut(width)
        .zip(sums.chunks_exact(width).zip(counts))
    {
        if count > 0.0 {
            for (x, sum) in centre.iter_mut().zip(sums) {
                *x = (sum / count) as f32;
            }
        }
    }
    for empty in (0..k).filter(|&place| counts[place] == 0.0) {
        let mut farthest = (0.0, None);
        Centres::of(width, &centres).each(simd, rows, |row, _, square| {
            if square > farthest.0 {
                farthest = (square, Some(row));
            }
        });
        if let Some(row) = farthest.1 {
            centres[empty * width..][..width].copy_from_slice(&rows[row * width..][..width]);
        }
    }
    centres
}

/// Centres chosen by k-means++ (Arthur and Vassilvitskii, 2007) and moved on the sample: of several tries those whose squared distances
/// are least together.
pub fn seed(simd: Simd, op: SeedOp, sample: &[&[u32]]) -> Vec<f32> {
    let shape = op.shape;
    let width = shape.width as usize;
    let rows = Sampled::of(width, shape.attributes as usize, sample).rows;
    let tries = (0..TRIES).into_par_iter();
    let tries = tries.map(|attempt| {
        let mut centres = start(simd, op, attempt, &rows);
        let mut last = f64::INFINITY;
        for _ in 0..ITERATIONS {
            let sums = assign(simd, shape, &rows, &centres);
            let now = sums[shape.sums() - 1];
            if now >= last {
                break;
            }
            last = now;
            centres = moved(simd, shape, &sums, &rows);
        }
        (last, centres)
    });
    let tries: Vec<(f64, Vec<f32>)> = tries.collect();
    let best = tries
        .into_iter()
        .reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map_or_else(Vec::new, |(_, centres)| centres)
}

/// One choice: each centre is a row that is drawn in proportion to its squared distance to those before it.
fn start(simd: Simd, op: SeedOp, attempt: u32, rows: &[f32]) -> Vec<f32> {
    let (width, k) = (op.shape.width as usize, op.shape.k as usize);
    let random = Random::new(op.seed, purpose::STARTS, op.shape.k, attempt);
    let mut centres = vec![f32::INFINITY; k * width];
    let mut apart = vec![1.0_f64; rows.len() / width];
    for place in 0..k {
        let total: f64 = apart.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut left = random.uniform_f64(place as u32) * total;
        let drawn = apart.iter().position(|weight| {
            left -= weight;
            left < 0.0 && *weight > 0.0
        });
        // Rounding may leave a trace of the draw behind the last row.
        let last = || apart.iter().rposition(|&weight| weight > 0.0);
        let Some(drawn) = drawn.or_else(last) else {
            break;
        };
        let chosen = &rows[drawn * width..][..width];
        centres[place * width..][..width].copy_from_slice(chosen);
        let (first, apart) = (place == 0, &mut apart);
        Centres::of(width, chosen).each(simd, rows, |row, _, square| {
            let square = f64::from(square);
            apart[row] = if first {
                square
            } else {
                apart[row].min(square)
            };
        });
    }
    centres
}

/// The nearest centre of each row, all of which are points.
pub(super) fn nearest_of(simd: Simd, width: usize, rows: &[f32], centres: &[f32]) -> Vec<usize> {
    let mut of = vec![0; rows.len() / width];
    Centres::of(width, centres).each(simd, rows, |row, nearest, _| of[row] = nearest);
    of
}

/// Segment and distance of each row of a block, as words.
pub fn labels(simd: Simd, op: &LabelOp, points: &[f32], centres: &[f32]) -> Vec<u32> {
    let width = op.shape.width as usize;
    let centres = Centres::of(width, centres);
    let none = [NO_SEGMENT, f32::NAN.to_bits()];
    let mut found: Vec<u32> = none.repeat(points.len() / width);
    let shares = points.par_chunks(SHARE_ROWS * width);
    shares
        .zip(found.par_chunks_mut(SHARE_ROWS * 2))
        .for_each(|(rows, found)| {
            centres.each(simd, rows, |row, nearest, square| {
                found[2 * row] = op.segments[nearest];
                found[2 * row + 1] = square.sqrt().to_bits();
            });
        });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 16;

    fn shape(k: u32) -> Shape {
        Shape {
            width: WIDTH as u32,
            k,
            attributes: 0,
        }
    }

    /// Rows around `groups` corners, far from each other, of `of` rows each.
    fn rows(groups: usize, of: usize) -> Vec<f32> {
        let mut rows = vec![0.0; groups * of * WIDTH];
        for (place, row) in rows.chunks_exact_mut(WIDTH).enumerate() {
            Random::new(5, 1, 0, place as u32).fill_normal(row);
            for x in row.iter_mut() {
                *x *= 0.05;
            }
            row[place % groups] += 3.0;
        }
        rows
    }

    fn sampled(rows: &[f32]) -> Vec<u32> {
        let words = rows.chunks_exact(WIDTH).zip(0..);
        let words = words.flat_map(|(row, id): (&[f32], u32)| {
            std::iter::once(id).chain(row.iter().map(|x| x.to_bits()))
        });
        words.collect()
    }

    fn naive(points: &[f32], centres: &[f32]) -> Vec<(usize, f64)> {
        let square = |x: &[f32], y: &[f32]| -> f64 {
            let pairs = x.iter().zip(y);
            pairs
                .map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2))
                .sum()
        };
        let nearest = |row: &[f32]| {
            let squares = centres
                .chunks_exact(WIDTH)
                .map(|centre| square(row, centre));
            squares
                .enumerate()
                .min_by(|x, y| x.1.total_cmp(&y.1))
                .unwrap()
        };
        points.chunks_exact(WIDTH).map(nearest).collect()
    }

    #[test]
    fn starts_find_the_groups_and_sums_are_those_of_the_reference() {
        let points = rows(5, 80);
        let op = SeedOp {
            shape: shape(5),
            seed: 9,
        };
        let sample = sampled(&points);
        let centres = seed(Simd::detect(), op, &[&sample]);
        let nearest = naive(&points, &centres);
        for (place, (centre, square)) in nearest.iter().enumerate() {
            assert_eq!(*centre, nearest[place % 5].0, "groups stay together");
            assert!(*square < 1.0);
        }
        let sums = assign(Simd::detect(), op.shape, &points, &centres);
        for centre in 0..5 {
            let of = points.chunks_exact(WIDTH).zip(&nearest);
            let of: Vec<&[f32]> = of
                .filter(|(_, (to, _))| *to == centre)
                .map(|(row, _)| row)
                .collect();
            assert_eq!(sums[5 * WIDTH + centre], of.len() as f64);
            for column in 0..WIDTH {
                let sum: f64 = of.iter().map(|row| f64::from(row[column])).sum();
                assert!((sums[centre * WIDTH + column] - sum).abs() < 1e-9);
            }
        }
        let inertia: f64 = nearest.iter().map(|(_, square)| square).sum();
        assert!((sums[5 * WIDTH + 5] - inertia).abs() < 1e-4 * inertia);
        for simd in Simd::available() {
            let again = seed(simd, op, &[&sample[..17 * 100], &sample[17 * 100..]]);
            assert_eq!(again, centres, "{simd}");
        }
        let op = LabelOp {
            shape: shape(5),
            segments: vec![4, 3, 2, 1, 0],
        };
        let labels = labels(
            Simd::detect(),
            &op,
            &[&points[..], &[0.0; WIDTH]].concat(),
            &centres,
        );
        for (label, (centre, square)) in labels.chunks_exact(2).zip(&nearest) {
            assert_eq!(label[0], 4 - *centre as u32);
            assert!((f64::from(f32::from_bits(label[1])) - square.sqrt()).abs() < 1e-5);
        }
        assert_eq!(labels[2 * 400], NO_SEGMENT);
    }

    #[test]
    fn a_centre_without_points_goes_where_the_farthest_row_is() {
        let points = rows(3, 20);
        let sample = sampled(&points);
        let mut centres = vec![0.0; 3 * WIDTH];
        centres[..WIDTH].copy_from_slice(&points[..WIDTH]);
        centres[WIDTH..2 * WIDTH].copy_from_slice(&points[WIDTH..2 * WIDTH]);
        centres[2 * WIDTH..].fill(100.0);
        let sums = assign(Simd::detect(), shape(3), &points, &centres);
        assert_eq!(sums[3 * WIDTH + 2], 0.0);
        let moved = update(Simd::detect(), shape(3), &sums, &[&sample]);
        let found = &moved[2 * WIDTH..];
        assert!(points.chunks_exact(WIDTH).any(|row| row == found));
        let sums = assign(Simd::detect(), shape(3), &points, &moved);
        assert!(sums[3 * WIDTH..][..3].iter().all(|&count| count > 0.0));
    }

    #[test]
    fn fewer_distinct_rows_than_centres_leave_some_without_any() {
        let points = [&rows(2, 1)[..], &rows(2, 1)[..]].concat();
        let op = SeedOp {
            shape: shape(4),
            seed: 0,
        };
        let centres = seed(Simd::detect(), op, &[&sampled(&points)]);
        let far = centres
            .chunks_exact(WIDTH)
            .filter(|row| row[0].is_infinite());
        assert_eq!(far.count(), 2);
        let sums = assign(Simd::detect(), op.shape, &points, &centres);
        assert_eq!(sums[4 * WIDTH + 4], 0.0);
        assert!(
            seed(Simd::detect(), op, &[])
                .iter()
                .all(|x| x.is_infinite())
        );
    }
}
