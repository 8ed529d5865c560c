//! Normal equations and their solver against naive f64 references, and bit for bit across instruction sets.

use kernels::{
    Base, CHUNK, FailedPivot, Onto, Rows, Simd, Source, accumulate, begin, close, close_long,
    cross, fit, flush, gram, inner, keeps_systems, linear_confidence, non_negative,
    non_negative_scratch, panel_len, solve, solve_scratch, system_len, upper_index, upper_len,
};
use proptest::prelude::*;

/// Deterministic numbers for data; their quality does not matter here.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn unit(&mut self) -> f32 {
        (self.next() % (1 << 24)) as f32 / (1 << 24) as f32
    }

    fn signed(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| 2.0 * self.unit() - 1.0).collect()
    }
}

/// One row of a factorization with two other modes.
struct Case {
    width: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    ids: Vec<u32>,
    times: Vec<u32>,
    weights: Vec<f32>,
    targets: Vec<f32>,
    base: Vec<f32>,
    base_rhs: Vec<f32>,
}

const STRIDE_LOG2: u8 = 5;

impl Case {
    fn new(seed: u64, width: usize, count: usize) -> Self {
        let mut numbers = Numbers(seed);
        let pick = |below: u64, numbers: &mut Numbers| {
            (0..count)
                .map(|_| (numbers.next() % below) as u32)
                .collect()
        };
        let directions = numbers.signed(3 * width);
        let mut base = vec![0.0; upper_len(width)];
        for row in 0..width {
            for column in row / 16 * 16..width {
                let product =
                    |k: usize| directions[k * width + row] * directions[k * width + column];
                base[upper_index(width, row, column)] = product(0) + product(1) + product(2);
            }
        }
        Case {
            width,
            first: numbers.signed(64 * width),
            second: numbers.signed(9 * width),
            ids: pick(64, &mut numbers),
            times: pick(9, &mut numbers),
            weights: (0..count).map(|_| 3.0 * numbers.unit()).collect(),
            targets: numbers.signed(count),
            base,
            base_rhs: numbers.signed(width),
        }
    }

