//! Squared distances against a naive f64 reference, bit for bit across instruction sets and cuts.

use kernels::{Random, Simd, distances};
use proptest::prelude::*;

proptest! {
    #[test]
    fn distances_are_those_of_the_reference_on_every_path(
        seed: u64,
        vectors in 1_usize..=5,
        count in 0_usize..11,
        panels in 0_usize..4,
        cut in 0_usize..11,
    ) {
        let width = 16 * vectors;
        let number = |purpose, row: usize, column: usize| {
            (Random::new(seed, purpose, row as u32, column as u32).word(0) % 2_001) as f32 / 1_000.0 - 1.0
        };
        let rows: Vec<f32> = (0..count * width).map(|i| number(0, i / width, i % width)).collect();
        let others = 16 * panels;
        let packed: Vec<f32> = (0..panels)
            .flat_map(|panel| (0..width * 16).map(move |i| number(1, panel * 16 + i % 16, i / 16)))
            .collect();
        let mut first: Option<Vec<u32>> = None;
        let cut = cut.min(count);
        for simd in Simd::available() {
            let mut out = vec![-1.0; count * others];
            distances(simd, width, &rows[..cut * width], &packed, &mut out[..cut * others]);
            distances(simd, width, &rows[cut * width..], &packed, &mut out[cut * others..]);
            for row in 0..count {
                for other in 0..others {
                    let exact: f64 = (0..width)
                        .map(|k| f64::from(number(0, row, k)) - f64::from(number(1, other, k)))
                        .map(|apart| apart * apart)
                        .sum();
                    let found = f64::from(out[row * others + other]);
                    prop_assert!((found - exact).abs() <= 1e-5 * exact.max(1.0), "{found} instead of {exact}");
                }
            }
            let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{} differs", simd);
        }
    }
}

#[test]
#[should_panic(expected = "a distance of each row to each other")]
fn a_distance_without_a_place_panics() {
    distances(Simd::detect(), 16, &[1.0; 32], &[1.0; 256], &mut [0.0; 16]);
}
