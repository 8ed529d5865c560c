//! The assignments that have not begun, in the order in which they came: those that compute in one line, those that
//! only wait for disks and stores in another, so that a checkpoint takes no turn from what computes.

use plan::Assignment;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tensor::{OpFamily, TaskId};
use tokio::sync::Notify;

/// Assignments that wait for a lane.
#[derive(Debug, Default)]
pub struct Queue {
    /// For lanes that compute.
    pub computing: Line,
    /// For lanes that store.
    pub storing: Line,
}

impl Queue {
    /// Puts assignments behind those that wait.
    pub fn push(&self, assignments: Vec<Assignment>) {
        let stores = |assignment: &Assignment| assignment.task.op.family == OpFamily::Builtin;
        let (storing, computing) = assignments.into_iter().partition(stores);
        self.storing.push(storing);
        self.computing.push(computing);
    }

    /// Takes a task out if it has not begun under this attempt.
    pub fn revoke(&self, task: TaskId, attempt: u32) -> bool {
        self.computing.revoke(task, attempt) || self.storing.revoke(task, attempt)
    }

    /// Takes all out.
    pub fn take_all(&self) -> Vec<Assignment> {
        let mut all = self.computing.take_all();
        all.append(&mut self.storing.take_all());
        all
    }
}

/// One line of them.
#[derive(Debug, Default)]
pub struct Line {
    waiting: Mutex<VecDeque<Assignment>>,
    more: Notify,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Assignment>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, assignments: Vec<Assignment>) {
        if !assignments.is_empty() {
            self.waiting().extend(assignments);
            self.more.notify_one();
        }
    }

    /// The first that waits, as soon as there is one.
    pub async fn next(&self) -> Assignment {
        loop {
            let (first, rest) = {
                let mut waiting = self.waiting();
                (waiting.pop_front(), !waiting.is_empty())
            };
            if let Some(first) = first {
                if rest {
                    // One permit wakes one lane: it wakes the next.
                    self.more.notify_one();
                }
                return first;
            }
            self.more.notified().await;
        }
    }

    fn revoke(&self, task: TaskId, attempt: u32) -> bool {
        let mut waiting = self.waiting();
        let at = waiting
            .iter()
            .position(|a| a.task.id == task && a.attempt == attempt);
        at.is_some_and(|at| waiting.remove(at).is_some())
    }

    fn take_all(&self) -> Vec<Assignment> {
        self.waiting().drain(..).collect()
    }
}
