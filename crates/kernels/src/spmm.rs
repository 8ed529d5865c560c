//! Sparse matrix times tall matrix: each line gathers the rows that its interactions name and adds them up.
//!
//! The bound is what is gathered: 4 · width bytes an interaction, out of the third-level cache or from memory. So a line's
//! sums stay in registers, the row of a later interaction is asked for while an earlier one is added, whatever line it is
//! of, and interactions of one value for all read no values. Scales of columns belong into the gathered rows, which are fewer
//! than interactions; those of lines into what becomes of the sums.
#![allow(unsafe_code)]

use crate::coming::{Coming, RowId};
use crate::panel::Source;
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

/// Which interactions belong together, and where their sum is.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Line i has the positions `bounds[i] .. bounds[i + 1]`.
    pub bounds: &'a [u32],
    /// The row of sums that each adds to; the i-th where there is none.
    pub rows: Option<&'a [u32]>,
}

/// A sum of each line += Σ a x over its interactions, in their order: x the row that `ids` names, counted from `base`, a the weight.
/// Lines may be cut anywhere, as what is there is added to.
///
/// `ids` may reach beyond the last line: what follows is prefetched.
///
/// # Panics
/// Where the bounds fall or reach beyond the ids, lengths disagree, or an id has no row.
pub fn spmm<I: RowId>(
    simd: Simd,
    rows: Rows<'_>,
    (base, ids): (u32, &[I]),
    weights: Weights<'_>,
    lines: Lines<'_>,
    sums: &mut [f32],
) {
    let (width, bounds) = (rows.width(), lines.bounds);
    assert!(width <= WIDTH_MAX, "width {width} is above {WIDTH_MAX}");
    let number = bounds.len().saturating_sub(1);
    match lines.rows {
        None => assert_eq!(sums.len(), number * width, "a sum for each line"),
        Some(rows) => assert_eq!(rows.len(), number, "a row of sums for each line"),
    }
    assert!(bounds.is_sorted(), "bounds rise");
    assert!(
        bounds.last().is_none_or(|&last| last as usize <= ids.len()),
        "the last line ends with the ids"
    );
    if let Weights::Each(weights) = weights {
        assert_eq!(weights.len(), ids.len(), "a weight for each id");
    }
    simd.run(Spmm {
        rows,
        base,
        ids,
        weights,
        lines,
        sums,
    });
}

/// A sum of each line += Σ a (x ∘ z) over its interactions, in their order: a the weight, x the row of the first source, z that of the
/// second, or x ∘ z that of the second and the third; or none. The ids of the first may reach beyond the last line.
///
/// # Panics
/// Where there are no or more than three sources, rows of the second or third lie in several blocks, the bounds fall or reach beyond the
/// weights, lengths disagree, or an id has no row.
pub fn spmm_times(
    simd: Simd,
    sources: &[Source<'_>],
    weights: &[f32],
    bounds: &[u32],
    sums: &mut [f32],
) {
    let (first, times) = sources.split_first().expect("a source");
    let (rows, count) = (first.rows, weights.len());
    let (width, number) = (rows.width(), bounds.len().saturating_sub(1));
    assert!(width <= WIDTH_MAX, "width {width} is above {WIDTH_MAX}");
    assert_eq!(sums.len(), number * width, "a sum for each line");
    assert!(bounds.is_sorted(), "bounds rise");
    assert!(
        bounds.last().is_none_or(|&last| last as usize <= count),
        "the last line ends with the weights"
    );
    for source in sources {
        assert_eq!(source.rows.width(), width, "sources of one width");
        assert!(source.ids.len() >= count, "an id for each weight");
    }
    simd.run(SpmmTimes {
        rows,
        ids: first.ids,
        weights,
        times,
        bounds,
        sums,
    });
}

struct Spmm<'a, I> {
    rows: Rows<'a>,
    base: u32,
    ids: &'a [I],
    weights: Weights<'a>,
    lines: Lines<'a>,
    sums: &'a mut [f32],
}

impl<I: RowId> Kernel for Spmm<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let all = All {
            rows: self.rows,
            base: self.base,
            ids: self.ids,
            lines: self.lines,
            sums: self.sums,
        };
        match self.weights {
            Weights::All(weight) => lines::<V, _, _>(all, Same(weight)),
            Weights::Each(weights) => lines::<V, _, _>(all, Each(weights)),
        }
    }
}

struct SpmmTimes<'a> {
    rows: Rows<'a>,
    ids: &'a [u32],
    weights: &'a [f32],
    times: &'a [Source<'a>],
    bounds: &'a [u32],
    sums: &'a mut [f32],
}

