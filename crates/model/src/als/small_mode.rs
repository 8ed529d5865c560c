//! The small modes, time and context: few rows, very many interactions. Every user block adds up its part of the equations of
//! all rows of a mode; a tree brings them together; one task solves, each row alone or, in time, all as a chain. A row is
//! called a bin here, whatever its mode.
//!
//! **Invariant:** a bin's interactions in a block are summed by their position among them, in canonical order of the
//! block; so pieces and threads change no bit.

use super::biases::Biases;
use super::bin_targets::{BinTargets, Piece};
use super::dense::{cholesky, lower_len, substitute};
use super::desk::{Desk, Desks};
use super::formula::Formula;
use super::half_step::Factors;
use super::items::add;
use super::non_negative::descend;
use super::ops::{FailedRow, SmallPartialOp, SmallSolveOp, Tally};
use super::sum::{Interactions, SEGMENT, Sum};
use super::time_chain::{chain_bytes, solve_chain};
use crate::reduce::tree_sum;
use kernels::{CHUNK, Onto, Simd, Source, upper_index, upper_len};
use rayon::prelude::*;
use std::ops::Range;
use tensor::csr::Values;
use tensor::{CsrRef, Mode};

/// The f64 of one bin's equations: the system (upper triangle and right-hand side; where interactions weigh nothing, the
/// latter alone), then the count.
pub fn packed_len(formula: &Formula) -> usize {
    formula.sum_len() + 1
}

/// What a user block adds to the equations of all bins, in progress.
pub struct SmallPartial {
    simd: Simd,
    mode: Mode,
    formula: Formula,
    fades: Vec<f32>,
    sums: Vec<Sum>,
    /// Where interactions weigh nothing.
    targets: Option<BinTargets>,
}

impl SmallPartial {
    /// Nothing added yet.
    pub fn new(simd: Simd, op: &SmallPartialOp) -> Self {
        let bins = op.rows() as usize;
        let fades = op.formula.fades();
        // Beside another small mode, or where they fade, interactions have one more factor each.
        let unsorted = op.formula.is_weightless() && op.other().is_none() && fades.is_empty();
        SmallPartial {
            simd,
            mode: op.mode,
            formula: op.formula,
            fades,
            sums: vec![Sum::default(); bins],
            targets: unsorted.then(|| BinTargets::new(op.formula.width(), bins)),
        }
    }

    /// Bytes that it holds between pieces, for a block of so many interactions.
    pub fn bytes(formula: &Formula, bins: u64, interactions: u64, threads: usize) -> u64 {
        let (width, length) = (formula.width(), formula.sum_len());
        let trees = (interactions / SEGMENT).min(bins);
        let long = Sum::bytes(length, interactions.max(1));
        let targets = if formula.is_weightless() {
            BinTargets::bytes(width, bins)
        } else {
            0
        };
        targets
            + (bins - trees) * Sum::bytes(length, 1)
            + (trees + 2 * threads as u64) * long
            + threads as u64 * Desk::bytes(width, 0)
    }

    /// Bytes per interaction of a piece, beside its own.
    pub const PIECE_BYTES: u64 = 8;

    /// Adds a piece. `users` holds the rows of the block by their place in it; the piece's first row is the block's
    /// `first_row`; of `factors.small` only the other small mode is read.
    ///
    /// # Panics
    /// Where the piece has no ids of the mode, or one beyond its rows.
    pub fn piece(
        &mut self,
        csr: CsrRef<'_>,
        first_row: u32,
        users: kernels::Rows<'_>,
        factors: Factors<'_>,
        desks: &Desks,
    ) {
        let (mode, small) = (self.mode, csr.small());
        let ids = small.of(mode).copied().flatten();
        let ids = ids.expect("the interactions have the mode that is solved");
        let (simd, length) = (self.simd, self.formula.sum_len());
        if let Some(targets) = &mut self.targets {
            let piece = Piece {
                simd,
                formula: &self.formula,
                csr,
                bins: ids,
                first_row,
                users,
                products: factors.columns,
            };
            // Two tasks are computed at a time.
            targets.piece(&piece, &mut self.sums, desks.count().div_ceil(2));
            return;
        }
        let (starts, order) = by_bin(ids, self.sums.len());
        let others = factors.small.zip(small).each().into_iter();
        let mut others = others.filter(|(other, _)| *other != mode);
        let other = others.find_map(|(_, (rows, ids))| rows.zip(ids));
        let fades = small.time.filter(|_| !self.fades.is_empty());
        let fades = fades.map(|times| (&self.fades[..], times));
        let rows = row_of_each(&csr, first_row);
        let items = |bin: usize| BinItems {
            simd,
            formula: &self.formula,
            users,
            products: factors.columns,
            other,
            fades,
            order: &order[starts[bin]..starts[bin + 1]],
            rows: &rows,
            columns: csr.columns(),
            values: csr.values(),
        };
        let is_long = |bin: usize| (starts[bin + 1] - starts[bin]) as u64 > SEGMENT;
        let mut sums = std::mem::take(&mut self.sums);
        for (bin, sum) in sums.iter_mut().enumerate().filter(|(bin, _)| is_long(*bin)) {
            let items = items(bin);
            sum.extend_on_all(simd, length, &items, items.order.len(), desks);
        }
        let short = sums
            .par_iter_mut()
            .enumerate()
            .filter(|(bin, _)| !is_long(*bin));
        short.for_each(|(bin, sum)| {
            let items = items(bin);
            desks.at(|desk| sum.extend(simd, length, &items, items.order.len(), desk));
        });
        self.sums = sums;
    }

