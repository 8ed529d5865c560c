//! Kernels that take rows one by one against naive f64 references, bit for bit across instruction sets.

use kernels::{Adam, AdamRow, Simd, adam, shift};
use proptest::prelude::*;

fn close(x: f32, exact: f64) -> Result<(), TestCaseError> {
    let off = (f64::from(x) - exact).abs();
    prop_assert!(off <= 1e-5 * (1.0 + exact.abs()), "{x} instead of {exact}");
    Ok(())
}

fn table(seed: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (((i * 7 + seed) * 2_654_435_761) % 2_001) as f32 / 1_000.0 - 1.0)
        .collect()
}

proptest! {
    #[test]
    fn adam_is_what_its_formulas_say(count in 0_usize..9, width in (1_usize..9).prop_map(|w| 16 * w), seed in 0_usize..1000) {
        let all = Adam {
            keep: [0.9, 0.999],
            take: [0.1, 0.001],
            correct: [2.5, 40.0],
            epsilon: 1e-8,
        };
        let scale = |row: usize| (row + 1) as f32 / 4.0;
        let rows: Vec<AdamRow> = (0..count)
            .map(|row| AdamRow { by: scale(row), held: 0.01 * scale(row), rate: 0.1 / scale(row) })
            .collect();
        let sums = table(seed, count * width);
        let first = [1, 2, 3].map(|table_seed| table(seed + table_seed, count * width));
        let squares: Vec<f32> = first[2].iter().map(|x| x * x + 0.01).collect();
        let mut bits = None;
        for simd in Simd::available() {
            let [mut x, mut m, _] = first.clone();
            let mut v = squares.clone();
            adam(simd, all, &rows, &sums, [&mut x, &mut m, &mut v]);
            for at in 0..x.len() {
                let row = rows[at / width];
                let [by, held, rate] = [row.by, row.held, row.rate].map(f64::from);
                let g = by * f64::from(sums[at]) + held * f64::from(first[0][at]);
                let mean = 0.9 * f64::from(first[1][at]) + 0.1 * g;
                let square = 0.999 * f64::from(squares[at]) + 0.001 * g * g;
                close(m[at], mean)?;
                close(v[at], square)?;
                let step = rate * (2.5 * mean) / ((40.0 * square).sqrt() + 1e-8);
                close(x[at], f64::from(first[0][at]) - step)?;
            }
            let now = [x, m, v].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits.get_or_insert_with(|| now.clone()), &now);
        }
    }

    #[test]
    fn shifted_rows_are_what_the_formula_says(count in 0_usize..9, width in (1_usize..9).prop_map(|w| 16 * w), seed in 0_usize..1000) {
        let rows: Vec<(f32, f32)> = (0..count).map(|row| (row as f32 - 2.0, 0.5 * row as f32)).collect();
        let (first, other) = (table(seed, count * width), table(seed + 1, count * width));
        let mut bits = None;
        for simd in Simd::available() {
            let mut x = first.clone();
            shift(simd, &rows, &other, &mut x);
            for at in 0..x.len() {
                let (scale, by) = rows[at / width];
                let sum = f64::from(scale) * f64::from(first[at]) + f64::from(other[at]);
                close(x[at], sum * f64::from(by))?;
            }
            let now: Vec<u32> = x.iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(bits.get_or_insert_with(|| now.clone()), &now);
        }
    }
}
