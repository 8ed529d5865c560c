//! Differences between models with intervals that hold for all of them at once.
//!
//! A replicate weighs the same users for every model, so differences are paired. The largest of the standardized deviations of a
//! replicate, over all models, has a distribution whose quantile makes intervals that hold together (Romano and Wolf, "Stepwise
//! multiple testing as formalized data snooping", 2005, the single step): twenty models are compared without one of them
//! being found better by chance.

use super::Row;
use crate::bootstrap::Interval;
use serde::{Deserialize, Serialize};

/// A model less another one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Of the figures.
    pub difference: f64,
    /// Where it may lie, for all gaps at once.
    pub interval: Interval,
}

impl Gap {
    /// Whether the first is better by more than this.
    pub fn above(&self, least: f64) -> bool {
        self.interval.0 > least
    }

    /// Whether it is worse by more than this.
    pub fn below(&self, least: f64) -> bool {
        self.interval.1 < -least
    }
}

/// Every row less the row `against`, whose own gap is 0.
///
/// # Panics
/// Where rows do not have equally many replicates.
pub fn gaps(rows: &[Row], against: usize, level: f64) -> Vec<Gap> {
    let base = &rows[against];
    let moved: Vec<Moved> = rows.iter().map(|row| Moved::of(row, base)).collect();
    let replicates = base.samples.len();
    let mut largest: Vec<f64> = (0..replicates)
        .map(|replicate| {
            let of_row = moved.iter().map(|moved| moved.standardized(replicate));
            of_row.fold(0.0, f64::max)
        })
        .collect();
    largest.sort_unstable_by(f64::total_cmp);
    // The smallest deviation that so many replicates do not exceed.
    let place = ((level * replicates as f64).ceil() as usize).clamp(1, replicates.max(1));
    let reach = largest.get(place - 1).copied().unwrap_or(f64::INFINITY);
    let gap = |(row, moved): (&Row, &Moved)| {
        let difference = row.value - base.value;
        let around = if moved.error > 0.0 {
            reach * moved.error
        } else {
            0.0
        };
        Gap {
            difference,
            interval: Interval(difference - around, difference + around),
        }
    };
    rows.iter().zip(&moved).map(gap).collect()
}

/// Differences of replicates about their mean, and their standard error.
struct Moved {
    deviations: Vec<f64>,
    error: f64,
}

impl Moved {
    fn of(row: &Row, base: &Row) -> Self {
        assert_eq!(row.samples.len(), base.samples.len(), "the same replicates");
        let count = row.samples.len() as f64;
        let pairs = row.samples.iter().zip(&base.samples);
        // A replicate that drew nobody says nothing.
        let differences = pairs.map(|(one, other)| one - other);
        let differences: Vec<f64> = differences
            .map(|of| if of.is_finite() { of } else { 0.0 })
            .collect();
        let mean = differences.iter().sum::<f64>() / count;
        let deviations: Vec<f64> = differences.iter().map(|of| of - mean).collect();
        let squares: f64 = deviations.iter().map(|of| of * of).sum();
        Moved {
            error: (squares / (count - 1.0).max(1.0)).sqrt(),
            deviations,
        }
    }

    fn standardized(&self, replicate: usize) -> f64 {
        if self.error > 0.0 {
            self.deviations[replicate].abs() / self.error
        } else {
            0.0
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::advise::Family;
    use kernels::Random;

    /// A model whose figure is `value` and whose replicates have this standard error beside what all models share.
    pub(crate) fn row(name: &str, family: Family, value: f64, error: f64) -> Row {
        let seed = name.bytes().fold(7_u64, |seed, byte| {
            crate::bootstrap::mix(seed ^ u64::from(byte))
        });
        let samples = (0..500).map(|replicate| {
            let shared = Random::new(3, 0x7a, 0, replicate).normal(0);
            let own = Random::new(seed, 0x7b, 0, replicate).normal(0);
            value + 0.01 * shared + error * own
        });
        Row {
            name: name.to_owned(),
            family,
            value,
            samples: samples.collect(),
        }
    }

    #[test]
    fn what_replicates_share_does_not_widen_gaps() {
        let rows = [
            row("a", Family::Matrix, 0.10, 0.0),
            row("b", Family::Graph, 0.12, 1e-4),
        ];
        let gaps = gaps(&rows, 0, 0.95);
        assert_eq!(
            (gaps[0].difference, gaps[0].interval),
            (0.0, Interval(0.0, 0.0))
        );
        // One pair: about 1.96 standard errors.
        let reach = gaps[1].interval.1 - gaps[1].difference;
        assert!((1.8e-4..2.15e-4).contains(&reach), "{reach}");
        assert!(gaps[1].above(0.019) && !gaps[1].above(0.021) && !gaps[1].below(0.0));
    }

    #[test]
    fn many_models_widen_gaps_as_the_largest_of_as_many_normals() {
        let rows: Vec<Row> = (0..20)
            .map(|i| row(&format!("model {i}"), Family::Graph, 0.1, 1e-3))
            .collect();
        let gaps = gaps(&rows, 0, 0.95);
        // Each pair has the error √2 · 1e-3; of 19 that share a half, the largest lies near 2.9 errors.
        let reach = gaps[5].interval.1 / (2.0_f64.sqrt() * 1e-3);
        assert!((2.6..3.2).contains(&reach), "{reach}");
    }

    #[test]
    fn few_chance_winners_among_equal_models() {
        let mut wrong = 0;
        for world in 0..200 {
            // The figures themselves are draws with the error that replicates show.
            let rows: Vec<Row> = (0..12)
                .map(|i| {
                    let noise = Random::new(91, 0x7c, world, i).normal(0);
                    let name = format!("{world} {i}");
                    row(&name, Family::Graph, 0.1 + 1e-3 * noise, 1e-3)
                })
                .collect();
            let gaps = gaps(&rows, 0, 0.95);
            wrong += u32::from(gaps.iter().any(|gap| gap.above(0.0)));
        }
        // One-sided at 5 % two-sided: about 2.5 % of worlds.
        assert!(wrong <= 14, "{wrong} of 200");
    }
}
