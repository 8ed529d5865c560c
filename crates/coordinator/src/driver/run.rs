//! The loop of a run: what is heard becomes events, what the plan answers is done.

use super::checkpoints::{Ledger, Resume, StoredObject};
use super::crew::Crew;
use super::deliveries::Deliveries;
use super::repeats::Repeats;
use super::{Context, OfWorker, Outcome, Report};
use crate::cluster::Heard;
use exec::Held;
use futures::future::BoxFuture;
use plan::{Action, Assignment, Dismissal, Event, Failure, Plan, Refusal, Tick};
use std::collections::{BTreeMap, VecDeque};
use tensor::{News, ObjectKey, Program, ProgramError, Reduced, StepId, Turn, WorkerId};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use wire::{FromWorker, ToWorker};

/// Messages that are heard in one go, so that the tasks given in answer travel together.
const BATCH: usize = 256;

/// A manifest that is being written.
type Committing = (Resume, BoxFuture<'static, Result<(), Failure>>);

/// An object that is being pulled in order to be delivered, and of whom.
type Pulling = (
    ObjectKey,
    WorkerId,
    BoxFuture<'static, Result<Held, String>>,
);

/// A program on its way.
pub(super) struct Run<'a, C> {
    program: &'a mut dyn Program,
    crew: &'a mut C,
    context: Context<'a>,
    plan: Plan,
    began: Instant,
    ticker: Interval,
    events: VecDeque<Event>,
    /// Tasks to be sent at the end of a batch.
    given: BTreeMap<WorkerId, Vec<Assignment>>,
    ledger: Ledger,
    committing: Option<Committing>,
    deliveries: Deliveries,
    pulling: Option<Pulling>,
    /// When each worker joined, in microseconds since the run began.
    joined: BTreeMap<WorkerId, u64>,
    names: BTreeMap<StepId, (String, u64)>,
    repeats: Repeats,
    outcome: Outcome,
    submitted: u64,
    done: u64,
    epoch_told: u32,
    finished: bool,
    /// The plan asked for a roll-back, and it has not been made yet.
    rolling: bool,
}

impl<'a, C: Crew> Run<'a, C> {
    pub(super) fn new(
        program: &'a mut dyn Program,
        crew: &'a mut C,
        mut context: Context<'a>,
    ) -> Self {
        let mut ticker = interval(context.tick);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Run {
            program,
            crew,
            plan: Plan::new(context.settings),
            began: Instant::now(),
            ticker,
            events: VecDeque::new(),
            given: BTreeMap::new(),
            ledger: Ledger::new(context.resume.take()),
            committing: None,
            deliveries: Deliveries::default(),
            pulling: None,
            joined: BTreeMap::new(),
            names: BTreeMap::new(),
            repeats: Repeats::default(),
            outcome: Outcome::default(),
            submitted: 0,
            done: 0,
            epoch_told: 0,
            finished: false,
            rolling: false,
            context,
        }
    }

    pub(super) async fn run(mut self) -> Result<Outcome, Failure> {
        let result = self.steer().await;
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
        self.outcome.coordinator_bytes = self.crew.served_bytes();
        let traced = self
            .context
            .trace
            .take()
            .map_or(Ok(()), super::Trace::finish);
        let now = self.now_us();
        if let Some(spans) = self.context.spans.take() {
            spans.finish(now, result.as_ref().err().map(Failure::to_string));
        }
        result.and(traced.map_err(trace_failed))?;
        Ok(self.outcome)
    }

    /// Microseconds since the run began.
    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    async fn steer(&mut self) -> Result<(), Failure> {
        self.course(false)?;
        loop {
            self.settle()?;
            if self.rolling && self.committing.is_none() {
                self.roll_back()?;
                continue;
            }
            if self.is_over() {
                return Ok(());
            }
            self.begin_delivery()?;
            self.next().await?;
        }
    }

    /// Begins the program, or begins it again from the last durable state.
    fn course(&mut self, again: bool) -> Result<(), Failure> {
        let durable = self.ledger.durable.as_ref();
        if again || durable.is_some() {
            let state = durable.map(|durable| durable.checkpoint.state.as_slice());
            self.program.restore(state).map_err(program_failed)?;
        }
        let stored = durable
            .iter()
            .flat_map(|durable| &durable.objects)
            .chain(&self.context.stored);
        self.events.extend(stored.map(is_durable));
        let turn = self.program.start().map_err(program_failed)?;
        self.take(turn);
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.rolling = false;
        self.outcome.rollbacks += 1;
        (self.context.listener)(Report::RolledBack);
        let now = self.now_us();
        if let Some(spans) = &mut self.context.spans {
            spans.rolled_back(now);
        }
        self.ledger.forget();
        self.deliveries.forget();
        self.pulling = None;
        (self.finished, self.submitted, self.done) = (false, 0, 0);
        self.events.clear();
        self.events.push_back(Event::Restarted);
        self.course(true)
    }

