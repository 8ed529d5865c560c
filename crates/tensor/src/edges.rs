//! What a data set knows of the rows of a mode among one another: the matrix S of edges between users, or between products.

use crate::dataset::PartitionRef;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The edges of a mode, sealed as interactions are: a partition a block of the mode's grid, whose columns are rows of the same mode
/// and whose values are weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeEdges {
    /// The column of the rows that take.
    pub from: String,
    /// The column of the rows that they take from.
    pub to: String,
    /// The column of weights; `None`: each edge weighs 1.
    pub weight: Option<String>,
    /// Whether an edge is not also one from `to` to `from`.
    pub directed: bool,
    /// S, by rows.
    pub forward: Vec<PartitionRef>,
    /// Sᵀ, by rows; empty where edges are not directed, and S its own transpose.
    pub backward: Vec<PartitionRef>,
    /// Rows of the lists.
    pub input_rows: u64,
    /// Rows left out, by reason.
    pub bad_rows: BTreeMap<String, u64>,
    /// Rows left out since one of their ids has no interaction.
    pub unknown: u64,
    /// Rows that join an id with itself; they are kept.
    pub loops: u64,
}

impl ModeEdges {
    /// Sᵀ, by rows.
    pub fn turned(&self) -> &[PartitionRef] {
        if self.directed {
            &self.backward
        } else {
            &self.forward
        }
    }

    /// Entries of S: an edge that is not directed is two of them, unless it joins a row with itself.
    pub fn entries(&self) -> u64 {
        let partitions = self.forward.iter();
        partitions.map(|partition| partition.interactions).sum()
    }

    /// Every partition.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionRef> {
        self.forward.iter().chain(&self.backward)
    }
}