    fn base(&self) -> Base<'_> {
        Base {
            upper: &self.base,
            ridge: 0.5,
            rhs: &self.base_rhs,
        }
    }

    /// The closed system, the row's interactions handed over in the lengths of `cuts`, again and again.
    fn system(&self, simd: Simd, two_modes: bool, cuts: &[usize]) -> Vec<f32> {
        let (low, high) = self.first.split_at(self.width << STRIDE_LOG2);
        let (blocks, times) = ([low, high], [&self.second[..]]);
        let mut panel = vec![0.0; panel_len(self.width)];
        let mut chunk = vec![0.0; system_len(self.width)];
        let mut sum = vec![0.0; system_len(self.width)];
        let mut out = chunk.clone();
        let (mut start, mut cuts) = (0, cuts.iter().cycle());
        while start < self.ids.len() {
            let chunk_end = (start / CHUNK + 1) * CHUNK;
            let end = (start + cuts.next().unwrap())
                .min(chunk_end)
                .min(self.ids.len());
            let sources = [
                Source {
                    rows: Rows::new(&blocks, STRIDE_LOG2, self.width),
                    ids: &self.ids[start..],
                },
                Source {
                    rows: Rows::contiguous(&times, self.width),
                    ids: &self.times[start..],
                },
            ];
            let sources = if two_modes {
                &sources[..]
            } else {
                &sources[..1]
            };
            let (weights, targets) = (&self.weights[start..end], &self.targets[start..end]);
            // What the chunk before left there must not matter.
            let onto = if start.is_multiple_of(CHUNK) {
                chunk.fill(f32::NAN);
                Onto::Zeros
            } else {
                Onto::Sum
            };
            accumulate(
                simd, sources, weights, targets, &mut panel, onto, &mut chunk,
            );
            if end == chunk_end && end < self.ids.len() {
                if end == CHUNK {
                    sum.fill(f64::NAN);
                    begin(simd, &chunk, &mut sum);
                } else {
                    flush(simd, &mut chunk, &mut sum);
                }
            }
            start = end;
        }
        if self.ids.len() <= CHUNK {
            close(simd, self.base(), &chunk, &mut out);
        } else {
            flush(simd, &mut chunk, &mut sum);
            close_long(simd, self.base(), &sum, &mut out);
        }
        out
    }

    /// The same in f64, as a dense upper triangle and a right-hand side.
    fn naive(&self, two_modes: bool) -> Vec<f64> {
        let width = self.width;
        let mut out = vec![0.0; system_len(width)];
        for (e, &id) in self.ids.iter().enumerate() {
            let z: Vec<f64> = (0..width)
                .map(|k| {
                    let t = if two_modes {
                        self.second[self.times[e] as usize * width + k]
                    } else {
                        1.0
                    };
                    f64::from(self.first[id as usize * width + k]) * f64::from(t)
                })
                .collect();
            for row in 0..width {
                for column in row / 16 * 16..width {
                    out[upper_index(width, row, column)] +=
                        f64::from(self.weights[e]) * z[row] * z[column];
                }
                out[upper_len(width) + row] += f64::from(self.targets[e]) * z[row];
            }
        }
        let base = self.base.iter().chain(&self.base_rhs);
        out.iter_mut()
            .zip(base)
            .for_each(|(out, base)| *out += f64::from(*base));
        (0..width).for_each(|k| out[upper_index(width, k, k)] += 0.5);
        out
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn solved(simd: Simd, width: usize, systems: &[f32]) -> (Vec<f32>, Option<FailedPivot>) {
    let mut systems = systems.to_vec();
    let mut scratch = vec![f32::NAN; solve_scratch(width)];
    let count = systems.len() / system_len(width);
    let mut x = vec![f32::NAN; count * width];
    let before = bits(&systems);
    let failed = solve(simd, width, &mut systems, &mut x, &mut scratch);
    assert!(!keeps_systems(width, count) || bits(&systems) == before);
    (x, failed)
}

/// ‖b − A x‖ / (‖A‖ ‖x‖ + ‖b‖) in the infinity norm.
fn backward_error(width: usize, system: &[f32], x: &[f32]) -> f64 {
    let entry = |i: usize, j: usize| f64::from(system[upper_index(width, i.min(j), i.max(j))]);
    let (mut worst, mut norm) = (0.0_f64, 0.0_f64);
    let largest = |numbers: &[f32]| {
        numbers
            .iter()
            .fold(0.0_f64, |most, &number| most.max(f64::from(number.abs())))
    };
    let b = &system[upper_len(width)..];
    for (i, b) in b.iter().enumerate() {
        let product: f64 = (0..width).map(|j| entry(i, j) * f64::from(x[j])).sum();
        worst = worst.max((f64::from(*b) - product).abs());
        norm = norm.max((0..width).map(|j| entry(i, j).abs()).sum());
    }
    worst / (norm * largest(x) + largest(b))
}

/// Coordinate descent from x over the columns of a system, written naively in f64, and its objectives after every sweep.
fn naive_sweeps(width: usize, system: &[f32], x: &[f32], sweeps: usize) -> (Vec<f64>, Vec<f64>) {
    let entry = |i: usize, j: usize| f64::from(system[upper_index(width, i.min(j), i.max(j))]);
    let b = |k: usize| f64::from(system[upper_len(width) + k]);
    let product = |x: &[f64], i: usize| (0..width).map(|j| entry(i, j) * x[j]).sum::<f64>();
    let mut x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mut objectives = Vec::new();
    for _ in 0..sweeps {
        for k in 0..width {
            x[k] = (x[k] - (product(&x, k) - b(k)) / entry(k, k)).max(0.0);
        }
        let terms = (0..width).map(|k| x[k] * (0.5 * product(&x, k) - b(k)));
        objectives.push(terms.sum());
    }
    (x, objectives)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normal_equations_are_the_formula_and_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..11, count in 0_usize..1001, two_modes: bool,
        cuts in prop::collection::vec(1_usize..300, 1..6),
    ) {
        let width = 16 * blocks;
        let case = Case::new(seed, width, count);
        let expected = case.system(Simd::PORTABLE, two_modes, &[CHUNK]);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&case.system(simd, two_modes, &cuts)), bits(&expected), "{}", simd);
        }
        let naive = case.naive(two_modes);
        let scale = 1.0 + 3.0 * count.min(CHUNK) as f64 + naive.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (found, naive) in expected.iter().zip(&naive) {
            prop_assert!((f64::from(*found) - naive).abs() <= 3e-6 * scale, "{} for {}", found, naive);
        }
    }

    #[test]
    fn solutions_are_backward_stable_and_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..11, count in 1_usize..20,
    ) {
        let width = 16 * blocks;
        let systems: Vec<f32> = (0..count)
            .flat_map(|i| Case::new(seed ^ i as u64, width, 40 * i).system(Simd::detect(), false, &[CHUNK]))
            .collect();
        let length = system_len(width);
        let one_by_one: Vec<f32> =
            systems.chunks(length).flat_map(|system| solved(Simd::PORTABLE, width, system).0).collect();
        for simd in Simd::available() {
            let (x, failed) = solved(simd, width, &systems);
            prop_assert_eq!(failed, None);
            prop_assert_eq!(bits(&x), bits(&one_by_one), "{}", simd);
        }
        for (system, x) in systems.chunks(length).zip(one_by_one.chunks(width)) {
            let error = backward_error(width, system, x);
            prop_assert!(error <= 1e-6, "{}", error);
        }
    }

    #[test]
    fn descent_to_non_negative_factors_is_the_method_and_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..8, count in 0_usize..300, sweeps in 1_usize..12,
    ) {
        let width = 16 * blocks;
        let system = Case::new(seed, width, count).system(Simd::detect(), false, &[CHUNK]);
        let start: Vec<f32> = Numbers(seed).signed(width).iter().map(|x| x.max(0.0)).collect();
        let descended = |simd: Simd, sweeps: usize| {
            let mut x = start.clone();
            let mut scratch = vec![f32::NAN; non_negative_scratch(width)];
            assert_eq!(non_negative(simd, &system, sweeps, &mut x, &mut scratch), None);
            x
        };
        let expected = descended(Simd::PORTABLE, sweeps);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&descended(simd, sweeps)), bits(&expected), "{}", simd);
        }
        let (naive, objectives) = naive_sweeps(width, &system, &start, sweeps);
        prop_assert!(objectives.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9 * pair[0].abs()));
        let largest = naive.iter().fold(0.0, |most: f64, x| most.max(*x));
        for (found, naive) in expected.iter().zip(&naive) {
            prop_assert!((f64::from(*found) - naive).abs() <= 1e-4 * largest, "{} for {}", found, naive);
        }
        // Karush, Kuhn and Tucker, once it has come to rest: g = A x - b is 0 where x > 0, and no less elsewhere.
        let x = descended(Simd::detect(), 2000);
        let entry = |i: usize, j: usize| f64::from(system[upper_index(width, i.min(j), i.max(j))]);
        for i in 0..width {
            let terms: Vec<f64> = (0..width).map(|j| entry(i, j) * f64::from(x[j])).collect();
            let b = f64::from(system[upper_len(width) + i]);
            let gradient = terms.iter().sum::<f64>() - b;
            let size = terms.iter().map(|term| term.abs()).sum::<f64>() + b.abs();
            let wrong = if x[i] > 0.0 { gradient.abs() } else { -gradient };
            prop_assert!(x[i] >= 0.0 && wrong <= 2e-5 * size, "{} of {} at {}", gradient, size, x[i]);
        }
    }

    #[test]
    fn the_first_failed_pivot_is_named(seed: u64, blocks in 1_usize..10, count in 1_usize..20, spot: u64) {
        let width = 16 * blocks;
        let length = system_len(width);
        let mut systems = Case::new(seed, width, 300).system(Simd::detect(), false, &[CHUNK]).repeat(count);
        let failure = FailedPivot { system: (spot % count as u64) as usize, pivot: (spot >> 32) as usize % width };
        let at = |i: usize| failure.system * length + upper_index(width, i, i);
        systems[at(failure.pivot)] = if spot % 2 == 0 { -1.0 } else { f32::NAN };
        systems[at(width - 1)] = -1.0;
        let sound = Case::new(seed, width, 300).system(Simd::detect(), false, &[CHUNK]);
        let (sound, _) = solved(Simd::PORTABLE, width, &sound);
        for simd in Simd::available() {
            let (x, failed) = solved(simd, width, &systems);
            prop_assert_eq!(failed, Some(failure), "{}", simd);
            for (system, x) in x.chunks(width).enumerate().filter(|(system, _)| *system != failure.system) {
                prop_assert_eq!(bits(x), bits(&sound), "system {}", system);
            }
        }
    }

    #[test]
    fn a_gram_partial_is_the_sum_of_squares(seed: u64, blocks in 1_usize..9, count in 0_usize..600) {
        let width = 16 * blocks;
        let rows = Numbers(seed).signed(count * width);
        let partial = |simd: Simd| {
            let (mut chunk, mut sum) = (vec![f32::NAN; upper_len(width)], vec![0.0; upper_len(width)]);
            gram(simd, width, &rows, &mut chunk, &mut sum);
            sum
        };
        let expected = partial(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(&partial(simd), &expected, "{}", simd);
        }
        for i in 0..width {
            for j in i..width {
                let product = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
                let naive: f64 = rows.chunks(width).map(product).sum();
                // The bound of 256 roundings in f32.
                let bound = 1.6e-5 * rows.chunks(width).map(|row| product(row).abs()).sum::<f64>();
                prop_assert!((expected[upper_index(width, i, j)] - naive).abs() <= bound);
            }
        }
    }

    #[test]
    fn what_two_tables_have_in_common_is_the_sum_of_outer_products(seed: u64, blocks in 1_usize..9, count in 0_usize..600) {
        let width = 16 * blocks;
        let (x, y) = (Numbers(seed).signed(count * width), Numbers(seed ^ 1).signed(count * width));
        let partial = |simd: Simd| {
            let (mut chunk, mut sum) = (vec![f32::NAN; width * width], vec![0.0; width * width]);
            cross(simd, width, (&x, &y), &mut chunk, &mut sum);
            sum
        };
        let expected = partial(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(&partial(simd), &expected, "{}", simd);
        }
        for i in 0..width {
            for j in 0..width {
                let products = x.chunks(width).zip(y.chunks(width));
                let products = products.map(|(x, y)| f64::from(x[i]) * f64::from(y[j]));
                let (naive, size) = products.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                prop_assert!((expected[i * width + j] - naive).abs() <= 1.6e-5 * size);
            }
        }
    }

    #[test]
    fn a_fit_is_the_quadratic_form_and_the_same_bits_everywhere(seed: u64, blocks in 1_usize..9, count in 0_usize..300) {
        let width = 16 * blocks;
        let system = Case::new(seed, width, count).system(Simd::detect(), false, &[CHUNK]);
        let x = Numbers(seed ^ 1).signed(width);
        let expected = fit(Simd::PORTABLE, &system, &x);
        for simd in Simd::available() {
            prop_assert_eq!(fit(simd, &system, &x).to_bits(), expected.to_bits(), "{}", simd);
        }
        let entry = |i: usize, j: usize| f64::from(system[upper_index(width, i.min(j), i.max(j))]);
        let (mut naive, mut scale) = (0.0, 1.0);
        for i in 0..width {
            let linear = 2.0 * f64::from(x[i]) * f64::from(system[upper_len(width) + i]);
            let row: f64 = (0..width).map(|j| entry(i, j) * f64::from(x[j])).sum();
            naive += linear - f64::from(x[i]) * row;
            scale += linear.abs() + (0..width).map(|j| entry(i, j).abs()).sum::<f64>();
        }
        prop_assert!((expected - naive).abs() <= 1e-12 * scale, "{} for {}", expected, naive);
    }

    #[test]
    fn confidences_are_the_same_bits_everywhere(seed: u64, count in 0_usize..70, alpha in 0.0..40.0, alpha0 in 0.0..2.0) {
        let values = Numbers(seed).signed(count);
        for simd in Simd::available() {
            let (mut weights, mut targets) = (vec![f32::NAN; count], vec![f32::NAN; count]);
            linear_confidence(simd, &values, alpha, alpha0, &mut weights, &mut targets);
            for (e, value) in values.iter().enumerate() {
                let above = alpha * f64::from(*value);
                prop_assert_eq!(weights[e].to_bits(), (above as f32).to_bits());
                prop_assert_eq!(targets[e].to_bits(), ((alpha0 + above) as f32).to_bits());
            }
        }
    }

    #[test]
    fn inner_products_are_sums_in_double_precision(seed: u64, length in 0_usize..70) {
        let mut numbers = Numbers(seed);
        let (x, y) = (numbers.signed(length), numbers.signed(length));
        let expected = inner(Simd::PORTABLE, &x, &y);
        for simd in Simd::available() {
            prop_assert_eq!(inner(simd, &x, &y).to_bits(), expected.to_bits(), "{}", simd);
        }
        let naive: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        prop_assert!((expected - naive).abs() <= 1e-13);
    }

    #[test]
    fn dot_products_are_the_same_bits_everywhere(seed: u64, blocks in 1_usize..33) {
        let mut numbers = Numbers(seed);
        let (x, y) = (numbers.signed(16 * blocks), numbers.signed(16 * blocks));
        let expected = kernels::dot(Simd::PORTABLE, &x, &y);
        for simd in Simd::available() {
            prop_assert_eq!(kernels::dot(simd, &x, &y).to_bits(), expected.to_bits(), "{}", simd);
        }
        let naive: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        prop_assert!((f64::from(expected) - naive).abs() < 1e-4);
    }
}

