//! The cluster itself: what the state machine says is done by workers that exist as queues.

use super::costs::Costs;
use super::links::{Nanos, Queue, nanos};
use super::shape::{Machine, Shape, Trouble};
use super::work::{Works, width};
use model::als::Als;
use plan::{Action, Assignment, Event, Holder, Plan, Profile, Settings, Tick, Wrote};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tensor::{Digest, KeyRange, News, ObjectKey, Program, TaskId, Turn, WorkerId};

/// Bytes of an assignment's parts as they travel: a read or a write, a source.
const KEY_BYTES: u64 = 16;
const SOURCE_BYTES: u64 = 20;
/// Virtual time between two ticks of the coordinator.
const TICK: Nanos = 1_000_000_000;

/// What an epoch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Course {
    /// Workers.
    pub workers: u32,
    /// Of the second epoch, which finds partitions at hand.
    pub epoch_seconds: f64,
    /// Of all workers' threads together, if all of it ran on one worker that nothing holds up.
    pub work_seconds: f64,
    /// Bytes that workers pulled from each other in that epoch,
    pub traffic: u64,
    /// and the most that one of them did.
    pub traffic_most: u64,
    /// Bytes that the coordinator sent in it.
    pub coordinator_bytes: u64,
    /// The share of the epoch in which it was busy.
    pub coordinator_share: f64,
    /// Tasks of it, and how many of them were computed more than once.
    pub tasks: u64,
    /// Attempts beyond the first.
    pub again: u64,
    /// Events that the state machine heard in the whole run.
    pub events: u64,
}

impl Course {
    /// How many times as fast as one worker that nothing holds up.
    pub fn speed_up(&self) -> f64 {
        self.work_seconds / self.epoch_seconds
    }

    /// What of the workers' time is work.
    pub fn efficiency(&self) -> f64 {
        self.speed_up() / f64::from(self.workers)
    }
}

enum Happening {
    Given(u32, Vec<Assignment>),
    Revoked(u32, TaskId, u32),
    Fetched(u32, Assignment),
    Computed(u32, Assignment, Vec<Wrote>, Vec<u8>),
    Heard(Event),
    Tick,
}

#[derive(Default)]
struct Member {
    waiting: VecDeque<Assignment>,
    busy_lanes: u32,
    computing: Queue,
    down: Queue,
    up: Queue,
    disk: Queue,
    /// Ranges that were pulled whole: when they were there, and their bytes.
    copies: BTreeMap<KeyRange, (Nanos, u64)>,
    oldest: VecDeque<KeyRange>,
    copies_bytes: u64,
    cached: BTreeSet<Digest>,
    cached_bytes: u64,
    received: u64,
}

/// What had come together when an epoch was told.
#[derive(Clone, Default)]
struct Mark {
    at: Nanos,
    received: Vec<u64>,
    sent: u64,
    busy: Nanos,
    work: Nanos,
    tasks: u64,
    again: u64,
}

struct World<'a> {
    works: Works<'a>,
    costs: &'a Costs,
    trouble: Trouble,
    /// Bytes a second of a link.
    link: f64,
    /// Partitions that a worker's page cache holds.
    page_cache: u64,
    plan: Plan,
    program: Als,
    now: Nanos,
    queue: BTreeMap<(Nanos, u64), Happening>,
    next: u64,
    members: Vec<Member>,
    /// Bytes of what is no block.
    small: BTreeMap<ObjectKey, u64>,
    coordinator: Queue,
    coordinator_link: Queue,
    sent: u64,
    work: Nanos,
    tasks: u64,
    again: u64,
    events: u64,
    marks: Vec<Mark>,
    finished: bool,
}

