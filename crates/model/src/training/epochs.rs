//! The one loop of epochs.
//!
//! **Invariant:** all that decides later steps is in [`State`], so a program restored from it yields the same steps that
//! its first course did.

use super::{Best, Sampler, Stopping, TableVersion, Training};
use crate::several;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use tensor::{
    Checkpoint, Imported, KeyRange, Mode, News, Program, ProgramError, Reduced, Step, StepId, Turn,
};

/// What differs between algorithms that train in epochs.
pub trait Algorithm: Send {
    /// What the reduced partials of a step are to the algorithm.
    type Role: Copy + Debug + Send;

    /// What the first stage finds out and later epochs need: a mean, totals of noise.
    type Learnt: Default + Serialize + DeserializeOwned;

    /// Epochs at most; 0: the first stage makes the model.
    fn epochs(&self) -> u32;

    /// Training ends where an epoch lowers the objective by a smaller share; 0: never.
    fn tolerance(&self) -> f64;

    /// The steps before the first epoch, with ids from `first` on. There is at least one.
    fn first_stage(&self, first: u64) -> Vec<(Step, Self::Role)>;

    /// The steps of an epoch, counted from 1, with ids from `first` on. Every name in them follows from the epoch alone.
    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Self::Role)>;

    /// A step is whole. Steps of one stage come in any order.
    ///
    /// # Errors
    /// Where training cannot go on, in one sentence with what to do.
    fn heard(&mut self, role: Self::Role, reduced: Reduced) -> Result<(), ProgramError>;

    /// The objective of an epoch whose steps have all been heard.
    ///
    /// # Errors
    /// Where it is not a finite number, in one sentence with what to do.
    fn objective(&mut self, epoch: u32) -> Result<f64, ProgramError>;

    /// What else tells of the epoch whose objective was asked for: names and values as they are to be shown.
    fn measures(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// What has been learnt so far.
    fn learnt(&self) -> Self::Learnt;

    /// Back to what was learnt; what was heard of a stage is forgotten.
    fn restore(&mut self, learnt: Self::Learnt);

    /// The tables of the model after an epoch, the first or a later one.
    fn tables(&self, epoch: u32) -> Vec<TableVersion>;

    /// What a program restored after an epoch reads and does not write.
    fn kept(&self, epoch: u32) -> Vec<KeyRange>;

    /// What became of tables that users brought along, where this course of the program read them.
    fn imported(&self) -> BTreeMap<Mode, Imported> {
        BTreeMap::new()
    }

    /// What is to be added to every score.
    fn offset(&self) -> f32;
}

/// All that decides later steps.
#[derive(Serialize, Deserialize)]
struct State<L> {
    course: Course,
    learnt: L,
}

/// How far training has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Course {
    next_step: u64,
    /// Epochs done; `None`: the first stage is not whole.
    epoch: Option<u32>,
    objective: Option<f64>,
    /// Where epochs are compared.
    best: Option<Best>,
    finished: bool,
}

/// Whom the partials of a step are for.
#[derive(Clone, Copy)]
enum Role<R> {
    Algorithm(R),
    /// The sampler, by the place of the step.
    Sample(usize),
}

/// An algorithm that trains, as a program.
pub struct Epochs<A: Algorithm> {
    algorithm: A,
    sampler: Option<Box<dyn Sampler>>,
    stopping: Option<Stopping>,
    pause: Option<u32>,
    course: Course,
    /// With how many tasks stand behind each of a step.
    pending: BTreeMap<StepId, (Role<A::Role>, Vec<usize>)>,
    samples: BTreeMap<usize, Reduced>,
}

impl<A: Algorithm> Epochs<A> {
    /// A program that has not begun.
    pub(crate) fn of(algorithm: A) -> Self {
        Epochs {
            algorithm,
            sampler: None,
            stopping: None,
            pause: None,
            course: Course::default(),
            pending: BTreeMap::new(),
            samples: BTreeMap::new(),
        }
    }

    /// Measures every epoch with `sampler`.
    #[must_use]
    pub fn with_sampler(mut self, sampler: Box<dyn Sampler>) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Compares epochs by what the sampler measures, keeps the tables of the best and ends where none is better for long.
    #[must_use]
    pub fn with_stopping(mut self, stopping: Stopping) -> Self {
        self.stopping = Some(stopping);
        self
    }

