//! Factors of time as lines, one chart a factor.

use super::chart::{Caption, HEIGHT, PLOT, course, figure, line, thinned, x_axis, y_axis};
use super::html::Html;
use super::scale::{Scale, Tick};
use super::{Section, Times, charts, note, number, paragraph};

/// Charts at the most.
const CHARTS_MAX: usize = 6;
/// Points of a line at the most.
const POINTS_MAX: usize = 400;

/// The section: the factors that move most, in relation to their size.
pub fn section(times: Option<&Times>) -> Option<Section> {
    let times = times.filter(|times| times.starts.len() > 2 && !times.factors.is_empty())?;
    let mut ranked: Vec<(usize, f64)> = times
        .factors
        .iter()
        .map(|values| movement(values))
        .enumerate()
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let shown = ranked.iter().take(CHARTS_MAX);
    let figures: Vec<Html> = shown
        .map(|&(factor, moved)| chart(times, factor, moved))
        .collect();
    let says = format!(
        "The model gives each {} its own weight of every factor: where a line rises, products and users that share this factor \
         met more often. Each line is divided by its mean size, so 1 is an ordinary {}.",
        times.bin, times.bin
    );
    let rest = format!(
        "{} of {} factors, those that move most first.",
        figures.len(),
        times.factors.len()
    );
    Some(Section {
        id: "time",
        name: "What changes over time",
        parts: vec![paragraph(says), charts(figures), note(rest)],
    })
}

fn size(values: &[f32]) -> f64 {
    let sizes = values.iter().map(|value| f64::from(value.abs()));
    (sizes.sum::<f64>() / values.len().max(1) as f64).max(f64::MIN_POSITIVE)
}

/// The standard deviation over the mean size; data seldom begin with a bin, so the first tells of its length.
fn movement(values: &[f32]) -> f64 {
    let values = &values[1..];
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt() / size(values)
}

fn chart(times: &Times, factor: usize, moved: f64) -> Html {
    let values = &times.factors[factor];
    let unit = size(values);
    let all: Vec<(usize, f64)> = values
        .iter()
        .enumerate()
        .map(|(bin, value)| (bin, f64::from(*value) / unit))
        .collect();
    let (left, right, top, bottom) = PLOT;
    let x = Scale::between((0.0, (values.len() - 1) as f64), (left + 8.0, right - 4.0));
    let y = Scale::linear(all.iter().map(|point| point.1).chain([0.0]), (bottom, top));
    let shown = thinned(&all, POINTS_MAX);
    let places: Vec<(f64, f64)> = shown
        .iter()
        .map(|&(bin, value)| (x.at(bin as f64), y.at(value)))
        .collect();
    let bins: Vec<usize> = (0..values.len()).collect();
    let ticks: Vec<Tick> = thinned(&bins, 3)
        .into_iter()
        .map(|bin| Tick {
            at: x.at(bin as f64),
            text: times.starts.get(bin).cloned().unwrap_or_default(),
        })
        .collect();
    let parts = vec![
        x_axis(&ticks, &format!("{} that begins on", times.bin), PLOT),
        y_axis(&y.ticks(), PLOT),
        line((left, y.at(0.0)), (right, y.at(0.0)), "zero"),
        course(&places, "s0"),
    ];
    let ends = |pick: fn(f64, f64) -> f64, from: f64| {
        all.iter().fold(from, |end, point| pick(end, point.1))
    };
    let (low, high) = (
        ends(f64::min, f64::INFINITY),
        ends(f64::max, f64::NEG_INFINITY),
    );
    let description = format!(
        "Over {} bins it runs between {} and {} times its mean size; its deviation is {} of it.",
        values.len(),
        number::plain(low),
        number::plain(high),
        number::percent(moved)
    );
    let caption = Caption {
        id: &format!("time-{}", factor + 1),
        title: &format!("Factor {}", factor + 1),
        description: &description,
    };
    figure(caption, HEIGHT, parts)
}
