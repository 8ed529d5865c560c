//! Reasons of recommendations: they add up to the score, are those of equations that the test solves itself, do not depend on what
//! computes them, and are refused where they would be a story.

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tests::factors;
use tests::jobs::{Data, Inputs, Job};
use tests::pages;
use tests::process::{json_of, output_of};

/// A reason.
#[derive(Clone, Copy, Debug)]
struct Reason {
    because: i64,
    score: f32,
    contribution: f64,
    purchases: f64,
    rest: f64,
}

/// (user, rank, product) -> its reasons in order.
type Reasons = BTreeMap<(i64, u32, i64), Vec<Reason>>;

fn batches(file: &Path) -> impl Iterator<Item = RecordBatch> {
    let file = std::fs::File::open(file).expect("the file was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    reader
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("a batch"))
}

fn ids(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column = batch.column_by_name(name).expect("the column");
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn reasons(file: &Path) -> Reasons {
    let mut found = Reasons::new();
    for batch in batches(file) {
        let (users, products, because) = (
            ids(&batch, "user"),
            ids(&batch, "product"),
            ids(&batch, "because_product"),
        );
        let words = |name: &str| batch[name].as_primitive::<UInt32Type>().values().to_vec();
        let numbers = |name: &str| batch[name].as_primitive::<Float64Type>().values().to_vec();
        let (ranks, places) = (words("rank"), words("place"));
        let scores = batch["score"].as_primitive::<Float32Type>().values();
        let numbers = ["contribution", "purchases", "rest"].map(numbers);
        for at in 0..users.len() {
            let of = found
                .entry((users[at], ranks[at], products[at]))
                .or_default();
            of.push(Reason {
                because: because[at],
                score: scores[at],
                contribution: numbers[0][at],
                purchases: numbers[1][at],
                rest: numbers[2][at],
            });
            assert_eq!(of.len(), places[at] as usize);
        }
    }
    found
}

/// Writes lists and reasons; gives the file of reasons.
fn explained(job: &Job, name: &str, arguments: &[&str]) -> PathBuf {
    let file = |what: &str| job.folder().join(format!("{what}-{name}.parquet"));
    let mut command = job.command("recommend", arguments);
    command.args(["--set", "output.recommend.top=4"]);
    command.args([
        "--set",
        &format!("output.recommend.file={}", file("lists").display()),
    ]);
    let reasons = file("reasons");
    let set = format!("output.recommend.explanations={}", reasons.display());
    let told = json_of(command.args(["--set", &set]));
    assert_eq!(told["explanations"], reasons.display().to_string());
    let rows: usize = batches(&reasons).map(|batch| batch.num_rows()).sum();
    assert_eq!(told["reasons"], rows);
    reasons
}

/// All reasons of each recommendation add up to what purchases contribute, and with the rest to the score. Gives the share of scores
/// that is no purchase's.
fn check_sums(found: &Reasons, lists: &Path) -> f64 {
    let mut listed = 0;
    for batch in batches(lists) {
        let (users, products) = (ids(&batch, "user"), ids(&batch, "product"));
        let ranks = batch["rank"].as_primitive::<UInt32Type>().values();
        let scores = batch["score"].as_primitive::<Float32Type>().values();
        for at in 0..users.len() {
            let reasons = &found[&(users[at], ranks[at], products[at])];
            assert_eq!(reasons[0].score.to_bits(), scores[at].to_bits());
            listed += 1;
        }
    }
    assert_eq!(found.len(), listed);
    let (mut rests, mut scores) = (0.0, 0.0);
    for reasons in found.values() {
        let first = reasons[0];
        let sum: f64 = reasons.iter().map(|of| of.contribution).sum();
        let sizes: f64 = reasons.iter().map(|of| of.contribution.abs()).sum();
        assert!((sum - first.purchases).abs() < 1e-12 * sizes.max(1.0));
        let score = f64::from(first.score);
        assert!((first.purchases + first.rest - score).abs() < 1e-12 * sizes.max(1.0));
        let rising = |pair: &[Reason]| pair[0].contribution >= pair[1].contribution;
        assert!(reasons.windows(2).all(rising));
        rests += first.rest.abs();
        scores += score.abs();
    }
    rests / scores
}

/// What each user had, and how often.
fn purchases(inputs: &Inputs) -> BTreeMap<i64, BTreeMap<i64, f64>> {
    let mut found: BTreeMap<i64, BTreeMap<i64, f64>> = BTreeMap::new();
    for batch in batches(&inputs.folder().join("small.parquet")) {
        for (user, product) in ids(&batch, "user").into_iter().zip(ids(&batch, "product")) {
            *found.entry(user).or_default().entry(product).or_default() += 1.0;
        }
    }
    found
}

/// Gauss-Jordan.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..b.len() {
        let by = a[i][i];
        a[i].iter_mut().for_each(|x| *x /= by);
        b[i] /= by;
        let (pivot, side) = (a[i].clone(), b[i]);
        for k in (0..b.len()).filter(|&k| k != i) {
            let by = a[k][i];
            a[k].iter_mut().zip(&pivot).for_each(|(x, p)| *x -= by * p);
            b[k] -= by * side;
        }
    }
    b
}

