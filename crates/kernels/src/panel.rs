//! A row's interactions gathered once: a *panel* holds √w z, one line of `width` floats an interaction, so that
//! Σ w z zᵀ is the sum of the squares of its lines, and all passes of a solver run on it while it is in the cache.
#![allow(unsafe_code)]

use crate::rows::Rows;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};

/// Rows to prefetch ahead; memory answers within the packing of about a dozen rows.
const AHEAD: usize = 12;

/// Interactions packed before they are multiplied: the panel of rank 64 fills half of the first-level cache.
pub(crate) const PANEL: usize = 64;

/// Lines that are multiplied together; a panel is filled up to a multiple of them with lines of zeros.
pub const GROUP: usize = 4;

/// The factor rows that one other mode gives to consecutive interactions of a row.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The mode's factors.
    pub rows: Rows<'a>,
    /// Row ids, one per interaction. There may be more than interactions: what follows (up to 64 of the first source)
    /// is prefetched, so hand over the ids of the next row where they stand in memory anyway.
    pub ids: &'a [u32],
}

/// The interactions that fill at most one panel of [`PANEL`].
#[derive(Clone, Copy)]
pub(crate) struct Interactions<'a> {
    pub width: usize,
    pub sources: &'a [Source<'a>],
    pub weights: &'a [f32],
    pub targets: &'a [f32],
    pub first: usize,
    pub count: usize,
}

impl Interactions<'_> {
    /// Panics where the arguments of a kernel over these disagree.
    pub(crate) fn check(&self) {
        let (width, count) = (self.width, self.weights.len());
        assert!(width <= WIDTH_MAX, "width {width} is above {WIDTH_MAX}");
        assert!(
            self.sources
                .iter()
                .all(|source| source.rows.width() == width),
            "sources of one width"
        );
        assert!(
            self.sources.iter().all(|source| source.ids.len() >= count),
            "an id per interaction"
        );
        assert_eq!(self.targets.len(), count, "a target per interaction");
    }
}

/// Lines of √w z for `weights.len()` interactions, z the elementwise product of the sources' rows, and rhs += Σ t z,
/// t = b y the `targets`. Zero `rhs` before a chunk's first interaction; chunks may be cut anywhere.
///
/// # Panics
/// Where there is no source, widths or lengths disagree, or a row id has no row.
pub fn pack(
    simd: Simd,
    sources: &[Source<'_>],
    weights: &[f32],
    targets: &[f32],
    panel: &mut [f32],
    rhs: &mut [f32],
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
    assert_eq!(
        panel.len(),
        weights.len() * interactions.width,
        "a line per interaction"
    );
    assert_eq!(rhs.len(), interactions.width, "one right-hand side");
    simd.run(Pack {
        interactions,
        panel,
        rhs,
    });
}

struct Pack<'a> {
    interactions: Interactions<'a>,
    panel: &'a mut [f32],
    rhs: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let it = self.interactions;
        for (block, panel) in self.panel.chunks_mut(PANEL * it.width).enumerate() {
            let (first, count) = (block * PANEL, panel.len() / it.width);
            pack_block::<V>(Interactions { first, count, ..it }, panel, self.rhs);
        }
        // While a solver runs on the panel, the rows of the next one come nearer: a tenth of the time of a half-step.
        let coming = it.sources[0].ids.iter().skip(it.weights.len()).take(PANEL);
        prefetch_rows::<V>(it.sources[0], coming);
    }
}

/// rhs += Σ t z over `targets.len()` interactions, as [`pack`] adds them, and no lines: for interactions of weight 0.
///
/// # Panics
/// Where there is no source, widths or lengths disagree, or a row id has no row.
pub fn add_targets(simd: Simd, sources: &[Source<'_>], targets: &[f32], rhs: &mut [f32]) {
    let interactions = Interactions {
        width: sources[0].rows.width(),
        sources,
        weights: targets,
        targets,
        first: 0,
        count: targets.len(),
    };
    interactions.check();
    assert_eq!(rhs.len(), interactions.width, "one right-hand side");
    simd.run(AddTargets { interactions, rhs });
}

struct AddTargets<'a> {
    interactions: Interactions<'a>,
    rhs: &'a mut [f32],
}

