//! The k best products of every user: score, mask and selection in one pass, so that no matrix of scores is ever
//! written to memory.
//!
//! A score is one chain of fused multiply-adds over the columns of the factors in order, plus the product's bias, plus what else
//! the model knows of the two.
//! Better is the higher score, then the lower tie hash, then the lower row id: a total order, so the k best do not
//! depend on the blocks that products and users come in.
#![allow(unsafe_code)]

use crate::rows::Rows;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;
use crate::{LANES, WIDTH_MAX};
use std::cmp::Ordering;

/// Products scored before selection: their panels stay in the second-level cache while all users pass.
const STRIPE: usize = 512;

/// Users scored at a time.
const USERS: usize = 8;

/// A product ranked for a user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// The score.
    pub score: f32,
    /// The hash of the product's original id, which breaks ties.
    pub tie: u64,
    /// The product's row id.
    pub row: u32,
    /// The product's group, where lists are capped by groups; else [`Ranked::NO_GROUP`].
    pub group: u32,
}

impl Ranked {
    /// The group of products that no cap counts.
    pub const NO_GROUP: u32 = u32::MAX;

    /// A place not taken: fill the places of all users with it before the first block of products. No product has
    /// its row id, the largest there is.
    pub const NONE: Ranked = Ranked {
        score: f32::NEG_INFINITY,
        tie: u64::MAX,
        row: u32::MAX,
        group: Ranked::NO_GROUP,
    };

    /// Whether a product is in this place.
    pub fn is_some(&self) -> bool {
        self.row != u32::MAX
    }

    /// The better first.
    pub fn compare(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.tie.cmp(&other.tie))
            .then(self.row.cmp(&other.row))
    }

    fn is_better(&self, other: &Self) -> bool {
        self.score > other.score
            || (self.score == other.score && (self.tie, self.row) < (other.tie, other.row))
    }
}

/// Products to choose from, packed by [`pack_products`].
#[derive(Clone, Copy, Debug)]
pub struct Products<'a> {
    /// Their factors in panels of 16.
    pub packed: &'a [f32],
    /// Their row ids.
    pub rows: &'a [u32],
    /// The hash of each product's original id.
    pub ties: &'a [u64],
    /// Added to each product's scores.
    pub biases: Option<&'a [f32]>,
    /// What caps lists.
    pub caps: Option<Caps<'a>>,
}

/// The most products of a group in one list.
///
/// Lists that hold at most k products, and of each group at most so many, are the independent sets of a matroid; so the best list is
/// kept by taking each offer in and the worst of what it makes too many out, in any order of offers (Lawler, *Combinatorial optimization:
/// networks and matroids*, 1976).
#[derive(Clone, Copy, Debug)]
pub struct Caps<'a> {
    /// The group of each product; [`Ranked::NO_GROUP`] where none counts it.
    pub groups: &'a [u32],
    /// The most of a group.
    pub most: u32,
}

/// Users to choose for.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a> {
    /// A factor row each.
    pub factors: &'a [f32],
    /// What is added to their scores.
    pub added: Option<Added<'a>>,
}

/// A number for each user and product of a call: user u's of product i stands at u · `stride` + i.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// The numbers; whole vectors are read of each user's.
    pub scores: &'a [f32],
    /// From one user to the next.
    pub stride: usize,
}

impl<'a> Added<'a> {
    /// Those of one user, for products from one on.
    #[inline(always)]
    fn of(self, user: usize, first: usize) -> &'a [f32] {
        &self.scores[user * self.stride + first..]
    }
}

/// Floats that [`pack_products`] fills.
pub const fn packed_len(width: usize, products: usize) -> usize {
    products.next_multiple_of(LANES) * width
}

/// Floats of scratch that [`rank`] needs.
pub const fn rank_scratch() -> usize {
    USERS * STRIPE
}

/// Gathers factor rows into panels of 16 products: column k of a panel is one vector.
///
/// # Panics
/// Where `packed` has not the length of [`packed_len`] or an id has no row.
pub fn pack_products(simd: Simd, rows: Rows<'_>, ids: &[u32], packed: &mut [f32]) {
    assert_eq!(
        packed.len(),
        packed_len(rows.width(), ids.len()),
        "packed products"
    );
    simd.run(Pack { rows, ids, packed });
}

struct Pack<'a> {
    rows: Rows<'a>,
    ids: &'a [u32],
    packed: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let width = self.rows.width();
        for (ids, panel) in self
            .ids
            .chunks(LANES)
            .zip(self.packed.chunks_exact_mut(LANES * width))
        {
            for column in (0..width).step_by(LANES) {
                let mut square = [V::splat(0.0); LANES];
                for (to, &id) in square.iter_mut().zip(ids) {
                    let row = &self.rows.row(id)[column..column + LANES];
                    // SAFETY: the slice has 16 floats.
                    *to = unsafe { V::load(row.as_ptr()) };
                }
                V::transpose(&mut square);
                for (vector, to) in square
                    .iter()
                    .zip(panel[column * LANES..].chunks_exact_mut(LANES))
                {
                    // SAFETY: the chunk has 16 floats.
                    unsafe { vector.store(to.as_mut_ptr()) };
                }
            }
        }
    }
}