/// Runs two epochs of a shape on so many workers; the second counts.
///
/// # Errors
/// Sizes or settings that no job may have, missing figures, a run that the coordinator would end.
pub fn run(
    shape: &Shape,
    machine: Machine,
    workers: u32,
    trouble: Trouble,
    costs: &Costs,
) -> Result<Course, String> {
    let input = shape.input()?;
    let works = Works::new(costs, shape, machine, &input, width(shape.rank))?;
    // Who is silent is another simulation's.
    let settings = Settings {
        suspect_ms: 1 << 50,
        lease_ms: 1 << 50,
        grace_ms: 1 << 50,
        ..Settings::default()
    };
    let mut world = World {
        works,
        costs,
        trouble,
        link: machine.network_gbytes.min(costs.transport_gbytes.value) * 1e9,
        page_cache: machine.page_cache_bytes,
        plan: Plan::new(settings),
        program: shape.program()?,
        now: 0,
        queue: BTreeMap::new(),
        next: 0,
        members: (0..workers).map(|_| Member::default()).collect(),
        small: BTreeMap::new(),
        coordinator: Queue::default(),
        coordinator_link: Queue::default(),
        sent: 0,
        work: 0,
        tasks: 0,
        again: 0,
        events: 0,
        marks: Vec::new(),
        finished: false,
    };
    for worker in 0..workers {
        let profile = Profile {
            threads: machine.threads,
            memory_bytes: machine.memory_bytes,
        };
        world.tell(Event::WorkerJoined(WorkerId(worker), profile))?;
    }
    let turn = world.program.start().map_err(|error| error.to_string())?;
    world.take(turn)?;
    world.after(TICK, Happening::Tick);
    while !(world.finished && world.plan.is_idle()) {
        let Some(((at, _), happening)) = world.queue.pop_first() else {
            return Err("nothing happens any more, and the job is not done".to_owned());
        };
        world.now = at;
        world.happen(happening)?;
    }
    world.course(workers)
}

