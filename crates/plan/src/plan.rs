//! The state machine itself: what each event means. The parts lie beside it: `submit` (a step comes in),
//! `results` (a task is answered for), `loss` (what to do about lost objects), `suspicion` (who has fallen silent),
//! `verification` (tasks that are computed twice), `dispatch` (who does what).
//!
//! **Invariant:** a task that is not done either waits, is ready, or has at least one live assignment.

use crate::action::{Action, Dismissal, Holder};
use crate::event::{Event, Profile, Tick};
use crate::failure::{Failure, Refusal};
use crate::objects::Objects;
use crate::queues::{Ready, Worker};
use crate::settings::Settings;
use crate::steps::{Entry, StepState};
use crate::waiting::{Watches, extend};
use std::collections::BTreeMap;
use tensor::{Digest, KeyRange, ObjectKey, StepId, TaskId, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Running,
    /// A roll-back was asked for: until `Restarted` only workers are listened to.
    RolledBack,
    Stopped,
}

/// The coordinator's mind.
pub struct Plan {
    pub(crate) settings: Settings,
    pub(crate) now: Tick,
    pub(crate) mood: Mood,
    pub(crate) out: Vec<Action>,
    /// What single workers are to drop.
    pub(crate) drops: BTreeMap<WorkerId, Vec<ObjectKey>>,
    /// What every worker is to drop: they may have copies that they pulled.
    pub(crate) freed: Vec<ObjectKey>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) objects: Objects,
    pub(crate) watches: Watches,
    pub(crate) steps: BTreeMap<StepId, StepState>,
    pub(crate) tasks: BTreeMap<TaskId, Entry>,
    pub(crate) ready: Ready,
    /// The worker that read a sealed object last, and so has it in its cache.
    pub(crate) cached: BTreeMap<ObjectKey, WorkerId>,
    /// The next attempt of a task is never below this: answers from before a restart fit no attempt.
    pub(crate) attempt_base: u32,
    pub(crate) attempt_next: u32,
    lonely_since: Option<Tick>,
    started: bool,
}

impl Plan {
    /// A plan without workers and steps.
    pub fn new(settings: Settings) -> Self {
        Plan {
            settings,
            now: Tick::default(),
            mood: Mood::Running,
            out: Vec::new(),
            drops: BTreeMap::new(),
            freed: Vec::new(),
            workers: BTreeMap::new(),
            objects: Objects::default(),
            watches: Watches::default(),
            steps: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ready: Ready::default(),
            cached: BTreeMap::new(),
            attempt_base: 0,
            attempt_next: 0,
            lonely_since: Some(Tick::default()),
            started: false,
        }
    }

    /// Something happened: what is to be done about it, in order.
    pub fn on(&mut self, now: Tick, event: Event) -> Vec<Action> {
        if self.mood == Mood::Stopped {
            return Vec::new();
        }
        self.advance(now);
        match event {
            Event::WorkerJoined(worker, profile) => self.joined(worker, profile),
            Event::WorkerLost(worker) => self.lose(worker),
            Event::WorkerDraining(worker) => self.drain(worker),
            Event::WorkerAlive(worker) => self.heard(worker),
            Event::TaskDone {
                worker,
                task,
                attempt,
                partial,
                wrote,
            } => {
                self.heard(worker);
                self.done(worker, task, attempt, partial, &wrote);
            }
            Event::TaskFailed {
                worker,
                task,
                attempt,
                failure,
            } => {
                self.heard(worker);
                self.failed(worker, task, attempt, failure);
            }
            Event::TaskReturned {
                worker,
                task,
                attempt,
            } => {
                self.heard(worker);
                if self.answered(worker, task, attempt) {
                    self.requeue(task);
                }
            }
            Event::Restarted => self.restarted(),
            Event::TimePassed => self.time_passed(),
            Event::Submit(_) | Event::Durable { .. } | Event::Free(_) | Event::Wanted(_)
                if self.mood == Mood::RolledBack => {}
            Event::Submit(step) => self.submit(step),
            Event::Durable {
                key,
                digest,
                bytes,
                row_bytes,
            } => self.durable(key, (digest, bytes, row_bytes)),
            Event::Free(range) => self.doom(range),
            Event::Wanted(key) => self.want(key),
        }
        self.flush_drops();
        if self.mood == Mood::Running {
            self.dispatch();
        }
        std::mem::take(&mut self.out)
    }

    /// Whether an object is known: to be written, held, or durable, and not yet dropped.
    pub fn knows(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some()
    }

    /// Where an object can be had at present; empty if nowhere.
    pub fn holders(&self, key: &ObjectKey) -> Vec<Holder> {
        self.objects
            .get(key)
            .map(crate::objects::Object::sources)
            .unwrap_or_default()
    }

