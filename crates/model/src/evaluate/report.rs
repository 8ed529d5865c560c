//! What an evaluation found, in the shape in which it is printed.

use crate::bootstrap::Interval;
use crate::evaluate::op::Intervals;
use crate::evaluate::ratings::RatingSums;
use crate::evaluate::{Layout, Settings};
use crate::metrics::MEASURES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::SplitPart;

/// Figures by name, as `recall@20`.
pub type Figures<T> = BTreeMap<String, T>;

/// Something for each task (`new_products`, `all_products`) and ranker (`model`, `popularity`, ...).
pub type ByTask<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Who was measured in a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersCounted {
    /// Users with at least one training and one relevant product: the means are over them.
    pub counted: u64,
    /// Users left out: something relevant, but nothing in training.
    pub without_training: u64,
    /// Users left out: in training, but nothing relevant.
    pub without_relevant: u64,
}

/// The model's figure minus a baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Of the means.
    pub difference: f64,
    /// By the paired bootstrap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// Errors of predicted values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
}

/// How well values were predicted: `rmse` and `mae` of the model with its predictions clipped to the range of the
/// training values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratings {
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// The model without clipping.
    pub unclipped: Errors,
    /// Global mean plus shrunk offsets of product and user, clipped.
    pub bias_only: Errors,
    /// Interactions predicted.
    pub interactions: u64,
    /// Interactions left out because their user or product has no training interaction.
    pub interactions_left_out: u64,
    /// The range of the training values.
    pub range: (f32, f32),
}

/// The figures of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceFigures {
    /// Users who count in it.
    pub users: u64,
    /// Means over them, by ranker.
    pub rankers: BTreeMap<String, Figures<f64>>,
    /// Their intervals.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<String, Figures<Interval>>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The held-out part.
    pub part: SplitPart,
    /// Means over users, by task, ranker and figure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: ByTask<Figures<f64>>,
    /// Intervals of `tasks` by the bootstrap over users (coverage has none).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: ByTask<Figures<Interval>>,
    /// The model minus each baseline.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: ByTask<Figures<Difference>>,
    /// Who was measured, by task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, UsersCounted>,
    /// Products with a training interaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<u64>,
    /// Those of them that rules leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates_with_rules: Option<u64>,
    /// The level of intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// Replicates of the bootstrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicates: Option<u32>,
    /// Parts of users or of relevant products by themselves, by task and slice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: ByTask<SliceFigures>,
    /// Replicates of the measure that is kept, by task and ranker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: ByTask<Vec<f64>>,
    /// For explicit values.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub ratings: Option<Ratings>,
}

/// The ranker that is the model whose lists obey rules.
pub const WITH_RULES: &str = "model_with_rules";

impl Evaluation {
    /// Beside the model what it comes to where its lists obey rules, as `ruled` found on the same users with the same seed; and what that
    /// costs: the model minus it, with an interval for the measure whose replicates were kept. Baselines stay as they are.
    #[must_use]
    pub fn with_rules(mut self, ruled: Evaluation, kept: Option<&str>) -> Self {
        for (task, mut rankers) in ruled.tasks {
            let (Some(free), Some(found)) = (self.tasks.get_mut(&task), rankers.remove("model"))
            else {
                continue;
            };
            let model = free.get("model").cloned().unwrap_or_default();
            let cost = found.iter().filter_map(|(name, with)| {
                let difference = model.get(name)? - with;
                let none = Difference {
                    difference,
                    interval: None,
                };
                Some((name.clone(), none))
            });
            let mut cost: Figures<Difference> = cost.collect();
            let samples = [&self.samples, &ruled.samples].map(|all| all.get(&task)?.get("model"));
            if let ([Some(free), Some(with)], Some(level), Some(kept)) = (samples, self.level, kept)
                && let Some(cost) = cost.get_mut(kept)
            {
                let pairs = free.iter().zip(with).map(|(free, with)| free - with);
                cost.interval = crate::bootstrap::interval(pairs.collect(), level);
            }
            let of_task = self.differences.entry(task.clone()).or_default();
            of_task.insert(WITH_RULES.to_owned(), cost);
            let mut intervals = ruled.intervals.get(&task).cloned().unwrap_or_default();
            if let Some(found) = intervals.remove("model") {
                let of_task = self.intervals.entry(task.clone()).or_default();
                of_task.insert(WITH_RULES.to_owned(), found);
            }
            free.insert(WITH_RULES.to_owned(), found);
        }
        self.samples.clear();
        self.candidates_with_rules = ruled.candidates;
        self
    }

    fn empty(part: SplitPart) -> Self {
        Evaluation {
            part,
            tasks: BTreeMap::new(),
            intervals: BTreeMap::new(),
            differences: BTreeMap::new(),
            users: BTreeMap::new(),
            candidates: None,
            candidates_with_rules: None,
            level: None,
            replicates: None,
            slices: BTreeMap::new(),
            samples: BTreeMap::new(),
            ratings: None,
        }
    }

