//! An ingest that was broken off goes on with what it had done, to the same bytes: kill -9 behind manifests of every phase, of the
//! coordinator alone and with all its workers; a disk that fills; other input in between, or while it is read.
//!
//! The disk fills at 12 of the calls that want room; at so many with
//! `STRATA_FULL_DISK=200 cargo test -p tests --test resumed_ingest a_disk -- --nocapture`.

use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tests::generate::write;
use tests::interpose::{self, Deed};
use tests::process::{Daemon, addresses, coordinator, ended, json_of, output_of, parse, signal};

/// Files, and so splits: a wave is 8 of them.
const FILES: i64 = 24;
/// Tasks of an ingest of them: scans, dictionaries, shuffles, and four partitions each of 64 blocks a side.
const TASKS: u64 = 24 + 2 + 24 + 32;

/// Keep at every wave.
const EAGER: [&str; 4] = [
    "--set",
    "run.ingest_checkpoint_seconds=0.000001",
    "--set",
    "run.checkpoint_percent=100",
];
/// Keep nothing more.
const NEVER: [&str; 2] = ["--set", "run.ingest_checkpoint_seconds=100000"];

/// Writes one of the files.
fn sales(root: &Path, file: i64, kind: i64) {
    let row = |turn: i64| {
        let (user, product) = (turn * turn % 211, (turn * kind + file) % 97);
        (user, product, 86_400 * (17_000 + turn % 40), 1.0)
    };
    let rows: Vec<_> = (300 * file..300 * (file + 1)).map(row).collect();
    write(&root.join(format!("sales/{file:02}.parquet")), &rows);
}

/// A job on small files in a folder of its own.
struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Bed {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("sales")).expect("a folder");
        for file in 0..FILES {
            sales(folder.path(), file, 7);
        }
        let job = "[input]\nfiles = [\"sales\"]\nuser = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\n\
             duplicates = \"count\"\n[model]\nkind = \"als\"\n[output]\ndata = \"data\"\n";
        std::fs::write(folder.path().join("job.toml"), job).expect("the job is written");
        Bed(folder)
    }

    fn root(&self) -> PathBuf {
        self.0.path().canonicalize().expect("it is there")
    }

    fn ingest(&self, more: &[&str]) -> Command {
        self.ingest_by(coordinator(), more)
    }

    fn ingest_by(&self, mut command: Command, more: &[&str]) -> Command {
        command
            .current_dir(self.root())
            .args(["--json", "--memory", "256MiB", "--scratch", "scratch"])
            .args(more)
            .args(["ingest", "job.toml"]);
        command
    }

    fn verb(&self, words: &[&str]) -> Value {
        let mut command = coordinator();
        json_of(command.current_dir(self.root()).arg("--json").args(words))
    }
}

/// The digest of an ingest that nobody disturbs.
fn undisturbed() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let bed = Bed::new();
        let report = json_of(&mut bed.ingest(&[]));
        assert_eq!(report["resumed_from"], Value::Null);
        let there = |name: &str| bed.root().join("data").join(name).exists();
        assert!(!there("journal"), "a short ingest keeps nothing to go on");
        assert!(there("manifests/0000000002") && !there("manifests/0000000003"));
        report["digest"].as_str().expect("a digest").to_owned()
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Goes on, to the same bytes; gives the tasks that were not done again.
fn goes_on(bed: &Bed, more: &[&str], what: &str) -> u64 {
    let mut command = coordinator();
    let output = output_of(
        command
            .current_dir(bed.root())
            .args(["--memory", "256MiB", "--scratch", "scratch"])
            .args([&NEVER[..], more].concat())
            .args(["ingest", "job.toml"]),
    );
    let said = said(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what}: {said}");
    assert!(said.contains(undisturbed()), "{what}: {said}");
    let sound = bed.verb(&["verify", "data"]);
    let there = objects(bed).len();
    assert_eq!(
        sound["objects"], there,
        "what was kept is gone, {what}: {sound}"
    );
    if said.contains("(there already)") {
        return TASKS;
    }
    let kept = said
        .split_once("goes on where it was broken off: ")
        .map_or(0, |(_, rest)| {
            let count = rest.split_once(" of its tasks are done");
            count.expect("a sentence").0.parse().expect("a number")
        });
    let tasks = format!("ingest: {} tasks in", TASKS - kept);
    assert!(said.contains(&tasks), "{what}: {kept} kept, and {said}");
    if kept > 0 {
        let log = bed.verb(&["log", "job.toml"]);
        let runs = log["runs"].as_array().expect("runs");
        let last = &runs.last().expect("a run")["events"];
        assert_eq!(last[1]["event"], "resumed", "{what}: {log}");
        assert_eq!(last[1]["from_epoch"], kept, "{what}: {log}");
    }
    kept
}

