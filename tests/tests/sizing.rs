//! What `plan` says before anything runs, beside what five shapes came to: memory, disk and traffic within a fifth.
//!
//! Time is compared on a machine that does nothing else, by
//! `STRATA_SIZING_SCALE=10 cargo test --release --workspace --test sizing -- --nocapture --test-threads=1`: within a half.
//! Memory is the peak of anonymous memory that a process reports of itself. It looks every 50 ms, its allocator keeps what it may need again,
//! and these shapes are small, so a few MiB are let pass beside the fifth ([`SLACK_BYTES`]); of large shapes that is nothing.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::process::{Daemon, addresses, coordinator, json_of};

/// Data and a model.
struct Shape {
    name: &'static str,
    users: u64,
    products: u64,
    rows: u64,
    settings: &'static [&'static str],
}

const TALL: Shape = Shape {
    name: "many users, few products",
    users: 20_000,
    products: 200,
    rows: 400_000,
    settings: &["model.rank=64"],
};

const WIDE: Shape = Shape {
    name: "few users, many products",
    users: 1_000,
    products: 10_000,
    rows: 400_000,
    settings: &["model.rank=64"],
};

const MONTHS: Shape = Shape {
    name: "months as a factor",
    users: 5_000,
    products: 1_000,
    rows: 300_000,
    settings: &["model.rank=32", "model.time=factor", "input.time_bin=month"],
};

const GRAPH: Shape = Shape {
    name: "a graph model",
    users: 8_000,
    products: 2_000,
    rows: 300_000,
    settings: &["model.rank=64", "model.kind=lightgcn", "model.batches=1"],
};

const AMONG_TWO: Shape = Shape {
    name: "two workers",
    users: 10_000,
    products: 1_000,
    rows: 400_000,
    // Where rows are short, nearly all that moves is tables, which move whoever has what; Grams move less where neighbours are together.
    settings: &["model.rank=16"],
};

const EPOCHS: u64 = 3;

/// What memory may differ by beside a fifth.
const SLACK_BYTES: f64 = (8 << 20) as f64;

/// A shape's data in a folder.
struct Bed<'a> {
    shape: &'a Shape,
    folder: tempfile::TempDir,
}

fn scale() -> Option<u64> {
    let given = std::env::var("STRATA_SIZING_SCALE").ok()?;
    Some(given.parse().expect("STRATA_SIZING_SCALE is a number"))
}

impl Bed<'_> {
    fn new(shape: &Shape) -> Bed<'_> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scale = scale().unwrap_or(1);
        let counts = [
            ("--users", shape.users),
            ("--products", shape.products),
            ("--interactions", shape.rows),
        ];
        let mut command = coordinator();
        command.args(["--json", "generate"]).arg(folder.path());
        for (flag, count) in counts {
            command.arg(flag).arg((count * scale).to_string());
        }
        json_of(&mut command);
        // Its model is of another kind than some shapes.
        let job = folder.path().join("job.toml");
        let text = std::fs::read_to_string(&job).expect("a job was written");
        let lines = text.lines().filter(|line| !line.starts_with("preset"));
        let text: Vec<&str> = lines.collect();
        std::fs::write(&job, text.join("\n")).expect("the job is written");
        Bed { shape, folder }
    }

    fn verb(&self, verb: &str, crew: &[&str]) -> Value {
        let mut command: Command = coordinator();
        command.arg(verb).arg(self.folder.path().join("job.toml"));
        command.args(["--json", "--memory", "1GiB"]).args(crew);
        let epochs = format!("model.epochs={EPOCHS}");
        for set in self.shape.settings.iter().copied().chain([&*epochs]) {
            command.args(["--set", set]);
        }
        json_of(&mut command)
    }

    fn disk(&self, place: &str) -> f64 {
        bytes_below(&self.folder.path().join("strata").join(place)) as f64
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path: PathBuf| {
            if path.is_dir() {
                bytes_below(&path)
            } else {
                path.metadata().expect("it is there").len()
            }
        })
        .sum()
}

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("no number: {of}"))
}

/// A figure of the plan beside the measured one.
fn compare(shape: &Shape, figure: &str, planned: f64, measured: f64, within: f64) {
    let ratio = planned / measured;
    println!(
        "{}, {figure}: plan {planned:.0}, measured {measured:.0}: {ratio:.2}",
        shape.name
    );
    assert!(
        (1.0 / (1.0 + within)..=1.0 + within).contains(&ratio),
        "{}, {figure}: plan says {planned:.0}, and {measured:.0} were measured",
        shape.name
    );
}

