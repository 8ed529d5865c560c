//! One system, by blocks of 16 rows, each block looking back at those above.
#![allow(unsafe_code)]

use crate::normal::{block_start, upper_len};
use crate::simd::Kernel;
use crate::vector::Vector;
use crate::{LANES, is_sound};

/// Floats of scratch: the reciprocals of the diagonal.
pub(super) const fn scratch_len(width: usize) -> usize {
    width
}

/// Factor and solve; gives the first failed pivot.
pub(super) struct Solve<'a> {
    pub width: usize,
    pub system: &'a mut [f32],
    pub x: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

impl Kernel for Solve<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Option<usize> {
        let (upper, rhs) = self.system.split_at_mut(upper_len(self.width));
        let x = self.x;
        x.copy_from_slice(rhs);
        let inverse = &mut self.scratch[..self.width];
        let blocks = self.width / LANES;
        let mut failed = None;
        for block in 0..blocks {
            subtract_above::<V>(self.width, upper, block);
            let here = factor_block::<V>(
                self.width,
                upper,
                block,
                &mut inverse[block * LANES..][..LANES],
            );
            failed = failed.or(here);
        }
        for block in 0..blocks {
            forward::<V>(self.width, upper, inverse, block, x);
        }
        for block in (0..blocks).rev() {
            backward::<V>(self.width, upper, inverse, block, x);
        }
        failed
    }
}

/// The rows of a block, from its diagonal on, and their length.
#[inline(always)]
fn block_rows(width: usize, upper: &[f32], block: usize) -> (&[f32], usize) {
    let columns = width - block * LANES;
    (
        &upper[block_start(width, block)..][..LANES * columns],
        columns,
    )
}

/// a_ij −= Σ_m u_mi u_mj over all rows m above the block, for the 16 rows i of the block.
#[inline(always)]
fn subtract_above<V: Vector>(width: usize, upper: &mut [f32], block: usize) {
    let (above, rest) = upper.split_at_mut(block_start(width, block));
    let columns = width - block * LANES;
    let out = &mut rest[..LANES * columns];
    if V::WIDE {
        subtract_tiles::<V, 8, 2>(width, above, block, out, columns);
    } else {
        subtract_tiles::<V, 4, 1>(width, above, block, out, columns);
    }
}

#[inline(always)]
fn subtract_tiles<V: Vector, const R: usize, const C: usize>(
    width: usize,
    above: &[f32],
    block: usize,
    out: &mut [f32],
    columns: usize,
) {
    for row in (0..LANES).step_by(R) {
        let mut column = 0;
        while column < columns {
            if column + C * LANES <= columns {
                subtract_tile::<V, R, C>(width, above, block, row, column, out);
                column += C * LANES;
            } else {
                subtract_tile::<V, R, 1>(width, above, block, row, column, out);
                column += LANES;
            }
        }
    }
}

/// R × 16 C entries of a block row, from (row, column) of it on.
#[inline(always)]
fn subtract_tile<V: Vector, const R: usize, const C: usize>(
    width: usize,
    above: &[f32],
    block: usize,
    row: usize,
    column: usize,
    out: &mut [f32],
) {
    let columns = width - block * LANES;
    assert!(row + R <= LANES && column + C * LANES <= columns && out.len() == LANES * columns);
    let out = out[row * columns + column..].as_mut_ptr();
    let mut sums = [[V::splat(0.0); C]; R];
    for t in 0..R {
        for c in 0..C {
            // SAFETY: row + t < 16 and the 16 columns lie inside the row, as asserted.
            sums[t][c] = unsafe { V::load(out.add(t * columns + c * LANES)) };
        }
    }
    for earlier in 0..block {
        let (rows, length) = block_rows(width, above, earlier);
        // Column `block * 16` of the matrix stands here in the earlier block's rows.
        let shift = (block - earlier) * LANES;
        debug_assert_eq!(length, columns + shift);
        for k in 0..LANES {
            // SAFETY: row k of 16, and columns shift .. shift + columns of its length.
            let line = unsafe { rows.as_ptr().add(k * length + shift) };
            let mut y = [V::splat(0.0); C];
            for c in 0..C {
                // SAFETY: as above.
                y[c] = unsafe { V::load(line.add(column + c * LANES)) };
            }
            for t in 0..R {
                // SAFETY: as above; row + t < 16 <= columns.
                let factor = V::splat(unsafe { *line.add(row + t) });
                for c in 0..C {
                    sums[t][c] = factor.fnma(y[c], sums[t][c]);
                }
            }
        }
    }
    for t in 0..R {
        for c in 0..C {
            // SAFETY: as for the loads.
            unsafe { sums[t][c].store(out.add(t * columns + c * LANES)) };
        }
    }
}

