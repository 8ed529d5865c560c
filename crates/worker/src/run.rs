//! One lane: takes an assignment, runs it through fetch and compute to its end, reports, takes the next. Where its
//! executor drives it, computing holds up nobody.

use crate::memory::Split;
use crate::session::Session;
use bytes::Bytes;
use exec::{Fetched, Held, HeldBytes, Need, Output, Put, Room, Want, Work, failure_of};
use plan::{Assignment, Failure, Wrote};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tensor::{ByteSize, DepotId, Digest, KeyRange, Op, OpFamily, Task};
use tokio::time::Instant;
use wire::{Done, FromWorker, Phase, Span};

/// A task that ran longer than this is worth a look at the memory of the process.
const SAMPLE_MICROS: u64 = 10_000;

/// Where a task stands between two jobs of the executor.
enum Stage {
    Wants(Box<dyn Work>, Vec<Want>),
    Finished(Output),
}

/// Calls a task until it needs something or has finished, so that a small task costs one hop.
fn advance(mut work: Box<dyn Work>, fetched: Option<Vec<Fetched>>) -> Result<Stage, Failure> {
    if let Some(fetched) = fetched {
        work.compute(fetched)?;
    }
    loop {
        match work.next_need()? {
            Need::Fetch(wants) if wants.is_empty() => work.compute(Vec::new())?,
            Need::Fetch(wants) => return Ok(Stage::Wants(work, wants)),
            Need::Nothing => return work.finish().map(Stage::Finished),
        }
    }
}

/// A panic is a bug of ours; it must not take the worker with it.
fn guarded<T>(task: &Task, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Failure::Panicked {
            sentence: format!("task {} panicked: {}", task.id, said(panic.as_ref())),
        })
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

impl Session {
    /// Runs assignments that compute until the session ends (the lane is then dropped).
    pub(crate) async fn lane(self: Arc<Self>, lane: u32) {
        loop {
            let assignment = self.queue.computing.next().await;
            self.run_and_report(lane, assignment).await;
        }
    }

    /// Runs those that wait for disks and stores.
    pub(crate) async fn storing_lane(self: Arc<Self>, lane: u32) {
        loop {
            let assignment = self.queue.storing.next().await;
            self.run_and_report(lane, assignment).await;
        }
    }

    async fn run_and_report(&self, lane: u32, assignment: Assignment) {
        let _running = self.running();
        let (task, attempt) = (assignment.task.id, assignment.attempt);
        let mut spans = Vec::new();
        let ran = self.run_task(&assignment, &mut spans).await;
        let handed = match ran {
            Ok(output) => self.hand_on(lane, &assignment, output, spans).await,
            Err(failure) => Err(failure),
        };
        let report = match handed {
            Ok(done) => FromWorker::Done(done),
            Err(failure) => {
                self.counters.task_failed();
                let run = self.run.short();
                let (term, step, block) = (self.term, task.step.0, task.index);
                tracing::warn!(run, term, step, block, attempt, %failure, "a task could not be done");
                FromWorker::Failed {
                    task,
                    attempt,
                    failure: self.in_memory_of_a_worker(failure),
                }
            }
        };
        self.say(report).await;
    }

