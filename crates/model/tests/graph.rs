//! Products with a block of the adjacency against a naive f64 reference, however the block is cut in pieces.

use kernels::{LINE, Rows, Simd};
use model::graph::Edges;
use model::graph::product::Product;
use proptest::prelude::*;
use tensor::csr::Values;
use tensor::{CsrRef, Small};

const WIDTH: usize = 32;
const OTHERS: u32 = 37;

/// A block whose rows have these many interactions.
struct Block {
    offsets: Vec<u64>,
    columns: Vec<u32>,
    values: Vec<f32>,
    others: Vec<f32>,
}

impl Block {
    fn new(seed: u32, lengths: &[usize]) -> Self {
        let number = |i: usize| {
            let mixed = (i as u32 ^ seed).wrapping_mul(2_654_435_761);
            (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519) >> 8
        };
        let mut offsets = vec![0];
        for &length in lengths {
            offsets.push(offsets[offsets.len() - 1] + length as u64);
        }
        let count = offsets[lengths.len()] as usize;
        let part = |i: usize| number(i) as f32 / (1 << 24) as f32;
        Block {
            offsets,
            columns: (0..count).map(|i| number(i + 7) % OTHERS).collect(),
            values: (0..count).map(|i| 1.0 + part(i + 11)).collect(),
            others: (0..OTHERS as usize * WIDTH)
                .map(|i| part(i + 13) - 0.3)
                .collect(),
        }
    }

    /// The product in pieces that end at `cuts`.
    fn product(&self, simd: Simd, edges: Edges, cuts: &[u64]) -> Vec<f32> {
        let (rows, others) = (self.offsets.len() - 1, [&self.others[..]]);
        let mut product = Product::new(simd, edges, WIDTH);
        let mut out = vec![0.0; rows * WIDTH];
        let count = self.columns.len() as u64;
        let mut start = 0;
        for &end in cuts.iter().chain([&count]) {
            if start == end {
                continue;
            }
            let first = self.offsets.partition_point(|&offset| offset <= start) - 1;
            let last = self.offsets.partition_point(|&offset| offset < end);
            let piece = start as usize..end as usize;
            let csr = CsrRef::new(
                &self.offsets[first..=last],
                start,
                &self.columns[piece.clone()],
                Small::default(),
                Values::Each(&self.values[piece]),
                Some(OTHERS.into()),
            );
            let others = Rows::contiguous(&others, WIDTH);
            product.piece(csr.unwrap(), first, others, &mut out);
            start = end;
        }
        out
    }

    /// Sums in f64 with the sums of the sizes of their terms.
    fn reference(&self, edges: Edges) -> Vec<(f64, f64)> {
        let mut sums = Vec::new();
        for ends in self.offsets.windows(2) {
            for column in 0..WIDTH {
                let terms = (ends[0] as usize..ends[1] as usize).map(|position| {
                    let other = self.columns[position] as usize * WIDTH + column;
                    let weight = match edges {
                        Edges::Binary => 1.0,
                        Edges::Values => f64::from(self.values[position]),
                    };
                    weight * f64::from(self.others[other])
                });
                sums.push(terms.fold((0.0, 0.0), |(sum, size), term: f64| {
                    (sum + term, size + term.abs())
                }));
            }
        }
        sums
    }
}

/// Rows around the length of a line are where a row becomes a long one.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        6 => 0_usize..40,
        1 => LINE - 1..LINE + 2,
        1 => LINE..4 * LINE,
    ];
    prop::collection::vec(length, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_change_no_bit_and_sums_are_those_of_the_reference(
        seed in any::<u32>(),
        lengths in lengths(),
        cuts in prop::collection::vec(0.0..1.0_f64, 0..6),
        weighted in any::<bool>(),
    ) {
        let edges = if weighted { Edges::Values } else { Edges::Binary };
        let block = Block::new(seed, &lengths);
        let count = block.columns.len() as f64;
        let mut cuts: Vec<u64> = cuts.iter().map(|cut| (cut * count) as u64).collect();
        cuts.sort_unstable();
        let whole = block.product(Simd::detect(), edges, &[]);
        for (sum, (exact, size)) in whole.iter().zip(block.reference(edges)) {
            prop_assert!((f64::from(*sum) - exact).abs() <= 1e-5 * size, "{sum} instead of {exact}");
        }
        let bits = |sums: &[f32]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
        for simd in Simd::available() {
            prop_assert_eq!(bits(&block.product(simd, edges, &cuts)), bits(&whole));
        }
    }
}