#[test]
fn reasons_are_those_of_the_equations_whatever_computes_them() {
    let inputs = Inputs::of(&[Data::Small]);
    let (rank, alpha, lambda) = (6, 2.0, 0.05);
    let model =
        format!("rank = {rank}\nepochs = 3\nalpha = {alpha}\nregularization = {lambda}\nnu = 0");
    let job = Job::new(&inputs, Data::Small, &model, "");
    json_of(&mut job.command("run", &[]));
    let all = ["--threads", "1", "--set", "output.recommend.reasons=1000"];
    let file = explained(&job, "all", &all);
    let found = reasons(&file);
    check_sums(&found, &job.folder().join("lists-all.parquet"));
    let mut small = vec!["--memory", "256MiB", "--workers", "3", "--io", "pread"];
    small.extend(&all[2..]);
    let other = explained(&job, "three", &small);
    assert!(std::fs::read(&file).unwrap() == std::fs::read(other).unwrap());
    let few = reasons(&explained(
        &job,
        "few",
        &["--set", "output.recommend.reasons=2"],
    ));
    assert_eq!(few.len(), found.len());
    for (key, few) in &few {
        let of = |reasons: &[Reason]| reasons[..2].iter().map(|of| of.because).collect::<Vec<_>>();
        assert_eq!((few.len(), of(few)), (2, of(&found[key])));
    }

    let tables = factors::of(&job);
    let products: BTreeMap<i64, Vec<f64>> = tables[1]
        .iter()
        .map(|(id, row)| {
            let row = row.iter().map(|&v| f64::from(v)).collect();
            (id.parse().expect("an id"), row)
        })
        .collect();
    let had = purchases(&inputs);
    let mut checked = 0;
    for ((user, _, product), reasons) in found.iter().step_by(97) {
        // Hu, Koren, Volinsky: A = Σ v vᵀ + Σ_j α y_j v_j v_jᵀ + λ I; a purchase has (1 + α y) vᵀ A⁻¹ v_j.
        let mut a = vec![vec![0.0; rank]; rank];
        let mut add = |weight: f64, v: &[f64]| {
            for i in 0..rank {
                for j in 0..rank {
                    a[i][j] += weight * v[i] * v[j];
                }
            }
        };
        for v in products.values() {
            add(1.0, v);
        }
        for (of, y) in &had[user] {
            add(alpha * y, &products[of]);
        }
        (0..rank).for_each(|k| a[k][k] += lambda);
        let y = solve(a, products[product].clone());
        assert_eq!(reasons.len(), had[user].len());
        for reason in reasons {
            let dot: f64 = y
                .iter()
                .zip(&products[&reason.because])
                .map(|(y, v)| y * v)
                .sum();
            let expected = (1.0 + alpha * had[user][&reason.because]) * dot;
            let far = (reason.contribution - expected).abs();
            assert!(
                far < 1e-6 * (expected.abs() + 1e-3),
                "{reason:?} {expected}"
            );
            checked += 1;
        }
    }
    assert!(checked > 1000, "{checked}");
}

