//! The linear part, R_B D_v^-½ Rᵀ D_u⁻¹ R D_v^-½ for a batch B of users, the item-item matrix never formed.
//!
//! Two passes over the partitions of products: Y = D_u⁻¹ R D_v^-½ R_Bᵀ takes only those columns of R whose product somebody of the
//! batch has, each spread over its users; Z = D_v^-½ Rᵀ Y gathers for every product the rows of its users. Y, users × batch, is
//! the table that is read at random: 64 users wide it stays in the third-level cache for 100,000 users. One pass over the rows of users
//! would do, with two tables of products × batch; but it visits every interaction twice, and writes where this only reads.
//!
//! **Invariant:** a column of Y and Z belongs to one user of the batch: a term is added by product id in Y, in the order of
//! [`Product`] in Z, whoever else is in the batch.

use crate::graph::ops::{Edges, Power};
use crate::graph::product::Product;
use kernels::{LANES, Places, Rows, Simd, Weights, pack_products, packed_len, spread, width_of};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Mutex;
use tensor::csr::Values;
use tensor::{BlockId, CsrRef, Grid};

/// Users of a batch at most.
pub const BATCH: usize = 64;

/// What the linear part is made of, for all users of a task.
#[derive(Clone, Debug)]
pub struct Linear {
    edges: Edges,
    users: Grid,
    products: Grid,
    /// Where each user block begins among all users.
    starts: Vec<usize>,
    /// `D_u`⁻¹, of all users without gaps.
    shares: Vec<f32>,
    /// `D_v`^-½, of all products without gaps.
    roots: Vec<f32>,
    /// Of each block of products those that are scored.
    candidates: Candidates,
}

/// Of each block of products the locals of those that may be listed, rising.
pub type Candidates = Vec<Vec<u32>>;

/// What a user has: products with what they weigh, by rising id.
pub type Own = Vec<(u32, f32)>;

/// Brings the pieces of the partition of a product block: whoever calls gives each, with the first of its rows, in order.
pub trait Partitions: Sync {
    /// Why a partition cannot be read.
    type Error: Send;

    /// Gives all pieces of a block.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn pieces(
        &self,
        block: BlockId,
        of: &mut dyn FnMut(CsrRef<'_>, usize),
    ) -> Result<(), Self::Error>;
}

/// Numbers from one user's scores to the next.
pub fn stride(products: &Grid) -> usize {
    // Room for a whole vector from any product on; a power of two would put all users' lines into few sets of the caches.
    let stride = products.rows_total() as usize / LANES * LANES + 2 * LANES;
    stride
        + if stride.is_multiple_of(1_024) {
            LANES
        } else {
            0
        }
}

impl Linear {
    /// From the degrees of all blocks.
    ///
    /// # Panics
    /// Where there is not a degree a row.
    pub fn new(
        edges: Edges,
        (users, user_degrees): (&Grid, &[&[f64]]),
        (products, product_degrees): (&Grid, &[&[f64]]),
        candidates: Candidates,
    ) -> Self {
        let powers = |degrees: &[&[f64]], power: Power| -> Vec<f32> {
            let all = degrees.iter().flat_map(|block| block.iter());
            all.map(|&degree| power.of(degree) as f32).collect()
        };
        let linear = Linear {
            edges,
            users: users.clone(),
            products: products.clone(),
            starts: starts(users),
            shares: powers(user_degrees, Power(-2)),
            roots: powers(product_degrees, Power(-1)),
            candidates,
        };
        assert_eq!(
            linear.shares.len() as u64,
            users.rows_total(),
            "a degree a user"
        );
        assert_eq!(
            linear.roots.len() as u64,
            products.rows_total(),
            "a degree a product"
        );
        linear
    }

    /// Bytes that stay for a task.
    pub fn bytes(users: &Grid, products: &Grid) -> u64 {
        4 * (users.rows_total() + 2 * products.rows_total())
    }

    /// Bytes that one thread needs for a batch of a width.
    pub fn batch_bytes(users: &Grid, products: &Grid, width: usize) -> u64 {
        let widest = u64::from(products.rows.iter().copied().max().unwrap_or(0));
        4 * (users.rows_total() + widest + LANES as u64) * width as u64
    }

