//! Charts as SVG: axes, lines, dots with whiskers, bars, points. 400 units wide, so that a phone shows one and a desk two in a row,
//! and type stays readable on both.
//!
//! **Invariant:** a chart has a name and a description for those who do not see it, and what colour tells is told by a mark, a
//! dash or a word too.

use super::html::{Html, classed, element, short};
use super::scale::{Scale, Tick};
use std::fmt::Write as _;

/// Units from left to right.
pub const WIDTH: f64 = 400.0;
/// Units from the top to the bottom of a chart with axes.
pub const HEIGHT: f64 = 250.0;
/// Where its plot lies: left, right, top, bottom.
pub const PLOT: (f64, f64, f64, f64) = (52.0, 388.0, 14.0, 206.0);

/// Characters of a label at the most.
const LABEL_MAX: usize = 24;

/// A class, and a series it stands for: marks and dashes differ as colours do.
pub const SERIES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];

/// What a chart is called.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// Unique on the page, of letters, digits and dashes.
    pub id: &'a str,
    /// Above the chart.
    pub title: &'a str,
    /// What it shows, in a sentence or two.
    pub description: &'a str,
}

/// A chart with its caption, as a figure.
pub fn figure(caption: Caption<'_>, height: f64, parts: impl IntoIterator<Item = Html>) -> Html {
    let (title, description) = (
        format!("{}-title", caption.id),
        format!("{}-desc", caption.id),
    );
    let labelled = format!("{title} {description}");
    let view = format!("0 0 {} {}", place(WIDTH), place(height));
    let words = [
        element("title", &[("id", &title)], [caption.title.into()]),
        element(
            "desc",
            &[("id", &description)],
            [caption.description.into()],
        ),
    ];
    let svg = element(
        "svg",
        &[
            ("viewBox", &view),
            ("role", "img"),
            ("aria-labelledby", &labelled),
        ],
        words.into_iter().chain(parts),
    );
    element(
        "figure",
        &[("id", caption.id)],
        [classed("figcaption", "caption", caption.title), svg],
    )
}

/// A number of units, short.
pub fn place(units: f64) -> String {
    let text = format!("{units:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Where text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred.
    Middle,
    /// It ends there.
    End,
}

/// Text in a chart.
pub fn label(x: f64, y: f64, anchor: Anchor, class: &str, text: &str) -> Html {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    element(
        "text",
        &[
            ("x", &place(x)),
            ("y", &place(y)),
            ("text-anchor", anchor),
            ("class", class),
        ],
        [short(text, LABEL_MAX).into()],
    )
}

/// A straight line.
pub fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Html {
    element(
        "line",
        &[
            ("x1", &place(from.0)),
            ("y1", &place(from.1)),
            ("x2", &place(to.0)),
            ("y2", &place(to.1)),
            ("class", class),
        ],
        [],
    )
}

/// Vertical lines and numbers below the plot.
pub fn x_axis(ticks: &[Tick], name: &str, plot: (f64, f64, f64, f64)) -> Html {
    let (left, right, top, bottom) = plot;
    let marks = ticks.iter().flat_map(|tick| {
        // Text at an end stays inside; a letter is some 7 units wide.
        let half = 3.5 * tick.text.chars().count() as f64;
        let anchor = match tick.at {
            at if at < half => Anchor::Start,
            at if at > WIDTH - half => Anchor::End,
            _ => Anchor::Middle,
        };
        [
            line((tick.at, top), (tick.at, bottom), "grid"),
            label(tick.at, bottom + 15.0, anchor, "tick", &tick.text),
        ]
    });
    let name = element(
        "text",
        &[
            ("x", &place(f64::midpoint(left, right))),
            ("y", &place(bottom + 34.0)),
            ("text-anchor", "middle"),
            ("class", "axis"),
        ],
        [name.into()],
    );
    marks.chain([name]).collect()
}

/// Horizontal lines and numbers left of the plot.
pub fn y_axis(ticks: &[Tick], plot: (f64, f64, f64, f64)) -> Html {
    let (left, right, ..) = plot;
    let marks = ticks.iter().flat_map(|tick| {
        [
            line((left, tick.at), (right, tick.at), "grid"),
            label(left - 6.0, tick.at + 4.0, Anchor::End, "tick", &tick.text),
        ]
    });
    marks.collect()
}

/// A course through points; those that are no numbers break it.
pub fn course(points: &[(f64, f64)], class: &str) -> Html {
    let mut path = String::new();
    let mut broken = true;
    for &(x, y) in points {
        if !(x.is_finite() && y.is_finite()) {
            broken = true;
            continue;
        }
        let _ = write!(
            path,
            "{}{} {}",
            if broken { 'M' } else { 'L' },
            place(x),
            place(y)
        );
        broken = false;
    }
    element(
        "path",
        &[("d", &path), ("class", &format!("line {class}"))],
        [],
    )
}

/// Marks of a series, all in one path: circles, squares, triangles, crosses, pluses, diamonds.
pub fn marks(points: impl IntoIterator<Item = (f64, f64)>, series: usize, size: f64) -> Html {
    let s = size;
    let mut path = String::new();
    for (x, y) in points {
        let start = |dx: f64, dy: f64| format!("M{} {}", place(x + dx), place(y + dy));
        let one = match series % 6 {
            // A point with round or square ends is a disc or a square.
            0 | 1 => format!("{}h0", start(0.0, 0.0)),
            2 => format!(
                "{}l{} {}h{}z",
                start(0.0, -s),
                place(s),
                place(1.7 * s),
                place(-2.0 * s)
            ),
            3 => format!(
                "{}l{d} {d}m0 -{d}l-{d} {d}",
                start(-s * 0.8, -s * 0.8),
                d = place(1.6 * s)
            ),
            4 => format!(
                "{}h{d}m-{s} -{s}v{d}",
                start(-s, 0.0),
                d = place(2.0 * s),
                s = place(s)
            ),
            _ => format!(
                "{}l{s} {s}l-{s} {s}l-{s} -{s}z",
                start(0.0, -s),
                s = place(s)
            ),
        };
        path.push_str(&one);
    }
    let class = format!("mark m{} {}", series % 6, SERIES[series % 6]);
    let width = place(2.0 * size);
    element(
        "path",
        &[
            ("d", &path),
            ("class", &class),
            ("stroke-width", if series % 6 < 2 { &width } else { "1.2" }),
        ],
        [],
    )
}

/// The meaning of marks, under a chart. `lines`: whether they are joined.
pub fn legend(names: &[String], lines: bool) -> Html {
    let key = |(series, name): (usize, &String)| {
        let mut parts = Vec::new();
        if lines {
            let class = format!("line {}", SERIES[series % 6]);
            parts.push(line((1.0, 7.0), (25.0, 7.0), &class));
        }
        parts.push(marks([(13.0, 7.0)], series, 4.0));
        let svg = element(
            "svg",
            &[
                ("viewBox", "0 0 26 14"),
                ("class", "key"),
                ("aria-hidden", "true"),
            ],
            parts,
        );
        element("li", &[], [svg, super::html::users_text(name)])
    };
    let keys: Vec<Html> = names.iter().enumerate().map(key).collect();
    element("ul", &[("class", "legend")], keys)
}

/// A row of a chart of dots.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: f64,
    /// From where to where it may lie.
    pub interval: Option<(f64, f64)>,
    /// How it is drawn.
    pub style: DotStyle,
    /// What stands at the end of the row.
    pub text: String,
}

