//! Descent on samples against naive f64 references, and bit for bit across instruction sets.

use kernels::losses::Loss;
use kernels::sgd::{
    BIAS, BIAS_SQUARES, Bins, COUNT, Pair, Point, Rule, SQUARES, Tables, Whole, column_sums, pairs,
    points, points_in_bins, pull, row_len,
};
use kernels::{Random, Simd};
use proptest::prelude::*;

const USERS: u32 = 5;
const PRODUCTS: u32 = 7;
const BINS: u32 = 3;

/// Two blocks, samples, and how to descend.
#[derive(Clone)]
struct Case {
    width: usize,
    rule: Rule,
    users: Vec<f32>,
    products: Vec<f32>,
    times: Vec<f32>,
    gradients: Vec<f32>,
    points: Vec<Point>,
    bins: Vec<u32>,
    pairs: Vec<Pair>,
}

impl Case {
    fn new(seed: u64, rank: u32, samples: u32, rule: Rule) -> Self {
        let width = kernels::width_of(rank as usize);
        let table = |purpose, rows: u32| {
            let mut table = Vec::new();
            for place in 0..rows {
                let mut row = vec![0.0; row_len(width)];
                Random::new(seed, purpose, 0, place).fill_normal(&mut row[..rank as usize]);
                if rule.nonnegative {
                    for x in &mut row {
                        *x = x.abs();
                    }
                }
                row[width + BIAS] = if rule.biases { 0.3 } else { 0.0 };
                row[width + SQUARES] = 0.5;
                row[width + BIAS_SQUARES] = 0.25;
                row[width + COUNT] = 7.0;
                table.extend(row);
            }
            table
        };
        let draw = |at: u32| Random::new(seed, 3, 1, at);
        let points = (0..samples).map(|at| Point {
            user: draw(at).word(0) % USERS,
            product: draw(at).word(1) % PRODUCTS,
            target: (draw(at).word(2) % 2) as f32,
        });
        let pairs = (0..samples).map(|at| {
            let product = draw(at).word(1) % PRODUCTS;
            Pair {
                user: draw(at).word(0) % USERS,
                product,
                rival: (product + 1 + draw(at).word(3) % (PRODUCTS - 1)) % PRODUCTS,
            }
        });
        Case {
            width,
            rule: Rule { rank, ..rule },
            users: table(1, USERS),
            products: table(2, PRODUCTS),
            times: table(4, BINS),
            gradients: table(5, BINS),
            points: points.collect(),
            bins: (0..samples).map(|at| draw(at).word(4) % BINS).collect(),
            pairs: pairs.collect(),
        }
    }

    fn tables(&mut self) -> Tables<'_> {
        Tables {
            users: &mut self.users,
            products: &mut self.products,
            width: self.width,
        }
    }
}

/// One row in f64.
struct Row {
    factors: Vec<f64>,
    tail: Vec<f64>,
}

/// The naive course: rows of vectors, one sample after the other.
struct Naive {
    rule: Rule,
    users: Vec<Row>,
    products: Vec<Row>,
}

impl Naive {
    fn of(case: &Case) -> Self {
        let rows = |table: &[f32]| {
            let f64s = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
            let rows = table.chunks_exact(row_len(case.width)).map(|row| Row {
                factors: f64s(&row[..case.rule.rank as usize]),
                tail: f64s(&row[case.width..]),
            });
            rows.collect()
        };
        Naive {
            rule: case.rule,
            users: rows(&case.users),
            products: rows(&case.products),
        }
    }

    fn move_row(rule: &Rule, row: &mut Row, pull: &[f64], bias: Option<f64>) {
        let lambda = f64::from(rule.regularization);
        let gradient: Vec<f64> = row
            .factors
            .iter()
            .zip(pull)
            .map(|(x, pull)| pull + lambda * x)
            .collect();
        let pace = |sum: &mut f64, square: f64| {
            if !rule.adagrad {
                return f64::from(rule.rate);
            }
            *sum += square;
            f64::from(rule.rate) / (*sum + 1e-20).sqrt()
        };
        let square = gradient.iter().map(|g| g * g).sum::<f64>() / f64::from(rule.rank);
        let step = pace(&mut row.tail[SQUARES], square);
        for (x, g) in row.factors.iter_mut().zip(&gradient) {
            *x -= step * g;
            if rule.nonnegative {
                *x = x.max(0.0);
            }
        }
        if let Some(slope) = bias.filter(|_| rule.biases) {
            let gradient = slope + lambda * row.tail[BIAS];
            let step = pace(&mut row.tail[BIAS_SQUARES], gradient * gradient);
            row.tail[BIAS] -= step * gradient;
        }
    }

