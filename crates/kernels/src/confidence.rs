//! Weights and targets of consecutive interactions.

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// weights = fl(α y) and targets = fl(α0 + α y) over values y, in f64 before they are rounded: the linear confidence of
/// Hu, Koren and Volinsky (2008).
///
/// # Panics
/// Where the lengths differ.
pub fn linear_confidence(
    simd: Simd,
    values: &[f32],
    alpha: f64,
    alpha0: f64,
    weights: &mut [f32],
    targets: &mut [f32],
) {
    let count = values.len();
    assert!(
        weights.len() == count && targets.len() == count,
        "a weight and a target per value"
    );
    simd.run(Linear {
        values,
        alpha,
        alpha0,
        weights,
        targets,
    });
}

struct Linear<'a> {
    values: &'a [f32],
    alpha: f64,
    alpha0: f64,
    weights: &'a mut [f32],
    targets: &'a mut [f32],
}

impl Kernel for Linear<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for e in 0..self.values.len() {
            let above = self.alpha * f64::from(self.values[e]);
            (self.weights[e], self.targets[e]) = (above as f32, (self.alpha0 + above) as f32);
        }
    }
}
