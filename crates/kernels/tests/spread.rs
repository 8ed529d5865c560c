//! Rows spread over others, against a naive f64 reference, bit for bit across instruction sets and cuts.

use kernels::{Places, Random, Simd, Weights, spread};
use proptest::prelude::*;

const PLACES: Places<'_> = Places {
    starts: &[0, 5, 5],
    stride_log2: 3,
};

/// Rows 0 to 4 of the first block, 16 to 22 of the third.
fn id(word: u32) -> u32 {
    let place = word % 12;
    if place < 5 { place } else { 16 + place - 5 }
}

proptest! {
    #[test]
    fn sums_are_those_of_the_reference_on_every_path(
        seed: u64,
        vectors in 1_usize..=8,
        count in 0_usize..40,
        cut in 0_usize..40,
        one_value: bool,
    ) {
        let signed = |purpose, i: usize| {
            (Random::new(seed, purpose, 0, i as u32).word(0) % 2_001) as f32 / 1_000.0 - 1.0
        };
        let width = 16 * vectors;
        // Every third vector is zeros.
        let row: Vec<f32> = (0..width).map(|i| if i / 16 % 3 == 1 { 0.0 } else { signed(0, i) }).collect();
        let ids: Vec<u32> = (0..count).map(|i| id(Random::new(seed, 1, 0, i as u32).word(0))).collect();
        let each: Vec<f32> = (0..count).map(|i| if one_value { 0.75 } else { signed(2, i) }).collect();
        let mut exact = vec![(0.5, 0.5); 12 * width];
        for (&id, &weight) in ids.iter().zip(&each) {
            let place = if id < 5 { id } else { id - 16 + 5 } as usize;
            for (sum, &x) in exact[place * width..][..width].iter_mut().zip(&row) {
                let term = f64::from(x) * f64::from(weight);
                *sum = (sum.0 + term, sum.1 + term.abs());
            }
        }
        let mut first: Option<Vec<u32>> = None;
        let cut = cut.min(count);
        for simd in Simd::available() {
            let mut out = vec![0.5; 12 * width];
            for part in [0..cut, cut..count] {
                let weights = if one_value { Weights::All(0.75) } else { Weights::Each(&each[part.clone()]) };
                spread(simd, &row, &ids[part], weights, PLACES, &mut out);
            }
            for (sum, (exact, sizes)) in out.iter().zip(&exact) {
                prop_assert!((f64::from(*sum) - exact).abs() <= 4e-6 * sizes, "{sum} instead of {exact}");
            }
            let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{} differs", simd);
        }
    }
}

#[test]
#[should_panic(expected = "out of range")]
fn an_id_without_a_row_panics() {
    let mut out = vec![0.0; 12 * 16];
    spread(
        Simd::detect(),
        &[1.0; 16],
        &[23],
        Weights::All(1.0),
        PLACES,
        &mut out,
    );
}
