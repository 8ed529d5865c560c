//! Training as a state machine: counts and first factors, then one stage of steps per epoch.
//!
//! **Invariant:** all that decides later steps is in [`State`], so a program restored from it yields the
//! same steps that its first course did.

use super::formula::Formula;
use super::ops::{Tally, Totals};
use super::schedule::{Layout, Role, Stage};
use super::settings::{Preset, Settings, SettingsError};
use crate::reduce::tree_sum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{
    BlockId, Checkpoint, Grid, KeyRange, Mode, News, ObjectKey, Partitions, Program, ProgramError,
    Reduced, Step, StepId, TableId, Turn,
};

/// What is trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// Bins of the time mode; 0 where there is none.
    pub bins: u32,
    /// The training view: collapsed with `time = "ignore"`, with times otherwise.
    pub train: Partitions,
}

/// One version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// Its number in the run.
    pub id: TableId,
    /// Its mode, which is its name.
    pub mode: Mode,
    /// Columns in use.
    pub rank: u32,
    /// Floats of a stored row; those beyond the rank are zero.
    pub width: u32,
    /// The cut into blocks.
    pub grid: Grid,
    /// The version of every block.
    pub version: u64,
}

impl TableVersion {
    /// All blocks.
    pub fn keys(&self) -> KeyRange {
        KeyRange::Blocks {
            table: self.id,
            first: 0,
            count: self.grid.blocks(),
            version: self.version,
        }
    }

    /// One block.
    pub fn block(&self, block: u32) -> ObjectKey {
        ObjectKey::Block {
            table: self.id,
            block: BlockId(block),
            version: self.version,
        }
    }
}

/// Steps at the end of every epoch that measure the tables on held-out data.
pub trait Sampler: Send {
    /// The steps, with ids from `first` on and always the same number of them.
    fn steps(&self, tables: &[TableVersion], first: StepId) -> Vec<Step>;

    /// What the steps' partials mean: names and values as they are to be shown.
    fn metrics(&self, reduced: Vec<Reduced>) -> Vec<(String, f64)>;
}

/// All that decides later steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    next_step: u64,
    /// Epochs done; `None`: not even counted.
    epoch: Option<u32>,
    /// What is taken off explicit targets.
    offset: f32,
    /// Σ b y².
    constant: f64,
    objective: Option<f64>,
    finished: bool,
}

/// Alternating least squares.
pub struct Als {
    settings: Settings,
    input: Input,
    sampler: Option<Box<dyn Sampler>>,
    state: State,
    pending: BTreeMap<StepId, Role>,
    tallies: BTreeMap<Mode, Tally>,
    samples: BTreeMap<usize, Reduced>,
}

impl Als {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured with this input.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        let state = State::default();
        let program = Als {
            settings,
            input,
            sampler: None,
            state,
            pending: BTreeMap::new(),
            tallies: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        if program.layout().factors_time() && program.input.bins == 0 {
            let problem =
                "is \"factor\", but the data have no time: name the column under [input] `time`"
                    .to_owned();
            return Err(SettingsError {
                key: "time",
                problem,
            });
        }
        Ok(program)
    }

    /// Measures every epoch with `sampler`.
    #[must_use]
    pub fn with_sampler(mut self, sampler: Box<dyn Sampler>) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// The tables after the last complete epoch: user, product and, where it is factored, time. Empty before the
    /// first epoch is complete.
    pub fn tables(&self) -> Vec<TableVersion> {
        match self.state.epoch {
            Some(epoch) if epoch > 0 => self.layout().tables(epoch),
            _ => Vec::new(),
        }
    }

    /// What is to be added to every score: the mean that was taken off explicit targets, else 0.
    pub fn offset(&self) -> f32 {
        self.state.offset
    }

    /// Epochs that are complete.
    pub fn epochs_done(&self) -> u32 {
        self.state.epoch.unwrap_or(0)
    }

    fn layout(&self) -> Layout<'_> {
        let formula = Formula {
            offset: self.state.offset,
            ..Formula::of(&self.settings)
        };
        Layout {
            settings: &self.settings,
            input: &self.input,
            formula,
        }
    }

    fn submit(&mut self, stage: Stage, turn: &mut Turn) {
        self.state.next_step = stage.next().0;
        for (step, role) in stage.steps {
            self.pending.insert(step.id, role);
            turn.steps.push(step);
        }
    }

    fn submit_epoch(&mut self, turn: &mut Turn) {
        let epoch = self.epochs_done() + 1;
        let layout = self.layout();
        let mut stage = layout.epoch(self.state.next_step, epoch);
        if let Some(sampler) = &self.sampler {
            let steps = sampler.steps(&layout.tables(epoch), stage.next());
            stage.extend(
                steps
                    .into_iter()
                    .enumerate()
                    .map(|(place, step)| (step, Role::Sample(place))),
            );
        }
        self.submit(stage, turn);
    }

    fn count(&mut self, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let totals: Vec<Totals> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        if let Some(bad) = totals.iter().find_map(|totals| totals.forbidden) {
            return refuse(format!(
                "the interaction of {{user:{}}} with {{product:{}}} has the value {}, for which preset = \"hu\" has no \
                 meaning: give values of 0 or more, or use another preset",
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
        let (values, constant) = (sum(|totals| totals.values), sum(|totals| totals.constant));
        self.state.constant = constant;
        if self.settings.preset == Preset::Explicit && self.settings.center {
            self.state.offset = (values / interactions) as f32;
            let mean = f64::from(self.state.offset);
            self.state.constant = constant - 2.0 * mean * values + interactions * mean * mean;
        }
        Ok(())
    }

    fn tally(&mut self, mode: Mode, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let tallies: Vec<Tally> = partials
            .iter()
            .map(|bytes| decode(bytes))
            .collect::<Result<_, _>>()?;
        if let Some(failed) = tallies.iter().find_map(|tally| tally.failed) {
            let row = match mode {
                Mode::User | Mode::Product => format!("{{{mode}:{}}}", failed.row),
                Mode::Time | Mode::Context => format!("{mode} bin {}", failed.row),
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

    /// Σ b y² less what the mode solved last takes off, and the regularization of the others.
    fn objective(&mut self) -> Result<f64, ProgramError> {
        let tallies = std::mem::take(&mut self.tallies);
        let (_, last) = tallies
            .last_key_value()
            .expect("an epoch solves users and products");
        let others = tallies
            .values()
            .rev()
            .skip(1)
            .map(|tally| tally.regularization)
            .sum::<f64>();
        let objective = self.state.constant - last.fit + others;
        if objective.is_finite() {
            Ok(objective)
        } else {
            refuse(format!(
                "the objective of epoch {} is not a finite number: raise `regularization` (now {}) or scale the values down",
                self.epochs_done() + 1,
                self.settings.regularization
            ))
        }
    }

    fn close_epoch(&mut self, turn: &mut Turn) -> Result<(), ProgramError> {
        let objective = self.objective()?;
        let epoch = self.epochs_done() + 1;
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

impl Program for Als {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn {
            finished: self.state.finished,
            ..Turn::default()
        };
        if self.state.epoch.is_none() {
            let stage = self.layout().first_stage(self.state.next_step);
            self.submit(stage, &mut turn);
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
            (Role::Totals, Reduced::Collect(partials)) => self.count(&partials)?,
            (Role::Tally(mode), Reduced::Collect(partials)) => self.tally(mode, &partials)?,
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
        self.tallies.clear();
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