#[test]
fn a_diagonal_that_is_not_positive_is_named() {
    let mut system = Case::new(5, 32, 90).system(Simd::detect(), false, &[CHUNK]);
    let mut scratch = vec![0.0; non_negative_scratch(32)];
    for wrong in [f32::NAN, 0.0, f32::INFINITY] {
        system[upper_index(32, 21, 21)] = wrong;
        let mut x = vec![0.5; 32];
        let failed = non_negative(Simd::detect(), &system, 3, &mut x, &mut scratch);
        assert_eq!(failed, Some(21));
    }
}

/// The wide systems, which proptest leaves to one case each for their cost.
#[test]
fn wide_systems_too() {
    for width in [176, 256, 512] {
        let case = Case::new(width as u64, width, 300);
        let expected = case.system(Simd::PORTABLE, true, &[CHUNK]);
        let (x, failed) = solved(Simd::PORTABLE, width, &expected);
        assert_eq!(failed, None);
        assert!(backward_error(width, &expected, &x) <= 1e-6);
        for simd in Simd::available() {
            assert_eq!(
                bits(&case.system(simd, true, &[100])),
                bits(&expected),
                "{simd} {width}"
            );
            assert_eq!(
                bits(&solved(simd, width, &expected).0),
                bits(&x),
                "{simd} {width}"
            );
        }
    }
}

/// Zero padding behind a rank that is no multiple of 16 stays exactly zero.
#[test]
fn padding_of_the_solution_is_zero() {
    let (width, rank) = (32, 20);
    let mut case = Case::new(3, width, 50);
    let padded = |numbers: &mut [f32]| {
        numbers
            .chunks_mut(width)
            .for_each(|row| row[rank..].fill(0.0));
    };
    padded(&mut case.first);
    padded(&mut case.base_rhs);
    case.base.fill(0.0);
    for simd in Simd::available() {
        let (x, failed) = solved(simd, width, &case.system(simd, false, &[CHUNK]));
        assert_eq!(failed, None);
        assert!(x[rank..].iter().all(|&x| x == 0.0) && x[..rank].iter().all(|&x| x != 0.0));
    }
}
