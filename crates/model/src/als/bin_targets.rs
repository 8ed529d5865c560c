//! A small mode alone where interactions weigh nothing: only right-hand sides are summed, so a piece is read in its own order,
//! a user's factors at hand, and every bin keeps its open chunk.
//!
//! **Invariant:** a bin's interactions are summed as [`Sum`] sums them sorted by bin, bit for bit; threads share the
//! bins, each reads the whole piece.

use super::formula::Formula;
use super::sum::Sum;
use kernels::{Binned, CHUNK, Rows, Simd, Source, add_binned};
use rayon::prelude::*;
use tensor::CsrRef;

/// The open chunks of all bins.
pub(super) struct BinTargets {
    chunks: Vec<f32>,
    counts: Vec<u32>,
}

/// What a piece is summed from.
pub(super) struct Piece<'a> {
    pub(super) simd: Simd,
    pub(super) formula: &'a Formula,
    pub(super) csr: CsrRef<'a>,
    /// The bin of each interaction.
    pub(super) bins: &'a [u32],
    /// The place in the block of its first row.
    pub(super) first_row: u32,
    pub(super) users: Rows<'a>,
    pub(super) products: Rows<'a>,
}

impl BinTargets {
    /// Nothing in any bin.
    pub(super) fn new(width: usize, bins: usize) -> Self {
        BinTargets {
            chunks: vec![0.0; bins * width],
            counts: vec![0; bins],
        }
    }

    /// Its bytes.
    pub(super) const fn bytes(width: usize, bins: u64) -> u64 {
        4 * bins * (width as u64 + 1)
    }

    /// Adds a piece, by so many threads.
    pub(super) fn piece(&mut self, piece: &Piece<'_>, sums: &mut [Sum], threads: usize) {
        let width = piece.formula.width();
        let share = sums.len().div_ceil(threads).max(1);
        let parts = (
            sums.par_chunks_mut(share),
            self.counts.par_chunks_mut(share),
        );
        let chunks = self.chunks.par_chunks_mut(share * width).enumerate();
        chunks
            .zip(parts.0.zip(parts.1))
            .for_each(|((part, chunks), (sums, counts))| {
                let mut into = Binned {
                    first: (part * share) as u32,
                    sums: chunks,
                    counts,
                };
                piece.add_to(&mut into, sums);
            });
    }

    /// Hands what is in no sum yet to the sums.
    pub(super) fn finish(mut self, simd: Simd, width: usize, sums: &mut [Sum]) {
        let chunks = self.chunks.chunks_exact_mut(width);
        for ((chunk, count), sum) in chunks.zip(self.counts).zip(sums) {
            if count > 0 {
                sum.take_chunk(simd, chunk, count);
            }
        }
    }
}

impl Piece<'_> {
    fn add_to(&self, into: &mut Binned<'_>, sums: &mut [Sum]) {
        let (csr, width) = (&self.csr, self.formula.width());
        let (mut weights, mut targets) = ([0.0; CHUNK], [0.0; CHUNK]);
        for row in 0..csr.rows() {
            let user = self.users.row(self.first_row + row as u32);
            let range = csr.row(row);
            for start in range.clone().step_by(CHUNK) {
                let count = CHUNK.min(range.end - start);
                let (weights, targets) = (&mut weights[..count], &mut targets[..count]);
                self.formula
                    .terms(self.simd, csr.values(), start, weights, targets);
                let mut done = 0;
                while done < count {
                    let here = start + done;
                    let source = Source {
                        rows: self.products,
                        ids: &csr.columns()[here..],
                    };
                    let full = CHUNK as u32;
                    let targets = &targets[done..];
                    done += add_binned(
                        self.simd,
                        source,
                        &self.bins[here..],
                        targets,
                        user,
                        full,
                        into,
                    );
                    let bin = self.bins[start + done - 1].wrapping_sub(into.first) as usize;
                    if into.counts.get(bin) == Some(&full) {
                        let chunk = &mut into.sums[bin * width..][..width];
                        sums[bin].take_chunk(self.simd, chunk, full);
                        into.counts[bin] = 0;
                    }
                }
            }
        }
    }
}