    /// The partial: [`packed_len`] numbers per bin.
    ///
    /// # Panics
    /// Where `out` has another length.
    pub fn finish(mut self, out: &mut [f64]) {
        let (length, packed) = (self.formula.sum_len(), packed_len(&self.formula));
        assert_eq!(out.len(), self.sums.len() * packed, "equations of all bins");
        if let Some(targets) = self.targets {
            targets.finish(self.simd, self.formula.width(), &mut self.sums);
        }
        for (sum, out) in self.sums.into_iter().zip(out.chunks_exact_mut(packed)) {
            let (system, count) = out.split_at_mut(length);
            count[0] = sum.count() as f64;
            system.copy_from_slice(&sum.total(self.simd, length));
        }
    }
}

/// Positions of a piece sorted by bin, stably, and where each bin begins.
fn by_bin(times: &[u32], bins: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; bins + 1];
    for &bin in times {
        starts[bin as usize + 1] += 1;
    }
    (0..bins).for_each(|bin| starts[bin + 1] += starts[bin]);
    let mut next = starts.clone();
    let mut order = vec![0; times.len()];
    for (position, &bin) in times.iter().enumerate() {
        order[next[bin as usize]] = position as u32;
        next[bin as usize] += 1;
    }
    (starts, order)
}

/// The row in the block of each interaction of a piece.
fn row_of_each(csr: &CsrRef<'_>, first_row: u32) -> Vec<u32> {
    let mut rows = Vec::with_capacity(csr.interactions());
    for row in 0..csr.rows() {
        rows.resize(rows.len() + csr.row(row).len(), first_row + row as u32);
    }
    rows
}

/// Interactions of one bin, anywhere in the piece.
struct BinItems<'a> {
    simd: Simd,
    formula: &'a Formula,
    users: kernels::Rows<'a>,
    products: kernels::Rows<'a>,
    /// The other small mode, where it is factored, with an id for each position of the piece.
    other: Option<(kernels::Rows<'a>, &'a [u32])>,
    /// [`Formula::fades`], with the bin of time of each position.
    fades: Option<(&'a [f32], &'a [u32])>,
    order: &'a [u32],
    rows: &'a [u32],
    columns: &'a [u32],
    values: Values<'a>,
}

impl Interactions for BinItems<'_> {
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, onto: Onto, system: &mut [f32]) {
        let count = range.len();
        let Desk {
            panel,
            weights,
            targets,
            ids: [products, users, other],
            ..
        } = desk;
        for (e, &position) in self.order[range].iter().enumerate() {
            let position = position as usize;
            let term = self.formula.term(self.values.at(position));
            let fade = self
                .fades
                .map_or(1.0, |(fades, times)| fades[times[position] as usize]);
            (weights[e], targets[e]) = (term.weight * fade, term.target * fade);
            (products[e], users[e]) = (self.columns[position], self.rows[position]);
            other[e] = self.other.map_or(0, |(_, ids)| ids[position]);
        }
        debug_assert!(count <= CHUNK);
        let users = Source {
            rows: self.users,
            ids: &users[..count],
        };
        let products = Source {
            rows: self.products,
            ids: &products[..count],
        };
        let other = self.other.map(|(rows, _)| Source {
            rows,
            ids: &other[..count],
        });
        let sources = [products, users, other.unwrap_or(users)];
        let sources = &sources[..2 + usize::from(other.is_some())];
        let terms = (&weights[..count], &targets[..count]);
        add(self.simd, self.formula, sources, terms, panel, onto, system);
    }
}

