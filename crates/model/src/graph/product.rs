//! A block of rows of Y = R X (or Rᵀ X), piece by piece; and of any other sums over the interactions of rows ([`Sums`]).
//!
//! Rows are spread over threads some at a time; one of more than [`LINE`] interactions is cut into such lines, by position in
//! it, which are spread on their own: popular products would else keep one thread alone.

use super::ops::Edges;
use kernels::{LINE, Lines, Rows, Simd, Weights, spmm};
use rayon::prelude::*;
use std::ops::Range;
use tensor::CsrRef;
use tensor::csr::Values;

/// Rows that a thread takes at a time.
const SHARE_ROWS: usize = 64;

/// The rows of a block in the making.
pub struct Product {
    simd: Simd,
    edges: Edges,
    sums: Sums,
}

/// Rows of a block that are sums over their interactions.
pub struct Sums {
    width: usize,
    open: Option<Open>,
}

/// A row of more than one line that a piece has cut.
struct Open {
    row: usize,
    /// Its whole lines.
    sum: Vec<f64>,
    /// The line that goes on.
    line: Vec<f32>,
}

/// A line of a row, by its positions in the piece.
struct Line {
    row: usize,
    positions: Range<usize>,
    /// Whether nothing is to be added to it any more, and whether it is the row's last.
    whole: bool,
    last: bool,
}

impl Product {
    /// No row yet.
    pub fn new(simd: Simd, edges: Edges, width: usize) -> Self {
        Product {
            simd,
            edges,
            sums: Sums::new(width),
        }
    }

    /// Adds a piece to the rows of the block, which begin as zeros. Pieces come in order.
    ///
    /// # Panics
    /// Where the piece has rows beyond those of the block, or names a row that the other table lacks.
    pub fn piece(&mut self, csr: CsrRef<'_>, first_row: usize, others: Rows<'_>, out: &mut [f32]) {
        let weights = weights_of(self.edges, csr.values());
        let (simd, ids) = (self.simd, (0, csr.columns()));
        let add = |_: usize, bounds: &[u32], sums: &mut [f32]| {
            let lines = Lines { bounds, rows: None };
            spmm(simd, others, ids, weights, lines, sums);
        };
        self.sums.piece(csr, first_row, out, add);
    }
}

impl Sums {
    /// Bytes a row of this width takes per interaction of a piece.
    pub const fn piece_bytes(width: usize) -> u64 {
        // A row of more than one line has a line every half a line at least.
        (2 * 4 * width).div_ceil(LINE) as u64
    }

    /// Bytes that stay between pieces.
    pub const fn bytes(width: usize) -> u64 {
        12 * width as u64
    }

    /// No row yet.
    pub const fn new(width: usize) -> Self {
        Sums { width, open: None }
    }

    /// Adds a piece to the rows of the block, which begin as zeros. Pieces come in order. `add` takes the first of some
    /// neighbouring rows of the piece, the bounds of their positions, and the sums to which it adds these.
    ///
    /// # Panics
    /// Where the piece has rows beyond those of the block.
    pub fn piece(
        &mut self,
        csr: CsrRef<'_>,
        first_row: usize,
        out: &mut [f32],
        add: impl Fn(usize, &[u32], &mut [f32]) + Sync,
    ) {
        let width = self.width;
        let out = &mut out[first_row * width..(first_row + csr.rows()) * width];
        let count = u32::try_from(csr.interactions());
        count.expect("positions fit u32");
        let shares = out.par_chunks_mut(SHARE_ROWS * width).enumerate();
        shares.for_each(|(share, out)| {
            let first = share * SHARE_ROWS;
            let rows = first..first + out.len() / width;
            for short in runs(rows, |row| csr.row_count(row) <= LINE as u64) {
                let mut bounds = [0; SHARE_ROWS + 1];
                let bounds = &mut bounds[..=short.len()];
                for (bound, row) in bounds.iter_mut().zip(short.clone()) {
                    *bound = csr.row(row).start as u32;
                }
                bounds[short.len()] = csr.row(short.end - 1).end as u32;
                add(
                    short.start,
                    bounds,
                    &mut out[(short.start - first) * width..(short.end - first) * width],
                );
            }
        });
        self.long_rows(csr, first_row, out, add);
    }