/// The same of memory.
fn compare_memory(shape: &Shape, phase: &str, planned: f64, measured: f64) {
    let (of, ratio) = (shape.name, planned / measured);
    println!("{of}, memory of {phase}: plan {planned:.0}, measured {measured:.0}: {ratio:.2}");
    assert!(
        (planned - measured).abs() <= 0.2 * measured + SLACK_BYTES,
        "{of}, memory of {phase}: plan says {planned:.0}, and {measured:.0} were measured"
    );
}

/// Memory and disk of one process.
fn alone(shape: &Shape) {
    let bed = Bed::new(shape);
    let crew = ["--workers", "1", "--threads", "1"];
    let ingest = bed.verb("ingest", &crew);
    let sealed = bed.disk("data");
    let plan = bed.verb("plan", &crew);
    let train = bed.verb("train", &crew);
    let plan = &plan["estimate"];
    for (phase, report) in [("ingest", &ingest), ("train", &train)] {
        let planned = number(&plan["memory_expected"][phase]);
        compare_memory(
            shape,
            phase,
            planned,
            number(&report["peak_anonymous_bytes"]),
        );
    }
    let data = number(&plan["data_disk"]);
    compare(shape, "data set", data, sealed, 0.2);
    let all = data + number(&plan["views_disk"]);
    compare(shape, "data set and views", all, bed.disk("data"), 0.2);
    // How many states of training are kept is a matter of time.
    let model = number(&plan["model_disk"]);
    let most = 2.0 * (model + number(&plan["checkpoint_disk"]));
    let kept = bed.disk("model");
    assert!(
        kept >= model / 1.2 && kept <= 1.2 * most,
        "{}, model: plan says {model:.0} to {most:.0}, and {kept:.0} were measured",
        shape.name
    );
    assert_eq!(plan["traffic_per_epoch"], 0);
    assert!(number(&plan["ingest_disk"]) > data);
    if scale().is_some() {
        in_time(shape, plan, &ingest, &train);
    }
}

/// Seconds, where a machine is alone with this.
fn in_time(shape: &Shape, plan: &Value, ingest: &Value, train: &Value) {
    let ingested = number(&ingest["seconds"]);
    compare(
        shape,
        "seconds of ingest",
        number(&plan["ingest_seconds"]),
        ingested,
        0.5,
    );
    let epochs = train["epochs"].as_array().expect("epochs");
    let mut seconds: Vec<f64> = epochs.iter().map(|of| number(&of["seconds"])).collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    compare(
        shape,
        "milliseconds of an epoch",
        1e3 * number(&plan["epoch_seconds"]),
        1e3 * median,
        0.5,
    );
}

#[test]
fn many_users_and_few_products_take_what_was_planned() {
    alone(&TALL);
}

#[test]
fn few_users_and_many_products_take_what_was_planned() {
    alone(&WIDE);
}

#[test]
fn a_tensor_takes_what_was_planned() {
    alone(&MONTHS);
}

#[test]
fn a_graph_model_takes_what_was_planned() {
    alone(&GRAPH);
}

#[test]
fn two_workers_move_what_was_planned() {
    let shape = &AMONG_TWO;
    let bed = Bed::new(shape);
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons = |generation: u32| -> Vec<Daemon> {
        let start = |number: u32| {
            let data = caches.path().join(format!("{generation}-{number}"));
            Daemon::start(&data, &["--memory", "1GiB"])
        };
        (0..2).map(start).collect()
    };
    {
        let first = daemons(0);
        bed.verb("ingest", &["--workers", &addresses(&first)]);
    }
    // Others, so that what they have is of training alone.
    let second = daemons(1);
    let crew = ["--workers", &addresses(&second)];
    let plan = bed.verb("plan", &crew);
    let train = bed.verb("train", &crew);
    let plan = &plan["estimate"];
    let numbers = |of: &str| -> Vec<f64> {
        let all = train["work"][of].as_array().expect("a number a worker");
        all.iter().map(number).collect()
    };
    let moved: f64 = numbers("bytes_to_peers").iter().sum();
    let planned = EPOCHS as f64 * number(&plan["traffic_per_epoch"]);
    compare(shape, "traffic", planned, moved, 0.2);
    let most = numbers("peak_anonymous_bytes_of_workers")
        .into_iter()
        .fold(0.0, f64::max);
    let planned = number(&plan["memory_expected"]["train"]);
    compare_memory(shape, "training by a worker", planned, most);
}
