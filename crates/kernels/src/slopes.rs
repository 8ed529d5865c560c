//! Sampled products and the gradient of a loss of them in one: a line's own row is scored with the rows that its interactions
//! name, and these are added up, each times the slope of the loss at its score.
//!
//! A row that was gathered for its score is still in the first-level cache for its sum, so the bound is that of the sparse
//! product ([`crate::spmm`]). Four scores are added across lanes together, as one alone waits for each of its halves.
//!
//! Losses are rounded down to multiples of 2^-20 and added as whole numbers: their sum has no order to keep.
#![allow(unsafe_code)]

use crate::losses::{BernoulliPoisson, Logistic, Loss, Poisson, Shape, Squared};
use crate::rows::Rows;
use crate::simd::{Kernel, Simd};
use crate::spmm::Weights;
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};

/// Scores that are made together.
const GROUP: usize = 4;

/// Parts of one in which losses are counted.
const PARTS: f64 = (1 << 20) as f64;

/// A loss from which on training has gone astray, and its sum with it: it is that of a value of 23,000 with a score of 0.
const MOST: f32 = 268_435_456.0;

/// A sum of losses, the same in whatever order they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses(i64);

impl Losses {
    /// No number where one of the losses was none or 2^28 and more, or all together are 2^43 and more.
    pub fn total(self) -> f64 {
        if self.0 == i64::MAX {
            f64::NAN
        } else {
            self.0 as f64 / PARTS
        }
    }

    /// With others.
    #[must_use]
    pub fn and(self, others: Losses) -> Losses {
        Losses(self.0.saturating_add(others.0))
    }

    #[inline(always)]
    fn of(value: f32) -> Losses {
        Losses(if value < MOST {
            (f64::from(value) * PARTS) as i64
        } else {
            i64::MAX
        })
    }
}

/// `sums` += Σ f'(x · y, target) y over the rows y that `ids` name, in their order, for the row x; the sum of f(x · y, target). There is
/// one target, or one an id.
///
/// `ids` may be a part of a line: what is there is added to.
///
/// # Panics
/// Where lengths disagree, or an id has no row.
pub fn slopes(
    simd: Simd,
    (loss, targets): (Loss, Weights<'_>),
    rows: Rows<'_>,
    own: &[f32],
    ids: &[u32],
    sums: &mut [f32],
) -> Losses {
    let width = rows.width();
    assert!(width <= WIDTH_MAX, "width {width} is above {WIDTH_MAX}");
    assert!(
        own.len() == width && sums.len() == width,
        "rows of one width"
    );
    if let Weights::Each(targets) = targets {
        assert_eq!(targets.len(), ids.len(), "a target an id");
    }
    let line = Line {
        targets,
        rows,
        own,
        ids,
        sums,
    };
    match loss {
        Loss::Squared => simd.run(Slopes(line, Squared)),
        Loss::Logistic => simd.run(Slopes(line, Logistic)),
        Loss::BernoulliPoisson => simd.run(Slopes(line, BernoulliPoisson)),
        Loss::Poisson => simd.run(Slopes(line, Poisson)),
    }
}

struct Line<'a> {
    targets: Weights<'a>,
    rows: Rows<'a>,
    own: &'a [f32],
    ids: &'a [u32],
    sums: &'a mut [f32],
}

struct Slopes<'a, S>(Line<'a>, S);

impl<S: Shape> Kernel for Slopes<'_, S> {
    type Output = Losses;

    #[inline(always)]
    fn run<V: Vector>(self) -> Losses {
        let Slopes(mut line, shape) = self;
        let (count, mut losses) = (line.ids.len(), Losses::default());
        let mut at = 0;
        while at + GROUP <= count {
            losses = losses.and(group::<V, S>(&mut line, shape, at, GROUP));
            at += GROUP;
        }
        if at < count {
            losses = losses.and(group::<V, S>(&mut line, shape, at, count - at));
        }
        losses
    }
}

/// Some interactions from a position on, four at most.
#[inline(always)]
fn group<V: Vector, S: Shape>(line: &mut Line<'_>, shape: S, at: usize, some: usize) -> Losses {
    let width = line.rows.width();
    assert!(some <= GROUP && at + some <= line.ids.len());
    assert!(line.own.len() == width && line.sums.len() == width);
    let (own, out) = (line.own.as_ptr(), line.sums.as_mut_ptr());
    let mut gathered = [own; GROUP];
    let mut scores = [V::splat(0.0); GROUP];
    for k in 0..some {
        line.rows.bring::<V>(line.ids, at + k, 0, width / LANES);
        let row = line.rows.row(line.ids[at + k]).as_ptr();
        for column in (0..width).step_by(LANES) {
            // SAFETY: both rows have whole vectors of a width.
            let (x, y) = unsafe { (V::load(own.add(column)), V::load(row.add(column))) };
            scores[k] = x.fma(y, scores[k]);
        }
        gathered[k] = row;
    }
    let scores = V::sums(scores);
    let mut by = [V::splat(0.0); GROUP];
    let mut losses = Losses::default();
    for k in 0..some {
        let target = match line.targets {
            Weights::All(target) => target,
            Weights::Each(targets) => targets[at + k],
        };
        let (value, slope) = shape.at(scores[k].first(), target);
        losses = losses.and(Losses::of(value));
        by[k] = V::splat(slope);
    }
    for column in (0..width).step_by(LANES) {
        // SAFETY: the sums have whole vectors of a width, and so have the rows.
        let mut sum = unsafe { V::load(out.add(column)) };
        for k in 0..some {
            // SAFETY: as above.
            sum = by[k].fma(unsafe { V::load(gathered[k].add(column)) }, sum);
        }
        // SAFETY: as above.
        unsafe { sum.store(out.add(column)) };
    }
    losses
}
