//! Job files that tests write, each with its own outputs, and the inputs that they name.

use crate::generate::{Shape, purchases};
use crate::process::{coordinator, examples};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Interactions of the heavy user of [`Data::Generated`]: more than the 65,536 that one accumulator takes.
pub const HEAVY: i64 = 300_000;

/// What a job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// The bundled purchases.
    Bundled,
    /// One user of [`HEAVY`] interactions among ordinary ones.
    Generated,
    /// A few hundred users: an epoch of it is short.
    Small,
}

/// The input files of tests, in one folder.
pub struct Inputs(tempfile::TempDir);

impl Inputs {
    /// Copies or makes one.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn of(data: &[Data]) -> Inputs {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for data in data {
            let path = folder.path().join(name(*data));
            let shape = |users, products, heavy| Shape {
                users,
                products,
                per_user: 50,
                heavy,
                days: 40,
            };
            match data {
                Data::Bundled => {
                    std::fs::copy(examples().join("transactions.parquet"), &path)
                        .expect("the bundled file is there");
                }
                Data::Generated => purchases(&path, &shape(400, HEAVY, HEAVY)),
                Data::Small => purchases(&path, &shape(1000, 3000, 0)),
            }
        }
        Inputs(folder)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }
}

fn name(data: Data) -> &'static str {
    match data {
        Data::Bundled => "transactions.parquet",
        Data::Generated => "generated.parquet",
        Data::Small => "small.parquet",
    }
}

/// A job with a folder of its own for outputs and scratch.
pub struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    /// Writes the job file; `model` and `split` are the lines of these sections.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn new(inputs: &Inputs, data: Data, model: &str, split: &str) -> Job {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let columns = match data {
            Data::Bundled => {
                "user = \"household_id\"\nproduct = \"product_id\"\ntime = \"day\"\nduplicates = \"count\""
            }
            Data::Generated | Data::Small => {
                "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\nduplicates = \"count\""
            }
        };
        let file = inputs.folder().join(name(data));
        let text = format!(
            "[input]\nfiles = [\"{}\"]\n{columns}\ntime_bin = \"week\"\n[split]\n{split}\n\
             [model]\nkind = \"als\"\npreset = \"hu\"\n{model}\n[output]\ndata = \"data\"\nmodel = \"model\"\n",
            file.display()
        );
        std::fs::write(folder.path().join("job.toml"), text).expect("the job is written");
        Job { folder }
    }

    /// Its folder: nothing but this job writes there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its model is.
    pub fn model(&self) -> PathBuf {
        self.folder().join("model")
    }

    /// `coordinator --json VERB job.toml` with its scratch in the job's folder and further arguments.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = coordinator();
        command
            .arg("--json")
            .arg("--scratch")
            .arg(self.folder().join("scratch"))
            .args(arguments)
            .arg(verb)
            .arg(self.folder().join("job.toml"));
        command
    }
}