/// At the end of training users solve their equations by products that move no more: nothing is left to explain. The equations of
/// every kind of interaction would leave something if they were others than those of training.
#[test]
fn at_rest_purchases_explain_the_whole_score() {
    let inputs = Inputs::of(&[Data::Small]);
    let head = "rank = 3\nepochs = 150\nregularization = 1.0\nnu = 0\n";
    for (name, model) in [
        ("hu", "alpha = 2.0"),
        ("faded", "alpha = 2.0\ntime = \"decay\"\nhalf_life = 2.0"),
        ("tensor", "alpha = 2.0\ntime = \"factor\""),
        ("contexts", "alpha = 2.0\ncontext = \"factor\""),
        (
            "four modes",
            "alpha = 2.0\ntime = \"factor\"\ncontext = \"factor\"",
        ),
    ] {
        // Contexts are days of the week.
        let job = Job::over(
            &inputs.folder().join("small.parquet"),
            "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\nduplicates = \"count\"\ntime_bin = \"week\"\n\
             context_cycle = \"day-of-week\"",
            &format!("kind = \"als\"\npreset = \"hu\"\n{head}{model}"),
            "",
        );
        json_of(&mut job.command("run", &[]));
        let all = ["--set", "output.recommend.reasons=1000"];
        let found = reasons(&explained(&job, "all", &all));
        let rest = check_sums(&found, &job.folder().join("lists-all.parquet"));
        assert!(rest < 0.02, "{name}: {rest} of the scores");
        if name == "contexts" {
            // On another day the same purchases are worth other scores, which they explain as well.
            let day = [&all[..], &["--set", "output.recommend.context=saturday"]].concat();
            let of_day = reasons(&explained(&job, "day", &day));
            let rest = check_sums(&of_day, &job.folder().join("lists-day.parquet"));
            assert!(rest < 0.02, "saturday: {rest} of the scores");
            let scores = |of: &Reasons| of.values().map(|of| of[0].score).collect::<Vec<_>>();
            assert!(scores(&of_day) != scores(&found));
        }
    }
}

/// The page's code runs as it stands.
#[test]
fn the_page_does_what_it_says() {
    let Some(python) = pages::readers(env!("CARGO_TARGET_TMPDIR"), "what reads reasons") else {
        return;
    };
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 4\nepochs = 2", "");
    json_of(&mut job.command("run", &[]));
    let written = explained(&job, "page", &["--set", "output.recommend.reasons=3"]);
    std::fs::rename(written, job.folder().join("reasons.parquet")).unwrap();
    let set = format!(
        "output.recommend.folder={}",
        job.folder().join("lists").display()
    );
    json_of(&mut job.command("recommend", &["--set", &set]));
    let found = pages::blocks_of("docs/recommend.md", "python");
    let columns = [["rank", "score"], ["contribution", "rest"]];
    assert_eq!(found.len(), columns.len());
    for (code, columns) in found.iter().zip(columns) {
        let shown = pages::run(&python, code, job.folder());
        let has = |column: &str| shown.contains(column);
        assert!(columns.into_iter().all(has), "{shown}");
    }
}

#[test]
fn what_cannot_be_explained_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let refused = |model: &str, why: &str| {
        let job = Job::of(&inputs, Data::Small, model, "");
        json_of(&mut job.command("run", &[]));
        let lists = job.folder().join("lists.parquet");
        let reasons = job.folder().join("reasons.parquet");
        let mut command = job.command("recommend", &[]);
        command.args([
            "--set",
            &format!("output.recommend.file={}", lists.display()),
        ]);
        let set = format!("output.recommend.explanations={}", reasons.display());
        let output = output_of(command.args(["--set", &set]));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        let sentence = format!("`output.recommend.explanations` is not for {why}: what a past");
        assert!(message.contains(&sentence), "{message}");
        assert_eq!(output.status.code(), Some(78));
        assert!(
            !lists.exists() && !reasons.exists(),
            "nothing is half-written"
        );
    };
    refused(
        "kind = \"spectral\"\nrank = 4\nepochs = 2",
        "a model of the kind \"spectral\"",
    );
    refused(
        "kind = \"als\"\npreset = \"hu\"\nrank = 4\nepochs = 1\nnon_negative = true",
        "a model with `model.non_negative`",
    );
}
