//! Graph models that learn in batches, as algorithms of epochs.
//!
//! **Invariant:** a batch's place in its epoch and the epoch name every key; nothing is carried from one epoch to the next but
//! tables.

use super::heads::batch_loss;
use super::ops::{Counts, Head};
use super::steps::StageRole;
use crate::reduce::tree_sum;
use crate::training::{Algorithm, TableVersion, counts, decode, imported, misreduced, refuse};
use std::collections::BTreeMap;
use tensor::{Imported, KeyRange, Mode, ProgramError, Reduced, Step};

/// What a step's reduced partials are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Counts of blocks of a mode.
    Counts(Mode),
    /// Losses of a pass, by its place in the epoch.
    Loss(u32),
    /// First rows of a mode that users brought along.
    Given(Mode),
    /// Nothing.
    Silent,
}

impl StageRole for Role {
    const SILENT: Role = Role::Silent;
}

impl Role {
    /// Of the passes of a batch.
    pub fn losses(batch: u32, head: Head) -> impl Fn(u32) -> Role {
        move |pass| Role::Loss(batch * head.passes() + pass)
    }
}

/// What differs between such models.
pub trait Batched: Send {
    /// The word in a job.
    const KIND: &'static str;

    /// Epochs at most.
    fn epochs(&self) -> u32;

    /// Parts of an epoch.
    fn batches(&self) -> u32;

    /// What is minimised.
    fn head(&self) -> Head;

    /// Training ends where an epoch lowers the objective by a smaller share; 0: never.
    fn tolerance(&self) -> f64;

    /// The steps before the first epoch.
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)>;

    /// The steps of an epoch, counted from 1.
    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)>;

    /// The tables of the model after an epoch.
    fn tables(&self, epoch: u32) -> Vec<TableVersion>;

    /// What a program restored after an epoch reads and does not write.
    fn kept(&self, epoch: u32) -> Vec<KeyRange>;
}

/// Such a model in training.
pub struct InBatches<M> {
    model: M,
    /// The losses of the epoch's passes.
    losses: Vec<f64>,
    imported: BTreeMap<Mode, Imported>,
}

impl<M: Batched> InBatches<M> {
    /// One that has heard nothing.
    pub fn of(model: M) -> Self {
        InBatches {
            losses: vec![0.0; (model.batches() * model.head().passes()) as usize],
            imported: BTreeMap::new(),
            model,
        }
    }

    fn count(partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let mut interactions = 0;
        for partial in partials {
            interactions += decode::<Counts>(partial)?.interactions;
        }
        counts::check(None, ("kind", M::KIND), interactions as f64)
    }
}

impl<M: Batched> Algorithm for InBatches<M> {
    type Role = Role;
    type Learnt = ();

    fn epochs(&self) -> u32 {
        self.model.epochs()
    }

    fn tolerance(&self) -> f64 {
        self.model.tolerance()
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.model.first_stage(first)
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.model.epoch(first, epoch)
    }

    fn heard(&mut self, role: Role, reduced: Reduced) -> Result<(), ProgramError> {
        match (role, reduced) {
            (Role::Counts(Mode::User), Reduced::Collect(partials)) => Self::count(&partials),
            (Role::Loss(pass), Reduced::Collect(partials)) => {
                self.losses[pass as usize] = batch_loss(&partials)?;
                Ok(())
            }
            (Role::Given(mode), Reduced::Collect(partials)) => {
                self.imported.insert(mode, imported(mode, &partials)?);
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
        self.model.tables(epoch)
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.model.kept(epoch)
    }

    fn imported(&self) -> BTreeMap<Mode, Imported> {
        self.imported.clone()
    }

    fn offset(&self) -> f32 {
        0.0
    }
}
