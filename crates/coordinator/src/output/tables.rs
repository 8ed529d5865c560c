//! Results for people.

use crate::output::report::{
    EdgesReport, ExportReport, ForgetReport, IngestReport, PageReport, RecommendReport, RunReport,
    SimilarReport, TrainReport, TuneReport, UpdateReport, VerbOutput, VerifyReport,
};
use crate::output::{advice, churn, cold, influencers, segments, sparkline};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use model::bootstrap::Interval;
use model::evaluate::Evaluation;
use std::collections::{BTreeMap, BTreeSet};
use tensor::ByteSize;

/// The text of a result.
pub fn show(output: &VerbOutput) -> String {
    match output {
        VerbOutput::Ingest(ingest) => self::ingest(ingest),
        VerbOutput::Update(update) => self::update(update),
        VerbOutput::Forget(forget) => self::forget(forget),
        VerbOutput::Train(train) => self::train(train),
        VerbOutput::Evaluate(evaluation) => self::evaluation(evaluation),
        VerbOutput::Recommend(recommend) => self::recommend(recommend),
        VerbOutput::Similar(similar) => self::similar(similar),
        VerbOutput::Segments(found) => segments::show(found),
        VerbOutput::Influencers(found) => influencers::show(found),
        VerbOutput::Churn(found) => churn::show(found),
        VerbOutput::Cold(found) => cold::show(found),
        VerbOutput::Export(export) => self::export(export),
        VerbOutput::Page(page) => self::page(page),
        VerbOutput::Run(run) => self::run(run),
        VerbOutput::Tune(tune) => self::tune(tune),
        VerbOutput::Advise(found) => advice::shown(found),
        VerbOutput::Verify(verify) => self::verify(verify),
        VerbOutput::Generate(made) => {
            let there = if made.reused { " (there already)" } else { "" };
            format!(
                "{} rows in {} files, {}{there}: {}\ndigest {}\ntry: coordinator run {}",
                HumanCount(made.rows),
                HumanCount(made.files),
                ByteSize(made.bytes),
                made.folder.display(),
                made.digest,
                made.job.display()
            )
        }
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

/// An empty table.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn ingest(ingest: &IngestReport) -> String {
    let there = if ingest.reused {
        " (there already)"
    } else {
        ""
    };
    let bins = ingest
        .time_bins
        .map_or_else(String::new, |bins| format!(" in {bins} bins of time"));
    let contexts = ingest
        .contexts
        .map_or_else(String::new, |contexts| format!(" in {contexts} contexts"));
    let first = format!(
        "data set {}{there}\n  {} interactions of {} users and {} products{bins}{contexts}, from {} rows",
        ingest.digest,
        HumanCount(ingest.interactions),
        HumanCount(ingest.users),
        HumanCount(ingest.products),
        HumanCount(ingest.input_rows)
    );
    let skipped = (ingest.skipped_files > 0).then(|| {
        let files = HumanCount(ingest.skipped_files);
        format!("  not opened: {files} files in folders of other times")
    });
    let left_out = ingest
        .bad_rows
        .iter()
        .map(|(reason, rows)| format!("  left out: {} rows, {reason}", HumanCount(*rows)));
    let attributes = ingest.attributes.iter().map(|(mode, known)| {
        format!(
            "  {} attributes of {} {mode}s in {} columns; {} ids of their tables have no interaction and are left out",
            known.attributes,
            HumanCount(known.described),
            known.columns,
            HumanCount(known.unknown)
        )
    });
    let edges = ingest.edges.iter();
    let edges = edges.map(|(mode, edges)| format!("  {}", edges_line(mode, edges)));
    let lines = std::iter::once(first).chain(skipped).chain(left_out);
    let lines = lines.chain(attributes).chain(edges);
    lines.collect::<Vec<String>>().join("\n")
}

fn update(update: &UpdateReport) -> String {
    let added = &update.added;
    let mut lines = vec![format!(
        "added {} interactions, {} new users, {} new products and {} new bins, from {} rows: {} partitions sealed",
        HumanCount(added.interactions),
        HumanCount(added.users),
        HumanCount(added.products),
        added.time_bins,
        HumanCount(added.input_rows),
        added.partitions
    )];
    if let Some(partitions) = update.compacted {
        lines.push(format!("compacted: {partitions} partitions sealed anew"));
    }
    lines.push(ingest(&update.data));
    lines.extend(update.train.as_ref().map(train));
    lines.join("\n")
}

fn forget(forget: &ForgetReport) -> String {
    let mut lines = vec![format!(
        "forgot {} of {} users ({} in all): {} partitions sealed anew, {} models cleared",
        HumanCount(forget.forgotten),
        HumanCount(forget.asked),
        HumanCount(forget.users_forgotten),
        HumanCount(forget.partitions),
        HumanCount(forget.models)
    )];
    lines.push(format!(
        "removed {} older versions of the data set and {} older models: {} objects, {}",
        HumanCount(forget.versions),
        HumanCount(forget.models_dropped),
        HumanCount(forget.objects),
        ByteSize(forget.bytes)
    ));
    if forget.unknown > 0 {
        let named = forget.unknown_ids.join(", ");
        let more = match forget.unknown - forget.unknown_ids.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!("not in the data set: {named}{more}"));
    }
    lines.push(ingest(&forget.data));
    let places = forget.out_of_reach.iter();
    lines.extend(places.map(|place| format!("out of reach: {place}")));
    lines.join("\n")
}

