//! How degrees are spread, from how often each occurs.

use super::report::{Bin, Degrees};
use std::collections::BTreeMap;

/// Rows by degree.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    counts: BTreeMap<u32, u64>,
}

impl Spread {
    /// Adds a block's.
    pub fn absorb(&mut self, degrees: &[(u32, u32)]) {
        for &(degree, rows) in degrees {
            *self.counts.entry(degree).or_default() += u64::from(rows);
        }
    }

    /// All rows.
    pub fn nodes(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Rows without an edge.
    pub fn isolated(&self) -> u64 {
        self.counts.get(&0).copied().unwrap_or(0)
    }

    /// Σ d^power.
    pub fn moment(&self, power: u32) -> u128 {
        let terms = self.counts.iter();
        terms
            .map(|(&degree, &rows)| u128::from(degree).pow(power) * u128::from(rows))
            .sum()
    }

    /// The least degree that at least this share of all rows does not exceed.
    fn quantile(&self, percent: u64) -> u32 {
        let wanted = u128::from(self.nodes()) * u128::from(percent);
        let mut below = 0;
        for (&degree, &rows) in &self.counts {
            below += u128::from(rows) * 100;
            if below >= wanted {
                return degree;
            }
        }
        0
    }

    /// Σ (2 i − n − 1) d_i / (n Σ d) over rising degrees: 0 where all are equal, near 1 where one row has all.
    fn gini(&self) -> f64 {
        let (nodes, edges) = (i128::from(self.nodes()), self.moment(1));
        if edges == 0 {
            return 0.0;
        }
        let (mut below, mut sum) = (0_i128, 0_i128);
        for (&degree, &rows) in &self.counts {
            let rows = i128::from(rows);
            // The ranks below + 1 to below + rows.
            sum += i128::from(degree) * rows * (2 * below + rows - nodes);
            below += rows;
        }
        sum as f64 / (nodes as f64 * edges as f64)
    }

    /// Rows with 2^k to 2^(k+1) − 1 edges.
    fn histogram(&self) -> Vec<Bin> {
        let mut bins: BTreeMap<u32, u64> = BTreeMap::new();
        for (&degree, &rows) in self.counts.iter().filter(|(degree, _)| **degree > 0) {
            *bins.entry(degree.ilog2()).or_default() += rows;
        }
        let bins = bins.into_iter();
        bins.map(|(log, nodes)| Bin {
            from: 1 << log,
            nodes,
        })
        .collect()
    }

    /// For the report.
    pub fn report(&self) -> Degrees {
        let nodes = self.nodes().max(1);
        Degrees {
            min: self.counts.keys().next().copied().unwrap_or(0),
            median: self.quantile(50),
            mean: self.moment(1) as f64 / nodes as f64,
            p90: self.quantile(90),
            p99: self.quantile(99),
            max: self.counts.keys().next_back().copied().unwrap_or(0),
            gini: self.gini(),
            histogram: self.histogram(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against sums over the rows one by one.
    #[test]
    fn a_spread_is_that_of_its_rows() {
        let degrees: Vec<u32> = (0..200).map(|i| (i * i * 31 % 97) / 3).collect();
        let mut spread = Spread::default();
        for chunk in degrees.chunks(7) {
            let ones: Vec<(u32, u32)> = chunk.iter().map(|&degree| (degree, 1)).collect();
            spread.absorb(&ones);
        }
        let mut sorted = degrees.clone();
        sorted.sort_unstable();
        let report = spread.report();
        assert_eq!(report.min, sorted[0]);
        assert_eq!(report.median, sorted[99]);
        assert_eq!((report.p90, report.p99), (sorted[179], sorted[197]));
        assert_eq!(report.max, sorted[199]);
        let total: u32 = degrees.iter().sum();
        assert_eq!(report.mean, f64::from(total) / 200.0);
        let apart = |a: &u32| degrees.iter().map(|b| a.abs_diff(*b)).sum::<u32>();
        let gini =
            f64::from(degrees.iter().map(apart).sum::<u32>()) / (2.0 * 200.0) / f64::from(total);
        assert!((report.gini - gini).abs() < 1e-12);
        for bin in &report.histogram {
            let inside = |degree: &&u32| (bin.from..2 * bin.from).contains(&u64::from(**degree));
            assert_eq!(bin.nodes, degrees.iter().filter(inside).count() as u64);
        }
        let isolated = degrees.iter().filter(|&&degree| degree == 0).count() as u64;
        let binned: u64 = report.histogram.iter().map(|bin| bin.nodes).sum();
        assert_eq!((spread.isolated(), binned + isolated), (isolated, 200));
    }
}
