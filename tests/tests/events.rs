//! What rows count: events by their weights, and returns that are taken off purchases.

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{BuildViews, EventRule, OnBadRow, ScanSpec, SplitSettings, ValueRule, split_specs};
use tensor::{Duplicates, Small, TimeBin};
use tests::generate;
use tests::ingested::{
    DAY, Ingested, Row, ingest, inputs, naive, parquet_of, refusal, some_rows, spec,
};
use tests::jobs::Job;
use tests::process::json_of;

const EVENTS: [(&str, f64); 3] = [("cart", 0.5), ("purchase", 2.0), ("view", 0.1)];

const COLLAPSED: Small<bool> = Small {
    time: true,
    context: true,
};

fn rule() -> EventRule {
    EventRule {
        column: "e".into(),
        weights: EVENTS
            .map(|(name, weight)| (name.to_owned(), weight))
            .to_vec(),
    }
}

/// A file with a column of events: row i has the event i modulo 3.
fn file(rows: &[Row], events: ArrayRef) -> Bytes {
    let integers = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", integers(|row| row.user)),
        ("p", integers(|row| row.product)),
        ("t", integers(|row| row.seconds)),
        ("v", Arc::new(values)),
        ("e", events),
    ];
    parquet_of(columns, 700)
}

fn texts(count: usize) -> ArrayRef {
    let name = |i: usize| EVENTS[i % 3].0;
    Arc::new((0..count).map(|i| Some(name(i))).collect::<StringArray>())
}

fn day(seconds: i64) -> i64 {
    TimeBin::Day.index(seconds)
}

#[test]
fn a_value_is_multiplied_by_its_event_before_it_is_combined() {
    let rows = some_rows(3000, 8);
    let weighed = |has_value: bool| -> Vec<Row> {
        let weight = |(i, row): (usize, &Row)| Row {
            value: EVENTS[i % 3].1 * if has_value { row.value } else { 1.0 },
            ..row.clone()
        };
        rows.iter().enumerate().map(weight).collect()
    };
    let numbers = Arc::new((0..3000).map(|i| Some(i % 3 - 1)).collect::<Int64Array>());
    let by_number = EventRule {
        weights: vec![("-1".into(), 0.5), ("0".into(), 2.0), ("1".into(), 0.1)],
        ..rule()
    };
    for (duplicates, value, events, rule) in [
        (Duplicates::Sum, Some("v"), texts(3000), rule()),
        (Duplicates::Max, Some("v"), texts(3000), rule()),
        (
            Duplicates::Last,
            None,
            numbers.clone() as ArrayRef,
            by_number.clone(),
        ),
        // Rows are counted by their weights.
        (Duplicates::Count, None, numbers as ArrayRef, by_number),
    ] {
        let spec = ScanSpec {
            duplicates,
            value: value.map(str::to_owned),
            event: Some(rule),
            time_bin: TimeBin::Day,
            ..spec()
        };
        let found = ingest(&inputs(&[file(&rows, events)]), &spec);
        // The naive count is of rows; a sum of weights is what they come to.
        let combined = if duplicates == Duplicates::Count {
            Duplicates::Sum
        } else {
            duplicates
        };
        let name = |id: i64| id.to_string();
        let expected = naive(&weighed(value.is_some()), day, combined, name, name);
        let named = found.named(&found.data.parts[0].1);
        assert_eq!(named.len(), expected.len());
        for (found, expected) in named.iter().zip(&expected) {
            assert_eq!(found, expected, "{duplicates:?}");
        }
    }
}

