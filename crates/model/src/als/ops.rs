//! The ops of alternating least squares as values. What each reads and writes, in order, is its contract with
//! the program that names the keys and with the runner that brings the bytes.

use super::biases::Biases;
use super::formula::Formula;
use super::settings::Solver;
use serde::{Deserialize, Serialize};
use tensor::{AttributeKind, Attributes, Grid, Mode, Small};

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AlsOp {
    /// Counts before training.
    Totals(TotalsOp),
    /// Makes first factors.
    Init(InitOp),
    /// Solves the rows of a block.
    HalfStep(HalfStepOp),
    /// What the interactions of a user block add to the equations of all rows of a small mode.
    SmallPartial(SmallPartialOp),
    /// Solves the rows of a small mode.
    SmallSolve(SmallSolveOp),
    /// Diagonalises a Gram matrix.
    Basis(BasisOp),
    /// Turns a block into a basis.
    Turn(TurnOp),
    /// Solves the maps of side information.
    Maps(MapsOp),
}

/// Reads the partition of the user block that the task's index names; returns [`Totals`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TotalsOp {
    /// Weights and targets.
    pub formula: Formula,
    /// The grid of users.
    pub rows: Grid,
}

/// The first factors of a table. Reads, where some are given, the block of these rows, of which the first float is no number
/// where there is none. Writes a block and, where `gram` says so, its Gram partial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitOp {
    /// Columns in use.
    pub rank: u32,
    /// The table's grid; the block is that of the first write.
    pub grid: Grid,
    /// What rows hold.
    pub first: First,
    /// Whether the Gram partial is wanted.
    pub gram: bool,
    /// The biases among the columns, which are 0 at first.
    pub biases: Biases,
    /// Whether rows are given.
    pub given: bool,
}

/// First values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum First {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// Normal numbers, keyed by seed, mode, row id and column.
    Normal {
        /// The seed of the run.
        seed: u64,
        /// The mode, so that tables differ.
        mode: Mode,
        /// Standard deviation.
        scale: f32,
    },
    /// Their absolute values.
    HalfNormal {
        /// The seed of the run.
        seed: u64,
        /// The mode, so that tables differ.
        mode: Mode,
        /// Standard deviation before the sign goes.
        scale: f32,
    },
}

/// Reads the root of a table's Gram, or of several, which are multiplied entry by entry. Writes the basis ([`super::basis::basis_len`] f64). Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasisOp {
    /// Columns in use.
    pub rank: u32,
    /// The biases among them, as the rows have them that are solved in the basis.
    pub biases: Biases,
}

/// Reads a block of a table and a basis. Writes the block's rows in the basis. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOp {
    /// Columns in use.
    pub rank: u32,
}

/// Reads: the block's partition; all blocks of the other table (rows), turned into their basis where there is one; then
/// the basis or, without one but with a base, the root of the other table's Gram; then, for each small mode that is
/// factored, its table and, with a base and no basis, its Gram; then, where it starts warm, the block's last version; then, with side information, the
/// block's words (sealed) and, where there are some yet, the maps and the linear terms; then, where rows are held to neighbours, the degrees
/// of the block's edges and S x' of its rows.
/// Writes: the block's new version; with a base, its Gram partial; with side information, its partial for the maps
/// ([`super::side::side_len`] f64); with sums, its part of the equations of a small mode ([`super::small_mode::packed_len`] f64 a
/// row of it). Returns a [`Tally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfStepOp {
    /// Weights, targets, regularization.
    pub formula: Formula,
    /// The grid of the table that is solved; the block is that of the first write.
    pub rows: Grid,
    /// The grid of the other table.
    pub columns: Grid,
    /// Rows of each small mode that is factored.
    pub small: Small<Option<u32>>,
    /// Whether the objective is taken from this half-step, the last of an epoch.
    pub closes_epoch: bool,
    /// How rows are solved.
    pub solver: Solver,
    /// Steps of conjugate gradients.
    pub cg_steps: u32,
    /// Whether there is a basis: of the other table's Gram, and that table is turned into it; or, where interactions weigh
    /// nothing, of what all rows share, and only right-hand sides are turned.
    pub basis: bool,
    /// Whether rows start from their last factors; from zero otherwise.
    pub warm: bool,
    /// Whether rows are descended to factors of 0 or more, instead of being solved.
    pub non_negative: bool,
    /// What is known of the rows besides.
    pub side: Option<SideOp>,
    /// The biases among the columns.
    pub biases: Biases,
    /// The one small mode that is factored, where the block's part of its equations comes along: where rows share their matrix.
    pub sums: Option<Mode>,
    /// How strongly rows are held to the mean of their neighbours.
    pub neighbours: Option<f64>,
    /// Whether rows without interactions stay what they last were; they are zero otherwise. There is no Gram then.
    pub keeps: bool,
}

