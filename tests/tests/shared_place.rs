//! Jobs that keep their models in one place: each reads its own, whoever trained last.

use serde_json::Value;
use std::process::Command;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{coordinator, json_of, output_of};

const SPLIT: &str = "validation_bins = 1\ntest_bins = 1";

fn with_rank(job: &Job, verb: &str, rank: u32) -> Command {
    let mut command = job.command(verb, &[]);
    command.args(["--set", &format!("model.rank={rank}")]);
    command
}

/// What the model says of the test part, which no two ranks agree on.
fn figure(evaluation: &Value) -> f64 {
    let of = &evaluation["tasks"]["all_products"]["model"]["recall@20"];
    of.as_f64().unwrap_or_else(|| panic!("{evaluation}"))
}

#[test]
fn a_job_reads_the_model_of_its_own_settings() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "epochs = 2", SPLIT);
    let four = json_of(&mut with_rank(&job, "run", 4));
    let seven = json_of(&mut with_rank(&job, "train", 7));
    assert_ne!(four["digest"], seven["digest"]);
    // Nothing is trained again, and nothing newer than the other job's model is stored.
    let again = json_of(&mut with_rank(&job, "train", 4));
    assert_eq!(again["digest"], four["digest"]);
    let here = figure(&json_of(&mut with_rank(&job, "evaluate", 4)));
    assert_eq!(here, figure(&four["evaluation"]));
    assert_ne!(here, figure(&json_of(&mut with_rank(&job, "evaluate", 7))));
}

/// Of settings that trained nothing the newest model is read, and people hear of it.
#[test]
fn another_model_is_named() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "epochs = 1", SPLIT);
    json_of(&mut with_rank(&job, "run", 4));
    let said = |rank: u32| {
        let mut command = coordinator();
        command.arg("--scratch").arg(job.folder().join("scratch"));
        command.arg("evaluate").arg(job.folder().join("job.toml"));
        let output = output_of(command.args(["--set", &format!("model.rank={rank}")]));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let note = "the model was trained with other settings than this job's [model]: it is used as it is, \
                of kind \"als\" and rank 4";
    assert!(said(5).contains(note), "{}", said(5));
    assert!(!said(4).contains("other settings"), "{}", said(4));
}
