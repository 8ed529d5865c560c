//! The interactions of one row as they stand in a piece, handed to the kernels in chunks.

use super::desk::Desk;
use super::formula::Formula;
use super::packed::Packed;
use super::sum::Interactions;
use kernels::{Onto, Rows, Simd, Source, accumulate, add_by_bin, add_targets, spmm_times};
use std::ops::Range;
use tensor::csr::Values;
use tensor::{Mode, Small};

/// The factors that a piece is computed from, by the ids in its columns, times and contexts.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// The other table, or what of it the piece needs.
    pub columns: Rows<'a>,
    /// The tables of the small modes that are factored.
    pub small: Small<Option<Rows<'a>>>,
}

/// Interactions of one row, as they stand in the piece.
pub(super) struct RowItems<'a> {
    pub(super) simd: Simd,
    pub(super) formula: &'a Formula,
    /// [`Formula::fades`].
    pub(super) fades: &'a [f32],
    pub(super) factors: Factors<'a>,
    pub(super) columns: &'a [u32],
    pub(super) small: Small<Option<&'a [u32]>>,
    pub(super) values: Values<'a>,
    pub(super) first: usize,
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
        let columns = Source {
            rows: self.factors.columns,
            ids: &self.columns[start..],
        };
        let (mut sources, mut modes) = ([columns; 3], 1);
        for (_, small) in self.factors.small.zip(self.small).each() {
            if let (Some(rows), Some(ids)) = small {
                let ids = &ids[start..];
                sources[modes] = Source { rows, ids };
                modes += 1;
            }
        }
        let sources = &sources[..modes];
        if let (true, Values::Each(values), []) =
            (self.formula.is_weightless(), self.values, self.fades)
        {
            // The targets are the values: no copy of them.
            let weights = &mut weights[..count];
            weights.fill(0.0);
            return take(sources, weights, &values[start..start + count]);
        }
        let (weights, targets) = (&mut weights[..count], &mut targets[..count]);
        self.formula
            .terms(self.simd, self.values, start, weights, targets);
        if let (false, Some(times)) = (self.fades.is_empty(), self.small.time) {
            let terms = weights.iter_mut().zip(targets.iter_mut());
            for ((weight, target), &bin) in terms.zip(&times[start..]) {
                let fade = self.fades[bin as usize];
                (*weight, *target) = (*weight * fade, *target * fade);
            }
        }
        take(sources, weights, targets);
    }

    /// Adds the interactions of this row and those after it to their right-hand sides, where they weigh nothing: `bounds` says where
    /// each begins and ends, counted from the one at `start`.
    pub(super) fn add_rows(&self, start: usize, bounds: &[u32], desk: &mut Desk, out: &mut [f32]) {
        let end = start + bounds.last().map_or(0, |&last| last as usize);
        let (weights, targets) = (&mut desk.weights, &mut desk.targets);
        self.with(start..end, weights, targets, |sources, _, targets| {
            spmm_times(self.simd, sources, targets, bounds, out);
        });
    }

    /// Adds t z to the sums of the interactions' bins in a small mode, or to zeros, z of the other table alone.
    pub(super) fn add_by_bin(
        &self,
        mode: Mode,
        range: Range<usize>,
        desk: &mut Desk,
        onto: Onto,
        sums: &mut [f32],
    ) {
        if onto == Onto::Zeros {
            sums.fill(0.0);
        }
        let bins = self.small.of(mode).copied().flatten();
        let bins = bins.expect("the interactions have the mode that is solved");
        let bins = &bins[self.first + range.start..][..range.len()];
        let (weights, targets) = (&mut desk.weights, &mut desk.targets);
        self.with(range, weights, targets, |sources, _, targets| {
            add_by_bin(self.simd, sources[0], bins, targets, sums);
        });
    }

    /// Packs the first `count` interactions at hand.
    pub(super) fn pack(&self, count: usize, desk: &mut Desk, packed: &mut Packed) {
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

/// Adds interactions to a system: to its right-hand side alone, which is then all that must be there, where they weigh
/// nothing.
pub(super) fn add(
    simd: Simd,
    formula: &Formula,
    sources: &[Source<'_>],
    (weights, targets): (&[f32], &[f32]),
    panel: &mut [f32],
    onto: Onto,
    system: &mut [f32],
) {
    if formula.is_weightless() {
        if onto == Onto::Zeros {
            system.fill(0.0);
        }
        let above = system.len() - formula.width();
        let rhs = &mut system[above..];
        add_targets(simd, sources, targets, rhs);
    } else {
        accumulate(simd, sources, weights, targets, panel, onto, system);
    }
}

impl Interactions for RowItems<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, onto: Onto, system: &mut [f32]) {
        let Desk {
            panel,
            weights,
            targets,
            ..
        } = desk;
        self.with(range, weights, targets, |sources, weights, targets| {
            add(
                self.simd,
                self.formula,
                sources,
                (weights, targets),
                panel,
                onto,
                system,
            );
        });
    }
}
