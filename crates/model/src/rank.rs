//! The best k of a stream of products under a total order, for one user.
//!
//! **Invariant:** the result does not depend on the order or the cut of what is offered.

use std::cmp::Ordering;

/// Something to rank by; larger is better. A total order.
pub trait Score: Copy {
    /// Compares two scores.
    fn order(&self, other: &Self) -> Ordering;
}

impl Score for (u32, u32) {
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Score for (f64, u32) {
    fn order(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// A product with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<S> {
    /// The score.
    pub score: S,
    /// Hash of the original id: of two equal scores the smaller comes first.
    pub tie: u64,
    /// The product's row id; it decides where even the hashes are equal.
    pub product: u32,
    /// How many users have it in training.
    pub popularity: u32,
}

impl<S: Score> Entry<S> {
    /// `Less` where this one is the better.
    pub fn rank(&self, other: &Self) -> Ordering {
        let ties = || {
            self.tie
                .cmp(&other.tie)
                .then(self.product.cmp(&other.product))
        };
        other.score.order(&self.score).then_with(ties)
    }
}

/// The best k so far, best first.
#[derive(Clone, Debug)]
pub struct Best<S> {
    k: usize,
    entries: Vec<Entry<S>>,
}

impl<S: Score> Best<S> {
    /// None so far.
    pub fn new(k: u32) -> Self {
        Best {
            k: k as usize,
            entries: Vec::with_capacity(k as usize),
        }
    }

    /// Keeps the entry if it is among the best k.
    pub fn offer(&mut self, entry: Entry<S>) {
        if self.entries.len() == self.k {
            match self.entries.last() {
                Some(last) if entry.rank(last) == Ordering::Less => self.entries.pop(),
                _ => return,
            };
        }
        let place = self
            .entries
            .partition_point(|kept| kept.rank(&entry) == Ordering::Less);
        self.entries.insert(place, entry);
    }

    /// Best first.
    pub fn entries(&self) -> &[Entry<S>] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            scores in prop::collection::vec((0_u8..6, 0_u64..4), 0..60),
            k in 1_u32..20,
            reverse: bool,
        ) {
            let entry = |(product, &(score, tie)): (usize, &(u8, u64))| {
                Entry { score: (f64::from(score), 0), tie, product: product as u32, popularity: 0 }
            };
            let mut all: Vec<_> = scores.iter().enumerate().map(entry).collect();
            let mut best = Best::new(k);
            if reverse {
                all.reverse();
            }
            for &entry in &all {
                best.offer(entry);
            }
            all.sort_by(Entry::rank);
            all.truncate(k as usize);
            prop_assert_eq!(best.entries(), &all[..]);
        }
    }
}
