//! Training as a state machine: counts and first rows, then one stage of strata per epoch.
//!
//! **Invariant:** all that decides later steps is in [`State`], so a program restored from it yields the same steps that
//! its first course did.

use super::ops::Totals;
use super::schedule::{Layout, Role};
use super::settings::{Settings, SettingsError};
use crate::als::{Sampler, TableVersion};
use crate::reduce::tree_sum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{
    Checkpoint, Grid, Mode, News, Partitions, Program, ProgramError, Reduced, Step, StepId, Turn,
};

/// What is trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// Super-blocks of either.
    pub side: u32,
    /// The training view, time collapsed.
    pub train: Partitions,
    /// The same as tiles.
    pub tiles: Partitions,
}

/// All that decides later steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    next_step: u64,
    /// Epochs done; `None`: not even counted.
    epoch: Option<u32>,
    /// What is added to every score.
    offset: f32,
    /// The noise of each product super-block; empty where no negatives are drawn.
    noise: Vec<f64>,
    objective: Option<f64>,
    finished: bool,
}

/// Blockwise stochastic gradient descent.
pub struct Sgd {
    settings: Settings,
    input: Input,
    sampler: Option<Box<dyn Sampler>>,
    state: State,
    pending: BTreeMap<StepId, Role>,
    losses: BTreeMap<u32, f64>,
    samples: BTreeMap<usize, Reduced>,
}

impl Sgd {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Sgd {
            settings,
            input,
            sampler: None,
            state: State::default(),
            pending: BTreeMap::new(),
            losses: BTreeMap::new(),
            samples: BTreeMap::new(),
        })
    }

    /// Measures every epoch with `sampler`.
    #[must_use]
    pub fn with_sampler(mut self, sampler: Box<dyn Sampler>) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// The tables after the last complete epoch: user and product. Empty before the first epoch is complete.
    pub fn tables(&self) -> Vec<TableVersion> {
        match self.state.epoch {
            Some(epoch) if epoch > 0 => self.layout().tables(epoch),
            _ => Vec::new(),
        }
    }

    /// What is to be added to every score.
    pub fn offset(&self) -> f32 {
        self.state.offset
    }

    /// Epochs that are complete.
    pub fn epochs_done(&self) -> u32 {
        self.state.epoch.unwrap_or(0)
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            settings: &self.settings,
            input: &self.input,
            offset: self.state.offset,
            noise: &self.state.noise,
        }
    }

    fn submit(&mut self, steps: Vec<(Step, Role)>, turn: &mut Turn) {
        self.state.next_step += steps.len() as u64;
        for (step, role) in steps {
            self.pending.insert(step.id, role);
            turn.steps.push(step);
        }
    }

    fn submit_epoch(&mut self, turn: &mut Turn) {
        let epoch = self.epochs_done() + 1;
        let layout = self.layout();
        let mut steps = layout.epoch(self.state.next_step, epoch);
        if let Some(sampler) = &self.sampler {
            let next = StepId(self.state.next_step + steps.len() as u64);
            let sampled = sampler.steps(&layout.tables(epoch), next);
            let places = sampled.into_iter().enumerate();
            steps.extend(places.map(|(place, step)| (step, Role::Sample(place))));
        }
        self.submit(steps, turn);
    }

    fn count(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let totals: Vec<Totals> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        if mode == Mode::Product {
            if self.settings.negatives() > 0 {
                self.state.noise = totals.iter().map(|totals| totals.noise).collect();
            }
            return Ok(());
        }
        if let Some(bad) = totals.iter().find_map(|totals| totals.forbidden) {
            return refuse(format!(
                "the interaction of {{user:{}}} with {{product:{}}} has the value {}, for which loss = \"poisson\" has no \
                 meaning: give values of 0 or more, or use another loss",
                bad.user, bad.product, bad.value
            ));
        }
        let sum = |of: fn(&Totals) -> f64| tree_sum(&totals.iter().map(of).collect::<Vec<_>>());
        let interactions = sum(|totals| totals.interactions as f64);
        if interactions == 0.0 {
            return refuse(
                "there is no interaction to train on: widen the training part of [split]"
                    .to_owned(),
            );
        }
        if self.settings.fits_values() {
            self.state.offset = (sum(|totals| totals.values) / interactions) as f32;
        }
        Ok(())
    }

    fn close_epoch(&mut self, turn: &mut Turn) -> Result<(), ProgramError> {
        let losses: Vec<f64> = std::mem::take(&mut self.losses).into_values().collect();
        let objective = tree_sum(&losses);
        let epoch = self.epochs_done() + 1;
        if !objective.is_finite() {
            return refuse(format!(
                "the objective of epoch {epoch} is not a finite number: lower `rate` (now {}) or scale the values down",
                self.settings.rate
            ));
        }
        let gain = self
            .state
            .objective
            .map(|before| (before - objective) / before.abs());
        let settled = self.settings.tolerance > 0.0
            && gain.is_some_and(|gain| gain < self.settings.tolerance);
        self.state.epoch = Some(epoch);
        self.state.objective = Some(objective);
        self.state.finished = settled || epoch == self.settings.epochs;
        let samples = std::mem::take(&mut self.samples).into_values().collect();
        let metrics = self
            .sampler
            .as_ref()
            .map_or_else(Vec::new, |sampler| sampler.metrics(samples));
        turn.news.push(News::Epoch {
            epoch,
            epochs: self.settings.epochs,
            objective: Some(objective),
            metrics,
        });
        let objects = if self.state.finished {
            self.tables().iter().map(TableVersion::keys).collect()
        } else {
            self.layout().kept(epoch)
        };
        turn.checkpoint = Some(Checkpoint {
            epoch,
            state: self.encode(),
            objects,
        });
        turn.finished = self.state.finished;
        Ok(())
    }
}

impl Program for Sgd {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn {
            finished: self.state.finished,
            ..Turn::default()
        };
        if self.state.epoch.is_none() {
            let steps = self.layout().first_stage(self.state.next_step);
            self.submit(steps, &mut turn);
        } else if !self.state.finished {
            self.submit_epoch(&mut turn);
        }
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let role = self
            .pending
            .remove(&step)
            .expect("the driver completes each step once");
        match (role, reduced) {
            (Role::Totals(mode), Reduced::Collect(partials)) => self.count(mode, &partials)?,
            (Role::Losses(stratum), Reduced::Sum(sums)) => {
                self.losses
                    .insert(stratum, sums.first().copied().unwrap_or(0.0));
            }
            (Role::Sample(place), reduced) => drop(self.samples.insert(place, reduced)),
            (Role::Silent, _) => {}
            (role, _) => {
                return refuse(format!(
                    "the partials of step {} ({role:?}) came back reduced wrongly",
                    step.0
                ));
            }
        }
        if !self.pending.is_empty() {
            return Ok(turn);
        }
        if self.state.epoch.is_none() {
            self.state.epoch = Some(0);
        } else {
            self.close_epoch(&mut turn)?;
        }
        if !self.state.finished {
            self.submit_epoch(&mut turn);
        }
        Ok(turn)
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.state).expect("the state is a plain value")
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.state = match state {
            None => State::default(),
            Some(bytes) => decode(bytes)?,
        };
        self.pending.clear();
        self.losses.clear();
        self.samples.clear();
        Ok(())
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProgramError> {
    postcard::from_bytes(bytes).map_err(|error| ProgramError {
        sentence: format!("a partial or a state of training cannot be decoded ({error}): run the same release everywhere"),
    })
}

fn refuse<T>(sentence: String) -> Result<T, ProgramError> {
    Err(ProgramError { sentence })
}
