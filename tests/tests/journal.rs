//! What happened in a run, told afterwards: joined, lost, given again, resumed, finished; from journals beside the model.

use serde_json::Value;
use std::process::Stdio;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, coordinator, ended, json_of, output_of, parse, signal};

fn job(inputs: &Inputs, epochs: u32) -> Job {
    let model = format!("rank = 16\nepochs = {epochs}\ntime = \"ignore\"");
    Job::new(inputs, Data::Small, &model, "")
}

fn words(run: &Value) -> Vec<&str> {
    let events = run["events"].as_array().expect("a list");
    events
        .iter()
        .map(|event| event["event"].as_str().expect("a word"))
        .collect()
}

#[test]
fn a_run_with_faults_is_told_fault_by_fault() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, 1500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |name: &str| {
        let arguments = ["--memory", "1GiB", "--threads", "1"];
        Daemon::start(&folder.path().join(name), &arguments)
    };
    let mut daemons = vec![start("one"), start("two")];
    let workers = addresses(&daemons);
    let begin = || {
        let mut command = job.command("run", &["--workers", &workers]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the coordinator starts")
    };
    // The first coordinator is killed, the second loses a worker and is asked to stop, the third has all it needs.
    let first = begin();
    job.checkpoint();
    signal(first.id(), "KILL");
    ended(first);
    let second = begin();
    let seen = |what: &str| {
        let found = json_of(&mut job.command("log", &[]));
        let runs = found["runs"].as_array().expect("runs").clone();
        runs.last().is_some_and(|run| words(run).contains(&what)) && runs.len() > 1
    };
    let until = |what: &str| {
        for _ in 0..2000 {
            if seen(what) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("it never comes: {what}");
    };
    until("checkpoint");
    daemons[1].kill();
    until("worker_lost");
    signal(second.id(), "TERM");
    assert_eq!(ended(second).status.code(), Some(143));
    let short = ["--set", "run.checkpoint_epochs=1000"];
    let done = parse(&output_of(
        job.command(
            "run",
            &[&["--workers", daemons[0].address.as_str()], &short[..]].concat(),
        )
        .current_dir(job.folder()),
    ));

    let told = json_of(&mut job.command("log", &[]));
    let runs = told["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3, "{told}");
    let terms: Vec<u64> = runs
        .iter()
        .map(|run| run["term"].as_u64().expect("a term"))
        .collect();
    assert!(terms.is_sorted() && terms[0] < terms[2], "{terms:?}");
    assert!(
        runs.iter()
            .all(|run| run["run"] == runs[0]["run"] && run["phase"] == "train")
    );
    let [killed, stopped, whole] = [words(&runs[0]), words(&runs[1]), words(&runs[2])];
    assert_eq!(killed[0], "opened");
    assert_eq!(
        killed
            .iter()
            .filter(|word| **word == "worker_joined")
            .count(),
        2
    );
    assert!(!killed.contains(&"stopped") && !killed.contains(&"finished"));
    assert_eq!(&stopped[..2], ["opened", "resumed"]);
    assert_eq!(stopped.last(), Some(&"stopped"));
    assert!(
        stopped.contains(&"worker_lost") && stopped.contains(&"epoch"),
        "{stopped:?}"
    );
    assert_eq!(&whole[..2], ["opened", "resumed"]);
    assert_eq!(whole.last(), Some(&"finished"));
    assert_eq!(runs[2]["events"][1]["from_epoch"], done["resumed_from"]);
    let last = &runs[2]["events"].as_array().expect("events").last();
    let at = last.expect("an event")["at"].as_str().expect("a moment");
    assert!(
        at.starts_with("20") && at.ends_with('Z') && at.len() == 24,
        "{at}"
    );
    assert!(
        runs[0]["events"][1]["address"]
            .as_str()
            .is_some_and(|at| at.starts_with("127.0.0.1:"))
    );

    // For people, of this run and of none.
    let run = runs[0]["run"].as_str().expect("a key");
    let mut command = coordinator();
    let output = output_of(
        command
            .arg("log")
            .arg(job.folder().join("job.toml"))
            .arg(&run[..6]),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "is opened under term",
        "is lost: its session ended",
        "was killed here",
        "it goes on from the checkpoint of epoch",
        "stopped on request",
        "  finished",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let output = output_of(&mut job.command("log", &["--set", "output.model=elsewhere"]));
    let refused: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(output.status.code(), Some(69), "{refused}");
    let message = refused["error"]["message"].as_str().expect("a sentence");
    assert!(
        message.contains(
            "no journal: it is kept of a model from the moment that `train` or `run` begins to train"
        ),
        "{message}"
    );
    let output = output_of(&mut job.command("log", &["--set", "output.model=s3://bucket/model"]));
    let refused: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(output.status.code(), Some(69), "{refused}");
    let message = refused["error"]["message"].as_str().expect("a sentence");
    assert!(message.contains("s3://bucket/model is a URL"), "{message}");
}

/// A log for programs: every line an object, with what a search would ask for.
#[test]
fn logs_are_lines_of_json_with_their_run_and_term() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, 3);
    let output = output_of(&mut job.command("run", &["--log", "info"]));
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let epochs: Vec<&Value> = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "an epoch ended")
        .collect();
    assert_eq!(epochs.len(), 3, "{text}");
    for line in epochs {
        assert!(
            line["fields"]["run"].is_string() && line["fields"]["term"].is_u64(),
            "{line}"
        );
    }
    let joined = lines
        .iter()
        .any(|line| line["fields"]["message"] == "a worker joined");
    assert!(joined, "{text}");
}
