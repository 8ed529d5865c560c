//! The live page: the design of the report, filled in while a run goes on.
//!
//! **Invariant:** every word of it is made here; the script puts what it is sent into its place and draws the map. A page of a
//! thousand workers has as many elements as one of fifty.

use super::html::{Html, classed, element, tagged, users_text};
use super::{Course, charts, curve, names, note, number, paragraph};
use crate::live::status::{Course as Going, Epoch, Phase, Status, Worker};
use crate::output::report::EpochReport;
use std::collections::BTreeMap;
use tensor::ByteSize;

/// Parts of the page, by the id of their place.
pub type Fragments = BTreeMap<&'static str, String>;

/// Rows of the table of workers, and lines of the log.
const WORKERS_SHOWN: usize = 32;
const LINES_SHOWN: usize = 40;
/// Colours of workers; numbers beyond share them.
const HUES: usize = 12;

/// The script of the page.
pub const SCRIPT: &str = include_str!("live.js");

/// The style sheet of the page.
pub fn style() -> String {
    [include_str!("style.css"), include_str!("live.css")].concat()
}

const TILES: [(&str, &str); 8] = [
    ("tile-phase", "Phase"),
    ("tile-done", "Done"),
    ("tile-left", "Time left"),
    ("tile-workers", "Workers"),
    ("tile-memory", "Memory"),
    ("tile-moved", "Moved"),
    ("tile-checkpoint", "Checkpoint"),
    ("tile-faults", "Faults"),
];

/// The page, with what is known now in every place: it can be read without the script.
pub fn page(status: &Status) -> String {
    let now = fragments(status);
    let part = |id: &str| now.get(id).map(String::as_str).unwrap_or_default();
    let meta = |name, content| element("meta", &[("name", name), ("content", content)], []);
    let head = element(
        "head",
        &[],
        [
            element("meta", &[("charset", "utf-8")], []),
            meta("viewport", "width=device-width, initial-scale=1"),
            element("title", &[("id", "title")], [Html::made(part("title"))]),
            element("link", &[("rel", "stylesheet"), ("href", "/live.css")], []),
            element("script", &[("src", "/live.js"), ("defer", "defer")], []),
        ],
    );
    let filled = |tag, id: &'static str, class| {
        element(tag, &[("id", id), ("class", class)], [Html::made(part(id))])
    };
    let header = element(
        "header",
        &[],
        [
            filled("p", "eyebrow", "eyebrow"),
            filled("h1", "headline", "headline"),
            element(
                "p",
                &[("id", "status"), ("class", "lead"), ("role", "status")],
                [Html::made(part("status"))],
            ),
            element(
                "p",
                &[("id", "link")],
                ["This page keeps itself up to date with a script.".into()],
            ),
        ],
    );
    let tiles = TILES.iter().map(|(id, name)| {
        let value = element("dd", &[("id", id)], [Html::made(part(id))]);
        element("div", &[], [tagged("dt", *name), value])
    });
    let section = |id: &'static str, name: &str, parts: Vec<Html>| {
        let heading = format!("{id}-heading");
        let title = element("h2", &[("id", &heading)], [name.into()]);
        element(
            "section",
            &[("aria-labelledby", &heading)],
            [title].into_iter().chain(parts),
        )
    };
    let now_section = section(
        "now",
        "Now",
        vec![element("dl", &[("class", "tiles")], tiles)],
    );
    let main = element(
        "main",
        &[],
        [
            now_section,
            section(
                "blocks",
                "Blocks",
                vec![
                    map(part("map-title"), part("map-desc")),
                    note(
                        "A square is a task of the step in front, of a block each. Full: done; smaller: in work; a point, or in a map of \
                         thousands nothing: waits. Colours are workers, and the numbers of workers that share one differ by 12.",
                    ),
                ],
            ),
            section(
                "training",
                "How training goes",
                vec![element(
                    "div",
                    &[("id", "course")],
                    [Html::made(course(&[]).as_str())],
                )],
            ),
            section(
                "phases-so-far",
                "Phases",
                vec![table(
                    "phases",
                    "Phases in the order in which they began",
                    &["Phase", "Time", "Done", "Each second", "What came of it"],
                    part("phases"),
                )],
            ),
            section(
                "who",
                "Workers",
                vec![
                    table(
                        "workers",
                        "Workers of this phase; memory is that of their process",
                        &[
                            "Worker",
                            "State",
                            "Tasks",
                            "Memory",
                            "Sent",
                            "Received",
                            "Computing",
                            "Waiting",
                        ],
                        part("workers"),
                    ),
                    filled("p", "workers-more", "note fixed"),
                ],
            ),
            section(
                "happened",
                "What happened",
                vec![filled("p", "faults", "fixed"), filled("ol", "log", "log")],
            ),
        ],
    );
    let footer = element(
        "footer",
        &[],
        [paragraph(format!(
            "Strata {}. The same for programs: /status.json, and /metrics for Prometheus. Nothing can be changed from here.",
            status.version
        ))],
    );
    let body = element("body", &[("class", "live")], [header, main, footer]);
    Html::page("en", head, body)
}

