//! Segments: planted ones are found, by users and by products; what is told of them is what the file says; the same bytes whatever
//! computes them; and what is refused.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::jobs::{Data, Inputs, Job};
use tests::pages;
use tests::process::{Daemon, addresses, coordinator, json_of, output_of};

/// Purchases of users of four segments, each at home in a department of products; a job that knows the attributes.
fn shop(folder: &Path) -> PathBuf {
    let shop = folder.join("shop");
    let flags = "--users 1200 --products 300 --interactions 60000 --departments 4 --rank 8 --popularity 0.1 --attributes 1 --loyalty 0.9";
    let mut command = coordinator();
    command.args(["--json", "generate"]).arg(&shop);
    json_of(command.args(flags.split(' ')));
    let job = shop.join("job.toml");
    let text = fs::read_to_string(&job).expect("the job");
    let text = text
        .replace("# [input", "[input")
        .replace("# files", "files");
    fs::write(&job, text).expect("the job");
    job
}

fn verb(name: &str, job: &Path, settings: &[&str]) -> Command {
    let mut command = coordinator();
    command.args(["--json", name]).arg(job);
    for setting in ["model.rank=12", "model.epochs=5"].iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let files = if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    } else {
        vec![path.to_owned()]
    };
    let of_file = |file: PathBuf| {
        let file = fs::File::open(file).expect("the file was written");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let batches: Vec<RecordBatch> = reader
            .build()
            .expect("a reader")
            .map(Result::unwrap)
            .collect();
        batches
    };
    files.into_iter().flat_map(of_file).collect()
}

/// What the truth calls each id: a text, or a number as one.
fn truth(path: &Path, id: &str, column: &str) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    for batch in batches(path) {
        let ids = arrow::compute::cast(&batch[id], &arrow::datatypes::DataType::Int64).unwrap();
        let words =
            arrow::compute::cast(&batch[column], &arrow::datatypes::DataType::Utf8).unwrap();
        let words = words.as_string::<i32>();
        for (place, id) in ids.as_primitive::<Int64Type>().values().iter().enumerate() {
            found.insert(*id, words.value(place).to_owned());
        }
    }
    found
}

/// A row of the file: segment, distance and silhouette.
type Row = (Option<u32>, Option<f32>, Option<f32>);

fn rows(file: &Path, id: &str) -> BTreeMap<i64, Row> {
    let mut found = BTreeMap::new();
    for batch in batches(file) {
        let segments = batch["segment"].as_primitive::<UInt32Type>();
        let numbers = |name: &str| batch[name].as_primitive::<Float32Type>().clone();
        let (distances, silhouettes) = (numbers("distance"), numbers("silhouette"));
        let of = |numbers: &arrow::array::Float32Array, at: usize| {
            numbers.is_valid(at).then(|| numbers.value(at))
        };
        let ids = batch[id].as_primitive::<Int64Type>().values();
        for (at, id) in ids.iter().enumerate() {
            let segment = segments.is_valid(at).then(|| segments.value(at));
            found.insert(*id, (segment, of(&distances, at), of(&silhouettes, at)));
        }
    }
    found
}