/// Offers products to users: `best` holds k places for each user, [`Ranked::NONE`] before the first call, and keeps
/// the k best of all calls in no order of use; [`finish`] sorts them. `masks[u]` are the rising
/// row ids that user u must not be offered. A score that is not a number is never ranked.
///
/// # Panics
/// Where lengths disagree.
pub fn rank(
    simd: Simd,
    width: usize,
    users: Users<'_>,
    products: Products<'_>,
    masks: &[&[u32]],
    k: usize,
    scratch: &mut [f32],
    best: &mut [Ranked],
) {
    let count = products.rows.len();
    assert!(
        width > 0 && width <= WIDTH_MAX && width.is_multiple_of(LANES),
        "width {width}"
    );
    assert_eq!(
        users.factors.len(),
        masks.len() * width,
        "a mask and a factor row per user"
    );
    assert_eq!(best.len(), masks.len() * k, "k places per user");
    assert_eq!(
        products.packed.len(),
        packed_len(width, count),
        "packed products"
    );
    assert_eq!(products.ties.len(), count, "a tie hash per product");
    assert!(
        products.biases.is_none_or(|biases| biases.len() == count),
        "a bias per product"
    );
    assert!(
        products
            .caps
            .is_none_or(|caps| caps.groups.len() == count && caps.most > 0),
        "a group per product, of which some may be listed"
    );
    let padded = count.next_multiple_of(LANES);
    assert!(
        users.added.is_none_or(|added| {
            added.scores.len() >= masks.len().saturating_sub(1) * added.stride + padded
        }),
        "whole vectors of added scores per user"
    );
    assert!(scratch.len() >= rank_scratch(), "the scratch is short");
    if k > 0 {
        simd.run(Rank {
            width,
            users,
            products,
            masks,
            k,
            scratch,
            best,
        });
    }
}

/// Sorts the places of one user, the best first; gives how many are taken.
pub fn finish(best: &mut [Ranked]) -> usize {
    best.sort_unstable_by(Ranked::compare);
    best.iter().take_while(|place| place.is_some()).count()
}

struct Rank<'a> {
    width: usize,
    users: Users<'a>,
    products: Products<'a>,
    masks: &'a [&'a [u32]],
    k: usize,
    scratch: &'a mut [f32],
    best: &'a mut [Ranked],
}

impl Kernel for Rank<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Rank {
            width,
            users,
            products,
            masks,
            k,
            scratch,
            best,
        } = self;
        for first in (0..products.rows.len()).step_by(STRIPE) {
            let panels = &products.packed[first * width..];
            let panels = &panels[..panels.len().min(STRIPE * width)];
            let padded = panels.len() / width;
            for u in (0..masks.len()).step_by(USERS) {
                let some = USERS.min(masks.len() - u);
                let factors = &users.factors[u * width..(u + some) * width];
                score_stripe::<V>(width, factors, panels, scratch);
                for t in 0..some {
                    let scores = &mut scratch[t * STRIPE..][..padded];
                    if let Some(added) = users.added {
                        add::<V>(added.of(u + t, first), scores);
                    }
                    let best = &mut best[(u + t) * k..(u + t + 1) * k];
                    select::<V>(products, first, scores, masks[u + t], best);
                }
            }
        }
    }
}

/// Scores of up to eight users for the products of some panels, a row of `STRIPE` for each user.
#[inline(always)]
fn score_stripe<V: Vector>(width: usize, users: &[f32], panels: &[f32], scores: &mut [f32]) {
    if V::WIDE && users.len() == USERS * width {
        score_tiles::<V, 8, 2>(width, users, panels, scores);
    } else {
        let (mut users, mut scores) = (users, scores);
        while !users.is_empty() {
            let some = if users.len() >= 4 * width { 4 } else { 1 };
            if some == 4 {
                score_tiles::<V, 4, 1>(width, users, panels, scores);
            } else {
                score_tiles::<V, 1, 1>(width, users, panels, scores);
            }
            (users, scores) = (&users[some * width..], &mut scores[some * STRIPE..]);
        }
    }
}

/// Scores of R users, C panels at a time. The users' columns are first laid side by side, so that the innermost loop
/// walks through one line of memory for them.
#[inline(always)]
fn score_tiles<V: Vector, const R: usize, const C: usize>(
    width: usize,
    users: &[f32],
    panels: &[f32],
    scores: &mut [f32],
) {
    let mut columns = [[0.0; R]; WIDTH_MAX];
    for (t, user) in users.chunks_exact(width).take(R).enumerate() {
        for (column, x) in columns.iter_mut().zip(user) {
            column[t] = *x;
        }
    }
    let users = &columns[..width];
    let mut place = 0;
    while place < panels.len() / width {
        let (panels, scores) = (&panels[place * width..], &mut scores[place..]);
        if panels.len() >= C * LANES * width {
            score_tile::<V, R, C>(users, panels, scores);
            place += C * LANES;
        } else {
            score_tile::<V, R, 1>(users, panels, scores);
            place += LANES;
        }
    }
}

