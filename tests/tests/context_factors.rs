//! Factors of contexts through the whole pipeline: Parquet in, a model of four modes, figures and lists out.

use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray};
use kernels::random::Random;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tests::factors::{self, match_score};
use tests::generate::write_columns;
use tests::jobs::{Data, Inputs, Job};
use tests::lists::products;
use tests::process::{Daemon, addresses, json_of, output_of};

/// A row of the input: user, product, hour, store, value.
type Row = (u32, u32, u32, u32, f32);

const INPUT: &str = "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"hour\"\n\
                     context = \"store\"\nvalue = \"value\"\nduplicates = \"sum\"";

fn write(file: &Path, rows: &[Row]) {
    let numbers = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    let stores = rows.iter().map(|row| Some(format!("store {}", row.3)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user", numbers(|row| row.0.into())),
        ("product", numbers(|row| row.1.into())),
        ("seconds", numbers(|row| 3600 * i64::from(row.2) + 3599)),
        ("store", Arc::new(stores.collect::<StringArray>())),
        (
            "value",
            Arc::new(rows.iter().map(|row| row.4).collect::<Float32Array>()),
        ),
    ];
    write_columns(file, columns);
}

/// Users, products, bins, stores.
const SHAPE: [u32; 4] = [40, 30, 8, 6];
const RANK: usize = 3;

/// The factors of a mode: normal numbers.
fn planted(mode: usize) -> Vec<Vec<f64>> {
    let row = |row: u32| {
        let mut numbers = [0.0; RANK];
        Random::new(23, mode as u32, 0, row).fill_normal(&mut numbers);
        numbers.map(f64::from).to_vec()
    };
    (0..SHAPE[mode]).map(row).collect()
}

/// Every cell of the planted tensor that `seen` picks.
fn cells(truth: &[Vec<Vec<f64>>], seen: impl Fn(u32) -> bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let [users, products, bins, stores] = SHAPE;
    for cell in (0..users * products * bins * stores).filter(|&cell| seen(cell)) {
        let (user, rest) = (
            cell / (products * bins * stores),
            cell % (products * bins * stores),
        );
        let (product, rest) = (rest / (bins * stores), rest % (bins * stores));
        let at = [user, product, rest / stores, rest % stores];
        let value: f64 = (0..RANK)
            .map(|r| {
                (0..4)
                    .map(|mode| truth[mode][at[mode] as usize][r])
                    .product::<f64>()
            })
            .sum();
        rows.push((at[0], at[1], at[2], at[3], value as f32));
    }
    rows
}

fn objectives(report: &Value) -> Vec<f64> {
    let epochs = report["epochs"].as_array().expect("epochs").iter();
    epochs
        .map(|epoch| epoch["objective"].as_f64().expect("a number"))
        .collect()
}

/// From some first factors all cells end in another optimum, as CP decompositions may; from these they do not.
#[test]
fn a_planted_tensor_of_four_modes_is_recovered() {
    let truth: Vec<Vec<Vec<f64>>> = (0..4).map(planted).collect();
    let coin = Random::new(3, 3, 0, 0);
    for (model, share) in [
        (
            "preset = \"explicit\"\nepochs = 60\nregularization = 0.0001",
            4,
        ),
        ("preset = \"full\"\nepochs = 60\nseed = 5", 1),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cells.parquet");
        let rows = cells(&truth, |cell| coin.word(cell).is_multiple_of(share));
        write(&file, &rows);
        let model = format!("rank = {RANK}\ntime = \"factor\"\ncontext = \"factor\"\n{model}");
        let job = Job::over(&file, INPUT, &model, "");
        let ingest = json_of(&mut job.command("ingest", &[]));
        assert_eq!(ingest["contexts"], SHAPE[3]);
        let report = json_of(&mut job.command("train", &["--workers", "2"]));
        let power: f64 = rows.iter().map(|row| f64::from(row.4).powi(2)).sum();
        let falls = |pair: &[f64]| pair[1] <= pair[0] + 1e-6 * power;
        let objectives = objectives(&report);
        assert!(objectives.windows(2).all(falls), "{model}: {objectives:?}");
        let tables = factors::of(&job);
        assert_eq!(tables.len(), 5, "and the mean of contexts");
        let found: Vec<Vec<Vec<f64>>> = tables[..4]
            .iter()
            .enumerate()
            .map(|(mode, table)| {
                let name = |row: u32| match mode {
                    3 => format!("store {row}"),
                    _ => row.to_string(),
                };
                let row = |row: u32| table[&name(row)].iter().map(|&x| f64::from(x)).collect();
                (0..SHAPE[mode]).map(row).collect()
            })
            .collect();
        let score = match_score(&truth, &found);
        assert!(score >= 0.98, "{model}: {score}");
    }
}

/// Every user buys every product; how often depends on both and, by a factor, on the store. Even products sell in even stores.
fn tastes(stores: u32) -> Vec<Row> {
    let share = |row: u32, of: u32| 1.0 + (row * 7 % of) as f32 / of as f32;
    let mut rows = Vec::new();
    for user in 0..40 {
        for product in 0..30 {
            for store in 0..stores {
                let fits = if (product + store).is_multiple_of(2) {
                    2.0
                } else {
                    0.5
                };
                let value = share(user, 40) * share(product, 30) * fits;
                rows.push((user, product, (user + product + store) % 3, store, value));
            }
        }
    }
    rows
}

const TASTES: &str =
    "preset = \"explicit\"\nrank = 2\nepochs = 30\nregularization = 0.0001\ncontext = \"factor\"";

#[test]
fn held_out_values_are_predicted_at_their_own_context() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    write(&file, &tastes(5));
    let rmse = |model: &str| {
        let job = Job::over(
            &file,
            INPUT,
            model,
            "test_fraction = 0.2\nvalidation_fraction = 0.1",
        );
        let one = json_of(&mut job.command("run", &["--workers", "1"]));
        let two = Job::over(
            &file,
            INPUT,
            model,
            "test_fraction = 0.2\nvalidation_fraction = 0.1",
        );
        let two = json_of(&mut two.command("run", &["--workers", "2"]));
        assert_eq!(one["evaluation"]["rmse"], two["evaluation"]["rmse"]);
        assert_eq!(one["digest"], two["digest"]);
        assert!(one["digest"].is_string());
        one["evaluation"]["rmse"].as_f64().expect("a number")
    };
    let factored = rmse(TASTES);
    let ignored = rmse(&TASTES.replace("context = \"factor\"", "context = \"ignore\""));
    assert!(factored < 0.02 && ignored > 0.5, "{factored}, {ignored}");
}

