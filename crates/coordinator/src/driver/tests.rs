//! The driver over a crew that exists in memory only: it does tasks when they are sent, and workers die
//! after a given number of results.

use super::*;
use crate::cluster::Heard;
use plan::{Assignment, Dismissal, Holder, Profile, Wrote};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use tensor::{
    BlockId, Checkpoint, Digest, KeyRange, News, Op, OpFamily, PartialSpec, ProgramError, Read,
    Reduced, Step, StepId, TableId, Task, TaskId, Turn, WorkerId,
};
use wire::{Done, FromWorker, Phase, Span, ToWorker};

const BLOCKS: u32 = 6;
const EPOCHS: u64 = 8;

fn block(block: u32, version: u64) -> ObjectKey {
    ObjectKey::Block {
        table: TableId(0),
        block: BlockId(block),
        version,
    }
}

fn all(version: u64) -> KeyRange {
    KeyRange::Blocks {
        table: TableId(0),
        first: 0,
        count: BLOCKS,
        version,
    }
}

/// Each epoch every block is made of all the blocks of the epoch before; at the end they are delivered.
#[derive(Default)]
struct Rounds {
    epoch: u64,
    sums: Vec<f64>,
}

impl Rounds {
    fn step(&self) -> Step {
        let id = StepId(self.epoch);
        let op = Op {
            family: OpFamily::Probe,
            version: 1,
            body: Vec::new().into(),
        };
        let reads = if self.epoch == 0 {
            Vec::new()
        } else {
            vec![Read::whole(all(self.epoch - 1))]
        };
        let task = |index| Task {
            id: TaskId { step: id, index },
            op: op.clone(),
            reads: reads.clone(),
            writes: vec![block(index, self.epoch)],
            after: Vec::new(),
            chain: None,
            cost: 1,
        };
        let frees = self.epoch.checked_sub(1).map(all).into_iter().collect();
        Step {
            id,
            name: "round".to_owned(),
            tasks: (0..BLOCKS).map(task).collect(),
            partial: PartialSpec::Sum,
            frees,
        }
    }
}

