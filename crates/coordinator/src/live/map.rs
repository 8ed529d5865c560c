//! The map of a step: who works at which of its tasks, and who did it.
//!
//! **Invariant:** a cell has one code and a map a bounded number of cells, so that a page is told of ten thousand blocks in some
//! kilobytes, and of what changed in some bytes.

use tensor::{StepId, WorkerId};

/// Cells of a map at the most; tasks beyond share them.
pub const CELLS_MAX: u64 = 10_000;
/// Digits of a code.
const DIGITS: usize = 3;
/// Codes that these have room for, without the one of a task that waits.
const CODES: u32 = 36_u32.pow(DIGITS as u32) - 1;

/// A cell: 0 waits; of worker w, 1 + 2w is in work and 2 + 2w done.
pub type Cell = u16;

/// The map of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The step.
    pub step: StepId,
    /// Its name.
    pub name: String,
    /// Its tasks.
    pub tasks: u64,
    /// Those that are done.
    pub done: u64,
    /// A cell for each, up to [`CELLS_MAX`].
    pub cells: Vec<Cell>,
}

fn code(worker: WorkerId, done: bool) -> Cell {
    // Numbers beyond the room share codes with earlier ones: workers that came back a thousand times.
    let code = 1 + (2 * (worker.0 % (CODES / 2))) + u32::from(done);
    Cell::try_from(code).unwrap_or(Cell::MAX)
}

impl Map {
    /// Of a step that was just submitted.
    pub fn new(step: StepId, name: String, tasks: u64) -> Self {
        Map {
            step,
            name,
            tasks,
            done: 0,
            cells: vec![0; tasks.min(CELLS_MAX) as usize],
        }
    }

    fn cell(&mut self, index: u32) -> Option<&mut Cell> {
        let place = if self.tasks <= CELLS_MAX {
            u64::from(index)
        } else {
            u64::from(index) * CELLS_MAX / self.tasks
        };
        self.cells.get_mut(place as usize)
    }

    /// A worker has a task.
    pub fn given(&mut self, index: u32, worker: WorkerId) {
        if let Some(cell) = self.cell(index) {
            *cell = code(worker, false);
        }
    }

    /// Nobody has it any more.
    pub fn waits(&mut self, index: u32) {
        if let Some(cell) = self.cell(index) {
            *cell = 0;
        }
    }

    /// A worker did it.
    pub fn did(&mut self, index: u32, worker: WorkerId) {
        self.done = (self.done + 1).min(self.tasks);
        if let Some(cell) = self.cell(index) {
            *cell = code(worker, true);
        }
    }

    /// What a lost worker had in work waits again; what it did may be needed no more.
    pub fn lost(&mut self, worker: WorkerId) {
        let gone = code(worker, false);
        for cell in &mut self.cells {
            if *cell == gone {
                *cell = 0;
            }
        }
    }

    /// All cells, three digits of base 36 each.
    pub fn all(&self) -> String {
        let mut text = String::with_capacity(self.cells.len() * DIGITS);
        for cell in &self.cells {
            digits(*cell, &mut text);
        }
        text
    }

    /// The cells that differ from those of an earlier look, as `PLACE:CODE,...`.
    pub fn since(&self, before: &[Cell]) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (place, cell) in self.cells.iter().enumerate() {
            if before.get(place) != Some(cell) {
                let comma = if text.is_empty() { "" } else { "," };
                // Text into memory.
                let _ = write!(text, "{comma}{place}:{cell}");
            }
        }
        text
    }
}

fn digits(cell: Cell, text: &mut String) {
    let mut left = u32::from(cell);
    let mut digits = ['0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(left % 36, 36).unwrap_or('0');
        left /= 36;
    }
    text.extend(digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_map_tells_who_is_at_what() {
        let mut map = Map::new(StepId(4), "user half-step".into(), 4);
        map.given(0, WorkerId(0));
        map.given(1, WorkerId(1));
        map.did(1, WorkerId(1));
        map.did(3, WorkerId(17));
        assert_eq!(map.all(), "001004000010");
        assert_eq!((map.done, map.tasks), (2, 4));
        map.lost(WorkerId(0));
        map.lost(WorkerId(1));
        assert_eq!(map.all(), "000004000010", "what was done stays");
    }

    #[test]
    fn tasks_beyond_the_room_share_cells() {
        let mut map = Map::new(StepId(0), "tiles".into(), 10 * CELLS_MAX);
        assert_eq!(map.cells.len() as u64, CELLS_MAX);
        map.did(10 * CELLS_MAX as u32 - 1, WorkerId(2));
        assert_eq!(map.cells.last(), Some(&6));
        map.did(u32::MAX, WorkerId(2));
        map.given(u32::MAX, WorkerId(u32::MAX));
    }

    proptest! {
        #[test]
        fn a_difference_makes_the_old_map_the_new(
            events in proptest::collection::vec((0_u32..300, 0_u32..2000, any::<bool>()), 0..200),
            seen in 0_usize..200,
        ) {
            let mut map = Map::new(StepId(1), "x".into(), 300);
            let mut before = map.cells.clone();
            for (number, (index, worker, done)) in events.into_iter().enumerate() {
                if number == seen {
                    before.clone_from(&map.cells);
                }
                if done { map.did(index, WorkerId(worker)) } else { map.given(index, WorkerId(worker)) }
            }
            for change in map.since(&before).split(',').filter(|change| !change.is_empty()) {
                let (place, cell) = change.split_once(':').unwrap();
                before[place.parse::<usize>().unwrap()] = cell.parse().unwrap();
            }
            prop_assert_eq!(&before, &map.cells);
            let whole = map.all();
            let read = whole.as_bytes().chunks(DIGITS).map(|digits| {
                Cell::from_str_radix(std::str::from_utf8(digits).unwrap(), 36).unwrap()
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), map.cells);
        }
    }
}
