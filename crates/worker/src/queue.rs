//! The assignments that have not begun, in the order in which they came.

use plan::Assignment;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tensor::TaskId;
use tokio::sync::Notify;

/// Assignments that wait for a lane.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<Assignment>>,
    more: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Assignment>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts assignments behind those that wait.
    pub fn push(&self, assignments: Vec<Assignment>) {
        self.waiting().extend(assignments);
        self.more.notify_one();
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

    /// Takes a task out if it has not begun under this attempt.
    pub fn revoke(&self, task: TaskId, attempt: u32) -> bool {
        let mut waiting = self.waiting();
        let at = waiting
            .iter()
            .position(|a| a.task.id == task && a.attempt == attempt);
        at.is_some_and(|at| waiting.remove(at).is_some())
    }

    /// Takes all out.
    pub fn take_all(&self) -> Vec<Assignment> {
        self.waiting().drain(..).collect()
    }
}
