//! Trains what a data team would try, each model for as long as the others, and says which to use.
//!
//! **Invariant:** what a budget of seconds comes to in epochs is written down the first time, so that the same job gives the same
//! figures ever after, on any cluster; seconds are told and decide nothing else.

mod sentences;
mod trial;

use super::data::{self, Views};
use super::engine::{Engine, failed};
use super::{graph, report as page};
use crate::failure::Failure;
use crate::job::advising::Advising;
use crate::output::advice::{AdviceReport, DataShape, ModelAdvice, TaskAdvice};
use model::advise::{Family, Row, verdict};
use model::evaluate::{Slice, Sliced};
use model::facts::Facts;
use plan::Refusal;
use std::collections::BTreeMap;
use tensor::{DataSet, DepotId};
use trial::{Trial, Tried, baseline};

/// What is found, beside the models.
const ADVICE: &str = "advice.json";

/// Rankers that need no model, with their names, the least first.
const BASELINES: [(&str, &str, Family); 4] = [
    ("popularity", "popularity", Family::Popularity),
    ("popularity_recent", "recent popularity", Family::Popularity),
    ("own_count", "own count", Family::Repeat),
    ("own_recent", "own count fading", Family::Repeat),
];

/// Compares models on the job's data.
///
/// # Errors
/// Where the data cannot be read, or no model can be trained.
pub async fn advise(engine: &Engine<'_>, advising: &Advising) -> Result<AdviceReport, Failure> {
    let data = data::ingest(engine).await?.data;
    let views = data::views(engine, &data).await?;
    let facts = graph::facts(engine, &data).await?;
    let bins = views.last_bin().map(|last| last + 1);
    let bins = bins.or(data.time.as_ref().map(|time| time.bins));
    let faded = data::own_of_late(engine, &data, &views).await?;
    let trial = Trial {
        engine,
        advising,
        data: &data,
        slices: slices(&facts),
        faded,
    };
    let drafts = advising.drafts(&data, bins)?;
    let mut tried: Vec<Tried> = Vec::new();
    let mut first_failure = None;
    // How the matrix is best held.
    let mut held = None;
    for (number, draft) in drafts.iter().enumerate() {
        let (of, name) = (drafts.len(), &draft.name);
        let candidate = &advising.candidate(draft, held)?;
        let note = format!("model {} of {of}: {name}", number + 1);
        engine.console.observer().note(&note);
        match trial.run(candidate).await? {
            Ok(found) => {
                if found.family == Family::Matrix {
                    held = found.number("regularization");
                }
                tried.push(found);
            }
            Err(failure) => {
                let note = format!("{name} cannot be trained and is out: {}", failure.message());
                engine.console.observer().note(&note);
                tried.push(Tried::failed(candidate, failure.message()));
                first_failure.get_or_insert(failure);
            }
        }
    }
    if tried.iter().all(|tried| tried.evaluation.is_none()) {
        let none = || {
            Failure::new(
                Refusal::Config,
                "`advise.models` leaves no model to compare",
            )
        };
        return Err(first_failure.unwrap_or_else(none));
    }
    let mut report = report(advising, &tried);
    report.data = shape(&data, &views, &facts);
    report.graph = serde_json::json!(facts);
    report.verdict = sentences::all(&report, &data);
    let depot = engine.depot(DepotId::MODEL)?;
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    depot
        .write_note(ADVICE, text + "\n")
        .await
        .map_err(failed)?;
    report.file = depot.note_url(ADVICE);
    if engine.settings.output.report.is_some() {
        report.report = Some(page::advised(engine, &data, &report, facts)?);
    }
    Ok(report)
}

