//! One sweep of block coordinate descent on a row's panel: 16 columns at a time are solved exactly, the others held
//! (Rendle, Krichene, Zhang, Koren, *iALS++: speeding up matrix factorization with subspace optimization*, 2021).
//!
//! **Order.** Lines are added in f32 over 256 of them, by position, and these sums in f32; the blocks follow each other.
#![allow(unsafe_code)]

use crate::cg::Equations;
use crate::normal::{system_len, upper_len};
use crate::panel::GROUP;
use crate::simd::{Kernel, Simd};
use crate::tile::{Nothing, add_outer};
use crate::vector::Vector;
use crate::{CHUNK, LANES, solve, solve_scratch};

/// Columns that are solved together.
const BLOCK: usize = LANES;

/// Floats of scratch that [`subspace`] needs for so many lines.
pub const fn subspace_scratch(width: usize, lines: usize) -> usize {
    lines + width + 2 * system_len(BLOCK) + solve_scratch(BLOCK)
}

/// Improves x by one sweep over all columns.
///
/// Returns the first column whose pivot is not a positive number; x then means nothing.
///
/// # Panics
/// Where lengths disagree or the scratch is short.
pub fn subspace(
    simd: Simd,
    equations: Equations<'_>,
    x: &mut [f32],
    scratch: &mut [f32],
) -> Option<usize> {
    equations.check();
    let width = equations.rhs.len();
    let lines = equations.panel.len() / width;
    assert_eq!(x.len(), width, "a solution of the width");
    assert!(
        scratch.len() >= subspace_scratch(width, lines),
        "the scratch is short"
    );
    let (scores, scratch) = scratch.split_at_mut(lines);
    let (common, scratch) = scratch.split_at_mut(width);
    let (system, scratch) = scratch.split_at_mut(system_len(BLOCK));
    let (part, scratch) = scratch.split_at_mut(system_len(BLOCK));
    crate::scores(simd, equations.panel, x, scores);
    for column in (0..width).step_by(BLOCK) {
        simd.run(Form {
            equations,
            x,
            scores,
            column,
            common,
            part,
            system,
        });
        let mut step = [0.0; BLOCK];
        if let Some(failed) = solve(simd, BLOCK, system, &mut step, scratch) {
            return Some(column + failed.pivot);
        }
        simd.run(Move {
            equations,
            step: &step,
            x,
            scores,
            column,
        });
    }
    None
}

/// The 16 × 16 system of a block of columns, its right-hand side the residual.
struct Form<'a> {
    equations: Equations<'a>,
    x: &'a [f32],
    scores: &'a [f32],
    column: usize,
    common: &'a mut [f32],
    part: &'a mut [f32],
    system: &'a mut [f32],
}

impl Kernel for Form<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (it, column, width) = (self.equations, self.column, self.x.len());
        let (upper, rhs) = self.system.split_at_mut(upper_len(BLOCK));
        it.common_square(column, upper);
        self.common.fill(0.0);
        it.add_common::<V>(self.x, self.common);
        for (k, rhs) in rhs.iter_mut().enumerate() {
            *rhs = it.rhs[column + k] - self.common[column + k];
        }
        let (part_upper, part_rhs) = self.part.split_at_mut(upper_len(BLOCK));
        let lines = it.panel.chunks(CHUNK * width);
        for (lines, scores) in lines.zip(self.scores.chunks(CHUNK)) {
            part_upper.fill(0.0);
            let from = lines[column..].as_ptr();
            let out = part_upper.as_mut_ptr();
            // SAFETY: each of the lines has 16 floats from `column` on, `width` apart; `out` is 16 rows of 16.
            unsafe {
                if V::WIDE {
                    add_outer::<V, 16, 1, false>(
                        &mut Nothing,
                        scores.len(),
                        width,
                        from,
                        from,
                        BLOCK,
                        out,
                    );
                } else {
                    for row in (0..BLOCK).step_by(4) {
                        let (x, out) = (from.add(row), out.add(row * BLOCK));
                        add_outer::<V, 4, 1, false>(
                            &mut Nothing,
                            scores.len(),
                            width,
                            x,
                            from,
                            BLOCK,
                            out,
                        );
                    }
                }
            }
            let mut sum = V::splat(0.0);
            for (line, &score) in lines.chunks_exact(width).zip(scores) {
                let line = &line[column..][..BLOCK];
                // SAFETY: the slice holds 16 floats.
                sum = V::splat(score).fma(unsafe { V::load(line.as_ptr()) }, sum);
            }
            // SAFETY: a right-hand side of 16 floats.
            unsafe { sum.store(part_rhs.as_mut_ptr()) };
            for (sum, part) in upper.iter_mut().zip(&*part_upper) {
                *sum += part;
            }
            for (sum, part) in rhs.iter_mut().zip(&*part_rhs) {
                *sum -= part;
            }
        }
    }
}

/// Moves a block of columns, and with it the lines' products.
struct Move<'a> {
    equations: Equations<'a>,
    step: &'a [f32],
    x: &'a mut [f32],
    scores: &'a mut [f32],
    column: usize,
}

impl Kernel for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let width = self.x.len();
        let here = &mut self.x[self.column..][..BLOCK];
        for (x, step) in here.iter_mut().zip(self.step) {
            *x += step;
        }
        // SAFETY: a step of 16 floats.
        let step = unsafe { V::load(self.step[..BLOCK].as_ptr()) };
        let groups = self.equations.panel.chunks_exact(GROUP * width);
        for (group, scores) in groups.zip(self.scores.chunks_exact_mut(GROUP)) {
            let mut products = [V::splat(0.0); GROUP];
            for (t, product) in products.iter_mut().enumerate() {
                let line = &group[t * width + self.column..][..BLOCK];
                // SAFETY: the slice holds 16 floats.
                *product = unsafe { V::load(line.as_ptr()) }.mul(step);
            }
            for (score, sum) in scores.iter_mut().zip(V::sums(products)) {
                *score += sum.first();
            }
        }
    }
}
