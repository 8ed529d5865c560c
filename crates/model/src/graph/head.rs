//! Heads of graph models: losses of the scores of interactions, and their gradients by the rows that are scored. A pass over the
//! user-major partitions gives those of users, one over the product-major ones those of products; neither sends anything to the
//! other.
//!
//! - *All pairs*: ½ Σ (1 − u·v)² over interactions + ½ α0 Σ (u·v)² over all pairs. The second sum and its gradient α0 (VᵀV) u come
//!   of the Gram matrix of the other table ([`whole_pull`]).
//! - *BPR* (Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009): −ln σ(u·(v − v')), v' the product's
//!   rival. It is the logistic loss of u·d with d = v − v', so a table of differences ([`differences`]) is made first, and
//!   the pass is the same; what d gets of gradient is v's, and less it that of v' ([`undo`]). A step deals every product one rival of its
//!   block: the next in a cycle through those that have interactions, in an order of this step's own ([`rivals`]). So each is a
//!   rival once, its gradient comes from one row, and no sum waits for another. Rivals within blocks are fair, as blocks are
//!   dealt (DESIGN 3.4).
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
                let positions = bounds[line]..bounds[line + 1];
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

/// The cycle of a block's products in a step: each one's rival is the next, that of the last the first. Those without a degree are
/// not in it; of a single one there is no cycle.
pub fn rivals(op: &RivalsOp, block: BlockId, degrees: &[f64]) -> Vec<u32> {
    let mut cycle: Vec<u32> = (0..degrees.len() as u32)
        .filter(|&row| degrees[row as usize] > 0.0)
        .collect();
    if cycle.len() < 2 {
        cycle.clear();
    }
    // Fisher and Yates, as Durstenfeld (1964).
    let random = Random::new(op.seed, PURPOSE, op.step, block.0);
    for (last, draw) in (1..cycle.len()).rev().zip(0..) {
        let other = (u64::from(random.word(draw)) * (last as u64 + 1)) >> 32;
        cycle.swap(last, other as usize);
    }
    cycle
}

/// Each row less that of its rival; zeros where it has none.
///
/// # Panics
/// Where lengths differ.
pub fn differences(cycle: &[u32], width: usize, rows: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), out.len(), "a row for a row");
    out.fill(0.0);
    let at = |row: u32| row as usize * width;
    for (place, &row) in cycle.iter().enumerate() {
        let rival = cycle[(place + 1) % cycle.len()];
        let (x, y) = (&rows[at(row)..][..width], &rows[at(rival)..][..width]);
        for ((out, x), y) in out[at(row)..][..width].iter_mut().zip(x).zip(y) {
            *out = x - y;
        }
    }
}

/// Gradients of rows out of those of their differences: each row's own less that of whose rival it is; zeros where it has none.
///
/// # Panics
/// Where lengths differ.
pub fn undo(cycle: &[u32], width: usize, gradients: &[f32], out: &mut [f32]) {
    assert_eq!(gradients.len(), out.len(), "a row for a row");
    out.fill(0.0);
    let at = |row: u32| row as usize * width;
    for (place, &row) in cycle.iter().enumerate() {
        let rival = cycle[(place + 1) % cycle.len()];
        let (own, less) = (
            &gradients[at(rival)..][..width],
            &gradients[at(row)..][..width],
        );
        for ((out, x), y) in out[at(rival)..][..width].iter_mut().zip(own).zip(less) {
            *out = x - y;
        }
    }
}