    /// Pauses when so many epochs are done: the run ends with a checkpoint from which one with a later pause goes on.
    #[must_use]
    pub fn with_pause(mut self, epochs: u32) -> Self {
        self.pause = Some(epochs);
        self
    }

    /// The tables of the best epoch so far where epochs are compared, else of the last complete one. Empty before the first
    /// epoch is complete.
    pub fn tables(&self) -> Vec<TableVersion> {
        let best = self.course.best.map(|best| best.epoch);
        match best.unwrap_or(self.epochs_done()) {
            0 if !self.course.finished => Vec::new(),
            epoch => self.algorithm.tables(epoch),
        }
    }

    /// What is to be added to every score.
    pub fn offset(&self) -> f32 {
        self.algorithm.offset()
    }

    /// Epochs that are complete.
    pub fn epochs_done(&self) -> u32 {
        self.course.epoch.unwrap_or(0)
    }

    fn rests(&self) -> bool {
        let paused = self.pause.is_some_and(|pause| self.epochs_done() >= pause);
        self.course.finished || paused
    }

    fn submit(&mut self, steps: Vec<(Step, Role<A::Role>)>, turn: &mut Turn) {
        for (step, role) in steps {
            assert_eq!(step.id.0, self.course.next_step, "step ids are dense");
            self.course.next_step += 1;
            self.pending.insert(step.id, (role, several::counts(&step)));
            turn.steps.push(step);
        }
    }

    fn submit_first(&mut self, turn: &mut Turn) {
        let steps = self.algorithm.first_stage(self.course.next_step);
        self.submit(own(steps).collect(), turn);
    }

    fn submit_epoch(&mut self, turn: &mut Turn) {
        let epoch = self.epochs_done() + 1;
        let first = self.course.next_step;
        let steps = self.algorithm.epoch(first, epoch);
        let mut steps: Vec<_> = own(steps).collect();
        if let Some(sampler) = &self.sampler {
            let next = StepId(first + steps.len() as u64);
            let sampled = sampler.steps(&self.algorithm.tables(epoch), self.offset(), next);
            let places = sampled.into_iter().enumerate();
            steps.extend(places.map(|(place, step)| (step, Role::Sample(place))));
        }
        self.spare_best(&mut steps);
        self.submit(steps, turn);
    }

    /// The tables of the best epoch outlive the epoch that would free them, until a better one is known.
    fn spare_best(&self, steps: &mut [(Step, Role<A::Role>)]) {
        let Some(best) = self.course.best else { return };
        let keys = |epoch: u32| -> Vec<KeyRange> {
            let tables = self.algorithm.tables(epoch);
            tables.iter().map(TableVersion::keys).collect()
        };
        let spared = keys(best.epoch);
        for (step, _) in &mut *steps {
            step.frees.retain(|range| !spared.contains(range));
        }
        if best.epoch == self.epochs_done()
            && let (Some(before), Some((first, _))) = (best.before, steps.first_mut())
        {
            let mut outdone = keys(before);
            outdone.retain(|range| !spared.contains(range));
            first.frees.extend(outdone);
        }
    }

    /// Compares an epoch with the best one; whether training gives up.
    fn judge(&mut self, epoch: u32, metrics: &[(String, f64)]) -> Result<bool, ProgramError> {
        let Some(stopping) = self.stopping else {
            return Ok(false);
        };
        let Some(value) = stopping.metric.find(metrics) else {
            return refuse(format!(
                "`stop_metric` {} cannot be measured: no user or value of the validation part has anything in training: \
                 widen the validation part of [split], or set `patience` to 0",
                stopping.metric
            ));
        };
        let best = stopping.judge(self.course.best, epoch, value);
        self.course.best = Some(best);
        Ok(stopping.gives_up(best, epoch))
    }

    fn close_epoch(&mut self, turn: &mut Turn) -> Result<(), ProgramError> {
        let epoch = self.epochs_done() + 1;
        let (epochs, tolerance) = (self.algorithm.epochs(), self.algorithm.tolerance());
        let objective = self.algorithm.objective(epoch)?;
        let before = self.course.objective;
        let gain = before.map(|before| (before - objective) / before.abs());
        let settled = tolerance > 0.0 && gain.is_some_and(|gain| gain < tolerance);
        self.course.epoch = Some(epoch);
        self.course.objective = Some(objective);
        let samples = std::mem::take(&mut self.samples).into_values().collect();
        let sampler = self.sampler.as_ref();
        let mut metrics = sampler.map_or_else(Vec::new, |sampler| sampler.metrics(samples));
        metrics.extend(self.algorithm.measures());
        let gives_up = self.judge(epoch, &metrics)?;
        self.course.finished = settled || gives_up || epoch == epochs;
        turn.news.push(News::Epoch {
            epoch,
            epochs,
            objective: Some(objective),
            metrics,
        });
        turn.checkpoint = Some(Checkpoint {
            epoch,
            state: self.encode(),
            objects: self.kept(epoch),
        });
        turn.finished = self.rests();
        Ok(())
    }