impl Kernel for SpmmTimes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (weights, width) = (self.weights, self.rows.width());
        let table = |source: Source<'_>| {
            let table = source.rows.table();
            let table = table.expect("rows of the second and third source lie in one block");
            let rows = (table.len() / width) as u32;
            let ids = &source.ids[..weights.len()];
            let last = ids.iter().fold(0, |last, &id| last.max(id));
            assert!(ids.is_empty() || last < rows, "no block holds the row");
            (table.as_ptr(), source.ids.as_ptr())
        };
        let all = All {
            rows: self.rows,
            base: 0,
            ids: self.ids,
            lines: Lines {
                bounds: self.bounds,
                rows: None,
            },
            sums: self.sums,
        };
        match *self.times {
            [] => lines::<V, _, _>(all, Each(weights)),
            [one] => {
                let of = [table(one)];
                lines::<V, _, _>(all, Times { weights, of });
            }
            [one, other] => {
                let of = [table(one), table(other)];
                lines::<V, _, _>(all, Times { weights, of });
            }
            _ => panic!("at most three sources"),
        }
    }
}

/// All lines, but for what their rows are multiplied by.
struct All<'a, I> {
    rows: Rows<'a>,
    base: u32,
    ids: &'a [I],
    lines: Lines<'a>,
    sums: &'a mut [f32],
}

/// What the row of an interaction is multiplied by.
trait Weight: Copy {
    type At<V: Vector>: Add<V>;

    /// # Safety
    /// There is an interaction at the position, and rows have `width` floats.
    unsafe fn at<V: Vector>(self, position: usize, width: usize) -> Self::At<V>;
}

/// The same of one interaction.
trait Add<V>: Copy {
    /// The sum with 16 numbers of its row from a column on.
    ///
    /// # Safety
    /// A row has 16 columns there.
    unsafe fn add(self, column: usize, x: V, sum: V) -> V;
}

/// One number in all lanes.
#[derive(Clone, Copy)]
struct Number<V>(V);

impl<V: Vector> Add<V> for Number<V> {
    #[inline(always)]
    unsafe fn add(self, _column: usize, x: V, sum: V) -> V {
        self.0.fma(x, sum)
    }
}

#[derive(Clone, Copy)]
struct Same(f32);

impl Weight for Same {
    type At<V: Vector> = Number<V>;

    #[inline(always)]
    unsafe fn at<V: Vector>(self, _position: usize, _width: usize) -> Number<V> {
        Number(V::splat(self.0))
    }
}

#[derive(Clone, Copy)]
struct Each<'a>(&'a [f32]);

impl Weight for Each<'_> {
    type At<V: Vector> = Number<V>;

    #[inline(always)]
    unsafe fn at<V: Vector>(self, position: usize, _width: usize) -> Number<V> {
        // SAFETY: the caller's promise, and there is a weight for each interaction.
        Number(V::splat(unsafe { *self.0.get_unchecked(position) }))
    }
}

/// A number and rows of small tables: where each begins, and its ids, as many as there are weights, all of which have rows.
#[derive(Clone, Copy)]
struct Times<'a, const N: usize> {
    weights: &'a [f32],
    of: [(*const f32, *const u32); N],
}

#[derive(Clone, Copy)]
struct NumberTimes<V, const N: usize> {
    number: V,
    rows: [*const f32; N],
}

impl<V: Vector, const N: usize> Add<V> for NumberTimes<V, N> {
    #[inline(always)]
    unsafe fn add(self, column: usize, x: V, sum: V) -> V {
        let mut z = x;
        for row in self.rows {
            // SAFETY: the caller's promise; these rows are as long.
            z = z.mul(unsafe { V::load(row.add(column)) });
        }
        self.number.fma(z, sum)
    }
}

impl<const N: usize> Weight for Times<'_, N> {
    type At<V: Vector> = NumberTimes<V, N>;

    #[inline(always)]
    unsafe fn at<V: Vector>(self, position: usize, width: usize) -> NumberTimes<V, N> {
        let mut rows = [std::ptr::null(); N];
        for (row, (table, ids)) in rows.iter_mut().zip(self.of) {
            // SAFETY: the caller's promise, and the ids were seen to have rows.
            *row = unsafe { table.add(*ids.add(position) as usize * width) };
        }
        NumberTimes {
            // SAFETY: the caller's promise, and there is a weight for each interaction.
            number: V::splat(unsafe { *self.weights.get_unchecked(position) }),
            rows,
        }
    }
}

