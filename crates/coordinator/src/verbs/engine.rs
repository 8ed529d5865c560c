//! What all verbs share: depots, a cache, and one way to run a program over the workers.

use super::fresh::{Fresh, holds_nothing};
use super::input;
use super::journal::Keeper;
use super::telling;
use crate::cluster::{Cluster, Embedded, InputFile, Job, LANES};
use crate::driver::{
    Checkpoints, Context, Driver, Outcome, Pace, Report, Resume, Spans, StoredObject, Trace, Value,
};
use crate::failure::Failure;
use crate::job::settings::{Io, Location, Settings, Simd, Workers};
use crate::live::Exporter;
use crate::output::Console;
use crate::output::report::PhaseReport;
use crate::progress::Unit;
use depot::{Depot, DepotError};
use exec::Held;
use futures::future::BoxFuture;
use plan::Refusal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Cache, IoMode, StoreError};
use tensor::{ByteSize, DepotId, Digest, News, ObjectKey, Program};
use tokio_util::sync::CancellationToken;
use worker::grpc::{Connect, Credentials, GrpcDialer, Role, tcp};
use worker::inputs::Inputs;
use worker::{Split, Threads};

/// The cache may take what it needs of the disk: a full disk is told as such.
const CACHE_BYTES: u64 = u64::MAX;
/// How often the plan looks at time.
const TICK: Duration = Duration::from_millis(100);
/// How long workers may take to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// A hash of named parts, for run keys.
pub fn key_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// One program's way through the workers.
pub struct Stage<'a> {
    /// What people see: `ingest`, `train`, ...
    pub name: &'a str,
    /// The run key.
    pub run: Digest,
    /// The leadership number.
    pub term: u64,
    /// Input files.
    pub inputs: Vec<InputFile>,
    /// Durable objects that the program reads.
    pub stored: Vec<StoredObject>,
    /// Where it goes on.
    pub resume: Option<Resume>,
    /// Where its checkpoints lie.
    pub keeps_in: DepotId,
    /// Checkpoints: when, and what writes the manifest.
    pub checkpoints: Option<(Pace, Box<CommitFn>)>,
    /// Takes deliveries.
    pub sink: Option<Box<SinkFn<'a>>>,
    /// Hears news.
    pub news: Option<Box<NewsFn<'a>>>,
}

/// Writes the manifest of a checkpoint.
pub type CommitFn = dyn FnMut(tensor::Checkpoint, Vec<StoredObject>) -> BoxFuture<'static, Result<(), plan::Failure>>
    + Send;
/// Takes a delivered object.
pub type SinkFn<'a> = dyn FnMut(ObjectKey, Held) -> Result<(), plan::Failure> + Send + 'a;

/// Hears what a program tells.
pub type NewsFn<'a> = dyn FnMut(&News) + Send + 'a;

impl<'a> Stage<'a> {
    /// A stage that only reads and puts.
    pub fn plain(name: &'a str, run: Digest, term: u64) -> Self {
        Stage {
            name,
            run,
            term,
            inputs: Vec::new(),
            stored: Vec::new(),
            resume: None,
            keeps_in: DepotId::MODEL,
            checkpoints: None,
            sink: None,
            news: None,
        }
    }
}

/// What a verb works with.
pub struct Engine<'a> {
    /// The job.
    pub settings: &'a Settings,
    /// To people.
    pub console: &'a Console,
    /// Sealed files of this process.
    pub cache: Arc<Cache>,
    cancel: CancellationToken,
    depots: Mutex<BTreeMap<DepotId, Arc<Depot>>>,
    fresh: Mutex<Vec<(Arc<Depot>, Fresh)>>,
    phases: Mutex<Vec<PhaseReport>>,
    /// Those of embedded workers.
    caches: Vec<Arc<Cache>>,
    /// How daemons are reached.
    connect: Connect,
    /// How inputs are reached that are not of this machine.
    ways: OnceLock<Arc<Inputs>>,
    /// Removed with the engine where the job names no scratch directory.
    _scratch: Option<tempfile::TempDir>,
}

/// By TCP, or over TLS with the job's certificates, which are read again when they change.
fn connect(settings: &Settings) -> Result<Connect, Failure> {
    let Some(folder) = &settings.run.tls else {
        return Ok(tcp());
    };
    Ok(Credentials::open(folder, Role::Coordinator)?.connect())
}

