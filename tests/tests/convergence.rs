//! Early stopping from end to end: the best epoch's model is written, whoever computes it and whatever is killed on the
//! way, and the learning curve holds every epoch once.

use serde_json::Value;
use std::process::Stdio;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, ended, json_of};

/// Epochs that are waited for a better one: a kill after the first checkpoint comes long before the end.
const PATIENCE: u64 = 12;
const SPLIT: &str = "validation_fraction = 0.2";

fn job(inputs: &Inputs, more: &str) -> Job {
    let model = format!("rank = 16\nregularization = 0.0001\ntime = \"factor\"\n{more}");
    Job::new(inputs, Data::Small, &model, SPLIT)
}

fn stopping(inputs: &Inputs) -> Job {
    job(inputs, &format!("epochs = 60\npatience = {PATIENCE}"))
}

/// The lines of the learning curve that a report names.
fn curve(report: &Value) -> Vec<Value> {
    let text = std::fs::read_to_string(report["curve"].as_str().expect("a path"));
    let text = text.expect("the curve is there");
    let line = |line: &str| serde_json::from_str(line).expect("a line is an object");
    text.lines().map(line).collect()
}

fn epochs(lines: &[Value]) -> Vec<u64> {
    let epoch = |line: &Value| line["epoch"].as_u64().expect("a number");
    lines.iter().map(epoch).collect()
}

#[test]
fn the_best_epoch_is_kept_whatever_is_killed() {
    let inputs = Inputs::of(&[Data::Small]);
    let undisturbed = stopping(&inputs);
    let expected = json_of(&mut undisturbed.command("run", &["--memory", "256MiB"]));
    let best = expected["best"]["epoch"].as_u64().expect("an epoch");
    assert_eq!(expected["best"]["metric"], "new_products ndcg@20");
    let lines = curve(&expected);
    let last = lines.len() as u64;
    assert_eq!(epochs(&lines), (1..=last).collect::<Vec<_>>());
    assert!(last == best + PATIENCE || last == 60, "{last}, {best}");
    assert!(best < last);
    let measured = |line: &Value| line["new_products ndcg@20"].as_f64();
    let found = measured(&lines[best as usize - 1]);
    assert_eq!(found, expected["best"]["value"].as_f64());
    assert!(lines.iter().all(|line| measured(line) <= found));
    assert!(
        lines
            .iter()
            .all(|line| line["seconds"].as_f64() > Some(0.0))
    );

    let plain = job(&inputs, &format!("epochs = {best}"));
    let plain = json_of(&mut plain.command("run", &["--workers", "2"]));
    assert_eq!(plain["best"], Value::Null);
    assert_eq!(plain["digest"], expected["digest"]);

    let killed = stopping(&inputs);
    let mut coordinator = killed
        .command("run", &["--workers", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts");
    killed.checkpoint();
    coordinator.kill().expect("it runs");
    assert_eq!(ended(coordinator).status.code(), None, "it had ended");
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons: Vec<Daemon> = ["a", "b"]
        .map(|cache| Daemon::start(&caches.path().join(cache), &["--threads", "1"]))
        .into();
    let workers = addresses(&daemons);
    let resumed = json_of(&mut killed.command("run", &["--workers", &workers]));
    assert!(resumed["resumed_from"].as_u64() < Some(last));
    assert_eq!(resumed["digest"], expected["digest"]);
    assert_eq!(resumed["best"], expected["best"]);
    let again = curve(&resumed);
    assert_eq!(epochs(&again), epochs(&lines));
    for (one, other) in again.iter().zip(&lines) {
        assert_eq!(one["objective"], other["objective"]);
        assert_eq!(measured(one), measured(other));
    }

    let reused = json_of(&mut killed.command("run", &[]));
    assert_eq!(reused["reused"], true);
    assert_eq!(reused["best"], expected["best"]);
    assert_eq!(curve(&reused).len() as u64, last);
}

#[test]
fn values_are_stopped_by_their_error() {
    let inputs = Inputs::of(&[Data::Small]);
    let model = "kind = \"als\"\npreset = \"explicit\"\nrank = 16\nregularization = 0.02\nepochs = 40\npatience = 1\n\
                 stop_metric = \"mae\"";
    let job = Job::of(&inputs, Data::Small, model, SPLIT);
    let values = [
        "--set",
        "input.value=value",
        "--set",
        "input.duplicates=sum",
    ];
    let found = json_of(&mut job.command("run", &values));
    let epochs = found["epochs"].as_array().expect("a list");
    let error = |epoch: &Value| epoch["metrics"]["mae"].as_f64().expect("it is measured");
    let errors: Vec<f64> = epochs.iter().map(error).collect();
    let (last, before) = errors.split_last().expect("some epochs");
    assert!(
        before.windows(2).all(|pair| pair[1] < pair[0]),
        "{errors:?}"
    );
    assert!(
        before.len() == 39 || *last >= before[before.len() - 1],
        "{errors:?}"
    );
    assert_eq!(found["best"]["metric"], "mae");
    assert!(epochs[0]["metrics"]["rmse"].as_f64() > Some(0.0));
}
