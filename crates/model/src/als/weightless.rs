//! Rows whose interactions weigh nothing: their equations differ in the ridge and the right-hand side alone, so in the
//! eigenbasis of what they share a row is solved by r divisions, between two rotations.
//!
//! **Invariant:** a row is turned and solved alone, so neither pieces nor threads change a bit.

use super::basis::Basis;
use super::desk::{Desk, TERMS};
use super::equations::{Equations, Job, Note};
use super::items::{Factors, RowItems};
use kernels::{CHUNK, flush, inner};
use std::ops::Range;
use tensor::CsrRef;

/// Rows that are turned together.
const ROWS: usize = 64;

impl Equations {
    /// Whole rows of at most one segment each. Returns the first that failed.
    pub(super) fn weightless_rows(
        &self,
        basis: &Basis,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        job: Job<'_>,
        desk: &mut Desk,
    ) -> Option<(usize, usize)> {
        let width = self.width;
        let mut failed = None;
        let parts = job
            .out
            .chunks_mut(ROWS * width)
            .zip(job.notes.chunks_mut(ROWS));
        for ((out, notes), first) in parts.zip(job.rows.step_by(ROWS)) {
            let mut ridges = [0.0; ROWS];
            let rows = first..first + notes.len();
            for (row, ridge) in rows.clone().zip(&mut ridges) {
                if !csr.row(row).is_empty() {
                    *ridge = self.ridge(csr, row);
                }
            }
            self.right_hand_sides(csr, factors, rows, desk, out);
            let here = self.solve_turned(basis, &ridges[..notes.len()], desk, out, notes);
            failed = failed.or(here.map(|(row, pivot)| (first + row, pivot)));
        }
        failed
    }

    /// Σ b y z of whole rows. Those of one chunk are summed some at a time, each on its way while one before it is added.
    fn right_hand_sides(
        &self,
        csr: &CsrRef<'_>,
        factors: Factors<'_>,
        rows: Range<usize>,
        desk: &mut Desk,
        out: &mut [f32],
    ) {
        out.fill(0.0);
        let (first, mut row) = (rows.start, rows.start);
        while row < rows.end {
            let items = self.items(csr, factors, row);
            let out = &mut out[(row - first) * self.width..];
            let count = csr.row(row).len();
            if count > CHUNK {
                self.right_hand_side(&items, count, desk, &mut out[..self.width]);
                row += 1;
                continue;
            }
            let (mut bounds, mut here, mut terms) = ([0; ROWS + 1], 0, 0);
            for row in row..rows.end {
                let count = csr.row(row).len();
                if count > CHUNK || terms + count > TERMS {
                    break;
                }
                (here, terms) = (here + 1, terms + count);
                bounds[here] = terms as u32;
            }
            items.add_rows(0, &bounds[..=here], desk, &mut out[..here * self.width]);
            row += here;
        }
    }

    /// The same of a row of more than one.
    fn right_hand_side(
        &self,
        items: &RowItems<'_>,
        count: usize,
        desk: &mut Desk,
        out: &mut [f32],
    ) {
        let mut sum = std::mem::take(&mut desk.sum);
        let total = &mut sum[..self.width];
        total.fill(0.0);
        for start in (0..count).step_by(CHUNK) {
            let terms = CHUNK.min(count - start) as u32;
            // Zeros at first, and again when they are flushed.
            items.add_rows(start, &[0, terms], desk, out);
            flush(self.simd, out, total);
        }
        out.iter_mut()
            .zip(&*total)
            .for_each(|(out, &sum)| *out = sum as f32);
        desk.sum = sum;
    }

    /// Solves rows from the right-hand sides in `out`, each with its ridge; of a row without interactions, which has none,
    /// nothing is asked. Returns the first that failed, and the column of the basis.
    pub(super) fn solve_turned(
        &self,
        basis: &Basis,
        ridges: &[f32],
        desk: &mut Desk,
        out: &mut [f32],
        notes: &mut [Note],
    ) -> Option<(usize, usize)> {
        let (simd, width, rank) = (self.simd, self.width, self.formula.rank as usize);
        desk.copy.resize(out.len(), 0.0);
        basis.turn_some(simd, out, &mut desk.copy);
        let largest = basis.values.first().map_or(0.0, |&value| value as f32);
        let mut failed = None;
        let rows = desk
            .copy
            .chunks_exact_mut(width)
            .zip(notes.iter_mut())
            .zip(ridges);
        for (place, ((x, note), &ridge)) in rows.enumerate() {
            if ridge == 0.0 && x.iter().all(|&x| x == 0.0) {
                continue;
            }
            for (column, (x, &value)) in x[..rank].iter_mut().zip(&basis.values).enumerate() {
                let pivot = value as f32 + ridge;
                // Below what an f32 resolves of the largest there is nothing but roundings.
                let is_sound = pivot > largest * (f32::EPSILON / 2.0) && pivot < f32::INFINITY;
                if !is_sound && failed.is_none() {
                    failed = Some((place, column));
                }
                let side = *x;
                *x = side / pivot;
                if self.closes_epoch {
                    let (side, pivot, x) = (f64::from(side), f64::from(pivot), f64::from(*x));
                    note.fit += x * (2.0 * side - pivot * x);
                }
            }
        }
        basis.turn_some_back(simd, &desk.copy, out);
        for ((x, note), &ridge) in out.chunks_exact(width).zip(notes).zip(ridges) {
            note.regularization = f64::from(ridge) * inner(simd, x, x);
        }
        failed
    }
}
