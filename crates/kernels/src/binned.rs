//! Right-hand sides of many rows at once, from interactions in any order of them: the bins of a tensor, where an
//! interaction has no weight. One user's factors stay at hand, the sums of all bins in the first-level cache, so nothing
//! is sorted and only the products are gathered.
#![allow(unsafe_code)]

use crate::LANES;
use crate::coming::Coming;
use crate::panel::Source;
use crate::rows::Rows;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// What the interactions of some bins add up to: sums of `width` floats a bin, and how many each has taken.
#[derive(Debug)]
pub struct Binned<'a> {
    /// The number of the first bin; the interactions of bins before it, or behind the last, are passed over.
    pub first: u32,
    /// Sums, a row a bin.
    pub sums: &'a mut [f32],
    /// Interactions in each.
    pub counts: &'a mut [u32],
}

/// sum of its bin += t (u ∘ p), with t of the `targets` and p the row of the source, for one interaction after the
/// other, until a bin has taken `full`. Returns how many were seen.
///
/// # Panics
/// Where lengths disagree or an id has no row.
pub fn add_binned(
    simd: Simd,
    source: Source<'_>,
    bins: &[u32],
    targets: &[f32],
    user: &[f32],
    full: u32,
    into: &mut Binned<'_>,
) -> usize {
    assert_eq!(source.rows.width(), user.len(), "rows of one width");
    assert!(source.ids.len() >= targets.len() && bins.len() >= targets.len());
    assert_eq!(
        into.sums.len(),
        into.counts.len() * user.len(),
        "a sum a bin"
    );
    simd.run(AddBinned {
        source,
        bins,
        targets,
        user,
        full,
        into,
    })
}

struct AddBinned<'a, 'b> {
    source: Source<'a>,
    bins: &'a [u32],
    targets: &'a [f32],
    user: &'a [f32],
    full: u32,
    into: &'a mut Binned<'b>,
}

impl Kernel for AddBinned<'_, '_> {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vector>(self) -> usize {
        match self.user.len() {
            16 => by_width::<V, 1>(self),
            32 => by_width::<V, 2>(self),
            64 => by_width::<V, 4>(self),
            _ => by_width::<V, 0>(self),
        }
    }
}

/// Rows of 16 C floats; of any width where C is 0.
#[inline(always)]
fn by_width<V: Vector, const C: usize>(it: AddBinned<'_, '_>) -> usize {
    let vectors = if C == 0 { it.user.len() / LANES } else { C };
    let width = vectors * LANES;
    let (rows, ids) = (it.source.rows, it.source.ids);
    assert!(it.user.len() == width && it.into.sums.len() == it.into.counts.len() * width);
    // SAFETY: nothing is promised of rows of any width.
    let mut coming = unsafe { Coming::<_, 0>::new(rows, 0, ids, 0) };
    for (e, &target) in it.targets.iter().enumerate() {
        let row = coming.row::<V>(e, 0, vectors);
        let bin = it.bins[e].wrapping_sub(it.into.first) as usize;
        let Some(count) = it.into.counts.get_mut(bin) else {
            continue;
        };
        *count += 1;
        let is_full = *count == it.full;
        let sum = &mut it.into.sums[bin * width..][..width];
        let target = V::splat(target);
        for c in 0..vectors {
            // SAFETY: all three have `width` floats, and c is below width / 16.
            unsafe {
                let z = V::load(row.add(c * LANES)).mul(V::load(it.user.as_ptr().add(c * LANES)));
                let sum = sum.as_mut_ptr().add(c * LANES);
                target.fma(z, V::load(sum)).store(sum);
            }
        }
        if is_full {
            return e + 1;
        }
    }
    it.targets.len()
}

/// sum of its bin += t p, with t of the `targets` and p the row of the source, for one interaction after the other; `sums` has
/// a row a bin.
///
/// # Panics
/// Where lengths disagree, or an id or a bin has no row.
pub fn add_by_bin(simd: Simd, source: Source<'_>, bins: &[u32], targets: &[f32], sums: &mut [f32]) {
    assert!(source.ids.len() >= targets.len() && bins.len() == targets.len());
    simd.run(AddByBin {
        source,
        bins,
        targets,
        sums,
    });
}