#[inline(always)]
fn score_tile<V: Vector, const R: usize, const C: usize>(
    users: &[[f32; R]],
    panels: &[f32],
    scores: &mut [f32],
) {
    let width = users.len();
    assert!(panels.len() >= C * LANES * width);
    assert!(scores.len() >= (R - 1) * STRIPE + C * LANES);
    let mut sums = [[V::splat(0.0); C]; R];
    for (k, user) in users.iter().enumerate() {
        let mut columns = [V::splat(0.0); C];
        for c in 0..C {
            // SAFETY: column k of panel c lies inside C · 16 · width floats.
            columns[c] = unsafe { V::load(panels.as_ptr().add((c * width + k) * LANES)) };
        }
        for t in 0..R {
            let factor = V::splat(user[t]);
            for c in 0..C {
                sums[t][c] = factor.fma(columns[c], sums[t][c]);
            }
        }
    }
    for t in 0..R {
        for c in 0..C {
            // SAFETY: inside (R − 1) · STRIPE + 16 C floats, as asserted.
            unsafe { sums[t][c].store(scores.as_mut_ptr().add(t * STRIPE + c * LANES)) };
        }
    }
}

/// Adds to the scores of one user.
#[inline(always)]
fn add<V: Vector>(added: &[f32], scores: &mut [f32]) {
    for (scores, added) in scores
        .chunks_exact_mut(LANES)
        .zip(added.chunks_exact(LANES))
    {
        // SAFETY: both chunks have 16 floats.
        unsafe {
            let sum = V::load(scores.as_ptr()).add(V::load(added.as_ptr()));
            sum.store(scores.as_mut_ptr());
        }
    }
}

/// Offers the scored products from `first` on to one user.
#[inline(always)]
fn select<V: Vector>(
    products: Products<'_>,
    first: usize,
    scores: &mut [f32],
    mask: &[u32],
    best: &mut [Ranked],
) {
    for (panel, scores) in scores.chunks_exact_mut(LANES).enumerate() {
        let start = first + panel * LANES;
        let here = LANES.min(products.rows.len() - start);
        // SAFETY: the chunk has 16 floats. Adding zero turns −0 into 0, so that equal scores are equal bits.
        let mut vector = unsafe { V::load(scores.as_ptr()) }.add(V::splat(0.0));
        if let Some(biases) = products.biases {
            let mut lanes = [0.0; LANES];
            lanes[..here].copy_from_slice(&biases[start..start + here]);
            // SAFETY: the array has 16 floats.
            vector = vector.add(unsafe { V::load(lanes.as_ptr()) });
        }
        let mut hopeful = vector.at_least(V::splat(best[0].score)) & (u32::MAX >> (32 - here));
        if hopeful == 0 {
            continue;
        }
        let lanes = vector.lanes();
        while hopeful != 0 {
            let lane = hopeful.trailing_zeros() as usize;
            hopeful &= hopeful - 1;
            let at = start + lane;
            let offer = Ranked {
                score: lanes[lane],
                tie: products.ties[at],
                row: products.rows[at],
                group: products
                    .caps
                    .map_or(Ranked::NO_GROUP, |caps| caps.groups[at]),
            };
            if offer.is_better(&best[0]) && mask.binary_search(&offer.row).is_err() {
                let most = products.caps.map_or(u32::MAX, |caps| caps.most);
                match full_group(best, offer.group, most) {
                    None => replace(best, 0, offer),
                    Some(worst) if offer.is_better(&best[worst]) => replace(best, worst, offer),
                    Some(_) => {}
                }
            }
        }
    }
}

/// The worst place of a group that has its most.
fn full_group(best: &[Ranked], group: u32, most: u32) -> Option<usize> {
    if group == Ranked::NO_GROUP {
        return None;
    }
    let (mut count, mut worst) = (0, None);
    for (place, ranked) in best.iter().enumerate() {
        if ranked.group == group {
            count += 1;
            if worst.is_none_or(|worst: usize| best[worst].is_better(ranked)) {
                worst = Some(place);
            }
        }
    }
    worst.filter(|_| count >= most)
}

/// The places are a heap with the worst at the root; what comes is better than what goes, so it can only sink.
fn replace(best: &mut [Ranked], mut place: usize, offer: Ranked) {
    loop {
        let mut child = 2 * place + 1;
        if child >= best.len() {
            break;
        }
        if child + 1 < best.len() && best[child].is_better(&best[child + 1]) {
            child += 1;
        }
        if !offer.is_better(&best[child]) {
            break;
        }
        best[place] = best[child];
        place = child;
    }
    best[place] = offer;
}
