//! What all verbs share: depots, a cache, and one way to run a program over the workers.

use super::places::{Served, failed};
use crate::cluster::{Cluster, Dial, Embedding, LocalFile, Members, Places, Session, Source, Store, Tcp};
use crate::driver::{Checkpoints, Context, Driver, Outcome, Report, Resume, StoredObject, Trace};
use crate::failure::Failure;
use crate::job::settings::{Io, Location, Settings, Simd, Workers};
use crate::output::Console;
use crate::progress::Unit;
use depot::Depot;
use exec::Held;
use futures::future::BoxFuture;
use plan::Refusal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Cache, IoMode};
use tensor::{DepotId, Digest, News, ObjectKey, Program};
use tokio_util::sync::CancellationToken;

/// The cache may take what it needs of the disk: a full disk is told as such.
const CACHE_BYTES: u64 = u64::MAX;
/// How often the plan looks at time.
const TICK: Duration = Duration::from_millis(100);

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
    pub inputs: Vec<Arc<dyn Source>>,
    /// Durable objects that the program reads.
    pub stored: Vec<StoredObject>,
    /// Where it goes on.
    pub resume: Option<Resume>,
    /// Checkpoints: after so many epochs, and what writes the manifest.
    pub checkpoints: Option<(u32, Box<CommitFn>)>,
    /// Takes deliveries.
    pub sink: Option<Box<SinkFn<'a>>>,
    /// Hears news.
    pub news: Option<Box<dyn FnMut(&News) + Send + 'a>>,
}

/// Writes the manifest of a checkpoint.
pub type CommitFn = dyn FnMut(tensor::Checkpoint, Vec<StoredObject>) -> BoxFuture<'static, Result<(), plan::Failure>>
    + Send;
/// Takes a delivered object.
pub type SinkFn<'a> = dyn FnMut(ObjectKey, Held) -> Result<(), plan::Failure> + Send + 'a;

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
    peaks: Mutex<BTreeMap<String, u64>>,
    /// Removed with the engine where the job names no scratch directory.
    _scratch: Option<tempfile::TempDir>,
}

impl<'a> Engine<'a> {
    /// Opens the cache.
    ///
    /// # Errors
    /// Where the scratch directory cannot be used.
    pub fn start(settings: &'a Settings, console: &'a Console, cancel: CancellationToken) -> Result<Self, Failure> {
        let (directory, scratch) = scratch(settings)?;
        let mode = match settings.run.io {
            Io::Mmap => IoMode::Mmap,
            Io::Pread => IoMode::Pread,
        };
        let cache = Cache::open_unsynced(&directory, CACHE_BYTES, mode)
            .map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
        Ok(Engine {
            settings,
            console,
            cache: Arc::new(cache),
            cancel,
            depots: Mutex::default(),
            peaks: Mutex::default(),
            _scratch: scratch,
        })
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
        let (key, location) =
            if id == DepotId::DATA { ("output.data", &output.data) } else { ("output.model", &output.model) };
        let missing = || Failure::new(Refusal::Config, format!("the job names no `{key}`"));
        let opened = Arc::new(open_depot(location.as_ref().ok_or_else(missing)?)?);
        depots.insert(id, Arc::clone(&opened));
        Ok(opened)
    }

    /// Memory of one worker and of one of its tasks.
    pub fn worker_memory(&self) -> u64 {
        match &self.settings.run.workers {
            Workers::Embedded(workers) => self.settings.run.memory.0 / u64::from((*workers).max(1)),
            Workers::Addresses(_) | Workers::Dns { .. } => self.settings.run.memory.0,
        }
    }

    /// The path of the kernels in embedded workers.
    pub fn simd_name(&self) -> String {
        simd(self.settings.run.simd).map_or_else(|_| "none".to_owned(), |simd| simd.path().name().to_owned())
    }

