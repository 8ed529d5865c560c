//! Generated purchases from end to end: the same bytes whoever makes them and whatever is killed, nothing overwritten, and
//! worlds in which it is known who wins.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::process::{coordinator, ended, json_of, output_of};

/// Makes a folder and gives what was said of it.
fn generate(folder: &Path, flags: &[&str]) -> Value {
    json_of(
        coordinator()
            .args(["--json", "generate"])
            .arg(folder)
            .args(flags),
    )
}

/// Why it could not be made: the exit code and the sentence.
fn refusal(folder: &Path, flags: &[&str]) -> (i32, String) {
    let output = output_of(
        coordinator()
            .args(["--json", "generate"])
            .arg(folder)
            .args(flags),
    );
    let said: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let sentence = said["error"]["message"]
        .as_str()
        .expect("a sentence")
        .to_owned();
    (output.status.code().expect("an exit code"), sentence)
}

/// All files below a folder with their bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_path_buf();
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

const SMALL: &[&str] = &[
    "--users",
    "500",
    "--products",
    "300",
    "--interactions",
    "40000",
    "--rows-per-file",
    "6000",
    "--days",
    "60",
    "--season",
    "1",
    "--drift",
    "0.5",
    "--friends",
    "3",
    "--influencers",
    "2",
    "--followers",
    "9",
    "--quantity",
    "4",
    "--repeat",
    "0.1",
];

#[test]
fn threads_and_memory_change_no_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for form in [&["--ids", "text"][..], &["--layout", "days"]] {
        let flags = |more: &[&str]| -> Vec<String> {
            let all = SMALL.iter().chain(form).chain(more);
            all.map(|flag| (*flag).to_owned()).collect()
        };
        let made = |name: &str, more: &[&str]| {
            let flags = flags(more);
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let report = generate(&at(name), &flags);
            let files = contents(&at(name));
            let parquet = files
                .iter()
                .filter(|(name, _)| name.extension() == Some("parquet".as_ref()));
            let (count, bytes) = parquet.fold((0, 0), |(count, bytes), (_, of)| {
                (count + 1, bytes + of.len() as u64)
            });
            assert_eq!(
                (report["files"].as_u64(), report["bytes"].as_u64()),
                (Some(count), Some(bytes))
            );
            assert_eq!(
                (report["rows"].as_u64(), &report["reused"]),
                (Some(40_000), &Value::Bool(false))
            );
            (report["digest"].clone(), files)
        };
        let one = made("one", &["--threads", "1"]);
        assert!(
            one.1.len() > 10 && one == made("three", &["--threads", "3", "--memory", "256MiB"])
        );
        let other = made("other", &["--seed", "5"]);
        assert!(one.0 != other.0 && one.1.len() > 10);
        for name in ["one", "three", "other"] {
            fs::remove_dir_all(at(name)).expect("it is there");
        }
    }
}

#[test]
fn a_killed_call_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "--rows-per-file",
        "20000",
        "--interactions",
        "4000000",
        "--threads",
        "1",
    ];
    let whole = generate(&folder.path().join("whole"), &flags);
    let place = folder.path().join("shop");
    let work = folder.path().join(".shop.generating");
    let mut child = coordinator()
        .arg("generate")
        .arg(&place)
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let some = || fs::read_dir(work.join("interactions")).map_or(0, Iterator::count) >= 3;
    while !some() && began.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("our own child");
    ended(child);
    assert!(
        work.join("generate.json").exists() && !place.exists(),
        "it was killed in the middle"
    );
    // What a kill may leave of the file that was being written.
    fs::write(
        work.join("interactions/.part-00001.parquet.1.part"),
        b"half",
    )
    .expect("it is written");
    let resumed = generate(&place, &flags);
    assert_eq!(resumed["digest"], whole["digest"]);
    assert!(!work.exists());
    assert!(
        contents(&place) == contents(&folder.path().join("whole")),
        "the same files"
    );
    // Once it is there, it is found.
    let again = generate(&place, &flags);
    assert_eq!(
        (&again["digest"], &again["reused"]),
        (&whole["digest"], &Value::Bool(true))
    );
}

