//! What every algorithm that trains is to the verbs: a program that ends with the tables of a model.

use crate::als::{Als, TableVersion};
use crate::sgd::Sgd;
use tensor::Program;

/// A program that ends with the tables of a model, whose dot products (with `offset`) are the scores.
pub trait Training: Program {
    /// The tables after the last complete epoch; empty before the first is complete.
    fn tables(&self) -> Vec<TableVersion>;

    /// What is to be added to every score.
    fn offset(&self) -> f32;
}

impl Training for Als {
    fn tables(&self) -> Vec<TableVersion> {
        Als::tables(self)
    }

    fn offset(&self) -> f32 {
        Als::offset(self)
    }
}

impl Training for Sgd {
    fn tables(&self) -> Vec<TableVersion> {
        Sgd::tables(self)
    }

    fn offset(&self) -> f32 {
        Sgd::offset(self)
    }
}