fn verify(verify: &VerifyReport) -> String {
    let whole = format!(
        "all whole: {} manifests, {} objects, {}",
        HumanCount(verify.manifests),
        HumanCount(verify.objects),
        ByteSize(verify.bytes)
    );
    match (verify.users_forgotten, verify.objects_without_them) {
        (Some(users), Some(objects)) => format!(
            "{whole}\n{} users forgotten: nothing of theirs in the {} objects that have rows of users",
            HumanCount(users),
            HumanCount(objects)
        ),
        _ => whole,
    }
}

/// What people are told of the edges of a mode.
pub fn edges_line(mode: &str, edges: &EdgesReport) -> String {
    let ways = if edges.directed {
        "directed"
    } else {
        "both ways"
    };
    format!(
        "{} edges between {mode}s ({ways}, {} rows of loops) from {} rows; {} rows name an id without an interaction and {} are bad: \
         left out",
        HumanCount(edges.entries),
        HumanCount(edges.loops),
        HumanCount(edges.input_rows),
        HumanCount(edges.unknown),
        HumanCount(edges.bad_rows.values().sum())
    )
}

fn train(train: &TrainReport) -> String {
    let resumed = train
        .resumed_from
        .map(|epoch| format!(", resumed after epoch {epoch}"))
        .unwrap_or_default();
    let work = &train.work;
    let mut lines = sparkline::curve(&train.epochs);
    let curve = train.curve.as_ref();
    lines.extend(curve.map(|curve| format!("learning curve: {curve}")));
    if let Some(best) = &train.best {
        lines.push(format!(
            "the model is that of epoch {}, the best by {} ({:.4})",
            best.epoch, best.metric, best.value
        ));
    }
    lines.push(format!(
        "{} epochs{resumed}; {} tasks ({} replayed) in {} pieces, {} rows cut; kernels: {}",
        train.epochs.len(),
        HumanCount(work.tasks),
        HumanCount(work.tasks_replayed),
        HumanCount(work.pieces),
        HumanCount(work.cut_rows),
        train.simd
    ));
    lines.push(format!("model {}", train.digest));
    lines.join("\n")
}

