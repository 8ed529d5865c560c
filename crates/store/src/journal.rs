//! The coordinator's local journal of a run: what happened, for people and for tests, beside the manifests that
//! alone decide from where a run resumes. One coordinator writes one file: the name has its term.
//!
//! A file of frames: length (u32), CRC32C of the rest (u32), version (u16), time and record in bincode. Each append is
//! fsynced; a tail that was torn by a crash is cut off at the next opening. A file has a most: its last record then says that it is full.
//!
//! **Invariant:** the only use of bincode. It is unmaintained (RUSTSEC-2025-0141): pinned, fed only with frames of
//! ours whose sum is right, and bounded. No record holds a word of users' data: ids that are to be forgotten are not in here.

use crate::error::StoreError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tensor::{Digest, StepId, TaskId, WorkerId};

const VERSION: u16 = 2;
const HEAD_BYTES: usize = 8;
/// Version, time and record; texts are cut.
const FRAME_BYTES_MAX: usize = 4096;
/// Bytes of a text in a record.
const TEXT_BYTES_MAX: usize = 256;
/// Bytes of a file, but for the frame that says so.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Something that happened in a run, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Milliseconds since 1970, by the coordinator's clock.
    pub unix_ms: u64,
    /// What.
    pub record: Record,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A coordinator opened the run under this term.
    RunOpened {
        /// The run key.
        run: Digest,
        /// The term it claimed.
        term: u64,
        /// The phase, as in `train`.
        phase: String,
    },
    /// It goes on from a checkpoint.
    Resumed {
        /// The epoch that the checkpoint closes.
        from_epoch: u32,
    },
    /// A worker's session is open.
    WorkerJoined {
        /// Its number in the run.
        worker: WorkerId,
        /// Threads that compute.
        threads: u32,
        /// Its `--memory`.
        memory_bytes: u64,
        /// Where it is; empty in the coordinator's process.
        address: String,
    },
    /// A worker finishes what it has begun and takes nothing new.
    WorkerLeaving(WorkerId),
    /// A worker is gone.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// It was silent for too long; else its session ended.
        given_up: bool,
    },
    /// A worker has fallen silent: others do its tasks.
    WorkerSuspected(WorkerId),
    /// A suspected worker speaks again.
    WorkerTrusted(WorkerId),
    /// A task takes long, and is given to another worker as well.
    TaskSlow {
        /// Which.
        task: TaskId,
        /// Who takes long.
        worker: WorkerId,
    },
    /// Another worker came to another result of a task than this one.
    ResultsDiffer {
        /// Which.
        task: TaskId,
        /// One of the two.
        worker: WorkerId,
    },
    /// Two workers came to another result than this one, which is of the run no more.
    WorkerShutOut(WorkerId),
    /// A task could not be done.
    TaskFailed {
        /// Which.
        task: TaskId,
        /// Under which attempt.
        attempt: u32,
        /// By whom.
        worker: WorkerId,
        /// A word for why.
        why: String,
    },
    /// A task was assigned again, because a worker or what it held was lost.
    Replayed {
        /// Which.
        task: TaskId,
        /// The attempt that begins.
        attempt: u32,
    },
    /// The program went back to its last durable checkpoint.
    RolledBack,
    /// An epoch ended.
    Epoch {
        /// Which, from 1.
        epoch: u32,
        /// The objective, where there is one.
        objective: Option<f64>,
        /// Since the epoch before.
        seconds: f64,
    },
    /// A checkpoint became durable.
    Checkpoint {
        /// The epoch that it closes.
        epoch: u32,
        /// What it took.
        seconds: f64,
    },
    /// The run ended well.
    Closed,
    /// It ended otherwise.
    Stopped {
        /// The exit code; 0 where somebody asked for it.
        exit_code: u8,
    },
    /// The file has its most: what follows is not in it.
    Full,
}