    /// What the program wants: news are told, steps submitted, deliveries and checkpoints noted.
    fn take(&mut self, turn: Turn) {
        for news in turn.news {
            let News::Epoch { epoch, .. } = news;
            if epoch > self.epoch_told {
                self.epoch_told = epoch;
                (self.context.listener)(Report::News(news));
            }
        }
        self.finished |= turn.finished;
        // Before the steps: they may free what the checkpoint has to read.
        let (pace, now) = (self.context.checkpoints.pace, self.began.elapsed());
        let persist = turn
            .checkpoint
            .and_then(|offer| self.ledger.offer(offer, pace, now, turn.finished));
        for step in persist.into_iter().chain(turn.steps) {
            let tasks = step.tasks.len() as u64;
            self.submitted += tasks;
            self.names.insert(step.id, (step.name.clone(), tasks));
            let now = self.now_us();
            if let Some(spans) = &mut self.context.spans {
                spans.submitted(now, step.id, &step.name, tasks);
            }
            (self.context.listener)(Report::Step {
                step: step.id,
                name: step.name.clone(),
                tasks,
            });
            self.events.push_back(Event::Submit(step));
        }
        for key in turn.deliver {
            let wanted = self.deliveries.enqueue(key);
            self.events.push_back(if wanted {
                Event::Wanted(key)
            } else {
                Event::Free(key.into())
            });
        }
    }

    /// Tells the plan everything that happened, and does what it answers.
    fn settle(&mut self) -> Result<(), Failure> {
        let before = self.done;
        while let Some(event) = self.events.pop_front() {
            let now = Tick(self.began.elapsed().as_millis() as u64);
            for action in self.plan.on(now, event) {
                self.perform(action)?;
            }
        }
        for (worker, tasks) in std::mem::take(&mut self.given) {
            self.crew.send(worker, ToWorker::Assign(tasks));
        }
        if self.done > before {
            (self.context.listener)(Report::Tasks {
                done: self.done,
                submitted: self.submitted,
                served_bytes: self.crew.served_bytes(),
            });
        }
        if self.committing.is_none()
            && let Some(resume) = self.ledger.next_ready()
        {
            let commit = (self.context.checkpoints.commit)(
                resume.checkpoint.clone(),
                resume.objects.clone(),
            );
            self.ledger.committing = true;
            self.committing = Some((resume, commit));
        }
        Ok(())
    }

