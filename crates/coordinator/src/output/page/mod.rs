//! The report: one HTML file that needs nothing beside it, for a person who decides on the model.
//!
//! **Invariant:** a section is a function from a part of [`Page`] to HTML; nothing here reads a file or computes a figure. Whatever
//! the data, a page has at most 2 MB: rows, points and characters are counted where they are written. The same model and job give
//! the same bytes, but for [`Work`], which says how long things took.

mod advice;
mod chart;
mod curve;
mod degrees;
mod examples;
mod factors;
mod headline;
pub mod html;
pub mod live;
mod map;
mod names;
mod number;
mod origin;
mod quality;
mod scale;
mod work;

pub use examples::LISTED;
pub use headline::{HeldOut, Span, Subject};
pub use map::{Map, MapGroup};
pub use origin::{Fact, Origin};

use crate::output::advice::AdviceReport;
use crate::output::report::{BestReport, EpochReport, PhaseReport};
use html::{Html, classed, element, tagged};
use model::evaluate::Evaluation;
use model::facts::Facts;
use serde::{Deserialize, Serialize};

/// All that a page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// What was trained on what.
    pub subject: Subject,
    /// Which of several models to use, where they were compared.
    pub advice: Option<AdviceReport>,
    /// How good it is, where something is held out.
    pub evaluation: Option<Evaluation>,
    /// The course of training.
    pub course: Course,
    /// Factors of time, where the model has them.
    pub times: Option<Times>,
    /// How interactions are spread over users and products.
    pub degrees: Option<Facts>,
    /// Users on a plane.
    pub map: Option<Map>,
    /// Users and their lists.
    pub examples: Vec<Example>,
    /// What it took.
    pub work: Work,
    /// Of what it was made, and how to make it again.
    pub origin: Origin,
}

/// The course of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Course {
    /// Epoch by epoch.
    pub epochs: Vec<EpochReport>,
    /// The one that the model is of, where epochs were compared.
    pub best: Option<BestReport>,
}

/// Factors of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// What a bin is, as in `week`.
    pub bin: String,
    /// When each begins.
    pub starts: Vec<String>,
    /// Bin by bin, those of each factor.
    pub factors: Vec<Vec<f32>>,
}

/// A user with a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Example {
    /// The original id.
    pub user: String,
    /// Interactions of the training part.
    pub interactions: u64,
    /// What the user had most, and how much of it.
    pub had: Vec<Had>,
    /// What is added up; `None`: how often.
    pub unit: Option<String>,
    /// What is recommended, the best first.
    pub recommended: Vec<Recommended>,
    /// Products that are new to the user in what was held out; `None` where nothing was.
    pub held_out: Option<u64>,
}

/// A product that a user had.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Had {
    /// The product.
    pub product: Product,
    /// How much of it.
    pub amount: f64,
}

/// A product that a user should like.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recommended {
    /// The product.
    pub product: Product,
    /// Whether it is in what was held out.
    pub hit: bool,
}

/// A product.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Product {
    /// The original id.
    pub id: String,
    /// What is known of it besides.
    pub about: Option<String>,
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Phase by phase, those of the run that trained first.
    pub phases: Vec<PhaseReport>,
    /// The epoch of the checkpoint from which the run went on.
    pub resumed_from: Option<u32>,
}

