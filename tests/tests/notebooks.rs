//! The notebook for beginners runs from its beginning to its end. `examples/notebooks/run.py` runs all of them.

use std::path::Path;
use tests::process::{folder_in_memory, output_of};
use tests::python::{install, python, with_package};

const PACKAGES: &[&str] = &[
    "ipykernel==7.4.0",
    "matplotlib==3.11.2",
    "nbclient==0.11.0",
    "nbformat==5.11.1",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "pyarrow==22.0.0",
];

#[test]
fn the_quick_start_runs() {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "notebooks", PACKAGES) {
        Ok(python) => python,
        Err(why) => {
            eprintln!("NOTICE: notebooks were not tried: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), &[], "docs/python.md");
    let memory = folder_in_memory();
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/notebooks/run.py");
    let mut command = with_package(&python, folder.path());
    let output = output_of(
        command
            .arg(run)
            .args(["quick-start", "--out"])
            .arg(folder.path().join("executed"))
            .env("TMPDIR", memory.path())
            .env("IPYTHONDIR", folder.path().join("ipython"))
            .env("MPLCONFIGDIR", folder.path().join("matplotlib")),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let executed = folder.path().join("executed/quick-start.ipynb");
    let executed = std::fs::read_to_string(executed).expect("it is written");
    // Three figures: the history, what was measured, the segments.
    assert_eq!(executed.matches("\"image/png\"").count(), 3);
}