fn tune(tune: &TuneReport) -> String {
    let searched = tune.trials.iter().flat_map(|trial| trial.settings.keys());
    let searched: BTreeSet<&String> = searched.collect();
    let header = ["trial"]
        .into_iter()
        .chain(searched.iter().map(|name| name.as_str()))
        .chain(["epochs", "best", tune.metric.as_str()]);
    let mut table = aligned(header.map(str::to_owned));
    for trial in &tune.trials {
        let setting = |name: &&String| trial.settings.get(*name).map_or_else(String::new, plain);
        let row = std::iter::once(trial.trial.to_string())
            .chain(searched.iter().map(setting))
            .chain([
                trial.epochs.to_string(),
                trial.best_epoch.to_string(),
                match trial.failed {
                    Some(_) => "failed".to_owned(),
                    None => format!("{:.4}", trial.value),
                },
            ]);
        table.add_row(row);
    }
    format!(
        "{}\ntrials: {}\nthe best settings: {}",
        right(table).trim_fmt(),
        tune.table,
        tune.job.display()
    )
}

/// A value without the quotes of JSON.
fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn recommend(recommend: &RecommendReport) -> String {
    let place = recommend.file.as_ref().or(recommend.folder.as_ref());
    let place = place.map_or(String::new(), |place| format!(" in {}", place.display()));
    let parts = recommend.parts.map_or(String::new(), |parts| {
        format!(", {} parts", HumanCount(parts.written + parts.kept))
    });
    let mut shown = format!(
        "recommendations: {} rows for {} users{place}{parts}",
        HumanCount(recommend.rows),
        HumanCount(recommend.users),
    );
    if let (Some(rows), Some(file)) = (recommend.reasons, &recommend.explanations) {
        let reasons = format!(
            "\nexplanations: {} rows in {}",
            HumanCount(rows),
            file.display()
        );
        shown.push_str(&reasons);
    }
    if let Some(rising) = &recommend.rising {
        let rises = format!(
            "\nwhat rises: {} rows for {} users in {}",
            HumanCount(rising.rows),
            HumanCount(rising.users),
            rising.file.display()
        );
        shown.push_str(&rises);
    }
    shown
}

fn similar(similar: &SimilarReport) -> String {
    if let Some(file) = &similar.file {
        return format!(
            "similar {}s: {} rows for {} of them in {}",
            similar.of,
            HumanCount(similar.rows),
            HumanCount(similar.lists),
            file.display()
        );
    }
    let header = [similar.of.as_str(), "rank", "similar", "cosine"];
    let mut table = aligned(header.into_iter().map(str::to_owned));
    for alike in &similar.similar {
        table.add_row([
            alike.id.clone(),
            alike.rank.to_string(),
            alike.similar.clone(),
            format!("{:.4}", alike.score),
        ]);
    }
    right(table).trim_fmt()
}

