//! Ranges of times and times told by folders: what is left is what reading the rest away would leave, what can be skipped is
//! skipped, and contradictions are told.

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampSecondArray,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use store::IoMode;
use tables::{Bound, OnBadRow, ScanSpec, Selection, TimeRange, survey_selected};
use tensor::TimeBin;
use tests::generate::write_columns;
use tests::ingested::{GENEROUS, ingest, inputs, parquet_of, spec, try_ingest_selected};
use tests::process::{coordinator, json_of, output_of};

const DAY: i64 = 86_400;
/// The first day of the rows.
const FIRST: i64 = 19_000;
const ROWS: i64 = 6000;
const GROUP: usize = 500;

/// A column of times in order, of the rows whose day is wanted; `None` is a null.
type Column = (&'static str, fn(&[Option<i64>]) -> ArrayRef);

const COLUMNS: &[Column] = &[
    ("date", |t| {
        Arc::new(
            t.iter()
                .map(|t| t.map(|t| t.div_euclid(DAY) as i32))
                .collect::<Date32Array>(),
        )
    }),
    ("seconds", |t| {
        Arc::new(t.iter().copied().collect::<TimestampSecondArray>())
    }),
    ("millis", |t| {
        Arc::new(
            t.iter()
                .map(|t| t.map(|t| t * 1000 + 999))
                .collect::<TimestampMillisecondArray>(),
        )
    }),
    ("micros", |t| {
        Arc::new(
            t.iter()
                .map(|t| t.map(|t| t * 1_000_000))
                .collect::<TimestampMicrosecondArray>(),
        )
    }),
    ("integers", |t| {
        Arc::new(t.iter().copied().collect::<Int64Array>())
    }),
];

/// Ten rows an hour, in order; every 700th time is null where that is asked for.
fn file(column: &Column, wanted: impl Fn(i64) -> bool, nulls: bool) -> bytes::Bytes {
    let rows: Vec<(i64, Option<i64>)> = (0..ROWS)
        .map(|row| (row, FIRST * DAY + row * 360))
        .filter(|(_, time)| wanted(*time))
        .map(|(row, time)| (row, (!nulls || row % 700 != 3).then_some(time)))
        .collect();
    let numbers = |number: fn(i64) -> i64| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(row, _)| Some(number(*row)))
                .collect::<Int64Array>(),
        )
    };
    let times: Vec<Option<i64>> = rows.iter().map(|(_, time)| *time).collect();
    let columns = vec![
        ("u", numbers(|row| row * 7 % 101)),
        ("p", numbers(|row| row * 5 % 31)),
        ("t", column.1(&times)),
        ("v", numbers(|row| row % 4 + 1)),
    ];
    parquet_of(columns, GROUP)
}

fn days(from: i64, until: i64) -> Selection {
    let bound = |day: i64| Some(Bound::Day((FIRST + day) as i32));
    Selection {
        range: TimeRange {
            from: bound(from),
            until: bound(until),
        },
        folders: Vec::new(),
    }
}

