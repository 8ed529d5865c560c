//! Updates: what was ingested and what was added, staged, is what one ingest of all files would have found; whoever compacts
//! it, and whenever, changes no bit of what is read.

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use store::IoMode;
use tables::{BuildViews, ScanSpec};
use tensor::{Duplicates, Grid, Mode, Partitions, SplitPart, TimeBin, View, ViewSpec};
use tests::generate;
use tests::ingested::{
    DAY, GENEROUS, Ingested, Row, TIGHT, ingest, inputs, naive, parquet_of, some_rows, spec,
    try_ingest_with,
};
use tests::process::{coordinator, json_of, output_of};

const RULES: [Duplicates; 4] = [
    Duplicates::Sum,
    Duplicates::Max,
    Duplicates::Last,
    Duplicates::Count,
];

fn file(rows: &[Row]) -> Bytes {
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products = rows.iter().map(|row| Some(format!("p{}", row.product)));
    let products: StringArray = products.collect();
    let days = rows.iter().map(|row| Some((row.seconds / DAY) as i32));
    let days: Date32Array = days.collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", Arc::new(users)),
        ("p", Arc::new(products)),
        ("t", Arc::new(days)),
        ("v", Arc::new(values)),
    ];
    parquet_of(columns, 700)
}

/// What is ingested first, then two updates: each repeats interactions, has new users and products, and the second ends
/// 90 days later. The first begins with the first bin.
fn history() -> [Vec<Row>; 3] {
    let mut first = some_rows(4000, 1);
    first.retain(|row| row.user % 7 != 0 && row.product % 5 != 0 && row.seconds < 17_300 * DAY);
    first[0].seconds = 17_167 * DAY;
    let mut second = some_rows(900, 2);
    second.retain(|row| row.product % 10 != 0);
    let mut third = some_rows(700, 3);
    for row in &mut third {
        row.seconds += 90 * DAY;
        row.user += 40;
    }
    [first, second, third]
}

fn week(seconds: i64) -> i64 {
    TimeBin::Week.index(seconds)
}

fn build(found: &mut Ingested, specs: Vec<ViewSpec>) -> Vec<View> {
    let mut program = BuildViews::new(found.data.clone(), specs);
    found.world.run(&mut program, &exec::begin).unwrap();
    program.into_views().unwrap()
}

fn whole(found: &mut Ingested) -> Partitions {
    let spec = ViewSpec::whole(SplitPart::Train);
    build(found, vec![spec]).remove(0).partitions
}

fn updated(parts: &[Vec<Row>], spec: &ScanSpec) -> Ingested {
    let mut found = ingest(&inputs(&[file(&parts[0])]), spec);
    for rows in &parts[1..] {
        found.try_update(&inputs(&[file(rows)]), spec).unwrap();
    }
    found
}

#[test]
fn an_updated_data_set_is_one_ingest_of_all_files_but_for_the_numbers_of_rows() {
    let parts = history();
    let all: Vec<Row> = parts.iter().flatten().cloned().collect();
    for duplicates in RULES {
        let spec = ScanSpec {
            duplicates,
            ..spec()
        };
        let mut found = updated(&parts, &spec);
        let staged = whole(&mut found);
        let product = |id: i64| format!("p{id}");
        let expected = naive(&all, week, duplicates, |id| id.to_string(), product);
        assert_eq!(found.named(&staged), expected, "{duplicates:?}");
        let mut full = ingest(&inputs(&[file(&all)]), &spec);
        let there = whole(&mut full);
        assert_eq!(full.named(&there), expected, "{duplicates:?}");
        assert_eq!(found.data.time, full.data.time);
        assert_eq!(found.data.input_rows, full.data.input_rows);
        assert_eq!((found.data.deltas.len(), found.data.inputs.len()), (2, 3));
    }
}

