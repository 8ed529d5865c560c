//! The equations of a small mode, where interactions weigh nothing, from the half-step just before it: a row's
//! S_k = Σ y z over its interactions in bin k, z of the other table, give its right-hand side Σ_k t_k ∘ S_k and, once x is
//! solved, its share x ∘ S_k of bin k's. So the mode needs no pass over the interactions of its own: the partial products of
//! dimension trees (Phan, Tichavský and Cichocki, 2013; Kaya and Uçar, 2018), kept for one row at a time.
//!
//! **Invariant:** S is summed as all rows are ([`Sum`]). Shares of rows are added in f64 over spans of rows that follow from
//! the counts of the block alone, so neither pieces nor threads change a bit.

use super::basis::Basis;
use super::desk::{Desk, Desks};
use super::equations::{Equations, Job, Open};
use super::half_step::Factors;
use super::items::RowItems;
use super::lines::Lines;
use super::sum::{Interactions, SEGMENT, Sum};
use kernels::{CHUNK, Onto, Rows, add, flush, flush_scaled, sum_products};
use rayon::prelude::*;
use std::ops::Range;
use tensor::{CsrRef, Mode};

/// Bins up to which this is cheaper than a pass: a row's S of 64 columns then fills 32 KiB.
pub const BINS_MAX: u32 = 128;

/// Rows whose S wait together for their solutions.
const ROWS: usize = 8;

/// What a span of rows costs at least, an interaction and a bin of a row being 1 each.
const SPAN: u64 = 16_384;

/// Spans that are summed at once, by thread.
const WAVE: usize = 4;

/// The equations of a small mode, as far as a block's rows are solved.
pub(super) struct BinSums {
    mode: Mode,
    bins: usize,
    width: usize,
    counts: Vec<u64>,
    total: Vec<f64>,
    span: Span,
}

/// Rows since the last span was closed.
#[derive(Default)]
struct Span {
    cost: u64,
    /// Their shares; empty before the first.
    sums: Vec<f64>,
}

/// Consecutive rows of a piece that belong to one span.
struct Part {
    rows: Range<usize>,
    /// Whether it is one row that is cut or has several segments; the others are whole rows of at most a segment each.
    alone: bool,
    /// Whether the span ends with it.
    closes: bool,
}

impl BinSums {
    /// Nothing added yet.
    pub(super) fn new(mode: Mode, bins: u32, width: usize) -> Self {
        let bins = bins as usize;
        BinSums {
            mode,
            bins,
            width,
            counts: vec![0; bins],
            total: vec![0.0; bins * width],
            span: Span::default(),
        }
    }

    /// Bytes, beside those of a half-step without it, for a block whose longest row has `longest` interactions.
    pub(super) fn bytes(bins: u32, width: usize, longest: u64, threads: usize) -> u64 {
        let (length, threads) = (bins as usize * width, threads as u64);
        let held = 8 * (2 + WAVE as u64 * threads) * length as u64;
        let desks = threads * (4 * ROWS as u64 + 8) * length as u64;
        let open = (2 * threads + 1) * Sum::bytes(length, longest);
        held + desks + open
    }

    fn length(&self) -> usize {
        self.bins * self.width
    }

    /// Its numbers as [`super::small_mode::packed_len`] has them.
    ///
    /// # Panics
    /// Where `out` has another length.
    pub(super) fn finish(mut self, equations: &Equations, out: &mut [f64]) {
        self.close(equations);
        assert_eq!(
            out.len(),
            self.bins * (self.width + 1),
            "equations of all bins"
        );
        let bins = self.total.chunks_exact(self.width).zip(&self.counts);
        for (out, (sums, &count)) in out.chunks_exact_mut(self.width + 1).zip(bins) {
            out[..self.width].copy_from_slice(sums);
            out[self.width] = count as f64;
        }
    }

    fn close(&mut self, equations: &Equations) {
        let span = std::mem::take(&mut self.span);
        if !span.sums.is_empty() {
            add(equations.simd, &mut self.total, &span.sums);
        }
    }

