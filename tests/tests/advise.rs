//! Models compared from end to end: the same figures whoever trains and whatever is killed, nothing trained twice, the right verdict in
//! small worlds whose truth is known, and the baselines against a count of our own.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::process::{Daemon, addresses, coordinator, ended, json_of, output_of};

const SMALL: &[&str] = &[
    "--users",
    "400",
    "--products",
    "120",
    "--days",
    "84",
    "--interactions",
    "8000",
    "--rank",
    "6",
    "--departments",
    "3",
];

/// A world and its job.
fn world(folder: &Path, flags: &[&str]) -> PathBuf {
    let place = folder.join("shop");
    json_of(
        coordinator()
            .args(["--json", "generate"])
            .arg(&place)
            .args(flags),
    );
    place.join("job.toml")
}

fn advise(job: &Path, arguments: &[&str]) -> Command {
    let mut command = coordinator();
    // Seconds enough, so that a slow machine freezes what a fast one does.
    let enough = ["--set", "advise.seconds=100000", "--set", "model.rank=8"];
    command
        .args(["--json", "advise"])
        .arg(job)
        .args(enough)
        .args(arguments);
    command
}

/// Without what depends on the machine and the call.
fn steady(mut report: Value) -> Value {
    let object = report.as_object_mut().expect("an object");
    for key in ["seconds", "peak_anonymous_bytes", "file"] {
        object.remove(key);
    }
    for sentence in object["verdict"].as_array_mut().expect("sentences") {
        let text = sentence["text"].as_str().expect("a text").to_owned();
        let text = text
            .split("; it trains")
            .next()
            .unwrap_or_default()
            .to_owned();
        sentence["text"] = text.into();
    }
    for model in object["models"].as_array_mut().expect("models") {
        let model = model.as_object_mut().expect("an object");
        model.remove("seconds");
        model.remove("peak_anonymous_bytes");
    }
    report
}

const MODELS: &str = "advise.models=popularity by segment,matrix,tensor,item kNN,lightgcn";

