//! Sixteen systems side by side, one in each lane.
//!
//! The triangle is kept by groups of four columns: group g holds rows 0 .. 4 g + 4, four vectors each, so that the
//! chain over m walks through memory in order.
#![allow(unsafe_code)]

use super::FailedPivot;
use crate::normal::{system_len, upper_index, upper_len};
use crate::simd::Kernel;
use crate::vector::Vector;
use crate::{LANES, is_sound};

/// Columns of a group, and the side of a register tile.
const SIDE: usize = 4;

/// Where group g begins, in vectors: each group above has four vectors for each of its rows.
const fn group_start(group: usize) -> usize {
    SIDE * SIDE * group * (group + 1) / 2
}

/// Floats of scratch: the triangle, the right-hand sides, the reciprocals of the diagonal, and room to align.
pub(super) const fn scratch_len(width: usize) -> usize {
    (group_start(width / SIDE) + 2 * width + 1) * LANES
}

/// Factor and solve up to 16 systems; gives the first failure.
pub(super) struct Solve<'a> {
    pub width: usize,
    pub systems: &'a [f32],
    pub solutions: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

impl Kernel for Solve<'_> {
    type Output = Option<FailedPivot>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Option<FailedPivot> {
        let Solve {
            width,
            systems,
            solutions,
            scratch,
        } = self;
        let count = systems.len() / system_len(width);
        assert!((1..=LANES).contains(&count) && width.is_multiple_of(LANES));
        let start = scratch.as_ptr().align_offset(64).min(LANES);
        let (upper, rest) = scratch[start..].split_at_mut(group_start(width / SIDE) * LANES);
        let (x, rest) = rest.split_at_mut(width * LANES);
        let mut batch = Batch {
            width,
            upper,
            x,
            inverse: &mut rest[..width * LANES],
        };
        batch.load::<V>(systems, count);
        let mut pivots = [None; LANES];
        for group in 0..width / SIDE {
            batch.factor_group::<V>(group, &mut pivots);
        }
        for block in (0..width / LANES).rev() {
            batch.backward::<V>(block);
        }
        batch.store::<V>(solutions);
        (0..count).find_map(|system| pivots[system].map(|pivot| FailedPivot { system, pivot }))
    }
}

struct Batch<'a> {
    width: usize,
    upper: &'a mut [f32],
    x: &'a mut [f32],
    inverse: &'a mut [f32],
}