impl Program for Rounds {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        Ok(Turn {
            steps: vec![self.step()],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        assert_eq!(step.0, self.epoch);
        let Reduced::Sum(sum) = reduced else {
            panic!("a sum was asked for")
        };
        self.sums.extend(sum);
        self.epoch += 1;
        let news = News::Epoch {
            epoch: self.epoch as u32,
            epochs: EPOCHS as u32,
            objective: None,
            metrics: Vec::new(),
        };
        let state = self.encode();
        let objects = vec![all(step.0)];
        let finished = self.epoch == EPOCHS;
        Ok(Turn {
            steps: if finished {
                Vec::new()
            } else {
                vec![self.step()]
            },
            news: vec![news],
            deliver: if finished {
                all(step.0).keys().collect()
            } else {
                Vec::new()
            },
            checkpoint: Some(Checkpoint {
                epoch: self.epoch as u32,
                state,
                objects,
            }),
            finished,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let sums = self.sums.iter().map(|sum| sum.to_bits());
        std::iter::once(self.epoch)
            .chain(sums)
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        let words: Vec<u64> = state
            .unwrap_or_default()
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .collect();
        self.epoch = words.first().copied().unwrap_or(0);
        self.sums = words
            .iter()
            .skip(1)
            .map(|word| f64::from_bits(*word))
            .collect();
        Ok(())
    }
}

/// What is durable, shared between runs.
type Depot = Arc<Mutex<BTreeMap<Digest, f32>>>;

struct Fake {
    events: VecDeque<Heard>,
    held: BTreeMap<WorkerId, BTreeMap<ObjectKey, f32>>,
    depot: Depot,
    joined: u32,
    results: u32,
    /// After so many results the worker that gave it is lost, and a new one comes.
    deaths: BTreeSet<u32>,
    pulls_to_fail: Mutex<u32>,
}

impl Fake {
    fn new(depot: &Depot, deaths: &[u32]) -> Self {
        let mut fake = Fake {
            events: VecDeque::new(),
            held: BTreeMap::new(),
            depot: Arc::clone(depot),
            joined: 0,
            results: 0,
            deaths: deaths.iter().copied().collect(),
            pulls_to_fail: Mutex::new(2),
        };
        fake.join();
        fake.join();
        fake
    }

    fn join(&mut self) {
        let worker = WorkerId(self.joined);
        self.joined += 1;
        self.held.insert(worker, BTreeMap::new());
        self.events.push_back(Heard::Joined(
            worker,
            Profile {
                threads: 1,
                memory_bytes: 1 << 30,
            },
        ));
    }

    fn value(
        &self,
        worker: WorkerId,
        assignment: &Assignment,
        key: ObjectKey,
    ) -> Result<f32, Failure> {
        if let Some(value) = self.held[&worker].get(&key) {
            return Ok(*value);
        }
        let source = assignment
            .sources
            .iter()
            .find(|source| source.keys.keys().any(|k| k == key));
        match source.expect("every read has a source").holders[0] {
            Holder::Durable { digest, .. } => Ok(self.depot.lock().expect("no panic")[&digest]),
            Holder::Worker(holder) => {
                let held = self.held.get(&holder).and_then(|held| held.get(&key));
                held.copied().ok_or(Failure::Unreachable { key, holder })
            }
        }
    }

    fn work(&mut self, worker: WorkerId, assignment: &Assignment) {
        let task = &assignment.task;
        let keys = task.reads.iter().flat_map(|read| read.keys.keys());
        let values: Result<Vec<f32>, Failure> = keys
            .map(|key| self.value(worker, assignment, key))
            .collect();
        let (id, attempt) = (task.id, assignment.attempt);
        let message = match values {
            Err(failure) => FromWorker::Failed {
                task: id,
                attempt,
                failure,
            },
            Ok(values) => {
                let value = values
                    .iter()
                    .fold(task.id.index as f32 + 1.0, |sum, value| 0.7 * sum + value);
                let mut partial = f64::from(value).to_le_bytes().to_vec();
                if task.op == Op::persist() {
                    let digest = Digest(std::array::from_fn(|i| values[0].to_le_bytes()[i % 4]));
                    self.depot
                        .lock()
                        .expect("no panic")
                        .insert(digest, values[0]);
                    partial = digest.0.to_vec();
                    partial.extend(4_u64.to_le_bytes());
                    partial.extend(4_u32.to_le_bytes());
                }
                let held = self.held.get_mut(&worker).expect("alive");
                held.extend(task.writes.iter().map(|key| (*key, value)));
                FromWorker::Done(Done {
                    task: id,
                    attempt,
                    partial,
                    wrote: task
                        .writes
                        .iter()
                        .map(|key| Wrote {
                            key: *key,
                            bytes: 4,
                            digest: None,
                        })
                        .collect(),
                    pieces: 1,
                    cut_rows: 0,
                    lane: 0,
                    spans: vec![Span {
                        phase: Phase::Compute,
                        start_us: 0,
                        length_us: 5,
                    }],
                    peak_anonymous_bytes: 0,
                    traffic: Vec::new(),
                })
            }
        };
        self.events.push_back(Heard::Said(worker, message));
        self.results += 1;
        if self.deaths.remove(&self.results) {
            self.held.remove(&worker);
            self.events
                .push_back(Heard::Lost(worker, "killed".to_owned()));
            self.join();
        }
    }
}

impl Crew for Fake {
    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        match message {
            ToWorker::Assign(tasks) => {
                for task in &tasks {
                    if self.held.contains_key(&worker) {
                        self.work(worker, task);
                    }
                }
            }
            ToWorker::Drop(ranges) => {
                let Some(held) = self.held.get_mut(&worker) else {
                    return;
                };
                ranges
                    .iter()
                    .flat_map(|range| range.keys())
                    .for_each(|key| _ = held.remove(&key));
            }
            _ => {}
        }
    }

    fn dismiss(&mut self, worker: WorkerId, _why: Dismissal) -> bool {
        self.held.remove(&worker);
        false
    }

    fn suspect(&mut self, _worker: WorkerId) {}

    fn trust(&mut self, _worker: WorkerId) {}

    async fn next(&mut self) -> Heard {
        match self.events.pop_front() {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    fn pull(
        &self,
        worker: WorkerId,
        key: ObjectKey,
    ) -> BoxFuture<'static, Result<exec::Held, String>> {
        let mut failures = self.pulls_to_fail.lock().expect("no panic");
        let held = self
            .held
            .get(&worker)
            .and_then(|held| held.get(&key))
            .filter(|_| *failures == 0);
        *failures = failures.saturating_sub(1);
        let pulled = held.map(|value| exec::Held::from_rows(&[*value], 1));
        Box::pin(std::future::ready(pulled.ok_or("gone".to_owned())))
    }

    fn served_bytes(&self) -> u64 {
        7
    }

    fn address(&self, _: WorkerId) -> String {
        String::new()
    }
}

/// What came of a run.
#[derive(Debug, PartialEq)]
struct Course {
    sums: Vec<f64>,
    delivered: Vec<(ObjectKey, Vec<u8>)>,
    epochs: Vec<u32>,
}

struct Ran {
    course: Course,
    outcome: Outcome,
    last: Option<Resume>,
    left: usize,
}

/// Runs the rounds; workers die as told, and the run is cancelled after the given checkpoint.
fn run(
    depot: &Depot,
    deaths: &[u32],
    every: u32,
    resume: Option<Resume>,
    cancel_at: Option<u32>,
) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut program = Rounds::default();
        let mut fake = Fake::new(depot, deaths);
        let (mut epochs, mut delivered) = (Vec::new(), Vec::new());
        let cancel = CancellationToken::new();
        let last: Arc<Mutex<Option<Resume>>> = Arc::default();
        let mut commit =
            |checkpoint: Checkpoint, objects: Vec<StoredObject>| -> BoxFuture<'static, _> {
                let last = Arc::clone(&last);
                Box::pin(async move {
                    tokio::task::yield_now().await;
                    *last.lock().expect("no panic") = Some(Resume {
                        checkpoint,
                        objects,
                    });
                    Ok(())
                })
            };
        let mut listener = |report: Report| match report {
            Report::News(News::Epoch { epoch, .. }) => epochs.push(epoch),
            Report::Checkpoint { epoch, .. } if cancel_at.is_some_and(|at| epoch >= at) => {
                cancel.cancel();
            }
            _ => {}
        };
        let mut sink = |key: ObjectKey, held: exec::Held| {
            let exec::Held::Memory { buffer, .. } = &held else {
                panic!("in memory")
            };
            delivered.push((key, buffer.bytes().to_vec()));
            Ok(())
        };
        let context = Context {
            settings: Settings::default(),
            tick: Duration::from_millis(2),
            stored: Vec::new(),
            resume,
            checkpoints: Checkpoints {
                pace: Pace {
                    every_epochs: every,
                    percent: 100,
                    rest: Duration::ZERO,
                },
                commit: &mut commit,
            },
            listener: &mut listener,
            sink: &mut sink,
            cancel: cancel.clone(),
            trace: None,
            spans: None,
        };
        let outcome = Driver::run(&mut program, &mut fake, context)
            .await
            .expect("the run ends well");
        let left = fake.held.values().map(BTreeMap::len).sum();
        let last = last.lock().expect("no panic").clone();
        Ran {
            course: Course {
                sums: program.sums,
                delivered,
                epochs,
            },
            outcome,
            last,
            left,
        }
    })
}

