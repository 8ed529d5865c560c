//! First factors that users bring along, from Parquet to tables: a stopped model goes on as if it had never been, whoever
//! computes it; and what cannot be such factors is told in a sentence.

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
};
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::factors::{self, Factors};
use tests::ingested::parquet_of;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of};

fn job(inputs: &Inputs, model: &str) -> Job {
    let model = format!("rank = 6\nregularization = 0.01\n{model}");
    Job::new(inputs, Data::Small, &model, "")
}

fn ids(rows: &Factors) -> ArrayRef {
    let ids = rows.keys().map(|id| id.parse::<i64>().expect("an integer"));
    Arc::new(ids.collect::<Int64Array>())
}

fn list(rows: &Factors) -> ArrayRef {
    let rows = rows.values().map(|row| Some(row.iter().copied().map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

/// A file in a folder of its own, which lasts as long as the test.
fn put(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let bytes: Bytes = parquet_of(columns, 300);
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file is written");
    path
}

fn objectives(report: &Value) -> Vec<f64> {
    let epochs = report["epochs"].as_array().expect("a list");
    let objective = |epoch: &Value| epoch["objective"].as_f64().expect("a number");
    epochs.iter().map(objective).collect()
}

fn set(key: &str, path: &Path) -> String {
    format!("model.{key}={}", path.display())
}

#[test]
fn a_model_goes_on_from_its_factors_as_if_never_stopped() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = tempfile::tempdir().expect("a temporary folder");
    for solver in ["cholesky", "cg"] {
        let model = format!("solver = {solver:?}\nbiases = true\n");
        let whole = job(&inputs, &format!("{model}epochs = 4"));
        let whole = json_of(&mut whole.command("run", &[]));
        let half = job(&inputs, &format!("{model}epochs = 2"));
        let report = json_of(&mut half.command("run", &[]));
        assert_eq!(objectives(&report), objectives(&whole)[..2]);
        assert_eq!(report["initial"], Value::Null);
        let tables = factors::of(&half);
        // Products as lists, under the name of the data's column; with a row that nobody knows.
        let mut products = tables[1].clone();
        products.insert("-5".to_owned(), vec![0.5; 8]);
        let columns = vec![("factors", list(&products)), ("product", ids(&products))];
        let products = put(folder.path(), "products.parquet", columns);
        let mut given = vec!["--set".to_owned(), set("initial_products", &products)];
        if solver == "cg" {
            // Users as one column an entry, in f64.
            let entry = |k: usize| -> ArrayRef {
                let column = tables[0].values().map(|row| f64::from(row[k]));
                Arc::new(column.collect::<Float64Array>())
            };
            let names: Vec<String> = (0..8).map(|k| format!("f{k}")).collect();
            let mut columns = vec![("id", ids(&tables[0]))];
            columns.extend(names.iter().zip(0..).map(|(name, k)| (&name[..], entry(k))));
            let users = put(folder.path(), "users.parquet", columns);
            given.extend(["--set".to_owned(), set("initial_users", &users)]);
        }
        let go_on = |arguments: &[&str]| {
            let job = job(&inputs, &format!("{model}epochs = 2"));
            let given = given.iter().map(String::as_str);
            let arguments: Vec<&str> = arguments.iter().copied().chain(given).collect();
            json_of(&mut job.command("run", &arguments))
        };
        let daemons: Vec<Daemon> = ["a", "b"]
            .map(|name| {
                let cache = caches.path().join(format!("{solver}-{name}"));
                Daemon::start_blind(
                    &cache,
                    &[folder.path(), inputs.folder()],
                    &["--threads", "1"],
                )
            })
            .into();
        let remote = addresses(&daemons);
        for arguments in [
            &["--workers", "1"][..],
            &["--workers", "2", "--memory", "256MiB", "--io", "pread"],
            &["--workers", &remote],
        ] {
            let found = go_on(arguments);
            assert_eq!(found["digest"], whole["digest"], "{solver} {arguments:?}");
            assert_eq!(objectives(&found), objectives(&whole)[2..], "{solver}");
            let known = &found["initial"]["product"];
            let known = [&known["rows"], &known["known"]].map(Value::as_u64);
            assert_eq!(known[0], known[1].map(|known| known + 1));
        }
    }
}

/// Users are solved from the tables of all other modes, so these are what a tensor goes on from.
#[test]
fn a_tensor_goes_on_from_its_products_bins_and_contexts() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let train = |epochs: u32, arguments: &[&str]| {
        let model = format!("time = \"factor\"\ncontext = \"factor\"\nepochs = {epochs}");
        let job = job(&inputs, &model);
        let cycle = ["--set", "input.context_cycle=day-of-week"];
        let arguments: Vec<&str> = cycle.iter().chain(arguments).copied().collect();
        let report = json_of(&mut job.command("run", &arguments));
        (job, report)
    };
    let (_, whole) = train(3, &["--workers", "1"]);
    let (half, _) = train(1, &[]);
    let tables = factors::of(&half);
    let mut given = Vec::new();
    for (key, rows) in [
        ("initial_products", &tables[1]),
        ("initial_time", &tables[2]),
        ("initial_contexts", &tables[3]),
    ] {
        let columns = vec![("id", ids(rows)), ("vector", list(rows))];
        let path = put(folder.path(), &format!("{key}.parquet"), columns);
        given.extend(["--set".to_owned(), set(key, &path)]);
    }
    let given = given.iter().map(String::as_str);
    for workers in ["1", "2"] {
        let with: Vec<&str> = ["--workers", workers]
            .into_iter()
            .chain(given.clone())
            .collect();
        let (_, found) = train(2, &with);
        assert_eq!(found["digest"], whole["digest"], "{workers}");
        assert_eq!(objectives(&found), objectives(&whole)[1..]);
        let bins = tables[2].len() as u64;
        assert_eq!(found["initial"]["time"]["known"], bins);
        assert_eq!(found["initial"]["context"]["rows"], 7);
    }
}

/// With steps too short to see, what descent ends with is what it began with.
#[test]
fn descent_begins_with_what_it_is_given() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = tempfile::tempdir().expect("a temporary folder");
    let tensor = "kind = \"sgd\"\nloss = \"squared\"\nbiases = true\ntime = \"factor\"";
    for kind in [
        tensor,
        "kind = \"line\"",
        "kind = \"sgd\"\nloss = \"poisson\"",
    ] {
        let train = |more: &str, arguments: &[&str]| {
            let model = format!("{kind}\nrank = 6\n{more}");
            let job = Job::of(&inputs, Data::Small, &model, "");
            let values = [
                "--set",
                "input.value=value",
                "--set",
                "input.duplicates=sum",
            ];
            let arguments = [&values, arguments].concat();
            let report = json_of(&mut job.command("run", &arguments));
            (job, report)
        };
        let (first, _) = train("epochs = 2", &[]);
        let tables = factors::of(&first);
        let keys = ["initial_users", "initial_products", "initial_time"];
        let mut given = Vec::new();
        for (key, rows) in keys.iter().zip(&tables) {
            let columns = vec![("id", ids(rows)), ("vector", list(rows))];
            let path = put(folder.path(), &format!("{key}.parquet"), columns);
            given.extend(["--set".to_owned(), set(key, &path)]);
        }
        let mut digest = None;
        let mut stay = |arguments: &[&str]| {
            let given = given.iter().map(String::as_str);
            let arguments: Vec<&str> = arguments.iter().copied().chain(given).collect();
            let short = "epochs = 1\nrate = 1e-12\noptimizer = \"sgd\"";
            let (job, found) = train(short, &arguments);
            for (given, found) in tables.iter().zip(&factors::of(&job)) {
                assert!(given.keys().eq(found.keys()), "{kind}");
                let pairs = given.values().flatten().zip(found.values().flatten());
                for (given, found) in pairs {
                    assert!(
                        (given - found).abs() <= 1e-6,
                        "{kind}: {found}, not {given}"
                    );
                }
            }
            let digest = digest.get_or_insert_with(|| found["digest"].clone());
            assert_eq!(found["digest"], *digest, "{kind} {arguments:?}");
            let known = &found["initial"]["product"]["known"];
            assert_eq!(known.as_u64(), Some(tables[1].len() as u64));
        };
        stay(&["--workers", "1"]);
        stay(&["--workers", "2", "--memory", "256MiB", "--io", "pread"]);
        if kind == tensor {
            let daemons: Vec<Daemon> = ["a", "b"]
                .map(|name| {
                    let hidden = [folder.path(), inputs.folder()];
                    Daemon::start_blind(&caches.path().join(name), &hidden, &["--threads", "1"])
                })
                .into();
            stay(&["--workers", &addresses(&daemons)]);
        }
    }
}

