//! Silhouettes (Rousseeuw, 1987) of the sample: of a row with mean distance a to the others of its segment and b to those of the nearest
//! other segment, (b - a) / max(a, b); 0 where it is alone.

use super::ops::Shape;
use super::points::Sampled;
use super::{lloyd, panels};
use kernels::{LANES, Simd, distances};
use rayon::prelude::*;

/// Rows whose distances a thread computes together.
const TOGETHER: usize = 16;

/// Row id and silhouette of each row of the sample, a word each; and of each centre their sum, then the rows.
pub fn silhouettes(
    simd: Simd,
    shape: Shape,
    sample: &[&[u32]],
    centres: &[f32],
) -> (Vec<u32>, Vec<f64>) {
    let (width, k) = (shape.width as usize, shape.k as usize);
    let sampled = Sampled::of(width, shape.attributes as usize, sample);
    let of = lloyd::nearest_of(simd, width, &sampled.rows, centres);
    let mut counts = vec![0_u64; k];
    for &centre in &of {
        counts[centre] += 1;
    }
    let packed = panels(width, sampled.rows.chunks_exact(width));
    let others = of.len().next_multiple_of(LANES);
    let groups = sampled.rows.par_chunks(TOGETHER * width).enumerate();
    let found = groups.flat_map_iter(|(group, rows)| {
        let mut apart = vec![0.0; rows.len() / width * others];
        distances(simd, width, rows, &packed, &mut apart);
        let silhouettes = apart.chunks_exact(others).zip(group * TOGETHER..);
        let silhouettes = silhouettes.map(|(apart, row)| {
            let mut sums = vec![0.0_f64; k];
            for (place, (&centre, &square)) in of.iter().zip(apart).enumerate() {
                // A row is at no distance from itself, whatever its square was rounded to.
                if place != row {
                    sums[centre] += f64::from(square).sqrt();
                }
            }
            silhouette(of[row], &sums, &counts)
        });
        silhouettes.collect::<Vec<f64>>()
    });
    let found: Vec<f64> = found.collect();
    let mut sums = vec![0.0; 2 * k];
    let mut words = Vec::with_capacity(2 * found.len());
    for ((&id, &centre), &value) in sampled.ids.iter().zip(&of).zip(&found) {
        words.extend([id, (value as f32).to_bits()]);
        sums[centre] += value;
        sums[k + centre] += 1.0;
    }
    (words, sums)
}

fn silhouette(own: usize, sums: &[f64], counts: &[u64]) -> f64 {
    if counts[own] < 2 {
        return 0.0;
    }
    let within = sums[own] / (counts[own] - 1) as f64;
    let others = sums.iter().zip(counts).enumerate();
    let others = others.filter(|(centre, (_, count))| *centre != own && **count > 0);
    let near = others.map(|(_, (sum, &count))| sum / count as f64);
    let near = near.fold(f64::INFINITY, f64::min);
    let most = within.max(near);
    if near.is_infinite() || most == 0.0 {
        0.0
    } else {
        (near - within) / most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silhouettes_are_those_of_hand() {
        // On a line: 0 and 2 around 1, 10 alone, 20 and 23 around 21.5.
        let shape = Shape {
            width: 16,
            k: 3,
            attributes: 0,
        };
        let at = |x: f32| {
            let mut row = [0.0_f32; 16];
            (row[0], row[1]) = (x, 1.0);
            row
        };
        let words = |id: u32, x: f32| {
            let row = at(x);
            std::iter::once(id)
                .chain(row.map(f32::to_bits))
                .collect::<Vec<u32>>()
        };
        let sample = [
            words(7, 0.0),
            words(8, 2.0),
            words(9, 10.0),
            words(1, 20.0),
            words(2, 23.0),
        ];
        let sample: Vec<&[u32]> = sample.iter().map(Vec::as_slice).collect();
        let centres = [at(1.0), at(10.0), at(21.5)].concat();
        for simd in Simd::available() {
            let (found, sums) = silhouettes(simd, shape, &sample, &centres);
            let expected = [
                (7, 0.8),
                (8, 0.75),
                (9, 0.0),
                (1, 0.7),
                (2, 1.0 - 3.0 / 13.0),
            ];
            for (found, (id, value)) in found.chunks_exact(2).zip(expected) {
                assert_eq!(found[0], id);
                assert!((f64::from(f32::from_bits(found[1])) - value).abs() < 1e-6);
            }
            assert!((sums[0] - 1.55).abs() < 1e-6);
            assert_eq!(sums[3..], [2.0, 1.0, 2.0]);
        }
    }
}
