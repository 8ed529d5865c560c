//! How `--memory` is divided, and how much anonymous memory the process has.

/// The parts of a worker's memory. What is left over (a twelfth) is for the process itself: code, stacks,
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
    /// Buffers of blocks that are dropped, for those that follow.
    pub spare_bytes: u64,
}

/// Tasks run side by side only where each then has this much: the least pieces of all ops fit it.
const LANE_BYTES: u64 = 96 << 20;
/// What tasks get of every hundred bytes, where peers are in other processes and in this one.
const ROOM_AWAY: u64 = 35;
const ROOM_HERE: u64 = 60;
/// What spare buffers get.
const SPARE: u64 = 2;

impl Split {
    /// Divides a budget. Peers of the same process (`here`) hand over what they hold: it is counted where it
    /// was made, and nothing is copied or received.
    pub fn of(memory_bytes: u64, here: bool) -> Self {
        let hundredth = memory_bytes / 100;
        if here {
            return Split {
                shelf_bytes: hundredth * 25,
                copies_bytes: 0,
                receive_bytes: 0,
                room_bytes: hundredth * ROOM_HERE,
                spare_bytes: hundredth * SPARE,
            };
        }
        Split {
            shelf_bytes: hundredth * 25,
            copies_bytes: hundredth * 20,
            receive_bytes: hundredth * 10,
            room_bytes: hundredth * ROOM_AWAY,
            spare_bytes: hundredth * SPARE,
        }
    }

    /// Tasks side by side, up to `wanted`.
    pub fn lanes(&self, wanted: u32) -> u32 {
        let most = u32::try_from(self.room_bytes / LANE_BYTES).unwrap_or(u32::MAX);
        most.clamp(1, wanted.max(1))
    }

    /// What one task may use.
    pub fn task_bytes(&self, lanes: u32) -> u64 {
        self.room_bytes / u64::from(self.lanes(lanes))
    }

    /// The memory of a worker that gives a task `needed` bytes, in whole MiB.
    pub fn enough(needed: u64, lanes: u32, here: bool) -> u64 {
        let share = if here { ROOM_HERE } else { ROOM_AWAY };
        // The more lanes, the more memory: the first that does is the smallest.
        let memory = |lanes: u64| {
            (needed.saturating_mul(lanes).div_ceil(share) * 100).next_multiple_of(1 << 20)
        };
        (1..=u64::from(lanes.max(1)))
            .map(memory)
            .find(|&memory| Split::of(memory, here).task_bytes(lanes) >= needed)
            .unwrap_or_else(|| memory(u64::from(lanes.max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_something_for_the_process() {
        for (memory, here) in [(256 << 20, false), (8 << 30, false), (128 << 20, true)] {
            let split = Split::of(memory, here);
            let parts = split.shelf_bytes
                + split.copies_bytes
                + split.receive_bytes
                + split.room_bytes
                + split.spare_bytes;
            assert!(parts <= memory / 100 * 92 && parts > memory / 10 * 8);
        }
    }

    #[test]
    fn the_memory_named_as_enough_is_enough_and_little_more() {
        for here in [false, true] {
            for needed in [1, 48 << 20, 95 << 20, 96 << 20, 200 << 20, 1 << 34] {
                let enough = Split::enough(needed, 2, here);
                assert!(Split::of(enough, here).task_bytes(2) >= needed, "{needed}");
                let less = enough - (2 << 20).min(enough);
                assert!(Split::of(less, here).task_bytes(2) < needed, "{needed}");
            }
        }
    }

    #[test]
    fn tasks_run_side_by_side_only_where_each_has_room() {
        assert_eq!(Split::of(256 << 20, false).lanes(2), 1);
        assert_eq!(Split::of(128 << 20, true).lanes(2), 1);
        assert_eq!(Split::of(1 << 30, false).lanes(2), 2);
        assert_eq!(Split::of(1 << 40, false).lanes(2), 2);
    }
}
