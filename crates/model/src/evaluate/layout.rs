//! Where each figure stands in the vectors of sums that tasks return.
//!
//! A vector has, for each ranking task: a 1 for a user that counts, then ranker by ranker, k by k, the measures.
//! **Invariant:** producers and readers of these vectors know positions through here only.

use crate::evaluate::RankingTask;
use crate::metrics::MEASURES;
use serde::{Deserialize, Serialize};

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
}

impl Ranker {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Ranker::Model => "model",
            Ranker::Popularity => "popularity",
            Ranker::PopularityRecent => "popularity_recent",
            Ranker::OwnCount => "own_count",
        }
    }
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
}

impl Layout {
    /// Figures of a user.
    pub fn width(&self) -> usize {
        self.tasks.len() * self.task_width()
    }

    /// Lists of a user: one a task, ranker and k.
    pub fn lists(&self) -> usize {
        self.tasks.len() * self.rankers.len() * self.ks.len()
    }

    /// The longest list.
    pub fn k_max(&self) -> u32 {
        self.ks.last().copied().unwrap_or(0)
    }

    fn task_width(&self) -> usize {
        1 + self.rankers.len() * self.ks.len() * MEASURES.len()
    }

    /// Where the count of users of a task stands.
    pub fn counted(&self, task: usize) -> usize {
        task * self.task_width()
    }

    /// Where the first measure of a list stands; the others follow in the order of [`MEASURES`].
    pub fn figures(&self, task: usize, ranker: usize, k: usize) -> usize {
        self.counted(task) + 1 + (ranker * self.ks.len() + k) * MEASURES.len()
    }

    /// The number of a list among all.
    pub fn list(&self, task: usize, ranker: usize, k: usize) -> usize {
        (task * self.rankers.len() + ranker) * self.ks.len() + k
    }

    /// The position of the count of users that belongs to a position.
    pub fn counted_of(&self, position: usize) -> usize {
        self.counted(position / self.task_width())
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
        };
        let mut seen = vec![layout.counted(0), layout.counted(1)];
        for (task, ranker, k) in (0..12).map(|i| (i / 6, i / 2 % 3, i % 2)) {
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
