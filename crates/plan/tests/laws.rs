//! The laws of the plan, under random orders of events: joins, losses, drains, late and duplicate results,
//! returns, failures, over random programs. A small world of workers does what the plan says.

use plan::{
    Action, Assignment, Dismissal, Event, Failure, Holder, Plan, Profile, Settings, Tick, Wrote,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tensor::{
    BlockId, DepotId, Digest, KeyRange, ObjectKey, Op, OpFamily, PartialSpec, Read, Reduced, Step,
    StepId, TableId, Task, TaskId, WorkerId,
};

fn block(table: u16, block: u32, version: u64) -> ObjectKey {
    ObjectKey::Block {
        table: TableId(table),
        block: BlockId(block),
        version,
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let x = (a ^ b.rotate_left(23)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ (x >> 29)
}

fn name(key: ObjectKey) -> u64 {
    key.to_string()
        .bytes()
        .fold(7, |hash, byte| mix(hash, u64::from(byte)))
}

/// A generator for programs; the dice of the world are proptest's.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = mix(self.0, 0x5bd1_e995).wrapping_add(0x1234_5678_9abc_def1);
        ((self.0 >> 20) % u64::from(n)) as u32
    }
}

const TABLES: u16 = 2;

/// A program under construction: the current version of every block.
struct Author {
    random: Random,
    blocks: u32,
    versions: Vec<Vec<u64>>,
    reduction: u64,
    steps: Vec<Step>,
}

impl Author {
    fn task(step: u64, index: usize, reads: Vec<Read>, writes: Vec<ObjectKey>, cost: u64) -> Task {
        let op = Op {
            family: OpFamily::Probe,
            version: 1,
            body: Arc::from(&[][..]),
        };
        let id = TaskId {
            step: StepId(step),
            index: index as u32,
        };
        Task {
            id,
            op,
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost,
        }
    }

    /// Reads of a whole table: one range where all blocks are at one version.
    fn whole(&self, table: u16) -> Vec<Read> {
        let versions = &self.versions[table as usize];
        if versions.iter().all(|version| *version == versions[0]) {
            let range = KeyRange::Blocks {
                table: TableId(table),
                first: 0,
                count: self.blocks,
                version: versions[0],
            };
            return vec![Read::rows(range)];
        }
        versions
            .iter()
            .enumerate()
            .map(|(b, v)| Read::whole(block(table, b as u32, *v)))
            .collect()
    }

    fn bump(&mut self, table: u16, b: u32) -> (ObjectKey, ObjectKey) {
        let version = &mut self.versions[table as usize][b as usize];
        *version += 1;
        (block(table, b, *version - 1), block(table, b, *version))
    }

    fn half_step(&mut self, id: u64, table: u16) -> Step {
        let reads = self.whole(1 - table);
        let mut step = step(id, PartialSpec::Sum);
        for b in 0..self.blocks {
            let (old, new) = self.bump(table, b);
            let sealed = ObjectKey::Sealed {
                depot: DepotId::DATA,
                digest: Digest([b as u8; 32]),
                bytes: u64::from(b) * 10,
            };
            let mut all = vec![Read::whole(sealed), Read::whole(old)];
            all.extend(&reads);
            let cost = u64::from(self.random.below(300_000));
            let task = Self::task(id, b as usize, all, vec![new], cost);
            step.tasks.push(task);
            step.frees.push(old.into());
        }
        step
    }

    /// Two-block tiles under a partial order, as in a sweep of SGD.
    fn tiles(&mut self, id: u64) -> Step {
        let mut step = step(id, PartialSpec::Sum);
        for i in 0..self.blocks {
            for _ in 0..2 {
                let j = self.random.below(self.blocks);
                let ((old_u, new_u), (old_v, new_v)) = (self.bump(0, i), self.bump(1, j));
                let reads = vec![Read::whole(old_u), Read::whole(old_v)];
                let index = step.tasks.len();
                let mut task = Self::task(id, index, reads, vec![new_u, new_v], 50);
                if index > 0 && self.random.below(3) == 0 {
                    task.after.push(TaskId {
                        step: StepId(id),
                        index: self.random.below(index as u32),
                    });
                }
                step.tasks.push(task);
                step.frees
                    .extend([KeyRange::One(old_u), KeyRange::One(old_v)]);
            }
        }
        step
    }

    fn chains(&mut self, id: u64) -> Step {
        let mut step = step(id, PartialSpec::Collect);
        for _ in 0..3 {
            for b in 0..self.blocks.min(3) {
                let (old, new) = self.bump(0, b);
                let index = step.tasks.len();
                let mut task = Self::task(id, index, vec![Read::whole(old)], vec![new], 10);
                task.chain = Some(b);
                step.tasks.push(task);
                step.frees.push(old.into());
            }
        }
        step
    }

    /// Large partials as objects, added by tasks of the same step.
    fn tree(&mut self, id: u64) -> Step {
        let mut step = step(id, PartialSpec::None);
        self.reduction += 1;
        let node = |level: u8, index: u32, reduction| {
            KeyRange::One(ObjectKey::Partial {
                reduction,
                level,
                index,
            })
        };
        let key = |range: KeyRange| range.keys().next().expect("one key");
        for b in 0..self.blocks {
            let leaf = node(0, b, self.reduction);
            let current = block(0, b, self.versions[0][b as usize]);
            let task = Self::task(
                id,
                step.tasks.len(),
                vec![Read::whole(current)],
                vec![key(leaf)],
                10,
            );
            step.tasks.push(task);
            step.frees.push(leaf);
        }
        let (mut level, mut width) = (0, self.blocks);
        while width > 1 {
            for index in 0..width.div_ceil(2) {
                let below = (2 * index)..(2 * index + 2).min(width);
                let reads = below
                    .map(|i| Read::whole(node(level, i, self.reduction)))
                    .collect();
                let sum = node(level + 1, index, self.reduction);
                let task = Self::task(id, step.tasks.len(), reads, vec![key(sum)], 10);
                step.tasks.push(task);
                step.frees.push(sum);
            }
            (level, width) = (level + 1, width.div_ceil(2));
        }
        step
    }

    fn write(seed: u64) -> Vec<Step> {
        let mut random = Random(seed);
        let blocks = 1 + random.below(6);
        let versions = vec![vec![0; blocks as usize]; TABLES as usize];
        let mut author = Author {
            random,
            blocks,
            versions,
            reduction: 0,
            steps: Vec::new(),
        };
        let count = 2 + author.random.below(6);
        for id in 0..u64::from(count) {
            let step = match author.random.below(6) {
                0 | 1 => author.half_step(id, 0),
                2 => author.half_step(id, 1),
                3 => author.tiles(id),
                4 => author.chains(id),
                _ => author.tree(id),
            };
            author.steps.push(step);
        }
        let mut last = step(u64::from(count), PartialSpec::None);
        for table in 0..TABLES {
            let reads = author.whole(table);
            last.frees.extend(reads.iter().map(|read| read.keys));
            last.tasks.push(Author::task(
                u64::from(count),
                table as usize,
                reads,
                Vec::new(),
                1,
            ));
        }
        author.steps.push(last);
        author.steps
    }
}

fn step(id: u64, partial: PartialSpec) -> Step {
    Step {
        id: StepId(id),
        name: format!("step {id}"),
        tasks: Vec::new(),
        partial,
        frees: Vec::new(),
    }
}

/// What a task computes: the value of each write, and the partial.
fn compute(task: &Task, values: &[u64], partial: bool) -> (Vec<(ObjectKey, u64)>, Vec<u8>) {
    let seed = mix(task.id.step.0 + 1, u64::from(task.id.index));
    let read = values.iter().fold(seed, |hash, value| mix(hash, *value));
    let wrote = task
        .writes
        .iter()
        .map(|key| (*key, mix(read, name(*key))))
        .collect();
    let leaf = (read >> 11) as f64 * 1e-7;
    (
        wrote,
        if partial && !task.id.index.is_multiple_of(4) {
            leaf.to_le_bytes().to_vec()
        } else {
            Vec::new()
        },
    )
}

fn initial(seed: u64) -> Vec<ObjectKey> {
    let blocks = 1 + Random(seed).below(6);
    (0..TABLES)
        .flat_map(|table| (0..blocks).map(move |b| block(table, b, 0)))
        .collect()
}

/// The sequential course: every value there ever is, and what each step reduces to.
fn sequential(steps: &[Step], initial: &[ObjectKey]) -> (BTreeMap<ObjectKey, u64>, Vec<Reduced>) {
    let mut values: BTreeMap<ObjectKey, u64> =
        initial.iter().map(|key| (*key, name(*key))).collect();
    let mut reduced = Vec::new();
    for step in steps {
        let mut leaves = Vec::new();
        for task in &step.tasks {
            let read: Vec<u64> = keys(task)
                .map(|key| *values.get(&key).unwrap_or(&0))
                .collect();
            let (wrote, partial) = compute(task, &read, step.partial != PartialSpec::None);
            values.extend(wrote);
            leaves.push(partial);
        }
        reduced.push(match step.partial {
            PartialSpec::None => Reduced::None,
            PartialSpec::Collect => Reduced::Collect(leaves),
            PartialSpec::Sum => Reduced::Sum(
                sum(&leaves, leaves.len().next_power_of_two())
                    .into_iter()
                    .collect(),
            ),
        });
    }
    (values, reduced)
}

fn sum(leaves: &[Vec<u8>], width: usize) -> Option<f64> {
    if width == 1 {
        return leaves
            .first()?
            .as_slice()
            .try_into()
            .ok()
            .map(f64::from_le_bytes);
    }
    let half = width / 2;
    let (left, right) = leaves.split_at(half.min(leaves.len()));
    match (sum(left, half), sum(right, half)) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
    }
}

