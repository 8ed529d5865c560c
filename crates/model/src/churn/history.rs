//! What a user had before each of a few cuts, counted from his interactions.

use kernels::random::ln;
use serde::{Deserialize, Serialize};

/// Words of what a user had before one cut.
pub const WORDS: usize = 7;
/// Cuts: where regressions are fitted, where they are judged, and now.
pub const CUTS: usize = 3;
/// Features of a history.
pub const FEATURES: usize = 5;
/// Their names.
pub const NAMES: [&str; FEATURES] = ["recency", "frequency", "interactions", "trend", "tenure"];

/// The cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    /// The first bin behind each, rising.
    pub cuts: [u32; CUTS],
    /// Bins in which somebody who stays buys again.
    pub horizon: u32,
    /// Bins in all.
    pub bins: u32,
}

/// What a user had before a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Whole bins between the last with a purchase and the cut.
    pub recency: u32,
    /// Bins with a purchase.
    pub frequency: u32,
    /// Interactions; 0: he is not there yet.
    pub interactions: u32,
    /// Those of the last horizon before the cut.
    pub last: u32,
    /// Those of the horizon before that.
    pub before: u32,
    /// Bins from the first with a purchase to the cut.
    pub tenure: u32,
    /// Whether he buys nothing in the horizon behind the cut.
    pub churned: bool,
}

impl Moments {
    /// Words of a user at all cuts.
    pub const WORDS: usize = CUTS * WORDS;
}

impl History {
    /// As words.
    pub fn words(self) -> [u32; WORDS] {
        [
            self.recency,
            self.frequency,
            self.interactions,
            self.last,
            self.before,
            self.tenure,
            u32::from(self.churned),
        ]
    }

    /// Of words.
    ///
    /// # Panics
    /// Where there are not [`WORDS`].
    pub fn of(words: &[u32]) -> Self {
        let &[
            recency,
            frequency,
            interactions,
            last,
            before,
            tenure,
            churned,
        ] = words
        else {
            panic!("a history of {} words", words.len());
        };
        History {
            recency,
            frequency,
            interactions,
            last,
            before,
            tenure,
            churned: churned == 1,
        }
    }

    /// ln((1 + interactions of the last horizon) / (1 + those of the one before)): below 0 where he buys less and less.
    pub fn trend(self) -> f64 {
        ln(f64::from(1 + self.last)) - ln(f64::from(1 + self.before))
    }

    /// What a regression reads, in the order of [`NAMES`]: logarithms, since it is ratios that matter.
    pub fn features(self) -> [f64; FEATURES] {
        let of = |count: u32| ln(1.0 + f64::from(count));
        [
            of(self.recency),
            of(self.frequency),
            of(self.interactions),
            self.trend(),
            of(self.tenure),
        ]
    }
}

/// Counts the users of a block, row after row.
#[derive(Clone, Debug)]
pub struct Histories {
    moments: Moments,
    /// Interactions of the open row by bin.
    counts: Vec<u32>,
    open: Option<usize>,
    words: Vec<u32>,
}

impl Histories {
    /// Of so many rows.
    pub fn new(moments: Moments, rows: usize) -> Self {
        Histories {
            moments,
            counts: vec![0; moments.bins as usize],
            open: None,
            words: vec![0; rows * CUTS * WORDS],
        }
    }

    /// Bytes of so many rows.
    pub fn bytes(moments: Moments, rows: u64) -> u64 {
        4 * (rows * (CUTS * WORDS) as u64 + u64::from(moments.bins))
    }

    /// Adds an interaction; rows rise. One of a bin behind all is left out.
    pub fn add(&mut self, row: usize, bin: u32) {
        if self.open != Some(row) {
            self.close();
            self.open = Some(row);
        }
        if let Some(count) = self.counts.get_mut(bin as usize) {
            *count += 1;
        }
    }

    /// The words of all rows, those of all cuts side by side.
    pub fn finish(mut self) -> Vec<u32> {
        self.close();
        self.words
    }

    fn close(&mut self) {
        let Some(row) = self.open.take() else {
            return;
        };
        let to = &mut self.words[row * CUTS * WORDS..][..CUTS * WORDS];
        for (to, &cut) in to.chunks_exact_mut(WORDS).zip(&self.moments.cuts) {
            to.copy_from_slice(
                &at(&self.counts, cut as usize, self.moments.horizon as usize).words(),
            );
        }
        self.counts.fill(0);
    }
}

/// The history of counts by bin at a cut.
fn at(counts: &[u32], cut: usize, horizon: usize) -> History {
    let cut = cut.min(counts.len());
    let (past, future) = counts.split_at(cut);
    let bought = |&count: &u32| count > 0;
    let (Some(first), Some(last)) = (past.iter().position(bought), past.iter().rposition(bought))
    else {
        return History::default();
    };
    let sum = |counts: &[u32]| counts.iter().sum::<u32>();
    let (one, two) = (cut.saturating_sub(horizon), cut.saturating_sub(2 * horizon));
    History {
        recency: (cut - 1 - last) as u32,
        frequency: past.iter().filter(|count| bought(count)).count() as u32,
        interactions: sum(past),
        last: sum(&past[one..]),
        before: sum(&past[two..one]),
        tenure: (cut - first) as u32,
        churned: !future.iter().take(horizon).any(bought),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_counts_of_before_the_cut() {
        let moments = Moments {
            cuts: [6, 8, 10],
            horizon: 2,
            bins: 10,
        };
        let mut histories = Histories::new(moments, 4);
        // Row 0 never buys; 1 in bins 1, 2, 2, 4, 4, 4, 6; 2 in bins 7 and 9 alone; 3 in bin 0, and one behind all.
        for bin in [4, 1, 2, 6, 2, 4, 4] {
            histories.add(1, bin);
        }
        for bin in [9, 7] {
            histories.add(2, bin);
        }
        for bin in [0, 10] {
            histories.add(3, bin);
        }
        let words = histories.finish();
        let of =
            |row: usize, cut: usize| History::of(&words[(row * CUTS + cut) * WORDS..][..WORDS]);
        assert_eq!(of(0, 0), History::default());
        let early = History {
            recency: 1,
            frequency: 3,
            interactions: 6,
            last: 3,
            before: 2,
            tenure: 5,
            churned: false,
        };
        assert_eq!(of(1, 0), early);
        assert_eq!(History::of(&early.words()), early);
        let late = of(1, 1);
        assert_eq!((late.recency, late.last, late.before), (1, 1, 3));
        assert!(late.churned && late.tenure == 7);
        // What comes behind a cut is not in it.
        assert_eq!(of(2, 0), History::default());
        assert_eq!((of(2, 1).recency, of(2, 1).churned), (0, false));
        assert_eq!((of(3, 2).recency, of(3, 2).interactions), (9, 1));
        let [recency, frequency, _, trend, tenure] = early.features();
        let expected = [
            2.0_f64.ln(),
            4.0_f64.ln(),
            (4.0_f64 / 3.0).ln(),
            6.0_f64.ln(),
        ];
        for (found, expected) in [recency, frequency, trend, tenure].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14);
        }
    }
}
