//! Normal equations of one row: Σ w z zᵀ and Σ b y z over its interactions, in canonical order.
//!
//! A *system* is one slice of floats: the upper triangle of the matrix by blocks of 16 rows (block row p holds
//! rows 16 p .. 16 p + 16, each with the columns from 16 p on), then the right-hand side. So adding, carrying and
//! reducing systems is plain work on slices, and half a square matrix is neither kept nor sent.
//!
//! **Order.** f32 over a chunk of 256 interactions by position in the row ([`accumulate`], any number of calls),
//! chunks in f64 ([`flush`]) over 65,536, these by an aligned binary tree ([`add`], the caller's order). A row of
//! one chunk skips f64: [`close`] gives the bits that [`flush`] and [`close_long`] would.
#![allow(unsafe_code)]

use crate::LANES;
use crate::panel::{Coming, Interactions, PANEL, Source, pack_block};
use crate::simd::{Kernel, Simd};
use crate::tile::{Ahead, Nothing, add_outer};
use crate::vector::Vector;

/// Interactions of a row that are summed in f32, by position in the row.
pub const CHUNK: usize = 256;

/// Floats of the upper triangle of a width × width matrix by blocks of 16 rows.
pub const fn upper_len(width: usize) -> usize {
    width * (width + LANES) / 2
}

/// Floats of a system: upper triangle and right-hand side.
pub const fn system_len(width: usize) -> usize {
    upper_len(width) + width
}

/// Where entry (row, column) of the upper triangle stands, row <= column (or both in one block of 16).
pub const fn upper_index(width: usize, row: usize, column: usize) -> usize {
    let block = row / LANES;
    block_start(width, block) + (row % LANES) * (width - block * LANES) + column - block * LANES
}

/// Where block row `block` begins: 16 rows of width − 16 q columns for every block row q above.
pub(crate) const fn block_start(width: usize, block: usize) -> usize {
    let above = block * LANES;
    above * width - above * above.saturating_sub(LANES) / 2
}

/// Floats of scratch that [`accumulate`] needs.
pub const fn panel_len(width: usize) -> usize {
    PANEL * width
}

/// What a sum is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Zeros, whatever is there: the first interactions of a chunk. Saves a pass over the system.
    Zeros,
    /// What is there: the interactions that follow.
    Sum,
}

/// system += (Σ w z zᵀ, Σ t z) over `weights.len()` interactions, z the elementwise product of the sources' rows,
/// t = b y the `targets`; onto zeros or what the system holds. Chunks may be cut anywhere.
///
/// The sum uses the panel √w z, so w must not be negative.
///
/// # Panics
/// Where there is no source, widths or lengths disagree, or a row id has no row.
pub fn accumulate(
    simd: Simd,
    sources: &[Source<'_>],
    weights: &[f32],
    targets: &[f32],
    panel: &mut [f32],
    onto: Onto,
    system: &mut [f32],
) {
    let interactions = Interactions {
        width: sources[0].rows.width(),
        sources,
        weights,
        targets,
        first: 0,
        count: weights.len(),
    };
    interactions.check();
    let width = interactions.width;
    assert!(panel.len() >= panel_len(width), "the panel is short");
    assert_eq!(
        system.len(),
        system_len(width),
        "a system of the sources' width"
    );
    simd.run(Accumulate {
        interactions,
        panel,
        onto,
        system,
    });
}

struct Accumulate<'a> {
    interactions: Interactions<'a>,
    panel: &'a mut [f32],
    onto: Onto,
    system: &'a mut [f32],
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (it, panel) = (self.interactions, self.panel);
        let width = it.width;
        let (upper, rhs) = self.system.split_at_mut(upper_len(width));
        let mut fresh = self.onto == Onto::Zeros;
        if fresh {
            rhs.fill(0.0);
            if it.weights.is_empty() {
                upper.fill(0.0);
            }
        }
        for first in (0..it.weights.len()).step_by(PANEL) {
            let count = PANEL.min(it.weights.len() - first);
            pack_block::<V>(Interactions { first, count, ..it }, panel, rhs);
            // While the panel is multiplied, the rows of the next one come nearer.
            let mut coming = Coming::<V>::new(it.sources[0], first + count);
            let panel = &panel[..count * width];
            if std::mem::take(&mut fresh) {
                syrk::<V, true>(&mut coming, width, panel, upper);
            } else {
                syrk::<V, false>(&mut coming, width, panel, upper);
            }
        }
    }
}

