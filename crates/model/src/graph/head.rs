//! Heads of graph models: losses of the scores of interactions, and their gradients by the rows that are scored. A pass over the
//! user-major partitions gives those of users, one over the product-major ones those of products; neither sends anything to the
//! other.
//!
//! - *All pairs*: ½ Σ (1 − u·v)² over interactions + ½ α0 Σ (u·v)² over all pairs. The second sum and its gradient α0 (VᵀV) u come
//!   of the Gram matrix of the other table ([`whole_pull`]).
//! - *BPR* (Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009): −ln σ(u·(v − v')), v' the product's
//!   rival. It is the logistic loss of u·d with d = v − v', so a table of differences ([`differences`]) is made first, and
//!   the pass is the same; what d gets of gradient is v's, and less it that of v' ([`undo`]). A step deals every product one rival, uniformly
//!   among those that have interactions: a block's are in another block, so many further on that the step has drawn, paired in
//!   orders that it has drawn too ([`RivalsOp::order`]). So each is a rival about once, and gradients are pulls between two blocks.
//!
//! In batches, an interaction is of the one that a hash of both its rows and the epoch says ([`Batch::holds`]): both passes know.

use super::ops::{Batch, Head, HeadOp, RivalsOp};
use super::product::Sums;
use crate::reduce::tree_sum;
use kernels::losses::Loss;
use kernels::random::Random;
use kernels::{Losses, Rows, Simd, inner, rotate, slopes, upper_index, upper_len, width_of};
use rayon::prelude::*;
use std::sync::Mutex;
use tensor::{BlockId, CsrRef, Mode};

/// The purpose of the random numbers that deal rivals.
const PURPOSE: u32 = 0x310;

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 1_024;

impl Batch {
    /// Whether an interaction is of the batch: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014) over its row ids.
    #[inline]
    pub fn holds(&self, user: u32, product: u32) -> bool {
        let mixed =
            mix(mix(self.seed ^ u64::from(self.epoch))
                ^ (u64::from(user) << 32 | u64::from(product)));
        ((mixed >> 32) * u64::from(self.count)) >> 32 == u64::from(self.number)
    }
}

#[inline]
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The gradients of a block's rows in the making.
pub struct Pull {
    simd: Simd,
    op: HeadOp,
    first_id: u32,
    sums: Sums,
    losses: Losses,
}

impl Pull {
    /// No row yet.
    pub fn new(simd: Simd, op: &HeadOp, block: BlockId) -> Self {
        Pull {
            simd,
            op: op.clone(),
            first_id: op.rows.row_ids(block).start,
            sums: Sums::new(width_of(op.columns as usize)),
            losses: Losses::default(),
        }
    }

    /// Adds a piece to the gradients, which begin as zeros: `own` are the rows of the block, `ids` the columns of the piece as the
    /// data set has them. Pieces come in order.
    ///
    /// # Panics
    /// Where the piece has rows beyond those of the block, or names a row that the other table lacks.
    pub fn piece(
        &mut self,
        csr: CsrRef<'_>,
        ids: &[u32],
        first_row: usize,
        others: Rows<'_>,
        own: &[f32],
        out: &mut [f32],
    ) {
        let (simd, op, first_id) = (self.simd, &self.op, self.first_id);
        let width = others.width();
        let loss = match op.head {
            Head::AllPairs { .. } => Loss::Squared,
            Head::Bpr => Loss::Logistic,
        };
        // Their sum has no order, so threads may add as they come.
        let sum = Mutex::new(Losses::default());
        self.sums.piece(csr, first_row, out, |first, bounds, sums| {
            let mut losses = Losses::default();
            let mut some = Vec::new();
            for (line, sums) in sums.chunks_exact_mut(width).enumerate() {
                let positions = bounds[line] as usize..bounds[line + 1] as usize;
                let row = first_row + first + line;
                let columns = if op.batch.count > 1 {
                    let this = first_id + row as u32;
                    let held = positions.filter(|&at| {
                        let (user, product) = match op.mode {
                            Mode::User => (this, ids[at]),
                            _ => (ids[at], this),
                        };
                        op.batch.holds(user, product)
                    });
                    some.clear();
                    some.extend(held.map(|at| csr.columns()[at]));
                    &some[..]
                } else {
                    &csr.columns()[positions]
                };
                let own = &own[row * width..(row + 1) * width];
                losses = losses.and(slopes(simd, (loss, 1.0), others, own, columns, sums));
            }
            let mut sum = sum.lock().expect("no thread panics here");
            *sum = sum.and(losses);
        });
        let sum = sum.into_inner().expect("no thread panics here");
        self.losses = self.losses.and(sum);
    }