impl<'a> Engine<'a> {
    /// Opens the cache, and reads the certificates that the job names.
    ///
    /// # Errors
    /// Where the scratch directory or the certificates cannot be used.
    pub fn start(
        settings: &'a Settings,
        console: &'a Console,
        cancel: CancellationToken,
    ) -> Result<Self, Failure> {
        let (directory, scratch) = scratch(settings)?;
        // What lies here is durable elsewhere, or made anew after a fall.
        let open = |name: String| {
            let (directory, mode) = (directory.join(name), io_mode(settings.run.io));
            let opened = if scratch.is_some() {
                Cache::open_passing(&directory, CACHE_BYTES, mode)
            } else {
                Cache::open_unsynced(&directory, CACHE_BYTES, mode)
            };
            opened
                .map(Arc::new)
                .map_err(|error| Failure::new(Refusal::Io, error.to_string()))
        };
        let workers = match &settings.run.workers {
            Workers::Embedded(workers) => (*workers).max(1),
            Workers::Addresses(_) | Workers::Dns { .. } | Workers::File(_) => 0,
        };
        let caches = (0..workers)
            .map(|number| open(format!("worker-{number}")))
            .collect::<Result<_, _>>()?;
        let cache = open("coordinator".to_owned())?;
        Ok(Engine {
            settings,
            console,
            cache,
            cancel,
            depots: Mutex::default(),
            fresh: Mutex::default(),
            phases: Mutex::default(),
            caches,
            connect: connect(settings)?,
            ways: OnceLock::new(),
            _scratch: scratch,
        })
    }

    /// The same caches, workers and depots for another job on the same data, and at the same place unless it names another for
    /// models. What it makes at the same place is withdrawn with this one.
    pub fn for_job<'b>(&'b self, settings: &'b Settings) -> Engine<'b> {
        let mut depots = self
            .depots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if settings.output.model != self.settings.output.model {
            depots.remove(&DepotId::MODEL);
        }
        Engine {
            settings,
            console: self.console,
            cache: Arc::clone(&self.cache),
            cancel: self.cancel.clone(),
            depots: Mutex::new(depots),
            fresh: Mutex::default(),
            phases: Mutex::default(),
            caches: self.caches.clone(),
            connect: Arc::clone(&self.connect),
            ways: self.ways.clone(),
            _scratch: None,
        }
    }

    /// The depot of the data set or of the model, opened once.
    ///
    /// # Errors
    /// Where the job names none or it cannot be opened.
    pub fn depot(&self, id: DepotId) -> Result<Arc<Depot>, Failure> {
        let mut depots = self.depots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(depot) = depots.get(&id) {
            return Ok(Arc::clone(depot));
        }
        let output = &self.settings.output;
        let (key, location) = if id == DepotId::DATA {
            ("output.data", &output.data)
        } else {
            ("output.model", &output.model)
        };
        let missing = || Failure::new(Refusal::Config, format!("the job names no `{key}`"));
        let location = location.as_ref().ok_or_else(missing)?;
        let fresh = Fresh::at(location);
        let opened = Arc::new(open_depot(location)?);
        if let Some(fresh) = fresh {
            self.fresh
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((Arc::clone(&opened), fresh));
        }
        depots.insert(id, Arc::clone(&opened));
        Ok(opened)
    }

