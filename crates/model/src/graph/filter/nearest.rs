//! The products nearest to each: the cosine of two products' columns of users, c_ij / (√(n_i n_j) + h), with c_ij the users who have both,
//! n those who have one, and h a shrinkage that takes from pairs of few users what chance gave them (Sarwar, Karypis, Konstan and Riedl,
//! *Item-based collaborative filtering recommendation algorithms*, 2001; Deshpande and Karypis, *Item-based top-N recommendation algorithms*,
//! 2004). Of every product the k nearest are kept, and a user's score of a product is the sum over what he had of what is near to it.
//!
//! Users who have both are counted, which is exact in any order: for some products at a time a row of counts each, over all products,
//! while the users pass by. The matrix of all pairs is never formed.
//!
//! **Invariant:** of equally near products the one with the smaller hash of its original id comes first.

use crate::evaluate::ProductRow;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::ops::Range;
use tensor::{CsrRef, Grid};

/// How products are near.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// Of each product so many are kept.
    pub count: u32,
    /// h, in users.
    pub shrinkage: f64,
}

/// Reads all blocks of [`crate::evaluate::PRODUCTS`] and the training partitions of all users. Writes for every product of a block its
/// [`Near`]s, nearest first. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestOp {
    /// The grid of products.
    pub products: Grid,
    /// What is near.
    pub nearest: Nearest,
}

/// A product that is near to another.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Near {
    /// Its row.
    pub product: u32,
    /// How near.
    pub similarity: f32,
}

impl Near {
    /// Where there are fewer than are kept.
    pub const NONE: Near = Near {
        product: u32::MAX,
        similarity: 0.0,
    };
}

/// Where the rows of each block begin among all.
#[derive(Clone, Debug)]
pub struct Starts {
    starts: Vec<u32>,
    stride_log2: u8,
}

impl Starts {
    /// Of a grid.
    pub fn of(grid: &Grid) -> Self {
        let rows = grid.rows.iter();
        let starts = rows.scan(0, |sum, &rows| {
            *sum += rows;
            Some(*sum - rows)
        });
        Starts {
            starts: starts.collect(),
            stride_log2: grid.stride_log2,
        }
    }

    /// Of a block.
    pub fn block(&self, block: u32) -> u32 {
        self.starts[block as usize]
    }

    /// The place of a row among all.
    pub fn place(&self, id: u32) -> u32 {
        let block = u64::from(id) >> self.stride_log2;
        let local = u64::from(id) - (block << self.stride_log2);
        self.starts[block as usize] + local as u32
    }
}

/// What some users had: places of products, rising, each once.
#[derive(Clone, Debug, Default)]
pub struct Baskets {
    places: Vec<u32>,
    ends: Vec<usize>,
    entries: Vec<(u32, u32)>,
}

impl Baskets {
    /// Bytes for users with so many interactions in all.
    pub fn bytes(interactions: u64) -> u64 {
        20 * interactions
    }

    /// Takes other users, whose rows are whole.
    pub fn fill(&mut self, starts: &Starts, users: CsrRef<'_>) {
        self.places.clear();
        self.ends.clear();
        self.ends.push(0);
        for row in 0..users.rows() {
            let columns = &users.columns()[users.row(row)];
            let each = columns.chunk_by(|one, next| one == next);
            self.places.extend(each.map(|same| starts.place(same[0])));
            self.ends.push(self.places.len());
        }
    }

    /// Counts the users of every product.
    pub fn count_users(&self, users: &mut [u32]) {
        for &place in &self.places {
            users[place as usize] += 1;
        }
    }

