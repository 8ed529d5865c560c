//! The ops of evaluation as they travel, each with the order of its reads, its writes and its partial.

use crate::bootstrap::{Interval, interval};
use crate::context::ContextAt;
use crate::evaluate::{Layout, OwnWeight};
use crate::forecast::Moment;
use crate::graph::filter::{Links, NearestOp};
use crate::rules::BlockRules;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use tensor::Grid;

/// What every ranking needs to know of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ProductRow {
    /// Hash of the original id: of two equal scores the smaller hash comes first.
    pub tie: u64,
    /// Its users in training. Products with none are no candidates.
    pub popularity: u32,
    /// Its users in the last bins of training; 0 where that is not asked for.
    pub recent: u32,
    /// Its group, where rules cap lists by groups.
    pub group: u32,
    /// Added to its scores by rules.
    pub handicap: f32,
}

/// One task of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EvaluateOp {
    /// Reads the train partition of a product block, product-major; the recent one (if `recent`); the block's
    /// dictionary; (if rules have groups) its words of attributes. Writes a block of [`ProductRow`]s. Sums: candidates.
    Products {
        /// Whether the recent partition is among the reads.
        recent: bool,
        /// What lists must obey.
        rules: Option<BlockRules>,
    },
    /// Ranks products for the users of a block.
    Rank(RankOp),
    /// Reads the root of the bootstrap sums. Collects [`Intervals`].
    Intervals {
        /// The figures.
        layout: Layout,
        /// The level.
        level: f64,
        /// The measure whose replicates are kept, by its place among the figures of a list.
        kept: Option<u32>,
    },
    /// Reads the bitmaps of all user blocks. Collects the number of bits set in each list's union (postcard of `Vec<u64>`).
    Coverage {
        /// How many lists.
        lists: u32,
    },
    /// Reads the train partition of a user block. Collects [`crate::evaluate::ratings::ValueRange`].
    Values,
    /// Reads the train partition of a product block, product-major. Writes one f32 a product: its shrunk offset from
    /// the mean, NaN where it has no training interaction.
    ProductOffsets {
        /// The mean of all training values.
        mean: f64,
        /// Interactions at the mean that are added to each product.
        damping: f64,
    },
    /// Predicts held-out values.
    Ratings(RatingsOp),
    /// Finds the nearest products of a block's.
    Nearest(NearestOp),
}

/// Reads, in order: the block of U; all blocks of V; (if `moment`) the block of T; (if `context`) the block of S and its mean;
/// all blocks of [`crate::evaluate::PRODUCTS`]; (if `filter`) what that asks for ([`crate::evaluate::steps::linked_reads`]); then user-major partitions of the block: train,
/// (if `mask`) validation, (if `faded`) train with values that fade, held out; the block's dictionary.
///
/// Writes (if `replicates` > 0) the bootstrap sums, replicates x layout, as one row of f64; (if `coverage`) one bitmap
/// over products a list. Sums: the layout, then per task the users left out for want of training and of relevant
/// products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankOp {
    /// The grid of users.
    pub users: Grid,
    /// The grid of products.
    pub products: Grid,
    /// f32 per factor row.
    pub width: u32,
    /// Where T scores.
    pub moment: Option<Moment>,
    /// Where S scores.
    pub context: Option<ContextAt>,
    /// The figures.
    pub layout: Layout,
    /// What own-count counts.
    pub own: OwnWeight,
    /// Whether a validation partition masks too.
    pub mask: bool,
    /// Whether a partition of fading values is among the reads.
    pub faded: bool,
    /// Users whose mixed hash is below this share of 2^64 are evaluated; `None`: all.
    pub sample: Option<Sample>,
    /// Seeds the bootstrap.
    pub seed: u64,
    /// Replicates of the bootstrap.
    pub replicates: u32,
    /// Whether bitmaps are written.
    pub coverage: bool,
    /// What is added to scores by what a user had.
    pub filter: Option<Links>,
    /// The most products of a group in the model's lists.
    pub most: Option<u32>,
}