    /// How this process reaches inputs under URLs and in the memory of workers.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn ways(&self) -> Result<Arc<Inputs>, Failure> {
        if let Some(ways) = self.ways.get() {
            return Ok(Arc::clone(ways));
        }
        let dialer = GrpcDialer::new(Arc::clone(&self.connect), self.worker_memory());
        let made = Inputs::new(Arc::new(Threads::start(1, 1)?), Arc::new(dialer), 0);
        Ok(Arc::clone(self.ways.get_or_init(|| Arc::new(made))))
    }

    /// Empties the caches of this process: its workers' too.
    pub fn clear_caches(&self) {
        let caches = self.caches.iter().chain([&self.cache]);
        caches.for_each(|cache| cache.clear());
    }

    /// After a failure: removes the depots that this verb made and into which it committed nothing.
    pub async fn withdraw(&self) {
        let made = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        // The last made first: a parent that came with the first goes when nothing is in it any more.
        for (depot, fresh) in made.into_iter().rev() {
            if holds_nothing(&depot).await {
                fresh.remove();
            }
        }
    }

    /// Memory of one worker and of one of its tasks.
    pub fn worker_memory(&self) -> u64 {
        match &self.settings.run.workers {
            Workers::Embedded(workers) => self.settings.run.memory.0 / u64::from((*workers).max(1)),
            Workers::Addresses(_) | Workers::Dns { .. } | Workers::File(_) => {
                self.settings.run.memory.0
            }
        }
    }

    fn embedded(&self) -> Option<u32> {
        match &self.settings.run.workers {
            Workers::Embedded(workers) => Some((*workers).max(1)),
            Workers::Addresses(_) | Workers::Dns { .. } | Workers::File(_) => None,
        }
    }

    /// What one task of a worker may use.
    pub fn task_memory(&self) -> u64 {
        Split::of(self.worker_memory(), self.embedded().is_some()).task_bytes(LANES)
    }

    /// The `--memory` with which a task may use `needed` bytes.
    pub fn memory_for(&self, needed: ByteSize) -> ByteSize {
        let here = self.embedded();
        let of_worker = Split::enough(needed.0, LANES, here.is_some());
        ByteSize(of_worker.saturating_mul(here.unwrap_or(1).into()))
    }

    /// A worker knows what it would need, not with how many it shares this process.
    fn in_memory_of_a_process(&self, failure: plan::Failure) -> plan::Failure {
        match failure {
            plan::Failure::Budget { needed, left, .. } => plan::Failure::Budget {
                needed,
                left,
                enough: self.memory_for(needed),
            },
            failure => failure,
        }
    }

    /// What each phase took so far, in the order in which they began.
    pub fn phases(&self) -> Vec<PhaseReport> {
        self.phases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The most anonymous memory of this process in each phase so far.
    pub fn peaks(&self) -> BTreeMap<String, u64> {
        let phases = self.phases().into_iter();
        phases
            .map(|phase| (phase.phase, phase.peak_anonymous_bytes))
            .collect()
    }

    fn add_phase(&self, name: &str, outcome: &Outcome, peak_anonymous_bytes: u64) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let place = phases.iter().position(|phase| phase.phase == name);
        let place = place.unwrap_or_else(|| {
            phases.push(PhaseReport {
                phase: name.to_owned(),
                ..PhaseReport::default()
            });
            phases.len() - 1
        });
        phases[place].add(outcome, peak_anonymous_bytes);
    }

    /// Runs a program over the workers of the job.
    ///
    /// # Errors
    /// Why it could not be finished.
    pub async fn run(
        &self,
        program: &mut dyn Program,
        stage: Stage<'_>,
    ) -> Result<Outcome, Failure> {
        self.console.observer().begin(stage.name, Unit::Tasks, None);
        self.console.memory().take_phase_bytes();
        if let Some(live) = self.console.live() {
            live.open(stage.run, stage.term);
        }
        let exporter = self.exporter(&stage.run.short(), stage.term)?;
        let mut cluster = self.cluster(&stage).await?;
        // Runs that can be resumed are those that people ask about afterwards.
        let resumed = stage.resume.as_ref().map(|from| from.checkpoint.epoch);
        let mut journal = stage.checkpoints.as_ref().and_then(|_| {
            let output = &self.settings.output;
            // Ingests are many, and few of them long: of those that kept nothing there is nothing to tell.
            let (place, always) = if stage.keeps_in == DepotId::MODEL {
                (&output.model, true)
            } else {
                (&output.data, false)
            };
            let run = (stage.run, stage.term);
            Keeper::open(place.as_ref(), run, stage.name, resumed, always)
        });
        let (run, term) = (stage.run.short(), stage.term);
        let observer = self.console.observer();
        let mut hear = stage.news;
        let live = self.console.live();
        let mut listener = |report: Report| {
            if let Some(live) = live {
                live.hear(&report);
            }
            if let Some(journal) = &mut journal {
                journal.hear(&report);
            }
            telling::log(&run, term, &report);
            match report {
                Report::News(news) => {
                    if let Some(hear) = &mut hear {
                        hear(&news);
                    }
                    observer.news(&news);
                }
                Report::Tasks {
                    done, submitted, ..
                } => observer.progress(done, Some(submitted)),
                Report::Note(line) => observer.note(&line),
                Report::Step { .. }
                | Report::Checkpoint { .. }
                | Report::Worker(..)
                | Report::Whole(_)
                | Report::RolledBack => {}
            }
        };
        let mut refuse = |_: ObjectKey, _: Held| Err(nobody("took a delivery"));
        let mut no_commit =
            |_: tensor::Checkpoint, _: Vec<StoredObject>| -> BoxFuture<'static, _> {
                Box::pin(async { Err(nobody("keeps checkpoints")) })
            };
        let mut sink = stage.sink;
        let mut checkpoints = stage.checkpoints;
        let context = Context {
            settings: self.settings.run.plan(),
            tick: TICK,
            stored: stage.stored,
            resume: stage.resume,
            checkpoints: match &mut checkpoints {
                Some((pace, commit)) => Checkpoints {
                    pace: *pace,
                    commit: &mut **commit,
                },
                None => Checkpoints {
                    pace: Pace::LAST_ONLY,
                    commit: &mut no_commit,
                },
            },
            listener: &mut listener,
            sink: match &mut sink {
                Some(sink) => &mut **sink,
                None => &mut refuse,
            },
            cancel: self.cancel.clone(),
            trace: self.trace(stage.name)?,
            spans: exporter.as_ref().map(|exporter| {
                let unique = format!("{} {term} {} {}", stage.run, stage.name, nanoseconds());
                let take = Box::new(exporter.take());
                Spans::new(stage.name, &unique, nanoseconds(), take)
            }),
        };
        let outcome = Driver::run(program, &mut cluster, context).await;
        if let Some(journal) = journal {
            journal.close(&outcome);
        }
        cluster.close(CLOSE_PATIENCE).await;
        if let Some(lost) = close(exporter).await {
            observer.note(&lost);
        }
        // Before what went wrong: a page that is torn because somebody writes it is no damaged file.
        input::unchanged(&stage.inputs)?;
        let peak = self.console.memory().take_phase_bytes();
        match outcome {
            Ok(outcome) => {
                self.add_phase(stage.name, &outcome, peak);
                self.console.observer().end(&format!(
                    "{} tasks in {:.1} s",
                    outcome.tasks_run, outcome.seconds
                ));
                Ok(outcome)
            }
            Err(failure) => Err(self.in_memory_of_a_process(failure).into()),
        }
    }

    /// Opens a session with the workers of the job.
    async fn cluster(&self, stage: &Stage<'_>) -> Result<Cluster, Failure> {
        if self.settings.run.verifies_alone() {
            let sentence = "a single worker has nobody to compare its results with: give `--workers` three or more, or leave \
                            `--verify-fraction` out";
            return Err(Failure::new(Refusal::Config, sentence.to_owned()));
        }
        let output = &self.settings.output;
        let mut depots = Vec::new();
        // Workers put checkpoints into what they know as the depot of the model.
        let models = if stage.keeps_in == DepotId::MODEL {
            &output.model
        } else {
            &output.data
        };
        for (id, of, location) in [
            (DepotId::DATA, DepotId::DATA, &output.data),
            (DepotId::MODEL, stage.keeps_in, models),
        ] {
            if location.is_some() {
                depots.push((id, self.depot(of)?.url().to_owned()));
            }
        }
        let job = Job {
            term: stage.term,
            run: stage.run,
            inputs: stage.inputs.clone(),
            depots,
            heartbeat: wire::settings::HEARTBEAT,
        };
        let memory = self.worker_memory();
        let cluster = match &self.settings.run.workers {
            Workers::Embedded(_) => {
                let embedded = Embedded {
                    threads: self.threads(),
                    memory_bytes: memory,
                    caches: self.caches.clone(),
                    simd: simd(self.settings.run.simd)?,
                };
                Cluster::embed(job, &embedded).await
            }
            Workers::Addresses(addresses) => {
                Cluster::dial(job, addresses, memory, Arc::clone(&self.connect)).await
            }
            Workers::Dns { service, port } => {
                let service = format!("dns://{service}:{port}");
                Cluster::dial(job, &[service], memory, Arc::clone(&self.connect)).await
            }
            Workers::File(path) => {
                let file = format!("file://{}", path.display());
                Cluster::dial(job, &[file], memory, Arc::clone(&self.connect)).await
            }
        };
        Ok(cluster?)
    }

    /// Compute threads of each worker of this process: the cores, shared out, unless the job says.
    pub fn threads(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let workers = match &self.settings.run.workers {
            Workers::Embedded(workers) => (*workers).max(1),
            Workers::Addresses(_) | Workers::Dns { .. } | Workers::File(_) => 1,
        };
        self.settings
            .run
            .threads
            .unwrap_or((cores / workers).max(1))
    }

    fn exporter(&self, run: &str, term: u64) -> Result<Option<Exporter>, Failure> {
        let Some(endpoint) = &self.settings.run.trace_endpoint else {
            return Ok(None);
        };
        let about = [
            ("strata.run", Value::Text(run.to_owned())),
            ("strata.term", Value::Int(term)),
        ];
        Exporter::start(endpoint, &about).map(Some)
    }

    fn trace(&self, name: &str) -> Result<Option<Trace>, Failure> {
        // Training is what a trace is asked for; other stages write none.
        let Some(path) = self.settings.run.trace.as_ref().filter(|_| name == "train") else {
            return Ok(None);
        };
        let file =
            std::fs::File::create(path).map_err(|error| Failure::io(path.display(), &error))?;
        Ok(Some(Trace::new(Box::new(std::io::BufWriter::new(file)))))
    }
}

