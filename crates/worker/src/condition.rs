//! What a worker tells of itself over plain HTTP.
//!
//! **Invariant:** a look at counters; it holds up no lane.

use crate::exposition::Exposition;
use crate::http::Told;
use crate::session::Worker;
use serde::Serialize;

/// How a worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// It is leaving: it takes nothing new.
    pub draining: bool,
    /// The run that it serves, shortened.
    pub run: Option<String>,
    /// The leadership number of its coordinator.
    pub term: Option<u64>,
    /// Its number in that run.
    pub worker: Option<u32>,
    /// Tasks that run now.
    pub running: u64,
    /// Objects held now: made here, and copied from peers.
    pub made: u64,
    /// See above.
    pub copies: u64,
    /// Threads that compute.
    pub threads: u32,
    /// What it may fill.
    pub memory_budget_bytes: u64,
    /// Anonymous memory now.
    pub anonymous_bytes: u64,
    /// Since the process began: sessions that were opened.
    pub sessions: u64,
    /// Tasks done.
    pub tasks: u64,
    /// Tasks that could not be done.
    pub tasks_failed: u64,
    /// Bytes that peers had from here.
    pub sent_bytes: u64,
    /// Bytes that were had from peers.
    pub received_bytes: u64,
    /// Bytes to and from inputs and depots.
    pub storage_bytes: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Connections that were let in.
    pub connections: u64,
    /// Connections that were closed at once, since their address made too many.
    pub connections_refused: u64,
    /// Times that new ones were left waiting, since all together made too many.
    pub connections_put_off: u64,
}

impl Condition {
    fn figures(&self) -> String {
        let mut figures = Exposition::default();
        let one_or_none = |is: bool| f64::from(u8::from(is));
        let gauges = [
            (
                "worker_draining",
                "1 while it leaves and takes nothing new",
                one_or_none(self.draining),
            ),
            (
                "worker_serving",
                "1 while it serves a run",
                one_or_none(self.run.is_some()),
            ),
            (
                "worker_tasks_running",
                "Tasks that run now",
                self.running as f64,
            ),
            (
                "worker_connections_open",
                "Connections of coordinators, peers and strangers",
                self.connections_open as f64,
            ),
            (
                "worker_objects_made",
                "Block versions and partials held that were made here",
                self.made as f64,
            ),
            (
                "worker_objects_copied",
                "Copies of peers' objects held",
                self.copies as f64,
            ),
            (
                "memory_anonymous_bytes",
                "Anonymous memory of the process",
                self.anonymous_bytes as f64,
            ),
            (
                "memory_budget_bytes",
                "What the process may fill (--memory)",
                self.memory_budget_bytes as f64,
            ),
        ];
        for (name, help, value) in gauges {
            figures.gauge(name, help, value);
        }
        let counters = [
            (
                "worker_sessions",
                "Runs that were served, and that are",
                self.sessions,
            ),
            ("worker_tasks", "Tasks done", self.tasks),
            (
                "worker_tasks_failed",
                "Tasks that could not be done",
                self.tasks_failed,
            ),
            (
                "worker_sent_bytes",
                "Bytes that peers had from here",
                self.sent_bytes,
            ),
            (
                "worker_received_bytes",
                "Bytes that were had from peers",
                self.received_bytes,
            ),
            (
                "worker_storage_bytes",
                "Bytes to and from inputs and depots",
                self.storage_bytes,
            ),
            (
                "worker_connections",
                "Connections that were let in",
                self.connections,
            ),
            (
                "worker_connections_refused",
                "Connections that were closed at once: more in a second from one address than --connections-per-second",
                self.connections_refused,
            ),
            (
                "worker_connections_put_off",
                "Times that new connections were left waiting: more in a second from all addresses than four times that",
                self.connections_put_off,
            ),
        ];
        for (name, help, value) in counters {
            figures.counter(name, help, value);
        }
        figures.text()
    }
}

impl Told for Worker {
    fn is_ready(&self) -> bool {
        !self.condition().draining
    }

    fn metrics(&self) -> String {
        self.condition().figures()
    }

    fn status(&self) -> String {
        serde_json::to_string(&self.condition()).unwrap_or_default()
    }
}
