//! Subspace iteration as an algorithm of epochs.
//!
//! **Invariant:** whether there is anything to train on is known after the first stage; nothing else is carried from one
//! epoch to the next but tables.

use super::schedule::{Layout, Part, Role};
use super::settings::{Settings, SettingsError};
use crate::graph::ops::{Counts, Residuals};
use crate::graph::steps::Input;
use crate::reduce::tree_sum;
use crate::training::{Algorithm, Epochs, TableVersion, counts, decode, misreduced, refuse};
use tensor::{KeyRange, Mode, ProgramError, Reduced, Step};

/// What is iterated with.
pub trait Iterated: Send {
    /// The word in a job.
    const KIND: &'static str;

    /// How far it goes.
    fn settings(&self) -> &Settings;

    /// Calls for what its steps are made by.
    fn with<T>(&self, of: impl FnOnce(&Layout<'_>) -> T) -> T;
}

/// The adjacency.
pub struct Adjacency {
    settings: Settings,
    input: Input,
}

impl Iterated for Adjacency {
    const KIND: &'static str = "spectral";

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn with<T>(&self, of: impl FnOnce(&Layout<'_>) -> T) -> T {
        of(&Layout {
            settings: &self.settings,
            input: &self.input,
            part: Part::Whole,
        })
    }
}

/// What subspace iteration does with an epoch.
pub struct Iteration<O> {
    of: O,
    triplets: Residuals,
}

impl<O: Iterated> Iteration<O> {
    /// One that has heard nothing.
    pub fn of(of: O) -> Self {
        Iteration {
            of,
            triplets: Residuals::default(),
        }
    }
}

/// The spectral model.
pub type Spectral = Epochs<Iteration<Adjacency>>;

impl Spectral {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Epochs::of(Iteration::of(Adjacency { settings, input })))
    }
}

impl<O: Iterated> Iteration<O> {
    fn count(partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let mut interactions = 0;
        for partial in partials {
            interactions += decode::<Counts>(partial)?.interactions;
        }
        counts::check(None, ("kind", O::KIND), interactions as f64)
    }
}

impl<O: Iterated> Algorithm for Iteration<O> {
    type Role = Role;
    type Learnt = ();

    fn epochs(&self) -> u32 {
        self.of.settings().epochs
    }

    fn tolerance(&self) -> f64 {
        self.of.settings().tolerance
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.of.with(|layout| layout.first_stage(first))
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.of.with(|layout| layout.epoch(first, epoch))
    }

    fn heard(&mut self, role: Role, reduced: Reduced) -> Result<(), ProgramError> {
        match (role, reduced) {
            (Role::Counts(Mode::User), Reduced::Collect(partials)) => Self::count(&partials),
            (Role::Residuals, Reduced::Collect(partials)) => {
                self.triplets = decode(partials.first().map_or(&[][..], Vec::as_slice))?;
                Ok(())
            }
            (Role::Counts(_) | Role::Silent, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// |B − B'|² − |B|² = −Σ σ²: B' is a projection of B.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError> {
        let squares: Vec<f64> = self
            .triplets
            .values
            .iter()
            .map(|value| -value * value)
            .collect();
        let objective = tree_sum(&squares);
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {epoch} is not a finite number: scale the values down, or take `edges` = \"binary\""
            ))
        }
    }

    /// √(Σ |Bᵀ u − σ v|² / Σ σ²).
    fn measures(&self) -> Vec<(String, f64)> {
        let squares =
            |of: &[f64]| tree_sum(&of.iter().map(|value| value * value).collect::<Vec<_>>());
        let (left, all) = (
            tree_sum(&self.triplets.squares),
            squares(&self.triplets.values),
        );
        let residual = if all > 0.0 { (left / all).sqrt() } else { 0.0 };
        vec![("residual".to_owned(), residual)]
    }

    fn learnt(&self) {}

    fn restore(&mut self, (): ()) {
        self.triplets = Residuals::default();
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.of.with(|layout| layout.tables(epoch))
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.of.with(|layout| layout.kept(epoch))
    }

    fn offset(&self) -> f32 {
        0.0
    }
}
