//! Job files that tests write, each with its own outputs, and the inputs that they name.

use crate::generate::{Shape, purchases};
use crate::process::{coordinator, examples};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Interactions of the heavy user of [`Data::Generated`]: more than the 65,536 that one accumulator takes.
pub const HEAVY: i64 = 300_000;

/// How long a condition may take before a test says that it never comes.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

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
    /// Writes the job file of an `als` of the preset `hu`; `model` and `split` are further lines of these sections.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn new(inputs: &Inputs, data: Data, model: &str, split: &str) -> Job {
        let model = format!("kind = \"als\"\npreset = \"hu\"\n{model}");
        Self::of(inputs, data, &model, split)
    }

    /// Writes the job file; `model` and `split` are the lines of these sections.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn of(inputs: &Inputs, data: Data, model: &str, split: &str) -> Job {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let columns = match data {
            Data::Bundled => {
                "user = \"household_id\"\nproduct = \"product_id\"\ntime = \"day\"\nduplicates = \"count\""
            }
            Data::Generated | Data::Small => {
                "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\nduplicates = \"count\""
            }
        };
        let input = format!("{columns}\ntime_bin = \"week\"");
        Self::write(
            folder,
            &inputs.folder().join(name(data)),
            &input,
            model,
            split,
        )
    }

    /// Writes the job file over an input of the test's own; `input`, `model` and `split` are the lines of these sections.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn over(file: &Path, input: &str, model: &str, split: &str) -> Job {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::write(folder, file, input, model, split)
    }

    fn write(folder: tempfile::TempDir, file: &Path, input: &str, model: &str, split: &str) -> Job {
        let text = format!(
            "[input]\nfiles = [\"{}\"]\n{input}\n[split]\n{split}\n\
             [model]\n{model}\n[output]\ndata = \"data\"\nmodel = \"model\"\n",
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

    /// Waits until the manifest of a checkpoint is there, and tells its epoch.
    ///
    /// # Panics
    /// Where none comes, or a manifest is damaged.
    pub fn checkpoint(&self) -> u32 {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let began = Instant::now();
        runtime.block_on(async {
            let mut looked = 0;
            loop {
                assert!(began.elapsed() < PATIENCE, "no checkpoint comes");
                tokio::time::sleep(LOOK).await;
                if !self.model().join("manifests").exists() {
                    continue;
                }
                let depot = depot::Depot::open(&self.model().to_string_lossy()).expect("a depot");
                for number in depot.manifests().await.expect("a list") {
                    if number <= looked {
                        continue;
                    }
                    looked = number;
                    let (manifest, _) = depot.manifest(number).await.expect("a whole manifest");
                    if let depot::Body::Checkpoint(checkpoint) = manifest.body {
                        return checkpoint.epoch;
                    }
                }
            }
        })
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
