//! Training as one state machine: a first stage of steps, then one stage an epoch, whatever the algorithm.
//!
//! **Invariant:** nothing here knows a formula. What an algorithm is stands in its [`Algorithm`]; when an epoch is whole,
//! what is told, kept and tried again stands in [`Epochs`].

pub(crate) mod counts;
mod epochs;
mod given;
mod stopping;
mod table;

pub use epochs::{Algorithm, Epochs};
pub(crate) use epochs::{decode, misreduced, refuse};
pub use given::Given;
pub(crate) use given::imported;
pub use stopping::{Best, Stopping};
pub use table::{Holds, TableVersion};

use std::collections::BTreeMap;
use tensor::{Imported, Mode, Program, Reduced, Step, StepId};

/// A program that ends with the tables of a model, whose dot products (with `offset`) are the scores.
pub trait Training: Program {
    /// The tables of the model: those of the best epoch so far where epochs are compared, else of the last complete one;
    /// empty before the first is complete.
    fn tables(&self) -> Vec<TableVersion>;

    /// The best epoch so far, where epochs are compared.
    fn best(&self) -> Option<Best>;

    /// Epochs that are complete.
    fn epochs_done(&self) -> u32;

    /// Whether there is nothing left to do: it has finished, or has come to its pause.
    fn rests(&self) -> bool;

    /// What became of tables that users brought along, where this course of the program read them.
    fn imported(&self) -> BTreeMap<Mode, Imported>;

    /// What is to be added to every score.
    fn offset(&self) -> f32;
}

/// Steps at the end of every epoch that measure the tables on held-out data.
pub trait Sampler: Send {
    /// The steps, with ids from `first` on and always the same number of them; `offset` is what is added to every score.
    fn steps(&self, tables: &[TableVersion], offset: f32, first: StepId) -> Vec<Step>;

    /// What the steps' partials mean: names and values as they are to be shown.
    fn metrics(&self, reduced: Vec<Reduced>) -> Vec<(String, f64)>;
}
