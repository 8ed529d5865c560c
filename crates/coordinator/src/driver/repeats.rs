//! Which tasks are done again: what was computed and is lost, and neither what was given back unbegun nor the second result of a
//! comparison.

use plan::Assignment;
use std::collections::{BTreeMap, BTreeSet};
use tensor::TaskId;

#[derive(Default)]
pub(super) struct Repeats {
    done: BTreeSet<TaskId>,
    /// Those whose second result is for comparison.
    compared: BTreeSet<TaskId>,
    /// How often each was given back unbegun, where it was.
    returned: BTreeMap<TaskId, u32>,
}

impl Repeats {
    /// A task is given to a worker: how many of the attempts before this one came to nothing.
    pub fn given(&mut self, given: &Assignment) -> u32 {
        let id = given.task.id;
        let returned = self.returned.get(&id).copied().unwrap_or(0);
        if given.verify {
            self.compared.insert(id);
        }
        given
            .attempt
            .saturating_sub(returned + u32::from(given.verify))
    }

    pub fn returned(&mut self, task: TaskId) {
        *self.returned.entry(task).or_default() += 1;
    }

    /// A task is done: whether it had been before.
    pub fn done(&mut self, task: TaskId) -> bool {
        !self.done.insert(task) && !self.compared.remove(&task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tensor::{Op, OpFamily, StepId, Task};

    const ID: TaskId = TaskId {
        step: StepId(3),
        index: 7,
    };

    fn given(attempt: u32, verify: bool) -> Assignment {
        Assignment {
            task: Arc::new(Task {
                id: ID,
                op: Op {
                    family: OpFamily::Probe,
                    version: 1,
                    body: Vec::new().into(),
                },
                reads: Vec::new(),
                writes: Vec::new(),
                after: Vec::new(),
                chain: None,
                cost: 1,
            }),
            attempt,
            verify,
            sources: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_lost_is_done_again() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.given(&given(0, false)), 0);
        repeats.returned(ID);
        assert_eq!(repeats.given(&given(1, false)), 0, "it was not begun");
        assert!(!repeats.done(ID));
        assert_eq!(repeats.given(&given(2, false)), 1);
        assert!(repeats.done(ID));
    }

    #[test]
    fn a_comparison_is_no_repetition() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.given(&given(0, true)), 0);
        repeats.returned(ID);
        assert_eq!(repeats.given(&given(1, true)), 0);
        assert!(!repeats.done(ID));
        assert_eq!(repeats.given(&given(2, true)), 0, "to be compared");
        assert!(!repeats.done(ID));
        assert_eq!(repeats.given(&given(3, true)), 1);
    }
}
