//! What a data set knows of the rows of a mode beside their interactions: attributes, of which each is a number or one of
//! some levels. A block's entries are sealed together: a word (u32, little-endian) for each row and attribute, by row.

use crate::dataset::SealedRef;
use serde::{Deserialize, Serialize};

/// The word of a missing entry: no attribute has so many levels, and as an f32 it is no number.
pub const MISSING: u32 = u32::MAX;

/// What an attribute is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AttributeKind {
    /// A number. Its word holds the bits of an f32: the value less the mean, over the deviation.
    Number {
        /// The mean over the rows of the tables that have it.
        mean: f64,
        /// The standard deviation over them; 0 where all are equal, and then all words are those of 0.
        deviation: f64,
    },
    /// One of some levels. Its word is the level's place.
    Levels {
        /// The levels, the most frequent first.
        levels: Vec<String>,
        /// Whether one more place stands for all rarer levels together.
        others: bool,
    },
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The column of the input.
    pub name: String,
    /// What it is.
    pub kind: AttributeKind,
}

impl Attribute {
    /// Columns that it takes in a model: one for a number, one a level.
    pub fn columns(&self) -> u64 {
        match &self.kind {
            AttributeKind::Number { .. } => 1,
            AttributeKind::Levels { levels, others } => levels.len() as u64 + u64::from(*others),
        }
    }
}

/// The attributes of a mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// The column of ids in the tables of attributes.
    pub column: String,
    /// The attributes, in the order in which words stand in a row.
    pub attributes: Vec<Attribute>,
    /// The words of each block of the mode's grid.
    pub blocks: Vec<SealedRef>,
    /// Rows of the mode that the tables describe.
    pub described: u64,
    /// Ids of the tables that have no interaction: left out.
    pub unknown: u64,
}

impl Attributes {
    /// Columns that all of them take in a model.
    pub fn columns(&self) -> u64 {
        self.attributes.iter().map(Attribute::columns).sum()
    }
}
