//! Squared distances of rows to a few others.
#![allow(unsafe_code)]

use crate::LANES;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// Rows that are looked at together: their sums stay in registers, and one load of the others serves them all.
const TOGETHER: usize = 4;

/// |x - y|² of every row x and every other y, x after x: `out` holds as many numbers a row as `panels` has others, its padding included.
///
/// Others come in panels of 16: number k of a panel's rows is one vector, as [`crate::pack_products`] lays them out. Lanes run across the
/// others, and the terms of one distance are added in the order of its columns.
///
/// # Panics
/// Where the width is no multiple of 16, or rows, panels or `out` are not whole.
pub fn distances(simd: Simd, width: usize, rows: &[f32], panels: &[f32], out: &mut [f32]) {
    assert!(
        width > 0 && width.is_multiple_of(LANES) && rows.len().is_multiple_of(width),
        "whole vectors and rows"
    );
    assert!(panels.len().is_multiple_of(width * LANES), "whole panels");
    assert_eq!(
        out.len(),
        rows.len() / width * (panels.len() / width),
        "a distance of each row to each other"
    );
    if !panels.is_empty() {
        simd.run(Distances {
            width,
            rows,
            panels,
            out,
        });
    }
}

struct Distances<'a> {
    width: usize,
    rows: &'a [f32],
    panels: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (width, others) = (self.width, self.panels.len() / self.width);
        let groups = self.rows.chunks(TOGETHER * width);
        for (rows, out) in groups.zip(self.out.chunks_mut(TOGETHER * others)) {
            let count = rows.len() / width;
            // Rows that a last group lacks are the first again, and go nowhere.
            let mut starts = [0; TOGETHER];
            for (row, start) in starts.iter_mut().enumerate().take(count) {
                *start = row * width;
            }
            for (panel, at) in self
                .panels
                .chunks_exact(width * LANES)
                .zip((0..).step_by(LANES))
            {
                let mut sums = [V::splat(0.0); TOGETHER];
                for (column, other) in panel.chunks_exact(LANES).enumerate() {
                    // SAFETY: the chunk has 16 floats.
                    let other = unsafe { V::load(other.as_ptr()) };
                    for row in 0..TOGETHER {
                        let apart = V::splat(rows[starts[row] + column]).sub(other);
                        sums[row] = apart.fma(apart, sums[row]);
                    }
                }
                for row in 0..count {
                    let to = &mut out[row * others + at..][..LANES];
                    // SAFETY: the slice has 16 floats.
                    unsafe { sums[row].store(to.as_mut_ptr()) };
                }
            }
        }
    }
}