#[test]
fn lists_are_for_the_context_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    // Odd stores are visited less, so that the mean is even.
    let rows: Vec<Row> = tastes(4)
        .into_iter()
        .filter(|row| row.3 % 2 == 0 || row.0 % 4 == 0)
        .collect();
    write(&file, &rows);
    let job = Job::over(&file, INPUT, TASTES, "");
    json_of(&mut job.command("ingest", &[]));
    json_of(&mut job.command("train", &["--workers", "2"]));
    let wishes = |context: Option<&str>| {
        let mut wishes = vec![
            "output.recommend.top=1".to_owned(),
            "output.recommend.seen=include".to_owned(),
            format!(
                "output.recommend.file={}",
                job.folder().join("lists.parquet").display()
            ),
        ];
        wishes.extend(context.map(|context| format!("output.recommend.context={context}")));
        wishes
    };
    let flags = |wishes: &[String]| -> Vec<String> {
        let flags = wishes
            .iter()
            .flat_map(|wish| ["--set".to_owned(), wish.clone()]);
        flags.collect()
    };
    for (context, parity) in [(Some("store 1"), 1), (Some("store 2"), 0), (None, 0)] {
        let flags = flags(&wishes(context));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        json_of(&mut job.command("recommend", &flags));
        let lists = products(&job.folder().join("lists.parquet"));
        assert_eq!(lists.len(), 40);
        assert!(
            lists.values().all(|product| product % 2 == parity),
            "{context:?}: {lists:?}"
        );
    }
    let flags = flags(&wishes(Some("store 9")));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = output_of(&mut job.command("recommend", &flags));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        object["error"]["message"],
        "`output.recommend.context` is \"store 9\", which the data do not have as a context; they have store 0, store 2, store 1, \
         store 3"
    );
    assert_eq!(output.status.code(), Some(78));
}

