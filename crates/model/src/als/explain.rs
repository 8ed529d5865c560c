//! What of a score comes from which past product of a user.
//!
//! A row of users is u = A⁻¹ (Σ_j t_j z_j + what else pulls at it), with A = α0 G + Σ_j w_j z_j z_jᵀ + λ_i I over the user's
//! interactions j ([`super::equations`]). A score is linear in it, so that the score zᵀu of a product has zᵀA⁻¹ z_j t_j from
//! interaction j (Hu, Koren and Volinsky, *Collaborative filtering for implicit feedback datasets*, 2008, section 5). Columns of
//! others' biases are held at one: what they take off the targets, t_j − w_j Σ_h z_jh, and their own part of a score are no
//! purchases. All in f64.
//!
//! **Invariant:** what the purchases of a user are worth depends on him alone, and not on who is explained beside him.

use super::biases::Biases;
use super::dense::{cholesky, dot, lower_len, substitute};
use super::formula::Formula;
use kernels::upper_index;
use tensor::{CsrRef, Explained, Mode, Recommended, Small};

/// What all users of a block share.
pub struct Explain {
    formula: Formula,
    fades: Vec<f32>,
    biases: Biases,
    rank: usize,
    cells: f64,
    /// α0 times the product of the Grams, lower triangle; zeros without unobserved cells.
    base: Vec<f64>,
    /// The tables of the small modes that are factored.
    small: Small<Option<Vec<f32>>>,
    /// What the factors of a listed product are multiplied by.
    at: Vec<f64>,
}

/// A user's matrix has no positive pivot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Singular {
    /// Which.
    pub pivot: usize,
}

impl Explain {
    /// Over `products` rows. `grams` are upper triangles, that of products first, and as many as there are modes beside users; none
    /// where unobserved cells do not count. Lists are scored by rows multiplied with each of `at`.
    ///
    /// # Panics
    /// Where lengths disagree.
    pub fn new(
        formula: Formula,
        products: u64,
        grams: &[&[f64]],
        small: Small<Option<Vec<f32>>>,
        at: &[Vec<f32>],
    ) -> Self {
        let (rank, width) = (formula.rank as usize, formula.width());
        assert_eq!(formula.has_base(), !grams.is_empty(), "Grams with a base");
        let mut base = vec![0.0; lower_len(rank)];
        if formula.has_base() {
            for i in 0..rank {
                for j in 0..=i {
                    let entries = grams.iter().map(|gram| gram[upper_index(width, j, i)]);
                    base[lower_len(i) + j] = formula.alpha0 * entries.product::<f64>();
                }
            }
        }
        let rows = |table: &Option<Vec<f32>>| {
            let rows = table.as_ref().map_or(1, |table| table.len() / width);
            rows as f64
        };
        let product = |column: usize| at.iter().map(|row| f64::from(row[column])).product();
        Explain {
            fades: formula.fades(),
            biases: formula.biases(Mode::User),
            rank,
            cells: products as f64 * rows(&small.time) * rows(&small.context),
            base,
            at: (0..rank).map(product).collect(),
            small,
            formula,
        }
    }

    /// Bytes that explaining takes on each thread, for a user of so many interactions and a list of so many.
    pub fn bytes(formula: &Formula, interactions: u64, listed: u64) -> u64 {
        let rank = u64::from(formula.rank);
        let numbers =
            lower_len(rank as usize) as u64 + rank * (listed + 2) + interactions * (listed + 1);
        8 * numbers + 8 * interactions
    }

