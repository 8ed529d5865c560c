//! Lists as a folder of parts: the same rows as in one file, the same bytes after kill -9 at any part, and what was written is not made
//! again.

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::generate::write;
use tests::interpose::{self, Deed};
use tests::process::{Daemon, addresses, coordinator, json_of, output_of};

/// Users lie in 64 blocks, so lists are four parts of 16 tasks.
const PARTS: u64 = 4;
const TASKS_PER_PART: u64 = 16;

/// A model in a folder of its own.
struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Bed {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let row = |turn: i64| (turn * turn % 211, turn * 7 % 97, 0, 1.0);
        let rows: Vec<_> = (0..4_000).map(row).collect();
        write(&folder.path().join("sales.parquet"), &rows);
        let job = "[input]\nfiles = [\"sales.parquet\"]\nuser = \"user\"\nproduct = \"product\"\nduplicates = \"count\"\n\
             [model]\nkind = \"als\"\nrank = 4\nepochs = 2\n[output]\ndata = \"data\"\nmodel = \"model\"\n\
             [output.recommend]\ntop = 3\n";
        std::fs::write(folder.path().join("job.toml"), job).expect("the job is written");
        let bed = Bed(folder);
        json_of(bed.verb("ingest", &[]).arg("--json"));
        json_of(bed.verb("train", &[]).arg("--json"));
        bed
    }

    fn root(&self) -> PathBuf {
        self.0.path().canonicalize().expect("it is there")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn verb(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = coordinator();
        command
            .current_dir(self.root())
            .args([verb, "job.toml", "--scratch", "scratch"])
            .args(more);
        command
    }

    /// `recommend` into a folder.
    fn lists(&self, folder: &str, more: &[&str]) -> Command {
        let set = format!("output.recommend.folder={}", self.at(folder).display());
        self.verb("recommend", &[&["--set", &set], more].concat())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("a file"))
        })
        .collect()
}

/// Rows of a file: user, rank, product, the bits of the score.
fn rows(path: &Path) -> Vec<(i64, u32, i64, u32)> {
    let file = std::fs::File::open(path).expect("the file was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut found = Vec::new();
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("a batch");
        let ids = |name: &str| batch[name].as_primitive::<Int64Type>().values().to_vec();
        let ranks = batch["rank"].as_primitive::<UInt32Type>().values();
        let scores = batch["score"].as_primitive::<Float32Type>().values();
        let (users, products) = (ids("user"), ids("product"));
        let row = |at: usize| (users[at], ranks[at], products[at], scores[at].to_bits());
        found.extend((0..users.len()).map(row));
    }
    found
}

/// The tasks of the run, where one was.
fn tasks(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("recommend: ")?;
    let (count, _) = rest.split_once(" tasks in ")?;
    count.parse().ok()
}

/// Runs to the end into a folder that may hold parts: the bytes are the undisturbed ones', and only parts that were missing are made.
fn ends(bed: &Bed, folder: &str, kept: u64, of: (&str, u64), what: &str) {
    let (undisturbed, all) = of;
    let output = output_of(&mut bed.lists(folder, &[]));
    let said = said(&output);
    assert!(output.status.success(), "{what}: {said}");
    assert!(
        files(&bed.at(folder)) == files(&bed.at(undisturbed)),
        "{what}: {:?}",
        files(&bed.at(folder)).keys()
    );
    let told = format!("{kept} of {PARTS} parts are there already, and are kept");
    assert_eq!(said.contains(&told), kept > 0, "{what}: {said}");
    let left = (kept < PARTS).then(|| all - kept * TASKS_PER_PART);
    assert_eq!(tasks(&said), left, "{what}: {said}");
}

