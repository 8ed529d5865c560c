//! Real processes: the two binaries as a user starts them, their JSON answers, and how to kill them.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long a process may take before a test says that it hangs: far beyond the slowest, far below what CI waits.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Any free port that only this machine sees.
const LOOPBACK: &str = "127.0.0.1:0";

/// A temporary folder in memory where the machine has such a place, for what is written ten thousand times.
///
/// # Panics
/// Where none can be made.
pub fn folder_in_memory() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary folder")
}

/// The path of one of our binaries, built beside the running test by `cargo test --workspace`.
///
/// # Panics
/// Where it was not built: run the tests of the whole workspace, or `cargo build --bins` first.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run from target/PROFILE/deps");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{name} is not built: run `cargo build --bins` or `cargo test --workspace`"
    );
    path
}

/// A command for the coordinator, without the caller's `STRATA_*` settings.
pub fn coordinator() -> Command {
    let mut command = Command::new(binary("coordinator"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("STRATA_")) {
        command.env_remove(key);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end, no longer than [`PATIENCE`].
///
/// # Panics
/// Where it does not start or takes longer.
pub fn output_of(command: &mut Command) -> Output {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(command.spawn().expect("the program starts"))
}

/// Waits for the end of a process whose outputs are piped, no longer than [`PATIENCE`].
///
/// # Panics
/// Where it takes longer: it is killed, and the message holds all that it had said and what its threads did.
pub fn ended(child: Child) -> Output {
    let process = child.id();
    let (over, told) = mpsc::channel();
    std::thread::spawn(move || {
        // The test may have given up meanwhile.
        let _ = over.send(child.wait_with_output());
    });
    if let Ok(output) = told.recv_timeout(PATIENCE) {
        return output.expect("our own child");
    }
    let threads = threads_of(process);
    signal(process, "KILL");
    let said = told.recv().expect("it is dead").expect("our own child");
    panic!(
        "it does not end\nstdout: {}\nstderr: {}\n{threads}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

/// What the threads of a process are at: their calls where a debugger is installed, else the kernel's word.
fn threads_of(process: u32) -> String {
    let process = process.to_string();
    let debugger = Command::new("gdb")
        .args(["-batch", "-ex", "thread apply all backtrace 24", "-p"])
        .arg(&process)
        .output();
    if let Ok(calls) = debugger {
        return String::from_utf8_lossy(&calls.stdout).into_owned();
    }
    let tasks = Path::new("/proc").join(process).join("task");
    let task = |task: std::io::Result<std::fs::DirEntry>| {
        let read = |what| std::fs::read_to_string(task.as_ref().ok()?.path().join(what)).ok();
        Some(format!("{} {}", read("comm")?.trim(), read("wchan")?))
    };
    let tasks = std::fs::read_dir(tasks).into_iter().flatten();
    tasks.filter_map(task).collect::<Vec<_>>().join("\n")
}

/// The JSON object that a successful command prints.
///
/// # Panics
/// Where it fails, with all that it said, or does not end.
pub fn json_of(command: &mut Command) -> Value {
    parse(&output_of(command))
}

/// The JSON object of a finished process.
///
/// # Panics
/// Where it failed or printed something else.
pub fn parse(output: &Output) -> Value {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}\nstdout: {stdout}\nstderr: {stderr}",
        output.status
    );
    serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("{error}\nstdout: {stdout}\nstderr: {stderr}"))
}

/// Sends a signal by its name, as in `TERM`.
///
/// # Panics
/// Where the process is gone.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "{process} is gone"
    );
}

/// Mounts an empty file system over as many folders as the first argument says, then becomes the rest.
const HIDE: &str = r#"n=$0; while [ "$n" -gt 0 ]; do mount -t tmpfs none "$1" || exit 1; shift; n=$((n - 1)); done; exec "$@""#;

/// Whether this machine lets a test hide folders from a process.
pub fn can_hide() -> bool {
    let tried = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// A worker daemon that dies with the test.
pub struct Daemon {
    child: Child,
    /// Where it listens.
    pub address: String,
    said: Arc<Mutex<Vec<String>>>,
}

fn locked(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    /// Starts a daemon on a free loopback port, with its own data directory and further arguments.
    ///
    /// # Panics
    /// Where it does not say where it listens.
    pub fn start(data: &Path, arguments: &[&str]) -> Daemon {
        Self::start_by(Command::new(binary("worker")), LOOPBACK, data, arguments)
    }

    /// As [`Daemon::start`], with more in its environment.
    ///
    /// # Panics
    /// Where it does not say where it listens.
    pub fn start_within(data: &Path, arguments: &[&str], environment: &[(&str, String)]) -> Daemon {
        let mut command = Command::new(binary("worker"));
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        Self::start_by(command, LOOPBACK, data, arguments)
    }

    /// As [`Daemon::start`], in a name space where nothing is seen of some folders; an ordinary daemon where the
    /// machine allows no such thing.
    ///
    /// # Panics
    /// Where it does not say where it listens.
    pub fn start_blind(data: &Path, hidden: &[&Path], arguments: &[&str]) -> Daemon {
        if !can_hide() {
            return Self::start(data, arguments);
        }
        let mut command = Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", HIDE])
            .arg(hidden.len().to_string())
            .args(hidden)
            .arg(binary("worker"));
        Self::start_by(command, LOOPBACK, data, arguments)
    }

    /// As [`Daemon::start`], listening there, by a command that becomes the worker once it is given the worker's arguments.
    ///
    /// # Panics
    /// Where it does not say where it listens.
    pub fn start_by(mut command: Command, listen: &str, data: &Path, arguments: &[&str]) -> Daemon {
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("STRATA_")) {
            command.env_remove(key);
        }
        let mut child = command
            .args(["--listen", listen, "--data"])
            .arg(data)
            .args(arguments)
            // A daemon sees neither the job's inputs nor its outputs by their relative paths.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        let (sender, receiver) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on ") {
                    let _ = sender.send(address.trim().to_owned());
                }
                locked(&heard).push(line);
            }
        });
        let Ok(address) = receiver.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the worker does not listen: {:?}", locked(&said));
        };
        Daemon {
            child,
            address,
            said,
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the worker does not end");
            std::thread::sleep(LOOK);
        }
    }

    /// Its anonymous memory now.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// Never: it is our own child.
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        locked(&self.said).join("\n")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The addresses of daemons as `--workers` takes them.
pub fn addresses(daemons: &[Daemon]) -> String {
    daemons
        .iter()
        .map(|daemon| daemon.address.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

/// The folder of the bundled purchases.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/complete-journey")
}
