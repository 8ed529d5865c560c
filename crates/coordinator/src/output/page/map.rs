//! Users on a plane: their factors along the two directions in which they differ most.

use super::chart::{Caption, SERIES, WIDTH, figure, legend, line, marks};
use super::html::{Html, element};
use super::scale::Scale;
use super::{Section, number, paragraph};
use serde::Serialize;

/// The share at either end of an axis that is drawn on the frame.
const FAR_OFF: f64 = 0.005;

/// Users of a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Map {
    /// What tells groups apart, as in `by age_desc`.
    pub by: String,
    /// The groups, the largest first.
    pub groups: Vec<MapGroup>,
    /// The share of all variance that the two directions have.
    pub share: f64,
    /// All users.
    pub users: u64,
}

/// Users of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MapGroup {
    /// What they have in common.
    pub name: String,
    /// Where they lie.
    pub points: Vec<[f64; 2]>,
}

/// The section.
pub fn section(map: Option<&Map>) -> Option<Section> {
    let map = map.filter(|map| {
        map.groups
            .iter()
            .map(|group| group.points.len())
            .sum::<usize>()
            > 2
    })?;
    let shown: usize = map.groups.iter().map(|group| group.points.len()).sum();
    let says = format!(
        "Each mark is one of {} users, {} of all; near ones have like factors, so the model recommends them like products. The \
         two axes are the directions in which users differ most: they hold {} of the variance of the factors, and the rest is \
         not to be seen here. Marks tell users apart {}; the few far off are drawn on the frame.",
        number::count(shown as u64),
        number::percent(shown as f64 / map.users.max(1) as f64),
        number::percent(map.share),
        map.by
    );
    let names: Vec<String> = map
        .groups
        .iter()
        .map(|group| {
            format!(
                "{} ({})",
                group.name,
                number::count(group.points.len() as u64)
            )
        })
        .collect();
    let drawn = element("div", &[], [chart(map), legend(&names, false)]);
    Some(Section {
        id: "users",
        name: "Who is like whom",
        parts: vec![
            paragraph(says),
            element("div", &[("class", "wide")], [drawn]),
        ],
    })
}

/// Where nearly all lie along an axis: a few far off must not press the others together.
fn most(map: &Map, axis: usize) -> (f64, f64) {
    let points = map.groups.iter().flat_map(|group| &group.points);
    let mut places: Vec<f64> = points.map(|point| point[axis]).collect();
    places.sort_by(f64::total_cmp);
    let last = places.len() - 1;
    let at = |share: f64| places[(share * last as f64).round() as usize];
    (at(FAR_OFF), at(1.0 - FAR_OFF))
}

fn chart(map: &Map) -> Html {
    let height = 300.0;
    let x = Scale::between(most(map, 0), (14.0, WIDTH - 14.0));
    let y = Scale::between(most(map, 1), (height - 14.0, 8.0));
    let (right, bottom) = (WIDTH - 14.0, height - 14.0);
    let frame = [
        (14.0, 8.0),
        (right, 8.0),
        (right, bottom),
        (14.0, bottom),
        (14.0, 8.0),
    ];
    let mut parts: Vec<Html> = frame
        .windows(2)
        .map(|ends| line(ends[0], ends[1], "grid"))
        .collect();
    parts.push(line((14.0, y.at(0.0)), (right, y.at(0.0)), "grid"));
    parts.push(line((x.at(0.0), 8.0), (x.at(0.0), bottom), "grid"));
    // The largest group lies below the others.
    for (series, group) in map.groups.iter().enumerate().take(SERIES.len()) {
        let places = group
            .points
            .iter()
            .map(|point| (x.at(point[0]), y.at(point[1])));
        let drawn = marks(places, series, if series < 2 { 1.8 } else { 2.6 });
        parts.push(element("g", &[("class", "cloud")], [drawn]));
    }
    let caption = Caption {
        id: "map",
        title: "Users along their two principal components",
        description: &format!(
            "A cloud of users {}. Groups: {}.",
            map.by,
            map.groups
                .iter()
                .map(|group| group.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    figure(caption, height, parts)
}
