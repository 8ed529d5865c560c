//! Influencers, for programs and for people.

use super::tables::{aligned, right};
use indicatif::HumanCount;
use serde::Serialize;
use std::path::PathBuf;

/// Those of a mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InfluencersReport {
    /// The mode.
    pub of: String,
    /// What ties its rows: `edges`, or `purchases` that they share.
    pub by: &'static str,
    /// The highest score first.
    pub influencers: Vec<InfluencerReport>,
    /// The file, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InfluencerReport {
    /// The original id.
    pub id: String,
    /// Σ over neighbours of the share of their ties that is with it.
    pub score: f64,
    /// Neighbours, or purchases that it shares with anyone.
    pub ties: u64,
    /// The sum of its ties.
    pub strength: f64,
    /// Nearly isolated neighbours that it reaches.
    pub reached: u64,
    /// The first of them.
    pub reached_ids: Vec<String>,
    /// What to offer.
    pub offers: Vec<OfferReport>,
}

/// A product to offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfferReport {
    /// The original id.
    pub id: String,
    /// Of those who are reached, how many have it among their recommendations.
    pub wanted: u32,
}

/// Offers in a line of the table.
const NAMED: usize = 4;

/// For people.
pub fn show(report: &InfluencersReport) -> String {
    let header = [
        report.of.as_str(),
        "score",
        "ties",
        "reaches",
        "offer (wanted by)",
    ];
    let mut table = aligned(header.into_iter().map(str::to_owned));
    for one in &report.influencers {
        let offers = one.offers.iter().take(NAMED);
        let offers = offers.map(|offer| format!("{} ({})", offer.id, offer.wanted));
        table.add_row([
            one.id.clone(),
            format!("{:.2}", one.score),
            HumanCount(one.ties).to_string(),
            HumanCount(one.reached).to_string(),
            offers.collect::<Vec<_>>().join(", "),
        ]);
    }
    let mut lines = vec![
        format!(
            "{}s through whom others are reached, by {}",
            report.of, report.by
        ),
        right(table).trim_fmt(),
    ];
    lines.extend(
        report
            .file
            .as_ref()
            .map(|file| format!("in {}", file.display())),
    );
    lines.join("\n")
}