#[test]
fn figures_are_the_same_whoever_trains_and_whatever_is_killed() {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a temporary folder"));
    let jobs = folders.each_ref().map(|folder| world(folder.path(), SMALL));
    // Job files of generated purchases leave attributes out.
    for job in &jobs {
        let text = std::fs::read_to_string(job).expect("the job");
        let text = text.replace("# [input.user_attributes]", "[input.user_attributes]");
        let text = text.replace("# files = [\"users\"]", "files = [\"users\"]");
        std::fs::write(job, text).expect("the job is written");
    }
    let some = ["--set", MODELS];
    let expected = json_of(&mut advise(
        &jobs[0],
        &[&some[..], &["--threads", "1"]].concat(),
    ));
    let names: Vec<&str> = expected["models"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|model| model["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "popularity",
            "recent popularity",
            "own count",
            "own count fading",
            "popularity by segment",
            "matrix",
            "tensor",
            "item kNN",
            "lightgcn"
        ]
    );
    let mut started = advise(&jobs[1], &[&some[..], &["--workers", "2"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts");
    let first = folders[1].path().join("shop/strata/model/advise/tried");
    let began = Instant::now();
    while !first.is_dir() {
        assert!(
            began.elapsed() < Duration::from_mins(2),
            "no model was tried"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    started.kill().expect("it runs");
    assert_eq!(ended(started).status.code(), None, "it had ended");
    let caches = [0, 1].map(|_| tempfile::tempdir().expect("a temporary folder"));
    let daemons = caches.each_ref().map(|at| Daemon::start(at.path(), &[]));
    let resumed = json_of(&mut advise(
        &jobs[1],
        &[&some[..], &["--workers", &addresses(&daemons)]].concat(),
    ));
    let (resumed, whole) = (steady(resumed), steady(expected.clone()));
    for key in ["models", "tasks", "verdict", "data", "graph"] {
        assert!(resumed[key] == whole[key], "{key} differs");
    }
    // Nothing is trained again: what was told of seconds is told again, to the bit.
    let again = json_of(&mut advise(&jobs[0], &some));
    assert!(again["models"] == expected["models"], "models differ");
    let kept =
        std::fs::read_to_string(expected["file"].as_str().expect("a path")).expect("it is there");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert!(kept["models"] == expected["models"], "models differ");
    assert_eq!(kept["verdict"], expected["verdict"]);
}

#[test]
fn verdicts_are_right_where_the_truth_is_known() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let some = [
        "--set",
        "advise.models=matrix,similar products,item kNN,lightgcn",
    ];
    let judged = |name: &str, flags: &[&str]| {
        let shape = [
            "--products",
            "120",
            "--days",
            "84",
            "--rank",
            "6",
            "--departments",
            "3",
        ];
        let job = world(&folder.path().join(name), &[&shape[..], flags].concat());
        let found = json_of(&mut advise(&job, &some));
        let said = |task: &str| {
            let task = &found["tasks"][task];
            (
                task["answer"].as_str().expect("an answer").to_owned(),
                task["family"].as_str().expect("a family").to_owned(),
            )
        };
        (said("new_products"), said("all_products"))
    };
    let pair = |answer: &str, family: &str| (answer.to_owned(), family.to_owned());
    let more = ["--users", "2000", "--interactions", "60000"];
    let nothing = judged("nothing", &[&more[..], &["--popularity", "1"]].concat());
    assert_eq!(nothing.0, pair("nothing_beats_popularity", "popularity"));
    assert_eq!(judged("low rank", &more).0, pair("use", "matrix"));
    let repeat = judged(
        "repeat",
        &[&more[..], &["--popularity", "1", "--repeat", "0.9"]].concat(),
    );
    assert_eq!(repeat.1, pair("use", "repeat"));
    let tiny = judged("tiny", &["--users", "60", "--interactions", "600"]);
    assert_eq!(tiny.0, pair("too_little_data", "popularity"));
}

/// (user, product, days since 1970).
type Row = (i64, i64, i64);

/// All rows, and the segments of users.
fn read(folder: &Path) -> (Vec<Row>, BTreeMap<i64, String>) {
    let batches = |name: &str| {
        let files = std::fs::read_dir(folder.join(name)).expect("a folder");
        let files =
            files.map(|file| std::fs::File::open(file.expect("an entry").path()).expect("a file"));
        files
            .flat_map(|file| {
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
                reader
                    .build()
                    .expect("a reader")
                    .map(|batch| batch.expect("a batch"))
            })
            .collect::<Vec<_>>()
    };
    let whole = |batch: &arrow::array::RecordBatch, name: &str| {
        let column = batch.column_by_name(name).expect("the column");
        let days =
            arrow::compute::cast(column, &DataType::Int32).unwrap_or_else(|_| column.clone());
        let column = arrow::compute::cast(&days, &DataType::Int64).expect("whole numbers");
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    let mut rows = Vec::new();
    for batch in batches("interactions") {
        let [users, products, days] = ["user", "product", "day"].map(|name| whole(&batch, name));
        rows.extend((0..users.len()).map(|row| (users[row], products[row], days[row])));
    }
    let mut segments = BTreeMap::new();
    for batch in batches("users") {
        let users = whole(&batch, "user");
        let names = arrow::compute::cast(&batch["segment"], &DataType::Utf8).expect("texts");
        let names = names.as_string::<i32>();
        segments.extend(
            users
                .iter()
                .zip(names.iter())
                .map(|(user, name)| (*user, name.expect("known").to_owned())),
        );
    }
    (rows, segments)
}

/// What popularity within a segment lists: a count of our own beside the model's.
#[test]
fn popularity_within_a_segment_is_a_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job = world(folder.path(), SMALL);
    let shop = job.parent().expect("a folder");
    let lists = shop.join("lists.parquet");
    let set = |text: String| ["--set".to_owned(), text];
    let arguments = [
        set(format!(
            "input.user_attributes.files={}",
            shop.join("users").display()
        )),
        set("model.kind=popularity".to_owned()),
        set("model.user_label=segment".to_owned()),
        set(format!("output.recommend.file={}", lists.display())),
        set("split.validation_bins=0".to_owned()),
        set("split.test_bins=0".to_owned()),
    ]
    .concat();
    let plain = std::fs::read_to_string(&job).expect("the job");
    // Keys of the kind that the job was written for are none of this one.
    let plain: Vec<&str> = plain
        .lines()
        .filter(|line| !line.starts_with("preset"))
        .collect();
    std::fs::write(&job, plain.join("\n")).expect("the job is written");
    json_of(
        coordinator()
            .args(["--json", "run"])
            .arg(&job)
            .args(&arguments),
    );
    let (rows, segments) = read(shop);
    let bought: BTreeSet<(i64, i64)> = rows
        .iter()
        .map(|&(user, product, _)| (user, product))
        .collect();
    let mut counts: BTreeMap<(&str, i64), f64> = BTreeMap::new();
    let mut of_all: BTreeMap<i64, f64> = BTreeMap::new();
    for (user, product) in &bought {
        *counts.entry((&segments[user], *product)).or_default() += 1.0;
        *of_all.entry(*product).or_default() += 1.0;
    }
    let users: BTreeSet<i64> = bought.iter().map(|&(user, _)| user).collect();
    let score = |user: i64, product: i64| {
        let own = counts
            .get(&(&segments[&user][..], product))
            .copied()
            .unwrap_or(0.0);
        own + 10.0 / users.len() as f64 * of_all[&product]
    };
    let file = std::fs::File::open(&lists).expect("the lists were written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut seen = 0;
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("a batch");
        let ids = |name: &str| {
            let column =
                arrow::compute::cast(&batch[name], &DataType::Int64).expect("whole numbers");
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        let scores = arrow::compute::cast(&batch["score"], &DataType::Float64).expect("numbers");
        let scores = scores.as_primitive::<Float64Type>().values().to_vec();
        for ((user, product), told) in ids("user").into_iter().zip(ids("product")).zip(scores) {
            assert!(!bought.contains(&(user, product)));
            assert!(
                (score(user, product) - told).abs() < 1e-3,
                "{user} {product} {told}"
            );
            seen += 1;
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn what_cannot_be_compared_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job = world(folder.path(), SMALL);
    let refused = |arguments: &[&str]| {
        let output = output_of(&mut advise(&job, arguments));
        let said: Value = serde_json::from_slice(&output.stdout).expect("an object");
        let sentence = said["error"]["message"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        (output.status.code(), sentence)
    };
    let (code, sentence) = refused(&["--set", "advise.models=matrix,svd++"]);
    assert_eq!(code, Some(78));
    assert!(
        sentence.contains("\"svd++\"") && sentence.contains("lightgcn"),
        "{sentence}"
    );
    let (code, sentence) = refused(&["--set", "advise.metric=all_products ndcg@20"]);
    assert_eq!(code, Some(78));
    assert!(sentence.contains("`ndcg@20`"), "{sentence}");
    let (code, sentence) = refused(&["--set", "split.test_bins=0"]);
    assert_eq!(code, Some(78));
    assert!(sentence.contains("test"), "{sentence}");
    let (code, sentence) = refused(&["--set", "model.kind=popularity"]);
    assert!(code == Some(78) || code == Some(64));
    assert!(
        sentence.contains("`model.user_label`") || sentence.contains("preset"),
        "{sentence}"
    );
}
