//! The package `strata` with MLflow: its tests of `strata.mlflow`, by a real server of MLflow.

use tests::process::{folder_in_memory, output_of};
use tests::python::{install, python, with_package};

/// MLflow brings its server; pandas and pyarrow are those of the other tests.
const PACKAGES: &[&str] = &[
    "mlflow==3.17.2",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "pyarrow==22.0.0",
    "pytest==9.2.0",
];

#[test]
fn runs_and_models_are_in_mlflow() {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "tracking", PACKAGES) {
        Ok(python) => python,
        Err(why) => {
            eprintln!("NOTICE: MLflow was not tried: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), &["tests"], "docs/python.md");
    let memory = folder_in_memory();
    let mut command = with_package(&python, folder.path());
    let output = output_of(
        command
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
            .arg("tests/test_mlflow.py")
            .current_dir(folder.path())
            .env("TMPDIR", memory.path())
            .env("MLFLOW_DISABLE_TELEMETRY", "true"),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && !said.contains("skipped"),
        "{said}"
    );
}