#[test]
fn a_killed_coordinator_goes_on_in_every_phase() {
    let Some(library) = interpose::library() else {
        return;
    };
    let mut kept = BTreeSet::new();
    for number in 1.. {
        let bed = Bed::new();
        let mut command = bed.ingest(&EAGER);
        let deed = interpose::met(
            library,
            &bed.root(),
            ("link manifest", number),
            Deed::KillAfter,
        );
        let output = output_of(command.envs(deed));
        let what = format!("killed behind manifest {number}");
        if output.status.success() {
            assert_eq!(parse(&output)["digest"], undisturbed(), "{what}");
            break;
        }
        assert_eq!(output.status.signal(), Some(9), "{what}: {}", said(&output));
        kept.insert(goes_on(&bed, &[], &what));
    }
    println!("tasks that were not done again: {kept:?}");
    // A state is kept when none is in the making: which waves are met differs.
    let phases = [1..24, 24..26, 26..50, 50..TASKS];
    let met = phases.map(|phase| kept.range(phase).next().is_some());
    assert!(met.iter().filter(|met| **met).count() >= 2, "{kept:?}");
}

fn manifests_there(bed: &Bed) -> usize {
    std::fs::read_dir(bed.root().join("data/manifests")).map_or(0, Iterator::count)
}

