//! How good the model is, beside simple rules, with intervals.

use super::chart::{Caption, Dot, DotStyle, dots};
use super::headline::Call;
use super::html::{Html, classed, element, short, tagged};
use super::{Cell, Section, charts, names, note, number, paragraph, table};
use crate::output::tables::{is_shown, shown_k};
use model::bootstrap::Interval;
use model::evaluate::Evaluation;
use model::evaluate::report::{Ratings, WITH_RULES};
use std::collections::{BTreeMap, BTreeSet};

/// Rankers of a task with their figures.
type Rankers = BTreeMap<String, BTreeMap<String, f64>>;

/// The tasks in the order of the page, with what they ask.
const TASKS: [(&str, &str, &str); 2] = [
    (
        "new_products",
        "Products new to the customer",
        "What a customer had before is left out of lists and of what counts as a hit: this is the task of finding something new.",
    ),
    (
        "all_products",
        "All products",
        "Lists may name what the customer buys anyway, and most of what people buy they have bought before. Rules that list a \
         customer's own products are hard to beat here.",
    ),
];

/// Figures that are drawn.
const DRAWN: [&str; 2] = ["recall", "ndcg"];
/// Columns of tables.
const COLUMNS: [&str; 5] = ["recall", "ndcg", "map", "precision", "coverage"];

/// Slices that are shown at the most.
const SLICES_MAX: usize = 12;

/// The section.
pub fn section(evaluation: Option<&Evaluation>) -> Option<Section> {
    let evaluation = evaluation?;
    let mut parts = Vec::new();
    if !evaluation.tasks.is_empty() {
        parts.push(paragraph(how_to_read(evaluation)));
    }
    for (task, name, what) in TASKS {
        let Some(rankers) = evaluation.tasks.get(task) else {
            continue;
        };
        parts.extend(of_task(evaluation, (task, name, what), rankers));
    }
    if let Some(ratings) = &evaluation.ratings {
        parts.extend(of_values(ratings));
    }
    Some(Section {
        id: "quality",
        name: "How good is it?",
        parts,
    })
}

fn how_to_read(evaluation: &Evaluation) -> String {
    let intervals = match (evaluation.level, evaluation.replicates) {
        (Some(level), Some(replicates)) => format!(
            " Whiskers are {:.0} % intervals from {} bootstrap samples of the users. A difference counts where its whisker stays \
             clear of zero.",
            100.0 * level,
            number::count(u64::from(replicates))
        ),
        _ => " The job asked for no intervals, so small differences mean nothing.".to_owned(),
    };
    format!(
        "Recall is the share of what a customer went on to take that stands in the list; NDCG also asks that it stands near the \
         top. Higher is better.{intervals}"
    )
}

fn of_task(
    evaluation: &Evaluation,
    (task, name, what): (&str, &str, &str),
    rankers: &Rankers,
) -> Vec<Html> {
    let users = evaluation.users.get(task).copied().unwrap_or_default();
    let heading = format!("quality-{}", task.replace('_', "-"));
    let mut parts = vec![element("h3", &[("id", &heading)], [name.into()])];
    let Some(k) = shown_k(rankers) else {
        return parts;
    };
    let left_out = users.without_training + users.without_relevant;
    parts.push(note(format!(
        "{what} Means over {} users; {} more could not be measured.",
        number::count(users.counted),
        number::count(left_out)
    )));
    parts.extend(price_of_rules(evaluation, task, k));
    let figures = DRAWN.iter().flat_map(|measure| {
        let figure = format!("{measure}@{k}");
        let of = (task, name, figure.as_str());
        [
            values_chart(evaluation, of, rankers),
            differences_chart(evaluation, of),
        ]
    });
    parts.push(charts(figures.flatten().collect()));
    let lengths: BTreeSet<u32> = rankers
        .values()
        .flat_map(BTreeMap::keys)
        .filter_map(|name| name.strip_prefix("recall@")?.parse().ok())
        .collect();
    parts.push(figures_table(evaluation, (task, name), rankers, k));
    parts.extend(slices_table(evaluation, (task, name), rankers, k));
    let others: Vec<Html> = lengths
        .iter()
        .filter(|&&other| other != k)
        .map(|&other| figures_table(evaluation, (task, name), rankers, other))
        .collect();
    if !others.is_empty() {
        let summary = tagged("summary", "Lists of other lengths");
        parts.push(element("details", &[], [summary].into_iter().chain(others)));
    }
    parts
}

