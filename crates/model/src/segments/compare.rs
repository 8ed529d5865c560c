//! How much two ways of putting rows together have in common.

use kernels::random::ln;

/// Rows of each segment (by row) and level (by column).
#[derive(Clone, Debug, PartialEq)]
pub struct Contingency {
    /// Levels.
    pub columns: usize,
    /// Counts, segment after segment.
    pub counts: Vec<f64>,
}

impl Contingency {
    /// Sums of rows, of columns, and all.
    fn margins(&self) -> (Vec<f64>, Vec<f64>, f64) {
        let mut columns = vec![0.0; self.columns];
        let mut rows = Vec::new();
        for row in self.counts.chunks_exact(self.columns.max(1)) {
            rows.push(row.iter().sum());
            columns.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let all = columns.iter().sum();
        (rows, columns, all)
    }

    /// The adjusted Rand index (Hubert and Arabie, 1985): 1 where both are the same, 0 on average where they have nothing to do with each
    /// other. `None` where there are not two rows.
    pub fn adjusted_rand(&self) -> Option<f64> {
        let (rows, columns, all) = self.margins();
        let pairs = |counts: &[f64]| -> f64 { counts.iter().map(|n| n * (n - 1.0) / 2.0).sum() };
        let total = all * (all - 1.0) / 2.0;
        if total <= 0.0 {
            return None;
        }
        let (of_rows, of_columns) = (pairs(&rows), pairs(&columns));
        let chance = of_rows * of_columns / total;
        let most = f64::midpoint(of_rows, of_columns);
        if most == chance {
            // One group, or every row one of its own, on both sides.
            return Some(1.0);
        }
        Some((pairs(&self.counts) - chance) / (most - chance))
    }

    /// Mutual information over the mean of both entropies: 1 where each tells the other, 0 where neither tells anything. `None` where
    /// there is no row.
    pub fn normalized_information(&self) -> Option<f64> {
        let (rows, columns, all) = self.margins();
        if all <= 0.0 {
            return None;
        }
        let entropy = |counts: &[f64]| -> f64 {
            let shares = counts.iter().filter(|&&n| n > 0.0).map(|n| n / all);
            shares.map(|share| -share * ln(share)).sum()
        };
        let mean = f64::midpoint(entropy(&rows), entropy(&columns));
        if mean == 0.0 {
            return Some(1.0);
        }
        let mut information = 0.0;
        for (row, of_row) in self.counts.chunks_exact(self.columns).zip(&rows) {
            for (&n, of_column) in row.iter().zip(&columns) {
                if n > 0.0 {
                    information += n / all * ln(n * all / (of_row * of_column));
                }
            }
        }
        Some((information / mean).clamp(0.0, 1.0))
    }
}

/// How far a part of a part goes beyond the whole: `count` of `of` here, `all` of `total` everywhere (here included); and the lower end of
/// its 95 % interval, by the logarithm's normal approximation (Katz et al., 1978). `None` where nothing was counted.
pub fn lift(count: u64, of: u64, all: u64, total: u64) -> Option<(f64, f64)> {
    if count == 0 || of == 0 || all == 0 || total == 0 {
        return None;
    }
    let [count, of, all, total] = [count, of, all, total].map(|n| n as f64);
    let lift = (count / of) / (all / total);
    let variance = (1.0 / count - 1.0 / of + 1.0 / all - 1.0 / total).max(0.0);
    Some((lift, lift * kernels::random::exp(-1.96 * variance.sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: usize, counts: &[f64]) -> Contingency {
        Contingency {
            columns,
            counts: counts.to_vec(),
        }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("a number");
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn indices_are_those_of_hand() {
        // (0, 0, 1, 1, 2, 2) beside (0, 0, 0, 1, 1, 1): 2 pairs together in both, 3 in the first, 6 in the second, 15 in all.
        let table = of(2, &[2.0, 0.0, 1.0, 1.0, 0.0, 2.0]);
        near(
            table.adjusted_rand(),
            (2.0 - 18.0 / 15.0) / (4.5 - 18.0 / 15.0),
        );
        // Entropies ln 3 and ln 2; each of the pure cells adds 1/3 ln 2, the mixed ones nothing.
        let ln = f64::ln;
        near(
            table.normalized_information(),
            (2.0 / 3.0 * ln(2.0)) / f64::midpoint(ln(3.0), ln(2.0)),
        );
        let same = of(3, &[0.0, 4.0, 0.0, 0.0, 0.0, 3.0, 5.0, 0.0, 0.0]);
        near(same.adjusted_rand(), 1.0);
        near(same.normalized_information(), 1.0);
        let apart = of(2, &[9.0, 3.0, 3.0, 1.0]);
        near(apart.normalized_information(), 0.0);
        assert!(apart.adjusted_rand().unwrap().abs() < 0.1);
        assert_eq!(of(2, &[0.0; 4]).adjusted_rand(), None);
        assert_eq!(of(2, &[0.0; 4]).normalized_information(), None);
        assert_eq!(of(0, &[]).adjusted_rand(), None);
    }

    #[test]
    fn a_lift_has_a_lower_end() {
        let (found, lower) = lift(30, 100, 50, 1000).unwrap();
        assert!((found - 6.0).abs() < 1e-12);
        let variance: f64 = 1.0 / 30.0 - 1.0 / 100.0 + 1.0 / 50.0 - 1.0 / 1000.0;
        assert!((lower - 6.0 * (-1.96 * variance.sqrt()).exp()).abs() < 1e-9);
        assert_eq!(lift(0, 1, 1, 1), None);
    }
}