/// From some call on nothing finds room, until somebody makes room and gives the command again.
#[test]
fn a_disk_that_fills_is_told_and_the_ingest_goes_on() {
    let Some(library) = interpose::library() else {
        return;
    };
    let asked = {
        let bed = Bed::new();
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let recorded = interpose::recorded(library, &bed.root(), log.path());
        json_of(bed.ingest(&EAGER).envs(recorded));
        interpose::room_asked(&interpose::events(log.path()))
    };
    let tries = std::env::var("STRATA_FULL_DISK").map_or(12, |tries| {
        tries.parse().expect("STRATA_FULL_DISK is a number")
    });
    let mut kept = BTreeSet::new();
    for turn in 0..tries {
        let number = 1 + turn * (asked - 1) / tries;
        let bed = Bed::new();
        let point = (interpose::ROOM, number);
        let environment = interpose::met(library, &bed.root(), point, Deed::StaysFull);
        let output = output_of(bed.ingest(&EAGER).envs(environment));
        let what = format!("full from call {number} of {asked}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let message = report["error"]["message"].as_str().unwrap_or_default();
        println!("{what}: {message}");
        let code = output.status.code();
        assert!(matches!(code, Some(74 | 75)), "{what}: {}", said(&output));
        assert!(!said(&output).contains("panicked"), "{}", said(&output));
        assert!(message.contains("no space is left"), "{what}: {message}");
        assert!(message.contains("free some"), "{what}: {message}");
        // The first manifest claims the term.
        let has_state = manifests_there(&bed) > 1;
        if has_state {
            bed.verb(&["verify", "data"]);
        }
        let tasks = goes_on(&bed, &[], &what);
        assert_eq!(
            tasks > 0,
            has_state,
            "{what}: what was kept is not done again"
        );
        kept.insert(tasks);
    }
    println!("{tries} full disks, each told; tasks that were not done again: {kept:?}");
    assert!(kept.len() >= 4, "{kept:?}");
}

/// Waits until so many manifests are there.
fn manifests(bed: &Bed, count: usize) {
    let began = Instant::now();
    while manifests_there(bed) < count {
        assert!(began.elapsed() < Duration::from_mins(2), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One process after the other may die; with all of them the states in the data's place are what is left.
#[test]
fn a_coordinator_that_dies_with_all_workers_goes_on_with_others() {
    let bed = Bed::new();
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons = |generation: u32| -> Vec<Daemon> {
        let start = |number: u32| {
            let data = caches.path().join(format!("{generation}-{number}"));
            Daemon::start(&data, &["--memory", "256MiB", "--threads", "1"])
        };
        (0..2).map(start).collect()
    };
    let mut first = daemons(0);
    let workers = addresses(&first);
    let mut command = bed.ingest(&[&EAGER[..], &["--workers", &workers]].concat());
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the coordinator starts");
    manifests(&bed, 3);
    first.iter_mut().for_each(Daemon::kill);
    signal(child.id(), "KILL");
    child.wait().expect("our own child");
    let second = daemons(1);
    let workers = addresses(&second);
    let kept = goes_on(&bed, &["--workers", &workers], "all were killed");
    assert!(kept >= 8, "a wave at least: {kept}");
}

#[test]
fn other_input_begins_at_the_files_and_is_told() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new();
    let point = ("link manifest", 3);
    let deed = interpose::met(library, &bed.root(), point, Deed::KillAfter);
    let output = output_of(bed.ingest(&EAGER).envs(deed));
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let kept = objects(&bed);
    std::fs::remove_file(bed.root().join("sales/00.parquet")).expect("it was there");
    let mut command = coordinator();
    let command = command.current_dir(bed.root()).args(NEVER);
    let output = output_of(command.args(["ingest", "job.toml"]));
    let begins =
        "of files or [input] settings that were others than now: this one begins at the files";
    assert!(said(&output).contains(begins), "{}", said(&output));
    let report = json_of(&mut bed.ingest(&NEVER));
    let other = Bed::new();
    std::fs::remove_file(other.root().join("sales/00.parquet")).expect("it was there");
    let alone = json_of(&mut other.ingest(&[]));
    assert_eq!(report["digest"], alone["digest"]);
    assert!(!kept.is_empty());
    assert_eq!(
        objects(&bed),
        objects(&other),
        "nothing of the first is left"
    );
}

/// Rows of before and of after stand in no data set together.
#[test]
fn a_file_that_is_written_while_it_is_read_is_told() {
    let bed = Bed::new();
    let mut command = bed.ingest(&EAGER);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().expect("the coordinator starts");
    // The term is claimed once the footers were read.
    manifests(&bed, 1);
    signal(child.id(), "STOP");
    sales(&bed.root(), 23, 5);
    signal(child.id(), "CONT");
    let output = ended(child);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let message = report["error"]["message"].as_str().unwrap_or_default();
    println!("{message}");
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    let told = "sales/23.parquet was changed while it was read";
    assert!(message.contains(told), "{message}");
    let report = json_of(&mut bed.ingest(&NEVER));
    let other = Bed::new();
    sales(&other.root(), 23, 5);
    let alone = json_of(&mut other.ingest(&[]));
    assert_eq!(report["digest"], alone["digest"]);
    assert_ne!(report["digest"], undisturbed());
    assert_eq!(objects(&bed), objects(&other), "nothing of before is left");
}

fn objects(bed: &Bed) -> BTreeSet<std::ffi::OsString> {
    let listed = std::fs::read_dir(bed.root().join("data/objects")).expect("objects");
    listed
        .map(|entry| entry.expect("an entry").file_name())
        // What was being written has a longer name until it is whole.
        .filter(|name| name.len() == 64)
        .collect()
}
