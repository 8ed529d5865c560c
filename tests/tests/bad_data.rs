//! Input, outputs and workers that a job cannot use, each with the sentence and the exit code that answer it.
//!
//! `bad_input.rs` is about the words of a job; here the job is right and the world is not. A case prepares a
//! directory, runs a verb and says what must come. In messages `{dir}` stands for the directory and `{object}` for a
//! digest. Whatever happens, a verb that fails leaves the directory as it was.

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::process::{coordinator, json_of, output_of};

const JOB: &str = r#"[input]
files = ["in"]
user = "u"
product = "p"
time = "t"
[split]
test_fraction = 0.2
[model]
rank = 4
epochs = 2
[output]
data = "out/data"
model = "out/model"
recommend = { file = "out/lists.parquet" }
"#;

/// The same with values.
fn with_values(duplicates: &str, preset: &str) -> String {
    JOB.replace(
        "time = \"t\"",
        &format!("time = \"t\"\nvalue = \"v\"\nduplicates = \"{duplicates}\""),
    )
    .replace("rank = 4", &format!("rank = 4\npreset = \"{preset}\""))
}

struct Case {
    prepare: fn(&Path),
    job: String,
    arguments: &'static str,
    code: i64,
    message: &'static str,
}

/// A case of `ingest` over what `prepare` writes.
fn ingest(prepare: fn(&Path), code: i64, message: &'static str) -> Case {
    Case {
        prepare,
        job: JOB.to_owned(),
        arguments: "ingest job.toml",
        code,
        message,
    }
}

/// A case of a verb over a finished run that `prepare` spoils.
fn after_run(
    prepare: fn(&Path),
    arguments: &'static str,
    code: i64,
    message: &'static str,
) -> Case {
    Case {
        prepare,
        job: JOB.to_owned(),
        arguments,
        code,
        message,
    }
}

fn write(path: PathBuf, columns: Vec<(&str, ArrayRef)>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, values)| (name, values, true)),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn users() -> ArrayRef {
    ints((0..60).map(|row| Some(row / 6)))
}

fn products() -> ArrayRef {
    ints((0..60).map(|row| Some(row * 7 % 11)))
}

fn times() -> ArrayRef {
    ints((0..60).map(|row| Some(1_600_000_000 + row * 86_400)))
}

fn good(directory: &Path) {
    let columns = vec![("u", users()), ("p", products()), ("t", times())];
    write(directory.join("in/a.parquet"), columns);
}

/// Values of which the third is as given.
fn valued(directory: &Path, third: Option<f64>) {
    let values = (0..60).map(|row| if row == 2 { third } else { Some(1.0) });
    let columns = vec![
        ("u", users()),
        ("p", products()),
        ("t", times()),
        ("v", Arc::new(values.collect::<Float64Array>()) as ArrayRef),
    ];
    write(directory.join("in/a.parquet"), columns);
}

/// A good input, and all that `run` makes of it.
fn ran(directory: &Path) {
    good(directory);
    fs::write(directory.join("first.toml"), JOB).unwrap();
    json_of(
        coordinator()
            .current_dir(directory)
            .args(["--json", "run", "first.toml"]),
    );
}

