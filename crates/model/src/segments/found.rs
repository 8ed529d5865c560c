//! What was found of segments, and what blocks of products say of them put together.

use super::compare::{Contingency, lift};
use super::ops::{Bought, Probed, ProfileTally};
use super::profile::most_bought;
use super::program::Settings;
use kernels::random::ln;
use tensor::{AttributeKind, Attributes};

/// Attributes with more levels are not put beside segments.
pub(super) const LEVELS_MAX: u64 = 200;

/// A count of segments that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tried {
    /// The count.
    pub k: u32,
    /// Those that have a row.
    pub segments: u32,
    /// The mean over the sample.
    pub silhouette: f64,
    /// The mean squared distance of points to their centres.
    pub inertia: f64,
    /// Iterations until centres rested.
    pub iterations: u32,
}

/// A level of a product attribute in a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The attribute's place.
    pub attribute: u32,
    /// The level's; behind the last: all rarer ones, or none at all.
    pub level: u32,
    /// The share of the segment's pairs of user and product.
    pub share: f64,
    /// How much more than everywhere.
    pub lift: f64,
}

/// A segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Rows.
    pub rows: u64,
    /// The mean silhouette of those of the sample.
    pub silhouette: Option<f64>,
    /// Products that most buy.
    pub popular: Vec<Bought>,
    /// Products that it buys beyond its share, the surest first.
    pub own: Vec<Bought>,
    /// Levels of product attributes beyond their share, those that tell most first.
    pub levels: Vec<Level>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Points.
    pub points: u64,
    /// Rows of the sample.
    pub sample: u64,
    /// Every count that was tried, in the order of the settings.
    pub tried: Vec<Tried>,
    /// The chosen one's place among them.
    pub chosen: usize,
    /// Its segments, the largest first.
    pub segments: Vec<Segment>,
    /// Products that most buy, whatever their segment.
    pub popular: Vec<Bought>,
    /// Of each attribute of the rows that has levels: its place, and rows by segment and level, those without it left out.
    pub compared: Vec<(u32, Contingency)>,
    /// Of each attribute of the rows how well points tell it: its place and that.
    pub probed: Vec<(u32, Probed)>,
}

/// Attributes whose levels are few enough: the place of each and its levels.
pub(super) fn compared(attributes: Option<&Attributes>) -> Vec<(u32, u32)> {
    let all = attributes
        .iter()
        .flat_map(|of| of.attributes.iter().zip(0..));
    let few = all.filter(|(of, _)| {
        matches!(of.kind, AttributeKind::Levels { .. }) && of.columns() <= LEVELS_MAX
    });
    few.map(|(of, place)| (place, of.columns() as u32))
        .collect()
}

impl Found {
    /// Rows by segment and level, as sums of all blocks.
    pub(super) fn compare(&mut self, attributes: Option<&Attributes>, sums: &[f64]) {
        let mut rest = sums;
        let segments = self.segments.len();
        for (place, levels) in compared(attributes) {
            let columns = levels as usize;
            let counts;
            (counts, rest) = rest.split_at(segments * (columns + 1));
            let known = counts.chunks_exact(columns + 1);
            let counts = known.flat_map(|row| &row[..columns]).copied().collect();
            self.compared.push((place, Contingency { columns, counts }));
        }
    }

    /// What blocks of products say of the segments.
    pub(super) fn profile(
        &mut self,
        tallies: &[ProfileTally],
        settings: &Settings,
        products: Option<&Attributes>,
    ) {
        let (top, count) = (settings.top, self.segments.len());
        let sizes: Vec<u64> = self.segments.iter().map(|of| of.rows).collect();
        let total = sizes.iter().sum();
        for (place, segment) in self.segments.iter_mut().enumerate() {
            let all = tallies.iter().flat_map(|tally| &tally.popular[place]);
            segment.popular = all.copied().collect();
            most_bought(&mut segment.popular, top);
            let surest = |bought: &Bought| {
                let found = lift(bought.buyers.into(), sizes[place], bought.all.into(), total);
                found.map_or(0.0, |(_, lower)| lower)
            };
            let all = tallies.iter().flat_map(|tally| &tally.own[place]);
            segment.own = all.copied().collect();
            segment.own.sort_by(|x, y| {
                let order = surest(y).total_cmp(&surest(x));
                order.then(x.product.cmp(&y.product))
            });
            segment.own.truncate(top as usize);
        }
        let all = tallies.iter().flat_map(|tally| &tally.popular_of_all);
        self.popular = all.copied().collect();
        most_bought(&mut self.popular, top);
        let pairs: Vec<u64> = (0..count)
            .map(|place| tallies.iter().map(|tally| tally.pairs[place]).sum())
            .collect();
        let levels = compared(products);
        for ((attribute, columns), at) in levels.into_iter().zip(0..) {
            let mut counts = vec![0; (columns as usize + 1) * count];
            for tally in tallies {
                let of = counts.iter_mut().zip(&tally.levels[at]);
                of.for_each(|(sum, n)| *sum += n);
            }
            self.levels(attribute, &counts, &pairs, settings.count_min);
        }
        // By what each adds to how far the segment's purchases are from all (Kullback and Leibler): a rare level of a high lift tells little.
        let tells = |of: &Level| of.share * ln(of.lift);
        for segment in &mut self.segments {
            let levels = &mut segment.levels;
            levels.sort_by(|x, y| tells(y).total_cmp(&tells(x)));
            segment.levels.truncate(top as usize);
        }
    }

    /// Levels of an attribute that segments buy beyond their share.
    fn levels(&mut self, attribute: u32, counts: &[u64], pairs: &[u64], count_min: u32) {
        let total: u64 = pairs.iter().sum();
        let known = self.segments.len().max(1);
        // Those without the attribute are the last.
        let levels = counts.len() / known - 1;
        for (counts, level) in counts.chunks_exact(known).take(levels).zip(0..) {
            let all: u64 = counts.iter().sum();
            for ((segment, &n), &of) in self.segments.iter_mut().zip(counts).zip(pairs) {
                let beyond = lift(n, of, all, total).filter(|(_, lower)| *lower > 1.0);
                if let Some((lift, _)) = beyond.filter(|_| n >= count_min.into()) {
                    segment.levels.push(Level {
                        attribute,
                        level,
                        share: n as f64 / of as f64,
                        lift,
                    });
                }
            }
        }
    }
}
