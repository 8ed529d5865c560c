//! Half an epoch on one block: the rows of one mode are solved, the other tables held.
//!
//! **Invariant:** the block may be given in pieces cut at any interaction, and computed by any number of threads: the
//! bits are those of one piece on one thread.

use super::basis::Basis;
use super::bin_sums::BinSums;
use super::desk::{Desk, Desks};
use super::equations::{Equations, Job, Note, Open, Outcome};
use super::neighbours::Neighbours;
use super::ops::{FailedRow, HalfStepOp, Tally};
use super::packed::Packed;
use super::side::Side;
use super::solver::panel_rows;
use super::sum::{SEGMENT, Sum};
use crate::reduce::tree_sum;
use kernels::{Simd, batch_len, non_negative_scratch, system_len};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use tensor::{BlockId, CsrRef, Mode};

pub use super::items::Factors;
pub use super::shared::Shared;

/// Interactions (and as many rows' worth of solving) that one thread takes at a time.
const SHARE: u64 = 8_192;
/// The longest share of more than one row, so that many threads find work in a block.
const SHARE_MAX: u64 = 8 * SHARE;

/// A half-step on one block, in progress.
pub struct HalfStep {
    equations: Equations,
    first_id: u32,
    open: Option<(u32, Open)>,
    sums: Option<BinSums>,
    notes: Vec<Note>,
    failed: Option<FailedRow>,
}

impl HalfStep {
    /// Nothing done yet.
    ///
    /// # Panics
    /// Where a shared matrix is missing or not of the formula's width.
    pub fn new(simd: Simd, op: &HalfStepOp, block: BlockId, shared: Shared<'_>) -> Self {
        let equations = Equations::new(simd, op, shared);
        let ids = op.rows.row_ids(block);
        let notes = vec![Note::default(); ids.len()];
        let sums = summed(op).map(|(mode, bins)| BinSums::new(mode, bins, equations.width));
        HalfStep {
            equations,
            first_id: ids.start,
            open: None,
            sums,
            notes,
            failed: None,
        }
    }

    /// Takes what is known of the rows of the block besides.
    #[must_use]
    pub fn with_side(mut self, side: Arc<Side>) -> Self {
        self.equations.take_side(side);
        self
    }