    /// The sum of the losses of the interactions.
    pub fn loss(&self) -> f64 {
        self.losses.total()
    }
}

/// α0 of all pairs for one batch: adds α0 G x to the gradient of every row x, G the Gram of the other table as an upper triangle;
/// ½ α0 Σ xᵀ G x.
///
/// # Panics
/// Where rows, gradients and Gram are not of one width.
pub fn whole_pull(
    simd: Simd,
    weight: f64,
    gram: &[f64],
    width: usize,
    rows: &[f32],
    out: &mut [f32],
) -> f64 {
    assert_eq!(gram.len(), upper_len(width), "a Gram of the width");
    let mut matrix = vec![0.0; width * width];
    for i in 0..width {
        for j in 0..width {
            matrix[i * width + j] = (weight * gram[upper_index(width, i.min(j), i.max(j))]) as f32;
        }
    }
    let shares = rows
        .par_chunks(SHARE_ROWS * width)
        .zip(out.par_chunks_mut(SHARE_ROWS * width));
    let forms: Vec<f64> = shares
        .map(|(rows, out)| {
            let mut turned = vec![0.0; rows.len()];
            rotate(simd, width, &matrix, rows, &mut turned);
            for (x, y) in out.iter_mut().zip(&turned) {
                *x += y;
            }
            inner(simd, rows, &turned)
        })
        .collect();
    0.5 * tree_sum(&forms)
}

/// Bytes that [`whole_pull`] takes beside rows.
pub fn whole_bytes(width: usize, threads: usize) -> u64 {
    4 * (width * (width + threads * SHARE_ROWS)) as u64
}

impl RivalsOp {
    /// Blocks between a block and that of its rivals: none only where there is one block.
    fn distance(&self) -> u32 {
        let word = u64::from(Random::new(self.seed, PURPOSE, self.step, u32::MAX).word(0));
        match u64::from(self.blocks) {
            0 | 1 => 0,
            blocks => 1 + ((word * (blocks - 1)) >> 32) as u32,
        }
    }

    /// The block in which those of a block have their rivals.
    pub fn rivals_of(&self, block: BlockId) -> BlockId {
        BlockId((block.0 + self.distance()) % self.blocks)
    }

    /// The block whose rivals are in a block.
    pub fn against(&self, block: BlockId) -> BlockId {
        BlockId((block.0 + self.blocks - self.distance()) % self.blocks)
    }

    /// The products of a block that have a degree, in this step's order: each has the one of the same place in the other block as its
    /// rival, beyond its end from the first on again.
    pub fn order(&self, block: BlockId, degrees: &[f64]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..degrees.len() as u32)
            .filter(|&row| degrees[row as usize] > 0.0)
            .collect();
        // Fisher and Yates, as Durstenfeld (1964).
        let random = Random::new(self.seed, PURPOSE, self.step, block.0);
        for (last, draw) in (1..order.len()).rev().zip(0..) {
            let other = (u64::from(random.word(draw)) * (last as u64 + 1)) >> 32;
            order.swap(last, other as usize);
        }
        order
    }
}

/// Pairs of a row and its rival's row, by the orders of their blocks; none where the other block is empty.
pub fn pairs<'a>(order: &'a [u32], rivals: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
    order.iter().copied().zip(rivals.iter().copied().cycle())
}

/// Each row less that of its rival; of those without, the rows as they are.
///
/// # Panics
/// Where lengths differ, or a row is not there.
pub fn differences(
    (order, rivals): (&[u32], &[u32]),
    width: usize,
    (rows, rival_rows): (&[f32], &[f32]),
    out: &mut [f32],
) {
    out.copy_from_slice(rows);
    less(pairs(order, rivals), width, rival_rows, out);
}

/// Gradients of the rows of a block out of those of differences: what a row's own has, less those of the differences in which it
/// is the rival.
///
/// # Panics
/// Where lengths differ, or a row is not there.
pub fn undo(
    (order, rivals): (&[u32], &[u32]),
    width: usize,
    (against, own): (&[f32], &[f32]),
    out: &mut [f32],
) {
    out.copy_from_slice(own);
    let pairs = pairs(order, rivals).map(|(row, rival)| (rival, row));
    less(pairs, width, against, out);
}

/// Takes rows off others, in the order of the pairs (to, off).
fn less(pairs: impl Iterator<Item = (u32, u32)>, width: usize, off: &[f32], out: &mut [f32]) {
    let at = |row: u32| row as usize * width..(row as usize + 1) * width;
    for (to, from) in pairs {
        for (x, y) in out[at(to)].iter_mut().zip(&off[at(from)]) {
            *x -= y;
        }
    }
}
