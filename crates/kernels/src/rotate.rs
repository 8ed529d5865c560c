//! Rows times a square matrix: a table into the eigenbasis, and back.
#![allow(unsafe_code)]

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};

/// out_i = Σ_k x_ik M_k over the rows M_k of the matrix, in order of k, for every row x_i.
///
/// # Panics
/// Where the matrix is not width × width or the rows are not whole.
pub fn rotate(simd: Simd, width: usize, matrix: &[f32], rows: &[f32], out: &mut [f32]) {
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    assert_eq!(matrix.len(), width * width, "a square matrix");
    assert!(
        rows.len() == out.len() && rows.len().is_multiple_of(width),
        "whole rows"
    );
    simd.run(Rotate {
        width,
        matrix,
        rows,
        out,
    });
}

struct Rotate<'a> {
    width: usize,
    matrix: &'a [f32],
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::WIDE {
            rows_by::<V, 6, 4>(self);
        } else {
            // Of 16 registers of half a vector, 8 hold sums.
            rows_by::<V, 4, 1>(self);
        }
    }
}

/// R rows at a time, 16 C columns at a time; what is left singly.
#[inline(always)]
fn rows_by<V: Vector, const R: usize, const C: usize>(it: Rotate<'_>) {
    let width = it.width;
    let some = it.rows.chunks(R * width);
    for (rows, out) in some.zip(it.out.chunks_mut(R * width)) {
        if rows.len() == R * width {
            columns_by::<V, R, C>(width, it.matrix, rows, out);
        } else {
            for (row, out) in rows.chunks(width).zip(out.chunks_mut(width)) {
                columns_by::<V, 1, C>(width, it.matrix, row, out);
            }
        }
    }
}

#[inline(always)]
fn columns_by<V: Vector, const R: usize, const C: usize>(
    width: usize,
    matrix: &[f32],
    rows: &[f32],
    out: &mut [f32],
) {
    let mut column = 0;
    while column + C * LANES <= width {
        tile::<V, R, C>(width, matrix, rows, column, out);
        column += C * LANES;
    }
    while column < width {
        tile::<V, R, 1>(width, matrix, rows, column, out);
        column += LANES;
    }
}

/// R × 16 C outputs in registers.
#[inline(always)]
fn tile<V: Vector, const R: usize, const C: usize>(
    width: usize,
    matrix: &[f32],
    rows: &[f32],
    column: usize,
    out: &mut [f32],
) {
    assert!(column + C * LANES <= width && matrix.len() == width * width);
    assert!(rows.len() == R * width && out.len() == R * width);
    let mut sums = [[V::splat(0.0); C]; R];
    for k in 0..width {
        let mut line = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: row k of the matrix has 16 C floats from `column` on.
            line[c] = unsafe { V::load(matrix.as_ptr().add(k * width + column + c * LANES)) };
        }
        for t in 0..R {
            // SAFETY: column k of row t of R.
            let factor = V::splat(unsafe { *rows.as_ptr().add(t * width + k) });
            for c in 0..C {
                sums[t][c] = factor.fma(line[c], sums[t][c]);
            }
        }
    }
    for t in 0..R {
        for c in 0..C {
            // SAFETY: row t of R has 16 C floats from `column` on.
            unsafe { sums[t][c].store(out.as_mut_ptr().add(t * width + column + c * LANES)) };
        }
    }
}
