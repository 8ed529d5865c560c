//! What all rows of a half-step have in common: α0 times the Grams of the other tables, as each solver takes it.

use super::basis::Basis;
use super::biases::Biases;
use super::formula::Formula;
use kernels::{LANES, Simd, inner, upper_index, upper_len};

/// The matrices that all rows share, as they come from other tables.
#[derive(Clone, Copy, Default)]
pub struct Shared<'a> {
    /// The other table's Gram, upper triangle; with a base and no basis.
    pub gram: Option<&'a [f64]>,
    /// The Gram of the bins, upper triangle; with a base and bins.
    pub time_gram: Option<&'a [f64]>,
    /// The basis that the other table was turned into.
    pub basis: Option<&'a [f64]>,
}

/// α0 times the elementwise product of the Grams, or their eigenvalues, rounded to f32, with ones on the diagonal of the
/// padding.
pub(super) fn base(
    formula: &Formula,
    biases: Biases,
    shared: Shared<'_>,
    basis: Option<&Basis>,
) -> Vec<f32> {
    let (width, rank) = (formula.width(), formula.rank as usize);
    let mut base = vec![0.0; upper_len(width)];
    if let Some(basis) = basis {
        for k in 0..rank {
            for held in biases.held() {
                let moved = (formula.alpha0 * basis.moved[k]) as f32;
                base[upper_index(width, k.min(held), k.max(held))] = moved;
                // Blocks on the diagonal are kept whole.
                if k / LANES == held / LANES {
                    base[upper_index(width, k.max(held), k.min(held))] = moved;
                }
            }
            base[upper_index(width, k, k)] = (formula.alpha0 * basis.values[k]) as f32;
        }
    } else if formula.has_base() {
        let grams = [shared.gram, shared.time_gram];
        let grams: Vec<&[f64]> = grams.iter().copied().flatten().collect();
        assert!(
            !grams.is_empty() && grams.iter().all(|gram| gram.len() == base.len()),
            "Grams of the width"
        );
        for (i, base) in base.iter_mut().enumerate() {
            *base = (formula.alpha0 * grams.iter().map(|gram| gram[i]).product::<f64>()) as f32;
        }
    }
    for k in rank..width {
        base[upper_index(width, k, k)] = 1.0;
    }
    base
}

/// A base as solvers on panels take it.
#[derive(Clone)]
pub(super) struct Common {
    /// Of the free columns; of others the ones on the diagonal.
    pub(super) matrix: Matrix,
    /// What held columns move to the right-hand side.
    pub(super) moved: Vec<f32>,
    /// What they add to the base's share of the objective, whatever a row's solution.
    pub(super) constant: f64,
}

impl Common {
    /// Of an upper triangle: its diagonal where its free columns have no more than that.
    pub(super) fn of(width: usize, base: &[f32], biases: Biases, diagonal: bool) -> Self {
        let entry = |i: usize, j: usize| base[upper_index(width, i.min(j), i.max(j))];
        let held = biases.held();
        let constant = held.map(|i| biases.held().map(|j| f64::from(entry(i, j))).sum::<f64>());
        let constant = constant.sum();
        let (mut free, mut moved) = (base.to_vec(), vec![0.0; width]);
        biases.detach(width, &mut free, |column, share| moved[column] += share);
        Common {
            matrix: Matrix::of(width, &free, diagonal),
            moved,
            constant,
        }
    }
}

/// Its matrix.
#[derive(Clone)]
pub(super) enum Matrix {
    Diagonal(Vec<f32>),
    Square(Vec<f32>),
}

impl Matrix {
    fn of(width: usize, base: &[f32], diagonal: bool) -> Self {
        let entry = |i: usize, j: usize| base[upper_index(width, i.min(j), i.max(j))];
        if diagonal {
            Matrix::Diagonal((0..width).map(|k| entry(k, k)).collect())
        } else {
            Matrix::Square(
                (0..width * width)
                    .map(|i| entry(i / width, i % width))
                    .collect(),
            )
        }
    }

    /// As the kernels take it.
    pub(super) fn as_kernel(&self) -> kernels::Common<'_> {
        match self {
            Matrix::Diagonal(diagonal) => kernels::Common::Diagonal(diagonal),
            Matrix::Square(square) => kernels::Common::Square(square),
        }
    }

    /// xᵀ B x of the base.
    pub(super) fn quadratic(&self, simd: Simd, x: &[f32]) -> f64 {
        match self {
            Matrix::Diagonal(diagonal) => {
                let terms = diagonal.iter().zip(x);
                terms
                    .map(|(&d, &x)| f64::from(d) * f64::from(x) * f64::from(x))
                    .sum()
            }
            Matrix::Square(square) => {
                let rows = square.chunks_exact(x.len()).zip(x);
                rows.map(|(row, &xk)| f64::from(xk) * inner(simd, row, x))
                    .sum()
            }
        }
    }
}
