//! Heads of graph models: losses of the scores of interactions, and their gradients by the rows that are scored. A pass over the
//! user-major partitions gives those of users, one over the product-major ones those of products; neither sends anything to the
//! other.
//!
//! - *All pairs*: ½ Σ (1 − u·v)² over interactions + ½ α0 Σ (u·v)² over all pairs. The second sum and its gradient α0 (VᵀV) u come
//!   of the Gram matrix of the other table ([`whole_pull`]).
//! - *BPR* (Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009): −ln σ(u·(v − v')), v' the product's
//!   rival. It is the logistic loss of u·d with d = v − v', so a table of differences ([`RivalsOp::place`]) is made first, and
//!   the pass is the same; what d gets of gradient is v's, and less it that of v' ([`RivalsOp::undo`]). A step deals every product one
//!   rival, uniformly among those that have interactions: a block's are in another block, so many further on that the step has drawn,
//!   paired in orders that it has drawn too ([`RivalsOp::order`]). So each is a rival about once, and gradients are pulls between two
//!   blocks. By a power of their degrees they are drawn instead, each by itself ([`RivalsOp::rivals`]).
//! - *Logistic*: −ln σ(u·v) over interactions, and −ln σ(−u·v') over k rivals of each: a pass for each of them, with the rows of rivals
//!   in the place of products, onto what the one before has made.
//! - *Squared*: ½ (y − u·v)² over interactions, y their value, and ½ (u·v')² over rivals in the same way.
//!
//! In batches, an interaction is of the one that a hash of both its rows and the epoch says ([`Batch::holds`]): both passes know.