#[test]
fn a_run_delivers_commits_and_leaves_nothing_behind() {
    let ran = run(&Depot::default(), &[], 3, None, None);
    assert_eq!(ran.course.epochs, (1..=EPOCHS as u32).collect::<Vec<_>>());
    assert_eq!(ran.course.delivered.len(), BLOCKS as usize);
    assert_eq!(
        ran.last.map(|last| last.checkpoint.epoch),
        Some(EPOCHS as u32),
        "the last one always"
    );
    assert_eq!(
        (ran.outcome.rollbacks, ran.outcome.tasks_replayed, ran.left),
        (0, 0, 0)
    );
    assert_eq!(ran.outcome.steps, EPOCHS);
    assert_eq!(ran.outcome.workers.len(), 2);
    assert!(ran.outcome.compute_seconds() > 0.0 && ran.outcome.coordinator_bytes == 7);
}

#[test]
fn whatever_dies_the_results_are_the_same() {
    let calm = run(&Depot::default(), &[], 0, None, None);
    let mut rollbacks = 0;
    for first in 1..50 {
        for (every, deaths) in [
            (1, [first, first + 17]),
            (3, [first, first + 2]),
            (0, [first, first + 29]),
        ] {
            let ran = run(&Depot::default(), &deaths, every, None, None);
            assert_eq!(
                ran.course, calm.course,
                "deaths after {deaths:?} results, checkpoints every {every}"
            );
            rollbacks += ran.outcome.rollbacks;
        }
    }
    assert!(
        rollbacks > 10,
        "deaths that lose blocks do roll back: {rollbacks}"
    );
}

#[test]
fn a_cancelled_run_resumes_where_it_stopped() {
    let calm = run(&Depot::default(), &[], 0, None, None);
    let depot = Depot::default();
    let first = run(&depot, &[], 1, None, Some(2));
    assert!(first.outcome.cancelled && first.course.epochs.len() < EPOCHS as usize);
    let resume = first.last.expect("a checkpoint was committed");
    let from = resume.checkpoint.epoch;
    let second = run(&depot, &[], 1, Some(resume), None);
    assert_eq!(second.course.epochs.first(), Some(&(from + 1)));
    assert_eq!(
        (second.course.sums, second.course.delivered),
        (calm.course.sums, calm.course.delivered)
    );
}
