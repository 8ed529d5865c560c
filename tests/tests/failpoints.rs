//! kill -9 before and after every kind of call by which a process changes a disk or speaks to a peer, and the same calls refused by a
//! full or a broken disk: the same command again ends with the bits of a run that nobody disturbed.
//!
//! Under test each point once or twice. Each point at its first, its last and three calls between, before and after:
//! `STRATA_FAILPOINTS=all cargo test -p tests --test failpoints -- --nocapture --test-threads=1`

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use tests::interpose::small::{OUTPUTS, Small};
use tests::interpose::{self, Deed};
use tests::process::{Daemon, addresses, folder_in_memory, json_of, output_of};

/// Every point of a run with an embedded worker. A point that is not in here is new: let it be survived, then add it.
const POINTS: &[&str] = &[
    "create cache",
    "create journal",
    "create manifest",
    "create object",
    "create other",
    "link manifest",
    "mkdir cache",
    "mkdir other",
    "rename cache",
    "rename object",
    "rename other",
    "reserve cache",
    "sync journal",
    "sync manifest",
    "sync object",
    "sync other",
    "sync-folder manifest",
    "sync-folder object",
    "sync-folder other",
    "truncate cache",
    "unlink cache",
    "unlink manifest",
    "write cache",
    "write journal",
    "write manifest",
    "write object",
    "write other",
];

/// Calls of one point that are tried with `STRATA_FAILPOINTS=all`.
const CALLS_MOST: u64 = 5;

fn all() -> bool {
    std::env::var("STRATA_FAILPOINTS").is_ok_and(|what| what == "all")
}

/// Which calls of a point are tried, of so many: one between, or the first, the last and some between.
fn tried(count: u64) -> Vec<u64> {
    if !all() {
        return vec![count.div_ceil(2)];
    }
    let step = |place: u64| 1 + place * (count - 1) / (CALLS_MOST - 1);
    let calls: BTreeSet<u64> = (0..CALLS_MOST).map(step).collect();
    calls.into_iter().collect()
}

/// The inputs and the job, without anything that was made of them.
fn fresh(small: &Small) -> tempfile::TempDir {
    let folder = folder_in_memory();
    for entry in std::fs::read_dir(small.folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let to = folder.path().join(path.file_name().expect("a name"));
            std::fs::copy(&path, to).expect("a copy");
        }
    }
    folder
}

/// What a run ends with.
#[derive(Debug, PartialEq)]
struct Ended {
    digest: String,
    outputs: BTreeMap<&'static str, Vec<u8>>,
}

fn of(folder: &Path, report: &Value) -> Ended {
    let outputs = OUTPUTS.iter().filter(|name| name.ends_with(".parquet"));
    let read = |name: &&'static str| (*name, std::fs::read(folder.join(name)).expect("an output"));
    Ended {
        digest: report["digest"].as_str().expect("a digest").to_owned(),
        outputs: outputs.map(read).collect(),
    }
}

/// Nothing that a reader may take for an output is half-written.
fn nothing_is_half_written(folder: &Path, whole: &Ended, point: &str) {
    for (name, bytes) in &whole.outputs {
        if let Ok(found) = std::fs::read(folder.join(name)) {
            assert!(found == *bytes, "{point}: {name} is half-written");
        }
    }
}

struct Bed {
    small: Small,
    library: &'static Path,
    whole: Ended,
    /// How often each point was met by a run that nobody disturbed.
    points: BTreeMap<String, u64>,
}

impl Bed {
    fn new(library: &'static Path) -> Bed {
        let small = Small::new();
        let folder = fresh(&small);
        let root = folder.path().canonicalize().expect("it is there");
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = Small::command(&root, "run", &[]);
        let report = json_of(command.envs(interpose::recorded(library, &root, log.path())));
        let points = interpose::points(&interpose::events(log.path()));
        let whole = of(&root, &report);
        Bed {
            small,
            library,
            whole,
            points,
        }
    }

    /// Runs into a deed; gives what was said, and the folder as it was left.
    fn met(&self, point: &str, number: u64, deed: Deed) -> (Output, tempfile::TempDir, PathBuf) {
        let folder = fresh(&self.small);
        let root = folder.path().canonicalize().expect("it is there");
        let mut command = Small::command(&root, "run", &[]);
        let environment = interpose::met(self.library, &root, (point, number), deed);
        let output = output_of(command.envs(environment));
        nothing_is_half_written(&root, &self.whole, point);
        (output, folder, root)
    }