#[test]
fn parts_hold_what_one_file_holds_whoever_makes_them() {
    let bed = Bed::new();
    let mut one = bed.verb("recommend", &["--set", "output.recommend.file=one.parquet"]);
    let one = json_of(one.arg("--json"));
    let told = json_of(bed.lists("lists", &["--workers", "1"]).arg("--json"));
    assert_eq!(told["parts"], serde_json::json!({"written": 4, "kept": 0}));
    assert_eq!(told["file"], Value::Null);
    assert_eq!(told["folder"], bed.at("lists").display().to_string());
    for count in ["users", "rows"] {
        assert!(told[count].as_u64() > Some(0));
        assert_eq!(told[count], one[count], "{count}");
    }
    let found = files(&bed.at("lists"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let parts: Vec<String> = (0..4)
        .map(|part| format!("part-0000{part}.parquet"))
        .collect();
    assert_eq!(names[1..], parts);
    assert_eq!(names[0], "_SUCCESS");
    let together: Vec<_> = parts
        .iter()
        .flat_map(|part| rows(&bed.at("lists").join(part)))
        .collect();
    assert_eq!(together, rows(&bed.at("one.parquet")));

    let caches = tempfile::tempdir().expect("a temporary folder");
    let start = |number: u32| {
        let data = caches.path().join(number.to_string());
        Daemon::start(&data, &["--memory", "256MiB", "--threads", "1"])
    };
    let daemons: Vec<Daemon> = (0..2).map(start).collect();
    let workers = addresses(&daemons);
    json_of(bed.lists("others", &["--workers", &workers]).arg("--json"));
    assert!(files(&bed.at("others")) == found);

    // Nothing is done again.
    let again = json_of(bed.lists("lists", &[]).arg("--json"));
    assert_eq!(again["parts"], serde_json::json!({"written": 0, "kept": 4}));
    assert_eq!(again["rows"], told["rows"]);
    assert_eq!(again["users"], told["users"]);
    assert!(files(&bed.at("lists")) == found);
}

#[test]
fn a_killed_coordinator_goes_on_behind_the_parts_that_are_there() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new();
    let output = output_of(&mut bed.lists("undisturbed", &[]));
    let all = tasks(&said(&output)).expect("tasks were run");
    let of = ("undisturbed", all);
    // Names are given to four parts and to `_SUCCESS`.
    for number in 1..=PARTS + 1 {
        for (deed, kept) in [(Deed::KillBefore, number - 1), (Deed::KillAfter, number)] {
            let folder = format!("{deed:?}-{number}");
            let what = format!("{deed:?} name {number}");
            let point = ("rename other", number);
            let deed = interpose::met(library, &bed.root(), point, deed);
            let output = output_of(bed.lists(&folder, &[]).envs(deed));
            assert_eq!(output.status.signal(), Some(9), "{what}: {}", said(&output));
            let done = files(&bed.at(&folder)).contains_key("_SUCCESS");
            assert_eq!(done, kept > PARTS, "{what}");
            ends(&bed, &folder, kept.min(PARTS), of, &what);
        }
    }
    // In the middle of the second part.
    let point = ("write other", 2);
    let deed = interpose::met(library, &bed.root(), point, Deed::KillAfter);
    let output = output_of(bed.lists("torn", &[]).envs(deed));
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let there = files(&bed.at("torn"));
    let whole = there.keys().filter(|name| name.starts_with("part-"));
    let kept = whole.count() as u64;
    assert!(
        kept < PARTS && there.len() > kept as usize,
        "{:?}",
        there.keys()
    );
    ends(&bed, "torn", kept, of, "killed in the middle");
}

/// A part is there when its reasons are.
#[test]
fn parts_of_reasons_go_with_those_of_lists() {
    let Some(library) = interpose::library() else {
        return;
    };
    let bed = Bed::new();
    let wish = |lists: &str, reasons: &str| {
        let set = format!(
            "output.recommend.explanations={}",
            bed.at(reasons).display()
        );
        bed.lists(lists, &["--set", &set])
    };
    let told = json_of(wish("lists", "reasons").arg("--json"));
    let explained = files(&bed.at("reasons"));
    assert_eq!(explained.len() as u64, PARTS + 1);
    assert!(told["reasons"].as_u64() > told["rows"].as_u64());
    // Behind the lists of the second part, before its reasons.
    let deed = interpose::met(library, &bed.root(), ("rename other", 3), Deed::KillAfter);
    let output = output_of(wish("lists-2", "reasons-2").envs(deed));
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let again = json_of(wish("lists-2", "reasons-2").arg("--json"));
    assert_eq!(again["parts"], serde_json::json!({"written": 3, "kept": 1}));
    assert_eq!(again["reasons"], told["reasons"]);
    assert!(files(&bed.at("lists-2")) == files(&bed.at("lists")));
    assert!(files(&bed.at("reasons-2")) == explained);
}

#[test]
fn other_lists_replace_what_is_there_and_foreign_files_are_refused() {
    let bed = Bed::new();
    json_of(bed.lists("lists", &[]).arg("--json"));
    let longer = ["--set", "output.recommend.top=5"];
    let output = output_of(&mut bed.lists("lists", &longer));
    let told = "4 parts here are of other lists than these, and are replaced";
    assert!(said(&output).contains(told), "{}", said(&output));
    json_of(bed.lists("fresh", &longer).arg("--json"));
    assert!(files(&bed.at("lists")) == files(&bed.at("fresh")));

    let before = files(&bed.at("lists"));
    std::fs::copy(bed.at("sales.parquet"), bed.at("lists/sales.parquet")).expect("a copy");
    let output = output_of(&mut bed.lists("lists", &[]));
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    let sentence = format!(
        "{} is no part of lists and would be read as one: give lists a folder of their own",
        bed.at("lists/sales.parquet").display()
    );
    assert!(said(&output).contains(&sentence), "{}", said(&output));
    std::fs::remove_file(bed.at("lists/sales.parquet")).expect("it was there");
    assert!(files(&bed.at("lists")) == before, "nothing was touched");

    let both = ["--set", "output.recommend.file=one.parquet"];
    let output = output_of(&mut bed.lists("lists", &both));
    assert_eq!(output.status.code(), Some(78));
    let sentence = "`output.recommend.file` and `output.recommend.folder` are both given: lists go into one of them";
    assert!(said(&output).contains(sentence), "{}", said(&output));
}