#[test]
fn rows_keep_their_ids_and_new_ones_fill_the_emptiest_blocks_in_the_order_of_ids() {
    let parts = history();
    let before = ingest(&inputs(&[file(&parts[0])]), &spec());
    let after = updated(&parts[..2], &spec());
    for mode in [Mode::User, Mode::Product] {
        let axis = |found: &Ingested| match mode {
            Mode::User => found.data.user.clone(),
            _ => found.data.product.clone(),
        };
        let (old, new) = (axis(&before), axis(&after));
        let (known, mut ids) = (before.ids(&old), after.ids(&new));
        for (row, id) in &known {
            assert_eq!(ids.remove(row).as_ref(), Some(id), "row {row} of {mode:?}");
        }
        assert!(!ids.is_empty(), "the update has new {mode:?}s");
        // Their rows in the order of ids are those that one after the other finds in the emptiest block.
        let mut by_id: Vec<(String, u32)> = ids.into_iter().map(|(row, id)| (id, row)).collect();
        by_id.sort_by_key(|(id, _)| match id.parse::<i64>() {
            Ok(number) => (number, String::new()),
            Err(_) => (0, id.clone()),
        });
        let mut grid: Grid = old.grid.clone();
        for (id, row) in by_id {
            let emptiest = (0..grid.rows.len()).min_by_key(|&block| grid.rows[block]);
            let block = emptiest.unwrap();
            let expected = ((block as u32) << grid.stride_log2) + grid.rows[block];
            assert_eq!(row, expected, "{id}");
            grid.rows[block] += 1;
        }
        assert_eq!(grid, new.grid);
    }
    // What was sealed before is named as it was.
    assert_eq!(before.data.parts, after.data.parts);
}

#[test]
fn the_bytes_of_an_update_do_not_depend_on_budget_io_or_order_of_tasks() {
    let parts = history();
    let reference = updated(&parts, &spec()).data;
    for (budget_bytes, mode, backwards) in [
        (TIGHT, IoMode::Mmap, true),
        (TIGHT, IoMode::Pread, false),
        (GENEROUS, IoMode::Pread, true),
    ] {
        let first = inputs(&[file(&parts[0])]);
        let mut other = try_ingest_with(&first, &spec(), budget_bytes, mode, backwards).unwrap();
        for rows in &parts[1..] {
            other.try_update(&inputs(&[file(rows)]), &spec()).unwrap();
        }
        assert_eq!(other.data, reference);
    }
}

/// Views of every shape: whole, a split by bins and one by hash, collapsed, faded and as tiles.
fn shapes() -> Vec<ViewSpec> {
    let whole = ViewSpec::whole(SplitPart::Train);
    let collapsed = ViewSpec {
        collapse_time: true,
        ..whole.clone()
    };
    let faded = |keeps_bin| ViewSpec {
        decay: Some(tensor::Decay {
            half_life: 3.0,
            last_bin: 40,
            keeps_bin,
        }),
        ..collapsed.clone()
    };
    vec![
        whole.clone(),
        ViewSpec {
            bins: Some(3..20),
            ..collapsed.clone()
        },
        ViewSpec {
            hash: Some((5, 1 << 62..u64::MAX)),
            ..whole
        },
        faded(false),
        faded(true),
        ViewSpec {
            tiles: Some(4),
            ..collapsed
        },
    ]
}

#[test]
fn a_compaction_at_any_time_changes_no_bit_of_any_view() {
    // Sums of these round differently in any other order, and in f32.
    let mut parts = history();
    for (index, row) in parts.iter_mut().flatten().enumerate() {
        row.value = 0.1 + (index % 17) as f64 / 3.0;
    }
    for duplicates in [Duplicates::Sum, Duplicates::Last] {
        let spec = ScanSpec {
            duplicates,
            ..spec()
        };
        let mut kept = updated(&parts, &spec);
        let reference = build(&mut kept, shapes());
        let mut late = updated(&parts, &spec);
        late.compact();
        let mut each = ingest(&inputs(&[file(&parts[0])]), &spec);
        for rows in &parts[1..] {
            each.try_update(&inputs(&[file(rows)]), &spec).unwrap();
            each.compact();
        }
        for mut other in [late, each] {
            assert!(other.data.deltas.is_empty() && other.data.is_settled(SplitPart::Train));
            assert_eq!(other.data.lineage, kept.data.lineage);
            assert_eq!(build(&mut other, shapes()), reference, "{duplicates:?}");
        }
    }
}

