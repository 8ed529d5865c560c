//! Measures of one ranked list and of one prediction, as pure functions.
//!
//! **Invariant:** nothing here knows where a list came from; definitions are those of DESIGN 5.6: binary gain,
//! ideal and average precision over min(k, relevant).

use serde::{Deserialize, Serialize};

/// The measures of a list, in the order in which every vector of sums holds them.
pub const MEASURES: [Measure; 5] = [
    Measure::Recall,
    Measure::Ndcg,
    Measure::Map,
    Measure::Precision,
    Measure::MeanPopularity,
];

/// What is measured of a list cut at k.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Measure {
    /// Hits over the number of relevant products.
    Recall,
    /// Discounted gain over that of an ideal list.
    Ndcg,
    /// Average precision.
    Map,
    /// Hits over k, however short the list.
    Precision,
    /// The mean over the list of the number of training users of its products.
    MeanPopularity,
}

impl Measure {
    /// The word used in JSON, before `@k`.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Recall => "recall",
            Measure::Ndcg => "ndcg",
            Measure::Map => "map",
            Measure::Precision => "precision",
            Measure::MeanPopularity => "mean_popularity",
        }
    }

    /// The key of a figure: `recall@20`.
    pub fn at(self, k: u32) -> String {
        format!("{}@{k}", self.name())
    }
}

/// A product in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its row id.
    pub product: u32,
    /// How many users have it in training.
    pub popularity: u32,
}

/// All measures of the first `k` of `list`, in the order of [`MEASURES`].
///
/// `relevant` is rising, without duplicates and not empty.
pub fn measure(list: &[Listed], relevant: &[u32], k: u32) -> [f64; MEASURES.len()] {
    let k = k as usize;
    let list = &list[..list.len().min(k)];
    let (mut hits, mut gain, mut precision_sum, mut popularity) = (0_u32, 0.0, 0.0, 0.0);
    for (place, listed) in list.iter().enumerate() {
        popularity += f64::from(listed.popularity);
        if relevant.binary_search(&listed.product).is_ok() {
            hits += 1;
            gain += discount(place);
            precision_sum += f64::from(hits) / (place + 1) as f64;
        }
    }
    let reachable = k.min(relevant.len());
    let ideal: f64 = (0..reachable).map(discount).sum();
    [
        f64::from(hits) / relevant.len() as f64,
        gain / ideal,
        precision_sum / reachable as f64,
        f64::from(hits) / k as f64,
        popularity / list.len().max(1) as f64,
    ]
}

/// 1 / log2(rank + 1) with ranks from 1.
fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(products: &[u32]) -> Vec<Listed> {
        products
            .iter()
            .map(|&product| Listed {
                product,
                popularity: product * 10,
            })
            .collect()
    }

    #[test]
    fn figures_worked_by_hand() {
        // Hits at ranks 1 and 3 of four relevant ones, k = 4.
        let [recall, ndcg, map, precision, popularity] =
            measure(&list(&[7, 1, 3, 2]), &[3, 5, 7, 9], 4);
        assert_eq!((recall, precision, popularity), (0.5, 0.5, 32.5));
        assert!((map - (1.0 + 2.0 / 3.0) / 4.0).abs() < 1e-15);
        let ideal = 1.0 + 1.0 / 3_f64.log2() + 0.5 + 1.0 / 5_f64.log2();
        assert!((ndcg - 1.5 / ideal).abs() < 1e-15);
    }

    #[test]
    fn fewer_relevant_than_k_can_still_be_perfect() {
        let [recall, ndcg, map, precision, _] = measure(&list(&[2, 4, 1]), &[2, 4], 3);
        assert_eq!((recall, ndcg, map), (1.0, 1.0, 1.0));
        assert!((precision - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_short_or_empty_list_is_cut_nowhere() {
        assert_eq!(measure(&[], &[1], 5), [0.0; 5]);
        let [recall, _, _, precision, _] = measure(&list(&[1]), &[1, 2], 5);
        assert_eq!((recall, precision), (0.5, 0.2));
    }

    proptest! {
        #[test]
        fn every_measure_equals_its_textbook_sum(
            order in Just((0_u32..30).collect::<Vec<_>>()).prop_shuffle(),
            relevant in prop::collection::btree_set(0_u32..40, 1..20),
            k in 1_u32..35,
        ) {
            let hit: Vec<bool> = order.iter().take(k as usize).map(|p| relevant.contains(p)).collect();
            let hits = hit.iter().filter(|&&h| h).count() as f64;
            let dcg: f64 = hit.iter().enumerate().filter(|(_, h)| **h).map(|(i, _)| 1.0 / (i as f64 + 2.0).log2()).sum();
            let reach = relevant.len().min(k as usize);
            let idcg: f64 = (0..reach).map(|i| 1.0 / (i as f64 + 2.0).log2()).sum();
            let map: f64 = (0..hit.len())
                .filter(|&i| hit[i])
                .map(|i| hit[..=i].iter().filter(|&&h| h).count() as f64 / (i + 1) as f64)
                .sum::<f64>() / reach as f64;
            let sorted: Vec<u32> = relevant.iter().copied().collect();
            let found = measure(&list(&order), &sorted, k);
            let expected = [hits / relevant.len() as f64, dcg / idcg, map, hits / f64::from(k)];
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((found - expected).abs() < 1e-12);
            }
        }
    }
}
