//! The package `strata` for Python: its own tests, its types and the examples of its page, with the library that cargo has just made, by
//! the newest and the oldest Python of this machine.

use std::path::Path;
use std::process::Command;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{binary, folder_in_memory, json_of, output_of};
use tests::python::{install, made_by, oldest_and_newest, with_package};

/// The oldest Python that the package is for: 3.10.
const OLDEST: u32 = 10;

/// What the package works with and is tried with, pinned.
const PACKAGES: &[&str] = &[
    "duckdb==1.4.2",
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "mypy==2.4.1",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "polars==2.1.0",
    "pyarrow==22.0.0",
    "pytest==9.2.0",
    "pyyaml==6.0.3",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
    "tqdm==4.70.1",
];

/// The last of these that know Python 3.10, without what only the manifests of Kubernetes and the types take.
const OLD_PACKAGES: &[&str] = &[
    "duckdb==1.4.2",
    "numpy==2.2.6",
    "pandas==2.3.3",
    "polars==2.0.0",
    "pyarrow==22.0.0",
    "pytest==9.2.0",
    "scikit-learn==1.7.2",
    "scipy==1.15.3",
    "tqdm==4.70.1",
];

const PYTEST: &[&str] = &["-m", "pytest", "-q", "-p", "no:cacheprovider"];

/// Runs these commands of Python, with the package.
fn try_by(interpreter: &Path, name: &str, packages: &[&str], commands: &[&[&str]]) {
    let python = match made_by(interpreter, env!("CARGO_TARGET_TMPDIR"), name, packages) {
        Ok(python) => python,
        Err(why) => {
            let by = interpreter.display();
            eprintln!("NOTICE: the package for Python was not tried by {by}: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), &["tests"], "docs/python.md");
    // A hundred small models, each made durable: on a disk that is nine tenths of the time, and what a disk does is tried elsewhere.
    let memory = folder_in_memory();
    for arguments in commands {
        let output = output_of(
            with_package(&python, folder.path())
                .args(*arguments)
                .current_dir(folder.path())
                .env("TMPDIR", memory.path())
                .env("COORDINATOR", binary("coordinator")),
        );
        let said = String::from_utf8_lossy(&output.stdout);
        let more = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}\n{said}\n{more}");
    }
}

#[test]
fn the_package_keeps_its_promises() {
    let Some([_, (minor, newest)]) = oldest_and_newest(OLDEST) else {
        eprintln!("NOTICE: the package for Python was not tried: there is no Python");
        return;
    };
    let types = ["-m", "mypy", "--strict", "--no-incremental", "strata"];
    let name = format!("package-users-3.{minor}");
    // What is older than these packages is tried as the oldest.
    if minor > OLDEST {
        try_by(&newest, &name, PACKAGES, &[PYTEST, &types]);
    }
}

#[test]
fn the_oldest_python_will_do() {
    let Some([(minor, oldest), (newest, _)]) = oldest_and_newest(OLDEST) else {
        return;
    };
    if minor == newest && minor > OLDEST {
        eprintln!("NOTICE: the package was tried by Python 3.{minor} alone: there is no other");
        return;
    }
    // What depends on the interpreter: tables that come in and go out, types of ids, signatures, examples.
    let tests = ["fit", "answers"].map(|name| format!("tests/test_{name}.py"));
    let mut command = PYTEST.to_vec();
    command.extend(tests.iter().map(String::as_str));
    command.push("strata/models.py");
    let packages = if minor == OLDEST {
        OLD_PACKAGES
    } else {
        PACKAGES
    };
    try_by(
        &oldest,
        &format!("package-users-3.{minor}"),
        packages,
        &[&command],
    );
}

/// Asks for the last test.
const ASKED: &str = "STRATA_PIP";

/// What the page begins with, as a user types it: an environment without any package, and everything built for release.
#[test]
fn pip_installs_all_that_is_needed() {
    if std::env::var_os(ASKED).is_none() {
        eprintln!(
            "NOTICE: `pip install ./python` was not tried, since it builds for release: \
             STRATA_PIP=1 cargo test -p tests --test python pip -- --nocapture"
        );
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let environment = folder.path().join("environment");
    let made = Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment)
        .status();
    assert!(made.expect("there is a Python").success());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    let installed = Command::new(environment.join("bin/pip"))
        .arg("install")
        .arg(sources)
        .status();
    assert!(installed.expect("pip starts").success());

    let inputs = Inputs::of(&[Data::Small]);
    let job = || Job::new(&inputs, Data::Small, "rank = 8\nepochs = 2", "");
    let expected = json_of(&mut job().command("run", &[]));
    let job = job();
    let mut script = Command::new(environment.join("bin/strata"));
    script.args(["--json", "run", "job.toml"]);
    script.current_dir(job.folder()).env_remove(ASKED);
    let found = json_of(&mut script);
    assert_eq!(found["digest"], expected["digest"]);
    let loads = "import strata; model = strata.load('job.toml'); print(model.digest, len(model.recommend(k=3)))";
    let output = output_of(
        Command::new(environment.join("bin/python"))
            .args(["-c", loads])
            .current_dir(job.folder())
            .env_remove(ASKED),
    );
    let digest = expected["digest"].as_str().expect("a digest");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), format!("{digest} 3000"), "{output:?}");
}
