//! A job small enough to be run a hundred times, which makes everything that a run can leave on a disk: a data set, checkpoints, a
//! model, a journal, lists and a report.

use crate::generate::{Shape, purchases};
use crate::process::{coordinator, folder_in_memory};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run writes besides its depots.
pub const OUTPUTS: [&str; 3] = ["lists.parquet", "like.parquet", "report.html"];

/// The job, in a folder of its own.
pub struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    /// Writes the job and its input.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn new() -> Small {
        let folder = folder_in_memory();
        let shape = |users, days| Shape {
            users,
            products: 10,
            per_user: 8,
            heavy: 0,
            days,
        };
        purchases(&folder.path().join("purchases.parquet"), &shape(12, 60));
        purchases(&folder.path().join("later.parquet"), &shape(14, 70));
        purchases(&folder.path().join("last.parquet"), &shape(15, 80));
        std::fs::write(folder.path().join("leaving.txt"), "3\n7\n").expect("it is written");
        let job = "[input]\nfiles = [\"purchases.parquet\"]\nuser = \"user\"\nproduct = \"product\"\n\
             time = \"seconds\"\nduplicates = \"count\"\ntime_bin = \"week\"\n\
             [split]\nvalidation_bins = 1\ntest_bins = 1\n\
             [model]\nkind = \"als\"\npreset = \"hu\"\nrank = 4\nepochs = 3\ntime = \"ignore\"\n\
             [output]\ndata = \"data\"\nmodel = \"model\"\n\
             recommend = { top = 3, file = \"lists.parquet\" }\n\
             similar = { top = 3, file = \"like.parquet\" }\n\
             report = { file = \"report.html\" }\n";
        std::fs::write(folder.path().join("job.toml"), job).expect("the job is written");
        Small { folder }
    }

    /// Where everything of it is, without links in the path.
    ///
    /// # Panics
    /// Where the folder is gone.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there")
    }

    /// A verb of it, for a copy of its folder or for itself.
    pub fn command(folder: &Path, verb: &str, more: &[&str]) -> Command {
        let mut command = coordinator();
        command
            .current_dir(folder)
            .args(["--json", "--memory", "256MiB"])
            .arg("--scratch")
            .arg(folder.join("scratch"))
            .env("STRATA_CHECKPOINT_PERCENT", "100")
            .arg(verb)
            .arg(folder.join("job.toml"))
            .args(more);
        command
    }
}

impl Default for Small {
    fn default() -> Self {
        Self::new()
    }
}
