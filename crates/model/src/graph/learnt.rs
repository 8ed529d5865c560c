//! What the schedules of models that learn in batches name alike: tables and Grams by the number of the step of Adam, the head of a
//! batch, and first rows.
//!
//! **Invariant:** every name here follows from the number of the step of Adam, and that from epoch and batch, so a replay makes the
//! same steps.

use super::heads::HeadSteps;
use super::learning::{HeadName, Learning};
use super::ops::{Batch, GraphOp, Power, StartOp};
use super::steps::{Draft, Input, rows};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::TableVersion;
use kernels::upper_len;
use tensor::{Mode, ObjectKey, Read, TableId};

/// Tables of users; those of products have the next number. What is scored, which is the model.
pub const EMBEDDINGS: TableId = TableId(0);
/// Degrees.
pub const DEGREES: TableId = TableId(2);
/// Learnt rows, as they are kept.
pub const PARAMETERS: TableId = TableId(4);
/// The means of gradients.
pub const MEANS: TableId = TableId(6);
/// The means of their squares.
pub const SQUARES: TableId = TableId(8);
/// Gradients by what is scored.
pub const GRADIENTS: TableId = TableId(10);

/// Users, then products, as pairs of tables are.
pub const BOTH: [Mode; 2] = [Mode::User, Mode::Product];

/// A model that learns in batches, as far as its schedule is that of others.
#[derive(Clone, Copy)]
pub struct Learnt<'a> {
    /// The data.
    pub input: &'a Input,
    /// Columns of tables.
    pub columns: u32,
    /// The table that a head scores.
    pub scored: TableId,
    /// What the job says of losses and batches.
    pub learning: Learning,
}

impl<'a> Learnt<'a> {
    /// A table after so many steps of Adam.
    pub fn after(&self, table: TableId, mode: Mode, step: u32) -> TableVersion {
        self.input.table(table, mode, self.columns, step.into())
    }

    /// The degrees of a mode.
    pub fn degrees(&self, mode: Mode) -> TableVersion {
        self.input.table(DEGREES, mode, 1, 0)
    }

    /// Steps of Adam when an epoch is done.
    pub fn steps(&self, epoch: u32) -> u32 {
        epoch * self.learning.batches()
    }

    /// The Gram of what a head scores.
    pub fn gram(&self, mode: Mode, step: u32) -> Reduction {
        let table = self.after(self.scored, mode, step);
        Reduction {
            id: 2 * u64::from(step) + u64::from(mode == Mode::Product),
            leaves: table.grid.blocks(),
            rows: 1,
            row_bytes: (upper_len(table.width as usize) * 8) as u32,
        }
    }

    /// Whether the head asks for it.
    pub fn all_pairs(&self) -> bool {
        self.learning.loss == HeadName::AllPairs
    }

    /// The head of a batch, which makes gradients by what the step before made.
    pub fn head(
        &self,
        (epoch, batch): (u32, u32),
        step: u32,
        gradients: [TableVersion; 2],
        powers: [Power; 2],
    ) -> HeadSteps<'a> {
        HeadSteps {
            input: self.input,
            columns: self.columns,
            head: self.learning.head(),
            noise: self.learning.noise_power,
            batch: Batch {
                seed: self.learning.seed,
                epoch,
                count: self.learning.batches(),
                number: batch,
            },
            step,
            embeddings: BOTH.map(|mode| self.after(self.scored, mode, step - 1)),
            grams: BOTH.map(|mode| self.gram(mode, step - 1).root()),
            degrees: BOTH.map(|mode| self.degrees(mode)),
            gradients,
            powers,
        }
    }

    /// The tasks that fill a mode's rows `to` before the first step with normal numbers of a deviation, or with what is given.
    pub fn first_rows(
        &self,
        to: &TableVersion,
        (by, power, zeros): (f64, Power, u32),
        given: Option<&TableVersion>,
        writes: impl Fn(u32) -> Vec<ObjectKey>,
    ) -> Vec<Draft> {
        let op = Op::Graph(GraphOp::Start(StartOp {
            mode: to.mode,
            grid: to.grid.clone(),
            columns: to.rank,
            seed: self.learning.seed,
            by: by as f32,
            power,
            zeros,
            given: given.is_some(),
        }))
        .encode();
        let degrees = self.degrees(to.mode);
        let drafts = (0..to.grid.blocks()).map(|block| {
            let mut reads = vec![Read::whole(degrees.block(block))];
            reads.extend(given.map(|given| Read::whole(given.block(block))));
            (op.clone(), reads, writes(block), rows(to, block))
        });
        drafts.collect()
    }
}
