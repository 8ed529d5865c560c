//! Graph models that learn in batches, as algorithms of epochs.
//!
//! **Invariant:** a batch's place in its epoch and the epoch name every key; nothing is carried from one epoch to the next but
//! tables.

use super::heads::batch_loss;
use super::learning::Learning;
use super::ops::{Counts, Head, LabelSums};
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
    /// What became of a mode's labels in a batch.
    Labels(Mode, u32),
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

    /// How far and how fast it goes.
    fn pace(&self) -> Pace;

    /// Its steps.
    fn schedule(&self) -> impl Schedule;
}

/// How far and how fast such a model goes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Epochs at most.
    pub epochs: u32,
    /// Training ends where an epoch lowers the objective by a smaller share; 0: never.
    pub tolerance: f64,
    /// Batches and losses.
    pub learning: Learning,
}

/// The steps of such a model, out of its settings and data.
pub trait Schedule {
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
    /// What became of labels in them.
    labels: BTreeMap<(Mode, u32), LabelSums>,
    imported: BTreeMap<Mode, Imported>,
}

impl<M: Batched> InBatches<M> {
    /// One that has heard nothing.
    pub fn of(model: M) -> Self {
        let learning = model.pace().learning;
        InBatches {
            losses: vec![0.0; (learning.batches() * learning.head().passes()) as usize],
            imported: BTreeMap::new(),
            labels: BTreeMap::new(),
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
        self.model.pace().epochs
    }

    fn tolerance(&self) -> f64 {
        self.model.pace().tolerance
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.model.schedule().first_stage(first)
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.model.schedule().epoch(first, epoch)
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
            (Role::Labels(mode, batch), Reduced::Collect(partials)) => {
                self.labels.insert((mode, batch), label_sums(&partials)?);
                Ok(())
            }
            (Role::Counts(_) | Role::Silent, _) => Ok(()),
            (role, _) => misreduced(role),
        }
    }

    /// The losses of its batches, each before its step.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError> {
        let labels = self.labels.values().map(|sums| sums.loss);
        let objective = tree_sum(&self.losses) + labels.sum::<f64>();
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {epoch} is not a finite number: lower the `rate`"
            ))
        }
    }

    /// The share of labels that are the likeliest to the classifiers, in the last batch before its step.
    fn measures(&self) -> Vec<(String, f64)> {
        let last = self.model.pace().learning.batches() - 1;
        let labels = self.labels.iter().filter(|((_, batch), _)| *batch == last);
        let shares = |((mode, _), sums): (&(Mode, u32), &LabelSums)| {
            let share = |right: u64, all: u64| right as f64 / all.max(1) as f64;
            let taught = share(sums.right, sums.all);
            let checked = share(sums.checked_right, sums.checked);
            let checked = (format!("{mode}_label_check_accuracy"), checked);
            let taught = (format!("{mode}_label_accuracy"), taught);
            std::iter::once(taught).chain((sums.checked > 0).then_some(checked))
        };
        labels.flat_map(shares).collect()
    }

    fn learnt(&self) {}

    fn restore(&mut self, (): ()) {
        self.losses.fill(0.0);
        self.labels.clear();
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.model.schedule().tables(epoch)
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.model.schedule().kept(epoch)
    }

    fn imported(&self) -> BTreeMap<Mode, Imported> {
        self.imported.clone()
    }

    fn offset(&self) -> f32 {
        0.0
    }
}

/// What became of the labels of all blocks of a mode.
fn label_sums(partials: &[Vec<u8>]) -> Result<LabelSums, ProgramError> {
    let sums = partials.iter().map(|partial| decode(partial));
    let sums: Vec<LabelSums> = sums.collect::<Result<_, _>>()?;
    let losses: Vec<f64> = sums.iter().map(|sums| sums.loss).collect();
    Ok(LabelSums {
        loss: tree_sum(&losses),
        right: sums.iter().map(|sums| sums.right).sum(),
        all: sums.iter().map(|sums| sums.all).sum(),
        checked_right: sums.iter().map(|sums| sums.checked_right).sum(),
        checked: sums.iter().map(|sums| sums.checked).sum(),
    })
}
