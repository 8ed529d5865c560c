//! All products, in pieces that fit: the factors of consecutive products and what is known of each.

use crate::evaluate::reading::{RowBytes, bug};
use crate::work::{Fetched, Part, Want};
use model::evaluate::ProductRow;
use model::score::Stretch;
use plan::Failure;
use std::ops::Range;
use tensor::{BlockId, ByteSize, Grid, KeyRange, ObjectKey};

/// Consecutive products of one block.
#[derive(Clone, Debug)]
struct Span {
    block: u32,
    rows: Range<u64>,
    whole: bool,
}

/// The pieces in which a task goes over all products.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    factors: Vec<ObjectKey>,
    products: Vec<ObjectKey>,
    grid: Grid,
    width: usize,
    pieces: Vec<Vec<Span>>,
}

/// The stretches of a piece that came.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    stretches: Vec<(u32, RowBytes, RowBytes)>,
    width: usize,
}

impl Pieces {
    /// Pieces of at most `budget` bytes.
    pub(crate) fn plan(
        factors: KeyRange,
        products: KeyRange,
        grid: &Grid,
        width: usize,
        budget: u64,
    ) -> Result<Self, Failure> {
        let row_bytes = Self::row_bytes(width);
        let rows_max = budget / row_bytes;
        if rows_max == 0 {
            return Err(short_by(row_bytes, budget));
        }
        let (factors, products): (Vec<_>, Vec<_>) =
            (factors.keys().collect(), products.keys().collect());
        if factors.len() != grid.rows.len() || products.len() != grid.rows.len() {
            return Err(bug(format!(
                "{} blocks of products in a grid of {}",
                factors.len(),
                grid.rows.len()
            )));
        }
        let mut pieces = vec![Vec::new()];
        let mut left = rows_max;
        for BlockId(block) in grid.block_ids() {
            let rows = u64::from(grid.rows[block as usize]);
            let mut start = 0;
            while start < rows {
                // A block that would fit a piece of its own is not cut: whole blocks come without a copy.
                if left == 0 || (start == 0 && rows > left && rows <= rows_max) {
                    pieces.push(Vec::new());
                    left = rows_max;
                }
                let end = rows.min(start + left);
                let whole = start == 0 && end == rows;
                pieces.last_mut().expect("one piece at least").push(Span {
                    block,
                    rows: start..end,
                    whole,
                });
                left -= end - start;
                start = end;
            }
        }
        Ok(Pieces {
            factors,
            products,
            grid: grid.clone(),
            width,
            pieces,
        })
    }

    /// Bytes of a product.
    pub(crate) fn row_bytes(width: usize) -> u64 {
        (width * 4 + size_of::<ProductRow>()) as u64
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// What a piece needs.
    pub(crate) fn wants(&self, piece: usize) -> Vec<Want> {
        let part = |span: &Span| {
            if span.whole {
                Part::Whole
            } else {
                Part::Span(span.rows.clone())
            }
        };
        let want = |span: &Span| {
            let block = span.block as usize;
            [
                Want::Object(self.factors[block], part(span)),
                Want::Object(self.products[block], part(span)),
            ]
        };
        self.pieces[piece].iter().flat_map(want).collect()
    }

    /// The piece that its wants brought.
    pub(crate) fn load(&self, piece: usize, fetched: Vec<Fetched>) -> Result<Loaded, Failure> {
        let spans = &self.pieces[piece];
        if fetched.len() != 2 * spans.len() {
            return Err(bug(format!(
                "{} objects came where {} were asked for",
                fetched.len(),
                2 * spans.len()
            )));
        }
        let mut fetched = fetched.into_iter();
        let mut stretches = Vec::with_capacity(spans.len());
        for span in spans {
            let first = self.grid.row_ids(BlockId(span.block)).start + span.rows.start as u32;
            if let (Some(factors), Some(products)) = (fetched.next(), fetched.next()) {
                stretches.push((first, RowBytes::of(factors)?, RowBytes::of(products)?));
            }
        }
        Ok(Loaded {
            stretches,
            width: self.width,
        })
    }
}

impl Loaded {
    /// Its stretches, by rising row ids.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.stretches
            .iter()
            .map(|(first, factors, products)| Stretch {
                first: *first,
                products: products.typed(),
                factors: factors.typed(),
                width: self.width,
            })
    }
}

/// The refusal of a task of which the least piece does not fit.
pub(crate) fn short_by(needed: u64, left: u64) -> Failure {
    // Tasks get a part of --memory; four times what is missing is enough on any worker.
    let enough = ByteSize((4 * needed).max(256 << 20));
    Failure::Budget {
        needed: ByteSize(needed),
        left: ByteSize(left),
        enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::TableId;

    fn pieces(rows: &[u32], budget_rows: u64) -> Vec<Vec<(u32, Range<u64>, bool)>> {
        let grid = Grid {
            stride_log2: 4,
            rows: rows.to_vec(),
        };
        let keys = |table| KeyRange::Blocks {
            table: TableId(table),
            first: 0,
            count: grid.blocks(),
            version: 0,
        };
        let budget = budget_rows * Pieces::row_bytes(16) + 7;
        let plan = Pieces::plan(keys(1), keys(2), &grid, 16, budget).unwrap();
        let spans = |piece: &Vec<Span>| {
            piece
                .iter()
                .map(|s| (s.block, s.rows.clone(), s.whole))
                .collect()
        };
        plan.pieces.iter().map(spans).collect()
    }

    #[test]
    fn pieces_hold_whole_blocks_where_they_fit_and_spans_where_not() {
        assert_eq!(
            pieces(&[3, 0, 4], 7),
            [vec![(0, 0..3, true), (2, 0..4, true)]]
        );
        assert_eq!(
            pieces(&[3, 4], 6),
            [vec![(0, 0..3, true)], vec![(1, 0..4, true)]]
        );
        assert_eq!(
            pieces(&[1, 5], 3),
            [
                vec![(0, 0..1, true), (1, 0..2, false)],
                vec![(1, 2..5, false)]
            ]
        );
    }

    #[test]
    fn a_budget_of_less_than_a_product_is_refused_with_a_figure() {
        let keys = KeyRange::Blocks {
            table: TableId(1),
            first: 0,
            count: 1,
            version: 0,
        };
        let refused = Pieces::plan(keys, keys, &Grid::single(3), 16, 10).unwrap_err();
        assert!(matches!(refused, Failure::Budget { .. }), "{refused}");
    }
}
