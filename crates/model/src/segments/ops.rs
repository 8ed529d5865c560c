//! The ops of segments as values: what each reads and writes, in order, and what it returns.

use crate::bootstrap::Interval;
use serde::{Deserialize, Serialize};
use tensor::Grid;

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SegmentsOp {
    /// Makes points of a block's factors.
    Points(PointsOp),
    /// Takes the rows of a block that are of the sample.
    Sample(SampleOp),
    /// Chooses centres on the sample.
    Seed(SeedOp),
    /// Sums a block's points by their nearest centres.
    Assign(AssignOp),
    /// Moves centres to the means of their points.
    Update(UpdateOp),
    /// Silhouettes of the sample.
    Silhouettes(SilhouettesOp),
    /// Says the segment of each row of a block.
    Label(LabelOp),
    /// Counts a block's rows by segment and level.
    Contingency(ContingencyOp),
    /// What the segments of users buy of a block of products, or which products of a block are in the segments.
    Profile(ProfileOp),
    /// How well points tell attributes, on the sample.
    Probe(ProbeOp),
}

/// Reads the block of factors and its partition. Writes the rows with the columns that follow the factors at 0, at length 1 where they
/// are compared as directions; rows without an interaction become zeros, and are no points. Sums: points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointsOp {
    /// Columns that are compared.
    pub columns: u32,
    /// f32 per row, padding included.
    pub width: u32,
    /// Whether lengths do not count.
    pub directions: bool,
}

/// Reads the block of points and, where there are `attributes`, their words. Writes the rows of the sample: the id of the row, its
/// f32s, then its words. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleOp {
    /// f32 per row.
    pub width: u32,
    /// The id of the block's first row.
    pub first: u32,
    /// Words of a row.
    pub attributes: u32,
    /// Points whose draw is below are taken; `None`: all.
    pub below: Option<u64>,
    /// Of the draws.
    pub seed: u64,
}

/// The shape of points and of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// f32 per row.
    pub width: u32,
    /// Centres.
    pub k: u32,
    /// Words of a row of the sample that are attributes.
    pub attributes: u32,
}

/// Reads the sample of all blocks. Writes `k` centres: those that lack a point of their own are infinitely far away. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedOp {
    /// Of points and sample.
    pub shape: Shape,
    /// Of the draws.
    pub seed: u64,
}

/// Reads the block of points and the centres. Writes f64s: the sums of the points of each centre, how many each has, and the sum of squared
/// distances. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignOp {
    /// Of points.
    pub shape: Shape,
}

impl Shape {
    /// f64s of the sums of [`AssignOp`].
    pub fn sums(&self) -> usize {
        (self.k * (self.width + 1) + 1) as usize
    }

    /// Words of a row of the sample.
    pub fn row_words(&self) -> usize {
        (1 + self.width + self.attributes) as usize
    }
}

/// Reads the sums of all points and the sample of all blocks. Writes centres at the means of their points; one without points goes to
/// the row of the sample that is farthest from all others. Sums: squared distances before they moved, then the points of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateOp {
    /// Of points and sample.
    pub shape: Shape,
}

/// Reads the sample of all blocks and the centres. Writes row id and silhouette (f32), a word each. Sums: of the silhouettes of each
/// segment, then how many rows of the sample each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilhouettesOp {
    /// Of points and sample.
    pub shape: Shape,
}

/// Reads the block of points and the centres. Writes segment and distance (f32) of each row, a word each. Returns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelOp {
    /// Of points.
    pub shape: Shape,
    /// The segment of each centre.
    pub segments: Vec<u32>,
}

/// Reads the block's segments and its words of attributes. Sums: for each attribute that is compared the rows of each segment and level,
/// segment after segment, those without the attribute last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContingencyOp {
    /// Segments.
    pub segments: u32,
    /// Words of a row.
    pub attributes: u32,
    /// Attributes that are compared: the place of the word, and levels.
    pub compared: Vec<(u32, u32)>,
}

/// Reads the partition of a block of products, the segments of all blocks (of users, or of this one alone where the products have them) and,
/// where there are `attributes`, the block's words of these. Returns [`ProfileTally`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileOp {
    /// The grid of users, whose segments count; `None`: those of the products themselves.
    pub users: Option<Grid>,
    /// The id of the block's first product.
    pub first: u32,
    /// Rows of each segment.
    pub sizes: Vec<u64>,
    /// The fewest buyers in a segment of a product that is told to be its own.
    pub count_min: u32,
    /// Products that are told of each segment.
    pub top: u32,
    /// Words of a product.
    pub attributes: u32,
    /// Attributes whose levels are counted: the place of the word, and levels.
    pub compared: Vec<(u32, u32)>,
}

/// A product in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// The product's row.
    pub product: u32,
    /// Its buyers in the segment.
    pub buyers: u32,
    /// Its buyers in all segments.
    pub all: u32,
}

/// What the segments buy of a block of products.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileTally {
    /// Of each segment, the products that most buy, the first first.
    pub popular: Vec<Vec<Bought>>,
    /// Of all segments together, likewise.
    pub popular_of_all: Vec<Bought>,
    /// Of each segment, the products that it buys beyond its share.
    pub own: Vec<Vec<Bought>>,
    /// Of each segment, pairs of a user and a product.
    pub pairs: Vec<u64>,
    /// Of each compared attribute, level and segment, such pairs; those without the attribute last.
    pub levels: Vec<Vec<u64>>,
}

/// Reads the sample of all blocks. Returns a [`Probed`] an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOp {
    /// Of points and sample.
    pub shape: Shape,
    /// Columns of points that are not padding.
    pub columns: u32,
    /// Attributes that are told: the place of the word, and levels, or 0 of a number.
    pub told: Vec<(u32, u32)>,
    /// Bootstrap replicates.
    pub replicates: u32,
    /// Of the bootstrap.
    pub seed: u64,
}

/// How well points tell an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Rows of the sample that have it.
    pub rows: u64,
    /// The share of rows whose level is told, or R² of a number.
    pub told: f64,
    /// Its interval.
    pub interval: Option<Interval>,
    /// The share of rows that the most frequent level tells; 0 of a number.
    pub base: f64,
    /// The interval of the difference to it.
    pub gain: Option<Interval>,
}
