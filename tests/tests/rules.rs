//! Rules of lists: lists that obey them are those that remain of longer ones, whatever computes them; what they cost is told; and what
//! cannot be obeyed is refused.

use arrow::array::{ArrayRef, AsArray, Date32Array, Float32Array, Int64Array, StringArray};
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::factors::{self, Factors};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{json_of, output_of};

const TOP: usize = 7;

/// A product, from when, and until when it may be had, in days.
type Window = (i64, Option<i32>, Option<i32>);

/// The list of each user: products and scores, the best first.
type Lists = BTreeMap<i64, Vec<(i64, f32)>>;

fn batches(file: &Path) -> impl Iterator<Item = RecordBatch> {
    let file = File::open(file).expect("the file was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let batches = reader.build().expect("a reader");
    batches.map(|batch| batch.expect("a batch"))
}

fn ids(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column = batch.column_by_name(name).expect("the column");
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn lists(file: &Path) -> Lists {
    let mut found = Lists::new();
    for batch in batches(file) {
        let (users, products) = (ids(&batch, "user"), ids(&batch, "product"));
        let ranks = batch["rank"].as_primitive::<UInt32Type>().values();
        let scores = batch["score"].as_primitive::<Float32Type>().values();
        for at in 0..users.len() {
            let list = found.entry(users[at]).or_default();
            list.push((products[at], scores[at]));
            assert_eq!(list.len(), ranks[at] as usize);
        }
    }
    found
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

/// The shelf of a product; one in seven has none.
fn shelf(product: i64) -> Option<i64> {
    Some(product % 7).filter(|shelf| *shelf < 6)
}

/// A job over the small purchases whose products have a `shelf` and a `size`.
fn job(inputs: &Inputs, model: &str, split: &str) -> Job {
    let products = inputs.folder().join("products.parquet");
    let all = 0..3000_i64;
    let shelves = all
        .clone()
        .map(|id| shelf(id).map(|at| format!("shelf {at}")));
    write(
        &products,
        vec![
            (
                "product",
                Arc::new(Int64Array::from_iter_values(all.clone())),
            ),
            ("shelf", Arc::new(shelves.collect::<StringArray>())),
            (
                "size",
                Arc::new(Float32Array::from_iter_values(all.map(|id| id as f32))),
            ),
        ],
    );
    let job = Job::new(inputs, Data::Small, model, split);
    let path = job.folder().join("job.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let table = format!(
        "[input.product_attributes]\nfiles = \"{}\"\n[split]",
        products.display()
    );
    std::fs::write(&path, text.replace("[split]", &table)).unwrap();
    job
}

/// Lists under some settings, as they are told and as they stand in the file.
fn listed(job: &Job, name: &str, sets: &[String], arguments: &[&str]) -> (Value, PathBuf) {
    let file = job.folder().join(format!("{name}.parquet"));
    let mut command = job.command("recommend", arguments);
    command.args([
        "--set",
        &format!("output.recommend.file={}", file.display()),
    ]);
    for set in sets {
        command.args(["--set", set]);
    }
    (json_of(&mut command), file)
}

/// How many users had each product.
fn popularity(inputs: &Inputs) -> BTreeMap<i64, f64> {
    let mut users: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for batch in batches(&inputs.folder().join("small.parquet")) {
        for (user, product) in ids(&batch, "user").into_iter().zip(ids(&batch, "product")) {
            users.entry(product).or_default().insert(user);
        }
    }
    let counts = users.into_iter();
    counts
        .map(|(product, users)| (product, users.len() as f64))
        .collect()
}

#[test]
fn lists_are_what_rules_leave_of_longer_ones_whatever_computes_them() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, "rank = 5\nepochs = 2", "");
    json_of(&mut job.command("run", &[]));
    let long = ["output.recommend.top=1000".to_owned()];
    let (told, file) = listed(&job, "long", &long, &[]);
    assert!(
        told.get("barred").is_none(),
        "no rules, nothing is told of them"
    );
    let free = lists(&file);
    assert!(free.len() > 900);

    let file = |name: &str| job.folder().join(name);
    let lines = |name: &str, of: &dyn Fn(&i64) -> bool| {
        let ids = (0..3000_i64).filter(of).map(|id| format!("{id}\n"));
        std::fs::write(file(name), ids.collect::<String>()).unwrap();
    };
    lines("allow.txt", &|id| id % 3 != 0);
    lines("deny.txt", &|id| id % 5 == 0);
    // The data end in the week before day 17,042, a Monday, for whose week the lists are.
    let windows: Vec<Window> = vec![
        (4, None, Some(17_000)),
        (4, Some(17_030), None),
        (7, Some(17_050), Some(17_060)),
        (8, None, Some(17_045)),
        (11, None, Some(17_042)),
        (13, Some(17_042), None),
        (16, Some(17_043), None),
    ];
    let days = |of: fn(&Window) -> Option<i32>| -> ArrayRef {
        Arc::new(windows.iter().map(of).collect::<Date32Array>())
    };
    write(
        &file("windows.parquet"),
        vec![
            (
                "product",
                Arc::new(Int64Array::from_iter_values(windows.iter().map(|of| of.0))),
            ),
            ("from", days(|of| of.1)),
            ("to", days(|of| of.2)),
        ],
    );
    let open = |product: i64| ![7, 11, 16].contains(&product);
    let set = |key: &str, value: String| format!("output.rules.{key}={value}");
    let place = |name: &str| file(name).display().to_string();
    let rules = [
        "output.recommend.top=7".to_owned(),
        set("allow", place("allow.txt")),
        set("deny", place("deny.txt")),
        set("windows", place("windows.parquet")),
        set("most", "2".to_owned()),
        set("most_by", "shelf".to_owned()),
    ];
    let (told, one) = listed(&job, "one", &rules, &["--threads", "1"]);
    let may = |product: i64| product % 3 != 0 && product % 5 != 0 && open(product);
    let known = popularity(&inputs);
    let barred = known.keys().filter(|&&product| !may(product)).count();
    assert_eq!(told["barred"], barred);
    let found = lists(&one);
    assert_eq!(found.len(), free.len());
    for (user, list) in &free {
        let mut shelves: BTreeMap<i64, usize> = BTreeMap::new();
        let mut left: Vec<(i64, f32)> = Vec::new();
        for &(product, score) in list.iter().filter(|(product, _)| may(*product)) {
            let held = shelf(product).map(|at| shelves.entry(at).or_default());
            let room = held.as_ref().is_none_or(|held| **held < 2);
            if left.len() < TOP && room {
                if let Some(held) = held {
                    *held += 1;
                }
                left.push((product, score));
            }
        }
        assert_eq!(left.len(), TOP, "the longer list is long enough");
        assert_eq!(found[user], left, "{user}");
    }
    let small = ["--memory", "256MiB", "--workers", "3", "--io", "pread"];
    let (_, three) = listed(&job, "three", &rules, &small);
    assert!(std::fs::read(one).unwrap() == std::fs::read(three).unwrap());

    // A damped score is the score less β ln p, and nobody who is left out has a better one.
    let damped = [
        "output.recommend.top=7".to_owned(),
        set("damping", "0.02".to_owned()),
    ];
    let damped = lists(&listed(&job, "damped", &damped, &[]).1);
    let mut moved = 0;
    for (user, list) in &damped {
        let worth = |(product, score): &(i64, f32)| f64::from(*score) - 0.02 * known[product].ln();
        let free = &free[user];
        let mut expected: Vec<f64> = free.iter().map(worth).collect();
        expected.sort_by(|x, y| y.total_cmp(x));
        for (place, (product, score)) in list.iter().enumerate() {
            assert!(
                (f64::from(*score) - expected[place]).abs() < 1e-6,
                "{user} {place}"
            );
            let of = free.iter().find(|(other, _)| other == product);
            assert!(of.is_none_or(|of| (worth(of) - f64::from(*score)).abs() < 1e-6));
            moved += usize::from(free[place].0 != *product);
        }
    }
    assert!(moved > 1000, "{moved}");
}

#[test]
fn evaluation_tells_what_rules_cost() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, "rank = 5\nepochs = 2", "test_bins = 1");
    let plain = json_of(&mut job.command("run", &[]));
    let measured = |ids: &dyn Fn(&i64) -> bool, more: &[&str]| {
        let file = job.folder().join("allow.txt");
        let lines = (0..3000_i64).filter(ids).map(|id| format!("{id}\n"));
        std::fs::write(&file, lines.collect::<String>()).unwrap();
        let mut command = job.command("evaluate", more);
        json_of(command.args(["--set", &format!("output.rules.allow={}", file.display())]))
    };
    // A cap that no list reaches changes nothing.
    let wide = [
        "--set",
        "output.rules.most=1000",
        "--set",
        "output.rules.most_by=shelf",
    ];
    let all = measured(&|_| true, &wide);
    let tasks = ["new_products", "all_products"];
    for task in tasks {
        let figures = &all["tasks"][task];
        assert_eq!(
            figures["model"],
            plain["evaluation"]["tasks"][task]["model"]
        );
        assert_eq!(figures["model_with_rules"], figures["model"]);
        let cost = &all["differences"][task]["model_with_rules"]["ndcg@20"];
        assert_eq!(
            *cost,
            serde_json::json!({"difference": 0.0, "interval": [0.0, 0.0]})
        );
    }
    assert_eq!(all["candidates"], all["candidates_with_rules"]);
    // Half of the products can hold no more than their share of what was bought.
    let half = measured(&|id| id % 2 == 0, &[]);
    for task in tasks {
        let figure = |of: &str| half["tasks"][task][of]["recall@20"].as_f64().unwrap();
        let (free, with) = (figure("model"), figure("model_with_rules"));
        assert!(0.0 < with && with < free, "{task} {free} {with}");
        assert_eq!(half["tasks"][task]["model"], all["tasks"][task]["model"]);
        let cost = &half["differences"][task]["model_with_rules"];
        let told = cost["recall@20"]["difference"].as_f64().unwrap();
        assert!((told - (free - with)).abs() < 1e-12);
        let interval = cost["ndcg@20"]["interval"].as_array().unwrap();
        assert!(interval[0].as_f64() < interval[1].as_f64());
        assert_eq!(half["samples"], Value::Null);
    }
    let [candidates, left] = ["candidates", "candidates_with_rules"].map(|key| half[key].as_f64());
    let share = left.unwrap() / candidates.unwrap();
    assert!((0.4..0.6).contains(&share), "{share}");
    // A cap costs as well, and says so.
    let capped = [
        "--set",
        "output.rules.most=1",
        "--set",
        "output.rules.most_by=shelf",
    ];
    let capped = measured(&|_| true, &capped);
    let figure = |of: &str| capped["tasks"]["all_products"][of]["recall@20"].as_f64();
    assert!(figure("model_with_rules") < figure("model"));
}