/// How a dot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotStyle {
    /// What the chart is about: filled, in the first colour.
    Model,
    /// What it is compared with: an open ring.
    Baseline,
    /// A difference that the interval supports, to the better.
    Better,
    /// The same to the worse.
    Worse,
    /// One that it does not support: an open ring.
    Open,
}

/// Room for names on the left: the least, and the most, which takes [`LABEL_MAX`] letters.
const NAMES: (f64, f64) = (104.0, 196.0);
/// Room for numbers on the right.
const NUMBERS: f64 = 62.0;
/// Between rows.
const ROW: f64 = 27.0;

/// Where the plot begins right of names; a letter is some 7.4 units wide.
fn right_of<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let letters = names.map(|name| name.chars().count().min(LABEL_MAX)).max();
    (18.0 + 7.4 * letters.unwrap_or(0) as f64).clamp(NAMES.0, NAMES.1)
}

/// Dots with whiskers, one a row. `guide`: a value at which a line runs through all rows, and its class.
pub fn dots(caption: Caption<'_>, rows: &[Dot], guide: (f64, &str), axis: &str) -> Html {
    let values = rows.iter().flat_map(|row| {
        let (low, high) = row.interval.unwrap_or((row.value, row.value));
        [row.value, low, high]
    });
    let left = right_of(rows.iter().map(|row| row.name.as_str()));
    let plot = (left, WIDTH - NUMBERS, 6.0, 14.0 + ROW * rows.len() as f64);
    let scale = Scale::linear(values.chain([guide.0]), (plot.0, plot.1));
    let mut parts = vec![x_axis(&scale.ticks(), axis, plot)];
    let at = scale.at(guide.0);
    parts.push(line((at, plot.2), (at, plot.3), guide.1));
    for (number, row) in rows.iter().enumerate() {
        let y = plot.2 + 4.0 + ROW * (number as f64 + 0.5);
        parts.push(dot(row, &scale, (left, y)));
    }
    figure(caption, plot.3 + 42.0, parts)
}

