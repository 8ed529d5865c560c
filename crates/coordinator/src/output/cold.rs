//! What serves newcomers best, for programs and for people.

use super::tables::{aligned, right};
use indicatif::HumanCount;
use model::advise::Gap;
use model::bootstrap::Interval;
use serde::Serialize;
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColdReport {
    /// By what rows are compared.
    pub metric: String,
    /// New users, where some are held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<SideReport>,
    /// New products, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub products: Option<SideReport>,
}

/// Newcomers of a mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SideReport {
    /// How many are held out.
    pub newcomers: u64,
    /// Users whose lists are judged.
    pub users: u64,
    /// Of how many each list chooses.
    pub candidates: u64,
    /// What each row is less.
    pub against: String,
    /// What was compared.
    pub rows: Vec<ColdRow>,
    /// What is said of it.
    pub verdict: String,
}

/// A way to serve them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColdRow {
    /// Its name.
    pub name: String,
    /// How much of each newcomer it knows; null where it asks for nothing of them.
    pub history: Option<u32>,
    /// `recall@20`, `ndcg@20`.
    pub figures: BTreeMap<String, f64>,
    /// 95 % of each.
    pub intervals: BTreeMap<String, Interval>,
    /// The metric less that of `against`, at 95 % for all rows at once.
    pub gap: Option<Gap>,
}

/// The name of what reads attributes alone.
pub const ATTRIBUTES: &str = "attributes";
/// The name of what a graph convolution makes of attributes and a history.
pub const CONVOLVED: &str = "convolution";
/// The name of what is solved from a history.
pub const FOLDED: &str = "fold-in";

fn said(gap: &Gap) -> String {
    let Interval(low, high) = gap.interval;
    format!("{:+.4} [{low:+.4}, {high:+.4}]", gap.difference)
}

/// The sentences on a side.
pub fn verdict(side: &SideReport, metric: &str, of: &str) -> String {
    let against = &side.against;
    let mut sentences = Vec::new();
    let attributes = side.rows.iter().find(|row| row.name == ATTRIBUTES);
    match attributes.and_then(|row| row.gap) {
        Some(gap) if gap.above(0.0) => sentences.push(format!(
            "New {of}: attributes beat {against} by {} {metric}.",
            said(&gap)
        )),
        Some(gap) if gap.below(0.0) => sentences.push(format!(
            "New {of}: attributes are worse than {against} by {} {metric}: do not use them.",
            said(&gap)
        )),
        Some(gap) => sentences.push(format!(
            "New {of}: between attributes and {against} there is no difference that the intervals support, {} {metric}.",
            said(&gap)
        )),
        None => sentences.push(format!(
            "New {of}: the data know no attributes of them: give [input.{}_attributes] to have these compared.",
            of.trim_end_matches('s')
        )),
    }
    let what = if of == "users" { "purchases" } else { "buyers" };
    sentences.extend(from_a_history(side, FOLDED, "folding in", what));
    let convolved = "a graph convolution of attributes";
    sentences.extend(from_a_history(side, CONVOLVED, convolved, what));
    sentences.join(" ")
}

/// From how much of a history on something is above what it is set beside; `known` are its units.
fn from_a_history(side: &SideReport, name: &str, said_of: &str, known: &str) -> Option<String> {
    let against = &side.against;
    let rows = || side.rows.iter().filter(|row| row.name == name);
    let better = rows().find_map(|row| row.gap.filter(|gap| gap.above(0.0)).zip(row.history));
    let most = rows().filter_map(|row| row.history).max()?;
    Some(match better {
        Some((gap, 0)) => {
            let gap = said(&gap);
            format!("Without any, {said_of} beats {against} by {gap}.")
        }
        Some((gap, history)) => {
            let gap = said(&gap);
            format!(
                "From a history of {history} {known} on, {said_of} beats {against}, then by {gap}."
            )
        }
        None => {
            let mut begins = said_of.to_owned();
            begins[..1].make_ascii_uppercase();
            format!(
                "{begins} is not above {against} with up to {most} {known}, as far as the intervals tell."
            )
        }
    })
}

