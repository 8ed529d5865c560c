//! Crashes of the machine (DESIGN 3.2, 3.9): the changes that real processes make to a disk are recorded call by call, every prefix of
//! them is cut off and what was not yet synced is lost in many ways, and each disk that may be found afterwards is opened by the
//! code that opens it in life. It finds the old or the new, never anything else, and what was told to be durable is there.
//!
//! Under test a part of the states, spread evenly. All of them:
//! `STRATA_CRASH_STATES=all cargo test -p tests --test crash_states -- --nocapture`

use depot::Depot;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use store::Journal;
use tests::interpose::disk::{Disk, Fate, History, fates_of};
use tests::interpose::small::{OUTPUTS, Small};
use tests::interpose::{self, Event};
use tests::process::{folder_in_memory, json_of};

/// Random losses after each event, beside those of one change each.
const DRAWS: u32 = 3;
const SEED: u64 = 7;
/// How many crashes of an operation are looked at, and about how many losses of each.
fn wanted() -> (usize, usize) {
    match std::env::var("STRATA_CRASH_STATES") {
        Ok(all) if all == "all" => (usize::MAX, usize::MAX),
        _ => (25, 3),
    }
}

/// What an operation did below a folder, and what lay there before.
struct Recorded {
    root: PathBuf,
    before: Disk,
    after: Disk,
    events: Vec<Event>,
}

fn record(library: &Path, root: &Path, command: &mut Command) -> Recorded {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let without_scratch = |mut disk: Disk| {
        let scratch = root.join("scratch");
        disk.files.retain(|path, _| !path.starts_with(&scratch));
        disk.folders.retain(|path| !path.starts_with(&scratch));
        disk
    };
    let before = without_scratch(Disk::of(root));
    json_of(command.envs(interpose::recorded(library, root, log.path())));
    let mut events = interpose::events(log.path());
    // A wiped scratch directory is an ordinary case, and another process looks at nothing of it.
    events.retain(|event| event.place != "cache" && event.place != "peer");
    Recorded {
        root: root.to_owned(),
        before,
        after: without_scratch(Disk::of(root)),
        events,
    }
}

/// A disk that a crash may leave.
struct State {
    /// After so many events.
    events: usize,
    /// Open changes that were not kept.
    fates: BTreeMap<usize, Fate>,
}

impl State {
    fn fate(&self, change: usize) -> Fate {
        self.fates.get(&change).copied().unwrap_or(Fate::Kept)
    }
}

/// All states of a history, each disk once; under test of some crashes, and some of each.
fn states(history: &History) -> Vec<State> {
    let (crashes, of_each) = wanted();
    let mut seen = BTreeSet::new();
    let mut states = Vec::new();
    let stride = history.events().div_ceil(crashes).max(1);
    for events in (0..=history.events()).rev().step_by(stride) {
        let open = history.open_after(events);
        let ways = fates_of(history, &open, DRAWS, SEED);
        // The first two lose nothing and all.
        let some = ways.len().div_ceil(of_each).max(1);
        for (way, fates) in ways.into_iter().enumerate() {
            let state = State { events, fates };
            if (way < 2 || way.is_multiple_of(some))
                && seen.insert((
                    history.digest_after(events, |change| state.fate(change)),
                    history.promised(events).len(),
                ))
            {
                states.push(state);
            }
        }
    }
    states
}

/// Opens every state of an operation; gives how many there are.
fn look_at_all(name: &str, recorded: &Recorded, look: &dyn Fn(&Path, &Disk, bool)) -> usize {
    let history = History::new(recorded.before.clone(), &recorded.events);
    // The record is whole: it leads from what lay there to what lies there now.
    let end = history.after(history.events(), |_| Fate::Kept);
    for (path, bytes) in &recorded.after.files {
        assert_eq!(
            end.files.get(path).map(|bytes| bytes.len()),
            Some(bytes.len()),
            "{}",
            path.display()
        );
        assert_eq!(end.files.get(path), Some(bytes), "{}", path.display());
    }
    assert_eq!(end.files.len(), recorded.after.files.len());

    let states = states(&history);
    let folder = folder_in_memory();
    let mut there: Option<Disk> = None;
    for state in &states {
        let disk = history.after(state.events, |change| state.fate(change));
        disk.write_to(&recorded.root, folder.path(), there.as_ref());
        let said = || {
            format!(
                "{name}, after {} of {} events ({:?}), without {:?}",
                state.events,
                history.events(),
                recorded
                    .events
                    .get(state.events.wrapping_sub(1))
                    .map(|event| (
                        event.point(),
                        event.path().to_owned(),
                        event.to().to_owned()
                    )),
                state
                    .fates
                    .iter()
                    .map(|(&change, fate)| (history.told(change), fate))
                    .collect::<Vec<_>>()
            )
        };
        for path in history.promised(state.events) {
            assert_eq!(
                disk.files.get(&path),
                recorded.after.files.get(&path),
                "{} was durable\n{}",
                path.display(),
                said()
            );
        }
        let looking = std::panic::AssertUnwindSafe(|| {
            look(folder.path(), &disk, state.events == history.events());
        });
        if let Err(panic) = std::panic::catch_unwind(looking) {
            eprintln!("{}", said());
            std::panic::resume_unwind(panic);
        }
        there = Some(disk);
    }
    println!(
        "{name}: {} states of {} calls",
        states.len(),
        history.events()
    );
    states.len()
}

