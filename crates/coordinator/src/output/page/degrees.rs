//! How interactions are spread over users and products.

use super::chart::{Caption, HEIGHT, PLOT, course, figure, legend, marks, x_axis, y_axis};
use super::html::{Html, element};
use super::scale::Scale;
use super::{Cell, Section, charts, number, paragraph, table};
use model::facts::{Facts, Side};

/// The section.
pub fn section(facts: Option<&Facts>) -> Option<Section> {
    let facts = facts?;
    let says = format!(
        "{} pairs of a user and a product occur, {} of all that could. Gini tells how uneven a side is: 0 where all have as many, \
         near 1 where few have nearly all.",
        number::count(facts.edges),
        number::percent(facts.density)
    );
    Some(Section {
        id: "data",
        name: "The data",
        parts: vec![
            paragraph(says),
            charts(vec![chart(facts), element("div", &[], [sides(facts)])]),
        ],
    })
}

/// Rows by powers of two, in the middle of each.
fn chart(facts: &Facts) -> Html {
    let bins = [&facts.users, &facts.products].map(|side| {
        let bins = side.degrees.histogram.iter();
        let bins = bins.filter(|bin| bin.nodes > 0);
        let point = bins.map(|bin| (bin.from as f64 * 2_f64.sqrt(), bin.nodes as f64));
        point.collect::<Vec<(f64, f64)>>()
    });
    let (left, right, top, bottom) = PLOT;
    let x = Scale::log(
        bins.iter().flatten().map(|point| point.0),
        (left + 6.0, right),
    );
    let y = Scale::log(bins.iter().flatten().map(|point| point.1), (bottom, top));
    let mut parts = vec![
        x_axis(
            &x.ticks(),
            "distinct partners (products of a user, users of a product)",
            PLOT,
        ),
        y_axis(&y.ticks(), PLOT),
    ];
    for (series, points) in bins.iter().enumerate() {
        let places: Vec<(f64, f64)> = points.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
        parts.push(course(&places, super::chart::SERIES[series]));
        parts.push(marks(places, series, 3.6));
    }
    let caption = Caption {
        id: "degrees",
        title: "How many have how many",
        description: &format!(
            "Users and products by the number of their distinct partners, both axes logarithmic. A user has {} products in the \
             median and {} at most, a product {} users in the median and {} at most.",
            number::count(facts.users.degrees.median.into()),
            number::count(facts.users.degrees.max.into()),
            number::count(facts.products.degrees.median.into()),
            number::count(facts.products.degrees.max.into())
        ),
    };
    let drawn = figure(caption, HEIGHT, parts);
    let names = ["users".to_owned(), "products".to_owned()];
    element("div", &[], [drawn, legend(&names, true)])
}

fn sides(facts: &Facts) -> Html {
    type Line = (&'static str, fn(&Side) -> String);
    let lines: [Line; 8] = [
        ("All", |side| number::count(side.nodes)),
        ("With no interaction", |side| number::count(side.isolated)),
        ("Partners: median", |side| {
            number::count(side.degrees.median.into())
        }),
        ("Mean", |side| format!("{:.1}", side.degrees.mean)),
        ("90 % have at most", |side| {
            number::count(side.degrees.p90.into())
        }),
        ("99 % have at most", |side| {
            number::count(side.degrees.p99.into())
        }),
        ("Most", |side| number::count(side.degrees.max.into())),
        ("Gini", |side| format!("{:.3}", side.degrees.gini)),
    ];
    let rows = lines.iter().map(|(name, of)| {
        let cells = [&facts.users, &facts.products].map(|side| Cell::Number(of(side).into()));
        ((*name).into(), cells.into())
    });
    let header = [
        Cell::Text("Count".into()),
        Cell::Number("Users".into()),
        Cell::Number("Products".into()),
    ];
    table(
        "table-degrees",
        "Users and products",
        &header,
        rows.collect(),
        None,
    )
}
