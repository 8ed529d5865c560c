//! Who does what: the ready tasks over the workers, and help where one is slow.

use crate::action::{Action, Assignment};
use crate::plan::Plan;
use std::collections::BTreeMap;
use tensor::{TaskId, WorkerId};

/// A task is asked back for an idle worker only if it costs at least this much (some 10 ms of work):
/// a round trip for less is a loss.
const STEAL_COST_MIN: u64 = 100_000;
/// A task is slow where it takes this many times what the others of its step took for the same cost,
const SLOW_FACTOR: u64 = 3;
/// and this much longer.
const SLOW_MS_MIN: u64 = 1_000;

impl Plan {
    /// Fills the queues of all workers that have run low.
    pub(crate) fn dispatch(&mut self) {
        let mut given: BTreeMap<WorkerId, Vec<Assignment>> = BTreeMap::new();
        if !self.ready.is_empty() {
            let low = self.settings.depth / 2;
            let usable = self
                .workers
                .iter()
                .filter(|(_, state)| !state.draining && state.queue.len() <= low);
            let mut open: Vec<WorkerId> = usable.map(|(id, _)| *id).collect();
            while let Some((place, worker)) = self.least_loaded(&open) {
                match self.pick(worker) {
                    Some(task) => given
                        .entry(worker)
                        .or_default()
                        .extend(self.give(worker, task)),
                    None => drop(open.remove(place)),
                }
            }
        }
        self.out.extend(
            given
                .into_iter()
                .map(|(worker, tasks)| Action::Assign(worker, tasks)),
        );
        self.steal(STEAL_COST_MIN);
    }

    fn least_loaded(&self, open: &[WorkerId]) -> Option<(usize, WorkerId)> {
        let load = |id: &WorkerId| {
            self.workers
                .get(id)
                .map(|w| (w.load_per_thread(), w.queue.len()))
        };
        let (place, worker) = open
            .iter()
            .enumerate()
            .min_by_key(|(_, id)| (load(id), **id))?;
        Some((place, *worker))
    }

    /// The next task for a worker: its own, or, when it is about to run dry, one kept for another.
    fn pick(&self, worker: WorkerId) -> Option<TaskId> {
        let queued = self.workers.get(&worker)?.queue.len();
        if queued >= self.settings.depth {
            return None;
        }
        let own = self.ready.own(worker);
        if own.is_some() || queued > 1 {
            return own;
        }
        let welcome = |id| {
            self.tasks
                .get(&id)
                .is_some_and(|entry| !entry.avoid.contains(&worker))
        };
        self.ready.foreign(worker, welcome)
    }

    /// Workers that have nothing to do, while nothing waits.
    fn idle(&self) -> Vec<WorkerId> {
        let idle = self
            .workers
            .iter()
            .filter(|(_, state)| !state.draining && state.queue.is_empty());
        idle.map(|(id, _)| *id).collect()
    }

    /// Asks back, for each idle worker, the last task that the most loaded worker has not begun.
    fn steal(&mut self, cost_min: u64) {
        let idle = self.idle().len();
        if idle == 0 || self.workers.len() == idle {
            return;
        }
        let asked = self
            .workers
            .values()
            .flat_map(|state| &state.queue)
            .filter(|given| given.revoked)
            .count();
        for _ in asked..idle {
            let waiting = |id: &WorkerId| {
                let queue = &self.workers[id].queue;
                let fits = |given: &&crate::queues::Given| {
                    !given.revoked
                        && !given.chained
                        && given.cost >= cost_min
                        && self.is_live(*id, given.task)
                };
                let last = queue.iter().skip(1).rfind(fits);
                last.map(|given| (given.task, given.attempt))
            };
            let victims = self
                .workers
                .keys()
                .copied()
                .filter(|id| waiting(id).is_some());
            let Some(victim) = victims.max_by_key(|id| (self.workers[id].load_per_thread(), *id))
            else {
                return;
            };
            let (task, attempt) = waiting(&victim).expect("the victim has such a task");
            let state = self
                .workers
                .get_mut(&victim)
                .expect("the victim is a worker");
            let given = state
                .queue
                .iter_mut()
                .rfind(|given| (given.task, given.attempt) == (task, attempt));
            if let Some(given) = given {
                given.revoked = true;
            }
            self.out.push(Action::Revoke(victim, task, attempt));
        }
    }

    fn is_live(&self, worker: WorkerId, task: TaskId) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|entry| entry.live.iter().any(|live| live.worker == worker))
    }

    /// As time passes: cheap tasks that are stuck behind a slow one are asked back too, and a slow task
    /// is given to an idle worker as well. The first result wins.
    pub(crate) fn chase_slow(&mut self) {
        if !self.ready.is_empty() {
            return;
        }
        self.steal(0);
        for idle in self.idle() {
            let Some(task) = self.slowest(idle) else {
                return;
            };
            let assignment = self.give(idle, task);
            self.out
                .extend(assignment.map(|assignment| Action::Assign(idle, vec![assignment])));
        }
    }

    /// The task that has run the longest beyond what its cost suggests, of those with one attempt.
    fn slowest(&self, idle: WorkerId) -> Option<TaskId> {
        let heads = self.workers.iter().filter_map(|(id, state)| {
            let given = state.queue.first()?;
            let entry = self.tasks.get(&given.task)?;
            let (ms, cost) = self.steps.get(&given.task.step)?.spent;
            let eligible = !given.chained
                && entry.missing == 0
                && entry.live.len() == 1
                && entry.live[0].worker == *id
                && !entry.avoid.contains(&idle)
                && cost >= given.cost;
            let expected = ms.saturating_mul(given.cost) / cost.max(1);
            let spent = self.now.0.saturating_sub(state.head_since.0);
            let late = spent.checked_sub(SLOW_FACTOR * expected + SLOW_MS_MIN)?;
            (eligible && late > 0).then_some((late, given.task))
        });
        heads.max().map(|(_, task)| task)
    }
}
