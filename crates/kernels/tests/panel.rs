//! Solvers on panels, the eigenbasis and rotations against naive f64 references, and bit for bit across instruction
//! sets.

use kernels::{
    Binned, Common, Dual, Equations, GROUP, Rows, Simd, Source, add_binned, add_by_bin, add_lines,
    add_targets, conjugate_gradients, conjugate_gradients_scratch, dual, dual_scratch, eigen,
    eigen_scratch, flush_scaled, pack, rotate, scores, subspace, subspace_scratch, sum_products,
};
use proptest::prelude::*;

/// Deterministic numbers for data; their quality does not matter here.
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn signed(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| 2.0 * self.unit() - 1.0).collect()
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The equations of one row.
struct Case {
    width: usize,
    panel: Vec<f32>,
    /// A diagonal, or all rows.
    common: Vec<f32>,
    rhs: Vec<f32>,
    start: Vec<f32>,
}

impl Case {
    fn new(seed: u64, width: usize, count: usize, diagonal: bool) -> Self {
        let mut numbers = Numbers(seed);
        let mut panel = numbers.signed(count * width);
        panel.resize(count.next_multiple_of(GROUP) * width, 0.0);
        let common = if diagonal {
            (0..width).map(|_| 3.0 * numbers.unit()).collect()
        } else {
            let directions = numbers.signed(2 * width);
            let entry = |i: usize, j: usize| {
                directions[i] * directions[j] + directions[width + i] * directions[width + j]
            };
            (0..width * width)
                .map(|i| entry(i / width, i % width))
                .collect()
        };
        Case {
            width,
            panel,
            common,
            rhs: numbers.signed(width),
            start: numbers.signed(width),
        }
    }

    fn equations(&self) -> Equations<'_> {
        Equations {
            common: if self.common.len() == self.width {
                Common::Diagonal(&self.common)
            } else {
                Common::Square(&self.common)
            },
            ridge: 0.7,
            panel: &self.panel,
            rhs: &self.rhs,
        }
    }

    /// The matrix in f64.
    fn matrix(&self) -> Vec<f64> {
        let width = self.width;
        let mut matrix = vec![0.0; width * width];
        for i in 0..width {
            for j in 0..width {
                let common = if self.common.len() > width {
                    self.common[i * width + j]
                } else if i == j {
                    self.common[i]
                } else {
                    0.0
                };
                let lines = self.panel.chunks_exact(width);
                let products = lines.map(|line| f64::from(line[i]) * f64::from(line[j]));
                let ridge = if i == j { 0.7_f32 } else { 0.0 };
                matrix[i * width + j] =
                    f64::from(common) + f64::from(ridge) + products.sum::<f64>();
            }
        }
        matrix
    }

    /// ‖b − A x‖ / (‖A‖ ‖x‖ + ‖b‖) in the infinity norm, x the larger of start and solution: the start's product is
    /// rounded too.
    fn backward_error(&self, x: &[f32]) -> f64 {
        let (mut worst, mut norm) = (0.0_f64, 0.0_f64);
        let largest = |x: &[f32]| {
            x.iter()
                .fold(0.0_f64, |most, &x| most.max(f64::from(x).abs()))
        };
        for (row, &b) in self.matrix().chunks_exact(self.width).zip(&self.rhs) {
            let product: f64 = row.iter().zip(x).map(|(a, &x)| a * f64::from(x)).sum();
            worst = worst.max((f64::from(b) - product).abs());
            norm = norm.max(row.iter().map(|a| a.abs()).sum());
        }
        worst / (norm * largest(x).max(largest(&self.start)) + largest(&self.rhs))
    }

    fn improved(&self, simd: Simd, steps: usize) -> Vec<f32> {
        let mut x = self.start.clone();
        let mut scratch = vec![f32::NAN; conjugate_gradients_scratch(self.width)];
        let failed = conjugate_gradients(simd, self.equations(), steps, &mut x, &mut scratch);
        assert_eq!(failed, None);
        x
    }
}

/// One sweep over blocks of 16 columns in f64, each solved by elimination.
fn naive_sweep(case: &Case) -> Vec<f64> {
    let (width, a) = (case.width, case.matrix());
    let mut x: Vec<f64> = case.start.iter().map(|&x| f64::from(x)).collect();
    for first in (0..width).step_by(16) {
        let residual = |i: usize| {
            let row = &a[i * width..][..width];
            f64::from(case.rhs[i]) - row.iter().zip(&x).map(|(a, x)| a * x).sum::<f64>()
        };
        let mut system: Vec<Vec<f64>> = (first..first + 16)
            .map(|i| {
                let mut row = a[i * width + first..][..16].to_vec();
                row.push(residual(i));
                row
            })
            .collect();
        for k in 0..16 {
            let pivot = system[k].clone();
            for row in system.iter_mut().enumerate().filter(|(i, _)| *i != k) {
                let factor = row.1[k] / pivot[k];
                row.1
                    .iter_mut()
                    .zip(&pivot)
                    .for_each(|(x, p)| *x -= factor * p);
            }
        }
        for k in 0..16 {
            x[first + k] += system[k][16] / system[k][k];
        }
    }
    x
}

