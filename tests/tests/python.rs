//! The package `strata` for Python: its own tests, its types and the examples of its page, with the library that cargo has just made.

use tests::process::{binary, folder_in_memory, output_of};
use tests::python::{install, python, with_package};

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
    let memory = folder_in_memory();
    for arguments in [
        &["-m", "pytest", "-q", "-p", "no:cacheprovider"][..],
        &["-m", "mypy", "--strict", "--no-incremental", "strata"],
    ] {
        let output = output_of(
            with_package(&python, folder.path())
                .args(arguments)
                .current_dir(folder.path())
                .env("TMPDIR", memory.path())
                .env("COORDINATOR", binary("coordinator")),
        );
        let said = String::from_utf8_lossy(&output.stdout);
        let more = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}\n{said}\n{more}");
    }
}
