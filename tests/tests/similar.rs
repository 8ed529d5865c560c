//! Rows that are like each row: against cosines in f64 of the stored factors, whatever computes them; and what is refused.

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tests::factors::{self, Factors};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of, output_of};

const TOP: usize = 5;
const RANK: usize = 6;

/// (id, rank) -> the like one and the cosine.
type Lists = BTreeMap<(i64, u32), (i64, f32)>;

fn lists(file: &Path, column: &str) -> Lists {
    let file = std::fs::File::open(file).expect("the lists were written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut found = Lists::new();
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("a batch");
        let ids = |name: &str| {
            let column = batch.column_by_name(name).expect("the column");
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        let (of, like) = (ids(column), ids(&format!("similar_{column}")));
        let ranks = batch["rank"].as_primitive::<UInt32Type>().values();
        let scores = batch["score"].as_primitive::<Float32Type>().values();
        for place in 0..of.len() {
            found.insert((of[place], ranks[place]), (like[place], scores[place]));
        }
    }
    found
}

/// Of the factors alone: what follows them are biases.
fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        let pairs = x[..RANK].iter().zip(&y[..RANK]);
        pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
}

fn check(lists: &Lists, factors: &Factors) {
    let rows: BTreeMap<i64, &Vec<f32>> = factors
        .iter()
        .filter(|(_, row)| row[..RANK].iter().any(|&x| x != 0.0))
        .map(|(id, row)| (id.parse().expect("an id"), row))
        .collect();
    assert!(rows.len() > 100);
    assert_eq!(lists.len(), rows.len() * TOP);
    for (id, row) in &rows {
        let mut expected: Vec<f64> = rows
            .iter()
            .filter(|(other, _)| *other != id)
            .map(|(_, other)| cosine(row, other))
            .collect();
        expected.sort_by(|x, y| y.total_cmp(x));
        for (place, expected) in expected[..TOP].iter().enumerate() {
            let (like, score) = lists[&(*id, place as u32 + 1)];
            assert_ne!(like, *id);
            // The one that is named has the cosine that is told, and no other has a higher one.
            assert!((f64::from(score) - expected).abs() < 2e-6, "{id} {place}");
            assert!((cosine(row, rows[&like]) - expected).abs() < 2e-6);
        }
    }
}

fn job(inputs: &Inputs) -> Job {
    let model = format!("rank = {RANK}\nepochs = 2\nbiases = true");
    Job::new(inputs, Data::Small, &model, "test_bins = 1")
}

#[test]
fn lists_are_those_of_cosines_whatever_computes_them() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs);
    json_of(&mut job.command("run", &[]));
    let tables = factors::of(&job);
    for (place, of) in ["user", "product"].into_iter().enumerate() {
        let written = |name: &str, arguments: &[&str]| {
            let file = job.folder().join(format!("{of}-{name}.parquet"));
            let mut command = job.command("similar", arguments);
            command.args(["--set", &format!("output.similar.of={of}")]);
            command.args(["--set", &format!("output.similar.top={TOP}")]);
            command.args(["--set", &format!("output.similar.file={}", file.display())]);
            let told = json_of(&mut command);
            let lists = lists(&file, of);
            assert_eq!(told["rows"], lists.len());
            assert_eq!(told["lists"], lists.len() / TOP);
            (lists, std::fs::read(&file).expect("the file"))
        };
        let (found, bytes) = written("one", &["--threads", "1"]);
        check(&found, &tables[place]);
        let small = ["--memory", "256MiB", "--workers", "3", "--io", "pread"];
        assert!(written("three", &small).1 == bytes);
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let daemons = folders.each_ref().map(|at| Daemon::start(at.path(), &[]));
        let daemons = addresses(&daemons);
        assert!(written("daemons", &["--workers", &daemons]).1 == bytes);
    }
}

