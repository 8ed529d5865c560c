//! A trace in Chrome's event format (`about:tracing`, Perfetto): one process per worker, one lane per
//! lane and phase of it.

use std::io::{self, Write};
use tensor::WorkerId;
use wire::{Done, Phase};

/// Writes events as they come.
pub struct Trace {
    out: Box<dyn Write + Send>,
    events: u64,
}

/// Lanes of one compute lane: fetch, compute, send.
const PHASES: u32 = 3;

impl Trace {
    /// A trace into a file, a buffer, ...
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Trace { out, events: 0 }
    }

    /// A worker's session opened.
    pub(super) fn joined(&mut self, worker: WorkerId, threads: u32) -> io::Result<()> {
        self.event(&serde_json::json!({
            "name": "process_name", "ph": "M", "pid": worker.0,
            "args": {"name": format!("worker {} ({threads} threads)", worker.0)},
        }))
    }

    /// A task was done. `opened_us` is when the worker's session opened, on the driver's clock.
    pub(super) fn done(
        &mut self,
        worker: WorkerId,
        opened_us: u64,
        step: &str,
        done: &Done,
    ) -> io::Result<()> {
        for span in &done.spans {
            let (phase, offset) = match span.phase {
                Phase::Fetch => ("fetch", 0),
                Phase::Compute => ("compute", 1),
                Phase::Send => ("send", 2),
            };
            self.event(&serde_json::json!({
                "name": step, "cat": phase, "ph": "X",
                "ts": opened_us + span.start_us, "dur": span.length_us,
                "pid": worker.0, "tid": done.lane * PHASES + offset,
                "args": {"task": done.task.to_string(), "attempt": done.attempt, "pieces": done.pieces},
            }))?;
        }
        Ok(())
    }

    fn event(&mut self, event: &serde_json::Value) -> io::Result<()> {
        self.out
            .write_all(if self.events == 0 { b"[\n" } else { b",\n" })?;
        self.events += 1;
        serde_json::to_writer(&mut self.out, event).map_err(io::Error::from)
    }

    /// Completes the file.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out
            .write_all(if self.events == 0 { b"[]\n" } else { b"\n]\n" })?;
        self.out.flush()
    }
}
