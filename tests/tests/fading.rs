//! Interactions that fade, through the whole pipeline: one digest whatever computes it, and none faded where all are new.

use serde_json::Value;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of};

fn job(inputs: &Inputs, model: &str, bin: &str) -> Job {
    let model = format!("kind = \"als\"\nrank = 16\nepochs = 2\n{model}");
    let job = Job::of(inputs, Data::Small, &model, "validation_bins = 1");
    let path = job.folder().join("job.toml");
    let text = std::fs::read_to_string(&path).expect("just written");
    let text = text.replace("time_bin = \"week\"", &format!("time_bin = \"{bin}\""));
    let text = text.replace("\"count\"", "\"sum\"\nvalue = \"value\"");
    let text = if bin == "week" {
        text
    } else {
        text.replace("validation_bins = 1", "")
    };
    std::fs::write(&path, text).expect("just written");
    job
}

fn digest(report: &Value) -> &str {
    report["digest"].as_str().expect("a digest")
}

#[test]
fn one_digest_whatever_computes_it_and_another_for_another_half_life() {
    let inputs = Inputs::of(&[Data::Small]);
    let caches = tempfile::tempdir().expect("a temporary folder");
    for preset in ["hu", "explicit"] {
        let model = format!("preset = {preset:?}\ntime = \"decay\"\nhalf_life = 2.5");
        let train = |model: &str, arguments: &[&str]| {
            let job = job(&inputs, model, "week");
            json_of(&mut job.command("ingest", &[]));
            json_of(&mut job.command("train", arguments))
        };
        let one = train(&model, &["--threads", "1"]);
        let tight = ["--workers", "2", "--memory", "256MiB", "--io", "pread"];
        assert_eq!(digest(&train(&model, &tight)), digest(&one));
        if preset == "hu" {
            let slower = model.replace("2.5", "25");
            assert_ne!(digest(&train(&slower, &[])), digest(&one));
            continue;
        }
        // Times travel beside the values of a matrix.
        let daemons = [0, 1].map(|daemon: u32| {
            let cache = caches.path().join(daemon.to_string());
            Daemon::start(&cache, &["--memory", "1GiB"])
        });
        let remote = train(&model, &["--workers", &addresses(&daemons)]);
        assert_eq!(digest(&remote), digest(&one));
    }
}

#[test]
fn where_all_are_of_one_age_nothing_fades() {
    let inputs = Inputs::of(&[Data::Small]);
    for preset in ["hu", "explicit", "full"] {
        let run = |time: &str| {
            let model = format!("preset = {preset:?}\n{time}");
            // Forty days from the 18th of July lie in one quarter.
            let job = job(&inputs, &model, "quarter");
            json_of(&mut job.command("ingest", &[]));
            json_of(&mut job.command("train", &[]))
        };
        let faded = run("time = \"decay\"\nhalf_life = 1");
        assert_eq!(digest(&faded), digest(&run("time = \"ignore\"")));
    }
}