fn keys(task: &Task) -> impl Iterator<Item = ObjectKey> {
    let all = task.reads.iter().flat_map(|read| read.keys.keys());
    all.filter(|key| !matches!(key, ObjectKey::Sealed { .. }))
}

#[derive(Default)]
struct Worker {
    inbox: VecDeque<Action>,
    queue: VecDeque<Assignment>,
    outbox: VecDeque<Event>,
    held: BTreeMap<ObjectKey, u64>,
    draining: bool,
    suspected: bool,
}

struct World {
    plan: Plan,
    now: u64,
    steps: Vec<Step>,
    ahead: usize,
    initial: Vec<ObjectKey>,
    truth: BTreeMap<ObjectKey, u64>,
    expected: Vec<Reduced>,
    workers: BTreeMap<WorkerId, Worker>,
    joined: u32,
    submitted: usize,
    whole: BTreeSet<StepId>,
    /// Tasks whose result counted in this course, with the worker.
    done: BTreeMap<TaskId, WorkerId>,
    /// Who the plan may believe to hold what.
    accepted: BTreeMap<ObjectKey, BTreeSet<WorkerId>>,
    rolled: bool,
    rollbacks: u32,
    /// From whom nobody can have anything, though it lives.
    walled: Option<WorkerId>,
    /// Who was suspected at some time: chains may have gone elsewhere.
    left: BTreeSet<WorkerId>,
    suspicions: u32,
    /// Whose results are compared.
    claims: BTreeMap<TaskId, BTreeSet<WorkerId>>,
    compares: bool,
    /// Who computes something else.
    liar: Option<WorkerId>,
    /// Who panics at every third task.
    panics: Option<WorkerId>,
}

