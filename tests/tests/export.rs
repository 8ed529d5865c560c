//! Factors as files: what was written starts training to the bit, its forms hold the same, and Python reads them as the docs say.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type, TimestampSecondType};
use arrow::ipc::reader::FileReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use tests::jobs::{Data, Inputs, Job};
use tests::pages;
use tests::process::{json_of, output_of};

fn export(job: &Job, format: &str, folder: &Path) -> Value {
    let mut command = job.command("export", &[]);
    command.args(["--set", &format!("output.export.format={format}")]);
    command.args([
        "--set",
        &format!("output.export.folder={}", folder.display()),
    ]);
    json_of(&mut command)
}

fn parquet(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).expect("the file was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let batches = reader.build().expect("a reader");
    batches.map(|batch| batch.expect("a batch")).collect()
}

/// Ids and numbers of all batches.
fn rows(batches: &[RecordBatch], id: &str) -> (Vec<i64>, Vec<f32>) {
    let (mut ids, mut numbers) = (Vec::new(), Vec::new());
    for batch in batches {
        ids.extend_from_slice(batch[id].as_primitive::<Int64Type>().values());
        if let Some(lists) = batch.column_by_name("factors") {
            let entries = lists.as_fixed_size_list().values();
            numbers.extend_from_slice(entries.as_primitive::<Float32Type>().values());
        }
    }
    (ids, numbers)
}

/// The page's code runs as it stands, where the page says that it is run.
#[test]
fn the_page_does_what_it_says() {
    let Some(python) = pages::readers(env!("CARGO_TARGET_TMPDIR"), "what reads factors") else {
        return;
    };
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 5\nepochs = 2", "");
    json_of(&mut job.command("run", &[]));
    for format in ["parquet", "npy"] {
        export(&job, format, &job.folder().join("factors"));
    }
    let lists = job.folder().join("recommendations.parquet");
    let set = format!("output.recommend.file={}", lists.display());
    json_of(&mut job.command("recommend", &["--set", &set]));
    let found = pages::blocks_of("docs/embeddings.md", "python");
    assert!(found.len() >= 2, "{found:?}");
    for code in found {
        pages::run(&python, &code, job.folder());
    }
}

/// An exact matrix goes on from its own products as if it had never stopped: so every product must be there with every bit.
#[test]
fn what_was_written_starts_training_to_the_bit() {
    let inputs = Inputs::of(&[Data::Small]);
    let model = |more: &str| format!("rank = 5\nbiases = true\nsolver = \"cholesky\"\n{more}");
    let whole = Job::new(&inputs, Data::Small, &model("epochs = 5"), "");
    let first = Job::new(&inputs, Data::Small, &model("epochs = 3"), "");
    let expected = json_of(&mut whole.command("run", &[]));
    let trained = json_of(&mut first.command("run", &[]));
    let folder = first.folder().join("factors");
    let told = export(&first, "parquet", &folder);
    assert_eq!(told["digest"], trained["digest"]);
    let of = &told["tables"]["product"];
    assert_eq!((&of["columns"], &of["factors"]), (&7.into(), &5.into()));
    let file = folder.join("product.parquet");
    let more = format!("epochs = 2\ninitial_products = \"{}\"", file.display());
    let rest = Job::new(&inputs, Data::Small, &model(&more), "");
    let found = json_of(&mut rest.command("run", &[]));
    assert_eq!(found["digest"], expected["digest"]);
}

#[test]
fn all_forms_hold_the_same() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(
        &inputs,
        Data::Small,
        "rank = 5\nepochs = 1\ntime = \"factor\"",
        "",
    );
    json_of(&mut job.command("run", &[]));
    let folder = job.folder().join("factors");
    for format in ["parquet", "arrow", "npy"] {
        export(&job, format, &folder);
    }
    for mode in ["user", "product"] {
        let at = |name: &str| folder.join(format!("{mode}{name}"));
        let (ids, numbers) = rows(&parquet(&at(".parquet")), mode);
        assert!(ids.len() > 900 && numbers.len() == 5 * ids.len());
        assert!(numbers.iter().any(|&x| x != 0.0));
        let reader = FileReader::try_new(File::open(at(".arrow")).unwrap(), None).unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
        assert_eq!(batches[0].schema().metadata()["strata.factors"], "5");
        assert_eq!(rows(&batches, mode), (ids.clone(), numbers.clone()));
        assert_eq!(rows(&parquet(&at("_ids.parquet")), mode).0, ids);
        let npy = std::fs::read(at(".npy")).unwrap();
        let head = 10 + usize::from(npy[8]) + 256 * usize::from(npy[9]);
        let shape = format!("'shape': ({}, 5)", ids.len());
        assert!(String::from_utf8_lossy(&npy[..head]).contains(&shape));
        let kept: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(npy[head..] == kept[..]);
    }
    // Weeks, each by its Monday.
    let times = parquet(&folder.join("time.parquet"));
    let starts = times[0]["seconds"].as_primitive::<TimestampSecondType>();
    let week = 7 * 86_400;
    assert!(starts.len() > 3);
    for (place, start) in starts.values().iter().enumerate() {
        assert_eq!((start + 3 * 86_400) % week, 0);
        assert_eq!(*start, starts.value(0) + place as i64 * week);
    }
}

#[test]
fn a_job_without_a_folder_is_refused_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "epochs = 1\nrank = 2", "");
    json_of(&mut job.command("run", &[]));
    let refused = |arguments: &[&str], code: i32, sentence: &str| {
        let output = output_of(&mut job.command("export", arguments));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    refused(&[], 78, "output.export.folder");
    // A file stands where the folder should be.
    let taken = job.folder().join("job.toml").display().to_string();
    let set = format!("output.export.folder={taken}");
    refused(&["--set", &set], 74, "job.toml cannot be written");
}
