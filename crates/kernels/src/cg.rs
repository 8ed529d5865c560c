//! Conjugate gradients on one row's panel: (B + λ I + Σ a aᵀ) x = b, the matrix never formed.
//!
//! From the row's previous factors a few steps are nearly the exact solution, at 4 r operations an interaction and
//! step instead of r² (Takács, Pilászy, Tikk, *Applications of the conjugate gradient method for implicit feedback
//! collaborative filtering*, 2011). The preconditioner is the diagonal of the matrix; where B is diagonal itself, as
//! in the eigenbasis of the Gram matrix, it is nearly exact.
//!
//! **Order.** A dot product is like [`crate::dot`]. Lines are added in f32 over 256 of them, by position, and these
//! sums in f32: at most a few tens of them fit a panel.
#![allow(unsafe_code)]

use crate::panel::{GROUP, check_panel, combine, load, products};
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{CHUNK, LANES, is_sound};
use std::hint::black_box;

/// What all rows of a half-step have in common: the matrix B.
#[derive(Clone, Copy, Debug)]
pub enum Common<'a> {
    /// Its diagonal; elsewhere it is zero.
    Diagonal(&'a [f32]),
    /// Its rows, all of them: it is symmetric.
    Square(&'a [f32]),
}

/// The equations of a row: (B + λ I + Σ a aᵀ) x = b over the lines a of a panel.
#[derive(Clone, Copy, Debug)]
pub struct Equations<'a> {
    /// B. On the diagonal of the padding (ranks up to the width) it must be positive, one for instance, unless λ is.
    pub common: Common<'a>,
    /// λ.
    pub ridge: f32,
    /// The lines, a multiple of [`GROUP`] of them.
    pub panel: &'a [f32],
    /// b.
    pub rhs: &'a [f32],
}

impl Equations<'_> {
    /// Panics where lengths disagree.
    pub(crate) fn check(&self) {
        let width = self.rhs.len();
        check_panel(self.panel, width);
        let fits = match self.common {
            Common::Diagonal(diagonal) => diagonal.len() == width,
            Common::Square(square) => square.len() == width * width,
        };
        assert!(fits, "a common matrix of the width");
    }

    /// Entry k of the diagonal of B + λ I.
    #[inline(always)]
    pub(crate) fn diagonal(&self, k: usize) -> f32 {
        let common = match self.common {
            Common::Diagonal(diagonal) => diagonal[k],
            Common::Square(square) => square[k * self.rhs.len() + k],
        };
        common + self.ridge
    }

    /// The square of B + λ I of 16 columns.
    #[inline(always)]
    pub(crate) fn common_square(&self, column: usize, out: &mut [f32]) {
        let width = self.rhs.len();
        for (k, out) in out.chunks_exact_mut(LANES).enumerate() {
            match self.common {
                Common::Diagonal(_) => out.fill(0.0),
                Common::Square(square) => {
                    out.copy_from_slice(&square[(column + k) * width + column..][..LANES]);
                }
            }
            out[k] = self.diagonal(column + k);
        }
    }

    /// y += (B + λ I) x.
    #[inline(always)]
    pub(crate) fn add_common<V: Vector>(&self, x: &[f32], y: &mut [f32]) {
        match self.common {
            Common::Diagonal(diagonal) => {
                for k in 0..y.len() {
                    y[k] = (diagonal[k] + self.ridge).mul_add(x[k], y[k]);
                }
            }
            Common::Square(square) => {
                combine::<V>(square, x, y);
                for k in 0..y.len() {
                    y[k] = self.ridge.mul_add(x[k], y[k]);
                }
            }
        }
    }
}

/// Floats of scratch that [`conjugate_gradients`] needs.
pub const fn conjugate_gradients_scratch(width: usize) -> usize {
    5 * width
}

/// Improves x by so many steps. Fewer where nothing is left to improve.
///
/// Returns the first column whose diagonal is not a positive number; x then means nothing.
///
/// # Panics
/// Where lengths disagree or the scratch is short.
pub fn conjugate_gradients(
    simd: Simd,
    equations: Equations<'_>,
    steps: usize,
    x: &mut [f32],
    scratch: &mut [f32],
) -> Option<usize> {
    equations.check();
    let width = equations.rhs.len();
    assert_eq!(x.len(), width, "a solution of the width");
    assert!(
        scratch.len() >= conjugate_gradients_scratch(width),
        "the scratch is short"
    );
    simd.run(Cg {
        equations,
        steps,
        x,
        scratch,
    })
}

struct Cg<'a> {
    equations: Equations<'a>,
    steps: usize,
    x: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Cg<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Option<usize> {
        let (it, x) = (self.equations, self.x);
        let width = x.len();
        let (inverse, rest) = self.scratch.split_at_mut(width);
        let (residual, rest) = rest.split_at_mut(width);
        let (direction, rest) = rest.split_at_mut(width);
        let (product, rest) = rest.split_at_mut(width);
        let part = &mut rest[..width];

        inverse.fill(0.0);
        apply::<V, true>(it, x, product, inverse, part);
        let mut failed = None;
        for k in 0..width {
            let diagonal = it.diagonal(k) + inverse[k];
            if !is_sound(diagonal) && failed.is_none() {
                failed = Some(k);
            }
            inverse[k] = 1.0 / diagonal;
            residual[k] = it.rhs[k] - product[k];
            direction[k] = inverse[k] * residual[k];
        }
        let mut norm = dot::<V>(residual, direction);
        // A residual 2^-23 of the first is rounding; some 60 steps further the norm would underflow.
        let enough = norm * f32::EPSILON * f32::EPSILON;
        for _ in 0..self.steps {
            if !is_sound(norm) || norm <= enough {
                break;
            }
            apply::<V, false>(it, direction, product, &mut [], part);
            let curvature = dot::<V>(direction, product);
            if !is_sound(curvature) {
                break;
            }
            let step = norm / curvature;
            for k in 0..width {
                x[k] = step.mul_add(direction[k], x[k]);
                residual[k] = (-step).mul_add(product[k], residual[k]);
                product[k] = inverse[k] * residual[k];
            }
            let before = norm;
            norm = dot::<V>(residual, product);
            let keep = norm / before;
            for k in 0..width {
                direction[k] = keep.mul_add(direction[k], product[k]);
            }
        }
        failed
    }
}

