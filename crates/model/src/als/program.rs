//! Alternating least squares as an algorithm of epochs: counts and first factors, then half-steps mode by mode.
//!
//! **Invariant:** what the first stage finds is in [`Learnt`]; nothing else is carried from one epoch to the next.

use super::formula::Formula;
use super::linear::COLUMNS_MAX;
use super::ops::{MapTally, Tally, Totals};
use super::schedule::{Layout, Role};
use super::settings::{Preset, Settings, SettingsError};
use crate::reduce::tree_sum;
use crate::training::{
    Algorithm, Epochs, Given, TableVersion, counts, decode, imported, misreduced, refuse,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{
    Attributes, Decay, Grid, Imported, KeyRange, Mode, ModeEdges, Partitions, ProgramError,
    Reduced, Small, Step,
};

/// What is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// Bins and contexts; 0 where there are none.
    pub small: Small<u32>,
    /// The training view: with the small modes that are factored, the others collapsed.
    pub train: Partitions,
    /// How weights fade by the bins in that view; `None`: they do not, or the view's values have faded.
    pub decay: Option<Decay>,
    /// What is known of users and products besides.
    pub attributes: BTreeMap<Mode, Attributes>,
    /// Edges between users and between products.
    pub edges: BTreeMap<Mode, ModeEdges>,
    /// First factors that users brought along, by mode.
    pub given: BTreeMap<Mode, Vec<Given>>,
    /// Whether users are only folded in, and what an earlier model takes off explicit targets: those who have interactions here
    /// are solved once from the products that are given, the others stay as they are given, and products do not move.
    pub folds: Option<f32>,
}

/// What the counts of the first stage come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// What is taken off explicit targets.
    offset: f32,
    /// Σ b y².
    constant: f64,
}

/// What alternating least squares does with an epoch.
pub struct Alternation {
    settings: Settings,
    input: Input,
    learnt: Learnt,
    tallies: BTreeMap<Mode, Tally>,
    maps: BTreeMap<Mode, MapTally>,
    imported: BTreeMap<Mode, Imported>,
}

/// Alternating least squares.
pub type Als = Epochs<Alternation>;

impl Als {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured with this input.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        let algorithm = Alternation {
            settings,
            input,
            learnt: Learnt::default(),
            tallies: BTreeMap::new(),
            maps: BTreeMap::new(),
            imported: BTreeMap::new(),
        };
        let given = &algorithm.input.given;
        let folds = algorithm.input.folds.is_some();
        if given.contains_key(&Mode::User) && !algorithm.settings.starts_warm() && !folds {
            let problem = "is for solvers that go on from last factors (\"cg\", \"subspace\" and, above rank 32, \"auto\") and for `non_negative`: others \
                           solve users from the products alone, give `initial_products`, or remove the key";
            return Err(SettingsError {
                key: "initial_users",
                problem: problem.to_owned(),
            });
        }
        for (mode, key, column) in [
            (Mode::User, "user_attribute_weight", "user_attributes"),
            (
                Mode::Product,
                "product_attribute_weight",
                "product_attributes",
            ),
        ] {
            let weight = algorithm.settings.attribute_weight(mode);
            if weight > 0.0 && !algorithm.input.attributes.contains_key(&mode) {
                let problem = format!(
                    "is {weight}, but the data have no attributes of {mode}s: name their files under [input.{column}], or \
                     remove the weight"
                );
                return Err(SettingsError { key, problem });
            }
        }
        for (mode, key) in [
            (Mode::User, "user_edge_weight"),
            (Mode::Product, "product_edge_weight"),
        ] {
            let weight = algorithm.settings.edge_weight(mode);
            if weight > 0.0 && !algorithm.input.edges.contains_key(&mode) {
                let problem = format!(
                    "is {weight}, but the data have no edges between {mode}s: name their files under [input.{mode}_edges], or remove \
                     the weight"
                );
                return Err(SettingsError { key, problem });
            }
        }
        if algorithm.settings.linear_attributes {
            let known = algorithm.input.attributes.values();
            let most = known.map(Attributes::columns).max();
            let problem = match most {
                None => "is for attributes, and the data have none: name their files under [input.user_attributes] or \
                         [input.product_attributes], or remove the key"
                    .to_owned(),
                Some(columns) if columns > COLUMNS_MAX => format!(
                    "knows {COLUMNS_MAX} columns at most, and the attributes of a mode take {columns}: lower their `max_levels`, \
                     take fewer `columns`, or remove the key"
                ),
                Some(_) => String::new(),
            };
            if !problem.is_empty() {
                let key = "linear_attributes";
                return Err(SettingsError { key, problem });
            }
        }
        let missing = algorithm.settings.factors().zip(algorithm.input.small);
        let missing = missing.map(|(factored, rows)| factored && rows == 0);
        for (missing, key, problem) in [
            (
                missing.time,
                "time",
                "is \"factor\", but the data have no time: name the column under [input] `time`",
            ),
            (
                missing.context,
                "context",
                "is \"factor\", but the data have no context: name the column under [input] `context`, or take a \
                 `context_cycle`",
            ),
        ] {
            if missing {
                let problem = problem.to_owned();
                return Err(SettingsError { key, problem });
            }
        }
        Ok(Epochs::of(algorithm))
    }
}

