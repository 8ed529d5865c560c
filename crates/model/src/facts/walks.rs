//! Walks of two edges: out to a neighbour, on to any neighbour of it.

use super::ops::{MARK_WORDS, Note, SAMPLES_MAX, WalkTally, WalksOp};
use kernels::Rows;
use rayon::prelude::*;
use tensor::{BlockId, CsrRef, Grid};

/// Rows that a thread takes at a time, at least.
const SHARE_ROWS: usize = 64;

/// Sets the bits of samples in the notes of a block.
pub fn note(grid: &Grid, block: BlockId, marks: &[[u32; 2]], notes: &mut [Note]) {
    for &[id, place] in marks {
        let (of, local) = grid.split(id);
        let bit = (place as usize) < SAMPLES_MAX;
        if of == block
            && bit
            && let Some(note) = notes.get_mut(local as usize)
        {
            note[1 + place as usize / 32] |= 1 << (place % 32);
        }
    }
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    degree: u32,
    walks: u64,
    marks: [u32; MARK_WORDS],
}

/// The rows of a block in the making.
#[derive(Debug)]
pub struct Walks {
    op: WalksOp,
    rows: Vec<Row>,
}

impl Walks {
    /// Bytes that a row takes.
    pub const BYTES: u64 = size_of::<Row>() as u64;

    /// No edge walked yet.
    pub fn new(op: WalksOp) -> Self {
        let rows = vec![Row::default(); op.rows as usize];
        Walks { op, rows }
    }

    /// Adds a piece. `continues` says that its first interaction is of the same pair as the last before it: ids of pieces need not
    /// be comparable with each other.
    ///
    /// # Panics
    /// Where the piece has rows beyond those of the block, or names a row that the other table lacks.
    pub fn piece(&mut self, csr: CsrRef<'_>, first_row: usize, continues: bool, others: Rows<'_>) {
        let rows = self.rows[first_row..first_row + csr.rows()].par_iter_mut();
        let walk = |(row, of): (usize, &mut Row)| {
            let columns = &csr.columns()[csr.row(row)];
            let runs = columns.chunk_by(|left, right| left == right);
            let known = usize::from(continues && row == 0);
            for run in runs.skip(known) {
                let note: &[u32] = bytemuck::cast_slice(others.row(run[0]));
                of.degree += 1;
                of.walks += u64::from(note[0]);
                for (marks, &more) in of.marks.iter_mut().zip(&note[1..]) {
                    *marks |= more;
                }
            }
        };
        rows.enumerate().with_min_len(SHARE_ROWS).for_each(walk);
    }

    /// Adds the rows up.
    pub fn finish(self) -> WalkTally {
        let mut tally = WalkTally {
            reached: vec![0; SAMPLES_MAX],
            ..WalkTally::default()
        };
        let bound = |row: &Row| row.walks.min(self.op.nodes);
        for row in &self.rows {
            tally.walks += row.walks;
            tally.most = tally.most.max(row.walks);
            tally.bound += bound(row);
            tally.products += u128::from(row.degree) * u128::from(row.walks);
            for (word, &marks) in row.marks.iter().enumerate() {
                let mut left = marks;
                while left != 0 {
                    tally.reached[32 * word + left.trailing_zeros() as usize] += 1;
                    left &= left - 1;
                }
            }
        }
        let samples = self.op.samples.iter();
        let bounds = samples.map(|&(row, place)| (place, bound(&self.rows[row as usize])));
        tally.bounds = bounds.collect();
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::Small;
    use tensor::csr::Values;

    #[test]
    fn walks_count_pairs_once_and_find_samples() {
        // Rows 0 and 2 of three are sampled; columns 0, 1, 2 have 2, 1 and 1 of them.
        let others = Grid::single(3);
        let mut notes = vec![[0; 16]; 3];
        for (note, degree) in notes.iter_mut().zip([2, 1, 1]) {
            note[0] = degree;
        }
        let marks = [[0, 0], [1, 0], [0, 255], [9, 3]];
        note(&others, BlockId(0), &marks, &mut notes);
        assert_eq!((notes[0][1], notes[0][8], notes[1][1]), (1, 1 << 31, 1));
        let op = WalksOp {
            rows: 3,
            nodes: 3,
            others,
            samples: vec![(0, 0), (2, 255)],
        };
        let (offsets, columns) = ([0, 4, 4, 6], [0, 0, 0, 1, 0, 2]);
        let floats: &[f32] = bytemuck::cast_slice(&notes);
        let table = [floats];
        let rows = Rows::contiguous(&table, 16);
        let piece = |offsets, base, columns| {
            let (small, values) = (Small::default(), Values::All(1.0));
            CsrRef::new(offsets, base, columns, small, values, Some(3)).unwrap()
        };
        let mut whole = Walks::new(op.clone());
        whole.piece(piece(&offsets, 0, &columns), 0, false, rows);
        let found = whole.finish();
        assert_eq!((found.walks, found.most, found.bound), (6, 3, 6));
        assert_eq!(found.products, 2 * 3 + 2 * 3);
        assert_eq!((found.reached[0], found.reached[255]), (2, 2));
        assert_eq!(found.bounds, [(0, 3), (255, 3)]);
        let mut cut = Walks::new(op);
        cut.piece(piece(&offsets[..2], 0, &columns[..2]), 0, false, rows);
        cut.piece(piece(&offsets, 2, &columns[2..]), 0, true, rows);
        assert_eq!(cut.finish(), found);
    }
}
