//! Regressions on the sample: those of a few features each, and the one that scores.
//!
//! How strongly the weights of factors are held is chosen at the first cut: what leaves the least log loss in three parts of the users, each
//! foretold by what the two others teach. Scores read factors where that is less than without them by more than a standard error.

use super::history::{CUTS, FEATURES, History, NAMES, WORDS};
use super::logistic::Logistic;
use super::ops::{Factors, Figure, FitOp, Ranked, SampleOp, ScoreOp, Tenth, Told};
use super::quality::{Ordered, Quality};
use super::{PURPOSE_SAMPLE, SCORE_WORDS};
use crate::bootstrap::{interval, mix, weight};
use kernels::Random;
use rayon::prelude::*;

/// What is compared: names, and the features of histories that each reads. What has factors too follows.
const RANKED: [(&str, &[usize]); 4] = [
    ("recency", &[0]),
    ("frequency", &[1]),
    ("recency and frequency", &[0, 1]),
    ("history", &[0, 1, 2, 3, 4]),
];
/// The place of what reads all of a history.
const HISTORY: usize = 3;
/// The name of the last where there are factors.
const WITH_FACTORS: &str = "history and factors";
/// How much more strongly than those of histories the weights of factors are held: there are many of them, of which each tells little.
const RIDGES: [f64; 3] = [10.0, 100.0, 1000.0];
/// Parts of users by which that is chosen.
const PARTS: u64 = 3;
/// Groups of users by probability.
const TENTHS: usize = 10;

/// The rows of a block that are of the sample. `factors` are those of the first cut and of the second, empty where there are none.
///
/// # Panics
/// Where there is not a row of factors a user.
pub fn sample(op: SampleOp, histories: &[u32], factors: [&[f32]; 2]) -> Vec<u32> {
    let Factors { columns, width } = op.factors;
    let (columns, width) = (columns as usize, width as usize);
    let mut taken = Vec::new();
    for (local, words) in histories.chunks_exact(CUTS * WORDS).enumerate() {
        let id = op.first + local as u32;
        let there = (0..2).any(|cut| History::of(&words[cut * WORDS..][..WORDS]).interactions > 0);
        let draw = || Random::new(op.seed, PURPOSE_SAMPLE, 0, id).word_64(0);
        if there && op.below.is_none_or(|below| draw() < below) {
            taken.push(id);
            taken.extend_from_slice(&words[..2 * WORDS]);
            for factors in factors.iter().filter(|_| columns > 0) {
                let row = &factors[local * width..][..columns];
                taken.extend(row.iter().map(|x| x.to_bits()));
            }
        }
    }
    taken
}

/// The users of the sample at one cut.
#[derive(Default)]
struct At {
    hashes: Vec<u64>,
    rows: Vec<f64>,
    labels: Vec<bool>,
}

impl At {
    /// Users who are there at a cut, of a sample with so many columns of factors.
    fn of(cut: usize, columns: usize, sample: &[&[u32]]) -> Self {
        let mut at = At::default();
        let words = 1 + 2 * (WORDS + columns);
        for row in sample.iter().flat_map(|block| block.chunks_exact(words)) {
            let history = History::of(&row[1 + cut * WORDS..][..WORDS]);
            if history.interactions == 0 {
                continue;
            }
            at.hashes.push(mix(u64::from(row[0])));
            at.labels.push(history.churned);
            at.rows.extend(history.features());
            let factors = &row[1 + 2 * WORDS + cut * columns..][..columns];
            let factors = factors.iter().map(|&bits| f64::from(f32::from_bits(bits)));
            at.rows.extend(factors);
        }
        at
    }

    fn churned(&self) -> u64 {
        self.labels.iter().filter(|label| **label).count() as u64
    }
}

/// Means and deviations of columns, by which they are standardized; a column of one value is left at 0.
struct Scale(Vec<(f64, f64)>);

