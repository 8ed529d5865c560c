//! Distinct neighbours of rows: their number, a print of them, and which rows are sampled.

use super::ops::{DegreesOp, Print, SAMPLES_MAX, Tally};
use kernels::random::Random;
use std::collections::BTreeMap;
use tensor::{BlockId, CsrRef};

/// The purpose of the draws that choose rows, and their seed: facts of data know no run.
const PURPOSE: u32 = 0x310;
const SEED: u64 = 0;

/// Distinct (row, column) pairs, piece by piece: in canonical order equal ones are neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pairs {
    last: Option<(usize, u32)>,
}

impl Pairs {
    /// Hands over those of the piece that follows; its row 0 is the block's row `first`.
    pub fn each(&mut self, piece: &CsrRef<'_>, first: usize, mut of: impl FnMut(usize, u32)) {
        for row in 0..piece.rows() {
            for &column in &piece.columns()[piece.row(row)] {
                let pair = (first + row, column);
                if self.last != Some(pair) {
                    of(pair.0, column);
                    self.last = Some(pair);
                }
            }
        }
    }
}

/// A bijection of 64 bits that leaves no trace of neighbouring arguments (the finalizer of Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Adds a neighbour: sums of mixed ids, so that a print is of the set, not of its order.
fn add(print: &mut Print, column: u32) {
    let id = u64::from(column) + 1;
    let halves = [id.wrapping_mul(0x9e37_79b9_7f4a_7c15), !id << 20 | id];
    for (sum, half) in print.iter_mut().zip(halves) {
        *sum = sum.wrapping_add(mixed(half));
    }
}

/// The rows of a block in the making.
#[derive(Debug)]
pub struct Rows {
    op: DegreesOp,
    block: BlockId,
    pairs: Pairs,
    degrees: Vec<u32>,
    prints: Vec<Print>,
}

/// No row seen yet.
pub fn tally(op: DegreesOp, block: BlockId) -> Rows {
    let rows = op.grid.rows[block.0 as usize] as usize;
    Rows {
        op,
        block,
        pairs: Pairs::default(),
        degrees: vec![0; rows],
        prints: vec![[0; 2]; rows],
    }
}

/// Bytes that a row takes while it is counted.
pub const ROW_BYTES: u64 = 4 + size_of::<Print>() as u64;

impl Rows {
    /// Adds the piece that follows; its row 0 is the block's row `first`.
    ///
    /// # Panics
    /// Where the piece has rows beyond the block's.
    pub fn absorb(&mut self, piece: &CsrRef<'_>, first: usize) {
        let (degrees, prints) = (&mut self.degrees, &mut self.prints);
        self.pairs.each(piece, first, |row, column| {
            degrees[row] += 1;
            add(&mut prints[row], column);
        });
    }

    /// Degrees, sorted prints, and the tally.
    pub fn finish(self, interactions: u64) -> (Vec<u32>, Vec<Print>, Tally) {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for &degree in &self.degrees {
            *counts.entry(degree).or_default() += 1;
        }
        let linked = |(row, &degree): (usize, &u32)| (degree > 0).then_some(row);
        let linked: Vec<usize> = (self.degrees.iter().enumerate())
            .filter_map(linked)
            .collect();
        let first_id = self.op.grid.row_ids(self.block).start;
        let draw = |&row: &usize| {
            let stream = Random::new(SEED, PURPOSE, self.op.mode as u32, first_id + row as u32);
            (stream.word_64(0), row as u32)
        };
        let mut samples: Vec<(u64, u32)> = linked.iter().map(draw).collect();
        samples.sort_unstable();
        samples.truncate(SAMPLES_MAX);
        let mut prints: Vec<Print> = linked.iter().map(|&row| self.prints[row]).collect();
        prints.sort_unstable();
        let ends = (1..=u128::from(self.op.shares)).map(|end| {
            let end = (end << 64) / u128::from(self.op.shares);
            prints.partition_point(|print| u128::from(print[0]) < end) as u32
        });
        let tally = Tally {
            interactions,
            degrees: counts.into_iter().collect(),
            samples,
            ends: ends.collect(),
        };
        (self.degrees, prints, tally)
    }
}

/// The distinct columns of one row, each with the place of its sample.
pub fn marked(columns: &[u32], place: u32) -> impl Iterator<Item = [u32; 2]> {
    let runs = columns.chunk_by(|left, right| left == right);
    runs.map(move |run| [run[0], place])
}

/// Counts equal prints.
pub fn equal(mut prints: Vec<Print>) -> super::ops::EqualTally {
    prints.sort_unstable();
    let mut tally = super::ops::EqualTally::default();
    for group in prints.chunk_by(|left, right| left == right) {
        let rows = group.len() as u64;
        if rows > 1 {
            tally.groups += 1;
            tally.rows += rows;
            tally.most = tally.most.max(rows);
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::csr::Values;
    use tensor::{Grid, Mode, Small};

    fn csr<'a>(offsets: &'a [u64], base: u64, columns: &'a [u32]) -> CsrRef<'a> {
        let (small, values) = (Small::default(), Values::All(1.0));
        CsrRef::new(offsets, base, columns, small, values, None).unwrap()
    }

    #[test]
    fn a_pair_counts_once_wherever_it_is_cut() {
        let (offsets, columns) = ([0, 4, 4, 6, 8], [1, 1, 1, 3, 1, 3, 1, 1]);
        let op = DegreesOp {
            mode: Mode::User,
            grid: Grid::single(4),
            shares: 3,
        };
        let whole = {
            let mut rows = tally(op.clone(), BlockId(0));
            rows.absorb(&csr(&offsets, 0, &columns), 0);
            rows.finish(8)
        };
        assert_eq!(whole.0, [2, 0, 2, 1]);
        assert_eq!(whole.2.degrees, [(0, 1), (1, 1), (2, 2)]);
        assert_eq!(whole.2.samples.len(), 3);
        assert_eq!(whole.2.ends[2], 3);
        let mut rows = tally(op, BlockId(0));
        rows.absorb(&csr(&offsets[..2], 0, &columns[..2]), 0);
        rows.absorb(&csr(&offsets, 2, &columns[2..]), 0);
        assert_eq!(rows.finish(8), whole);
        // Rows 0 and 2 have the same neighbours.
        let found = equal(whole.1);
        assert_eq!((found.groups, found.rows, found.most), (1, 2, 2));
        let marks: Vec<[u32; 2]> = marked(&columns[..4], 7).collect();
        assert_eq!(marks, [[1, 7], [3, 7]]);
    }

    #[test]
    fn prints_of_many_sets_differ() {
        let mut prints = Vec::new();
        for first in 0..200_u32 {
            for second in first..200 {
                let mut print = [0; 2];
                add(&mut print, first);
                if second > first {
                    add(&mut print, second);
                }
                prints.push(print);
            }
        }
        assert_eq!(equal(prints).groups, 0);
    }
}