    /// Objects that are known. Zero once everything was done and freed.
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Tasks that are not done.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing is left that an answer or a worker could change.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.steps.is_empty() && self.watches.len() == 0
    }

    pub(crate) fn stop(&mut self, failure: Failure) {
        if self.mood != Mood::Stopped {
            self.mood = Mood::Stopped;
            self.out.push(Action::Stop(failure));
        }
    }

    pub(crate) fn stop_as(&mut self, refusal: Refusal, sentence: String) {
        self.stop(Failure::Refused { refusal, sentence });
    }

    /// Where time jumped, we were asleep ourselves: silence in the meantime proves nothing.
    fn advance(&mut self, now: Tick) {
        let gap = now.0.saturating_sub(self.now.0);
        if !self.started {
            self.started = true;
            self.lonely_since = Some(now);
        } else if gap > self.settings.lease_ms.min(self.settings.suspect_ms) / 2 {
            self.workers
                .values_mut()
                .for_each(|worker| worker.seen = now);
        }
        self.now = self.now.max(now);
    }

    fn joined(&mut self, worker: WorkerId, profile: Profile) {
        let state = Worker::new(profile, self.now, self.settings.suspect_ms);
        self.workers.insert(worker, state);
        self.lonely_since = None;
    }

    fn heard(&mut self, worker: WorkerId) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.seen = self.now;
        if state.suspected {
            self.trust(worker);
        }
    }

    fn drain(&mut self, worker: WorkerId) {
        self.heard(worker);
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.draining = true;
        let behind = state
            .lines_mut()
            .flat_map(|line| line.queue.iter_mut().skip(1));
        for given in behind.filter(|given| !given.revoked) {
            given.revoked = true;
            self.out
                .push(Action::Revoke(worker, given.task, given.attempt));
        }
        self.forsake(worker);
    }

    /// Nothing more is ever to be given to this worker.
    pub(crate) fn forsake(&mut self, worker: WorkerId) {
        self.cached.retain(|_, holder| *holder != worker);
        self.unbind(worker);
    }

    /// What was kept for a worker goes to others.
    pub(crate) fn unbind(&mut self, worker: WorkerId) {
        for chain in self
            .steps
            .values_mut()
            .flat_map(|step| step.chains.values_mut())
        {
            chain.worker = chain.worker.filter(|pinned| *pinned != worker);
        }
        for task in self.ready.of(worker) {
            self.unlist(task);
            self.requeue(task);
        }
    }

    fn time_passed(&mut self) {
        let lease = self.settings.lease_ms;
        let late = |worker: &Worker| self.now.0.saturating_sub(worker.seen.0) > lease;
        let silent: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| late(worker))
            .map(|(id, _)| *id)
            .collect();
        for worker in silent {
            self.dismiss(worker, Dismissal::Silent);
        }
        self.suspect_silent();
        if self.mood == Mood::Running {
            self.dismiss_drained();
            self.chase_slow();
        }
        let grace = self.settings.grace_ms;
        if self
            .lonely_since
            .is_some_and(|since| self.now.0.saturating_sub(since.0) > grace)
        {
            let sentence = format!(
                "no worker has been there for {} s: start workers, or check their addresses, and run again to resume",
                grace / 1000
            );
            self.stop_as(Refusal::Unavailable, sentence);
        }
    }

    /// A draining worker that has nothing to do and nothing that only it has may go.
    fn dismiss_drained(&mut self) {
        let drained = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.draining && !worker.suspected && worker.is_idle());
        let drained: Vec<WorkerId> = drained.map(|(id, _)| *id).collect();
        for worker in drained {
            let held = self.objects.held_by(worker);
            let elsewhere = |key: &ObjectKey| {
                let object = self.objects.get(key);
                object.is_some_and(|object| object.durable.is_some() || object.holders.len() > 1)
            };
            if held.iter().all(elsewhere) {
                self.dismiss(worker, Dismissal::Drained);
            }
        }
    }

    pub(crate) fn dismiss(&mut self, worker: WorkerId, why: Dismissal) {
        self.out.push(Action::Dismiss(worker, why));
        self.lose(worker);
    }

    /// Something could not be had of a worker that lives. Made again, it would be made there as likely as not, and not
    /// be had again: one of which that is told too often is as good as lost.
    pub(crate) fn unreached(&mut self, holder: WorkerId) {
        let (now, lease) = (self.now, self.settings.lease_ms);
        let Some(worker) = self.workers.get_mut(&holder) else {
            return;
        };
        let recent = |since: &Tick| now.0.saturating_sub(since.0) <= lease;
        worker.unreached.retain(recent);
        worker.unreached.push(now);
        if worker.unreached.len() >= self.settings.unreached_max {
            self.dismiss(holder, Dismissal::Unreached);
        }
    }

    fn lose(&mut self, worker: WorkerId) {
        if self.workers.remove(&worker).is_none() {
            return;
        }
        if self.workers.is_empty() {
            self.lonely_since = Some(self.now);
        }
        self.drops.remove(&worker);
        let running: Vec<TaskId> =
            self.tasks
                .iter_mut()
                .fold(Vec::new(), |mut running, (id, entry)| {
                    let before = entry.live.len();
                    entry.live.retain(|live| live.worker != worker);
                    if entry.live.len() < before {
                        running.push(*id);
                    }
                    running
                });
        self.forsake(worker);
        self.objects.forget_aside(worker);
        self.void_claims(worker);
        let held = self.objects.held_by(worker);
        self.bereave(worker, held);
        for task in running {
            self.requeue(task);
        }
    }

    fn durable(&mut self, key: ObjectKey, copy: (Digest, u64, u32)) {
        let existed = self.objects.exists(&key);
        let object = self.objects.entry(key);
        object.durable = Some(copy);
        if !existed {
            self.appeared(key);
        }
    }

    /// A range is freed: what no unfinished task reads goes now, the rest when it is read.
    pub(crate) fn doom(&mut self, range: KeyRange) {
        for key in range.keys() {
            if let Some(object) = self.objects.get_mut(&key) {
                (object.doomed, object.wanted) = (true, false);
                self.drop_if_unread(key);
            }
        }
    }

    /// Drops a freed object that is not read and not about to be written.
    pub(crate) fn drop_if_unread(&mut self, key: ObjectKey) {
        let Some(object) = self.objects.get(&key) else {
            return;
        };
        let awaited = object
            .writer
            .as_ref()
            .is_some_and(|writer| self.tasks.contains_key(&writer.id));
        if !object.doomed || awaited || self.watches.reads(key) {
            return;
        }
        self.objects.remove(&key);
        self.freed.push(key);
    }

    /// An object exists that did not: whoever waited only for it is ready.
    pub(crate) fn appeared(&mut self, key: ObjectKey) {
        let mut complete = Vec::new();
        self.watches.appeared(key, |task| complete.push(task));
        for task in complete {
            self.one_less(task);
        }
    }

    fn flush_drops(&mut self) {
        for (worker, keys) in std::mem::take(&mut self.drops) {
            if self.workers.contains_key(&worker) {
                self.out.push(Action::Drop(worker, joined(keys)));
            }
        }
        let freed = joined(std::mem::take(&mut self.freed));
        for worker in self.workers.keys().filter(|_| !freed.is_empty()) {
            self.out.push(Action::Drop(*worker, freed.clone()));
        }
    }

    /// Forgets steps and objects; what workers still do is asked back and will be refused.
    pub(crate) fn forget(&mut self) {
        for (worker, state) in &mut self.workers {
            let given = state.lines_mut().flat_map(|line| &mut line.queue);
            for given in given.filter(|given| !given.revoked) {
                given.revoked = true;
                self.out
                    .push(Action::Revoke(*worker, given.task, given.attempt));
            }
        }
        self.freed.extend(self.objects.forget());
        self.steps.clear();
        self.tasks.clear();
        self.watches = Watches::default();
        self.ready = Ready::default();
        self.attempt_base = self.attempt_next;
    }

    fn restarted(&mut self) {
        self.forget();
        self.mood = Mood::Running;
    }
}

/// Keys in order, neighbouring blocks joined.
fn joined(mut keys: Vec<ObjectKey>) -> Vec<KeyRange> {
    keys.sort_unstable_by_key(by_table_version_block);
    keys.dedup();
    let mut ranges: Vec<KeyRange> = Vec::new();
    for key in keys {
        if !ranges.last_mut().is_some_and(|last| extend(last, key)) {
            ranges.push(key.into());
        }
    }
    ranges
}

/// An order in which neighbouring blocks of one version follow each other.
fn by_table_version_block(key: &ObjectKey) -> (u8, u64, u64, u64) {
    match *key {
        ObjectKey::Block {
            table,
            block,
            version,
        } => (0, u64::from(table.0), version, u64::from(block.0)),
        ObjectKey::Partial {
            reduction,
            level,
            index,
        } => (1, reduction, u64::from(level), u64::from(index)),
        ObjectKey::Sealed { digest, bytes, .. } => {
            let head = digest
                .0
                .first_chunk()
                .map_or(0, |head| u64::from_be_bytes(*head));
            (2, head, bytes, 0)
        }
    }
}