impl Scale {
    fn of(rows: &[f64], width: usize) -> Self {
        let count = (rows.len() / width).max(1) as f64;
        let column = |column: usize| {
            let of = || rows.chunks_exact(width).map(move |row| row[column]);
            let mean = of().sum::<f64>() / count;
            let variance = of().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            let deviation = variance.sqrt();
            let moves = deviation > 1e-12 * mean.abs();
            (mean, if moves { 1.0 / deviation } else { 0.0 })
        };
        Scale((0..width).map(column).collect())
    }

    fn rows(&self, rows: &[f64]) -> Vec<f64> {
        let of = |row| {
            std::iter::zip(row, &self.0)
                .map(|(x, (mean, per)): (&f64, &(f64, f64))| (x - mean) * per)
        };
        rows.chunks_exact(self.0.len()).flat_map(of).collect()
    }
}

/// A regression to be.
struct Draft {
    name: &'static str,
    /// Columns that it reads.
    reads: Vec<usize>,
    /// What holds the weight of each.
    ridges: Vec<f64>,
}

/// Those that read histories alone.
fn drafts(ridge: f64) -> Vec<Draft> {
    let of = |&(name, reads): &(&'static str, &[usize])| Draft {
        name,
        reads: reads.to_vec(),
        ridges: vec![ridge; reads.len()],
    };
    RANKED.iter().map(of).collect()
}

impl Draft {
    /// Its columns of rows.
    fn take(&self, rows: &[f64], width: usize) -> Vec<f64> {
        let rows = rows.chunks_exact(width);
        rows.flat_map(|row| self.reads.iter().map(|&column| row[column]))
            .collect()
    }

    /// The log loss of each user, foretold by what others teach.
    fn losses(&self, rows: &[f64], width: usize, taught: &At) -> Vec<f64> {
        let rows = self.take(rows, width);
        let row = |place: usize| &rows[place * self.reads.len()..][..self.reads.len()];
        let mut losses = vec![0.0; taught.labels.len()];
        for part in 0..PARTS {
            let within = |place: usize| taught.hashes[place] % PARTS == part;
            let (mut of, mut labels) = (Vec::new(), Vec::new());
            for place in (0..losses.len()).filter(|&place| !within(place)) {
                of.extend_from_slice(row(place));
                labels.push(taught.labels[place]);
            }
            let found = Logistic::fit(&of, &labels, &self.ridges);
            for (place, loss) in losses.iter_mut().enumerate() {
                if within(place) {
                    *loss = found.loss(row(place), taught.labels[place]);
                }
            }
        }
        losses
    }
}

/// Fits at the first cut, judges at the second. Gives the one that scores, as [`scores`] takes it, and what is told.
pub fn fit(op: &FitOp, sample: &[&[u32]]) -> (Vec<f64>, Told) {
    let columns = op.columns as usize;
    let width = FEATURES + columns;
    let [taught, judged] = [0, 1].map(|cut| At::of(cut, columns, sample));
    let mut told = Told {
        users: [&taught, &judged].map(|at| at.labels.len() as u64),
        churned: [&taught, &judged].map(At::churned),
        ..Told::default()
    };
    if (0..2).any(|cut| told.churned[cut] == 0 || told.churned[cut] == told.users[cut]) {
        return (Vec::new(), told);
    }
    let scale = Scale::of(&taught.rows, width);
    let (rows, mut drafts) = (scale.rows(&taught.rows), drafts(op.ridge));
    told.chosen = HISTORY as u32;
    if columns > 0 {
        let (draft, better) = with_factors(op, &rows, &taught, &drafts[HISTORY]);
        told.chosen += u32::from(better);
        drafts.push(draft);
    }
    let fitted: Vec<Logistic> = drafts
        .iter()
        .map(|draft| Logistic::fit(&draft.take(&rows, width), &taught.labels, &draft.ridges))
        .collect();
    let rows = scale.rows(&judged.rows);
    let foretell = |(draft, found): (&Draft, &Logistic)| -> Vec<f64> {
        let rows = draft.take(&rows, width);
        let rows = rows.chunks_exact(draft.reads.len());
        rows.map(|row| found.probability(row)).collect()
    };
    let foretold: Vec<Vec<f64>> = drafts.iter().zip(&fitted).map(foretell).collect();
    let chosen = told.chosen as usize;
    let names = drafts.iter().map(|draft| draft.name);
    told.ranked = judge(op, names, (&foretold, chosen), &judged);
    told.calibration = calibration(&foretold[chosen], &judged.labels);
    let scorer = &fitted[chosen];
    let names = NAMES.iter().map(|name| (*name).to_owned());
    told.weights = names.zip(scorer.weights.iter().copied()).collect();
    let mut object = vec![scorer.intercept];
    for (column, (mean, per)) in scale.0.iter().enumerate() {
        // What was left out weighs nothing.
        let weight = scorer.weights.get(column).copied().unwrap_or(0.0);
        object.extend([*mean, *per, weight]);
    }
    (object, told)
}