    /// The reasons of a user's list: of each recommendation the `top` past products that contribute most, the most first. `csr` is
    /// his row alone, whole; `factors` has the row of a product. Without interactions there are no reasons.
    ///
    /// # Errors
    /// Where his matrix is singular.
    pub fn user<'a>(
        &self,
        csr: &CsrRef<'_>,
        factors: impl Fn(u32) -> &'a [f32],
        listed: &[Recommended],
        top: usize,
    ) -> Result<Vec<Explained>, Singular> {
        let had = csr.row(0);
        if had.is_empty() {
            return Ok(Vec::new());
        }
        let directions = self.directions(csr, &factors, listed)?;
        // An interaction's product is that of the one before, or one further on.
        let mut products: Vec<u32> = csr.columns()[had.clone()].to_vec();
        products.dedup();
        let mut shares = vec![0.0; products.len() * listed.len()];
        let (mut z, mut place) = (vec![0.0; self.rank], 0);
        for at in had {
            let product = csr.columns()[at];
            while products[place] != product {
                place += 1;
            }
            let (weight, target) = self.term(csr, at);
            self.row(csr, at, factors(product), &mut z);
            let held: f64 = self.biases.held().map(|held| z[held]).sum();
            let target = target - weight * held;
            for (l, direction) in directions.chunks_exact(self.rank).enumerate() {
                shares[l * products.len() + place] += target * dot(direction, &z);
            }
        }
        let mut found = Vec::with_capacity(listed.len() * top.min(products.len()));
        for (listed, shares) in listed.iter().zip(shares.chunks_exact(products.len())) {
            reasons(listed, &products, shares, top, &mut found);
        }
        Ok(found)
    }

    /// A⁻¹ z of each listed product, over the free columns.
    fn directions<'a>(
        &self,
        csr: &CsrRef<'_>,
        factors: impl Fn(u32) -> &'a [f32],
        listed: &[Recommended],
    ) -> Result<Vec<f64>, Singular> {
        let rank = self.rank;
        let ridge = self
            .formula
            .row_regularization(csr.row_count(0), self.cells);
        let (mut a, mut z) = (self.base.clone(), vec![0.0; rank]);
        (0..rank).for_each(|k| a[lower_len(k) + k] += f64::from(ridge));
        if !self.formula.is_weightless() {
            for at in csr.row(0) {
                let (weight, _) = self.term(csr, at);
                self.row(csr, at, factors(csr.columns()[at]), &mut z);
                for i in 0..rank {
                    let by = weight * z[i];
                    let row = a[lower_len(i)..][..=i].iter_mut().zip(&z);
                    row.for_each(|(sum, z)| *sum += by * z);
                }
            }
        }
        for held in self.biases.held() {
            for other in 0..rank {
                let (low, high) = (held.min(other), held.max(other));
                a[lower_len(high) + low] = f64::from(u8::from(held == other));
            }
        }
        cholesky(rank, &mut a).map_err(|pivot| Singular { pivot })?;
        let mut directions = vec![0.0; listed.len() * rank];
        for (listed, y) in listed.iter().zip(directions.chunks_exact_mut(rank)) {
            let row = factors(listed.product).iter().zip(&self.at);
            let row = row.map(|(&v, at)| f64::from(v) * at);
            y.iter_mut().zip(row).for_each(|(y, z)| *y = z);
            self.biases.held().for_each(|held| y[held] = 0.0);
            substitute(rank, &a, y);
        }
        Ok(directions)
    }

    /// w and b y of an interaction.
    fn term(&self, csr: &CsrRef<'_>, at: usize) -> (f64, f64) {
        let term = self.formula.term(csr.values().at(at));
        let fade = match csr.small().time {
            Some(times) if !self.fades.is_empty() => f64::from(self.fades[times[at] as usize]),
            _ => 1.0,
        };
        (f64::from(term.weight) * fade, f64::from(term.target) * fade)
    }

    /// z of an interaction.
    fn row(&self, csr: &CsrRef<'_>, at: usize, product: &[f32], z: &mut [f64]) {
        z.iter_mut()
            .zip(product)
            .for_each(|(z, &v)| *z = f64::from(v));
        let width = self.formula.width();
        for (_, (table, ids)) in self.small.as_ref().zip(csr.small()).each() {
            if let (Some(table), Some(ids)) = (table, ids) {
                let row = &table[ids[at] as usize * width..];
                z.iter_mut().zip(row).for_each(|(z, &t)| *z *= f64::from(t));
            }
        }
    }
}