#[derive(bincode::Encode, bincode::Decode)]
enum Stored {
    RunOpened([u8; 32], u64, String),
    Resumed(u32),
    WorkerJoined(u32, u32, u64, String),
    WorkerLeaving(u32),
    WorkerLost(u32, bool),
    TaskFailed((u64, u32), u32, u32, String),
    Replayed(u64, u32, u32),
    RolledBack,
    Epoch(u32, Option<f64>, f64),
    Checkpoint(u32, f64),
    Closed,
    Stopped(u8),
    Full,
    // Younger ones stand behind: journals are read for ever.
    WorkerSuspected(u32),
    WorkerTrusted(u32),
    TaskSlow((u64, u32), u32),
    ResultsDiffer((u64, u32), u32),
    WorkerShutOut(u32),
}

/// The beginning of a text, cut between characters.
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        match record {
            Record::RunOpened { run, term, phase } => Stored::RunOpened(run.0, *term, short(phase)),
            Record::Resumed { from_epoch } => Stored::Resumed(*from_epoch),
            Record::WorkerJoined {
                worker,
                threads,
                memory_bytes,
                address,
            } => Stored::WorkerJoined(worker.0, *threads, *memory_bytes, short(address)),
            Record::WorkerLeaving(worker) => Stored::WorkerLeaving(worker.0),
            Record::WorkerLost { worker, given_up } => Stored::WorkerLost(worker.0, *given_up),
            Record::TaskFailed {
                task,
                attempt,
                worker,
                why,
            } => Stored::TaskFailed((task.step.0, task.index), *attempt, worker.0, short(why)),
            Record::Replayed { task, attempt } => {
                Stored::Replayed(task.step.0, task.index, *attempt)
            }
            Record::RolledBack => Stored::RolledBack,
            Record::Epoch {
                epoch,
                objective,
                seconds,
            } => Stored::Epoch(*epoch, *objective, *seconds),
            Record::Checkpoint { epoch, seconds } => Stored::Checkpoint(*epoch, *seconds),
            Record::Closed => Stored::Closed,
            Record::Stopped { exit_code } => Stored::Stopped(*exit_code),
            Record::Full => Stored::Full,
            Record::WorkerSuspected(worker) => Stored::WorkerSuspected(worker.0),
            Record::WorkerTrusted(worker) => Stored::WorkerTrusted(worker.0),
            Record::ResultsDiffer { task, worker } => {
                Stored::ResultsDiffer((task.step.0, task.index), worker.0)
            }
            Record::WorkerShutOut(worker) => Stored::WorkerShutOut(worker.0),
            Record::TaskSlow { task, worker } => {
                Stored::TaskSlow((task.step.0, task.index), worker.0)
            }
        }
    }
}

fn task(step: u64, index: u32) -> TaskId {
    TaskId {
        step: StepId(step),
        index,
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::RunOpened(run, term, phase) => Record::RunOpened {
                run: Digest(run),
                term,
                phase,
            },
            Stored::Resumed(from_epoch) => Record::Resumed { from_epoch },
            Stored::WorkerJoined(worker, threads, memory_bytes, address) => Record::WorkerJoined {
                worker: WorkerId(worker),
                threads,
                memory_bytes,
                address,
            },
            Stored::WorkerLeaving(worker) => Record::WorkerLeaving(WorkerId(worker)),
            Stored::WorkerLost(worker, given_up) => Record::WorkerLost {
                worker: WorkerId(worker),
                given_up,
            },
            Stored::TaskFailed((step, index), attempt, worker, why) => Record::TaskFailed {
                task: task(step, index),
                attempt,
                worker: WorkerId(worker),
                why,
            },
            Stored::Replayed(step, index, attempt) => Record::Replayed {
                task: task(step, index),
                attempt,
            },
            Stored::RolledBack => Record::RolledBack,
            Stored::Epoch(epoch, objective, seconds) => Record::Epoch {
                epoch,
                objective,
                seconds,
            },
            Stored::Checkpoint(epoch, seconds) => Record::Checkpoint { epoch, seconds },
            Stored::Closed => Record::Closed,
            Stored::Stopped(exit_code) => Record::Stopped { exit_code },
            Stored::Full => Record::Full,
            Stored::WorkerSuspected(worker) => Record::WorkerSuspected(WorkerId(worker)),
            Stored::WorkerTrusted(worker) => Record::WorkerTrusted(WorkerId(worker)),
            Stored::ResultsDiffer((step, index), worker) => Record::ResultsDiffer {
                task: task(step, index),
                worker: WorkerId(worker),
            },
            Stored::WorkerShutOut(worker) => Record::WorkerShutOut(WorkerId(worker)),
            Stored::TaskSlow((step, index), worker) => Record::TaskSlow {
                task: task(step, index),
                worker: WorkerId(worker),
            },
        }
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    bytes: u64,
    full: bool,
}

