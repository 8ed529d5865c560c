//! The eigenbasis of a small symmetric matrix, in f64: Householder's reduction to a tridiagonal matrix, then QL with
//! implicit shifts (Bowdler, Martin, Reinsch, Wilkinson, *The QR and QL algorithms for symmetric matrices*, 1968).
//!
//! Some 5 n³ operations, all on whole rows. Plain additions and multiplications in one order, so the bits do not
//! depend on the instructions.

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// Rounds of QL for one eigenvalue; a sound matrix takes two or three.
const ROUNDS_MAX: usize = 50;

/// Floats of scratch that [`eigen`] needs.
pub const fn eigen_scratch(n: usize) -> usize {
    3 * n
}

/// Replaces a symmetric n × n matrix, all of it given, by its eigenvectors, one a row, and gives their eigenvalues,
/// the largest first. Of each vector the component of the largest size, the first of equals, is positive.
///
/// Returns false where the matrix is not finite; the results then mean nothing.
///
/// # Panics
/// Where lengths disagree or the scratch is short.
#[must_use]
pub fn eigen(simd: Simd, matrix: &mut [f64], values: &mut [f64], scratch: &mut [f64]) -> bool {
    let n = values.len();
    assert_eq!(matrix.len(), n * n, "a square matrix");
    assert!(scratch.len() >= eigen_scratch(n), "the scratch is short");
    n == 0
        || simd.run(Eigen {
            matrix,
            values,
            scratch,
        })
}

struct Eigen<'a> {
    matrix: &'a mut [f64],
    values: &'a mut [f64],
    scratch: &'a mut [f64],
}

impl Kernel for Eigen<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector>(self) -> bool {
        let (z, values) = (self.matrix, self.values);
        let n = values.len();
        let (beside, rest) = self.scratch.split_at_mut(n);
        let (scales, rest) = rest.split_at_mut(n);
        tridiagonalize(z, values, beside, scales, &mut rest[..n]);
        accumulate(z, scales, &mut rest[..n]);
        let sound = diagonalize(z, values, beside);
        order(z, values);
        sound
    }
}

/// A = Q T Qᵀ with Q = H_0 H_1 ..., H_k = I − `scales`[k] v vᵀ, v in row k of the matrix from column k + 1 on. T has
/// `diagonal` and, beside it, `beside`.
#[inline(always)]
fn tridiagonalize(
    a: &mut [f64],
    diagonal: &mut [f64],
    beside: &mut [f64],
    scales: &mut [f64],
    product: &mut [f64],
) {
    let n = diagonal.len();
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        diagonal[k] = above[k * n + k];
        let v = &mut above[k * n + k + 1..];
        (beside[k], scales[k]) = householder(v);
        if scales[k] == 0.0 {
            continue;
        }
        // p = scale A v, by rows: A is symmetric.
        let product = &mut product[k + 1..n];
        product.fill(0.0);
        for (row, &factor) in below.chunks_exact(n).zip(&*v) {
            add_scaled(product, factor, &row[k + 1..]);
        }
        for p in &mut *product {
            *p *= scales[k];
        }
        let along: f64 = product.iter().zip(&*v).map(|(p, v)| p * v).sum();
        add_scaled(product, -0.5 * scales[k] * along, v);
        for (i, row) in below.chunks_exact_mut(n).enumerate() {
            add_scaled(&mut row[k + 1..], -v[i], product);
            add_scaled(&mut row[k + 1..], -product[i], v);
        }
    }
}

/// Makes v the vector of the reflection that turns it into (α, 0, ...), and gives α and the scale.
#[inline(always)]
fn householder(v: &mut [f64]) -> (f64, f64) {
    let Some((&first, rest)) = v.split_first() else {
        return (0.0, 0.0);
    };
    let behind: f64 = rest.iter().map(|x| x * x).sum();
    if behind == 0.0 {
        return (first, 0.0);
    }
    let length = (first * first + behind).sqrt();
    let alpha = if first > 0.0 { -length } else { length };
    v[0] = first - alpha;
    (alpha, 2.0 / (v[0] * v[0] + behind))
}

