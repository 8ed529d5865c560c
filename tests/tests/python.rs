//! The package `strata` for Python: its own tests, its types and the examples of its page, with the library that cargo has just made.

use std::path::Path;
use std::process::Command;
use tests::process::{binary, output_of};
use tests::python::{install, python};

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

#[test]
fn the_package_keeps_its_promises() {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "package-users", PACKAGES) {
        Ok(python) => python,
        Err(why) => {
            eprintln!("NOTICE: the package for Python was not tried: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), &["tests"], "docs/python.md");
    // A hundred small models, each made durable: on a disk that is nine tenths of the time, and what a disk does is tried elsewhere.
    let memory = Path::new("/dev/shm");
    let memory = tempfile::tempdir_in(if memory.is_dir() {
        memory
    } else {
        folder.path()
    });
    let memory = memory.expect("a temporary folder");
    for arguments in [
        &["-m", "pytest", "-q", "-p", "no:cacheprovider"][..],
        &["-m", "mypy", "--strict", "--no-incremental", "strata"],
    ] {
        let mut command = Command::new(&python);
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("STRATA_")) {
            command.env_remove(key);
        }
        let output = output_of(
            command
                .args(arguments)
                .current_dir(folder.path())
                .env("PYTHONPATH", folder.path())
                .env("TMPDIR", memory.path())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("COORDINATOR", binary("coordinator")),
        );
        let said = String::from_utf8_lossy(&output.stdout);
        let more = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}\n{said}\n{more}");
    }
}
