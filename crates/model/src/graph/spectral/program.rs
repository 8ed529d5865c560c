//! Subspace iteration as an algorithm of epochs.
//!
//! **Invariant:** whether there is anything to train on is known after the first stage; nothing else is carried from one
//! epoch to the next but tables.

use super::linked::Linked;
use super::schedule::{Layout, Part, Role};
use super::settings::{Settings, SettingsError};
use crate::graph::normalization::Normalization;
use crate::graph::ops::{Counts, Residuals};
use crate::graph::steps::Input;
use crate::reduce::tree_sum;
use crate::training::{Algorithm, Epochs, TableVersion, counts, decode, misreduced, refuse};
use tensor::{KeyRange, Mode, ProgramError, Reduced, Step};

/// The steps of an iteration.
pub trait Rounds {
    /// Degrees, and random rows with their Gram.
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)>;

    /// All steps of an epoch, counted from 1.
    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)>;

    /// The tables of the model after an epoch, of users and of products.
    fn tables(&self, epoch: u32) -> Vec<TableVersion>;

    /// What a program restored after an epoch reads and does not write.
    fn kept(&self, epoch: u32) -> Vec<KeyRange>;
}

/// What is iterated with.
pub trait Iterated: Send {
    /// The word in a job.
    const KIND: &'static str;

    /// How far it goes.
    fn settings(&self) -> &Settings;

    /// Calls for what its steps are made by.
    fn with<T>(&self, of: impl FnOnce(&dyn Rounds) -> T) -> T;
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

    fn with<T>(&self, of: impl FnOnce(&dyn Rounds) -> T) -> T {
        let (settings, input) = (&self.settings, &self.input);
        if settings.linked(input).next().is_some() {
            of(&Linked { settings, input })
        } else {
            let part = Part::Whole;
            of(&Layout {
                settings,
                input,
                part,
            })
        }
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
        for (mode, edges) in settings.linked(&input) {
            if edges.directed {
                let problem = format!(
                    "counts edges between {mode}s that lead one way, with which the graph has no eigenvectors to be kept: ingest them as edges that lead both ways (`directed = false`), or give 0"
                );
                let key = if mode == Mode::User {
                    "user_edge_weight"
                } else {
                    "product_edge_weight"
                };
                return Err(SettingsError { key, problem });
            }
            if settings.normalization == Normalization::RandomWalk {
                let problem = format!(
                    "is \"random-walk\", which goes from users to products alone: with edges between {mode}s give \"symmetric\" or \"none\", or the edges the weight 0"
                );
                let key = "normalization";
                return Err(SettingsError { key, problem });
            }
        }
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
        self.of.with(|rounds| rounds.first_stage(first))
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.of.with(|rounds| rounds.epoch(first, epoch))
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

    /// |B − B'|² − |B|² = −Σ σ²: B' is a projection of B. Of a matrix of one side σ is the size of an eigenvalue.
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
        self.of.with(|rounds| rounds.tables(epoch))
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.of.with(|rounds| rounds.kept(epoch))
    }

    fn offset(&self) -> f32 {
        0.0
    }
}
