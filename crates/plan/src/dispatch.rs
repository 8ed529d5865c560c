//! Who does what: the ready tasks over the workers, and help where one is slow.

use crate::action::{Action, Assignment};
use crate::plan::Plan;
use crate::queues::{Given, Kind, Line, Worker};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{TaskId, WorkerId};

/// A task is asked back for an idle worker only if it costs at least this much (some 10 ms of work):
/// a round trip for less is a loss.
const STEAL_COST_MIN: u64 = 100_000;
/// A task is slow where it takes a multiple of what the others of its step took for the same cost, and this much longer.
const SLOW_MS_MIN: u64 = 1_000;

impl Plan {
    /// Fills the queues of all workers that have run low.
    pub(crate) fn dispatch(&mut self) {
        let mut given: BTreeMap<WorkerId, Vec<Assignment>> = BTreeMap::new();
        for kind in Kind::ALL {
            self.fill(kind, &mut given);
        }
        self.out.extend(
            given
                .into_iter()
                .map(|(worker, tasks)| Action::Assign(worker, tasks)),
        );
        for kind in Kind::ALL {
            self.steal(kind, STEAL_COST_MIN);
        }
    }

    fn fill(&mut self, kind: Kind, given: &mut BTreeMap<WorkerId, Vec<Assignment>>) {
        if !self.ready.has(kind) {
            return;
        }
        let low = self.settings.depth / 2;
        let usable = self
            .workers
            .iter()
            .filter(|(_, state)| state.takes_tasks() && state.line(kind).queue.len() <= low);
        let load = |id: WorkerId, state: &Worker| {
            let queued = state.line(kind).queue.len();
            (state.load_per_thread(kind), queued, id)
        };
        // The least loaded first; a thousand workers are not compared anew for each task.
        let mut open: BTreeSet<(u64, usize, WorkerId)> =
            usable.map(|(id, state)| load(*id, state)).collect();
        while let Some((.., worker)) = open.pop_first() {
            let Some(task) = self.pick(kind, worker) else {
                continue;
            };
            let assignment = self.give(worker, task);
            given.entry(worker).or_default().extend(assignment);
            open.extend(self.workers.get(&worker).map(|state| load(worker, state)));
        }
    }

    /// The next task for a worker: its own, or, when it is about to run dry, one kept for another.
    fn pick(&self, kind: Kind, worker: WorkerId) -> Option<TaskId> {
        let queued = self.workers.get(&worker)?.line(kind).queue.len();
        if queued >= self.settings.depth {
            return None;
        }
        let own = self.ready.own(kind, worker);
        if own.is_some() || queued > 1 {
            return own;
        }
        let welcome = |id| {
            self.tasks
                .get(&id)
                .is_some_and(|entry| !entry.shuns(worker))
        };
        self.ready.foreign(kind, worker, welcome)
    }

    /// Workers that have nothing of a kind to do, while nothing waits.
    fn idle(&self, kind: Kind) -> Vec<WorkerId> {
        let idle = self
            .workers
            .iter()
            .filter(|(_, state)| state.takes_tasks() && state.line(kind).queue.is_empty());
        idle.map(|(id, _)| *id).collect()
    }

    /// Asks back, for each idle worker, the last task that the most loaded worker has not begun. One pass over the workers:
    /// looking for the most loaded one anew for each idle one took milliseconds an event with a thousand workers.
    fn steal(&mut self, kind: Kind, cost_min: u64) {
        let idle = self.idle(kind).len();
        if idle == 0 || self.workers.len() == idle {
            return;
        }
        let asked = self
            .workers
            .values()
            .filter(|state| !state.suspected)
            .flat_map(|state| &state.line(kind).queue)
            .filter(|given| given.revoked)
            .count();
        if asked >= idle {
            return;
        }
        let may = |id: WorkerId, given: &Given| {
            !given.revoked
                && !given.chained
                && given.cost >= cost_min
                && self.is_live(id, given.task)
        };
        // What is asked back stays in its line until it is answered for, so loads are as they are.
        let behind = |id, line: &Line| {
            let waiting = line.queue.iter().skip(1);
            waiting.filter(|given| may(id, given)).count()
        };
        let mut victims: Vec<(u64, WorkerId)> = self
            .workers
            .iter()
            .filter(|(id, state)| !state.suspected && behind(**id, state.line(kind)) > 0)
            .map(|(id, state)| (state.load_per_thread(kind), *id))
            .collect();
        victims.sort_unstable_by_key(|victim| Reverse(*victim));
        let waiting = victims.into_iter().flat_map(|(_, id)| {
            let queue = &self.workers[&id].line(kind).queue;
            let last_first = queue.iter().skip(1).rev();
            last_first
                .filter(move |given| may(id, given))
                .map(move |given| (id, given.task, given.attempt))
        });
        let wanted: Vec<(WorkerId, TaskId, u32)> = waiting.take(idle - asked).collect();
        for (victim, task, attempt) in wanted {
            let state = self.workers.get_mut(&victim);
            if let Some(given) = state.and_then(|state| state.given_mut(task, attempt)) {
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
        for kind in Kind::ALL {
            if !self.ready.has(kind) {
                self.chase(kind);
            }
        }
    }

    fn chase(&mut self, kind: Kind) {
        self.steal(kind, 0);
        if self.settings.slow_factor == 0 {
            return;
        }
        for idle in self.idle(kind) {
            let Some((slow, task)) = self.slowest(kind, idle) else {
                return;
            };
            self.out.push(Action::Slow(slow, task));
            let assignment = self.give(idle, task);
            self.out
                .extend(assignment.map(|assignment| Action::Assign(idle, vec![assignment])));
        }
    }

    /// The task that has run the longest beyond what its cost suggests, of those with one attempt.
    fn slowest(&self, kind: Kind, idle: WorkerId) -> Option<(WorkerId, TaskId)> {
        let trusted = self.workers.iter().filter(|(_, state)| !state.suspected);
        let heads = trusted.filter_map(|(id, state)| {
            let line = state.line(kind);
            let given = line.queue.first()?;
            let entry = self.tasks.get(&given.task)?;
            let (ms, cost) = self.steps.get(&given.task.step)?.spent;
            let eligible = !given.chained
                && entry.missing == 0
                && entry.live.iter().any(|live| live.worker == *id)
                && entry
                    .live
                    .iter()
                    .all(|live| live.worker == *id || !self.trusts(live.worker))
                && !entry.shuns(idle)
                && cost >= given.cost;
            let expected = ms.saturating_mul(given.cost) / cost.max(1);
            let spent = self.now.0.saturating_sub(line.head_since.0);
            let patience = expected.saturating_mul(self.settings.slow_factor);
            let late = spent.checked_sub(patience.saturating_add(SLOW_MS_MIN))?;
            (eligible && late > 0).then_some((late, given.task, *id))
        });
        heads.max().map(|(_, task, slow)| (slow, task))
    }
}