/// Widths that are common have their own loops, where all rows are sure to be there.
#[inline(always)]
fn lines<V: Vector, I: RowId, W: Weight>(it: All<'_, I>, weight: W) {
    let first = it.lines.bounds.first().map_or(0, |&first| first as usize);
    let last = it.lines.bounds.last().map_or(0, |&last| last as usize);
    let is_sure = Coming::<I, 0>::sees(it.rows, it.base, it.ids, first..last);
    match it.rows.width() {
        16 if is_sure => lines_of::<V, I, W, 1>(it, first, weight),
        32 if is_sure => lines_of::<V, I, W, 2>(it, first, weight),
        64 if is_sure => lines_of::<V, I, W, 4>(it, first, weight),
        128 if is_sure && V::WIDE => lines_of::<V, I, W, 8>(it, first, weight),
        _ => lines_of::<V, I, W, 0>(it, first, weight),
    }
}

/// Rows of 16 C floats that are sure to be there; any where C is 0.
#[inline(always)]
fn lines_of<V: Vector, I: RowId, W: Weight, const C: usize>(
    it: All<'_, I>,
    first: usize,
    weight: W,
) {
    let (width, bounds) = (it.rows.width(), it.lines.bounds);
    // SAFETY: `lines` saw to it.
    let mut coming = unsafe { Coming::<I, C>::new(it.rows, it.base, it.ids, first) };
    for (number, ends) in bounds.windows(2).enumerate() {
        let row = it.lines.rows.map_or(number, |rows| rows[number] as usize);
        let mut line = Line {
            rows: it.rows,
            base: it.base,
            ids: it.ids,
            weight,
            range: ends[0] as usize..ends[1] as usize,
            column: 0,
            sums: &mut it.sums[row * width..(row + 1) * width],
        };
        if C > 0 {
            line.strip::<V, C, true, C>(&mut coming);
            continue;
        }
        if V::WIDE {
            line.strips::<V, 16, C>(&mut coming);
            line.strips::<V, 8, C>(&mut coming);
        }
        line.strips::<V, 4, C>(&mut coming);
        line.strips::<V, 2, C>(&mut coming);
        line.strips::<V, 1, C>(&mut coming);
    }
}

/// A line of which the columns before `column` are done.
struct Line<'a, 's, I, W> {
    rows: Rows<'a>,
    base: u32,
    ids: &'a [I],
    weight: W,
    range: Range<usize>,
    column: usize,
    sums: &'s mut [f32],
}

impl<'a, I: RowId, W: Weight> Line<'a, '_, I, W> {
    /// All strips of 16 C columns that are left. The first brings all columns near, the others find them there.
    #[inline(always)]
    fn strips<V: Vector, const C: usize, const ALL: usize>(
        &mut self,
        coming: &mut Coming<'a, I, ALL>,
    ) {
        while self.column + C * LANES <= self.rows.width() {
            if self.column == 0 {
                self.strip::<V, C, true, ALL>(coming);
            } else {
                self.strip::<V, C, false, ALL>(coming);
            }
            self.column += C * LANES;
        }
    }

    /// 16 C sums in registers.
    #[inline(always)]
    fn strip<V: Vector, const C: usize, const FIRST: bool, const ALL: usize>(
        &mut self,
        coming: &mut Coming<'a, I, ALL>,
    ) {
        let column = self.column;
        let width = if ALL == 0 {
            self.rows.width()
        } else {
            ALL * LANES
        };
        assert!(column + C * LANES <= self.rows.width() && self.sums.len() == self.rows.width());
        assert!(self.range.end <= self.ids.len());
        let out = self.sums[column..].as_mut_ptr();
        let mut sums = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: the sums have 16 C floats from `column` on.
            sums[c] = unsafe { V::load(out.add(c * LANES)) };
        }
        for position in self.range.clone() {
            let row = if FIRST {
                coming.row::<V>(position, column, C)
            } else {
                let id = self.ids[position].row_id(self.base);
                self.rows.row(id).as_ptr()
            };
            // SAFETY: the range ends with the ids, and the bounds were checked against the weights.
            let weight = unsafe { self.weight.at::<V>(position, width) };
            for c in 0..C {
                // SAFETY: a row has 16 C floats from `column` on.
                let x = unsafe { V::load(row.add(column + c * LANES)) };
                // SAFETY: as above.
                sums[c] = unsafe { weight.add(column + c * LANES, x, sums[c]) };
            }
        }
        for c in 0..C {
            // SAFETY: as above.
            unsafe { sums[c].store(out.add(c * LANES)) };
        }
    }
}