    /// Counts for the products of a range of places, a row of `counts` each, the users who have them and each of all `width` products.
    ///
    /// # Panics
    /// Where there is not a row of counts a product.
    pub fn count_pairs(&mut self, products: Range<u32>, width: usize, counts: &mut [u32]) {
        assert_eq!(counts.len(), products.len() * width, "a row a product");
        self.entries.clear();
        for (user, ends) in (0..).zip(self.ends.windows(2)) {
            let had = &self.places[ends[0]..ends[1]];
            let from = had.partition_point(|&place| place < products.start);
            let of = had[from..].iter().take_while(|&&at| at < products.end);
            self.entries
                .extend(of.map(|&place| (place - products.start, user)));
        }
        // One product after the other, so that its row of counts stays near.
        self.entries.par_sort_unstable();
        let rows = counts.par_chunks_mut(width).enumerate();
        rows.for_each(|(product, counts)| {
            let from = self.entries.partition_point(|of| (of.0 as usize) < product);
            let of = self.entries[from..].iter();
            for &(_, user) in of.take_while(|of| of.0 as usize == product) {
                let ends = self.ends[user as usize]..self.ends[user as usize + 1];
                for &place in &self.places[ends] {
                    counts[place as usize] += 1;
                }
            }
        });
    }
}

/// One that may be among the nearest.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    similarity: f64,
    tie: u64,
    product: u32,
}

impl Candidate {
    fn order(&self, other: &Self) -> Ordering {
        let nearer = other.similarity.total_cmp(&self.similarity);
        let ties = self.tie.cmp(&other.tie);
        nearer.then(ties).then(self.product.cmp(&other.product))
    }
}

impl Nearest {
    /// Bytes that a thread needs to choose.
    pub fn scratch_bytes(self) -> u64 {
        2 * u64::from(self.count) * size_of::<Candidate>() as u64
    }

    /// How near two products are.
    pub fn similarity(self, both: u32, users: [u32; 2]) -> f64 {
        let [one, other] = users.map(f64::from);
        f64::from(both) / ((one * other).sqrt() + self.shrinkage)
    }

    /// The nearest of the product at a place, by its counts with all others, which are zeros thereafter. `users` are the counts of each
    /// alone, `described` what is known of them, block by block.
    pub fn of(
        self,
        products: &Grid,
        place: usize,
        (counts, users): (&mut [u32], &[u32]),
        described: &[&[ProductRow]],
        out: &mut [Near],
    ) {
        let keep = self.count as usize;
        let mut best: Vec<Candidate> = Vec::with_capacity(2 * keep);
        let mut worst: Option<Candidate> = None;
        let mut take = |both: u32, other: usize, product: u32, tie: u64| {
            let found = Candidate {
                similarity: self.similarity(both, [users[place], users[other]]),
                tie,
                product,
            };
            if worst.is_some_and(|worst| worst.order(&found) == Ordering::Less) {
                return;
            }
            best.push(found);
            if best.len() == 2 * keep {
                best.select_nth_unstable_by(keep - 1, Candidate::order);
                best.truncate(keep);
                worst = best.last().copied();
            }
        };
        counts[place] = 0;
        let mut rest = counts;
        let mut start = 0;
        for (block, rows) in products.block_ids().zip(described) {
            let (here, behind) = rest.split_at_mut(rows.len());
            let first = products.row_ids(block).start;
            // Most pairs have nobody: sixteen at a time are passed over.
            for (sixteen, counts) in here.chunks_mut(16).enumerate() {
                if counts.iter().fold(0, |any, &both| any | both) == 0 {
                    continue;
                }
                for (at, both) in counts.iter_mut().enumerate().filter(|of| *of.1 > 0) {
                    let local = 16 * sixteen + at;
                    take(*both, start + local, first + local as u32, rows[local].tie);
                    *both = 0;
                }
            }
            (rest, start) = (behind, start + rows.len());
        }
        best.sort_unstable_by(Candidate::order);
        let near = best.iter().map(|of| Near {
            product: of.product,
            similarity: of.similarity as f32,
        });
        let none = std::iter::repeat(Near::NONE);
        for (out, near) in out.iter_mut().zip(near.chain(none)) {
            *out = near;
        }
    }
}

/// The nearest of all products, for scores.
#[derive(Clone, Debug)]
pub struct Neighbourhoods {
    count: usize,
    starts: Starts,
    stride: usize,
    /// Where a product's score stands in a user's row; `u32::MAX`: it is no candidate.
    positions: Vec<u32>,
}

