//! Places in which a worker has less than it would like: a disk of a few MiB, a limit of memory that the kernel enforces, a network of its
//! own. Each says with a notice where this machine has no such place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Mounts a file system of so many bytes over a folder, then becomes the rest.
const SMALL: &str = r#"mount -t tmpfs -o size="$0" none "$1" || exit 1; shift; exec "$@""#;
/// Enters a group, says that it may be killed before others there, then becomes the rest.
const ENTER: &str = r#"echo $$ > "$0" && echo 1000 > /proc/self/oom_score_adj && exec "$@""#;
/// Takes so many bytes of memory and holds them.
const HOG: &str = r#"echo $$ > "$0" && head -c "$1" /dev/zero | tail"#;

static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// A name that no other test of this machine has.
fn own_name() -> String {
    let number = NUMBERS.fetch_add(1, Relaxed);
    format!("nemesis{}x{number}", std::process::id())
}

fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Whether a worker can be given a disk of its own.
pub fn has_small_disks() -> bool {
    let tried = [
        "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt",
    ];
    let can = succeeds(Command::new("unshare").args(tried));
    if !can {
        println!("NOTICE: nothing can be mounted here: full disks are skipped");
    }
    can
}

/// The words of a command that becomes what follows, for which the folder is a file system of so many bytes.
pub fn on_small_disk(folder: &Path, bytes: u64) -> Vec<String> {
    let mut words = ["unshare", "-rm", "sh", "-c", SMALL]
        .map(str::to_owned)
        .to_vec();
    words.extend([bytes.to_string(), folder.display().to_string()]);
    words
}

/// The folder of a process as it sees it.
pub fn seen_by(process: u32, folder: &Path) -> PathBuf {
    let inside = folder.strip_prefix("/").unwrap_or(folder);
    Path::new("/proc")
        .join(process.to_string())
        .join("root")
        .join(inside)
}

/// Fills what is left of a disk; gives the file to be removed.
pub fn fill(folder: &Path) -> std::io::Result<PathBuf> {
    use std::io::Write;
    let path = folder.join("filler");
    let mut file = fs::File::create(&path)?;
    let part = [0; 1 << 12];
    while file.write_all(&part).is_ok() {}
    Ok(path)
}

/// Removes all that is on a disk.
pub fn wipe(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // What is gone meanwhile is wiped, too.
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
    Ok(())
}

/// Sets how many files a process may have open.
pub fn limit_files(process: u32, most: u32) -> bool {
    let limit = format!("--nofile={most}:");
    succeeds(Command::new("prlimit").args(["--pid", &process.to_string(), &limit]))
}

/// A group of processes with a limit of memory, removed when dropped.
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// With a limit; `None`, and a notice, where none can be made.
    pub fn new(limit_bytes: u64) -> Option<Group> {
        let name = own_name();
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        for (root, limit) in kinds {
            let folder = Path::new(root).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Group { folder };
            if fs::write(group.folder.join(limit), limit_bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        println!("NOTICE: no memory cgroup can be made here: the kernel's killer is skipped");
        None
    }

    /// The words of a command that enters and becomes what follows.
    pub fn entering(&self) -> Vec<String> {
        let procs = self.folder.join("cgroup.procs");
        let mut words = ["sh", "-c", ENTER].map(str::to_owned).to_vec();
        words.push(procs.display().to_string());
        words
    }

    /// Takes memory until the kernel kills somebody inside.
    pub fn exhaust(&self, bytes: u64) {
        let procs = self.folder.join("cgroup.procs");
        let mut hog = Command::new("sh");
        hog.args(["-c", HOG]).arg(procs).arg(bytes.to_string());
        // Whether it is killed itself, after the worker, is all the same.
        let _ = succeeds(&mut hog);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty now; where it is not, it is left for whoever looks why.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Name spaces of the network: a hub, and seats around it, each with one wire. They are gone when dropped.
pub struct Network {
    name: String,
    seats: usize,
}

impl Network {
    /// With so many seats; `None`, and a notice, where none can be made.
    pub fn new(seats: usize) -> Option<Network> {
        let network = Network {
            name: own_name(),
            seats,
        };
        if network.lay() {
            return Some(network);
        }
        println!("NOTICE: no network can be laid here: partitions by the kernel are skipped");
        None
    }

    fn lay(&self) -> bool {
        let hub = self.space(None);
        let ip = |arguments: &str| succeeds(Command::new("ip").args(arguments.split(' ')));
        let laid = ip(&format!("netns add {hub}"))
            && ip(&format!("-n {hub} link set lo up"))
            && ip(&format!("-n {hub} link add bridge type bridge"))
            && ip(&format!(
                "-n {hub} addr add {}/24 dev bridge",
                address(None)
            ))
            && ip(&format!("-n {hub} link set bridge up"));
        laid && (0..self.seats).all(|seat| {
            let space = self.space(Some(seat));
            ip(&format!("netns add {space}"))
                && ip(&format!(
                    "-n {hub} link add wire{seat} type veth peer name end netns {space}"
                ))
                && ip(&format!("-n {hub} link set wire{seat} master bridge up"))
                && ip(&format!("-n {space} link set lo up"))
                && ip(&format!(
                    "-n {space} addr add {}/24 dev end",
                    address(Some(seat))
                ))
                && ip(&format!("-n {space} link set end up"))
        })
    }

    fn space(&self, seat: Option<usize>) -> String {
        seat.map_or_else(|| self.name.clone(), |seat| format!("{}s{seat}", self.name))
    }

    /// The words of a command that becomes what follows, at a seat or at the hub.
    pub fn at(&self, seat: Option<usize>) -> Vec<String> {
        let space = format!("--net=/run/netns/{}", self.space(seat));
        vec!["nsenter".to_owned(), space]
    }

    /// Takes a seat off the net, both ways, or puts it back: packets go nowhere, and nobody is told.
    ///
    /// # Panics
    /// Where the network is not as it was laid.
    pub fn wire(&self, seat: usize, whole: bool) {
        let state = if whole { "up" } else { "down" };
        let hub = self.space(None);
        let set = succeeds(Command::new("ip").args([
            "-n",
            &hub,
            "link",
            "set",
            &format!("wire{seat}"),
            state,
        ]));
        assert!(set, "wire {seat} is gone");
    }

    /// What one says no longer reaches another, or does again: its packets carry an address that nobody has.
    ///
    /// # Panics
    /// Where the network is not as it was laid.
    pub fn hears(&self, from: Option<usize>, to: Option<usize>, well: bool) {
        let device = if from.is_some() { "end" } else { "bridge" };
        let (space, to) = (self.space(from), address(to));
        let mut command = Command::new("ip");
        command.args(["-n", &space, "neigh"]);
        if well {
            command.args(["del", &to, "dev", device]);
        } else {
            let nobody = ["replace", &to, "lladdr", "02:00:00:00:00:01"];
            command
                .args(nobody)
                .args(["dev", device, "nud", "permanent"]);
        }
        assert!(succeeds(&mut command), "{from:?} has no wire");
    }
}

/// The address of a seat or of the hub.
pub fn address(seat: Option<usize>) -> String {
    format!("10.77.0.{}", seat.map_or(1, |seat| seat + 2))
}

impl Drop for Network {
    fn drop(&mut self) {
        for seat in (0..self.seats).map(Some).chain([None]) {
            let _ = succeeds(Command::new("ip").args(["netns", "del", &self.space(seat)]));
        }
    }
}