/// upper += Σ x xᵀ over the rows of the panel, by bands of rows; onto zeros where `FRESH`.
#[inline(always)]
pub(crate) fn syrk<V: Vector, const FRESH: bool>(
    ahead: &mut impl Ahead,
    width: usize,
    panel: &[f32],
    upper: &mut [f32],
) {
    let terms = panel.len() / width;
    assert!(upper.len() == upper_len(width) && panel.len() == terms * width);
    for block in (0..width).step_by(LANES) {
        let columns = width - block;
        let out = upper[block_start(width, block / LANES)..][..LANES * columns].as_mut_ptr();
        // SAFETY: `out` is the start of 16 rows of `columns` floats, the bands' rows are among the 16, and a panel's
        // row has `columns` floats from column `block` on.
        unsafe {
            let y = panel.as_ptr().add(block);
            if V::WIDE {
                band::<V, 8, 2, FRESH>(ahead, terms, width, columns, 0, y, out);
                band::<V, 8, 2, FRESH>(ahead, terms, width, columns, 8, y, out);
            } else {
                // Of 16 registers of half a vector, 12 hold sums.
                band::<V, 6, 1, FRESH>(ahead, terms, width, columns, 0, y, out);
                band::<V, 6, 1, FRESH>(ahead, terms, width, columns, 6, y, out);
                band::<V, 4, 1, FRESH>(ahead, terms, width, columns, 12, y, out);
            }
        }
    }
}

/// R rows of a block row, from `row` on, in tiles of R × 16 C, the rest in tiles of R × 16.
///
/// # Safety
/// `y` points at `terms` rows of `columns` floats, `width` apart, `out` at 16 rows of `columns` floats, and
/// row + R <= 16 <= `columns`, a multiple of 16.
#[inline(always)]
unsafe fn band<V: Vector, const R: usize, const C: usize, const FRESH: bool>(
    ahead: &mut impl Ahead,
    terms: usize,
    width: usize,
    columns: usize,
    row: usize,
    y: *const f32,
    out: *mut f32,
) {
    let mut column = 0;
    while column < columns {
        // SAFETY: the tile lies inside the block row.
        unsafe {
            let (x, y, out) = (y.add(row), y.add(column), out.add(row * columns + column));
            if column + C * LANES <= columns {
                add_outer::<V, R, C, FRESH>(ahead, terms, width, x, y, columns, out);
                column += C * LANES;
            } else {
                add_outer::<V, R, 1, FRESH>(ahead, terms, width, x, y, columns, out);
                column += LANES;
            }
        }
    }
}

/// sum += Σ v vᵀ over the rows of a block, in f32 over 256 rows at a time and those in f64: the Gram partial of a
/// block of a table. `chunk` is scratch of the length of `sum`.
///
/// # Panics
/// Where `rows` ends inside a row or a length is not that of an upper triangle of the width.
pub fn gram(simd: Simd, width: usize, rows: &[f32], chunk: &mut [f32], sum: &mut [f64]) {
    assert!(
        width > 0 && width.is_multiple_of(LANES) && rows.len().is_multiple_of(width),
        "whole rows"
    );
    assert!(
        chunk.len() == upper_len(width) && sum.len() == chunk.len(),
        "upper triangles of the width"
    );
    for rows in rows.chunks(CHUNK * width) {
        chunk.fill(0.0);
        simd.run(Gram {
            width,
            rows,
            upper: chunk,
        });
        flush(simd, chunk, sum);
    }
}

struct Gram<'a> {
    width: usize,
    rows: &'a [f32],
    upper: &'a mut [f32],
}

impl Kernel for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for panel in self.rows.chunks(PANEL * self.width) {
            syrk::<V, false>(&mut Nothing, self.width, panel, self.upper);
        }
    }
}

