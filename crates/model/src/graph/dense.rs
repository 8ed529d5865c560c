//! Layers with weights: with Q the matrices that one reads, neighbours' sums P and own rows H,
//!
//!   tied: H' = f((P + H) W),      free: H' = f(P W + H S),
//!
//! f number by number. Backwards, with G the gradients by H' and D = G ⊙ f'(H'): P gets D Wᵀ and H gets D Sᵀ (tied: D Wᵀ, both), W gets
//! Pᵀ D and S gets Hᵀ D (tied: (P + H)ᵀ D).
//!
//! Where rows have edges to themselves, P is what products bring and D̃⁻¹ H (H without a normalization, and of rows without a degree)
//! with it, so H gets D̃⁻¹ D Wᵀ besides.
//!
//! Rows H that products read are kept times a power of their degrees. Rows of no degree, which no product reads, are kept as they are.

use super::adam::{Moved, adam};
use super::ops::{
    Activation, AdamOp, DenseBackOp, DenseOp, FirstMatrixOp, FirstNumbers, MatrixOp, MeanOp, Power,
};
use crate::reduce::tree_add;
use kernels::random::Random;
use kernels::{Simd, activate, cross, deactivate, rotate, width_of};
use rayon::prelude::*;

/// Rows that a thread takes at a time.
pub(super) const SHARE_ROWS: usize = 1_024;

/// Their floats.
const fn share_len(width: usize) -> usize {
    SHARE_ROWS * width
}

/// Shares whose sums are made together before they are added, all by the binary tree over their positions.
pub(super) const TOGETHER: usize = 16;

/// The purpose of the random numbers of first matrices.
const PURPOSE: u32 = 0x320;

impl From<Activation> for kernels::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => kernels::Activation::Identity,
            Activation::Relu => kernels::Activation::Relu,
            Activation::Tanh => kernels::Activation::Tanh,
        }
    }
}

impl Power {
    /// Of a degree; 1 where there is none.
    fn or_one(self, degree: f64) -> f32 {
        if degree > 0.0 {
            self.of(degree) as f32
        } else {
            1.0
        }
    }

    /// Multiplies rows; those of no degree stay.
    pub fn keep(self, width: usize, degrees: &[f64], rows: &mut [f32]) {
        if self.0 == 0 {
            return;
        }
        for (row, &degree) in rows.chunks_exact_mut(width).zip(degrees) {
            let by = self.or_one(degree);
            for x in row {
                *x *= by;
            }
        }
    }
}

/// The matrices of a layer as kernels take them: squares of the width, zeros beyond the rank.
struct Matrices {
    width: usize,
    parts: Vec<Vec<f32>>,
}

impl Matrices {
    /// Of `rank` lines each, one matrix after the other.
    fn of(rank: usize, lines: &[f32]) -> Self {
        let width = width_of(rank);
        let part = |lines: &[f32]| {
            let mut square = lines.to_vec();
            square.resize(width * width, 0.0);
            square
        };
        Matrices {
            width,
            parts: lines.chunks_exact(rank * width).map(part).collect(),
        }
    }

    /// With rows and columns exchanged.
    fn transposed(mut self) -> Self {
        let width = self.width;
        for part in &mut self.parts {
            for i in 0..width {
                for j in 0..i {
                    part.swap(i * width + j, j * width + i);
                }
            }
        }
        self
    }
}

/// Bytes that a layer takes beside rows, forwards or back.
pub fn layer_bytes(columns: u32, parts: u32, rows: usize, threads: usize) -> u64 {
    let width = width_of(columns as usize);
    let together = rows.div_ceil(SHARE_ROWS * TOGETHER) + TOGETHER.min(rows.div_ceil(SHARE_ROWS));
    let squares =
        width * width * (4 * parts as usize + 4 * threads + 8 * parts as usize * together);
    (squares + 12 * threads * SHARE_ROWS * width) as u64
}

/// Own rows without the power of degrees that they are kept with.
fn plain(power: Power, width: usize, degrees: &[f64], kept: &[f32]) -> Vec<f32> {
    let mut rows = kept.to_vec();
    Power(-power.0).keep(width, degrees, &mut rows);
    rows
}

/// Sums over neighbours with what comes along edges of rows to themselves, which count a power of degrees.
fn looped(power: Power, degrees: &[f64], sums: &[f32], plain: &[f32]) -> Vec<f32> {
    let (mut sums, width) = (sums.to_vec(), sums.len() / degrees.len().max(1));
    let rows = sums.chunks_exact_mut(width).zip(plain.chunks_exact(width));
    for ((sums, own), &degree) in rows.zip(degrees) {
        let by = power.or_one(degree);
        sums.iter_mut().zip(own).for_each(|(sum, x)| *sum += by * x);
    }
    sums
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(x, y)| *x += y);
}

