//! Factor rows by row id, wherever their blocks lie.

use crate::LANES;
use crate::vector::Vector;

/// Interactions between asking for a row and its use: into the second-level cache, and into the first. A core waits for twice as many
/// lines on their way to the second as to the first: rows of 64 floats out of 51 MB come in 11 ns each, with requests of the first alone
/// in 22 ns, as without any.
pub(crate) const FAR: usize = 48;
pub(crate) const NEXT: usize = 12;

/// The factor rows of one mode: row id = block · 2^`stride_log2` + local, each block a slice of whole rows.
///
/// A gathered buffer whose ids are its slots is the case of one block and a stride of 2^32.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    blocks: &'a [&'a [f32]],
    stride_log2: u8,
    width: usize,
    /// Ids below it have rows, and none must be looked at to know it.
    even: u32,
}

impl<'a> Rows<'a> {
    /// The rows of a grid's blocks. A block may hold fewer rows than its stride; asking for a row it lacks panics.
    ///
    /// # Panics
    /// Where the width is no multiple of 16 or a block is no whole number of rows.
    pub fn new(blocks: &'a [&'a [f32]], stride_log2: u8, width: usize) -> Self {
        assert!(
            width > 0 && width.is_multiple_of(crate::LANES),
            "width {width} is no multiple of 16"
        );
        assert!(stride_log2 <= 32, "a stride of 2^{stride_log2} rows");
        assert!(
            blocks.iter().all(|block| block.len().is_multiple_of(width)),
            "a block ends inside a row"
        );
        Rows {
            blocks,
            stride_log2,
            width,
            even: even(blocks, stride_log2, width),
        }
    }

    /// One contiguous buffer of rows, ids counting from 0.
    pub fn contiguous(buffer: &'a [&'a [f32]; 1], width: usize) -> Self {
        Self::new(buffer, 32, width)
    }

    /// Floats of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A row.
    ///
    /// # Panics
    /// Where no block holds it.
    #[inline(always)]
    pub fn row(&self, id: u32) -> &'a [f32] {
        let (block, start) = self.place(id);
        &self.blocks[block][start..start + self.width]
    }

    /// Where a row begins; null where no block holds it.
    #[inline(always)]
    pub(crate) fn find(&self, id: u32) -> *const f32 {
        let (block, start) = self.place(id);
        match self.blocks.get(block) {
            Some(block) if start + self.width <= block.len() => block.as_ptr().wrapping_add(start),
            _ => std::ptr::null(),
        }
    }

    /// Whether all of these ids have rows, as far as can be told without looking each up.
    #[inline(always)]
    pub(crate) fn hold(&self, ids: impl Iterator<Item = u32>) -> bool {
        ids.fold(0, u32::max) < self.even
    }

    /// Its blocks, and the binary logarithm of the rows that each but the last has room for.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> (&'a [&'a [f32]], u8) {
        (self.blocks, self.stride_log2)
    }

    /// All rows, where they lie in one block.
    pub(crate) fn table(&self) -> Option<&'a [f32]> {
        match self.blocks {
            [table] => Some(table),
            _ => None,
        }
    }

    /// Where a row would begin, for a prefetch: of an id without a row, any address.
    #[inline(always)]
    pub(crate) fn address(&self, id: u32) -> *const f32 {
        let (block, start) = self.place(id);
        self.blocks
            .get(block)
            .map_or(std::ptr::null(), |block| block.as_ptr().wrapping_add(start))
    }

    /// Asks for 16 floats a vector, from a column on, of the rows that are used some interactions after `at`: into the second-level cache,
    /// and from there into the first.
    #[inline(always)]
    pub(crate) fn bring<V: Vector>(&self, ids: &[u32], at: usize, column: usize, vectors: usize) {
        for (ahead, far) in [(FAR, true), (NEXT, false)] {
            let Some(&id) = ids.get(at + ahead) else {
                continue;
            };
            let address = self.address(id).wrapping_add(column);
            for c in 0..vectors {
                let line = address.wrapping_add(c * LANES);
                if far {
                    V::prefetch_near(line);
                } else {
                    V::prefetch(line);
                }
            }
        }
    }

    #[inline(always)]
    fn place(&self, id: u32) -> (usize, usize) {
        let id = u64::from(id);
        let block = id >> self.stride_log2;
        let local = id - (block << self.stride_log2);
        (block as usize, local as usize * self.width)
    }
}

/// The ids below which every one has its row: those of the blocks that hold as many as they may, and of the one after them.
fn even(blocks: &[&[f32]], stride_log2: u8, width: usize) -> u32 {
    let (mut rows, stride) = (0, 1_u64 << stride_log2);
    for block in blocks {
        let here = (block.len() / width) as u64;
        rows += here.min(stride);
        if here < stride {
            break;
        }
    }
    rows.min(u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sure_up_to_the_first_gap() {
        let (full, short) = (vec![1.0; 64], vec![2.0; 48]);
        for (blocks, wanted) in [
            (vec![&full[..], &full, &short], 11),
            (vec![&full[..], &short, &full], 7),
            (vec![&[][..], &full], 0),
            (vec![], 0),
        ] {
            let rows = Rows::new(&blocks, 2, 16);
            assert!(rows.hold(0..wanted) || wanted == 0, "{wanted}");
            assert!(!rows.hold(0..=wanted), "{wanted}");
            assert!((0..wanted).all(|id| !rows.find(id).is_null()), "{wanted}");
        }
    }

    #[test]
    fn rows_are_found_in_their_blocks() {
        let (first, second) = (vec![1.0; 32], [vec![2.0; 16], vec![3.0; 16]].concat());
        let blocks = [&first[..], &second[..]];
        let rows = Rows::new(&blocks, 3, 16);
        assert_eq!(
            (rows.row(1)[15], rows.row(8)[0], rows.row(9)[0]),
            (1.0, 2.0, 3.0)
        );
        let buffer = [&second[..]];
        assert_eq!(Rows::contiguous(&buffer, 16).row(1), &[3.0; 16]);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_row_beyond_its_block_panics() {
        let block = [0.0; 32];
        Rows::new(&[&block], 3, 16).row(2);
    }
}