    fn score(&self, user: u32, product: u32) -> f64 {
        let (user, product) = (&self.users[user as usize], &self.products[product as usize]);
        let dot: f64 = user
            .factors
            .iter()
            .zip(&product.factors)
            .map(|(a, b)| a * b)
            .sum();
        dot + user.tail[BIAS] + product.tail[BIAS]
    }

    /// A bin's row times one of the others for the other's gradient; and the sums of the bins' own, from those they start
    /// with.
    fn points_in_bins(&mut self, loss: Loss, offset: f64, case: &Case) -> (f64, Vec<Vec<f64>>) {
        let rule = self.rule;
        let rank = rule.rank as usize;
        let rows = |table: &[f32]| -> Vec<Vec<f64>> {
            let rows = table.chunks_exact(row_len(case.width));
            let f64s = |row: &[f32]| row[..rank].iter().map(|&x| f64::from(x)).collect();
            rows.map(f64s).collect()
        };
        let (times, mut gradients) = (rows(&case.times), rows(&case.gradients));
        let mut losses = 0.0;
        for (point, &bin) in case.points.iter().zip(&case.bins) {
            let (user, product) = (point.user as usize, point.product as usize);
            let (u, v) = (&mut self.users[user], &mut self.products[product]);
            let time = &times[bin as usize];
            let both = |a: &[f64], b: &[f64]| -> Vec<f64> {
                a.iter().zip(b).map(|(a, b)| a * b).collect()
            };
            let cross = both(&u.factors, &v.factors);
            let dot: f64 = both(&cross, time).iter().sum();
            let score = dot + u.tail[BIAS] + v.tail[BIAS] + offset;
            let (value, slope) = exact(loss, score, f64::from(point.target));
            losses += value;
            for (sum, cross) in gradients[bin as usize].iter_mut().zip(&cross) {
                *sum += slope * cross;
            }
            let steep =
                |pull: Vec<f64>| -> Vec<f64> { pull.iter().map(|pull| slope * pull).collect() };
            let (for_user, for_product) =
                (steep(both(&v.factors, time)), steep(both(&u.factors, time)));
            Self::move_row(&rule, u, &for_user, Some(slope));
            Self::move_row(&rule, v, &for_product, Some(slope));
        }
        (losses, gradients)
    }

