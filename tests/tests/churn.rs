//! Churn: what was planted is told from before it happens, the file holds what a count of the test's own says, nothing behind a cut is known
//! at it, the same bytes whatever computes them, and what is refused.

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use kernels::Random;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::generate;
use tests::pages;
use tests::process::{Daemon, addresses, coordinator, json_of, output_of};

const WEEKS: i64 = 40;
const USERS: i64 = 1200;
/// A Monday.
const FIRST_DAY: i64 = 17_003;

type Row = (i64, i64, i64, f32);

/// Users of two tastes; most of those of the first buy less and less from some week on and then no more, few of the second. Some buy
/// every week, some seldom.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for user in 0..USERS {
        let random = Random::new(6, 0x70, 0, user as u32);
        let taste = user % 2;
        let pace = 0.25 + 0.6 * random.uniform_f64(0);
        let leaves = random.uniform_f64(2) < if taste == 0 { 0.8 } else { 0.1 };
        let ends = if leaves {
            24.0 + 24.0 * random.uniform_f64(4)
        } else {
            1e3
        };
        for week in 0..WEEKS {
            let left = ((ends - week as f64) / 8.0).clamp(0.0, 1.0);
            let draw = |of: i64| random.uniform_f64((10 + 8 * (week * 4 + of)) as u32);
            for turn in 0..4 {
                // A week of theirs has some purchases, fewer towards the end.
                if draw(0) < pace * left.sqrt() && draw(turn) < 0.3 + 0.7 * left {
                    let product = (random.word((3000 + week * 4 + turn) as u32) % 30) as i64;
                    let second = (FIRST_DAY + 7 * week + turn) * 86_400;
                    rows.push((user, 30 * taste + product, second, 1.0));
                }
            }
        }
    }
    rows
}

struct Shop(tempfile::TempDir);