/// The reasons of one recommendation.
fn reasons(
    listed: &Recommended,
    products: &[u32],
    shares: &[f64],
    top: usize,
    found: &mut Vec<Explained>,
) {
    let purchases: f64 = shares.iter().sum();
    let mut order: Vec<usize> = (0..products.len()).collect();
    order.sort_by(|&x, &y| shares[y].total_cmp(&shares[x]).then(x.cmp(&y)));
    let reasons = (1_u32..).zip(order.into_iter().take(top));
    found.extend(reasons.map(|(place, at)| Explained {
        user: listed.user,
        rank: listed.rank,
        product: listed.product,
        because: products[at],
        place,
        score: listed.score,
        contribution: shares[at],
        purchases,
        rest: f64::from(listed.score) - purchases,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::als::settings::{Preset, Settings};
    use tensor::csr::Values;

    const WIDTH: usize = 16;

    /// Rows of numbers that look random.
    fn rows(count: usize, rank: usize, salt: usize) -> Vec<f32> {
        let number = |i: usize| {
            let (row, column) = (i / WIDTH, i % WIDTH);
            let x = ((row * 37 + column * 101 + salt * 13) % 61) as f32 / 61.0 - 0.4;
            if column < rank { x } else { 0.0 }
        };
        (0..count * WIDTH).map(number).collect()
    }

    fn gram(rows: &[f32]) -> Vec<f64> {
        crate::als::gram::block_gram(kernels::Simd::detect(), WIDTH, rows)
    }

    /// Gauss, with nothing of the code under test.
    fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for i in 0..n {
            let best = (i..n).max_by(|&x, &y| a[x][i].abs().total_cmp(&a[y][i].abs()));
            let best = best.unwrap();
            a.swap(i, best);
            b.swap(i, best);
            for k in i + 1..n {
                let (by, pivot) = (a[k][i] / a[i][i], a[i].clone());
                let row = a[k].iter_mut().zip(&pivot).skip(i);
                row.for_each(|(x, p)| *x -= by * p);
                b[k] -= by * b[i];
            }
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| a[i][j] * b[j]).sum();
            b[i] = (b[i] - known) / a[i][i];
        }
        b
    }

    /// Without the interactions of one product on the right-hand side a score lacks what that product contributes: over all
    /// presets, with and without biases and factors of bins.
    #[test]
    fn a_contribution_is_what_a_score_lacks_without_the_targets_of_a_product() {
        let columns = [0_u32, 2, 2, 5, 7];
        let times = [1_u32, 0, 2, 1, 0];
        let values = [1.0_f32, 3.0, 0.5, 2.0, 4.0];
        let kinds = [Preset::Explicit, Preset::Hu, Preset::Rendle, Preset::Full];
        for (preset, biases, binned) in kinds.into_iter().flat_map(|kind| {
            [
                (kind, false, false),
                (kind, true, false),
                (kind, true, true),
            ]
        }) {
            let settings = Settings {
                rank: 4,
                preset,
                biases,
                regularization: 0.3,
                time: if binned {
                    crate::als::TimeUse::Factor
                } else {
                    crate::als::TimeUse::Ignore
                },
                ..Settings::default()
            };
            let formula = Formula::of(&settings);
            let rank = formula.rank as usize;
            let (products, bins) = (rows(9, rank, 1), rows(3, rank, 2));
            let table = binned.then(|| bins.clone());
            let (grams, at) = (
                [gram(&products), gram(&bins)],
                vec![bins[WIDTH..2 * WIDTH].to_vec()],
            );
            let grams: Vec<&[f64]> = grams.iter().map(Vec::as_slice).collect();
            let grams = &grams[..=usize::from(binned)];
            let small = Small {
                time: table,
                context: None,
            };
            let explain = Explain::new(
                formula,
                9,
                if formula.has_base() { grams } else { &[] },
                small,
                &at[..usize::from(binned)],
            );
            let ids = Small {
                time: Some(&times[..]),
                context: None,
            };
            let csr =
                CsrRef::new(&[0, 5], 0, &columns, ids, Values::Each(&values), Some(9)).unwrap();
            let row = |product: u32| &products[product as usize * WIDTH..][..WIDTH];
            let z = |product: u32, bin: u32| -> Vec<f64> {
                let of = |k: usize| {
                    let t = if binned {
                        bins[bin as usize * WIDTH + k]
                    } else {
                        1.0
                    };
                    f64::from(row(product)[k]) * f64::from(t)
                };
                (0..rank).map(of).collect()
            };
            let held: Vec<usize> = explain.biases.held().collect();
            let free: Vec<usize> = (0..rank).filter(|k| !held.contains(k)).collect();
            // The score of product 8 in bin 1 where only some targets count.
            let score = |counts: &dyn Fn(u32) -> bool| {
                let cells = 9.0 * if binned { 3.0 } else { 1.0 };
                let ridge = f64::from(formula.row_regularization(5, cells));
                let entry = |i: usize, j: usize| {
                    let at = upper_index(WIDTH, i.min(j), i.max(j));
                    let base: f64 = grams.iter().map(|gram| gram[at]).product();
                    let mut sum = formula.alpha0 * base + if i == j { ridge } else { 0.0 };
                    for e in 0..5 {
                        let z = z(columns[e], times[e]);
                        sum += f64::from(formula.term(values[e]).weight) * z[i] * z[j];
                    }
                    sum
                };
                let a = free
                    .iter()
                    .map(|&i| free.iter().map(|&j| entry(i, j)).collect());
                let side = |&i: &usize| -> f64 {
                    let some = (0..5).filter(|&e| counts(columns[e]));
                    some.map(|e| {
                        let (z, term) = (z(columns[e], times[e]), formula.term(values[e]));
                        let others: f64 = held.iter().map(|&h| z[h]).sum();
                        z[i] * (f64::from(term.target) - f64::from(term.weight) * others)
                    })
                    .sum()
                };
                let u = solve(a.collect(), free.iter().map(side).collect());
                let z = z(8, 1);
                u.iter().zip(&free).map(|(u, &k)| u * z[k]).sum::<f64>()
            };
            let listed = [Recommended {
                user: 3,
                rank: 1,
                product: 8,
                score: 0.75,
            }];
            let found = explain.user(&csr, row, &listed, 10).unwrap();
            assert_eq!(found.len(), 4, "a product is one reason");
            let all = score(&|_| true);
            for reason in &found {
                let expected = all - score(&|product| product != reason.because);
                let what = format!("{preset:?} {biases} {binned} {reason:?} {expected}");
                assert!(
                    (reason.contribution - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                    "{what}"
                );
                assert!(
                    (reason.purchases - all).abs() < 1e-6 * (1.0 + all.abs()),
                    "{what}"
                );
                assert!(
                    (reason.purchases + reason.rest - 0.75).abs() < 1e-12,
                    "{what}"
                );
            }
            assert!(
                found
                    .windows(2)
                    .all(|pair| pair[0].contribution >= pair[1].contribution)
            );
            let fewer = explain.user(&csr, row, &listed, 2).unwrap();
            assert_eq!(fewer, found[..2]);
        }
    }
}
