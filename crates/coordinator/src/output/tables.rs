//! Results for people.

use crate::output::report::{IngestReport, RecommendReport, RunReport, TrainReport, VerbOutput};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use model::evaluate::Evaluation;
use std::collections::{BTreeMap, BTreeSet};
use tensor::ByteSize;

/// The text of a result.
pub fn show(output: &VerbOutput) -> String {
    match output {
        VerbOutput::Ingest(ingest) => self::ingest(ingest),
        VerbOutput::Train(train) => self::train(train),
        VerbOutput::Evaluate(evaluation) => self::evaluation(evaluation),
        VerbOutput::Recommend(recommend) => self::recommend(recommend),
        VerbOutput::Run(run) => self::run(run),
        VerbOutput::Verify(verify) => format!(
            "all whole: {} manifests, {} objects, {}",
            HumanCount(verify.manifests),
            HumanCount(verify.objects),
            ByteSize(verify.bytes)
        ),
        VerbOutput::Config { settings } => {
            let mut table = table(["setting", "value", "from"]);
            for setting in settings {
                let value = setting
                    .value
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                table.add_row([setting.key, value.as_str(), setting.origin.as_str()]);
            }
            table.to_string()
        }
        VerbOutput::Described { lines, .. } => lines.join("\n"),
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn ingest(ingest: &IngestReport) -> String {
    let mut text = format!(
        "data set {}{}: {} interactions of {} users and {} products",
        ingest.digest,
        if ingest.reused {
            " (there already)"
        } else {
            ""
        },
        HumanCount(ingest.interactions),
        HumanCount(ingest.users),
        HumanCount(ingest.products)
    );
    if let Some(bins) = ingest.time_bins {
        text.push_str(&format!(" in {bins} bins of time"));
    }
    text.push_str(&format!(", from {} rows", HumanCount(ingest.input_rows)));
    for (reason, rows) in &ingest.bad_rows {
        text.push_str(&format!(
            "\n  left out: {} rows, {reason}",
            HumanCount(*rows)
        ));
    }
    text
}

fn train(train: &TrainReport) -> String {
    let resumed = train
        .resumed_from
        .map(|epoch| format!(", resumed after epoch {epoch}"))
        .unwrap_or_default();
    let work = &train.work;
    format!(
        "{} epochs{resumed}; {} tasks ({} replayed) in {} pieces, {} rows cut; kernels: {}\nmodel {}",
        train.epochs.len(),
        HumanCount(work.tasks),
        HumanCount(work.tasks_replayed),
        HumanCount(work.pieces),
        HumanCount(work.cut_rows),
        train.simd,
        train.digest
    )
}

fn recommend(recommend: &RecommendReport) -> String {
    format!(
        "{}: {} rows for {} users",
        recommend.file.display(),
        HumanCount(recommend.rows),
        HumanCount(recommend.users)
    )
}

fn run(run: &RunReport) -> String {
    let mut parts = vec![ingest(&run.ingest)];
    parts.extend(run.evaluation.as_ref().map(evaluation));
    parts.extend(run.recommend.as_ref().map(recommend));
    // The digest comes last, so that it is the last line that people see.
    parts.push(train(&run.train));
    parts.join("\n\n")
}

/// The model beside its baselines, a table a task.
pub fn evaluation(evaluation: &Evaluation) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (task, rankers) in evaluation.tasks.iter().rev() {
        let users = evaluation
            .users
            .get(task)
            .map(|users| users.counted)
            .unwrap_or_default();
        parts.push(format!(
            "{}, {} users\n{}",
            task.replace('_', " "),
            HumanCount(users),
            task_table(evaluation, task, rankers)
        ));
    }
    if let Some(ratings) = &evaluation.ratings {
        let mut table = table(["", "RMSE", "MAE"]);
        for (name, rmse, mae) in [
            ("model", ratings.rmse, ratings.mae),
            (
                "model, not clipped",
                ratings.unclipped.rmse,
                ratings.unclipped.mae,
            ),
            ("bias only", ratings.bias_only.rmse, ratings.bias_only.mae),
        ] {
            table.add_row([name.to_owned(), format!("{rmse:.4}"), format!("{mae:.4}")]);
        }
        parts.push(format!(
            "values, {} interactions\n{table}",
            HumanCount(ratings.interactions)
        ));
    }
    parts.join("\n\n")
}

fn task_table(
    evaluation: &Evaluation,
    task: &str,
    rankers: &BTreeMap<String, BTreeMap<String, f64>>,
) -> Table {
    let names: BTreeSet<&str> = rankers
        .values()
        .flat_map(|figures| figures.keys().map(String::as_str))
        .collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    // recall@5 before recall@10.
    names.sort_by_key(|name| {
        let (figure, k) = name.split_once('@').unwrap_or((name, "0"));
        (figure.to_owned(), k.parse::<u32>().unwrap_or(0))
    });
    // The model stands first, the baselines after it by name.
    let mut order: Vec<&String> = rankers.keys().collect();
    order.sort_by_key(|ranker| (ranker.as_str() != "model", ranker.as_str()));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(
        std::iter::once(String::new()).chain(order.iter().map(|ranker| ranker.replace('_', " "))),
    );
    for name in names {
        let figure = |ranker: &&String| {
            let Some(value) = rankers[ranker.as_str()].get(name) else {
                return "-".to_owned();
            };
            let interval = evaluation
                .intervals
                .get(task)
                .and_then(|rankers| rankers.get(ranker.as_str())?.get(name));
            match interval {
                Some(interval) => format!("{value:.4} [{:.4}, {:.4}]", interval.0, interval.1),
                None => format!("{value:.4}"),
            }
        };
        table.add_row(std::iter::once(name.to_owned()).chain(order.iter().map(figure)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_stands_beside_its_baselines_with_intervals() {
        let evaluation: Evaluation = serde_json::from_value(serde_json::json!({
            "part": "test",
            "tasks": {"new_products": {
                "popularity": {"recall@5": 0.1, "recall@10": 0.2},
                "model": {"recall@5": 0.3, "recall@10": 0.4},
            }},
            "intervals": {"new_products": {"model": {"recall@5": [0.25, 0.35]}}},
            "users": {"new_products": {"counted": 1234, "without_training": 0, "without_relevant": 0}},
        }))
        .unwrap();
        let shown = evaluation_lines(&evaluation);
        let words: Vec<Vec<&str>> = shown
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(words[0], ["new", "products,", "1,234", "users"]);
        assert_eq!(words[1], ["model", "popularity"]);
        assert_eq!(
            words[2],
            ["recall@5", "0.3000", "[0.2500,", "0.3500]", "0.1000"]
        );
        assert_eq!(words[3], ["recall@10", "0.4000", "0.2000"]);
    }

    fn evaluation_lines(evaluation: &Evaluation) -> Vec<String> {
        super::evaluation(evaluation)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
