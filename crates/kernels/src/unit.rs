//! Rows of one length, and their gradients.
#![allow(unsafe_code)]

use crate::LANES;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// x ← by · x / |x|; rows of zeros stay.
///
/// # Panics
/// Where the width is no multiple of 16 or rows are not whole.
pub fn unit(simd: Simd, width: usize, by: f32, rows: &mut [f32]) {
    whole(width, rows);
    simd.run(Unit { width, by, rows });
}

/// Gradients g by y = by · x / |x| become those by x: by / |x| · (g − x (x · g) / |x|²); those of rows of zeros are zeros.
///
/// # Panics
/// Where the width is no multiple of 16 or there are not as many whole rows of both.
pub fn unit_back(simd: Simd, width: usize, by: f32, rows: &[f32], gradients: &mut [f32]) {
    whole(width, rows);
    assert_eq!(rows.len(), gradients.len(), "a gradient a row");
    simd.run(Back {
        width,
        by,
        rows,
        gradients,
    });
}

fn whole(width: usize, rows: &[f32]) {
    assert!(
        width > 0 && width.is_multiple_of(LANES) && rows.len().is_multiple_of(width),
        "whole vectors and rows"
    );
}

/// As [`crate::dot`].
#[inline(always)]
fn dot<V: Vector>(x: &[f32], y: &[f32]) -> f32 {
    let mut sum = V::splat(0.0);
    for (x, y) in x.chunks_exact(LANES).zip(y.chunks_exact(LANES)) {
        // SAFETY: both chunks hold 16 floats.
        sum = unsafe { V::load(x.as_ptr()).fma(V::load(y.as_ptr()), sum) };
    }
    sum.sum()
}

struct Unit<'a> {
    width: usize,
    by: f32,
    rows: &'a mut [f32],
}

impl Kernel for Unit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let square = dot::<V>(row, row);
            if square > 0.0 {
                let by = self.by / square.sqrt();
                for x in row {
                    *x *= by;
                }
            }
        }
    }
}

struct Back<'a> {
    width: usize,
    by: f32,
    rows: &'a [f32],
    gradients: &'a mut [f32],
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let gradients = self.gradients.chunks_exact_mut(self.width);
        for (row, gradient) in self.rows.chunks_exact(self.width).zip(gradients) {
            let square = dot::<V>(row, row);
            if square > 0.0 {
                let along = dot::<V>(row, gradient) / square;
                let by = self.by / square.sqrt();
                for (g, &x) in gradient.iter_mut().zip(row) {
                    *g = by * (*g - along * x);
                }
            } else {
                gradient.fill(0.0);
            }
        }
    }
}
