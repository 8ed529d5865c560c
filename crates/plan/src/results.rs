//! A task is answered for: done, failed or given back.

use crate::action::Action;
use crate::event::Wrote;
use crate::failure::{Failure, Refusal};
use crate::plan::{Mood, Plan};
use crate::steps::Entry;
use crate::waiting::ranges;
use tensor::{KeyRange, ObjectKey, StepId, TaskId, WorkerId};

impl Plan {
    /// Notes that a worker is through with an assignment. True where the answer still counts.
    pub(crate) fn answered(&mut self, worker: WorkerId, id: TaskId, attempt: u32) -> bool {
        let Some(state) = self.workers.get_mut(&worker) else {
            return false;
        };
        let spent = state.answered(self.now, id, attempt);
        let Some(entry) = self.tasks.get_mut(&id) else {
            return false;
        };
        let Some(place) = entry
            .live
            .iter()
            .position(|live| (live.worker, live.attempt) == (worker, attempt))
        else {
            return false;
        };
        entry.live.swap_remove(place);
        if let (Some(ms), Some(step)) = (spent, self.steps.get_mut(&id.step)) {
            step.spent.0 += ms;
            step.spent.1 += crate::queues::cost(&entry.task);
        }
        true
    }

    pub(crate) fn done(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        attempt: u32,
        partial: Vec<u8>,
        wrote: &[Wrote],
    ) {
        if !self.answered(worker, id, attempt) {
            return self.refuse(worker, id, wrote);
        }
        if self.tasks.get(&id).is_some_and(|entry| entry.verify) {
            self.claimed(worker, id, partial, wrote.to_vec());
        } else {
            self.counts(&[worker], id, partial, wrote);
        }
    }

    /// A result counts: what was written lies on these workers.
    pub(crate) fn counts(
        &mut self,
        holders: &[WorkerId],
        id: TaskId,
        partial: Vec<u8>,
        wrote: &[Wrote],
    ) {
        let entry = self
            .tasks
            .remove(&id)
            .expect("an answer that counts has an entry");
        if let Some(place) = entry.place {
            self.ready.remove(place, &entry.task);
        }
        for live in &entry.live {
            self.out.push(Action::Revoke(live.worker, id, live.attempt));
            let state = self.workers.get_mut(&live.worker);
            if let Some(given) = state.and_then(|state| state.given_mut(id, live.attempt)) {
                given.revoked = true;
            }
        }
        if let Some(key) = entry
            .task
            .writes
            .iter()
            .find(|key| !wrote.iter().any(|wrote| wrote.key == **key))
        {
            return self.stop_as(
                Refusal::Bug,
                format!("task {id} ended without writing {key}: please report this"),
            );
        }
        for read in &entry.task.reads {
            if let KeyRange::One(key @ ObjectKey::Sealed { .. }) = read.keys {
                self.cached.insert(key, holders[0]);
            }
        }
        for wrote in wrote {
            for holder in holders {
                self.written(*holder, *wrote);
            }
        }
        self.release(&entry);
        if !entry.again {
            self.told(id, partial);
        }
    }

    /// An object lies on a worker.
    fn written(&mut self, worker: WorkerId, wrote: Wrote) {
        let existed = self.objects.exists(&wrote.key);
        let Some(object) = self.objects.get_mut(&wrote.key) else {
            // The twin of a block that is made again, itself no longer wanted.
            return self.drops.entry(worker).or_default().push(wrote.key);
        };
        object.bytes = wrote.bytes;
        let state = self.workers.get(&worker);
        if state.is_some_and(|state| state.suspected) {
            return object.aside.push(worker);
        }
        if !object.holders.contains(&worker) {
            object.holders.push(worker);
        }
        if existed {
            self.watches.moved(wrote.key);
        } else {
            self.appeared(wrote.key);
        }
        self.drop_if_unread(wrote.key);
    }

    /// A result that came too late: what it made is dropped, unless the worker has the same from an
    /// attempt that counted or is about to make it again.
    fn refuse(&mut self, worker: WorkerId, id: TaskId, wrote: &[Wrote]) {
        if !self.workers.contains_key(&worker) {
            return;
        }
        let at_it = self.tasks.get(&id).is_some_and(|entry| {
            entry.live.iter().any(|live| live.worker == worker) || entry.has_claim(worker)
        });
        for wrote in wrote {
            let held = self
                .objects
                .get(&wrote.key)
                .is_some_and(|object| object.holders.contains(&worker));
            if !held && !at_it {
                self.drops.entry(worker).or_default().push(wrote.key);
            }
        }
    }