    /// Holds rows to their neighbours.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: Neighbours) -> Self {
        self.equations.neighbours = Some(neighbours);
        self
    }

    /// Bytes that it holds between pieces, for a block of `rows` rows whose longest has `longest` interactions.
    pub fn bytes(op: &HalfStepOp, rows: u64, longest: u64, threads: usize) -> u64 {
        let width = op.formula.width();
        let notes = rows * std::mem::size_of::<Note>() as u64;
        let parts = if longest > SEGMENT {
            2 * threads as u64 + 1
        } else {
            2
        };
        let panel = Self::panel(op, longest);
        // Turned rows have their copies, one share of them a thread.
        let basis = if op.basis {
            Basis::bytes(width) + Basis::turning_bytes(width) * threads as u64
        } else {
            0
        };
        let squares = if op.non_negative {
            4 * non_negative_scratch(width) as u64 * threads as u64
        } else {
            0
        };
        let sums = summed(op).map_or(0, |(_, bins)| BinSums::bytes(bins, width, longest, threads));
        let neighbours = op.neighbours.map_or(0, |_| Neighbours::bytes(width, rows));
        notes
            + neighbours
            + sums
            + basis
            + squares
            + 4 * (system_len(width) + width * width) as u64
            + parts * Sum::bytes(system_len(width), longest)
            + Packed::bytes(width, panel)
            + threads as u64 * Desk::bytes(width, panel)
    }

    /// Interactions of the longest panel where no row has more than `longest`: for [`Desks::new`].
    pub fn panel(op: &HalfStepOp, longest: u64) -> usize {
        if op.solver.takes_panels() {
            panel_rows(op.formula.width()).min(longest as usize)
        } else {
            0
        }
    }

    /// Puts the last factors where the rows start from: `last` holds the block's last version, row i of it owns the
    /// interactions `offsets[i] .. offsets[i + 1]`. Without it rows start from zero, and those that are solved at once are left
    /// as they are. A row without interactions is zero.
    ///
    /// # Panics
    /// Where lengths disagree.
    pub fn start(&self, last: Option<&[f32]>, offsets: &[u64], out: &mut [f32]) {
        let (simd, width) = (self.equations.simd, self.equations.width);
        assert_eq!(offsets.len() * width, out.len() + width);
        match (last, &self.equations.basis) {
            (Some(last), Some(basis)) => basis.turn(simd, last, out),
            (Some(last), None) => out.copy_from_slice(last),
            (None, _) if self.equations.starts_from_nothing() => {}
            (None, _) => out.fill(0.0),
        }
        for (row, ends) in out.chunks_exact_mut(width).zip(offsets.windows(2)) {
            if ends[0] == ends[1] {
                row.fill(0.0);
            }
        }
    }

    /// Solves the rows of the block that end in this piece, and keeps the sum of the one that does not. `csr` holds
    /// the piece's rows, the first of them the block's `first_row`; `out` holds all rows of the block: before, what rows
    /// start from.
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
        if let Some(mut sums) = self.sums.take() {
            let (first, rows) = (first_row as usize, csr.rows());
            let job = Job {
                first_row,
                rows: 0..rows,
                out: &mut out[first * width..(first + rows) * width],
                notes: &mut self.notes[first..first + rows],
            };
            let failed = sums.piece(&self.equations, &csr, factors, desks, &mut self.open, job);
            self.sums = Some(sums);
            self.note_failed(first_row, failed);
            return;
        }
        let mut jobs: Vec<Job<'_>> = Vec::new();
        let mut long = Vec::new();
        let first = first_row as usize;
        let mut out = &mut out[first * width..(first + csr.rows()) * width];
        let mut notes = &mut self.notes[first..first + csr.rows()];
        let mut next = 0;
        let row_cost = u64::from(self.equations.formula.rank) / 3;
        for rows in shares(&csr, row_cost, batch_len(width)) {
            let (skipped, count) = (rows.start - next, rows.len());
            let ours;
            (ours, out) = out.split_at_mut((skipped + count) * width);
            let noted;
            (noted, notes) = notes.split_at_mut(skipped + count);
            next = rows.end;
            let job = Job {
                first_row,
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
            let open = open.map_or_else(|| equations.open(&csr, first_row, row), |(_, open)| open);
            assert_eq!(open.count(), csr.row_start(row), "pieces follow each other");
            let outcome = equations.long_row(&csr, row, factors, desks, open, job);
            match outcome {
                Outcome::Open(open) => self.open = Some((first_row + row as u32, open)),
                Outcome::Solved(pivot) => failed.extend(pivot.map(|pivot| (row, pivot))),
            }
        }
        let short = jobs.into_par_iter().with_max_len(1);
        failed.par_extend(
            short.filter_map(|job| desks.at(|desk| equations.short_rows(&csr, factors, job, desk))),
        );
        self.note_failed(first_row, failed);
    }

    /// Keeps the first row that failed.
    fn note_failed(&mut self, first_row: u32, failed: Vec<(usize, usize)>) {
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

    /// Puts out the block's part of the equations of a small mode, where the op asks for it.
    ///
    /// # Panics
    /// Where the op does not, a row is open, or `out` has another length.
    pub fn small_equations(&mut self, out: &mut [f64]) {
        assert!(
            self.open.is_none(),
            "the pieces reach to the end of the block"
        );
        let sums = self.sums.take().expect("sums that the op asks for");
        sums.finish(&self.equations, out);
    }

    /// Turns the rows back where they were turned. Gives what the block is worth to the objective, added up by rows, and what rows
    /// are held to besides. Row i of the block owns the interactions `offsets[i] .. offsets[i + 1]`.
    ///
    /// # Panics
    /// Where the last piece left a row open.
    pub fn finish(mut self, offsets: &[u64], out: &mut [f32]) -> (Tally, Option<Neighbours>) {
        if let Some(basis) = &self.equations.basis {
            basis.turn_back(self.equations.simd, out);
        }
        assert!(
            self.open.is_none(),
            "the pieces reach to the end of the block"
        );
        let neighbours = self.equations.neighbours;
        if let Some(neighbours) = &neighbours {
            neighbours.complete(self.equations.simd, offsets, out, &mut self.notes);
        }
        let sum = |of: fn(&Note) -> f64| tree_sum(&self.notes.iter().map(of).collect::<Vec<_>>());
        let tally = Tally {
            fit: sum(|note| note.fit),
            regularization: sum(|note| note.regularization),
            failed: self.failed,
        };
        (tally, neighbours)
    }
}

/// The small mode of which equations come along, and its rows.
fn summed(op: &HalfStepOp) -> Option<(Mode, u32)> {
    let mode = op.sums?;
    let rows = op.small.of(mode).copied().flatten();
    Some((mode, rows.expect("the mode is factored")))
}

/// Whether a row is summed outside the shares of short rows: it is cut, or has several segments.
fn is_long(csr: &CsrRef<'_>, row: usize) -> bool {
    let (here, all) = (csr.row(row).len() as u64, csr.row_count(row));
    (here < all && here > 0) || all > SEGMENT
}

/// The rows with interactions in the piece, cut into shares; each long row is a share of its own. A share ends with a
/// whole batch of systems, unless that would make it too long: half-empty batches cost as much as full ones.
fn shares(csr: &CsrRef<'_>, row_cost: u64, batch: usize) -> Vec<Range<usize>> {
    let mut shares = Vec::new();
    let (mut start, mut cost, mut systems) = (0, 0, 0);
    for row in 0..csr.rows() {
        let here = csr.row(row).len() as u64;
        if is_long(csr, row) {
            if start < row {
                shares.push(start..row);
            }
            if here > 0 {
                shares.push(row..row + 1);
            }
            (start, cost, systems) = (row + 1, 0, 0);
        } else if here > 0 {
            cost += here + row_cost;
            systems += 1;
            let whole = systems % batch == 0 || cost >= SHARE_MAX;
            if cost >= SHARE && whole {
                shares.push(start..row + 1);
                (start, cost, systems) = (row + 1, 0, 0);
            }
        }
    }
    if start < csr.rows() && cost > 0 {
        shares.push(start..csr.rows());
    }
    shares
}
