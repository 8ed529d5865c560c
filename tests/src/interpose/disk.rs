//! What a crash can leave of a disk: the changes that a process made, in their order, and every legal way to lose some of them.
//!
//! The rules are those of POSIX, not the kinder ones of a file system: bytes of a file are safe once it was synced after they were
//! written, a name is safe once its folder was synced after it was given or taken. All else may be there or not, in any
//! combination; bytes may also be there in part, or as zeros. A rename happens or does not.
//!
//! **Invariant:** nothing here does I/O except [`Disk::write_to`].

use super::Event;
use kernels::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the draws of what is lost.
const PURPOSE: u32 = 71;

/// Which file, whatever its names are; given again where the system gives a number again.
type FileId = usize;

/// A change that a crash loses or keeps as one.
#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, FileId),
    Folder(PathBuf),
    Rename(PathBuf, PathBuf, FileId),
    Unname(PathBuf),
    Bytes(FileId, u64, Arc<[u8]>),
    Length(FileId, u64),
    /// Longer, with zeros.
    AtLeast(FileId, u64),
}

/// How a change meets a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is there.
    Kept,
    /// It is not.
    Lost,
    /// The first half of the bytes is there.
    Torn,
    /// The length is there, the bytes are zeros.
    Zeros,
}

/// Names and contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Files by their path.
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    /// Folders.
    pub folders: BTreeSet<PathBuf>,
}

impl Disk {
    /// What lies below a folder.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub fn of(root: &Path) -> Disk {
        let mut disk = Disk::default();
        let mut open = vec![root.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    disk.folders.insert(path.clone());
                    open.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("a file");
                    disk.files.insert(path, Arc::new(bytes));
                }
            }
        }
        disk
    }

    /// Makes a folder hold this and nothing else; paths below `from` move to `to`. `there` is what it holds already.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write_to(&self, from: &Path, to: &Path, there: Option<&Disk>) {
        let moved = |path: &Path| to.join(path.strip_prefix(from).expect("a path below the root"));
        let none = Disk::default();
        let there = there.unwrap_or(&none);
        for path in there.files.keys() {
            if !self.files.contains_key(path) {
                let _ = std::fs::remove_file(moved(path));
            }
        }
        for folder in there.folders.iter().rev() {
            if !self.folders.contains(folder) {
                let _ = std::fs::remove_dir_all(moved(folder));
            }
        }
        for folder in &self.folders {
            if !there.folders.contains(folder) {
                std::fs::create_dir_all(moved(folder)).expect("a folder");
            }
        }
        for (path, bytes) in &self.files {
            if there.files.get(path) != Some(bytes) {
                std::fs::write(moved(path), &**bytes).expect("a file");
            }
        }
    }
}

/// The history of a disk.
pub struct History {
    before: Disk,
    changes: Vec<Change>,
    /// For each change, the number of events after which it was made, and after which it was safe.
    made: Vec<usize>,
    safe: Vec<usize>,
    made_folders: BTreeSet<PathBuf>,
    events: usize,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

impl History {
    /// Of what lay there, and what then happened.
    ///
    /// # Panics
    /// Where an event speaks of a file that nobody made: the record is not whole.
    pub fn new(before: Disk, events: &[Event]) -> History {
        let mut history = History {
            before,
            changes: Vec::new(),
            made: Vec::new(),
            safe: Vec::new(),
            made_folders: BTreeSet::new(),
            events: events.len(),
        };
        // What lay there is the first files, in the order of their names.
        let mut names: BTreeMap<PathBuf, FileId> =
            history.before.files.keys().cloned().zip(0..).collect();
        let mut next = names.len();
        let mut of_number: BTreeMap<u64, FileId> = BTreeMap::new();
        for (position, event) in events.iter().enumerate() {
            let now = position + 1;
            let known = |of_number: &BTreeMap<u64, FileId>| of_number.get(&event.file).copied();
            let change = match event.call.as_str() {
                "create" => {
                    let path = event.path().to_owned();
                    let id = *names.entry(path.clone()).or_insert(next);
                    of_number.insert(event.file, id);
                    if id == next {
                        next += 1;
                        Some(Change::Name(path, id))
                    } else if event.at == 1 {
                        Some(Change::Length(id, 0))
                    } else {
                        None
                    }
                }
                "write" => {
                    let id =
                        known(&of_number).expect("a file that was made or opened to be written");
                    Some(Change::Bytes(id, event.at, event.first.clone().into()))
                }
                "truncate" => known(&of_number).map(|id| Change::Length(id, event.at)),
                "reserve" => known(&of_number).map(|id| Change::AtLeast(id, event.at)),
                "mkdir" => {
                    history.made_folders.insert(event.path().to_owned());
                    Some(Change::Folder(event.path().to_owned()))
                }
                "rename" => names.remove(event.path()).map(|id| {
                    names.insert(event.to().to_owned(), id);
                    Change::Rename(event.path().to_owned(), event.to().to_owned(), id)
                }),
                "link" => names.get(event.path()).copied().map(|id| {
                    names.insert(event.to().to_owned(), id);
                    Change::Name(event.to().to_owned(), id)
                }),
                "unlink" | "rmdir" => {
                    names.remove(event.path());
                    Some(Change::Unname(event.path().to_owned()))
                }
                "sync" => {
                    history.sync_file(known(&of_number), now);
                    None
                }
                "sync-folder" => {
                    history.sync_folder(event.path(), now);
                    None
                }
                _ => None,
            };
            if let Some(change) = change {
                history.changes.push(change);
                history.made.push(now);
                history.safe.push(usize::MAX);
            }
        }
        history
    }

