//! What a run did as a tree of spans, for OpenTelemetry: the stage, its steps, their tasks by attempt, and what each of these
//! fetched, computed and sent.
//!
//! **Invariant:** no clock of its own: the driver says how many microseconds have passed. A child lies within its parent: what a
//! worker told of its own clock is moved so that it ends before it was heard of.

use super::OfWorker;
use std::collections::BTreeMap;
use tensor::{StepId, TaskId, WorkerId};
use wire::{Done, Phase};

/// Events that the stage keeps: of a run that is troubled for days the first ones tell enough.
const EVENTS_MAX: usize = 1_000;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(u64),
    /// Words.
    Text(String),
}

/// An attribute.
pub type Attribute = (&'static str, Value);

/// Something at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
    /// What.
    pub name: &'static str,
    /// Who and why.
    pub attributes: Vec<Attribute>,
}

/// Something that took a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Of the stage.
    pub trace: [u8; 16],
    /// Its own.
    pub id: [u8; 8],
    /// Within what; `None`: it is the stage.
    pub parent: Option<[u8; 8]>,
    /// The stage, the step, or the phase.
    pub name: String,
    /// From when, in nanoseconds since 1970.
    pub start_ns: u64,
    /// Until when.
    pub end_ns: u64,
    /// What it is of.
    pub attributes: Vec<Attribute>,
    /// What went wrong meanwhile.
    pub moments: Vec<Moment>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Takes a span that is over; never waits.
pub type Take = dyn FnMut(Span) + Send;

struct Open {
    id: [u8; 8],
    name: String,
    tasks: u64,
    from_us: u64,
}

/// The spans of a stage in the making.
pub struct Spans {
    trace: [u8; 16],
    stage: String,
    began_ns: u64,
    open: BTreeMap<StepId, Open>,
    workers: BTreeMap<WorkerId, String>,
    moments: Vec<Moment>,
    /// Begun anew after so many roll-backs: a step may be there again.
    course: u64,
    take: Box<Take>,
}

impl Spans {
    /// Of a stage that begins now, so many nanoseconds after 1970; `unique` is a word that no other stage anywhere has.
    pub fn new(stage: &str, unique: &str, began_ns: u64, take: Box<Take>) -> Self {
        let hash = blake3::hash(unique.as_bytes());
        let mut trace = [0; 16];
        trace.copy_from_slice(&hash.as_bytes()[..16]);
        Spans {
            trace,
            stage: stage.to_owned(),
            began_ns,
            open: BTreeMap::new(),
            workers: BTreeMap::new(),
            moments: Vec::new(),
            course: 0,
            take,
        }
    }

