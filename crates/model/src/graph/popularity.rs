//! Popularity among users of one label: the score of a product is by how many of the users with the user's label it was had, and,
//! weakly, by how many of all, so that small groups and users without a label fall back on these.
//!
//! It is a model of factors: a user's row is 1 at the label's column and a small number in the last one, a product's the counts,
//! V = Rᵀ G with G the users' rows with 1 in the last column. Whoever has the label has a row, also without an interaction.

use super::ops::{Edges, GraphOp, GroupsOp, Power, ProductOp, Scales};
use super::steps::{Factors, Input, Stage, StageRole, product, rows};
use super::ucmf::levels_of;
use crate::graph::ops::Counts;
use crate::graph::spectral::SettingsError;
use crate::op::Op;
use crate::training::{Algorithm, Epochs, TableVersion, counts, decode, misreduced};
use kernels::width_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{Attributes, DepotId, KeyRange, Mode, ProgramError, Read, Reduced, Step, TableId};

/// Users and products of the model.
const ROWS: TableId = TableId(0);
/// The rows that are counted.
const GROUPS: TableId = TableId(2);
const DEGREES: TableId = TableId(4);

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The attribute of users whose levels are the groups.
    pub label: String,
    /// How many users of the whole every group has beside its own.
    pub prior: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            label: String::new(),
            prior: 10,
        }
    }
}

/// What a step's partials are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Counts of products' blocks.
    Counts,
    /// Nothing.
    Silent,
}

impl StageRole for Role {
    const SILENT: Self = Role::Silent;
}

/// The algorithm.
pub struct Counted {
    settings: Settings,
    input: Input,
    known: Attributes,
    place: u32,
    levels: u32,
}

/// Popularity among users of one label.
pub type Popularity = Epochs<Counted>;

impl Popularity {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Where the data set does not know the label.
    pub fn new(
        settings: Settings,
        input: Input,
        attributes: &BTreeMap<Mode, Attributes>,
    ) -> Result<Self, SettingsError> {
        let known = attributes.get(&Mode::User);
        let found = levels_of(Mode::User, &settings.label, known);
        let (place, levels) = found.map_err(|problem| SettingsError {
            key: "user_label",
            problem,
        })?;
        let levels = levels.len() as u32;
        let known = known.expect("a label is known").clone();
        Ok(Epochs::of(Counted {
            settings,
            input,
            known,
            place,
            levels,
        }))
    }
}

impl Counted {
    fn columns(&self) -> u32 {
        self.levels + 1
    }

    fn table(&self, id: TableId, mode: Mode, epoch: u32) -> TableVersion {
        self.input.table(id, mode, self.columns(), epoch.into())
    }

    fn degrees(&self) -> TableVersion {
        self.input.table(DEGREES, Mode::Product, 1, 0)
    }

    /// The rows of users with a number in the last column.
    fn groups(&self, stage: &mut Stage<Role>, to: &TableVersion, last: f32) {
        let op = Op::Graph(GraphOp::Groups(GroupsOp {
            attributes: self.known.attributes.len() as u32,
            place: self.place,
            levels: self.levels,
            last,
        }))
        .encode();
        let blocks = self.known.blocks.iter().zip(0..);
        let drafts = blocks.map(|(words, block)| {
            let reads = vec![Read::whole(words.key(DepotId::DATA))];
            (op.clone(), reads, vec![to.block(block)], rows(to, block))
        });
        stage.push("groups of users", Role::Silent, drafts, Vec::new());
    }
}

impl Algorithm for Counted {
    type Role = Role;
    type Learnt = ();

    fn epochs(&self) -> u32 {
        1
    }

    fn tolerance(&self) -> f64 {
        0.0
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, &self.input, self.columns());
        let edges = (Edges::Binary, None, false);
        stage.open(&self.input, edges, &self.degrees(), None, Role::Counts);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, &self.input, self.columns());
        let [counted, users] = [GROUPS, ROWS].map(|id| self.table(id, Mode::User, epoch));
        let all = self.input.user.rows_total().max(1);
        self.groups(&mut stage, &counted, 1.0);
        self.groups(&mut stage, &users, self.settings.prior as f32 / all as f32);
        let (products, degrees) = (self.table(ROWS, Mode::Product, epoch), self.degrees());
        let op = ProductOp {
            rows: self.input.product.clone(),
            others: self.input.user.clone(),
            columns: self.columns(),
            edges: Edges::Binary,
            scales: Scales {
                made: Power(0),
                stored: Power(0),
            },
            onto: None,
            loops: false,
        };
        let of = Factors {
            others: &counted,
            degrees: &degrees,
            base: None,
            own: None,
        };
        let partitions = self.input.partitions(Mode::Product);
        let drafts = product(None, &op, &of, partitions, |block| {
            vec![products.block(block)]
        });
        let frees = vec![counted.keys(), degrees.keys()];
        stage.push(
            "counts of products",
            Role::Silent,
            drafts.into_iter(),
            frees,
        );
        stage.steps
    }

    fn heard(&mut self, role: Role, reduced: Reduced) -> Result<(), ProgramError> {
        match (role, reduced) {
            (Role::Counts, Reduced::Collect(partials)) => {
                let mut interactions = 0;
                for partial in &partials {
                    interactions += decode::<Counts>(partial)?.interactions;
                }
                counts::check(None, ("kind", "popularity"), interactions as f64)
            }
            (Role::Silent, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// Nothing is minimised.
    fn objective(&mut self, _: u32) -> Result<f64, ProgramError> {
        Ok(0.0)
    }

    fn measures(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    fn learnt(&self) {}

    fn restore(&mut self, (): ()) {}

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        [Mode::User, Mode::Product]
            .map(|mode| self.table(ROWS, mode, epoch))
            .to_vec()
    }

    fn kept(&self, _: u32) -> Vec<KeyRange> {
        Vec::new()
    }

    fn offset(&self) -> f32 {
        0.0
    }
}

/// The rows of a block of users.
///
/// # Panics
/// Where there is not a word an attribute and row.
pub fn groups(op: &GroupsOp, words: &[u32], out: &mut [f32]) {
    let (columns, count) = (op.levels as usize + 1, op.attributes as usize);
    let width = width_of(columns);
    assert_eq!(words.len() * width, out.len() * count, "words a row");
    for (row, words) in out.chunks_exact_mut(width).zip(words.chunks_exact(count)) {
        row.fill(0.0);
        let level = words[op.place as usize];
        if level < op.levels {
            row[level as usize] = 1.0;
        }
        row[columns - 1] = op.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_its_level_and_ends_with_the_number_of_all() {
        let op = GroupsOp {
            attributes: 2,
            place: 1,
            levels: 3,
            last: 0.5,
        };
        let mut out = vec![7.0; 32];
        groups(&op, &[9, 2, 9, u32::MAX], &mut out);
        assert_eq!(out[..5], [0.0, 0.0, 1.0, 0.5, 0.0]);
        assert_eq!(out[16..21], [0.0, 0.0, 0.0, 0.5, 0.0]);
    }
}
