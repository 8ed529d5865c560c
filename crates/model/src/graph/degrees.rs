//! Degrees, sums of weights, and rows scaled by their powers.

use super::ops::{Edges, Onto, Power, Scales, StartOp};
use kernels::random::Random;
use kernels::{Simd, shift};
use rayon::prelude::*;
use tensor::{BlockId, CsrRef, Mode};

/// The purpose of the random numbers that training starts from.
const PURPOSE: u32 = 0x300;

/// Rows that a thread scales at a time.
const SHARE_ROWS: usize = 1_024;

/// Adds a piece, of which `degrees` are those of its rows, each interaction times `by`. Sums run in canonical order, so pieces change
/// no bit.
pub fn add_degrees(edges: Edges, by: f64, csr: CsrRef<'_>, degrees: &mut [f64]) {
    for (row, degree) in degrees.iter_mut().enumerate() {
        for position in csr.row(row) {
            *degree += match edges {
                Edges::Binary => by,
                Edges::Values => by * f64::from(csr.values().at(position)),
            };
        }
    }
}

impl Power {
    /// What undoes it and then does as much once more.
    #[must_use]
    pub fn back_twice(self) -> Self {
        Power(-2 * self.0)
    }

    /// Of a degree.
    pub fn of(self, degree: f64) -> f64 {
        if self.0 == 0 {
            return 1.0;
        }
        if degree <= 0.0 {
            return 0.0;
        }
        let whole = |power: u8| (0..power / 2).fold(1.0, |product, _| product * degree);
        let root = if self.0 % 2 == 0 { 1.0 } else { degree.sqrt() };
        let size = whole(self.0.unsigned_abs()) * root;
        if self.0 < 0 { 1.0 / size } else { size }
    }

    /// Multiplies rows.
    pub fn scale(self, width: usize, degrees: &[f64], rows: &mut [f32]) {
        if self.0 == 0 {
            return;
        }
        let shares = rows.par_chunks_mut(SHARE_ROWS * width);
        shares
            .zip(degrees.par_chunks(SHARE_ROWS))
            .for_each(|(rows, degrees)| {
                for (row, &degree) in rows.chunks_exact_mut(width).zip(degrees) {
                    let factor = self.of(degree) as f32;
                    for x in row {
                        *x *= factor;
                    }
                }
            });
    }
}

impl Onto {
    /// Adds a share of rows that were summed, and are scaled as `made`, to others, and multiplies what comes out.
    ///
    /// # Panics
    /// Where there are not as many rows.
    pub fn add(self, simd: Simd, made: Power, degrees: &[f64], base: &[f32], rows: &mut [f32]) {
        if degrees.is_empty() {
            return;
        }
        let width = rows.len() / degrees.len();
        assert_eq!(rows.len(), degrees.len() * width, "a degree a row");
        assert_eq!(base.len(), rows.len(), "a row for a row");
        let shares = rows.par_chunks_mut(SHARE_ROWS * width);
        shares
            .zip(base.par_chunks(SHARE_ROWS * width))
            .zip(degrees.par_chunks(SHARE_ROWS))
            .for_each(|((rows, base), degrees)| {
                let each = degrees.iter().map(|&degree| {
                    let by = self.by * self.power.of(degree) as f32;
                    (self.share * made.of(degree) as f32, by)
                });
                shift(simd, &each.collect::<Vec<_>>(), base, rows);
            });
    }
}

impl Scales {
    /// Scales rows that were summed, hands them to `look` as they are made, and scales them as they are stored.
    ///
    /// # Panics
    /// Where there is not a degree a row.
    pub fn apply<T>(
        self,
        width: usize,
        degrees: &[f64],
        rows: &mut [f32],
        look: impl FnOnce(&[f32]) -> T,
    ) -> T {
        assert_eq!(rows.len(), degrees.len() * width, "a degree a row");
        self.made.scale(width, degrees, rows);
        let seen = look(rows);
        self.stored.scale(width, degrees, rows);
        seen
    }
}

/// Fills the rows of a block: normal numbers keyed by (seed, mode, row id, column), or those that are given, zeros where a row has no
/// degree and in the columns that begin so.
///
/// # Panics
/// Where `out` is not the block's rows.
pub fn start_rows(
    op: &StartOp,
    block: BlockId,
    degrees: &[f64],
    given: Option<&[f32]>,
    out: &mut [f32],
) {
    let (columns, ids) = (op.columns as usize, op.grid.row_ids(block));
    let width = kernels::width_of(columns);
    assert_eq!(out.len(), ids.len() * width, "the rows of the block");
    assert_eq!(degrees.len(), ids.len(), "a degree a row");
    assert!(
        given.is_none_or(|given| given.len() == out.len()),
        "as many rows"
    );
    let rows = out
        .chunks_exact_mut(width)
        .zip(ids)
        .zip(degrees)
        .enumerate();
    let (stream, drawn) = (
        u32::from(op.mode == Mode::User),
        columns - op.zeros as usize,
    );
    for (at, ((row, id), &degree)) in rows.filter(|(_, (_, degree))| **degree > 0.0) {
        let mut by = op.power.of(degree) as f32;
        let given = given.map(|given| &given[at * width..(at + 1) * width]);
        if let Some(given) = given.filter(|given| !given[0].is_nan()) {
            row.copy_from_slice(given);
        } else {
            Random::new(op.seed, PURPOSE, stream, id).fill_normal(&mut row[..drawn]);
            by *= op.by;
        }
        for x in row {
            *x *= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::Small;
    use tensor::csr::Values;

    #[test]
    fn degrees_are_sums_and_powers_come_in_halves() {
        let (offsets, columns, values) = ([0, 2, 2, 5], [0, 1, 0, 1, 2], [3.0, 1.0, 1.0, 1.0, 2.5]);
        let csr = CsrRef::new(
            &offsets,
            0,
            &columns,
            Small::default(),
            Values::Each(&values),
            Some(3),
        );
        let csr = csr.unwrap();
        let count = |edges| {
            let mut degrees = [0.0; 3];
            add_degrees(edges, 1.0, csr, &mut degrees);
            degrees
        };
        assert_eq!(count(Edges::Binary), [2.0, 0.0, 3.0]);
        assert_eq!(count(Edges::Values), [4.0, 0.0, 4.5]);
        let powers = [-4, -3, -2, -1, 0, 1, 2, 4].map(|halves| Power(halves).of(4.0));
        assert_eq!(powers, [0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0]);
        assert_eq!(
            [-1, 0, 1].map(|halves| Power(halves).of(0.0)),
            [0.0, 1.0, 0.0]
        );
    }
}