/// Users by how much is known of them, products by how many have them: about a quarter, a half and a quarter of the users with an edge,
/// cut at powers of two; half of the products, the next four tenths, and the last.
pub(super) fn slices(facts: &Facts) -> Vec<Slice> {
    let all: u64 = facts
        .users
        .degrees
        .histogram
        .iter()
        .map(|bin| bin.nodes)
        .sum();
    // The cut that leaves about this share below it.
    let cut = |share: f64| {
        let mut below = 0;
        let cuts = facts.users.degrees.histogram.iter().map(|bin| {
            let away = (below as f64 - share * all as f64).abs();
            below += bin.nodes;
            (bin.from as u32, away)
        });
        let best = cuts.min_by(|one, other| one.1.total_cmp(&other.1));
        best.map_or(1, |(cut, _)| cut.max(1))
    };
    let cold = cut(0.25).max(2);
    let heavy = cut(0.75).max(cold + 1);
    let (tail, head) = (facts.products.degrees.median, facts.products.degrees.p90);
    let slice = |name: &str, of, range| Slice {
        name: name.to_owned(),
        of,
        range,
    };
    vec![
        slice("cold users", Sliced::Users, 0..cold),
        slice("light users", Sliced::Users, cold..heavy),
        slice("heavy users", Sliced::Users, heavy..u32::MAX),
        slice("rare products", Sliced::Products, 0..tail + 1),
        slice(
            "common products",
            Sliced::Products,
            tail + 1..head.max(tail) + 1,
        ),
        slice(
            "top products",
            Sliced::Products,
            head.max(tail) + 1..u32::MAX,
        ),
    ]
}

fn shape(data: &DataSet, views: &Views, facts: &Facts) -> DataShape {
    let (users, products) = (facts.users.nodes, facts.products.nodes);
    DataShape {
        users,
        products,
        users_by_product: users as f64 / products.max(1) as f64,
        interactions: facts.interactions,
        training: views.train.interactions,
        bins: data.time.as_ref().map(|time| time.bins),
        slices: slices(facts)
            .into_iter()
            .map(|slice| (slice.name, (slice.range.start, slice.range.end)))
            .collect(),
    }
}

/// The rows of a task: what needs no model, then the models that were trained.
fn rows(task: &str, metric: &str, tried: &[Tried]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, family, ranker: &str, tried: &Tried| {
        let Some(of) = &tried.evaluation else { return };
        let value = of
            .tasks
            .get(task)
            .and_then(|rankers| rankers.get(ranker)?.get(metric));
        let samples = of.samples.get(task).and_then(|rankers| rankers.get(ranker));
        if let Some((value, samples)) = value.zip(samples) {
            rows.push(Row {
                name: name.to_owned(),
                family,
                value: *value,
                samples: samples.clone(),
            });
        }
    };
    if let Some(first) = tried.iter().find(|tried| tried.evaluation.is_some()) {
        for (ranker, name, family) in BASELINES {
            add(name, family, ranker, first);
        }
    }
    for of in tried {
        add(&of.name, of.family, "model", of);
    }
    rows
}

/// All but what is told of the data.
fn report(advising: &Advising, tried: &[Tried]) -> AdviceReport {
    let metric = advising.metric();
    let mut models: BTreeMap<String, ModelAdvice> = BTreeMap::new();
    let mut report = AdviceReport {
        metric: metric.clone(),
        level: advising.verdicts.level,
        worth: advising.verdicts.worth,
        budget_seconds: advising.seconds,
        ..AdviceReport::default()
    };
    let first = tried.iter().find(|tried| tried.evaluation.is_some());
    for (ranker, name, family) in BASELINES {
        models.insert(name.to_owned(), baseline(name, family, ranker, first));
    }
    for of in tried {
        models.insert(of.name.clone(), of.advice());
    }
    let mut order: Vec<String> = Vec::new();
    for task in ["new_products", "all_products"] {
        let rows = rows(task, &metric, tried);
        if rows.is_empty() {
            continue;
        }
        let found = verdict(&rows, advising.verdicts);
        for (place, row) in rows.iter().enumerate() {
            let Some(model) = models.get_mut(&row.name) else {
                continue;
            };
            if let Some(figures) = model.tasks.get_mut(task) {
                figures.to_best = Some(found.to_best[place]);
                figures.to_popularity = Some(found.to_popularity[place]);
                figures.to_matrix = found.to_matrix.get(place).copied();
            }
            if !order.contains(&row.name) {
                order.push(row.name.clone());
            }
        }
        let users = first.and_then(|first| first.evaluation.as_ref()?.users.get(task));
        let advice = TaskAdvice {
            users: users.map_or(0, |users| users.counted),
            answer: found.answer,
            model: found.model,
            family: found.family,
            best: found.best,
            as_good: found.as_good,
            worse_than_popularity: found.worse_than_popularity,
        };
        report.tasks.insert(task.to_owned(), advice);
    }
    order.extend(
        tried
            .iter()
            .filter(|tried| tried.evaluation.is_none())
            .map(|tried| tried.name.clone()),
    );
    report.models = order
        .iter()
        .filter_map(|name| models.remove(name))
        .collect();
    report
}