    fn points(&mut self, loss: Loss, offset: f64, case: &Case, whole: Option<&Whole<'_>>) -> f64 {
        let rule = self.rule;
        let mut losses = 0.0;
        for point in &case.points {
            let (value, slope) = exact(
                loss,
                self.score(point.user, point.product) + offset,
                f64::from(point.target),
            );
            losses += value;
            let (user, product) = (point.user as usize, point.product as usize);
            let pulls = |row: &Row, share: f32, sums: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let terms = row.factors.iter().enumerate();
                terms
                    .map(|(column, x)| slope * x + f64::from(share) * sums(column))
                    .collect()
            };
            let user_pull = pulls(
                &self.products[product],
                whole.map_or(0.0, |whole| whole.user_shares[user]),
                &|column| whole.map_or(0.0, |whole| f64::from(whole.products[column])),
            );
            let product_pull = pulls(
                &self.users[user],
                whole.map_or(0.0, |whole| whole.product_shares[product]),
                &|column| whole.map_or(0.0, |whole| f64::from(whole.users[column])),
            );
            Self::move_row(&rule, &mut self.users[user], &user_pull, Some(slope));
            Self::move_row(
                &rule,
                &mut self.products[product],
                &product_pull,
                Some(slope),
            );
        }
        losses
    }

    fn pairs(&mut self, case: &Case) -> f64 {
        let rule = self.rule;
        let mut losses = 0.0;
        for pair in &case.pairs {
            let ids = [pair.user, pair.product, pair.rival].map(|id| id as usize);
            // The bias of the user is the same on both sides.
            let distance = self.score(pair.user, pair.product) - self.score(pair.user, pair.rival);
            let (value, slope) = exact(Loss::Logistic, distance, 1.0);
            losses += value;
            let user = self.users[ids[0]].factors.clone();
            let apart: Vec<f64> = self.products[ids[1]]
                .factors
                .iter()
                .zip(&self.products[ids[2]].factors)
                .map(|(a, b)| slope * (a - b))
                .collect();
            let toward: Vec<f64> = user.iter().map(|x| slope * x).collect();
            let away: Vec<f64> = user.iter().map(|x| -slope * x).collect();
            Self::move_row(&rule, &mut self.users[ids[0]], &apart, None);
            Self::move_row(&rule, &mut self.products[ids[1]], &toward, Some(slope));
            Self::move_row(&rule, &mut self.products[ids[2]], &away, Some(-slope));
        }
        losses
    }

    fn assert_near(&self, case: &Case) {
        for (rows, table) in [(&self.users, &case.users), (&self.products, &case.products)] {
            for (row, found) in rows.iter().zip(table.chunks_exact(row_len(case.width))) {
                let (factors, tail) = found.split_at(case.width);
                let expected = row.factors.iter().zip(factors);
                let tails = row.tail.iter().zip(tail);
                for (expected, found) in expected.chain(tails) {
                    assert!(
                        (expected - f64::from(*found)).abs() <= 2e-4 * (1.0 + expected.abs()),
                        "{found}, not {expected}"
                    );
                }
                assert!(factors[row.factors.len()..].iter().all(|&x| x == 0.0));
            }
        }
    }
}

/// The definitions in f64.
fn exact(loss: Loss, x: f64, y: f64) -> (f64, f64) {
    let floor = f64::from(kernels::losses::FLOOR);
    let tangent = |at: f64, value: f64, slope: f64| (value + (x - at) * slope, slope);
    match loss {
        Loss::Squared => (0.5 * (x - y).powi(2), x - y),
        Loss::Logistic => {
            let value = x.max(0.0) + (-x.abs()).exp().ln_1p() - x * y;
            (value, 1.0 / (1.0 + (-x).exp()) - y)
        }
        Loss::BernoulliPoisson => {
            let at = x.max(floor);
            let observed = -(-at).exp_m1();
            tangent(at, -observed.ln() - at, -1.0 / observed)
        }
        Loss::Poisson => {
            let at = x.max(floor);
            tangent(at, -y * at.ln(), -y / at)
        }
    }
}

