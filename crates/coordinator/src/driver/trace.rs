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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tensor::{StepId, TaskId};
    use wire::Span;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(fill: impl FnOnce(&mut Trace)) -> Vec<serde_json::Value> {
        let buffer = Buffer::default();
        let mut trace = Trace::new(Box::new(buffer.clone()));
        fill(&mut trace);
        trace.finish().expect("memory takes it");
        let bytes = buffer.0.lock().expect("no panic").clone();
        serde_json::from_slice(&bytes).expect("a trace is one JSON array")
    }

    #[test]
    fn a_trace_names_workers_and_has_a_lane_for_each_phase() {
        assert!(written(|_| {}).is_empty());
        let span = |phase, start_us| Span {
            phase,
            start_us,
            length_us: 7,
        };
        let done = Done {
            task: TaskId {
                step: StepId(4),
                index: 2,
            },
            attempt: 1,
            partial: Vec::new(),
            wrote: Vec::new(),
            pieces: 3,
            cut_rows: 0,
            lane: 1,
            spans: vec![
                span(Phase::Fetch, 10),
                span(Phase::Compute, 20),
                span(Phase::Send, 30),
            ],
            peak_anonymous_bytes: 0,
            traffic: Vec::new(),
        };
        let events = written(|trace| {
            trace.joined(WorkerId(3), 2).expect("memory takes it");
            trace
                .done(WorkerId(3), 100, "user \"half-step\"", &done)
                .expect("memory takes it");
        });
        let of = |key: &str| -> Vec<String> {
            let values = events.iter().map(|event| event[key].to_string());
            values.collect()
        };
        assert_eq!(of("ph"), ["\"M\"", "\"X\"", "\"X\"", "\"X\""]);
        assert_eq!(of("pid"), ["3"; 4]);
        assert_eq!(of("ts")[1..], ["110", "120", "130"]);
        assert_eq!(of("tid")[1..], ["3", "4", "5"], "lane 1, three phases");
        assert_eq!(of("cat")[1..], ["\"fetch\"", "\"compute\"", "\"send\""]);
        assert_eq!(events[1]["name"], "user \"half-step\"");
        assert_eq!(events[0]["args"]["name"], "worker 3 (2 threads)");
    }
}