impl World<'_> {
    fn after(&mut self, long: Nanos, happening: Happening) {
        self.at(self.now + long, happening);
    }

    fn at(&mut self, at: Nanos, happening: Happening) {
        self.next += 1;
        self.queue.insert((at, self.next), happening);
    }

    fn one_way(&self) -> Nanos {
        nanos(self.costs.round_trip_us.value * 0.5e-6)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Given(worker, given) => {
                self.members[worker as usize].waiting.extend(given);
                self.begin(worker);
            }
            Happening::Revoked(worker, task, attempt) => {
                let waiting = &mut self.members[worker as usize].waiting;
                let found = waiting
                    .iter()
                    .position(|of| (of.task.id, of.attempt) == (task, attempt));
                if let Some(place) = found {
                    waiting.remove(place);
                    let worker = WorkerId(worker);
                    let event = Event::TaskReturned {
                        worker,
                        task,
                        attempt,
                    };
                    self.after(self.one_way(), Happening::Heard(event));
                }
            }
            Happening::Fetched(worker, given) => self.compute(worker, given),
            Happening::Computed(worker, given, wrote, partial) => {
                self.members[worker as usize].busy_lanes -= 1;
                let event = Event::TaskDone {
                    worker: WorkerId(worker),
                    task: given.task.id,
                    attempt: given.attempt,
                    partial,
                    wrote,
                };
                self.after(self.one_way(), Happening::Heard(event));
                self.begin(worker);
            }
            Happening::Heard(event) => {
                // Half of what a task costs the coordinator is hearing of it.
                let half = nanos(self.costs.coordinator_task_us.value * 0.5e-6);
                self.coordinator.take(self.now, half);
                self.tell(event)?;
            }
            Happening::Tick => {
                self.tell(Event::TimePassed)?;
                self.after(TICK, Happening::Tick);
            }
        }
        Ok(())
    }

    /// The state machine hears of something, and what it answers is done.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        let mut open = VecDeque::from([event]);
        while let Some(event) = open.pop_front() {
            self.events += 1;
            for action in self.plan.on(Tick(self.now / 1_000_000), event) {
                match action {
                    Action::Assign(worker, given) => self.send(worker, given),
                    Action::Revoke(worker, task, attempt) => {
                        let at = self.coordinator.take(self.now, 0) + self.one_way();
                        self.at(at, Happening::Revoked(worker.0, task, attempt));
                    }
                    Action::StepDone(step, reduced) => {
                        let turn = self
                            .program
                            .completed(step, reduced)
                            .map_err(|error| error.to_string())?;
                        self.note(&turn);
                        self.finished |= turn.finished;
                        open.extend(turn.steps.into_iter().map(Event::Submit));
                    }
                    other => passed_over(&other)?,
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, turn: Turn) -> Result<(), String> {
        turn.steps
            .into_iter()
            .try_for_each(|step| self.tell(Event::Submit(step)))
    }

    fn note(&mut self, turn: &Turn) {
        for News::Epoch { .. } in &turn.news {
            self.marks.push(Mark {
                at: self.now,
                received: self.members.iter().map(|member| member.received).collect(),
                sent: self.sent,
                busy: self.coordinator.busy.max(self.coordinator_link.busy),
                work: self.work,
                tasks: self.tasks,
                again: self.again,
            });
        }
    }

    fn send(&mut self, worker: WorkerId, given: Vec<Assignment>) {
        let half = nanos(self.costs.coordinator_task_us.value * 0.5e-6);
        let ready = self.coordinator.take(self.now, half * given.len() as u64);
        let bytes: u64 = given
            .iter()
            .map(|of| {
                let keys = of.task.reads.len() + of.task.writes.len();
                of.task.op.body.len() as u64
                    + KEY_BYTES * keys as u64
                    + SOURCE_BYTES * of.sources.len() as u64
            })
            .sum();
        self.sent += bytes;
        let gone = self
            .coordinator_link
            .take(ready, nanos(bytes as f64 / self.link));
        self.at(gone + self.one_way(), Happening::Given(worker.0, given));
    }

    /// Free lanes take what waits.
    fn begin(&mut self, worker: u32) {
        let lanes = self.works.lanes();
        while self.members[worker as usize].busy_lanes < lanes {
            let Some(given) = self.members[worker as usize].waiting.pop_front() else {
                return;
            };
            self.members[worker as usize].busy_lanes += 1;
            let there = self.fetch(worker as usize, &given);
            self.at(there, Happening::Fetched(worker, given));
        }
    }

    /// When everything that a task reads is there.
    fn fetch(&mut self, worker: usize, given: &Assignment) -> Nanos {
        let work = self.works.of(&given.task);
        let mut there = self.now + nanos(self.costs.worker_task_us.value * 1e-6);
        for read in &given.task.reads {
            there = there.max(match read.keys {
                KeyRange::One(ObjectKey::Sealed { digest, bytes, .. }) => {
                    self.partition(worker, digest, bytes)
                }
                keys => match work.pieces.filter(|_| read.rows_only) {
                    Some(pieces) => {
                        self.pull(worker, given, keys, Some((pieces.bytes, pieces.pieces)))
                    }
                    None => self.whole(worker, given, keys),
                },
            });
        }
        there
    }

    /// A partition comes from where it is durable, once, and then from the worker's own disk.
    fn partition(&mut self, worker: usize, digest: Digest, bytes: u64) -> Nanos {
        let member = &mut self.members[worker];
        if member.cached.insert(digest) {
            member.cached_bytes += bytes;
            return member.down.take(self.now, nanos(bytes as f64 / self.link))
                + nanos(self.costs.round_trip_us.value * 1e-6);
        }
        // All of it goes round: what is read in turns is gone from a cache that is smaller.
        if member.cached_bytes <= self.page_cache {
            return self.now;
        }
        let disk = self.costs.disk_gbytes.value * 1e9;
        member.disk.take(self.now, nanos(bytes as f64 / disk))
    }

    /// A range that is kept once it was pulled, as long as there is room.
    fn whole(&mut self, worker: usize, given: &Assignment, keys: KeyRange) -> Nanos {
        if let Some((there, _)) = self.members[worker].copies.get(&keys) {
            return (*there).max(self.now);
        }
        let before = self.members[worker].received;
        let there = self.pull(worker, given, keys, None);
        let most = self.works.split().copies_bytes;
        let member = &mut self.members[worker];
        let bytes = member.received - before;
        // What does not fit is gone before it is read again.
        if bytes > 0 && bytes <= most {
            member.copies.insert(keys, (there, bytes));
            member.oldest.push_back(keys);
            member.copies_bytes += bytes;
            while member.copies_bytes > most {
                let oldest = member.oldest.pop_front().expect("bytes are of copies");
                member.copies_bytes -= member.copies.remove(&oldest).map_or(0, |(_, bytes)| bytes);
            }
        }
        there
    }

    /// Pulls what others hold of a range: all of it, or so many bytes of rows in so many turns.
    fn pull(
        &mut self,
        worker: usize,
        given: &Assignment,
        keys: KeyRange,
        rows: Option<(u64, u64)>,
    ) -> Nanos {
        let sources = given
            .sources
            .iter()
            .filter(|source| within(keys, source.keys));
        let parts: Vec<(usize, u64)> = sources
            .filter_map(|source| match source.holders.first()? {
                Holder::Worker(holder) => Some((holder.0 as usize, self.bytes(source.keys))),
                Holder::Durable { .. } => None,
            })
            .filter(|(holder, _)| *holder != worker)
            .collect();
        let all = self.bytes(keys).max(1) as f64;
        let share = rows.map_or(1.0, |(bytes, _)| bytes as f64 / all);
        let (mut there, mut total) = (self.now, 0);
        for (holder, bytes) in parts {
            let bytes = (bytes as f64 * share) as u64;
            total += bytes;
            let sent = self.members[holder]
                .up
                .take(self.now, nanos(bytes as f64 / self.link));
            there = there.max(sent);
        }
        if total == 0 {
            return self.now;
        }
        let member = &mut self.members[worker];
        member.received += total;
        let turns = rows.map_or(1, |(_, pieces)| pieces);
        there.max(member.down.take(self.now, nanos(total as f64 / self.link)))
            + nanos(self.costs.round_trip_us.value * 1e-6 * turns as f64)
    }

    fn bytes(&self, keys: KeyRange) -> u64 {
        match keys {
            KeyRange::One(key @ ObjectKey::Partial { .. }) => {
                self.small.get(&key).copied().unwrap_or(0)
            }
            keys => self.works.block_bytes(keys),
        }
    }

    fn compute(&mut self, worker: u32, given: Assignment) {
        let work = self.works.of(&given.task);
        let id = given.task.id;
        self.tasks += 1;
        self.again += u64::from(given.attempt > 0);
        self.work += work.computes;
        for wrote in &work.wrote {
            if matches!(wrote.key, ObjectKey::Partial { .. }) {
                self.small.insert(wrote.key, wrote.bytes);
            }
        }
        let slow =
            self.trouble.of_worker(worker) * self.trouble.of_task(worker, id.step.0, id.index);
        let long = (work.computes as f64 * slow) as Nanos;
        let done = self.members[worker as usize].computing.take(self.now, long);
        self.at(
            done,
            Happening::Computed(worker, given, work.wrote, work.partial),
        );
    }

    fn course(&self, workers: u32) -> Result<Course, String> {
        let [first, second] = &self.marks[..] else {
            return Err(format!("{} epochs were told of two", self.marks.len()));
        };
        let received = first
            .received
            .iter()
            .zip(&second.received)
            .map(|(before, after)| after - before);
        let long = second.at - first.at;
        Ok(Course {
            workers,
            epoch_seconds: long as f64 * 1e-9,
            work_seconds: (second.work - first.work) as f64 * 1e-9,
            traffic: received.clone().sum(),
            traffic_most: received.max().unwrap_or(0),
            coordinator_bytes: second.sent - first.sent,
            coordinator_share: (second.busy - first.busy) as f64 / long.max(1) as f64,
            tasks: second.tasks - first.tasks,
            again: second.again - first.again,
            events: self.events,
        })
    }
}

/// Copies go as room is needed, since versions have names of their own; what ends a run is not simulated.
fn passed_over(action: &Action) -> Result<(), String> {
    match action {
        Action::Dismiss(..) | Action::RollBack(_) | Action::Stop(_) => {
            Err(format!("the run cannot go on: {action:?}"))
        }
        _ => Ok(()),
    }
}

/// Whether a source is of a range that is read.
fn within(range: KeyRange, source: KeyRange) -> bool {
    let place = |keys: KeyRange| match keys {
        KeyRange::One(ObjectKey::Block {
            table,
            block,
            version,
        }) => Some((table, version, block.0, 1)),
        KeyRange::Blocks {
            table,
            first,
            count,
            version,
        } => Some((table, version, first, count)),
        KeyRange::One(_) => None,
    };
    match (place(range), place(source)) {
        (Some((table, version, first, count)), Some((of, at, begins, blocks))) => {
            (table, version) == (of, at) && begins >= first && begins + blocks <= first + count
        }
        _ => range == source,
    }
}
