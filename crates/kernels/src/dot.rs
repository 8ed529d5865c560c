//! The dot product of two factor rows.
#![allow(unsafe_code)]

use crate::LANES;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// x · y for rows of one width: lane l adds the products at l, l + 16, ... in order, then the lanes are added by
/// halves.
///
/// # Panics
/// Where the lengths differ or are no multiple of 16.
#[inline]
pub fn dot(simd: Simd, x: &[f32], y: &[f32]) -> f32 {
    assert_eq!(x.len(), y.len(), "two rows of one width");
    assert!(x.len().is_multiple_of(LANES), "whole vectors");
    simd.run(Dot { x, y })
}

struct Dot<'a> {
    x: &'a [f32],
    y: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<V: Vector>(self) -> f32 {
        let mut sum = V::splat(0.0);
        for (x, y) in self.x.chunks_exact(LANES).zip(self.y.chunks_exact(LANES)) {
            // SAFETY: both chunks hold 16 floats.
            sum = unsafe { V::load(x.as_ptr()).fma(V::load(y.as_ptr()), sum) };
        }
        sum.sum()
    }
}
