//! Evaluation: how well the tables rank or predict what was held out, with baselines and intervals beside
//! every figure (DESIGN 5.6).
//!
//! Candidates are the products with a training interaction. Relevant products of a user are those held out for
//! him, candidates or not: a product that nobody bought in training cannot be recommended and counts as missed,
//! for every ranker alike. In the task `new_products` what the user had in train (and, on test, in validation) is
//! masked in the ranking and in the truth; in `all_products` nothing is.

pub mod errors;
pub mod layout;
pub mod metric;
pub mod op;
pub mod program;
pub mod ratings;
pub mod report;
pub mod sample;
pub mod steps;
pub mod users;

pub use errors::ValidationErrors;
pub use layout::{Layout, Ranker, Slice, Sliced};
pub use metric::Metric;
pub use op::{EvaluateOp, ProductRow, RankOp};
pub use program::Evaluate;
pub use report::Evaluation;
pub use sample::SampledEvaluation;

use crate::context::ContextAt;
use crate::forecast::Moment;
use crate::graph::filter::Links;
use crate::metrics::Measure;
use crate::rules::Rules;
use serde::{Deserialize, Serialize};
use tensor::{Axis, KeyRange, ObjectKey, Partitions, SplitPart, TableId};

/// One [`ProductRow`] a product.
pub const PRODUCTS: TableId = TableId(0x0e00);
/// One bitmap of recommended products a list, one block a user block.
pub const COVERED: TableId = TableId(0x0e01);
/// The shrunk offset of each product's values, for the bias-only baseline.
pub const PRODUCT_OFFSETS: TableId = TableId(0x0e02);
/// The degrees of users in the training view, for scores of a linear filter.
pub const USER_DEGREES: TableId = TableId(0x0e03);
/// The same of products.
pub const PRODUCT_DEGREES: TableId = TableId(0x0e04);
/// The products nearest to each, for scores by them.
pub const NEAREST: TableId = TableId(0x0e05);

/// Which products a ranking may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankingTask {
    /// Those the user did not have before.
    NewProducts,
    /// All of them.
    AllProducts,
}

impl RankingTask {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            RankingTask::NewProducts => "new_products",
            RankingTask::AllProducts => "all_products",
        }
    }
}

/// What own-count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnWeight {
    /// The sum of the training values: right where values are counts.
    Values,
    /// The number of training interactions (of bins in which the product was bought).
    Interactions,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Lists of products.
    Ranking,
    /// Values of interactions.
    Ratings,
}

/// Settings of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Lists or values.
    pub goal: Goal,
    /// Lengths of lists, rising.
    pub ks: Vec<u32>,
    /// The ranking tasks, in order.
    pub tasks: Vec<RankingTask>,
    /// Replicates of the bootstrap; 0 for no intervals.
    pub replicates: u32,
    /// The level of intervals.
    pub level: f64,
    /// Seeds the bootstrap and the sample.
    pub seed: u64,
    /// How many interactions at the global mean the bias-only model adds to each user and product.
    pub damping: f64,
    /// What is measured by itself too.
    pub slices: Vec<Slice>,
    /// The measure whose replicates are kept, for comparisons with other evaluations of the same data and seed.
    pub kept: Option<(Measure, u32)>,
    /// What lists must obey.
    pub rules: Rules,
    /// Whether users count who are not in training.
    pub anyone: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            goal: Goal::Ranking,
            ks: vec![10, 20, 50],
            tasks: vec![RankingTask::NewProducts, RankingTask::AllProducts],
            replicates: 500,
            level: 0.95,
            seed: 0,
            damping: 5.0,
            slices: Vec::new(),
            kept: None,
            rules: Rules::default(),
            anyone: false,
        }
    }
}

/// Settings that cannot be honoured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No k, a zero, or not rising.
    #[error("the lengths of lists are {0:?}: give at least one, rising, from 1 to 1000")]
    Ks(Vec<u32>),
    /// No task.
    #[error("an evaluation needs at least one of the tasks new_products and all_products")]
    NoTask,
    /// Not a level.
    #[error("the level of intervals is {0}: give a number above 0 and below 1, as 0.95")]
    Level(f64),
    /// More replicates than memory should hold.
    #[error("{0} replicates of the bootstrap: give at most 10000")]
    Replicates(u32),
    /// Not a damping.
    #[error("the damping of biases is {0}: give a number of at least 0")]
    Damping(f64),
    /// The part was not made by the split.
    #[error("there is no {0:?} part to evaluate on: give the split one")]
    NoPart(SplitPart),
}

