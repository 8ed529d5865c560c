//! The normal equations of rows: summed, closed with what all rows share, solved and measured.
//!
//! **Invariant:** what a row becomes depends on its interactions and on what [`Equations`] holds, not on the rows that
//! are solved beside it.

use super::basis::Basis;
use super::biases::Biases;
use super::desk::{Desk, Desks};
use super::formula::Formula;
use super::items::{Factors, RowItems};
use super::neighbours::Neighbours;
use super::non_negative::SWEEPS;
use super::ops::HalfStepOp;
use super::packed::Packed;
use super::settings::Solver;
use super::shared::{Common, Matrix, Shared, base};
use super::side::{Above, Extra, Side};
use super::solver::{Method, Shape};
use super::sum::{Interactions as _, Sum};
use kernels::{
    Base, CHUNK, Dual, Onto, Simd, batch_len, begin, close, close_long, conjugate_gradients, dual,
    fit, flush, inner, keeps_systems, non_negative, non_negative_scratch, solve, subspace,
    system_len,
};
use std::ops::Range;
use std::sync::Arc;
use tensor::CsrRef;

/// What all rows of a half-step share.
pub(super) struct Equations {
    pub(super) simd: Simd,
    pub(super) formula: Formula,
    fades: Vec<f32>,
    pub(super) width: usize,
    solver: Solver,
    cg_steps: u32,
    cells: f64,
    /// α0 (G ∘ ...), upper triangle, ones on the diagonal of the padding.
    base: Vec<f32>,
    /// The same for panels.
    common: Common,
    pub(super) basis: Option<Basis>,
    /// The basis of the base, where interactions weigh nothing and rows have nothing else of their own.
    pub(super) weightless: Option<Basis>,
    zeros: Vec<f32>,
    pub(super) closes_epoch: bool,
    side: Option<Above>,
    /// What rows are held to besides.
    pub(super) neighbours: Option<Neighbours>,
    non_negative: bool,
    biases: Biases,
}

/// What a solved row is worth to the objective.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    pub(super) fit: f64,
    pub(super) regularization: f64,
}

/// Consecutive rows for one thread.
pub(super) struct Job<'a> {
    /// The place in the block of the first row at hand.
    pub(super) first_row: u32,
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

impl Equations {
    /// The equations of a half-step.
    pub(super) fn new(simd: Simd, op: &HalfStepOp, shared: Shared<'_>) -> Self {
        let width = op.formula.width();
        let basis = shared.basis.map(|object| Basis::open(width, object));
        let base = base(&op.formula, op.biases, shared, basis.as_ref());
        let shares_matrix = op.formula.is_weightless() && !op.biases.holds_any();
        let (weightless, basis) = if shares_matrix {
            (basis, None)
        } else {
            (None, basis)
        };
        let diagonal = basis.is_some() || !op.formula.has_base();
        let diagonal = diagonal || !op.solver.takes_panels();
        let common = Common::of(width, &base, op.biases, diagonal);
        Equations {
            simd,
            formula: op.formula,
            fades: op.formula.fades(),
            width,
            solver: op.solver,
            cg_steps: op.cg_steps,
            cells: op.cells(),
            base,
            common,
            basis,
            weightless,
            zeros: vec![0.0; width],
            closes_epoch: op.closes_epoch,
            side: None,
            neighbours: None,
            non_negative: op.non_negative,
            biases: op.biases,
        }
    }

    /// Takes the side information of the block into the equations.
    pub(super) fn take_side(&mut self, side: Arc<Side>) {
        let panels = self.solver.takes_panels();
        self.side = Above::of(side, &self.base, panels, self.biases);
    }

    /// Numbers of the sum of a row.
    fn sum_len(&self) -> usize {
        if self.weightless.is_some() {
            self.width
        } else {
            system_len(self.width)
        }
    }

    /// Whether a solved row does not depend on what stood in its place.
    pub(super) fn starts_from_nothing(&self) -> bool {
        !self.solver.takes_panels() && !self.non_negative && self.side.is_none()
    }

