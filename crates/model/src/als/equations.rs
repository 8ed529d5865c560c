//! The normal equations of rows: summed, closed with what all rows share, solved and measured.
//!
//! **Invariant:** what a row becomes depends on its interactions and on what [`Equations`] holds, not on the rows that
//! are solved beside it.

use super::basis::Basis;
use super::formula::Formula;
use super::ops::HalfStepOp;
use super::packed::Packed;
use super::settings::Solver;
use super::solver::{Method, Shape};
use super::sum::{Desk, Desks, Interactions, Sum};
use kernels::{
    Base, CHUNK, Common, Dual, Rows, Simd, Source, accumulate, batch_len, close, close_long,
    conjugate_gradients, dual, solve, subspace, system_len, upper_index, upper_len,
};
use std::ops::Range;
use tensor::CsrRef;
use tensor::csr::Values;

/// The factors that a piece is computed from, by the ids in its columns and times.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// The other table, or what of it the piece needs.
    pub columns: Rows<'a>,
    /// The table of bins.
    pub times: Option<Rows<'a>>,
}

/// The matrices that all rows share, as they come from other tables.
#[derive(Clone, Copy, Default)]
pub struct Shared<'a> {
    /// The other table's Gram, upper triangle; with a base and no basis.
    pub gram: Option<&'a [f64]>,
    /// The Gram of the bins, upper triangle; with a base and bins.
    pub time_gram: Option<&'a [f64]>,
    /// The basis that the other table was turned into.
    pub basis: Option<&'a [f64]>,
}

/// What all rows of a half-step share.
pub(super) struct Equations {
    pub(super) simd: Simd,
    pub(super) formula: Formula,
    pub(super) width: usize,
    solver: Solver,
    cg_steps: u32,
    cells: f64,
    /// α0 (G ∘ ...), upper triangle, ones on the diagonal of the padding.
    base: Vec<f32>,
    /// The same for panels.
    common: Matrix,
    pub(super) basis: Option<Basis>,
    zeros: Vec<f32>,
    closes_epoch: bool,
}

/// The base as solvers on panels take it.
enum Matrix {
    Diagonal(Vec<f32>),
    Square(Vec<f32>),
}

/// What a solved row is worth to the objective.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    pub(super) fit: f64,
    pub(super) regularization: f64,
}

/// Consecutive rows for one thread.
pub(super) struct Job<'a> {
    pub(super) rows: Range<usize>,
    pub(super) out: &'a mut [f32],
    pub(super) notes: &'a mut [Note],
}

pub(super) enum Outcome {
    Open(Open),
    Solved(Option<usize>),
}

/// A cut row, so far.
pub(super) enum Open {
    Sum(Sum),
    Packed(Packed),
}

impl Open {
    pub(super) fn count(&self) -> u64 {
        match self {
            Open::Sum(sum) => sum.count(),
            Open::Packed(packed) => packed.count() as u64,
        }
    }
}