struct AddByBin<'a> {
    source: Source<'a>,
    bins: &'a [u32],
    targets: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for AddByBin<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.source.rows.width() {
            16 => add_rows::<V, 1>(self),
            32 => add_rows::<V, 2>(self),
            64 => add_rows::<V, 4>(self),
            _ => add_rows::<V, 0>(self),
        }
    }
}

/// Rows of 16 C floats; of any width where C is 0.
#[inline(always)]
fn add_rows<V: Vector, const C: usize>(it: AddByBin<'_>) {
    let (rows, ids) = (it.source.rows, it.source.ids);
    let vectors = if C == 0 { rows.width() / LANES } else { C };
    let width = vectors * LANES;
    // SAFETY: as above.
    let mut coming = unsafe { Coming::<_, 0>::new(rows, 0, ids, 0) };
    for ((e, &target), &bin) in it.targets.iter().enumerate().zip(it.bins) {
        let row = coming.row::<V>(e, 0, vectors);
        let sum = &mut it.sums[bin as usize * width..][..width];
        let target = V::splat(target);
        for c in 0..vectors {
            // SAFETY: both have `width` floats, and c is below width / 16.
            unsafe {
                let sum = sum.as_mut_ptr().add(c * LANES);
                target
                    .fma(V::load(row.add(c * LANES)), V::load(sum))
                    .store(sum);
            }
        }
    }
}

/// out = Σ_k a_k ∘ b_k over the rows a_k and the first rows b_k of a table, in order.
///
/// # Panics
/// Where rows are not whole or the table has fewer.
pub fn sum_products(simd: Simd, rows: &[f32], others: Rows<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), others.width(), "one row");
    assert!(rows.len().is_multiple_of(out.len()), "whole rows");
    simd.run(SumProducts { rows, others, out });
}

struct SumProducts<'a> {
    rows: &'a [f32],
    others: Rows<'a>,
    out: &'a mut [f32],
}

impl Kernel for SumProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (width, mut column) = (self.out.len(), 0);
        while column + 4 * LANES <= width {
            sum_strip::<V, 4>(self.rows, self.others, column, self.out);
            column += 4 * LANES;
        }
        while column < width {
            sum_strip::<V, 1>(self.rows, self.others, column, self.out);
            column += LANES;
        }
    }
}

/// 16 C columns of the sums of products.
#[inline(always)]
fn sum_strip<V: Vector, const C: usize>(
    rows: &[f32],
    others: Rows<'_>,
    column: usize,
    out: &mut [f32],
) {
    let mut sums = [V::splat(0.0); C];
    for (row, k) in rows.chunks_exact(out.len()).zip(0..) {
        let (row, other) = (&row[column..][..C * LANES], others.row(k));
        let other = &other[column..][..C * LANES];
        for (c, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both have 16 C floats.
            unsafe {
                let row = V::load(row.as_ptr().add(c * LANES));
                *sum = sum.add(row.mul(V::load(other.as_ptr().add(c * LANES))));
            }
        }
    }
    let out = &mut out[column..][..C * LANES];
    for (c, sum) in sums.into_iter().enumerate() {
        // SAFETY: it has 16 C floats.
        unsafe { sum.store(out.as_mut_ptr().add(c * LANES)) };
    }
}

/// sums += row ∘ factors for every one of the rows, in f64 but for the products, and the rows are zeros again.
///
/// # Panics
/// Where rows are not whole, or there are not as many sums.
pub fn flush_scaled(simd: Simd, rows: &mut [f32], factors: &[f32], sums: &mut [f64]) {
    assert!(factors.len().is_multiple_of(LANES) && rows.len().is_multiple_of(factors.len()));
    assert_eq!(rows.len(), sums.len(), "as many sums");
    simd.run(FlushScaled {
        rows,
        factors,
        sums,
    });
}

struct FlushScaled<'a> {
    rows: &'a mut [f32],
    factors: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for FlushScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let width = self.factors.len();
        let rows = self.rows.chunks_exact_mut(width);
        for (row, sums) in rows.zip(self.sums.chunks_exact_mut(width)) {
            for ((x, &factor), sum) in row.iter_mut().zip(self.factors).zip(sums) {
                *sum += f64::from(*x * factor);
                *x = 0.0;
            }
        }
    }
}