impl Journal {
    /// Opens the journal, made where it is missing, and returns what it holds. A torn tail is cut off.
    ///
    /// # Errors
    /// Where the file or its folder cannot be made or read, or was written by another version.
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(StoreError::io(folder, "made"))?;
        }
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(StoreError::io(path, "opened"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(StoreError::io(path, "read"))?;
        let (entries, sound) = read_frames(path, &bytes)?;
        if sound < bytes.len() {
            file.set_len(sound as u64)
                .map_err(StoreError::write(path, sound as u64))?;
            file.sync_all()
                .map_err(StoreError::write(path, sound as u64))?;
        }
        file.seek(SeekFrom::Start(sound as u64))
            .map_err(StoreError::io(path, "read"))?;
        Ok((
            Journal {
                file,
                path: path.to_owned(),
                bytes: sound as u64,
                full: entries
                    .last()
                    .is_some_and(|last| last.record == Record::Full),
            },
            entries,
        ))
    }

    /// What a journal holds, which may be written meanwhile: it is left as it is.
    ///
    /// # Errors
    /// Where the file cannot be read, or was written by another version.
    pub fn read(path: &Path) -> Result<Vec<Entry>, StoreError> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(StoreError::io(path, "opened"))?;
        let mut file = file.take(FILE_BYTES_MAX + FRAME_BYTES_MAX as u64);
        file.read_to_end(&mut bytes)
            .map_err(StoreError::io(path, "read"))?;
        Self::parse(path, &bytes)
    }

    /// What stands in the bytes of a journal; `path` is for messages.
    ///
    /// # Errors
    /// Where they were written by another version.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
        Ok(read_frames(path, bytes)?.0)
    }

    /// Adds entries; they are durable when this returns. A full file takes no more.
    ///
    /// # Errors
    /// Where the disk is full. What was half-written is cut off again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut frames = Vec::new();
        for entry in entries {
            if self.full {
                break;
            }
            let next = frame(&self.path, entry)?;
            if self.bytes + (frames.len() + next.len()) as u64 > FILE_BYTES_MAX {
                self.full = true;
                let record = Record::Full;
                frames.extend(frame(&self.path, &Entry { record, ..*entry })?);
            } else {
                frames.extend(next);
            }
        }
        let written = self
            .file
            .write_all(&frames)
            .and_then(|()| self.file.sync_data());
        let start = self.bytes;
        written.map_err(|error| {
            let _ = self.file.set_len(start);
            let _ = self.file.seek(SeekFrom::Start(start));
            StoreError::write(&self.path, start)(error)
        })?;
        self.bytes += frames.len() as u64;
        Ok(())
    }
}

fn malformed(path: &Path, reason: String) -> StoreError {
    StoreError::Malformed {
        file: path.to_owned(),
        what: "run journal",
        reason,
    }
}

fn frame(path: &Path, entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let stored = (entry.unix_ms, Stored::from(&entry.record));
    let record = bincode::encode_to_vec(stored, bincode::config::standard())
        .map_err(|error| malformed(path, error.to_string()))?;
    let mut frame = vec![0; HEAD_BYTES];
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&record);
    let (head, body) = frame.split_at_mut(HEAD_BYTES);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    Ok(frame)
}

/// What stands in all whole frames from the front, and where they end.
fn read_frames(path: &Path, bytes: &[u8]) -> Result<(Vec<Entry>, usize), StoreError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(body) = next_body(&bytes[at..]) {
        let (version, record) = body.split_at(2);
        if version != VERSION.to_le_bytes() {
            let version = u16::from_le_bytes([version[0], version[1]]);
            return Err(malformed(
                path,
                format!("it was written by another version ({version}): move it away"),
            ));
        }
        let config = bincode::config::standard().with_limit::<FRAME_BYTES_MAX>();
        let ((unix_ms, stored), used): ((u64, Stored), usize) =
            bincode::decode_from_slice(record, config)
                .map_err(|error| malformed(path, error.to_string()))?;
        if used != record.len() {
            return Err(malformed(
                path,
                "a record is longer than what it says".to_owned(),
            ));
        }
        let record = stored.into();
        entries.push(Entry { unix_ms, record });
        at += HEAD_BYTES + body.len();
    }
    Ok((entries, at))
}