impl Neighbourhoods {
    /// Bytes that stay.
    pub fn bytes(products: &Grid) -> u64 {
        4 * products.rows_total()
    }

    /// Of these candidates, the locals of each block.
    pub fn new(nearest: Nearest, products: &Grid, candidates: &[Vec<u32>]) -> Self {
        let starts = Starts::of(products);
        let mut positions = vec![u32::MAX; products.rows_total() as usize];
        let places = (0..).zip(candidates);
        let places = places.flat_map(|(block, of)| of.iter().map(move |&local| (block, local)));
        for (position, (block, local)) in (0..).zip(places) {
            positions[(starts.block(block) + local) as usize] = position;
        }
        Neighbourhoods {
            count: nearest.count as usize,
            starts,
            stride: super::linear::stride(products),
            positions,
        }
    }

    /// The scores of users as [`super::Linear::score`] lays them out; `blocks` are the nearest of all products.
    ///
    /// # Panics
    /// Where there is not a row of scores a user.
    pub fn score(&self, blocks: &[&[Near]], own: &[super::linear::Own], scores: &mut [f32]) {
        assert_eq!(
            scores.len(),
            own.len() * self.stride,
            "a row of scores a user"
        );
        let users = scores.par_chunks_mut(self.stride).zip(own);
        users.for_each(|(scores, own)| {
            scores.fill(0.0);
            for same in own.chunk_by(|one, next| one.0 == next.0) {
                let product = same[0].0;
                let block = product >> self.starts.stride_log2;
                let local = (self.starts.place(product) - self.starts.block(block)) as usize;
                let near = &blocks[block as usize][local * self.count..][..self.count];
                for near in near {
                    if near.product == u32::MAX {
                        break;
                    }
                    let place = self.starts.place(near.product) as usize;
                    if let Some(score) = scores.get_mut(self.positions[place] as usize) {
                        *score += near.similarity;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;
    use tensor::Small;
    use tensor::csr::Values;

    fn grid() -> Grid {
        Grid {
            stride_log2: 4,
            rows: vec![7, 5, 6],
        }
    }

    /// 40 users with some of 18 products, some of them twice.
    fn users() -> Vec<Vec<u32>> {
        let grid = grid();
        let ids: Vec<u32> = grid.block_ids().flat_map(|b| grid.row_ids(b)).collect();
        let draw = |user: u32, place: u32| Random::new(3, 1, user, place).word_64(0);
        let had = |user: u32| {
            let of = (0..ids.len() as u32).filter(|&place| draw(user, place) % 3 == 0);
            let twice = of.flat_map(|place| {
                let times = 1 + usize::from(draw(user, place) % 9 == 0);
                std::iter::repeat_n(ids[place as usize], times)
            });
            twice.collect()
        };
        (0..40).map(had).collect()
    }

    fn described(ties: impl Fn(u32) -> u64) -> Vec<Vec<ProductRow>> {
        let grid = grid();
        let row = |id| ProductRow {
            tie: ties(id),
            ..ProductRow::default()
        };
        grid.block_ids()
            .map(|block| grid.row_ids(block).map(row).collect())
            .collect()
    }

    /// All nearest, counted in pieces of so many users and so many products at a time.
    fn all(nearest: Nearest, pieces: usize, pass: u32, ties: impl Fn(u32) -> u64) -> Vec<Near> {
        let (grid, users) = (grid(), users());
        let starts = Starts::of(&grid);
        let width = grid.rows_total() as usize;
        let described = described(ties);
        let described: Vec<&[ProductRow]> = described.iter().map(Vec::as_slice).collect();
        let mut found = vec![Near::NONE; width * nearest.count as usize];
        let mut alone = vec![0; width];
        let mut baskets = Baskets::default();
        for first in (0..width as u32).step_by(pass as usize) {
            let of = first..(first + pass).min(width as u32);
            let mut counts = vec![0; of.len() * width];
            for users in users.chunks(pieces) {
                let columns = users.concat();
                let ends = users.iter().scan(0, |sum, user| {
                    *sum += user.len() as u64;
                    Some(*sum)
                });
                let ends: Vec<u64> = std::iter::once(0).chain(ends).collect();
                let csr = CsrRef::new(&ends, 0, &columns, Small::default(), Values::All(1.0), None);
                baskets.fill(&starts, csr.unwrap());
                if first == 0 {
                    baskets.count_users(&mut alone);
                }
                baskets.count_pairs(of.clone(), width, &mut counts);
            }
            for (place, counts) in of.zip(counts.chunks_mut(width)) {
                let mut out = found.chunks_mut(nearest.count as usize);
                let out = out.nth(place as usize).unwrap();
                nearest.of(&grid, place as usize, (counts, &alone), &described, out);
            }
            assert!(
                counts.iter().all(|&count| count == 0),
                "the next counts from zero"
            );
        }
        found
    }

    #[test]
    fn the_nearest_are_those_of_all_pairs() {
        let (grid, users) = (grid(), users());
        let ids: Vec<u32> = grid.block_ids().flat_map(|b| grid.row_ids(b)).collect();
        let tie = |id: u32| u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let nearest = Nearest {
            count: 4,
            shrinkage: 2.5,
        };
        let found = all(nearest, 40, 18, tie);
        for (&product, near) in ids.iter().zip(found.chunks(4)) {
            let has = |user: &&Vec<u32>, of: u32| user.contains(&of);
            let alone = |of: u32| users.iter().filter(|user| has(user, of)).count() as f64;
            let mut others: Vec<(f64, u64, u32)> = ids
                .iter()
                .filter(|&&other| other != product)
                .map(|&other| {
                    let both = users.iter().filter(|u| has(u, product) && has(u, other));
                    let root = (alone(product) * alone(other)).sqrt();
                    (-(both.count() as f64) / (root + 2.5), tie(other), other)
                })
                .filter(|other| other.0 < 0.0)
                .collect();
            others.sort_by(|one, other| one.partial_cmp(other).unwrap());
            assert!(others.len() > 4);
            for (near, expected) in near.iter().zip(others) {
                assert_eq!(near.product, expected.2);
                assert!((f64::from(near.similarity) + expected.0).abs() < 1e-7);
            }
        }
        // Neither pieces nor passes change them; other ties do, where they decide.
        for (pieces, pass) in [(1, 1), (7, 5), (40, 3)] {
            assert_eq!(all(nearest, pieces, pass, tie), found);
        }
    }

    #[test]
    fn equally_near_ones_are_told_apart_by_the_hash_of_their_ids() {
        let one = Nearest {
            count: 1,
            shrinkage: 0.0,
        };
        let grid = grid();
        let described = |ties: [u64; 18]| -> Vec<Vec<ProductRow>> {
            let mut ties = ties.into_iter();
            let mut row = || ProductRow {
                tie: ties.next().unwrap(),
                ..ProductRow::default()
            };
            let blocks = grid.rows.iter();
            blocks
                .map(|&rows| (0..rows).map(|_| row()).collect())
                .collect()
        };
        // The first product shares as many users with the second as with the eighth, which have as many.
        for (hash, expected) in [(1, 1), (9, 16)] {
            let (mut counts, mut alone) = ([0; 18], [0; 18]);
            for place in [0, 1, 7] {
                (counts[place], alone[place]) = (3, 5);
            }
            let mut ties = [5; 18];
            ties[1] = hash;
            let described = described(ties);
            let described: Vec<&[ProductRow]> = described.iter().map(Vec::as_slice).collect();
            let mut out = [Near::NONE];
            one.of(&grid, 0, (&mut counts, &alone), &described, &mut out);
            assert_eq!(out[0].product, expected);
            assert!((out[0].similarity - 0.6).abs() < 1e-6);
        }
    }
}