impl Kernel for AddTargets<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (it, rhs, mut column) = (self.interactions, self.rhs, 0);
        while column + 4 * LANES <= it.width {
            gather_columns::<V, 4>(it, column, rhs, |_, _| ());
            column += 4 * LANES;
        }
        while column < it.width {
            gather_columns::<V, 1>(it, column, rhs, |_, _| ());
            column += LANES;
        }
    }
}

/// All columns of at most [`PANEL`] interactions.
#[inline(always)]
pub(crate) fn pack_block<V: Vector>(it: Interactions<'_>, panel: &mut [f32], rhs: &mut [f32]) {
    let mut column = 0;
    while column + 4 * LANES <= it.width {
        pack_columns::<V, 4>(it, column, panel, rhs);
        column += 4 * LANES;
    }
    while column < it.width {
        pack_columns::<V, 1>(it, column, panel, rhs);
        column += LANES;
    }
}

/// Gathers 16 C columns of the rows into the panel as √w z, and adds t z to the right-hand side.
#[inline(always)]
fn pack_columns<V: Vector, const C: usize>(
    it: Interactions<'_>,
    column: usize,
    panel: &mut [f32],
    rhs: &mut [f32],
) {
    let weights = &it.weights[it.first..it.first + it.count];
    let mut lines = panel.chunks_exact_mut(it.width);
    gather_columns::<V, C>(it, column, rhs, |e, z| {
        let line = lines.next().expect("a line per interaction");
        let line = &mut line[column..column + C * LANES];
        let root = V::splat(weights[e].sqrt());
        for c in 0..C {
            // SAFETY: `line` holds 16 C floats.
            unsafe { root.mul(z[c]).store(line.as_mut_ptr().add(c * LANES)) };
        }
    });
}

/// Gathers 16 C columns of z for each interaction, hands them to `keep`, and adds t z to the right-hand side, which stays
/// in registers meanwhile.
#[inline(always)]
fn gather_columns<V: Vector, const C: usize>(
    it: Interactions<'_>,
    column: usize,
    rhs: &mut [f32],
    mut keep: impl FnMut(usize, [V; C]),
) {
    let targets = &it.targets[it.first..it.first + it.count];
    let (main, others) = (it.sources[0], &it.sources[1..]);
    let ids = &main.ids[it.first..];
    let rhs = &mut rhs[column..column + C * LANES];
    let mut sums = load::<V, C>(rhs);
    for (e, &target) in targets.iter().enumerate() {
        if let Some(&next) = ids.get(e + AHEAD) {
            let address = main.rows.address(next).wrapping_add(column);
            for c in 0..C {
                V::prefetch(address.wrapping_add(c * LANES));
            }
        }
        let mut z = load::<V, C>(&main.rows.row(ids[e])[column..column + C * LANES]);
        for other in others {
            let row =
                load::<V, C>(&other.rows.row(other.ids[it.first + e])[column..column + C * LANES]);
            for c in 0..C {
                z[c] = z[c].mul(row[c]);
            }
        }
        let target = V::splat(target);
        for c in 0..C {
            sums[c] = target.fma(z[c], sums[c]);
        }
        keep(e, z);
    }
    for c in 0..C {
        // SAFETY: `rhs` holds 16 C floats.
        unsafe { sums[c].store(rhs.as_mut_ptr().add(c * LANES)) };
    }
}

/// Brings the rows of coming interactions of the first source nearer.
#[inline(always)]
pub(crate) fn prefetch_rows<'a, V: Vector>(source: Source<'_>, ids: impl Iterator<Item = &'a u32>) {
    for &id in ids {
        let address = source.rows.address(id);
        for column in (0..source.rows.width()).step_by(LANES) {
            V::prefetch_near(address.wrapping_add(column));
        }
    }
}