#[test]
fn a_range_leaves_what_filtering_before_would() {
    for column in COLUMNS {
        for nulls in [false, true] {
            let spec = ScanSpec {
                time_bin: TimeBin::Day,
                on_bad_row: if nulls {
                    OnBadRow::Skip
                } else {
                    OnBadRow::Reject
                },
                ..spec()
            };
            let inside = |time: i64| (FIRST + 4..FIRST + 9).contains(&time.div_euclid(DAY));
            let all = inputs(&[
                file(column, |_| true, nulls),
                file(column, |time| !inside(time), nulls),
            ]);
            let found =
                try_ingest_selected(&all, &spec, &days(4, 9), GENEROUS, IoMode::Mmap, false)
                    .unwrap();
            let before = ingest(&inputs(&[file(column, inside, nulls)]), &spec);
            let what = format!("{} nulls: {nulls}", column.0);
            assert_eq!(
                found.named(&found.data.parts[0].1),
                before.named(&before.data.parts[0].1),
                "{what}"
            );
            assert_eq!(found.data.time, before.data.time, "{what}");
            let dictionary = |data: &tensor::DataSet| {
                (
                    data.user.dictionary.clone(),
                    data.product.dictionary.clone(),
                )
            };
            assert_eq!(dictionary(&found.data), dictionary(&before.data), "{what}");

            // What is counted: times outside; nulls are bad rows wherever they stand.
            let null = |row: &i64| nulls && row % 700 == 3;
            let outside = (0..ROWS).filter(|row| !inside(FIRST * DAY + row * 360) && !null(row));
            let outside = outside.count() as u64 * 2;
            assert_eq!(found.data.bad_rows["outside_range"], outside, "{what}");
            let read = try_skips(&all, &spec);
            if nulls {
                assert!(found.data.bad_rows["null_time"] > 10, "{what}");
                assert!(read < outside, "groups with a null are read: {what}");
            } else {
                // A group is 500 rows of 240 a day: two thirds lie wholly outside.
                assert!(
                    read > outside * 3 / 4,
                    "{read} of {outside} are skipped: {what}"
                );
            }
            assert_eq!(found.data.input_rows, 10_800, "{what}");
        }
    }
}

/// Rows in row groups that are not read.
fn try_skips(files: &[tests::ingested::Input], spec: &ScanSpec) -> u64 {
    survey_selected(files, spec, &days(4, 9), GENEROUS)
        .unwrap()
        .skipped_rows
}

#[test]
fn skipped_row_groups_are_neither_read_nor_part_of_the_identity() {
    let spec = ScanSpec {
        time_bin: TimeBin::Day,
        ..spec()
    };
    let whole = file(&COLUMNS[0], |_| true, false);
    let lineage = |bytes: &bytes::Bytes, selection: &Selection| {
        survey_selected(
            &inputs(std::slice::from_ref(bytes)),
            &spec,
            selection,
            GENEROUS,
        )
        .unwrap()
        .lineage
    };
    let mut damaged = whole.to_vec();
    // The first pages, of days that are not wanted.
    damaged[4..400].fill(0xAA);
    let damaged = bytes::Bytes::from(damaged);
    let range = days(10, 20);
    assert_eq!(lineage(&whole, &range), lineage(&damaged, &range));
    assert_ne!(
        lineage(&whole, &Selection::default()),
        lineage(&damaged, &Selection::default())
    );
    assert_ne!(lineage(&whole, &range), lineage(&whole, &days(10, 19)));
    assert_ne!(
        lineage(&whole, &range),
        lineage(&whole, &Selection::default())
    );
    let read = |bytes: &bytes::Bytes| {
        let found = try_ingest_selected(
            &inputs(std::slice::from_ref(bytes)),
            &spec,
            &range,
            GENEROUS,
            IoMode::Mmap,
            true,
        )
        .unwrap();
        found.named(&found.data.parts[0].1)
    };
    assert_eq!(read(&whole), read(&damaged));
}

#[test]
fn ranges_that_hold_nothing_or_do_not_suit_are_told() {
    let refused = |column: &Column, spec: &ScanSpec, from: &str, until: &str| {
        let range = TimeRange {
            from: Bound::of(from),
            until: Bound::of(until),
        };
        let selection = Selection {
            range,
            folders: Vec::new(),
        };
        let files = inputs(&[file(column, |_| true, false)]);
        match try_ingest_selected(&files, spec, &selection, GENEROUS, IoMode::Mmap, false) {
            Ok(_) => panic!("it was not refused"),
            Err(sentence) => sentence,
        }
    };
    let spec = ScanSpec {
        time_bin: TimeBin::Day,
        ..spec()
    };
    assert_eq!(
        refused(&COLUMNS[0], &spec, "1970-01-01", "1980-01-01"),
        "none of the 6000 rows lies from 1970-01-01 until 1980-01-01: nothing to ingest"
    );
    assert_eq!(
        refused(&COLUMNS[1], &spec, "17", ""),
        "`input.from` is the number 17, but the column `t` holds times: write YYYY-MM-DD"
    );
    let numbers = ScanSpec {
        time_bin: TimeBin::None,
        ..spec
    };
    assert_eq!(
        refused(&COLUMNS[4], &numbers, "", "2020-01-01"),
        "`input.until` is the day 2020-01-01, but the column `t` holds numbers of bins: give a number"
    );
}

