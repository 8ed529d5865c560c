//! Ranks products for some users of a block, stretch of products by stretch, and measures the lists.
//!
//! **Invariant:** a user's figures depend on his rows and on all products, never on who is ranked beside him, on
//! how products are cut into stretches or on threads.

use crate::evaluate::layout::{Layout, Ranker, Slice, Sliced};
use crate::evaluate::op::ProductRow;
use crate::evaluate::{OwnWeight, RankingTask};
use crate::metrics::{Listed, MEASURES, measure};
use crate::popularity::Popular;
use crate::rank::{Best, Entry};
use crate::score::{Packed, Stretch, Users};
use kernels::Simd;
use kernels::top::{self, Ranked};
use rayon::prelude::*;
use tensor::csr::{CsrRef, Values};

/// A user under evaluation: what he had, what is held out, his lists so far.
#[derive(Clone, Debug)]
pub struct Person {
    hash: u64,
    anyone: bool,
    own: Vec<(u32, f64)>,
    faded: Vec<(u32, f64)>,
    seen: Vec<u32>,
    relevant: Vec<u32>,
    unseen: Vec<u32>,
    own_best: Best<(f64, u32)>,
    faded_best: Best<(f64, u32)>,
}

impl Person {
    /// From a row of each partition; columns are rising, equal ones are neighbours. `faded` are those of training with
    /// values that fade with age.
    #[allow(
        clippy::too_many_arguments,
        reason = "one row of each partition of a user"
    )]
    pub fn new(
        hash: u64,
        train: &CsrRef<'_>,
        mask: Option<&CsrRef<'_>>,
        faded: Option<&CsrRef<'_>>,
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
        let unseen = relevant
            .iter()
            .copied()
            .filter(|product| seen.binary_search(product).is_err())
            .collect();
        Person {
            hash,
            anyone: layout.anyone,
            own,
            faded: faded.map_or_else(Vec::new, |faded| counts(faded, row, OwnWeight::Values)),
            seen,
            relevant,
            unseen,
            own_best: Best::new(layout.k_max()),
            faded_best: Best::new(layout.k_max()),
        }
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

    /// Whether he is in training or need not be.
    fn is_known(&self) -> bool {
        self.anyone || !self.own.is_empty()
    }

    /// Whether he has training, unless anyone counts, and relevant products.
    pub fn counts_in(&self, task: RankingTask) -> bool {
        self.is_known() && !self.truth(task).is_empty()
    }

    /// Whether he has something held out but was not in training.
    pub fn lacks_training(&self, task: RankingTask) -> bool {
        !self.is_known() && !self.truth(task).is_empty()
    }

    /// Whether he was in training and has nothing relevant.
    pub fn lacks_relevant(&self, task: RankingTask) -> bool {
        !self.own.is_empty() && self.truth(task).is_empty()
    }

    /// Adds his own products among those of a stretch to his lists by counts.
    fn absorb_own(&mut self, first: u32, products: &[ProductRow]) {
        offer_own(&self.own, &mut self.own_best, first, products);
        offer_own(&self.faded, &mut self.faded_best, first, products);
    }

    /// The part of what is relevant that counts in a slice; `None` where he does not count in it. `popularity` tells that of
    /// relevant products.
    fn sliced(
        &self,
        slice: &Slice,
        truth: &[u32],
        popularity: impl Fn(u32) -> u32,
    ) -> Option<Vec<u32>> {
        match slice.of {
            Sliced::Users => {
                let had = self.own.len() as u32;
                slice.range.contains(&had).then(|| truth.to_vec())
            }
            Sliced::Products => {
                let within = |product: &u32| slice.range.contains(&popularity(*product));
                let truth: Vec<u32> = truth.iter().copied().filter(within).collect();
                Some(truth).filter(|truth| !truth.is_empty())
            }
        }
    }
}