impl World {
    fn new(seed: u64, ahead: usize, share: u32) -> Self {
        let steps = Author::write(seed);
        let initial = initial(seed);
        let (truth, expected) = sequential(&steps, &initial);
        let settings = Settings {
            depth: 4,
            suspect_ms: 60,
            lease_ms: 1_000,
            slow_factor: 3,
            verify_millionths: share,
            grace_ms: 100_000,
            attempts_max: 100_000,
            unreached_max: 4,
        };
        let mut world = World {
            plan: Plan::new(settings),
            now: 0,
            steps,
            ahead,
            initial,
            truth,
            expected,
            workers: BTreeMap::new(),
            joined: 0,
            submitted: 0,
            whole: BTreeSet::new(),
            done: BTreeMap::new(),
            accepted: BTreeMap::new(),
            rolled: false,
            rollbacks: 0,
            walled: None,
            left: BTreeSet::new(),
            suspicions: 0,
            claims: BTreeMap::new(),
            compares: share > 0,
            liar: None,
            panics: None,
        };
        world.course();
        world
    }

    /// Begins the program, for the first time or again.
    fn course(&mut self) {
        for key in self.initial.clone() {
            let digest = Digest::default();
            self.tell(Event::Durable {
                key,
                digest,
                bytes: 8,
                row_bytes: 8,
            });
        }
        self.submit_ahead();
    }

