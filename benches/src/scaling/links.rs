//! Links as queues: each worker has one in each direction, and so has the coordinator.

/// Nanoseconds of virtual time.
pub type Nanos = u64;

/// Seconds as nanoseconds.
pub fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos
}

/// What works off one thing after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    free: Nanos,
    /// For how long it worked in all.
    pub busy: Nanos,
}

impl Queue {
    /// Takes something that comes now and takes so long: when it is done.
    pub fn take(&mut self, now: Nanos, long: Nanos) -> Nanos {
        self.free = self.free.max(now) + long;
        self.busy += long;
        self.free
    }
}
