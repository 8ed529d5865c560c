//! The product with a sparse matrix that is known by its columns: one row is added to all rows that a column's interactions name.
//!
//! It is [`crate::spmm`] the other way about, for where few columns count: a batch of users has some thousand products, and only
//! the columns of these are visited. A line is read and written for each interaction, so where most columns count, gathering is
//! cheaper.
#![allow(unsafe_code)]

use crate::simd::{Kernel, Simd};
use crate::spmm::Weights;
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};

/// Interactions between asking for a row and its use.
const AHEAD: usize = 12;

/// Where the rows of a grid's blocks lie in one buffer without gaps: row id = block · 2^`stride_log2` + local.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The place of the first row of each block.
    pub starts: &'a [usize],
    /// Of the grid.
    pub stride_log2: u8,
}

impl Places<'_> {
    #[inline(always)]
    fn of(self, id: u32) -> usize {
        let id = u64::from(id);
        let block = id >> self.stride_log2;
        self.starts[block as usize] + (id - (block << self.stride_log2)) as usize
    }
}

/// Adds a · `row` to the row of `out` that each id names, a its weight, a finite number, in their order. Vectors of zeros are passed
/// over, which changes no bit: where few columns of a row are in use, little is read.
///
/// # Panics
/// Where lengths disagree or an id has no row.
pub fn spread(
    simd: Simd,
    row: &[f32],
    ids: &[u32],
    weights: Weights<'_>,
    places: Places<'_>,
    out: &mut [f32],
) {
    let width = row.len();
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    if let Weights::Each(weights) = weights {
        assert_eq!(weights.len(), ids.len(), "a weight for each id");
    }
    simd.run(Spread {
        row,
        ids,
        weights,
        places,
        out,
    });
}

struct Spread<'a> {
    row: &'a [f32],
    ids: &'a [u32],
    weights: Weights<'a>,
    places: Places<'a>,
    out: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let width = self.row.len();
        for (column, x) in (0..).step_by(LANES).zip(self.row.chunks_exact(LANES)) {
            if x.iter().all(|&x| x == 0.0) {
                continue;
            }
            // SAFETY: the chunk has 16 floats.
            let x = unsafe { V::load(x.as_ptr()) };
            for (position, &id) in self.ids.iter().enumerate() {
                if let Some(place) = self.ids.get(position + AHEAD) {
                    let start = self.places.of(*place).wrapping_mul(width) + column;
                    V::prefetch(self.out.as_ptr().wrapping_add(start));
                }
                let weight = V::splat(match self.weights {
                    Weights::All(weight) => weight,
                    Weights::Each(weights) => weights[position],
                });
                let start = self.places.of(id) * width + column;
                let out = &mut self.out[start..start + LANES];
                // SAFETY: the slice has 16 floats.
                unsafe {
                    let sum = weight.fma(x, V::load(out.as_ptr()));
                    sum.store(out.as_mut_ptr());
                }
            }
        }
    }
}