    /// The same command again, undisturbed.
    fn again(&self, root: &Path, what: &str) {
        let output = output_of(&mut Small::command(root, "run", &[]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {said}");
        let report = serde_json::from_slice(&output.stdout).expect("one object");
        assert!(
            of(root, &report) == self.whole,
            "{what}: it ends with other bits"
        );
    }
}

#[test]
fn every_point_is_known_and_survived() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new(library);
    let met: Vec<&str> = bed.points.keys().map(String::as_str).collect();
    println!("{:?}", bed.points);
    assert_eq!(met, POINTS, "the points of a run");
    let mut kills = 0;
    for (place, (point, &count)) in bed.points.iter().enumerate() {
        for number in tried(count) {
            let deeds = [Deed::KillBefore, Deed::KillAfter];
            // Under test one of the two, in turn.
            for deed in deeds
                .into_iter()
                .skip(if all() { 0 } else { place % 2 })
                .take(if all() { 2 } else { 1 })
            {
                let (output, _folder, root) = bed.met(point, number, deed);
                let what = format!("{point}, call {number} of {count}, {deed:?}");
                // Other threads may have made fewer calls this time.
                assert!(
                    output.status.signal() == Some(9) || output.status.success(),
                    "{what}: {output:?}"
                );
                kills += u32::from(output.status.signal() == Some(9));
                bed.again(&root, &what);
            }
        }
    }
    println!("{} points, {kills} kills, each survived", bed.points.len());
    assert!(kills as usize * 10 >= bed.points.len() * 9, "{kills}");
}

/// What a coordinator and a daemon do to each other.
const PEERS: [&str; 2] = ["send peer", "receive peer"];

/// How often a process of a job with two daemons meets the points between them, about: it depends on the network.
const TALKS: u64 = 300;

/// Calls by which a daemon opens its cache, before it listens.
const OPENING: u64 = 2;

fn daemon(folder: &Path, environment: &[(&str, String)]) -> Daemon {
    let arguments = ["--memory", "256MiB", "--threads", "1"];
    Daemon::start_within(folder, &arguments, environment)
}

/// A coordinator that dies while it speaks with its daemons goes on with the same ones.
#[test]
fn a_coordinator_that_dies_in_a_word_goes_on() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new(library);
    let caches = folder_in_memory();
    let daemons = ["one", "two"].map(|name| daemon(&caches.path().join(name), &[]));
    let workers = addresses(&daemons);
    let mut kills = 0;
    for (place, point) in PEERS.into_iter().enumerate() {
        for number in tried(TALKS) {
            let deed = if place == 0 {
                Deed::KillBefore
            } else {
                Deed::KillAfter
            };
            let what = format!("{point}, call {number}, {deed:?}");
            let folder = fresh(&bed.small);
            let root = folder.path().canonicalize().expect("it is there");
            let run = || {
                let mut command = Small::command(&root, "run", &[]);
                command.env("STRATA_WORKERS", &workers);
                command
            };
            let output =
                output_of(run().envs(interpose::met(library, &root, (point, number), deed)));
            assert!(
                output.status.signal() == Some(9) || output.status.success(),
                "{what}: {output:?}"
            );
            kills += u32::from(output.status.signal() == Some(9));
            let report = json_of(&mut run());
            assert!(
                of(&root, &report) == bed.whole,
                "{what}: it ends with other bits"
            );
        }
    }
    println!("{kills} kills of a coordinator in a word, each survived");
    assert!(kills > 0);
}

/// A daemon that dies at any point of its own leaves the job to the other one.
#[test]
fn a_daemon_that_dies_leaves_the_job_to_the_other() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new(library);
    let caches = folder_in_memory();
    let survivor = daemon(&caches.path().join("survivor"), &[]);
    let mut kills = 0;
    let points = bed
        .points
        .keys()
        .map(String::as_str)
        .filter(|point| point.ends_with(" cache"));
    // The caches of daemons are synced; what dies before it listens has no part in the job.
    let points = points.filter(|point| *point != "mkdir cache");
    let points: Vec<&str> = points.chain(["sync cache"]).chain(PEERS).collect();
    for (place, &point) in points.iter().enumerate() {
        let count = bed.points.get(point).copied().unwrap_or(TALKS) / 4;
        for number in tried(count.max(1))
            .into_iter()
            .map(|number| number + OPENING)
        {
            let deed = if place % 2 == 0 {
                Deed::KillBefore
            } else {
                Deed::KillAfter
            };
            let what = format!("{point}, call {number}, {deed:?}");
            let cache = caches.path().join(format!("scratch/{place}-{number}"));
            let root = caches.path().canonicalize().expect("it is there");
            let mut dying = daemon(
                &cache,
                &interpose::met(library, &root, (point, number), deed),
            );
            let folder = fresh(&bed.small);
            let root = folder.path().canonicalize().expect("it is there");
            let mut command = Small::command(&root, "run", &[]);
            command.env(
                "STRATA_WORKERS",
                format!("{},{}", dying.address, survivor.address),
            );
            let report = json_of(&mut command);
            assert!(
                of(&root, &report) == bed.whole,
                "{what}: it ends with other bits"
            );
            kills += u32::from(dying.is_dead());
        }
    }
    println!(
        "{kills} daemons died at {} points, and none was missed",
        points.len()
    );
    assert!(
        kills as usize > points.len() / 2,
        "{kills} of {}",
        points.len()
    );
}

/// A disk that is full or broken ends a run with a sentence and the code of the system's errors, or is no hindrance; never otherwise.
#[test]
fn a_disk_that_refuses_is_told() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new(library);
    let mut refusals = 0;
    for (place, (point, &count)) in bed.points.iter().enumerate() {
        if !all() && place % 3 != 0 {
            continue;
        }
        for number in tried(count) {
            let deed = if place % 2 == 0 {
                Deed::Full
            } else {
                Deed::Broken
            };
            let (output, _folder, root) = bed.met(point, number, deed);
            let what = format!("{point}, call {number} of {count}, {deed:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            let known = matches!(output.status.code(), Some(0 | 74 | 75));
            assert!(
                known && !said.contains("panicked"),
                "{what}: {} {said}",
                output.status
            );
            if !output.status.success() {
                let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
                let message = report["error"]["message"].as_str().expect("a sentence");
                println!("{what}: {message}");
                refusals += 1;
            }
            bed.again(&root, &what);
        }
    }
    println!("{refusals} refusals, each told");
    assert!(refusals > 2, "{refusals}");
}