#[test]
fn an_event_without_a_weight_is_named_or_left_out() {
    let rows = some_rows(10, 1);
    let mut names: Vec<Option<&str>> = vec![Some("view"); 10];
    (names[4], names[6], names[7]) = (Some("refund"), None, Some("gift"));
    let files = inputs(&[file(&rows, Arc::new(StringArray::from(names)))]);
    let spec = ScanSpec {
        event: Some(rule()),
        ..spec()
    };
    insta::assert_snapshot!(refusal(&files, &spec), @r#"file-0.parquet, row 4 (from 0): column `e` is "refund", which [input.event_weights] does not name: give it a weight, or set on_bad_row = "skip" to leave such rows out"#);
    let skipping = ScanSpec {
        on_bad_row: OnBadRow::Skip,
        ..spec.clone()
    };
    let counted = BTreeMap::from([
        ("null_event".to_owned(), 1),
        ("unknown_event".to_owned(), 2),
    ]);
    assert_eq!(ingest(&files, &skipping).data.bad_rows, counted);
    let other = EventRule {
        column: "v".into(),
        ..rule()
    };
    let wrong = ScanSpec {
        value: None,
        event: Some(other),
        ..spec
    };
    insta::assert_snapshot!(refusal(&files, &wrong), @"column `v` (event) of file-0.parquet is Float64; it must be a text or integer column");
}

/// Purchases, and some returns a few days later.
fn with_returns() -> Vec<Row> {
    let mut rows = some_rows(2000, 5);
    for i in 0..600 {
        let bought = rows[3 * i].clone();
        rows.push(Row {
            value: -bought.value - (i % 2) as f64 * 0.25,
            seconds: bought.seconds + (i % 9) as i64 * DAY,
            ..bought
        });
    }
    rows
}

fn build(found: &mut Ingested, specs: Vec<tensor::ViewSpec>) -> Vec<tensor::View> {
    let mut program = BuildViews::new(found.data.clone(), specs);
    found.world.run(&mut program, &exec::begin).unwrap();
    program.into_views().unwrap()
}

#[test]
fn a_view_takes_returns_off_what_it_holds() {
    let rows = with_returns();
    let spec = ScanSpec {
        nets: true,
        value_rule: ValueRule::Finite,
        ..spec()
    };
    let mut found = ingest(&inputs(&[file(&rows, texts(rows.len()))]), &spec);
    let all = found.rows(&found.data.parts[0].1.clone());
    assert!(all.values().any(|&value| value < 0.0));
    let by = SplitSettings::Bins {
        validation: 0,
        test: 6,
    };
    let flat = split_specs(&by, &found.data, COLLAPSED).unwrap();
    let timed = split_specs(&by, &found.data, Small::default()).unwrap();
    let whole = tensor::ViewSpec {
        bins: None,
        ..timed.train.clone()
    };
    let specs = vec![flat.train.clone(), flat.test, timed.train, whole];
    let views = build(&mut found, specs);
    for view in &views {
        let mut expected: BTreeMap<(u32, u32, u32), f64> = BTreeMap::new();
        for (&(user, product, bin), &value) in &all {
            if view
                .spec
                .bins
                .as_ref()
                .is_none_or(|bins| bins.contains(&bin))
            {
                let bin = if view.spec.collapse_time { 0 } else { bin };
                *expected.entry((user, product, bin)).or_default() += f64::from(value);
            }
        }
        let before = expected.len();
        expected.retain(|_, value| *value > 0.0);
        assert!(expected.len() < before, "some come to nothing");
        let netted = (before - expected.len()) as u64;
        assert_eq!(view.partitions.netted, netted);
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(k, v)| (k, v as f32)).collect();
        assert_eq!(found.rows(&view.partitions), expected);
    }
}

#[test]
fn a_job_with_returns_has_one_digest_and_needs_the_netting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let rows = with_returns();
    let rows = rows.iter();
    let rows: Vec<_> = rows
        .map(|row| (row.user, row.product, row.seconds, row.value as f32))
        .collect();
    generate::write(&path, &rows);
    let input = "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"week\"\n\
                 value = \"value\"\nduplicates = \"sum\"";
    let run = |input: &str, arguments: &[&str]| {
        let model = "rank = 8\nepochs = 2\npower = 0.5";
        let job = Job::over(&path, input, model, "test_bins = 4");
        json_of(&mut job.command("run", arguments))
    };
    let netting = format!("{input}\nnegative = \"net\"");
    let one = run(&netting, &["--threads", "1"]);
    let two = run(
        &netting,
        &["--workers", "2", "--memory", "256MiB", "--io", "pread"],
    );
    assert_eq!(one["digest"], two["digest"]);
    assert!(one["netted"].as_u64() > Some(0), "{one}");
    assert_eq!(one["netted"], two["netted"]);
    let job = Job::over(&path, input, "rank = 8", "");
    let refused = tests::process::output_of(&mut job.command("run", &[]));
    assert_eq!(refused.status.code(), Some(65));
}

#[test]
fn a_model_that_cannot_heed_weights_of_events_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let rows = some_rows(2000, 9);
    std::fs::write(&path, file(&rows, texts(rows.len()))).unwrap();
    let input = "user = \"u\"\nproduct = \"p\"\nduplicates = \"sum\"\nevent = \"e\"\n\
                 event_weights = { cart = 0.5, purchase = 2.0, view = 0.1 }";
    for (model, warned) in [
        ("kind = \"als\"\npreset = \"rendle\"", true),
        ("kind = \"als\"\npreset = \"hu\"", false),
        ("kind = \"sgd\"\nloss = \"bpr\"", true),
        ("kind = \"sgd\"\nloss = \"poisson\"", false),
        ("kind = \"line\"", true),
    ] {
        let model = format!("{model}\nrank = 4\nepochs = 1");
        let job = Job::over(&path, input, &model, "");
        let report = json_of(&mut job.command("run", &[]));
        let warnings = report["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(warnings, usize::from(warned), "{model}");
        let hint = report["warnings"][0].as_str().unwrap_or_default();
        assert_eq!(hint.contains("`input.event_weights`"), warned, "{hint}");
    }
}