impl Alternation {
    fn layout(&self) -> Layout<'_> {
        let formula = Formula {
            offset: self.learnt.offset,
            decay: self.input.decay,
            ..Formula::of(&self.settings)
        };
        Layout {
            settings: &self.settings,
            input: &self.input,
            formula,
        }
    }

    fn count(&mut self, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let totals: Vec<Totals> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        let sum = |of: fn(&Totals) -> f64| tree_sum(&totals.iter().map(of).collect::<Vec<_>>());
        let forbidden = totals.iter().find_map(|totals| totals.forbidden);
        let interactions = sum(|totals| totals.interactions as f64);
        counts::check(forbidden, ("preset", "hu"), interactions)?;
        let weights = sum(|totals| totals.weights);
        let (values, constant) = (sum(|totals| totals.values), sum(|totals| totals.constant));
        self.learnt.constant = constant;
        if self.settings.preset == Preset::Explicit && self.settings.center {
            self.learnt.offset = (values / weights) as f32;
            let mean = f64::from(self.learnt.offset);
            self.learnt.constant = constant - 2.0 * mean * values + weights * mean * mean;
        }
        if let Some(offset) = self.input.folds {
            self.learnt.offset = offset;
        }
        Ok(())
    }

    fn import(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        self.imported.insert(mode, imported(mode, partials)?);
        Ok(())
    }

    fn tally(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let tallies: Vec<Tally> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        if let Some(failed) = tallies.iter().find_map(|tally| tally.failed) {
            let row = match mode {
                Mode::User | Mode::Product | Mode::Context => format!("{{{mode}:{}}}", failed.row),
                Mode::Time => format!("{mode} bin {}", failed.row),
            };
            return refuse(format!(
                "the equations of {row} are singular at column {}: raise `regularization` (now {})",
                failed.pivot, self.settings.regularization
            ));
        }
        let sum = |of: fn(&Tally) -> f64| tree_sum(&tallies.iter().map(of).collect::<Vec<_>>());
        let total = Tally {
            fit: sum(|tally| tally.fit),
            regularization: sum(|tally| tally.regularization),
            failed: None,
        };
        self.tallies.insert(mode, total);
        Ok(())
    }

    fn map_tally(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        for partial in partials {
            let tally: MapTally = decode(partial)?;
            if let Some((attribute, pivot)) = tally.failed {
                let name = self
                    .layout()
                    .attributes(mode)
                    .and_then(|known| known.attributes.get(attribute as usize))
                    .map_or_else(String::new, |attribute| attribute.name.clone());
                return refuse(format!(
                    "the equations of the maps of `{name}` ({mode}s) are singular at column {pivot}: raise \
                     `attribute_regularization` (now {})",
                    self.settings.attribute_regularization
                ));
            }
            self.maps.insert(mode, tally);
        }
        Ok(())
    }
}

impl Algorithm for Alternation {
    type Role = Role;
    type Learnt = Learnt;

    fn epochs(&self) -> u32 {
        match self.input.folds {
            Some(_) => 1,
            None => self.settings.epochs,
        }
    }

    fn tolerance(&self) -> f64 {
        self.settings.tolerance
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.layout().first_stage(first).steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.layout().epoch(first, epoch).steps
    }

    fn heard(&mut self, role: Role, reduced: Reduced) -> Result<(), ProgramError> {
        match (role, reduced) {
            (Role::Totals, Reduced::Collect(partials)) => self.count(&partials),
            (Role::Given(mode), Reduced::Collect(partials)) => self.import(mode, &partials),
            (Role::Tally(mode), Reduced::Collect(partials)) => self.tally(mode, &partials),
            (Role::Maps(mode), Reduced::Collect(partials)) => self.map_tally(mode, &partials),
            (Role::Silent | Role::Counts, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// Σ b y² less what the mode solved last takes off, and the regularization of the others. What that mode takes off the
    /// loss of its side information, by the last maps, is replaced by the loss with the new ones.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError> {
        let tallies = std::mem::take(&mut self.tallies);
        let maps = std::mem::take(&mut self.maps);
        let (mode, last) = tallies.last_key_value().expect("an epoch solves users");
        let others = tallies
            .values()
            .rev()
            .skip(1)
            .map(|tally| tally.regularization)
            .sum::<f64>();
        let taken = maps.get(mode).map_or(0.0, |maps| maps.taken);
        let side = maps.values().map(|maps| maps.loss).sum::<f64>();
        let objective = self.learnt.constant - (last.fit - taken) + others + side;
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {epoch} is not a finite number: raise `regularization` (now {}) or scale the values down",
                self.settings.regularization
            ))
        }
    }

    fn learnt(&self) -> Learnt {
        self.learnt
    }

    fn restore(&mut self, learnt: Learnt) {
        self.learnt = learnt;
        self.tallies.clear();
        self.maps.clear();
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.layout().tables(epoch)
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.layout().kept(epoch)
    }

    fn imported(&self) -> BTreeMap<Mode, Imported> {
        self.imported.clone()
    }

    /// The mean that was taken off explicit targets, else 0.
    fn offset(&self) -> f32 {
        self.learnt.offset
    }
}
