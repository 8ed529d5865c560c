//! Where each figure stands in the vectors of sums that tasks return.
//!
//! A vector has, for each ranking task: a 1 for a user that counts, then ranker by ranker, k by k, the measures. That is a
//! section. Behind those of the tasks there is one more for each task and slice.
//! **Invariant:** producers and readers of these vectors know positions through here only.

use crate::evaluate::RankingTask;
use crate::metrics::{MEASURES, Measure};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Who made a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ranker {
    /// The model under evaluation.
    Model,
    /// Products by the number of their users in training.
    Popularity,
    /// Products by the number of their users in the last bins of training.
    PopularityRecent,
    /// The user's own products by how often he had them, ties by popularity; then the others by popularity. Where
    /// his own products are masked this is popularity itself.
    OwnCount,
    /// The same with counts that fade with age.
    OwnRecent,
}

impl Ranker {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Ranker::Model => "model",
            Ranker::Popularity => "popularity",
            Ranker::PopularityRecent => "popularity_recent",
            Ranker::OwnCount => "own_count",
            Ranker::OwnRecent => "own_recent",
        }
    }
}

/// What a slice divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sliced {
    /// Users, by the number of their products in training: others do not count.
    Users,
    /// Relevant products, by the number of their users in training: others are not asked for.
    Products,
}

/// A part of what is measured, that is measured by itself too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The word used in JSON.
    pub name: String,
    /// What it divides.
    pub of: Sliced,
    /// The numbers that are in.
    pub range: Range<u32>,
}

/// Which figures there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Ranking tasks in order.
    pub tasks: Vec<RankingTask>,
    /// Rankers in order, the model first.
    pub rankers: Vec<Ranker>,
    /// Lengths of lists, rising.
    pub ks: Vec<u32>,
    /// Slices in order.
    pub slices: Vec<Slice>,
    /// Whether users count who are not in training.
    pub anyone: bool,
}

impl Layout {
    /// Figures of a user.
    pub fn width(&self) -> usize {
        self.tasks.len() * (1 + self.slices.len()) * self.section_width()
    }

    /// Lists of a user: one a task, ranker and k.
    pub fn lists(&self) -> usize {
        self.tasks.len() * self.rankers.len() * self.ks.len()
    }

    /// The longest list.
    pub fn k_max(&self) -> u32 {
        self.ks.last().copied().unwrap_or(0)
    }

    /// The section of a slice of a task; that of the task itself has its number.
    pub fn section(&self, task: usize, slice: usize) -> usize {
        self.tasks.len() + task * self.slices.len() + slice
    }

    fn section_width(&self) -> usize {
        1 + self.rankers.len() * self.ks.len() * MEASURES.len()
    }

    /// Where the count of users of a section stands.
    pub fn counted(&self, section: usize) -> usize {
        section * self.section_width()
    }

    /// Where the first measure of a list stands; the others follow in the order of [`MEASURES`].
    pub fn figures(&self, section: usize, ranker: usize, k: usize) -> usize {
        self.counted(section) + 1 + (ranker * self.ks.len() + k) * MEASURES.len()
    }

    /// Where a measure at k stands among the figures of a list of all ks.
    pub fn place(&self, (measure, k): (Measure, u32)) -> Option<u32> {
        let k = self.ks.iter().position(|&of| of == k)?;
        let measure = MEASURES.iter().position(|&of| of == measure)?;
        Some((k * MEASURES.len() + measure) as u32)
    }

    /// The number of a list among all.
    pub fn list(&self, task: usize, ranker: usize, k: usize) -> usize {
        (task * self.rankers.len() + ranker) * self.ks.len() + k
    }

    /// The position of the count of users that belongs to a position.
    pub fn counted_of(&self, position: usize) -> usize {
        self.counted(position / self.section_width())
    }

    /// The same figure of the model, for a position of any ranker.
    pub fn model_of(&self, position: usize) -> usize {
        let counted = self.counted_of(position);
        let per_ranker = self.ks.len() * MEASURES.len();
        if position == counted {
            position
        } else {
            counted + 1 + (position - counted - 1) % per_ranker
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_dense_and_know_their_task_and_the_model() {
        let layout = Layout {
            tasks: vec![RankingTask::NewProducts, RankingTask::AllProducts],
            rankers: vec![Ranker::Model, Ranker::Popularity, Ranker::OwnCount],
            ks: vec![5, 10],
            slices: vec![Slice {
                name: "few".to_owned(),
                of: Sliced::Users,
                range: 0..5,
            }],
            anyone: false,
        };
        assert_eq!((layout.section(0, 0), layout.section(1, 0)), (2, 3));
        let mut seen: Vec<usize> = (0..4).map(|section| layout.counted(section)).collect();
        for (task, ranker, k) in (0..24).map(|i| (i / 6, i / 2 % 3, i % 2)) {
            let first = layout.figures(task, ranker, k);
            assert_eq!(layout.list(task, ranker, k), task * 6 + ranker * 2 + k);
            for measure in 0..MEASURES.len() {
                assert_eq!(layout.counted_of(first + measure), layout.counted(task));
                assert_eq!(
                    layout.model_of(first + measure),
                    layout.figures(task, 0, k) + measure
                );
                seen.push(first + measure);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..layout.width()).collect::<Vec<_>>());
    }
}