    /// The rows of more than one line.
    fn long_rows(
        &mut self,
        csr: CsrRef<'_>,
        first_row: usize,
        out: &mut [f32],
        add: impl Fn(usize, &[u32], &mut [f32]) + Sync,
    ) {
        let width = self.width;
        let lines: Vec<Line> = (0..csr.rows())
            .filter(|&row| csr.row_count(row) > LINE as u64)
            .flat_map(|row| lines_of(csr, row))
            .collect();
        let mut sums = vec![0.0; lines.len() * width];
        let mut open = self.open.take();
        if let (Some(open), Some(line)) = (&open, lines.first()) {
            assert_eq!(open.row, first_row + line.row, "pieces come in order");
            sums[..width].copy_from_slice(&open.line);
        }
        let each = sums.par_chunks_mut(width).zip(&lines);
        each.for_each(|(sums, line)| {
            let Range { start, end } = line.positions.clone();
            add(line.row, &[start as u32, end as u32], sums);
        });
        for (line, line_sum) in lines.iter().zip(sums.chunks_exact(width)) {
            let row = first_row + line.row;
            let mut of = open.take().unwrap_or_else(|| Open {
                row,
                sum: vec![0.0; width],
                line: vec![0.0; width],
            });
            if line.whole {
                for (sum, &x) in of.sum.iter_mut().zip(line_sum) {
                    *sum += f64::from(x);
                }
                of.line.fill(0.0);
            } else {
                of.line.copy_from_slice(line_sum);
            }
            if line.last {
                let out = &mut out[line.row * width..(line.row + 1) * width];
                for (x, &sum) in out.iter_mut().zip(&of.sum) {
                    *x = sum as f32;
                }
            } else {
                open = Some(of);
            }
        }
        self.open = open;
    }
}

/// Adds rows to sums.
///
/// # Panics
/// Where there are not as many.
pub fn add(sums: &mut [f32], rows: &[f32]) {
    assert_eq!(sums.len(), rows.len(), "as many rows");
    sums.par_iter_mut()
        .zip(rows)
        .with_min_len(1 << 16)
        .for_each(|(sum, x)| *sum += x);
}

/// What interactions of these values weigh.
pub(super) fn weights_of(edges: Edges, values: Values<'_>) -> Weights<'_> {
    match (edges, values) {
        (Edges::Binary, _) => Weights::All(1.0),
        (Edges::Values, Values::All(value)) => Weights::All(value),
        (Edges::Values, Values::Each(values)) => Weights::Each(values),
    }
}

/// The runs of neighbouring rows that are short.
fn runs(rows: Range<usize>, short: impl Fn(usize) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut next = rows.start;
    std::iter::from_fn(move || {
        let start = (next..rows.end).find(|&row| short(row))?;
        let end = (start..rows.end).find(|&row| !short(row));
        next = end.unwrap_or(rows.end);
        Some(start..next)
    })
}

/// The lines of a row that the piece touches.
fn lines_of(csr: CsrRef<'_>, row: usize) -> impl Iterator<Item = Line> {
    let (positions, count) = (csr.row(row), csr.row_count(row));
    // Where the row's own positions count from.
    let (mut next, mut within) = (positions.start, csr.row_start(row));
    std::iter::from_fn(move || {
        if next == positions.end {
            return None;
        }
        let room = LINE - (within % LINE as u64) as usize;
        let end = positions.end.min(next + room);
        within += (end - next) as u64;
        let last = within == count;
        let line = Line {
            row,
            positions: next..end,
            whole: last || end - next == room,
            last,
        };
        next = end;
        Some(line)
    })
}
