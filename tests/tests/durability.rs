//! Kills of real processes (DESIGN 3.7): a run goes on from its last checkpoint, or without the worker that is
//! gone, and ends with the bits of a run that nobody disturbed.

use serde_json::Value;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, ended, json_of, output_of, parse, signal};

/// Enough that a signal sent after the first checkpoint comes long before the last.
const EPOCHS: u32 = 25;

/// Kills of workers until one must meet work that is needed.
const KILLS_MAX: u32 = 12;
/// By how much each comes later in its epoch than the one before.
const LATER: Duration = Duration::from_millis(7);

/// One input for all tests of this file.
fn inputs() -> &'static Inputs {
    static INPUTS: OnceLock<Inputs> = OnceLock::new();
    INPUTS.get_or_init(|| Inputs::of(&[Data::Small]))
}

fn job() -> Job {
    let model = format!("rank = 32\nepochs = {EPOCHS}\nregularization = 0.0001\ntime = \"factor\"");
    Job::new(inputs(), Data::Small, &model, "")
}

/// The digest of the run that nobody disturbs.
fn undisturbed() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let report = json_of(&mut job().command("run", &["--workers", "2"]));
        assert_eq!(report["resumed_from"], Value::Null);
        // Factors that have all become zero would be equal whatever happened.
        let objective = |epoch: u32| report["epochs"][epoch as usize]["objective"].as_f64();
        assert!(objective(EPOCHS - 1) < objective(0).map(|first| 0.99 * first));
        digest(&report)
    })
}

fn digest(report: &Value) -> String {
    report["digest"].as_str().expect("a digest").to_owned()
}

fn start(job: &Job, workers: &str) -> Child {
    job.command("run", &["--workers", workers])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts")
}

/// The same command again: goes on in the middle, ends with the same bits; and once more: it is reused.
fn goes_on(job: &Job, workers: &str) {
    let report = json_of(&mut job.command("run", &["--workers", workers]));
    let epoch = report["resumed_from"].as_u64().expect("it goes on");
    assert!((1..u64::from(EPOCHS)).contains(&epoch), "{epoch}");
    assert_eq!(report["reused"], false);
    let epochs = report["epochs"].as_array().expect("a list");
    assert_eq!(epochs[0]["epoch"].as_u64(), Some(epoch + 1));
    assert_eq!(epochs.len() as u64, u64::from(EPOCHS) - epoch);
    assert_eq!(digest(&report), undisturbed());

    let again = json_of(&mut job.command("run", &["--workers", workers]));
    assert_eq!(again["reused"], true);
    assert_eq!(again["resumed_from"].as_u64(), Some(u64::from(EPOCHS)));
    assert_eq!(digest(&again), undisturbed());
    let said = job.command("run", &["--workers", workers]);
    assert_note(said);
}

/// People are told as well.
fn assert_note(json: std::process::Command) {
    let mut command = std::process::Command::new(json.get_program());
    command.args(json.get_args().filter(|argument| *argument != "--json"));
    let output = output_of(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("it is used as it is"), "{said}");
}

#[test]
fn a_killed_coordinator_goes_on_from_its_last_checkpoint() {
    let job = job();
    let mut coordinator = start(&job, "2");
    job.checkpoint();
    coordinator.kill().expect("it runs");
    let output = ended(coordinator);
    assert_eq!(
        output.status.code(),
        None,
        "it was not killed but had ended"
    );
    goes_on(&job, "2");
}

#[test]
fn a_killed_coordinator_of_daemons_goes_on_with_the_same_daemons() {
    let job = job();
    let (daemons, _caches) = daemons(2);
    let mut coordinator = start(&job, &addresses(&daemons));
    job.checkpoint();
    coordinator.kill().expect("it runs");
    let output = ended(coordinator);
    assert_eq!(
        output.status.code(),
        None,
        "it was not killed but had ended"
    );
    goes_on(&job, &addresses(&daemons));
}

#[test]
fn signals_end_a_coordinator_with_a_run_that_goes_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let job = job();
        let coordinator = start(&job, "2");
        job.checkpoint();
        signal(coordinator.id(), name);
        let output = ended(coordinator);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(report["error"]["exit_code"], code);
        goes_on(&job, "2");
    }
}

fn daemons(many: u32) -> (Vec<Daemon>, tempfile::TempDir) {
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons = (0..many)
        .map(|worker| {
            let cache = caches.path().join(worker.to_string());
            Daemon::start(&cache, &["--memory", "1GiB", "--threads", "1"])
        })
        .collect();
    (daemons, caches)
}

/// A kill at the end of an epoch may lose nothing that is still needed: then it is tried again, a moment later.
#[test]
fn a_job_survives_a_killed_worker() {
    for attempt in 0..KILLS_MAX {
        let job = job();
        let (mut daemons, _caches) = daemons(2);
        let coordinator = start(&job, &addresses(&daemons));
        let epoch = job.checkpoint();
        std::thread::sleep(LATER * attempt);
        daemons[1].kill();
        let report = parse(&ended(coordinator));
        assert!(epoch < EPOCHS);
        assert_eq!(digest(&report), undisturbed());
        assert_eq!(report["resumed_from"], Value::Null);
        println!("{}", report["work"]);
        if report["work"]["tasks_replayed"].as_u64() >= Some(1) {
            return;
        }
    }
    panic!("no kill met a task whose result was still needed");
}

#[test]
fn a_drained_worker_leaves_while_another_finishes_the_job() {
    let job = job();
    let (mut daemons, _caches) = daemons(2);
    let coordinator = start(&job, &addresses(&daemons));
    job.checkpoint();
    daemons[1].terminate();
    let status = daemons[1].wait();
    let report = parse(&ended(coordinator));
    assert_eq!(status.code(), Some(143));
    assert_eq!(digest(&report), undisturbed());
    println!("{}", report["work"]);
}