    fn sync_file(&mut self, file: Option<FileId>, now: usize) {
        for (change, safe) in self.changes.iter().zip(&mut self.safe) {
            let of_file = match change {
                Change::Bytes(id, ..) | Change::Length(id, _) | Change::AtLeast(id, _) => {
                    Some(*id) == file
                }
                _ => false,
            };
            if of_file {
                *safe = now.min(*safe);
            }
        }
    }

    fn sync_folder(&mut self, folder: &Path, now: usize) {
        for (change, safe) in self.changes.iter().zip(&mut self.safe) {
            let named = match change {
                Change::Name(path, _)
                | Change::Folder(path)
                | Change::Rename(_, path, _)
                | Change::Unname(path) => parent(path) == folder,
                _ => false,
            };
            if named {
                *safe = now.min(*safe);
            }
        }
    }

    /// How many events there were.
    pub fn events(&self) -> usize {
        self.events
    }

    /// The files whose last name and bytes are safe after so many events, and are not touched later.
    pub fn promised(&self, events: usize) -> Vec<PathBuf> {
        let mut last: BTreeMap<&Path, (FileId, usize)> = BTreeMap::new();
        let mut bytes: BTreeMap<FileId, usize> = BTreeMap::new();
        for (change, &safe) in self.changes.iter().zip(&self.safe) {
            match change {
                Change::Name(path, id) => drop(last.insert(path, (*id, safe))),
                Change::Rename(from, path, id) => {
                    last.remove(from.as_path());
                    last.insert(path, (*id, safe));
                }
                Change::Unname(path) => drop(last.remove(path.as_path())),
                Change::Bytes(id, ..) | Change::Length(id, _) | Change::AtLeast(id, _) => {
                    let latest = bytes.entry(*id).or_default();
                    *latest = safe.max(*latest);
                }
                Change::Folder(_) => {}
            }
        }
        let safe = |id: FileId, named: usize| {
            named <= events && bytes.get(&id).is_none_or(|&bytes| bytes <= events)
        };
        let kept = last
            .into_iter()
            .filter(|(_, (id, named))| safe(*id, *named));
        kept.map(|(path, _)| path.to_owned()).collect()
    }

    /// A change in words.
    pub fn told(&self, change: usize) -> String {
        match &self.changes[change] {
            Change::Name(path, _) => format!("name {}", path.display()),
            Change::Folder(path) => format!("folder {}", path.display()),
            Change::Rename(from, to, _) => format!("rename {} to {}", from.display(), to.display()),
            Change::Unname(path) => format!("unname {}", path.display()),
            Change::Bytes(id, at, bytes) => format!("{} bytes of file {id} at {at}", bytes.len()),
            Change::Length(id, len) => format!("length {len} of file {id}"),
            Change::AtLeast(id, len) => format!("reserve {len} of file {id}"),
        }
    }

    /// The changes that a crash after so many events may lose.
    pub fn open_after(&self, events: usize) -> Vec<usize> {
        let open = |&change: &usize| self.made[change] <= events && self.safe[change] > events;
        (0..self.changes.len()).filter(open).collect()
    }

    /// The fates that a change may have, besides [`Fate::Kept`].
    pub fn fates(&self, change: usize) -> &'static [Fate] {
        match self.changes[change] {
            Change::Bytes(..) => &[Fate::Lost, Fate::Torn, Fate::Zeros],
            _ => &[Fate::Lost],
        }
    }

    /// What a crash after so many events leaves, where `fate` says what becomes of the open changes.
    pub fn after(&self, events: usize, fate: impl Fn(usize) -> Fate) -> Disk {
        let left = self.left(events, fate);
        let mut contents: BTreeMap<FileId, Arc<Vec<u8>>> = BTreeMap::new();
        let mut disk = Disk {
            files: BTreeMap::new(),
            folders: left
                .folders
                .iter()
                .map(|&folder| folder.to_owned())
                .collect(),
        };
        for (&path, id) in &left.names {
            let content = contents
                .entry(*id)
                .or_insert_with(|| self.content(*id, left.bytes.get(id)));
            disk.files.insert(path.to_owned(), Arc::clone(content));
        }
        disk
    }

