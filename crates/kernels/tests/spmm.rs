//! The sparse product against a naive f64 reference, bit for bit across instruction sets and wherever lines are cut.

use kernels::{Lines, Rows, Simd, Source, Weights, add_targets, spmm, spmm_times};
use proptest::prelude::*;

/// Deterministic numbers for data; their quality does not matter here.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as u32
    }

    fn signed(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Two blocks of rows, of which the second is shorter, and lines over them. The first is full or half full.
struct Case {
    width: usize,
    stride_log2: u8,
    blocks: [Vec<f32>; 2],
    ids: Vec<u32>,
    weights: Vec<f32>,
    bounds: Vec<u32>,
}

impl Case {
    fn new(seed: u64, width: usize, lengths: &[usize]) -> Self {
        let mut numbers = Numbers(seed);
        let (stride_log2, rows) = (if seed.is_multiple_of(2) { 5 } else { 6 }, [32, 9]);
        let blocks = rows.map(|rows| (0..rows * width).map(|_| numbers.signed()).collect());
        let count: usize = lengths.iter().sum();
        let id = |row: u32| ((row / 32) << stride_log2) + row % 32;
        let ids = (0..count + 7).map(|_| id(numbers.next() % 41)).collect();
        let weights = (0..count + 7).map(|_| numbers.signed()).collect();
        let mut bounds = vec![0];
        for length in lengths {
            bounds.push(bounds[bounds.len() - 1] + *length as u32);
        }
        Case {
            width,
            stride_log2,
            blocks,
            ids,
            weights,
            bounds,
        }
    }

    fn run(&self, simd: Simd, weights: Weights<'_>, bounds: &[u32], sums: &mut [f32]) {
        let blocks = self.blocks.each_ref().map(Vec::as_slice);
        let rows = Rows::new(&blocks, self.stride_log2, self.width);
        let lines = Lines { bounds, rows: None };
        spmm(simd, rows, (0, &self.ids[..]), weights, lines, sums);
    }

    /// The sums in f64, onto 0.5, and the sums of the sizes of their terms.
    fn reference(&self, weights: Weights<'_>) -> Vec<(f64, f64)> {
        let weight = |position: usize| match weights {
            Weights::All(weight) => weight,
            Weights::Each(weights) => weights[position],
        };
        let mut sums = vec![(0.5, 0.5); (self.bounds.len() - 1) * self.width];
        for (ends, sums) in self.bounds.windows(2).zip(sums.chunks_mut(self.width)) {
            for position in ends[0] as usize..ends[1] as usize {
                let (id, stride) = (self.ids[position] as usize, 1 << self.stride_log2);
                let row = &self.blocks[id / stride][id % stride * self.width..][..self.width];
                for (sum, &x) in sums.iter_mut().zip(row) {
                    let term = f64::from(x) * f64::from(weight(position));
                    *sum = (sum.0 + term, sum.1 + term.abs());
                }
            }
        }
        sums
    }
}

/// Vectors of a row: of widths that have their own loops, and of any.
fn vectors() -> impl Strategy<Value = usize> {
    prop_oneof![prop::sample::select(vec![1_usize, 2, 4, 8]), 1_usize..=32]
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

proptest! {
    #[test]
    fn sums_are_those_of_the_reference_on_every_path(
        seed in any::<u64>(),
        vectors in vectors(),
        lengths in prop::collection::vec(0_usize..60, 0..6),
        one_value in any::<bool>(),
    ) {
        let case = Case::new(seed, 16 * vectors, &lengths);
        let weights = if one_value { Weights::All(1.0) } else { Weights::Each(&case.weights) };
        let mut first: Option<Vec<u32>> = None;
        for simd in Simd::available() {
            let mut sums = vec![0.5; lengths.len() * case.width];
            case.run(simd, weights, &case.bounds, &mut sums);
            for (sum, (exact, sizes)) in sums.iter().zip(case.reference(weights)) {
                prop_assert!((f64::from(*sum) - exact).abs() <= 4e-6 * sizes, "{sum} instead of {exact}");
            }
            prop_assert_eq!(first.get_or_insert_with(|| bits(&sums)), &bits(&sums), "{} differs", simd);
        }
    }

    #[test]
    fn rows_times_those_of_other_tables_are_added_as_a_row_of_targets_alone(
        seed in any::<u64>(),
        vectors in vectors(),
        others in 0_usize..=2,
        lengths in prop::collection::vec(0_usize..60, 0..6),
    ) {
        let case = Case::new(seed, 16 * vectors, &lengths);
        let (width, count) = (case.width, lengths.iter().sum::<usize>());
        let blocks = case.blocks.each_ref().map(Vec::as_slice);
        let small = [&case.blocks[1][..]];
        let bins: Vec<u32> = case.ids.iter().map(|id| id % 9).collect();
        let source = Source { rows: Rows::new(&blocks, case.stride_log2, width), ids: &case.ids };
        let other = Source { rows: Rows::contiguous(&small, width), ids: &bins };
        let sources = &[source, other, other][..=others];
        for simd in Simd::available() {
            let mut sums = vec![0.0; lengths.len() * width];
            spmm_times(simd, sources, &case.weights[..count], &case.bounds, &mut sums);
            for (ends, sums) in case.bounds.windows(2).zip(sums.chunks(width)) {
                let (first, end) = (ends[0] as usize, ends[1] as usize);
                let mut alone = sources.to_vec();
                for source in &mut alone {
                    source.ids = &source.ids[first..];
                }
                let mut expected = vec![0.0; width];
                add_targets(simd, &alone, &case.weights[first..end], &mut expected);
                prop_assert_eq!(bits(sums), bits(&expected), "{}", simd);
            }
        }
    }

    #[test]
    fn a_cut_line_and_one_value_for_each_change_no_bit(seed in any::<u64>(), length in 1_usize..80, cut in 0_usize..80) {
        let (case, simd) = (Case::new(seed, 48, &[length]), Simd::detect());
        let cut = cut.min(length);
        let (mut whole, mut parts, mut alike) = (vec![0.0; 48], vec![0.0; 48], vec![0.0; 48]);
        case.run(simd, Weights::All(0.3), &[0, length as u32], &mut whole);
        case.run(simd, Weights::All(0.3), &[0, cut as u32], &mut parts);
        case.run(simd, Weights::All(0.3), &[cut as u32, length as u32], &mut parts);
        let each = vec![0.3; case.ids.len()];
        case.run(simd, Weights::Each(&each), &[0, length as u32], &mut alike);
        prop_assert_eq!(bits(&whole), bits(&parts));
        prop_assert_eq!(bits(&whole), bits(&alike));
    }
}

#[test]
#[should_panic(expected = "no block holds the row")]
fn an_id_without_a_row_panics() {
    let mut case = Case::new(1, 16, &[3]);
    case.ids[1] = 41;
    let mut sums = vec![0.0; 16];
    case.run(Simd::detect(), Weights::All(1.0), &[0, 3], &mut sums);
}

#[test]
#[should_panic(expected = "no block holds the row")]
fn an_id_that_a_small_table_lacks_panics() {
    let case = Case::new(2, 16, &[3]);
    let blocks = case.blocks.each_ref().map(Vec::as_slice);
    let (small, bins) = ([&case.blocks[1][..]], [8, 9, 0]);
    let source = Source {
        rows: Rows::new(&blocks, case.stride_log2, 16),
        ids: &case.ids,
    };
    let other = Source {
        rows: Rows::contiguous(&small, 16),
        ids: &bins,
    };
    let (weights, mut sums) = (&case.weights[..3], vec![0.0; 16]);
    spmm_times(
        Simd::detect(),
        &[source, other],
        weights,
        &[0, 3],
        &mut sums,
    );
}