    fn submit_ahead(&mut self) {
        while self.submitted < self.steps.len()
            && self.submitted < self.whole.len() + self.ahead
            && !self.rolled
        {
            self.submitted += 1;
            self.tell(Event::Submit(self.steps[self.submitted - 1].clone()));
        }
    }

    fn tell(&mut self, event: Event) {
        let missed = match &event {
            Event::TaskFailed {
                failure: Failure::Unreachable { key, holder },
                ..
            } => Some((*key, *holder)),
            _ => None,
        };
        let answer = match &event {
            Event::TaskDone {
                worker,
                task,
                wrote,
                ..
            } if self.workers.contains_key(worker) => Some((*worker, *task, wrote.clone())),
            _ => None,
        };
        let before = self.plan.tasks();
        let actions = self.plan.on(Tick(self.now), event);
        // What is told of an attempt that no longer counts changes nothing, nor that one who is suspected gave nothing.
        if let Some((key, holder)) = missed
            && self.workers.get(&holder).is_none_or(|one| !one.suspected)
            && !self.plan.holders(&key).contains(&Holder::Worker(holder))
        {
            self.accepted.entry(key).or_default().remove(&holder);
        }
        if let Some((worker, task, wrote)) = answer {
            let dropped = actions.iter().any(|action| {
                let mut keys = wrote.iter().map(|wrote| wrote.key);
                matches!(action, Action::Drop(at, ranges) if *at == worker
                    && keys.any(|key| ranges.iter().any(|range| range.keys().any(|k| k == key))))
            });
            let claims = self.claims.entry(task).or_default();
            // Who is shut out takes with it what is to be made again, so that there may be as many tasks as before.
            let agreed = actions
                .iter()
                .any(|action| matches!(action, Action::Dismiss(_, Dismissal::Disagreed)));
            let counted = agreed || self.plan.tasks() < before;
            if !dropped || counted {
                claims.insert(worker);
            }
            if counted {
                self.done.insert(task, worker);
                let agreed = std::mem::take(claims).into_iter();
                let agreed: Vec<WorkerId> = agreed.filter(|one| self.liar != Some(*one)).collect();
                for wrote in wrote {
                    self.accepted.entry(wrote.key).or_default().extend(&agreed);
                }
            }
        }
        let mut whole = false;
        for action in actions {
            whole |= matches!(action, Action::StepDone(..));
            self.perform(action);
        }
        if whole {
            self.submit_ahead();
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Assign(worker, assignments) => {
                for assignment in &assignments {
                    self.check_assignment(worker, assignment);
                }
                self.post(worker, Action::Assign(worker, assignments));
            }
            Action::Revoke(worker, ..) => self.post(worker, action),
            Action::Drop(worker, ref ranges) => {
                let ranges = ranges.clone();
                ranges
                    .iter()
                    .flat_map(|range| range.keys())
                    .for_each(|key| self.check_drop(worker, key));
                self.post(worker, action);
            }
            Action::StepDone(step, reduced) => {
                assert!(self.whole.insert(step), "{step:?} completed twice");
                assert_eq!(reduced, self.expected[step.0 as usize], "{step:?}");
            }
            Action::RollBack(_) => {
                assert!(!self.rolled, "one roll-back at a time");
                self.rolled = true;
                self.rollbacks += 1;
            }
            Action::Dismiss(worker, why) => {
                let lies = self.liar.or(self.panics) == Some(worker);
                assert_eq!(why == Dismissal::Disagreed, lies, "{worker}: {why:?}");
                self.gone(worker);
                self.accepted
                    .values_mut()
                    .for_each(|holders| _ = holders.remove(&worker));
            }
            Action::Suspect(worker) => {
                let stands_in = |(id, other): (&WorkerId, &Worker)| {
                    *id != worker && !other.draining && !other.suspected
                };
                assert!(
                    self.workers.iter().any(stands_in),
                    "{worker} is suspected where nobody can stand in"
                );
                self.suspects(worker, true);
            }
            Action::Trust(worker) => self.suspects(worker, false),
            Action::Differ(..) => assert!(self.liar.is_some(), "all compute the same"),
            Action::Slow(worker, _) => assert!(!self.workers[&worker].suspected),
            Action::Stop(failure) => panic!("stopped: {failure}"),
        }
    }

