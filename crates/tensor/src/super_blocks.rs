//! Neighbouring blocks of a grid joined into a few super-blocks, so that tiles of users and products are large enough
//! (DESIGN 3.4). A function of the grid and a number that the data decide; never of workers or memory.

use crate::grid::Grid;
use crate::key::BlockId;
use std::ops::Range;

/// The most super-blocks of a mode.
pub const SIDE_MAX: u32 = 64;
/// The least: as many tiles as that can be under way at once.
const SIDE_MIN: u32 = 8;
/// Interactions that a tile should hold at least.
const TILE_INTERACTIONS: u64 = 64 << 10;

/// The super-blocks of a grid. Their rows are numbered from 0, block after block, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperBlocks {
    stride_log2: u8,
    /// The first block of each, and the number of blocks.
    firsts: Vec<u32>,
    /// Of each block: its super-block, and the number of its first row there.
    places: Vec<(u32, u32)>,
    /// Rows of each.
    rows: Vec<u32>,
}

/// Super-blocks of either mode for tiles of so many interactions, where the modes have so many blocks.
pub fn side(user_blocks: u32, product_blocks: u32, interactions: u64) -> u32 {
    let tiles = (interactions / TILE_INTERACTIONS).isqrt();
    let side = tiles.clamp(SIDE_MIN.into(), SIDE_MAX.into()) as u32;
    side.min(user_blocks).min(product_blocks).max(1)
}

impl SuperBlocks {
    /// `side` of them, of equally many blocks give or take one.
    ///
    /// # Panics
    /// Where there are fewer blocks than that, or `side` is 0.
    pub fn new(grid: &Grid, side: u32) -> Self {
        let blocks = grid.blocks();
        assert!(
            (1..=blocks).contains(&side),
            "{side} super-blocks of {blocks} blocks"
        );
        let first = |one: u32| (u64::from(one) * u64::from(blocks) / u64::from(side)) as u32;
        let firsts: Vec<u32> = (0..=side).map(first).collect();
        let (mut places, mut rows) = (Vec::new(), Vec::new());
        for (one, ends) in (0..).zip(firsts.windows(2)) {
            let mut count = 0;
            for block in ends[0]..ends[1] {
                places.push((one, count));
                count += grid.rows[block as usize];
            }
            rows.push(count);
        }
        SuperBlocks {
            stride_log2: grid.stride_log2,
            firsts,
            places,
            rows,
        }
    }

    /// How many.
    pub fn side(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Rows of one.
    pub fn rows(&self, one: u32) -> u32 {
        self.rows[one as usize]
    }

    /// The blocks of one.
    pub fn blocks(&self, one: u32) -> Range<u32> {
        self.firsts[one as usize]..self.firsts[one as usize + 1]
    }

    /// The super-block of a block, and the number of its first row there.
    pub fn place(&self, block: BlockId) -> (u32, u32) {
        self.places[block.0 as usize]
    }

    /// The super-block of a row id and its number there; `None` where no block has the id.
    pub fn split(&self, row: u32) -> Option<(u32, u32)> {
        let block = u64::from(row) >> self.stride_log2;
        let local = u64::from(row) - (block << self.stride_log2);
        let (one, start) = *self.places.get(block as usize)?;
        Some((one, start + local as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_through_the_blocks_of_a_super_block() {
        let grid = Grid {
            stride_log2: 3,
            rows: vec![3, 0, 5, 2, 1],
        };
        let joined = SuperBlocks::new(&grid, 2);
        assert_eq!((joined.blocks(0), joined.blocks(1)), (0..2, 2..5));
        assert_eq!((joined.rows(0), joined.rows(1)), (3, 8));
        assert_eq!(joined.place(BlockId(3)), (1, 5));
        let numbers: Vec<_> = grid
            .block_ids()
            .flat_map(|block| grid.row_ids(block))
            .map(|row| joined.split(row).unwrap())
            .collect();
        let expected: Vec<_> = (0..3)
            .map(|i| (0, i))
            .chain((0..8).map(|i| (1, i)))
            .collect();
        assert_eq!(numbers, expected);
        assert_eq!(joined.split(5 << 3), None);
    }

    #[test]
    fn every_block_has_one_super_block_and_sides_are_of_a_size() {
        for (blocks, side) in [(64, 64), (65, 64), (100, 8), (256, 64), (64, 9)] {
            let grid = Grid {
                stride_log2: 4,
                rows: vec![7; blocks],
            };
            let joined = SuperBlocks::new(&grid, side);
            let sizes: Vec<u32> = (0..side)
                .map(|one| joined.blocks(one).len() as u32)
                .collect();
            assert_eq!(sizes.iter().sum::<u32>(), blocks as u32);
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn tiles_are_large_and_at_most_64_a_side() {
        let of = |blocks, interactions| side(blocks, 64, interactions);
        assert_eq!(of(64, 100_000), 8);
        assert_eq!(of(64, 20_000_000), 17);
        assert_eq!(of(64, 1 << 40), 64);
        assert_eq!(of(300, 1 << 40), 64);
        assert_eq!(of(5, 0), 5);
    }
}