/// The 16 × 16 square on the diagonal, then the columns behind it by strips of 16.
#[inline(always)]
fn factor_block<V: Vector>(
    width: usize,
    upper: &mut [f32],
    block: usize,
    inverse: &mut [f32],
) -> Option<usize> {
    let columns = width - block * LANES;
    let rows = &mut upper[block_start(width, block)..][..LANES * columns];
    let mut failed = None;
    let mut square = [[0.0_f32; LANES]; LANES];
    for k in 0..LANES {
        square[k].copy_from_slice(&rows[k * columns..][..LANES]);
    }
    for k in 0..LANES {
        let pivot = square[k][k];
        if !is_sound(pivot) && failed.is_none() {
            failed = Some(block * LANES + k);
        }
        inverse[k] = 1.0 / pivot.sqrt();
        // SAFETY: rows of the square hold 16 floats.
        let row = unsafe { V::load(square[k].as_ptr()) }.mul(V::splat(inverse[k]));
        // SAFETY: as above.
        unsafe { row.store(square[k].as_mut_ptr()) };
        for i in k + 1..LANES {
            let factor = V::splat(square[k][i]);
            // SAFETY: as above.
            let rest = factor.fnma(row, unsafe { V::load(square[i].as_ptr()) });
            // SAFETY: as above.
            unsafe { rest.store(square[i].as_mut_ptr()) };
        }
    }
    for k in 0..LANES {
        rows[k * columns..][..LANES].copy_from_slice(&square[k]);
    }
    for column in (LANES..columns).step_by(LANES) {
        // SAFETY: 16 rows of `columns` floats, `column + 16 <= columns`.
        let line = |k: usize| unsafe { V::load(rows.as_ptr().add(k * columns + column)) };
        let mut strip: [V; LANES] = std::array::from_fn(line);
        for k in 0..LANES {
            strip[k] = strip[k].mul(V::splat(inverse[k]));
            for i in k + 1..LANES {
                strip[i] = V::splat(square[k][i]).fnma(strip[k], strip[i]);
            }
        }
        for k in 0..LANES {
            // SAFETY: as for the loads.
            unsafe { strip[k].store(rows.as_mut_ptr().add(k * columns + column)) };
        }
    }
    failed
}

/// Uᵀ y = b for the 16 entries of a block.
#[inline(always)]
fn forward<V: Vector>(width: usize, upper: &[f32], inverse: &[f32], block: usize, x: &mut [f32]) {
    let first = block * LANES;
    // SAFETY: `x` has `width` floats.
    let mut sum = unsafe { V::load(x[first..first + LANES].as_ptr()) };
    for earlier in 0..=block {
        let (rows, length) = block_rows(width, upper, earlier);
        let shift = (block - earlier) * LANES;
        for k in 0..LANES {
            let m = earlier * LANES + k;
            if earlier == block {
                x[m] = sum.lanes()[k] * inverse[m];
            }
            // SAFETY: the slice has 16 floats.
            let row = unsafe { V::load(rows[k * length + shift..][..LANES].as_ptr()) };
            sum = V::splat(x[m]).fnma(row, sum);
        }
    }
}

/// U x = y for the 16 entries of a block.
#[inline(always)]
fn backward<V: Vector>(width: usize, upper: &[f32], inverse: &[f32], block: usize, x: &mut [f32]) {
    let first = block * LANES;
    let (rows, columns) = block_rows(width, upper, block);
    let (here, behind) = x[first..].split_at_mut(LANES);
    for k in 0..LANES {
        let mut sum = V::splat(0.0);
        let line = rows[k * columns + LANES..(k + 1) * columns].chunks_exact(LANES);
        for (u, x) in line.zip(behind.chunks_exact(LANES)) {
            // SAFETY: both chunks hold 16 floats.
            sum = unsafe { V::load(u.as_ptr()).fma(V::load(x.as_ptr()), sum) };
        }
        here[k] -= sum.sum();
    }
    for j in (0..LANES).rev() {
        here[j] *= inverse[first + j];
        for k in 0..j {
            here[k] = (-rows[k * columns + j]).mul_add(here[j], here[k]);
        }
    }
}