/// For people.
pub fn show(report: &ColdReport) -> String {
    let sides = [("users", &report.users), ("products", &report.products)];
    let sides = sides
        .into_iter()
        .filter_map(|(of, side)| Some((of, side.as_ref()?)));
    let parts = sides.map(|(of, side)| {
        let mut lines = vec![format!(
            "{} {of} held out; lists of {} users, of {} products each",
            HumanCount(side.newcomers),
            HumanCount(side.users),
            HumanCount(side.candidates)
        )];
        let names = side.rows.first().map(|row| row.figures.keys().rev());
        let names: Vec<String> = names.into_iter().flatten().cloned().collect();
        let header = [format!("new {of} by"), "known of each".to_owned()];
        let last = format!("{} minus {}", report.metric, side.against);
        let mut table = aligned(
            header
                .into_iter()
                .chain(names.iter().cloned())
                .chain([last]),
        );
        for row in &side.rows {
            let history = row
                .history
                .map_or_else(|| "-".to_owned(), |of| of.to_string());
            let figure = |name: &String| match (row.figures.get(name), row.intervals.get(name)) {
                (Some(value), Some(Interval(low, high))) => {
                    format!("{value:.4} [{low:.4}, {high:.4}]")
                }
                (Some(value), None) => format!("{value:.4}"),
                (None, _) => "-".to_owned(),
            };
            let gap = row.gap.filter(|_| row.name != side.against);
            let cells = [row.name.clone(), history].into_iter();
            let cells = cells.chain(names.iter().map(figure));
            table.add_row(cells.chain([gap.as_ref().map_or_else(String::new, said)]));
        }
        lines.push(right(table).trim_fmt());
        lines.push(side.verdict.clone());
        lines.join("\n")
    });
    parts.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, history: Option<u32>, difference: f64) -> ColdRow {
        ColdRow {
            name: name.to_owned(),
            history,
            gap: Some(Gap {
                difference,
                interval: Interval(difference - 0.02, difference + 0.02),
            }),
            ..ColdRow::default()
        }
    }

    fn told(attributes: f64, folded: [f64; 2]) -> String {
        let side = SideReport {
            against: "popularity".to_owned(),
            rows: vec![
                row("popularity", None, 0.0),
                row(ATTRIBUTES, Some(0), attributes),
                row(FOLDED, Some(1), folded[0]),
                row(FOLDED, Some(5), folded[1]),
            ],
            ..SideReport::default()
        };
        verdict(&side, "recall@20", "users")
    }

    #[test]
    fn the_verdict_is_what_intervals_support() {
        assert_eq!(
            told(0.05, [0.01, 0.06]),
            "New users: attributes beat popularity by +0.0500 [+0.0300, +0.0700] recall@20. From a history of 5 purchases on, folding in beats \
             popularity, then by +0.0600 [+0.0400, +0.0800]."
        );
        assert!(told(-0.05, [0.0; 2]).contains("attributes are worse than popularity by -0.0500"));
        // A convolution that knows attributes alone, or that needs a history.
        let convolved = |first: f64, then: f64| {
            let side = SideReport {
                against: "chance".to_owned(),
                rows: vec![
                    row(CONVOLVED, Some(0), first),
                    row(CONVOLVED, Some(3), then),
                ],
                ..SideReport::default()
            };
            verdict(&side, "recall@20", "products")
        };
        let ends = |said: String, end: &str| assert!(said.ends_with(end), "{said}");
        ends(
            convolved(0.05, 0.06),
            "Without any, a graph convolution of attributes beats chance by +0.0500 [+0.0300, +0.0700].",
        );
        ends(
            convolved(0.0, 0.06),
            "From a history of 3 buyers on, a graph convolution of attributes beats chance, then by +0.0600 [+0.0400, +0.0800].",
        );
        ends(
            convolved(0.0, -0.06),
            "A graph convolution of attributes is not above chance with up to 3 buyers, as far as the intervals tell.",
        );
        let none = told(0.01, [0.0; 2]);
        assert!(
            none.contains("no difference that the intervals support"),
            "{none}"
        );
        assert!(
            none.contains("not above popularity with up to 5 purchases"),
            "{none}"
        );
    }
}