    fn extra(&self, csr: &CsrRef<'_>, first_row: u32, row: usize) -> Option<Extra<'_>> {
        let side = self.side.as_ref()?;
        side.row(first_row + row as u32, self.ridge(csr, row))
    }

    pub(super) fn items<'a>(
        &'a self,
        csr: &CsrRef<'a>,
        factors: Factors<'a>,
        row: usize,
    ) -> RowItems<'a> {
        RowItems {
            simd: self.simd,
            formula: &self.formula,
            fades: &self.fades,
            factors,
            columns: csr.columns(),
            small: csr.small(),
            values: csr.values(),
            first: csr.row(row).start,
        }
    }

    pub(super) fn ridge(&self, csr: &CsrRef<'_>, row: usize) -> f32 {
        self.formula
            .row_regularization(csr.row_count(row), self.cells)
    }

    fn closing<'a>(
        &'a self,
        (ridge, pull): (f32, &'a [f32]),
        extra: Option<&'a Extra<'_>>,
    ) -> Base<'a> {
        let (upper, rhs) = extra.map_or((&self.base, pull), |extra| {
            (&extra.bases.upper, &extra.rhs[..])
        });
        Base { upper, ridge, rhs }
    }

    /// What holds a row of the block, and to what.
    fn held(&self, csr: &CsrRef<'_>, first_row: u32, row: usize) -> (f32, &[f32]) {
        let ridge = self.ridge(csr, row);
        match &self.neighbours {
            None => (ridge, &self.zeros),
            Some(neighbours) => {
                let (more, pull) = neighbours.row(first_row as usize + row);
                (ridge + more, pull)
            }
        }
    }

    /// The base of a row as solvers on panels take it.
    fn common<'a>(&'a self, extra: Option<&'a Extra<'_>>) -> &'a Common {
        extra
            .and_then(|extra| extra.bases.common.as_ref())
            .unwrap_or(&self.common)
    }

    fn method(&self, csr: &CsrRef<'_>, row: usize, extra: Option<&Extra<'_>>) -> Method {
        self.solver.method(Shape {
            count: csr.row_count(row),
            rank: self.formula.rank,
            width: self.width,
            cg_steps: self.cg_steps,
            diagonal: matches!(self.common(extra).matrix, Matrix::Diagonal(_)),
        })
    }

    /// What a row that is cut has before its first interaction.
    pub(super) fn open(&self, csr: &CsrRef<'_>, first_row: u32, row: usize) -> Open {
        let extra = self.extra(csr, first_row, row);
        let packs = self.method(csr, row, extra.as_ref()).takes_panel();
        if self.weightless.is_some() || !packs {
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
        let held = self.held(csr, job.first_row, row);
        let ridge = held.0;
        let extra = self.extra(csr, job.first_row, row);
        let extra = extra.as_ref();
        match open {
            Open::Sum(mut sum) => {
                let length = self.sum_len();
                sum.extend_on_all(self.simd, length, &items, here, desks);
                if sum.count() < all {
                    return Outcome::Open(Open::Sum(sum));
                }
                let total = sum.total(self.simd, length);
                desks.at(|desk| {
                    if let Some(basis) = &self.weightless {
                        let sums = job.out.iter_mut().zip(&total);
                        sums.for_each(|(out, &sum)| *out = sum as f32);
                        let solved = self.solve_turned(basis, &[ridge], desk, job.out, job.notes);
                        return Outcome::Solved(solved.map(|(_, pivot)| pivot));
                    }
                    let slot = &mut desk.batch[..system_len(self.width)];
                    close_long(self.simd, self.closing(held, extra), &total, slot);
                    Outcome::Solved(
                        self.solve(&[ridge], desk, job.out, job.notes)
                            .map(|(_, pivot)| pivot),
                    )
                })
            }
            Open::Packed(mut packed) => desks.at(|desk| {
                items.pack(here, desk, &mut packed);
                if (packed.count() as u64) < all {
                    return Outcome::Open(Open::Packed(packed));
                }
                let (method, note) = (self.method(csr, row, extra), &mut job.notes[0]);
                let solved =
                    self.solve_packed(method, &mut packed, ridge, extra, desk, job.out, note);
                Outcome::Solved(solved)
            }),
        }
    }

    /// Whole rows of at most one segment each, solved some at a time. Returns the first that failed.
    pub(super) fn short_rows(
        &self,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        mut job: Job<'_>,
        desk: &mut Desk,
    ) -> Option<(usize, usize)> {
        if let Some(basis) = &self.weightless {
            return self.weightless_rows(basis, csr, factors, job, desk);
        }
        let (width, length) = (self.width, system_len(self.width));
        let mut failed = Vec::new();
        let mut waiting = std::mem::take(&mut desk.waiting);
        let last = job.rows.end - 1;
        for row in job.rows.clone() {
            let count = csr.row(row).len();
            let extra = self.extra(csr, job.first_row, row);
            let extra = extra.filter(|_| count > 0);
            let (extra, held) = (extra.as_ref(), self.held(csr, job.first_row, row));
            let ridge = held.0;
            let method = self.method(csr, row, extra);
            if count > 0 && method.takes_panel() {
                let mut packed = std::mem::take(&mut desk.packed);
                packed.clear();
                self.items(csr, factors, row).pack(count, desk, &mut packed);
                let place = row - job.rows.start;
                let pivot = self.solve_packed(
                    method,
                    &mut packed,
                    ridge,
                    extra,
                    desk,
                    &mut job.out[place * width..][..width],
                    &mut job.notes[place],
                );
                failed.extend(pivot.map(|pivot| (row, pivot)));
                desk.packed = packed;
            } else if count > 0 {
                self.short_row(
                    &self.items(csr, factors, row),
                    count,
                    self.closing(held, extra),
                    waiting.count(),
                    desk,
                );
                waiting.push(row, ridge);
            }
            if waiting.count() == batch_len(width) || row == last {
                failed.extend(waiting.solve(width, &mut job, |ridges, outs, notes| {
                    self.solve(ridges, desk, outs, notes)
                }));
            }
        }
        desk.waiting = waiting;
        debug_assert_eq!(desk.batch.len(), batch_len(width) * length);
        failed.into_iter().min()
    }

    /// Puts the equations of a row into a place of the desk's batch.
    fn short_row(
        &self,
        items: &RowItems<'_>,
        count: usize,
        base: Base<'_>,
        place: usize,
        desk: &mut Desk,
    ) {
        let length = system_len(self.width);
        let mut chunk = std::mem::take(&mut desk.chunk);
        if count <= CHUNK {
            items.add_to(0..count, desk, Onto::Zeros, &mut chunk);
            close(
                self.simd,
                base,
                &chunk,
                &mut desk.batch[place * length..][..length],
            );
        } else {
            let mut sum = std::mem::take(&mut desk.sum);
            items.add_to(0..CHUNK, desk, Onto::Zeros, &mut chunk);
            begin(self.simd, &chunk, &mut sum);
            for start in (CHUNK..count).step_by(CHUNK) {
                let end = count.min(start + CHUNK);
                items.add_to(start..end, desk, Onto::Zeros, &mut chunk);
                flush(self.simd, &mut chunk, &mut sum);
            }
            close_long(
                self.simd,
                base,
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
        extra: Option<&Extra<'_>>,
        desk: &mut Desk,
        x: &mut [f32],
        note: &mut Note,
    ) -> Option<usize> {
        packed.close(self.simd);
        packed.right_hand_side(&mut desk.rhs, &mut desk.rest);
        if let Some(extra) = extra {
            let rhs = desk.rhs.iter_mut().zip(&extra.rhs);
            rhs.for_each(|(sum, term)| *sum += term);
        }
        let base = self.common(extra);
        let held = self.hold_packed(packed, base, desk, x);
        let panel = packed.panel();
        let common = base.matrix.as_kernel();
        let equations = kernels::Equations {
            common,
            ridge,
            panel,
            rhs: &desk.rhs,
        };
        let (simd, scratch) = (self.simd, &mut desk.solver);
        let failed = match (method, common) {
            (Method::Dual, kernels::Common::Diagonal(diagonal)) => {
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
        note.regularization = f64::from(ridge) * inner(simd, x, x);
        if self.closes_epoch {
            desk.copy.resize(panel.len() / self.width, 0.0);
            kernels::scores(self.simd, panel, x, &mut desk.copy);
            let quadratic = inner(simd, &desk.copy, &desk.copy)
                + base.matrix.quadratic(simd, x)
                + note.regularization;
            note.fit = 2.0 * inner(simd, &desk.rhs, x) - quadratic + held;
        }
        self.biases.complete(self.width, x);
        failed
    }

    /// Holds columns of a row on its panel: takes them out of its lines, moves what they come to from the right-hand side,
    /// and zeros them in `x`. Returns what they take off the objective, whatever the solution.
    fn hold_packed(
        &self,
        packed: &mut Packed,
        base: &Common,
        desk: &mut Desk,
        x: &mut [f32],
    ) -> f64 {
        if !self.biases.holds_any() {
            return 0.0;
        }
        let Desk {
            copy, rhs, rest, ..
        } = desk;
        packed.detach(self.biases, copy);
        let mut sums = vec![0.0; self.width];
        packed.products(self.simd, copy, &mut sums);
        let mut targets = 0.0;
        for held in self.biases.held() {
            targets += f64::from(rhs[held]);
            (rhs[held], rest[held], x[held]) = (0.0, 0.0, 0.0);
        }
        for (column, (sum, moved)) in sums.iter().zip(&base.moved).enumerate() {
            rhs[column] = (f64::from(rhs[column]) - sum - f64::from(*moved)) as f32;
            rest[column] -= moved;
        }
        2.0 * targets - inner(self.simd, copy, copy) - base.constant
    }

    /// Solves the first systems of the desk's batch, one per ridge; `outs` holds before what rows start from. Returns the first
    /// that failed, and its pivot.
    fn solve(
        &self,
        ridges: &[f32],
        desk: &mut Desk,
        outs: &mut [f32],
        notes: &mut [Note],
    ) -> Option<(usize, usize)> {
        let (width, length, count) = (self.width, system_len(self.width), ridges.len());
        let batch = &mut desk.batch[..count * length];
        let kept = self.non_negative || keeps_systems(width, count);
        let kept = kept && !self.biases.holds_any();
        if self.closes_epoch && !kept {
            desk.copy.clear();
            desk.copy.extend_from_slice(batch);
        }
        for system in batch.chunks_exact_mut(length) {
            self.biases.hold(width, system);
        }
        let failed = if self.non_negative {
            desk.square.resize(non_negative_scratch(width), 0.0);
            let systems = batch.chunks_exact(length).zip(outs.chunks_exact_mut(width));
            let mut failed = systems.enumerate().filter_map(|(place, (system, x))| {
                let pivot = non_negative(self.simd, system, SWEEPS, x, &mut desk.square)?;
                Some((place, pivot))
            });
            // All rows are solved, also those behind one that failed.
            let first = failed.next();
            failed.for_each(drop);
            first
        } else {
            let outs = &mut outs[..count * width];
            let failed = solve(self.simd, width, batch, outs, &mut desk.solver);
            failed.map(|failed| (failed.system, failed.pivot))
        };
        let systems = if kept { &*batch } else { &desk.copy[..] };
        for place in 0..count {
            let x = &outs[place * width..][..width];
            let ridge = f64::from(ridges[place]);
            // Columns that are held are not regularized.
            let held = self.biases.held_count();
            let fit = if self.closes_epoch {
                fit(self.simd, &systems[place * length..][..length], x) + ridge * held
            } else {
                0.0
            };
            notes[place] = Note {
                fit,
                regularization: ridge * (inner(self.simd, x, x) - held),
            };
        }
        failed
    }
}
