//! The commands of the page for Slurm and ssh, as they stand there, with real programs; `ssh`, `srun` and `scontrol` are of the test, and
//! machines are addresses of loopback.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tests::jobs::{Data, Inputs, Job};
use tests::pages;
use tests::process::{binary, coordinator, json_of, output_of, signal};

/// What all of them do on a "machine": the worker listens at its address, in a folder of its own, holds no pipe of the test open, and its
/// process is noted.
const ON: &str = r#"
on() {
    machine=$1
    shift
    mkdir -p "machines/$machine"
    words=$(printf '%s' "$*" | sed "s/0\.0\.0\.0/$machine/; s|/var/tmp|$PWD/machines/$machine|; s|worker\.log|machines/$machine/log|; s/48GiB/1GiB/")
    TMPDIR=$PWD/machines/$machine SLURM_MEM_PER_NODE=1024 sh -c "$words" > /dev/null 2>&1 &
    echo $! >> processes
}
"#;

const SSH: &str = r#"[ "$1" = -f ] || exit 64; on "$2" "$3""#;

/// Of its arguments the last is the script of `sh -c`.
const SRUN: &str = r#"[ "$1 $2 $3" = "--ntasks-per-node=1 sh -c" ] || exit 64; exec > /dev/null 2>&1; on 127.0.0.2 "$4"; on 127.0.0.3 "$4"; wait"#;

const SCONTROL: &str = r#"[ "$*" = "show hostnames" ] && printf '127.0.0.2\n127.0.0.3\n'"#;

fn program(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{ON}\n{script}\n")).expect("it is written");
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(file, all).expect("it may run");
}

/// The workers that a script started end with the test.
struct Started<'a>(&'a Path);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let noted = std::fs::read_to_string(self.0.join("processes")).unwrap_or_default();
        for process in noted.lines().filter_map(|line| line.parse().ok()) {
            if Path::new(&format!("/proc/{process}")).exists() {
                signal(process, "KILL");
            }
        }
    }
}

#[test]
fn the_commands_for_slurm_and_ssh_start_a_cluster() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = || Job::new(&inputs, Data::Small, "rank = 8\nepochs = 3", "");
    let expected = json_of(&mut job().command("run", &[]));
    for language in ["sh slurm", "sh ssh"] {
        let blocks = pages::blocks_of("docs/cluster.md", language);
        assert_eq!(blocks.len(), 1, "{language}");
        let script = blocks[0]
            .replace("node1", "127.0.0.2")
            .replace("node2", "127.0.0.3")
            .replace("coordinator --workers", "coordinator --json --workers");
        let job = job();
        let started = Started(job.folder());
        let made = output_of(
            coordinator()
                .args(["tls", "init"])
                .arg(job.folder().join("certificates")),
        );
        assert!(made.status.success(), "{made:?}");
        let programs = job.folder().join("programs");
        std::fs::create_dir(&programs).expect("a folder");
        for (name, script) in [("ssh", SSH), ("srun", SRUN), ("scontrol", SCONTROL)] {
            program(&programs, name, script);
        }
        let ours = binary("coordinator");
        let ours = ours.parent().expect("a folder");
        let path = format!("{}:{}:/usr/bin:/bin", programs.display(), ours.display());
        let found = json_of(
            Command::new("sh")
                .args(["-euc", &script])
                .current_dir(job.folder())
                .env("PATH", path),
        );
        assert_eq!(found["digest"], expected["digest"], "{language}");
        let workers = std::fs::read_dir(job.folder().join("machines")).expect("machines");
        assert_eq!(workers.count(), 2, "{language}");
        drop(started);
    }
}
