//! A row's interactions gathered once: a *panel* holds √w z, one line of `width` floats an interaction, so that
//! Σ w z zᵀ is the sum of the squares of its lines, and all passes of a solver run on it while it is in the cache.
#![allow(unsafe_code)]

use crate::rows::{self, NEXT, Rows};
use crate::simd::{Kernel, Simd};
use crate::tile::Ahead;
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};
use std::marker::PhantomData;

/// Interactions packed before they are multiplied: the panel of rank 64 fills half of the first-level cache.
pub(crate) const PANEL: usize = 64;

/// Rows that are known at a time: those of a panel and those that are asked for beyond it.
const PLACES: usize = PANEL + rows::FAR;

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
        // The rows of the next panel come nearer, too: that is behind the end of this one.
        gather::<V, true, true>(self.interactions, self.panel, self.rhs);
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
        gather::<V, false, true>(self.interactions, &mut [], self.rhs);
    }
}

/// All columns of at most [`PANEL`] interactions, of which the rows have been brought near.
#[inline(always)]
pub(crate) fn pack_block<V: Vector>(it: Interactions<'_>, panel: &mut [f32], rhs: &mut [f32]) {
    gather::<V, true, false>(it, panel, rhs);
}

#[inline(always)]
fn gather<V: Vector, const LINES: bool, const FAR: bool>(
    it: Interactions<'_>,
    panel: &mut [f32],
    rhs: &mut [f32],
) {
    let (width, end) = (it.width, it.first + it.count);
    for first in (it.first..end).step_by(PANEL) {
        let (done, count) = (first - it.first, PANEL.min(end - first));
        let panel = if LINES {
            &mut panel[done * width..(done + count) * width]
        } else {
            &mut []
        };
        gather_some::<V, LINES, FAR>(Interactions { first, count, ..it }, panel, rhs);
    }
}

/// The same of at most [`PANEL`] interactions: their rows are looked up once, however many passes over columns there are.
#[inline(always)]
fn gather_some<V: Vector, const LINES: bool, const FAR: bool>(
    it: Interactions<'_>,
    panel: &mut [f32],
    rhs: &mut [f32],
) {
    let main = it.sources[0];
    let mut places = [std::ptr::null(); PLACES];
    let known = if FAR { PLACES } else { PANEL + NEXT };
    for (place, &id) in places[..known].iter_mut().zip(&main.ids[it.first..]) {
        *place = main.rows.find(id);
    }
    let mut column = 0;
    while V::WIDE && column + 8 * LANES <= it.width {
        gather_columns::<V, 8, LINES, FAR>(it, &places, column, panel, rhs);
        column += 8 * LANES;
    }
    while column + 4 * LANES <= it.width {
        gather_columns::<V, 4, LINES, FAR>(it, &places, column, panel, rhs);
        column += 4 * LANES;
    }
    while column + 2 * LANES <= it.width {
        gather_columns::<V, 2, LINES, FAR>(it, &places, column, panel, rhs);
        column += 2 * LANES;
    }
    while column < it.width {
        gather_columns::<V, 1, LINES, FAR>(it, &places, column, panel, rhs);
        column += LANES;
    }
}

/// Gathers 16 C columns of z for each interaction and adds t z to the right-hand side, which stays in registers
/// meanwhile; puts √w z into the panel where `LINES`. Rows are asked for from afar where `FAR`.
#[inline(always)]
fn gather_columns<V: Vector, const C: usize, const LINES: bool, const FAR: bool>(
    it: Interactions<'_>,
    places: &[*const f32; PLACES],
    column: usize,
    panel: &mut [f32],
    rhs: &mut [f32],
) {
    assert!(it.count <= PANEL && column + C * LANES <= it.width);
    let weights = &it.weights[it.first..it.first + it.count];
    let mut lines = panel.chunks_exact_mut(it.width);
    let targets = &it.targets[it.first..it.first + it.count];
    let others = &it.sources[1..];
    let rhs = &mut rhs[column..column + C * LANES];
    let mut sums = load::<V, C>(rhs);
    for (e, &target) in targets.iter().enumerate() {
        // Where there is no row, any address will do.
        if FAR {
            let far = places[e + rows::FAR].wrapping_add(column);
            for c in 0..C {
                V::prefetch_near(far.wrapping_add(c * LANES));
            }
        }
        let near = places[e + NEXT].wrapping_add(column);
        for c in 0..C {
            V::prefetch(near.wrapping_add(c * LANES));
        }
        let row = places[e];
        assert!(!row.is_null(), "no block holds the row");
        let mut z = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: the place is that of a row, which has 16 C floats from `column` on.
            z[c] = unsafe { V::load(row.add(column + c * LANES)) };
        }
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
        if LINES {
            let line = lines.next().expect("a line per interaction");
            let line = &mut line[column..column + C * LANES];
            let root = V::splat(weights[e].sqrt());
            for c in 0..C {
                // SAFETY: `line` holds 16 C floats.
                unsafe { root.mul(z[c]).store(line.as_mut_ptr().add(c * LANES)) };
            }
        }
    }
    for c in 0..C {
        // SAFETY: `rhs` holds 16 C floats.
        unsafe { sums[c].store(rhs.as_mut_ptr().add(c * LANES)) };
    }
}

/// The rows of the interactions behind a panel, brought nearer line by line.
pub(crate) struct Coming<'a, V> {
    rows: Rows<'a>,
    ids: std::slice::Iter<'a, u32>,
    /// The line to ask for next, and how many of its row are left.
    line: *const f32,
    left: usize,
    vector: PhantomData<V>,
}

impl<'a, V: Vector> Coming<'a, V> {
    /// At most [`PANEL`] rows of a source, from interaction `first` on.
    #[inline(always)]
    pub(crate) fn new(source: Source<'a>, first: usize) -> Self {
        let first = first.min(source.ids.len());
        let end = source.ids.len().min(first + PANEL);
        Coming {
            rows: source.rows,
            ids: source.ids[first..end].iter(),
            line: std::ptr::null(),
            left: 0,
            vector: PhantomData,
        }
    }
}

impl<V: Vector> Ahead for Coming<'_, V> {
    #[inline(always)]
    fn step(&mut self) {
        if self.left == 0 {
            let Some(&id) = self.ids.next() else { return };
            (self.line, self.left) = (self.rows.address(id), self.rows.width() / LANES);
        }
        V::prefetch_near(self.line);
        (self.line, self.left) = (self.line.wrapping_add(LANES), self.left - 1);
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

/// out += Σ s_e a_e over the lines a_e of the panel, in order.
///
/// # Panics
/// Where lengths disagree.
pub fn add_lines(simd: Simd, panel: &[f32], factors: &[f32], out: &mut [f32]) {
    simd.run(AddLines {
        panel,
        factors,
        out,
    });
}

struct AddLines<'a> {
    panel: &'a [f32],
    factors: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddLines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        combine::<V>(self.panel, self.factors, self.out);
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
    while column + 2 * LANES <= width {
        combine_columns::<V, 2>(panel, factors, column, out);
        column += 2 * LANES;
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
