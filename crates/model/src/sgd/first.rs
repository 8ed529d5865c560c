//! Counts before training, and the first rows.

use super::noise::{Noise, table, weight};
use super::ops::{Beside, FirstOp, Forbidden, Totals};
use super::settings::Loss;
use kernels::random::Random;
use kernels::sgd::{BIAS, COUNT, row_len};
use tensor::{BlockId, CsrRef, Mode};

/// The purpose of the random numbers of first factors; the mode is added.
const PURPOSE: u32 = 0x200;

impl FirstOp {
    /// Floats of a row.
    pub fn row_len(&self) -> usize {
        row_len(kernels::width_of(self.rank as usize))
    }
}

impl Totals {
    /// Counts a piece. Sums run in canonical order, so pieces change no bit.
    pub fn add(&mut self, op: &FirstOp, csr: CsrRef<'_>, first_id: u32) {
        for row in 0..csr.rows() {
            for position in csr.row(row) {
                let value = csr.values().at(position);
                self.interactions += 1;
                self.values += f64::from(value);
                self.squares += f64::from(value) * f64::from(value);
                if op.loss == Loss::Poisson && value < 0.0 {
                    let (this, other) = (first_id + row as u32, csr.columns()[position]);
                    let (user, product) = if op.mode == Mode::User {
                        (this, other)
                    } else {
                        (other, this)
                    };
                    self.forbidden.get_or_insert(Forbidden {
                        user,
                        product,
                        value,
                    });
                }
            }
        }
    }
}

/// Fills the rows of a block: factors keyed by (seed, mode, row id, column), zeros where a row has no interaction, and the
/// counts in the tails. `offsets` are the block's row pointers. Rows that are `given` (the first float is a number) are as
/// they are given, biases with them.
///
/// # Panics
/// Where `out` or what is given is not the block's rows.
pub fn first_rows(
    op: &FirstOp,
    block: BlockId,
    offsets: &[u64],
    given: Option<&[f32]>,
    out: &mut [f32],
) {
    let ids = op.grid.row_ids(block);
    let width = kernels::width_of(op.rank as usize);
    assert_eq!(
        out.len(),
        ids.len() * row_len(width),
        "the rows of the block"
    );
    let number = u32::from(op.mode == Mode::Product);
    for (((place, row), id), ends) in out
        .chunks_exact_mut(row_len(width))
        .enumerate()
        .zip(ids)
        .zip(offsets.windows(2))
    {
        let count = ends[1] - ends[0];
        row[width + COUNT] = count as f32;
        if count == 0 {
            continue;
        }
        if let Some(given) = given_row(op.given, given, op.rank, place) {
            row[..op.rank as usize].copy_from_slice(&given[..op.rank as usize]);
            if op.given == Some(Beside::Biases) {
                let column = usize::from(op.mode == Mode::Product);
                row[width + BIAS] = given[op.rank as usize + column];
            }
            continue;
        }
        let (random, factors) = (
            Random::new(op.seed, PURPOSE + number, 0, id),
            &mut row[..op.rank as usize],
        );
        if op.loss.covers_all_cells() {
            for (x, draw) in factors.iter_mut().zip(0..) {
                *x = op.scale * (0.5 + random.uniform(draw));
            }
        } else {
            random.fill_normal(factors);
            for x in factors {
                *x *= op.scale;
            }
        }
    }
}

/// The row at a place of those that are given, if it is.
pub(super) fn given_row(
    beside: Option<Beside>,
    rows: Option<&[f32]>,
    rank: u32,
    place: usize,
) -> Option<&[f32]> {
    let width = beside?.width(rank);
    let row = &rows?[place * width..(place + 1) * width];
    (!row[0].is_nan()).then_some(row)
}

/// The noise of a super-block of products, from its rows: the table that negatives are drawn by, and its weight.
pub fn noise(op: &FirstOp, power: f64, rows: &[f32]) -> (Vec<Noise>, f64) {
    let width = op.row_len() - kernels::sgd::TAIL;
    let counts = rows
        .chunks_exact(op.row_len())
        .map(|row| row[width + COUNT] as u64);
    let weights: Vec<f64> = counts.map(|count| weight(count as f64, power)).collect();
    (table(&weights), weights.iter().sum())
}