/// α0 times the elementwise product of the Grams, or their eigenvalues, rounded to f32, with ones on the diagonal of the
/// padding.
fn base(formula: &Formula, shared: Shared<'_>, basis: Option<&Basis>) -> Vec<f32> {
    let (width, rank) = (formula.width(), formula.rank as usize);
    let mut base = vec![0.0; upper_len(width)];
    if let Some(basis) = basis {
        for k in 0..rank {
            base[upper_index(width, k, k)] = (formula.alpha0 * basis.values[k]) as f32;
        }
    } else if formula.has_base() {
        let grams = [shared.gram, shared.time_gram];
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

/// The upper triangle of a base for panels: its diagonal where it has no more than that.
fn common(width: usize, base: &[f32], diagonal: bool) -> Matrix {
    let entry = |i: usize, j: usize| base[upper_index(width, i.min(j), i.max(j))];
    if diagonal {
        Matrix::Diagonal((0..width).map(|k| entry(k, k)).collect())
    } else {
        Matrix::Square(
            (0..width * width)
                .map(|i| entry(i / width, i % width))
                .collect(),
        )
    }
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

impl RowItems<'_> {
    /// Hands the sources, weights and targets of some interactions to `take`.
    fn with(
        &self,
        range: Range<usize>,
        weights: &mut [f32],
        targets: &mut [f32],
        take: impl FnOnce(&[Source<'_>], &[f32], &[f32]),
    ) {
        let (start, count) = (self.first + range.start, range.len());
        let (weights, targets) = (&mut weights[..count], &mut targets[..count]);
        self.formula.terms(self.values, start, weights, targets);
        let columns = Source {
            rows: self.factors.columns,
            ids: &self.columns[start..],
        };
        match (self.factors.times, self.times) {
            (Some(rows), Some(times)) => {
                let times = Source {
                    rows,
                    ids: &times[start..],
                };
                take(&[columns, times], weights, targets);
            }
            _ => take(&[columns], weights, targets),
        }
    }

    /// Packs the first `count` interactions at hand.
    fn pack(&self, count: usize, desk: &mut Desk, packed: &mut Packed) {
        let mut next = 0;
        while next < count {
            let end = count.min(next + packed.room());
            let (weights, targets) = (&mut desk.weights, &mut desk.targets);
            self.with(next..end, weights, targets, |sources, weights, targets| {
                packed.extend(self.simd, sources, weights, targets);
            });
            next = end;
        }
    }
}

impl Interactions for RowItems<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, system: &mut [f32]) {
        let Desk {
            panel,
            weights,
            targets,
            ..
        } = desk;
        self.with(range, weights, targets, |sources, weights, targets| {
            accumulate(self.simd, sources, weights, targets, panel, system);
        });
    }
}

impl Equations {
    /// The equations of a half-step.
    pub(super) fn new(simd: Simd, op: &HalfStepOp, shared: Shared<'_>) -> Self {
        let width = op.formula.width();
        let basis = shared.basis.map(|object| Basis::open(width, object));
        let base = base(&op.formula, shared, basis.as_ref());
        let diagonal = basis.is_some() || !op.formula.has_base();
        let common = common(width, &base, diagonal || !op.solver.takes_panels());
        Equations {
            simd,
            formula: op.formula,
            width,
            solver: op.solver,
            cg_steps: op.cg_steps,
            cells: op.cells(),
            base,
            common,
            basis,
            zeros: vec![0.0; width],
            closes_epoch: op.closes_epoch,
        }
    }

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

    fn method(&self, csr: &CsrRef<'_>, row: usize) -> Method {
        self.solver.method(Shape {
            count: csr.row_count(row),
            rank: self.formula.rank,
            width: self.width,
            cg_steps: self.cg_steps,
            diagonal: matches!(self.common, Matrix::Diagonal(_)),
        })
    }

    /// What a row that is cut has before its first interaction.
    pub(super) fn open(&self, csr: &CsrRef<'_>, row: usize) -> Open {
        if !self.method(csr, row).takes_panel() {
            return Open::Sum(Sum::default());
        }
        let mut packed = Packed::new(self.width, csr.row_count(row) as usize);
        packed.clear();
        Open::Packed(packed)
    }

    /// A row that is cut, or shared by all threads.
    pub(super) fn long_row(
        &self,
        csr: &CsrRef<'_>,
        row: usize,
        factors: Factors<'_>,
        desks: &Desks,
        open: Open,
        job: Job<'_>,
    ) -> Outcome {
        let items = self.items(csr, factors, row);
        let (here, all) = (csr.row(row).len(), csr.row_count(row));
        let ridge = self.ridge(csr, row);
        match open {
            Open::Sum(mut sum) => {
                sum.extend_on_all(self.simd, self.width, &items, here, desks);
                if sum.count() < all {
                    return Outcome::Open(Open::Sum(sum));
                }
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
            Open::Packed(mut packed) => desks.at(|desk| {
                items.pack(here, desk, &mut packed);
                if (packed.count() as u64) < all {
                    return Outcome::Open(Open::Packed(packed));
                }
                let (method, note) = (self.method(csr, row), &mut job.notes[0]);
                Outcome::Solved(self.solve_packed(method, &mut packed, ridge, desk, job.out, note))
            }),
        }
    }

    /// Whole rows of at most one segment each, solved some at a time. Returns the first that failed.
    pub(super) fn short_rows(
        &self,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        job: Job<'_>,
        desk: &mut Desk,
    ) -> Option<(usize, usize)> {
        let (width, length) = (self.width, system_len(self.width));
        let mut failed = Vec::new();
        let mut waiting = Vec::with_capacity(batch_len(width));
        let mut ridges = Vec::with_capacity(batch_len(width));
        let mut outs = vec![0.0; batch_len(width) * width];
        let mut notes = vec![Note::default(); batch_len(width)];
        let last = job.rows.end - 1;
        for row in job.rows.clone() {
            let count = csr.row(row).len();
            if count > 0 && self.method(csr, row).takes_panel() {
                let mut packed = std::mem::take(&mut desk.packed);
                packed.clear();
                self.items(csr, factors, row).pack(count, desk, &mut packed);
                let place = row - job.rows.start;
                let pivot = self.solve_packed(
                    self.method(csr, row),
                    &mut packed,
                    self.ridge(csr, row),
                    desk,
                    &mut job.out[place * width..][..width],
                    &mut job.notes[place],
                );
                failed.extend(pivot.map(|pivot| (row, pivot)));
                desk.packed = packed;
            } else if count > 0 {
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
                failed.extend(here.map(|(system, pivot)| (waiting[system], pivot)));
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
        failed.into_iter().min()
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

    /// Solves a row on its panel, from what `x` holds. Returns the column that failed.
    fn solve_packed(
        &self,
        method: Method,
        packed: &mut Packed,
        ridge: f32,
        desk: &mut Desk,
        x: &mut [f32],
        note: &mut Note,
    ) -> Option<usize> {
        packed.close(self.simd);
        packed.right_hand_side(&mut desk.rhs, &mut desk.rest);
        let panel = packed.panel();
        let common = match &self.common {
            Matrix::Diagonal(diagonal) => Common::Diagonal(diagonal),
            Matrix::Square(square) => Common::Square(square),
        };
        let equations = kernels::Equations {
            common,
            ridge,
            panel,
            rhs: &desk.rhs,
        };
        let (simd, scratch) = (self.simd, &mut desk.solver);
        let failed = match (method, common) {
            (Method::Dual, Common::Diagonal(diagonal)) => {
                let row = Dual {
                    diagonal,
                    ridge,
                    panel,
                    factors: packed.factors(),
                    rest: &desk.rest,
                };
                dual(simd, row, x, scratch)
            }
            (Method::Subspace, _) => subspace(simd, equations, x, scratch),
            _ => conjugate_gradients(simd, equations, self.cg_steps as usize, x, scratch),
        };
        note.regularization = f64::from(ridge) * dot(x, x);
        if self.closes_epoch {
            desk.copy.resize(panel.len() / self.width, 0.0);
            kernels::scores(self.simd, panel, x, &mut desk.copy);
            let quadratic = dot(&desk.copy, &desk.copy) + self.common(x) + note.regularization;
            note.fit = 2.0 * dot(&desk.rhs, x) - quadratic;
        }
        failed
    }

    /// xᵀ B x of the base.
    fn common(&self, x: &[f32]) -> f64 {
        match &self.common {
            Matrix::Diagonal(diagonal) => {
                let terms = diagonal.iter().zip(x);
                terms
                    .map(|(&d, &x)| f64::from(d) * f64::from(x) * f64::from(x))
                    .sum()
            }
            Matrix::Square(square) => {
                let rows = square.chunks_exact(x.len()).zip(x);
                rows.map(|(row, &xk)| f64::from(xk) * dot(row, x)).sum()
            }
        }
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
            desk.copy.clear();
            desk.copy.extend_from_slice(batch);
        }
        let failed = solve(self.simd, width, batch, &mut desk.solver);
        for place in 0..count {
            let x = &mut outs[place * width..][..width];
            x.copy_from_slice(&batch[place * length + upper_len(width)..][..width]);
            let fit = if self.closes_epoch {
                fit(width, &desk.copy[place * length..][..length], x)
            } else {
                0.0
            };
            notes[place] = Note {
                fit,
                regularization: f64::from(ridges[place]) * dot(x, x),
            };
        }
        failed.map(|failed| (failed.system, failed.pivot))
    }
}

/// x · y in f64: 16 sums, then these in order.
fn dot(x: &[f32], y: &[f32]) -> f64 {
    const LANES: usize = kernels::LANES;
    let mut sums = [0.0_f64; LANES];
    for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
        for (sum, (&x, &y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += f64::from(x) * f64::from(y);
        }
    }
    sums.iter().sum()
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
        // Blocks beyond the diagonal one stand for their mirror images too; the diagonal one is kept whole.
        let own = dot(&row[..LANES], &x[from..from + LANES]);
        let beyond = dot(&row[LANES..], &x[from + LANES..]);
        quadratic += f64::from(xk) * (own + 2.0 * beyond);
    }
    2.0 * linear - quadratic
}
