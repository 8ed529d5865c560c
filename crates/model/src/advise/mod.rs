//! Which of several models to use: every model's figure on the same users, and what differences their intervals support.
//!
//! **Invariant:** a verdict follows from figures and their replicates alone, never from the time that anything took.

mod compare;
mod verdict;

pub use compare::{Gap, gaps};
pub use verdict::{Answer, Verdict, verdict};

use serde::{Deserialize, Serialize};

/// What a model is one of. The order is that of the least that a family asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The same products for everybody, or for everybody of a group.
    Popularity,
    /// What a user had before.
    Repeat,
    /// Factors of users and products.
    Matrix,
    /// The same, where old interactions count less.
    Fading,
    /// The same with what is known of users and products.
    SideInformation,
    /// The same with factors of time or of contexts.
    Tensor,
    /// Products by the users that they share, without factors.
    Neighbours,
    /// A model on the graph of users and products.
    Graph,
}

impl Family {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Family::Popularity => "popularity",
            Family::Repeat => "what a user had before",
            Family::Matrix => "matrix factorization",
            Family::Fading => "matrix factorization in which old purchases fade",
            Family::SideInformation => "matrix factorization with attributes",
            Family::Tensor => "tensor factorization",
            Family::Neighbours => "similar products",
            Family::Graph => "a graph model",
        }
    }
}

/// A model's figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name, as in a table.
    pub name: String,
    /// What it is one of.
    pub family: Family,
    /// The mean over users; the more, the better.
    pub value: f64,
    /// The same of every replicate of the bootstrap, in the same order for all models.
    pub samples: Vec<f64>,
}

/// How verdicts are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The level at which all differences hold together.
    pub level: f64,
    /// The least gain, as a share, that is worth a model that asks for more.
    pub worth: f64,
    /// The gain over popularity, as a share, that intervals must rule out before it is said that nothing beats popularity.
    pub narrow: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            level: 0.95,
            worth: 0.02,
            narrow: 0.25,
        }
    }
}
