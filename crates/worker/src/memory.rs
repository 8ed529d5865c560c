//! How `--memory` is divided, and how much anonymous memory the process has.

/// The parts of a worker's memory. What is left over (a tenth) is for the process itself: code, stacks,
/// transport buffers of control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Block versions that this worker made; beyond it they are spilled.
    pub shelf_bytes: u64,
    /// Whole blocks pulled from peers, kept for the next task that reads them.
    pub copies_bytes: u64,
    /// Pulls under way (DESIGN 3.6: a tenth).
    pub receive_bytes: u64,
    /// All running tasks together.
    pub room_bytes: u64,
}

impl Split {
    /// Divides a budget.
    pub fn of(memory_bytes: u64) -> Self {
        let hundredth = memory_bytes / 100;
        Split {
            shelf_bytes: hundredth * 25,
            copies_bytes: hundredth * 20,
            receive_bytes: hundredth * 10,
            room_bytes: hundredth * 35,
        }
    }

    /// Pulls at once: each may fill one stream window.
    pub fn pulls_max(&self) -> usize {
        let windows = self.receive_bytes / u64::from(wire::settings::STREAM_WINDOW_BYTES);
        windows.clamp(2, 16) as usize
    }
}

/// The anonymous memory of this process, as the kernel counts it; 0 where it cannot be told.
pub fn anonymous_bytes() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_something_for_the_process() {
        for memory in [256 << 20, 8 << 30, 1 << 40] {
            let split = Split::of(memory);
            let parts =
                split.shelf_bytes + split.copies_bytes + split.receive_bytes + split.room_bytes;
            assert!(parts <= memory / 10 * 9 && parts > memory / 10 * 8);
        }
        assert_eq!(Split::of(256 << 20).pulls_max(), 2);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(anonymous_bytes() > 0);
    }
}
