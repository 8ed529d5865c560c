//! Blockwise descent as an algorithm of epochs: counts and first rows, then strata and what they publish.
//!
//! **Invariant:** what the first stage finds is in [`Learnt`]; nothing else is carried from one epoch to the next.

use super::ops::Totals;
use super::schedule::{Layout, Role};
use super::settings::{Settings, SettingsError};
use crate::reduce::tree_sum;
use crate::training::{
    Algorithm, Epochs, Given, TableVersion, counts, decode, imported, misreduced, refuse,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{Grid, Imported, KeyRange, Mode, Partitions, ProgramError, Reduced, Step};

/// What is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// Super-blocks of either.
    pub side: u32,
    /// The training view.
    pub train: Partitions,
    /// The same as tiles.
    pub tiles: Partitions,
    /// Bins of time, where they have factors; the views then keep them.
    pub bins: u32,
    /// First factors that users brought along, by mode.
    pub given: BTreeMap<Mode, Vec<Given>>,
}

/// What the counts of the first stage come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// What is added to every score.
    offset: f32,
    /// The noise of each product super-block; empty where no negatives are drawn.
    noise: Vec<f64>,
}

/// What blockwise descent does with an epoch.
pub struct Descent {
    settings: Settings,
    input: Input,
    learnt: Learnt,
    losses: BTreeMap<u32, f64>,
    imported: BTreeMap<Mode, Imported>,
}

/// Blockwise stochastic gradient descent.
pub type Sgd = Epochs<Descent>;

impl Sgd {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        if settings.time && input.bins == 0 {
            let problem =
                "is \"factor\", but the data have no time: name the column under [input] `time`";
            return Err(SettingsError {
                key: "time",
                problem: problem.to_owned(),
            });
        }
        Ok(Epochs::of(Descent {
            settings,
            input,
            learnt: Learnt::default(),
            losses: BTreeMap::new(),
            imported: BTreeMap::new(),
        }))
    }
}

impl Descent {
    fn layout(&self) -> Layout<'_> {
        Layout {
            settings: &self.settings,
            input: &self.input,
            offset: self.learnt.offset,
            noise: &self.learnt.noise,
        }
    }

    fn count(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let totals: Vec<Totals> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        if mode == Mode::Product {
            if self.settings.negatives() > 0 {
                self.learnt.noise = totals.iter().map(|totals| totals.noise).collect();
            }
            return Ok(());
        }
        let sum = |of: fn(&Totals) -> f64| tree_sum(&totals.iter().map(of).collect::<Vec<_>>());
        let forbidden = totals.iter().find_map(|totals| totals.forbidden);
        let interactions = sum(|totals| totals.interactions as f64);
        counts::check(forbidden, ("loss", "poisson"), interactions)?;
        if self.settings.fits_values() {
            self.learnt.offset = (sum(|totals| totals.values) / interactions) as f32;
        }
        Ok(())
    }
}

impl Algorithm for Descent {
    type Role = Role;
    type Learnt = Learnt;

    fn epochs(&self) -> u32 {
        self.settings.epochs
    }

    fn tolerance(&self) -> f64 {
        self.settings.tolerance
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.layout().first_stage(first)
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.layout().epoch(first, epoch)
    }

    fn heard(&mut self, role: Role, reduced: Reduced) -> Result<(), ProgramError> {
        match (role, reduced) {
            (Role::Totals(mode), Reduced::Collect(partials)) => self.count(mode, &partials),
            (Role::Losses(stratum), Reduced::Sum(sums)) => {
                let loss = sums.first().copied().unwrap_or(0.0);
                self.losses.insert(stratum, loss);
                Ok(())
            }
            (Role::Given(mode), Reduced::Collect(partials)) => {
                self.imported.insert(mode, imported(mode, &partials)?);
                Ok(())
            }
            (Role::Silent, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// The losses of all samples, each as it was met.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError> {
        let losses: Vec<f64> = std::mem::take(&mut self.losses).into_values().collect();
        let objective = tree_sum(&losses);
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {epoch} is not a finite number: lower `rate` (now {}) or scale the values down",
                self.settings.rate
            ))
        }
    }

    fn learnt(&self) -> Learnt {
        self.learnt.clone()
    }

    fn restore(&mut self, learnt: Learnt) {
        self.learnt = learnt;
        self.losses.clear();
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

    fn offset(&self) -> f32 {
        self.learnt.offset
    }
}