fn map(title: &str, description: &str) -> Html {
    let shape = |class: &str| element("path", &[("class", class), ("d", "")], []);
    let shapes = ["works", "done"]
        .iter()
        .flat_map(|kind| (0..HUES).map(move |hue| format!("{kind} h{hue}")));
    let words = [
        element("title", &[("id", "map-name")], ["Map of blocks".into()]),
        element("desc", &[("id", "map-desc")], [Html::made(description)]),
    ];
    let svg = element(
        "svg",
        &[
            ("id", "map"),
            ("viewBox", "0 0 24 1"),
            ("role", "img"),
            ("aria-labelledby", "map-name map-desc"),
        ],
        words
            .into_iter()
            .chain([shape("waits")])
            .chain(shapes.map(|class| shape(&class))),
    );
    let caption = element("figcaption", &[("id", "map-title")], [Html::made(title)]);
    element("figure", &[], [caption, svg])
}

/// A table whose rows are put into it: what scrolls stays where it is.
fn table(id: &'static str, caption: &str, header: &[&'static str], rows: &str) -> Html {
    let name = format!("{id}-caption");
    let cells = header.iter().enumerate().map(|(place, text)| {
        let class = if is_number(id, place) { "n" } else { "t" };
        element(
            "th",
            &[("scope", "col"), ("class", class)],
            [(*text).into()],
        )
    });
    let table = element(
        "table",
        &[],
        [
            element("caption", &[("id", &name)], [caption.into()]),
            element("thead", &[], [element("tr", &[], cells)]),
            element("tbody", &[("id", id)], [Html::made(rows)]),
        ],
    );
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

fn is_number(table: &str, place: usize) -> bool {
    match table {
        "phases" => (1..4).contains(&place),
        _ => place >= 2,
    }
}

fn row(table: &str, cells: Vec<Html>) -> Html {
    let cells = cells.into_iter().enumerate().map(|(place, cell)| {
        if place == 0 {
            element("th", &[("scope", "row")], [cell])
        } else if is_number(table, place) {
            classed("td", "n", cell)
        } else {
            tagged("td", cell)
        }
    });
    element("tr", &[], cells)
}

fn bytes(count: u64) -> String {
    ByteSize(count).to_string()
}

fn small(text: impl Into<Html>) -> Html {
    tagged("small", text)
}

/// Everything that changes while a run goes on, but for the curve and the map.
pub fn fragments(status: &Status) -> Fragments {
    let mut all = Fragments::new();
    let mut put = |id, parts: Vec<Html>| {
        let text: String = parts.into_iter().map(Html::text).collect();
        all.insert(id, text);
    };
    let (headline, sentence) = headline(status);
    put(
        "title",
        vec![format!("{headline} (Strata, {})", status.verb).into()],
    );
    put("eyebrow", vec![eyebrow(status).into()]);
    put("headline", vec![headline.into()]);
    put("status", vec![sentence.into()]);
    for (id, parts) in tiles(status) {
        put(id, parts);
    }
    let step = status.step.as_ref();
    let title = step.map_or_else(
        || "No step yet".to_owned(),
        |step| {
            let (done, tasks) = (number::count(step.done), number::count(step.tasks));
            format!("{}: {done} of {tasks} done", step.step)
        },
    );
    put("map-title", vec![title.as_str().into()]);
    put("map-desc", vec![format!("{title}.").into()]);
    put("phases", status.phases.iter().rev().map(phase).collect());
    let shown = shown_workers(&status.workers);
    put("workers", shown.iter().map(|of| worker(of)).collect());
    let more = status.workers.len() - shown.len();
    let more = if more == 0 {
        Vec::new()
    } else {
        let more = number::count(more as u64);
        vec![format!("{more} more are in /status.json.").into()]
    };
    put("workers-more", more);
    put("faults", vec![faults(status).into()]);
    let lines = status.log.iter().rev().take(LINES_SHOWN);
    put(
        "log",
        lines.map(|line| logged(line.seconds, &line.line)).collect(),
    );
    all
}

fn eyebrow(status: &Status) -> String {
    let run = status.run.as_ref();
    let run = run.map_or_else(String::new, |run| format!(" · run {run}"));
    let term = status
        .term
        .map_or_else(String::new, |term| format!(", term {term}"));
    format!("Strata {} · {}{run}{term}", status.version, status.verb)
}

/// What goes on, in two words and in a sentence.
fn headline(status: &Status) -> (String, String) {
    let seconds = number::seconds(status.seconds);
    match (status.state, &status.failure, status.phases.last()) {
        (Going::Finished, _, _) => (
            "Finished".to_owned(),
            format!("The run has ended well after {seconds}."),
        ),
        (Going::Failed, Some(ended), _) => (
            "Failed".to_owned(),
            format!("{} (exit code {})", ended.message, ended.exit_code),
        ),
        (_, _, Some(phase)) if !phase.over => {
            let name = names::phase(&phase.phase);
            let sentence = format!("{name} goes on.");
            (name, sentence)
        }
        _ => ("Working".to_owned(), "Between two phases.".to_owned()),
    }
}

fn counted(phase: &Phase) -> String {
    let show = |count| match phase.unit {
        "bytes" => bytes(count),
        unit => format!("{} {unit}", number::count(count)),
    };
    // Tasks are submitted as they come: their number is no end.
    match phase.total.filter(|_| phase.unit != "tasks") {
        Some(total) => format!("{} of {}", show(phase.done), show(total)),
        None => show(phase.done),
    }
}

fn rate(phase: &Phase) -> String {
    match phase.unit {
        "bytes" => format!("{}/s", bytes(phase.rate as u64)),
        _ if phase.rate >= 10.0 => format!("{}/s", number::count(phase.rate as u64)),
        _ => format!("{:.1}/s", phase.rate),
    }
}

fn tiles(status: &Status) -> Vec<(&'static str, Vec<Html>)> {
    let phase = status.phases.last();
    let epoch = status.epoch.as_ref();
    let of_epoch = epoch.map(|of| small(format!("epoch {} of {}", of.epoch, of.epochs)));
    let named = phase.map_or_else(|| "none yet".to_owned(), |of| names::phase(&of.phase));
    let working = |state| {
        let of = status.workers.iter().filter(|of| of.state == state);
        number::count(of.count() as u64)
    };
    let lost = status.workers.iter().filter(|of| is_gone(of)).count();
    let lost = (lost > 0).then(|| small(format!("{} lost", number::count(lost as u64))));
    let memory = status.memory;
    let checkpoint = status.checkpoint.map_or_else(
        || vec!["none yet".into()],
        |of| {
            let age = number::seconds(of.age_seconds);
            let took = number::seconds(of.seconds);
            vec![
                format!("{age} ago").into(),
                small(format!("epoch {}, took {took}", of.epoch)),
            ]
        },
    );
    let faults: u64 = status.faults.values().sum();
    let faults = if faults == 0 {
        "none".to_owned()
    } else {
        number::count(faults)
    };
    let left = status.left_seconds.map(number::seconds);
    let moved = status.moved;
    vec![
        (
            "tile-phase",
            [Html::from(named)].into_iter().chain(of_epoch).collect(),
        ),
        (
            "tile-done",
            phase.map_or_else(Vec::new, |of| {
                let at = (!of.over).then(|| small(rate(of)));
                [Html::from(counted(of))].into_iter().chain(at).collect()
            }),
        ),
        (
            "tile-left",
            vec![left.unwrap_or_else(|| "not known".to_owned()).into()],
        ),
        (
            "tile-workers",
            [Html::from(working("working"))]
                .into_iter()
                .chain(lost)
                .collect(),
        ),
        (
            "tile-memory",
            vec![
                bytes(memory.anonymous_bytes).into(),
                small(format!("of {}", bytes(memory.budget_bytes))),
            ],
        ),
        (
            "tile-moved",
            vec![
                bytes(moved.between_workers_bytes).into(),
                small(format!(
                    "and {} through here",
                    bytes(moved.through_coordinator_bytes)
                )),
            ],
        ),
        ("tile-checkpoint", checkpoint),
        ("tile-faults", vec![faults.into()]),
    ]
}

fn phase(phase: &Phase) -> Html {
    let rate = if phase.over {
        String::new()
    } else {
        rate(phase)
    };
    let summary = if phase.over {
        phase.summary.as_str()
    } else {
        "goes on"
    };
    let cells = vec![
        names::phase(&phase.phase).into(),
        number::seconds(phase.seconds).into(),
        counted(phase).into(),
        rate.into(),
        summary.into(),
    ];
    row("phases", cells)
}

fn is_gone(worker: &Worker) -> bool {
    matches!(worker.state, "lost" | "given_up" | "shut_out")
}

/// Those that are not as they should be first, then by number.
fn shown_workers(all: &[Worker]) -> Vec<&Worker> {
    let (well, not): (Vec<&Worker>, Vec<&Worker>) =
        all.iter().partition(|of| of.state == "working");
    // Of the lost the latest, and room for those that work.
    let not = not.into_iter().rev().take(WORKERS_SHOWN / 2);
    not.chain(well).take(WORKERS_SHOWN).collect()
}

fn worker(of: &Worker) -> Html {
    let number_of = format!("w{}", of.worker);
    let name = if of.address.is_empty() {
        Html::from(number_of)
    } else {
        let parts = [number_of.into(), " ".into(), users_text(&of.address)];
        element("span", &[], parts)
    };
    let memory = format!(
        "{} of {}",
        bytes(of.anonymous_bytes),
        bytes(of.budget_bytes)
    );
    let cells = vec![
        name,
        of.state.replace('_', " ").into(),
        number::count(of.tasks).into(),
        memory.into(),
        bytes(of.sent_bytes).into(),
        bytes(of.received_bytes).into(),
        number::seconds(of.compute_seconds).into(),
        number::seconds(of.fetch_seconds).into(),
    ];
    row("workers", cells)
}

fn faults(status: &Status) -> String {
    let mut told = Vec::new();
    for (kind, count) in status.faults.iter().filter(|(_, count)| **count > 0) {
        let words = match *kind {
            "worker_lost" => "worker lost",
            "results_differ" => "result that another worker did not come to",
            "worker_shut_out" => "worker shut out for a wrong result",
            "task_slow" => "task given to a second worker, since the first takes long",
            "worker_suspected" => "worker silent for a while",
            "worker_given_up" => "worker given up",
            "rollback" => "return to a checkpoint",
            "task_unreachable" => "task without an input that was to be had from a peer",
            "task_corrupt" => "task with a damaged input",
            "task_exhausted" => "task short of disk or another resource",
            "task_panicked" => "task whose worker panicked at it",
            "task_disk" => "task whose worker's own disk failed it",
            "task_budget" => "task short of memory",
            _ => "task refused",
        };
        let count = number::count(*count);
        told.push(format!("{count} × {words}"));
    }
    let again = status.tasks.retried;
    if again > 0 {
        told.push(format!("{} × task given again", number::count(again)));
    }
    if told.is_empty() {
        return "No fault so far.".to_owned();
    }
    format!(
        "Faults so far: {}. They cost time and change no result.",
        told.join("; ")
    )
}

fn logged(seconds: f64, line: &str) -> Html {
    let at = tagged("time", clock(seconds));
    element("li", &[], [at, tagged("span", line)])
}

/// Since the beginning, as `1:02:03`.
fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// The curve of this phase.
pub fn course(epochs: &[Epoch]) -> String {
    let epochs = epochs.iter().map(|of| EpochReport {
        epoch: of.epoch,
        objective: of.objective,
        seconds: of.seconds,
        metrics: of.metrics.clone(),
    });
    let course = Course {
        epochs: epochs.collect(),
        best: None,
    };
    let figures = curve::figures(&course);
    let html = if figures.is_empty() {
        note("A curve is drawn from the second epoch of a training on.")
    } else {
        charts(figures)
    };
    html.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{OfWorker, Report};
    use crate::live::Live;
    use crate::progress::{Observer, Unit};
    use plan::Profile;
    use roxmltree::Document;
    use tensor::{News, WorkerId};

    fn joined(address: &str) -> OfWorker {
        OfWorker::Joined {
            profile: Profile {
                threads: 1,
                memory_bytes: 1 << 30,
            },
            address: address.to_owned(),
        }
    }

    fn parsed(page: &str) -> Document<'_> {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..roxmltree::ParsingOptions::default()
        };
        Document::parse_with_options(page, options).expect("a well-formed page")
    }

    #[test]
    fn every_fragment_has_a_place_and_nothing_of_users_is_markup() {
        let live = Live::new("run", 1 << 30);
        live.begin("train", Unit::Tasks, None);
        let hostile = "<script>alert(1)</script>\u{0}&\"";
        live.hear(&Report::Worker(WorkerId(0), joined(hostile)));
        live.note(hostile);
        for epoch in 1..=3 {
            live.news(&News::Epoch {
                epoch,
                epochs: 5,
                objective: Some(1.0 / f64::from(epoch)),
                metrics: vec![(hostile.to_owned(), 0.5)],
            });
        }
        let status = live.status();
        let page = page(&status);
        let document = parsed(&page);
        let ids: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.attribute("id"))
            .collect();
        for place in fragments(&status).keys().chain(&["course"]) {
            assert!(ids.contains(place), "{place}");
        }
        assert_eq!(page.matches("<script").count(), 1, "our own");
        assert!(!page.contains("style="), "the policy allows no such thing");
        let curve = course(&[
            Epoch {
                epoch: 1,
                epochs: 3,
                objective: Some(2.0),
                metrics: BTreeMap::new(),
                seconds: 1.0,
            },
            Epoch {
                epoch: 2,
                epochs: 3,
                objective: Some(1.0),
                metrics: BTreeMap::new(),
                seconds: 1.0,
            },
        ]);
        assert!(curve.contains("Objective") && !curve.contains("style="));
    }

    #[test]
    fn a_thousand_workers_need_no_more_room_than_fifty() {
        let page_of = |workers: u32| {
            let live = Live::new("run", 1 << 30);
            live.begin("train", Unit::Tasks, None);
            for worker in 0..workers {
                live.hear(&Report::Worker(WorkerId(worker), joined("10.0.0.1:7070")));
            }
            live.hear(&Report::Worker(WorkerId(7), OfWorker::Lost("gone".into())));
            page(&live.status())
        };
        let (few, many) = (page_of(50), page_of(1000));
        assert!(many.len() < few.len() + 500, "{} {}", few.len(), many.len());
        let (_, rows) = many.split_once("<tbody id=\"workers\">").expect("a table");
        assert!(
            rows.starts_with("<tr><th scope=\"row\"><span>w7 "),
            "the lost one stands first"
        );
        assert!(many.contains("968 more are in /status.json."));
    }

    #[test]
    fn the_end_is_told_in_words() {
        let live = Live::new("train", 1 << 30);
        let refused = crate::Failure::new(plan::Refusal::BadData, "row 7 is <b>bad</b>");
        live.finish(Some(&refused));
        let told = fragments(&live.status());
        assert_eq!(told["headline"], "Failed");
        assert_eq!(
            told["status"],
            "row 7 is &lt;b&gt;bad&lt;/b&gt; (exit code 65)"
        );
        assert_eq!(clock(3723.9), "1:02:03");
    }
}
