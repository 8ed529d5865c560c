//! Edges between rows of one mode, from lists to partitions: against a naive computation, whatever must not matter, what is refused,
//! and what they are worth.

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use store::IoMode;
use tables::{EdgeSpec, OnBadRow, ScanSpec};
use tensor::{Digest, Mode, ModeEdges, TimeBin};
use tests::generate::write;
use tests::ingested::{GENEROUS, Ingested, Row, inputs, parquet_of, some_rows, try_ingest_with};
use tests::jobs::Job;
use tests::linked::{link, named, spec};
use tests::process::{Daemon, addresses, json_of};

/// From, to, weight.
type Edge = (Option<i64>, Option<i64>, Option<f64>);

fn draw(counter: u64) -> u64 {
    (counter + 1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(29)
        >> 16
}

/// Edges of ids of which some have no interaction, some of them several times, some loops.
fn some_edges(count: u64, ids: u64, below: i64) -> Vec<Edge> {
    let id = |word: u64| Some((word % ids) as i64 - below);
    let edge = |i: u64| {
        let word = draw(i);
        let to = if i.is_multiple_of(19) {
            word
        } else {
            word >> 13
        };
        (id(word), id(to), Some((word >> 30) as f64 % 5.0 * 0.25))
    };
    (0..count).map(edge).collect()
}

fn list(edges: &[Edge], group_rows: usize, name: impl Fn(i64) -> String, texts: bool) -> Bytes {
    let ids = |of: fn(&Edge) -> Option<i64>| -> ArrayRef {
        let ids = edges.iter().map(of);
        if texts {
            Arc::new(ids.map(|id| id.map(&name)).collect::<StringArray>())
        } else {
            Arc::new(ids.collect::<Int64Array>())
        }
    };
    let weights: Float64Array = edges.iter().map(|edge| edge.2).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", ids(|edge| edge.0)),
        ("b", ids(|edge| edge.1)),
        ("w", Arc::new(weights)),
    ];
    parquet_of(columns, group_rows)
}

fn numbers(edges: &[Edge], group_rows: usize) -> Bytes {
    list(edges, group_rows, |id| id.to_string(), false)
}

/// Users are integers, products texts.
fn data(budget_bytes: u64, mode: IoMode, backwards: bool) -> Ingested {
    let rows = some_rows(4000, 5);
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products: StringArray = rows
        .iter()
        .map(|row: &Row| Some(product(row.product)))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("u", Arc::new(users)), ("p", Arc::new(products))];
    let spec = ScanSpec {
        time: None,
        value: None,
        time_bin: TimeBin::None,
        ..tests::ingested::spec()
    };
    let files = inputs(&[parquet_of(columns, 900)]);
    try_ingest_with(&files, &spec, budget_bytes, mode, backwards).unwrap()
}

fn product(id: i64) -> String {
    format!("p-{id}")
}

fn weighted(mode: Mode, directed: bool) -> EdgeSpec {
    EdgeSpec {
        weight: Some("w".into()),
        directed,
        ..spec(mode)
    }
}

/// S by its definition, and the rows that were left out and the loops.
fn naive(
    edges: &[Edge],
    spec: &EdgeSpec,
    known: &BTreeSet<String>,
    name: impl Fn(i64) -> String,
) -> (BTreeMap<(String, String), f32>, u64, u64) {
    let (mut all, mut unknown, mut loops) = (BTreeMap::<_, f64>::new(), 0, 0);
    for (from, to, weight) in edges {
        let (from, to) = (name(from.unwrap()), name(to.unwrap()));
        if !known.contains(&from) || !known.contains(&to) {
            unknown += 1;
            continue;
        }
        loops += u64::from(from == to);
        let mut add = |from: &str, to: &str| {
            let entry = all.entry((from.to_owned(), to.to_owned())).or_default();
            *entry = match spec.weight {
                Some(_) => *entry + weight.unwrap(),
                None => 1.0,
            };
        };
        add(&from, &to);
        if !spec.directed && from != to {
            add(&to, &from);
        }
    }
    let all = all.into_iter().map(|(key, value)| (key, value as f32));
    (all.collect(), unknown, loops)
}

fn turned(s: &BTreeMap<(String, String), f32>) -> BTreeMap<(String, String), f32> {
    s.iter()
        .map(|((from, to), value)| ((to.clone(), from.clone()), *value))
        .collect()
}