    /// Of values.
    pub fn of_ratings(part: SplitPart, sums: &RatingSums, range: (f32, f32)) -> Self {
        Evaluation {
            ratings: Some(sums.ratings(range)),
            ..Self::empty(part)
        }
    }

    /// Of lists: `sums` as [`crate::evaluate::RankOp`] leaves them, `covered` products by list.
    pub fn of_lists(
        part: SplitPart,
        settings: &Settings,
        layout: &Layout,
        sums: &[f64],
        candidates: u64,
        covered: &[u64],
        intervals: &Intervals,
    ) -> Self {
        let mut found = Self::empty(part);
        found.candidates = Some(candidates);
        if settings.replicates > 0 {
            (found.level, found.replicates) = (Some(settings.level), Some(settings.replicates));
        }
        for (task, ranking) in layout.tasks.iter().enumerate() {
            found
                .users
                .insert(ranking.name().to_owned(), users_counted(layout, sums, task));
            for ranker in 0..layout.rankers.len() {
                found.add_list(layout, sums, (task, ranker), candidates, covered, intervals);
                let place = task * layout.rankers.len() + ranker;
                if let Some(samples) = intervals.samples.get(place) {
                    let by = layout.rankers[ranker].name().to_owned();
                    let of_task = found.samples.entry(ranking.name().to_owned()).or_default();
                    of_task.insert(by, samples.clone());
                }
            }
            for (slice, of) in layout.slices.iter().enumerate() {
                let figures =
                    SliceFigures::of(layout, sums, layout.section(task, slice), intervals);
                let of_task = found.slices.entry(ranking.name().to_owned()).or_default();
                of_task.insert(of.name.clone(), figures);
            }
        }
        found
    }

    fn add_list(
        &mut self,
        layout: &Layout,
        sums: &[f64],
        (task, ranker): (usize, usize),
        candidates: u64,
        covered: &[u64],
        intervals: &Intervals,
    ) {
        let place = (layout.tasks[task].name(), layout.rankers[ranker].name());
        let users = sums[layout.counted(task)];
        for (index, &k) in layout.ks.iter().enumerate() {
            let figures = entry(&mut self.tasks, place);
            if let Some(&products) = covered.get(layout.list(task, ranker, index)) {
                figures.insert(
                    format!("coverage@{k}"),
                    share(products as f64, candidates as f64),
                );
            }
            for (measure, position) in MEASURES.iter().zip(layout.figures(task, ranker, index)..) {
                let figure = share(sums[position], users);
                entry(&mut self.tasks, place).insert(measure.at(k), figure);
                if let Some(interval) = intervals.figures.get(position).copied().flatten() {
                    entry(&mut self.intervals, place).insert(measure.at(k), interval);
                }
                if ranker > 0 {
                    let difference = share(sums[layout.model_of(position)], users) - figure;
                    let interval = intervals.differences.get(position).copied().flatten();
                    entry(&mut self.differences, place).insert(
                        measure.at(k),
                        Difference {
                            difference,
                            interval,
                        },
                    );
                }
            }
        }
    }
}

impl SliceFigures {
    fn of(layout: &Layout, sums: &[f64], section: usize, intervals: &Intervals) -> Self {
        let users = sums[layout.counted(section)];
        let mut found = SliceFigures {
            users: users as u64,
            ..Self::default()
        };
        for (ranker, by) in layout.rankers.iter().enumerate() {
            let (mut figures, mut bounds) = (Figures::new(), Figures::new());
            for (index, &k) in layout.ks.iter().enumerate() {
                let first = layout.figures(section, ranker, index);
                for (measure, position) in MEASURES.iter().zip(first..) {
                    figures.insert(measure.at(k), share(sums[position], users));
                    if let Some(interval) = intervals.figures.get(position).copied().flatten() {
                        bounds.insert(measure.at(k), interval);
                    }
                }
            }
            found.rankers.insert(by.name().to_owned(), figures);
            if !bounds.is_empty() {
                found.intervals.insert(by.name().to_owned(), bounds);
            }
        }
        found
    }
}

fn entry<'a, T>(
    map: &'a mut ByTask<Figures<T>>,
    (task, ranker): (&str, &str),
) -> &'a mut Figures<T> {
    map.entry(task.to_owned())
        .or_default()
        .entry(ranker.to_owned())
        .or_default()
}

fn users_counted(layout: &Layout, sums: &[f64], task: usize) -> UsersCounted {
    let left_out = layout.width() + 2 * task;
    UsersCounted {
        counted: sums[layout.counted(task)] as u64,
        without_training: sums[left_out] as u64,
        without_relevant: sums[left_out + 1] as u64,
    }
}

/// A mean over nobody is 0: JSON has no NaN, and `users` says that nobody counted.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