/// What a layer reads of a block: P, H as it is kept, and degrees.
#[derive(Clone, Copy)]
pub struct LayerRows<'a> {
    /// Sums over neighbours.
    pub sums: &'a [f32],
    /// The layer below.
    pub own: &'a [f32],
    /// A degree a row.
    pub degrees: &'a [f64],
}

/// The rows of a layer, not yet as they are kept.
///
/// # Panics
/// Where lengths are not those of equally many rows, or of matrices of the op's.
pub fn forward(simd: Simd, op: &DenseOp, weights: &[f32], of: LayerRows<'_>, out: &mut [f32]) {
    let width = width_of(op.columns as usize);
    let matrices = Matrices::of(op.columns as usize, weights);
    assert_eq!(of.sums.len(), of.degrees.len() * width, "a degree a row");
    assert!(
        out.len() == of.sums.len() && of.own.len() == of.sums.len(),
        "as many rows"
    );
    let share = SHARE_ROWS * width;
    out.par_chunks_mut(share)
        .zip(of.sums.par_chunks(share))
        .zip(of.own.par_chunks(share))
        .zip(of.degrees.par_chunks(SHARE_ROWS))
        .for_each(|(((out, sums), own), degrees)| {
            let mut own = plain(op.power, width, degrees, own);
            let looped = op.loops.map(|power| looped(power, degrees, sums, &own));
            let sums = looped.as_deref().unwrap_or(sums);
            match &matrices.parts[..] {
                [tied] => {
                    add(&mut own, sums);
                    rotate(simd, width, tied, &own, out);
                }
                [neighbours, selfs] => {
                    rotate(simd, width, neighbours, sums, out);
                    let mut turned = vec![0.0; own.len()];
                    rotate(simd, width, selfs, &own, &mut turned);
                    add(out, &turned);
                }
                parts => panic!("a layer of {} matrices", parts.len()),
            }
            activate(simd, op.activation.into(), out);
        });
    if let Some(dropout) = op.dropout {
        dropout.apply(width, out);
    }
}

/// The mean of the layers of a block, of which all but the last are as they are kept.
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn mean(op: &MeanOp, degrees: &[f64], layers: &[&[f32]], out: &mut [f32]) {
    let width = width_of(op.columns as usize);
    let (last, below) = layers.split_last().expect("a layer at least");
    let (by, undo) = (1.0 / layers.len() as f32, Power(-op.power.0));
    assert!(
        layers.iter().all(|rows| rows.len() == out.len()),
        "as many rows"
    );
    let rows = out.par_chunks_mut(width).zip(degrees).enumerate();
    rows.with_min_len(SHARE_ROWS)
        .for_each(|(row, (out, &degree))| {
            let at = row * width..(row + 1) * width;
            let plain = undo.or_one(degree);
            for rows in below {
                add(out, &rows[at.clone()]);
            }
            for (x, y) in out.iter_mut().zip(&last[at]) {
                *x = by * (*x * plain + y);
            }
        });
}

/// D of a block, out of the gradients by its layer and the layer as it is kept: of numbers that were dropped there are none any more.
///
/// # Panics
/// Where there are not as many rows.
pub fn through(simd: Simd, op: &DenseBackOp, degrees: &[f64], made: &[f32], gradients: &mut [f32]) {
    let width = width_of(op.columns as usize);
    let share = SHARE_ROWS * width;
    gradients
        .par_chunks_mut(share)
        .zip(made.par_chunks(share))
        .zip(degrees.par_chunks(SHARE_ROWS))
        .for_each(|((gradients, made), degrees)| {
            let mut made = plain(op.power, width, degrees, made);
            if let Some(dropout) = op.dropout {
                let kept = dropout.kept() as f32;
                for y in &mut made {
                    *y *= kept;
                }
            }
            deactivate(simd, op.activation.into(), &made, gradients);
        });
}

/// What D gives to neighbours' sums, times a power of degrees, and to own rows.
///
/// # Panics
/// Where lengths are not those of equally many rows, or of matrices of the op's.
pub fn back(
    simd: Simd,
    op: &DenseBackOp,
    weights: &[f32],
    degrees: &[f64],
    (slopes, by_mean): (&[f32], Option<&[f32]>),
    (to_sums, to_own): (&mut [f32], &mut [f32]),
) {
    let width = width_of(op.columns as usize);
    let matrices = Matrices::of(op.columns as usize, weights).transposed();
    assert_eq!(slopes.len(), degrees.len() * width, "a degree a row");
    let share = SHARE_ROWS * width;
    slopes
        .par_chunks(share)
        .zip(to_sums.par_chunks_mut(share))
        .zip(to_own.par_chunks_mut(share))
        .zip(degrees.par_chunks(SHARE_ROWS))
        .for_each(|(((slopes, to_sums), to_own), degrees)| {
            rotate(simd, width, &matrices.parts[0], slopes, to_sums);
            match matrices.parts.get(1) {
                None => to_own.copy_from_slice(to_sums),
                Some(selfs) => rotate(simd, width, selfs, slopes, to_own),
            }
            if let Some(power) = op.loops {
                let rows = to_own
                    .chunks_exact_mut(width)
                    .zip(to_sums.chunks_exact(width));
                for ((own, sums), &degree) in rows.zip(degrees) {
                    let by = power.or_one(degree);
                    own.iter_mut().zip(sums).for_each(|(x, g)| *x += by * g);
                }
            }
            op.of_sums.keep(width, degrees, to_sums);
        });
    if let Some((share, by_mean)) = op.of_mean.zip(by_mean) {
        to_own
            .par_iter_mut()
            .zip(by_mean)
            .with_min_len(share_len(width))
            .for_each(|(x, g)| *x += share * g);
    }
}