#[test]
fn edges_are_those_of_the_lists() {
    let mut found = data(GENEROUS, IoMode::Mmap, false);
    let edges = [some_edges(3000, 260, 90), some_edges(900, 130, 5)];
    for (mode, edges) in [Mode::User, Mode::Product].into_iter().zip(&edges) {
        let texts = mode == Mode::Product;
        let name = |id: i64| if texts { product(id) } else { id.to_string() };
        let (head, rest) = edges.split_at(500);
        let files = inputs(&[list(head, 90, name, texts), list(rest, 700, name, texts)]);
        for weight in [None, Some("w".to_owned())] {
            for directed in [false, true] {
                let spec = EdgeSpec {
                    weight: weight.clone(),
                    ..weighted(mode, directed)
                };
                link(&mut found, &files, &spec).unwrap();
                let axis = if texts {
                    &found.data.product
                } else {
                    &found.data.user
                };
                let known: BTreeSet<String> = found.ids(axis).into_values().collect();
                let (expected, unknown, loops) = naive(edges, &spec, &known, name);
                let of = &found.data.edges[&mode];
                assert_eq!((of.unknown, of.loops), (unknown, loops));
                assert!(unknown > 100 && loops > 10);
                assert_eq!((of.input_rows, of.directed), (edges.len() as u64, directed));
                assert_eq!(of.entries(), expected.len() as u64);
                let s = named(&found, mode, &of.forward);
                assert_eq!(s, expected);
                assert_eq!(named(&found, mode, of.turned()), turned(&s));
                assert_eq!(of.backward.is_empty(), !directed);
            }
        }
    }
}

fn digests(edges: &ModeEdges) -> Vec<Digest> {
    let partitions = edges.partitions();
    partitions
        .map(|partition| partition.object.digest)
        .collect()
}

#[test]
fn neither_budget_nor_order_nor_io_nor_row_groups_change_a_byte() {
    let edges = some_edges(9000, 260, 90);
    for directed in [false, true] {
        let spec = weighted(Mode::User, directed);
        let mut found = data(GENEROUS, IoMode::Mmap, false);
        link(&mut found, &inputs(&[numbers(&edges, 9000)]), &spec).unwrap();
        let expected = digests(&found.data.edges[&Mode::User]);
        let mut other = data(tests::ingested::TIGHT, IoMode::Pread, true);
        other.world.room.budget_bytes = tests::ingested::TIGHT;
        link(&mut other, &inputs(&[numbers(&edges, 100)]), &spec).unwrap();
        assert_eq!(digests(&other.data.edges[&Mode::User]), expected);
    }
}

