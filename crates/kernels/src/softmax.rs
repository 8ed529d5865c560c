//! Numbers of a row as probabilities of classes.

use crate::losses::exp;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// p_c = exp(x_c − m) / Σ exp(x_c − m) over the first `classes` numbers of each row, m the largest of them; what lies beyond becomes 0.
/// The sum is in f64, in the order of classes.
///
/// # Panics
/// Where rows are not whole, or have not so many numbers.
pub fn softmax(simd: Simd, width: usize, classes: usize, rows: &mut [f32]) {
    assert!(
        0 < classes && classes <= width && rows.len().is_multiple_of(width),
        "whole rows, classes within them"
    );
    simd.run(Softmax {
        width,
        classes,
        rows,
    });
}

struct Softmax<'a> {
    width: usize,
    classes: usize,
    rows: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let (some, beyond) = row.split_at_mut(self.classes);
            let mut most = some[0];
            for &x in &some[1..] {
                most = if x > most { x } else { most };
            }
            for x in &mut *some {
                *x = exp(*x - most);
            }
            let mut sum = 0.0_f64;
            for &x in &*some {
                sum += f64::from(x);
            }
            let sum = sum as f32;
            for x in some {
                *x /= sum;
            }
            beyond.fill(0.0);
        }
    }
}