    /// A model that no epoch trains is what the first stage made.
    fn finish_untrained(&mut self, turn: &mut Turn) {
        self.course.finished = true;
        turn.checkpoint = Some(Checkpoint {
            epoch: 0,
            state: self.encode(),
            objects: self.kept(0),
        });
        turn.finished = true;
    }

    /// What the checkpoint of an epoch holds: what later epochs read, and the best epoch's tables.
    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let mut kept = Vec::new();
        if !self.course.finished {
            kept = self.algorithm.kept(epoch);
        }
        if self.course.finished || self.course.best.is_some() {
            let tables = self.tables();
            let missing = tables.iter().map(TableVersion::keys);
            let missing: Vec<KeyRange> = missing.filter(|keys| !kept.contains(keys)).collect();
            kept.extend(missing);
        }
        kept
    }
}

impl<A: Algorithm> Program for Epochs<A> {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn {
            finished: self.rests(),
            ..Turn::default()
        };
        if self.course.epoch.is_none() {
            self.submit_first(&mut turn);
        } else if !self.rests() {
            self.submit_epoch(&mut turn);
        }
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let (role, counts) = self
            .pending
            .remove(&step)
            .expect("the driver completes each step once");
        let Some(reduced) = several::told(&counts, reduced) else {
            return misreduced(step);
        };
        match role {
            Role::Algorithm(role) => self.algorithm.heard(role, reduced)?,
            Role::Sample(place) => drop(self.samples.insert(place, reduced)),
        }
        if !self.pending.is_empty() {
            return Ok(turn);
        }
        if self.course.epoch.is_none() {
            self.course.epoch = Some(0);
            if self.algorithm.epochs() == 0 {
                self.finish_untrained(&mut turn);
            }
        } else {
            self.close_epoch(&mut turn)?;
        }
        if !self.rests() {
            self.submit_epoch(&mut turn);
        }
        Ok(turn)
    }

    fn encode(&self) -> Vec<u8> {
        let state = State {
            course: self.course,
            learnt: self.algorithm.learnt(),
        };
        postcard::to_stdvec(&state).expect("the state is a plain value")
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        let (course, learnt) = match state {
            None => Default::default(),
            Some(bytes) => decode(bytes).map(|State { course, learnt }| (course, learnt))?,
        };
        self.course = course;
        self.algorithm.restore(learnt);
        self.pending.clear();
        self.samples.clear();
        Ok(())
    }
}

impl<A: Algorithm> Training for Epochs<A> {
    fn tables(&self) -> Vec<TableVersion> {
        Epochs::tables(self)
    }

    fn best(&self) -> Option<Best> {
        self.course.best
    }

    fn epochs_done(&self) -> u32 {
        Epochs::epochs_done(self)
    }

    fn rests(&self) -> bool {
        Epochs::rests(self)
    }

    fn imported(&self) -> BTreeMap<Mode, Imported> {
        self.algorithm.imported()
    }

    fn offset(&self) -> f32 {
        Epochs::offset(self)
    }
}

fn own<R>(steps: Vec<(Step, R)>) -> impl Iterator<Item = (Step, Role<R>)> {
    let own = |(step, role)| (step, Role::Algorithm(role));
    steps.into_iter().map(own)
}

/// A partial or a state, as it was encoded by this release.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProgramError> {
    postcard::from_bytes(bytes).map_err(|error| ProgramError {
        sentence: format!("a partial or a state of training cannot be decoded ({error}): run the same release everywhere"),
    })
}

/// Ends training with a sentence.
pub(crate) fn refuse<T>(sentence: String) -> Result<T, ProgramError> {
    Err(ProgramError { sentence })
}

/// Ends training where partials were not reduced as their role needs it.
pub(crate) fn misreduced<T>(role: impl Debug) -> Result<T, ProgramError> {
    refuse(format!(
        "the partials of a step ({role:?}) came back reduced wrongly"
    ))
}
