//! Segments: rows of a mode brought together by k-means of their factors, how good each count of segments is, what is in them, and what
//! they have in common with what is known of the rows besides.
//!
//! Points are the rows that have a training interaction: as directions, since the length of a row that scores by dot products grows with
//! how much its user buys, or as they are. Starts are chosen on a sample (k-means++, several times), Lloyd's iterations run over all points,
//! block by block, and silhouettes are of the sample.
//!
//! **Invariant:** sums are f64 over fixed shares of rows and by the tree over blocks; draws are of rows and of nothing else.

pub mod compare;
mod found;
mod lloyd;
pub mod ops;
pub(crate) mod points;
mod probe;
mod profile;
mod program;
mod silhouette;

pub use found::{Found, Level, Segment, Tried};
pub(crate) use lloyd::sums_of_nearest;
pub use lloyd::{assign, assign_bytes, labels, seed, update};
pub use ops::{SampleOp, SegmentsOp};
pub use points::{points, sample};
pub use probe::probe;
pub use profile::{Profiling, contingency};
pub use program::{Input, Segments, Settings};
pub use silhouette::silhouettes;

use kernels::LANES;
use tensor::TableId;

/// A row that is in no segment, as its word.
pub const NO_SEGMENT: u32 = u32::MAX;

/// Rows as they are compared.
pub(crate) const POINTS: TableId = TableId(0x0f10);
/// Of each block, the rows that are of the sample.
pub(crate) const SAMPLE: TableId = TableId(0x0f11);
/// Centres: the block is the place of their count, the version how often they moved.
pub(crate) const CENTRES: TableId = TableId(0x0f12);
/// Of the sample, row and silhouette; the block as of centres.
pub const SILHOUETTES: TableId = TableId(0x0f13);
/// Segment and distance of each row, a word each.
pub const LABELS: TableId = TableId(0x0f14);

/// What random numbers are drawn for.
mod purpose {
    /// Which rows are of the sample.
    pub const SAMPLE: u32 = 0x500;
    /// Starts; the step is how many centres, the row which try.
    pub const STARTS: u32 = 0x501;
}

/// Rows in panels of 16, column after column, as the kernel of distances takes them. What fills the last panel is infinitely far away.
pub(crate) fn panels<'a>(width: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut packed = vec![f32::INFINITY; rows.len().next_multiple_of(LANES) * width];
    for (place, row) in rows.enumerate() {
        let panel = &mut packed[place / LANES * LANES * width..];
        for (column, &x) in row.iter().enumerate() {
            panel[column * LANES + place % LANES] = x;
        }
    }
    packed
}
