//! `--memory` bounds a process from its start to its end and changes no bit. (That pieces are cut, and rows inside
//! them, is shown by `identity.rs`.)
//!
//! The large form, `STRATA_MEMORY_LARGE=1 cargo test --release --workspace --test memory -- --nocapture`, takes the
//! generated matrix of some 19 M interactions through 256 MiB in a memory cgroup of 512 MiB.

use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::process::{binary, coordinator, json_of};

const TIGHT_BYTES: u64 = 256 << 20;

/// A generated matrix and a job over it.
struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn new(sizes: &[&str], rank: u32, epochs: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(binary("generate-matrix"))
            .arg(folder.path().join("matrix.parquet"))
            .args(sizes)
            .status();
        assert!(made.unwrap().success());
        let job = format!(
            "[input]\nfiles = [\"matrix.parquet\"]\nuser = \"user\"\nproduct = \"product\"\nvalue = \"value\"\n\
             duplicates = \"sum\"\n\n[model]\nkind = \"als\"\npreset = \"hu\"\nrank = {rank}\nepochs = {epochs}\n\
             regularization = 1.0\n"
        );
        fs::write(folder.path().join("job.toml"), job).unwrap();
        Work { folder }
    }

    /// Ingests and trains into a fresh output.
    fn run(
        &self,
        name: &str,
        memory: &str,
        workers: &str,
        group: Option<&Group>,
    ) -> (Value, Value) {
        let at = |what: &str| self.folder.path().join(name).join(what);
        let verb = |verb: &str| {
            let mut command = coordinator();
            command
                .arg(verb)
                .arg(self.folder.path().join("job.toml"))
                .args(["--json", "--memory", memory, "--workers", workers])
                .arg("--set")
                .arg(format!("output.data={}", at("data").display()))
                .arg("--set")
                .arg(format!("output.model={}", at("model").display()))
                .arg("--scratch")
                .arg(at("scratch"));
            match group {
                Some(group) => json_of(&mut group.entered_by(&command)),
                None => json_of(&mut command),
            }
        };
        (verb("ingest"), verb("train"))
    }
}

/// The process stayed within the budget from its start to its end.
fn assert_within_budget(answer: &Value) {
    let peak = answer["peak_anonymous_bytes"].as_u64().unwrap();
    let verb = &answer["verb"];
    assert!(
        peak > 0 && peak <= TIGHT_BYTES,
        "{verb} took {} MiB",
        peak >> 20
    );
    println!("{verb}: peak {} MiB anonymous", peak >> 20);
}

fn assert_same_bits(a: &(Value, Value), b: &(Value, Value)) {
    for answers in [a, b] {
        assert!(answers.1["resumed_from"].is_null());
    }
    for digest in [&a.0["digest"], &a.1["digest"]] {
        assert!(digest.is_string());
    }
    assert_eq!(a.0["digest"], b.0["digest"]);
    assert_eq!(a.1["digest"], b.1["digest"]);
}

#[test]
fn a_tight_budget_holds_in_every_phase_and_changes_no_bit() {
    let sizes = [
        "--users",
        "20000",
        "--products",
        "110000",
        "--interactions",
        "400000",
        "--row-group",
        "100000",
    ];
    let work = Work::new(&sizes, 128, 1);
    let generous = work.run("generous", "8GiB", "3", None);
    let tight = work.run("tight", "256MiB", "3", None);
    assert_same_bits(&generous, &tight);
    assert_within_budget(&tight.0);
    assert_within_budget(&tight.1);
}

/// A memory cgroup, removed when dropped.
struct Group {
    folder: PathBuf,
    peak: &'static str,
}

impl Group {
    /// With a limit; `None`, and a notice, where none can be made.
    fn new(limit_bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let kinds = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.max_usage_in_bytes",
                ":memory:",
            ),
            ("/sys/fs/cgroup", "memory.max", "memory.peak", "0::"),
        ];
        for (root, limit, peak, mark) in kinds {
            let below = own
                .lines()
                .find_map(|line| line.split_once(mark))
                .map_or("", |(_, path)| path.trim_start_matches('/'));
            for parent in [Path::new(root).join(below), PathBuf::from(root)] {
                let folder = parent.join(format!("strata-memory-{}", std::process::id()));
                if fs::create_dir(&folder).is_err() {
                    continue;
                }
                let group = Group { folder, peak };
                if fs::write(group.folder.join(limit), limit_bytes.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        println!("NOTICE: no memory cgroup can be made here: the limit by the kernel is skipped");
        None
    }

    /// The same command, started inside: a shell enters and becomes it.
    fn entered_by(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg("echo $$ > \"$0\" && exec \"$@\"")
            .arg(self.folder.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (key, _) in command.get_envs() {
            shell.env_remove(key);
        }
        shell.stdin(std::process::Stdio::null()).process_group(0);
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let peak = fs::read_to_string(self.folder.join(self.peak)).unwrap_or_default();
        println!("the cgroup's peak: {} bytes", peak.trim());
        // It is empty now; where it is not, it is left for whoever looks why.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[test]
fn the_generated_matrix_trains_in_a_cgroup_of_half_a_gibibyte() {
    if std::env::var_os("STRATA_MEMORY_LARGE").is_none() {
        println!("NOTICE: skipped without STRATA_MEMORY_LARGE=1: it takes minutes");
        return;
    }
    let work = Work::new(&[], 64, 2);
    let group = Group::new(TIGHT_BYTES + (256 << 20));
    let tight = work.run("tight", "256MiB", "2", group.as_ref());
    println!("tight: {}\n{}", tight.0, tight.1);
    drop(group);
    let generous = work.run("generous", "8GiB", "3", None);
    println!("generous: {}\n{}", generous.0, generous.1);
    assert_same_bits(&generous, &tight);
    assert_within_budget(&tight.0);
    assert_within_budget(&tight.1);
}
