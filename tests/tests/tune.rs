//! Searching settings from end to end: the same table whoever computes it and whatever is killed, nothing trained twice, and
//! a job file that trains the model that was measured.

use serde_json::Value;
use std::process::Stdio;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, coordinator, ended, json_of};

const SPLIT: &str = "validation_fraction = 0.2\ntest_fraction = 0.1";
const MODEL: &str = "epochs = 4\nnu = 0.5\n[tune]\ntrials = 6\nrungs = 2\neta = 2\nseed = 3\n[tune.search]\nrank = [4, 8, 12]\n\
                     regularization = { from = 1e-4, to = 1e-1, scale = \"log\" }";

fn job(inputs: &Inputs) -> Job {
    Job::new(inputs, Data::Small, MODEL, SPLIT)
}

/// The trials without what differs between a course and one that went on.
fn trials(report: &Value) -> Vec<Value> {
    let mut trials = report["trials"].as_array().expect("a list").clone();
    for trial in &mut trials {
        trial.as_object_mut().expect("an object").remove("trained");
    }
    trials
}

fn trained(report: &Value) -> u64 {
    let trials = report["trials"].as_array().expect("a list");
    trials
        .iter()
        .filter_map(|trial| trial["trained"].as_u64())
        .sum()
}

#[test]
fn a_search_ends_in_the_same_job_whatever_is_killed() {
    let inputs = Inputs::of(&[Data::Small]);
    let whole = job(&inputs);
    let expected = json_of(&mut whole.command("tune", &["--memory", "256MiB"]));
    let found = trials(&expected);
    assert_eq!(found.len(), 6);
    let rungs: Vec<u64> = found
        .iter()
        .filter_map(|trial| trial["rung"].as_u64())
        .collect();
    assert_eq!(rungs, [2, 2, 2, 1, 1, 1]);
    let value = |trial: &Value| trial["value"].as_f64().expect("a number");
    for rung in [&found[..3], &found[3..]] {
        assert!(
            rung.windows(2).all(|two| value(&two[0]) >= value(&two[1])),
            "{found:?}"
        );
        assert!(
            rung.iter()
                .all(|trial| trial["rank"].is_u64() && trial["regularization"].is_f64())
        );
    }
    // Three trials went on from epoch 2 to 4, the others paused there.
    assert_eq!(trained(&expected), 3 * 2 + 3 * 2);
    let table = std::fs::read_to_string(expected["table"].as_str().expect("a path"));
    assert_eq!(table.expect("it is there").lines().count(), 6);

    let killed = job(&inputs);
    let mut started = killed
        .command("tune", &["--workers", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts");
    checkpoint(&killed);
    started.kill().expect("it runs");
    assert_eq!(ended(started).status.code(), None, "it had ended");
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons: Vec<Daemon> = ["a", "b"]
        .map(|cache| Daemon::start(&caches.path().join(cache), &["--threads", "1"]))
        .into();
    let resumed = json_of(&mut killed.command("tune", &["--workers", &addresses(&daemons)]));
    assert_eq!(trials(&resumed), found);
    let again = json_of(&mut killed.command("tune", &[]));
    assert_eq!((trials(&again), trained(&again)), (found.clone(), 0));
    // Of every trial the last checkpoint is there, and nothing else.
    for job in [&whole, &killed] {
        let report = verified(job);
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.unreferenced, [], "earlier checkpoints are collected");
    }

    // The job that it wrote trains the model that was measured, and nothing of the search but its data set is needed.
    let tuned = expected["job"].as_str().expect("a path");
    let text = std::fs::read_to_string(tuned).expect("it is there");
    assert!(
        text.contains(&format!("rank = {}  # of [4, 8, 12]", found[0]["rank"])),
        "{text}"
    );
    assert!(!text.contains("[tune"), "{text}");
    std::fs::remove_dir_all(whole.model().join("tune")).expect("it is there");
    let model = json_of(
        coordinator()
            .args(["--json", "--workers", "2", "run"])
            .arg(tuned),
    );
    let epochs = model["epochs"].as_array().expect("a list");
    assert_eq!(Some(epochs.len() as u64), found[0]["best_epoch"].as_u64());
    let last = epochs.last().expect("an epoch");
    assert_eq!(
        last["metrics"]["new_products ndcg@20"].as_f64(),
        Some(value(&found[0]))
    );
}

fn verified(job: &Job) -> depot::Report {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let place = job.model().join("tune");
    let depot = depot::Depot::open(&place.to_string_lossy()).expect("a depot");
    runtime.block_on(depot.verify()).expect("it answers")
}

/// A key that only the search gives, and without which the job makes no sense.
#[test]
fn searched_keys_need_not_stand_in_the_model() {
    let inputs = Inputs::of(&[Data::Small]);
    let model = "rank = 4\nepochs = 1\ntime = \"decay\"\n[tune]\ntrials = 2\nrungs = 1\n[tune.search]\nhalf_life = [2.0, 4.0]";
    let job = Job::new(&inputs, Data::Small, model, SPLIT);
    let report = json_of(&mut job.command("tune", &[]));
    assert_eq!(trials(&report).len(), 2);
}

/// One trial whose equations are singular once ended a whole search.
#[test]
fn a_trial_that_cannot_be_trained_is_out_and_the_others_go_on() {
    const OBSERVED: [&str; 6] = [
        "--set",
        "model.preset=explicit",
        "--set",
        "input.value=value",
        "--set",
        "input.duplicates=sum",
    ];
    const MODEL: &str = "rank = 16\nepochs = 2\n[tune]\ntrials = 3\nrungs = 2\neta = 2\n[tune.search]\n\
                         regularization = ";
    let inputs = Inputs::of(&[Data::Small]);
    let some = Job::new(
        &inputs,
        Data::Small,
        &format!("{MODEL}[0.0, 0.1, 1.0]"),
        SPLIT,
    );
    let report = json_of(&mut some.command("tune", &OBSERVED));
    let found = trials(&report);
    let failed: Vec<bool> = found
        .iter()
        .map(|trial| trial.get("failed").is_some())
        .collect();
    assert_eq!(failed, [false, false, true], "{found:?}");
    let why = found[2]["failed"].as_str().expect("a sentence");
    assert!(why.contains("raise `regularization` (now 0)"), "{why}");
    assert!(found[2]["value"].is_null() && found[2]["regularization"] == 0.0);

    let none = Job::new(&inputs, Data::Small, &format!("{MODEL}[0.0]"), SPLIT);
    let ended = none
        .command("tune", &OBSERVED)
        .output()
        .expect("the coordinator starts");
    assert_eq!(ended.status.code(), Some(65));
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("raise `regularization`"), "{said}");
}

/// Waits until a trial has paused once.
fn checkpoint(job: &Job) {
    let manifests = job.model().join("tune").join("manifests");
    let began = std::time::Instant::now();
    // The first is that of the term, the second that of the checkpoint.
    while std::fs::read_dir(&manifests).map_or(0, Iterator::count) < 3 {
        assert!(
            began.elapsed() < std::time::Duration::from_mins(2),
            "no trial pauses"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
