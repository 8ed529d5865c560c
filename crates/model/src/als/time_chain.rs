//! Smooth time: bins that are held to their neighbours, solved together and exactly. With A_k and b_k the equations of bin k
//! alone and τ the smoothing, the sum of all bins plus τ Σ |t_k − t_{k−1}|² is least where
//!
//!   (A_k + τ d_k I) t_k − τ t_{k−1} − τ t_{k+1} = b_k        d_k: how many neighbours the bin has
//!
//! which is block-tridiagonal and solved by elimination from the first bin on (Thomas' algorithm on blocks). Row by row in
//! parallel, each against the last t of its neighbours, the objective could rise.
//!
//! What bin k hands on is τ I − τ² (E_k + τ I)⁻¹, E_k being all that is known of it from the bins before. Written so it loses
//! as many digits as τ is larger than E; τ (E_k + τ I)⁻¹ E_k is the same and loses none, so a τ without end gives a constant t.
//!
//! **Invariant:** one order of bins, first to last and back; threads share out columns.

use super::dense::{STRIP, cholesky, lower_len, substitute, substitute_strip};
use rayon::prelude::*;

/// Bytes of [`solve_chain`] beside its arguments.
pub(super) const fn chain_bytes(rank: usize, bins: u64) -> u64 {
    let strips = rank.next_multiple_of(STRIP) * rank;
    8 * ((bins + 1) * lower_len(rank) as u64 + (strips + rank) as u64)
}

/// A bin whose equations have no positive pivot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Singular {
    /// Which, from the first of the chain.
    pub bin: usize,
    /// The pivot.
    pub pivot: usize,
}

/// Solves all bins. `equations` fills the lower triangle of A_k; `x` comes with b, `rank` numbers a bin, and leaves with t.
pub(super) fn solve_chain(
    rank: usize,
    smoothing: f64,
    equations: impl Fn(usize, &mut [f64]),
    x: &mut [f64],
) -> Result<(), Singular> {
    let (bins, len) = (x.len() / rank, lower_len(rank));
    let mut factors = vec![0.0; bins * len];
    let mut carried = vec![0.0; len];
    let mut strips = vec![[0.0; STRIP]; rank.div_ceil(STRIP) * rank];
    let mut side = vec![0.0; rank];
    for bin in 0..bins {
        let factor = &mut factors[bin * len..][..len];
        equations(bin, factor);
        add(factor, &carried);
        let singular = |pivot| Singular { bin, pivot };
        if bin + 1 == bins {
            cholesky(rank, factor).map_err(singular)?;
            break;
        }
        carried.copy_from_slice(factor);
        for i in 0..rank {
            factor[lower_len(i) + i] += smoothing;
        }
        cholesky(rank, factor).map_err(singular)?;
        hand_on(rank, smoothing, factor, &mut carried, &mut strips);
        side.copy_from_slice(&x[bin * rank..][..rank]);
        substitute(rank, factor, &mut side);
        add_times(&mut x[(bin + 1) * rank..][..rank], smoothing, &side);
    }
    for bin in (0..bins).rev() {
        let (before, after) = x.split_at_mut((bin + 1) * rank);
        let own = &mut before[bin * rank..];
        if bin + 1 < bins {
            add_times(own, smoothing, &after[..rank]);
        }
        substitute(rank, &factors[bin * len..][..len], own);
    }
    Ok(())
}

/// E becomes τ (E + τ I)⁻¹ E, given the factor of E + τ I.
fn hand_on(
    rank: usize,
    smoothing: f64,
    factor: &[f64],
    carried: &mut [f64],
    strips: &mut [[f64; STRIP]],
) {
    let entry = |i: usize, j: usize| carried[lower_len(i.max(j)) + i.min(j)];
    strips
        .par_chunks_exact_mut(rank)
        .enumerate()
        .for_each(|(strip, rows)| {
            for (i, row) in rows.iter_mut().enumerate() {
                for (column, x) in (strip * STRIP..).zip(row) {
                    *x = if column < rank {
                        smoothing * entry(i, column)
                    } else {
                        0.0
                    };
                }
            }
            substitute_strip(rank, factor, rows);
        });
    for i in 0..rank {
        for (j, out) in carried[lower_len(i)..][..=i].iter_mut().enumerate() {
            *out = strips[j / STRIP * rank + i][j % STRIP];
        }
    }
}

fn add(sum: &mut [f64], terms: &[f64]) {
    sum.iter_mut().zip(terms).for_each(|(sum, x)| *sum += x);
}

