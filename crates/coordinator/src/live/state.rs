//! What a run has told up to now, kept small.
//!
//! **Invariant:** no clock: whoever tells says when. Everything is bounded: phases, epochs, lines and cells have a most, so that
//! a run of months tells as much as one of minutes.

use super::map::Map;
use super::status::{
    Checkpoint, Course, Ended, Epoch, Line, Memory, Moved, Phase, Status, Step, Tasks, Worker,
};
use crate::driver::{OfWorker, Report, WorkerTally};
use crate::progress::news_line;
use plan::Failure;
use std::collections::{BTreeMap, VecDeque};
use tensor::{News, StepId, WorkerId};

/// Phases that are kept.
const PHASES_MAX: usize = 60;
/// Epochs that are kept: a curve has no more points.
const EPOCHS_MAX: usize = 2000;
/// Lines that are kept, and characters of one.
const LINES_MAX: usize = 200;
const LINE_MAX: usize = 400;
/// Kinds of steps that are told apart.
const KINDS_MAX: usize = 64;
/// Lost workers that are remembered by name.
const LOST_MAX: usize = 1000;
/// Workers whose joining is a line of its own.
const JOINED_MAX: usize = 20;
/// Steps whose maps are kept: programs are some steps ahead.
const MAPS_MAX: usize = 32;
/// Steps from here on are checkpoints.
const PERSIST: u64 = 1 << 63;
/// A rate is that of so many seconds.
const RATE_SECONDS: f64 = 10.0;

/// Up to now.
#[derive(Debug, Default)]
pub struct State {
    /// Raised by every change.
    pub version: u64,
    verb: &'static str,
    budget_bytes: u64,
    course: Course,
    failure: Option<Ended>,
    run: Option<String>,
    term: Option<u64>,
    phases: VecDeque<Phase>,
    phases_left_out: u64,
    phase_began: f64,
    /// When how much was done, for the rate.
    marks: VecDeque<(f64, u64)>,
    epochs: Vec<Epoch>,
    epoch_began: f64,
    tasks: Tasks,
    maps: BTreeMap<StepId, Map>,
    /// The one that was whole last, shown until there is another.
    last: Option<Map>,
    /// Of the phases that are over.
    moved_before: Moved,
    moved: Moved,
    checkpoint: Option<(u32, f64, f64)>,
    opened: Option<f64>,
    checkpoints: u64,
    faults: BTreeMap<&'static str, u64>,
    workers: BTreeMap<WorkerId, (Worker, f64)>,
    log: VecDeque<Line>,
    /// Lines that there were.
    pub lines: u64,
}

/// A word for what went wrong with a task.
fn fault(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unreachable { .. } => "task_unreachable",
        Failure::Corrupt { .. } => "task_corrupt",
        Failure::Exhausted { .. } => "task_exhausted",
        Failure::Disk { .. } => "task_disk",
        Failure::Panicked { .. } => "task_panicked",
        Failure::Budget { .. } => "task_budget",
        Failure::Refused { .. } => "task_refused",
    }
}

/// Every kind of fault, so that a count of none is told too.
const FAULTS: [&str; 14] = [
    "task_budget",
    "task_corrupt",
    "task_disk",
    "task_exhausted",
    "task_panicked",
    "task_refused",
    "task_slow",
    "task_unreachable",
    "worker_given_up",
    "worker_lost",
    "worker_shut_out",
    "worker_suspected",
    "results_differ",
    "rollback",
];

