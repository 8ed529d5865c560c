//! The coordinator's local journal of a run: what happened, for people and for tests, beside the manifests that
//! alone decide from where a run resumes.
//!
//! A file of frames: length (u32), CRC32C of the rest (u32), version (u16), the record in bincode. Each append is
//! fsynced; a tail that was torn by a crash is cut off at the next opening.
//!
//! **Invariant:** the only use of bincode. It is unmaintained (RUSTSEC-2025-0141): pinned, fed only with frames of
//! ours whose sum is right, and bounded.

use crate::error::StoreError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tensor::{Digest, StepId, TaskId};

const VERSION: u16 = 1;
const HEAD_BYTES: usize = 8;
/// Version and record; the longest record takes some 60 bytes.
const FRAME_BYTES_MAX: usize = 4096;

/// Something that happened in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record {
    /// A coordinator opened the run under this term.
    RunOpened {
        /// The run key.
        run: Digest,
        /// The term it claimed.
        term: u64,
    },
    /// It goes on from a checkpoint.
    Resumed {
        /// The epoch that the checkpoint closes.
        from_epoch: u32,
    },
    /// A task was assigned again, because a worker or what it held was lost.
    Replayed {
        /// Which.
        task: TaskId,
        /// The attempt that begins.
        attempt: u32,
    },
    /// An epoch ended.
    Epoch {
        /// Which, from 1.
        epoch: u32,
        /// The objective, where there is one.
        objective: Option<f64>,
        /// Since the epoch before.
        seconds: f64,
    },
    /// The run ended well.
    Closed,
}

#[derive(bincode::Encode, bincode::Decode)]
enum Stored {
    RunOpened([u8; 32], u64),
    Resumed(u32),
    Replayed(u64, u32, u32),
    Epoch(u32, Option<f64>, f64),
    Closed,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        match *record {
            Record::RunOpened { run, term } => Stored::RunOpened(run.0, term),
            Record::Resumed { from_epoch } => Stored::Resumed(from_epoch),
            Record::Replayed { task, attempt } => {
                Stored::Replayed(task.step.0, task.index, attempt)
            }
            Record::Epoch {
                epoch,
                objective,
                seconds,
            } => Stored::Epoch(epoch, objective, seconds),
            Record::Closed => Stored::Closed,
        }
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::RunOpened(run, term) => Record::RunOpened {
                run: Digest(run),
                term,
            },
            Stored::Resumed(from_epoch) => Record::Resumed { from_epoch },
            Stored::Replayed(step, index, attempt) => Record::Replayed {
                task: TaskId {
                    step: StepId(step),
                    index,
                },
                attempt,
            },
            Stored::Epoch(epoch, objective, seconds) => Record::Epoch {
                epoch,
                objective,
                seconds,
            },
            Stored::Closed => Record::Closed,
        }
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal, made where it is missing, and returns what it holds. A torn tail is cut off.
    ///
    /// # Errors
    /// Where the file cannot be read, or was written by another version.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), StoreError> {
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
        let (records, sound) = read_frames(path, &bytes)?;
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
            },
            records,
        ))
    }

    /// Adds a record; it is durable when this returns.
    ///
    /// # Errors
    /// Where the disk is full. What was half-written is cut off again.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let start = self
            .file
            .stream_position()
            .map_err(StoreError::io(&self.path, "read"))?;
        let frame = frame(&self.path, record)?;
        let written = self
            .file
            .write_all(&frame)
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            let _ = self.file.set_len(start);
            let _ = self.file.seek(SeekFrom::Start(start));
            StoreError::write(&self.path, start)(error)
        })
    }
}

fn malformed(path: &Path, reason: String) -> StoreError {
    StoreError::Malformed {
        file: path.to_owned(),
        what: "run journal",
        reason,
    }
}

fn frame(path: &Path, record: &Record) -> Result<Vec<u8>, StoreError> {
    let record = bincode::encode_to_vec(Stored::from(record), bincode::config::standard())
        .map_err(|error| malformed(path, error.to_string()))?;
    let mut frame = vec![0; HEAD_BYTES];
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&record);
    let (head, body) = frame.split_at_mut(HEAD_BYTES);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    Ok(frame)
}

/// The records of all whole frames from the front, and where they end.
fn read_frames(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, usize), StoreError> {
    let mut records = Vec::new();
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
        let (stored, used): (Stored, usize) = bincode::decode_from_slice(record, config)
            .map_err(|error| malformed(path, error.to_string()))?;
        if used != record.len() {
            return Err(malformed(
                path,
                "a record is longer than what it says".to_owned(),
            ));
        }
        records.push(stored.into());
        at += HEAD_BYTES + body.len();
    }
    Ok((records, at))
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

    fn records() -> Vec<Record> {
        vec![
            Record::RunOpened {
                run: Digest([7; 32]),
                term: 3,
            },
            Record::Resumed { from_epoch: 4 },
            Record::Replayed {
                task: TaskId {
                    step: StepId(9),
                    index: 2,
                },
                attempt: 1,
            },
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
            Record::Closed,
        ]
    }

    #[test]
    fn records_survive_and_a_torn_tail_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, []);
        let mut ends = vec![0];
        for record in records() {
            journal.append(&record).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, found) = Journal::open(&path).unwrap();
            let count = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
            assert_eq!(found, records()[..count], "cut at {cut}");
            journal.append(&Record::Closed).unwrap();
            drop(journal);
            assert_eq!(Journal::open(&path).unwrap().1.len(), count + 1);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut whole: Vec<u8> = Vec::new();
        for record in records() {
            whole.extend(frame(&path, &record).unwrap());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x5a;
            assert!(
                read_frames(&path, &bytes).is_ok_and(|(found, _)| found.len() < records().len())
            );
        }
        // A frame with a right sum and a wrong version or record is an error.
        for body in [&[2, 0, 4][..], &[1, 0, 99], &[1, 0, 4, 4]] {
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
