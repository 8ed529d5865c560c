//! A step comes in; tasks wait and become ready.

use crate::failure::Refusal;
use crate::plan::{Mood, Plan};
use crate::queues::{Kind, Place, Worker, cost};
use crate::steps::{Entry, StepState};
use crate::verification::is_drawn;
use crate::waiting::ranges;
use std::sync::Arc;
use tensor::{KeyRange, ObjectKey, Step, Task, TaskId, WorkerId};

impl Plan {
    pub(crate) fn submit(&mut self, step: Step) {
        let id = step.id;
        if self.steps.contains_key(&id) {
            return self.stop_as(
                Refusal::Bug,
                format!("step {} was submitted twice: please report this", id.0),
            );
        }
        self.steps.insert(id, StepState::new(&step));
        let tasks: Vec<Arc<Task>> = step.tasks.into_iter().map(Arc::new).collect();
        for task in &tasks {
            for key in &task.writes {
                self.objects.entry(*key).writer = Some(Arc::clone(task));
            }
        }
        let mut absent = Vec::new();
        for task in &tasks {
            self.enter(task, false, &mut absent);
        }
        for key in absent {
            if self.mood != Mood::Running {
                return;
            }
            if self.objects.get(&key).is_none() {
                let sentence = format!(
                    "step {} ({}) reads {key}, which nothing has written and no earlier task writes: please report this",
                    id.0, step.name
                );
                return self.stop_as(Refusal::Bug, sentence);
            }
            self.recover(key);
        }
        for task in &tasks {
            self.requeue(task.id);
        }
        if self.mood == Mood::Running && tasks.is_empty() {
            self.complete(id);
        }
    }

    /// Makes an entry for a task, and notes what it waits for. Keys that do not exist go to `absent`.
    pub(crate) fn enter(&mut self, task: &Arc<Task>, again: bool, absent: &mut Vec<ObjectKey>) {
        let mut missing = 0;
        for range in ranges(task) {
            let complete = self.watches.add(range, task.id, &self.objects, absent);
            missing += u32::from(!complete);
        }
        if !again {
            let before = self
                .steps
                .get(&task.id.step)
                .and_then(|step| step.predecessor(task));
            for first in task.after.iter().copied().chain(before) {
                // A step that is no longer known is done: only earlier ones may be named.
                let Some(step) = self.steps.get_mut(&first.step) else {
                    continue;
                };
                if !step.done.get(first.index as usize).copied().unwrap_or(true) {
                    step.followers.entry(first.index).or_default().push(task.id);
                    missing += 1;
                }
            }
        }
        let entry = Entry {
            task: Arc::clone(task),
            missing,
            live: Vec::new(),
            place: None,
            attempts: if again {
                self.attempt_next
            } else {
                self.attempt_base
            },
            failures: 0,
            avoid: Vec::new(),
            panicked: None,
            verify: is_drawn(task, self.settings.verify_millionths),
            claims: Vec::new(),
            again,
        };
        self.tasks.insert(task.id, entry);
    }

    /// One thing less to wait for.
    pub(crate) fn one_less(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.get_mut(&task) {
            entry.missing -= 1;
            self.requeue(task);
        }
    }

    /// One thing more to wait for.
    pub(crate) fn one_more(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.get_mut(&task) {
            entry.missing += 1;
            self.unlist(task);
        }
    }

    /// Lists a task as ready if it is: nothing missing, nobody that is trusted at it, not listed.
    pub(crate) fn requeue(&mut self, id: TaskId) {
        let Some(entry) = self.tasks.get(&id) else {
            return;
        };
        let taken = entry.live.iter().any(|live| self.trusts(live.worker));
        if entry.missing > 0 || taken || entry.place.is_some() {
            return;
        }
        let place = self.place(entry);
        let entry = self.tasks.get_mut(&id).expect("it was just there");
        entry.place = Some(place);
        self.ready.insert(place, &entry.task);
    }

    /// Takes a task off the list of the ready.
    pub(crate) fn unlist(&mut self, id: TaskId) {
        if let Some(entry) = self.tasks.get_mut(&id)
            && let Some(place) = entry.place.take()
        {
            self.ready.remove(place, &entry.task);
        }
    }

    /// The worker that a chained task is bound to.
    pub(crate) fn pinned(&self, task: &Task) -> Option<WorkerId> {
        self.steps
            .get(&task.id.step)?
            .chains
            .get(&task.chain?)?
            .worker
    }

