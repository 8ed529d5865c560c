//! What two tables have in common: the sum of the outer products of their rows.
#![allow(unsafe_code)]

use crate::normal::{CHUNK, flush};
use crate::simd::{Kernel, Simd};
use crate::tile::{Nothing, add_outer};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};

/// sum += Σ xᵢ yᵢᵀ over rows of one width, line k of the sum holding what column k of x makes with all of y; in f32 over 256 rows at a
/// time and those in f64, as [`crate::gram`], of which it is the sibling for two tables. `chunk` is scratch of the length of `sum`.
///
/// # Panics
/// Where rows are not whole and as many of each, or a length is not width · width.
pub fn cross(
    simd: Simd,
    width: usize,
    (x, y): (&[f32], &[f32]),
    chunk: &mut [f32],
    sum: &mut [f64],
) {
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    assert!(
        x.len() == y.len() && x.len().is_multiple_of(width),
        "as many whole rows of each"
    );
    assert!(
        chunk.len() == width * width && sum.len() == chunk.len(),
        "squares of the width"
    );
    let rows = CHUNK * width;
    for (x, y) in x.chunks(rows).zip(y.chunks(rows)) {
        chunk.fill(0.0);
        simd.run(Cross {
            width,
            x,
            y,
            out: chunk,
        });
        flush(simd, chunk, sum);
    }
}

struct Cross<'a> {
    width: usize,
    x: &'a [f32],
    y: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Cross<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::WIDE {
            tiles::<V, 8, 2>(self);
        } else {
            // Of 16 registers of half a vector, 8 hold sums.
            tiles::<V, 4, 1>(self);
        }
    }
}

/// R rows of the square in tiles of R × 16 C, the rest in tiles of R × 16; R divides 16.
#[inline(always)]
fn tiles<V: Vector, const R: usize, const C: usize>(it: Cross<'_>) {
    let (width, terms) = (it.width, it.x.len() / it.width);
    assert!(it.y.len() == it.x.len() && it.out.len() == width * width);
    for row in (0..width).step_by(R) {
        let mut column = 0;
        while column < width {
            // SAFETY: both have `terms` rows of `width` floats, of which R from `row` on and 16 C (or 16) from `column` on are
            // read, and the square has as many rows of it from `row` on.
            unsafe {
                let (x, y) = (it.x.as_ptr().add(row), it.y.as_ptr().add(column));
                let out = it.out.as_mut_ptr().add(row * width + column);
                if column + C * LANES <= width {
                    add_outer::<V, R, C, false>(&mut Nothing, terms, width, x, y, width, out);
                    column += C * LANES;
                } else {
                    add_outer::<V, R, 1, false>(&mut Nothing, terms, width, x, y, width, out);
                    column += LANES;
                }
            }
        }
    }
}