/// Solves the rows of all bins in f64 from their reduced equations; `out` holds before what they start from, where the op
/// descends. A bin without interactions is exactly zero; with smoothing only where it stands before the first bin that
/// has any or behind the last.
///
/// # Panics
/// Where a length is not that of the op.
pub fn solve_small(
    op: &SmallSolveOp,
    equations: &[f64],
    grams: &[&[f64]],
    out: &mut [f32],
) -> Tally {
    let width = op.formula.width();
    assert_eq!(
        equations.len(),
        op.rows as usize * packed_len(&op.formula),
        "equations of all bins"
    );
    assert_eq!(out.len(), op.rows as usize * width, "a row per bin");
    let alpha0 = if op.formula.has_base() {
        assert!(
            grams.iter().all(|gram| gram.len() == upper_len(width)),
            "Grams of the width"
        );
        op.formula.alpha0
    } else {
        0.0
    };
    let base = |i: usize| grams.iter().fold(alpha0, |base, gram| base * gram[i]);
    let base: Vec<f64> = (0..upper_len(width)).map(base).collect();
    let bins: Vec<Bin<'_>> = equations
        .chunks_exact(packed_len(&op.formula))
        .map(|equations| Bin::new(op, equations, &base))
        .collect();
    if op.smoothing > 0.0 {
        return solve_together(op, &bins, out);
    }
    let solved: Vec<Result<Note, usize>> = bins
        .par_iter()
        .zip(out.par_chunks_exact_mut(width))
        .map(|(bin, out)| bin.solve(out))
        .collect();
    let failed = solved.iter().zip(0..).find_map(|(bin, row)| {
        bin.err().map(|pivot| FailedRow {
            row,
            pivot: pivot as u32,
        })
    });
    let notes: Vec<Note> = solved.into_iter().map(Result::unwrap_or_default).collect();
    Tally {
        failed,
        ..tally(&notes)
    }
}

/// The mean of the solved rows by the counts of their equations; zero where there is no interaction.
///
/// # Panics
/// Where a length is not that of the op.
pub fn mean_of(op: &SmallSolveOp, equations: &[f64], rows: &[f32], out: &mut [f32]) {
    let width = op.formula.width();
    let equations = equations.chunks_exact(packed_len(&op.formula));
    let counts: Vec<f64> = equations.map(|one| one[op.formula.sum_len()]).collect();
    assert_eq!((counts.len() * width, width), (rows.len(), out.len()));
    let all: f64 = counts.iter().sum();
    for (column, out) in out.iter_mut().enumerate() {
        let terms = counts.iter().zip(rows[column..].iter().step_by(width));
        let sum: f64 = terms.map(|(count, &x)| count * f64::from(x)).sum();
        *out = if all > 0.0 { (sum / all) as f32 } else { 0.0 };
    }
}

/// All bins from the first that has interactions to the last, each held to its neighbours.
fn solve_together(op: &SmallSolveOp, bins: &[Bin<'_>], out: &mut [f32]) -> Tally {
    let (width, rank) = (op.formula.width(), op.formula.rank as usize);
    out.fill(0.0);
    let known = |bin: &Bin<'_>| bin.count > 0;
    let Some(first) = bins.iter().position(known) else {
        return Tally::default();
    };
    let last = bins.iter().rposition(known).unwrap_or(first);
    let chain = &bins[first..=last];
    let mut solution: Vec<f64> = chain.iter().flat_map(Bin::side).collect();
    let equations = |bin: usize, lower: &mut [f64]| chain[bin].lower(lower);
    if let Err(singular) = solve_chain(rank, op.smoothing, equations, &mut solution) {
        let failed = FailedRow {
            row: (first + singular.bin) as u32,
            pivot: singular.pivot as u32,
        };
        return Tally {
            failed: Some(failed),
            ..Tally::default()
        };
    }
    let rows = &mut out[first * width..(last + 1) * width];
    for (out, x) in rows
        .chunks_exact_mut(width)
        .zip(solution.chunks_exact(rank))
    {
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = x as f32);
    }
    op.biases.complete(width, rows);
    let rows: Vec<&[f32]> = rows.chunks_exact(width).collect();
    let notes: Vec<Note> = chain
        .par_iter()
        .zip(&rows)
        .map(|(bin, row)| bin.note(row))
        .collect();
    let steps: Vec<f64> = rows
        .windows(2)
        .map(|pair| {
            let distance = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            pair[0].iter().zip(pair[1]).map(distance).sum()
        })
        .collect();
    let smoothness = op.smoothing * tree_sum(&steps);
    let alone = tally(&notes);
    Tally {
        fit: alone.fit - smoothness,
        regularization: alone.regularization + smoothness,
        failed: None,
    }
}

/// Bytes of [`solve_small`] beside its arguments.
pub const fn solving_bytes(op: &SmallSolveOp, threads: u64) -> u64 {
    let rank = op.formula.rank as usize;
    let bins = op.rows as u64;
    let chain = if op.smoothing > 0.0 {
        chain_bytes(rank, bins) + 8 * bins * rank as u64
    } else {
        0
    };
    chain + threads * (rank * rank) as u64 * 16
}

/// The fit and the regularization of a bin.
type Note = (f64, f64);