#[test]
fn what_is_no_edge_is_refused_or_left_out() {
    let mut found = data(GENEROUS, IoMode::Mmap, false);
    let mut refusal = |edges: &[Edge], spec: &EdgeSpec| {
        let files = inputs(&[numbers(edges, 100)]);
        link(&mut found, &files, spec).expect_err("it is refused")
    };
    let good = (Some(0), Some(1), Some(1.0));
    let users = weighted(Mode::User, false);
    let fault = |column: &str, fault: &str| {
        format!(
            "file-0.parquet, row 1 (from 0): column `{column}` {fault}; correct it, or set on_bad_row = \"skip\" to leave such \
             rows out"
        )
    };
    let bad = [
        ((None, Some(1), Some(1.0)), "a", "is null", "null_from"),
        ((Some(0), None, Some(1.0)), "b", "is null", "null_to"),
        ((Some(0), Some(1), None), "w", "is null", "null_weight"),
        (
            (Some(0), Some(1), Some(f64::NAN)),
            "w",
            "is not a number",
            "nan_weight",
        ),
        (
            (Some(0), Some(1), Some(f64::INFINITY)),
            "w",
            "is infinite",
            "infinite_weight",
        ),
        (
            (Some(0), Some(1), Some(1e300)),
            "w",
            "leaves the range of f32",
            "weight_out_of_range",
        ),
        (
            (Some(0), Some(1), Some(-0.5)),
            "w",
            "is negative: an edge weighs 0 or more",
            "negative_weight",
        ),
    ];
    let mut all = vec![good];
    for (edge, column, what, _) in &bad {
        assert_eq!(refusal(&[good, *edge], &users), fault(column, what));
        all.push(*edge);
    }
    assert_eq!(
        refusal(&[(Some(0), Some(5000), Some(1.0)); 2], &users),
        "none of the 2 rows of `input.user_edges` joins two users that have interactions (2 name an id that has none): check that \
         the columns `a` and `b` hold the ids of `u`, or remove [input.user_edges]"
    );
    assert_eq!(
        refusal(&[], &users),
        "the files of `input.user_edges` have no rows: nothing to ingest"
    );
    for (change, sentence) in [
        (
            EdgeSpec {
                to: "c".into(),
                ..users.clone()
            },
            "file-0.parquet has no column `c` (`to` of edges); it has `a`, `b`, `w`",
        ),
        (
            EdgeSpec {
                to: "a".into(),
                ..users.clone()
            },
            "column `a` is named both as `from` of edges and as `to` of edges: name another column",
        ),
        (
            EdgeSpec {
                to: "w".into(),
                weight: None,
                ..users.clone()
            },
            "column `w` (`to` of edges) of file-0.parquet is Float64; it must be an integer",
        ),
        (
            weighted(Mode::Product, false),
            "column `a` (`from` of edges) of file-0.parquet is Int64; it must be text",
        ),
    ] {
        assert_eq!(refusal(&[good], &change), sentence);
    }
    let text: ArrayRef = Arc::new(StringArray::from(vec!["heavy"]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let texts = parquet_of(vec![("a", id.clone()), ("b", id), ("w", text)], 10);
    let refused = link(&mut found, &inputs(&[texts]), &users).unwrap_err();
    assert_eq!(
        refused,
        "column `w` (`weight` of edges) of file-0.parquet is Utf8; it must be a number"
    );
    let skips = EdgeSpec {
        on_bad_row: OnBadRow::Skip,
        ..users.clone()
    };
    link(&mut found, &inputs(&[numbers(&all, 100)]), &skips).unwrap();
    let edges = &found.data.edges[&Mode::User];
    let left_out = bad
        .iter()
        .map(|(_, _, _, reason)| ((*reason).to_owned(), 1));
    assert_eq!(edges.bad_rows, left_out.collect());
    assert_eq!(edges.entries(), 2);
    let refused = link(
        &mut found,
        &inputs(&[Bytes::from_static(b"no Parquet at all")]),
        &users,
    );
    assert_eq!(
        refused.unwrap_err(),
        "file-0.parquet is not a whole Parquet file (it does not end with the word PAR1): it may be truncated or damaged, write it \
         again"
    );
}

/// Users of eight communities who buy what their community buys, of which so little is seen that purchases alone hardly tell it, and
/// who know five others of it each: `train.parquet`, `test.parquet`, `friends.parquet`.
fn communities(folder: &Path) {
    let (users, products) = (60, 60);
    let mut purchases = [Vec::new(), Vec::new()];
    let mut friends = Vec::new();
    for user in 0..8 * users {
        let community = user % 8;
        let drawn = |turn: i64, of: i64| (draw((user * 16 + turn) as u64) % of as u64) as i64 * 8;
        let bought = |turn: i64| (user, drawn(turn, products) + community, 0, 1.0);
        purchases[0].extend((0..2).map(bought));
        purchases[1].extend((2..5).map(bought));
        let knows = |turn: i64| (Some(user), Some(drawn(turn, users) + community), None);
        friends.extend((5..10).map(knows));
    }
    for (rows, name) in purchases.iter().zip(["train", "test"]) {
        write(&folder.join(format!("{name}.parquet")), rows);
    }
    std::fs::write(folder.join("friends.parquet"), numbers(&friends, 1000)).unwrap();
}

fn job(folder: &Path, edges: bool, model: &str) -> Job {
    let mut input = "user = \"user\"\nproduct = \"product\"\nduplicates = \"count\"".to_owned();
    if edges {
        let list = folder.join("friends.parquet");
        let section = format!(
            "\n[input.user_edges]\nfiles = \"{}\"\nfrom = \"a\"\nto = \"b\"",
            list.display()
        );
        input.push_str(&section);
    }
    let test = folder.join("test.parquet");
    let split = format!(
        "test_files = \"{}\"\n[evaluate]\nreplicates = 0",
        test.display()
    );
    Job::over(&folder.join("train.parquet"), &input, model, &split)
}

/// One digest of data and model, in one process or apart; and friends tell what purchases do not.
#[test]
fn friends_tell_what_purchases_do_not_and_whatever_computes_it_has_one_digest() {
    let folder = tempfile::tempdir().unwrap();
    communities(folder.path());
    for model in [
        "kind = \"lightgcn\"\nrank = 16\nlayers = 2\nepochs = 8\nbatches = 1",
        "kind = \"gcn\"\nrank = 16\nlayers = 2\nepochs = 8",
        "kind = \"spectral\"\nrank = 32\nepochs = 20\nwalk_length = 2\nnormalization = \"symmetric\"",
    ] {
        friends_tell(folder.path(), model);
    }
}

fn friends_tell(folder: &Path, model: &str) {
    let run = |edges: bool, arguments: &[&str]| {
        let job = job(folder, edges, model);
        json_of(&mut job.command("run", arguments))
    };
    let one = run(true, &["--threads", "2", "--memory", "4GiB"]);
    let caches = tempfile::tempdir().unwrap();
    let daemons = ["a", "b"].map(|name| {
        let hidden = [folder];
        let arguments = ["--memory", "512MiB", "--threads", "1", "--io", "pread"];
        Daemon::start_blind(&caches.path().join(name), &hidden, &arguments)
    });
    let apart = ["--workers", &addresses(&daemons), "--memory", "512MiB"];
    let apart = run(true, &apart);
    let told = &one["ingest"]["edges"]["user"];
    let expected = (&2400.into(), &false.into());
    assert_eq!((&told["input_rows"], &told["directed"]), expected);
    assert_eq!(one["ingest"]["digest"], apart["ingest"]["digest"]);
    assert_eq!(one["digest"], apart["digest"]);
    assert!(one["digest"].is_string());
    let alone = run(false, &["--memory", "512MiB"]);
    let [with, without] = [&one, &alone].map(|told| {
        let found = &told["evaluation"]["tasks"]["new_products"]["model"]["recall@20"];
        found.as_f64().unwrap()
    });
    assert!(
        with > 1.3 * without,
        "{with} with friends, {without} without"
    );
}

/// Factors that are held to those of friends find twice as much, and have one digest.
#[test]
fn factors_held_to_friends_find_more() {
    let folder = tempfile::tempdir().unwrap();
    communities(folder.path());
    let run = |weight: f64, arguments: &[&str]| {
        let model = format!("kind = \"als\"\nrank = 16\nuser_edge_weight = {weight}");
        let job = job(folder.path(), true, &model);
        json_of(&mut job.command("run", arguments))
    };
    let one = run(0.3, &["--threads", "2", "--memory", "4GiB"]);
    let two = ["--workers", "2", "--memory", "512MiB", "--io", "pread"];
    assert_eq!(one["digest"], run(0.3, &two)["digest"]);
    let aside = run(0.0, &two);
    assert!(
        aside["warnings"].as_array().is_none_or(Vec::is_empty),
        "0 leaves them aside: {aside}"
    );
    let [with, without] = [&one, &aside].map(|told| {
        let found = &told["evaluation"]["tasks"]["new_products"]["model"]["recall@20"];
        found.as_f64().unwrap()
    });
    assert!(
        with > 1.7 * without,
        "{with} with friends, {without} without"
    );
}

/// Who names edges, and takes a model that leaves them aside, is told.
#[test]
fn models_that_do_not_use_edges_say_so() {
    let folder = tempfile::tempdir().unwrap();
    communities(folder.path());
    for (model, hint) in [
        ("kind = \"als\"", "`model.user_edge_weight`"),
        ("kind = \"filter\"", "\"spectral\""),
        ("kind = \"gcn\"\nlayers = 4", "beyond three"),
    ] {
        let model = format!("{model}\nrank = 4\nepochs = 1");
        let report = json_of(&mut job(folder.path(), true, &model).command("run", &[]));
        let told = report["warnings"].as_array().cloned().unwrap_or_default();
        let about = |word: &str| told.iter().any(|said| said.to_string().contains(word));
        assert!(about(hint.trim_matches('"')), "{model}: {told:?}");
        let idle = !model.contains("gcn");
        assert_eq!(about("edges between users"), idle, "{model}: {told:?}");
    }
}
