//! The run as it goes on, for people and machines that ask over HTTP: `--http`.
//!
//! **Invariant:** the run never waits for who looks at it. It writes what is new into one small state; whoever asks reads the
//! latest, and what nobody read is gone.

mod figures;
mod map;
mod otlp;
mod serve;
mod state;
pub mod status;

pub use map::{CELLS_MAX, Cell, Map};
pub use otlp::Exporter;
pub use serve::Serving;
pub use state::State;
pub use status::Status;

use crate::driver::Report;
use crate::failure::Failure;
use crate::progress::{Observer, Unit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use store::heap::anonymous_bytes;
use tensor::{Digest, News};

/// The run as it goes on.
#[derive(Debug)]
pub struct Live {
    began: Instant,
    state: Mutex<State>,
    /// The most memory of the process, as its watch saw it when it was last asked.
    peak: Mutex<u64>,
}

impl Live {
    /// Of a verb that begins; `budget_bytes` is the `--memory` of this process.
    pub fn new(verb: &'static str, budget_bytes: u64) -> Self {
        Live {
            began: Instant::now(),
            state: Mutex::new(State::new(verb, budget_bytes)),
            peak: Mutex::new(0),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, f64) -> T) -> T {
        let now = self.began.elapsed().as_secs_f64();
        let mut state = self.locked();
        state.version += 1;
        act(&mut state, now)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run is opened on workers that join anew.
    pub fn open(&self, run: Digest, term: u64) {
        self.with(|state, now| state.open(now, run.short(), term));
    }

    /// What the driver reports.
    pub fn hear(&self, report: &Report) {
        self.with(|state, now| state.hear(now, report));
    }

    /// The verb is over.
    pub fn finish(&self, failure: Option<&Failure>) {
        let ended = failure.map(|failure| status::Ended {
            message: failure.message(),
            exit_code: failure.exit_code(),
        });
        self.with(|state, now| state.finish(now, ended));
    }

    /// All of it, now.
    pub fn status(&self) -> Status {
        let bytes = anonymous_bytes();
        let peak = {
            let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
            *peak = bytes.max(*peak);
            *peak
        };
        let now = self.began.elapsed().as_secs_f64();
        self.locked().status(now, bytes, peak)
    }
}

impl Observer for Live {
    fn begin(&self, phase: &str, unit: Unit, total: Option<u64>) {
        self.with(|state, now| state.begin(now, phase, unit.name(), total));
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        self.with(|state, now| state.progress(now, done, total));
    }

    fn end(&self, summary: &str) {
        self.with(|state, now| state.end(now, summary));
    }

    fn news(&self, news: &News) {
        self.with(|state, now| state.news(now, news));
    }

    fn note(&self, line: &str) {
        self.with(|state, now| state.note(now, line));
    }
}
