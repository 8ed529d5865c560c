//! Which rows of a mode are held out as if they were new, and in which order their columns came to them.
//!
//! Of the rows with enough columns to show some and to be judged by others, those whose draw is low are newcomers: at most so many, those of
//! the lowest draws.
//!
//! **Invariant:** a draw is of the row alone, and the order of a row's columns of bins and pairs alone ([`tensor::newcomers`]).

use crate::evaluate::steps::{per_block, sealed};
use crate::op::Op;
use crate::training::{decode, misreduced};
use kernels::Random;
use serde::{Deserialize, Serialize};
use tensor::newcomers::{Kept, Moment, Newcomers, moment};
use tensor::{Mode, PartialSpec, PartitionRef, Program, ProgramError, Reduced, StepId, Turn};

/// What random numbers are drawn for.
const PURPOSE: u32 = 0x520;

/// Reads the partition of a block, by the rows that are drawn, with times where there are some. Returns [`Drawn`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawOp {
    /// Whose rows.
    pub mode: Mode,
    /// The stride of blocks: the id of a block's first row is its number times that.
    pub stride_log2: u8,
    /// Rows whose draw is below are newcomers.
    pub below: u64,
    /// How many columns of a newcomer may be shown; it has more than that.
    pub shown: u32,
    /// Of draws and orders.
    pub seed: u64,
}

/// A newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// Its row.
    pub row: u32,
    /// Its draw.
    pub draw: u64,
    /// When its first columns came to it, one more than may be shown.
    pub moments: Vec<Moment>,
}

/// Takes the interactions of a block, row after row, in canonical order.
pub struct Drawing {
    op: DrawOp,
    first: u32,
    open: Option<u32>,
    last: Option<u32>,
    moments: Vec<Moment>,
    drawn: Vec<Drawn>,
}

impl Drawing {
    /// Of a block.
    pub fn new(op: DrawOp, block: u32) -> Self {
        Drawing {
            op,
            first: block << op.stride_log2,
            open: None,
            last: None,
            moments: Vec::new(),
            drawn: Vec::new(),
        }
    }

    fn draw(&self, row: u32) -> u64 {
        let mode = u32::from(self.op.mode != Mode::User);
        Random::new(self.op.seed, PURPOSE, mode, row).word_64(0)
    }

    /// Adds an interaction of a local row; the first of a column is its earliest.
    pub fn add(&mut self, local: usize, column: u32, bin: u32) {
        let row = self.first + local as u32;
        if self.open != Some(row) {
            self.close();
            self.open = Some(row);
            self.last = None;
        }
        if self.last.replace(column) == Some(column) || self.draw(row) >= self.op.below {
            return;
        }
        let (user, product) = if self.op.mode == Mode::User {
            (row, column)
        } else {
            (column, row)
        };
        self.moments.push(moment(self.op.seed, user, product, bin));
    }

    /// The newcomers.
    pub fn finish(mut self) -> Vec<Drawn> {
        self.close();
        self.drawn
    }

    fn close(&mut self) {
        let wanted = self.op.shown as usize + 1;
        let moments = std::mem::take(&mut self.moments);
        let Some(row) = self.open.take().filter(|_| moments.len() >= wanted) else {
            return;
        };
        let mut first = moments;
        first.sort_unstable();
        first.truncate(wanted);
        let draw = self.draw(row);
        self.drawn.push(Drawn {
            row,
            draw,
            moments: first,
        });
    }
}

/// The newcomers of a mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    rows: Vec<Drawn>,
}

impl Chosen {
    /// How many.
    pub fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// What a view keeps where so many columns of each are shown.
    pub fn shown(&self, mode: Mode, seed: u64, shown: u32, kept: Kept) -> Newcomers {
        let limits = self.rows.iter();
        let limits = limits.map(|of| (of.row, of.moments[shown as usize]));
        Newcomers {
            mode,
            kept,
            seed,
            limits: limits.collect(),
        }
    }
}

/// Draws newcomers.
pub struct Draw {
    op: DrawOp,
    partitions: Vec<PartitionRef>,
    most: usize,
    chosen: Chosen,
}

impl Draw {
    /// Of the blocks of a mode; at most so many.
    pub fn new(op: DrawOp, partitions: Vec<PartitionRef>, most: u64) -> Self {
        Draw {
            op,
            partitions,
            most: most as usize,
            chosen: Chosen::default(),
        }
    }

    /// Those who were drawn, once the program has finished.
    pub fn into_chosen(self) -> Chosen {
        self.chosen
    }
}

impl Program for Draw {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let of = |block: u32| {
            let partition = &self.partitions[block as usize];
            let reads = vec![sealed(partition.object)];
            (reads, Vec::new(), partition.interactions / 8)
        };
        let (op, blocks) = (Op::Draw(self.op), self.partitions.len() as u32);
        let step = per_block(StepId(0), "newcomers", op, blocks, PartialSpec::Collect, of);
        Ok(Turn {
            steps: vec![step],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let Reduced::Collect(found) = reduced else {
            return misreduced(step);
        };
        let mut rows = Vec::new();
        for bytes in &found {
            rows.extend(decode::<Vec<Drawn>>(bytes)?);
        }
        rows.sort_by_key(|of| (of.draw, of.row));
        rows.truncate(self.most);
        rows.sort_by_key(|of| of.row);
        self.chosen = Chosen { rows };
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.chosen = Chosen::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_columns_are_those_of_the_first_bins() {
        let op = DrawOp {
            mode: Mode::User,
            stride_log2: 4,
            below: u64::MAX,
            shown: 2,
            seed: 1,
        };
        let mut drawing = Drawing::new(op, 3);
        // Row 0 has two columns, which are too few; row 2 has four: 5 in bins 8 and 9, 6 in 1, 7 in 1, 9 in 0.
        for (column, bin) in [(1, 0), (2, 0), (2, 7)] {
            drawing.add(0, column, bin);
        }
        for (column, bin) in [(5, 8), (5, 9), (6, 1), (7, 1), (9, 0)] {
            drawing.add(2, column, bin);
        }
        let drawn = drawing.finish();
        assert_eq!((drawn.len(), drawn[0].row), (1, 50));
        let bins: Vec<u32> = drawn[0].moments.iter().map(|of| of.bin).collect();
        assert_eq!(bins, [0, 1, 1]);
        // Shown so many, a view keeps the pairs before the next.
        let chosen = Chosen { rows: drawn };
        for (shown, kept) in [(0, 0), (1, 1), (2, 2)] {
            let of = chosen.shown(Mode::User, 1, shown, Kept::First);
            let pairs = [(5, 8), (6, 1), (7, 1), (9, 0)];
            let found = pairs.iter().filter(|pair| of.keeps(50, pair.0, pair.1));
            assert_eq!(found.count(), kept);
            let later = chosen.shown(Mode::User, 1, shown, Kept::Later);
            let found = pairs.iter().filter(|pair| later.keeps(50, pair.0, pair.1));
            assert_eq!(found.count(), 4 - kept);
        }
    }
}