    fn suspects(&mut self, id: WorkerId, suspected: bool) {
        let worker = self.workers.get_mut(&id).expect("it is there");
        assert_ne!(worker.suspected, suspected, "{id} is told of once");
        worker.suspected = suspected;
        self.left.insert(id);
        self.suspicions += u32::from(suspected);
    }

    fn post(&mut self, worker: WorkerId, action: Action) {
        let worker = self
            .workers
            .get_mut(&worker)
            .expect("actions go to workers that are there");
        worker.inbox.push_back(action);
    }

    fn check_assignment(&self, worker: WorkerId, assignment: &Assignment) {
        let task = &assignment.task;
        assert!(
            !self.workers[&worker].draining,
            "a draining worker is given no task"
        );
        assert!(
            !self.workers[&worker].suspected,
            "a suspected worker is given no task"
        );
        for key in keys(task) {
            let own = self
                .accepted
                .get(&key)
                .is_some_and(|holders| holders.contains(&worker));
            let source = assignment
                .sources
                .iter()
                .find(|source| source.keys.keys().any(|k| k == key));
            let there = source.is_some_and(|source| {
                !source.holders.is_empty()
                    && source.holders.iter().all(|holder| match holder {
                        Holder::Durable { .. } => self.initial.contains(&key),
                        Holder::Worker(holder) => {
                            self.accepted[&key].contains(holder) && !self.workers[holder].suspected
                        }
                    })
            });
            assert!(own || there, "{} is assigned before {key} exists", task.id);
        }
        for first in &task.after {
            assert!(
                self.done.contains_key(first),
                "{} is assigned before {first}",
                task.id
            );
        }
        let same = |other: &&Task| other.chain.is_some() && other.chain == task.chain;
        let chain = self.steps[task.id.step.0 as usize]
            .tasks
            .iter()
            .filter(same);
        for before in chain.filter(|other| other.id < task.id) {
            let at = self.done.get(&before.id);
            assert!(
                at.is_some(),
                "{} is assigned before its chain's {}",
                task.id,
                before.id
            );
            let lives = at.is_some_and(|at| {
                self.workers.get(at).is_some_and(|worker| !worker.draining)
                    && !self.left.contains(at)
            });
            // Once the step is whole, what is made again may be made anywhere.
            let whole = self.whole.contains(&task.id.step);
            assert!(
                whole || !lives || self.compares || at == Some(&worker),
                "{} leaves its chain's worker",
                task.id
            );
        }
    }

    fn check_drop(&mut self, worker: WorkerId, key: ObjectKey) {
        // A result that was told twice, and is gone, is nothing to compare with.
        let written = self.steps.iter().flat_map(|step| &step.tasks);
        for task in written.filter(|task| task.writes.contains(&key)) {
            let claims = self.claims.get_mut(&task.id);
            claims.map(|claims| claims.remove(&worker));
        }
        if !self.accepted.entry(key).or_default().remove(&worker) || self.rolled {
            return;
        }
        for step in &self.steps[..self.submitted] {
            for task in &step.tasks {
                let reads = !self.done.contains_key(&task.id) && keys(task).any(|read| read == key);
                assert!(!reads, "{key} is dropped while {} still reads it", task.id);
            }
        }
    }

    fn gone(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
        self.claims
            .values_mut()
            .for_each(|claims| _ = claims.remove(&worker));
    }