    /// The rows of a piece by spans, and what the span at its end costs so far. A row counts where it ends, and one of several
    /// segments stands between spans.
    fn parts(&self, csr: &CsrRef<'_>) -> (Vec<Part>, u64) {
        let (mut parts, mut cost, mut start) = (Vec::new(), self.span.cost, 0);
        let mut push = |rows: Range<usize>, alone, closes| {
            if !rows.is_empty() {
                parts.push(Part {
                    rows,
                    alone,
                    closes,
                });
            }
        };
        for row in 0..csr.rows() {
            let (here, all) = (csr.row(row).len() as u64, csr.row_count(row));
            if here == 0 {
                continue;
            }
            if csr.row_start(row) + here == all && all <= SEGMENT {
                cost += all + self.bins as u64;
            }
            let closes = cost >= SPAN;
            if here < all || all > SEGMENT {
                push(start..row, false, false);
                push(row..row + 1, true, closes);
                start = row + 1;
            } else if closes {
                push(start..row + 1, false, true);
                start = row + 1;
            }
            if closes || all > SEGMENT {
                cost = 0;
            }
        }
        push(start..csr.rows(), false, false);
        (parts, cost)
    }

    /// Solves the rows of a piece that end in it, and keeps the sum of the one that does not. Returns those that failed, and
    /// their columns of the basis.
    pub(super) fn piece(
        &mut self,
        equations: &Equations,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        desks: &Desks,
        open: &mut Option<(u32, Open)>,
        all: Job<'_>,
    ) -> Vec<(usize, usize)> {
        self.count(csr);
        let (parts, cost) = self.parts(csr);
        let mut failed = Vec::new();
        let (mut out, mut notes, mut done) = (all.out, all.notes, 0);
        let mut wave = Vec::new();
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            let (skipped, rows) = (part.rows.start - done, part.rows.len());
            done = part.rows.end;
            let (ours, noted);
            (ours, out) = out.split_at_mut((skipped + rows) * self.width);
            (noted, notes) = notes.split_at_mut(skipped + rows);
            let job = Job {
                first_row: all.first_row,
                rows: part.rows,
                out: &mut ours[skipped * self.width..],
                notes: &mut noted[skipped..],
            };
            if part.alone {
                failed.extend(self.alone(equations, csr, factors, desks, open, job));
                if part.closes {
                    self.close(equations);
                }
                continue;
            }
            let sums = if wave.is_empty() {
                std::mem::take(&mut self.span.sums)
            } else {
                Vec::new()
            };
            wave.push((job, part.closes, sums));
            let is_last = parts.peek().is_none_or(|next| next.alone);
            if is_last || wave.len() == WAVE * desks.count() {
                failed.extend(self.wave(equations, csr, factors, desks, std::mem::take(&mut wave)));
            }
        }
        self.span.cost = cost;
        failed
    }

    fn count(&mut self, csr: &CsrRef<'_>) {
        let ids = csr.small().of(self.mode).copied().flatten();
        let ids = ids.expect("the interactions have the mode that is solved");
        let bins = self.bins;
        let parts = ids.par_chunks(SEGMENT as usize).map(|ids| {
            let mut counts = vec![0_u64; bins];
            for &bin in ids {
                counts[bin as usize] += 1;
            }
            counts
        });
        for part in parts.collect::<Vec<_>>() {
            let counts = self.counts.iter_mut().zip(part);
            counts.for_each(|(count, part)| *count += part);
        }
    }

    /// Spans, or what of them is here, side by side; the first goes on from what there is of it.
    fn wave(
        &mut self,
        equations: &Equations,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        desks: &Desks,
        wave: Vec<(Job<'_>, bool, Vec<f64>)>,
    ) -> Vec<(usize, usize)> {
        let (mode, length) = (self.mode, self.length());
        let spans = wave.into_par_iter().with_max_len(1);
        let spans = spans.map(|(job, closes, mut sums)| {
            sums.resize(length, 0.0);
            let failed =
                desks.at(|desk| equations.binned_rows(mode, csr, factors, job, desk, &mut sums));
            (sums, closes, failed)
        });
        let mut all = Vec::new();
        for (sums, closes, failed) in spans.collect::<Vec<_>>() {
            self.span.sums = sums;
            if closes {
                self.close(equations);
            }
            all.extend(failed);
        }
        all
    }

    /// A row that is cut, or shared by all threads.
    fn alone(
        &mut self,
        equations: &Equations,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        desks: &Desks,
        open: &mut Option<(u32, Open)>,
        job: Job<'_>,
    ) -> Option<(usize, usize)> {
        let (simd, length, row) = (equations.simd, self.length(), job.rows.start);
        let all = csr.row_count(row);
        if all > SEGMENT {
            self.close(equations);
        }
        let id = job.first_row + row as u32;
        let mut sum = match open.take() {
            Some((open, Open::Sum(sum))) if open == id => sum,
            _ => Sum::default(),
        };
        assert_eq!(sum.count(), csr.row_start(row), "pieces follow each other");
        let items = ByBin {
            row: equations.items(csr, factors, row),
            mode: self.mode,
        };
        sum.extend_on_all(simd, length, &items, csr.row(row).len(), desks);
        if sum.count() < all {
            *open = Some((id, Open::Sum(sum)));
            return None;
        }
        let total = sum.total(simd, length);
        let mut share = vec![0.0; length];
        let failed = desks.at(|desk| {
            let mut sums: Vec<f32> = total.iter().map(|&sum| sum as f32).collect();
            sum_products(simd, &sums, of_bins(self.mode, factors), job.out);
            let ridges = [equations.ridge(csr, row)];
            let basis = equations.shared_basis();
            let failed = equations.solve_turned(basis, &ridges, desk, job.out, job.notes);
            flush_scaled(simd, &mut sums, job.out, &mut share);
            failed
        });
        if all > SEGMENT {
            add(simd, &mut self.total, &share);
        } else {
            self.span.sums.resize(length, 0.0);
            add(simd, &mut self.span.sums, &share);
        }
        failed.map(|(_, pivot)| (row, pivot))
    }
}