/// The page as a file.
pub fn render(page: &Page) -> String {
    let sections: Vec<Section> = [
        advice::section(page.advice.as_ref()),
        quality::section(page.evaluation.as_ref()),
        curve::section(&page.course),
        factors::section(page.times.as_ref()),
        map::section(page.map.as_ref()),
        examples::section(&page.examples),
        degrees::section(page.degrees.as_ref()),
        work::section(&page.work),
        Some(origin::section(&page.origin)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = headline::title(page);
    let head = element(
        "head",
        &[],
        [
            element("meta", &[("charset", "utf-8")], []),
            element(
                "meta",
                &[
                    ("name", "viewport"),
                    ("content", "width=device-width, initial-scale=1"),
                ],
                [],
            ),
            // Whatever an id holds, nothing is fetched and nothing runs.
            element(
                "meta",
                &[
                    ("http-equiv", "Content-Security-Policy"),
                    ("content", "default-src 'none'; style-src 'unsafe-inline'"),
                ],
                [],
            ),
            tagged("title", title),
            Html::style(include_str!("style.css")),
        ],
    );
    let header = element("header", &[], [headline::header(page), contents(&sections)]);
    let main = element("main", &[], sections.into_iter().map(Section::html));
    let footer = element("footer", &[], [origin::footer(&page.origin)]);
    let body = element("body", &[], [header, main, footer]);
    Html::page("en", head, body)
}

/// A part of the page with a name of its own.
struct Section {
    id: &'static str,
    name: &'static str,
    parts: Vec<Html>,
}

impl Section {
    fn html(self) -> Html {
        let heading = format!("{}-heading", self.id);
        let title = element("h2", &[("id", &heading)], [self.name.into()]);
        element(
            "section",
            &[("id", self.id), ("aria-labelledby", &heading)],
            [title].into_iter().chain(self.parts),
        )
    }
}

fn contents(sections: &[Section]) -> Html {
    let links = sections.iter().map(|section| {
        let target = format!("#{}", section.id);
        let link = element("a", &[("href", &target)], [section.name.into()]);
        element("li", &[], [link])
    });
    let list = element("ul", &[], links);
    element("nav", &[("aria-label", "On this page")], [list])
}

/// A cell of a table.
enum Cell {
    /// Text.
    Text(Html),
    /// A number, to the right.
    Number(Html),
}

/// A table that scrolls by itself where it is wider than the page. `marked`: a row that stands out.
fn table(
    id: &str,
    caption: &str,
    header: &[Cell],
    rows: Vec<(Html, Vec<Cell>)>,
    marked: Option<usize>,
) -> Html {
    let name = format!("{id}-caption");
    let head = header.iter().map(|cell| match cell {
        Cell::Text(text) => element("th", &[("scope", "col")], [text.clone()]),
        Cell::Number(text) => element("th", &[("scope", "col"), ("class", "n")], [text.clone()]),
    });
    let head = element("thead", &[], [element("tr", &[], head)]);
    let rows = rows
        .into_iter()
        .enumerate()
        .map(|(number, (first, cells))| {
            let first = element("th", &[("scope", "row")], [first]);
            let cells = cells.into_iter().map(|cell| match cell {
                Cell::Text(text) => tagged("td", text),
                Cell::Number(text) => classed("td", "n", text),
            });
            let cells: Vec<Html> = [first].into_iter().chain(cells).collect();
            if marked == Some(number) {
                element("tr", &[("class", "model")], cells)
            } else {
                element("tr", &[], cells)
            }
        });
    let body = element("tbody", &[], rows);
    let caption = element("caption", &[("id", &name)], [caption.into()]);
    let table = element("table", &[], [caption, head, body]);
    // What scrolls must be reached with keys.
    element(
        "div",
        &[
            ("class", "scroll"),
            ("role", "region"),
            ("tabindex", "0"),
            ("aria-labelledby", &name),
        ],
        [table],
    )
}

/// Facts as a list of names and values.
fn facts(list: impl IntoIterator<Item = (Html, Html)>) -> Html {
    let entries = list
        .into_iter()
        .flat_map(|(name, value)| [tagged("dt", name), tagged("dd", value)]);
    element("dl", &[("class", "facts")], entries)
}

fn paragraph(text: impl Into<Html>) -> Html {
    tagged("p", text)
}

fn note(text: impl Into<Html>) -> Html {
    classed("p", "note", text)
}

fn charts(figures: Vec<Html>) -> Html {
    element("div", &[("class", "charts")], figures)
}

#[cfg(test)]
mod tests;