impl Batch<'_> {
    /// Sixteen neighbours of each system become sixteen vectors. Lanes without a system repeat the last one.
    #[inline(always)]
    fn load<V: Vector>(&mut self, systems: &[f32], count: usize) {
        for row in 0..self.width {
            for column in (row / LANES * LANES..self.width).step_by(LANES) {
                let square = gathered::<V>(
                    self.width,
                    systems,
                    count,
                    upper_index(self.width, row, column),
                );
                for side in 0..LANES / SIDE {
                    let group = column / SIDE + side;
                    if row < SIDE * (group + 1) {
                        let at = (group_start(group) + row * SIDE) * LANES;
                        store_all(&square[side * SIDE..][..SIDE], &mut self.upper[at..]);
                    }
                }
            }
        }
        for column in (0..self.width).step_by(LANES) {
            let square = gathered::<V>(self.width, systems, count, upper_len(self.width) + column);
            store_all(&square, &mut self.x[column * LANES..]);
        }
    }

    /// The solutions, one after the other.
    #[inline(always)]
    fn store<V: Vector>(&self, solutions: &mut [f32]) {
        for column in (0..self.width).step_by(LANES) {
            let mut square: [V; LANES] = std::array::from_fn(|i| vector(self.x, column + i));
            V::transpose(&mut square);
            for (x, solution) in solutions.chunks_exact_mut(self.width).zip(&square) {
                store_all(std::slice::from_ref(solution), &mut x[column..]);
            }
        }
    }

    /// Four rows of U, and of y where Uᵀ y = b.
    #[inline(always)]
    fn factor_group<V: Vector>(&mut self, group: usize, pivots: &mut [Option<usize>; LANES]) {
        let mut square = self.tile::<V>(group, group);
        let mut inverse = [V::splat(0.0); SIDE];
        for k in 0..SIDE {
            let pivot = square[k][k];
            for (lane, &value) in pivot.lanes().iter().enumerate() {
                if !is_sound(value) && pivots[lane].is_none() {
                    pivots[lane] = Some(group * SIDE + k);
                }
            }
            inverse[k] = V::splat(1.0).div(pivot.sqrt());
            for c in k + 1..SIDE {
                square[k][c] = square[k][c].mul(inverse[k]);
            }
            for i in k + 1..SIDE {
                for c in i..SIDE {
                    square[i][c] = square[k][i].fnma(square[k][c], square[i][c]);
                }
            }
        }
        store_all(&inverse, &mut self.inverse[group * SIDE * LANES..]);
        self.store_tile(group, group, &square);
        for behind in group + 1..self.width / SIDE {
            let mut tile = self.tile::<V>(group, behind);
            for k in 0..SIDE {
                for c in 0..SIDE {
                    tile[k][c] = tile[k][c].mul(inverse[k]);
                }
                for i in k + 1..SIDE {
                    for c in 0..SIDE {
                        tile[i][c] = square[k][i].fnma(tile[k][c], tile[i][c]);
                    }
                }
            }
            self.store_tile(group, behind, &tile);
        }
        self.forward(group, &square, &inverse);
    }

    /// y_i = (b_i − Σ_m u_mi y_m) / u_ii for the four rows of a group.
    #[inline(always)]
    fn forward<V: Vector>(
        &mut self,
        group: usize,
        square: &[[V; SIDE]; SIDE],
        inverse: &[V; SIDE],
    ) {
        let column = &self.upper[group_start(group) * LANES..];
        let mut y: [V; SIDE] = std::array::from_fn(|t| vector(self.x, group * SIDE + t));
        for (m, line) in column
            .chunks_exact(SIDE * LANES)
            .take(group * SIDE)
            .enumerate()
        {
            let earlier = vector::<V>(self.x, m);
            for t in 0..SIDE {
                y[t] = vector::<V>(line, t).fnma(earlier, y[t]);
            }
        }
        for k in 0..SIDE {
            y[k] = y[k].mul(inverse[k]);
            for i in k + 1..SIDE {
                y[i] = square[k][i].fnma(y[k], y[i]);
            }
        }
        store_all(&y, &mut self.x[group * SIDE * LANES..]);
    }

    /// a_ij − Σ_m u_mi u_mj over the rows m above, for the four rows of one group and the four columns of another.
    #[inline(always)]
    fn tile<V: Vector>(&self, group: usize, behind: usize) -> [[V; SIDE]; SIDE] {
        let rows = &self.upper[group_start(group) * LANES..][..group * SIDE * SIDE * LANES];
        let columns =
            &self.upper[group_start(behind) * LANES..][..(group + 1) * SIDE * SIDE * LANES];
        let (columns, own) = columns.split_at(rows.len());
        let mut tile = [[V::splat(0.0); SIDE]; SIDE];
        for k in 0..SIDE {
            for c in 0..SIDE {
                tile[k][c] = vector(own, k * SIDE + c);
            }
        }
        if V::WIDE {
            subtract::<V, 4, 4>(rows, columns, &mut tile);
        } else {
            subtract::<V, 2, 2>(rows, columns, &mut tile);
        }
        tile
    }

    #[inline(always)]
    fn store_tile<V: Vector>(&mut self, group: usize, behind: usize, tile: &[[V; SIDE]; SIDE]) {
        let at = (group_start(behind) + group * SIDE * SIDE) * LANES;
        for (k, row) in tile.iter().enumerate() {
            store_all(row, &mut self.upper[at + k * SIDE * LANES..]);
        }
    }

    /// U x = y for the 16 rows of a block.
    #[inline(always)]
    fn backward<V: Vector>(&mut self, block: usize) {
        let first = block * LANES;
        let u = |k: usize, j: usize| group_start(j / SIDE) + k * SIDE + j % SIDE;
        for k in first..first + LANES {
            let mut sums = [V::splat(0.0); LANES];
            for behind in (first + LANES..self.width).step_by(LANES) {
                for (l, sum) in sums.iter_mut().enumerate() {
                    let j = behind + l;
                    *sum = vector::<V>(self.upper, u(k, j)).fma(vector(self.x, j), *sum);
                }
            }
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    sums[i] = sums[i].add(sums[i + half]);
                }
            }
            let rest = vector::<V>(self.x, k).sub(sums[0]);
            store_all(&[rest], &mut self.x[k * LANES..]);
        }
        for j in (first..first + LANES).rev() {
            let solved = vector::<V>(self.x, j).mul(vector(self.inverse, j));
            store_all(&[solved], &mut self.x[j * LANES..]);
            for k in first..j {
                let rest = vector::<V>(self.upper, u(k, j)).fnma(solved, vector(self.x, k));
                store_all(&[rest], &mut self.x[k * LANES..]);
            }
        }
    }
}

