//! What solved rows are worth: products of f32 rows in f64, for objectives and regularization.
//!
//! **Order.** 16 sums of f64, lane by lane, then these from the first to the last.

use crate::LANES;
use crate::normal::{system_len, upper_len};
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// x · y in f64.
///
/// # Panics
/// Where the lengths differ.
pub fn inner(simd: Simd, x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len(), "two rows of one length");
    simd.run(Inner { x, y })
}

struct Inner<'a> {
    x: &'a [f32],
    y: &'a [f32],
}

impl Kernel for Inner<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let (x, x_rest) = self.x.as_chunks::<LANES>();
        let (y, y_rest) = self.y.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (x, y) in x.iter().zip(y) {
            add_products(x, y, &mut sums);
        }
        for (sum, (&x, &y)) in sums.iter_mut().zip(x_rest.iter().zip(y_rest)) {
            *sum = f64::from(x).mul_add(f64::from(y), *sum);
        }
        sums.iter().sum()
    }
}

/// xᵀ(b + residual) = 2 xᵀ b − xᵀ A x in f64 for a closed system (A, b) as [`crate::close`] makes it: what a row's
/// solution x takes off the objective.
///
/// # Panics
/// Where the width of x is no multiple of 16 or the system is of another.
pub fn fit(simd: Simd, system: &[f32], x: &[f32]) -> f64 {
    assert!(x.len().is_multiple_of(LANES), "whole vectors");
    assert_eq!(
        system.len(),
        system_len(x.len()),
        "a system of the row's width"
    );
    simd.run(Fit { system, x })
}

struct Fit<'a> {
    system: &'a [f32],
    x: &'a [f32],
}

impl Kernel for Fit<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let (upper, rhs) = self.system.split_at(upper_len(self.x.len()));
        let (mut upper, _) = upper.as_chunks::<LANES>();
        let (x, _) = self.x.as_chunks::<LANES>();
        let mut linear = [0.0; LANES];
        for (rhs, x) in rhs.as_chunks::<LANES>().0.iter().zip(x) {
            add_products(rhs, x, &mut linear);
        }
        let mut quadratic = [0.0; LANES];
        for block in 0..x.len() {
            let (here, beyond) = (&x[block], &x[block + 1..]);
            for &factor in here {
                let row;
                (row, upper) = upper.split_at(1 + beyond.len());
                // Blocks beyond the diagonal one stand for their mirror images too; the diagonal one is kept whole.
                let mut sums = [0.0; LANES];
                for (a, x) in row[1..].iter().zip(beyond) {
                    add_products(a, x, &mut sums);
                }
                for sum in &mut sums {
                    *sum *= 2.0;
                }
                add_products(&row[0], here, &mut sums);
                for (total, sum) in quadratic.iter_mut().zip(sums) {
                    *total = f64::from(factor).mul_add(sum, *total);
                }
            }
        }
        2.0 * linear.iter().sum::<f64>() - quadratic.iter().sum::<f64>()
    }
}

/// sums += x ∘ y, lane by lane.
#[inline(always)]
fn add_products(x: &[f32; LANES], y: &[f32; LANES], sums: &mut [f64; LANES]) {
    for lane in 0..LANES {
        sums[lane] = f64::from(x[lane]).mul_add(f64::from(y[lane]), sums[lane]);
    }
}