/// A folder of generated purchases in files, and the same with a folder for every day.
fn generated(folder: &Path, name: &str, flags: &[&str]) {
    let size = [
        "--users",
        "400",
        "--products",
        "200",
        "--interactions",
        "30000",
        "--days",
        "70",
        "--ids",
        "text",
    ];
    json_of(
        coordinator()
            .args(["--json", "generate"])
            .arg(folder.join(name))
            .args(size)
            .args(flags),
    );
}

/// What `ingest` says of a job with these lines under [input].
fn ingested(folder: &Path, data: &str, input: &str) -> Result<Value, (i32, String)> {
    let job = folder.join("ranges.toml");
    let text = format!(
        "[input]\nuser = \"user\"\nproduct = \"product\"\ntime = \"day\"\ntime_bin = \"day\"\n{input}\n[output]\ndata = \"out/{data}\"\n"
    );
    fs::write(&job, text).expect("a job");
    let output = output_of(coordinator().args(["--json", "ingest"]).arg(&job));
    let said: Value = serde_json::from_slice(&output.stdout).expect("an object");
    match said.get("error") {
        None => Ok(said),
        Some(error) => {
            let sentence = error["message"].as_str().expect("a sentence").to_owned();
            Err((output.status.code().expect("an exit code"), sentence))
        }
    }
}

#[test]
fn folders_of_days_are_the_files_of_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    generated(at, "files", &[]);
    generated(at, "days", &["--layout", "days"]);
    let range = "from = 2024-01-15\nuntil = \"2024-02-12\"";
    let mut digests = BTreeMap::new();
    for (data, input) in [
        ("files", "files = [\"files/interactions\"]".to_owned()),
        ("days", "files = [\"days/interactions\"]".to_owned()),
        (
            "globbed",
            "files = [\"days/interactions/day=*/*.parquet\"]".to_owned(),
        ),
        (
            "files-range",
            format!("files = [\"files/interactions\"]\n{range}"),
        ),
        (
            "days-range",
            format!("files = [\"days/interactions\"]\n{range}"),
        ),
    ] {
        let said = ingested(at, data, &input).expect("it can be ingested");
        let users = said["users"].as_u64();
        assert!(users.is_some_and(|users| users > 300), "{said}");
        digests.insert(data, said);
    }
    let of = |data: &str, field: &str| digests[data][field].clone();
    for data in ["days", "globbed"] {
        assert_eq!(of(data, "digest"), of("files", "digest"));
        assert_eq!(of(data, "time_bins"), 70);
    }
    assert_eq!(of("days-range", "digest"), of("files-range", "digest"));
    assert_ne!(of("days-range", "digest"), of("days", "digest"));
    assert_eq!(of("days-range", "time_bins"), 28);
    assert_eq!(of("days-range", "skipped_files"), 42);
    let outside = of("files-range", "bad_rows")["outside_range"]
        .as_u64()
        .expect("a count");
    let kept = of("days-range", "input_rows").as_u64().expect("a count");
    assert_eq!(
        (outside + kept, of("files-range", "input_rows").as_u64()),
        (30_000, Some(30_000))
    );

    // The job that lies beside such folders runs as it is.
    let said = json_of(
        coordinator()
            .args(["--json", "run"])
            .arg(at.join("days/job.toml"))
            .args(["--set", "model.rank=8"]),
    );
    assert_eq!(said["ingest"]["input_rows"], 30_000);

    // A further day outside the range is no other input; the range is.
    let more = at.join("days/interactions/day=2025-01-01");
    fs::create_dir(&more).expect("a folder");
    fs::copy(
        at.join("days/interactions/day=2024-01-20/part-00000.parquet"),
        more.join("part-00000.parquet"),
    )
    .expect("a copy");
    let days = format!("files = [\"days/interactions\"]\n{range}");
    let again = ingested(at, "days-range", &days).expect("it is there");
    assert_eq!(
        (&again["reused"], &again["digest"]),
        (&Value::Bool(true), &of("days-range", "digest"))
    );
    let wider = days.replace("02-12", "02-13");
    let (code, sentence) = ingested(at, "days-range", &wider).unwrap_err();
    assert!(
        code == 78
            && sentence.contains("1 of `input.files` are not in it")
            && sentence.contains("day=2024-02-12"),
        "{sentence}"
    );
}

