//! How well points tell attributes: ridge regression of each level, or of the number, on the points of the sample, in five parts, each told
//! by what the four others teach.
//!
//! What is told of a level is whether its regression is the highest; of a number R² against the mean of the four. Intervals are those of a
//! bootstrap over the rows that were told.

use super::ops::{ProbeOp, Probed};
use super::points::Sampled;
use crate::als::dense::{cholesky, lower_len, substitute};
use crate::bootstrap::{accumulate, interval, mix};
use rayon::prelude::*;

/// Parts.
const FOLDS: u64 = 5;
/// The penalty, in units of the mean of the diagonal.
const RIDGE: f64 = 0.01;
/// The least rows of which something is told.
const ROWS_MIN: usize = 50;

/// A row that has the attribute: its place in the sample and the word.
type Row = (usize, u32);

/// How well points tell each attribute; zeros and no interval where too few rows have it.
pub fn probe(op: &ProbeOp, sample: &[&[u32]]) -> Vec<Probed> {
    let shape = op.shape;
    let width = shape.width as usize;
    let sampled = Sampled::of(width, shape.attributes as usize, sample);
    let told = op.told.par_iter().map(|&(place, levels)| {
        let words = sampled.words.iter().map(|words| words[place as usize]);
        let missing = tensor::attributes::MISSING;
        let rows: Vec<Row> = words
            .enumerate()
            .filter(|(_, word)| *word != missing)
            .collect();
        if rows.len() < ROWS_MIN {
            return Probed {
                rows: rows.len() as u64,
                ..Probed::default()
            };
        }
        of_attribute(op, &sampled, &rows, levels as usize)
    });
    told.collect()
}

fn fold(id: u32) -> u64 {
    mix(u64::from(id)) % FOLDS
}

fn of_attribute(op: &ProbeOp, sampled: &Sampled<'_>, rows: &[Row], levels: usize) -> Probed {
    let (mut hashes, mut figures) = (Vec::new(), Vec::new());
    for part in 0..FOLDS {
        let (told, taught): (Vec<Row>, Vec<Row>) = rows
            .iter()
            .partition(|(place, _)| fold(sampled.ids[*place]) == part);
        let taught = Taught::of(op, sampled, &taught, levels);
        for (place, word) in told {
            hashes.push(mix(u64::from(sampled.ids[place])));
            figures.extend(taught.tell(sampled, place, word));
        }
    }
    const WIDTH: usize = 3;
    let mut sums = vec![0.0; op.replicates as usize * WIDTH];
    accumulate(op.seed, &hashes, &figures, WIDTH, &mut sums);
    let mut all = [0.0; WIDTH];
    for figure in figures.chunks_exact(WIDTH) {
        all.iter_mut().zip(figure).for_each(|(sum, x)| *sum += x);
    }
    // Of levels: rows, told, told by the most frequent. Of a number: rows, squares left, squares.
    let number = levels == 0;
    let told = |sums: &[f64]| {
        if number {
            1.0 - sums[1] / sums[2]
        } else {
            sums[1] / sums[0]
        }
    };
    let base = |sums: &[f64]| if number { 0.0 } else { sums[2] / sums[0] };
    let replicates = |of: &dyn Fn(&[f64]) -> f64| {
        let samples: Vec<f64> = sums.chunks_exact(WIDTH).map(of).collect();
        interval(samples, 0.95)
    };
    Probed {
        rows: rows.len() as u64,
        told: if number && all[2] == 0.0 {
            0.0
        } else {
            told(&all)
        },
        interval: replicates(&told),
        base: base(&all),
        gain: replicates(&|sums| told(sums) - base(sums)),
    }
}

/// Regressions of one part.
struct Taught {
    columns: usize,
    levels: usize,
    means: Vec<f64>,
    /// Of each target, its mean and then its weights.
    targets: Vec<Vec<f64>>,
    most: u32,
}

