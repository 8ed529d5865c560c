//! Lines on two logarithmic axes, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Left, right, top, bottom of the plot.
const PLOT: (f64, f64, f64, f64) = (70.0, 480.0, 40.0, 350.0);
const COLOURS: [&str; 6] = [
    "#1b6ca8", "#1b6ca8", "#c2571a", "#c2571a", "#3a7d44", "#3a7d44",
];

/// A line with its name.
pub struct Line {
    /// Beside the plot.
    pub name: String,
    /// Above 0.
    pub points: Vec<(f64, f64)>,
    /// The place of a point that is ringed.
    pub marked: Option<usize>,
    /// Whether it is dashed.
    pub dashed: bool,
}

/// What is drawn.
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below the axes.
    pub x: String,
    /// Beside them.
    pub y: String,
    /// What it shows, for those who do not see it.
    pub description: String,
    /// Lines; every second one has the colour of that before it.
    pub lines: Vec<Line>,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (
        low.min(high).log10().floor(),
        high.log10().ceil().max(low.min(high).log10().floor() + 1.0),
    )
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.0}e9", v / 1e9),
        v if v >= 1.0 => format!("{v:.0}"),
        v => format!("{v}"),
    }
}

/// The picture.
pub fn svg(chart: &Chart) -> String {
    let (left, right, top, bottom) = PLOT;
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let (x0, x1) = span(points().map(|point| point.0));
    let (y0, y1) = span(points().map(|point| point.1));
    let x = |value: f64| left + (value.log10() - x0) / (x1 - x0) * (right - left);
    let y = |value: f64| bottom - (value.log10() - y0) / (y1 - y0) * (bottom - top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{}</title>\n<desc>{}</desc>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(&chart.title),
        escaped(&chart.description),
        escaped(&chart.title)
    );
    for power in x0 as i32..=x1 as i32 {
        let at = x(10_f64.powi(power));
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            short(10_f64.powi(power))
        );
    }
    for power in y0 as i32..=y1 as i32 {
        let at = y(10_f64.powi(power));
        let _ = writeln!(
            out,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            short(10_f64.powi(power))
        );
    }
    for (place, line) in chart.lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let dash = if line.dashed {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        let path: Vec<String> = line
            .points
            .iter()
            .map(|&(a, b)| format!("{:.1} {:.1}", x(a), y(b)))
            .collect();
        let _ = writeln!(
            out,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
            path.join("L")
        );
        if let Some(&(a, b)) = line.marked.and_then(|place| line.points.get(place)) {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"6\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                x(a),
                y(b)
            );
        }
        let at = top + 18.0 * place as f64;
        let _ = writeln!(
            out,
            "<path d=\"M{:.0} {at:.0}h20\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            right + 10.0,
            right + 34.0,
            at + 4.0,
            escaped(&line.name)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n<text transform=\"translate(18 {:.0}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>",
        f64::midpoint(left, right),
        bottom + 36.0,
        escaped(&chart.x),
        f64::midpoint(top, bottom),
        escaped(&chart.y)
    );
    out
}
