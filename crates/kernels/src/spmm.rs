//! Sparse matrix times tall matrix: each line gathers the rows that its interactions name and adds them up.
//!
//! The bound is what is gathered: 4 · width bytes an interaction, out of the third-level cache or from memory. So a line's
//! sums stay in registers, the row of a later interaction is asked for while an earlier one is added, whatever line it is
//! of, and interactions of one value for all read no values. Scales of columns belong into the gathered rows, which are fewer
//! than interactions; those of lines into what becomes of the sums.
#![allow(unsafe_code)]

use crate::rows::Rows;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};
use std::ops::Range;

/// Interactions of a line that are summed in f32, by position in it; the caller adds such chunks in f64.
pub const LINE: usize = 1_024;

/// What the rows of interactions are multiplied by.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// One number for all. To multiply by 1 changes no bit and costs nothing here.
    All(f32),
    /// One each.
    Each(&'a [f32]),
}

/// `sums_i` += Σ a x over the interactions at the positions `bounds[i] .. bounds[i + 1]`, in their order: x the row that
/// `ids` names, a the weight. Lines may be cut anywhere, as what is there is added to.
///
/// `ids` may reach beyond the last line: what follows is prefetched.
///
/// # Panics
/// Where the bounds fall or reach beyond the ids, lengths disagree, or an id has no row.
pub fn spmm(
    simd: Simd,
    rows: Rows<'_>,
    ids: &[u32],
    weights: Weights<'_>,
    bounds: &[usize],
    sums: &mut [f32],
) {
    let width = rows.width();
    assert!(width <= WIDTH_MAX, "width {width} is above {WIDTH_MAX}");
    assert_eq!(
        sums.len(),
        bounds.len().saturating_sub(1) * width,
        "a sum for each line"
    );
    assert!(bounds.is_sorted(), "bounds rise");
    assert!(
        bounds.last().is_none_or(|&last| last <= ids.len()),
        "the last line ends with the ids"
    );
    if let Weights::Each(weights) = weights {
        assert_eq!(weights.len(), ids.len(), "a weight for each id");
    }
    simd.run(Spmm {
        rows,
        ids,
        weights,
        bounds,
        sums,
    });
}

struct Spmm<'a> {
    rows: Rows<'a>,
    ids: &'a [u32],
    weights: Weights<'a>,
    bounds: &'a [usize],
    sums: &'a mut [f32],
}

impl Kernel for Spmm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.weights {
            Weights::All(weight) => lines::<V, _>(self, Same(weight)),
            Weights::Each(weights) => lines::<V, _>(self, Each(weights)),
        }
    }
}

/// The weight of an interaction, in all lanes.
trait Weight: Copy {
    /// # Safety
    /// There is an interaction at the position.
    unsafe fn at<V: Vector>(self, position: usize) -> V;
}

#[derive(Clone, Copy)]
struct Same(f32);

impl Weight for Same {
    #[inline(always)]
    unsafe fn at<V: Vector>(self, _position: usize) -> V {
        V::splat(self.0)
    }
}

#[derive(Clone, Copy)]
struct Each<'a>(&'a [f32]);

impl Weight for Each<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector>(self, position: usize) -> V {
        // SAFETY: the caller's promise, and there is a weight for each interaction.
        V::splat(unsafe { *self.0.get_unchecked(position) })
    }
}

#[inline(always)]
fn lines<V: Vector, W: Weight>(it: Spmm<'_>, weight: W) {
    let width = it.rows.width();
    let lines = it.bounds.windows(2).zip(it.sums.chunks_exact_mut(width));
    for (ends, sums) in lines {
        let mut line = Line {
            rows: it.rows,
            ids: it.ids,
            weight,
            range: ends[0]..ends[1],
            column: 0,
            sums,
        };
        if V::WIDE {
            line.strips::<V, 16>();
            line.strips::<V, 8>();
        }
        line.strips::<V, 4>();
        line.strips::<V, 2>();
        line.strips::<V, 1>();
    }
}

/// A line of which the columns before `column` are done.
struct Line<'a, W> {
    rows: Rows<'a>,
    ids: &'a [u32],
    weight: W,
    range: Range<usize>,
    column: usize,
    sums: &'a mut [f32],
}

impl<W: Weight> Line<'_, W> {
    /// All strips of 16 C columns that are left.
    #[inline(always)]
    fn strips<V: Vector, const C: usize>(&mut self) {
        while self.column + C * LANES <= self.rows.width() {
            self.strip::<V, C>();
            self.column += C * LANES;
        }
    }

    /// 16 C sums in registers.
    #[inline(always)]
    fn strip<V: Vector, const C: usize>(&mut self) {
        let column = self.column;
        assert!(column + C * LANES <= self.rows.width() && self.sums.len() == self.rows.width());
        assert!(self.range.end <= self.ids.len());
        let out = self.sums[column..].as_mut_ptr();
        let mut sums = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: the sums have 16 C floats from `column` on.
            sums[c] = unsafe { V::load(out.add(c * LANES)) };
        }
        for position in self.range.clone() {
            self.rows.bring::<V>(self.ids, position, column, C);
            // SAFETY: the range ends with the ids, and the bounds were checked against the weights.
            let (id, weight) = unsafe {
                (
                    *self.ids.get_unchecked(position),
                    self.weight.at::<V>(position),
                )
            };
            let row = self.rows.row(id).as_ptr();
            for c in 0..C {
                // SAFETY: a row has 16 C floats from `column` on.
                let x = unsafe { V::load(row.add(column + c * LANES)) };
                sums[c] = weight.fma(x, sums[c]);
            }
        }
        for c in 0..C {
            // SAFETY: as above.
            unsafe { sums[c].store(out.add(c * LANES)) };
        }
    }
}
