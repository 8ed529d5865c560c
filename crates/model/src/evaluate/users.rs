//! Ranks products for some users of a block, stretch of products by stretch, and measures the lists.
//!
//! **Invariant:** a user's figures depend on his rows and on all products, never on who is ranked beside him, on
//! how products are cut into stretches or on threads.

use crate::evaluate::layout::{Layout, Ranker};
use crate::evaluate::op::ProductRow;
use crate::evaluate::{OwnWeight, RankingTask};
use crate::metrics::{Listed, MEASURES, measure};
use crate::popularity::Popular;
use crate::rank::{Best, Entry};
use crate::score::{self, Stretch};
use rayon::prelude::*;
use tensor::csr::{CsrRef, Values};

/// A user under evaluation: what he had, what is held out, his lists so far.
#[derive(Clone, Debug)]
pub struct Person {
    hash: u64,
    own: Vec<(u32, f64)>,
    seen: Vec<u32>,
    relevant: Vec<u32>,
    unseen: Vec<u32>,
    best: Vec<Best<f32>>,
    own_best: Best<(f64, u32)>,
}

impl Person {
    /// From a row of each partition; columns are rising, equal ones are neighbours.
    pub fn new(
        hash: u64,
        train: &CsrRef<'_>,
        mask: Option<&CsrRef<'_>>,
        held_out: &CsrRef<'_>,
        row: usize,
        own: OwnWeight,
        layout: &Layout,
    ) -> Self {
        let own = counts(train, row, own);
        let mut seen: Vec<u32> = own.iter().map(|&(product, _)| product).collect();
        if let Some(mask) = mask {
            seen.extend(&mask.columns()[mask.row(row)]);
            seen.sort_unstable();
            seen.dedup();
        }
        let mut relevant = held_out.columns()[held_out.row(row)].to_vec();
        relevant.dedup();
        let unseen = relevant.iter().copied().filter(|product| seen.binary_search(product).is_err()).collect();
        let k = layout.k_max();
        let best = vec![Best::new(k); layout.tasks.len()];
        Person { hash, own, seen, relevant, unseen, best, own_best: Best::new(k) }
    }

    /// Products that some ranking may have to leave out.
    pub fn seen_len(&self) -> usize {
        self.seen.len()
    }

    /// The hash of the original id.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    fn truth(&self, task: RankingTask) -> &[u32] {
        match task {
            RankingTask::NewProducts => &self.unseen,
            RankingTask::AllProducts => &self.relevant,
        }
    }

    fn masked(&self, task: RankingTask) -> &[u32] {
        match task {
            RankingTask::NewProducts => &self.seen,
            RankingTask::AllProducts => &[],
        }
    }

    /// Whether he has anything to be measured on in any of the tasks.
    pub fn counts_in_any(&self, layout: &Layout) -> bool {
        layout.tasks.iter().any(|&task| self.counts_in(task))
    }

    /// Whether he has training and relevant products.
    pub fn counts_in(&self, task: RankingTask) -> bool {
        !self.own.is_empty() && !self.truth(task).is_empty()
    }

    /// Whether he has something held out but was not in training.
    pub fn lacks_training(&self, task: RankingTask) -> bool {
        self.own.is_empty() && !self.truth(task).is_empty()
    }

    /// Whether he was in training and has nothing relevant.
    pub fn lacks_relevant(&self, task: RankingTask) -> bool {
        !self.own.is_empty() && self.truth(task).is_empty()
    }

    /// Adds his own products among those of a stretch to his own-count list.
    fn absorb_own(&mut self, first: u32, products: &[ProductRow]) {
        let end = u64::from(first) + products.len() as u64;
        let start = self.own.partition_point(|&(product, _)| product < first);
        for &(product, count) in self.own[start..].iter().take_while(|own| u64::from(own.0) < end) {
            let row = products[(product - first) as usize];
            let score = (count, row.popularity);
            self.own_best.offer(Entry { score, tie: row.tie, product, popularity: row.popularity });
        }
    }
}

/// How often a user had each of his products.
fn counts(train: &CsrRef<'_>, row: usize, weight: OwnWeight) -> Vec<(u32, f64)> {
    let mut counts: Vec<(u32, f64)> = Vec::new();
    for position in train.row(row) {
        let product = train.columns()[position];
        let count = match (weight, train.values()) {
            (OwnWeight::Interactions, _) => 1.0,
            (OwnWeight::Values, Values::All(value)) => f64::from(value),
            (OwnWeight::Values, Values::Each(values)) => f64::from(values[position]),
        };
        match counts.last_mut() {
            Some(last) if last.0 == product => last.1 += count,
            _ => counts.push((product, count)),
        }
    }
    counts
}

/// The baselines that need every product once, whoever the user.
#[derive(Clone, Debug)]
pub struct Baselines {
    /// Over all of training.
    pub popular: Popular,
    /// Over its last bins.
    pub recent: Popular,
}