/// Factors beside what histories tell, held as foretells best; and whether that is better than histories alone.
fn with_factors(op: &FitOp, rows: &[f64], taught: &At, history: &Draft) -> (Draft, bool) {
    let width = FEATURES + op.columns as usize;
    let held = |times: f64| Draft {
        name: WITH_FACTORS,
        reads: (0..width).collect(),
        ridges: (0..width)
            .map(|column| op.ridge * if column < FEATURES { 1.0 } else { times })
            .collect(),
    };
    let without = history.losses(rows, width, taught);
    let tried = RIDGES.map(|times| {
        let draft = held(times);
        let losses = draft.losses(rows, width, taught);
        let gains = without.iter().zip(&losses).map(|(one, other)| one - other);
        (draft, gains.collect::<Vec<f64>>())
    });
    let sum = |gains: &[f64]| gains.iter().sum::<f64>();
    let best = tried.into_iter().reduce(|best, next| {
        if sum(&next.1) > sum(&best.1) {
            next
        } else {
            best
        }
    });
    let (draft, gains) = best.expect("some were tried");
    let (count, mean) = (gains.len() as f64, sum(&gains) / gains.len() as f64);
    let squares: f64 = gains.iter().map(|gain| (gain - mean) * (gain - mean)).sum();
    let error = (squares / count / (count - 1.0).max(1.0)).sqrt();
    (draft, mean > error)
}

fn judge<'a>(
    op: &FitOp,
    names: impl Iterator<Item = &'a str>,
    (foretold, chosen): (&[Vec<f64>], usize),
    judged: &At,
) -> Vec<Ranked> {
    let ordered: Vec<Ordered<'_>> = foretold
        .iter()
        .map(|probabilities| Ordered::of(probabilities, &judged.labels))
        .collect();
    let once = vec![1; judged.labels.len()];
    let replicates = (0..op.replicates).into_par_iter().map(|replicate| {
        let times = judged.hashes.iter();
        let times: Vec<u32> = times
            .map(|&hash| weight(op.seed, hash, replicate))
            .collect();
        ordered.iter().map(|of| of.quality(&times)).collect()
    });
    let replicates: Vec<Vec<Quality>> = replicates.collect();
    let whole: Vec<Quality> = ordered.iter().map(|of| of.quality(&once)).collect();
    let around = |of: &dyn Fn(&[Quality]) -> f64| {
        interval(replicates.iter().map(|found| of(found)).collect(), 0.95)
    };
    let of = |(place, name): (usize, &str)| Ranked {
        name: name.to_owned(),
        quality: whole[place],
        intervals: [
            around(&|found| found[place].auc),
            around(&|found| found[place].lift),
            around(&|found| found[place].brier),
        ],
        gain: Figure {
            value: whole[chosen].auc - whole[place].auc,
            interval: around(&|found| found[chosen].auc - found[place].auc),
        },
    };
    names.enumerate().map(of).collect()
}

