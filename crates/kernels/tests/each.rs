//! Kernels that take rows one by one against naive f64 references, bit for bit across instruction sets.

use kernels::{Adam, AdamRow, Simd, adam, shift, softmax, unit, unit_back};
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

    /// Of y = by · x / |x|, whose derivative by differences is that of the formula.
    #[test]
    fn unit_rows_and_their_gradients_are_what_the_formulas_say(count in 0_usize..9, width in (1_usize..9).prop_map(|w| 16 * w), seed in 0_usize..1000) {
        let (mut first, slopes) = (table(seed, count * width), table(seed + 1, count * width));
        if let Some(row) = first.chunks_exact_mut(width).nth(2) {
            row.fill(0.0);
        }
        let by = 2.5;
        let lengthen = |x: &[f64]| -> Vec<f64> {
            let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            x.iter().map(|x| if length > 0.0 { by * x / length } else { 0.0 }).collect()
        };
        let mut bits = None;
        for simd in Simd::available() {
            let (mut y, mut back) = (first.clone(), slopes.clone());
            unit(simd, width, by as f32, &mut y);
            unit_back(simd, width, by as f32, &first, &mut back);
            for row in 0..count {
                let at = row * width..(row + 1) * width;
                let x: Vec<f64> = first[at.clone()].iter().map(|&x| f64::from(x)).collect();
                for (&y, exact) in y[at.clone()].iter().zip(lengthen(&x)) {
                    close(y, exact)?;
                }
                let loss = |x: &[f64]| -> f64 {
                    let y = lengthen(x);
                    y.iter().zip(&slopes[at.clone()]).map(|(y, &g)| y * f64::from(g)).sum()
                };
                for k in [0, 1, width / 2, width - 1] {
                    let moved = |step: f64| {
                        let mut x = x.clone();
                        x[k] += step;
                        loss(&x)
                    };
                    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    close(back[at.start + k], if row == 2 { 0.0 } else { slope })?;
                }
            }
            let now = [y, back].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits.get_or_insert_with(|| now.clone()), &now);
        }
    }

    #[test]
    fn probabilities_are_those_of_the_formula(count in 0_usize..9, classes in 1_usize..40, seed in 0_usize..1000) {
        let width = kernels::width_of(classes);
        let first: Vec<f32> = table(seed, count * width).iter().map(|x| 20.0 * x).collect();
        let mut bits = None;
        for simd in Simd::available() {
            let mut p = first.clone();
            softmax(simd, width, classes, &mut p);
            for (p, x) in p.chunks_exact(width).zip(first.chunks_exact(width)) {
                let exps = x[..classes].iter().map(|&x| f64::from(x).exp());
                let exps: Vec<f64> = exps.collect();
                let sum: f64 = exps.iter().sum();
                for (&p, e) in p.iter().zip(exps.iter().chain(std::iter::repeat(&0.0))) {
                    close(p, e / sum)?;
                }
            }
            let now: Vec<u32> = p.iter().map(|p| p.to_bits()).collect();
            prop_assert_eq!(bits.get_or_insert_with(|| now.clone()), &now);
        }
    }
}