#[test]
fn values_below_zero_are_taken_off_across_updates() {
    let row = |user, value| Row {
        user,
        product: 1,
        seconds: 17_200 * DAY,
        value,
    };
    let spec = ScanSpec {
        nets: true,
        ..spec()
    };
    let parts = [
        vec![row(1, 5.0), row(2, -2.0), row(3, 1.0)],
        vec![row(1, -3.0), row(2, 2.5), row(3, -1.0)],
    ];
    let mut found = updated(&parts, &spec);
    for compacts in [false, true] {
        if compacts {
            found.compact();
        }
        let view = whole(&mut found);
        let named = found.named(&view).into_iter();
        let found: BTreeMap<String, f32> = named.map(|((user, ..), value)| (user, value)).collect();
        let expected = BTreeMap::from([("1".to_owned(), 2.0), ("2".to_owned(), 0.5)]);
        assert_eq!((found, view.netted), (expected, 1));
    }
}

#[test]
fn an_update_that_does_not_fit_is_refused_in_words() {
    let parts = history();
    let mut found = ingest(&inputs(&[file(&parts[0])]), &spec());
    let mut early = parts[1].clone();
    early[12].seconds = 17_100 * DAY;
    let refused = found
        .try_update(&inputs(&[file(&early)]), &spec())
        .unwrap_err();
    assert_eq!(
        refused,
        "file-0.parquet, row 12 (from 0): column `t` lies before the first time bin of the data set, which cannot begin \
         earlier (ingest all files anew for that); correct it, or set on_bad_row = \"skip\" to leave such rows out"
    );
    // More new users than the blocks have rows for: twice the first are sure, and no more than the stride.
    let grid = &found.data.user.grid;
    let room = u64::from(grid.stride()) * u64::from(grid.blocks());
    let row = |user| Row {
        user,
        ..parts[1][0].clone()
    };
    let many: Vec<Row> = (0..=room as i64).map(|user| row(1000 + user)).collect();
    let refused = found
        .try_update(&inputs(&[file(&many)]), &spec())
        .unwrap_err();
    let expected = format!(
        "column `u` has more new ids than the blocks of the data set have room for ({room} rows in all): ingest all files anew, \
         into another `output.data`"
    );
    assert_eq!(refused, expected);
}

/// A job over generated purchases, whose first file is ingested and whose others are for updates.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Shop {
        Self::of("kind = \"als\"\npreset = \"hu\"\nrank = 8\nepochs = 3")
    }

    /// With these lines of [model].
    fn of(model: &str) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let shop = Shop { folder };
        for (day, name) in (0..4).zip(["first", "second", "third", "early"]) {
            let users = 300 + 40 * day;
            let rows = (0..if day == 0 { 9000 } else { 700 }).map(|i: i64| {
                let draw =
                    (i + 1 + day * 10_000).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
                let draw = (draw ^ draw >> 29).unsigned_abs();
                let days = if day == 0 {
                    17_003 + (draw % 70) as i64
                } else {
                    17_073 + 7 * day
                };
                let (user, product) = ((draw >> 8) as i64 % users, (draw >> 24) as i64 % 90);
                (user, product * product / 90 + day, days * 86_400, 1.0)
            });
            let mut rows: Vec<_> = rows.collect();
            if name == "early" {
                rows[3].2 = 86_400;
            }
            generate::write(&shop.path(&format!("{name}.parquet")), &rows);
        }
        let job = format!(
            "[input]\nfiles = [\"first.parquet\"]\nuser = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\n\
             time_bin = \"week\"\nduplicates = \"count\"\n[split]\ntest_bins = 1\n\
             [model]\n{model}\n[output]\ndata = \"data\"\nmodel = \"model\"\n"
        );
        std::fs::write(shop.path("job.toml"), job).unwrap();
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The verb on the job, with places of its own.
    fn verb(&self, verb: &str, places: &str) -> Command {
        let mut command = coordinator();
        command.arg("--json").arg(verb).arg(self.path("job.toml"));
        for place in ["data", "model"] {
            let path = self.path(&format!("{place}-{places}"));
            command
                .arg("--set")
                .arg(format!("output.{place}={}", path.display()));
        }
        command
    }

    fn update(&self, files: &[&str], places: &str) -> Command {
        let mut command = self.verb("update", places);
        let files: Vec<String> = files
            .iter()
            .map(|name| self.path(&format!("{name}.parquet")).display().to_string())
            .collect();
        command
            .arg("--set")
            .arg(format!("update.files={}", files.join(",")));
        command
    }
}

