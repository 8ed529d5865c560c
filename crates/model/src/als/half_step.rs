//! Half a matrix epoch on one block: the rows of one mode are solved, the other tables held.
//!
//! **Invariant:** the block may be given in pieces cut at any interaction, and computed by any number of threads: the
//! bits are those of one piece on one thread.

use super::formula::Formula;
use super::ops::{FailedRow, HalfStepOp, Tally};
use super::sum::{Desk, Desks, Interactions, SEGMENT, Sum};
use crate::reduce::tree_sum;
use kernels::{
    Base, CHUNK, Rows, Simd, Source, accumulate, batch_len, close, close_long, solve, system_len,
    upper_index, upper_len,
};
use rayon::prelude::*;
use std::ops::Range;
use tensor::csr::Values;
use tensor::{BlockId, CsrRef};

/// Interactions (and as many rows' worth of solving) that one thread takes at a time.
const SHARE: u64 = 8_192;

/// The factors that a piece is computed from, by the ids in its columns and times.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// The other table, or what of it the piece needs.
    pub columns: Rows<'a>,
    /// The table of bins.
    pub times: Option<Rows<'a>>,
}

/// What all rows of a half-step share.
struct Equations {
    simd: Simd,
    formula: Formula,
    width: usize,
    cells: f64,
    /// α0 (G ∘ ...), upper triangle, ones on the diagonal of the padding.
    base: Vec<f32>,
    zeros: Vec<f32>,
    closes_epoch: bool,
}

/// What a solved row is worth to the objective.
#[derive(Clone, Copy, Debug, Default)]
struct Note {
    fit: f64,
    regularization: f64,
}

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
        let width = op.formula.width();
        let equations = Equations {
            simd,
            formula: op.formula,
            width,
            cells: op.cells(),
            base: base(&op.formula, &[gram, time_gram]),
            zeros: vec![0.0; width],
            closes_epoch: op.closes_epoch,
        };
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
                long.push(job)
            } else {
                jobs.push(job)
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

/// Consecutive rows for one thread.
struct Job<'a> {
    rows: Range<usize>,
    out: &'a mut [f32],
    notes: &'a mut [Note],
}

enum Outcome {
    Open(Sum),
    Solved(Option<usize>),
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

/// α0 times the elementwise product of the Grams, rounded to f32, with ones on the diagonal of the padding.
fn base(formula: &Formula, grams: &[Option<&[f64]>]) -> Vec<f32> {
    let (width, rank) = (formula.width(), formula.rank as usize);
    let mut base = vec![0.0; upper_len(width)];
    if formula.has_base() {
        let grams: Vec<&[f64]> = grams.iter().copied().flatten().collect();
        assert!(
            !grams.is_empty() && grams.iter().all(|gram| gram.len() == base.len()),
            "Grams of the width"
        );
        for (i, base) in base.iter_mut().enumerate() {
            *base = (formula.alpha0 * grams.iter().map(|gram| gram[i]).product::<f64>()) as f32;
        }
    }
    for k in rank..width {
        base[upper_index(width, k, k)] = 1.0;
    }
    base
}

/// Interactions of one row, as they stand in the piece.
struct RowItems<'a> {
    simd: Simd,
    formula: &'a Formula,
    factors: Factors<'a>,
    columns: &'a [u32],
    times: Option<&'a [u32]>,
    values: Values<'a>,
    first: usize,
}

impl Interactions for RowItems<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, system: &mut [f32]) {
        let (start, count) = (self.first + range.start, range.len());
        let Desk {
            panel,
            weights,
            targets,
            ..
        } = desk;
        for (e, (weight, target)) in weights
            .iter_mut()
            .zip(targets.iter_mut())
            .take(count)
            .enumerate()
        {
            let term = self.formula.term(self.values.at(start + e));
            (*weight, *target) = (term.weight, term.target);
        }
        let columns = Source {
            rows: self.factors.columns,
            ids: &self.columns[start..],
        };
        let (weights, targets) = (&weights[..count], &targets[..count]);
        match (self.factors.times, self.times) {
            (Some(rows), Some(times)) => {
                let times = Source {
                    rows,
                    ids: &times[start..],
                };
                accumulate(
                    self.simd,
                    &[columns, times],
                    weights,
                    targets,
                    panel,
                    system,
                );
            }
            _ => accumulate(self.simd, &[columns], weights, targets, panel, system),
        }
    }
}