/// What the rules of the job's lists leave, and what that costs.
fn price_of_rules(evaluation: &Evaluation, task: &str, k: u32) -> Option<Html> {
    let (all, left) = (evaluation.candidates?, evaluation.candidates_with_rules?);
    let figure = format!("ndcg@{k}");
    let cost = evaluation.differences.get(task)?.get(WITH_RULES)?;
    let cost = cost.get(&figure)?;
    let range = cost
        .interval
        .map_or_else(String::new, |Interval(low, high)| {
            let (low, high) = (number::signed(low), number::signed(high));
            format!(" ({low} to {high})")
        });
    Some(note(format!(
        "The job's rules of lists leave {} of {} products. Without them the model's {} is {} away{range}: that is their price. \
         “This model under the rules” obeys them, all else on this page does not.",
        number::count(left),
        number::count(all),
        names::measure(&figure),
        number::signed(cost.difference)
    )))
}

/// The model first, then rules from the best to the worst.
fn ordered<'a>(task: &str, rankers: &'a Rankers, figure: &str) -> Vec<(&'a str, f64)> {
    let shown = rankers.iter().filter(|(ranker, _)| is_shown(task, ranker));
    let mut rows: Vec<(&str, f64)> = shown
        .filter_map(|(ranker, figures)| Some((ranker.as_str(), *figures.get(figure)?)))
        .collect();
    rows.sort_by(|a, b| {
        let place = |row: &(&str, f64)| row.0 != "model";
        place(a)
            .cmp(&place(b))
            .then(b.1.total_cmp(&a.1))
            .then(a.0.cmp(b.0))
    });
    rows
}

fn values_chart(
    evaluation: &Evaluation,
    (task, name, figure): (&str, &str, &str),
    rankers: &Rankers,
) -> Option<Html> {
    let rows = ordered(task, rankers, figure);
    let model = rows.first().filter(|(ranker, _)| *ranker == "model")?.1;
    let intervals = evaluation.intervals.get(task);
    let dot = |&(ranker, value): &(&str, f64)| Dot {
        name: names::ranker(ranker),
        value,
        interval: intervals
            .and_then(|all| all.get(ranker)?.get(figure))
            .map(|Interval(low, high)| (*low, *high)),
        style: if ranker == "model" {
            DotStyle::Model
        } else {
            DotStyle::Baseline
        },
        text: number::figure(value),
    };
    let dots_of: Vec<Dot> = rows.iter().map(dot).collect();
    let measure = names::measure(figure);
    let told: Vec<String> = dots_of
        .iter()
        .map(|dot| format!("{} {}", dot.name, dot.text))
        .collect();
    let caption = Caption {
        id: &format!(
            "chart-{}-{}",
            task.replace('_', "-"),
            figure.replace('@', "-")
        ),
        title: &format!("{measure}, {}", name.to_lowercase()),
        description: &format!("{measure} with intervals: {}.", told.join(", ")),
    };
    Some(dots(caption, &dots_of, (model, "guide"), &measure))
}

fn differences_chart(
    evaluation: &Evaluation,
    (task, name, figure): (&str, &str, &str),
) -> Option<Html> {
    let rules = evaluation.differences.get(task)?;
    let mut rows: Vec<_> = rules
        .iter()
        .filter(|(rule, _)| *rule != WITH_RULES && is_shown(task, rule))
        .filter_map(|(rule, figures)| Some((rule.as_str(), figures.get(figure)?)))
        .collect();
    rows.sort_by(|a, b| a.1.difference.total_cmp(&b.1.difference).then(a.0.cmp(b.0)));
    if rows.is_empty() {
        return None;
    }
    let dots_of: Vec<Dot> = rows
        .iter()
        .map(|(rule, found)| Dot {
            name: names::ranker(rule),
            value: found.difference,
            interval: found.interval.map(|Interval(low, high)| (low, high)),
            style: match Call::of(found.interval) {
                Call::Better => DotStyle::Better,
                Call::Worse => DotStyle::Worse,
                Call::Open | Call::Untested => DotStyle::Open,
            },
            text: number::signed(found.difference),
        })
        .collect();
    let measure = names::measure(figure);
    let told: Vec<String> = rows
        .iter()
        .map(|(rule, found)| {
            let call = match Call::of(found.interval) {
                Call::Better => "better",
                Call::Worse => "worse",
                Call::Open => "no difference that the interval supports",
                Call::Untested => "no interval",
            };
            format!(
                "{} {} ({call})",
                names::ranker(rule),
                number::signed(found.difference)
            )
        })
        .collect();
    let caption = Caption {
        id: &format!(
            "difference-{}-{}",
            task.replace('_', "-"),
            figure.replace('@', "-")
        ),
        title: &format!("{measure}: this model minus each rule"),
        description: &format!("{name}. This model minus each rule: {}.", told.join(", ")),
    };
    let axis = "worse ← 0 → better; filled: the interval excludes 0";
    Some(dots(caption, &dots_of, (0.0, "zero"), axis))
}