fn refusal(command: &mut Command) -> (i32, String) {
    let output = output_of(command);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["error"]["message"].as_str().unwrap().to_owned();
    (output.status.code().unwrap(), message)
}

fn names(folder: &Path) -> std::collections::BTreeSet<std::ffi::OsString> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn the_verb_adds_files_once_and_training_reads_all_of_it() {
    let shop = Shop::new();
    let first = json_of(&mut shop.verb("ingest", "a"));
    let objects = names(&shop.path("data-a/objects"));
    let second = json_of(&mut shop.update(&["second"], "a"));
    assert!(second["added"]["users"].as_u64().unwrap() > 0);
    assert_eq!(second["added"]["input_rows"], 700);
    assert_eq!(second["added"]["time_bins"], 1);
    assert_eq!(second["deltas"], 1);
    assert_ne!(second["digest"], first["digest"]);
    assert!(
        objects.is_subset(&names(&shop.path("data-a/objects"))),
        "nothing is written anew"
    );
    // The same files again: nothing happens, as after a kill behind the commit.
    let again = json_of(&mut shop.update(&["second"], "a"));
    assert_eq!(
        (&again["reused"], &again["digest"]),
        (&true.into(), &second["digest"])
    );
    assert_eq!(again["added"]["interactions"], 0);
    let (code, sentence) = refusal(&mut shop.update(&["second", "third"], "a"));
    assert!(
        code == 65 && sentence.contains("second.parquet is in the data set already"),
        "{sentence}"
    );
    let base = json_of(&mut shop.update(&["first"], "a"));
    assert_eq!(base["reused"], true);
    let (code, sentence) = refusal(&mut shop.update(&["early"], "a"));
    assert!(
        code == 65
            && sentence.contains("row 3 (from 0): column `seconds` lies before the first time bin"),
        "{sentence}"
    );

    // Kept beside its partitions or merged into them, on any workers: the model is the same to the bit.
    let third = json_of(&mut shop.update(&["third"], "a"));
    assert_eq!(
        (&third["deltas"], &third["compacted"]),
        (&2.into(), &serde_json::Value::Null)
    );
    let trained = json_of(&mut shop.verb("train", "a"));
    json_of(&mut shop.verb("ingest", "b"));
    json_of(shop.update(&["second"], "b").args(["--workers", "2"]));
    let compacted = json_of(shop.update(&["third"], "b").args([
        "--workers",
        "2",
        "--set",
        "update.deltas_max=0",
    ]));
    assert_eq!(compacted["deltas"], 0);
    assert!(compacted["compacted"].as_u64().unwrap() > 0);
    let other = json_of(shop.verb("train", "b").args(["--workers", "2"]));
    assert_eq!(trained["digest"], other["digest"]);
    // A run finds the data set with its updates, and the finished model of it.
    let run = json_of(&mut shop.verb("run", "a"));
    assert_eq!(
        (&run["reused"], &run["digest"]),
        (&true.into(), &trained["digest"])
    );
    assert_eq!(run["ingest"]["digest"], third["digest"]);
    for place in ["data-a", "data-b"] {
        json_of(
            coordinator()
                .args(["--json", "verify"])
                .arg(shop.path(place)),
        );
        let graph = json_of(
            coordinator()
                .args(["--json", "inspect", "--graph"])
                .arg(shop.path(place)),
        );
        assert_eq!(graph["graph"]["users"]["nodes"], third["users"], "{place}");
    }
}