/// tile[t][c] −= Σ_m rows[m][t] · columns[m][c], in register tiles of R × C.
#[inline(always)]
fn subtract<V: Vector, const R: usize, const C: usize>(
    rows: &[f32],
    columns: &[f32],
    tile: &mut [[V; SIDE]; SIDE],
) {
    assert_eq!(rows.len(), columns.len());
    for t0 in (0..SIDE).step_by(R) {
        for c0 in (0..SIDE).step_by(C) {
            let mut sums: [[V; C]; R] =
                std::array::from_fn(|t| std::array::from_fn(|c| tile[t0 + t][c0 + c]));
            for m in 0..rows.len() / (SIDE * LANES) {
                // SAFETY: line m of both slices has 4 · 16 floats.
                unsafe {
                    let (x, y) = (
                        rows.as_ptr().add(m * SIDE * LANES),
                        columns.as_ptr().add(m * SIDE * LANES),
                    );
                    let y: [V; C] = std::array::from_fn(|c| V::load(y.add((c0 + c) * LANES)));
                    for t in 0..R {
                        let x = V::load(x.add((t0 + t) * LANES));
                        for c in 0..C {
                            sums[t][c] = x.fnma(y[c], sums[t][c]);
                        }
                    }
                }
            }
            for t in 0..R {
                for c in 0..C {
                    tile[t0 + t][c0 + c] = sums[t][c];
                }
            }
        }
    }
}

/// Sixteen neighbouring numbers of every system, as one vector per number.
#[inline(always)]
fn gathered<V: Vector>(width: usize, systems: &[f32], count: usize, at: usize) -> [V; LANES] {
    let mut square = [V::splat(0.0); LANES];
    for (lane, vector) in square.iter_mut().enumerate() {
        let from = &systems[lane.min(count - 1) * system_len(width) + at..][..LANES];
        // SAFETY: the slice has 16 floats.
        *vector = unsafe { V::load(from.as_ptr()) };
    }
    V::transpose(&mut square);
    square
}

/// The vector of a given number.
#[inline(always)]
fn vector<V: Vector>(from: &[f32], number: usize) -> V {
    let lanes = &from[number * LANES..][..LANES];
    // SAFETY: the slice has 16 floats.
    unsafe { V::load(lanes.as_ptr()) }
}

/// Consecutive vectors to the head of a slice.
#[inline(always)]
fn store_all<V: Vector>(vectors: &[V], to: &mut [f32]) {
    let to = &mut to[..vectors.len() * LANES];
    for (vector, to) in vectors.iter().zip(to.chunks_exact_mut(LANES)) {
        // SAFETY: the chunk has 16 floats.
        unsafe { vector.store(to.as_mut_ptr()) };
    }
}
