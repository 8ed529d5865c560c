//! Several models side by side, and which of them to use.

use super::chart::{Caption, Dot, DotStyle, dots};
use super::html::{Html, classed, element, short, tagged, users_text};
use super::{Cell, Section, charts, names, note, number, paragraph, table};
use crate::output::advice::{AdviceReport, ModelAdvice, TaskAdvice, TaskFigures};
use model::bootstrap::Interval;
use std::collections::BTreeSet;
use tensor::ByteSize;

/// Sentences that are shown at the most.
const SENTENCES_MAX: usize = 40;
/// Models that are shown at the most.
const MODELS_MAX: usize = 40;
/// Slices that are shown at the most.
const SLICES_MAX: usize = 12;
/// Characters of a sentence at the most.
const SENTENCE_MAX: usize = 600;

/// A task with the models in it.
struct Task<'a> {
    /// In ids.
    id: String,
    /// In words.
    name: String,
    /// What is compared, and how people write it.
    metric: &'a str,
    measure: String,
    advice: &'a TaskAdvice,
    models: Vec<(&'a ModelAdvice, Option<&'a TaskFigures>)>,
}

impl<'a> Task<'a> {
    fn of(report: &'a AdviceReport, task: &str, advice: &'a TaskAdvice) -> Self {
        let models = report.models.iter().take(MODELS_MAX);
        Task {
            id: task.replace('_', "-"),
            name: task.replace('_', " "),
            metric: &report.metric,
            measure: names::measure(&report.metric),
            advice,
            models: models.map(|model| (model, model.tasks.get(task))).collect(),
        }
    }

    fn value(&self, figures: &TaskFigures) -> Option<f64> {
        figures.figures.get(self.metric).copied()
    }

    fn interval(&self, figures: &TaskFigures) -> Option<(f64, f64)> {
        let found = figures.intervals.get(self.metric);
        found.map(|Interval(low, high)| (*low, *high))
    }

    /// The place of the model to use.
    fn marked(&self) -> Option<usize> {
        self.models
            .iter()
            .position(|(model, _)| model.name == self.advice.model)
    }

    /// Models with a figure, the best first.
    fn ranked(&self) -> Vec<(&'a ModelAdvice, &'a TaskFigures, f64)> {
        let known = self.models.iter().filter_map(|(model, figures)| {
            let figures = (*figures)?;
            Some((*model, figures, self.value(figures)?))
        });
        let mut ranked: Vec<_> = known.collect();
        ranked.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.name.cmp(&b.0.name)));
        ranked
    }
}

/// The section.
pub fn section(report: Option<&AdviceReport>) -> Option<Section> {
    let report = report?;
    let sentences = report.verdict.iter().take(SENTENCES_MAX);
    let sentences = sentences.map(|sentence| tagged("li", short(&sentence.text, SENTENCE_MAX)));
    let mut parts = vec![element("ul", &[("class", "verdict-list")], sentences)];
    // New products first, as everywhere on the page.
    for (task, advice) in report.tasks.iter().rev() {
        parts.extend(of_task(report, &Task::of(report, task, advice)));
    }
    parts.push(note(
        "Seconds and memory tell of the runs in which models were trained; all else is the same for the same data and job.",
    ));
    Some(Section {
        id: "advice",
        name: "Which model to use",
        parts,
    })
}

fn of_task(report: &AdviceReport, task: &Task<'_>) -> Vec<Html> {
    let heading = format!("advice-{}", task.id);
    let says = format!(
        "{} in the mean over {} users, higher is better. On the left each whisker is an interval of one model by itself; on the right \
         all hold together at {:.0} %: a filled dot is worse than the best model, and what an open one lacks may be chance.",
        task.measure,
        number::count(task.advice.users),
        100.0 * report.level
    );
    let mut parts = vec![
        element(
            "h3",
            &[("id", &heading)],
            [format!("Models for {}", task.name).into()],
        ),
        paragraph(says),
        charts(vec![values_chart(task), differences_chart(task)]),
        costs_table(task),
    ];
    parts.extend(slices_table(task));
    parts
}

fn values_chart(task: &Task<'_>) -> Html {
    let dot = |(model, figures, value): (&ModelAdvice, &TaskFigures, f64)| Dot {
        name: model.name.clone(),
        value,
        interval: task.interval(figures),
        style: if model.name == task.advice.model {
            DotStyle::Model
        } else {
            DotStyle::Baseline
        },
        text: number::figure(value),
    };
    let rows: Vec<Dot> = task.ranked().into_iter().map(dot).collect();
    let told: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", short(&row.name, 60), row.text))
        .collect();
    let caption = Caption {
        id: &format!("advice-values-{}", task.id),
        title: &format!("{}, {}", task.measure, task.name),
        description: &format!("Models from the best to the least: {}.", told.join(", ")),
    };
    let best = rows.first().map_or(0.0, |row| row.value);
    dots(caption, &rows, (best, "guide"), &task.measure)
}