    fn perform(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Assign(worker, tasks) => {
                for given in &tasks {
                    let lost = self.repeats.given(given);
                    self.tell(worker, OfWorker::Given(given.task.id, lost));
                }
                self.given.entry(worker).or_default().extend(tasks);
            }
            Action::Revoke(worker, task, attempt) => {
                self.send(worker, ToWorker::Revoke { task, attempt });
            }
            Action::Drop(worker, ranges) => self.send(worker, ToWorker::Drop(ranges)),
            Action::Suspect(worker) => {
                self.crew.suspect(worker);
                self.tell(worker, OfWorker::Suspected);
                let place = self.place(worker);
                self.note(format!(
                    "{place} has fallen silent: others do its tasks until it speaks"
                ));
            }
            Action::Slow(worker, task) => {
                self.outcome.tasks_doubled += 1;
                self.tell(worker, OfWorker::Slow(task));
            }
            Action::Differ(task, workers) => {
                for worker in workers {
                    self.tell(worker, OfWorker::Differs(task));
                }
                let [one, other] = workers.map(|worker| self.place(worker));
                self.note(format!(
                    "{one} and {other} came to different results of task {task}: a third worker decides"
                ));
            }
            Action::Trust(worker) => {
                self.crew.trust(worker);
                self.tell(worker, OfWorker::Trusted);
                let place = self.place(worker);
                self.note(format!("{place} speaks again"));
            }
            Action::Dismiss(worker, why) => {
                self.given.remove(&worker);
                self.tell(
                    worker,
                    match why {
                        Dismissal::Disagreed => OfWorker::ShutOut,
                        _ => OfWorker::GivenUp,
                    },
                );
                let place = self.place(worker);
                let shunned = self.crew.dismiss(worker, why);
                self.note(given_up(&place, why, shunned));
            }
            // What was given stays given: the plan waits for the worker's answer, and asks it back behind it.
            Action::RollBack(key) => {
                self.note(format!(
                    "{key} is lost: back to the last durable checkpoint"
                ));
                self.rolling = true;
            }
            Action::Stop(failure) => return Err(failure),
            Action::StepDone(step, reduced) => self.step_done(step, reduced)?,
        }
        Ok(())
    }

    /// Sends behind the tasks that were given before.
    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        if let Some(tasks) = self.given.remove(&worker) {
            self.crew.send(worker, ToWorker::Assign(tasks));
        }
        self.crew.send(worker, message);
    }

    fn step_done(&mut self, step: StepId, reduced: Reduced) -> Result<(), Failure> {
        self.names.remove(&step);
        (self.context.listener)(Report::Whole(step));
        let now = self.now_us();
        if let Some(spans) = &mut self.context.spans {
            spans.whole(now, step);
        }
        if Ledger::owns(step) {
            let Reduced::Collect(partials) = reduced else {
                return Ok(());
            };
            return self.ledger.persisted(step, &partials);
        }
        self.outcome.steps += 1;
        if !self.outcome.cancelled {
            let turn = self
                .program
                .completed(step, reduced)
                .map_err(program_failed)?;
            self.take(turn);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        if !self.events.is_empty() || self.ledger.busy() || self.rolling {
            return false;
        }
        self.outcome.cancelled
            || (self.finished && self.plan.is_idle() && self.deliveries.is_empty())
    }

    /// Begins to pull the next object that is to be delivered, if it exists and none is being pulled.
    fn begin_delivery(&mut self) -> Result<(), Failure> {
        if self.pulling.is_none()
            && let Some((key, holder)) = self.deliveries.next(&self.plan)?
        {
            self.pulling = Some((key, holder, self.crew.pull(holder, key)));
        }
        Ok(())
    }

    fn delivered(&mut self, pulled: Result<Held, String>) -> Result<(), Failure> {
        let (key, holder, _) = self.pulling.take().expect("only a pull under way ends");
        match pulled {
            Ok(held) => {
                self.deliveries.delivered();
                (self.context.sink)(key, held)?;
                self.program.delivered(key);
                self.events.push_back(Event::Free(key.into()));
            }
            Err(why) => {
                self.deliveries.failed(key, holder)?;
                self.note(format!(
                    "{key} could not be pulled from {holder}, trying again: {why}"
                ));
            }
        }
        Ok(())
    }

    /// Waits until something happens.
    async fn next(&mut self) -> Result<(), Failure> {
        let cancelled = self.outcome.cancelled;
        let Run {
            context,
            committing,
            pulling,
            crew,
            ticker,
            ..
        } = &mut *self;
        let commit = async {
            match committing {
                Some((_, commit)) => commit.await,
                None => std::future::pending().await,
            }
        };
        let pull = async {
            match pulling {
                Some((_, _, pull)) => pull.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = context.cancel.cancelled(), if !cancelled => {
                self.outcome.cancelled = true;
                Ok(())
            }
            result = commit => self.committed(result),
            pulled = pull => self.delivered(pulled),
            heard = crew.next() => self.hear_all(heard).await,
            _ = ticker.tick() => {
                self.deliveries.paused = false;
                self.events.push_back(Event::TimePassed);
                Ok(())
            }
        }
    }

    /// Hears what is there already, so that what is given in answer travels together.
    async fn hear_all(&mut self, first: Heard) -> Result<(), Failure> {
        self.hear(first)?;
        for _ in 1..BATCH {
            tokio::select! {
                biased;
                heard = self.crew.next() => self.hear(heard)?,
                () = std::future::ready(()) => break,
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Failure> {
        let event = match heard {
            Heard::Joined(worker, _) if self.joined.contains_key(&worker) => return Ok(()),
            Heard::Joined(worker, profile) => {
                self.joined.insert(worker, self.now_us());
                if let Some(trace) = &mut self.context.trace {
                    trace
                        .joined(worker, profile.threads)
                        .map_err(trace_failed)?;
                }
                let address = self.crew.address(worker);
                if let Some(spans) = &mut self.context.spans {
                    spans.joined(worker, &address);
                }
                self.tell(worker, OfWorker::Joined { profile, address });
                Event::WorkerJoined(worker, profile)
            }
            Heard::Lost(worker, why) => {
                self.note(format!("{worker} is lost: {why}"));
                self.tell(worker, OfWorker::Lost(why));
                Event::WorkerLost(worker)
            }
            Heard::Relaying { puller, holder } => {
                let (from, to) = (self.crew.address(holder), self.crew.address(puller));
                self.note(format!(
                    "{puller} at {to} does not reach {holder} at {from}: what it needs from there goes through the coordinator, \
                     which is slower; see to it that workers reach one another's ports"
                ));
                return Ok(());
            }
            Heard::Said(worker, message) => match self.understand(worker, message)? {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        self.events.push_back(event);
        Ok(())
    }

    fn understand(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<Option<Event>, Failure> {
        Ok(Some(match message {
            FromWorker::Alive { anonymous_bytes } => {
                self.tell(worker, OfWorker::Alive { anonymous_bytes });
                Event::WorkerAlive(worker)
            }
            FromWorker::Draining => {
                self.tell(worker, OfWorker::Draining);
                Event::WorkerDraining(worker)
            }
            FromWorker::Returned { task, attempt } => {
                self.repeats.returned(task);
                self.tell(worker, OfWorker::Returned(task));
                Event::TaskReturned {
                    worker,
                    task,
                    attempt,
                }
            }
            FromWorker::Failed {
                task,
                attempt,
                failure,
            } => {
                let why = failure.clone();
                self.tell(
                    worker,
                    OfWorker::Failed {
                        task,
                        attempt,
                        failure: why,
                    },
                );
                Event::TaskFailed {
                    worker,
                    task,
                    attempt,
                    failure,
                }
            }
            FromWorker::Done(done) => {
                let again = self.repeats.done(done.task);
                self.outcome.count(worker, &done, again);
                self.done += 1;
                let told = OfWorker::Done {
                    task: done.task,
                    again,
                    tally: self.outcome.workers[&worker],
                };
                self.tell(worker, told);
                let opened = self.joined.get(&worker).copied().unwrap_or(0);
                if let Some(trace) = &mut self.context.trace {
                    let name = self
                        .names
                        .get(&done.task.step)
                        .map_or("late", |(name, _)| name.as_str());
                    trace
                        .done(worker, opened, name, &done)
                        .map_err(trace_failed)?;
                }
                let now = self.now_us();
                if let Some(spans) = &mut self.context.spans {
                    spans.done(now, worker, opened, &done);
                }
                let wire::Done {
                    task,
                    attempt,
                    partial,
                    wrote,
                    ..
                } = done;
                Event::TaskDone {
                    worker,
                    task,
                    attempt,
                    partial,
                    wrote,
                }
            }
            // These belong to the opening and closing of sessions, which is the crew's.
            FromWorker::Hello { .. }
            | FromWorker::Opened
            | FromWorker::Busy(_)
            | FromWorker::Closed(_)
            | FromWorker::Refused(_) => return Ok(None),
        }))
    }

    fn committed(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        let (resume, _) = self
            .committing
            .take()
            .expect("only a commit under way ends");
        self.ledger.committing = false;
        result?;
        self.outcome.checkpoints += 1;
        let (pace, now) = (self.context.checkpoints.pace, self.began.elapsed());
        (self.context.listener)(Report::Checkpoint {
            epoch: resume.checkpoint.epoch,
            seconds: self.ledger.took(now).as_secs_f64(),
        });
        // What the program has freed meanwhile must not come back to life.
        let known = resume
            .objects
            .iter()
            .filter(|object| self.plan.knows(&object.key));
        self.events.extend(known.map(is_durable));
        self.ledger.became_durable(resume, pace, now);
        Ok(())
    }

    fn tell(&mut self, worker: WorkerId, what: OfWorker) {
        let now = self.now_us();
        if let Some(spans) = &mut self.context.spans {
            spans.heard(now, worker, &what);
        }
        (self.context.listener)(Report::Worker(worker, what));
    }

    /// A worker, as people know it.
    fn place(&self, worker: WorkerId) -> String {
        match self.crew.address(worker) {
            address if address.is_empty() => worker.to_string(),
            address => format!("{worker} at {address}"),
        }
    }

    fn note(&mut self, line: String) {
        (self.context.listener)(Report::Note(line));
    }
}

/// Why a worker is no longer of the run, and what to do.
fn given_up(place: &str, why: Dismissal, shunned: bool) -> String {
    match why {
        Dismissal::Silent => format!("{place} is given up: it was silent for too long"),
        Dismissal::Drained => format!("{place} leaves: it has nothing left to do"),
        Dismissal::Disagreed => format!(
            "{place} is shut out of this run: two others came to another result than it did; check the memory and the processor of its \
             machine, and train again without it if what it did unwatched must not count"
        ),
        Dismissal::Unreached if shunned => format!(
            "{place} is given up for this run: it says that it lives, but nobody can have what it holds; see to it that its port \
             can be reached"
        ),
        Dismissal::Unreached => {
            format!("{place} is given up: it says that it lives, but nobody can have what it holds")
        }
    }
}

fn is_durable(object: &StoredObject) -> Event {
    let StoredObject {
        key,
        sealed,
        row_bytes,
    } = *object;
    Event::Durable {
        key,
        digest: sealed.digest,
        bytes: sealed.bytes,
        row_bytes,
    }
}

fn program_failed(error: ProgramError) -> Failure {
    Failure::Refused {
        refusal: Refusal::BadData,
        sentence: error.sentence,
    }
}

fn trace_failed(error: std::io::Error) -> Failure {
    Failure::Refused {
        refusal: Refusal::Io,
        sentence: format!("the trace cannot be written: {error}"),
    }
}