/// u ∘ v over the columns.
fn products(u: &[f32], v: &[f32]) -> Vec<f64> {
    let pairs = u.iter().zip(v);
    pairs.map(|(&u, &v)| f64::from(u) * f64::from(v)).collect()
}

#[test]
fn what_rises_is_what_the_bin_to_come_scores_above_the_last() {
    let inputs = Inputs::of(&[Data::Small]);
    let model = "rank = 4\nepochs = 3\ntime = \"factor\"\nforecast = \"drift\"";
    let job = job(&inputs, model, "");
    json_of(&mut job.command("run", &[]));
    let rising = job.folder().join("rising.parquet");
    let sets = [
        format!("output.rising.file={}", rising.display()),
        "output.rising.over=3".to_owned(),
        "output.rising.top=5".to_owned(),
    ];
    let (told, _) = listed(&job, "lists", &sets, &["--threads", "1"]);
    let found = lists(&rising);
    assert_eq!(told["rising"]["users"], found.len());
    let bytes = std::fs::read(&rising).unwrap();
    listed(&job, "lists", &sets, &["--workers", "3", "--io", "pread"]);
    assert!(std::fs::read(&rising).unwrap() == bytes);

    let tables = factors::of(&job);
    let times: BTreeMap<i64, &Vec<f32>> = rows(&tables[2]);
    let filled: Vec<&Vec<f32>> = times
        .values()
        .copied()
        .filter(|row| row.iter().any(|&t| t != 0.0))
        .collect();
    let n = filled.len();
    assert_eq!(n, times.len(), "every week has purchases");
    let direction: Vec<f64> = (0..4)
        .map(|k| {
            let (begin, end) = (f64::from(filled[0][k]), f64::from(filled[n - 1][k]));
            let next = end + (end - begin) / (n - 1) as f64;
            let mean: f64 = filled[n - 3..].iter().map(|row| f64::from(row[k])).sum();
            next - mean / 3.0
        })
        .collect();
    let (users, all) = (rows(&tables[0]), rows(&tables[1]));
    let mut checked = 0;
    for (user, list) in found.iter().step_by(50) {
        let score = |product: &[f32]| -> f64 {
            let both = products(users[user], product);
            both.iter().zip(&direction).map(|(x, d)| x * d).sum()
        };
        let mut expected: Vec<f64> = all.values().map(|product| score(product)).collect();
        expected.sort_by(|x, y| y.total_cmp(x));
        let near = |x: f64, y: f64| (x - y).abs() < 1e-5 * (1e-2 + x.abs());
        for (place, (product, told)) in list.iter().enumerate() {
            assert!(
                *told > 0.0 && near(expected[place], f64::from(*told)),
                "{user} {place}"
            );
            assert!(near(score(all[product]), f64::from(*told)));
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

fn rows(table: &Factors) -> BTreeMap<i64, &Vec<f32>> {
    let rows = table.iter();
    rows.map(|(id, row)| (id.parse().expect("an id"), row))
        .collect()
}

#[test]
fn what_cannot_be_obeyed_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, "rank = 3\nepochs = 1", "");
    json_of(&mut job.command("run", &[]));
    let refused = |sets: &[&str], code: i32, sentence: &str| {
        let file = job.folder().join("lists.parquet");
        let mut command = job.command("recommend", &[]);
        command.args([
            "--set",
            &format!("output.recommend.file={}", file.display()),
        ]);
        for set in sets {
            command.args(["--set", set]);
        }
        let output = output_of(&mut command);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(!file.exists(), "nothing is half-written");
    };
    let place = |name: &str| job.folder().join(name).display().to_string();
    refused(
        &["output.rules.most=2"],
        78,
        "`output.rules.most` caps lists by the levels of an attribute: name it with `output.rules.most_by`",
    );
    refused(
        &["output.rules.most_by=shelf"],
        78,
        "say with `output.rules.most` how many of each a list may hold",
    );
    let by = |name: &str| format!("output.rules.most_by={name}");
    refused(
        &["output.rules.most=2", &by("shop")],
        78,
        "`output.rules.most_by` is \"shop\", which is no attribute of products; those with levels are shelf",
    );
    refused(
        &["output.rules.most=2", &by("size")],
        78,
        "`output.rules.most_by` is \"size\", which is a number",
    );
    std::fs::write(place("none.txt"), "99999\n").unwrap();
    refused(
        &[&format!("output.rules.allow={}", place("none.txt"))],
        65,
        "the rules of [output.rules] bar every product of the data set",
    );
    std::fs::write(place("words.txt"), "7\ntea\n").unwrap();
    refused(
        &[&format!("output.rules.deny={}", place("words.txt"))],
        65,
        "words.txt is \"tea\", which is no whole number of 64 bits, as the ids of `product` are: correct it",
    );
    let one = || -> ArrayRef { Arc::new(Int64Array::from_iter_values([4, 5])) };
    let windows = format!("output.rules.windows={}", place("windows.parquet"));
    let file = PathBuf::from(place("windows.parquet"));
    write(&file, vec![("product", one()), ("from", one())]);
    refused(
        &[&windows],
        65,
        "windows.parquet has no column `to`: windows are rows of `product`, `from` and `to`",
    );
    let to: ArrayRef = Arc::new(Int64Array::from_iter_values([6, 5]));
    write(&file, vec![("product", one()), ("from", one()), ("to", to)]);
    refused(
        &[&windows],
        65,
        "windows.parquet: `to` is not behind `from`, so the window holds no time: correct it",
    );
    let name: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    write(
        &file,
        vec![("product", one()), ("from", name), ("to", one())],
    );
    refused(&[&windows], 65, "column `from` of ");
    refused(
        &["output.recommend.date=soon"],
        78,
        "`output.recommend.date` is \"soon\": write YYYY-MM-DD",
    );
    refused(
        &[&format!("output.rising.file={}", place("rising.parquet"))],
        78,
        "`output.rising.file` asks what rises, and this model knows no time",
    );
}