#[inline(always)]
fn dot<V: Vector>(x: &[f32], y: &[f32]) -> f32 {
    let mut sum = V::splat(0.0);
    for (x, y) in x.chunks_exact(LANES).zip(y.chunks_exact(LANES)) {
        // SAFETY: both chunks hold 16 floats.
        sum = unsafe { V::load(x.as_ptr()).fma(V::load(y.as_ptr()), sum) };
    }
    sum.sum()
}

/// y = (B + λ I) x + Σ a (a · x); with SQUARES, squares += Σ a ∘ a too.
#[inline(always)]
fn apply<V: Vector, const SQUARES: bool>(
    it: Equations<'_>,
    x: &[f32],
    y: &mut [f32],
    squares: &mut [f32],
    part: &mut [f32],
) {
    let width = x.len();
    y.fill(0.0);
    for lines in it.panel.chunks(CHUNK * width) {
        part.fill(0.0);
        if V::WIDE {
            match width / LANES {
                1 => in_registers::<V, 1, SQUARES>(lines, x, part, squares),
                2 => in_registers::<V, 2, SQUARES>(lines, x, part, squares),
                3 => in_registers::<V, 3, SQUARES>(lines, x, part, squares),
                4 => in_registers::<V, 4, SQUARES>(lines, x, part, squares),
                5 => in_registers::<V, 5, SQUARES>(lines, x, part, squares),
                6 => in_registers::<V, 6, SQUARES>(lines, x, part, squares),
                7 => in_registers::<V, 7, SQUARES>(lines, x, part, squares),
                8 => in_registers::<V, 8, SQUARES>(lines, x, part, squares),
                _ => in_memory::<V, SQUARES>(lines, x, part, squares),
            }
        } else {
            in_memory::<V, SQUARES>(lines, x, part, squares);
        }
        for (y, part) in y.iter_mut().zip(&*part) {
            *y += part;
        }
    }
    it.add_common::<V>(x, y);
}

/// sum += Σ a (a · x), vector and sum in registers while the lines stream by.
#[inline(always)]
fn in_registers<V: Vector, const B: usize, const SQUARES: bool>(
    panel: &[f32],
    x: &[f32],
    sum: &mut [f32],
    squares: &mut [f32],
) {
    let width = B * LANES;
    let x = load::<V, B>(x);
    let mut sums = load::<V, B>(sum);
    let mut square = [V::splat(0.0); B];
    if SQUARES {
        square = load::<V, B>(squares);
    }
    for group in panel.chunks_exact(GROUP * width) {
        let mut dots = [V::splat(0.0); GROUP];
        for t in 0..GROUP {
            let line = load::<V, B>(&group[t * width..][..width]);
            for b in 0..B {
                dots[t] = line[b].fma(x[b], dots[t]);
            }
        }
        let dots = V::sums(dots);
        // Up to 64 columns the lines stay in registers; wider ones would be kept on the stack for their second use, where they
        // are read again sooner than copied: the compiler must not know that they are the same.
        let again = if B > 4 { black_box(group) } else { group };
        for t in 0..GROUP {
            let line = load::<V, B>(&again[t * width..][..width]);
            for b in 0..B {
                sums[b] = dots[t].fma(line[b], sums[b]);
                if SQUARES {
                    square[b] = line[b].fma(line[b], square[b]);
                }
            }
        }
    }
    for b in 0..B {
        // SAFETY: both slices hold 16 B floats: they were loaded from above.
        unsafe {
            sums[b].store(sum.as_mut_ptr().add(b * LANES));
            if SQUARES {
                square[b].store(squares.as_mut_ptr().add(b * LANES));
            }
        }
    }
}

/// The same bits for any width, vector and sum in the first-level cache.
#[inline(always)]
fn in_memory<V: Vector, const SQUARES: bool>(
    panel: &[f32],
    x: &[f32],
    sum: &mut [f32],
    squares: &mut [f32],
) {
    let width = x.len();
    for group in panel.chunks_exact(GROUP * width) {
        let dots = V::sums(products::<V>(group, x));
        for column in (0..width).step_by(LANES) {
            let mut lines = [V::splat(0.0); GROUP];
            for t in 0..GROUP {
                [lines[t]] = load::<V, 1>(&group[t * width + column..][..LANES]);
            }
            let here = &mut sum[column..column + LANES];
            let [mut total] = load::<V, 1>(here);
            for t in 0..GROUP {
                total = dots[t].fma(lines[t], total);
            }
            // SAFETY: `here` holds 16 floats.
            unsafe { total.store(here.as_mut_ptr()) };
            if SQUARES {
                let here = &mut squares[column..column + LANES];
                let [mut total] = load::<V, 1>(here);
                for line in lines {
                    total = line.fma(line, total);
                }
                // SAFETY: `here` holds 16 floats.
                unsafe { total.store(here.as_mut_ptr()) };
            }
        }
    }
}