/// The interactions of a row, to be summed by bin.
struct ByBin<'a> {
    row: RowItems<'a>,
    mode: Mode,
}

impl Interactions for ByBin<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, onto: Onto, sums: &mut [f32]) {
        self.row.add_by_bin(self.mode, range, desk, onto, sums);
    }
}

/// What S is multiplied with.
fn of_bins(mode: Mode, factors: Factors<'_>) -> Rows<'_> {
    let table = factors.small.of(mode).copied().flatten();
    table.expect("the factors of the mode that is solved")
}

impl Equations {
    /// The basis of the matrix that all rows share.
    ///
    /// # Panics
    /// Where rows have matrices of their own.
    fn shared_basis(&self) -> &Basis {
        let basis = self.weightless.as_ref();
        basis.expect("rows that share their matrix")
    }

    /// Solves whole rows of at most one segment each, in order, and adds their shares. Returns the first that failed.
    fn binned_rows(
        &self,
        mode: Mode,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        job: Job<'_>,
        desk: &mut Desk,
        shares: &mut [f64],
    ) -> Option<(usize, usize)> {
        let (basis, width, length) = (self.shared_basis(), self.width, shares.len());
        let bins = of_bins(mode, factors);
        // They are zeros: whoever adds to them takes them out again.
        let mut all = std::mem::take(&mut desk.bins);
        if all.len() < ROWS * length {
            all = Lines::zeroed(ROWS * length);
        }
        let sums = &mut all[..ROWS * length];
        let mut failed = None;
        let parts = job
            .out
            .chunks_mut(ROWS * width)
            .zip(job.notes.chunks_mut(ROWS));
        for ((out, notes), first) in parts.zip(job.rows.step_by(ROWS)) {
            let mut ridges = [0.0; ROWS];
            let rows = out
                .chunks_exact_mut(width)
                .zip(sums.chunks_exact_mut(length));
            for (((out, sums), row), ridge) in rows.zip(first..).zip(&mut ridges) {
                let count = csr.row(row).len();
                if count > 0 {
                    *ridge = self.ridge(csr, row);
                    let row = self.items(csr, factors, row);
                    self.sum_by_bin(&ByBin { row, mode }, count, desk, sums);
                    sum_products(self.simd, sums, bins, out);
                }
            }
            let here = self.solve_turned(basis, &ridges[..notes.len()], desk, out, notes);
            failed = failed.or(here.map(|(row, pivot)| (first + row, pivot)));
            let rows = out.chunks_exact(width).zip(sums.chunks_exact_mut(length));
            for ((x, sums), row) in rows.zip(first..) {
                if !csr.row(row).is_empty() {
                    flush_scaled(self.simd, sums, x, shares);
                }
            }
        }
        desk.bins = all;
        failed
    }

    /// S of a row, over the first `count` interactions at hand, onto zeros.
    fn sum_by_bin(&self, items: &ByBin<'_>, count: usize, desk: &mut Desk, out: &mut [f32]) {
        if count <= CHUNK {
            items.add_to(0..count, desk, Onto::Sum, out);
            return;
        }
        let mut total = std::mem::take(&mut desk.bin_sum);
        total.clear();
        total.resize(out.len(), 0.0);
        for start in (0..count).step_by(CHUNK) {
            items.add_to(start..count.min(start + CHUNK), desk, Onto::Sum, out);
            flush(self.simd, out, &mut total);
        }
        out.iter_mut()
            .zip(&total)
            .for_each(|(out, &sum)| *out = sum as f32);
        desk.bin_sum = total;
    }
}
