//! Pieces of a partition and the factor rows that each needs.
//!
//! A piece is a contiguous range of interactions. Where the whole other table fits the budget it is taken once and the
//! pieces only bound what is read of the partition; where it does not, each piece gathers the rows that its columns
//! name, and its ids are renumbered by the rank of a row among those of its block that were gathered.

use crate::objects::{Numbers, bad_partition, fits, numbers};
use crate::trouble::failure_of;
use crate::work::{Fetched, Part, Want};
use model::als::Rows;
use plan::Failure;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use store::partition::Partition;
use tensor::{CsrRef, Grid, KeyRange, ObjectKey};

/// Interactions that a plan looks at together, and the least piece.
pub const LEAST: u64 = 16_384;

/// Bytes of an interaction of a piece: column, time, context, value, renumbered column.
const INTERACTION_BYTES: u64 = 20;

/// The other table of a half-step, as the budget lets it be had.
pub struct Gather {
    grid: Grid,
    keys: Vec<ObjectKey>,
    width: usize,
    /// Bytes for pieces and, where the table is not whole, their rows.
    budget: u64,
    /// Bytes per interaction of a piece.
    interaction_bytes: u64,
    whole: Option<Vec<Numbers>>,
    takes_whole: bool,
    ranks: Ranks,
}

/// A planned piece.
pub struct Planned {
    /// Its interactions.
    pub range: Range<u64>,
    /// The blocks of which rows were asked for, in the order of the wants.
    blocks: Vec<usize>,
}

impl Gather {
    /// A table of which blocks `keys` are read under a budget. `extra` is what the op holds per interaction.
    ///
    /// # Errors
    /// Where not even the least piece fits beside what the op holds anyway (`fixed`).
    pub fn new(
        grid: &Grid,
        keys: KeyRange,
        width: usize,
        fixed: u64,
        extra: u64,
        budget: u64,
    ) -> Result<Self, Failure> {
        let interaction_bytes = INTERACTION_BYTES + extra;
        let row_bytes = 4 * width as u64;
        let table = grid.rows_total() * row_bytes;
        let takes_whole = fixed + table + LEAST * interaction_bytes <= budget;
        let ranks = Ranks::new(grid);
        let gathered = LEAST.min(grid.rows_total()) * (row_bytes + 4);
        let needed = fixed + ranks.bytes() + gathered + LEAST * interaction_bytes;
        if !takes_whole {
            fits(needed, budget)?;
        }
        let held = if takes_whole { table } else { ranks.bytes() };
        Ok(Gather {
            grid: grid.clone(),
            keys: keys.keys().collect(),
            width,
            budget: budget - fixed - held,
            interaction_bytes,
            whole: None,
            takes_whole,
            ranks,
        })
    }

    /// What to fetch before the first piece.
    pub fn first_wants(&self) -> Vec<Want> {
        let keys = if self.takes_whole {
            &self.keys[..]
        } else {
            &[]
        };
        keys.iter()
            .map(|&key| Want::Object(key, Part::Whole))
            .collect()
    }