/// Users in tenths of rising probability: what was foretold of each and what came.
fn calibration(foretold: &[f64], labels: &[bool]) -> Vec<Tenth> {
    let mut places: Vec<usize> = (0..labels.len()).collect();
    places.sort_by(|&x, &y| foretold[x].total_cmp(&foretold[y]).then(x.cmp(&y)));
    let cut = |tenth: usize| tenth * places.len() / TENTHS;
    let tenths = (0..TENTHS).map(|tenth| &places[cut(tenth)..cut(tenth + 1)]);
    let tenths = tenths.filter(|of| !of.is_empty());
    tenths
        .map(|of| {
            let count = of.len() as f64;
            let foretold: f64 = of.iter().map(|&place| foretold[place]).sum();
            let churned = of.iter().filter(|&&place| labels[place]).count();
            Tenth {
                users: of.len() as u64,
                foretold: foretold / count,
                churned: churned as f64 / count,
            }
        })
        .collect()
}

/// The scores of a block at the last cut; `factors` are empty where there are none.
///
/// # Panics
/// Where the regression is of other columns.
pub fn scores(op: ScoreOp, histories: &[u32], factors: &[f32], fitted: &[f64]) -> Vec<u32> {
    let (columns, width) = (op.factors.columns as usize, op.factors.width as usize);
    assert_eq!(fitted.len(), 1 + 3 * (FEATURES + columns), "its columns");
    let rows = histories.par_chunks_exact(CUTS * WORDS).enumerate();
    let rows = rows.flat_map_iter(|(local, words)| {
        let history = History::of(&words[(CUTS - 1) * WORDS..]);
        let features = history.features().into_iter();
        let factors = factors.get(local * width..local * width + columns);
        let factors = factors.unwrap_or_default().iter().map(|&x| f64::from(x));
        let terms = features.chain(factors).zip(fitted[1..].chunks_exact(3));
        let z = terms.fold(fitted[0], |sum, (x, of)| sum + (x - of[0]) * of[1] * of[2]);
        let score: [u32; SCORE_WORDS] = [
            (super::logistic::sigmoid(z) as f32).to_bits(),
            history.recency,
            history.frequency,
            history.interactions,
            (history.trend() as f32).to_bits(),
        ];
        score
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::history::{Histories, Moments};
    use super::*;

    const MOMENTS: Moments = Moments {
        cuts: [8, 12, 16],
        horizon: 4,
        bins: 16,
    };

    /// Users who buy every bin or so; half of them ever less from a bin on that differs, and then no more.
    fn histories(users: u32) -> Vec<u32> {
        let mut histories = Histories::new(MOMENTS, users as usize);
        for user in 0..users {
            let random = Random::new(1, 0x61, 0, user);
            let ends = if user % 2 == 0 {
                6 + random.word(900) % 10
            } else {
                99
            };
            for bin in 0..16 {
                let left = ends.saturating_sub(bin).min(4);
                let bought = random.uniform_f64(2 * bin) < 0.2 * f64::from(left);
                for _ in 0..if bought { left } else { 0 } {
                    histories.add(user as usize, bin);
                }
            }
        }
        histories.finish()
    }

    fn op(columns: u32) -> FitOp {
        FitOp {
            columns,
            ridge: 1.0,
            replicates: 100,
            seed: 2,
        }
    }

    #[test]
    fn trend_and_recency_together_beat_recency() {
        let histories = histories(3000);
        let factors = Factors {
            columns: 2,
            width: 4,
        };
        let noise: Vec<f32> = (0..12_000_u32)
            .map(|i| Random::new(5, 0x62, 0, i).normal(0) as f32)
            .collect();
        let of = SampleOp {
            first: 0,
            factors,
            below: None,
            seed: 0,
        };
        let sampled = sample(of, &histories, [&noise, &noise]);
        let words = 1 + 2 * (WORDS + 2);
        let (left, right) = sampled.split_at(sampled.len() / words / 3 * words);
        let (object, told) = fit(&op(2), &[left, right]);
        let auc = |name: &str| {
            let found = told.ranked.iter().find(|of| of.name == name);
            found.expect("it is there")
        };
        assert_eq!(told.ranked.len(), 5);
        let recency = auc("recency");
        assert!(recency.quality.auc > 0.6);
        assert!(
            recency.gain.interval.expect("replicates").0 > 0.02,
            "{recency:?}"
        );
        // Noise in the place of factors tells nothing, and is left out.
        assert_eq!(told.ranked[told.chosen as usize].name, "history");
        assert!(
            object[1 + 3 * FEATURES..]
                .chunks_exact(3)
                .all(|of| of[2] == 0.0)
        );
        let users: u64 = told.calibration.iter().map(|of| of.users).sum();
        assert_eq!(users, told.users[1]);
        let last = told.calibration.last().expect("tenths");
        assert!((last.foretold - last.churned).abs() < 0.2, "{last:?}");
        // Scores are those of the regression at the last cut.
        let scored = scores(ScoreOp { factors }, &histories, &noise, &object);
        assert_eq!(scored.len(), 3000 * SCORE_WORDS);
        let user = scored.chunks_exact(SCORE_WORDS).position(|of| of[3] > 0);
        let user = user.expect("somebody buys");
        let history = History::of(&histories[(user * CUTS + 2) * WORDS..][..WORDS]);
        let row = history.features().into_iter();
        let row = row.chain(noise[user * 4..][..2].iter().map(|&x| f64::from(x)));
        let mut z = object[0];
        for (x, of) in row.zip(object[1..].chunks_exact(3)) {
            z += (x - of[0]) * of[1] * of[2];
        }
        let expected = (1.0 / (1.0 + (-z).exp())) as f32;
        let found = f32::from_bits(scored[user * SCORE_WORDS]);
        assert!((found - expected).abs() < 1e-6);
        assert_eq!(scored[user * SCORE_WORDS + 1], history.recency);
    }

    #[test]
    fn blocks_of_a_sample_change_no_bit_and_draws_take_a_share() {
        let histories = histories(600);
        let of = |first, below| SampleOp {
            first,
            factors: Factors::default(),
            below,
            seed: 4,
        };
        let whole = sample(of(0, None), &histories, [&[], &[]]);
        let cut = 200 * CUTS * WORDS;
        let one = sample(of(0, None), &histories[..cut], [&[], &[]]);
        let other = sample(of(200, None), &histories[cut..], [&[], &[]]);
        assert_eq!([one.clone(), other.clone()].concat(), whole);
        assert_eq!(fit(&op(0), &[&whole]), fit(&op(0), &[&one, &other]));
        let words = 1 + 2 * WORDS;
        let half = sample(of(0, Some(1 << 63)), &histories, [&[], &[]]).len() / words;
        let all = whole.len() / words;
        assert!(
            half * 10 > all * 4 && half * 10 < all * 6,
            "{half} of {all}"
        );
    }

    #[test]
    fn nothing_is_fitted_where_nobody_churns() {
        let mut histories = Histories::new(MOMENTS, 5);
        for user in 0..5 {
            (0..16).for_each(|bin| histories.add(user, bin));
        }
        let of = SampleOp {
            first: 0,
            factors: Factors::default(),
            below: None,
            seed: 0,
        };
        let sampled = sample(of, &histories.finish(), [&[], &[]]);
        let (object, told) = fit(&op(0), &[&sampled]);
        assert!(object.is_empty() && told.ranked.is_empty());
        assert_eq!((told.users, told.churned), ([5, 5], [0, 0]));
    }
}