#[test]
fn an_index_finds_what_all_pairs_hold_whatever_computes_it() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs);
    json_of(&mut job.command("run", &[]));
    let written = |name: &str, sets: &[&str], arguments: &[&str]| {
        let file = job.folder().join(format!("{name}.parquet"));
        let mut command = job.command("similar", arguments);
        command.args(["--set", &format!("output.similar.top={TOP}")]);
        command.args(["--set", &format!("output.similar.file={}", file.display())]);
        for set in sets {
            command.args(["--set", &format!("output.similar.{set}")]);
        }
        let told = json_of(&mut command);
        let lists = lists(&file, "product");
        assert_eq!(told["rows"], lists.len());
        (told, lists, std::fs::read(&file).expect("the file"))
    };
    // So few pairs are all compared, unless an index is asked for.
    let (told, all, _) = written("all", &[], &[]);
    assert!(told.get("index").is_none());
    let by_index = ["index=index", "recall=0.9"];
    let (told, found, bytes) = written("one", &by_index, &["--threads", "1"]);
    let number = |key: &str| told["index"][key].as_f64().expect("a number");
    assert!(number("recall") >= 0.9 && number("probes") <= 0.2 * number("lists"));
    let ids: BTreeSet<i64> = all.keys().map(|&(id, _)| id).collect();
    assert_eq!(
        found.keys().map(|&(id, _)| id).collect::<BTreeSet<_>>(),
        ids
    );
    let mut hits = 0;
    for &id in &ids {
        let list = |lists: &Lists| -> BTreeMap<i64, f32> {
            (1..=TOP as u32)
                .filter_map(|rank| lists.get(&(id, rank)).copied())
                .collect()
        };
        let (all, found) = (list(&all), list(&found));
        for (other, score) in &found {
            // What is found has its exact cosine.
            let known = all.get(other);
            assert!(known.is_none_or(|known| known.to_bits() == score.to_bits()));
            hits += usize::from(known.is_some());
        }
    }
    let recall = hits as f64 / all.len() as f64;
    assert!(recall > 0.87, "{recall}");
    let small = ["--memory", "256MiB", "--workers", "3", "--io", "pread"];
    assert!(written("three", &by_index, &small).2 == bytes);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let daemons = folders.each_ref().map(|at| Daemon::start(at.path(), &[]));
    let daemons = addresses(&daemons);
    assert!(written("daemons", &by_index, &["--workers", &daemons]).2 == bytes);
    // Where an index would have to look through most of its lists, all pairs are compared.
    let exact = written("long", &["top=1000"], &[]).2;
    let (told, _, bytes) = written("wide", &["top=1000", "index=index"], &[]);
    assert!(told.get("index").is_none() && bytes == exact);
    // Lists of some are those of all.
    let id = ids.iter().next().expect("an id");
    let (_, some, _) = written(
        "some",
        &["index=index", "recall=0.9", &format!("ids={id}")],
        &[],
    );
    assert_eq!(some.len(), TOP);
    assert!(some.iter().all(|(key, pair)| found[key] == *pair));
}

#[test]
fn some_are_shown() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs);
    json_of(&mut job.command("run", &[]));
    let file = job.folder().join("all.parquet");
    let mut command = job.command("similar", &[]);
    json_of(command.args(["--set", &format!("output.similar.file={}", file.display())]));
    let all = lists(&file, "product");
    let ids: Vec<i64> = all.keys().map(|&(id, _)| id).step_by(777).take(2).collect();
    let mut command = job.command("similar", &["--set", "output.similar.top=3"]);
    command.args([
        "--set",
        &format!("output.similar.ids={},{}", ids[0], ids[1]),
    ]);
    let told = json_of(&mut command);
    assert_eq!((&told["rows"], &told["lists"]), (&6.into(), &2.into()));
    for pair in told["similar"].as_array().expect("lists") {
        let number = |name: &str| {
            pair[name]
                .as_str()
                .expect("an id")
                .parse()
                .expect("a number")
        };
        let rank = pair["rank"].as_u64().expect("a rank") as u32;
        assert!(ids.contains(&number("id")) && rank <= 3);
        assert_eq!(all[&(number("id"), rank)].0, number("similar"));
    }
}

#[test]
fn what_cannot_be_listed_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs);
    json_of(&mut job.command("run", &[]));
    let refused = |setting: &[&str], code: i32, sentence: &str| {
        let output = output_of(&mut job.command("similar", setting));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    refused(
        &[],
        78,
        "give [output.similar] a `file`, or `ids` to be shown",
    );
    let set = |ids: &'static str| ["--set", ids];
    refused(
        &set("output.similar.ids=5000000"),
        78,
        "`output.similar.ids` has 5000000, which is no product of the data set: name ids of the column product",
    );
    let url = set("output.similar.file=s3://bucket/x.parquet");
    refused(
        &url,
        78,
        "`output.similar.file`: s3://bucket/x.parquet is a URL: give a local path",
    );
    let model = format!("output.similar.file={}", job.model().join("x").display());
    refused(&["--set", &model], 78, "lie in one another");
}
