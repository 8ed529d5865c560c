//! A worker that has fallen silent is suspected long before it is given up: what it was to do goes to others, and what
//! only it holds is made again, until it speaks.
//!
//! **Invariant:** suspicion decides who computes, never what: the suspected one's answers count as before, and what it
//! holds is kept aside and counts again once it is trusted. A suspicion that was wrong costs tasks that are done twice.

use crate::action::Action;
use crate::plan::Plan;
use crate::queues::Worker;
use tensor::{TaskId, WorkerId};

impl Plan {
    /// Whether a worker is there and not suspected.
    pub(crate) fn trusts(&self, worker: WorkerId) -> bool {
        let worker = self.workers.get(&worker);
        worker.is_some_and(|worker| !worker.suspected)
    }

    /// Suspects whoever has been silent beyond its patience. Where nobody else could do their work there is nothing to
    /// hand out, and going back to a checkpoint would only lose what they may still have.
    pub(crate) fn suspect_silent(&mut self) {
        let now = self.now;
        let silent = |worker: &Worker| now.0.saturating_sub(worker.seen.0) > worker.patience_ms;
        let could = |worker: &Worker| worker.takes_tasks() && !silent(worker);
        if !self.workers.values().any(could) {
            return;
        }
        let late = self
            .workers
            .iter()
            .filter(|(_, worker)| !worker.suspected && silent(worker));
        let late: Vec<WorkerId> = late.map(|(id, _)| *id).collect();
        for worker in late {
            self.suspect(worker);
        }
    }

    fn suspect(&mut self, worker: WorkerId) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.suspected = true;
        self.out.push(Action::Suspect(worker));
        self.unbind(worker);
        let held = self.objects.held_by(worker);
        for key in &held {
            self.objects.entry(*key).aside.push(worker);
        }
        self.bereave(worker, held);
        for task in self.given_to(worker) {
            self.requeue(task);
        }
    }

    /// It speaks again. The next time one is more patient with it, up to its lease: who falls silent again and again
    /// would else throw the run back again and again.
    pub(crate) fn trust(&mut self, worker: WorkerId) {
        let lease = self.settings.lease_ms;
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.suspected = false;
        state.patience_ms = state.patience_ms.saturating_mul(2).min(lease);
        self.out.push(Action::Trust(worker));
        for key in self.objects.aside_of(worker) {
            let existed = self.objects.exists(&key);
            let object = self.objects.entry(key);
            object.aside.retain(|holder| *holder != worker);
            object.holders.push(worker);
            if existed {
                self.watches.moved(key);
            } else {
                self.appeared(key);
            }
        }
        // What nobody else has begun stays with it.
        for task in self.given_to(worker) {
            self.unlist(task);
        }
    }

    /// The tasks that a worker was given and has not answered for.
    fn given_to(&self, worker: WorkerId) -> Vec<TaskId> {
        let given = self
            .tasks
            .iter()
            .filter(|(_, entry)| entry.live.iter().any(|live| live.worker == worker));
        given.map(|(id, _)| *id).collect()
    }
}
