//! Real processes whose calls to the file system and to peers are recorded, cut off by kill -9, or refused: by a library of our own
//! between them and the C library (`shim.rs`), so that production code holds nothing of it, and what is recorded is what happened.

pub mod disk;
#[cfg(any())]
mod shim;
pub mod small;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The places that our processes write to, by a part of the path; the first that fits. Whatever else lies below the root is
/// `other`, and the internet is `peer`.
const PLACES: &[(&str, &str)] = &[
    ("cache", "/scratch/"),
    ("manifest", "/manifests/"),
    ("object", "/objects/"),
    ("journal", "/journal/"),
];

/// Something that a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which call: `write`, `sync`, `rename`, ...
    pub call: String,
    /// Which of [`PLACES`], `other` or `peer`.
    pub place: String,
    /// The number of the file, where one was open.
    pub file: u64,
    /// An offset or a length.
    pub at: u64,
    /// Bytes, or the path.
    pub first: Vec<u8>,
    /// The other path.
    pub second: Vec<u8>,
}

impl Event {
    /// The name of the point: call and place.
    pub fn point(&self) -> String {
        format!("{} {}", self.call, self.place)
    }

    /// Its first path.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.first))
    }

    /// Its second path.
    pub fn to(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.second))
    }
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// kill -9 before the call.
    KillBefore,
    /// kill -9 after it, before the process knows that it succeeded.
    KillAfter,
    /// The call fails: the disk is full.
    Full,
    /// It fails, and so do all that follow: nobody makes room.
    StaysFull,
    /// The call fails: the disk is broken.
    Broken,
}

/// The shim, compiled once for a test; `None`, with a notice, where this system has no such thing.
pub fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || !known {
        println!("NOTICE: skipped: calls are recorded on Linux with glibc only");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/interpose/shim.rs");
    let folder = std::env::temp_dir().join(format!("interpose-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let library = folder.join("libshim.so");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-O", "-C", "panic=abort"])
        .args(["--crate-type", "cdylib", "-o"])
        .args([&library, &source])
        .output()
        .expect("rustc is where cargo is");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    Some(library)
}

/// What a process is told by its environment.
fn environment(library: &Path, root: &Path) -> Vec<(&'static str, String)> {
    let places = PLACES.iter().map(|(name, part)| format!("{name}={part}"));
    vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("INTERPOSE_ROOT", root.display().to_string()),
        ("INTERPOSE_PLACES", places.collect::<Vec<_>>().join(";")),
    ]
}

/// The environment of a process that tells what it does below a folder, in a file outside of it.
pub fn recorded(library: &Path, root: &Path, log: &Path) -> Vec<(&'static str, String)> {
    let mut environment = environment(library, root);
    environment.push(("INTERPOSE_LOG", log.display().to_string()));
    environment
}

/// The environment of a process that meets a deed at its `number`th call (from 1) at a point.
pub fn met(
    library: &Path,
    root: &Path,
    (point, number): (&str, u64),
    deed: Deed,
) -> Vec<(&'static str, String)> {
    let deed = match deed {
        Deed::KillBefore => "before".to_owned(),
        Deed::KillAfter => "after".to_owned(),
        Deed::Full => libc::ENOSPC.to_string(),
        Deed::StaysFull => format!("{}+", libc::ENOSPC),
        Deed::Broken => libc::EIO.to_string(),
    };
    let mut environment = environment(library, root);
    environment.push(("INTERPOSE_AT", format!("{point}:{number}:{deed}")));
    environment
}

/// All calls for which a full disk has no room, as one point.
pub const ROOM: &str = "room any";

/// How often a process asked for room.
pub fn room_asked(events: &[Event]) -> u64 {
    let asks = |event: &&Event| {
        let call = event.call.as_str();
        matches!(call, "create" | "link" | "mkdir" | "reserve" | "write")
    };
    events.iter().filter(asks).count() as u64
}

/// What was recorded.
///
/// # Panics
/// Where the file is none of the shim's.
pub fn events(log: &Path) -> Vec<Event> {
    let bytes = std::fs::read(log).expect("the process recorded something");
    let mut rest = &bytes[..];
    let mut part = || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rest = after;
        Some(part.to_vec())
    };
    let word = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a word of the shim's");
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut events = Vec::new();
    while let (Some(call), Some(place), Some(file), Some(at), Some(first), Some(second)) =
        (part(), part(), part(), part(), part(), part())
    {
        events.push(Event {
            call: word(call),
            place: word(place),
            file: number(file),
            at: number(at),
            first,
            second,
        });
    }
    assert!(rest.is_empty(), "the record is torn");
    events
}

/// How often each point was met.
pub fn points(events: &[Event]) -> BTreeMap<String, u64> {
    let mut points = BTreeMap::new();
    for event in events {
        *points.entry(event.point()).or_default() += 1;
    }
    points
}