fn rule(adagrad: bool, biases: bool, nonnegative: bool) -> Rule {
    Rule {
        rank: 0,
        rate: if adagrad { 0.2 } else { 0.02 },
        adagrad,
        regularization: 0.01,
        biases,
        nonnegative,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn points_descend_as_the_formula_says_on_every_path(
        seed in any::<u64>(), rank in 1_u32..70, count in 0_u32..40, adagrad: bool, which in 0_usize..4,
    ) {
        let loss = [Loss::Squared, Loss::Logistic, Loss::BernoulliPoisson, Loss::Poisson][which];
        let counts = which >= 2;
        let start = Case::new(seed, rank, count, rule(adagrad, !counts, counts));
        let sums = |table: &[f32]| {
            let mut sums = vec![0.0; start.width];
            column_sums(Simd::PORTABLE, table, &mut sums);
            sums.into_iter().map(|sum| sum as f32).collect::<Vec<f32>>()
        };
        let (users, products) = (sums(&start.users), sums(&start.products));
        let shares = vec![0.125; PRODUCTS as usize];
        let whole = counts.then_some(Whole {
            users: &users,
            products: &products,
            user_shares: &shares,
            product_shares: &shares,
        });
        let mut naive = Naive::of(&start);
        let expected = naive.points(loss, 0.25, &start, whole.as_ref());
        let mut seen: Option<(f64, Vec<f32>)> = None;
        for simd in Simd::available() {
            let mut case = start.clone();
            let samples = case.points.clone();
            let found = points(simd, loss, &case.rule.clone(), 0.25, whole, &samples, case.tables());
            prop_assert!((found - expected).abs() <= 1e-3 * (1.0 + expected.abs()), "{found}, not {expected}");
            naive.assert_near(&case);
            let all = (found, [case.users, case.products].concat());
            let first = seen.get_or_insert_with(|| all.clone());
            prop_assert_eq!(first.0.to_bits(), all.0.to_bits());
            prop_assert!(first.1.iter().zip(&all.1).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", simd);
        }
    }

    #[test]
    fn points_in_bins_descend_as_the_formula_says_on_every_path(
        seed in any::<u64>(), rank in 1_u32..70, count in 0_u32..40, adagrad: bool, biases: bool, which in 0_usize..2,
    ) {
        let loss = [Loss::Squared, Loss::Logistic][which];
        let rate = if adagrad { 0.1 } else { 0.003 };
        let start = Case::new(seed, rank, count, Rule { rate, ..rule(adagrad, biases, false) });
        let mut naive = Naive::of(&start);
        let (expected, gradients) = naive.points_in_bins(loss, 0.25, &start);
        let mut seen: Option<(f64, Vec<f32>)> = None;
        for simd in Simd::available() {
            let mut case = start.clone();
            let (points, of) = (case.points.clone(), case.bins.clone());
            let (rule, times) = (case.rule, case.times.clone());
            let mut sums = std::mem::take(&mut case.gradients);
            let bins = Bins { of: &of, rows: &times, gradients: &mut sums };
            let found = points_in_bins(simd, loss, &rule, 0.25, &points, case.tables(), bins);
            prop_assert!((found - expected).abs() <= 1e-3 * (1.0 + expected.abs()), "{found}, not {expected}");
            naive.assert_near(&case);
            let rows = sums.chunks_exact(row_len(case.width)).zip(start.gradients.chunks_exact(row_len(case.width)));
            for ((row, before), expected) in rows.zip(&gradients) {
                for (found, expected) in row.iter().zip(expected) {
                    let near = 1e-3 * (1.0 + expected.abs());
                    prop_assert!((f64::from(*found) - expected).abs() <= near, "{found}, not {expected}");
                }
                prop_assert_eq!(&row[case.width..], &before[case.width..]);
            }
            let all = (found, [case.users, case.products, sums].concat());
            let first = seen.get_or_insert_with(|| all.clone());
            prop_assert_eq!(first.0.to_bits(), all.0.to_bits());
            prop_assert!(first.1.iter().zip(&all.1).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", simd);
        }
    }

    #[test]
    fn gradients_in_bins_are_finite_differences(seed in any::<u64>(), rank in 1_u32..40) {
        let rate = 1e-3;
        let plain = Rule { rate, regularization: 0.0, ..rule(false, false, false) };
        let start = Case::new(seed, rank, 1, plain);
        let (point, bin) = (start.points[0], start.bins[0]);
        let floats = |table: &[f32], place: u32| -> Vec<f64> {
            let at = place as usize * row_len(start.width);
            table[at..at + rank as usize].iter().map(|&x| f64::from(x)).collect()
        };
        let rows = |case: &Case, sums: &[f32]| {
            [floats(&case.users, point.user), floats(&case.products, point.product), floats(sums, bin)]
        };
        let before = [
            floats(&start.users, point.user),
            floats(&start.products, point.product),
            floats(&start.times, bin),
        ];
        let loss = |rows: &[Vec<f64>; 3]| {
            let terms = (0..rank as usize).map(|c| rows[0][c] * rows[1][c] * rows[2][c]);
            exact(Loss::Squared, terms.sum::<f64>(), f64::from(point.target)).0
        };
        let mut case = start.clone();
        let mut sums = vec![0.0; case.times.len()];
        let bins = Bins { of: &start.bins, rows: &start.times, gradients: &mut sums };
        points_in_bins(Simd::PORTABLE, Loss::Squared, &start.rule, 0.0, &start.points, case.tables(), bins);
        let after = rows(&case, &sums);
        for row in 0..3 {
            for column in 0..rank as usize {
                let at = |shift: f64| {
                    let mut rows = before.clone();
                    rows[row][column] += shift;
                    loss(&rows)
                };
                let expected = (at(1e-4) - at(-1e-4)) / 2e-4;
                let found = match row {
                    2 => after[2][column],
                    _ => (before[row][column] - after[row][column]) / f64::from(rate),
                };
                prop_assert!((found - expected).abs() <= 5e-3 * (1.0 + expected.abs()), "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn bins_of_ones_are_a_matrix(seed in any::<u64>(), rank in 1_u32..70, count in 0_u32..40) {
        let start = Case::new(seed, rank, count, rule(false, true, false));
        let mut plain = start.clone();
        let samples = start.points.clone();
        points(Simd::PORTABLE, Loss::Squared, &start.rule, 0.0, None, &samples, plain.tables());
        let mut case = start.clone();
        let ones = vec![1.0; case.times.len()];
        let bins = Bins { of: &start.bins, rows: &ones, gradients: &mut start.gradients.clone() };
        points_in_bins(Simd::PORTABLE, Loss::Squared, &start.rule, 0.0, &samples, case.tables(), bins);
        prop_assert_eq!(case.users, plain.users);
        prop_assert_eq!(case.products, plain.products);
    }

    #[test]
    fn pairs_descend_as_the_formula_says_on_every_path(
        seed in any::<u64>(), rank in 1_u32..70, count in 0_u32..40, adagrad: bool, biases: bool,
    ) {
        let start = Case::new(seed, rank, count, rule(adagrad, biases, false));
        let mut naive = Naive::of(&start);
        let expected = naive.pairs(&start);
        let mut seen: Option<(f64, Vec<f32>)> = None;
        for simd in Simd::available() {
            let mut case = start.clone();
            let samples = case.pairs.clone();
            let found = pairs(simd, &case.rule.clone(), &samples, case.tables());
            prop_assert!((found - expected).abs() <= 1e-3 * (1.0 + expected.abs()), "{found}, not {expected}");
            naive.assert_near(&case);
            let all = (found, [case.users, case.products].concat());
            let first = seen.get_or_insert_with(|| all.clone());
            prop_assert_eq!(first.0.to_bits(), all.0.to_bits());
            prop_assert!(first.1.iter().zip(&all.1).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", simd);
        }
    }

    #[test]
    fn rows_without_samples_are_pulled(seed in any::<u64>(), rank in 1_u32..70, adagrad: bool) {
        let start = Case::new(seed, rank, 0, rule(adagrad, false, true));
        let mut whole = vec![0.0; start.width];
        Random::new(seed, 9, 0, 0).fill_normal(&mut whole[..rank as usize]);
        let rows = [4, 0, 2];
        let mut naive = Naive::of(&start);
        let pulled: Vec<f64> = whole[..rank as usize].iter().map(|&x| f64::from(x)).collect();
        for row in rows {
            Naive::move_row(&start.rule, &mut naive.products[row as usize], &pulled, None);
        }
        for simd in Simd::available() {
            let mut case = start.clone();
            pull(simd, &case.rule.clone(), &whole, &rows, &mut case.products);
            naive.assert_near(&case);
        }
    }
}

#[test]
fn column_sums_are_sums_on_every_path() {
    let width = 32;
    let mut table = vec![0.0; 3000 * row_len(width)];
    for (place, row) in (0..).zip(table.chunks_exact_mut(row_len(width))) {
        Random::new(5, 1, 0, place).fill_normal(row);
    }
    let mut seen: Option<Vec<f64>> = None;
    for simd in Simd::available() {
        let mut sums = vec![7.0; width];
        column_sums(simd, &table, &mut sums);
        for (column, sum) in sums.iter().enumerate() {
            let rows = table.chunks_exact(row_len(width));
            let exact: f64 = rows.map(|row| f64::from(row[column])).sum();
            assert!((sum - exact).abs() < 1e-3, "{sum}, not {exact}");
        }
        assert_eq!(*seen.get_or_insert_with(|| sums.clone()), sums, "{simd}");
    }
}

#[test]
#[should_panic(expected = "a product and another one")]
fn a_product_is_not_its_own_rival() {
    let mut case = Case::new(1, 4, 1, rule(true, false, false));
    let pair = Pair {
        user: 0,
        product: 2,
        rival: 2,
    };
    pairs(Simd::PORTABLE, &case.rule.clone(), &[pair], case.tables());
}