/// Since 1970.
fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

async fn close(exporter: Option<Exporter>) -> Option<String> {
    exporter?.close().await
}

fn scratch(settings: &Settings) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    if let Some(path) = &settings.run.scratch {
        return Ok((path.clone(), None));
    }
    let made = tempfile::Builder::new().prefix("strata-").tempdir();
    let directory =
        made.map_err(|error| Failure::io("a temporary directory cannot be made", &error))?;
    Ok((directory.path().to_owned(), Some(directory)))
}

/// Opens a depot at a place of the job.
///
/// # Errors
/// Where the URL is unknown or the directory cannot be made.
pub fn open_depot(location: &Location) -> Result<Depot, Failure> {
    Depot::open(&location.to_string()).map_err(failed)
}

/// The kernels' path that a setting means.
///
/// # Errors
/// Where the machine does not have it.
pub fn simd(setting: Simd) -> Result<kernels::Simd, Failure> {
    let path = match setting {
        Simd::Auto => return Ok(kernels::Simd::detect()),
        Simd::Avx512 => kernels::Path::Avx512,
        Simd::Avx2 => kernels::Path::Avx2,
        Simd::Portable => kernels::Path::Portable,
    };
    kernels::Simd::new(path).map_err(|error| Failure::new(Refusal::Config, error.to_string()))
}

