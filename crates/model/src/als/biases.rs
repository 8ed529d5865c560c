//! Biases as columns of the tables: the last of every row, one a mode. In the table of its own mode such a column has the
//! biases, in the others ones, as in U = [u, b, 1], V = [v, 1, c], so that a score stays one dot product, in a tensor a
//! three-way one. Where the rows of a mode are solved, the columns of the other modes' biases are held at 1. With A x = b
//! the equations of all columns, F those that are free and H those that are held,
//!
//!   A_FF x_F = b_F − A_FH 1,   x_H = 1.
//!
//! A_FH has the share of the interactions, Σ w z c, and that of the unobserved cells, α0 times the biases' Gram column.
//!
//! **Invariant:** nothing here knows a preset or a solver.

use kernels::{LANES, upper_index, upper_len};
use serde::{Deserialize, Serialize};
use std::ops::SubAssign;
use tensor::Mode;

/// The columns of biases of a table's rows, and which of them is their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Biases {
    /// The first of them: columns before it are factors.
    first: u32,
    /// Behind the last.
    end: u32,
    own: u32,
}

impl Biases {
    /// The last `count` of `rank` columns, one a mode in the order of modes; 0: there are none.
    pub fn new(rank: u32, count: u32, mode: Mode) -> Self {
        let place = match mode {
            Mode::User => 0,
            Mode::Product => 1,
            Mode::Time => 2,
            // Contexts come last, behind bins or without.
            Mode::Context => count.saturating_sub(1),
        };
        let first = rank - count;
        Biases {
            first,
            end: rank,
            own: first + place,
        }
    }

    /// Columns of factors.
    pub fn factors(self) -> usize {
        self.first as usize
    }

    /// The column of the mode's own bias, where there are biases.
    pub fn own(self) -> usize {
        self.own as usize
    }

    /// The columns that are held where rows of the mode are solved.
    pub fn held(self) -> impl Iterator<Item = usize> {
        let columns = self.first..self.end;
        let held = columns.filter(move |&column| column != self.own);
        held.map(|column| column as usize)
    }

    /// Whether a column is held.
    pub fn holds(self, column: usize) -> bool {
        self.held().any(|held| held == column)
    }

    /// Whether any is.
    pub fn holds_any(self) -> bool {
        self.held().next().is_some()
    }

    /// How many are.
    pub fn held_count(self) -> f64 {
        self.held().count() as f64
    }

    /// Puts what rows have in columns that nobody solves for: ones where they are held.
    ///
    /// # Panics
    /// Where the rows are not whole.
    pub fn complete(self, width: usize, rows: &mut [f32]) {
        assert!(rows.len().is_multiple_of(width), "whole rows");
        for row in rows.chunks_exact_mut(width) {
            self.held().for_each(|column| row[column] = 1.0);
        }
    }

    /// Leaves of an upper triangle the free columns, with ones on the diagonal of the others, and hands entries A_FH to
    /// `take` with the free column of each.
    pub(super) fn detach<T: Copy + From<f32>>(
        self,
        width: usize,
        upper: &mut [T],
        mut take: impl FnMut(usize, T),
    ) {
        let (zero, one) = (T::from(0.0), T::from(1.0));
        for held in self.held() {
            for column in 0..self.end as usize {
                let at = upper_index(width, column.min(held), column.max(held));
                if !self.holds(column) {
                    take(column, upper[at]);
                }
                upper[at] = if column == held { one } else { zero };
                // Blocks on the diagonal are kept whole.
                if column != held && column / LANES == held / LANES {
                    upper[upper_index(width, column.max(held), column.min(held))] = zero;
                }
            }
        }
    }

    /// Holds the columns of a system, upper triangle and right-hand side.
    pub(super) fn hold<T: Copy + From<f32> + SubAssign>(self, width: usize, system: &mut [T]) {
        let (upper, rhs) = system.split_at_mut(upper_len(width));
        self.detach(width, upper, |column, share| rhs[column] -= share);
        for held in self.held() {
            rhs[held] = T::from(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Simd, solve, solve_scratch, system_len};

    #[test]
    fn each_mode_holds_the_biases_of_the_others() {
        let held = |count, mode| Biases::new(20, count, mode).held().collect::<Vec<_>>();
        assert_eq!(held(0, Mode::Product), []);
        assert_eq!(held(2, Mode::User), [19]);
        assert_eq!(held(2, Mode::Product), [18]);
        assert_eq!(held(3, Mode::Time), [17, 18]);
        assert_eq!(held(3, Mode::Context), [17, 18]);
        assert_eq!(held(4, Mode::Time), [16, 17, 19]);
        assert_eq!(held(4, Mode::Context), [16, 17, 18]);
        let mut rows = [0.0; 64];
        Biases::new(20, 3, Mode::Product).complete(32, &mut rows);
        Biases::new(20, 3, Mode::Product).complete(32, &mut []);
        let ones: Vec<usize> = (0..64).filter(|&i| rows[i] == 1.0).collect();
        assert_eq!(ones, [17, 19, 49, 51]);
    }

    #[test]
    fn a_held_system_is_the_free_one_with_its_share_moved() {
        // 2 columns of factors and 3 of biases, on both sides of a block's edge.
        for rank in [5, 17, 18] {
            let (width, biases) = (kernels::width_of(rank), rank as u32);
            let biases = Biases::new(biases, 3, Mode::Product);
            let entry = |i: usize, j: usize| {
                let (i, j) = (i.min(j) as f32, i.max(j) as f32);
                if i == j { 9.0 + i } else { 0.1 * i + 0.05 * j }
            };
            let mut system = vec![0.0; system_len(width)];
            for i in 0..width {
                for j in i / LANES * LANES..width {
                    let inside = i < rank && j < rank;
                    system[upper_index(width, i, j)] = if inside {
                        entry(i, j)
                    } else {
                        f32::from(u8::from(i == j))
                    };
                }
            }
            for i in 0..rank {
                system[upper_len(width) + i] = 1.0 + i as f32;
            }
            biases.hold(width, &mut system);
            let (mut x, mut scratch) = (vec![0.0; width], vec![0.0; solve_scratch(width)]);
            let failed = solve(Simd::detect(), width, &mut system, &mut x, &mut scratch);
            assert!(failed.is_none());
            for held in biases.held() {
                assert_eq!(x[held].to_bits(), 1_f32.to_bits());
            }
            for row in (0..rank).filter(|&row| !biases.holds(row)) {
                let product: f32 = (0..rank).map(|j| entry(row, j) * x[j]).sum();
                assert!((product - 1.0 - row as f32).abs() < 1e-4, "{rank} {row}");
            }
        }
    }
}