    /// The most anonymous memory of this process in each phase so far.
    pub fn peaks(&self) -> BTreeMap<String, u64> {
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a program over the workers of the job.
    ///
    /// # Errors
    /// Why it could not be finished.
    pub async fn run(&self, program: &mut dyn Program, stage: Stage<'_>) -> Result<Outcome, Failure> {
        self.console.observer().begin(stage.name, Unit::Tasks, None);
        self.console.memory().take_phase_bytes();
        let session = Session {
            term: stage.term,
            run: stage.run,
            places: Arc::new(Places::new(stage.inputs, self.stores()?)),
            io: Some(match self.settings.run.io {
                Io::Mmap => wire::message::Io::Mmap,
                Io::Pread => wire::message::Io::Pread,
            }),
            simd: Some(match self.settings.run.simd {
                Simd::Auto => wire::Simd::Auto,
                Simd::Avx512 => wire::Simd::Avx512,
                Simd::Avx2 => wire::Simd::Avx2,
                Simd::Portable => wire::Simd::Portable,
            }),
        };
        let members = self.members().await?;
        let mut cluster = Cluster::open(members, session)?;
        let observer = self.console.observer();
        let mut hear = stage.news;
        let mut listener = |report: Report| match report {
            Report::News(news) => {
                if let Some(hear) = &mut hear {
                    hear(&news);
                }
                observer.news(&news);
            }
            Report::Tasks { done, submitted } => observer.progress(done, Some(submitted)),
            Report::Note(line) => observer.note(&line),
            Report::Step(..) | Report::Checkpoint(_) => {}
        };
        let mut refuse = |_: ObjectKey, _: Held| Err(nobody("took a delivery"));
        let mut no_commit = |_: tensor::Checkpoint, _: Vec<StoredObject>| -> BoxFuture<'static, _> {
            Box::pin(async { Err(nobody("keeps checkpoints")) })
        };
        let mut sink = stage.sink;
        let mut checkpoints = stage.checkpoints;
        let context = Context {
            settings: plan::Settings::default(),
            tick: TICK,
            stored: stage.stored,
            resume: stage.resume,
            checkpoints: match &mut checkpoints {
                Some((every_epochs, commit)) => Checkpoints { every_epochs: *every_epochs, commit: &mut **commit },
                None => Checkpoints { every_epochs: 0, commit: &mut no_commit },
            },
            listener: &mut listener,
            sink: match &mut sink {
                Some(sink) => &mut **sink,
                None => &mut refuse,
            },
            cancel: self.cancel.clone(),
            trace: self.trace(stage.name)?,
        };
        let outcome = Driver::run(program, &mut cluster, context).await;
        let troubles = cluster.troubles();
        cluster.close().await;
        let peak = self.console.memory().take_phase_bytes();
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.name.to_owned(), peak);
        match outcome {
            Ok(outcome) => {
                self.console.observer().end(&format!("{} tasks in {:.1} s", outcome.tasks_run, outcome.seconds));
                Ok(outcome)
            }
            Err(failure) => Err(with_troubles(failure.into(), &troubles)),
        }
    }

    fn stores(&self) -> Result<BTreeMap<DepotId, Arc<dyn Store>>, Failure> {
        let mut stores: BTreeMap<DepotId, Arc<dyn Store>> = BTreeMap::new();
        let output = &self.settings.output;
        for (id, location) in [(DepotId::DATA, &output.data), (DepotId::MODEL, &output.model)] {
            if location.is_some() {
                let served = Served { depot: self.depot(id)?, cache: Arc::clone(&self.cache) };
                stores.insert(id, Arc::new(served));
            }
        }
        Ok(stores)
    }

    async fn members(&self) -> Result<Members, Failure> {
        let tcp: Arc<dyn Dial> = Arc::new(Tcp);
        match &self.settings.run.workers {
            Workers::Embedded(workers) => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
                let shared = (cores / (*workers).max(1)).max(1);
                let threads = self.settings.run.threads.unwrap_or(shared);
                let cache = Arc::clone(&self.cache);
                Ok(Members::Embedded(Embedding::threads(*workers, threads, self.worker_memory(), cache)))
            }
            Workers::Addresses(addresses) => Ok(Members::Daemons(addresses.clone(), tcp)),
            Workers::Dns { service, port } => {
                let found = tokio::net::lookup_host((service.as_str(), *port)).await;
                let unknown = |reason: String| {
                    Failure::new(Refusal::Unavailable, format!("dns://{service}:{port} cannot be resolved: {reason}"))
                };
                let mut addresses: Vec<String> =
                    found.map_err(|error| unknown(error.to_string()))?.map(|address| address.to_string()).collect();
                addresses.sort();
                addresses.dedup();
                Ok(Members::Daemons(addresses, tcp))
            }
        }
    }

    fn trace(&self, name: &str) -> Result<Option<Trace>, Failure> {
        // Training is what a trace is asked for; other stages write none.
        let Some(path) = self.settings.run.trace.as_ref().filter(|_| name == "train") else { return Ok(None) };
        let file = std::fs::File::create(path).map_err(|error| Failure::io(path.display(), &error))?;
        Ok(Some(Trace::new(Box::new(std::io::BufWriter::new(file)))))
    }
}

fn scratch(settings: &Settings) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    match &settings.run.scratch {
        Some(path) => Ok((path.clone(), None)),
        None => {
            let made = tempfile::Builder::new().prefix("strata-").tempdir();
            let directory = made.map_err(|error| Failure::io("a temporary directory cannot be made", &error))?;
            Ok((directory.path().to_owned(), Some(directory)))
        }
    }
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

/// Opens local input files; what only this process sees reaches the workers through it.
///
/// # Errors
/// Where a file cannot be opened.
pub fn open_inputs(locations: &[Location]) -> Result<Vec<(String, Arc<LocalFile>)>, Failure> {
    let open = |location: &Location| match location {
        Location::Path(path) => Ok((path.display().to_string(), Arc::new(LocalFile::open(path)?))),
        Location::Url(url) => {
            let sentence = format!("{url}: input under a URL is not in this version: copy the files to a local directory");
            Err(Failure::new(Refusal::Config, sentence))
        }
    };
    locations.iter().map(open).collect()
}

fn nobody(what: &str) -> plan::Failure {
    plan::Failure::Refused { refusal: Refusal::Bug, sentence: format!("a program asked for more than its verb gives: nobody {what}") }
}

fn with_troubles(mut failure: Failure, troubles: &[String]) -> Failure {
    if let (Some(first), false) = (failure.complaints.first_mut(), troubles.is_empty()) {
        first.sentence = format!("{}; {}", first.sentence, troubles.join("; "));
    }
    failure
}
