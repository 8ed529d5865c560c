//! Which solver a row is given: by its count of interactions and the width alone, so that neither memory nor pieces
//! can change it.

use super::settings::Solver;
use kernels::GROUP;

/// Floats of the longest panel: 2 MiB, twice the second-level cache of the machines at hand; longer rows are cheaper
/// solved exactly than gathered again from the table in every step.
pub const PANEL_FLOATS: usize = 1 << 19;

/// The widest rows that `auto` solves exactly, all of them: batches of their systems cost less than panels (0.33 s an epoch of 19.2 M
/// interactions at rank 16 and 0.56 s at 32, where conjugate gradients take 0.48 s and 0.62 s).
const EXACT_WIDTH: usize = 32;

/// How a row is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Its normal equations by Cholesky, exactly.
    Primal,
    /// The dual system of its interactions by Cholesky, exactly.
    Dual,
    /// Conjugate gradients from its last factors.
    Cg,
    /// A sweep of exact solves of 16 columns each, from its last factors.
    Subspace,
}

impl Method {
    /// Whether it works on the row's panel.
    pub fn takes_panel(self) -> bool {
        self != Method::Primal
    }
}

/// Interactions of the longest row that a panel holds.
pub const fn panel_rows(width: usize) -> usize {
    PANEL_FLOATS / width / GROUP * GROUP
}

impl Solver {
    /// What it comes to for rows of a width.
    #[must_use]
    pub fn at(self, width: usize) -> Self {
        if self == Solver::Auto && width <= EXACT_WIDTH {
            Solver::Cholesky
        } else {
            self
        }
    }

    /// Whether some row may be solved on its panel.
    pub fn takes_panels(self) -> bool {
        self != Solver::Cholesky
    }

    /// Whether some row may start from its last factors.
    pub fn starts_warm(self) -> bool {
        !matches!(self, Solver::Cholesky | Solver::Dual)
    }

    /// The method for a row. Where the base is not `diagonal` there is no dual.
    pub fn method(self, row: Shape) -> Method {
        if row.count > panel_rows(row.width) as u64 {
            return Method::Primal;
        }
        let has_dual = row.diagonal && row.count < u64::from(row.rank);
        match self {
            Solver::Dual if has_dual => Method::Dual,
            Solver::Cholesky | Solver::Dual => Method::Primal,
            Solver::Cg => Method::Cg,
            Solver::Subspace => Method::Subspace,
            Solver::Auto => cheapest(row, has_dual),
        }
    }
}

/// What decides the method of a row.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its interactions.
    pub count: u64,
    /// Columns in use.
    pub rank: u32,
    /// Floats of a row.
    pub width: usize,
    /// Steps of conjugate gradients.
    pub cg_steps: u32,
    /// Whether the base is diagonal.
    pub diagonal: bool,
}

/// The cheapest method by its time in multiplications at the peak of the machine, as measured at ranks from 16 to 256
/// with AVX-512: packing 8 r an interaction; sums of squares at 0.7 of the peak, batches of Cholesky at 0.4 of it, single
/// systems at 0.16; a pass over the panel 3 r + 60 a line; and what each row, step and system waits for.
fn cheapest(row: Shape, has_dual: bool) -> Method {
    let (n, r) = (row.count as f64, row.width as f64);
    let passes = f64::from(row.cg_steps) + 1.0;
    let primal = 35_000.0 + r * r * r / 6.0 / 0.4 + n * r * r / 2.0 / 0.7;
    let dual = 64_000.0 + 680.0 * r + n * (n + 16.0) / 2.0 * r / 0.6 + n * n * n / 6.0 / 0.16;
    let steps = passes * (3_300.0 + 112.0 * r + n * (3.0 * r + 60.0));
    if has_dual && dual <= steps.min(primal) {
        Method::Dual
    } else if steps < primal {
        Method::Cg
    } else {
        Method::Primal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(count: u64, rank: u32) -> Shape {
        Shape {
            count,
            rank,
            width: rank.next_multiple_of(16) as usize,
            cg_steps: 3,
            diagonal: true,
        }
    }

    #[test]
    fn a_method_follows_from_the_shape_of_a_row() {
        for (solver, count, rank, expected) in [
            (Solver::Cholesky, 3, 64, Method::Primal),
            (Solver::Dual, 63, 64, Method::Dual),
            (Solver::Dual, 64, 64, Method::Primal),
            (Solver::Cg, 8_192, 64, Method::Cg),
            (Solver::Cg, 8_193, 64, Method::Primal),
            (Solver::Subspace, 1, 5, Method::Subspace),
            (Solver::Auto, 2, 128, Method::Cg),
            (Solver::Auto, 500, 128, Method::Cg),
            (Solver::Auto, 100_000, 128, Method::Primal),
        ] {
            let found = solver.method(shape(count, rank));
            assert_eq!(found, expected, "{solver:?} {count} {rank}");
        }
        let widths = [16, 32, 48].map(|width| Solver::Auto.at(width));
        assert_eq!(widths, [Solver::Cholesky, Solver::Cholesky, Solver::Auto]);
        assert_eq!(Solver::Cg.at(16), Solver::Cg);
        let square = Shape {
            diagonal: false,
            ..shape(3, 64)
        };
        assert_eq!(Solver::Dual.method(square), Method::Primal);
        let many = Shape {
            cg_steps: 20,
            ..shape(2, 128)
        };
        assert_eq!(Solver::Auto.method(many), Method::Dual);
    }
}