/// Offers a user's own products among those of a stretch, by their counts.
fn offer_own(own: &[(u32, f64)], best: &mut Best<(f64, u32)>, first: u32, products: &[ProductRow]) {
    let end = u64::from(first) + products.len() as u64;
    let start = own.partition_point(|&(product, _)| product < first);
    for &(product, count) in own[start..].iter().take_while(|own| u64::from(own.0) < end) {
        let row = products[(product - first) as usize];
        best.offer(Entry {
            score: (count, row.popularity),
            tie: row.tie,
            product,
            popularity: row.popularity,
        });
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
        let wanted = if layout.rankers.len() > 1 {
            layout.k_max() as usize + seen_max
        } else {
            0
        };
        Baselines {
            popular: Popular::new(wanted),
            recent: Popular::new(wanted),
        }
    }

    /// Adds a stretch of products.
    pub fn absorb(&mut self, layout: &Layout, first: u32, products: &[ProductRow]) {
        if layout.rankers.contains(&Ranker::Popularity) {
            self.popular
                .absorb(first, products, |row| (row.popularity, 0));
        }
        if layout.rankers.contains(&Ranker::PopularityRecent) {
            self.recent
                .absorb(first, products, |row| (row.recent, row.popularity));
        }
    }

    /// Sorts, once all products were absorbed.
    pub fn close(&mut self) {
        self.popular.close();
        self.recent.close();
    }
}

/// Persons that are ranked together, with their factors and the best products so far.
#[derive(Clone, Debug)]
pub struct Group {
    people: Vec<Person>,
    /// For each task, the k best of each person.
    best: Vec<Vec<Ranked>>,
    /// Of each person, the popularity of the products among his best.
    popularity: Vec<Vec<(u32, u32)>>,
}

impl Group {
    /// Of persons who count in at least one task.
    pub fn new(layout: &Layout, people: Vec<Person>) -> Self {
        let places = people.len() * layout.k_max() as usize;
        let best = vec![vec![Ranked::NONE; places]; layout.tasks.len()];
        let popularity = vec![Vec::new(); people.len()];
        Group {
            people,
            best,
            popularity,
        }
    }

    /// Scores a stretch of products for all persons and keeps the best. `users` holds a row of factors each, already at
    /// the time that scores; stretches come by rising row ids.
    pub fn absorb(
        &mut self,
        layout: &Layout,
        simd: Simd,
        users: Users<'_>,
        stretch: &Stretch<'_>,
        packed: &mut Packed,
    ) {
        let k = layout.k_max() as usize;
        for part in stretch.parts() {
            packed.fill(simd, &part);
            for (task, ranking) in layout.tasks.iter().enumerate() {
                let masks: Vec<&[u32]> = self
                    .people
                    .iter()
                    .map(|person| person.masked(*ranking))
                    .collect();
                packed.offer(simd, users, &masks, k, &mut self.best[task]);
            }
        }
        let own = layout.rankers.contains(&Ranker::OwnCount);
        let relevant = layout
            .slices
            .iter()
            .any(|slice| slice.of == Sliced::Products);
        let (first, products) = (stretch.first, stretch.products);
        let best = &self.best;
        let each = self
            .people
            .par_iter_mut()
            .zip(&mut self.popularity)
            .enumerate();
        each.with_min_len(64)
            .for_each(|(place, (person, popularity))| {
                if own {
                    person.absorb_own(first, products);
                }
                let listed = best
                    .iter()
                    .flat_map(|best| &best[place * k..(place + 1) * k])
                    .filter(|ranked| ranked.is_some())
                    .map(|ranked| ranked.row);
                let relevant = person.relevant.iter().copied().filter(|_| relevant);
                remember(listed.chain(relevant), first, products, popularity);
            });
    }

    /// Sorts the lists, once all products were absorbed, and measures them.
    pub fn measure(mut self, layout: &Layout, baselines: &Baselines) -> Measured {
        let k = layout.k_max() as usize;
        for best in &mut self.best {
            best.par_chunks_mut(k).with_min_len(64).for_each(|places| {
                top::finish(places);
            });
        }
        measure_all(layout, &self, baselines)
    }
}

