//! Of what the page was made, and how to make it again.

use super::html::{Html, classed, element, short, tagged, users_text};
use super::{Cell, Section, facts, paragraph, table};
use serde::Serialize;

/// Characters of a value at the most.
const VALUE_MAX: usize = 200;
/// Settings that are shown at the most.
const SETTINGS_MAX: usize = 120;

/// A name and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Of what a page was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The engine's version.
    pub version: String,
    /// The verb that makes it all again.
    pub verb: String,
    /// Digests: of the data, the factors, the run.
    pub digests: Vec<Fact>,
    /// What the data are: columns, rules, rows left out.
    pub data: Vec<Fact>,
    /// What the model was made with, whether the job said so or not.
    pub settings: Vec<Fact>,
}

/// The section.
pub fn section(origin: &Origin) -> Section {
    let listed = |list: &[Fact], class: &'static str| {
        let entries: Vec<(Html, Html)> = list
            .iter()
            .take(SETTINGS_MAX)
            .map(|fact| {
                let value = classed("span", class, short(&fact.value, VALUE_MAX));
                (Html::from(short(&fact.name, VALUE_MAX)), value)
            })
            .collect();
        facts(entries)
    };
    let settings = origin.settings.iter().take(SETTINGS_MAX).map(|fact| {
        let value = classed("span", "mono", short(&fact.value, VALUE_MAX));
        (users_text(&fact.name), vec![Cell::Text(value)])
    });
    let header = [Cell::Text("Setting".into()), Cell::Text("Value".into())];
    let settings = table(
        "table-settings",
        match origin.verb.as_str() {
            "advise" => "What was set for models beyond the job",
            _ => "What the model was made with, defaults included",
        },
        &header,
        settings.collect(),
        None,
    );
    let report = match origin.verb.as_str() {
        "run" => "\ncoordinator report JOB.toml",
        _ => "",
    };
    let commands = format!(
        "coordinator {} JOB.toml{report}\ncoordinator verify MODEL",
        origin.verb
    );
    let again = element(
        "pre",
        &[
            ("tabindex", "0"),
            ("role", "group"),
            ("aria-label", "Commands"),
        ],
        [tagged("code", commands)],
    );
    Section {
        id: "origin",
        name: "How to repeat it",
        parts: vec![
            paragraph(
                "The same data, job and version of the engine give the same factors to the bit, on any number of workers and \
                 threads: compare the digests. With the job file at hand:",
            ),
            again,
            tagged("h3", "Digests"),
            listed(&origin.digests, "mono"),
            tagged("h3", "Data"),
            listed(&origin.data, "id"),
            element("details", &[], [tagged("summary", "Settings"), settings]),
        ],
    }
}

/// The last line.
pub fn footer(origin: &Origin) -> Html {
    paragraph(format!(
        "Made by Strata {}. This file needs nothing beside it: no network, no script.",
        origin.version
    ))
}
