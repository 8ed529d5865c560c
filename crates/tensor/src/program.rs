//! What an algorithm is to the coordinator: a pure state machine that yields steps.

use crate::key::{KeyRange, ObjectKey};
use crate::step::{Reduced, Step, StepId};
use serde::{Deserialize, Serialize};

/// A line for people and for the metrics file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// An epoch is complete.
    Epoch {
        /// From 1.
        epoch: u32,
        /// How many there will be at most.
        epochs: u32,
        /// The objective in f64, where the algorithm has one.
        objective: Option<f64>,
        /// Names and values, in the order in which they are to be shown.
        metrics: Vec<(String, f64)>,
    },
}

/// A state from which the program can go on, once the named objects are durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch it closes.
    pub epoch: u32,
    /// [`Program::encode`] at that moment.
    pub state: Vec<u8>,
    /// Every object that a program restored from `state` reads and no longer writes.
    pub objects: Vec<KeyRange>,
}

/// What a program wants after it learnt something.
#[derive(Debug, Default)]
pub struct Turn {
    /// Steps to run, whose reads may name what earlier, unfinished steps write.
    pub steps: Vec<Step>,
    /// What to tell.
    pub news: Vec<News>,
    /// Objects that leave the engine (recommendations of a block): the driver pulls each when it exists, in this
    /// order, hands it to the verb's sink, and then frees it.
    pub deliver: Vec<ObjectKey>,
    /// A state worth making durable. The driver decides whether; the last one, with `finished`, always is.
    pub checkpoint: Option<Checkpoint>,
    /// Nothing more will come.
    pub finished: bool,
}

/// A program cannot go on: a failed pivot, a non-finite objective, data that the settings forbid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ProgramError {
    /// One sentence with what to do. Rows of the tensor are named by `{user:ROW}` and `{product:ROW}`,
    /// which the command line replaces by original ids.
    pub sentence: String,
}

/// A pure state machine: no clock, no I/O, no randomness but counter-based.
pub trait Program: Send {
    /// Called once, on a new program or on one restored from a checkpoint.
    fn start(&mut self) -> Result<Turn, ProgramError>;

    /// Called once for every step it yielded, in whatever order they complete.
    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError>;

    /// An object that it wanted delivered has left the engine: a program that begins again need not have it made again.
    fn delivered(&mut self, _object: ObjectKey) {}

    /// The whole state, for a checkpoint.
    fn encode(&self) -> Vec<u8>;

    /// Back to the state that `encode` gave, or to the beginning where there is none. `start` then
    /// yields the steps that follow, with the same ids and keys that the first course gave them.
    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError>;
}