/// The adjusted Rand index by its definition.
fn adjusted_rand(rows: &BTreeMap<i64, Row>, truth: &BTreeMap<i64, String>) -> f64 {
    let pairs = |n: u64| (n * n.saturating_sub(1) / 2) as f64;
    let (mut cells, mut left, mut right) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut all = 0_u64;
    for (id, (segment, ..)) in rows {
        let Some(segment) = segment else { continue };
        let word = &truth[id];
        *cells.entry((*segment, word)).or_insert(0_u64) += 1;
        *left.entry(*segment).or_insert(0_u64) += 1;
        *right.entry(word).or_insert(0_u64) += 1;
        all += 1;
    }
    let sum = |counts: Vec<&u64>| counts.into_iter().map(|&n| pairs(n)).sum::<f64>();
    let (both, left, right) = (
        sum(cells.values().collect()),
        sum(left.values().collect()),
        sum(right.values().collect()),
    );
    let chance = left * right / pairs(all);
    (both - chance) / (f64::midpoint(left, right) - chance)
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn planted_segments_are_found_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = shop(folder.path());
    let truths = job.with_file_name("truth");
    let file = folder.path().join("out/segments.parquet");
    let set = format!("output.segments.file={}", file.display());
    let counts = "output.segments.k=2,4,7";
    // `run` writes them where their file is named.
    let ran = json_of(&mut verb(
        "run",
        &job,
        &[&set, counts, "output.segments.sample=500"],
    ));
    let said = &ran["segments"];
    assert_eq!((&said["k"], &said["of"]), (&4.into(), &"user".into()));
    let found = rows(&file, "user");
    let planted = truth(&truths.join("users"), "user", "segment");
    let index = adjusted_rand(&found, &planted);
    assert!(index >= 0.9, "{index}");

    // The facts lie beside it, and are what was said.
    let facts: Value =
        serde_json::from_slice(&fs::read(file.with_extension("json")).unwrap()).unwrap();
    assert_eq!(facts["segments"], said["segments"]);
    let told = said["attributes"].as_array().expect("attributes").iter();
    let told: BTreeMap<&str, &Value> = told
        .map(|of| (of["attribute"].as_str().unwrap(), of))
        .collect();
    // With `attributes` 1 the given segment is the planted one.
    assert!((number(&told["segment"]["adjusted_rand"]) - index).abs() < 1e-9);
    assert!(number(&told["segment"]["normalized_information"]) > 0.8);
    assert!(number(&told["region"]["adjusted_rand"]).abs() < 0.05);
    let table = told["segment"]["contingency"].as_object().expect("levels");
    let counted: u64 = table
        .values()
        .flat_map(|of| of.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(
        counted,
        found.values().filter(|of| of.0.is_some()).count() as u64
    );

    // Rows by segment, the largest first; silhouettes of a sample of about 500 that average to what was said.
    let segments = said["segments"].as_array().expect("segments");
    for (place, segment) in segments.iter().enumerate() {
        let count = found
            .values()
            .filter(|of| of.0 == Some(place as u32))
            .count();
        assert_eq!(segment["rows"], count);
    }
    assert!(
        segments
            .windows(2)
            .all(|two| number(&two[0]["rows"]) >= number(&two[1]["rows"]))
    );
    let known: Vec<f64> = found
        .values()
        .filter_map(|of| of.2)
        .map(f64::from)
        .collect();
    assert!((400..600).contains(&known.len()), "{}", known.len());
    assert_eq!(said["sample"], known.len());
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    assert!((mean - number(&said["silhouette"])).abs() < 1e-5);
    assert!(found.values().all(|of| of.0.is_some() == of.1.is_some()));

    // Each segment buys in a department of its own, and there its own products are.
    let departments = truth(&truths.join("products"), "product", "department");
    let mut taken = Vec::new();
    for segment in segments {
        let level = &segment["levels"][0];
        assert_eq!(level["attribute"], "department", "{level}");
        assert!(number(&level["lift"]) > 1.5);
        taken.push(level["level"].as_str().unwrap().to_owned());
        let member = &segment["members"][0];
        assert_eq!(member["attribute"], "segment", "{member}");
        assert!(number(&member["share"]) > 0.8 && number(&member["lift"]) > 3.0);
        let own = segment["own"].as_array().unwrap();
        assert_eq!(own.len(), 10);
        for product in own {
            let id: i64 = product["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(&departments[&id], taken.last().unwrap());
            assert!(number(&product["lift"]) > 1.0 && number(&product["buyers"]) >= 5.0);
        }
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 4);

    // Factors tell the segment and the age, and nothing of the region.
    let probes = said["probes"].as_array().expect("probes").iter();
    let probes: BTreeMap<&str, &Value> = probes
        .map(|of| (of["attribute"].as_str().unwrap(), of))
        .collect();
    assert!(number(&probes["segment"]["value"]) > 0.9);
    assert!(number(&probes["segment"]["gain"][0]) > 0.5);
    assert_eq!(probes["age"]["measure"], "r2");
    assert!(
        number(&probes["age"]["interval"][0]) > 0.2,
        "{}",
        probes["age"]
    );
    assert!(
        number(&probes["region"]["gain"][0]) <= 0.0,
        "{}",
        probes["region"]
    );

    let agreement = &said["agreement"];
    assert!(number(&agreement["segment"]) > number(&agreement["all"]));
    assert!(number(&agreement["segment"]) <= 1.0);

    // People are told the same.
    let mut command = coordinator();
    command
        .arg("segments")
        .arg(&job)
        .args(["--set", "model.rank=12", "--set", "model.epochs=5"]);
    let output = output_of(command.args(["--set", counts, "--set", "output.segments.sample=500"]));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in [
        "4 (0.",
        "silhouette",
        "beside segment: adjusted Rand index 0.",
        "factors tell age: R²",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

#[test]
fn products_come_together_by_department() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = shop(folder.path());
    let file = folder.path().join("products.parquet");
    json_of(&mut verb("run", &job, &[]));
    let set = format!("output.segments.file={}", file.display());
    let settings = ["output.segments.of=product", "output.segments.k=4", &set];
    let said = json_of(&mut verb("segments", &job, &settings));
    let departments = truth(
        &job.with_file_name("truth").join("products"),
        "product",
        "department",
    );
    let found = rows(&file, "product");
    let index = adjusted_rand(&found, &departments);
    assert!(index >= 0.9, "{index}");
    assert!(said.get("agreement").is_none());
    for segment in said["segments"].as_array().unwrap() {
        let popular = segment["popular"].as_array().unwrap();
        let buyers: Vec<f64> = popular.iter().map(|of| number(&of["buyers"])).collect();
        assert!(buyers.windows(2).all(|two| two[0] >= two[1]) && buyers.len() == 10);
        for product in popular {
            let id: i64 = product["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(
                found[&id].0.unwrap(),
                segment["segment"].as_u64().unwrap() as u32
            );
        }
    }
}

#[test]
fn segments_are_the_same_bytes_whatever_computes_them() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(
        &inputs,
        Data::Small,
        "rank = 6\nepochs = 2\nbiases = true",
        "test_bins = 1",
    );
    json_of(&mut job.command("run", &[]));
    let written = |name: &str, arguments: &[&str], distance: &str| {
        let file = job.folder().join(format!("{name}.parquet"));
        let mut command = job.command("segments", arguments);
        command.args([
            "--set",
            "output.segments.k=3,5",
            "--set",
            "output.segments.sample=300",
        ]);
        command.args(["--set", &format!("output.segments.distance={distance}")]);
        command.args(["--set", &format!("output.segments.file={}", file.display())]);
        json_of(&mut command);
        let facts = fs::read_to_string(file.with_extension("json")).expect("the facts");
        (
            fs::read(&file).expect("the file"),
            facts.replace(name, "NAME"),
        )
    };
    for distance in ["cosine", "euclidean"] {
        let first = written("one", &["--threads", "1"], distance);
        let small = ["--memory", "256MiB", "--workers", "3", "--io", "pread"];
        assert!(written("three", &small, distance) == first, "{distance}");
        let portable = ["--workers", "2", "--set", "run.simd=portable"];
        assert!(
            written("portable", &portable, distance) == first,
            "{distance}"
        );
    }
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let daemons = folders.each_ref().map(|at| Daemon::start(at.path(), &[]));
    let first = written("one", &["--threads", "2"], "cosine");
    let daemons = addresses(&daemons);
    assert!(written("daemons", &["--workers", &daemons], "cosine") == first);
}

/// The page's code runs as it stands.
#[test]
fn the_page_does_what_it_says() {
    let Some(python) = pages::readers(env!("CARGO_TARGET_TMPDIR"), "what reads segments") else {
        return;
    };
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 5\nepochs = 2", "");
    let mut command = job.command("run", &[]);
    for verb in ["segments", "influencers"] {
        let file = job.folder().join(format!("{verb}.parquet"));
        command.args(["--set", &format!("output.{verb}.file={}", file.display())]);
    }
    json_of(&mut command);
    let blocks = pages::blocks_of("docs/segments.md", "python");
    assert_eq!(blocks.len(), 3);
    for code in blocks {
        pages::run(&python, &code, job.folder());
    }
}

#[test]
fn what_cannot_be_brought_together_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 2\nepochs = 1", "");
    json_of(&mut job.command("run", &[]));
    let refused = |setting: &str, code: i32, sentence: &str| {
        let output = output_of(&mut job.command("segments", &["--set", setting]));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    refused("output.segments.k=1", 64, "from 2 to 128");
    refused(
        "output.segments.file=s3://bucket/x.parquet",
        78,
        "`output.segments.file`: s3://bucket/x.parquet is a URL: give a local path",
    );
    let within = format!("output.segments.file={}", job.model().join("x").display());
    refused(&within, 78, "lie in one another");
    // What is known besides is sealed with the data: naming it afterwards changes nothing, and is not passed over.
    refused(
        "input.user_attributes.files=job.toml",
        78,
        "[input.user_attributes] names files, and the data set was ingested without attributes of users: name another `output.data` and",
    );
    // A file stands where the folder should be.
    let taken = job.folder().join("job.toml").join("x.parquet");
    let taken = format!("output.segments.file={}", taken.display());
    refused(&taken, 74, "job.toml");
}
