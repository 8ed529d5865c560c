//! Bins that training has not seen, through the whole pipeline: planted tensors whose time goes on by a rule, which the
//! forecast of that name must meet.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tests::generate::write;
use tests::jobs::Job;
use tests::lists::products;
use tests::process::{json_of, output_of};

const INPUT: &str = "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"hour\"\n\
                     value = \"value\"\nduplicates = \"sum\"";
const MODEL: &str =
    "preset = \"explicit\"\nrank = 2\nepochs = 30\nregularization = 0.0001\ntime = \"factor\"";
const USERS: u32 = 40;
const PRODUCTS: u32 = 30;
const BINS: u32 = 20;

/// Every cell, (1 + a share by user) (1 + a share by product) times what `time` says of the bin and the product.
fn plant(file: &Path, time: impl Fn(u32, u32) -> f32) {
    plant_in(file, 3600, time);
}

/// The same with bins of so many seconds.
fn plant_in(file: &Path, bin_seconds: i64, time: impl Fn(u32, u32) -> f32) {
    let share = |row: u32, of: u32| 1.0 + (row * 7 % of) as f32 / of as f32;
    let mut rows = Vec::new();
    for bin in 0..BINS {
        for user in 0..USERS {
            for product in 0..PRODUCTS {
                let value = share(user, USERS) * share(product, PRODUCTS) * time(bin, product);
                // The last second: no bin is partial.
                let seconds = bin_seconds * (i64::from(bin) + 1) - 1;
                rows.push((user.into(), product.into(), seconds, value));
            }
        }
    }
    write(file, &rows);
}

/// Even products have their season in even bins, the others in odd ones.
fn season(bin: u32, product: u32) -> f32 {
    if (bin + product).is_multiple_of(2) {
        2.0
    } else {
        0.5
    }
}

struct Planted {
    job: Job,
    folder: tempfile::TempDir,
}

fn trained(time: impl Fn(u32, u32) -> f32) -> Planted {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    plant(&file, time);
    let job = Job::over(&file, INPUT, MODEL, "test_bins = 4");
    json_of(&mut job.command("ingest", &[]));
    json_of(&mut job.command("train", &["--workers", "2"]));
    Planted { job, folder }
}

fn rmse(planted: &Planted, forecast: &[&str]) -> f64 {
    let run = |workers: &str| -> Value {
        let mut arguments = vec!["--workers", workers];
        for setting in forecast {
            arguments.extend(["--set", setting]);
        }
        json_of(&mut planted.job.command("evaluate", &arguments))
    };
    let (one, two) = (run("1"), run("2"));
    assert_eq!(one["rmse"], two["rmse"]);
    one["rmse"].as_f64().expect("a number")
}

#[test]
fn seasons_and_drifts_are_met_by_the_forecast_of_their_name() {
    let seasonal = ["model.forecast=seasonal", "model.period=2"];
    let planted = trained(season);
    let (last, right) = (rmse(&planted, &[]), rmse(&planted, &seasonal));
    assert!(right < 0.02 && last > 0.5, "{right}, {last}");

    // Half of the held-out bins lie in a hash split within training: each is predicted by its own factors.
    let by_hash = Job::over(
        &planted.folder.path().join("cells.parquet"),
        INPUT,
        MODEL,
        "test_fraction = 0.2",
    );
    let report = json_of(&mut by_hash.command("run", &[]));
    let own = report["evaluation"]["rmse"].as_f64().expect("a number");
    assert!(own < 0.02, "{own}");

    let planted = trained(|bin, _| 1.0 + 0.1 * bin as f32);
    let (last, right) = (
        rmse(&planted, &[]),
        rmse(&planted, &["model.forecast=drift"]),
    );
    // Predictions are clipped to the values of training, which these go beyond.
    assert!(right < 0.1 && last > 0.5, "{right}, {last}");
}

/// The best product of every user, where `when` says for which bin.
fn best_at(job: &Job, when: &str) -> BTreeMap<i64, i64> {
    let file = job.folder().join("lists.parquet");
    let settings = [
        "model.forecast=seasonal".to_owned(),
        "model.period=2".to_owned(),
        "output.recommend.top=1".to_owned(),
        "output.recommend.seen=include".to_owned(),
        format!("output.recommend.file={}", file.display()),
        format!("output.recommend.{when}"),
    ];
    let flags: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["--set", setting])
        .collect();
    json_of(&mut job.command("recommend", &flags));
    products(&file)
}

fn are_of_season(lists: &BTreeMap<i64, i64>, parity: i64, when: &str) {
    assert_eq!(lists.len(), USERS as usize);
    assert!(
        lists.values().all(|product| product % 2 == parity),
        "{when}: {lists:?}"
    );
}

#[test]
fn lists_are_for_the_bin_that_is_asked_for() {
    let planted = trained(season);
    // The data end with bin 19: the first ahead is an even one.
    for (ahead, parity) in [("1", 0), ("2", 1), ("7", 0)] {
        let when = format!("bins_ahead={ahead}");
        are_of_season(&best_at(&planted.job, &when), parity, &when);
    }
}

/// Bins are the twenty days from 1970-01-01 on, the last four held out.
#[test]
fn lists_are_for_the_day_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    plant_in(&file, 86_400, season);
    let input = INPUT.replace("\"hour\"", "\"day\"");
    let job = Job::over(&file, &input, MODEL, "test_bins = 4");
    json_of(&mut job.command("ingest", &[]));
    json_of(&mut job.command("train", &[]));
    // In training, held out, the first day behind the data and days far behind them.
    for (day, parity) in [
        ("1970-01-03", 0),
        ("1970-01-04", 1),
        ("1970-01-18", 1),
        ("1970-01-21", 0),
        ("1970-01-22", 1),
        ("1970-03-01", 1),
    ] {
        let when = format!("date={day}");
        are_of_season(&best_at(&job, &when), parity, &when);
    }
    let (ahead, day) = (
        best_at(&job, "bins_ahead=2"),
        best_at(&job, "date=1970-01-22"),
    );
    assert_eq!(ahead, day);
}

#[test]
fn seasons_longer_than_training_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    plant(&file, season);
    let model = format!("{MODEL}\nforecast = \"seasonal\"\nperiod = 17");
    let job = Job::over(&file, INPUT, &model, "test_bins = 4");
    let output = output_of(&mut job.command("run", &[]));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        object["error"]["message"],
        "`model.period` is 17, and training has 16 bins: a season must have been seen once; give a shorter period, or hold \
         out fewer bins"
    );
    assert_eq!(output.status.code(), Some(78));
}