use super::ops::{Batch, Edges, HeadOp, RivalsOp, ScoreLoss, Target, Versus};
use super::product::{Sums, weights_of};
use crate::reduce::tree_sum;
use crate::sgd::noise;
use kernels::losses::Loss;
use kernels::random::Random;
use kernels::{
    Losses, Rows, Simd, Weights, inner, rotate, slopes, upper_index, upper_len, width_of,
};
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
        let loss = match op.loss {
            ScoreLoss::Squared => Loss::Squared,
            ScoreLoss::Logistic => Loss::Logistic,
        };
        let targets = match op.target {
            Target::Number(target) => Weights::All(target),
            Target::Value => weights_of(Edges::Values, csr.values()),
        };
        // Their sum has no order, so threads may add as they come.
        let sum = Mutex::new(Losses::default());
        self.sums.piece(csr, first_row, out, |first, bounds, sums| {
            let mut losses = Losses::default();
            let (mut some, mut of_some) = (Vec::new(), Vec::new());
            for (line, sums) in sums.chunks_exact_mut(width).enumerate() {
                let positions = bounds[line] as usize..bounds[line + 1] as usize;
                let row = first_row + first + line;
                let mut columns = &csr.columns()[positions.clone()];
                let mut targets = targets;
                if let Weights::Each(all) = targets {
                    targets = Weights::Each(&all[positions.clone()]);
                }
                if op.batch.count > 1 {
                    let this = first_id + row as u32;
                    let held = |at: usize| {
                        let (user, product) = match op.mode {
                            Mode::User => (this, ids[at]),
                            _ => (ids[at], this),
                        };
                        op.batch.holds(user, product)
                    };
                    some.clear();
                    of_some.clear();
                    for (at, &column) in positions.clone().zip(columns) {
                        if !held(at) {
                            continue;
                        }
                        some.push(column);
                        if let Weights::Each(all) = targets {
                            of_some.push(all[at - positions.start]);
                        }
                    }
                    columns = &some;
                    if let Weights::Each(_) = targets {
                        targets = Weights::Each(&of_some);
                    }
                }
                let own = &own[row * width..(row + 1) * width];
                losses = losses.and(slopes(simd, (loss, targets), others, own, columns, sums));
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

/// Adds gradients to those of another pass.
///
/// # Panics
/// Where there are not as many.
pub fn add_pass(so_far: &[f32], out: &mut [f32]) {
    assert_eq!(so_far.len(), out.len(), "as many rows");
    out.par_iter_mut()
        .zip(so_far)
        .with_min_len(1 << 14)
        .for_each(|(x, y)| *x += y);
}

/// Bytes that [`whole_pull`] takes beside rows.
pub fn whole_bytes(width: usize, threads: usize) -> u64 {
    4 * (width * (width + threads * SHARE_ROWS)) as u64
}

impl RivalsOp {
    fn random(&self, block: u32) -> Random {
        Random::new(self.seed, PURPOSE, self.dealing, block)
    }

    /// Blocks between a block and that of its rivals: none only where there is one block.
    fn distance(&self) -> u32 {
        let word = u64::from(self.random(u32::MAX).word(0));
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

    /// The products of a block that have a degree, in this dealing's order.
    fn order(&self, block: BlockId, degrees: &[f64]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..degrees.len() as u32)
            .filter(|&row| degrees[row as usize] > 0.0)
            .collect();
        // Fisher and Yates, as Durstenfeld (1964).
        let random = self.random(block.0);
        for (last, draw) in (1..order.len()).rev().zip(0..) {
            let other = (u64::from(random.word(draw)) * (last as u64 + 1)) >> 32;
            order.swap(last, other as usize);
        }
        order
    }

    /// Pairs of a product and its rival, by the degrees of a block and of that of its rivals: each has the one of the same place in the
    /// other block's order, beyond its end from the first on again, or one that is drawn of all; none where the other block is empty.
    pub fn pairs(&self, block: BlockId, degrees: &[f64], of_rivals: &[f64]) -> Vec<(u32, u32)> {
        let order = self.order(block, degrees);
        let rivals = if self.noise == 0.0 {
            self.order(self.rivals_of(block), of_rivals)
        } else {
            self.drawn(block, of_rivals, order.len())
        };
        order.into_iter().zip(rivals.into_iter().cycle()).collect()
    }

    /// So many rivals, each drawn by the power of its degree.
    fn drawn(&self, block: BlockId, degrees: &[f64], count: usize) -> Vec<u32> {
        let weights = degrees
            .iter()
            .map(|&degree| noise::weight(degree, self.noise));
        let weights: Vec<f64> = weights.collect();
        if weights.iter().all(|&weight| weight == 0.0) {
            return Vec::new();
        }
        let (slots, random) = (noise::table(&weights), self.random(block.0));
        // Words behind those of the order.
        let words = (0..count as u32).map(|at| random.word_64(1 << 30 | at));
        words.map(|word| noise::draw(&slots, word)).collect()
    }

    /// What takes the place of the products of a block.
    ///
    /// # Panics
    /// Where lengths differ, or a row is not there.
    pub fn place(
        &self,
        pairs: &[(u32, u32)],
        width: usize,
        (rows, rival_rows): (&[f32], &[f32]),
        out: &mut [f32],
    ) {
        match self.versus {
            Versus::Difference => out.copy_from_slice(rows),
            Versus::Rival => out.fill(0.0),
        }
        add(pairs.iter().copied(), (width, self.sign()), rival_rows, out);
    }

    /// Gradients of the rows of a block: what they have so far, and those of what took the place of the products whose rivals they are
    /// (of `pairs` the second).
    ///
    /// # Panics
    /// Where lengths differ, or a row is not there.
    pub fn undo(
        &self,
        pairs: &[(u32, u32)],
        width: usize,
        (so_far, against): (&[f32], &[f32]),
        out: &mut [f32],
    ) {
        out.copy_from_slice(so_far);
        let pairs = pairs.iter().map(|&(row, rival)| (rival, row));
        add(pairs, (width, self.sign()), against, out);
    }

    /// With what sign rivals count.
    fn sign(&self) -> f32 {
        match self.versus {
            Versus::Difference => -1.0,
            Versus::Rival => 1.0,
        }
    }
}

/// Adds rows to others with a sign, in the order of the pairs (to, from).
fn add(
    pairs: impl Iterator<Item = (u32, u32)>,
    (width, sign): (usize, f32),
    rows: &[f32],
    out: &mut [f32],
) {
    let at = |row: u32| row as usize * width..(row as usize + 1) * width;
    for (to, from) in pairs {
        for (x, y) in out[at(to)].iter_mut().zip(&rows[at(from)]) {
            *x += sign * y;
        }
    }
}
