//! Blockwise SGD on real processes: one digest whatever computes it, kills included; lists and figures of its models; what
//! is refused.

use serde_json::Value;
use std::process::Stdio;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, ended, json_of, output_of, signal};

const SPLIT: &str = "validation_bins = 1\ntest_bins = 1";

fn digest(report: &Value) -> String {
    report["digest"].as_str().expect("a digest").to_owned()
}

fn model(kind: &str) -> String {
    format!("{kind}\nrank = 16\nepochs = 3")
}

const KINDS: [&str; 5] = [
    "kind = \"sgd\"\nloss = \"bpr\"\nbiases = true",
    "kind = \"sgd\"\nloss = \"logistic\"",
    "kind = \"sgd\"\nloss = \"poisson\"",
    "kind = \"line\"",
    TENSOR,
];
const TENSOR: &str =
    "kind = \"sgd\"\nloss = \"squared\"\ntime = \"factor\"\nforecast = \"drift\"\nbiases = true";

/// Data of events have no values to fit: the tensor's are counts.
fn input_of(kind: &str) -> &'static [&'static str] {
    if kind.contains(TENSOR) {
        &[
            "--set",
            "input.value=value",
            "--set",
            "input.duplicates=sum",
        ]
    } else {
        &[]
    }
}

#[test]
fn the_digest_is_that_of_every_cluster() {
    let inputs = Inputs::of(&[Data::Small]);
    let one = |kind: &str, arguments: &[&str]| {
        let job = Job::of(&inputs, Data::Small, &model(kind), SPLIT);
        let arguments = [arguments, input_of(kind)].concat();
        let report = json_of(&mut job.command("run", &arguments));
        let epochs = report["epochs"].as_array().expect("a list");
        let objective = |at: usize| epochs[at]["objective"].as_f64().expect("a number");
        assert_eq!(epochs.len(), 3);
        assert!(objective(2) < objective(0), "{kind}");
        let metrics = &epochs[2]["metrics"];
        assert!(metrics["new_products recall@20"].is_number() || metrics["rmse"].is_number());
        digest(&report)
    };
    // Every kind meets one course here; all of them meet all budgets, orders and instructions in `sgd.rs`.
    let courses: [&[&str]; 5] = [
        &["--workers", "5", "--memory", "450MiB"],
        &["--workers", "2", "--threads", "4", "--io", "pread"],
        &["--workers", "3", "--simd", "portable"],
        &["--workers", "2", "--threads", "1", "--memory", "4GiB"],
        &[
            "--workers",
            "3",
            "--memory",
            "256MiB",
            "--io",
            "pread",
            "--simd",
            "portable",
        ],
    ];
    for (number, (kind, course)) in KINDS.into_iter().zip(courses).enumerate() {
        let expected = one(kind, &["--workers", "1", "--threads", "1"]);
        assert_eq!(one(kind, course), expected, "{kind} {course:?}");
        if number > 0 && kind != TENSOR {
            continue;
        }
        let caches = tempfile::tempdir().expect("a temporary folder");
        let daemons: Vec<Daemon> = (0..2)
            .map(|worker: u32| {
                let cache = caches.path().join(worker.to_string());
                Daemon::start(&cache, &["--memory", "512MiB"])
            })
            .collect();
        let workers = addresses(&daemons);
        assert_eq!(
            one(kind, &["--workers", &workers]),
            expected,
            "{kind} on daemons"
        );
    }
}

#[test]
fn a_killed_run_goes_on_with_the_same_bits() {
    let inputs = Inputs::of(&[Data::Small]);
    for kind in ["kind = \"sgd\"\nloss = \"logistic\"\nbiases = true", TENSOR] {
        killed_and_resumed(&inputs, kind);
    }
}