/// Conjugate gradients in f64, as the textbook has them.
fn naive(case: &Case, steps: usize) -> Vec<f64> {
    let (width, a) = (case.width, case.matrix());
    let times = |x: &[f64]| -> Vec<f64> {
        let rows = a.chunks_exact(width);
        rows.map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum())
            .collect()
    };
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let mut x: Vec<f64> = case.start.iter().map(|&x| f64::from(x)).collect();
    let product = times(&x);
    let mut r: Vec<f64> = (0..width)
        .map(|k| f64::from(case.rhs[k]) - product[k])
        .collect();
    let precondition =
        |r: &[f64]| -> Vec<f64> { (0..width).map(|k| r[k] / a[k * width + k]).collect() };
    let mut p = precondition(&r);
    let mut norm = dot(&r, &p);
    for _ in 0..steps {
        let product = times(&p);
        let step = norm / dot(&p, &product);
        for k in 0..width {
            x[k] += step * p[k];
            r[k] -= step * product[k];
        }
        let z = precondition(&r);
        let keep = dot(&r, &z) / norm;
        norm *= keep;
        p = (0..width).map(|k| z[k] + keep * p[k]).collect();
    }
    x
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conjugate_gradients_are_the_textbook_and_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..11, count in 0_usize..700, diagonal: bool, steps in 1_usize..5,
    ) {
        let case = Case::new(seed, 16 * blocks, count, diagonal);
        let expected = case.improved(Simd::PORTABLE, steps);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&case.improved(simd, steps)), bits(&expected), "{}", simd);
        }
        let scale = expected.iter().fold(0.1_f32, |most, x| most.max(x.abs()));
        for (x, naive) in expected.iter().zip(naive(&case, steps)) {
            prop_assert!((f64::from(*x) - naive).abs() <= 1e-3 * f64::from(scale), "{} for {}", x, naive);
        }
        let solved = case.improved(Simd::detect(), 6 * 16 * blocks);
        let error = case.backward_error(&solved);
        prop_assert!(error <= 1e-6, "{}", error);
    }

    #[test]
    fn a_sweep_solves_block_after_block_with_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..9, count in 0_usize..600, diagonal: bool,
    ) {
        let case = Case::new(seed, 16 * blocks, count, diagonal);
        let lines = case.panel.len() / case.width;
        let swept = |simd: Simd| {
            let mut x = case.start.clone();
            let mut scratch = vec![f32::NAN; subspace_scratch(case.width, lines)];
            assert_eq!(subspace(simd, case.equations(), &mut x, &mut scratch), None);
            x
        };
        let expected = swept(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&swept(simd)), bits(&expected), "{}", simd);
        }
        let scale = expected.iter().chain(&case.start).fold(0.1_f32, |most, x| most.max(x.abs()));
        for (x, naive) in expected.iter().zip(naive_sweep(&case)) {
            prop_assert!((f64::from(*x) - naive).abs() <= 1e-3 * f64::from(scale), "{} for {}", x, naive);
        }
    }

    #[test]
    fn the_dual_is_backward_stable_and_the_same_bits_everywhere(
        seed: u64, blocks in 1_usize..9, count in 0_usize..100, has_rest: bool,
    ) {
        let mut case = Case::new(seed, 16 * blocks, count.min(16 * blocks - 1), true);
        let mut numbers = Numbers(seed ^ 1);
        let factors = numbers.signed(case.panel.len() / case.width);
        let rest = if has_rest { case.rhs.clone() } else { vec![0.0; case.width] };
        for (k, rhs) in case.rhs.iter_mut().enumerate() {
            let lines = case.panel.chunks_exact(case.width).zip(&factors);
            let sum: f64 = lines.map(|(line, &factor)| f64::from(line[k]) * f64::from(factor)).sum();
            *rhs = (f64::from(rest[k]) + sum) as f32;
        }
        let row = Dual { diagonal: &case.common, ridge: 0.7, panel: &case.panel, factors: &factors, rest: &rest };
        let solved = |simd: Simd| {
            let mut x = vec![f32::NAN; case.width];
            // Room for more lines is room for these.
            let mut scratch = vec![f32::NAN; dual_scratch(case.width, factors.len() + 40)];
            assert_eq!(dual(simd, row, &mut x, &mut scratch), None);
            x
        };
        let expected = solved(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&solved(simd)), bits(&expected), "{}", simd);
        }
        let error = case.backward_error(&expected);
        prop_assert!(error <= 1e-6, "{}", error);
    }

    #[test]
    fn a_panel_is_the_roots_of_weights_times_rows(
        seed: u64, blocks in 1_usize..11, count in 0_usize..300, two_modes: bool,
    ) {
        let (width, mut numbers) = (16 * blocks, Numbers(seed));
        let (table, times) = (numbers.signed(64 * width), numbers.signed(9 * width));
        let (tables, bins) = ([&table[..]], [&times[..]]);
        let pick = |below: f32, numbers: &mut Numbers| -> Vec<u32> {
            (0..count).map(|_| (below * numbers.unit()) as u32).collect()
        };
        let (ids, bin_ids) = (pick(64.0, &mut numbers), pick(9.0, &mut numbers));
        let weights: Vec<f32> = (0..count).map(|_| 3.0 * numbers.unit()).collect();
        let targets = numbers.signed(count);
        let sources = [
            Source { rows: Rows::contiguous(&tables, width), ids: &ids },
            Source { rows: Rows::contiguous(&bins, width), ids: &bin_ids },
        ];
        let sources = if two_modes { &sources[..] } else { &sources[..1] };
        let packed = |simd: Simd| {
            let (mut panel, mut rhs) = (vec![f32::NAN; count * width], vec![0.0; width]);
            pack(simd, sources, &weights, &targets, &mut panel, &mut rhs);
            (panel, rhs)
        };
        let (panel, rhs) = packed(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(&packed(simd), &(panel.clone(), rhs.clone()), "{}", simd);
            let mut alone = vec![0.0; width];
            add_targets(simd, sources, &targets, &mut alone);
            prop_assert_eq!(bits(&alone), bits(&rhs), "{}", simd);
        }
        let z = |e: usize, k: usize| {
            let t = if two_modes { times[bin_ids[e] as usize * width + k] } else { 1.0 };
            f64::from(table[ids[e] as usize * width + k]) * f64::from(t)
        };
        for k in 0..width {
            for e in 0..count {
                let line = f64::from(weights[e]).sqrt() * z(e, k);
                prop_assert!((f64::from(panel[e * width + k]) - line).abs() <= 1e-6);
            }
            let sum: f64 = (0..count).map(|e| f64::from(targets[e]) * z(e, k)).sum();
            prop_assert!((f64::from(rhs[k]) - sum).abs() <= 1e-4);
        }
        let lines = &panel[..count / GROUP * GROUP * width];
        let mut dots = vec![f32::NAN; count / GROUP * GROUP];
        for simd in Simd::available() {
            scores(simd, lines, &rhs, &mut dots);
            for (line, dot) in lines.chunks_exact(width).zip(&dots) {
                prop_assert_eq!(kernels::dot(simd, line, &rhs).to_bits(), dot.to_bits());
            }
        }
    }

    #[test]
    fn lines_are_added_up_and_the_same_bits_everywhere(seed: u64, blocks in 1_usize..9, count in 0_usize..40) {
        let (width, mut numbers) = (16 * blocks, Numbers(seed));
        let (panel, factors) = (numbers.signed(count * width), numbers.signed(count));
        let start = numbers.signed(width);
        let added = |simd: Simd| {
            let mut out = start.clone();
            add_lines(simd, &panel, &factors, &mut out);
            out
        };
        let expected = added(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&added(simd)), bits(&expected), "{}", simd);
        }
        for (column, (out, start)) in expected.iter().zip(&start).enumerate() {
            let terms = factors.iter().zip(panel.chunks_exact(width));
            let sum: f64 = terms.map(|(&s, line)| f64::from(s) * f64::from(line[column])).sum();
            prop_assert!((f64::from(*out) - f64::from(*start) - sum).abs() <= 1e-5);
        }
    }

    #[test]
    fn rotated_rows_are_products_with_the_matrix(seed: u64, blocks in 1_usize..9, count in 0_usize..40) {
        let (width, mut numbers) = (16 * blocks, Numbers(seed));
        let (matrix, rows) = (numbers.signed(width * width), numbers.signed(count * width));
        let rotated = |simd: Simd| {
            let mut out = vec![f32::NAN; rows.len()];
            rotate(simd, width, &matrix, &rows, &mut out);
            out
        };
        let expected = rotated(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(bits(&rotated(simd)), bits(&expected), "{}", simd);
        }
        for (row, out) in rows.chunks_exact(width).zip(expected.chunks_exact(width)) {
            for (j, out) in out.iter().enumerate() {
                let terms = row.iter().enumerate();
                let sum: f64 = terms.map(|(k, &x)| f64::from(x) * f64::from(matrix[k * width + j])).sum();
                prop_assert!((f64::from(*out) - sum).abs() <= 1e-5);
            }
        }
    }

    #[test]
    fn eigenvectors_diagonalise_and_are_the_same_bits_everywhere(seed: u64, n in 1_usize..70, rank in 0_usize..70) {
        // Of any rank: many eigenvalues are equal, or zero.
        let mut numbers = Numbers(seed);
        let factors: Vec<f64> = numbers.signed(n * rank).iter().map(|&x| f64::from(x)).collect();
        let rows: Vec<&[f64]> = if rank == 0 { vec![&[]; n] } else { factors.chunks(rank).collect() };
        let entry = |i: usize, j: usize| rows[i].iter().zip(rows[j]).map(|(x, y)| x * y).sum::<f64>();
        let matrix: Vec<f64> = (0..n * n).map(|i| entry(i / n, i % n)).collect();
        let decomposed = |simd: Simd| {
            let (mut z, mut values) = (matrix.clone(), vec![f64::NAN; n]);
            assert!(eigen(simd, &mut z, &mut values, &mut vec![f64::NAN; eigen_scratch(n)]));
            (z, values)
        };
        let (z, values) = decomposed(Simd::PORTABLE);
        for simd in Simd::available() {
            prop_assert_eq!(&decomposed(simd), &(z.clone(), values.clone()), "{}", simd);
        }
        prop_assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        let size = 1.0 + values[0].abs();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        for (i, x) in z.chunks_exact(n).enumerate() {
            for (j, y) in z.chunks_exact(n).enumerate() {
                let one = f64::from(u8::from(i == j));
                prop_assert!((dot(x, y) - one).abs() <= 1e-12);
            }
            for (row, &component) in matrix.chunks_exact(n).zip(x) {
                prop_assert!((dot(row, x) - values[i] * component).abs() <= 1e-12 * size);
            }
            let lead = x.iter().fold(0.0_f64, |lead, &x| if x.abs() > lead.abs() { x } else { lead });
            prop_assert!(lead > 0.0);
        }
    }
}

