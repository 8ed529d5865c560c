//! A stretch of products as the fused kernel of scores, masks and selection takes it.
//!
//! **Invariant:** only candidates, the products with a training interaction, are offered; what is kept does not depend
//! on how products are cut into stretches and parts, or users into chunks.

use crate::evaluate::ProductRow;
use kernels::top::{self, Caps, Products};
use kernels::{Rows, Simd};
use rayon::prelude::*;

pub use kernels::dot;
pub use kernels::top::{Added, Ranked, Users, finish};

/// Users that one thread takes at a time.
const CHUNK: usize = 64;
/// Products packed at a time.
pub const PART: usize = 4096;

/// Products with consecutive row ids.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// The row id of the first.
    pub first: u32,
    /// What is known of each.
    pub products: &'a [ProductRow],
    /// A row of factors each.
    pub factors: &'a [f32],
    /// f32 per row of factors.
    pub width: usize,
}

impl<'a> Stretch<'a> {
    /// The stretch cut into parts of at most [`PART`] products.
    pub fn parts(self) -> impl Iterator<Item = Stretch<'a>> {
        let parts = self
            .products
            .chunks(PART)
            .zip(self.factors.chunks(PART * self.width));
        (0_u32..)
            .zip(parts)
            .map(move |(index, (products, factors))| Stretch {
                first: self.first + index * PART as u32,
                products,
                factors,
                width: self.width,
            })
    }
}

/// The candidates of a part, in the panels of the kernel.
#[derive(Clone, Debug)]
pub struct Packed {
    width: usize,
    panels: Vec<f32>,
    rows: Vec<u32>,
    ties: Vec<u64>,
    groups: Vec<u32>,
    handicaps: Vec<f32>,
    /// The most of a group.
    most: Option<u32>,
    places: Vec<u32>,
    /// Candidates of the parts before.
    before: usize,
}

impl Packed {
    /// Nothing, for factors of a width, and lists that hold at most so many of a group.
    pub fn new(width: usize, most: Option<u32>) -> Self {
        Packed {
            width,
            panels: Vec::new(),
            rows: Vec::new(),
            ties: Vec::new(),
            groups: Vec::new(),
            handicaps: Vec::new(),
            most,
            places: Vec::new(),
            before: 0,
        }
    }

    /// Begins anew: the parts of all products come next, by rising row ids.
    pub fn begin(&mut self) {
        self.before = 0;
        self.rows.clear();
    }

    /// Bytes of one, with the scratch of as many threads.
    pub fn bytes(width: usize, threads: usize) -> u64 {
        (top::packed_len(width, PART) * 4 + PART * 24 + threads * top::rank_scratch() * 4) as u64
    }

    /// Takes the candidates of a part.
    pub fn fill(&mut self, simd: Simd, part: &Stretch<'_>) {
        assert_eq!(
            part.products.len() * self.width,
            part.factors.len(),
            "a row of factors a product"
        );
        let candidates = || {
            (0_u32..)
                .zip(part.products)
                .filter(|(_, row)| row.popularity > 0)
        };
        self.before += self.rows.len();
        self.places.clear();
        self.places.extend(candidates().map(|(place, _)| place));
        self.rows.clear();
        self.rows
            .extend(self.places.iter().map(|place| part.first + place));
        self.ties.clear();
        self.ties.extend(candidates().map(|(_, row)| row.tie));
        self.groups.clear();
        self.groups.extend(candidates().map(|(_, row)| row.group));
        self.handicaps.clear();
        let handicaps = candidates().map(|(_, row)| row.handicap);
        self.handicaps.extend(handicaps);
        self.panels
            .resize(top::packed_len(self.width, self.rows.len()), 0.0);
        top::pack_products(
            simd,
            Rows::contiguous(&[part.factors], self.width),
            &self.places,
            &mut self.panels,
        );
    }

    /// Offers them to users: a row of factors, a mask of rising row ids and `k` places each. What is added to a user's scores has a
    /// number for each candidate since [`Packed::begin`].
    pub fn offer(
        &self,
        simd: Simd,
        users: Users<'_>,
        masks: &[&[u32]],
        k: usize,
        best: &mut [Ranked],
    ) {
        let handicapped = self.handicaps.iter().any(|&handicap| handicap != 0.0);
        let products = Products {
            packed: &self.panels,
            rows: &self.rows,
            ties: &self.ties,
            biases: handicapped.then_some(&self.handicaps[..]),
            caps: self.most.map(|most| Caps {
                groups: &self.groups,
                most,
            }),
        };
        let chunks = users
            .factors
            .par_chunks(CHUNK * self.width)
            .zip(masks.par_chunks(CHUNK));
        let chunks = chunks.zip(best.par_chunks_mut(CHUNK * k)).enumerate();
        chunks.for_each_init(
            || vec![0.0; top::rank_scratch()],
            |scratch, (chunk, ((factors, masks), best))| {
                let added = users.added.map(|added| Added {
                    scores: &added.scores[chunk * CHUNK * added.stride + self.before..],
                    stride: added.stride,
                });
                let users = Users { factors, added };
                top::rank(simd, self.width, users, products, masks, k, scratch, best);
            },
        );
    }
}

/// `users ∘ t`, row by row, for a row of a small mode: a tensor scores with this.
pub fn at_row(users: &mut [f32], row: &[f32]) {
    for user in users.chunks_exact_mut(row.len()) {
        user.iter_mut().zip(row).for_each(|(u, t)| *u *= t);
    }
}