/// The gradients of the matrices by the rows of a block: as many lines as they have, in f64.
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn weight_sums(simd: Simd, op: &DenseBackOp, of: LayerRows<'_>, slopes: &[f32]) -> Vec<f64> {
    let (rank, width) = (op.columns as usize, width_of(op.columns as usize));
    let (square, share) = (width * width, SHARE_ROWS * width);
    let sum = |at: usize| {
        let rows = at * SHARE_ROWS..of.degrees.len().min((at + 1) * SHARE_ROWS);
        let floats = at * share..rows.end * width;
        let (sums, slopes) = (&of.sums[floats.clone()], &slopes[floats.clone()]);
        let degrees = &of.degrees[rows];
        let mut own = plain(op.power, width, degrees, &of.own[floats]);
        let looped = op.loops.map(|power| looped(power, degrees, sums, &own));
        let sums = looped.as_deref().unwrap_or(sums);
        let (mut parts, mut chunk) = (vec![0.0; op.parts as usize * square], vec![0.0; square]);
        if op.parts == 1 {
            add(&mut own, sums);
            cross(simd, width, (&own, slopes), &mut chunk, &mut parts);
        } else {
            let (neighbours, selfs) = parts.split_at_mut(square);
            cross(simd, width, (sums, slopes), &mut chunk, neighbours);
            cross(simd, width, (&own, slopes), &mut chunk, selfs);
        }
        parts
    };
    let shares = of.degrees.len().div_ceil(SHARE_ROWS);
    let firsts = (0..shares).step_by(TOGETHER);
    let groups = firsts.map(|first| {
        let some = first..shares.min(first + TOGETHER);
        tree(some.into_par_iter().map(sum).collect())
    });
    let parts = tree(groups.flatten().collect());
    let parts = parts.unwrap_or_else(|| vec![0.0; op.parts as usize * square]);
    let lines = |part: &[f64]| part[..rank * width].to_vec();
    parts.chunks_exact(square).flat_map(lines).collect()
}

/// The sum of vectors by the binary tree over their positions.
pub(super) fn tree(mut sums: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let mut leaves: Vec<&mut [f64]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
    tree_add(&mut leaves);
    sums.into_iter().next()
}

/// A small matrix before training, lines as wide as rows are kept.
///
/// # Panics
/// Where `out` is not of the op's lines.
pub fn first_matrix(op: &FirstMatrixOp, out: &mut [f32]) {
    let (columns, width) = (op.columns as usize, width_of(op.columns as usize));
    assert_eq!(out.len(), op.lines as usize * width, "lines of the op");
    for (line, row) in out.chunks_exact_mut(width).enumerate() {
        match op.first {
            FirstNumbers::Given => unreachable!("a given matrix is not made"),
            FirstNumbers::Unit(by) => row[line % columns] = by,
            FirstNumbers::Normal { seed, stream, by } => {
                Random::new(seed, PURPOSE, stream, line as u32).fill_normal(&mut row[..columns]);
                for x in row {
                    *x *= by;
                }
            }
        }
    }
}

/// Moves a small matrix by Adam along the sum of some gradients, in their order.
///
/// # Panics
/// Where they are not as long.
pub fn step_matrix<'a>(
    simd: Simd,
    op: &MatrixOp,
    sums: impl Iterator<Item = &'a [f64]>,
    moved: Moved<'_>,
) {
    let mut gradient = vec![0.0; moved.rows.len()];
    for sum in sums {
        assert_eq!(sum.len(), gradient.len(), "gradients of the matrix");
        gradient.iter_mut().zip(sum).for_each(|(g, x)| *g += x);
    }
    let gradient: Vec<f32> = gradient.iter().map(|&g| g as f32).collect();
    let lines = moved.rows.len() / width_of(op.columns as usize);
    let op = AdamOp {
        columns: op.columns,
        power: Power(0),
        of_gradients: Power(0),
        share: 1.0,
        rate: op.rate,
        regularization: 0.0,
        step: op.step,
    };
    adam(simd, &op, &vec![1.0; lines], &gradient, moved);
}