/// The name of a step without its numbers: `tiles 3` is of the kind `tiles`.
fn kind(name: &str) -> String {
    let words = name
        .split_whitespace()
        .filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

impl State {
    /// Of a verb that begins.
    pub fn new(verb: &'static str, budget_bytes: u64) -> Self {
        State {
            verb,
            budget_bytes,
            faults: FAULTS.into_iter().map(|kind| (kind, 0)).collect(),
            ..State::default()
        }
    }

    /// A phase begins.
    pub fn begin(&mut self, now: f64, phase: &str, unit: &'static str, total: Option<u64>) {
        self.end(now, "");
        if self.phases.len() == PHASES_MAX {
            self.phases.pop_front();
            self.phases_left_out += 1;
        }
        self.phase_began = now;
        self.epoch_began = now;
        self.marks.clear();
        self.phases.push_back(Phase {
            phase: phase.to_owned(),
            unit,
            done: 0,
            total,
            rate: 0.0,
            seconds: 0.0,
            over: false,
            summary: String::new(),
        });
    }

    /// So much is done.
    pub fn progress(&mut self, now: f64, done: u64, total: Option<u64>) {
        let Some(phase) = self.phases.back_mut().filter(|phase| !phase.over) else {
            return;
        };
        phase.done = done;
        phase.total = total.or(phase.total);
        if self.marks.back().is_none_or(|last| now - last.0 >= 1.0) {
            self.marks.push_back((now, done));
        }
        // One mark before the span of the rate is enough.
        while self
            .marks
            .get(1)
            .is_some_and(|next| now - next.0 > RATE_SECONDS)
        {
            self.marks.pop_front();
        }
    }

    /// The phase is over.
    pub fn end(&mut self, now: f64, summary: &str) {
        let began = self.phase_began;
        if let Some(phase) = self.phases.back_mut().filter(|phase| !phase.over) {
            phase.over = true;
            phase.rate = 0.0;
            phase.seconds = now - began;
            summary.clone_into(&mut phase.summary);
        }
        if !summary.is_empty() {
            let name = self.phases.back().map_or("", |phase| &phase.phase);
            let line = format!("{name}: {summary}");
            self.note(now, &line);
        }
    }

    /// Workers of a run, which come anew.
    pub fn open(&mut self, now: f64, run: String, term: u64) {
        (self.run, self.term) = (Some(run), Some(term));
        self.opened = Some(now);
        self.workers.clear();
        self.maps.clear();
        self.epochs.clear();
        self.checkpoint = None;
        self.moved_before.between_workers_bytes += self.moved.between_workers_bytes;
        self.moved_before.through_coordinator_bytes += self.moved.through_coordinator_bytes;
        self.moved = Moved::default();
    }

    /// A line for people.
    pub fn note(&mut self, now: f64, line: &str) {
        if self.log.len() == LINES_MAX {
            self.log.pop_front();
        }
        self.lines += 1;
        self.log.push_back(Line {
            seconds: now,
            line: line.chars().take(LINE_MAX).collect(),
        });
    }

    /// News of the program.
    pub fn news(&mut self, now: f64, news: &News) {
        let News::Epoch {
            epoch,
            epochs,
            objective,
            metrics,
        } = news;
        let seconds = now - self.epoch_began;
        self.epoch_began = now;
        self.note(now, &news_line(news, Some(seconds)));
        if self.epochs.len() == EPOCHS_MAX {
            // Every other one: the course stays.
            let mut odd = false;
            self.epochs.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.epochs.push(Epoch {
            epoch: *epoch,
            epochs: *epochs,
            objective: *objective,
            metrics: metrics.iter().cloned().collect(),
            seconds,
        });
    }

    /// What the driver reports; news, notes and progress come by themselves.
    pub fn hear(&mut self, now: f64, report: &Report) {
        match report {
            Report::News(_) | Report::Note(_) => {}
            Report::Step { step, name, tasks } => {
                if step.0 < PERSIST {
                    if self.maps.len() == MAPS_MAX {
                        self.maps.pop_last();
                    }
                    self.maps
                        .insert(*step, Map::new(*step, name.clone(), *tasks));
                }
            }
            Report::Tasks { served_bytes, .. } => {
                self.moved.through_coordinator_bytes = *served_bytes;
            }
            Report::Checkpoint { epoch, seconds } => {
                self.checkpoints += 1;
                self.checkpoint = Some((*epoch, *seconds, now));
            }
            Report::Whole(step) => {
                if let Some(map) = self.maps.remove(step) {
                    self.last = Some(map);
                }
            }
            Report::RolledBack => {
                self.count("rollback");
                self.maps.clear();
            }
            Report::Worker(worker, what) => self.of_worker(now, *worker, what),
        }
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn of_worker(&mut self, now: f64, worker: WorkerId, what: &OfWorker) {
        if let Some((_, heard)) = self.workers.get_mut(&worker) {
            *heard = now;
        }
        match what {
            OfWorker::Joined { profile, address } => {
                let joined = Worker {
                    worker: worker.0,
                    address: address.clone(),
                    state: "working",
                    threads: profile.threads,
                    budget_bytes: profile.memory_bytes,
                    ..Worker::default()
                };
                self.workers.insert(worker, (joined, now));
                let at = if address.is_empty() {
                    String::new()
                } else {
                    format!(" from {address}")
                };
                // Of a thousand that come at once the first will do.
                if self.workers.len() <= JOINED_MAX {
                    self.note(now, &format!("{worker} joined{at}"));
                }
            }
            OfWorker::Alive { anonymous_bytes } => {
                if let Some((of, _)) = self.workers.get_mut(&worker) {
                    of.anonymous_bytes = *anonymous_bytes;
                }
            }
            OfWorker::Draining => {
                self.becomes(worker, "leaving");
                self.note(
                    now,
                    &format!("{worker} is leaving: it finishes what it has begun"),
                );
            }
            OfWorker::Lost(_) => {
                self.count("worker_lost");
                self.gone(worker, "lost");
            }
            OfWorker::Suspected => {
                self.count("worker_suspected");
                self.becomes(worker, "suspected");
                self.note(
                    now,
                    &format!("{worker} has fallen silent: others do its tasks until it speaks"),
                );
            }
            OfWorker::Slow(_) => self.count("task_slow"),
            OfWorker::Differs(_) => self.count("results_differ"),
            OfWorker::ShutOut => {
                self.count("worker_shut_out");
                self.gone(worker, "shut_out");
            }
            OfWorker::Trusted => {
                // What it said may have been that it leaves.
                if self.is_suspected(worker) {
                    self.becomes(worker, "working");
                }
                self.note(now, &format!("{worker} speaks again"));
            }
            OfWorker::GivenUp => {
                self.count("worker_given_up");
                self.gone(worker, "given_up");
            }
            OfWorker::Given(task, attempt) => {
                self.tasks.retried += u64::from(*attempt > 0);
                if let Some(map) = self.maps.get_mut(&task.step) {
                    map.given(task.index, worker);
                }
            }
            OfWorker::Returned(task) => {
                if let Some(map) = self.maps.get_mut(&task.step) {
                    map.waits(task.index);
                }
            }
            OfWorker::Done { task, again, tally } => {
                self.tasks.done += 1;
                self.tasks.replayed += u64::from(*again);
                let of = self.maps.get_mut(&task.step);
                let kind = of.as_ref().map(|map| kind(&map.name));
                if let Some(map) = of {
                    map.did(task.index, worker);
                }
                let kind = kind.unwrap_or_else(|| {
                    if task.step.0 < PERSIST {
                        "other"
                    } else {
                        "checkpoint"
                    }
                    .to_owned()
                });
                self.did(kind);
                self.tallied(worker, tally);
            }
            OfWorker::Failed {
                task,
                attempt,
                failure,
            } => {
                self.count(fault(failure));
                if let Some(map) = self.maps.get_mut(&task.step) {
                    map.waits(task.index);
                }
                self.note(
                    now,
                    &format!("{worker} could not do task {task} (attempt {attempt}): {failure}"),
                );
            }
        }
    }

    fn did(&mut self, kind: String) {
        let known = self.tasks.by_step.len() < KINDS_MAX || self.tasks.by_step.contains_key(&kind);
        let kind = if known { kind } else { "other".to_owned() };
        *self.tasks.by_step.entry(kind).or_default() += 1;
    }

    fn tallied(&mut self, worker: WorkerId, tally: &WorkerTally) {
        let Some((of, _)) = self.workers.get_mut(&worker) else {
            return;
        };
        self.moved.between_workers_bytes += tally.received_bytes.saturating_sub(of.received_bytes);
        of.tasks = tally.tasks;
        of.sent_bytes = tally.sent_bytes;
        of.received_bytes = tally.received_bytes;
        of.compute_seconds = tally.compute_seconds;
        of.fetch_seconds = tally.fetch_seconds;
    }

    fn becomes(&mut self, worker: WorkerId, state: &'static str) {
        if let Some((of, _)) = self.workers.get_mut(&worker) {
            of.state = state;
        }
    }

    fn is_suspected(&self, worker: WorkerId) -> bool {
        let of = self.workers.get(&worker);
        of.is_some_and(|(of, _)| of.state == "suspected")
    }

    fn gone(&mut self, worker: WorkerId, state: &'static str) {
        self.becomes(worker, state);
        self.maps.values_mut().for_each(|map| map.lost(worker));
        let lost = |of: &Worker| matches!(of.state, "lost" | "given_up" | "shut_out");
        let mut gone = self.workers.iter().filter(|(_, (of, _))| lost(of));
        let oldest = gone.next().map(|(id, _)| *id);
        if gone.count() >= LOST_MAX {
            oldest.map(|id| self.workers.remove(&id));
        }
    }

    /// The verb is over.
    pub fn finish(&mut self, now: f64, failure: Option<Ended>) {
        self.end(now, "");
        self.course = if failure.is_some() {
            Course::Failed
        } else {
            Course::Finished
        };
        let line = failure
            .as_ref()
            .map_or("finished", |ended| ended.message.as_str());
        let line = line.to_owned();
        self.note(now, &line);
        self.failure = failure;
    }

    /// The map of the step in front: the earliest that is not whole, else the last that was.
    pub fn map(&self) -> Option<&Map> {
        let open = self.maps.values().next();
        open.or(self.last.as_ref())
    }

    /// The epochs of this phase.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Whether work goes on.
    pub fn is_working(&self) -> bool {
        self.course == Course::Running && !self.phases.is_empty()
    }

    fn rate(&self, now: f64, done: u64) -> f64 {
        let first = self.marks.front().copied();
        let (at, before) = first.unwrap_or((self.phase_began, 0));
        let span = (now - at).max(1e-3);
        // Too little to tell: from the beginning of the phase.
        let (span, before) = if span < 2.0 {
            ((now - self.phase_began).max(1e-3), 0)
        } else {
            (span, before)
        };
        done.saturating_sub(before) as f64 / span
    }

    /// By epochs where there are such; tasks are submitted as they come, so that their number is no end.
    fn left(&self, now: f64) -> Option<f64> {
        let phase = self.phases.back().filter(|phase| !phase.over)?;
        if let Some(last) = self.epochs.last() {
            let recent = &self.epochs[self.epochs.len().saturating_sub(5)..];
            let mean = recent.iter().map(|epoch| epoch.seconds).sum::<f64>() / recent.len() as f64;
            let left = f64::from(last.epochs.saturating_sub(last.epoch)) * mean;
            return Some((left - (now - self.epoch_began)).max(0.0));
        }
        let total = phase.total.filter(|_| phase.unit != "tasks")?;
        let rate = self.rate(now, phase.done);
        (rate > 0.0).then(|| total.saturating_sub(phase.done) as f64 / rate)
    }

    /// All of it, as it is told.
    pub fn status(&self, now: f64, anonymous_bytes: u64, peak_anonymous_bytes: u64) -> Status {
        let mut phases: Vec<Phase> = self.phases.iter().cloned().collect();
        if let Some(phase) = phases.last_mut().filter(|phase| !phase.over) {
            phase.seconds = now - self.phase_began;
            phase.rate = self.rate(now, phase.done);
        }
        let workers = self.workers.values().map(|(of, heard)| Worker {
            silent_seconds: now - heard,
            ..of.clone()
        });
        let (before, moved) = (self.moved_before, self.moved);
        Status {
            verb: self.verb,
            version: env!("CARGO_PKG_VERSION"),
            state: self.course,
            failure: self.failure.clone(),
            seconds: now,
            run: self.run.clone(),
            term: self.term,
            phases,
            phases_left_out: self.phases_left_out,
            epoch: self.epochs.last().cloned(),
            left_seconds: self.left(now),
            tasks: self.tasks.clone(),
            step: self.map().map(|map| Step {
                step: map.name.clone(),
                tasks: map.tasks,
                done: map.done,
            }),
            memory: Memory {
                anonymous_bytes,
                peak_anonymous_bytes,
                budget_bytes: self.budget_bytes,
            },
            moved: Moved {
                between_workers_bytes: before.between_workers_bytes + moved.between_workers_bytes,
                through_coordinator_bytes: before.through_coordinator_bytes
                    + moved.through_coordinator_bytes,
            },
            checkpoint: self.checkpoint.map(|(epoch, seconds, at)| Checkpoint {
                epoch,
                seconds,
                age_seconds: now - at,
            }),
            unsaved_seconds: self
                .checkpoint
                .map(|(_, _, at)| at)
                .or(self.opened)
                .map(|since| now - since),
            checkpoints: self.checkpoints,
            faults: self.faults.clone(),
            workers: workers.collect(),
            log: self.log.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Profile;
    use tensor::TaskId;

    fn task(step: u64, index: u32) -> TaskId {
        TaskId {
            step: StepId(step),
            index,
        }
    }

    fn done(task: TaskId, again: bool, tasks: u64) -> OfWorker {
        OfWorker::Done {
            task,
            again,
            tally: WorkerTally {
                tasks,
                received_bytes: 100 * tasks,
                ..WorkerTally::default()
            },
        }
    }

    fn joined(address: &str) -> OfWorker {
        OfWorker::Joined {
            profile: Profile {
                threads: 2,
                memory_bytes: 1 << 30,
            },
            address: address.to_owned(),
        }
    }

    #[test]
    fn a_run_with_a_loss_is_told_as_it_was() {
        let mut state = State::new("run", 1 << 30);
        assert!(!state.is_working());
        state.begin(0.0, "train", "tasks", None);
        state.open(0.0, "0123abcd".into(), 3);
        let unsaved = state.status(0.25, 0, 0).unsaved_seconds;
        assert_eq!(unsaved, Some(0.25), "there is no checkpoint yet");
        for (worker, what) in [(0, joined("a:7070")), (1, joined("b:7070"))] {
            state.hear(0.5, &Report::Worker(WorkerId(worker), what));
        }
        let name = "user half-step 12".to_owned();
        let step = Report::Step {
            step: StepId(7),
            name,
            tasks: 3,
        };
        state.hear(1.0, &step);
        for (index, worker) in [(0, 0), (1, 1), (2, 1)] {
            let given = OfWorker::Given(task(7, index), 0);
            state.hear(1.0, &Report::Worker(WorkerId(worker), given));
        }
        state.hear(
            2.0,
            &Report::Worker(WorkerId(0), done(task(7, 0), false, 1)),
        );
        state.hear(
            2.5,
            &Report::Worker(WorkerId(1), OfWorker::Lost("it is gone".into())),
        );
        assert_eq!(state.map().map(Map::all).as_deref(), Some("002000000"));
        for index in [1, 2] {
            let given = OfWorker::Given(task(7, index), 1);
            state.hear(3.0, &Report::Worker(WorkerId(0), given));
        }
        let failed = OfWorker::Failed {
            task: task(7, 2),
            attempt: 1,
            failure: Failure::Exhausted {
                sentence: "the disk is full".into(),
            },
        };
        state.hear(3.5, &Report::Worker(WorkerId(0), failed));
        state.hear(4.0, &Report::Worker(WorkerId(0), done(task(7, 1), true, 2)));
        state.progress(4.0, 2, Some(3));
        let news = News::Epoch {
            epoch: 1,
            epochs: 5,
            objective: Some(7.5),
            metrics: vec![("rmse".into(), 0.5)],
        };
        state.news(4.0, &news);
        state.hear(
            5.0,
            &Report::Checkpoint {
                epoch: 1,
                seconds: 0.25,
            },
        );
        let status = state.status(6.0, 10, 20);
        assert_eq!(status.state, Course::Running);
        assert_eq!(status.tasks.by_step["user half-step"], 2);
        assert_eq!(
            (
                status.tasks.done,
                status.tasks.replayed,
                status.tasks.retried
            ),
            (2, 1, 2)
        );
        assert_eq!(status.faults["worker_lost"], 1);
        assert_eq!(status.faults["task_exhausted"], 1);
        assert_eq!(status.faults["rollback"], 0, "none is told too");
        let states: Vec<&str> = status.workers.iter().map(|of| of.state).collect();
        assert_eq!(states, ["working", "lost"]);
        assert_eq!(status.moved.between_workers_bytes, 200);
        let checkpoint = status.checkpoint.expect("there is one");
        assert_eq!((checkpoint.epoch, checkpoint.age_seconds), (1, 1.0));
        assert_eq!(status.unsaved_seconds, Some(1.0));
        assert_eq!(status.left_seconds, Some(14.0), "four of 4 s, less 2 s");
        let last = &status.log.last().expect("a line").line;
        assert!(last.starts_with("epoch 1/5"), "{last}");
        let said = |word: &str| status.log.iter().any(|line| line.line.contains(word));
        assert!(said("w1 joined from b:7070") && said("the disk is full"));

        state.finish(
            7.0,
            Some(Ended {
                message: "stopped".into(),
                exit_code: 130,
            }),
        );
        let status = state.status(8.0, 10, 20);
        assert_eq!(status.state, Course::Failed);
        assert!(status.phases[0].over && !state.is_working());
        assert_eq!(status.left_seconds, None);
    }

    #[test]
    fn a_long_run_tells_no_more_than_a_short_one() {
        let mut state = State::new("advise", 0);
        for number in 0..5000_u32 {
            let now = f64::from(number);
            state.begin(now, "train", "tasks", None);
            state.note(now, &"x".repeat(10_000));
            let step = Report::Step {
                step: StepId(u64::from(number)),
                name: format!("kind{number} {number}"),
                tasks: 1,
            };
            state.hear(now, &step);
            let worker = WorkerId(number);
            state.hear(now, &Report::Worker(worker, joined("a:1")));
            let task = task(u64::from(number), 0);
            state.hear(now, &Report::Worker(worker, done(task, false, 1)));
            state.hear(now, &Report::Worker(worker, OfWorker::GivenUp));
            let news = News::Epoch {
                epoch: number,
                epochs: 5000,
                objective: None,
                metrics: Vec::new(),
            };
            state.news(now, &news);
        }
        let status = state.status(5000.0, 0, 0);
        assert_eq!(status.phases.len(), PHASES_MAX);
        assert_eq!(status.phases_left_out, 5000 - PHASES_MAX as u64);
        assert_eq!(status.log.len(), LINES_MAX);
        assert!(status.workers.len() <= LOST_MAX + 1);
        assert!(status.tasks.by_step.len() <= KINDS_MAX + 1);
        assert_eq!(status.tasks.done, 5000);
        assert!(state.epochs().len() <= EPOCHS_MAX);
        let text = serde_json::to_string(&status).expect("it is plain");
        assert!(text.len() < 500_000, "{}", text.len());
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut state = State::new("ingest", 0);
        state.begin(0.0, "ingest", "rows", Some(1000));
        for second in 1..=40_u32 {
            let done = if second <= 20 {
                10 * second
            } else {
                200 + 30 * (second - 20)
            };
            state.progress(f64::from(second), u64::from(done), None);
        }
        let status = state.status(40.0, 0, 0);
        let phase = &status.phases[0];
        assert!((phase.rate - 30.0).abs() < 0.5, "{}", phase.rate);
        let left = status.left_seconds.expect("it can be told");
        assert!((left - 200.0 / 30.0).abs() < 0.5, "{left}");
    }
}