/// A narrow system is solved in a batch's scratch, which a wide one does not need.
#[test]
fn room_for_many_lines_is_room_for_few() {
    for lines in (4..=512).step_by(4) {
        assert!(dual_scratch(512, lines) <= dual_scratch(512, 512));
    }
}

/// The wide ones, which proptest leaves to one case each for their cost.
#[test]
fn wide_rows_too() {
    for width in [256, 512] {
        let case = Case::new(width as u64, width, 300, false);
        let expected = case.improved(Simd::PORTABLE, 3);
        for simd in Simd::available() {
            assert_eq!(bits(&case.improved(simd, 3)), bits(&expected), "{simd}");
        }
    }
}

#[test]
fn what_is_not_positive_or_not_finite_is_named() {
    let mut case = Case::new(5, 32, 0, true);
    case.common[7] = -0.7;
    let mut scratch = vec![0.0; conjugate_gradients_scratch(32)];
    let mut x = case.start.clone();
    for simd in Simd::available() {
        let failed = conjugate_gradients(simd, case.equations(), 2, &mut x, &mut scratch);
        assert_eq!(failed, Some(7));
        let mut scratch = vec![0.0; subspace_scratch(32, 0).max(dual_scratch(32, 0))];
        let failed = subspace(simd, case.equations(), &mut x, &mut scratch);
        assert_eq!(failed, Some(7));
        let row = Dual {
            diagonal: &case.common,
            ridge: 0.7,
            panel: &[],
            factors: &[],
            rest: &case.rhs,
        };
        assert_eq!(dual(simd, row, &mut x, &mut scratch), Some(7));
    }
    let (mut z, mut values) = (vec![f64::NAN; 9], vec![0.0; 3]);
    assert!(!eigen(Simd::detect(), &mut z, &mut values, &mut [0.0; 9]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_are_added_by_bin_and_what_comes_of_them(
        seed: u64,
        width in prop_oneof![Just(16_usize), Just(32), Just(48), Just(64), Just(80)],
        count in 0_usize..200,
    ) {
        let mut numbers = Numbers(seed);
        let (bins, products) = (5_usize, 13);
        let table = numbers.signed(products * width);
        let factors = numbers.signed(width);
        let ids: Vec<u32> = (0..count).map(|_| (13.0 * numbers.unit()) as u32).collect();
        let times: Vec<u32> = (0..count).map(|_| (5.0 * numbers.unit()) as u32).collect();
        let targets = numbers.signed(count);
        let run = |simd: Simd| {
            let blocks = [&table[..]];
            let source = Source { rows: Rows::contiguous(&blocks, width), ids: &ids };
            let mut sums = vec![0.5; bins * width];
            add_by_bin(simd, source, &times, &targets, &mut sums);
            let added = sums.clone();
            let mut products = vec![7.0; width];
            sum_products(simd, &sums, source.rows, &mut products);
            let mut totals = vec![0.25; bins * width];
            flush_scaled(simd, &mut sums, &factors, &mut totals);
            assert!(sums.iter().all(|&sum| sum == 0.0));
            (added, products, totals)
        };
        let (added, products, totals) = run(Simd::PORTABLE);
        for simd in Simd::available() {
            let other = run(simd);
            prop_assert_eq!(bits(&other.0), bits(&added), "{}", simd);
            prop_assert_eq!(bits(&other.1), bits(&products), "{}", simd);
            prop_assert_eq!(&other.2, &totals, "{}", simd);
        }
        let mut expected = vec![0.5; bins * width];
        for e in 0..count {
            for k in 0..width {
                let p = f64::from(table[ids[e] as usize * width + k]);
                expected[times[e] as usize * width + k] += f64::from(targets[e]) * p;
            }
        }
        for (place, (sum, expected)) in added.iter().zip(&expected).enumerate() {
            prop_assert!((f64::from(*sum) - expected).abs() < 2e-5);
            prop_assert_eq!(totals[place], 0.25 + f64::from(sum * factors[place % width]));
        }
        for (column, &product) in products.iter().enumerate() {
            let of_bin = |bin: usize| (f64::from(added[bin * width + column]), f64::from(table[bin * width + column]));
            let expected: f64 = (0..bins).map(of_bin).map(|(sum, factor)| sum * factor).sum();
            prop_assert!((f64::from(product) - expected).abs() < 2e-5 * (1.0 + expected.abs()));
        }
    }

    #[test]
    fn bins_take_their_interactions_until_one_is_full(
        seed: u64,
        width in prop_oneof![Just(16_usize), Just(32), Just(48), Just(64), Just(80)],
        count in 0_usize..200,
        first in 0_u32..3,
    ) {
        let mut numbers = Numbers(seed);
        let (bins, products, full) = (5_usize, 13, 9_u32);
        let table = numbers.signed(products * width);
        let user = numbers.signed(width);
        let ids: Vec<u32> = (0..count).map(|_| (13.0 * numbers.unit()) as u32).collect();
        let times: Vec<u32> = (0..count).map(|_| (8.0 * numbers.unit()) as u32).collect();
        let targets = numbers.signed(count);
        let run = |simd: Simd| {
            let blocks = [&table[..]];
            let source = Source { rows: Rows::contiguous(&blocks, width), ids: &ids };
            let (mut sums, mut counts) = (vec![0.0; bins * width], vec![0; bins]);
            let mut into = Binned { first, sums: &mut sums, counts: &mut counts };
            let seen = add_binned(simd, source, &times, &targets, &user, full, &mut into);
            (seen, sums, counts)
        };
        let (seen, sums, counts) = run(Simd::PORTABLE);
        for simd in Simd::available() {
            let (other, other_sums, other_counts) = run(simd);
            prop_assert_eq!((other, other_counts), (seen, counts.clone()), "{}", simd);
            prop_assert_eq!(bits(&other_sums), bits(&sums), "{}", simd);
        }
        let mut expected = vec![0.0; bins * width];
        let mut taken = vec![0; bins];
        let mut end = count;
        for e in 0..count {
            let bin = times[e].wrapping_sub(first) as usize;
            if bin >= bins {
                continue;
            }
            for k in 0..width {
                let z = f64::from(user[k]) * f64::from(table[ids[e] as usize * width + k]);
                expected[bin * width + k] += f64::from(targets[e]) * z;
            }
            taken[bin] += 1;
            if taken[bin] == full {
                end = e + 1;
                break;
            }
        }
        prop_assert_eq!((seen, &counts), (end, &taken));
        for (sum, expected) in sums.iter().zip(&expected) {
            prop_assert!((f64::from(*sum) - expected).abs() < 1e-5);
        }
    }
}