    /// A task no longer reads: what was freed and only it still read goes.
    fn release(&mut self, entry: &Entry) {
        for range in ranges(&entry.task) {
            if self.watches.remove(range, entry.task.id) {
                for key in range.keys() {
                    self.drop_if_unread(key);
                }
            }
        }
    }

    /// A task is done for the first time.
    fn told(&mut self, id: TaskId, partial: Vec<u8>) {
        let Some(step) = self.steps.get_mut(&id.step) else {
            return;
        };
        if let Err(bad) = step.reduction.take(id.index, partial) {
            let sentence = format!(
                "task {id} returned a partial of {} bytes, which does not fit its step: please report this",
                bad.bytes
            );
            return self.stop_as(Refusal::Bug, sentence);
        }
        step.done[id.index as usize] = true;
        step.left -= 1;
        let whole = step.left == 0;
        let followers = step.followers.remove(&id.index).unwrap_or_default();
        for task in followers {
            self.one_less(task);
        }
        if whole {
            self.complete(id.step);
        }
    }

    /// A step is whole.
    pub(crate) fn complete(&mut self, id: StepId) {
        let step = self
            .steps
            .remove(&id)
            .expect("only known steps become whole");
        self.out.push(Action::StepDone(id, step.reduction.finish()));
        for range in step.frees {
            self.doom(range);
        }
    }

    pub(crate) fn failed(&mut self, worker: WorkerId, id: TaskId, attempt: u32, failure: Failure) {
        if !self.answered(worker, id, attempt) {
            return;
        }
        let (suspect, counts) = match &failure {
            Failure::Panicked { .. }
            | Failure::Refused {
                refusal: Refusal::Bug,
                ..
            } => return self.panicked(worker, id, failure),
            Failure::Budget { .. } | Failure::Refused { .. } => return self.stop(failure),
            Failure::Exhausted { .. } | Failure::Disk { .. } => (None, true),
            // That a worker which is gone or suspected does not answer is no news.
            Failure::Unreachable { key, holder } => (Some((*key, *holder)), self.trusts(*holder)),
            Failure::Corrupt {
                key,
                holder: Some(holder),
            } => (Some((*key, *holder)), true),
            Failure::Corrupt { holder: None, .. } => (None, true),
        };
        if let Some(entry) = self.tasks.get_mut(&id)
            && counts
        {
            entry.failures += 1;
            if !entry.avoid.contains(&worker) {
                entry.avoid.push(worker);
            }
            if entry.failures >= self.settings.attempts_max {
                return self.stop(failure);
            }
        }
        if let Some((key, holder)) = suspect
            && self
                .objects
                .get(&key)
                .is_some_and(|object| object.holders.contains(&holder))
        {
            self.drops.entry(holder).or_default().push(key);
            self.bereave(holder, vec![key]);
            if matches!(failure, Failure::Unreachable { .. }) && holder != worker {
                self.unreached(holder);
            }
        }
        if self.mood == Mood::Running {
            self.requeue(id);
        }
    }

    /// A worker panicked at a task, or came upon what our own code does not write. Once that may be for what it alone has read, and
    /// another tries; where that one fails so as well, or nobody else is there, it is a bug of ours.
    fn panicked(&mut self, worker: WorkerId, id: TaskId, failure: Failure) {
        let another = self
            .workers
            .iter()
            .any(|(other, state)| *other != worker && state.takes_tasks());
        let Some(entry) = self.tasks.get_mut(&id) else {
            return;
        };
        match entry.panicked {
            Some(first) if first != worker => self.stop_as(
                Refusal::Bug,
                format!(
                    "{failure} (on {worker} as on {first}; see with --verify-fraction 1 whether one of the workers computes something \
                     else than others)"
                ),
            ),
            None if another => {
                entry.panicked = Some(worker);
                if !entry.avoid.contains(&worker) {
                    entry.avoid.push(worker);
                }
                self.requeue(id);
            }
            _ => self.stop(failure),
        }
    }
}