#[test]
fn nothing_that_is_there_is_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let check = |name: &str, flags: &[&str], code: i32, end: &str| {
        let (found, sentence) = refusal(&at(name), flags);
        assert!(
            found == code && sentence.contains(end),
            "{name}: {found} {sentence}"
        );
    };
    fs::create_dir(at("mine")).expect("a folder");
    fs::write(at("mine/notes.txt"), b"mine").expect("a file");
    check(
        "mine",
        &[],
        78,
        "holds what `generate` did not make: remove it, or name another folder",
    );
    check(
        "mine/notes.txt",
        &[],
        78,
        "is a file: remove it, or name another folder",
    );
    assert_eq!(contents(&at("mine")).len(), 1);
    fs::create_dir(at(".other.generating")).expect("a folder");
    check(
        "other",
        &[],
        78,
        "is in the way, and `generate` did not make it: remove it",
    );

    let small = ["--interactions", "2000"];
    generate(&at("shop"), &small);
    let before = contents(&at("shop"));
    check(
        "shop",
        &["--interactions", "2001"],
        78,
        "was generated with other settings: remove it, or name another folder",
    );
    assert!(contents(&at("shop")) == before);
    fs::remove_file(at("shop/users/part-00000.parquet")).expect("it is there");
    check(
        "shop",
        &small,
        78,
        "lacks users/part-00000.parquet or has changed it",
    );

    let job = at("job.toml");
    fs::write(
        &job,
        "[generate]\nrank = 4\ndepartments = 5\nstart = \"2024-02-30\"\n",
    )
    .expect("a job");
    let job = job.display().to_string();
    check(
        "new",
        &[&job],
        78,
        "`generate.departments`: 5 departments need a factor each, and `rank` is 4",
    );
    check(
        "new",
        &[&job],
        78,
        "`generate.start` \"2024-02-30\" is no day: write YYYY-MM-DD",
    );
    check(
        "new",
        &["--products", "100000000", "--memory", "256MiB"],
        78,
        "are needed for tables of 100,000,000 products",
    );
    check("new", &["--activity", "9"], 64, "--activity");
    check(
        "new",
        &["--influencers", "1000"],
        78,
        "leave nobody of 10000 users",
    );
    let names: BTreeSet<String> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(!names.iter().any(|name| name.contains("new")), "{names:?}");
    let output = output_of(coordinator().args(["generate", "s3://bucket/shop"]));
    assert_eq!(output.status.code(), Some(64));
    // The flags of worlds belong to this verb alone.
    let output = output_of(coordinator().args(["run", "job.toml", "--users", "7"]));
    assert_eq!(output.status.code(), Some(64));
}

/// The evaluation of the job that lies beside the data, as it is.
fn evaluated(folder: &Path) -> Value {
    json_of(
        coordinator()
            .args(["--json", "run"])
            .arg(folder.join("job.toml")),
    )["evaluation"]
        .take()
}

/// By how much the model is ahead of a baseline in NDCG@20: the ends of the interval.
fn ahead(evaluation: &Value, task: &str, baseline: &str) -> (f64, f64) {
    let interval = &evaluation["differences"][task][baseline]["ndcg@20"]["interval"];
    let end = |at: usize| interval[at].as_f64().expect("an interval");
    (end(0), end(1))
}

#[test]
fn the_job_runs_as_it_is_and_the_right_one_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = |name: &str, flags: &[&str]| {
        let place = folder.path().join(name);
        let size = [
            "--users",
            "3000",
            "--products",
            "1000",
            "--interactions",
            "150000",
        ];
        generate(&place, &[&size[..], flags].concat());
        evaluated(&place)
    };
    let planted = world("planted", &[]);
    assert!(
        ahead(&planted, "new_products", "popularity").0 > 0.03,
        "{planted}"
    );
    assert!(
        ahead(&planted, "all_products", "own_count").0 > 0.0,
        "{planted}"
    );
    let nothing = world("nothing", &["--popularity", "1"]);
    assert!(
        ahead(&nothing, "new_products", "popularity").1 < 0.0,
        "{nothing}"
    );
    let repeats = world("repeats", &["--popularity", "1", "--repeat", "0.9"]);
    assert!(
        ahead(&repeats, "all_products", "own_count").1 < -0.1,
        "{repeats}"
    );
}
