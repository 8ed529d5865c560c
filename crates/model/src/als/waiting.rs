//! Rows whose systems wait on a desk to be solved together.

use super::equations::{Job, Note};

/// The rows of the systems in a desk's batch, in their order. Lies on the desk, so that a job allocates nothing.
#[derive(Debug, Default)]
pub struct Waiting {
    rows: Vec<usize>,
    ridges: Vec<f32>,
    outs: Vec<f32>,
    notes: Vec<Note>,
}

impl Waiting {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row of the job and its ridge.
    pub(super) fn push(&mut self, row: usize, ridge: f32) {
        self.rows.push(row);
        self.ridges.push(ridge);
    }

    /// Lets `solve` turn what the rows hold into their solutions and notes, given their ridges; then nothing waits. Rows
    /// that follow each other are solved in place; copies of all rows took a sixth of a percent of an epoch. Returns the row
    /// that failed by its place, with its pivot.
    pub(super) fn solve(
        &mut self,
        width: usize,
        job: &mut Job<'_>,
        solve: impl FnOnce(&[f32], &mut [f32], &mut [Note]) -> Option<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        let count = self.rows.len();
        let first = *self.rows.first()?;
        let place = first - job.rows.start;
        let failed = if self.rows[count - 1] - first == count - 1 {
            let outs = &mut job.out[place * width..][..count * width];
            solve(&self.ridges, outs, &mut job.notes[place..][..count])
        } else {
            self.outs.resize(count * width, 0.0);
            self.notes.resize(count, Note::default());
            let places = self.rows.iter().map(|row| row - job.rows.start);
            let apart = self.outs.chunks_exact_mut(width).zip(places.clone());
            for (x, place) in apart {
                x.copy_from_slice(&job.out[place * width..][..width]);
            }
            let failed = solve(&self.ridges, &mut self.outs, &mut self.notes);
            let solved = self.outs.chunks_exact(width).zip(&self.notes);
            for ((x, note), place) in solved.zip(places) {
                job.out[place * width..][..width].copy_from_slice(x);
                job.notes[place] = *note;
            }
            failed
        };
        let failed = failed.map(|(system, pivot)| (self.rows[system], pivot));
        self.rows.clear();
        self.ridges.clear();
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_solved_in_their_places_whether_or_not_they_follow_each_other() {
        let mut waiting = Waiting::default();
        for rows in [vec![5, 6, 7], vec![5, 7], vec![6]] {
            let mut out = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
            let mut notes = vec![Note::default(); 4];
            for &row in &rows {
                waiting.push(row, row as f32);
            }
            let mut job = Job {
                first_row: 0,
                rows: 4..8,
                out: &mut out,
                notes: &mut notes,
            };
            let failed = waiting.solve(2, &mut job, |ridges, outs, notes| {
                for ((x, note), ridge) in outs.chunks_exact_mut(2).zip(notes).zip(ridges) {
                    note.fit = f64::from(x[0]);
                    x[1] += ridge;
                }
                Some((ridges.len() - 1, 9))
            });
            assert_eq!(failed, Some((rows[rows.len() - 1], 9)));
            assert_eq!(waiting.count(), 0);
            for row in 4..8 {
                let start = 2.0 * (row - 4) as f32;
                let solved = rows.contains(&row);
                let expected = start + 1.0 + if solved { row as f32 } else { 0.0 };
                assert_eq!(out[2 * (row - 4)..][..2], [start, expected]);
                let fit = if solved { f64::from(start) } else { 0.0 };
                assert_eq!(notes[row - 4].fit, fit);
            }
        }
    }
}