    fn lose(&mut self, worker: WorkerId) {
        self.gone(worker);
        self.accepted
            .values_mut()
            .for_each(|holders| _ = holders.remove(&worker));
        self.tell(Event::WorkerLost(worker));
    }

    fn join(&mut self, threads: u32) {
        let worker = WorkerId(self.joined);
        self.joined += 1;
        self.workers.insert(worker, Worker::default());
        self.tell(Event::WorkerJoined(
            worker,
            Profile {
                threads,
                memory_bytes: 1 << 30,
            },
        ));
    }

    /// A worker takes the next message out of its inbox.
    fn receive(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("alive");
        match worker.inbox.pop_front() {
            Some(Action::Assign(_, assignments)) => worker.queue.extend(assignments),
            Some(Action::Drop(_, ranges)) => {
                ranges
                    .iter()
                    .flat_map(|range| range.keys())
                    .for_each(|key| _ = worker.held.remove(&key));
            }
            Some(Action::Revoke(_, task, attempt)) => {
                let place = worker
                    .queue
                    .iter()
                    .position(|a| (a.task.id, a.attempt) == (task, attempt));
                if let Some(place) = place {
                    worker.queue.remove(place);
                    worker.outbox.push_back(Event::TaskReturned {
                        worker: id,
                        task,
                        attempt,
                    });
                }
            }
            Some(other) => panic!("{other:?} is no message"),
            None => {}
        }
    }

    /// A worker does the first task of its queue.
    fn work(&mut self, id: WorkerId) {
        let Some(assignment) = self.workers.get_mut(&id).expect("alive").queue.pop_front() else {
            return;
        };
        let task = &assignment.task;
        let (task_id, attempt) = (task.id, assignment.attempt);
        let values: Result<Vec<u64>, Failure> = keys(task)
            .map(|key| self.value(id, &assignment, key))
            .collect();
        let partial = self.steps[task_id.step.0 as usize].partial != PartialSpec::None;
        let panics = self.panics == Some(id)
            && mix(task_id.step.0, u64::from(task_id.index)).is_multiple_of(3);
        let values = values.and_then(|values| {
            if panics {
                Err(Failure::Panicked {
                    sentence: format!("task {task_id} panicked"),
                })
            } else {
                Ok(values)
            }
        });
        let worker = self.workers.get_mut(&id).expect("alive");
        let event = match values {
            Err(failure) => Event::TaskFailed {
                worker: id,
                task: task_id,
                attempt,
                failure,
            },
            Ok(values) => {
                let (mut wrote, partial) = compute(task, &values, partial);
                for (key, value) in &mut wrote {
                    assert_eq!(
                        self.truth[key], *value,
                        "{key} has other bytes than in the sequential course"
                    );
                    *value += u64::from(self.liar == Some(id));
                    worker.held.insert(*key, *value);
                }
                let digest = |value: u64| {
                    let bytes = value.to_le_bytes();
                    assignment
                        .verify
                        .then(|| Digest(std::array::from_fn(|at| bytes[at % 8])))
                };
                let wrote = wrote
                    .iter()
                    .map(|(key, value)| Wrote {
                        key: *key,
                        bytes: 8,
                        digest: digest(*value),
                    })
                    .collect();
                Event::TaskDone {
                    worker: id,
                    task: task_id,
                    attempt,
                    partial,
                    wrote,
                }
            }
        };
        worker.outbox.push_back(event);
    }

    fn value(&self, id: WorkerId, assignment: &Assignment, key: ObjectKey) -> Result<u64, Failure> {
        if let Some(value) = self.workers[&id].held.get(&key) {
            return Ok(*value);
        }
        let source = assignment
            .sources
            .iter()
            .find(|source| source.keys.keys().any(|k| k == key));
        let mut missing = Failure::Unreachable { key, holder: id };
        for holder in source.iter().flat_map(|source| &source.holders) {
            match holder {
                Holder::Durable { .. } => return Ok(name(key)),
                Holder::Worker(holder) => {
                    let reached = self
                        .workers
                        .get(holder)
                        .filter(|_| self.walled != Some(*holder));
                    match reached.and_then(|w| w.held.get(&key)) {
                        Some(value) => return Ok(*value),
                        None => {
                            missing = Failure::Unreachable {
                                key,
                                holder: *holder,
                            }
                        }
                    }
                }
            }
        }
        Err(missing)
    }

