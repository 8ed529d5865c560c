//! `--verify-fraction`: tasks that two workers compute, and a worker that gets them wrong.

use serde_json::Value;
use std::path::Path;
use tests::jobs::{Data, Inputs, Job};
use tests::liar::{Liar, Lie};
use tests::process::{Daemon, addresses, json_of, output_of};

const ARGUMENTS: [&str; 4] = ["--memory", "1GiB", "--threads", "1"];

/// A job whose data set is there: an index with a bit turned may be one into nothing, and a panic is no lie.
fn job(inputs: &Inputs) -> Job {
    let model = "rank = 16\nepochs = 6\ntime = \"ignore\"";
    let job = Job::new(inputs, Data::Small, model, "");
    json_of(&mut job.command("ingest", &[]));
    job
}

fn refused(job: &Job, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output_of(&mut job.command("run", arguments));
    let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let message = said["error"]["message"].as_str().expect("a sentence");
    (output.status.code(), message.to_owned())
}

/// A liar before two honest ones, and the addresses of all.
fn crew(folder: &Path, lie: Lie) -> (Liar, Vec<Daemon>, String) {
    let daemons: Vec<Daemon> = ["one", "two"]
        .map(|name| Daemon::start(&folder.join(name), &ARGUMENTS))
        .into();
    let liar = Liar::start(&folder.join("liar"), 1 << 30, lie);
    let all = format!("{},{}", liar.address, addresses(&daemons));
    (liar, daemons, all)
}

/// One of three lies: it is shut out, and the run comes to what it comes to without it. With one of two nobody can tell.
#[test]
fn a_liar_is_shut_out_where_a_third_can_tell() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wanted = json_of(&mut job(&inputs).command("run", &[]));
    let (liar, daemons, all) = crew(folder.path(), Lie::Turned);

    let watched = job(&inputs);
    let arguments = ["--workers", &all, "--verify-fraction", "1"];
    let report = json_of(&mut watched.command("run", &arguments));
    assert_eq!(report["digest"], wanted["digest"]);
    let told = json_of(&mut watched.command("log", &[])).to_string();
    assert!(
        told.contains("worker_shut_out") && told.contains("results_differ"),
        "{told}"
    );

    let two = format!("{},{}", liar.address, daemons[0].address);
    // Where both compute all, neither pulls anything, and this one lies about what it pulls.
    let arguments = ["--workers", two.as_str(), "--verify-fraction", "0.5"];
    let (code, said) = refused(&job(&inputs), &arguments);
    assert_eq!(code, Some(74), "{said}");
    assert!(
        said.contains("came to different results") && said.contains("three workers or more"),
        "{said}"
    );
}

/// What is torn makes an ingest panic, or find malformed what our own code wrote: whoever does is one that others differ from.
#[test]
fn a_liar_that_panics_ends_nothing() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wanted = json_of(&mut job(&inputs).command("run", &[]));
    let (_liar, _daemons, all) = crew(folder.path(), Lie::Torn);
    let model = "rank = 16\nepochs = 6\ntime = \"ignore\"";
    let whole = Job::new(&inputs, Data::Small, model, "");
    let arguments = ["--workers", &all, "--verify-fraction", "1"];
    let report = json_of(&mut whole.command("run", &arguments));
    assert_eq!(report["digest"], wanted["digest"]);
}

/// All is computed twice by honest ones: the bits are the same, and nobody is told of.
#[test]
fn what_is_computed_twice_comes_to_the_same() {
    let inputs = Inputs::of(&[Data::Small]);
    let wanted = json_of(&mut job(&inputs).command("run", &[]));
    for share in ["0.3", "1"] {
        let twice = job(&inputs);
        // A loaded machine is slow at times, and what is given to another for that counts as done again.
        let arguments = [
            "--workers",
            "3",
            "--verify-fraction",
            share,
            "--set",
            "run.slow_factor=0",
        ];
        let report = json_of(&mut twice.command("run", &arguments));
        assert_eq!(report["digest"], wanted["digest"]);
        assert!(report["work"]["tasks"].as_u64() > wanted["work"]["tasks"].as_u64());
        let told = json_of(&mut twice.command("log", &[])).to_string();
        assert!(!told.contains("results_differ"), "{told}");
        if !told.contains("worker_suspected") {
            // Neither a comparison nor a task that moved on before it began is a fault.
            assert!(!told.contains("task_replayed"), "{told}");
            assert_eq!(report["work"]["tasks_replayed"], 0);
        }
    }
    let (code, said) = refused(&job(&inputs), &["--verify-fraction", "0.1"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("a single worker has nobody to compare"),
        "{said}"
    );
}