/// What a depot said, as the end of a verb.
pub fn failed(error: DepotError) -> Failure {
    Failure::new(kind(&error), error.to_string())
}

/// What a depot said, as the end of a run.
pub fn refused(error: &DepotError) -> plan::Failure {
    plan::Failure::Refused {
        refusal: kind(error),
        sentence: error.to_string(),
    }
}

fn kind(error: &DepotError) -> Refusal {
    match error {
        DepotError::Url { .. } | DepotError::NoBucket { .. } => Refusal::Config,
        DepotError::Denied { .. } => Refusal::Permission,
        DepotError::Superseded { .. }
        | DepotError::Full { .. }
        | DepotError::Store(StoreError::DiskFull { .. }) => Refusal::TryAgain,
        DepotError::Damaged { .. } | DepotError::Missing { .. } | DepotError::Manifest { .. } => {
            Refusal::BadData
        }
        _ => Refusal::Io,
    }
}

fn io_mode(io: Io) -> IoMode {
    match io {
        Io::Mmap => IoMode::Mmap,
        Io::Pread => IoMode::Pread,
    }
}

fn nobody(what: &str) -> plan::Failure {
    plan::Failure::Refused {
        refusal: Refusal::Bug,
        sentence: format!("a program asked for more than its verb gives: nobody {what}"),
    }
}
