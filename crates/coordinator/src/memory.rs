//! The anonymous memory of this process: what it may use, and the most it has used.
//!
//! **Invariant:** anonymous memory only; pages of mapped files can be dropped by the system and do not count.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use store::heap::anonymous_bytes;
use tensor::ByteSize;

/// How often the size is read: a phase of some seconds is then seen dozens of times. Every look wakes a thread, 0.1 ms.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// What a machine without any known limit is taken to have.
const FALLBACK: u64 = 2 << 30;

/// 60 % of what the cgroup or the machine allows, and no less than the smallest budget.
pub fn default_budget() -> ByteSize {
    let limit = cgroup_limit()
        .into_iter()
        .chain(machine_total())
        .min()
        .unwrap_or(FALLBACK);
    ByteSize((limit / 5 * 3).max(crate::job::check::MEMORY_MIN.0))
}

fn machine_total() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

fn cgroup_limit() -> Option<u64> {
    let places = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    places
        .iter()
        .find_map(|place| fs::read_to_string(place).ok()?.trim().parse().ok())
}

/// A field of `/proc` in bytes; the file gives kibibytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[derive(Debug, Default)]
struct Shared {
    peak: AtomicU64,
    phase: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn sample(&self) {
        let now = anonymous_bytes();
        self.peak.fetch_max(now, Ordering::Relaxed);
        self.phase.fetch_max(now, Ordering::Relaxed);
    }
}

/// Watches the anonymous memory of this process from a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct PeakMemory {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl PeakMemory {
    /// Starts watching.
    pub fn watch() -> Self {
        let shared = Arc::new(Shared::default());
        shared.sample();
        let watched = shared.clone();
        let watch = move || {
            while !watched.stop.load(Ordering::Relaxed) {
                watched.sample();
                std::thread::park_timeout(SAMPLE_EVERY);
            }
        };
        // Without the thread the figure is that of the moments at which it is asked for.
        let thread = std::thread::Builder::new()
            .name("memory".into())
            .spawn(watch)
            .ok();
        Self { shared, thread }
    }

    /// The most so far.
    pub fn peak_bytes(&self) -> u64 {
        self.shared.sample();
        self.shared.peak.load(Ordering::Relaxed)
    }

    /// The most since this was last asked: the peak of a phase, where it is asked at the end of each.
    pub fn take_phase_bytes(&self) -> u64 {
        self.shared.sample();
        self.shared.phase.swap(0, Ordering::Relaxed)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only reads a file: it cannot have failed in a way that matters here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_raises_the_peak_and_leaves_it_there() {
        let memory = PeakMemory::watch();
        let before = memory.peak_bytes();
        let buffer = std::hint::black_box(vec![1_u8; 64 << 20]);
        let with = memory.take_phase_bytes();
        assert!(with >= before.max(buffer.len() as u64), "{before} {with}");
        drop(buffer);
        assert!(memory.peak_bytes() >= with);
    }

    #[test]
    fn the_default_is_a_share_of_a_limit() {
        assert!(default_budget() >= crate::job::check::MEMORY_MIN);
        assert_eq!(
            field("MemFree: 1 kB\nMemTotal:   2048 kB\n", "MemTotal:"),
            Some(2 << 20)
        );
    }
}
