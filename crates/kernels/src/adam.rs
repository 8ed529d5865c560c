//! A step of Adam on rows, in place.

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// What all rows share.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// β1 and β2: what the means of gradients and of their squares keep.
    pub keep: [f32; 2],
    /// 1 − β1 and 1 − β2: what they take of new ones.
    pub take: [f32; 2],
    /// 1 / (1 − β1ᵗ) and 1 / (1 − β2ᵗ).
    pub correct: [f32; 2],
    /// ε.
    pub epsilon: f32,
}

/// What a row has of its own.
#[derive(Clone, Copy, Debug)]
pub struct AdamRow {
    /// What its sums are multiplied by,
    pub by: f32,
    /// and what of the row is added, to be its gradient.
    pub held: f32,
    /// The length of its step.
    pub rate: f32,
}

/// One row of each table: parameters, means, means of squares.
pub type AdamTables<'a> = [&'a mut [f32]; 3];

/// g = by · s + held · x; m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2) g²; x ← x − rate · first m / (√(second v) + ε).
///
/// # Panics
/// Where the tables have not as many rows of one width as there are `rows`.
pub fn adam(simd: Simd, adam: Adam, rows: &[AdamRow], sums: &[f32], tables: AdamTables<'_>) {
    if rows.is_empty() {
        return;
    }
    let width = sums.len() / rows.len();
    for table in &tables {
        assert!(
            table.len() == sums.len() && sums.len() == rows.len() * width,
            "rows of one width"
        );
    }
    simd.run(Move {
        adam,
        rows,
        width,
        sums,
        tables,
    });
}

struct Move<'a> {
    adam: Adam,
    rows: &'a [AdamRow],
    width: usize,
    sums: &'a [f32],
    tables: AdamTables<'a>,
}

impl Kernel for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Adam {
            keep,
            take,
            correct,
            epsilon,
        } = self.adam;
        let [xs, means, squares] = self.tables;
        for (number, row) in self.rows.iter().enumerate() {
            let columns = number * self.width..(number + 1) * self.width;
            let (x, s) = (&mut xs[columns.clone()], &self.sums[columns.clone()]);
            let (m, v) = (&mut means[columns.clone()], &mut squares[columns]);
            for c in 0..self.width {
                let g = row.by * s[c] + row.held * x[c];
                m[c] = keep[0] * m[c] + take[0] * g;
                v[c] = keep[1] * v[c] + take[1] * (g * g);
                x[c] -= row.rate * (correct[0] * m[c]) / ((correct[1] * v[c]).sqrt() + epsilon);
            }
        }
    }
}