    fn deliver(&mut self, id: WorkerId) {
        if let Some(event) = self.workers.get_mut(&id).expect("alive").outbox.pop_front() {
            self.tell(event);
        }
    }

    fn restart(&mut self) {
        if self.rolled {
            self.rolled = false;
            (self.submitted, self.whole, self.done) = (0, BTreeSet::new(), BTreeMap::new());
            self.accepted.clear();
            self.claims.clear();
            self.tell(Event::Restarted);
            self.course();
        }
    }

    /// One throw of the dice.
    fn happen(&mut self, what: u8, who: u8) {
        self.now += 1;
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        if workers.is_empty() {
            return self.join(1 + u32::from(who % 3));
        }
        let id = workers[who as usize % workers.len()];
        match what {
            0..60 => self.receive(id),
            60..130 => self.work(id),
            130..200 => self.deliver(id),
            200..212 => self.tell(Event::TimePassed),
            212..220 => {
                // A result that is told twice.
                let outbox = &mut self.workers.get_mut(&id).expect("alive").outbox;
                let twice = outbox
                    .iter()
                    .find(|event| matches!(event, Event::TaskDone { .. }))
                    .cloned();
                outbox.extend(twice);
            }
            220..226 => {
                // The first task of the queue fails for a passing reason.
                let worker = self.workers.get_mut(&id).expect("alive");
                if let Some(assignment) = worker.queue.pop_front() {
                    let (task, attempt) = (assignment.task.id, assignment.attempt);
                    let failure = Failure::Exhausted {
                        sentence: "no room".to_owned(),
                    };
                    worker.outbox.push_back(Event::TaskFailed {
                        worker: id,
                        task,
                        attempt,
                        failure,
                    });
                }
            }
            226..232 => self.lose(id),
            232..236 => {
                // Lost, and a last result comes all the same.
                let late = self.workers.get_mut(&id).expect("alive").outbox.pop_front();
                self.lose(id);
                if let Some(event) = late {
                    self.tell(event);
                }
            }
            236..242 if workers.len() < 4 => self.join(1 + u32::from(who % 3)),
            242..245 => {
                self.workers.get_mut(&id).expect("alive").draining = true;
                self.tell(Event::WorkerDraining(id));
            }
            245..248 => {
                // Time passes for a while: the slow are helped.
                self.now += 400;
                for worker in &workers {
                    self.tell(Event::WorkerAlive(*worker));
                }
                self.tell(Event::TimePassed);
            }
            _ => self.restart(),
        }
    }

    /// The faults have stopped: the program must come to its end.
    fn finish(&mut self) {
        let draining: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.draining)
            .map(|(id, _)| *id)
            .collect();
        for worker in draining {
            self.lose(worker);
        }
        for round in 0..100_000 {
            self.restart();
            for id in self.workers.keys().copied().collect::<Vec<_>>() {
                self.tell(Event::WorkerAlive(id));
            }
            if self.workers.is_empty() {
                self.join(2);
            }
            let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
            for id in workers {
                for act in [Self::receive, Self::work, Self::deliver] {
                    if self.workers.contains_key(&id) {
                        act(self, id);
                    }
                }
            }
            let quiet = self
                .workers
                .values()
                .all(|w| w.inbox.is_empty() && w.queue.is_empty() && w.outbox.is_empty());
            if quiet && self.whole.len() == self.steps.len() {
                return;
            }
            assert!(
                !quiet || self.rolled,
                "nothing moves in round {round} with {} tasks left",
                self.plan.tasks()
            );
        }
        panic!("the program does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_program_ends_with_the_same_bits(
        seed in any::<u64>(),
        ahead in 1_usize..4,
        share in prop::sample::select(vec![0, 0, 300_000, 1_000_000]),
        dice in prop::collection::vec(any::<(u8, u8)>(), 0..700),
    ) {
        let mut world = World::new(seed, ahead, share);
        for (what, who) in dice {
            world.happen(what, who);
        }
        world.finish();
        prop_assert_eq!(world.plan.objects(), 0, "every object was freed");
        prop_assert!(world.plan.is_idle());
        for (id, worker) in &world.workers {
            prop_assert!(worker.held.is_empty(), "{} still holds {:?}", id, worker.held.keys());
        }
    }