fn killed_and_resumed(inputs: &Inputs, kind: &str) {
    let model = format!("{kind}\nrank = 32\nepochs = 25");
    let job = || Job::of(inputs, Data::Small, &model, "");
    let on = |workers| [&["--workers", workers], input_of(kind)].concat();
    let expected = digest(&json_of(&mut job().command("run", &on("2"))));
    let killed = job();
    let child = killed
        .command("run", &on("2"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts");
    killed.checkpoint();
    signal(child.id(), "KILL");
    ended(child);
    let report = json_of(&mut killed.command("run", &on("3")));
    let epoch = report["resumed_from"].as_u64().expect("it goes on");
    assert!((1..25).contains(&epoch), "{epoch}");
    assert_eq!(digest(&report), expected);
    let again = json_of(&mut killed.command("train", &on("1")));
    assert_eq!(
        (again["reused"].clone(), digest(&again)),
        (true.into(), expected)
    );
}

#[test]
fn the_bundled_purchases_are_ranked_better_than_by_popularity() {
    let inputs = Inputs::of(&[Data::Bundled]);
    let split = "validation_bins = 4\ntest_bins = 4";
    let recall = |kind: &str| {
        let job = Job::of(&inputs, Data::Bundled, kind, split);
        let report = json_of(&mut job.command("run", &["--workers", "2"]));
        let task = &report["evaluation"]["tasks"]["new_products"];
        let of = |ranker: &str| task[ranker]["recall@20"].as_f64().expect("a number");
        println!(
            "{kind}: recall@20 {:.4}, popularity {:.4}",
            of("model"),
            of("popularity")
        );
        (of("model"), of("popularity"))
    };
    // In `line`, u · v alone ranks by an estimate of mutual information: it is the column of log P_n that ranks.
    for kind in ["kind = \"sgd\"\nloss = \"logistic\"", "kind = \"line\""] {
        let (found, popularity) = recall(kind);
        assert!(
            found > popularity,
            "{kind}: {found}, popularity {popularity}"
        );
    }
}

#[test]
fn lists_come_from_any_kind() {
    let inputs = Inputs::of(&[Data::Small]);
    for kind in KINDS {
        let job = Job::of(&inputs, Data::Small, &model(kind), SPLIT);
        let file = job.folder().join("lists.parquet");
        let asked = format!("output.recommend.file={}", file.display());
        let arguments = [&["--set", &asked], input_of(kind)].concat();
        let report = json_of(&mut job.command("run", &arguments));
        assert!(file.exists());
        assert!(report["recommend"]["users"].as_u64() > Some(900), "{kind}");
    }
}

#[test]
fn settings_that_cannot_be_honoured_end_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let check = |model: &str, sentence: &str| {
        let job = Job::of(&inputs, Data::Small, model, "");
        let output = output_of(&mut job.command("run", &[]));
        assert_eq!(output.status.code(), Some(78), "{model}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let message = report["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains(sentence), "{message}");
    };
    check(
        "kind = \"sgd\"\nloss = \"poisson\"\nbiases = true",
        "`biases` must be false: this loss covers every cell exactly",
    );
    check(
        "kind = \"sgd\"\nnegatives = 0",
        "`negatives` is 0: with positives alone this loss has no minimum, give 1 or more",
    );
    check(
        "kind = \"line\"\ntime = \"factor\"",
        "`model.time` = \"factor\" is not known with the kind \"line\"",
    );
    check(
        "kind = \"sgd\"\nloss = \"bpr\"\ntime = \"factor\"",
        "`model.time` = \"factor\" is known with the loss \"squared\" without `negatives` alone",
    );
}

#[test]
fn a_rate_that_diverges_ends_in_a_sentence() {
    let inputs = Inputs::of(&[Data::Small]);
    let model =
        "kind = \"sgd\"\nloss = \"squared\"\nnegatives = 1\noptimizer = \"sgd\"\nrate = 1000000.0";
    let job = Job::of(&inputs, Data::Small, model, "");
    let output = output_of(&mut job.command("run", &[]));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("lower `rate` (now 1000000)"), "{said}");
    // The same folder trains with a rate that does.
    let report = json_of(&mut job.command("run", &["--set", "model.rate=0.001"]));
    assert!(report["digest"].is_string());
}