fn dot(row: &Dot, scale: &Scale, (left, y): (f64, f64)) -> Html {
    let (class, name_class) = match row.style {
        DotStyle::Model => ("dot model", "name strong"),
        DotStyle::Baseline => ("dot baseline", "name"),
        DotStyle::Better => ("dot better", "name"),
        DotStyle::Worse => ("dot worse", "name"),
        DotStyle::Open => ("dot open", "name"),
    };
    let mut parts = vec![label(
        left - 10.0,
        y + 4.0,
        Anchor::End,
        name_class,
        &row.name,
    )];
    if let Some((low, high)) = row.interval {
        let (from, to) = (scale.at(low), scale.at(high));
        let path = format!(
            "M{f} {y}H{t}M{f} {a}V{b}M{t} {a}V{b}",
            f = place(from),
            t = place(to),
            y = place(y),
            a = place(y - 4.0),
            b = place(y + 4.0)
        );
        parts.push(element(
            "path",
            &[("d", &path), ("class", &format!("whisker {class}"))],
            [],
        ));
    }
    let x = scale.at(row.value);
    let shape = match row.style {
        // A diamond for the model, so that it stands out in grey too.
        DotStyle::Model => format!(
            "M{} {}l6.5 6.5l-6.5 6.5l-6.5 -6.5z",
            place(x),
            place(y - 6.5)
        ),
        _ => format!(
            "M{} {}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
            place(x - 4.5),
            place(y)
        ),
    };
    parts.push(element("path", &[("d", &shape), ("class", class)], []));
    parts.push(label(
        WIDTH - 4.0,
        y + 4.0,
        Anchor::End,
        name_class,
        &row.text,
    ));
    element("g", &[], parts)
}

/// Bars from the left, one a row: name, length, and what stands at its end.
pub fn bars(caption: Caption<'_>, rows: &[(String, f64, String)]) -> Html {
    let left = right_of(rows.iter().map(|(name, ..)| name.as_str()));
    let plot = (left, WIDTH - NUMBERS, 6.0, 10.0 + ROW * rows.len() as f64);
    let lengths = rows.iter().map(|(_, length, _)| *length);
    let most = lengths.fold(f64::MIN_POSITIVE, f64::max);
    let scale = Scale::between((0.0, most), (plot.0, plot.1));
    let bar = |(number, (name, length, text)): (usize, &(String, f64, String))| {
        let y = plot.2 + ROW * number as f64;
        let end = scale.at(*length).max(plot.0 + 1.0);
        let rect = element(
            "rect",
            &[
                ("x", &place(plot.0)),
                ("y", &place(y + 4.0)),
                ("width", &place(end - plot.0)),
                ("height", &place(ROW - 10.0)),
                ("class", "bar"),
            ],
            [],
        );
        let parts = [
            label(left - 10.0, y + 17.0, Anchor::End, "name", name),
            rect,
            label(end + 6.0, y + 17.0, Anchor::Start, "name", text),
        ];
        element("g", &[], parts)
    };
    let parts: Vec<Html> = rows.iter().enumerate().map(bar).collect();
    figure(caption, plot.3, parts)
}

/// At most so many, evenly taken, the first and the last among them.
pub fn thinned<T: Copy>(values: &[T], most: usize) -> Vec<T> {
    if values.len() <= most {
        return values.to_vec();
    }
    let place = |number: usize| number * (values.len() - 1) / (most - 1);
    (0..most).map(|number| values[place(number)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(html: Html) -> String {
        let page = Html::page("en", Html::default(), html);
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        roxmltree::Document::parse_with_options(&page, options).expect("well-formed");
        page
    }

    fn caption(id: &str) -> Caption<'_> {
        Caption {
            id,
            title: "A < B",
            description: "What & why",
        }
    }

    #[test]
    fn dots_stand_where_their_values_are() {
        let row = |value: f64, style| Dot {
            name: "a \"name\"".to_owned(),
            value,
            interval: Some((value - 0.1, value + 0.1)),
            style,
            text: format!("{value}"),
        };
        let rows = [row(0.4, DotStyle::Model), row(0.2, DotStyle::Baseline)];
        let page = parsed(dots(caption("c"), &rows, (0.4, "guide"), "recall"));
        // From 0.1 to 0.5 over 104 to 338, since names are short: 0.4 lies at three quarters.
        assert!(page.contains("M279.5 17l6.5"), "{page}");
        assert!(page.contains("x1=\"279.5\""), "{page}");
        assert!(page.contains("M221 23.5H338"), "{page}");
        assert!(page.contains("aria-labelledby=\"c-title c-desc\""));
    }

    #[test]
    fn a_course_breaks_where_there_is_no_number() {
        let path = course(&[(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (4.0, 5.0)], "s0");
        let page = parsed(path);
        assert!(page.contains("d=\"M0 1M2 3L4 5\""), "{page}");
    }

    #[test]
    fn every_series_has_a_mark_of_its_own() {
        let paths: Vec<String> = (0..6)
            .map(|series| parsed(marks([(9.0, 9.0)], series, 2.0)))
            .collect();
        for (series, path) in paths.iter().enumerate() {
            assert!(!paths[..series].contains(path), "{path}");
        }
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let many: Vec<u32> = (0..1001).collect();
        let few = thinned(&many, 11);
        assert_eq!((few.len(), few[0], few[10]), (11, 0, 1000));
        assert_eq!(thinned(&many[..5], 11), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn bars_and_legends_are_whole() {
        let rows = [
            ("train".to_owned(), 3.0, "3 s".to_owned()),
            ("none".to_owned(), 0.0, String::new()),
        ];
        let page = parsed(bars(caption("b"), &rows));
        assert!(page.contains("width=\"234\""), "{page}");
        let page = parsed(legend(&["<x>".to_owned(), "y".to_owned()], true));
        assert!(page.contains("&lt;x&gt;"), "{page}");
    }
}
