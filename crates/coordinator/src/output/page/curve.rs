//! The learning curve: the objective, and what was measured on the validation part.

use super::chart::{Caption, HEIGHT, PLOT, course, figure, line, marks, thinned, x_axis, y_axis};
use super::html::Html;
use super::scale::Scale;
use super::{Course, Section, charts, names, number, paragraph};
use std::collections::BTreeSet;

/// Points of a line at the most.
const POINTS_MAX: usize = 300;
/// Metrics that are drawn, at the most.
const METRICS_MAX: usize = 3;
/// Those that come first where they were measured.
const FIRST: [&str; 3] = ["new_products ndcg@20", "new_products recall@20", "rmse"];

/// The section, where there is a course to draw.
pub fn section(course: &Course) -> Option<Section> {
    let figures = figures(course);
    if figures.is_empty() {
        return None;
    }
    let ended = course.best.as_ref().map_or_else(String::new, |best| {
        format!(
            " Epochs were compared by {}: the model is that of epoch {}, marked in the charts.",
            names::metric(&best.metric),
            best.epoch
        )
    });
    let says = format!(
        "The objective is what training makes small; the other figures were measured after each epoch on the validation part. \
         Where they stop improving, more epochs only learn by heart.{ended}"
    );
    Some(Section {
        id: "training",
        name: "How training went",
        parts: vec![paragraph(says), charts(figures)],
    })
}

/// The charts of what has two points or more.
pub fn figures(course: &Course) -> Vec<Html> {
    let mut lines = vec![("objective".to_owned(), objective(course))];
    for metric in metrics(course) {
        let values = course
            .epochs
            .iter()
            .filter_map(|epoch| Some((epoch.epoch, *epoch.metrics.get(&metric)?)));
        lines.push((metric.clone(), values.collect()));
    }
    lines
        .iter()
        .enumerate()
        .filter(|(_, (_, points))| points.len() > 1)
        .map(|(number, (name, points))| chart(number, name, points, course))
        .collect()
}

fn objective(course: &Course) -> Vec<(u32, f64)> {
    let known = course.epochs.iter();
    known
        .filter_map(|epoch| Some((epoch.epoch, epoch.objective?)))
        .collect()
}

/// What was measured: first what epochs were compared by, then what most people ask for.
fn metrics(course: &Course) -> Vec<String> {
    let all: BTreeSet<&String> = course
        .epochs
        .iter()
        .flat_map(|epoch| epoch.metrics.keys())
        .collect();
    let compared = course.best.as_ref().map(|best| best.metric.as_str());
    let mut chosen: Vec<String> = Vec::new();
    for name in compared
        .into_iter()
        .chain(FIRST)
        .chain(all.iter().map(|name| name.as_str()))
    {
        if all.iter().any(|known| *known == name) && !chosen.iter().any(|known| known == name) {
            chosen.push(name.to_owned());
        }
    }
    chosen.truncate(METRICS_MAX);
    chosen
}

fn chart(place: usize, metric: &str, points: &[(u32, f64)], course_of: &Course) -> Html {
    let points = thinned(points, POINTS_MAX);
    let (first, last) = (points[0], points[points.len() - 1]);
    let (left, right, top, bottom) = PLOT;
    let x = Scale::between(
        (f64::from(first.0), f64::from(last.0)),
        (left + 8.0, right - 4.0),
    );
    let y = Scale::linear(points.iter().map(|point| point.1), (bottom, top));
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|&(epoch, value)| (x.at(f64::from(epoch)), y.at(value)))
        .collect();
    // Epochs are whole numbers.
    let ticks = x
        .ticks()
        .into_iter()
        .filter(|tick| !tick.text.contains('.'))
        .collect::<Vec<_>>();
    let mut parts = vec![
        x_axis(&ticks, "epoch", PLOT),
        y_axis(&y.ticks(), PLOT),
        course(&places, "s0"),
    ];
    let best = course_of.best.as_ref();
    if let Some(best) = best {
        let at = x.at(f64::from(best.epoch));
        parts.push(line((at, top), (at, bottom), "guide"));
        let point = points.iter().find(|point| point.0 == best.epoch);
        parts.extend(point.map(|point| marks([(at, y.at(point.1))], 0, 4.5)));
    }
    let name = names::metric(metric);
    let (title, whole) = if metric == "objective" {
        (
            "Objective (lower is better)".to_owned(),
            "Objective".to_owned(),
        )
    } else {
        (format!("{name} on validation"), name)
    };
    let description = format!(
        "{whole} from {} after epoch {} to {} after epoch {}.",
        number::plain(first.1),
        first.0,
        number::plain(last.1),
        last.0
    );
    let caption = Caption {
        id: &format!("curve-{place}"),
        title: &title,
        description: &description,
    };
    figure(caption, HEIGHT, parts)
}
