//! The time mode: few rows, very many interactions. Every user block adds up its part of the equations of
//! all bins; a tree brings them together; one task solves.

/// The f64 of one bin's equations: the upper triangle row by row, the right-hand side, the count.
pub const fn packed_len(width: usize) -> usize {
    width * (width + 1) / 2 + width + 1
}