impl Taught {
    fn of(op: &ProbeOp, sampled: &Sampled<'_>, rows: &[Row], levels: usize) -> Self {
        let (columns, width) = (op.columns as usize, op.shape.width as usize);
        let row = |place: usize| &sampled.rows[place * width..][..columns];
        let count = rows.len().max(1) as f64;
        let mut means = vec![0.0; columns];
        for &(place, _) in rows {
            let of = means.iter_mut().zip(row(place));
            of.for_each(|(mean, &x)| *mean += f64::from(x) / count);
        }
        let targets = levels.max(1);
        let value = |word: u32, target: usize| {
            if levels == 0 {
                f64::from(f32::from_bits(word))
            } else {
                f64::from(u8::from(word as usize == target))
            }
        };
        let mut of_level = vec![0_u64; levels];
        let mut sides = vec![vec![0.0; columns + 1]; targets];
        let mut lower = vec![0.0; lower_len(columns)];
        let mut apart = vec![0.0; columns];
        for &(place, word) in rows {
            for (to, (&x, mean)) in apart.iter_mut().zip(row(place).iter().zip(&means)) {
                *to = f64::from(x) - mean;
            }
            for i in 0..columns {
                let line = &mut lower[lower_len(i)..][..=i];
                line.iter_mut()
                    .zip(&apart)
                    .for_each(|(sum, x)| *sum += apart[i] * x);
            }
            // Levels are 0 or 1: what a row adds to all but its own is nothing.
            let target = if levels == 0 { 0 } else { word as usize };
            if let Some(side) = sides.get_mut(target) {
                let y = value(word, target);
                side[0] += y / count;
                side[1..]
                    .iter_mut()
                    .zip(&apart)
                    .for_each(|(sum, x)| *sum += y * x);
            }
            if let Some(count) = of_level.get_mut(word as usize) {
                *count += 1;
            }
        }
        let diagonal: f64 = (0..columns).map(|i| lower[lower_len(i) + i]).sum();
        let penalty = (RIDGE * diagonal / columns.max(1) as f64).max(1e-12);
        for i in 0..columns {
            lower[lower_len(i) + i] += penalty;
        }
        let sound = cholesky(columns, &mut lower).is_ok();
        for side in &mut sides {
            if sound {
                substitute(columns, &lower, &mut side[1..]);
            } else {
                side[1..].fill(0.0);
            }
        }
        let most = (0..levels).rev().max_by_key(|&level| of_level[level]);
        Taught {
            columns,
            levels,
            means,
            targets: sides,
            most: most.unwrap_or(0) as u32,
        }
    }

    /// Figures of a row.
    fn tell(&self, sampled: &Sampled<'_>, place: usize, word: u32) -> [f64; 3] {
        let width = sampled.rows.len() / sampled.ids.len();
        let row = &sampled.rows[place * width..][..self.columns];
        let guess = |target: &Vec<f64>| {
            let terms = row.iter().zip(&self.means).zip(&target[1..]);
            let terms = terms.map(|((&x, mean), weight)| (f64::from(x) - mean) * weight);
            target[0] + terms.sum::<f64>()
        };
        if self.levels == 0 {
            let value = f64::from(f32::from_bits(word));
            let left = value - guess(&self.targets[0]);
            let all = value - self.targets[0][0];
            return [1.0, left * left, all * all];
        }
        let guesses = self.targets.iter().map(guess).enumerate();
        let best = guesses.fold((0, f64::NEG_INFINITY), |best, next| {
            if next.1 > best.1 { next } else { best }
        });
        let right = |level: u32| f64::from(u8::from(level == word));
        [1.0, right(best.0 as u32), right(self.most)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::ops::Shape;
    use kernels::Random;

    #[test]
    fn what_points_tell_is_told_and_noise_is_not() {
        const WIDTH: usize = 16;
        let mut sample = Vec::new();
        for id in 0..1500_u32 {
            let random = Random::new(4, 2, 0, id);
            let mut row = [0.0_f32; WIDTH];
            random.fill_normal(&mut row[..6]);
            sample.push(id);
            sample.extend(row.map(f32::to_bits));
            // A level by the sign of a column, two in three; a number of two columns and as much noise; noise; seldom known.
            sample.push(u32::from(row[0] > 0.5) + u32::from(row[0] > 1.5));
            let noise = random.normal(20) as f32;
            sample.push((row[1] - row[2] + 2.0_f32.sqrt() * noise).to_bits());
            sample.push(u32::from(random.word(30).is_multiple_of(4)));
            sample.push(if id < 20 { 1 } else { u32::MAX });
        }
        let op = ProbeOp {
            shape: Shape {
                width: WIDTH as u32,
                k: 0,
                attributes: 4,
            },
            columns: 6,
            told: vec![(0, 3), (1, 0), (2, 2), (3, 2)],
            replicates: 200,
            seed: 1,
        };
        let (left, right) = sample.split_at(21 * 700);
        let found = probe(&op, &[left, right]);
        let level = found[0];
        assert!(level.told > 0.8 && level.base < 0.75, "{level:?}");
        assert!(level.gain.unwrap().0 > 0.05);
        let number = found[1];
        let interval = number.interval.unwrap();
        assert!(interval.0 < 0.5 && 0.5 < interval.1, "{number:?}");
        assert!((number.told - 0.5).abs() < 0.06);
        let noise = found[2];
        assert!(noise.gain.unwrap().0 <= 0.0 && (noise.told - 0.75).abs() < 0.05);
        assert_eq!((found[3].rows, found[3].interval), (20, None));
    }
}