/// Keeps the popularity of these products, adding those of the stretch.
fn remember(
    wanted: impl Iterator<Item = u32>,
    first: u32,
    products: &[ProductRow],
    known: &mut Vec<(u32, u32)>,
) {
    let popularity = |row: u32| {
        let here = row
            .checked_sub(first)
            .and_then(|place| products.get(place as usize));
        let before = || {
            known
                .binary_search_by_key(&row, |&(row, _)| row)
                .map_or(0, |place| known[place].1)
        };
        here.map_or_else(before, |product| product.popularity)
    };
    let mut kept: Vec<(u32, u32)> = wanted.map(|row| (row, popularity(row))).collect();
    kept.sort_unstable();
    kept.dedup();
    *known = kept;
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

fn measure_all(layout: &Layout, group: &Group, baselines: &Baselines) -> Measured {
    let one = |(place, person): (usize, &Person)| {
        let mut figures = vec![0.0; layout.width()];
        let mut lists = vec![Vec::new(); layout.tasks.len() * layout.rankers.len()];
        for (task, &ranking) in layout
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, ranking)| person.counts_in(**ranking))
        {
            figures[layout.counted(task)] = 1.0;
            let slices: Vec<(usize, Vec<u32>)> = layout
                .slices
                .iter()
                .enumerate()
                .filter_map(|(slice, of)| {
                    let known = |product| group.popularity(place, product);
                    let truth = person.sliced(of, person.truth(ranking), known)?;
                    Some((layout.section(task, slice), truth))
                })
                .collect();
            for (section, _) in &slices {
                figures[layout.counted(*section)] = 1.0;
            }
            for (ranker, &by) in layout.rankers.iter().enumerate() {
                let list = match by {
                    Ranker::Model => group.list(layout, place, task),
                    _ => baselines.list(layout, person, ranking, by),
                };
                for (place, &k) in layout.ks.iter().enumerate() {
                    let first = layout.figures(task, ranker, place);
                    let found = measure(&list, person.truth(ranking), k);
                    figures[first..first + MEASURES.len()].copy_from_slice(&found);
                    for (section, truth) in &slices {
                        let first = layout.figures(*section, ranker, place);
                        let found = measure(&list, truth, k);
                        figures[first..first + MEASURES.len()].copy_from_slice(&found);
                    }
                }
                lists[task * layout.rankers.len() + ranker] = list;
            }
        }
        (figures, lists)
    };
    let each: Vec<_> = group.people.par_iter().enumerate().map(one).collect();
    let mut measured = Measured {
        hashes: group.people.iter().map(Person::hash).collect(),
        ..Measured::default()
    };
    for (figures, lists) in each {
        measured.figures.extend(figures);
        measured.lists.extend(lists);
    }
    measured
}

impl Group {
    /// The popularity of a product that is listed for a person or, where slices ask for it, relevant to him; 0 where nobody
    /// had it.
    fn popularity(&self, place: usize, product: u32) -> u32 {
        let known = &self.popularity[place];
        let found = known.binary_search_by_key(&product, |&(row, _)| row);
        found.map_or(0, |place| known[place].1)
    }

    fn list(&self, layout: &Layout, place: usize, task: usize) -> Vec<Listed> {
        let k = layout.k_max() as usize;
        let listed = |ranked: &Ranked| Listed {
            product: ranked.row,
            popularity: self.popularity(place, ranked.row),
        };
        let places = &self.best[task][place * k..(place + 1) * k];
        places
            .iter()
            .take_while(|ranked| ranked.is_some())
            .map(listed)
            .collect()
    }
}

impl Baselines {
    fn list(
        &self,
        layout: &Layout,
        person: &Person,
        ranking: RankingTask,
        by: Ranker,
    ) -> Vec<Listed> {
        let k = layout.k_max();
        let masked = person.masked(ranking);
        let mut list = Vec::with_capacity(k as usize);
        match by {
            Ranker::Model => {}
            Ranker::Popularity => self.popular.fill(masked, k, &mut list),
            Ranker::PopularityRecent => self.recent.fill(masked, k, &mut list),
            Ranker::OwnCount | Ranker::OwnRecent if ranking == RankingTask::NewProducts => {
                self.popular.fill(masked, k, &mut list);
            }
            Ranker::OwnCount | Ranker::OwnRecent => {
                let best = match by {
                    Ranker::OwnRecent => &person.faded_best,
                    _ => &person.own_best,
                };
                list.extend(best.entries().iter().map(listed));
                let own: Vec<u32> = person.own.iter().map(|&(product, _)| product).collect();
                self.popular.fill(&own, k, &mut list);
            }
        }
        list
    }
}

fn listed<S>(entry: &Entry<S>) -> Listed {
    Listed {
        product: entry.product,
        popularity: entry.popularity,
    }
}
