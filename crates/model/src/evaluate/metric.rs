//! The one figure by which epochs and models are compared on the validation part.
//!
//! **Invariant:** a metric is written as samplers name it, so that it is found among what they measured.

use crate::evaluate::RankingTask;
use crate::metrics::Measure;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest list that is measured.
const K_MAX: u32 = 1000;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// A measure of lists: the more, the better.
    List {
        /// Which products are ranked.
        task: RankingTask,
        /// What is measured.
        measure: Measure,
        /// The length of the lists.
        k: u32,
    },
    /// Root of the mean squared error of values, predictions not clipped: the less, the better.
    Rmse,
    /// Mean absolute error of values, predictions not clipped: the less, the better.
    Mae,
}

impl Metric {
    /// What is compared where nothing is asked for: `ndcg@20` of new products, `rmse` of values.
    pub fn usual(fits_values: bool) -> Self {
        if fits_values {
            return Metric::Rmse;
        }
        Metric::List {
            task: RankingTask::NewProducts,
            measure: Measure::Ndcg,
            k: 20,
        }
    }

    /// Whether it is one of values, and not of lists.
    pub fn is_of_values(self) -> bool {
        !matches!(self, Metric::List { .. })
    }

    /// Whether `value` is better than `than` by more than this share of it.
    pub fn is_better(self, value: f64, than: f64, share: f64) -> bool {
        let margin = than.abs() * share;
        if self.is_of_values() {
            value < than - margin
        } else {
            value > than + margin
        }
    }

    /// Its value among what a sampler measured; `None` where nobody could be measured.
    pub fn find(self, metrics: &[(String, f64)]) -> Option<f64> {
        let name = self.to_string();
        let (_, value) = metrics.iter().find(|(metric, _)| *metric == name)?;
        Some(*value).filter(|value| value.is_finite())
    }
}

impl fmt::Display for Metric {
    /// As a sampler names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::List { task, measure, k } => write!(f, "{} {}", task.name(), measure.at(*k)),
            Metric::Rmse => f.write_str("rmse"),
            Metric::Mae => f.write_str("mae"),
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    /// Reads `ndcg@20` (of new products), `all_products recall@10`, `rmse`, `mae`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no metric: write `recall@K`, `ndcg@K`, `map@K` or `precision@K` with K from 1 to {K_MAX} \
                 (of new products; with `all_products ` before it, of all), or `rmse` or `mae`"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (task, figure) = match words[..] {
            ["rmse"] => return Ok(Metric::Rmse),
            ["mae"] => return Ok(Metric::Mae),
            [figure] | ["new_products", figure] => (RankingTask::NewProducts, figure),
            ["all_products", figure] => (RankingTask::AllProducts, figure),
            _ => return Err(wrong()),
        };
        let (name, k) = figure.split_once('@').ok_or_else(wrong)?;
        let measures = [
            Measure::Recall,
            Measure::Ndcg,
            Measure::Map,
            Measure::Precision,
        ];
        let found = measures.into_iter().find(|measure| measure.name() == name);
        let k = k.parse().ok().filter(|k| (1..=K_MAX).contains(k));
        Ok(Metric::List {
            task,
            measure: found.ok_or_else(wrong)?,
            k: k.ok_or_else(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_as_people_write_them() {
        for (text, name) in [
            ("ndcg@20", "new_products ndcg@20"),
            ("new_products map@5", "new_products map@5"),
            ("all_products recall@10", "all_products recall@10"),
            ("rmse", "rmse"),
        ] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), name);
        }
        for text in ["", "ndcg", "ndcg@0", "ndcg@1001", "auc@20", "some ndcg@20"] {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
    }

    #[test]
    fn better_is_more_of_lists_and_less_of_errors() {
        let ndcg = Metric::usual(false);
        assert!(ndcg.is_better(0.2, 0.1, 0.0) && !ndcg.is_better(0.1, 0.1, 0.0));
        assert!(ndcg.is_better(0.112, 0.1, 0.1) && !ndcg.is_better(0.109, 0.1, 0.1));
        assert!(Metric::Rmse.is_better(0.8, 0.9, 0.1) && !Metric::Rmse.is_better(0.82, 0.9, 0.1));
        let metrics = [("new_products ndcg@20".to_owned(), 0.5)];
        assert_eq!(ndcg.find(&metrics), Some(0.5));
        assert_eq!(Metric::Rmse.find(&metrics), None);
    }
}