/// Both depots are whole: every manifest is one of the chain that was committed, and names only what is there. Once an operation
/// has told its success, nothing is there either that it promised to remove.
fn depots_are_whole(root: &Path, at_end: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for name in ["data", "model"] {
        let folder = root.join(name);
        if folder.exists() {
            runtime.block_on(async {
                let depot = Depot::open(&folder.to_string_lossy()).expect("it opens");
                let mut report = depot.verify().await.expect("it is read");
                if !at_end {
                    report.lingering.clear();
                }
                assert!(report.is_sound(), "{name}: {report:?}");
            });
        }
    }
}

/// Every journal is the beginning of what it became.
fn journals_are_beginnings(root: &Path, recorded: &Recorded) {
    for (path, bytes) in &recorded.after.files {
        let path = path.strip_prefix(&recorded.root).expect("below the root");
        if !path.starts_with("model/journal") || !root.join(path).exists() {
            continue;
        }
        let whole = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(whole.path(), &**bytes).expect("it is written");
        let whole = Journal::read(whole.path()).expect("a journal");
        let found = Journal::read(&root.join(path)).expect("a journal");
        assert!(whole.starts_with(&found), "{}", path.display());
    }
}

/// Every output is as it was or as it became, or not there where it was not.
fn outputs_are_old_or_new(disk: &Disk, recorded: &Recorded) {
    for name in OUTPUTS {
        let path = recorded.root.join(name);
        let found = disk.files.get(&path);
        let (old, new) = (
            recorded.before.files.get(&path),
            recorded.after.files.get(&path),
        );
        assert!(
            found == old || found == new,
            "{name} is neither old nor new: {:?} bytes",
            found.map(|found| found.len())
        );
    }
}

#[test]
fn every_crash_leaves_the_old_or_the_new() {
    let Some(library) = interpose::library() else {
        return;
    };
    let small = Small::new();
    let root = small.folder();
    let mut states = 0;
    let last = [
        "--set",
        "update.files=last.parquet",
        "--set",
        "update.deltas_max=1",
    ];
    let operations: [(&str, &[&str]); 5] = [
        ("run", &[]),
        ("recommend", &["--set", "output.recommend.top=4"]),
        ("update", &["--set", "update.files=later.parquet"]),
        ("update", &last),
        ("forget", &["--users", "leaving.txt"]),
    ];
    for (verb, more) in operations {
        let recorded = record(library, &root, &mut Small::command(&root, verb, more));
        states += look_at_all(verb, &recorded, &|root, disk, at_end| {
            depots_are_whole(root, at_end);
            journals_are_beginnings(root, &recorded);
            outputs_are_old_or_new(disk, &recorded);
        });
    }
    println!("{states} states in all, each the old or the new");
    assert!(states > 200, "{states}");
}

/// The checker finds what it is for: a file that has its name before its bytes are safe, and one whose name is never safe.
#[test]
fn a_name_before_its_bytes_is_found() {
    let event = |call: &str, first: &[u8], second: &[u8]| Event {
        call: call.to_owned(),
        place: "other".to_owned(),
        file: 5,
        at: 0,
        first: first.to_vec(),
        second: second.to_vec(),
    };
    let write = [
        event("create", b"/f/.part", b""),
        event("write", b"whole", b""),
    ];
    let name = [event("rename", b"/f/.part", b"/f/new")];
    let (sync, folder) = (
        [event("sync", b"/f/.part", b"")],
        [event("sync-folder", b"/f", b"")],
    );
    let torn = |events: &[Event]| {
        let history = History::new(Disk::default(), events);
        let disks = states(&history).into_iter().map(|state| {
            (
                state.events,
                history.after(state.events, |change| state.fate(change)),
            )
        });
        let new = Path::new("/f/new");
        let found = |disk: &Disk| disk.files.get(new).map(|bytes| bytes.to_vec());
        let mut disks: Vec<_> = disks.map(|(events, disk)| (events, found(&disk))).collect();
        disks.sort();
        (
            disks
                .iter()
                .any(|(_, found)| found.as_deref().is_some_and(|found| found != b"whole")),
            disks,
            history.promised(events.len()).len(),
        )
    };
    let (is_torn, _, promised) = torn(&[&write[..], &name, &folder].concat());
    assert!(is_torn && promised == 0);
    let (is_torn, _, promised) = torn(&[&write[..], &sync, &name].concat());
    assert!(!is_torn && promised == 0);
    let (is_torn, disks, promised) = torn(&[&write[..], &sync, &name, &folder].concat());
    assert!(!is_torn && promised == 1);
    let last = disks.iter().filter(|(events, _)| *events == 5);
    assert!(last.clone().count() > 0 && last.clone().all(|(_, found)| found.is_some()));
}
