//! Half a matrix epoch on one block: the rows of one mode are solved, the other tables held.
//!
//! **Invariant:** the block may be given in pieces cut at any interaction, and computed by any number of threads: the
//! bits are those of one piece on one thread.

use super::equations::{Equations, Job, Note, Outcome};
use super::ops::{FailedRow, HalfStepOp, Tally};
use super::sum::{Desk, Desks, SEGMENT, Sum};
use crate::reduce::tree_sum;
use kernels::{Simd, system_len};
use rayon::prelude::*;
use std::ops::Range;
use tensor::{BlockId, CsrRef};

pub use super::equations::Factors;

/// Interactions (and as many rows' worth of solving) that one thread takes at a time.
const SHARE: u64 = 8_192;

/// A half-step on one block, in progress.
pub struct HalfStep {
    equations: Equations,
    first_id: u32,
    open: Option<(u32, Sum)>,
    notes: Vec<Note>,
    failed: Option<FailedRow>,
}

impl HalfStep {
    /// Nothing done yet. `gram` and `time_gram` are the upper triangles of the other tables' Gram matrices, where
    /// the formula has a base.
    ///
    /// # Panics
    /// Where a Gram is not of the formula's width.
    pub fn new(
        simd: Simd,
        op: &HalfStepOp,
        block: BlockId,
        gram: Option<&[f64]>,
        time_gram: Option<&[f64]>,
    ) -> Self {
        let equations = Equations::new(simd, op, &[gram, time_gram]);
        let ids = op.rows.row_ids(block);
        let notes = vec![Note::default(); ids.len()];
        HalfStep {
            equations,
            first_id: ids.start,
            open: None,
            notes,
            failed: None,
        }
    }

    /// Bytes that it holds between pieces, for a block of `rows` rows whose longest has `longest` interactions.
    pub fn bytes(width: usize, rows: u64, longest: u64, threads: usize) -> u64 {
        let notes = rows * std::mem::size_of::<Note>() as u64;
        let parts = if longest > SEGMENT {
            2 * threads as u64 + 1
        } else {
            2
        };
        notes
            + 4 * system_len(width) as u64
            + parts * Sum::bytes(width, longest)
            + threads as u64 * Desk::bytes(width)
    }

    /// Solves the rows of the block that end in this piece, and keeps the sum of the one that does not. `csr` holds
    /// the piece's rows, the first of them the block's `first_row`; `out` holds all rows of the block, zero
    /// where they have no interaction.
    ///
    /// # Panics
    /// Where pieces do not follow each other, or an id has no factors.
    pub fn piece(
        &mut self,
        csr: CsrRef<'_>,
        first_row: u32,
        factors: Factors<'_>,
        desks: &Desks,
        out: &mut [f32],
    ) {
        let width = self.equations.width;
        let mut jobs: Vec<Job<'_>> = Vec::new();
        let mut long = Vec::new();
        let first = first_row as usize;
        let mut out = &mut out[first * width..(first + csr.rows()) * width];
        let mut notes = &mut self.notes[first..first + csr.rows()];
        let mut next = 0;
        for rows in shares(&csr, u64::from(self.equations.formula.rank) / 3) {
            let (skipped, count) = (rows.start - next, rows.len());
            let ours;
            (ours, out) = out.split_at_mut((skipped + count) * width);
            let noted;
            (noted, notes) = notes.split_at_mut(skipped + count);
            next = rows.end;
            let job = Job {
                rows: rows.clone(),
                out: &mut ours[skipped * width..],
                notes: &mut noted[skipped..],
            };
            if count == 1 && is_long(&csr, rows.start) {
                long.push(job);
            } else {
                jobs.push(job);
            }
        }
        let equations = &self.equations;
        let mut failed = Vec::new();
        for job in long {
            let row = job.rows.start;
            let open = self
                .open
                .take()
                .filter(|(open, _)| *open == first_row + row as u32);
            let sum = open.map_or_else(Sum::default, |(_, sum)| sum);
            assert_eq!(sum.count(), csr.row_start(row), "pieces follow each other");
            let outcome = equations.long_row(&csr, row, factors, desks, sum, job);
            match outcome {
                Outcome::Open(sum) => self.open = Some((first_row + row as u32, sum)),
                Outcome::Solved(pivot) => failed.extend(pivot.map(|pivot| (row, pivot))),
            }
        }
        let short = jobs.into_par_iter().with_max_len(1);
        failed.par_extend(
            short.filter_map(|job| desks.at(|desk| equations.short_rows(&csr, factors, job, desk))),
        );
        if let Some((row, pivot)) = failed.into_iter().min() {
            let row = self.first_id + first_row + row as u32;
            let failed = FailedRow {
                row,
                pivot: pivot as u32,
            };
            self.failed =
                Some(self.failed.map_or(
                    failed,
                    |before| if before.row < row { before } else { failed },
                ));
        }
    }

    /// What the block is worth to the objective, added up by rows.
    ///
    /// # Panics
    /// Where the last piece left a row open.
    pub fn finish(self) -> Tally {
        assert!(
            self.open.is_none(),
            "the pieces reach to the end of the block"
        );
        let sum = |of: fn(&Note) -> f64| tree_sum(&self.notes.iter().map(of).collect::<Vec<_>>());
        Tally {
            fit: sum(|note| note.fit),
            regularization: sum(|note| note.regularization),
            failed: self.failed,
        }
    }
}

/// Whether a row is summed outside the shares of short rows: it is cut, or has several segments.
fn is_long(csr: &CsrRef<'_>, row: usize) -> bool {
    let (here, all) = (csr.row(row).len() as u64, csr.row_count(row));
    (here < all && here > 0) || all > SEGMENT
}

/// The rows with interactions in the piece, cut into shares; each long row is a share of its own.
fn shares(csr: &CsrRef<'_>, row_cost: u64) -> Vec<Range<usize>> {
    let mut shares = Vec::new();
    let (mut start, mut cost) = (0, 0);
    for row in 0..csr.rows() {
        let here = csr.row(row).len() as u64;
        if is_long(csr, row) {
            if start < row {
                shares.push(start..row);
            }
            if here > 0 {
                shares.push(row..row + 1);
            }
            (start, cost) = (row + 1, 0);
        } else {
            cost += if here > 0 { here + row_cost } else { 0 };
            if cost >= SHARE {
                shares.push(start..row + 1);
                (start, cost) = (row + 1, 0);
            }
        }
    }
    if start < csr.rows() && cost > 0 {
        shares.push(start..csr.rows());
    }
    shares
}