    /// An op knows what its piece needs, not which part of the memory it was given.
    fn in_memory_of_a_worker(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Budget { needed, left, .. } => Failure::Budget {
                needed,
                left,
                enough: ByteSize(Split::enough(needed.0, self.lanes, self.dialer.here())),
            },
            failure => failure,
        }
    }

    /// Shelves what was written and makes the report.
    async fn hand_on(
        &self,
        lane: u32,
        assignment: &Assignment,
        output: Output,
        spans: Vec<Span>,
    ) -> Result<Done, Failure> {
        let mut wrote = Vec::with_capacity(output.objects.len());
        for (key, held) in &output.objects {
            let digest = if assignment.verify {
                Some(self.hashed(held).await?)
            } else {
                None
            };
            wrote.push(Wrote {
                key: *key,
                bytes: held.bytes(),
                digest,
            });
        }
        let mut spill_due = false;
        for (key, held) in output.objects {
            spill_due |= self.holding.keep(key, held);
        }
        if spill_due {
            let holding = Arc::clone(&self.holding);
            let spill = move || holding.spill().map_err(|error| failure_of(error, None));
            self.storage.file(spill).await?;
        }
        self.counters.task_done();
        if spans.iter().map(|span| span.length_us).sum::<u64>() > SAMPLE_MICROS {
            self.counters.sample_memory();
        }
        Ok(Done {
            task: assignment.task.id,
            attempt: assignment.attempt,
            partial: output.partial,
            wrote,
            pieces: output.pieces,
            cut_rows: output.cut_rows,
            lane,
            spans,
            peak_anonymous_bytes: self.counters.peak(),
            traffic: self.counters.traffic(),
        })
    }

    /// The hash of an object, which it has from the start where it was spilled.
    async fn hashed(&self, held: &Held) -> Result<Digest, Failure> {
        match held {
            Held::File { file, .. } => Ok(file.reference().digest),
            Held::Memory { buffer, .. } => {
                let buffer = Arc::clone(buffer);
                let hashing = move || Ok(buffer.reference().digest);
                self.storage.file(hashing).await
            }
        }
    }

    async fn run_task(
        &self,
        assignment: &Assignment,
        spans: &mut Vec<Span>,
    ) -> Result<Output, Failure> {
        let task = &assignment.task;
        let mut output = if task.op.family == OpFamily::Builtin {
            self.persist(assignment, spans).await?
        } else {
            self.run_work(assignment, spans).await?
        };
        if !output.puts.is_empty() {
            let start = Instant::now();
            for Put { depot, file } in output.puts.drain(..) {
                self.storage.put(depot, &file).await?;
            }
            spans.push(self.span(Phase::Send, start));
        }
        Ok(output)
    }

    async fn run_work(
        &self,
        assignment: &Assignment,
        spans: &mut Vec<Span>,
    ) -> Result<Output, Failure> {
        let task = &assignment.task;
        let room = Room {
            budget_bytes: self.room_bytes,
            simd: self.simd,
            pool: self.executor.pool(),
            cache: Arc::clone(&self.storage.cache),
            desks: Arc::clone(&self.desks),
            buffers: Arc::clone(self.holding.spare()),
        };
        // What begins has little to compute before its first fetch, and a small task ends there: that wakes nobody, which takes
        // longer than all of it. Behind it all of a stage at once: for each part that divides its rows by itself, threads would be
        // woken again.
        let pool = Arc::clone(&room.pool);
        let begin = || guarded(task, || advance(exec::begin(task, &room)?, None));
        let mut stage = self.compute(begin, spans)?;
        loop {
            match stage {
                Stage::Finished(output) => return Ok(output),
                Stage::Wants(work, wants) => {
                    let start = Instant::now();
                    let fetched = self.fetch(assignment, wants).await?;
                    spans.push(self.span(Phase::Fetch, start));
                    let go_on = || pool.install(|| guarded(task, || advance(work, Some(fetched))));
                    stage = self.compute(go_on, spans)?;
                }
            }
        }
    }

    /// Computes, and notes how long.
    fn compute<T>(
        &self,
        work: impl FnOnce() -> Result<T, Failure>,
        spans: &mut Vec<Span>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let result = work();
        spans.push(self.span(Phase::Compute, start));
        result
    }

    fn span(&self, phase: Phase, start: Instant) -> Span {
        Span {
            phase,
            start_us: start.saturating_duration_since(self.opened).as_micros() as u64,
            length_us: start.elapsed().as_micros() as u64,
        }
    }

    /// [`Op::persist`]: hashes the one object that the task reads and puts it into the depot of the model.
    async fn persist(
        &self,
        assignment: &Assignment,
        spans: &mut Vec<Span>,
    ) -> Result<Output, Failure> {
        let task = &assignment.task;
        let key = match task.reads[..] {
            [read] if task.op == Op::persist() && task.writes.is_empty() => match read.keys {
                KeyRange::One(key) => Some(key),
                blocks @ KeyRange::Blocks { count: 1, .. } => blocks.keys().next(),
                KeyRange::Blocks { .. } => None,
            },
            _ => None,
        };
        let key = key.ok_or_else(|| exec::unknown_op(task))?;
        let start = Instant::now();
        let held = self.whole(assignment, key).await?;
        spans.push(self.span(Phase::Fetch, start));
        let row_bytes = held.row_bytes();
        let start = Instant::now();
        let object = match held {
            // Spilled, so it has its name already.
            Held::File { file, .. } => {
                self.storage.put(DepotId::MODEL, &file).await?;
                file.reference()
            }
            Held::Memory { buffer, .. } => {
                let hashed = Arc::clone(&buffer);
                let object = self.storage.file(move || Ok(hashed.reference())).await?;
                let bytes = Bytes::from_owner(HeldBytes::Memory(buffer));
                self.storage
                    .put_bytes(DepotId::MODEL, object, bytes)
                    .await?;
                object
            }
        };
        spans.push(self.span(Phase::Send, start));
        let mut partial = object.digest.0.to_vec();
        partial.extend_from_slice(&object.bytes.to_le_bytes());
        partial.extend_from_slice(&row_bytes.to_le_bytes());
        Ok(Output {
            partial,
            ..Output::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Refusal;
    use tensor::{StepId, TaskId};

    #[test]
    fn a_panic_becomes_a_failure_that_names_the_task() {
        let task = Task {
            id: TaskId {
                step: StepId(3),
                index: 4,
            },
            op: exec::Probe::Empty.op(),
            reads: vec![],
            writes: vec![],
            after: vec![],
            chain: None,
            cost: 1,
        };
        let failure = guarded::<()>(&task, || panic!("row {} is odd", 7)).unwrap_err();
        assert_eq!(failure.refusal(), Refusal::Bug);
        assert_eq!(failure.to_string(), "task 3.4 panicked: row 7 is odd");
    }
}
