//! What side information adds to a plan.
//!
//! **Invariant:** as in [`super`], counts alone; the sizes are those of `model`'s and `tables`' objects.

use serde::{Deserialize, Serialize};

/// Rows of the blocks of which one task of ingest makes the entries; each reads the tables once more.
const ROWS_PER_TASK: u64 = 1 << 18;
/// Sets of observed attributes of which a half-step keeps the matrix.
const KEPT: u64 = 16;

/// What is known of the rows of a mode besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Rows of the tables of it.
    pub table_rows: u64,
    /// Attributes.
    pub attributes: u64,
    /// Columns that they take.
    pub columns: u64,
    /// Whether factors are held to them.
    pub used: bool,
    /// Whether biases have linear terms of them.
    pub linear: bool,
}

/// Bytes of a stored linear term: a row of 16 floats.
const TERM_BYTES: u64 = 64;

impl Attributes {
    /// Rows that ingest decodes: the tables are read once to learn what they hold, and once for each group of blocks.
    pub(super) fn rows_read(&self, rows: u64) -> u64 {
        self.table_rows * (1 + rows.div_ceil(ROWS_PER_TASK).max(1))
    }

    /// Bytes of the entries in the data set: a word for each row and attribute.
    pub(super) fn data(&self, rows: u64) -> u64 {
        4 * rows * self.attributes
    }

    /// Bytes of the maps and the linear terms.
    pub(super) fn maps(&self, row_bytes: u64) -> u64 {
        let terms = u64::from(self.linear) * self.columns * TERM_BYTES;
        u64::from(self.used) * self.columns * row_bytes + terms
    }

    /// Bytes of what a block adds to the equations of the maps, the Gram of each attribute and the sum of each column, and to
    /// those of linear terms.
    pub(super) fn partial(&self, width: u64) -> u64 {
        let upper = width * (width + 16) / 2;
        let maps = u64::from(self.used) * (self.attributes * (upper + 2) + self.columns * width);
        8 * (maps + self.linear_partial())
    }

    /// The f64 of the sums of linear terms: the products of all columns, a sum a column and one an attribute.
    fn linear_partial(&self) -> u64 {
        u64::from(self.linear)
            * (self.columns * (self.columns + 1) / 2 + self.columns + self.attributes)
    }

    /// Bytes that a half-step of a block of so many rows holds besides.
    pub(super) fn half_step(&self, rows: u64, width: u64, threads: u64) -> u64 {
        let upper = width * (width + 16) / 2;
        let kept = KEPT + 2 * threads;
        u64::from(self.used || self.linear)
            * (rows * (12 * self.attributes + 4 * width)
                + 8 * self.columns * (width + 1)
                + 8 * (self.attributes + 2) * upper
                + kept * (12 * upper + 8 * width * width))
            + self.partial(width)
    }

    /// Bytes of the task that solves the maps.
    pub(super) fn solving(&self, width: u64, threads: u64) -> u64 {
        self.partial(width)
            + 8 * self.linear_partial()
            + u64::from(self.used || self.linear)
                * (8 * self.columns * width + 16 * threads * width * width)
    }

    /// Floating-point operations of an epoch: the Gram of each attribute over the rows, and their maps; the products of a row's
    /// attributes, and the system of all columns.
    pub(super) fn flops(&self, rows: u64, rank: f64) -> f64 {
        let (attributes, columns) = (self.attributes as f64, self.columns as f64);
        let all = attributes * (rows as f64 * (rank * rank + 4.0 * rank) + rank.powi(3) / 3.0)
            + columns * 4.0 * rank * rank;
        let linear = rows as f64 * attributes * attributes + columns.powi(3) / 3.0;
        let maps = if self.used { all } else { 0.0 };
        maps + if self.linear { linear } else { 0.0 }
    }
}
