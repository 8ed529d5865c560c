//! Influencers: planted ones are found by edges with all whom they reach; by purchases scores are those of the projection; the same bytes
//! whatever computes them; and what is refused.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, coordinator, json_of, output_of};

/// Planted influencers.
const PLANTED: usize = 10;
/// Followers of each.
const FOLLOWERS: usize = 25;

fn batches(path: &Path) -> Vec<RecordBatch> {
    let files = if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    } else {
        vec![path.to_owned()]
    };
    let of_file = |file: PathBuf| {
        let file = fs::File::open(file).expect("the file was written");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let batches = reader.build().expect("a reader").map(Result::unwrap);
        batches.collect::<Vec<RecordBatch>>()
    };
    files.into_iter().flat_map(of_file).collect()
}

/// Numbers of a column, whatever their type.
fn numbers(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let column = arrow::compute::cast(&batch[column], &DataType::Int64).expect("numbers");
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn pairs(path: &Path, left: &str, right: &str) -> Vec<(i64, i64)> {
    let all = batches(path).into_iter();
    all.flat_map(|batch| {
        let (left, right) = (numbers(&batch, left), numbers(&batch, right));
        left.into_iter().zip(right).collect::<Vec<_>>()
    })
    .collect()
}

/// A row of the file.
#[derive(Debug, PartialEq)]
struct Row {
    id: i64,
    score: f64,
    ties: u64,
    reached: BTreeSet<i64>,
    offers: Vec<(i64, u32)>,
}

fn rows(file: &Path, id: &str) -> Vec<Row> {
    let mut found = Vec::new();
    for batch in batches(file) {
        let ids = numbers(&batch, id);
        let ranks = numbers(&batch, "rank");
        let scores = batch["score"].as_primitive::<Float64Type>();
        let ties = batch["ties"].as_primitive::<UInt64Type>();
        let list = |name: &str, at: usize| {
            let entries = batch[name].as_list::<i32>().value(at);
            let entries = arrow::compute::cast(&entries, &DataType::Int64).expect("numbers");
            entries.as_primitive::<Int64Type>().values().to_vec()
        };
        for (at, &id) in ids.iter().enumerate() {
            assert_eq!(ranks[at], at as i64 + 1);
            let wanted = batch["wanted"].as_list::<i32>().value(at);
            let wanted = wanted.as_primitive::<UInt32Type>().values().to_vec();
            let reached = list("reached", at);
            let all = reached.len();
            let row = Row {
                id,
                score: scores.value(at),
                ties: ties.value(at),
                reached: reached.into_iter().collect(),
                offers: list("offers", at).into_iter().zip(wanted).collect(),
            };
            assert_eq!(row.reached.len(), all, "each once");
            found.push(row);
        }
    }
    found
}

fn verb(name: &str, job: &Path, settings: &[&str]) -> Command {
    let mut command = coordinator();
    command.args(["--json", name]).arg(job);
    for setting in ["model.rank=8", "model.epochs=3"].iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

#[test]
fn planted_influencers_are_found_with_whom_they_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    let flags = format!(
        "--users 1500 --products 300 --interactions 45000 --friends 5 --influencers {PLANTED} --followers {FOLLOWERS}"
    );
    let mut command = coordinator();
    command.args(["--json", "generate"]).arg(&shop);
    json_of(command.args(flags.split(' ')));
    let (job, file) = (
        shop.join("job.toml"),
        folder.path().join("out/found.parquet"),
    );
    let set = format!("output.influencers.file={}", file.display());
    let top = format!("output.influencers.top={PLANTED}");
    // `run` writes them where their file is named.
    let ran = json_of(&mut verb("run", &job, &[&set, &top]));
    let said = &ran["influencers"];
    assert_eq!(said["by"], "edges");
    let found = rows(&file, "user");
    let planted: BTreeSet<i64> = pairs(&shop.join("truth/users"), "user", "influencer")
        .into_iter()
        .filter_map(|(user, influencer)| (influencer == 1).then_some(user))
        .collect();
    assert_eq!(planted.len(), PLANTED);
    let right = found.iter().filter(|row| planted.contains(&row.id)).count();
    assert!(right as f64 >= 0.9 * PLANTED as f64, "{right} of {PLANTED}");

    // Scores, ties and who is reached, by the definition, over the edges of users who bought something in training or later.
    let buyers: BTreeSet<i64> = pairs(&shop.join("interactions"), "user", "user")
        .into_iter()
        .map(|(user, _)| user)
        .collect();
    let mut ties: BTreeMap<i64, BTreeMap<i64, f64>> = BTreeMap::new();
    for (from, to) in pairs(&shop.join("edges"), "from", "to") {
        if from != to && buyers.contains(&from) && buyers.contains(&to) {
            // Who is named twice, or by both, is one neighbour.
            ties.entry(from).or_default().insert(to, 1.0);
            ties.entry(to).or_default().insert(from, 1.0);
        }
    }
    let strength = |user: &i64| ties[user].values().sum::<f64>();
    for row in &found {
        let own = &ties[&row.id];
        let exact: f64 = own.iter().map(|(user, tie)| tie / strength(user)).sum();
        assert!((row.score - exact).abs() < 1e-9, "{row:?} {exact}");
        assert_eq!(row.ties, own.len() as u64);
        let near = |user: &&i64| ties[user].len() <= 2 && own[user] / strength(user) >= 0.1;
        let reached: BTreeSet<i64> = own.keys().filter(near).copied().collect();
        assert_eq!(row.reached, reached);
        assert!(!row.offers.is_empty());
        let most = |offer: &(i64, u32)| offer.1 as usize <= reached.len() && offer.1 > 0;
        assert!(row.offers.iter().all(most) && row.offers.len() <= 10);
        assert!(row.offers.windows(2).all(|two| two[0].1 >= two[1].1));
    }
    assert!(found.windows(2).all(|two| two[0].score >= two[1].score));

    // What is offered is of the lists of those who are reached, and nobody of them has it.
    let lists = folder.path().join("lists.parquet");
    let set = format!("output.recommend.file={}", lists.display());
    json_of(&mut verb(
        "recommend",
        &job,
        &[&set, "output.recommend.top=10"],
    ));
    let lists = pairs(&lists, "user", "product");
    for row in &found {
        let mut wanted: BTreeMap<i64, u32> = BTreeMap::new();
        for (user, product) in &lists {
            if row.reached.contains(user) {
                *wanted.entry(*product).or_default() += 1;
            }
        }
        for (product, count) in &row.offers {
            assert_eq!(wanted[product], *count);
        }
        let mut counts: Vec<u32> = wanted.into_values().collect();
        counts.sort_by_key(|&count| std::cmp::Reverse(count));
        let offered: Vec<u32> = row.offers.iter().map(|offer| offer.1).collect();
        assert_eq!(offered, counts[..offered.len()]);
    }

    // People are told the same.
    let mut command = coordinator();
    command.arg("influencers").arg(&job);
    command.args(["--set", "model.rank=8", "--set", "model.epochs=3"]);
    let output = output_of(command.args(["--set", &top]));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = shown
        .lines()
        .find(|line| line.contains(&found[0].id.to_string()));
    let score = format!("{:.2}", found[0].score);
    assert!(line.is_some_and(|line| line.contains(&score)), "{shown}");
}

/// (id -> columns) of the small purchases, and the same turned.
type Baskets = BTreeMap<i64, BTreeSet<i64>>;

fn baskets(inputs: &Inputs, from: &str, to: &str) -> Baskets {
    let mut found = Baskets::new();
    for (left, right) in pairs(&inputs.folder().join("small.parquet"), from, to) {
        found.entry(left).or_default().insert(right);
    }
    found
}

#[test]
fn purchases_tie_as_the_projection_does_and_bytes_are_the_same_whatever_computes_them() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 6\nepochs = 2", "");
    json_of(&mut job.command("run", &[]));
    let settings = [
        "output.influencers.top=30",
        "output.influencers.most_ties=45",
        "output.influencers.share=0.004",
    ];
    let written = |name: &str, of: &str, arguments: &[&str]| {
        let file = job.folder().join(format!("{name}-{of}.parquet"));
        let mut command = job.command("influencers", arguments);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.args(["--set", &format!("output.influencers.of={of}")]);
        command.args([
            "--set",
            &format!("output.influencers.file={}", file.display()),
        ]);
        assert_eq!(json_of(&mut command)["by"], "purchases");
        (rows(&file, of), fs::read(&file).expect("the file"))
    };
    for (of, others) in [("user", "product"), ("product", "user")] {
        let (found, bytes) = written("one", of, &["--threads", "1"]);
        assert_eq!(found.len(), 30);
        let (rows, columns) = (baskets(&inputs, of, others), baskets(&inputs, others, of));
        let strength = |row: &i64| rows[row].iter().filter(|of| columns[of].len() > 1).count();
        let tied = |row: &i64| {
            let mut ties: BTreeMap<i64, f64> = BTreeMap::new();
            for column in &rows[row] {
                let with = &columns[column];
                for other in with.iter().filter(|&other| other != row) {
                    *ties.entry(*other).or_default() += 1.0 / (with.len() - 1) as f64;
                }
            }
            ties
        };
        let mut reached = 0;
        for row in &found {
            let ties = tied(&row.id);
            let exact: f64 = ties
                .iter()
                .map(|(other, tie)| tie / strength(other) as f64)
                .sum();
            assert!((row.score - exact).abs() < 1e-9, "{} {exact}", row.score);
            assert_eq!(row.ties, strength(&row.id) as u64);
            let near = ties.iter().filter(|(other, tie)| {
                let all = strength(other);
                all <= 45 && *tie / all as f64 >= 0.004
            });
            let near: BTreeSet<i64> = near.map(|(other, _)| *other).collect();
            assert_eq!(row.reached, near);
            assert_eq!(row.offers.is_empty(), of == "product" || near.is_empty());
            reached += near.len();
        }
        assert!(reached > 0);
        // No other has a higher score.
        let least = found[29].score;
        let higher = rows.keys().filter(|row| {
            let ties = tied(row);
            let score = ties.iter().map(|(other, tie)| tie / strength(other) as f64);
            score.sum::<f64>() > least + 1e-9
        });
        assert_eq!(higher.count(), 29);
        let small = ["--memory", "256MiB", "--workers", "3", "--io", "pread"];
        assert!(written("three", of, &small).1 == bytes);
    }
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let daemons = folders.each_ref().map(|at| Daemon::start(at.path(), &[]));
    let first = written("one", "user", &["--threads", "2"]);
    let daemons = addresses(&daemons);
    assert!(written("daemons", "user", &["--workers", &daemons]) == first);
}

#[test]
fn what_cannot_be_looked_for_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 2\nepochs = 1", "");
    json_of(&mut job.command("run", &[]));
    let refused = |setting: &str, code: i32, sentence: &str| {
        let output = output_of(&mut job.command("influencers", &["--set", setting]));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    refused(
        "output.influencers.by=edges",
        78,
        "the data set has none between users: name their lists with `input.user_edges.files`",
    );
    refused(
        "output.influencers.file=s3://bucket/x.parquet",
        78,
        "`output.influencers.file`: s3://bucket/x.parquet is a URL: give a local path",
    );
    let taken = job.folder().join("job.toml").join("x.parquet");
    let taken = format!("output.influencers.file={}", taken.display());
    refused(&taken, 74, "job.toml");
}
