//! A row with few interactions through its dual: with D = B + λ I diagonal and A the panel's m lines,
//! x = D⁻¹ (b₀ + Aᵀ t), (I + A D⁻¹ Aᵀ) t = c − A D⁻¹ b₀: a system of m instead of r numbers (Woodbury; that the right-hand
//! side stands in the dual too, instead of being projected there and back, leaves nothing to cancel).
//!
//! **Order.** An entry of A D⁻¹ Aᵀ is one chain over the columns; the lines are added in order.
#![allow(unsafe_code)]

use crate::normal::{syrk, system_len, upper_index, upper_len};
use crate::panel::{check_panel, combine, multiply};
use crate::simd::{Kernel, Simd};
use crate::tile::Nothing;
use crate::vector::Vector;
use crate::{LANES, is_sound, solve, solve_scratch, width_of};

/// A row's equations for [`dual`]: (D + Σ a aᵀ) x = b₀ + Σ c a over the lines a of a panel.
#[derive(Clone, Copy, Debug)]
pub struct Dual<'a> {
    /// D without λ. On the diagonal of the padding (ranks up to the width) it must be positive, unless λ is.
    pub diagonal: &'a [f32],
    /// λ.
    pub ridge: f32,
    /// The lines, a multiple of [`crate::GROUP`] of them.
    pub panel: &'a [f32],
    /// c, one per line.
    pub factors: &'a [f32],
    /// b₀: what has no line.
    pub rest: &'a [f32],
}

/// Floats of scratch that [`dual`] needs for at most so many lines.
pub const fn dual_scratch(width: usize, lines: usize) -> usize {
    let n = width_of(lines);
    // A narrow system may take more scratch than a wide one.
    let mut most = 0;
    let mut narrower = LANES;
    while narrower <= n {
        if solve_scratch(narrower) > most {
            most = solve_scratch(narrower);
        }
        narrower += LANES;
    }
    2 * width + n * width + system_len(n) + n + most
}

/// Solves a row; x need not hold anything before.
///
/// Returns the first column whose diagonal is not a positive number; x then means nothing.
///
/// # Panics
/// Where lengths disagree, the scratch is short, or there are more lines than the widest system has columns.
pub fn dual(simd: Simd, row: Dual<'_>, x: &mut [f32], scratch: &mut [f32]) -> Option<usize> {
    let width = x.len();
    check_panel(row.panel, width);
    let lines = row.factors.len();
    assert!(
        row.panel.len() == lines * width && row.diagonal.len() == width,
        "a number per line and column"
    );
    assert_eq!(row.rest.len(), width, "a right-hand side of the width");
    let n = width_of(lines);
    assert!(
        scratch.len() >= dual_scratch(width, lines),
        "the scratch is short"
    );
    let (inverse, scratch) = scratch.split_at_mut(width);
    let mut failed = None;
    for k in 0..width {
        let diagonal = row.diagonal[k] + row.ridge;
        if !is_sound(diagonal) && failed.is_none() {
            failed = Some(k);
        }
        inverse[k] = 1.0 / diagonal;
        x[k] = row.rest[k] * inverse[k];
    }
    if lines == 0 || failed.is_some() {
        return failed;
    }
    let (roots, scratch) = scratch.split_at_mut(width);
    for (root, inverse) in roots.iter_mut().zip(&*inverse) {
        *root = inverse.sqrt();
    }
    let (system, scratch) = scratch.split_at_mut(system_len(n));
    let (turned, scratch) = scratch.split_at_mut(n * width);
    let (solution, scratch) = scratch.split_at_mut(n);
    simd.run(Form {
        row,
        roots,
        projected: x,
        turned,
        system,
    });
    // One plus a square: its pivots are at least one, unless the numbers overflow.
    if solve(simd, n, system, solution, scratch).is_some() {
        return Some(0);
    }
    simd.run(Expand {
        row,
        inverse,
        solution: &solution[..lines],
        x,
    });
    None
}

/// The system I + A D⁻¹ Aᵀ with its right-hand side.
struct Form<'a> {
    row: Dual<'a>,
    roots: &'a [f32],
    /// D⁻¹ b₀.
    projected: &'a [f32],
    turned: &'a mut [f32],
    system: &'a mut [f32],
}

impl Kernel for Form<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (width, lines) = (self.roots.len(), self.row.factors.len());
        let n = self.turned.len() / width;
        let (upper, rhs) = self.system.split_at_mut(upper_len(n));
        for line in (0..n).step_by(LANES) {
            for column in (0..width).step_by(LANES) {
                let mut square = [V::splat(0.0); LANES];
                for (t, vector) in square.iter_mut().enumerate().take(lines - line.min(lines)) {
                    let from = &self.row.panel[(line + t) * width + column..][..LANES];
                    let roots = &self.roots[column..][..LANES];
                    // SAFETY: both slices hold 16 floats.
                    *vector = unsafe { V::load(from.as_ptr()).mul(V::load(roots.as_ptr())) };
                }
                V::transpose(&mut square);
                for (c, vector) in square.iter().enumerate() {
                    let to = &mut self.turned[(column + c) * n + line..][..LANES];
                    // SAFETY: the slice holds 16 floats.
                    unsafe { vector.store(to.as_mut_ptr()) };
                }
            }
        }
        upper.fill(0.0);
        syrk::<V, false>(&mut Nothing, n, self.turned, upper);
        for k in 0..n {
            upper[upper_index(n, k, k)] += 1.0;
        }
        rhs.fill(0.0);
        multiply::<V>(self.row.panel, self.projected, &mut rhs[..lines]);
        for (rhs, factor) in rhs.iter_mut().zip(self.row.factors) {
            *rhs = factor - *rhs;
        }
    }
}

/// x = D⁻¹ (b₀ + Aᵀ t).
struct Expand<'a> {
    row: Dual<'a>,
    inverse: &'a [f32],
    solution: &'a [f32],
    x: &'a mut [f32],
}

impl Kernel for Expand<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        self.x.copy_from_slice(self.row.rest);
        combine::<V>(self.row.panel, self.solution, self.x);
        for (x, inverse) in self.x.iter_mut().zip(self.inverse) {
            *x *= inverse;
        }
    }
}