/// Stores that only the test has seen are as good as none: their rows are zero, and they score as the mean.
#[test]
fn contexts_that_training_did_not_see_score_as_the_mean() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (train, test) = (
        folder.path().join("train.parquet"),
        folder.path().join("test.parquet"),
    );
    let flat = |stores: std::ops::Range<u32>| -> Vec<Row> {
        let rows = tastes(1).into_iter();
        rows.flat_map(|row| {
            stores
                .clone()
                .map(move |store| (row.0, row.1, row.2, store, row.4))
        })
        .collect()
    };
    write(&train, &flat(0..3));
    write(&test, &flat(3..5));
    let split = format!("test_files = [\"{}\"]", test.display());
    let job = Job::over(&train, INPUT, TASTES, &split);
    let report = json_of(&mut job.command("run", &[]));
    let tables = factors::of(&job);
    assert!(tables[2]["store 3"].iter().all(|&s| s == 0.0));
    let rmse = report["evaluation"]["rmse"].as_f64().expect("a number");
    assert!(rmse < 0.02, "{rmse}");
}

/// Values that are sums of what each mode adds: contexts have their biases, and those that only the test has seen the mean one.
#[test]
fn contexts_have_biases() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (train, test) = (
        folder.path().join("train.parquet"),
        folder.path().join("test.parquet"),
    );
    let part = |stores: &[u32], test: bool| -> Vec<Row> {
        let of_store = |store: u32| {
            let pairs = (0..40).flat_map(|user| (0..30).map(move |product| (user, product)));
            let pairs = pairs.filter(move |(user, product)| {
                (user * 3 + product * 7 + store).is_multiple_of(5) == test
            });
            pairs.map(move |(user, product)| {
                let value = 0.1 * (user % 7) as f32 + 0.2 * (product % 5) as f32;
                (
                    user,
                    product,
                    0,
                    store,
                    value + [0.0, 1.0, 2.0, 1.0][store as usize],
                )
            })
        };
        stores.iter().copied().flat_map(of_store).collect()
    };
    write(&train, &part(&[0, 1, 2], false));
    write(&test, &part(&[0, 1, 2, 3], true));
    let split = format!("test_files = [\"{}\"]", test.display());
    for time in ["ignore", "factor"] {
        let model = format!(
            "preset = \"explicit\"\nrank = 1\nepochs = 40\nregularization = 0.001\nbiases = true\ncontext = \"factor\"\n\
             time = {time:?}"
        );
        let job = Job::over(&train, INPUT, &model, &split);
        let report = json_of(&mut job.command("run", &[]));
        let tables = factors::of(&job);
        let contexts = tables.iter().find(|table| table.contains_key("store 3"));
        let unseen = &contexts.expect("a table of contexts")["store 3"];
        assert!(unseen.iter().all(|&s| s == 0.0), "{unseen:?}");
        let rmse = report["evaluation"]["rmse"].as_f64().expect("a number");
        assert!(rmse < 0.05, "{time}: {rmse}");
    }
}

/// The sealed blocks of the model's tables of users and products, and of time where there is one.
fn tables(job: &Job, count: usize) -> Vec<Vec<tensor::SealedRef>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let depot = depot::Depot::open(&job.model().to_string_lossy()).expect("a depot");
        let (_, model) = depot.latest_model(None).await.unwrap().expect("a model");
        let tables = model.tables.into_iter().take(count);
        tables.map(|table| table.blocks).collect()
    })
}

/// One context held at ones: the factors of the other modes are those without contexts, to the bit.
#[test]
fn one_context_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    let rows: Vec<Row> = tastes(5)
        .into_iter()
        .map(|row| (row.0, row.1, row.2, 0, 1.0 + row.4.floor()))
        .collect();
    write(&file, &rows);
    for (time, count) in [("ignore", 2), ("factor", 3)] {
        let train = |context: &str| {
            let model = format!(
                "rank = 16\nepochs = 3\nregularization = 0.01\nalpha0 = 0.2\ntime = {time:?}\n{context}"
            );
            let job = Job::over(&file, INPUT, &model, "");
            let report = json_of(&mut job.command("run", &["--workers", "2"]));
            (objectives(&report), tables(&job, count))
        };
        let without = train("context = \"ignore\"");
        assert_eq!(
            train("context = \"factor\"\nhold_context = true"),
            without,
            "{time}"
        );
    }
}