    /// Where a task should run: where its chain runs, where most of what it reads lies, or where its
    /// neighbours in the step go.
    fn place(&self, entry: &Entry) -> Place {
        let task = &entry.task;
        // A second result is of another worker than the first, which is the one that a chain is bound to; a second try after a panic, too.
        let tries =
            |worker: &WorkerId| !entry.has_claim(*worker) && entry.panicked != Some(*worker);
        if let Some(worker) = self.pinned(task).filter(tries) {
            return Place::Pinned(worker);
        }
        let usable =
            |worker: &WorkerId, state: &Worker| state.takes_tasks() && !entry.shuns(*worker);
        let mut best: Option<(u64, WorkerId)> = None;
        for (worker, bytes) in self.nearness(task) {
            let welcome = self
                .workers
                .get(&worker)
                .is_some_and(|state| usable(&worker, state));
            if welcome && best.is_none_or(|(most, _)| bytes > most) {
                best = Some((bytes, worker));
            }
        }
        if let Some((_, worker)) = best {
            return Place::Home(worker);
        }
        let workers = self
            .workers
            .iter()
            .filter(|(worker, state)| usable(worker, state));
        let width = self
            .steps
            .get(&task.id.step)
            .map_or(1, |step| step.done.len());
        let free = entry.avoid.is_empty() && entry.claims.is_empty();
        if free && width < 2 * self.workers.len() {
            return Place::Any;
        }
        by_position(workers, task.id.index as usize, width).map_or(Place::Any, Place::Home)
    }

    /// How many bytes of what a task reads whole each worker has. Reads of many blocks that other tasks read too say nothing:
    /// their readers want them all, wherever they run. Those that a task has for itself are a bundle's.
    fn nearness(&self, task: &Task) -> Vec<(WorkerId, u64)> {
        let mut near: Vec<(WorkerId, u64)> = Vec::new();
        let mut add = |worker: WorkerId, bytes: u64| match near
            .iter_mut()
            .find(|(known, _)| *known == worker)
        {
            Some((_, sum)) => *sum += bytes,
            None => near.push((worker, bytes)),
        };
        let own = task.reads.iter().filter(|read| {
            let is_one = matches!(
                read.keys,
                KeyRange::One(_) | KeyRange::Blocks { count: 1, .. }
            );
            !read.rows_only && (is_one || self.watches.has_one_reader(read.keys))
        });
        for key in own.flat_map(|read| read.keys.keys()) {
            if let ObjectKey::Sealed { bytes, .. } = key {
                if let Some(worker) = self.cached.get(&key) {
                    add(*worker, bytes.max(1));
                }
            } else if let Some(object) = self.objects.get(&key) {
                object
                    .holders
                    .iter()
                    .for_each(|worker| add(*worker, object.bytes.max(1)));
            }
        }
        near.sort_unstable_by_key(|(worker, _)| *worker);
        near
    }

    /// Hands a task to a worker.
    pub(crate) fn give(&mut self, worker: WorkerId, id: TaskId) -> Option<crate::Assignment> {
        self.unlist(id);
        let now = self.now;
        let entry = self.tasks.get_mut(&id)?;
        let attempt = entry.attempts;
        entry.attempts += 1;
        entry.live.push(crate::steps::Live { worker, attempt });
        let (task, verify) = (Arc::clone(&entry.task), entry.verify);
        let first = entry.claims.is_empty();
        self.attempt_next = self.attempt_next.max(attempt + 1);
        if first {
            self.pin(worker, &task);
        }
        let given = crate::queues::Given {
            task: id,
            attempt,
            cost: cost(&task),
            chained: task.chain.is_some(),
            revoked: false,
        };
        let line = self.workers.get_mut(&worker)?.line_mut(Kind::of(&task));
        line.give(now, given);
        let mut sources = Vec::new();
        for range in ranges(&task) {
            self.watches
                .sources(range, worker, &self.objects, &mut sources);
        }
        Some(crate::Assignment {
            task,
            attempt,
            verify,
            sources,
        })
    }

    /// The first of a chain decides where the others run.
    fn pin(&mut self, worker: WorkerId, task: &Task) {
        let Some(step) = self.steps.get_mut(&task.id.step) else {
            return;
        };
        let Some(chain) = task.chain.and_then(|chain| step.chains.get_mut(&chain)) else {
            return;
        };
        if chain.worker.replace(worker).is_none() {
            let listed = chain.tasks.clone();
            for index in listed {
                let id = TaskId {
                    step: task.id.step,
                    index,
                };
                if self
                    .tasks
                    .get(&id)
                    .is_some_and(|entry| entry.place.is_some())
                {
                    self.unlist(id);
                    self.requeue(id);
                }
            }
        }
    }
}

/// Deals the tasks of a step over workers in contiguous runs, by threads: what neighbours write then lies
/// together and is named as one source.
fn by_position<'a>(
    workers: impl Iterator<Item = (&'a WorkerId, &'a Worker)> + Clone,
    index: usize,
    width: usize,
) -> Option<WorkerId> {
    let threads: u64 = workers
        .clone()
        .map(|(_, worker)| u64::from(worker.profile.threads.max(1)))
        .sum();
    let at = threads * index as u64 / width.max(1) as u64;
    let mut passed = 0;
    workers
        .map(|(id, worker)| (*id, u64::from(worker.profile.threads.max(1))))
        .find(|(_, threads)| {
            passed += threads;
            at < passed
        })
        .map(|(id, _)| id)
}