fn add_times(sum: &mut [f64], factor: f64, terms: &[f64]) {
    sum.iter_mut()
        .zip(terms)
        .for_each(|(sum, x)| *sum += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    /// Lower triangles of Σ z zᵀ + ridge and right-hand sides; a bin of no rows is its ridge alone.
    fn bins(rank: usize, rows: &[usize], ridge: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut sides = Vec::new();
        let mut matrix = |(bin, &rows): (usize, &usize)| {
            let mut lower = vec![0.0; lower_len(rank)];
            let mut side = vec![0.0; rank];
            for row in 0..rows {
                let random = Random::new(7, 1, bin as u32, row as u32);
                let z: Vec<f64> = (0..rank as u32)
                    .map(|k| f64::from(random.uniform(k)) - 0.3)
                    .collect();
                for i in 0..rank {
                    side[i] += z[i];
                    for j in 0..=i {
                        lower[lower_len(i) + j] += z[i] * z[j];
                    }
                }
            }
            for i in 0..rank {
                lower[lower_len(i) + i] += ridge;
            }
            sides.extend(side);
            lower
        };
        let lowers = rows.iter().enumerate().map(&mut matrix).collect();
        (lowers, sides)
    }

    /// The whole system, as one dense matrix, by Gauss with pivots.
    fn dense(rank: usize, smoothing: f64, lowers: &[Vec<f64>], sides: &[f64]) -> Vec<f64> {
        let (bins, n) = (lowers.len(), lowers.len() * rank);
        let mut a = vec![vec![0.0; n + 1]; n];
        for (bin, lower) in lowers.iter().enumerate() {
            let neighbours = usize::from(bin > 0) + usize::from(bin + 1 < bins);
            for i in 0..rank {
                for j in 0..rank {
                    a[bin * rank + i][bin * rank + j] = lower[lower_len(i.max(j)) + i.min(j)];
                }
                a[bin * rank + i][bin * rank + i] += smoothing * neighbours as f64;
                a[bin * rank + i][n] = sides[bin * rank + i];
                if bin > 0 {
                    a[bin * rank + i][(bin - 1) * rank + i] = -smoothing;
                    a[(bin - 1) * rank + i][bin * rank + i] = -smoothing;
                }
            }
        }
        for i in 0..n {
            let pivot = (i..n)
                .max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs()))
                .unwrap();
            a.swap(i, pivot);
            let row = a[i].clone();
            for below in &mut a[i + 1..] {
                let factor = below[i] / row[i];
                below
                    .iter_mut()
                    .zip(&row)
                    .for_each(|(x, y)| *x -= factor * y);
            }
        }
        let mut x = vec![0.0; n];
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| a[i][j] * x[j]).sum();
            x[i] = (a[i][n] - known) / a[i][i];
        }
        x
    }

    fn solved(rank: usize, smoothing: f64, lowers: &[Vec<f64>], sides: &[f64]) -> Vec<f64> {
        let mut x = sides.to_vec();
        let equations = |bin: usize, out: &mut [f64]| out.copy_from_slice(&lowers[bin]);
        solve_chain(rank, smoothing, equations, &mut x).unwrap();
        x
    }

    #[test]
    fn the_chain_is_the_dense_system() {
        for (rank, rows) in [
            (1, &[3, 2][..]),
            (3, &[9]),
            (5, &[9, 0, 0, 4, 20, 7]),
            (17, &[40, 3, 60, 0, 9]),
            (33, &[80, 80, 10]),
        ] {
            let (lowers, sides) = bins(rank, rows, 0.4);
            for smoothing in [1e-3, 0.5, 30.0, 1e4] {
                let expected = dense(rank, smoothing, &lowers, &sides);
                let found = solved(rank, smoothing, &lowers, &sides);
                for (x, y) in found.iter().zip(&expected) {
                    assert!(
                        (x - y).abs() <= 1e-9 * (1.0 + y.abs()),
                        "{rank} {smoothing}: {x}, not {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn smoothing_without_end_gives_one_row_that_solves_the_sum_of_all_bins() {
        let (rank, rows) = (6, [12, 0, 30, 5, 9]);
        let (lowers, sides) = bins(rank, &rows, 0.2);
        let mut sum = vec![0.0; lower_len(rank)];
        for lower in &lowers {
            add(&mut sum, lower);
        }
        let mut one = vec![0.0; rank];
        sides.chunks(rank).for_each(|side| add(&mut one, side));
        cholesky(rank, &mut sum).unwrap();
        substitute(rank, &sum, &mut one);
        let found = solved(rank, 1e13, &lowers, &sides);
        for row in found.chunks(rank) {
            for (x, y) in row.iter().zip(&one) {
                assert!((x - y).abs() <= 1e-9 * (1.0 + y.abs()), "{x}, not {y}");
            }
        }
    }

    #[test]
    fn a_bin_of_nothing_lies_between_its_neighbours_and_chains_of_nothing_are_named() {
        let (lowers, sides) = bins(2, &[9, 0, 9], 0.0);
        let x = solved(2, 1.0, &lowers, &sides);
        for k in 0..2 {
            assert!((2.0 * x[2 + k] - x[k] - x[4 + k]).abs() < 1e-12, "{x:?}");
        }
        let nothing = |_: usize, out: &mut [f64]| out.fill(0.0);
        let singular = solve_chain(2, 1.0, nothing, &mut [0.0; 6]);
        assert_eq!(singular, Err(Singular { bin: 2, pivot: 0 }));
    }
}