/// Replaces the reflections by Qᵀ.
#[inline(always)]
fn accumulate(a: &mut [f64], scales: &[f64], along: &mut [f64]) {
    let n = scales.len();
    // Q = H_0 (H_1 (...)): the last reflection touches the least; row k keeps its vector until its turn.
    for k in (0..n).rev() {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        let (v, along) = (&row[k + 1..], &mut along[k + 1..n]);
        if scales[k] != 0.0 {
            along.fill(0.0);
            for (line, &factor) in below.chunks_exact(n).zip(v) {
                add_scaled(along, factor, &line[k + 1..]);
            }
            for (line, &factor) in below.chunks_exact_mut(n).zip(v) {
                add_scaled(&mut line[k + 1..], -scales[k] * factor, along);
            }
        }
        row[k..].fill(0.0);
        row[k] = 1.0;
        for line in below.chunks_exact_mut(n) {
            line[k] = 0.0;
        }
    }
    for i in 0..n {
        for j in 0..i {
            a.swap(i * n + j, j * n + i);
        }
    }
}

/// QL with implicit shifts on the tridiagonal matrix; the rotations turn the rows of `z`.
#[inline(always)]
fn diagonalize(z: &mut [f64], diagonal: &mut [f64], beside: &mut [f64]) -> bool {
    let n = diagonal.len();
    // What is small against the whole matrix is a rounding of it: a matrix of low rank has a corner of nothing else.
    let sizes = diagonal.iter().zip(&*beside);
    let size = sizes.fold(0.0_f64, |most, (d, e)| most.max(d.abs() + e.abs()));
    for first in 0..n {
        let mut rounds = 0;
        loop {
            let small = |m: &usize| beside[*m].abs() <= f64::EPSILON * size;
            let last = (first..n - 1).find(small).unwrap_or(n - 1);
            if last == first {
                break;
            }
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return false;
            }
            round(z, diagonal, beside, first, last);
        }
    }
    diagonal.iter().all(|value| value.is_finite())
}

/// One round on the rows from `first` to `last`.
#[inline(always)]
fn round(z: &mut [f64], diagonal: &mut [f64], beside: &mut [f64], first: usize, last: usize) {
    let n = diagonal.len();
    let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let root = length(half, 1.0);
    let away = if half < 0.0 { half - root } else { half + root };
    let mut g = diagonal[last] - diagonal[first] + beside[first] / away;
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for i in (first..last).rev() {
        let (f, b) = (sine * beside[i], cosine * beside[i]);
        let r = length(f, g);
        beside[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= shift;
            beside[last] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = diagonal[i + 1] - shift;
        let turned = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        shift = sine * turned;
        diagonal[i + 1] = g + shift;
        g = cosine * turned - b;
        let (upper, lower) = z[i * n..(i + 2) * n].split_at_mut(n);
        for (x, y) in upper.iter_mut().zip(lower) {
            (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
        }
    }
    diagonal[first] -= shift;
    beside[first] = g;
    beside[last] = 0.0;
}

#[inline(always)]
fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

/// y += factor x.
#[inline(always)]
fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// The largest value first, and the signs.
#[inline(always)]
fn order(z: &mut [f64], values: &mut [f64]) {
    let n = values.len();
    for i in 0..n {
        let mut largest = i;
        for j in i + 1..n {
            if values[j] > values[largest] {
                largest = j;
            }
        }
        values.swap(i, largest);
        for k in 0..n {
            z.swap(i * n + k, largest * n + k);
        }
        let row = &mut z[i * n..(i + 1) * n];
        let mut lead = 0.0_f64;
        for &x in &*row {
            if x.abs() > lead.abs() {
                lead = x;
            }
        }
        if lead < 0.0 {
            for x in row {
                *x = -*x;
            }
        }
    }
}
