//! The cut of a mode into blocks of rows. Fixed at first ingest; never a function of workers, threads,
//! memory or rank.

use crate::key::BlockId;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The least number of blocks of a dealt mode.
pub const BLOCKS_MIN: u32 = 64;
/// Interactions per block that the first ingest aims at.
pub const BLOCK_INTERACTIONS: u64 = 4 << 20;
/// The most rows a block may have at first ingest.
pub const BLOCK_ROWS_MAX: u32 = 1 << 20;

/// A mode would need more row ids than u32 has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rows} rows in {blocks} blocks of stride {stride} need row ids beyond 32 bits")]
pub struct GridError {
    /// Rows asked for.
    pub rows: u64,
    /// Blocks they were to be dealt over.
    pub blocks: u32,
    /// Row ids per block.
    pub stride: u64,
}

/// Row id = block · stride + local, stride = 2^`stride_log2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// log2 of the row ids that each block owns.
    pub stride_log2: u8,
    /// Rows in use in each block.
    pub rows: Vec<u32>,
}

impl Grid {
    /// The grid of a first ingest: `rows` rows dealt in snake order over blocks whose number follows from
    /// the interactions; the stride is a power of two at least twice the rows of the fullest block.
    ///
    /// # Errors
    /// Where row ids would leave 32 bits.
    pub fn deal(rows: u64, interactions: u64) -> Result<Self, GridError> {
        let by_work = interactions.div_ceil(BLOCK_INTERACTIONS);
        let by_rows = rows.div_ceil(u64::from(BLOCK_ROWS_MAX));
        let blocks = by_work.max(by_rows).max(u64::from(BLOCKS_MIN));
        let stride = (2 * rows.div_ceil(blocks).max(1)).next_power_of_two();
        let overflow = || GridError {
            rows,
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            stride,
        };
        if blocks.checked_mul(stride).is_none_or(|ids| ids > 1 << 32) {
            return Err(overflow());
        }
        let mut counts = vec![(rows / blocks) as u32; blocks as usize];
        // The last, partial pass of the snake starts at the end that its parity says.
        let (full_passes, rest) = (rows / blocks, (rows % blocks) as usize);
        let partial: Range<usize> = if full_passes % 2 == 0 {
            0..rest
        } else {
            counts.len() - rest..counts.len()
        };
        counts[partial].iter_mut().for_each(|count| *count += 1);
        Ok(Grid {
            stride_log2: stride.trailing_zeros() as u8,
            rows: counts,
        })
    }

    /// One block that holds `rows` rows: the grid of time and context, whose row ids are the bins themselves.
    pub fn single(rows: u32) -> Self {
        let stride = u64::from(rows).max(1).next_power_of_two();
        Grid {
            stride_log2: stride.trailing_zeros() as u8,
            rows: vec![rows],
        }
    }

    /// How many blocks.
    pub fn blocks(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Every block id in order.
    pub fn block_ids(&self) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.blocks()).map(BlockId)
    }

    /// Row ids per block.
    pub fn stride(&self) -> u32 {
        1 << self.stride_log2
    }

    /// Rows in use, all blocks.
    pub fn rows_total(&self) -> u64 {
        self.rows.iter().map(|&rows| u64::from(rows)).sum()
    }

    /// The row id of the `rank`-th row in dealing order (descending count, ties by id), from 0:
    /// snake order over the blocks.
    pub fn dealt_row(&self, rank: u64) -> u32 {
        let blocks = self.rows.len() as u64;
        let (pass, place) = (rank / blocks, rank % blocks);
        let block = if pass.is_multiple_of(2) {
            place
        } else {
            blocks - 1 - place
        };
        ((block << self.stride_log2) + pass) as u32
    }

    /// The block of a row id and the row's place in it.
    pub fn split(&self, row: u32) -> (BlockId, u32) {
        if self.stride_log2 == 32 {
            return (BlockId(0), row);
        }
        (BlockId(row >> self.stride_log2), row & (self.stride() - 1))
    }

    /// The row ids in use in a block.
    pub fn row_ids(&self, block: BlockId) -> Range<u32> {
        let first = (u64::from(block.0) << self.stride_log2) as u32;
        first..first + self.rows[block.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_is_dealt_to_a_distinct_row_in_use() {
        for rows in [0_u64, 1, 63, 64, 65, 127, 128, 129, 2469, 68_509] {
            let grid = Grid::deal(rows, 20_000_000).unwrap();
            assert_eq!(grid.rows_total(), rows);
            let mut ids: Vec<u32> = (0..rows).map(|rank| grid.dealt_row(rank)).collect();
            ids.sort_unstable();
            let expected: Vec<u32> = grid
                .block_ids()
                .flat_map(|block| grid.row_ids(block))
                .collect();
            assert_eq!(ids, expected, "{rows} rows");
        }
    }

    #[test]
    fn blocks_follow_work_and_rows() {
        assert_eq!(Grid::deal(10, 10).unwrap().blocks(), 64);
        assert_eq!(Grid::deal(10, 1 << 30).unwrap().blocks(), 256);
        assert_eq!(Grid::deal(100 << 20, 10).unwrap().blocks(), 100);
        assert!(Grid::deal(3 << 30, 10).is_err());
    }

    #[test]
    fn a_row_splits_into_block_and_place() {
        let grid = Grid::deal(2469, 1_469_307).unwrap();
        assert_eq!(grid.stride(), 128);
        assert_eq!(grid.split(5 * 128 + 3), (BlockId(5), 3));
    }
}
