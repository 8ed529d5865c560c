//! What a plan may be told, as one small struct.

/// Limits of patience and of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tasks a worker may have at once, so that small tasks do not cost a round trip each.
    pub depth: usize,
    /// A worker that is silent for longer is suspected: others do its tasks until it speaks again.
    pub suspect_ms: u64,
    /// A worker that is silent for longer is dismissed and counts as lost.
    pub lease_ms: u64,
    /// A task that takes so many times as long as others of its step, by their cost, and a second more, is given to an idle
    /// worker as well. 0: never.
    pub slow_factor: u64,
    /// So many millionths of the tasks are computed by two workers, and their results compared.
    pub verify_millionths: u32,
    /// With no worker for longer than this the run ends.
    pub grace_ms: u64,
    /// A task that failed this often for passing reasons ends the run.
    pub attempts_max: u32,
    /// A worker is dismissed from which objects could not be had this often within a lease, though it lives.
    pub unreached_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            depth: 8,
            // Two heartbeats of half a second and a second, less a look at the time.
            suspect_ms: 1_900,
            lease_ms: 10_000,
            slow_factor: 3,
            verify_millionths: 0,
            grace_ms: 300_000,
            attempts_max: 6,
            unreached_max: 4,
        }
    }
}
