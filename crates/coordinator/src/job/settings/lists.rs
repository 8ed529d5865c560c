//! Settings of lists: what is recommended, what rises, what is alike, and what lists must obey.

use super::Location;
use serde::Serialize;
use std::path::PathBuf;
use tables::Bound;
use tensor::Mode;

/// `[output.recommend]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recommend {
    /// Products for each user.
    pub top: u32,
    /// The Parquet file.
    pub file: Option<PathBuf>,
    /// Instead of it, the folder of parts.
    pub folder: Option<PathBuf>,
    /// The bin behind the end of the data for which they are.
    pub bins_ahead: u32,
    /// The day, or number, whose bin they are for; `None`: as `bins_ahead` says.
    pub date: Option<Bound>,
    /// The context for which they are; `None`: the mean.
    pub context: Option<String>,
    /// Whether products that the user has had are left out.
    pub exclude_seen: bool,
    /// Original ids of the users for whom lists are; none: all.
    pub users: Vec<String>,
    /// The Parquet file of reasons, or the folder where lists are in one; `None`: none are asked for.
    pub explanations: Option<PathBuf>,
    /// Reasons of each recommendation.
    pub reasons: u32,
}

impl Recommend {
    /// Whether the job asks for lists.
    pub fn is_asked(&self) -> bool {
        self.file.is_some() || self.folder.is_some()
    }
}

/// `[output.rules]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rules {
    /// The file of products that lists may hold; `None`: any.
    pub allow: Option<Location>,
    /// The file of products that they may not.
    pub deny: Option<Location>,
    /// The file of times at which products may be had.
    pub windows: Option<Location>,
    /// The most products with one level of an attribute in a list.
    pub most: Option<u32>,
    /// That attribute.
    pub most_by: Option<String>,
    /// What a score loses with the logarithm of popularity.
    pub damping: f64,
}

/// `[output.rising]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rising {
    /// Products for each user.
    pub top: u32,
    /// The Parquet file; `None`: none is asked for.
    pub file: Option<PathBuf>,
    /// The last bins whose mean is compared.
    pub over: u32,
    /// Whether products that the user has had are left out.
    pub exclude_seen: bool,
}

/// `[output.similar]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similar {
    /// Whose rows are compared.
    pub of: Mode,
    /// How many like each.
    pub top: u32,
    /// The Parquet file; `None`: none is asked for.
    pub file: Option<PathBuf>,
    /// Original ids for whose rows lists are; none: all.
    pub ids: Vec<String>,
    /// Whether all pairs are compared.
    pub index: SimilarIndex,
    /// The share of the true lists that an index must find.
    pub recall: f64,
}

/// `output.similar.index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SimilarIndex {
    /// An index where there are many pairs.
    Auto,
    /// All pairs are compared.
    Exact,
    /// An index, however few there are.
    Index,
}