/// A fixed hash sample of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Seeds the choice.
    pub seed: u64,
    /// Users whose hash lies at or below it are in.
    pub limit: u64,
}

impl Sample {
    /// About `wanted` of `users` users; all of them where fewer.
    pub fn of(seed: u64, wanted: u64, users: u64) -> Self {
        let limit = if wanted >= users {
            u64::MAX
        } else {
            (u128::from(u64::MAX) * u128::from(wanted) / u128::from(users)) as u64
        };
        Sample { seed, limit }
    }

    /// Whether a user is in, by the hash of his original id.
    pub fn holds(self, user_hash: u64) -> bool {
        crate::bootstrap::mix(user_hash ^ crate::bootstrap::mix(self.seed ^ 0x5a3d)) <= self.limit
    }
}

/// Reads, in order: the block of U; all blocks of V; (if `moment`) T; (if `context`) S and its mean; all blocks of
/// [`crate::evaluate::PRODUCT_OFFSETS`]; user-major partitions of the block: train, held out.
///
/// Sums: see [`crate::evaluate::ratings::RatingSums`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatingsOp {
    /// The grid of products.
    pub products: Grid,
    /// f32 per factor row.
    pub width: u32,
    /// What training knows of time; every held-out interaction scores at its own bin.
    pub moment: Option<Moment>,
    /// Where contexts score that training did not see; every other interaction scores at its own.
    pub context: Option<ContextAt>,
    /// Added to every prediction of the model.
    pub offset: f32,
    /// The mean of all training values.
    pub mean: f64,
    /// Interactions at the mean that are added to each user.
    pub damping: f64,
    /// The least and largest training value: predictions are clipped to them.
    pub range: (f32, f32),
}

/// The intervals of an evaluation, by position in the [`Layout`]. Postcard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of each figure.
    pub figures: Vec<Option<Interval>>,
    /// Of the model's figure minus this one.
    pub differences: Vec<Option<Interval>>,
    /// The replicates that are kept: of every section, and in it of every ranker.
    pub samples: Vec<Vec<f64>>,
}

impl Intervals {
    /// From weighted sums of every replicate, replicates x layout.
    pub fn of(layout: &Layout, replicates: &[f64], level: f64, kept: Option<u32>) -> Self {
        let samples =
            |of: &dyn Fn(&[f64]) -> f64| replicates.chunks_exact(layout.width()).map(of).collect();
        let mut found = Intervals::default();
        for position in 0..layout.width() {
            let (counted, model) = (layout.counted_of(position), layout.model_of(position));
            let mean = |sums: &[f64], position: usize| sums[position] / sums[counted];
            let difference = |sums: &[f64]| mean(sums, model) - mean(sums, position);
            found
                .figures
                .push(interval(samples(&|sums| mean(sums, position)), level));
            found
                .differences
                .push(interval(samples(&difference), level));
        }
        if let Some(kept) = kept {
            let sections = layout.tasks.len() * (1 + layout.slices.len());
            for (section, ranker) in (0..sections)
                .flat_map(|section| (0..layout.rankers.len()).map(move |ranker| (section, ranker)))
            {
                let (counted, position) = (
                    layout.counted(section),
                    layout.figures(section, ranker, 0) + kept as usize,
                );
                found
                    .samples
                    .push(samples(&|sums| sums[position] / sums[counted]));
            }
        }
        found
    }
}

/// A result as a partial that the program collects (postcard).
///
/// # Panics
/// Never: results are plain values, which postcard encodes.
pub fn collected<T: Serialize>(found: &T) -> Vec<u8> {
    postcard::to_stdvec(found).expect("a result is a plain value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::mix;

    #[test]
    fn a_sample_has_about_the_size_asked_for() {
        let sample = Sample::of(4, 1000, 20_000);
        let drawn = (0..20_000_u64)
            .filter(|&user| sample.holds(mix(user)))
            .count();
        assert!((900..1100).contains(&drawn), "{drawn}");
        let all = Sample::of(4, 20_001, 20_000);
        assert!((0..20_000_u64).all(|user| all.holds(mix(user))));
    }
}