/// out_e = a_e · x for every line a_e of the panel, each like [`crate::dot`].
///
/// # Panics
/// Where the panel is no multiple of [`GROUP`] lines, or lengths disagree.
pub fn scores(simd: Simd, panel: &[f32], x: &[f32], out: &mut [f32]) {
    check_panel(panel, x.len());
    assert_eq!(out.len() * x.len(), panel.len(), "a number per line");
    simd.run(Scores { panel, x, out });
}

struct Scores<'a> {
    panel: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        multiply::<V>(self.panel, self.x, self.out);
    }
}

/// Panics where a panel is no multiple of [`GROUP`] lines of a width.
pub(crate) fn check_panel(panel: &[f32], width: usize) {
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    assert!(
        panel.len().is_multiple_of(GROUP * width),
        "whole groups of lines"
    );
}

/// out_e = a_e · x.
#[inline(always)]
pub(crate) fn multiply<V: Vector>(panel: &[f32], x: &[f32], out: &mut [f32]) {
    let lines = panel.chunks_exact(GROUP * x.len());
    for (group, out) in lines.zip(out.chunks_exact_mut(GROUP)) {
        let sums = V::sums(products::<V>(group, x));
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum.first();
        }
    }
}

/// The products of four lines with a vector, before their lanes are added.
#[inline(always)]
pub(crate) fn products<V: Vector>(group: &[f32], x: &[f32]) -> [V; GROUP] {
    let width = x.len();
    assert!(group.len() == GROUP * width && width.is_multiple_of(LANES));
    let mut sums = [V::splat(0.0); GROUP];
    for column in (0..width).step_by(LANES) {
        // SAFETY: 16 floats from `column` on are inside `x` and inside each of the four lines.
        unsafe {
            let x = V::load(x.as_ptr().add(column));
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(group.as_ptr().add(t * width + column)).fma(x, *sum);
            }
        }
    }
    sums
}

/// out += Σ s_e a_e, the lines in order.
#[inline(always)]
pub(crate) fn combine<V: Vector>(panel: &[f32], factors: &[f32], out: &mut [f32]) {
    let width = out.len();
    assert!(panel.len() == factors.len() * width && width.is_multiple_of(LANES));
    let mut column = 0;
    while column + 4 * LANES <= width {
        combine_columns::<V, 4>(panel, factors, column, out);
        column += 4 * LANES;
    }
    while column < width {
        combine_columns::<V, 1>(panel, factors, column, out);
        column += LANES;
    }
}

#[inline(always)]
fn combine_columns<V: Vector, const C: usize>(
    panel: &[f32],
    factors: &[f32],
    column: usize,
    out: &mut [f32],
) {
    let width = out.len();
    let here = &mut out[column..column + C * LANES];
    let mut sums = load::<V, C>(here);
    for (line, &factor) in panel.chunks_exact(width).zip(factors) {
        let line = load::<V, C>(&line[column..column + C * LANES]);
        let factor = V::splat(factor);
        for c in 0..C {
            sums[c] = factor.fma(line[c], sums[c]);
        }
    }
    for c in 0..C {
        // SAFETY: `here` holds 16 C floats.
        unsafe { sums[c].store(here.as_mut_ptr().add(c * LANES)) };
    }
}

/// The C vectors of a slice of 16 C floats.
#[inline(always)]
pub(crate) fn load<V: Vector, const C: usize>(from: &[f32]) -> [V; C] {
    assert!(from.len() >= C * LANES);
    let mut vectors = [V::splat(0.0); C];
    for c in 0..C {
        // SAFETY: asserted.
        vectors[c] = unsafe { V::load(from.as_ptr().add(c * LANES)) };
    }
    vectors
}