fn tally(notes: &[Note]) -> Tally {
    let sum = |of: fn(&Note) -> f64| tree_sum(&notes.iter().map(of).collect::<Vec<_>>());
    Tally {
        fit: sum(|note| note.0),
        regularization: sum(|note| note.1),
        failed: None,
    }
}

/// The equations of one bin, the base and its ridge among them.
struct Bin<'a> {
    rank: usize,
    width: usize,
    /// Upper triangle; empty where interactions weigh nothing.
    matrix: &'a [f64],
    side: &'a [f64],
    base: &'a [f64],
    count: u64,
    ridge: f64,
    /// Whether it is descended from its last factors.
    descends: bool,
    biases: Biases,
}

impl<'a> Bin<'a> {
    fn new(op: &SmallSolveOp, equations: &'a [f64], base: &'a [f64]) -> Self {
        let width = op.formula.width();
        let (sums, count) = equations.split_at(op.formula.sum_len());
        let count = count[0] as u64;
        let (matrix, side) = sums.split_at(sums.len() - width);
        Bin {
            rank: op.formula.rank as usize,
            width,
            matrix,
            side,
            base,
            count,
            ridge: f64::from(op.formula.row_regularization(count, op.cells)),
            descends: op.non_negative,
            biases: op.biases,
        }
    }

    fn entry(&self, row: usize, column: usize) -> f64 {
        let i = upper_index(self.width, row.min(column), row.max(column));
        self.base[i]
            + self.matrix.get(i).unwrap_or(&0.0)
            + if row == column { self.ridge } else { 0.0 }
    }

    /// What is solved, where the others' biases are held.
    fn held_entry(&self, row: usize, column: usize) -> f64 {
        if self.biases.holds(row) || self.biases.holds(column) {
            f64::from(u8::from(row == column))
        } else {
            self.entry(row, column)
        }
    }

    /// Its lower triangle by rows.
    fn lower(&self, out: &mut [f64]) {
        for row in 0..self.rank {
            for (column, out) in out[lower_len(row)..][..=row].iter_mut().enumerate() {
                *out = self.held_entry(row, column);
            }
        }
    }

    /// Its right-hand side.
    fn side(&self) -> Vec<f64> {
        let held = |row: usize| self.biases.held().map(move |held| self.entry(row, held));
        let side = self.targets().iter().enumerate().map(|(row, target)| {
            if self.biases.holds(row) {
                1.0
            } else {
                held(row).fold(*target, |side, share| side - share)
            }
        });
        side.collect()
    }

    /// Σ b y z.
    fn targets(&self) -> &'a [f64] {
        &self.side[..self.rank]
    }

    /// Solves it alone, where it descends from what `out` holds; or the pivot that failed.
    fn solve(&self, out: &mut [f32]) -> Result<Note, usize> {
        if self.count == 0 {
            out.fill(0.0);
            return Ok((0.0, 0.0));
        }
        let x = if self.descends {
            self.descended(&out[..self.rank])?
        } else {
            self.solved()?
        };
        out.fill(0.0);
        out.iter_mut().zip(&x).for_each(|(out, &x)| *out = x as f32);
        Ok(self.note(out))
    }

    fn solved(&self) -> Result<Vec<f64>, usize> {
        let (mut factor, mut x) = (vec![0.0; lower_len(self.rank)], self.side());
        self.lower(&mut factor);
        cholesky(self.rank, &mut factor)?;
        substitute(self.rank, &factor, &mut x);
        Ok(x)
    }

    fn descended(&self, last: &[f32]) -> Result<Vec<f64>, usize> {
        let rank = self.rank;
        let entry = |i: usize| self.held_entry(i / rank, i % rank);
        let matrix: Vec<f64> = (0..rank * rank).map(entry).collect();
        let mut x: Vec<f64> = last.iter().map(|&x| f64::from(x)).collect();
        descend(&matrix, &self.side(), &mut x)?;
        Ok(x)
    }

    /// The fit of what is kept, rounded to f32.
    fn note(&self, kept: &[f32]) -> Note {
        let x: Vec<f64> = kept[..self.rank].iter().map(|&x| f64::from(x)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut row = vec![0.0; self.rank];
        let quadratic: f64 = x
            .iter()
            .enumerate()
            .map(|(k, &xk)| {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(column, entry)| *entry = self.entry(k, column));
                xk * dot(&row, &x)
            })
            .sum();
        // Columns that are held are not regularized.
        let held = self.biases.held_count();
        (
            2.0 * dot(self.targets(), &x) - quadratic + self.ridge * held,
            self.ridge * (dot(&x, &x) - held),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interactions_keep_their_order_within_a_bin() {
        let (starts, order) = by_bin(&[2, 0, 2, 1, 0, 2], 4);
        assert_eq!(starts, [0, 2, 3, 6, 6]);
        assert_eq!(order, [1, 4, 3, 0, 2, 5]);
    }
}