/// The side information of the rows of a mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideOp {
    /// λ1; 0: factors are not held to it, and there are no maps.
    pub weight: f64,
    /// The columns of each attribute.
    pub attributes: Vec<Columns>,
    /// Whether there are maps and linear terms yet; without them it is only summed up.
    pub mapped: bool,
    /// Whether the biases of rows have linear terms.
    pub linear: bool,
}

/// The columns that an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Columns {
    /// One that holds a number.
    Number,
    /// So many, of which one is 1.
    Levels(u32),
}

impl Columns {
    /// Of each of the attributes that a data set knows.
    pub fn of(attributes: &Attributes) -> Vec<Columns> {
        let columns = attributes.attributes.iter().map(|attribute| {
            if matches!(attribute.kind, AttributeKind::Number { .. }) {
                Columns::Number
            } else {
                Columns::Levels(attribute.columns() as u32)
            }
        });
        columns.collect()
    }

    /// The first column of each attribute.
    pub fn starts(attributes: &[Columns]) -> Vec<usize> {
        let starts = attributes.iter().scan(0, |next, columns| {
            let start = *next;
            *next += columns.count();
            Some(start)
        });
        starts.collect()
    }

    /// How many.
    pub fn count(self) -> usize {
        match self {
            Columns::Number => 1,
            Columns::Levels(levels) => levels as usize,
        }
    }
}

impl SideOp {
    /// Whether there are maps.
    pub fn holds_factors(&self) -> bool {
        self.weight > 0.0
    }

    /// All columns.
    pub fn columns(&self) -> usize {
        self.attributes.iter().map(|columns| columns.count()).sum()
    }

    /// The first column of each attribute.
    pub fn starts(&self) -> Vec<usize> {
        Columns::starts(&self.attributes)
    }
}

/// Reads: the root of the partials of a mode's side information; then, where rows were solved with some, the last maps and the
/// last linear terms. Writes: the maps and the linear terms, a row a column each. Returns a [`MapTally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapsOp {
    /// Columns of a row of factors in use.
    pub rank: u32,
    /// Weight and columns; `mapped` says whether there are last maps.
    pub side: SideOp,
    /// λ2.
    pub regularization: f64,
}

impl MapsOp {
    /// Floats of a stored row.
    pub fn width(&self) -> usize {
        self.rank.next_multiple_of(16) as usize
    }
}

/// What the task that solves maps and linear terms returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MapTally {
    /// λ1 (Σ (a · u − x)² + λ2 n |a|²) with the new maps; and Σ λ_i ((c − x · w)² − c²) + λ2 wᵀN w with the new terms.
    pub loss: f64,
    /// λ1 (Σ x² − Σ (a · u − x)²) with the last maps, and 2 Σ λ_i c x · w with the last terms: what side information put into
    /// the fit of the rows.
    pub taken: f64,
    /// The first attribute whose matrix has no positive pivot, and the pivot.
    pub failed: Option<(u32, u32)>,
}