    fn id(&self, words: &[u64]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.trace);
        for word in words {
            hasher.update(&word.to_le_bytes());
        }
        let mut id = [0; 8];
        hasher.finalize_xof().fill(&mut id);
        id
    }

    fn root(&self) -> [u8; 8] {
        self.id(&[])
    }

    fn at(&self, us: u64) -> u64 {
        self.began_ns.saturating_add(us.saturating_mul(1_000))
    }

    /// A worker is of the run.
    pub(super) fn joined(&mut self, worker: WorkerId, address: &str) {
        self.workers.insert(worker, address.to_owned());
    }

    /// A step was submitted.
    pub(super) fn submitted(&mut self, now_us: u64, step: StepId, name: &str, tasks: u64) {
        let open = Open {
            id: self.id(&[step.0, self.course]),
            name: name.to_owned(),
            tasks,
            from_us: now_us,
        };
        self.open.insert(step, open);
    }

    /// A step became whole.
    pub(super) fn whole(&mut self, now_us: u64, step: StepId) {
        self.end(now_us, step, None);
    }

    fn end(&mut self, now_us: u64, step: StepId, error: Option<&str>) {
        let Some(open) = self.open.remove(&step) else {
            return;
        };
        let span = Span {
            trace: self.trace,
            id: open.id,
            parent: Some(self.root()),
            name: open.name,
            start_ns: self.at(open.from_us),
            end_ns: self.at(now_us),
            attributes: vec![
                ("strata.step", Value::Int(step.0)),
                ("strata.tasks", Value::Int(open.tasks)),
            ],
            moments: Vec::new(),
            error: error.map(str::to_owned),
        };
        (self.take)(span);
    }

    /// A task was done. `opened_us` is when the worker's session opened.
    pub(super) fn done(&mut self, now_us: u64, worker: WorkerId, opened_us: u64, done: &Done) {
        let starts = done.spans.iter().map(|span| span.start_us);
        let ends = done.spans.iter().map(|span| span.start_us + span.length_us);
        let (Some(start), Some(end)) = (starts.min(), ends.max()) else {
            return;
        };
        let late = (opened_us + end).saturating_sub(now_us);
        let at = |us: u64| self.at((opened_us + us).saturating_sub(late));
        let TaskId { step, index } = done.task;
        // One that was done twice may end when its step is over.
        let (parent, name) = match self.open.get(&step) {
            Some(open) => (open.id, open.name.clone()),
            None => (self.root(), "late".to_owned()),
        };
        let words = [
            step.0,
            self.course,
            index.into(),
            done.attempt.into(),
            worker.0.into(),
        ];
        let id = self.id(&words);
        let mut attributes = vec![
            ("strata.step", Value::Int(step.0)),
            ("strata.block", Value::Int(index.into())),
            ("strata.attempt", Value::Int(done.attempt.into())),
            ("strata.worker", Value::Int(worker.0.into())),
            ("strata.lane", Value::Int(done.lane.into())),
            ("strata.pieces", Value::Int(done.pieces)),
        ];
        let address = self
            .workers
            .get(&worker)
            .filter(|address| !address.is_empty());
        attributes.extend(address.map(|at| ("server.address", Value::Text(at.clone()))));
        let span = |id, parent, name, (start_ns, end_ns), attributes| Span {
            trace: self.trace,
            id,
            parent: Some(parent),
            name,
            start_ns,
            end_ns,
            attributes,
            moments: Vec::new(),
            error: None,
        };
        let mut spans = vec![span(id, parent, name, (at(start), at(end)), attributes)];
        for (number, of) in done.spans.iter().enumerate() {
            let name = match of.phase {
                Phase::Fetch => "fetch",
                Phase::Compute => "compute",
                Phase::Send => "send",
            };
            let own = self.id(&[&words[..], &[number as u64]].concat());
            let when = (at(of.start_us), at(of.start_us + of.length_us));
            spans.push(span(own, id, name.to_owned(), when, Vec::new()));
        }
        spans.into_iter().for_each(&mut self.take);
    }

    /// Something about a worker: what went wrong is kept.
    pub(super) fn heard(&mut self, now_us: u64, worker: WorkerId, what: &OfWorker) {
        let of_task = |task: &TaskId| {
            vec![
                ("strata.step", Value::Int(task.step.0)),
                ("strata.block", Value::Int(task.index.into())),
            ]
        };
        let why = |why: String| vec![("exception.message", Value::Text(why))];
        let (name, mut attributes) = match what {
            OfWorker::Lost(reason) => ("worker lost", why(reason.clone())),
            OfWorker::Suspected => ("worker suspected", Vec::new()),
            OfWorker::Trusted => ("worker trusted again", Vec::new()),
            OfWorker::ShutOut => ("worker shut out", Vec::new()),
            OfWorker::GivenUp => ("worker given up", Vec::new()),
            OfWorker::Slow(task) => ("task slow", of_task(task)),
            OfWorker::Differs(task) => ("results differ", of_task(task)),
            OfWorker::Failed { task, failure, .. } => {
                let mut attributes = of_task(task);
                attributes.extend(why(failure.to_string()));
                ("task failed", attributes)
            }
            OfWorker::Joined { .. }
            | OfWorker::Alive { .. }
            | OfWorker::Draining
            | OfWorker::Given(..)
            | OfWorker::Returned(_)
            | OfWorker::Done { .. } => return,
        };
        attributes.push(("strata.worker", Value::Int(worker.0.into())));
        self.moment(now_us, name, attributes);
    }

    fn moment(&mut self, now_us: u64, name: &'static str, attributes: Vec<Attribute>) {
        if self.moments.len() < EVENTS_MAX {
            let at_ns = self.at(now_us);
            self.moments.push(Moment {
                at_ns,
                name,
                attributes,
            });
        }
    }

    /// The program went back to a checkpoint: what it had begun is over.
    pub(super) fn rolled_back(&mut self, now_us: u64) {
        self.end_all(now_us, "the run went back to a checkpoint");
        self.moment(now_us, "roll-back", Vec::new());
        self.course += 1;
    }

    fn end_all(&mut self, now_us: u64, why: &str) {
        let open: Vec<StepId> = self.open.keys().copied().collect();
        for step in open {
            self.end(now_us, step, Some(why));
        }
    }

    /// The stage is over, well or not.
    pub(super) fn finish(mut self, now_us: u64, error: Option<String>) {
        self.end_all(now_us, "the run ended");
        let span = Span {
            trace: self.trace,
            id: self.root(),
            parent: None,
            name: std::mem::take(&mut self.stage),
            start_ns: self.began_ns,
            end_ns: self.at(now_us),
            attributes: Vec::new(),
            moments: std::mem::take(&mut self.moments),
            error,
        };
        (self.take)(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Taken = Arc<Mutex<Vec<Span>>>;

    fn spans() -> (Spans, Taken) {
        let taken = Taken::default();
        let mine = Arc::clone(&taken);
        let take = move |span| mine.lock().expect("no panic").push(span);
        (Spans::new("train", "a run", 5_000, Box::new(take)), taken)
    }

    fn done(step: u64, index: u32, spans: &[(Phase, u64, u64)]) -> Done {
        let spans = spans.iter().map(|(phase, start_us, length_us)| wire::Span {
            phase: *phase,
            start_us: *start_us,
            length_us: *length_us,
        });
        Done {
            task: TaskId {
                step: StepId(step),
                index,
            },
            attempt: 1,
            partial: Vec::new(),
            wrote: Vec::new(),
            pieces: 3,
            cut_rows: 0,
            lane: 1,
            spans: spans.collect(),
            peak_anonymous_bytes: 0,
            traffic: Vec::new(),
        }
    }

    #[test]
    fn a_child_lies_within_its_parent() {
        let (mut spans, taken) = spans();
        spans.joined(WorkerId(3), "anna:7070");
        spans.submitted(10, StepId(4), "half-step", 2);
        let phases = [(Phase::Fetch, 20, 5), (Phase::Compute, 25, 70)];
        // By the worker's clock it ends after it was heard of.
        spans.done(100, WorkerId(3), 15, &done(4, 2, &phases));
        spans.heard(105, WorkerId(3), &OfWorker::Lost("gone".into()));
        spans.whole(110, StepId(4));
        spans.finish(120, None);
        let taken = taken.lock().expect("no panic").clone();
        let names: Vec<&str> = taken.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(
            names,
            ["half-step", "fetch", "compute", "half-step", "train"]
        );
        for span in &taken {
            assert!(span.start_ns <= span.end_ns, "{span:?}");
            let Some(parent) = span.parent else {
                assert_eq!((span.start_ns, span.end_ns), (5_000, 125_000));
                continue;
            };
            let parent = taken.iter().find(|other| other.id == parent);
            let parent = parent.expect("its parent is told, too");
            assert!(
                parent.start_ns <= span.start_ns && span.end_ns <= parent.end_ns,
                "{span:?} in {parent:?}"
            );
        }
        let lengths: Vec<u64> = taken
            .iter()
            .map(|span| span.end_ns - span.start_ns)
            .collect();
        assert_eq!(lengths, [75_000, 5_000, 70_000, 100_000, 120_000]);
        assert_eq!(taken[0].end_ns, 105_000, "when it was heard of");
        assert_eq!(taken[4].moments[0].name, "worker lost");
        let mut ids: Vec<[u8; 8]> = taken.iter().map(|span| span.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), taken.len());
    }

    #[test]
    fn what_a_roll_back_ends_is_begun_as_something_else() {
        let (mut spans, taken) = spans();
        spans.submitted(10, StepId(4), "half-step", 1);
        spans.rolled_back(20);
        spans.submitted(30, StepId(4), "half-step", 1);
        spans.whole(40, StepId(4));
        spans.done(45, WorkerId(0), 0, &done(4, 0, &[(Phase::Compute, 1, 2)]));
        spans.finish(50, Some("no".into()));
        let taken = taken.lock().expect("no panic").clone();
        assert_eq!(
            taken[0].error.as_deref(),
            Some("the run went back to a checkpoint")
        );
        assert_eq!(taken[1].error, None);
        assert_ne!(taken[0].id, taken[1].id);
        assert_eq!(taken[2].name, "late");
        let root = taken.last().expect("the stage");
        assert_eq!(taken[2].parent, Some(root.id));
        assert_eq!(root.error.as_deref(), Some("no"));
        assert_eq!(root.moments[0].name, "roll-back");
    }
}