fn differences_chart(task: &Task<'_>) -> Html {
    let dot = |(model, figures, _): (&ModelAdvice, &TaskFigures, f64)| {
        let gap = figures.to_best?;
        let Interval(low, high) = gap.interval;
        Some(Dot {
            name: model.name.clone(),
            value: gap.difference,
            interval: Some((low, high)),
            style: if high < 0.0 {
                DotStyle::Worse
            } else {
                DotStyle::Open
            },
            text: number::signed(gap.difference),
        })
    };
    let rows: Vec<Dot> = task.ranked().into_iter().filter_map(dot).collect();
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let call = if row.style == DotStyle::Worse {
                "worse"
            } else {
                "no difference that the interval supports"
            };
            format!("{} {} ({call})", short(&row.name, 60), row.text)
        })
        .collect();
    let caption = Caption {
        id: &format!("advice-differences-{}", task.id),
        title: &format!("{}: each model minus the best", task.measure),
        description: &format!(
            "{}. Each model minus the best: {}.",
            task.name,
            told.join(", ")
        ),
    };
    dots(
        caption,
        &rows,
        (0.0, "zero"),
        "worse ← 0; filled: the interval excludes 0",
    )
}

fn costs_table(task: &Task<'_>) -> Html {
    let header = [
        Cell::Text("Model".into()),
        Cell::Number(task.measure.as_str().into()),
        Cell::Number("Epochs".into()),
        Cell::Number("Training".into()),
        Cell::Number("Peak memory".into()),
        Cell::Number("Parameters".into()),
    ];
    let none = || "–".to_owned();
    let rows = task.models.iter().map(|(model, figures)| {
        let why = model.failed.as_ref().map(|why| {
            classed(
                "span",
                "range",
                format!("could not be trained: {}", short(why, 200)),
            )
        });
        let first = [users_text(&model.name)].into_iter().chain(why).collect();
        let value = figures.and_then(|figures| task.value(figures));
        let range = figures
            .and_then(|figures| task.interval(figures))
            .map(|(low, high)| {
                let text = format!("{} to {}", number::figure(low), number::figure(high));
                classed("span", "range", text)
            });
        let value = value.map_or_else(none, number::figure);
        let epochs = (model.epochs > 0).then(|| number::count(model.epochs.into()));
        let memory = model.peak_anonymous_bytes.filter(|&bytes| bytes > 0);
        let cells = vec![
            Cell::Number([value.into()].into_iter().chain(range).collect()),
            Cell::Number(epochs.unwrap_or_else(none).into()),
            Cell::Number(model.seconds.map_or_else(none, number::seconds).into()),
            Cell::Number(
                memory
                    .map_or_else(none, |bytes| ByteSize(bytes).to_string())
                    .into(),
            ),
            Cell::Number(model.parameters.map_or_else(none, number::count).into()),
        ];
        (first, cells)
    });
    let caption = format!("Models for {}; the one to use is marked", task.name);
    table(
        &format!("table-advice-{}", task.id),
        &caption,
        &header,
        rows.collect(),
        task.marked(),
    )
}

fn slices_table(task: &Task<'_>) -> Option<Html> {
    let known = || task.models.iter().filter_map(|(_, figures)| *figures);
    let slices: BTreeSet<&String> = known().flat_map(|figures| figures.slices.keys()).collect();
    let mut slices: Vec<&String> = slices.into_iter().collect();
    slices.sort_by_key(|slice| names::slice_place(slice));
    slices.truncate(SLICES_MAX);
    if slices.is_empty() {
        return None;
    }
    let header = slices.iter().map(|slice| {
        let users = known().find_map(|figures| figures.slices.get(*slice));
        let count = format!(
            "{} users",
            number::count(users.map_or(0, |(users, _)| *users))
        );
        let name = Html::from(short(slice, 40));
        Cell::Number(
            [name, classed("span", "range", count)]
                .into_iter()
                .collect(),
        )
    });
    let header: Vec<Cell> = [Cell::Text("Model".into())]
        .into_iter()
        .chain(header)
        .collect();
    let rows = task.models.iter().map(|(model, figures)| {
        let cell = |slice: &&String| {
            let value =
                figures.and_then(|figures| figures.slices.get(*slice)?.1.get(task.metric).copied());
            Cell::Number(value.map_or_else(|| "–".to_owned(), number::figure).into())
        };
        (users_text(&model.name), slices.iter().map(cell).collect())
    });
    let caption = format!(
        "{} for parts of users and of products, {}",
        task.measure, task.name
    );
    Some(table(
        &format!("table-advice-slices-{}", task.id),
        &caption,
        &header,
        rows.collect(),
        task.marked(),
    ))
}