impl Settings {
    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let rising = self.ks.windows(2).all(|pair| pair[0] < pair[1]);
        if self.ks.is_empty() || self.ks[0] == 0 || !rising || self.ks[self.ks.len() - 1] > 1000 {
            return Err(SettingsError::Ks(self.ks.clone()));
        }
        if self.tasks.is_empty() {
            return Err(SettingsError::NoTask);
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(SettingsError::Level(self.level));
        }
        if self.replicates > 10_000 {
            return Err(SettingsError::Replicates(self.replicates));
        }
        if !(self.damping >= 0.0 && self.damping.is_finite()) {
            return Err(SettingsError::Damping(self.damping));
        }
        Ok(())
    }
}

/// The factors of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContextFactors {
    /// Of all contexts.
    pub table: ObjectKey,
    /// Their mean.
    pub mean: ObjectKey,
    /// Lists are those of this one; a held-out value is predicted at its own.
    pub at: ContextAt,
}

/// What scores: the tables, `score = u · v`, or `(u ∘ t ∘ s) · v` with t at a moment and s at a context; and, where the model has
/// it, the linear filter of the training view ([`crate::graph::filter`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// All blocks of U.
    pub users: KeyRange,
    /// All blocks of V.
    pub products: KeyRange,
    /// The block of T and the moment at which it is used, in the tensor case. Lists are those of the moment; a held-out value
    /// is predicted at its own bin.
    pub time: Option<(ObjectKey, Moment)>,
    /// Where contexts are factored.
    pub context: Option<ContextFactors>,
    /// f32 per row, padding included.
    pub width: u32,
    /// Added to every prediction of a value; rankings do not need it.
    pub offset: f32,
    /// What is added to scores of lists by what a user had, where something is.
    pub filter: Option<Links>,
}

/// What is evaluated, and on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Users: grid and dictionary.
    pub user: Axis,
    /// Products: grid and dictionary.
    pub product: Axis,
    /// The model's tables.
    pub factors: Factors,
    /// The view the model was trained on.
    pub train: Partitions,
    /// The validation view, where there is one.
    pub validation: Option<Partitions>,
    /// The test view, where there is one.
    pub test: Option<Partitions>,
    /// The training interactions of the last bins, where the data have times ([`recent_spec`]).
    pub recent: Option<Partitions>,
    /// The training view with values that fade with age, for own counts of late.
    pub faded: Option<Partitions>,
    /// What is held out for this evaluation: `Validation` masks train, `Test` masks train and validation.
    pub part: SplitPart,
    /// What own-count counts.
    pub own: OwnWeight,
}

impl Factors {
    /// Where T scores.
    pub fn moment(&self) -> Option<Moment> {
        self.time.map(|(_, moment)| moment)
    }

    /// Where S scores.
    pub fn context_at(&self) -> Option<ContextAt> {
        self.context.map(|context| context.at)
    }

    /// The tables of the small modes in the order in which ops read them: T, then S and its mean.
    pub fn small(&self) -> impl Iterator<Item = ObjectKey> {
        let time = self.time.map(|(key, _)| key).into_iter();
        let context = self.context.map(|context| [context.table, context.mean]);
        time.chain(context.into_iter().flatten())
    }
}

impl Input {
    /// The held-out partitions.
    ///
    /// # Errors
    /// Where the split did not make the part.
    pub fn relevant(&self) -> Result<&Partitions, SettingsError> {
        let relevant = match self.part {
            SplitPart::Test => self.test.as_ref(),
            SplitPart::Validation => self.validation.as_ref(),
            SplitPart::Train => None,
        };
        relevant.ok_or(SettingsError::NoPart(self.part))
    }

    /// The partitions that mask beyond train.
    pub fn mask(&self) -> Option<&Partitions> {
        self.validation
            .as_ref()
            .filter(|_| self.part == SplitPart::Test)
    }
}

/// The view of the last `bins` bins of a training view, for popularity of late; `None` where the training view is not
/// cut by time.
pub fn recent_spec(train: &tensor::ViewSpec, bins: u32) -> Option<tensor::ViewSpec> {
    let kept = train.bins.clone()?;
    let first = kept.end.saturating_sub(bins).max(kept.start);
    Some(tensor::ViewSpec {
        bins: Some(first..kept.end),
        collapse_time: true,
        collapse_context: true,
        ..train.clone()
    })
}

/// The hash of an original id: breaks ties in rankings, draws the sample of users and their bootstrap weights.
/// Integers are hashed as their eight little-endian bytes, text and binary as they are (FNV-1a, then mixed).
pub fn id_hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    crate::bootstrap::mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