impl Baselines {
    /// Empty, for masks of at most `seen_max` products.
    pub fn new(layout: &Layout, seen_max: usize) -> Self {
        let wanted = if layout.rankers.len() > 1 { layout.k_max() as usize + seen_max } else { 0 };
        Baselines { popular: Popular::new(wanted), recent: Popular::new(wanted) }
    }

    /// Adds a stretch of products.
    pub fn absorb(&mut self, layout: &Layout, first: u32, products: &[ProductRow]) {
        if layout.rankers.contains(&Ranker::Popularity) {
            self.popular.absorb(first, products, |row| (row.popularity, 0));
        }
        if layout.rankers.contains(&Ranker::PopularityRecent) {
            self.recent.absorb(first, products, |row| (row.recent, row.popularity));
        }
    }

    /// Sorts, once all products were absorbed.
    pub fn close(&mut self) {
        self.popular.close();
        self.recent.close();
    }
}

/// Scores a stretch of products for all persons (`users` holds a row of factors each) and keeps the best.
pub fn absorb(layout: &Layout, people: &mut [Person], users: &[f32], stretch: &Stretch<'_>) {
    let width = stretch.width;
    let own = layout.rankers.contains(&Ranker::OwnCount);
    people.par_chunks_mut(score::USERS).zip(users.par_chunks(score::USERS * width)).for_each(|(people, users)| {
        if own {
            people.iter_mut().for_each(|person| person.absorb_own(stretch.first, stretch.products));
        }
        for (task, ranking) in layout.tasks.iter().enumerate() {
            let (masks, mut best): (Vec<&[u32]>, Vec<&mut Best<f32>>) = people
                .iter_mut()
                .map(|person| {
                    let masked: &[u32] = match ranking {
                        RankingTask::NewProducts => &person.seen,
                        RankingTask::AllProducts => &[],
                    };
                    (masked, &mut person.best[task])
                })
                .unzip();
            score::absorb(users, &masks, stretch, &mut best);
        }
    });
}

/// What became of some persons: their figures and the lists behind them.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The hash of each counted person.
    pub hashes: Vec<u64>,
    /// One row of [`Layout::width`] figures each.
    pub figures: Vec<f64>,
    /// The longest lists, `[task][ranker]` of each person one after the other, empty where he does not count.
    pub lists: Vec<Vec<Listed>>,
}

/// Measures the lists of all persons, once all products were absorbed.
pub fn measure_all(layout: &Layout, people: &[Person], baselines: &Baselines) -> Measured {
    let one = |person: &Person| {
        let mut figures = vec![0.0; layout.width()];
        let mut lists = vec![Vec::new(); layout.tasks.len() * layout.rankers.len()];
        for (task, &ranking) in layout.tasks.iter().enumerate().filter(|(_, ranking)| person.counts_in(**ranking)) {
            figures[layout.counted(task)] = 1.0;
            for (ranker, &by) in layout.rankers.iter().enumerate() {
                let list = list_of(layout, person, baselines, task, ranking, by);
                for (place, &k) in layout.ks.iter().enumerate() {
                    let first = layout.figures(task, ranker, place);
                    let found = measure(&list, person.truth(ranking), k);
                    figures[first..first + MEASURES.len()].copy_from_slice(&found);
                }
                lists[task * layout.rankers.len() + ranker] = list;
            }
        }
        (figures, lists)
    };
    let each: Vec<_> = people.par_iter().map(one).collect();
    let mut measured = Measured { hashes: people.iter().map(Person::hash).collect(), ..Measured::default() };
    for (figures, lists) in each {
        measured.figures.extend(figures);
        measured.lists.extend(lists);
    }
    measured
}

fn list_of(
    layout: &Layout,
    person: &Person,
    baselines: &Baselines,
    task: usize,
    ranking: RankingTask,
    by: Ranker,
) -> Vec<Listed> {
    let k = layout.k_max();
    let masked = person.masked(ranking);
    let mut list = Vec::with_capacity(k as usize);
    match by {
        Ranker::Model => list.extend(person.best[task].entries().iter().map(listed)),
        Ranker::Popularity => baselines.popular.fill(masked, k, &mut list),
        Ranker::PopularityRecent => baselines.recent.fill(masked, k, &mut list),
        Ranker::OwnCount => {
            if ranking == RankingTask::AllProducts {
                list.extend(person.own_best.entries().iter().map(listed));
            }
            // His own products stand at the top already, or are masked.
            let own: Vec<u32> = person.own.iter().map(|&(product, _)| product).collect();
            baselines.popular.fill(if masked.is_empty() { &own } else { masked }, k, &mut list);
        }
    }
    list
}

fn listed<S>(entry: &Entry<S>) -> Listed {
    Listed { product: entry.product, popularity: entry.popularity }
}