#[test]
fn folders_that_contradict_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ids = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2, 3])) };
    let file = |path: &str, with_day: bool| {
        let path = at.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut columns = vec![("user", ids()), ("product", ids())];
        if with_day {
            columns.push(("day", ids()));
        }
        write_columns(&path, columns);
    };
    file("good/day=2024-01-01/a.parquet", false);
    file("good/day=2024-01-02/b.parquet", false);
    file("word/day=2024-01-01/a.parquet", false);
    file("word/day=monday/b.parquet", false);
    file("null/day=__HIVE_DEFAULT_PARTITION__/a.parquet", false);
    file("twice/day=2024-01-01/a.parquet", true);
    file("lost/day=2024-01-01/a.parquet", false);
    file("lost/b.parquet", false);
    file("mixed/day=2024-01-01/a.parquet", false);
    file("mixed/day=17/b.parquet", false);
    let check = |files: &str, more: &str, code: i32, parts: &[&str]| {
        let input = format!("files = [\"{files}\"]\n{more}");
        let (found, sentence) = ingested(at, "refused", &input).unwrap_err();
        assert!(
            found == code && parts.iter().all(|part| sentence.contains(part)),
            "{files}: {found} {sentence}"
        );
        assert!(!at.join("out/refused/manifests").exists());
    };
    assert_eq!(
        ingested(at, "good", "files = [\"good\"]").expect("it is good")["time_bins"],
        2
    );
    check(
        "word",
        "",
        65,
        &[
            "the folder `day=monday` of",
            "names no time: it must be day=YYYY-MM-DD or day=INTEGER",
        ],
    );
    check(
        "null",
        "",
        65,
        &[
            "__HIVE_DEFAULT_PARTITION__",
            "leave it out of `input.files`",
        ],
    );
    check(
        "twice",
        "",
        65,
        &["a.parquet has a column `day`, and its folder tells one too"],
    );
    check(
        "lost",
        "",
        65,
        &["b.parquet has no column `day` and lies in no folder `day=...`, as other files do"],
    );
    check(
        "mixed",
        "",
        65,
        &["column `day` is", "write both with one type"],
    );
    check(
        "good",
        "from = \"2025-01-01\"",
        65,
        &["no folder of `input.files` lies from 2025-01-01 on: nothing to ingest"],
    );
    check(
        "good",
        "from = 17",
        78,
        &["`input.from` is the number 17, but the column `day` holds times"],
    );
    check(
        "good",
        "from = \"soon\"",
        78,
        &["`input.from` \"soon\" is no time: write a day as YYYY-MM-DD, or an integer"],
    );
    check(
        "good",
        "from = \"2024-01-02\"\nuntil = \"2024-01-02\"",
        78,
        &["nothing lies from 2024-01-02 until 2024-01-02"],
    );
    check(
        "good",
        "from = \"2024-01-02\"\nuntil = 7",
        78,
        &["are a day and a number"],
    );
    let job = at.join("timeless.toml");
    fs::write(&job, "[input]\nfiles = [\"good\"]\nuser = \"user\"\nproduct = \"product\"\nuntil = 2024-01-02\n[output]\ndata = \"x\"\n").expect("a job");
    let output = output_of(coordinator().arg("ingest").arg(&job));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(78) && said.contains("`input.until` needs a column of times"),
        "{said}"
    );
    // Without a column of times folders say nothing.
    fs::write(&job, "[input]\nfiles = [\"word\"]\nuser = \"user\"\nproduct = \"product\"\n[output]\ndata = \"x\"\n").expect("a job");
    assert_eq!(
        json_of(coordinator().args(["--json", "ingest"]).arg(&job))["interactions"],
        3
    );
}