fn figures_table(
    evaluation: &Evaluation,
    (task, name): (&str, &str),
    rankers: &Rankers,
    k: u32,
) -> Html {
    let recall = format!("recall@{k}");
    let rows = ordered(task, rankers, &recall);
    let intervals = evaluation.intervals.get(task);
    let header: Vec<Cell> = [Cell::Text("Lists by".into())]
        .into_iter()
        .chain(
            COLUMNS
                .iter()
                .map(|of| Cell::Number(names::measure(&format!("{of}@{k}")).into())),
        )
        .collect();
    let body = rows.iter().map(|&(ranker, _)| {
        let cell = |of: &&str| {
            let figure = format!("{of}@{k}");
            let Some(&value) = rankers[ranker].get(&figure) else {
                return Cell::Number("–".into());
            };
            let interval = intervals.and_then(|all| all.get(ranker)?.get(&figure));
            let range = interval.map(|Interval(low, high)| {
                let text = format!("{} to {}", number::figure(*low), number::figure(*high));
                classed("span", "range", text)
            });
            Cell::Number(
                [number::figure(value).into()]
                    .into_iter()
                    .chain(range)
                    .collect(),
            )
        };
        (
            names::ranker(ranker).into(),
            COLUMNS.iter().map(cell).collect(),
        )
    });
    let id = format!("table-{}-{k}", task.replace('_', "-"));
    let caption = format!("{name}, lists of {k}");
    let marked = rows.first().is_some_and(|(ranker, _)| *ranker == "model");
    table(&id, &caption, &header, body.collect(), marked.then_some(0))
}

/// Users and products by how much is known of them: for whom the model is good. Lists by rules as in the other tables.
fn slices_table(
    evaluation: &Evaluation,
    (task, name): (&str, &str),
    rankers: &Rankers,
    k: u32,
) -> Option<Html> {
    let slices = evaluation
        .slices
        .get(task)
        .filter(|slices| !slices.is_empty())?;
    let figure = format!("recall@{k}");
    let columns = ordered(task, rankers, &figure);
    let header: Vec<Cell> = [Cell::Text("Part".into())]
        .into_iter()
        .chain(
            columns
                .iter()
                .map(|(ranker, _)| Cell::Number(names::ranker(ranker).into())),
        )
        .collect();
    let mut slices: Vec<_> = slices.iter().collect();
    slices.sort_by_key(|(slice, _)| names::slice_place(slice));
    let rows = slices.iter().take(SLICES_MAX).map(|(slice, found)| {
        let users = format!("{} users", number::count(found.users));
        let first = [short(slice, 40).into(), classed("span", "range", users)];
        let cell = |&(ranker, _): &(&str, f64)| {
            let value = found
                .rankers
                .get(ranker)
                .and_then(|figures| figures.get(&figure));
            let interval = found
                .intervals
                .get(ranker)
                .and_then(|figures| figures.get(&figure));
            let range = interval.map(|Interval(low, high)| {
                let text = format!("{} to {}", number::figure(*low), number::figure(*high));
                classed("span", "range", text)
            });
            let value = value.map_or_else(|| "–".to_owned(), |value| number::figure(*value));
            Cell::Number([value.into()].into_iter().chain(range).collect())
        };
        (
            first.into_iter().collect(),
            columns.iter().map(cell).collect(),
        )
    });
    let id = format!("table-slices-{}", task.replace('_', "-"));
    let caption = format!(
        "{}, {}: for whom and for what",
        names::measure(&figure),
        name.to_lowercase()
    );
    Some(table(&id, &caption, &header, rows.collect(), None))
}

fn of_values(ratings: &Ratings) -> Vec<Html> {
    let row = |name: &str, rmse: f64, mae: f64| {
        let cells = [rmse, mae].map(|value| Cell::Number(number::figure(value).into()));
        (name.into(), cells.into())
    };
    let rows = vec![
        row("This model", ratings.rmse, ratings.mae),
        row(
            "This model, not clipped",
            ratings.unclipped.rmse,
            ratings.unclipped.mae,
        ),
        row(
            "Averages of users and products",
            ratings.bias_only.rmse,
            ratings.bias_only.mae,
        ),
    ];
    let header = [
        Cell::Text("Predicted by".into()),
        Cell::Number("RMSE".into()),
        Cell::Number("MAE".into()),
    ];
    let says = format!(
        "Errors of predicted values, lower is better. {} values were predicted; {} could not be, since training has nothing of \
         their user or product.",
        number::count(ratings.interactions),
        number::count(ratings.interactions_left_out)
    );
    vec![
        paragraph(says),
        table(
            "table-values",
            "Errors on what was held out",
            &header,
            rows,
            Some(0),
        ),
    ]
}
