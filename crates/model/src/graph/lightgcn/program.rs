//! LightGCN as an algorithm of epochs.
//!
//! **Invariant:** a batch's place in its epoch and the epoch name every key; nothing is carried from one epoch to the next but
//! tables.

use super::schedule::{Layout, Role};
use super::settings::Settings;
use crate::graph::normalization::Normalization;
use crate::graph::ops::{Counts, Loss};
use crate::graph::spectral::SettingsError;
use crate::graph::steps::Input;
use crate::reduce::tree_sum;
use crate::training::{Algorithm, Epochs, TableVersion, counts, decode, misreduced, refuse};
use tensor::{KeyRange, Mode, ProgramError, Reduced, Step};

/// What LightGCN does with an epoch.
pub struct Propagation {
    settings: Settings,
    input: Input,
    /// The losses of the epoch's batches.
    losses: Vec<f64>,
}

/// LightGCN.
pub type LightGcn = Epochs<Propagation>;

impl LightGcn {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        let layout = Layout {
            settings: &settings,
            input: &input,
        };
        let linked = [Mode::User, Mode::Product].map(|mode| layout.edges(mode).is_some());
        if linked.contains(&true) && settings.normalization == Normalization::RandomWalk {
            return Err(SettingsError {
                key: "normalization",
                problem: "is \"random-walk\", which divides interactions by the degrees of users alone and says nothing of edges \
                          between rows of a mode: give \"symmetric\" or \"none\", or an edge weight of 0"
                    .to_owned(),
            });
        }
        let losses = vec![0.0; settings.batches() as usize];
        Ok(Epochs::of(Propagation {
            settings,
            input,
            losses,
        }))
    }
}

impl Propagation {
    fn layout(&self) -> Layout<'_> {
        Layout {
            settings: &self.settings,
            input: &self.input,
        }
    }

    fn count(partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let mut interactions = 0;
        for partial in partials {
            interactions += decode::<Counts>(partial)?.interactions;
        }
        counts::check(None, ("kind", "lightgcn"), interactions as f64)
    }

    /// The tasks of users tell losses, those of products nothing.
    fn loss(partials: &[Vec<u8>]) -> Result<f64, ProgramError> {
        let told = partials.iter().filter(|partial| !partial.is_empty());
        let losses = told.map(|partial| decode(partial).map(|Loss(loss)| loss));
        let losses: Vec<f64> = losses.collect::<Result<_, _>>()?;
        Ok(tree_sum(&losses))
    }
}

impl Algorithm for Propagation {
    type Role = Role;
    type Learnt = ();

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
            (Role::Counts(Mode::User), Reduced::Collect(partials)) => Self::count(&partials),
            (Role::Loss(batch), Reduced::Collect(partials)) => {
                self.losses[batch as usize] = Self::loss(&partials)?;
                Ok(())
            }
            (Role::Counts(_) | Role::Silent, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// The losses of its batches, each before its step.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError> {
        let objective = tree_sum(&self.losses);
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {epoch} is not a finite number: lower the `rate`"
            ))
        }
    }

    fn learnt(&self) {}

    fn restore(&mut self, (): ()) {
        self.losses.fill(0.0);
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.layout().tables(epoch)
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.layout().kept(epoch)
    }

    fn offset(&self) -> f32 {
        0.0
    }
}
