//! What segments are, for programs and for people.

use super::tables::{aligned, right};
use indicatif::HumanCount;
use model::bootstrap::Interval;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Rows brought together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SegmentsReport {
    /// The mode.
    pub of: String,
    /// `cosine` or `euclidean`.
    pub distance: String,
    /// Rows in segments.
    pub rows: u64,
    /// Rows that are in none, since they have no training interaction.
    pub left_out: u64,
    /// Rows of the sample.
    pub sample: u64,
    /// The count that was chosen.
    pub k: u32,
    /// Its mean silhouette.
    pub silhouette: f64,
    /// All counts that were tried.
    pub tried: Vec<TriedReport>,
    /// The segments, the largest first.
    pub segments: Vec<SegmentReport>,
    /// What they have in common with attributes of the rows that have levels.
    pub attributes: Vec<ComparedReport>,
    /// How well factors tell attributes of the rows.
    pub probes: Vec<ProbeReport>,
    /// How far recommendations are what segments buy anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<AgreementReport>,
    /// The files, where one was asked for: of rows, and of all this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
}

/// A count of segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TriedReport {
    /// The count.
    pub k: u32,
    /// Those with a row.
    pub segments: u32,
    /// The mean over the sample.
    pub silhouette: f64,
    /// The mean squared distance to centres.
    pub inertia: f64,
    /// Iterations.
    pub iterations: u32,
}

/// A segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SegmentReport {
    /// Its number, from 0.
    pub segment: u32,
    /// Rows.
    pub rows: u64,
    /// Their share of all in segments.
    pub share: f64,
    /// The mean over the sample.
    pub silhouette: Option<f64>,
    /// Products that most buy; of products, those of them that most buy.
    pub popular: Vec<BoughtReport>,
    /// Products that it buys beyond its share, the surest first.
    pub own: Vec<BoughtReport>,
    /// Levels of product attributes that it buys beyond its share, those that tell most first.
    pub levels: Vec<LevelReport>,
    /// Levels of its rows' own attributes beyond their share, those that tell most first.
    pub members: Vec<LevelReport>,
}

/// A product in a segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BoughtReport {
    /// The original id.
    pub id: String,
    /// Its buyers in the segment.
    pub buyers: u32,
    /// Its buyers in all segments.
    pub of: u32,
    /// Its buyers' share of the segment, over that of all; absent where products are brought together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift: Option<f64>,
}

/// A level of an attribute in a segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LevelReport {
    /// The attribute.
    pub attribute: String,
    /// The level.
    pub level: String,
    /// Its share of what the segment buys (pairs of user and product), or of the segment's rows that have the attribute.
    pub share: f64,
    /// That over its share of all of these.
    pub lift: f64,
}

/// Segments beside an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ComparedReport {
    /// The attribute.
    pub attribute: String,
    /// Rows that have it.
    pub rows: u64,
    /// The adjusted Rand index.
    pub adjusted_rand: Option<f64>,
    /// Normalized mutual information.
    pub normalized_information: Option<f64>,
    /// Of each level, rows by segment.
    pub contingency: BTreeMap<String, Vec<u64>>,
}

/// How well factors tell an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeReport {
    /// The attribute.
    pub attribute: String,
    /// `accuracy`, or `r2` of a number.
    pub measure: &'static str,
    /// Rows of the sample that have it.
    pub rows: u64,
    /// What was reached on rows that were not learnt from.
    pub value: f64,
    /// 95 %.
    pub interval: Option<Interval>,
    /// What the most frequent level, or the mean, reaches.
    pub base: f64,
    /// 95 % of the difference.
    pub gain: Option<Interval>,
}

/// Lists of recommendations beside what most buy: shares of them that are in both.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AgreementReport {
    /// Users of the sample.
    pub users: u64,
    /// The length of lists.
    pub k: u32,
    /// With what most buy in the user's segment.
    pub segment: f64,
    /// With what most buy of all.
    pub all: f64,
}

/// Products of a segment in a line of the table.
const NAMED: usize = 4;
/// Levels likewise.
const MEMBERS: usize = 2;

/// For people.
pub fn show(report: &SegmentsReport) -> String {
    let tried = report.tried.iter().map(|tried| {
        let chosen = if tried.k == report.k { " *" } else { "" };
        format!("{} ({:.3}){chosen}", tried.k, tried.silhouette)
    });
    let mut lines = vec![format!(
        "{} {}s in {} segments, {} without interactions in none; silhouettes of {}: {}",
        HumanCount(report.rows),
        report.of,
        report.segments.len(),
        HumanCount(report.left_out),
        HumanCount(report.sample),
        tried.collect::<Vec<_>>().join(", ")
    )];
    let users = report.of == "user";
    let last = if users {
        "buys beyond its share (lift)"
    } else {
        "bought most"
    };
    let header = ["segment", "rows", "share", "silhouette", "who (lift)", last];
    let mut table = aligned(header.into_iter().map(str::to_owned));
    for segment in &report.segments {
        table.add_row([
            segment.segment.to_string(),
            HumanCount(segment.rows).to_string(),
            format!("{:.1} %", 100.0 * segment.share),
            segment
                .silhouette
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")),
            levels(&segment.members, MEMBERS),
            named(segment),
        ]);
    }
    lines.push(right(table).trim_fmt());
    lines.extend(report.attributes.iter().map(|of| {
        let index =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |x| format!("{x:.3}"));
        format!(
            "beside {}: adjusted Rand index {}, normalized information {}",
            of.attribute,
            index(of.adjusted_rand),
            index(of.normalized_information)
        )
    }));
    lines.extend(report.probes.iter().map(probe));
    lines.extend(report.agreement.as_ref().map(|of| {
        format!(
            "of {} recommendations {:.1} are what the segment buys most anyway, {:.1} what all buy most",
            of.k,
            of.segment * f64::from(of.k),
            of.all * f64::from(of.k)
        )
    }));
    let files = report.files.iter().map(|file| file.display().to_string());
    if !report.files.is_empty() {
        lines.push(format!("in {}", files.collect::<Vec<_>>().join(" and ")));
    }
    lines.join("\n")
}

/// What a segment is known by: levels of attributes first, they say more.
fn named(segment: &SegmentReport) -> String {
    let own = segment.own.iter().map(|of| match of.lift {
        Some(lift) => format!("{} ({lift:.1})", of.id),
        None => of.id.clone(),
    });
    let popular = segment.popular.iter().filter(|of| of.lift.is_none());
    let popular = popular.map(|of| of.id.clone());
    let bought = own.chain(popular).take(NAMED).collect::<Vec<_>>();
    let levels = levels(&segment.levels, MEMBERS);
    let all = [levels, bought.join(", ")].into_iter();
    all.filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The first of some levels.
fn levels(of: &[LevelReport], count: usize) -> String {
    let first = of.iter().take(count);
    let first = first.map(|of| format!("{} {} ({:.1})", of.attribute, of.level, of.lift));
    first.collect::<Vec<_>>().join(", ")
}

fn probe(of: &ProbeReport) -> String {
    let Some(Interval(low, high)) = of.interval else {
        return format!(
            "factors tell {}: not tried, {} rows of the sample have it",
            of.attribute,
            HumanCount(of.rows)
        );
    };
    let (what, beside) = match of.measure {
        "r2" => ("R²", String::new()),
        _ => (
            "right in",
            format!(", the most frequent level {:.3}", of.base),
        ),
    };
    format!(
        "factors tell {}: {what} {:.3} [{low:.3}, {high:.3}]{beside}",
        of.attribute, of.value
    )
}
