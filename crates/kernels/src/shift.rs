//! Rows moved by other rows, in place.

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// x ← (scale · x + y) · by, with `rows` the pairs (scale, by).
///
/// # Panics
/// Where the tables have not as many rows of one width as there are pairs.
pub fn shift(simd: Simd, rows: &[(f32, f32)], other: &[f32], table: &mut [f32]) {
    if rows.is_empty() {
        return;
    }
    let width = table.len() / rows.len();
    assert!(
        table.len() == rows.len() * width && other.len() == table.len(),
        "rows of one width"
    );
    simd.run(Shift {
        rows,
        width,
        other,
        table,
    });
}

struct Shift<'a> {
    rows: &'a [(f32, f32)],
    width: usize,
    other: &'a [f32],
    table: &'a mut [f32],
}

impl Kernel for Shift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (number, &(scale, by)) in self.rows.iter().enumerate() {
            let columns = number * self.width..(number + 1) * self.width;
            let (x, y) = (&mut self.table[columns.clone()], &self.other[columns]);
            for c in 0..self.width {
                x[c] = (scale * x[c] + y[c]) * by;
            }
        }
    }
}