/// A folder into which somebody puts a file a night, and a job that never names one.
#[test]
fn files_that_join_the_folder_of_the_input_are_found() {
    let shop = Shop::new();
    let sales = shop.path("sales");
    std::fs::create_dir(&sales).unwrap();
    let put = |name: &str| {
        let name = format!("{name}.parquet");
        std::fs::copy(shop.path(&name), sales.join(name)).unwrap();
    };
    let verb = |verb: &str, places: &str| {
        let mut command = shop.verb(verb, places);
        command.arg(format!("--set=input.files={}", sales.display()));
        command
    };
    put("first");
    json_of(&mut verb("ingest", "a"));
    let none = json_of(&mut verb("update", "a"));
    assert!(none["reused"] == true && none["added"]["input_rows"] == 0);
    let (code, sentence) = refusal(verb("update", "a").arg("--set=input.from=2000-01-01"));
    assert!(
        code == 78 && sentence.contains("a file may be in the data set in part"),
        "{sentence}"
    );
    put("second");
    put("third");
    let (code, sentence) = refusal(&mut verb("ingest", "a"));
    assert!(
        code == 78 && sentence.contains("2 of `input.files` are not in it, the first is"),
        "{sentence}"
    );
    let both = json_of(&mut verb("update", "a"));
    assert_eq!(both["added"]["input_rows"], 1400);
    // The same as if they had been named.
    json_of(&mut shop.verb("ingest", "b"));
    let named = json_of(&mut shop.update(&["second", "third"], "b"));
    assert_eq!(both["digest"], named["digest"]);
    // What is there is of all files of the folder now, and a run takes it as it is.
    let run = json_of(&mut verb("run", "a"));
    assert_eq!(run["ingest"]["reused"], true);
    assert_eq!(run["ingest"]["digest"], named["digest"]);
}

/// A file is what it holds and the day that its folder tells: two days may have sold the same.
#[test]
fn equal_files_of_two_days_are_two() {
    let shop = Shop::new();
    let purchases: Vec<(i64, i64, i64, f32)> = (0..40).map(|i| (i % 7, i % 11, 0, 1.0)).collect();
    let put = |day: &str| {
        let folder = shop.path("sales").join(format!("date={day}"));
        std::fs::create_dir_all(&folder).unwrap();
        generate::write(&folder.join("part.parquet"), &purchases);
    };
    let verb = |verb: &str| {
        let mut command = shop.verb(verb, "a");
        command.arg(format!(
            "--set=input.files={}",
            shop.path("sales").display()
        ));
        command.args(["--set", "input.time=date"]);
        command
    };
    put("2026-01-05");
    let first = json_of(&mut verb("ingest"));
    put("2026-01-12");
    let second = json_of(&mut verb("update"));
    assert_eq!(second["added"]["input_rows"], 40);
    assert_eq!(second["time_bins"], 2);
    let double = first["interactions"].as_u64().unwrap() * 2;
    assert_eq!(second["interactions"], double);
}

#[test]
fn what_the_job_cannot_mean_is_refused() {
    let shop = Shop::new();
    let (code, sentence) = refusal(&mut shop.update(&["second"], "a"));
    assert!(
        code == 69 && sentence.contains("holds no data set"),
        "{sentence}"
    );
    json_of(&mut shop.verb("ingest", "a"));
    let (code, sentence) = refusal(
        shop.update(&["second"], "a")
            .arg("--set=input.duplicates=max"),
    );
    assert_eq!(code, 65);
    assert_eq!(
        sentence,
        "the data set was ingested with `input.duplicates` = \"count\", the job says \"max\": an update keeps what the data set has"
    );
    std::fs::copy(shop.path("second.parquet"), shop.path("copy.parquet")).unwrap();
    let (code, sentence) = refusal(&mut shop.update(&["second", "copy"], "a"));
    assert!(
        code == 65 && sentence.contains("are the same file"),
        "{sentence}"
    );
    json_of(&mut shop.update(&["second"], "a"));
    let mut third = shop.update(&["third"], "a");
    let third = third.args([
        "--set",
        "update.deltas_max=1",
        "--set",
        "update.compact=false",
    ]);
    let (code, sentence) = refusal(third);
    assert!(
        code == 78 && sentence.contains("set `update.compact` = true"),
        "{sentence}"
    );
}