    #[test]
    fn with_one_that_nobody_reaches_the_program_ends_all_the_same(
        seed in any::<u64>(),
        ahead in 1_usize..4,
        dice in prop::collection::vec(any::<(u8, u8)>(), 0..200),
        walled in 0_u32..4,
    ) {
        let mut world = World::new(seed, ahead, 0);
        for _ in 0..3 {
            world.join(1);
        }
        world.walled = Some(WorkerId(walled));
        for (what, who) in dice {
            world.happen(what, who);
        }
        world.finish();
        prop_assert!(world.plan.is_idle());
    }

    /// The lease never ends here: what it held is made again, or the run goes back, by suspicion alone.
    #[test]
    fn one_that_falls_silent_holds_nobody_up_and_may_speak_again(
        seed in any::<u64>(),
        ahead in 1_usize..4,
        dice in prop::collection::vec((0_u8..200, any::<u8>()), 0..200),
        silent in 0_u32..3,
        speaks in any::<bool>(),
    ) {
        let mut world = World::new(seed, ahead, 0);
        for _ in 0..3 {
            world.join(1);
        }
        for (what, who) in dice {
            world.happen(what, who);
        }
        let silent = WorkerId(silent);
        let mut kept = Some(world.workers[&silent].outbox.clone());
        for round in 0_u32..100_000 {
            world.restart();
            world.now += 5;
            for id in world.workers.keys().copied().filter(|id| *id != silent).collect::<Vec<_>>() {
                world.tell(Event::WorkerAlive(id));
                for act in [World::receive, World::work, World::deliver] {
                    act(&mut world, id);
                }
            }
            // Its lease is as long as it is silent: only suspicion helps.
            world.now = world.now.min(900);
            world.tell(Event::TimePassed);
            if speaks && round == 40 {
                for event in kept.take().into_iter().flatten() {
                    world.tell(event);
                }
                world.workers.get_mut(&silent).expect("it is there").outbox.clear();
            }
            if world.whole.len() == world.steps.len() {
                break;
            }
            prop_assert!(round < 90_000, "nothing moves with {} tasks left", world.plan.tasks());
        }
        prop_assert!(world.suspicions <= 1 + u32::from(speaks));
        world.finish();
        prop_assert!(world.plan.is_idle());
    }

    /// All is computed twice: what one of four makes of it goes into nothing, and it is found out where it wrote anything.
    #[test]
    fn a_liar_is_found_out_and_what_it_says_counts_for_nothing(
        seed in any::<u64>(),
        ahead in 1_usize..4,
        dice in prop::collection::vec((0_u8..200, any::<u8>()), 0..200),
        liar in 0_u32..4,
    ) {
        let mut world = World::new(seed, ahead, 1_000_000);
        world.liar = Some(WorkerId(liar));
        for _ in 0..4 {
            world.join(1);
        }
        for (what, who) in dice {
            world.happen(what, who);
        }
        world.finish();
        prop_assert!(world.plan.is_idle());
    }

    /// One of four panics at tasks that others can do: they do them.
    #[test]
    fn one_that_panics_holds_nobody_up(
        seed in any::<u64>(),
        ahead in 1_usize..4,
        share in prop::sample::select(vec![0, 300_000, 1_000_000]),
        dice in prop::collection::vec((0_u8..200, any::<u8>()), 0..200),
        panics in 0_u32..4,
    ) {
        let mut world = World::new(seed, ahead, share);
        world.panics = Some(WorkerId(panics));
        // A chain may leave it.
        world.left.insert(WorkerId(panics));
        for _ in 0..4 {
            world.join(1);
        }
        for (what, who) in dice {
            world.happen(what, who);
        }
        world.finish();
        prop_assert!(world.plan.is_idle());
    }
}
