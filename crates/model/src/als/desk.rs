//! What a thread computes with, and how it passes from task to task.
//!
//! **Invariant:** no result depends on what lies on a desk when a task takes it.

use super::lines::Lines;
use super::packed::Packed;
use super::waiting::Waiting;
use kernels::{
    CHUNK, GROUP, batch_len, conjugate_gradients_scratch, dual_scratch, panel_len, solve_scratch,
    subspace_scratch, system_len,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Interactions whose weights and targets are at hand together.
pub const TERMS: usize = 8 * CHUNK;

/// What one thread computes with.
pub struct Desk {
    /// Gathered rows.
    pub panel: Lines,
    /// Weights of some chunks.
    pub weights: Vec<f32>,
    /// Targets of some chunks.
    pub targets: Vec<f32>,
    /// Row ids of a chunk, where they must be gathered: one list per source.
    pub ids: [Vec<u32>; 3],
    /// A system that is summed in one chunk.
    pub chunk: Lines,
    /// A system that is summed in one segment.
    pub sum: Vec<f64>,
    /// Systems ready to be solved together.
    pub batch: Lines,
    /// The rows of these systems.
    pub waiting: Waiting,
    /// Their copy, to measure the solutions by.
    pub copy: Vec<f32>,
    /// Scratch of the solver.
    pub solver: Lines,
    /// The square of a system, where rows are descended; empty before the first.
    pub square: Vec<f32>,
    /// Sums by bin of some rows, zeros between tasks; empty before the first.
    pub bins: Lines,
    /// The same of one row, in f64.
    pub bin_sum: Vec<f64>,
    /// A row that is solved on its panel.
    pub packed: Packed,
    /// Its right-hand side.
    pub rhs: Lines,
    /// What of it has no line.
    pub rest: Lines,
}

impl Desk {
    /// A desk for rows of this width, and for panels of so many interactions.
    pub fn new(width: usize, panel: usize) -> Self {
        let system = system_len(width);
        Desk {
            panel: Lines::zeroed(panel_len(width)),
            weights: vec![0.0; TERMS],
            targets: vec![0.0; TERMS],
            ids: [vec![0; CHUNK], vec![0; CHUNK], vec![0; CHUNK]],
            chunk: Lines::zeroed(system),
            sum: vec![0.0; system],
            batch: Lines::zeroed(batch_len(width) * system),
            waiting: Waiting::default(),
            copy: Vec::new(),
            solver: Lines::zeroed(scratch_len(width, panel)),
            square: Vec::new(),
            bins: Lines::default(),
            bin_sum: Vec::new(),
            packed: Packed::new(width, panel),
            rhs: Lines::zeroed(width),
            rest: Lines::zeroed(width),
        }
    }

    /// Bytes of a desk.
    pub fn bytes(width: usize, panel: usize) -> u64 {
        let floats = panel_len(width)
            + (3 + 2 * batch_len(width)) * system_len(width)
            + scratch_len(width, panel)
            + (2 + batch_len(width)) * width
            + 3 * CHUNK
            + 2 * TERMS;
        4 * floats as u64 + Packed::bytes(width, panel)
    }
}

/// Floats of scratch that any solver needs, on panels of so many interactions.
fn scratch_len(width: usize, panel: usize) -> usize {
    if panel == 0 {
        return solve_scratch(width);
    }
    let lines = panel.next_multiple_of(GROUP);
    solve_scratch(width)
        .max(conjugate_gradients_scratch(width))
        .max(subspace_scratch(width, lines))
        .max(dual_scratch(width, lines.min(width)))
}

/// A desk for each thread of the installed pool.
pub struct Desks(Vec<Mutex<Desk>>);

/// Sets of desks that are kept between tasks.
const KEPT: usize = 2;

/// Desks that no task uses: what the next one would make again. Making them anew for every task cost half a percent of an epoch.
#[derive(Default)]
pub struct SpareDesks(Mutex<Vec<Set>>);

struct Set {
    width: usize,
    panel: usize,
    desks: Desks,
}

impl SpareDesks {
    fn spare(&self) -> MutexGuard<'_, Vec<Set>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Desks as [`Desks::new`] makes them; what is on them is of another task.
    pub fn take(&self, width: usize, panel: usize, threads: usize) -> Desks {
        let mut spare = self.spare();
        let fits = |set: &Set| (set.width, set.panel, set.desks.count()) == (width, panel, threads);
        let place = spare.iter().position(fits);
        let found = place.map(|place| spare.swap_remove(place).desks);
        drop(spare);
        found.unwrap_or_else(|| Desks::new(width, panel, threads))
    }

    /// Takes desks back, but no more than `budget_bytes` of them: the oldest go.
    pub fn give(&self, width: usize, panel: usize, desks: Desks, budget_bytes: u64) {
        let bytes = desks.count() as u64 * Desk::bytes(width, panel);
        if KEPT as u64 * bytes <= budget_bytes {
            let mut spare = self.spare();
            if spare.len() == KEPT {
                spare.remove(0);
            }
            spare.push(Set {
                width,
                panel,
                desks,
            });
        }
    }
}

impl Desks {
    /// Desks for rows of this width, and for panels of so many interactions.
    pub fn new(width: usize, panel: usize, threads: usize) -> Self {
        Desks(
            (0..threads.max(1))
                .map(|_| Mutex::new(Desk::new(width, panel)))
                .collect(),
        )
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Works at this thread's desk.
    ///
    /// # Panics
    /// Where a thread panicked at it before.
    pub fn at<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        let place = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        work(&mut self.0[place].lock().expect("no thread panics at its desk"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn desks_pass_to_tasks_of_their_size_and_within_a_budget() {
        let spare = SpareDesks::default();
        let mut desks = spare.take(16, 0, 2);
        desks.0[0].get_mut().unwrap().weights[0] = 7.0;
        spare.give(16, 0, desks, u64::MAX);
        let marked = |desks: &Desks| desks.at(|desk| desk.weights[0]);
        assert_eq!(marked(&spare.take(32, 0, 2)), 0.0);
        assert_eq!(marked(&spare.take(16, 0, 1)), 0.0);
        let desks = spare.take(16, 0, 2);
        assert_eq!(marked(&desks), 7.0);
        spare.give(16, 0, desks, 2 * KEPT as u64 * Desk::bytes(16, 0) - 1);
        assert_eq!(marked(&spare.take(16, 0, 2)), 0.0, "beyond the budget");
    }
}