    /// Takes what [`Gather::first_wants`] named.
    pub fn take_first(&mut self, fetched: impl Iterator<Item = Fetched>) -> Result<(), Failure> {
        if self.takes_whole {
            let blocks = self
                .keys
                .iter()
                .zip(fetched)
                .map(|(&key, fetched)| numbers(fetched, Some(key)));
            self.whole = Some(blocks.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    /// Whether every piece needs a fetch of its own.
    pub fn fetches_rows(&self) -> bool {
        !self.takes_whole
    }

    /// The piece that begins at an interaction, and the rows it wants: as long as the budget lets it be.
    ///
    /// # Errors
    /// Where the partition is damaged or names a row that the grid lacks.
    pub fn plan(
        &mut self,
        partition: &Partition,
        start: u64,
    ) -> Result<(Planned, Vec<Want>), Failure> {
        let end = partition.interactions();
        if self.takes_whole {
            let most = (self.budget / self.interaction_bytes).max(LEAST);
            let range = start..end.min(start.saturating_add(most));
            return Ok((
                Planned {
                    range,
                    blocks: Vec::new(),
                },
                Vec::new(),
            ));
        }
        let row_bytes = 4 * self.width as u64 + 4;
        self.ranks.clear();
        let mut stop = start;
        while stop < end {
            let next = end.min(stop + LEAST);
            let columns = partition
                .columns(stop..next)
                .map_err(|error| failure_of(error, None))?;
            // A part is taken if it fits although all its columns were new, or if it is the first.
            let rows = (self.ranks.marked + (next - stop)).min(self.grid.rows_total());
            let bytes = rows * row_bytes + (next - start) * self.interaction_bytes;
            if stop > start && bytes > self.budget {
                break;
            }
            for &id in columns.iter() {
                self.ranks.mark(&self.grid, id)?;
            }
            stop = next;
        }
        self.ranks.count();
        let (mut blocks, mut wants) = (Vec::new(), Vec::new());
        for (block, &key) in self.keys.iter().enumerate() {
            let rows = self.ranks.rows_of(block);
            if !rows.is_empty() {
                blocks.push(block);
                wants.push(Want::Object(key, Part::Rows(Arc::from(rows))));
            }
        }
        Ok((
            Planned {
                range: start..stop,
                blocks,
            },
            wants,
        ))
    }

    /// Gives a piece, its columns as the data set has them, its factors and the first of its rows to `compute`.
    ///
    /// # Errors
    /// Where the partition is damaged.
    pub fn with_piece<T>(
        &self,
        partition: &Partition,
        planned: &Planned,
        fetched: Vec<Fetched>,
        compute: impl FnOnce(&[u32], CsrRef<'_>, u32, Rows<'_>) -> T,
    ) -> Result<T, Failure> {
        let piece = partition
            .piece(planned.range.clone())
            .map_err(|error| failure_of(error, None))?;
        let mut blocks: Vec<&[f32]> = vec![&[]; self.keys.len()];
        let gathered: Vec<Numbers>;
        let renumbered: Option<Vec<u32>>;
        if let Some(whole) = &self.whole {
            blocks = whole.iter().map(Numbers::typed).collect();
            renumbered = None;
        } else {
            gathered = fetched
                .into_iter()
                .map(|rows| numbers(rows, None))
                .collect::<Result<_, _>>()?;
            for (&block, rows) in planned.blocks.iter().zip(&gathered) {
                blocks[block] = rows.typed();
            }
            renumbered = Some(self.ranks.renumber(&self.grid, &piece.columns));
        }
        let rows = partition.rows_of(planned.range.clone());
        let offsets = &partition.offsets()[rows.start..=rows.end];
        let limit = u64::from(self.grid.blocks()) << self.grid.stride_log2;
        // Ids that were renumbered are made of ranks.
        let known = renumbered.is_some() || partition.knows_columns(planned.range.clone(), limit);
        let columns = renumbered.as_deref().unwrap_or(&piece.columns);
        let csr = CsrRef::new(
            offsets,
            piece.base,
            columns,
            piece.small_ids(),
            piece.values.as_values(),
            (!known).then_some(limit),
        );
        let csr =
            csr.map_err(|error| bad_partition(&format!("does not fit its data set ({error})")))?;
        if !known {
            partition.know_columns(planned.range.clone(), limit);
        }
        Ok(compute(
            &piece.columns,
            csr,
            rows.start as u32,
            Rows::new(&blocks, self.grid.stride_log2, self.width),
        ))
    }
}

/// Which rows of each block a piece names, and the rank of each among them.
struct Ranks {
    words: usize,
    bits: Vec<u64>,
    /// Rows marked in the words of the block before this one.
    before: Vec<u32>,
    marked: u64,
}

impl Ranks {
    fn new(grid: &Grid) -> Self {
        let words = grid
            .rows
            .iter()
            .max()
            .map_or(0, |&rows| rows.div_ceil(64) as usize);
        let all = words * grid.rows.len();
        Ranks {
            words,
            bits: vec![0; all],
            before: vec![0; all],
            marked: 0,
        }
    }

    fn bytes(&self) -> u64 {
        12 * self.bits.len() as u64
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.marked = 0;
    }

    fn mark(&mut self, grid: &Grid, id: u32) -> Result<(), Failure> {
        let (block, local) = grid.split(id);
        if grid
            .rows
            .get(block.0 as usize)
            .is_none_or(|&rows| local >= rows)
        {
            return Err(bad_partition(&format!(
                "names row {id}, which its data set lacks"
            )));
        }
        let word = &mut self.bits[block.0 as usize * self.words + local as usize / 64];
        let bit = 1 << (local % 64);
        self.marked += u64::from(*word & bit == 0);
        *word |= bit;
        Ok(())
    }

    fn count(&mut self) {
        for (bits, before) in self
            .bits
            .chunks(self.words.max(1))
            .zip(self.before.chunks_mut(self.words.max(1)))
        {
            let mut sum = 0;
            for (bits, before) in bits.iter().zip(before) {
                *before = sum;
                sum += bits.count_ones();
            }
        }
    }

    fn rows_of(&self, block: usize) -> Vec<u32> {
        let mut rows = Vec::new();
        for (word, &bits) in self.bits[block * self.words..][..self.words]
            .iter()
            .enumerate()
        {
            let mut bits = bits;
            while bits != 0 {
                rows.push(word as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        rows
    }

    /// Ids whose place in a block is the rank.
    fn renumber(&self, grid: &Grid, ids: &[u32]) -> Vec<u32> {
        let mut out = vec![0; ids.len()];
        let part = LEAST as usize;
        out.par_chunks_mut(part)
            .zip(ids.par_chunks(part))
            .for_each(|(out, ids)| {
                for (out, &id) in out.iter_mut().zip(ids) {
                    let (block, local) = grid.split(id);
                    let word = block.0 as usize * self.words + local as usize / 64;
                    let below = self.bits[word] & ((1 << (local % 64)) - 1);
                    *out = id - local + self.before[word] + below.count_ones();
                }
            });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_number_the_marked_rows_of_each_block() {
        let grid = Grid {
            stride_log2: 8,
            rows: vec![200, 0, 150],
        };
        let mut ranks = Ranks::new(&grid);
        let ids = [512 + 149, 3, 199, 64, 512, 3];
        for &id in &ids {
            ranks.mark(&grid, id).unwrap();
        }
        ranks.count();
        assert_eq!(ranks.marked, 5);
        assert_eq!(
            [ranks.rows_of(0), ranks.rows_of(1), ranks.rows_of(2)],
            [vec![3, 64, 199], vec![], vec![0, 149]]
        );
        assert_eq!(ranks.renumber(&grid, &ids), [513, 0, 2, 1, 512, 0]);
        assert!(
            ranks.mark(&grid, 200).is_err()
                && ranks.mark(&grid, 256).is_err()
                && ranks.mark(&grid, 5000).is_err()
        );
    }
}
