//! Counts before training, and the first factors.

use super::formula::Formula;
use super::ops::{First, Forbidden, InitOp, Totals};
use kernels::random::Random;
use tensor::{BlockId, CsrRef, Mode};

/// The purpose of the random numbers of first factors; the mode is added.
const PURPOSE: u32 = 0x100;

/// Fills the rows of a block: all of its columns in use, zeros beyond; biases are 0, and the columns of the others' ones. Numbers are keyed by (seed, mode, row id,
/// column), so neither grid nor threads matter.
///
/// # Panics
/// Where `out` is not the block's rows.
pub fn first_factors(op: &InitOp, block: BlockId, out: &mut [f32]) {
    let width = op.rank.next_multiple_of(16) as usize;
    let ids = op.grid.row_ids(block);
    assert_eq!(out.len(), ids.len() * width, "the rows of the block");
    for (row, id) in out.chunks_exact_mut(width).zip(ids) {
        let row = &mut row[..op.biases.factors()];
        match op.first {
            First::Ones => row.fill(1.0),
            First::Normal { seed, mode, scale } | First::HalfNormal { seed, mode, scale } => {
                Random::new(seed, PURPOSE + mode_number(mode), 0, id).fill_normal(row);
                let folded = matches!(op.first, First::HalfNormal { .. });
                for x in row {
                    *x *= scale;
                    *x = if folded { x.abs() } else { *x };
                }
            }
        }
    }
    op.biases.complete(width, out);
}

fn mode_number(mode: Mode) -> u32 {
    match mode {
        Mode::User => 0,
        Mode::Product => 1,
        Mode::Time => 2,
        Mode::Context => 3,
    }
}

impl Totals {
    /// Counts a piece. Sums run in canonical order, so pieces change no bit.
    pub fn add(&mut self, formula: &Formula, csr: CsrRef<'_>, first_id: u32) {
        let fades = formula.fades();
        let fade = |position: usize| {
            let bin = csr.small().time.filter(|_| !fades.is_empty());
            bin.map_or(1.0, |times| f64::from(fades[times[position] as usize]))
        };
        for row in 0..csr.rows() {
            for position in csr.row(row) {
                let value = csr.values().at(position);
                self.interactions += 1;
                if formula.forbids(value) {
                    let (user, product) = (first_id + row as u32, csr.columns()[position]);
                    self.forbidden.get_or_insert(Forbidden {
                        user,
                        product,
                        value,
                    });
                    continue;
                }
                let fade = fade(position);
                self.weights += fade;
                self.values += fade * f64::from(value);
                self.constant += fade * formula.term(value).constant;
            }
        }
    }
}
