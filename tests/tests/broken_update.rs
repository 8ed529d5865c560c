//! An update that meets a full disk, or a file that somebody writes, leaves the data set as it was; the same command later ends with the
//! digest of one that nobody disturbed.
//!
//! The disk fills at 6 of the calls that want room, of an update and of a compaction each; at so many with
//! `STRATA_FULL_DISK=100 cargo test -p tests --test broken_update -- --nocapture`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tests::interpose::small::Small;
use tests::interpose::{self, Deed};
use tests::process::{coordinator, ended, folder_in_memory, json_of, output_of, signal};

const LATER: [&str; 2] = ["--set", "update.files=later.parquet"];

/// A folder with the inputs and an ingested data set.
struct Bed(tempfile::TempDir);

impl Bed {
    fn new(small: &Small) -> Bed {
        let folder = folder_in_memory();
        for name in [
            "purchases.parquet",
            "later.parquet",
            "last.parquet",
            "job.toml",
        ] {
            std::fs::copy(small.folder().join(name), folder.path().join(name)).expect("a copy");
        }
        let bed = Bed(folder);
        json_of(&mut Small::command(&bed.root(), "ingest", &[]));
        bed
    }

    fn root(&self) -> PathBuf {
        self.0.path().canonicalize().expect("it is there")
    }

    fn update(&self, more: &[&str]) -> Command {
        Small::command(&self.root(), "update", &[&LATER[..], more].concat())
    }

    /// What is said of the data set, which is whole.
    fn interactions(&self) -> Value {
        let [there, _] = ["inspect", "verify"].map(|verb| {
            let mut command = coordinator();
            let command = command.current_dir(self.root());
            json_of(command.args(["--json", verb, "data"]))
        });
        there["data_set"]["interactions"].clone()
    }

    fn manifests(&self) -> usize {
        std::fs::read_dir(self.root().join("data/manifests")).map_or(0, Iterator::count)
    }
}

fn message(output: &Output) -> String {
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    report["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn fills(library: &Path, small: &Small, more: &[&str]) {
    let tries = std::env::var("STRATA_FULL_DISK").map_or(6, |tries| {
        tries.parse().expect("STRATA_FULL_DISK is a number")
    });
    let bed = Bed::new(small);
    let before = bed.interactions();
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let recorded = interpose::recorded(library, &bed.root(), log.path());
    let whole = json_of(bed.update(more).envs(recorded));
    let after = bed.interactions();
    assert_ne!(before, after);
    // An update whose compaction finds no room is there, beside the partitions.
    let added = {
        let bed = Bed::new(small);
        json_of(&mut bed.update(&[]));
        bed.interactions()
    };
    let asked = interpose::room_asked(&interpose::events(log.path()));
    for turn in 0..tries {
        let number = 1 + turn * (asked - 1) / tries;
        let bed = Bed::new(small);
        let point = (interpose::ROOM, number);
        let environment = interpose::met(library, &bed.root(), point, Deed::StaysFull);
        let output = output_of(bed.update(more).envs(environment));
        let what = format!("{more:?}, full from call {number} of {asked}");
        println!("{what}: {}", message(&output));
        let code = output.status.code();
        assert!(matches!(code, Some(74 | 75)), "{what}: {output:?}");
        assert!(
            message(&output).contains("no space is left"),
            "{what}: {output:?}"
        );
        let found = bed.interactions();
        let known = [&before, &added, &after];
        assert!(known.contains(&&found), "{what}: {found}");
        let again = json_of(&mut bed.update(more));
        assert_eq!(again["digest"], whole["digest"], "{what}");
        assert_eq!(bed.interactions(), after, "{what}");
    }
}

#[test]
fn a_disk_that_fills_leaves_the_data_set() {
    let Some(library) = interpose::library() else {
        return;
    };
    let small = Small::new();
    fills(library, &small, &[]);
    fills(library, &small, &["--set", "update.deltas_max=0"]);
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_told() {
    let small = Small::new();
    let bed = Bed::new(&small);
    let before = bed.interactions();
    let manifests = bed.manifests();
    let mut command = bed.update(&[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().expect("the coordinator starts");
    let began = Instant::now();
    // The term is claimed once the footers were read.
    while bed.manifests() == manifests {
        assert!(began.elapsed() < Duration::from_mins(2), "no term");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(child.id(), "STOP");
    let last = small.folder().join("last.parquet");
    std::fs::copy(last, bed.root().join("later.parquet")).expect("a copy");
    signal(child.id(), "CONT");
    let output = ended(child);
    println!("{}", message(&output));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let told = "later.parquet was changed while it was read";
    assert!(message(&output).contains(told), "{output:?}");
    assert_eq!(bed.interactions(), before);
    let report = json_of(&mut bed.update(&[]));
    let other = Bed::new(&small);
    let last = ["--set", "update.files=last.parquet"];
    let alone = json_of(&mut Small::command(&other.root(), "update", &last));
    assert_eq!(report["digest"], alone["digest"]);
}