    /// A hash of what a crash leaves: disks that differ have different ones.
    pub fn digest_after(&self, events: usize, fate: impl Fn(usize) -> Fate) -> [u8; 32] {
        let left = self.left(events, fate);
        let mut hasher = blake3::Hasher::new();
        for folder in left.folders {
            hasher
                .update(folder.as_os_str().as_encoded_bytes())
                .update(b"/");
        }
        for (path, id) in left.names {
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&(id as u64).to_le_bytes());
            for &(change, fate) in left.bytes.get(&id).into_iter().flatten() {
                hasher
                    .update(&(2 * change as u64).to_le_bytes())
                    .update(&[fate as u8]);
            }
        }
        *hasher.finalize().as_bytes()
    }

    fn left(&self, events: usize, fate: impl Fn(usize) -> Fate) -> Left<'_> {
        let before = self.before.files.keys().map(PathBuf::as_path).zip(0..);
        let mut names: BTreeMap<&Path, FileId> = before.collect();
        let mut folders: BTreeSet<&Path> =
            self.before.folders.iter().map(PathBuf::as_path).collect();
        let mut bytes: BTreeMap<FileId, Vec<(usize, Fate)>> = BTreeMap::new();
        for (position, change) in self.changes.iter().enumerate() {
            if self.made[position] > events {
                break;
            }
            let fate = if self.safe[position] <= events {
                Fate::Kept
            } else {
                fate(position)
            };
            if fate == Fate::Lost {
                continue;
            }
            match change {
                Change::Name(path, id) => drop(names.insert(path, *id)),
                Change::Folder(path) => drop(folders.insert(path)),
                Change::Rename(from, to, id) => {
                    names.remove(from.as_path());
                    names.insert(to, *id);
                }
                Change::Unname(path) => {
                    names.remove(path.as_path());
                    folders.remove(path.as_path());
                }
                Change::Bytes(id, ..) | Change::Length(id, _) | Change::AtLeast(id, _) => {
                    bytes.entry(*id).or_default().push((position, fate));
                }
            }
        }
        // What lies in a folder that is not there is not there either.
        let there = |path: &Path| {
            let above = path.ancestors().skip(1);
            above
                .take_while(|above| self.made_folders.contains(*above))
                .all(|above| folders.contains(above))
        };
        names.retain(|path, _| there(path));
        let folders = folders
            .iter()
            .copied()
            .filter(|folder| there(folder))
            .collect();
        Left {
            names,
            folders,
            bytes,
        }
    }

    fn content(&self, file: FileId, changes: Option<&Vec<(usize, Fate)>>) -> Arc<Vec<u8>> {
        let before = self.before.files.values().nth(file);
        let mut content = before.cloned().unwrap_or_default();
        for &(change, fate) in changes.into_iter().flatten() {
            match &self.changes[change] {
                Change::Bytes(_, at, bytes) => write(&mut content, *at, bytes, fate),
                Change::Length(_, len) => Arc::make_mut(&mut content).resize(*len as usize, 0),
                Change::AtLeast(_, len) => {
                    let content = Arc::make_mut(&mut content);
                    content.resize(content.len().max(*len as usize), 0);
                }
                _ => {}
            }
        }
        content
    }
}

/// What a crash leaves, by reference.
struct Left<'a> {
    names: BTreeMap<&'a Path, FileId>,
    folders: BTreeSet<&'a Path>,
    /// What became of each file's bytes and lengths.
    bytes: BTreeMap<FileId, Vec<(usize, Fate)>>,
}

fn write(content: &mut Arc<Vec<u8>>, at: u64, bytes: &[u8], fate: Fate) {
    let content = Arc::make_mut(content);
    let at = at as usize;
    let len = if fate == Fate::Torn {
        bytes.len() / 2
    } else {
        bytes.len()
    };
    if content.len() < at + len {
        content.resize(at + len, 0);
    }
    let place = &mut content[at..at + len];
    if fate == Fate::Zeros {
        place.fill(0);
    } else {
        place.copy_from_slice(&bytes[..len]);
    }
}

/// Ways in which the open changes of one crash may end, each as a list of those that are not kept.
pub fn fates_of(
    history: &History,
    open: &[usize],
    draws: u32,
    seed: u64,
) -> Vec<BTreeMap<usize, Fate>> {
    let lost = |keep: &dyn Fn(usize) -> bool| -> BTreeMap<usize, Fate> {
        open.iter()
            .enumerate()
            .filter(|(place, _)| !keep(*place))
            .map(|(_, &change)| (change, Fate::Lost))
            .collect()
    };
    let mut ways = vec![BTreeMap::new(), lost(&|_| false)];
    for (place, &change) in open.iter().enumerate() {
        for &fate in history.fates(change) {
            ways.push(BTreeMap::from([(change, fate)]));
        }
        ways.push(lost(&|other| other == place));
        ways.push(lost(&|other| other < place));
    }
    for draw in 0..draws {
        let mut way = BTreeMap::new();
        for &change in open {
            let random = Random::new(seed, PURPOSE, draw, change as u32);
            let fates = history.fates(change);
            if random.word(0).is_multiple_of(2) {
                way.insert(change, fates[random.word(1) as usize % fates.len()]);
            }
        }
        ways.push(way);
    }
    ways
}
