//! Names that come from a manifest, and links that somebody laid, lead nowhere else: nothing is written, read or removed outside of the
//! places that a job names.

use depot::{Body, Depot};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{json_of, output_of};

fn trained(inputs: &Inputs) -> Job {
    let job = Job::new(inputs, Data::Small, "rank = 4\nepochs = 1", "");
    json_of(&mut job.command("run", &[]));
    job
}

fn depot(job: &Job) -> Depot {
    Depot::open(job.model().to_str().expect("a path of text")).expect("the model's depot")
}

/// Every file below a folder, with its content.
fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    found
}

#[tokio::test]
async fn a_model_whose_tables_are_called_like_files_elsewhere_is_damaged() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = trained(&inputs);
    let depot = depot(&job);
    let (_, model) = depot.latest_model(None).await.unwrap().expect("a model");
    let out = job.folder().join("out/of/it");
    let absolute = job.folder().join("absolute").display().to_string();
    for name in [
        "../../outside",
        &absolute,
        "a/b",
        "..",
        ".",
        "",
        "a\0b",
        "U.x",
    ] {
        let mut forged = model.clone();
        forged.tables[0].name = name.to_owned();
        let term = depot.claim_term(None).await.unwrap();
        let number = depot.commit(term, Body::Model(forged)).await.unwrap();
        let before = below(job.folder());
        for verb in ["export", "recommend"] {
            let to = format!("output.export.folder={}", out.display());
            let list = format!(
                "output.recommend.file={}",
                job.folder().join("list.parquet").display()
            );
            let output = output_of(&mut job.command(verb, &["--set", &to, "--set", &list]));
            let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
            let message = said["error"]["message"]
                .as_str()
                .unwrap_or_else(|| panic!("{verb}: {said}"));
            assert!(message.contains("which is no name"), "{verb}: {message}");
            assert_eq!(output.status.code(), Some(65), "{verb}: {message}");
        }
        let after = below(job.folder());
        let new: Vec<&PathBuf> = after
            .keys()
            .filter(|path| !before.contains_key(*path))
            .collect();
        assert!(
            new.iter().all(|path| path.starts_with(job.model())),
            "{name:?}: {new:?}"
        );
        // No depot goes on behind a manifest that is damaged.
        assert!(depot.claim_term(None).await.is_err(), "{name:?}");
        fs::remove_file(job.model().join(format!("manifests/{number:010}"))).unwrap();
    }
}

/// The names of files that an export makes are known, and so are those of a depot: links that lie there are replaced or left, and what
/// they lead to stays as it is.
#[tokio::test]
async fn links_that_were_laid_lead_nowhere() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = trained(&inputs);
    let (out, outside) = (job.folder().join("out"), job.folder().join("outside"));
    fs::create_dir(&out).unwrap();
    fs::write(&outside, b"of somebody else").unwrap();
    for name in ["user.parquet", "product.parquet"] {
        symlink(&outside, out.join(name)).unwrap();
    }
    let to = format!("output.export.folder={}", out.display());
    json_of(&mut job.command("export", &["--set", &to]));
    assert_eq!(fs::read(&outside).unwrap(), b"of somebody else");
    for name in ["user.parquet", "product.parquet"] {
        assert!(
            fs::symlink_metadata(out.join(name)).unwrap().is_file(),
            "{name}"
        );
        assert!(
            fs::read(out.join(name)).unwrap().starts_with(b"PAR1"),
            "{name}"
        );
    }

    // An object that is a link to other bytes is damaged, and told by name; what is collected is the link.
    let depot = depot(&job);
    let (_, model) = depot.latest_model(None).await.unwrap().expect("a model");
    let object = model.tables[0].blocks[0];
    let objects = job.model().join("objects");
    let kept = objects.join(object.digest.to_string());
    fs::remove_file(&kept).unwrap();
    symlink(&outside, &kept).unwrap();
    let list = format!(
        "output.recommend.file={}",
        job.folder().join("list.parquet").display()
    );
    let recommend = || output_of(&mut job.command("recommend", &["--set", &list]));
    let output = recommend();
    let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let message = said["error"]["message"].as_str().expect("a sentence");
    assert!(message.contains(&object.digest.to_string()), "{message}");
    assert_eq!(output.status.code(), Some(65), "{message}");
    // A manifest likewise.
    let next = format!(
        "{:010}",
        depot.manifests().await.unwrap().last().unwrap() + 1
    );
    symlink(&outside, job.model().join("manifests").join(next)).unwrap();
    let output = recommend();
    let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert!(said["error"]["message"].is_string(), "{said}");
    assert_eq!(fs::read(&outside).unwrap(), b"of somebody else");
}