/// Weekdays of the bundled purchases, alone and beside time, and stores with values that fade: one digest whatever computes it.
#[test]
fn one_digest_whatever_computes_it() {
    let inputs = Inputs::of(&[Data::Bundled]);
    let input = "context_cycle = \"day-of-week\"";
    for (time, tight) in [("ignore", "256MiB"), ("factor", "256MiB")] {
        let model = format!(
            "rank = 12\nepochs = 2\nregularization = 0.00001\ntime = {time:?}\ncontext = \"factor\"\nbiases = true"
        );
        let run = |workers: Option<&str>, memory: &str, more: &[&str]| {
            let job = Job::new(&inputs, Data::Bundled, &model, "validation_bins = 4");
            let text =
                std::fs::read_to_string(job.folder().join("job.toml")).expect("just written");
            let text = text.replace(
                "time_bin = \"week\"",
                &format!("time_bin = \"week\"\n{input}"),
            );
            std::fs::write(job.folder().join("job.toml"), text).expect("just written");
            let cache = tempfile::tempdir().expect("a temporary folder");
            let daemons: Vec<Daemon> = (0..if workers.is_none() { 2 } else { 0 })
                .map(|worker| {
                    let cache = cache.path().join(worker.to_string());
                    Daemon::start_blind(&cache, &[job.folder()], &["--memory", memory])
                })
                .collect();
            let many = workers.map_or_else(|| addresses(&daemons), str::to_owned);
            let flags = [&["--workers", &many, "--memory", memory], more].concat();
            let ingest = json_of(&mut job.command("ingest", &["--memory", "4GiB"]));
            let train = json_of(&mut job.command("train", &flags));
            (
                ingest["digest"].clone(),
                train["digest"].clone(),
                objectives(&train),
                train["epochs"][1]["metrics"].clone(),
            )
        };
        let expected = run(Some("1"), "4GiB", &["--threads", "2"]);
        assert!(expected.2[1] < expected.2[0], "{:?}", expected.2);
        let many = run(
            Some("5"),
            tight,
            &["--threads", "1", "--io", "pread", "--simd", "portable"],
        );
        assert_eq!(many, expected, "{time}");
        assert_eq!(run(None, "1GiB", &[]), expected, "{time}");
    }
}

/// Values that fade by their bins, in every context: explicit targets stay and their weights fade.
#[test]
fn contexts_go_with_decay_steps_and_parts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    let rows: Vec<Row> = tastes(5)
        .into_iter()
        .map(|row| (row.0, row.1, row.2, row.3, 1.0 + row.4.floor()))
        .collect();
    write(&file, &rows);
    for model in [
        "preset = \"explicit\"\ntime = \"decay\"\nhalf_life = 1",
        "preset = \"hu\"\ntime = \"decay\"\nhalf_life = 1",
        "preset = \"hu\"\ntime = \"factor\"\nnon_negative = true",
        "preset = \"rendle\"\nsolver = \"auto\"",
        "preset = \"rendle\"\nsolver = \"auto\"\nbiases = true",
        "preset = \"explicit\"\nbiases = true\ntime = \"factor\"\nsolver = \"cg\"",
        "preset = \"hu\"\nbiases = true\ntime = \"factor\"\nnon_negative = true",
        "preset = \"hu\"\nsolver = \"subspace\"\ntime = \"factor\"",
    ] {
        let model =
            format!("rank = 4\nepochs = 6\nregularization = 0.003\ncontext = \"factor\"\n{model}");
        let train = |flags: &[&str]| {
            let job = Job::over(&file, INPUT, &model, "");
            json_of(&mut job.command("ingest", &[]));
            json_of(&mut job.command("train", flags))
        };
        let (one, two) = (train(&["--workers", "1"]), train(&["--workers", "3"]));
        assert_eq!(one["digest"], two["digest"], "{model}");
        let objectives = objectives(&one);
        let power: f64 = rows.iter().map(|row| f64::from(row.4).powi(2)).sum();
        let falls = |pair: &[f64]| pair[1] <= pair[0] + 1e-6 * power;
        assert!(objectives.windows(2).all(falls), "{model}: {objectives:?}");
    }
}