impl Equations {
    fn items<'a>(&'a self, csr: &CsrRef<'a>, factors: Factors<'a>, row: usize) -> RowItems<'a> {
        RowItems {
            simd: self.simd,
            formula: &self.formula,
            factors,
            columns: csr.columns(),
            times: csr.times(),
            values: csr.values(),
            first: csr.row(row).start,
        }
    }

    fn ridge(&self, csr: &CsrRef<'_>, row: usize) -> f32 {
        self.formula
            .row_regularization(csr.row_count(row), self.cells)
    }

    fn closing(&self, ridge: f32) -> Base<'_> {
        Base {
            upper: &self.base,
            ridge,
            rhs: &self.zeros,
        }
    }

    /// A row that is cut, or shared by all threads.
    fn long_row(
        &self,
        csr: &CsrRef<'_>,
        row: usize,
        factors: Factors<'_>,
        desks: &Desks,
        mut sum: Sum,
        job: Job<'_>,
    ) -> Outcome {
        let items = self.items(csr, factors, row);
        let here = csr.row(row).len();
        sum.extend_on_all(self.simd, self.width, &items, here, desks);
        if sum.count() < csr.row_count(row) {
            return Outcome::Open(sum);
        }
        let ridge = self.ridge(csr, row);
        let total = sum.total(self.simd, self.width);
        desks.at(|desk| {
            let slot = &mut desk.batch[..system_len(self.width)];
            close_long(self.simd, self.closing(ridge), &total, slot);
            Outcome::Solved(
                self.solve(1, &[ridge], desk, job.out, job.notes)
                    .map(|(_, pivot)| pivot),
            )
        })
    }

    /// Whole rows of at most one segment each, solved some at a time. Returns the first that failed.
    fn short_rows(
        &self,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        job: Job<'_>,
        desk: &mut Desk,
    ) -> Option<(usize, usize)> {
        let (width, length) = (self.width, system_len(self.width));
        let mut failed = None;
        let mut waiting = Vec::with_capacity(batch_len(width));
        let mut ridges = Vec::with_capacity(batch_len(width));
        let mut outs = vec![0.0; batch_len(width) * width];
        let mut notes = vec![Note::default(); batch_len(width)];
        let last = job.rows.end - 1;
        for row in job.rows.clone() {
            let count = csr.row(row).len();
            if count > 0 {
                let ridge = self.ridge(csr, row);
                self.short_row(
                    &self.items(csr, factors, row),
                    count,
                    ridge,
                    waiting.len(),
                    desk,
                );
                waiting.push(row);
                ridges.push(ridge);
            }
            if waiting.len() == batch_len(width) || (row == last && !waiting.is_empty()) {
                let here = self.solve(waiting.len(), &ridges, desk, &mut outs, &mut notes);
                failed = failed.or(here.map(|(system, pivot)| (waiting[system], pivot)));
                for (place, &row) in waiting.iter().enumerate() {
                    let row = row - job.rows.start;
                    job.out[row * width..][..width]
                        .copy_from_slice(&outs[place * width..][..width]);
                    job.notes[row] = notes[place];
                }
                waiting.clear();
                ridges.clear();
            }
        }
        debug_assert_eq!(desk.batch.len(), batch_len(width) * length);
        failed
    }

    /// Puts the equations of a row into a place of the desk's batch.
    fn short_row(
        &self,
        items: &RowItems<'_>,
        count: usize,
        ridge: f32,
        place: usize,
        desk: &mut Desk,
    ) {
        let length = system_len(self.width);
        let mut chunk = std::mem::take(&mut desk.chunk);
        chunk.fill(0.0);
        if count <= CHUNK {
            items.add_to(0..count, desk, &mut chunk);
            close(
                self.simd,
                self.closing(ridge),
                &chunk,
                &mut desk.batch[place * length..][..length],
            );
        } else {
            let mut sum = std::mem::take(&mut desk.sum);
            sum.fill(0.0);
            for start in (0..count).step_by(CHUNK) {
                items.add_to(start..count.min(start + CHUNK), desk, &mut chunk);
                kernels::flush(self.simd, &mut chunk, &mut sum);
            }
            close_long(
                self.simd,
                self.closing(ridge),
                &sum,
                &mut desk.batch[place * length..][..length],
            );
            desk.sum = sum;
        }
        desk.chunk = chunk;
    }

    /// Solves the first `count` systems of the desk's batch. Returns the first that failed, and its pivot.
    fn solve(
        &self,
        count: usize,
        ridges: &[f32],
        desk: &mut Desk,
        outs: &mut [f32],
        notes: &mut [Note],
    ) -> Option<(usize, usize)> {
        let (width, length) = (self.width, system_len(self.width));
        let batch = &mut desk.batch[..count * length];
        if self.closes_epoch {
            desk.copy[..count * length].copy_from_slice(batch);
        }
        let failed = solve(self.simd, width, batch, &mut desk.solver);
        for place in 0..count {
            let x = &mut outs[place * width..][..width];
            x.copy_from_slice(&batch[place * length + upper_len(width)..][..width]);
            let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let fit = if self.closes_epoch {
                fit(width, &desk.copy[place * length..][..length], x)
            } else {
                0.0
            };
            notes[place] = Note {
                fit,
                regularization: f64::from(ridges[place]) * squares,
            };
        }
        failed.map(|failed| (failed.system, failed.pivot))
    }
}

/// xᵀ(rhs + residual) = 2 xᵀ rhs − xᵀ A x in f64.
fn fit(width: usize, system: &[f32], x: &[f32]) -> f64 {
    const LANES: usize = kernels::LANES;
    let (mut upper, rhs) = system.split_at(upper_len(width));
    let linear: f64 = rhs
        .iter()
        .zip(x)
        .map(|(&b, &x)| f64::from(b) * f64::from(x))
        .sum();
    let mut quadratic = 0.0;
    for (k, &xk) in x.iter().enumerate() {
        let from = k / LANES * LANES;
        let row;
        (row, upper) = upper.split_at(width - from);
        let dot = |row: &[f32], x: &[f32]| -> f64 {
            let mut sums = [0.0_f64; LANES];
            for (row, x) in row.chunks_exact(LANES).zip(x.chunks_exact(LANES)) {
                for (sum, (&a, &x)) in sums.iter_mut().zip(row.iter().zip(x)) {
                    *sum += f64::from(a) * f64::from(x);
                }
            }
            sums.iter().sum()
        };
        // Blocks beyond the diagonal one stand for their mirror images too; the diagonal one is kept whole.
        let own = dot(&row[..LANES], &x[from..from + LANES]);
        let beyond = dot(&row[LANES..], &x[from + LANES..]);
        quadratic += f64::from(xk) * (own + 2.0 * beyond);
    }
    2.0 * linear - quadratic
}