#[test]
fn a_killed_update_is_there_whole_or_not_at_all() {
    let shop = Shop::new();
    json_of(&mut shop.verb("ingest", "a"));
    json_of(&mut shop.verb("ingest", "b"));
    let reference = json_of(&mut shop.update(&["second", "third"], "a"));
    for milliseconds in [20, 60, 120, 200, 300] {
        let mut killed = shop.update(&["second", "third"], "b");
        let killed = killed.stdout(std::process::Stdio::null());
        let mut killed = killed.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        killed.kill().unwrap();
        killed.wait().unwrap();
        json_of(
            coordinator()
                .args(["--json", "verify"])
                .arg(shop.path("data-b")),
        );
    }
    let found = json_of(&mut shop.update(&["second", "third"], "b"));
    assert_eq!(found["digest"], reference["digest"]);
    assert_eq!(
        (&found["deltas"], &found["input_rows"]),
        (&1.into(), &reference["input_rows"])
    );
}

#[test]
fn a_model_goes_on_from_its_own_factors_and_new_rows_join_it() {
    for model in [
        "kind = \"als\"\npreset = \"hu\"\nrank = 8\nepochs = 6",
        "kind = \"als\"\npreset = \"hu\"\nrank = 8\nepochs = 6\nsolver = \"cg\"\nbiases = true\ntime = \"factor\"",
        "kind = \"sgd\"\nloss = \"logistic\"\nrank = 8\nepochs = 6",
    ] {
        let shop = Shop::of(model);
        let mut digests = Vec::new();
        for (places, workers) in [("a", "1"), ("b", "2")] {
            json_of(&mut shop.verb("ingest", places));
            json_of(&mut shop.verb("train", places));
            let update = || {
                let mut update = shop.update(&["second"], places);
                update.args(["--workers", workers, "--set", "update.epochs=1"]);
                json_of(&mut update)
            };
            let found = update();
            assert!(found["added"]["users"].as_u64().unwrap() > 0);
            digests.push(found["train"]["digest"].clone());
            // Given again, nothing is added and nothing trained.
            let again = update();
            assert_eq!((&again["reused"], again.get("train")), (&true.into(), None));
            if places == "b" {
                continue;
            }
            // An epoch from there is worth more than one from the start.
            let warm = found["train"]["epochs"][0]["objective"].as_f64().unwrap();
            let model = shop.path("model-cold").display().to_string();
            let mut cold = shop.verb("train", places);
            cold.args(["--set", "model.epochs=1", "--set"]);
            let cold = json_of(cold.arg(format!("output.model={model}")));
            let cold = cold["epochs"][0]["objective"].as_f64().unwrap();
            assert!(warm < cold, "{warm} {cold} {model}");
            json_of(&mut shop.verb("evaluate", places));
        }
        assert_eq!(digests[0], digests[1], "{model}");
    }
}

#[test]
fn a_model_that_cannot_go_on_is_refused_before_anything_is_added() {
    let shop = Shop::new();
    json_of(&mut shop.verb("ingest", "a"));
    let mut update = shop.update(&["second"], "a");
    let (code, sentence) = refusal(update.arg("--set=update.epochs=2"));
    assert!(
        code == 69 && sentence.contains("holds no model"),
        "{sentence}"
    );
    json_of(&mut shop.verb("train", "a"));
    let job = std::fs::read_to_string(shop.path("job.toml")).unwrap();
    for (model, expected) in [
        (
            "kind = \"als\"\npreset = \"hu\"\nrank = 9",
            "the model has 8 columns, those of the job have 9",
        ),
        (
            "kind = \"sgd\"\nrank = 8",
            "the model is of the kind \"als\", the job says \"sgd\"",
        ),
        (
            "kind = \"spectral\"\nrank = 8",
            "a model of the kind \"spectral\" always begins anew",
        ),
    ] {
        let other = job.replace("kind = \"als\"\npreset = \"hu\"\nrank = 8", model);
        std::fs::write(shop.path("job.toml"), other).unwrap();
        let mut update = shop.update(&["second"], "a");
        let (code, sentence) = refusal(update.arg("--set=update.epochs=2"));
        assert!(code == 78 && sentence.starts_with(expected), "{sentence}");
    }
    std::fs::write(shop.path("job.toml"), job).unwrap();
    let fresh = json_of(&mut shop.update(&["second"], "a"));
    assert_eq!(fresh["reused"], false);
}