/// The body of the frame in front, if it is whole.
fn next_body(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len) as usize;
    let body = rest
        .get(..len)
        .filter(|_| (2..=FRAME_BYTES_MAX).contains(&len))?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*sum)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let worker = WorkerId(3);
        let task = task(9, 2);
        let records = [
            Record::RunOpened {
                run: Digest([7; 32]),
                term: 3,
                phase: "train".to_owned(),
            },
            Record::Resumed { from_epoch: 4 },
            Record::WorkerJoined {
                worker,
                threads: 16,
                memory_bytes: 1 << 33,
                address: "10.0.0.7:7070".to_owned(),
            },
            Record::WorkerLeaving(worker),
            Record::WorkerLost {
                worker,
                given_up: true,
            },
            Record::TaskFailed {
                task,
                attempt: 0,
                worker,
                why: "unreachable".to_owned(),
            },
            Record::Replayed { task, attempt: 1 },
            Record::RolledBack,
            Record::Epoch {
                epoch: 5,
                objective: Some(0.1),
                seconds: 2.5,
            },
            Record::Epoch {
                epoch: 6,
                objective: None,
                seconds: 2.5,
            },
            Record::Checkpoint {
                epoch: 6,
                seconds: 0.5,
            },
            Record::Stopped { exit_code: 74 },
            Record::Closed,
        ];
        let entry = |(number, record)| Entry {
            unix_ms: 1_800_000_000_000 + number as u64,
            record,
        };
        records.into_iter().enumerate().map(entry).collect()
    }

    #[test]
    fn records_survive_and_a_torn_tail_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, []);
        let mut ends = vec![0];
        for record in entries() {
            journal.append(&[record]).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let read = Journal::read(&path).unwrap();
            let (mut journal, found) = Journal::open(&path).unwrap();
            assert_eq!(read, found, "cut at {cut}");
            let count = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
            assert_eq!(found, entries()[..count], "cut at {cut}");
            journal.append(&entries()[..1]).unwrap();
            drop(journal);
            assert_eq!(Journal::open(&path).unwrap().1.len(), count + 1);
        }
    }

    #[test]
    fn a_full_file_says_so_and_takes_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let long = |unix_ms| Entry {
            unix_ms,
            record: Record::WorkerJoined {
                worker: WorkerId(0),
                threads: 1,
                memory_bytes: 1,
                address: "ä".repeat(5000),
            },
        };
        let many: Vec<Entry> = (0..80_000).map(long).collect();
        journal.append(&many).unwrap();
        journal.append(&entries()).unwrap();
        let found = Journal::read(&path).unwrap();
        let last = found.last().unwrap();
        assert_eq!(last.record, Record::Full);
        assert!(found.len() < 80_000 && last.unix_ms + 1 == found.len() as u64);
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes <= FILE_BYTES_MAX + 100, "{bytes}");
        let (mut again, _) = Journal::open(&path).unwrap();
        again.append(&entries()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut whole: Vec<u8> = Vec::new();
        for record in entries() {
            whole.extend(frame(&path, &record).unwrap());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x5a;
            assert!(
                read_frames(&path, &bytes).is_ok_and(|(found, _)| found.len() < entries().len())
            );
        }
        // A frame with a right sum and a wrong version or record is an error.
        for body in [&[1, 0, 0, 10][..], &[2, 0, 0, 99], &[2, 0, 0, 10, 10]] {
            let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
            bytes.extend(crc32c::crc32c(body).to_le_bytes());
            bytes.extend(body);
            assert!(
                matches!(
                    read_frames(&path, &bytes),
                    Err(StoreError::Malformed { .. })
                ),
                "{body:?}"
            );
        }
    }
}