    /// The scores of users: for each a row of [`stride`] numbers, those of the candidates in the order of their ids, one after the
    /// other. Batches have `width` users; `threads` of them are under way at a time.
    ///
    /// # Errors
    /// The first that the partitions gave.
    ///
    /// # Panics
    /// Where there is not a row of scores a user, or the width is no multiple of 16 up to [`BATCH`].
    pub fn score<P: Partitions>(
        &self,
        simd: Simd,
        partitions: &P,
        own: &[Own],
        (width, threads): (usize, usize),
        scores: &mut [f32],
    ) -> Result<(), P::Error> {
        let stride = stride(&self.products);
        assert_eq!(scores.len(), own.len() * stride, "a row of scores a user");
        assert!(
            width.is_multiple_of(LANES) && (LANES..=BATCH).contains(&width),
            "width {width}"
        );
        // Whoever is free takes the next: batches differ in what they have.
        let batches = own.chunks(width).zip(scores.chunks_mut(width * stride));
        let (batches, failed) = (Mutex::new(batches), Mutex::new(None));
        let next = || batches.lock().ok()?.next();
        (0..threads).into_par_iter().for_each(|_| {
            let mut rows = Vec::new();
            while let Some((own, scores)) = next() {
                if let Err(error) = self.batch(simd, partitions, own, &mut rows, scores) {
                    if let Ok(mut failed) = failed.lock() {
                        failed.get_or_insert(error);
                    }
                    return;
                }
            }
        });
        match failed.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The blocks of products with the ids of their rows.
    fn blocks(&self) -> impl Iterator<Item = (BlockId, Range<u32>)> {
        let blocks = self.products.block_ids();
        blocks.map(|block| (block, self.products.row_ids(block)))
    }

    fn batch<P: Partitions>(
        &self,
        simd: Simd,
        partitions: &P,
        own: &[Own],
        rows: &mut Vec<f32>,
        scores: &mut [f32],
    ) -> Result<(), P::Error> {
        let width = width_of(own.len());
        rows.clear();
        rows.resize(self.shares.len() * width, 0.0);
        self.users_of(simd, partitions, own, width, rows)?;
        for (row, share) in rows.chunks_exact_mut(width).zip(&self.shares) {
            scale(row, *share);
        }
        self.products_of(simd, partitions, width, rows, scores)
    }

    /// R D_v^-½ R_Bᵀ.
    fn users_of<P: Partitions>(
        &self,
        simd: Simd,
        partitions: &P,
        own: &[Own],
        width: usize,
        rows: &mut [f32],
    ) -> Result<(), P::Error> {
        let of_user = |(user, own): (usize, &Own)| -> Vec<(u32, usize, f32)> {
            own.iter().map(|&(product, y)| (product, user, y)).collect()
        };
        let mut wanted: Vec<_> = own.iter().enumerate().flat_map(of_user).collect();
        wanted.sort_unstable_by_key(|&(product, user, _)| (product, user));
        let places = Places {
            starts: &self.starts,
            stride_log2: self.users.stride_log2,
        };
        let (mut wanted, mut before) = (&wanted[..], 0);
        let mut added = vec![0.0; width];
        for (block, ids) in self.blocks() {
            let here = wanted.partition_point(|&(product, _, _)| product < ids.end);
            let (here, others) = wanted.split_at(here);
            wanted = others;
            if !here.is_empty() {
                partitions.pieces(block, &mut |csr, first| {
                    let first_id = ids.start + first as u32;
                    let from = here.partition_point(|&(product, _, _)| product < first_id);
                    let to = here
                        .partition_point(|&(product, _, _)| product < first_id + csr.rows() as u32);
                    for same in here[from..to].chunk_by(|a, b| a.0 == b.0) {
                        let local = (same[0].0 - first_id) as usize;
                        let root = self.roots[before + first + local];
                        added.fill(0.0);
                        for &(_, user, y) in same {
                            added[user] += root * y;
                        }
                        let positions = csr.row(local);
                        let weights = match (self.edges, csr.values()) {
                            (Edges::Binary, _) => Weights::All(1.0),
                            (Edges::Values, Values::All(value)) => Weights::All(value),
                            (Edges::Values, Values::Each(values)) => {
                                Weights::Each(&values[positions.clone()])
                            }
                        };
                        spread(
                            simd,
                            &added,
                            &csr.columns()[positions],
                            weights,
                            places,
                            rows,
                        );
                    }
                })?;
            }
            before += ids.len();
        }
        Ok(())
    }

    /// D_v^-½ Rᵀ Y, turned about.
    fn products_of<P: Partitions>(
        &self,
        simd: Simd,
        partitions: &P,
        width: usize,
        rows: &[f32],
        scores: &mut [f32],
    ) -> Result<(), P::Error> {
        let stride = stride(&self.products);
        let all = self.shares.len();
        let ends = self.starts.iter().skip(1).copied().chain([all]);
        let blocks: Vec<&[f32]> = self
            .starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| &rows[start * width..end * width])
            .collect();
        let users = Rows::new(&blocks, self.users.stride_log2, width);
        let (mut out, mut panel) = (Vec::new(), vec![0.0; packed_len(width, LANES)]);
        let (mut before, mut candidates) = (0, 0);
        for (block, ids) in self.blocks() {
            out.clear();
            out.resize(ids.len() * width, 0.0);
            let mut product = Product::new(simd, self.edges, width);
            partitions.pieces(block, &mut |csr, first| {
                product.piece(csr, first, users, &mut out);
            })?;
            let roots = &self.roots[before..before + ids.len()];
            for (row, root) in out.chunks_exact_mut(width).zip(roots) {
                scale(row, *root);
            }
            for sixteen in self.candidates[block.0 as usize].chunks(LANES) {
                pack_products(simd, Rows::contiguous(&[&out], width), sixteen, &mut panel);
                let of_users = scores.chunks_exact_mut(stride);
                for (scores, panel) in of_users.zip(panel.chunks_exact(LANES)) {
                    scores[candidates..candidates + LANES].copy_from_slice(panel);
                }
                candidates += sixteen.len();
            }
            before += ids.len();
        }
        Ok(())
    }
}

fn scale(row: &mut [f32], by: f32) {
    for x in row {
        *x *= by;
    }
}

/// Where each block begins among all rows.
fn starts(grid: &Grid) -> Vec<usize> {
    let rows = grid.rows.iter();
    rows.scan(0, |sum, &rows| {
        *sum += rows as usize;
        Some(*sum - rows as usize)
    })
    .collect()
}