impl MapTally {
    /// Of maps and linear terms together.
    #[must_use]
    pub fn and(self, other: MapTally) -> Self {
        MapTally {
            loss: self.loss + other.loss,
            taken: self.taken + other.taken,
            failed: self.failed.or(other.failed),
        }
    }

    /// As it travels in a partial.
    ///
    /// # Panics
    /// Never: it is a plain value.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

/// Reads: a user block's partition, the user block, all product blocks (rows); then, where the other small mode is factored
/// too, its table. Writes: one partial with a row for each row of the mode ([`super::small_mode::packed_len`] f64 each).
/// Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallPartialOp {
    /// The small mode whose rows are to be solved.
    pub mode: Mode,
    /// Weights and targets.
    pub formula: Formula,
    /// The grid of products.
    pub columns: Grid,
    /// Rows of each small mode that is factored, the solved one among them.
    pub small: Small<Option<u32>>,
}

impl SmallPartialOp {
    /// Rows of the mode that is solved.
    pub fn rows(&self) -> u32 {
        self.small.of(self.mode).copied().flatten().unwrap_or(0)
    }

    /// The other small mode, where it is factored, and its rows.
    pub fn other(&self) -> Option<(Mode, u32)> {
        let each = self.small.each().into_iter();
        let mut others = each.filter(|(mode, _)| *mode != self.mode);
        others.find_map(|(mode, rows)| Some((mode, rows?)))
    }
}

/// Reads: the root of the mode's partials; with a base, the Grams of all other modes, users first; then, for factors of 0
/// or more, the last version of the table. Writes: the table and, with a base, its Gram; then, with `mean`, one row: the
/// mean of the table's rows by their interactions. Returns a [`Tally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallSolveOp {
    /// Weights, targets, regularization.
    pub formula: Formula,
    /// Rows of the mode.
    pub rows: u32,
    /// Cells of a row: those of all other modes together.
    pub cells: f64,
    /// Grams that are read with a base.
    pub grams: u32,
    /// Whether rows are descended to factors of 0 or more from their last ones, instead of being solved.
    pub non_negative: bool,
    /// λ_τ, which holds neighbouring rows together; 0: each is solved alone.
    pub smoothing: f64,
    /// Whether the mean is written.
    pub mean: bool,
    /// The biases among the columns.
    pub biases: Biases,
}

impl HalfStepOp {
    /// Cells of a row: those of the other modes together.
    pub fn cells(&self) -> f64 {
        let Small { time, context } = self.small.map(|rows| f64::from(rows.unwrap_or(1)));
        self.columns.rows_total() as f64 * time * context
    }
}

/// What a solving task returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Σ xᵀ(rhs + residual) over its rows: what the solved rows take off the objective, their regularization included; 0 where
    /// the objective is taken from another mode.
    pub fit: f64,
    /// Σ λ_i |x_i|² over its rows.
    pub regularization: f64,
    /// The first row whose matrix has no positive pivot.
    pub failed: Option<FailedRow>,
}

impl Tally {
    /// As it travels in a partial.
    ///
    /// # Panics
    /// Never: it is a plain value.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

/// A row that could not be solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRow {
    /// Its id.
    pub row: u32,
    /// The pivot.
    pub pivot: u32,
}

/// What is counted before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Interactions.
    pub interactions: u64,
    /// Σ of what the weights fade to; their count where they do not.
    pub weights: f64,
    /// Σ y, each as it has faded.
    pub values: f64,
    /// Σ b y² with nothing taken off the targets.
    pub constant: f64,
    /// The first value that the preset has no meaning for.
    pub forbidden: Option<Forbidden>,
}

impl Totals {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

/// A value that the preset has no meaning for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forbidden {
    /// The user's row id.
    pub user: u32,
    /// The product's.
    pub product: u32,
    /// The value.
    pub value: f32,
}
