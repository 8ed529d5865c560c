//! Cholesky A = Uᵀ U on systems of normal equations, with the two triangular solves.
//!
//! Two forms give the same bits, since every entry is one chain in the same order: a_ij − Σ_m u_mi u_mj with m
//! rising, times 1 / u_ii; forward likewise; backward y_k minus the 16-lane dot product over the blocks of 16 behind
//! the diagonal block, then minus u_kj x_j inside it with j falling. The *batch* form puts 16 systems side by side in
//! the lanes: no triangle is wasted and no lane waits for a pivot, which pays while 16 triangles stay in the
//! second-level cache. The *single* form works on one system in blocks of 16 rows.

mod batch;
mod single;

use crate::normal::system_len;
use crate::simd::Simd;
use crate::{LANES, WIDTH_MAX};

/// The widest system that is solved 16 at a time.
const BATCH_WIDTH_MAX: usize = 128;

/// The fewest systems that are worth 16 lanes.
const BATCH_MIN: usize = 5;

/// A matrix is not positive definite, or not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedPivot {
    /// The first system at fault.
    pub system: usize,
    /// Its first pivot that is not a positive number: a row of the matrix.
    pub pivot: usize,
}

/// How many systems are best handed to [`solve`] at a time.
pub const fn batch_len(width: usize) -> usize {
    if width <= BATCH_WIDTH_MAX { LANES } else { 1 }
}

/// Floats of scratch that [`solve`] needs.
pub const fn solve_scratch(width: usize) -> usize {
    let batch = if width <= BATCH_WIDTH_MAX {
        batch::scratch_len(width)
    } else {
        0
    };
    let single = single::scratch_len(width);
    if batch > single { batch } else { single }
}

/// Whether [`solve`] leaves so many systems as they were: it works on a copy where it puts them side by side.
pub const fn keeps_systems(width: usize, count: usize) -> bool {
    let last = count % LANES;
    width <= BATCH_WIDTH_MAX && (last == 0 || last >= BATCH_MIN)
}

/// Solves consecutive systems of one width. Any number at a time, with the same bits; [`batch_len`] of them is fastest.
/// The systems are spent, unless [`keeps_systems`] says otherwise.
///
/// Returns the first failure; the systems after it are solved nevertheless, its own solution means nothing.
///
/// # Panics
/// Where `systems` is no whole number of systems, `solutions` of another number or `scratch` short.
pub fn solve(
    simd: Simd,
    width: usize,
    systems: &mut [f32],
    solutions: &mut [f32],
    scratch: &mut [f32],
) -> Option<FailedPivot> {
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    let length = system_len(width);
    assert!(systems.len().is_multiple_of(length), "whole systems");
    assert_eq!(
        solutions.len() / width,
        systems.len() / length,
        "a solution for each system"
    );
    assert!(
        scratch.len() >= solve_scratch(width),
        "the scratch is short"
    );
    let mut failed = None;
    let some = systems.chunks_mut(LANES * length);
    for (i, (some, x)) in some.zip(solutions.chunks_mut(LANES * width)).enumerate() {
        let count = some.len() / length;
        let here = if keeps_systems(width, count) {
            simd.run(batch::Solve {
                width,
                systems: some,
                solutions: x,
                scratch,
            })
        } else {
            let each = some.chunks_exact_mut(length).zip(x.chunks_exact_mut(width));
            each.enumerate().fold(None, |first, (system, (one, x))| {
                let pivot = simd.run(single::Solve {
                    width,
                    system: one,
                    x,
                    scratch,
                });
                first.or(pivot.map(|pivot| FailedPivot { system, pivot }))
            })
        };
        failed = failed.or(here.map(|it| FailedPivot {
            system: i * LANES + it.system,
            ..it
        }));
    }
    failed
}
