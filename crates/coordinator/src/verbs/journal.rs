//! The journal of a run, kept beside a local model while it goes on: what happened, fault by fault.
//!
//! **Invariant:** the run neither waits for it nor fails for it. It holds times, so nothing that is hashed names it, and no id, so
//! nobody needs to be forgotten in it.

use crate::driver::{OfWorker, Outcome, Report};
use crate::job::settings::Location;
use plan::Failure;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use store::journal::{Entry, Journal, Record};
use tensor::{Digest, News};

/// Where the journals of a model are.
pub const FOLDER: &str = "journal";

/// Records that become durable together.
const BATCH: usize = 256;

/// A journal that is being kept, by a thread of its own.
pub struct Keeper {
    tell: Sender<Entry>,
    thread: JoinHandle<()>,
    epoch_began: Instant,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The file of a run under a term: another coordinator has another term, and so another file.
fn file(model: &Path, run: Digest, term: u64) -> PathBuf {
    model
        .join(FOLDER)
        .join(format!("{}-{term:010}", run.short()))
}

impl Keeper {
    /// Begins to keep one; `None` where the place is not on a disk of this machine. Unless it is to be `always`, there is one only of
    /// a run that goes on from a checkpoint or makes one.
    pub fn open(
        place: Option<&Location>,
        (run, term): (Digest, u64),
        phase: &str,
        resumed: Option<u32>,
        always: bool,
    ) -> Option<Self> {
        let path = file(place?.as_path()?, run, term);
        let (tell, told) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || keep(&path, &told, always))
            .ok()?;
        let keeper = Keeper {
            tell,
            thread,
            epoch_began: Instant::now(),
        };
        let phase = phase.to_owned();
        keeper.add(Record::RunOpened { run, term, phase });
        if let Some(from_epoch) = resumed {
            keeper.add(Record::Resumed { from_epoch });
        }
        Some(keeper)
    }

    fn add(&self, record: Record) {
        let unix_ms = now();
        // The thread may have given up: it has said why.
        let _ = self.tell.send(Entry { unix_ms, record });
    }

    /// What the driver reports.
    pub fn hear(&mut self, report: &Report) {
        let record = match report {
            Report::News(News::Epoch {
                epoch, objective, ..
            }) => {
                let seconds = self.epoch_began.elapsed().as_secs_f64();
                self.epoch_began = Instant::now();
                Record::Epoch {
                    epoch: *epoch,
                    objective: *objective,
                    seconds,
                }
            }
            Report::Checkpoint { epoch, seconds } => Record::Checkpoint {
                epoch: *epoch,
                seconds: *seconds,
            },
            Report::RolledBack => Record::RolledBack,
            Report::Worker(worker, what) => {
                let worker = *worker;
                match what {
                    OfWorker::Joined { profile, address } => Record::WorkerJoined {
                        worker,
                        threads: profile.threads,
                        memory_bytes: profile.memory_bytes,
                        address: address.clone(),
                    },
                    OfWorker::Draining => Record::WorkerLeaving(worker),
                    OfWorker::Lost(_) => Record::WorkerLost {
                        worker,
                        given_up: false,
                    },
                    OfWorker::Suspected => Record::WorkerSuspected(worker),
                    OfWorker::Trusted => Record::WorkerTrusted(worker),
                    OfWorker::Slow(task) => Record::TaskSlow {
                        task: *task,
                        worker,
                    },
                    OfWorker::Differs(task) => Record::ResultsDiffer {
                        task: *task,
                        worker,
                    },
                    OfWorker::ShutOut => Record::WorkerShutOut(worker),
                    OfWorker::GivenUp => Record::WorkerLost {
                        worker,
                        given_up: true,
                    },
                    OfWorker::Given(task, attempt) if *attempt > 0 => Record::Replayed {
                        task: *task,
                        attempt: *attempt,
                    },
                    OfWorker::Failed {
                        task,
                        attempt,
                        failure,
                    } => Record::TaskFailed {
                        task: *task,
                        attempt: *attempt,
                        worker,
                        why: word(failure).to_owned(),
                    },
                    OfWorker::Alive { .. }
                    | OfWorker::Given(..)
                    | OfWorker::Returned(_)
                    | OfWorker::Done { .. } => return,
                }
            }
            Report::Step { .. } | Report::Tasks { .. } | Report::Note(_) | Report::Whole(_) => {
                return;
            }
        };
        self.add(record);
    }

    /// The run is over; returns when all of it is durable.
    pub fn close(self, ended: &Result<Outcome, Failure>) {
        self.add(match ended {
            Ok(outcome) if !outcome.cancelled => Record::Closed,
            Ok(_) => Record::Stopped { exit_code: 0 },
            Err(failure) => Record::Stopped {
                exit_code: failure.refusal().exit_code(),
            },
        });
        drop(self.tell);
        // It only writes a file: a panic there would be told by itself.
        let _ = self.thread.join();
    }
}

/// A word for a failure: its sentence may hold what must be forgotten one day.
fn word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unreachable { .. } => "unreachable",
        Failure::Corrupt { .. } => "damaged",
        Failure::Exhausted { .. } => "exhausted",
        Failure::Disk { .. } => "disk",
        Failure::Panicked { .. } => "panicked",
        Failure::Budget { .. } => "memory",
        Failure::Refused { .. } => "refused",
    }
}

/// Writes what comes until nothing can come any more.
fn keep(path: &Path, told: &Receiver<Entry>, always: bool) {
    let mut before = Vec::new();
    let mut is_due = always;
    while !is_due {
        let Ok(entry) = told.recv() else { return };
        let record = &entry.record;
        is_due = matches!(record, Record::Resumed { .. } | Record::Checkpoint { .. });
        before.push(entry);
    }
    let opened = Journal::open(path);
    let mut journal = match opened {
        Ok((journal, _)) => journal,
        Err(error) => return tracing::warn!(%error, "no journal is kept of this run"),
    };
    let mut write = |batch: &[Entry]| {
        let written = journal.append(batch);
        written.map_err(|error| tracing::warn!(%error, "the journal of this run ends here"))
    };
    if !before.is_empty() && write(&before).is_err() {
        return;
    }
    while let Ok(first) = told.recv() {
        let more = told.try_iter().take(BATCH - 1);
        let batch: Vec<Entry> = std::iter::once(first).chain(more).collect();
        if write(&batch).is_err() {
            return;
        }
    }
}
