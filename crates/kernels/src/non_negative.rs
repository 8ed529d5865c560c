//! Non-negative least squares on a row's normal equations: ½ xᵀ A x − bᵀ x over x ≥ 0 by sweeps of coordinate descent
//! (Franc, Hlaváč, Navara, *Sequential coordinate-wise algorithm for the non-negative least squares problem*, 2005).
//!
//! With the gradient g = A x − b, each coordinate in turn takes its best value while the others are held,
//!
//!   x_k' = max(0, x_k − g_k / a_kk),   g += (x_k' − x_k) a_k,
//!
//! so the objective never rises, from whatever x ≥ 0 a row starts, and a fixed point is the solution.
//!
//! **Order.** Every g_k is one chain: −b_k, then the columns of the first product in order, then the moves as they come.
#![allow(unsafe_code)]

use crate::normal::{block_start, system_len, upper_len};
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX, is_sound};

/// Floats of scratch that [`non_negative`] needs: the whole square, and the gradient.
pub const fn non_negative_scratch(width: usize) -> usize {
    width * width + width
}

/// Improves x ≥ 0 by so many sweeps over the columns of a system; fewer where one moves nothing. The padding stays zero.
///
/// Returns the first column whose diagonal is not a positive number; x then means nothing.
///
/// # Panics
/// Where lengths disagree or the scratch is short.
pub fn non_negative(
    simd: Simd,
    system: &[f32],
    sweeps: usize,
    x: &mut [f32],
    scratch: &mut [f32],
) -> Option<usize> {
    let width = x.len();
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    assert_eq!(system.len(), system_len(width), "a system of the width");
    assert!(
        scratch.len() >= non_negative_scratch(width),
        "the scratch is short"
    );
    simd.run(Descend {
        system,
        sweeps,
        x,
        scratch,
    })
}

struct Descend<'a> {
    system: &'a [f32],
    sweeps: usize,
    x: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Descend<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Option<usize> {
        let (width, x) = (self.x.len(), self.x);
        let (square, gradient) = self.scratch.split_at_mut(width * width);
        let (upper, rhs) = self.system.split_at(upper_len(width));
        mirror(width, upper, square);
        let unsound = |k: &usize| !is_sound(square[k * width + k]);
        if let Some(failed) = (0..width).find(unsound) {
            return Some(failed);
        }
        let gradient = &mut gradient[..width];
        for (g, b) in gradient.iter_mut().zip(rhs) {
            *g = -b;
        }
        for k in 0..width {
            if x[k] != 0.0 {
                add_row::<V>(x[k], &square[k * width..][..width], gradient);
            }
        }
        for _ in 0..self.sweeps {
            let mut moved = false;
            for k in 0..width {
                let row = &square[k * width..][..width];
                let best = x[k] - gradient[k] / row[k];
                // What is no number stays one, for the caller to see in the objective.
                let best = if best < 0.0 { 0.0 } else { best };
                let step = best - x[k];
                if step != 0.0 {
                    x[k] = best;
                    add_row::<V>(step, row, gradient);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        None
    }
}

/// All rows of the square whose upper triangle by blocks of 16 is given.
#[inline(always)]
fn mirror(width: usize, upper: &[f32], square: &mut [f32]) {
    for row in 0..width {
        let block = row / LANES;
        let (from, columns) = (block * LANES, width - block * LANES);
        let stored = &upper[block_start(width, block) + (row - from) * columns..][..columns];
        square[row * width + from..][..columns].copy_from_slice(stored);
        for column in from + LANES..width {
            square[column * width + row] = stored[column - from];
        }
    }
}

/// out += factor · row.
#[inline(always)]
fn add_row<V: Vector>(factor: f32, row: &[f32], out: &mut [f32]) {
    let factor = V::splat(factor);
    for (row, out) in row.chunks_exact(LANES).zip(out.chunks_exact_mut(LANES)) {
        // SAFETY: both chunks hold 16 floats.
        unsafe {
            let sum = factor.fma(V::load(row.as_ptr()), V::load(out.as_ptr()));
            sum.store(out.as_mut_ptr());
        }
    }
}
