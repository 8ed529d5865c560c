//! How well probabilities order and foretell labels: the area under the curve, the lift of the first tenth, and the squared error.

use serde::{Deserialize, Serialize};

/// The share of users that the lift is of.
const FIRST: f64 = 0.1;

/// The figures of some probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The share of pairs of one who churned and one who did not in which the first has the higher probability; a half of equal ones.
    pub auc: f64,
    /// The share of churned among the tenth with the highest probabilities, over that of all.
    pub lift: f64,
    /// The mean squared difference of probability and label (Brier).
    pub brier: f64,
}

/// Users in the order of their probabilities, the highest first.
#[derive(Clone, Debug)]
pub struct Ordered<'a> {
    probabilities: &'a [f64],
    labels: &'a [bool],
    places: Vec<u32>,
}

impl<'a> Ordered<'a> {
    /// Orders them.
    ///
    /// # Panics
    /// Where there is not a probability a label.
    pub fn of(probabilities: &'a [f64], labels: &'a [bool]) -> Self {
        assert_eq!(probabilities.len(), labels.len(), "one each");
        let mut places: Vec<u32> = (0..labels.len() as u32).collect();
        let of = |place: u32| probabilities[place as usize];
        places.sort_by(|&x, &y| of(y).total_cmp(&of(x)).then(x.cmp(&y)));
        Ordered {
            probabilities,
            labels,
            places,
        }
    }

    /// The figures where each user counts so often; NaN where all or none have churned.
    pub fn quality(&self, times: &[u32]) -> Quality {
        let (mut all, mut churned, mut squares) = (0.0, 0.0, 0.0);
        for ((p, &label), &times) in self.probabilities.iter().zip(self.labels).zip(times) {
            let (times, label) = (f64::from(times), f64::from(u8::from(label)));
            all += times;
            churned += times * label;
            squares += times * (p - label) * (p - label);
        }
        let first = FIRST * all;
        let (mut pairs, mut above, mut taken, mut hits) = (0.0, 0.0, 0.0, 0.0);
        let same =
            |x: &u32, y: &u32| self.probabilities[*x as usize] == self.probabilities[*y as usize];
        for group in self.places.chunk_by(same) {
            let (mut of_group, mut of_churned) = (0.0, 0.0);
            for &place in group {
                let times = f64::from(times[place as usize]);
                of_group += times;
                of_churned += times * f64::from(u8::from(self.labels[place as usize]));
            }
            // Of those who stay, each has the churned of higher probability above him, and half of those of the same.
            pairs += (of_group - of_churned) * (above + 0.5 * of_churned);
            above += of_churned;
            // A tie at the end of the tenth counts by its share.
            let take = (first - taken).clamp(0.0, of_group);
            if take > 0.0 {
                hits += of_churned * take / of_group;
                taken += take;
            }
        }
        Quality {
            auc: pairs / (churned * (all - churned)),
            lift: hits / first / (churned / all),
            brier: squares / all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    #[test]
    fn figures_by_hand() {
        // Churned at 0.9, 0.6, 0.6; staying at 0.8, 0.6, 0.1.
        let probabilities = [0.6, 0.9, 0.1, 0.6, 0.8, 0.6];
        let labels = [true, true, false, false, false, true];
        let found = Ordered::of(&probabilities, &labels).quality(&[1; 6]);
        // Pairs of nine: 0.9 above all three; each 0.6 above 0.1, level with 0.6, below 0.8.
        assert!((found.auc - (3.0 + 2.0 * 1.5) / 9.0).abs() < 1e-15);
        // The first 0.6 of a user is the one at 0.9, who churned: the whole against a half.
        assert!((found.lift - 2.0).abs() < 1e-15);
        let brier = (0.01 + 2.0 * 0.16 + 0.64 + 0.36 + 0.01) / 6.0;
        assert!((found.brier - brier).abs() < 1e-15);
    }

    #[test]
    fn a_tie_at_the_end_of_the_tenth_counts_by_its_share() {
        // Two users are the tenth of twenty: one at 0.9 who stays, one of the four at 0.5, of whom three churned; two more below.
        let mut probabilities = vec![0.1; 20];
        let mut labels = vec![false; 20];
        probabilities[7] = 0.9;
        for place in 10..14 {
            probabilities[place] = 0.5;
            labels[place] = place < 13;
        }
        labels[0] = true;
        labels[1] = true;
        let found = Ordered::of(&probabilities, &labels).quality(&[1; 20]);
        assert!((found.lift - (0.75 / 2.0) / 0.25).abs() < 1e-15);
    }

    #[test]
    fn weights_are_copies_and_the_area_is_that_of_all_pairs() {
        let of = |row: u32| {
            let random = Random::new(3, 0x77, 0, row);
            let level = (random.uniform_f64(0) * 8.0).floor() / 8.0;
            (
                level,
                random.uniform_f64(2) < 0.2 + 0.6 * level,
                random.word(6) % 3,
            )
        };
        let users: Vec<(f64, bool, u32)> = (0..90).map(of).collect();
        let probabilities: Vec<f64> = users.iter().map(|user| user.0).collect();
        let labels: Vec<bool> = users.iter().map(|user| user.1).collect();
        let times: Vec<u32> = users.iter().map(|user| user.2).collect();
        let found = Ordered::of(&probabilities, &labels).quality(&times);
        let copies: Vec<(f64, bool)> = users
            .iter()
            .flat_map(|user| std::iter::repeat_n((user.0, user.1), user.2 as usize))
            .collect();
        let (mut pairs, mut won) = (0.0, 0.0);
        for one in copies.iter().filter(|copy| copy.1) {
            for other in copies.iter().filter(|copy| !copy.1) {
                pairs += 1.0;
                won += if one.0 > other.0 {
                    1.0
                } else if one.0 == other.0 {
                    0.5
                } else {
                    0.0
                };
            }
        }
        assert!((found.auc - won / pairs).abs() < 1e-12);
        let alone = Ordered::of(&probabilities, &[false; 90]).quality(&[1; 90]);
        assert!(alone.auc.is_nan() && alone.lift.is_nan());
    }
}
