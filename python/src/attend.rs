//! Long work beside Python: it runs on a thread of its own, while the calling thread hears what it tells and looks for Ctrl-C.
//!
//! **Invariant:** the calling thread holds the GIL only while it calls Python; work that was asked to stop is waited for, so that
//! nothing of it is left behind when the call ends.

use coordinator::failure::{Failure, Kind};
use coordinator::progress::{Observer, Unit};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tensor::News;
use tokio_util::sync::CancellationToken;

/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Progress is told at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// What the work tells.
#[derive(Debug)]
enum Said {
    Begin(String, &'static str, Option<u64>),
    Progress(u64, Option<u64>),
    End(String),
    Epoch(News),
    Note(String),
}

/// The end of the channel that the work speaks into.
pub struct Speaker {
    said: Mutex<(Sender<Said>, Instant)>,
}

impl Speaker {
    fn say(&self, said: Said) {
        let (sender, _) = &*self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // The listener only goes once the work is done.
        let _ = sender.send(said);
    }
}

impl Observer for Speaker {
    fn begin(&self, phase: &str, unit: Unit, total: Option<u64>) {
        self.say(Said::Begin(phase.to_owned(), unit.name(), total));
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        let (sender, told) = &mut *self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PROGRESS_EVERY {
            *told = Instant::now();
            // As above.
            let _ = sender.send(Said::Progress(done, total));
        }
    }

    fn end(&self, summary: &str) {
        self.say(Said::End(summary.to_owned()));
    }

    fn news(&self, news: &News) {
        self.say(Said::Epoch(news.clone()));
    }

    fn note(&self, line: &str) {
        self.say(Said::Note(line.to_owned()));
    }
}

/// Runs the work to its end. What it tells goes to `hear`, which is called with a word and what belongs to it; Ctrl-C, and an
/// exception of `hear`, ask it to stop and are raised when it has.
pub fn attended<T: Send>(
    py: Python<'_>,
    hear: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Speaker, CancellationToken) -> Result<T, Failure> + Send,
) -> PyResult<T> {
    let (sender, heard) = channel();
    let heard = Mutex::new(heard);
    let stop = CancellationToken::new();
    std::thread::scope(|scope| {
        let speaker = Speaker {
            said: Mutex::new((sender, Instant::now())),
        };
        let stopping = stop.clone();
        let working = std::thread::Builder::new()
            .name("strata".to_owned())
            .spawn_scoped(scope, move || work(speaker, stopping))?;
        let mut raised = None;
        loop {
            let said = match next(py, &heard) {
                Ok(said) => Some(said),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let done = py.check_signals().and_then(|()| match (said, hear) {
                (Some(said), Some(hear)) => tell(hear, said),
                _ => Ok(()),
            });
            if let Err(error) = done {
                stop.cancel();
                raised.get_or_insert(error);
            }
        }
        let done = py.detach(|| working.join());
        match (raised, done) {
            // Ctrl-C, with the sentence that says how to go on.
            (Some(raised), Ok(Err(failure)))
                if raised.is_instance_of::<PyKeyboardInterrupt>(py)
                    && failure.kind == Kind::Interrupted =>
            {
                Err(exception(py, &failure))
            }
            (Some(raised), _) => Err(raised),
            (None, Ok(done)) => done.map_err(|failure| exception(py, &failure)),
            (None, Err(_)) => Err(exception(py, &bug())),
        }
    })
}

/// What is told next: nothing yet, or nothing ever again.
fn next(py: Python<'_>, heard: &Mutex<Receiver<Said>>) -> Result<Said, RecvTimeoutError> {
    py.detach(|| {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.recv_timeout(LOOK)
    })
}

fn tell(hear: &Bound<'_, PyAny>, said: Said) -> PyResult<()> {
    match said {
        Said::Begin(phase, unit, total) => hear.call1(("begin", phase, unit, total)),
        Said::Progress(done, total) => hear.call1(("progress", done, total)),
        Said::End(summary) => hear.call1(("end", summary)),
        Said::Epoch(News::Epoch {
            epoch,
            epochs,
            objective,
            metrics,
        }) => hear.call1(("epoch", epoch, epochs, objective, metrics)),
        Said::Note(line) => hear.call1(("note", line)),
    }?;
    Ok(())
}

fn bug() -> Failure {
    Failure::new(
        plan::Refusal::Bug,
        "the engine stopped by a fault of its own: what it said stands on stderr",
    )
}

/// The exception of a failure. Its sentences name keys, so the places in a job that was never written down are left out.
pub fn exception(py: Python<'_>, failure: &Failure) -> PyErr {
    let sentences: Vec<&str> = failure
        .complaints
        .iter()
        .map(|complaint| complaint.sentence.as_str())
        .collect();
    let made = py.import("strata.errors").and_then(|errors| {
        let of = match failure.kind {
            Kind::Interrupted | Kind::Terminated => "interrupted",
            Kind::Refused(_) => failure.kind.name(),
        };
        errors.call_method1("of", (of, failure.exit_code(), sentences.join("; ")))
    });
    match made {
        Ok(made) => PyErr::from_value(made),
        Err(error) => error,
    }
}
