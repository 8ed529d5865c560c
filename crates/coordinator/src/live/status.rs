//! What is told of a run that goes on: the object of `/status.json`, from which metrics and the page are made.

use serde::Serialize;
use std::collections::BTreeMap;

/// Whether the verb goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It does.
    #[default]
    Running,
    /// It ended well.
    Finished,
    /// It ended otherwise.
    Failed,
}

/// The state of a verb.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// The verb.
    pub verb: &'static str,
    /// The version of the engine.
    pub version: &'static str,
    /// Whether it goes on.
    pub state: Course,
    /// Why it failed.
    pub failure: Option<Ended>,
    /// Since the process began.
    pub seconds: f64,
    /// The run key, shortened, once there is a run.
    pub run: Option<String>,
    /// The leadership number.
    pub term: Option<u64>,
    /// Phases in the order in which they began, the earliest of very many left out.
    pub phases: Vec<Phase>,
    /// Those that were left out.
    pub phases_left_out: u64,
    /// The last epoch that ended.
    pub epoch: Option<Epoch>,
    /// Seconds until the phase ends, where that can be said.
    pub left_seconds: Option<f64>,
    /// Tasks.
    pub tasks: Tasks,
    /// The step in front.
    pub step: Option<Step>,
    /// Memory of this process.
    pub memory: Memory,
    /// Bytes that went over the network.
    pub moved: Moved,
    /// The last durable checkpoint of the phase.
    pub checkpoint: Option<Checkpoint>,
    /// Since the last durable checkpoint of the phase, or, before the first, since its run was opened: what a kill would cost.
    pub unsaved_seconds: Option<f64>,
    /// Checkpoints since the process began.
    pub checkpoints: u64,
    /// What went wrong and was made good, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The workers of this phase, those that were lost included.
    pub workers: Vec<Worker>,
    /// The last lines of what happened.
    pub log: Vec<Line>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// The sentence.
    pub message: String,
    /// The exit code.
    pub exit_code: u8,
}

/// A phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub phase: String,
    /// What is counted.
    pub unit: &'static str,
    /// How much is done.
    pub done: u64,
    /// Of how much, where that is known by now.
    pub total: Option<u64>,
    /// In the last seconds, each second.
    pub rate: f64,
    /// How long it took, up to now.
    pub seconds: f64,
    /// Whether it is over.
    pub over: bool,
    /// What came of it.
    pub summary: String,
}

/// An epoch that ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Which, from 1.
    pub epoch: u32,
    /// Of how many.
    pub epochs: u32,
    /// What training makes small.
    pub objective: Option<f64>,
    /// What was measured.
    pub metrics: BTreeMap<String, f64>,
    /// How long it took.
    pub seconds: f64,
}

/// Tasks since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tasks {
    /// Done.
    pub done: u64,
    /// Of these, done before by somebody who was lost.
    pub replayed: u64,
    /// Given to somebody again.
    pub retried: u64,
    /// By the kind of their step.
    pub by_step: BTreeMap<String, u64>,
}

/// The step in front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub step: String,
    /// Its tasks.
    pub tasks: u64,
    /// Those that are done.
    pub done: u64,
}

/// Memory of this process, embedded workers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Anonymous memory now.
    pub anonymous_bytes: u64,
    /// The most so far.
    pub peak_anonymous_bytes: u64,
    /// What it may be.
    pub budget_bytes: u64,
}

/// Bytes since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// From worker to worker.
    pub between_workers_bytes: u64,
    /// Bulk bytes through the coordinator.
    pub through_coordinator_bytes: u64,
}

/// A durable checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Checkpoint {
    /// The epoch that it closes.
    pub epoch: u32,
    /// How long it took.
    pub seconds: f64,
    /// How long ago it became durable.
    pub age_seconds: f64,
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Worker {
    /// Its number.
    pub worker: u32,
    /// Where it is; empty in this process.
    pub address: String,
    /// `working`, `leaving`, `suspected`, `lost`, `given_up` or `shut_out`.
    pub state: &'static str,
    /// Threads that compute.
    pub threads: u32,
    /// Its `--memory`.
    pub budget_bytes: u64,
    /// Anonymous memory of its process when it last said so.
    pub anonymous_bytes: u64,
    /// Tasks it did.
    pub tasks: u64,
    /// Bytes it served to peers.
    pub sent_bytes: u64,
    /// Bytes it pulled from peers.
    pub received_bytes: u64,
    /// Seconds in ops.
    pub compute_seconds: f64,
    /// Seconds in which tasks waited for what they need.
    pub fetch_seconds: f64,
    /// Since it was last heard.
    pub silent_seconds: f64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Since the process began.
    pub seconds: f64,
    /// What.
    pub line: String,
}