/// sum += chunk, number by number, and the chunk is zero again: the end of 256 interactions.
///
/// # Panics
/// Where the lengths differ.
pub fn flush(simd: Simd, chunk: &mut [f32], sum: &mut [f64]) {
    assert_eq!(chunk.len(), sum.len(), "a chunk as long as its sum");
    simd.run(Flush { chunk, sum });
}

struct Flush<'a> {
    chunk: &'a mut [f32],
    sum: &'a mut [f64],
}

impl Kernel for Flush<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (sum, term) in self.sum.iter_mut().zip(self.chunk) {
            *sum += f64::from(*term);
            *term = 0.0;
        }
    }
}

/// sum = chunk, number by number: the end of the first 256 interactions of many, with the bits that [`flush`] gives a sum
/// of zeros.
///
/// # Panics
/// Where the lengths differ.
pub fn begin(simd: Simd, chunk: &[f32], sum: &mut [f64]) {
    assert_eq!(chunk.len(), sum.len(), "a chunk as long as its sum");
    simd.run(Begin { chunk, sum });
}

struct Begin<'a> {
    chunk: &'a [f32],
    sum: &'a mut [f64],
}

impl Kernel for Begin<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (sum, term) in self.sum.iter_mut().zip(self.chunk) {
            // Zero and minus zero are zero.
            *sum = 0.0 + f64::from(*term);
        }
    }
}

/// sum += term, number by number: one node of a reduction tree.
///
/// # Panics
/// Where the lengths differ.
pub fn add(simd: Simd, sum: &mut [f64], term: &[f64]) {
    assert_eq!(sum.len(), term.len(), "two sums of one length");
    simd.run(Add { sum, term });
}

struct Add<'a> {
    sum: &'a mut [f64],
    term: &'a [f64],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (sum, term) in self.sum.iter_mut().zip(self.term) {
            *sum += term;
        }
    }
}

/// What every row adds to its sums: α0 G and the like.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The upper triangle. On the diagonal of the padding (ranks up to the width) it must be positive, one for
    /// instance, unless the ridge is; then the padding of the solution is exactly zero.
    pub upper: &'a [f32],
    /// λ_i, added to the diagonal first.
    pub ridge: f32,
    /// Added to the right-hand side.
    pub rhs: &'a [f32],
}

/// out = base + system for a row of at most one chunk: matrix and right-hand side, ready for the solver.
///
/// # Panics
/// Where a length is not that of the width.
pub fn close(simd: Simd, base: Base<'_>, system: &[f32], out: &mut [f32]) {
    base.check(system.len(), out.len());
    simd.run(Close {
        base,
        out,
        sum: |i: usize| system[i],
    });
}

/// out = base + fl32(sum) for a row of several chunks.
///
/// # Panics
/// Where a length is not that of the width.
pub fn close_long(simd: Simd, base: Base<'_>, sum: &[f64], out: &mut [f32]) {
    base.check(sum.len(), out.len());
    simd.run(Close {
        base,
        out,
        sum: |i: usize| sum[i] as f32,
    });
}

impl Base<'_> {
    fn check(&self, system: usize, out: usize) {
        let width = self.rhs.len();
        assert!(
            width > 0 && width.is_multiple_of(LANES),
            "width {width} is no multiple of 16"
        );
        assert_eq!(
            self.upper.len(),
            upper_len(width),
            "the base's upper triangle"
        );
        assert!(
            system == system_len(width) && out == system,
            "systems of the base's width"
        );
    }
}

struct Close<'a, F> {
    base: Base<'a>,
    out: &'a mut [f32],
    sum: F,
}

impl<F: Fn(usize) -> f32> Kernel for Close<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Close { base, out, sum } = self;
        let width = base.rhs.len();
        let (upper, rhs) = out.split_at_mut(base.upper.len());
        for (i, out) in upper.iter_mut().enumerate() {
            *out = base.upper[i] + sum(i);
        }
        for k in 0..width {
            let i = upper_index(width, k, k);
            upper[i] = (base.upper[i] + base.ridge) + sum(i);
            rhs[k] = base.rhs[k] + sum(base.upper.len() + k);
        }
    }
}