/// The largest object that the last manifest of a depot names.
fn an_object(depot: &Path) -> PathBuf {
    let manifests = files(&depot.join("manifests"));
    let last = manifests.values().next_back().unwrap();
    let is_named = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        let digits = name.as_bytes().chunks(2).map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap_or_default()
        });
        let digest: Vec<u8> = digits.collect();
        last.windows(digest.len()).any(|window| window == digest)
    };
    let objects = files(&depot.join("objects"));
    let named = objects.iter().filter(|(path, _)| is_named(path));
    let largest = named.max_by_key(|(path, bytes)| (bytes.len(), *path));
    largest.unwrap().0.clone()
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut permissions = fs::metadata(path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file below a directory, with its bytes; directories without files have no bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
                found.insert(path, Vec::new());
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

fn of_files() -> Vec<Case> {
    let job = |job: String, case: Case| Case { job, ..case };
    vec![
        ingest(|_| {}, 69, "`input.files`: there is no file {dir}/in"),
        job(
            JOB.replace("\"in\"", "\"in/*.parquet\""),
            ingest(
                |_| {},
                69,
                "`input.files`: no file matches {dir}/in/*.parquet",
            ),
        ),
        ingest(
            |dir| fs::create_dir(dir.join("in")).unwrap(),
            69,
            "`input.files`: the directory {dir}/in holds no *.parquet file",
        ),
        job(
            JOB.replace("\"in\"", "\"in\", \"in/a.parquet\""),
            ingest(
                good,
                78,
                "`input.files` names {dir}/in/a.parquet twice: its rows would count double",
            ),
        ),
        ingest(
            |dir| {
                fs::create_dir(dir.join("in")).unwrap();
                fs::write(dir.join("in/a.parquet"), "household,product\n1,2\n").unwrap();
            },
            65,
            "{dir}/in/a.parquet is not a whole Parquet file (it does not end with the word PAR1): it may be truncated or damaged, write it again",
        ),
        ingest(
            |dir| {
                good(dir);
                let whole = fs::read(dir.join("in/a.parquet")).unwrap();
                fs::write(dir.join("in/a.parquet"), &whole[..whole.len() / 2]).unwrap();
            },
            65,
            "{dir}/in/a.parquet is not a whole Parquet file (it does not end with the word PAR1): it may be truncated or damaged, write it again",
        ),
        ingest(
            |dir| {
                fs::create_dir(dir.join("in")).unwrap();
                fs::write(dir.join("in/a.parquet"), "").unwrap();
            },
            65,
            "{dir}/in/a.parquet is not a whole Parquet file (it has 0 bytes): it may be truncated or damaged, write it again",
        ),
        ingest(
            |dir| {
                let none = || ints([]);
                let columns = vec![("u", none()), ("p", none()), ("t", none())];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "{dir}/in/a.parquet has no rows: nothing to ingest",
        ),
        ingest(
            |dir| {
                let columns = vec![("user", users()), ("p", products()), ("t", times())];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "{dir}/in/a.parquet has no column `u` (user); it has `user`, `p`, `t`",
        ),
        ingest(
            |dir| {
                let reals = (0..60).map(|row| Some(f64::from(row)));
                let reals: ArrayRef = Arc::new(reals.collect::<Float64Array>());
                let columns = vec![("u", users()), ("p", reals), ("t", times())];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "column `p` (product) of {dir}/in/a.parquet is Float64; it must be an integer, text or binary column",
        ),
        ingest(
            |dir| {
                good(dir);
                let words = (0..60).map(|row| Some(format!("user {row}")));
                let words: ArrayRef = Arc::new(words.collect::<StringArray>());
                let columns = vec![("u", words), ("p", products()), ("t", times())];
                write(dir.join("in/b.parquet"), columns);
            },
            65,
            "column `u` is text in {dir}/in/b.parquet but an integer in {dir}/in/a.parquet: write both with one type",
        ),
        ingest(
            |dir| {
                // A page of data, not the footer.
                good(dir);
                spoil(&dir.join("in/a.parquet"), 4);
            },
            65,
            "{dir}/in/a.parquet is not a whole Parquet file (Parquet argument error: Parquet error: Unexpected struct field type 15): it may be truncated or damaged, write it again",
        ),
    ]
}

/// Overwrites what lies at `at`: the header of the first page, where it is 4.
fn spoil(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at..at + 16].fill(0xff);
    fs::write(path, bytes).unwrap();
}

fn of_rows() -> Vec<Case> {
    let valued_as = |prepare: fn(&Path), duplicates: &str, preset: &str, message| Case {
        job: with_values(duplicates, preset),
        ..ingest(prepare, 65, message)
    };
    vec![
        ingest(
            |dir| {
                let holes = (0..60).map(|row| (row != 41).then_some(row / 6));
                let columns = vec![("u", ints(holes)), ("p", products()), ("t", times())];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "{dir}/in/a.parquet, row 41 (from 0): column `u` is null; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        ingest(
            |dir| {
                let holes = (0..60).map(|row| (row != 3).then_some(1_600_000_000));
                let columns = vec![("u", users()), ("p", products()), ("t", ints(holes))];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "{dir}/in/a.parquet, row 3 (from 0): column `t` is null; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        ingest(
            |dir| {
                let far = (0..60).map(|row| Some(if row == 5 { i64::MAX } else { 1_600_000_000 }));
                let columns = vec![("u", users()), ("p", products()), ("t", ints(far))];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "{dir}/in/a.parquet, row 5 (from 0): column `t` is a time beyond what can be numbered; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        ingest(
            |dir| {
                let words: ArrayRef = Arc::new(StringArray::from(vec!["1 May"; 60]));
                let columns = vec![("u", users()), ("p", products()), ("t", words)];
                write(dir.join("in/a.parquet"), columns);
            },
            65,
            "column `t` (time) of {dir}/in/a.parquet is Utf8; it must be a date, timestamp or integer column",
        ),
        valued_as(
            |dir| valued(dir, None),
            "sum",
            "hu",
            "{dir}/in/a.parquet, row 2 (from 0): column `v` is null; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        valued_as(
            |dir| valued(dir, Some(f64::NAN)),
            "sum",
            "hu",
            "{dir}/in/a.parquet, row 2 (from 0): column `v` is not a number; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        valued_as(
            |dir| valued(dir, Some(f64::INFINITY)),
            "max",
            "explicit",
            "{dir}/in/a.parquet, row 2 (from 0): column `v` is infinite; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        valued_as(
            |dir| valued(dir, Some(-2.0)),
            "sum",
            "hu",
            "{dir}/in/a.parquet, row 2 (from 0): column `v` is negative, which the model forbids; correct it, or set on_bad_row = \"skip\" to leave such rows out",
        ),
        Case {
            job: JOB.replace("time = \"t\"", "on_bad_row = \"skip\""),
            ..ingest(
                |dir| {
                    let none = || ints((0..60).map(|_| None));
                    write(dir.join("in/a.parquet"), vec![("u", none()), ("p", none())]);
                },
                65,
                "none of the 60 rows can be used (null_user: 60): check the columns that the job names",
            )
        },
    ]
}

fn of_workers_and_budgets() -> Vec<Case> {
    let argued = |arguments, code, message| Case {
        arguments,
        ..ingest(good, code, message)
    };
    vec![
        argued(
            "ingest job.toml --workers 127.0.0.1:1",
            69,
            "no worker can be used (127.0.0.1:1: tcp connect error): start workers, or wait for them",
        ),
        Case {
            prepare: |dir| {
                // One row group whose ids take more than a budget of 256 MiB leaves for decoding.
                let rows = 3_000_000_i64;
                let columns = vec![
                    ("u", ints((0..rows).map(|row| Some(row * 31)))),
                    ("p", ints((0..rows).map(|row| Some(row * 17)))),
                    ("t", ints((0..rows).map(Some))),
                ];
                let path = dir.join("in/a.parquet");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let batch = RecordBatch::try_from_iter(columns).unwrap();
                let one_group = parquet::file::properties::WriterProperties::builder()
                    .set_max_row_group_row_count(Some(rows as usize))
                    .build();
                let file = File::create(path).unwrap();
                let mut writer =
                    ArrowWriter::try_new(file, batch.schema(), Some(one_group)).unwrap();
                writer.write(&batch).unwrap();
                writer.close().unwrap();
            },
            ..argued(
                "ingest job.toml --memory 256MiB --workers 2",
                78,
                "row group 0 of {dir}/in/a.parquet needs 117.4 MiB, the budget leaves 76.8 MiB: give --memory 392 MiB or more, or write smaller row groups",
            )
        },
        argued(
            "train job.toml",
            69,
            "{dir}/out/data holds no data set: run `coordinator ingest` with this job first",
        ),
        argued(
            "evaluate job.toml",
            69,
            "{dir}/out/data holds no data set: run `coordinator ingest` with this job first",
        ),
        argued(
            "recommend job.toml",
            69,
            "{dir}/out/data holds no data set: run `coordinator ingest` with this job first",
        ),
        argued("inspect nowhere", 69, "there is no directory nowhere"),
        argued("verify nowhere", 69, "there is no directory nowhere"),
        Case {
            prepare: |dir| fs::create_dir(dir.join("bare")).unwrap(),
            ..argued(
                "inspect bare",
                69,
                "bare holds neither a data set nor a model",
            )
        },
        Case {
            prepare: |dir| {
                good(dir);
                fs::write(dir.join("out"), "a file where the job wants a directory").unwrap();
            },
            ..argued(
                "ingest job.toml",
                78,
                "`{dir}/out/data` is no place for a depot: Not a directory (os error 20); give a path or a URL of file, s3, gs or az",
            )
        },
    ]
}

fn of_what_a_run_left() -> Vec<Case> {
    let other = |job: String, case: Case| Case { job, ..case };
    vec![
        after_run(
            |dir| {
                ran(dir);
                let columns = vec![("u", products()), ("p", users()), ("t", times())];
                write(dir.join("in/a.parquet"), columns);
            },
            "run job.toml",
            78,
            "{dir}/out/data holds the data set of another input or of other [input] settings: name another `output.data`, or remove it; \
             `coordinator update` adds new files to it",
        ),
        other(
            JOB.replace("0.2", "0.3"),
            after_run(
                ran,
                "evaluate job.toml",
                78,
                "the model was trained on another part of the data than this job's [split] and `model.time` say: use the job it was trained with, or train again",
            ),
        ),
        other(
            JOB.replace("0.2", "0.3"),
            after_run(
                ran,
                "recommend job.toml",
                78,
                "the model was trained on another part of the data than this job's [split] and `model.time` say: use the job it was trained with, or train again",
            ),
        ),
        other(
            JOB.replace("out/lists.parquet", "in/a.parquet/lists.parquet")
                .replace("files = [\"in\"]", "files = [\"in/*\"]"),
            after_run(
                ran,
                "recommend job.toml",
                74,
                "{dir}/in/a.parquet cannot be written: File exists (os error 17)",
            ),
        ),
        after_run(
            |dir| {
                ran(dir);
                flip_a_bit(&an_object(&dir.join("out/data")));
            },
            "verify out/data",
            65,
            "out/data is not whole: object {object} (manifest N) is damaged: restore it from a copy, or make it again",
        ),
        after_run(
            |dir| {
                ran(dir);
                fs::remove_file(an_object(&dir.join("out/model"))).unwrap();
            },
            "verify out/model",
            65,
            "out/model is not whole: object {object} (manifest N) is missing: restore it from a copy, or make it again",
        ),
        after_run(
            |dir| {
                ran(dir);
                fs::remove_file(an_object(&dir.join("out/model"))).unwrap();
            },
            "recommend job.toml",
            65,
            "object {object} is missing under {dir}/out/model: run `verify`, and restore it from a copy",
        ),
        after_run(
            |dir| {
                ran(dir);
                let manifests = files(&dir.join("out/model/manifests"));
                flip_a_bit(manifests.keys().next_back().unwrap());
            },
            "inspect out/model",
            65,
            "manifest N under out/model is damaged: its bytes are not those that were written",
        ),
        after_run(
            ran,
            "inspect out/model --graph",
            69,
            "out/model holds no data set: `--graph` tells of the graph of one, name that of `output.data`",
        ),
    ]
}

/// Digests are 64 digits; which they are is another test's business, like the number of checkpoints before a model.
fn without_digests(message: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in message.split(' ') {
        if parts
            .last()
            .is_some_and(|before| before.ends_with("manifest"))
        {
            parts.push(word.replace(|c: char| c.is_ascii_digit(), "N"));
            continue;
        }
        let digits = word.chars().filter(char::is_ascii_hexdigit).count();
        parts.push(if digits >= 32 && digits + 2 >= word.len() {
            "{object}".to_owned()
        } else {
            word.to_owned()
        });
    }
    parts.join(" ")
}

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().canonicalize().unwrap();
        (case.prepare)(&directory);
        fs::write(directory.join("job.toml"), &case.job).unwrap();
        let before = files(&directory);
        let output = output_of(
            coordinator()
                .current_dir(&directory)
                .arg("--json")
                .args(case.arguments.split_whitespace()),
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let message = object["error"]["message"].as_str().unwrap_or(&text);
        let message = without_digests(&message.replace(&*directory.to_string_lossy(), "{dir}"));
        let code = object["error"]["exit_code"].as_i64();
        if (message.as_str(), code) != (case.message, Some(case.code))
            || output.status.code().map(i64::from) != code
        {
            wrong.push(format!(
                "{number}: {}\n  found    {:?} {message}\n  expected {} {}",
                case.arguments, code, case.code, case.message
            ));
        }
        for path in files(&directory).keys() {
            if !before.contains_key(path) {
                let left = path.strip_prefix(&directory).unwrap();
                wrong.push(format!(
                    "{number}: {}: left {}",
                    case.arguments,
                    left.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    check(&of_files());
}

#[test]
fn rows_that_cannot_be_used_are_named() {
    check(&of_rows());
}

#[test]
fn workers_budgets_and_places_that_are_not_there() {
    check(&of_workers_and_budgets());
}

#[test]
fn what_a_run_left_is_not_mistaken_for_another() {
    check(&of_what_a_run_left());
}