fn export(export: &ExportReport) -> String {
    let lines = export.tables.iter().map(|(mode, table)| {
        let files = table.files.iter().map(|file| file.display().to_string());
        let biases = match table.columns - table.factors {
            0 => String::new(),
            biases => format!(", the last {biases} of them biases"),
        };
        format!(
            "{mode} factors: {} rows of {}{biases}, in {}",
            HumanCount(table.rows),
            table.columns,
            files.collect::<Vec<_>>().join(" and ")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn page(page: &PageReport) -> String {
    format!(
        "report: {} in {}, open it in a browser",
        ByteSize(page.bytes),
        page.file.display()
    )
}

fn run(run: &RunReport) -> String {
    let mut parts = vec![ingest(&run.ingest)];
    parts.extend(run.evaluation.as_ref().map(evaluation));
    // Where the lists are and the digest come last, so that people find them at the end.
    let last: Vec<String> = run
        .recommend
        .as_ref()
        .map(recommend)
        .into_iter()
        .chain(run.similar.as_ref().map(similar))
        .chain(run.export.as_ref().map(export))
        .chain(run.segments.as_ref().map(segments::show))
        .chain(run.influencers.as_ref().map(influencers::show))
        .chain(run.churn.as_ref().map(churn::show))
        .chain(run.report.as_ref().map(page))
        .chain([train(&run.train)])
        .collect();
    parts.push(last.join("\n"));
    parts.join("\n\n")
}

/// The model beside its baselines, a table a task.
pub fn evaluation(evaluation: &Evaluation) -> String {
    let mut parts: Vec<String> = Vec::new();
    // By name "new_products" is the last, and what most people ask for.
    for (task, rankers) in evaluation.tasks.iter().rev() {
        let users = evaluation.users.get(task).copied().unwrap_or_default();
        let Some(k) = shown_k(rankers) else { continue };
        let mut lines = vec![
            format!(
                "{}, lists of {k}, means over {} users",
                task.replace('_', " "),
                HumanCount(users.counted)
            ),
            figures(evaluation, task, rankers, k).trim_fmt(),
        ];
        if task == "all_products" && rankers.contains_key("own_count") {
            lines.push(
                "own count lists a user's own past products, most often bought first: it names nothing new."
                    .to_owned(),
            );
        }
        lines.extend(differences(evaluation, task, k));
        parts.push(lines.join("\n"));
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

/// The list length that people see: 20 where it was scored, else the middle one. `--json` has all.
pub fn shown_k(rankers: &BTreeMap<String, BTreeMap<String, f64>>) -> Option<u32> {
    let lengths: BTreeSet<u32> = rankers
        .values()
        .flat_map(BTreeMap::keys)
        .filter_map(|name| name.strip_prefix("recall@")?.parse().ok())
        .collect();
    let middle = lengths.iter().nth(lengths.len() / 2);
    lengths.get(&20).or(middle).copied()
}

/// The columns: name of the figure, and how people write it.
const SHOWN: [(&str, &str); 4] = [
    ("recall", "recall"),
    ("ndcg", "NDCG"),
    ("map", "MAP"),
    ("coverage", "coverage"),
];

/// Own count has no new product to name: there it is popularity over again.
pub fn is_shown(task: &str, ranker: &str) -> bool {
    task != "new_products" || ranker != "own_count"
}

/// The model first, its baselines below it by name.
fn figures(
    evaluation: &Evaluation,
    task: &str,
    rankers: &BTreeMap<String, BTreeMap<String, f64>>,
    k: u32,
) -> Table {
    let mut order: Vec<&String> = rankers
        .keys()
        .filter(|ranker| is_shown(task, ranker))
        .collect();
    order.sort_by_key(|ranker| (ranker.as_str() != "model", ranker.as_str()));
    let header = SHOWN.map(|(_, shown)| format!("{shown}@{k}"));
    let mut table = aligned(std::iter::once(String::new()).chain(header));
    let intervals = evaluation.intervals.get(task);
    for ranker in order {
        let cell = |(figure, _): (&str, &str)| {
            let name = format!("{figure}@{k}");
            let Some(value) = rankers[ranker].get(&name) else {
                return "-".to_owned();
            };
            let interval = intervals.and_then(|all| all.get(ranker)?.get(&name));
            match interval {
                Some(Interval(low, high)) => {
                    format!("{value:.4} [{}, {}]", bare(*low), bare(*high))
                }
                None => format!("{value:.4}"),
            }
        };
        table.add_row(std::iter::once(ranker.replace('_', " ")).chain(SHOWN.map(cell)));
    }
    right(table)
}

/// The model minus each baseline, user by user.
fn differences(evaluation: &Evaluation, task: &str, k: u32) -> Option<String> {
    let baselines = evaluation.differences.get(task)?;
    let header = SHOWN[..3].iter().map(|(_, shown)| format!("{shown}@{k} "));
    let mut table = aligned(std::iter::once("model minus".to_owned()).chain(header));
    for (baseline, figures) in baselines {
        if !is_shown(task, baseline) {
            continue;
        }
        let cell = |(figure, _): &(&str, &str)| {
            let Some(found) = figures.get(&format!("{figure}@{k}")) else {
                return "- ".to_owned();
            };
            let difference = found.difference;
            let Some(Interval(low, high)) = found.interval else {
                return format!("{difference:+.4} ");
            };
            let mark = if low > 0.0 || high < 0.0 { '*' } else { ' ' };
            format!("{difference:+.4} [{}, {}]{mark}", signed(low), signed(high))
        };
        let row = SHOWN[..3].iter().map(cell);
        table.add_row(std::iter::once(baseline.replace('_', " ")).chain(row));
    }
    let level = evaluation.level.map_or_else(String::new, |level| {
        format!(
            "\n[ ]: {:.0} % intervals by the bootstrap over users; *: the interval excludes 0",
            level * 100.0
        )
    });
    Some(format!("{}{level}", right(table).trim_fmt()))
}

/// Columns two spaces apart; a line of text a row.
pub(super) fn aligned(header: impl Iterator<Item = String>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.collect::<Vec<_>>());
    table
}

/// Numbers to the right.
pub fn right(mut table: Table) -> Table {
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if number > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// `.1234`: the zero says nothing, and five columns must fit a line.
fn bare(value: f64) -> String {
    let text = format!("{value:.4}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

fn signed(value: f64) -> String {
    format!("{value:+.4}").replacen("0.", ".", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_stands_above_its_baselines_in_100_columns() {
        let figures = |recall: f64| {
            let mut figures = serde_json::Map::new();
            for k in [10, 20, 50] {
                for figure in ["recall", "ndcg", "map", "coverage", "precision"] {
                    figures.insert(format!("{figure}@{k}"), recall.into());
                }
            }
            figures
        };
        let pair = |low: f64, high: f64| {
            ["recall@20", "ndcg@20", "map@20"]
                .map(|name| (name.to_owned(), serde_json::json!([low, high])))
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
        };
        let difference = |difference: f64, low: f64, high: f64| {
            ["recall@20", "ndcg@20", "map@20"]
                .map(|name| {
                    let value =
                        serde_json::json!({"difference": difference, "interval": [low, high]});
                    (name.to_owned(), value)
                })
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
        };
        let evaluation: Evaluation = serde_json::from_value(serde_json::json!({
            "part": "test",
            "tasks": {"all_products": {
                "own_count": figures(0.4),
                "model": figures(0.3),
                "recent_popularity": figures(0.1),
            }},
            "intervals": {"all_products": {
                "own_count": pair(0.35, 0.45), "model": pair(0.25, 0.35), "recent_popularity": pair(0.05, 0.15),
            }},
            "differences": {"all_products": {
                "own_count": difference(-0.1, -0.25, 0.05),
                "recent_popularity": difference(0.2, 0.1, 0.3),
            }},
            "users": {"all_products": {"counted": 1234, "without_training": 0, "without_relevant": 0}},
            "level": 0.95,
        }))
        .unwrap();
        let shown = super::evaluation(&evaluation);
        assert_eq!(
            shown,
            "\
all products, lists of 20, means over 1,234 users
                               recall@20                NDCG@20                 MAP@20  coverage@20
model              0.3000 [.2500, .3500]  0.3000 [.2500, .3500]  0.3000 [.2500, .3500]       0.3000
own count          0.4000 [.3500, .4500]  0.4000 [.3500, .4500]  0.4000 [.3500, .4500]       0.4000
recent popularity  0.1000 [.0500, .1500]  0.1000 [.0500, .1500]  0.1000 [.0500, .1500]       0.1000
own count lists a user's own past products, most often bought first: it names nothing new.
model minus                       recall@20                    NDCG@20                     MAP@20
own count          -0.1000 [-.2500, +.0500]   -0.1000 [-.2500, +.0500]   -0.1000 [-.2500, +.0500]
recent popularity  +0.2000 [+.1000, +.3000]*  +0.2000 [+.1000, +.3000]*  +0.2000 [+.1000, +.3000]*
[ ]: 95 % intervals by the bootstrap over users; *: the interval excludes 0"
        );
        assert!(shown.lines().all(|line| line.len() <= 100), "{shown}");
    }

    #[test]
    fn the_middle_length_stands_in_for_20() {
        let of = |lengths: &[u32]| {
            let figures = lengths
                .iter()
                .map(|k| (format!("recall@{k}"), 0.5))
                .collect();
            shown_k(&BTreeMap::from([("model".to_owned(), figures)]))
        };
        assert_eq!(of(&[5, 20, 50]), Some(20));
        assert_eq!(of(&[5, 10, 50]), Some(10));
        assert_eq!(of(&[]), None);
    }
}
