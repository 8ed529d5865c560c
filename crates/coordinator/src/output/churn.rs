//! Who will stop buying and how far that can be trusted, for programs and for people.

use super::tables::{aligned, right};
use indicatif::HumanCount;
use model::bootstrap::Interval;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChurnReport {
    /// Bins without a purchase after which a user has churned.
    pub horizon: u32,
    /// Where it is learnt.
    pub learnt: CutReport,
    /// Where it is judged.
    pub judged: CutReport,
    /// The regressions.
    pub models: Vec<ChurnModel>,
    /// What the one that scores reads: factors where users who were not learnt from are foretold better with them.
    pub scorer: String,
    /// Its weights for standardized features: above 0 where more of it means that the user will stop.
    pub weights: BTreeMap<String, f64>,
    /// Judged users in tenths of rising score: what was foretold of each, and what came.
    pub calibration: Vec<CalibrationReport>,
    /// What is said of it.
    pub verdict: String,
    /// The first bin behind what scores know.
    pub scored_at_bin: u32,
    /// Users with a score.
    pub users: u64,
    /// The sum of all scores: as many are expected to stop.
    pub expected: f64,
    /// The file, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// A cut in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CutReport {
    /// The first bin behind it.
    pub bin: u32,
    /// Users with an interaction before it.
    pub users: u64,
    /// Those of them without one in the horizon behind it.
    pub churned: u64,
    /// Users of the sample.
    pub sample: u64,
}

/// A regression.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChurnModel {
    /// What it reads.
    pub reads: String,
    /// The area under the curve.
    pub auc: f64,
    /// 95 %.
    pub auc_interval: Option<Interval>,
    /// The share of churned users among the tenth of the highest scores, over that of all.
    pub lift: f64,
    /// 95 %.
    pub lift_interval: Option<Interval>,
    /// The mean squared error of probabilities.
    pub brier: f64,
    /// 95 %.
    pub brier_interval: Option<Interval>,
    /// The area of the one that scores less its own.
    pub gain: f64,
    /// 95 %.
    pub gain_interval: Option<Interval>,
}

/// A tenth of the judged users.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// Users.
    pub users: u64,
    /// The mean of their scores.
    pub foretold: f64,
    /// The share of them who churned.
    pub churned: f64,
}

fn around(value: f64, of: Option<Interval>) -> String {
    match of {
        Some(Interval(low, high)) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        None => format!("{value:.3}"),
    }
}

/// What can be said of the regression that scores beside another one.
pub fn verdict(report: &ChurnReport) -> String {
    let beside = |reads: &str| {
        let model = report.models.iter().find(|model| model.reads == reads)?;
        let Interval(low, high) = model.gain_interval?;
        let said = format!("{:+.3} [{low:+.3}, {high:+.3}]", model.gain);
        Some(if low > 0.0 {
            format!("it beats {reads} alone by {said}")
        } else if high < 0.0 {
            format!("{reads} alone is better, by {said}: rank by that")
        } else {
            format!("the intervals support no difference to {reads} alone, {said}")
        })
    };
    let with_factors = report.scorer.contains("factors");
    let history = with_factors.then(|| beside("history")).flatten();
    let said: Vec<String> = beside("recency").into_iter().chain(history).collect();
    if said.is_empty() {
        return "No intervals were asked for: whether recency alone would do cannot be said."
            .to_owned();
    }
    let left_out = report
        .models
        .iter()
        .any(|model| model.reads.contains("factors"));
    let left_out = if left_out && !with_factors {
        " Factors were left out of it: users who were not learnt from are foretold no better with them."
    } else {
        ""
    };
    format!(
        "Scores read {}; by the area under the curve {}.{left_out}",
        report.scorer,
        said.join(", and ")
    )
}

/// For people.
pub fn show(report: &ChurnReport) -> String {
    let cut = |what: &str, cut: &CutReport| {
        let share = 100.0 * cut.churned as f64 / cut.users.max(1) as f64;
        format!(
            "{what} before bin {}: {} users, {} of them ({share:.1} %) buy nothing for {} bins",
            cut.bin,
            HumanCount(cut.users),
            HumanCount(cut.churned),
            report.horizon
        )
    };
    let mut lines = vec![cut("learnt", &report.learnt), cut("judged", &report.judged)];
    let header = [
        "what is read",
        "AUC",
        "lift of the first tenth",
        "Brier",
        "AUC of the scores minus it",
    ];
    let mut table = aligned(header.into_iter().map(str::to_owned));
    for model in &report.models {
        let gain = match model.gain_interval {
            _ if model.reads == report.scorer => String::new(),
            Some(Interval(low, high)) => format!("{:+.3} [{low:+.3}, {high:+.3}]", model.gain),
            None => format!("{:+.3}", model.gain),
        };
        table.add_row([
            model.reads.clone(),
            around(model.auc, model.auc_interval),
            around(model.lift, model.lift_interval),
            around(model.brier, model.brier_interval),
            gain,
        ]);
    }
    lines.push(right(table).trim_fmt());
    lines.push(report.verdict.clone());
    let place = report.file.as_ref();
    let place = place.map_or_else(String::new, |file| format!(", in {}", file.display()));
    lines.push(format!(
        "{} users scored as of bin {}, {:.0} are expected to buy nothing for {} bins{place}",
        HumanCount(report.users),
        report.scored_at_bin,
        report.expected,
        report.horizon
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(reads: &str, gain: f64, reach: f64) -> ChurnModel {
        ChurnModel {
            reads: reads.to_owned(),
            gain,
            gain_interval: Some(Interval(gain - reach, gain + reach)),
            ..ChurnModel::default()
        }
    }

    fn said(scorer: &str, recency: f64, history: f64) -> String {
        verdict(&ChurnReport {
            scorer: scorer.to_owned(),
            models: vec![
                model("recency", recency, 0.02),
                model("history", history, 0.02),
                model("history and factors", 0.0, 0.0),
            ],
            ..ChurnReport::default()
        })
    }

    #[test]
    fn the_verdict_is_what_intervals_support() {
        assert_eq!(
            said("history and factors", 0.1, 0.01),
            "Scores read history and factors; by the area under the curve it beats recency alone by +0.100 [+0.080, +0.120], and the intervals \
             support no difference to history alone, +0.010 [-0.010, +0.030]."
        );
        let without = said("history", -0.1, 0.0);
        assert!(
            without.contains("recency alone is better, by -0.100"),
            "{without}"
        );
        assert!(without.contains("Factors were left out") && !without.contains("history alone"));
        assert!(verdict(&ChurnReport::default()).contains("No intervals"));
    }
}
