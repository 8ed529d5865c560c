//! Register tiles: the outputs stay in registers while the terms stream by, one fused multiply-add each, in order.
//!
//! A tile's shape decides speed only: every output has its own chain.
#![allow(unsafe_code)]

use crate::LANES;
use crate::vector::Vector;

/// What is brought nearer while a tile is multiplied: a little before every term, since a burst would stall.
pub(crate) trait Ahead {
    /// Asks for the next line.
    fn step(&mut self);
}

/// Nothing.
pub(crate) struct Nothing;

impl Ahead for Nothing {
    #[inline(always)]
    fn step(&mut self) {}
}

/// out[t][c] += Σ_k x[k][t] · y[k][c] for t < R and c < 16 C, the terms in order of k; onto zeros, whatever `out` holds,
/// where `FRESH`.
///
/// # Safety
/// `x` points at `terms` rows of at least R floats and `y` at `terms` rows of 16 C, both `stride` apart; `out` at R
/// writable rows of 16 C floats, `out_stride` apart, that overlap neither.
#[inline(always)]
pub(crate) unsafe fn add_outer<V: Vector, const R: usize, const C: usize, const FRESH: bool>(
    ahead: &mut impl Ahead,
    terms: usize,
    stride: usize,
    x: *const f32,
    y: *const f32,
    out_stride: usize,
    out: *mut f32,
) {
    let mut sums = [[V::splat(0.0); C]; R];
    if !FRESH {
        for t in 0..R {
            for c in 0..C {
                // SAFETY: inside the rows of `out` that the caller promises.
                sums[t][c] = unsafe { V::load(out.add(t * out_stride + c * LANES)) };
            }
        }
    }
    for k in 0..terms {
        ahead.step();
        // SAFETY: row k of `x` and `y`, as promised.
        let (x, y) = unsafe { (x.add(k * stride), y.add(k * stride)) };
        let mut row = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: inside 16 C floats.
            row[c] = unsafe { V::load(y.add(c * LANES)) };
        }
        for t in 0..R {
            // SAFETY: inside R floats.
            let factor = V::splat(unsafe { *x.add(t) });
            for c in 0..C {
                sums[t][c] = factor.fma(row[c], sums[t][c]);
            }
        }
    }
    for t in 0..R {
        for c in 0..C {
            // SAFETY: as above.
            unsafe { sums[t][c].store(out.add(t * out_stride + c * LANES)) };
        }
    }
}