impl Shop {
    fn of(rows: &[Row], split: &str) -> Shop {
        let shop = Shop(tempfile::tempdir().expect("a folder"));
        // Somebody in the week after, which is not whole and counts for nothing.
        let late = (USERS, 0, (FIRST_DAY + 7 * WEEKS) * 86_400, 1.0);
        let rows: Vec<Row> = rows.iter().copied().chain([late]).collect();
        generate::write(&shop.path("rows.parquet"), &rows);
        let job = format!(
            "[input]\nfiles = [\"rows.parquet\"]\nuser = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"week\"\n\
             [split]\n{split}\n[model]\nkind = \"als\"\nrank = 8\nepochs = 6\n[output]\ndata = \"data\"\nmodel = \"model\"\n"
        );
        std::fs::write(shop.path("job.toml"), job).expect("the job is written");
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn verb(&self, verb: &str, settings: &[&str]) -> Command {
        let mut command = coordinator();
        command.args(["--json", verb]).arg(self.path("job.toml"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
    }

    fn churn(&self, settings: &[&str]) -> Value {
        json_of(&mut self.verb("churn", settings))
    }

    fn file(&self, name: &str) -> String {
        format!("output.churn.file={}", self.path(name).display())
    }
}

fn model<'a>(found: &'a Value, reads: &str) -> &'a Value {
    let models = found["models"].as_array().expect("models");
    let model = models.iter().find(|model| model["reads"] == reads);
    model.unwrap_or_else(|| panic!("{reads} in {found}"))
}

fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Score, recency, frequency, interactions and trend of each user.
fn scores(file: &Path) -> BTreeMap<i64, (f32, [u32; 3], f32)> {
    let file = std::fs::File::open(file).expect("the file was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut found = BTreeMap::new();
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("a batch");
        let users = batch["user"].as_primitive::<Int64Type>();
        let reals = |name: &str| batch[name].as_primitive::<Float32Type>().clone();
        let counts = |name: &str| batch[name].as_primitive::<UInt32Type>().clone();
        let (score, trend) = (reals("score"), reals("trend"));
        let columns = ["recency", "frequency", "interactions"].map(counts);
        for at in 0..batch.num_rows() {
            let of = columns.each_ref().map(|column| column.value(at));
            found.insert(users.value(at), (score.value(at), of, trend.value(at)));
        }
    }
    found
}

#[test]
fn planted_churn_is_told_from_before_it_happens() {
    let all = rows();
    let shop = Shop::of(&all, "validation_bins = 2\ntest_bins = 4");
    // `run` scores where the file is named.
    let mut run = shop.verb(
        "run",
        &[&shop.file("run.parquet"), "output.churn.horizon=4"],
    );
    let run = json_of(&mut run);
    let found = shop.churn(&[&shop.file("out/churn.parquet")]);
    assert_eq!(found["models"], run["churn"]["models"]);
    assert_eq!(
        std::fs::read(shop.path("run.parquet")).unwrap(),
        std::fs::read(shop.path("out/churn.parquet")).unwrap()
    );
    assert_eq!(
        (&found["learnt"]["bin"], &found["judged"]["bin"]),
        (&30.into(), &36.into())
    );

    // Who churned is a count.
    let week = |row: &Row| (row.2 / 86_400 - FIRST_DAY) / 7;
    for (cut, bin) in [("learnt", 30), ("judged", 36)] {
        let within = |weeks: std::ops::Range<i64>| -> BTreeSet<i64> {
            let inside = all.iter().filter(|row| weeks.contains(&week(row)));
            inside.map(|row| row.0).collect()
        };
        let (before, after) = (within(0..bin), within(bin..bin + 4));
        assert_eq!(found[cut]["users"], before.len());
        assert_eq!(found[cut]["churned"], before.difference(&after).count());
        assert_eq!(found[cut]["sample"], before.len(), "all of so few");
    }

    // Trend and factors tell more than recency, and taste, which only factors know, more than histories.
    assert_eq!(found["scorer"], "history and factors");
    for (reads, least) in [("recency", 0.02), ("frequency", 0.1), ("history", 0.0)] {
        let gain = &model(&found, reads)["gain_interval"];
        assert!(real(&gain[0]) > least, "{reads}: {found}");
    }
    let best = model(&found, "history and factors");
    assert!(
        real(&best["auc"]) > 0.75 && real(&best["lift"]) > 1.5,
        "{found}"
    );
    assert!(real(&best["brier"]) < real(&model(&found, "recency")["brier"]));
    assert!(real(&found["weights"]["recency"]) > 0.0);
    let tenths = found["calibration"].as_array().expect("tenths");
    let (first, last) = (&tenths[0], &tenths[9]);
    assert!(
        real(&last["churned"]) > 2.0 * real(&first["churned"]),
        "{tenths:?}"
    );
    let verdict = found["verdict"].as_str().expect("a verdict");
    assert!(verdict.contains("it beats recency alone by +"), "{verdict}");

    // The file is what was counted up to the end.
    let written = scores(&shop.path("out/churn.parquet"));
    let mut weeks: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut pairs: BTreeSet<(i64, i64, i64)> = BTreeSet::new();
    for row in &all {
        if pairs.insert((row.0, row.1, week(row))) {
            weeks.entry(row.0).or_default().push(week(row));
        }
    }
    assert_eq!(written.len(), weeks.len());
    assert_eq!(found["users"], weeks.len());
    let mut expected = 0.0;
    for (user, weeks) in &weeks {
        let (score, counts, trend) = written[user];
        let distinct: BTreeSet<i64> = weeks.iter().copied().collect();
        let count = |of: std::ops::Range<i64>| {
            let inside = weeks.iter().filter(|week| of.contains(week));
            1.0 + inside.count() as f32
        };
        let last = *distinct.last().expect("a week");
        let of = [WEEKS - 1 - last, distinct.len() as i64, weeks.len() as i64];
        assert_eq!(counts.map(i64::from), of, "user {user}");
        assert!((trend - (count(36..40) / count(32..36)).ln()).abs() < 1e-6);
        assert!((0.0..=1.0).contains(&score));
        expected += f64::from(score);
    }
    assert!((expected - real(&found["expected"])).abs() < 1e-3);
}

#[test]
fn nothing_behind_a_cut_is_known_at_it() {
    let all = rows();
    let week = |row: &Row| (row.2 / 86_400 - FIRST_DAY) / 7;
    // The same up to the last four weeks, in which everybody now buys something else every week.
    let mut other: Vec<Row> = all.iter().copied().filter(|row| week(row) < 36).collect();
    for user in 0..USERS {
        other.extend((36..40).map(|week| (user, user % 60, (FIRST_DAY + 7 * week) * 86_400, 1.0)));
    }
    // One of them stays away, so that there is something to tell.
    other.retain(|row| row.0 > 0 || week(row) < 36);
    let learnt = |rows: &[Row]| {
        let shop = Shop::of(rows, "test_bins = 4");
        json_of(&mut shop.verb("ingest", &[]));
        let found = shop.churn(&["output.churn.factors=false"]);
        (found["learnt"].clone(), found["weights"].clone())
    };
    let (one, two) = (learnt(&all), learnt(&other));
    assert_eq!(one.0, two.0);
    for (name, weight) in one.1.as_object().expect("weights") {
        let away = (real(weight) - real(&two.1[name])).abs();
        // Rows are in another order, and so are the sums.
        assert!(away < 1e-6, "{name}: {one:?} {two:?}");
    }
}

#[test]
fn the_bytes_are_the_same_whatever_computes_them() {
    let shop = Shop::of(&rows(), "test_bins = 4");
    json_of(&mut shop.verb("ingest", &[]));
    let found = |name: &str, arguments: &[&str]| {
        let model = format!(
            "output.model={}",
            shop.path(&format!("model-{name}")).display()
        );
        let file = shop.file(&format!("{name}.parquet"));
        let settings = [&model, &file, "output.churn.sample=700"];
        let mut told = json_of(shop.verb("churn", &settings).args(arguments));
        let told = told.as_object_mut().expect("an object");
        for key in ["file", "seconds", "peak_anonymous_bytes"] {
            told.remove(key);
        }
        let bytes = std::fs::read(shop.path(&format!("{name}.parquet"))).expect("the file");
        (Value::Object(told.clone()), bytes)
    };
    let first = found("one", &["--threads", "1"]);
    let sample = first.0["judged"]["sample"].as_u64().expect("a count");
    assert!((550..850).contains(&sample), "{sample}");
    assert_eq!(first, found("two", &["--workers", "2", "--io", "pread"]));
    let place = tempfile::tempdir().expect("a folder");
    let daemons = [1, 2].map(|n| Daemon::start(&place.path().join(n.to_string()), &[]));
    assert_eq!(first, found("three", &["--workers", &addresses(&daemons)]));
}

fn refused(shop: &Shop, settings: &[&str]) -> (i32, String) {
    let output = output_of(&mut shop.verb("churn", settings));
    let said: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let message = said["error"]["message"].as_str().expect("a message");
    (output.status.code().expect("a code"), message.to_owned())
}

#[test]
fn what_cannot_be_told_is_refused_in_words() {
    let shop = Shop::of(&rows()[..4000], "test_bins = 4");
    json_of(&mut shop.verb("ingest", &[]));
    let check = |settings: &[&str], code: i32, words: &str| {
        let file = shop.file("refused.parquet");
        let settings: Vec<&str> = settings.iter().copied().chain([file.as_str()]).collect();
        let (found, message) = refused(&shop, &settings);
        assert!(
            found == code && message.contains(words),
            "{found} {message}"
        );
        assert!(!shop.path("refused.parquet").exists());
    };
    check(
        &["output.churn.horizon=6"],
        78,
        "`output.churn.horizon` is 6, and the test part has 4 bins",
    );
    check(
        &["split.test_bins=0"],
        78,
        "churn is told from earlier bins and judged on later ones: give [split] `test_bins`",
    );
    check(
        &["split.test_bins=12"],
        78,
        "that makes 48 bins, and the data have 40 whole ones; set `output.churn.horizon` lower",
    );
    // Of data without times.
    let text = std::fs::read_to_string(shop.path("job.toml")).expect("the job");
    let timeless = text.replace(
        "time = \"seconds\"\ntime_bin = \"week\"\n",
        "duplicates = \"count\"\n",
    );
    std::fs::write(
        shop.path("job.toml"),
        timeless.replace("test_bins = 4\n", ""),
    )
    .expect("written");
    let data = format!("output.data={}", shop.path("timeless").display());
    json_of(&mut shop.verb("ingest", &[&data]));
    std::fs::write(shop.path("job.toml"), text).expect("written");
    check(
        &[&data],
        78,
        "churn needs times, and the data set has none: name the column `time` of [input]",
    );

    // Where everybody stays there is nothing to tell.
    let loyal: Vec<Row> = (0..50)
        .flat_map(|user| {
            (0..40).map(move |week| (user, week % 7, (FIRST_DAY + 7 * week) * 86_400, 1.0))
        })
        .collect();
    let loyal = Shop::of(&loyal, "test_bins = 4");
    json_of(&mut loyal.verb("ingest", &[]));
    let file = loyal.file("refused.parquet");
    let (code, message) = refused(&loyal, &[&file, "output.churn.factors=false"]);
    let words = "there is no churn to tell from staying at the cut where it is learnt: none of 50 users buys nothing for 4 bins";
    assert!(code == 65 && message.contains(words), "{code} {message}");
    assert!(!loyal.path("refused.parquet").exists());
}

#[test]
fn factors_of_other_kinds_are_left_out_with_a_word() {
    let shop = Shop::of(&rows(), "test_bins = 4");
    json_of(&mut shop.verb("ingest", &[]));
    let mut command = coordinator();
    command.arg("churn").arg(shop.path("job.toml"));
    let output = output_of(command.args(["--set", "model.kind=spectral"]));
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("factors of kind \"spectral\" are not read"),
        "{said}"
    );
    assert!(
        said.contains("Scores read history; by the area under the curve it beats recency alone"),
        "{said}"
    );
    assert!(!shop.path("model/churn").exists());
}

#[test]
fn the_page_does_what_it_says() {
    let Some(python) = pages::readers(env!("CARGO_TARGET_TMPDIR"), "what reads churn") else {
        return;
    };
    let shop = Shop::of(&rows(), "test_bins = 4");
    json_of(&mut shop.verb("ingest", &[]));
    shop.churn(&[&shop.file("churn.parquet"), "output.churn.factors=false"]);
    let blocks = pages::blocks_of("docs/churn.md", "python");
    assert_eq!(blocks.len(), 1);
    for code in blocks {
        pages::run(&python, &code, shop.0.path());
    }
}