#[test]
fn factors_without_biases_and_of_some_rows_are_taken() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let some: Factors = (0..40)
        .map(|id| (id.to_string(), vec![0.25 + 0.01 * id as f32; 6]))
        .collect();
    let values = some.values().flatten().copied().collect::<Float32Array>();
    let field = arrow::datatypes::Field::new("item", arrow::datatypes::DataType::Float32, true);
    let fixed = FixedSizeListArray::new(Arc::new(field), 6, Arc::new(values), None);
    let columns = vec![("id", ids(&some)), ("vector", Arc::new(fixed) as ArrayRef)];
    let path = put(folder.path(), "some.parquet", columns);
    let train = |model: &str, given: bool| {
        let job = job(&inputs, &format!("epochs = 1\n{model}"));
        let set = set("initial_products", &path);
        let arguments = if given { vec!["--set", &set] } else { vec![] };
        json_of(&mut job.command("run", &arguments))
    };
    for model in ["", "biases = true", "non_negative = true"] {
        let (with, without) = (train(model, true), train(model, false));
        assert_ne!(with["digest"], without["digest"], "{model}");
        assert!(
            with["initial"]["product"]["known"].as_u64() > Some(0),
            "{model}"
        );
    }
}

#[test]
fn what_cannot_be_first_factors_is_told() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job = job(&inputs, "epochs = 1");
    json_of(&mut job.command("ingest", &[]));
    let rows = |ids: &[i64], row: &[f32]| -> Factors {
        ids.iter()
            .map(|id| (id.to_string(), row.to_vec()))
            .collect()
    };
    let refused = |key: &str, path: &Path, code: i32, part: &str| {
        let output = job
            .command("train", &["--set", &set(key, path)])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{text} lacks {part}");
    };
    let of = |name: &str, rows: &Factors| {
        let columns = vec![("id", ids(rows)), ("v", list(rows))];
        put(folder.path(), name, columns)
    };
    let good = rows(&[1, 2, 3], &[0.5; 6]);
    let products = "initial_products";
    let wide = of("wide.parquet", &rows(&[1, 2], &[0.5; 7]));
    refused(
        products,
        &wide,
        65,
        "the vector has 7 entries, the model has 6",
    );
    let infinite = of("infinite.parquet", &rows(&[1], &[f32::INFINITY; 6]));
    refused(
        products,
        &infinite,
        65,
        "row 0 (from 0): an entry is null or not a finite number",
    );
    let strangers = of("strangers.parquet", &rows(&[-1, -2], &[0.5; 6]));
    refused(
        products,
        &strangers,
        65,
        "none of the 2 rows of `initial_products`",
    );
    let users = of("users.parquet", &good);
    refused("initial_users", &users, 78, "give `initial_products`");
    let twice: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 3]));
    let twice = put(
        folder.path(),
        "twice.parquet",
        vec![("id", twice), ("v", list(&good))],
    );
    refused(
        products,
        &twice,
        65,
        "row 1 (from 0): 1 comes a second time",
    );
    let null: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let null = put(
        folder.path(),
        "null.parquet",
        vec![("id", null), ("v", list(&good))],
    );
    refused(products, &null, 65, "row 1 (from 0): column `id` is null");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "3"]));
    let named = put(
        folder.path(),
        "text.parquet",
        vec![("id", text.clone()), ("v", list(&good))],
    );
    refused(products, &named, 65, "an integer");
    let noted = vec![("id", ids(&good)), ("v", list(&good)), ("note", text)];
    let noted = put(folder.path(), "noted.parquet", noted);
    refused(products, &noted, 65, "beside `id` give one column of lists");
    let narrow = vec![
        ("id", ids(&good)),
        ("a", Arc::new(Float32Array::from(vec![0.5; 3])) as ArrayRef),
    ];
    let narrow = put(folder.path(), "narrow.parquet", narrow);
    refused(
        products,
        &narrow,
        65,
        "has 1 columns of numbers beside `id`, the model has 6",
    );
    refused(
        products,
        &folder.path().join("gone.parquet"),
        69,
        "gone.parquet",
    );
}
