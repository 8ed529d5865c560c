//! The workers of a run: embedded in this process or daemons that it dials, heard and spoken to in one way.
//!
//! **Invariant:** decides nothing. A worker that comes back has a new number; one that is lost is dialled
//! again for as long as the run lasts.

mod member;
mod members;
mod relay;
mod roll;
mod serve;

pub use serve::{InputFile, InputPlace};

use depot::Depot;
use exec::Held;
use futures::future::BoxFuture;
use member::Place;
use members::Members;
use plan::{Dismissal, Failure, Profile, Refusal};
use roll::Roll;
use serve::Files;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use store::Cache;
use tensor::{DepotId, Digest, ObjectKey, WorkerId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use wire::{FromWorker, Input, Pull, PullPart, Reach, ToWorker, Token};
use worker::grpc::{Connect, GrpcDialer};
use worker::storage::{depot_failure, open_depots};
use worker::{Dialer, Executor, LocalPeers, Settings, Threads, Worker};

/// As whom the coordinator pulls objects that leave the engine.
const COORDINATOR: WorkerId = WorkerId(u32::MAX);
/// Tasks in progress at once on an embedded worker: one fetches while another computes.
pub const LANES: u32 = 2;

/// Between two looks at whether somebody has come.
const LOOK: Duration = Duration::from_millis(100);

/// Something about a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Its session is open: it can be given tasks.
    Joined(WorkerId, Profile),
    /// It said something.
    Said(WorkerId, FromWorker),
    /// Its session is over; the sentence says why.
    Lost(WorkerId, String),
    /// One cannot reach the other: what that one holds is carried through here.
    Relaying {
        /// Who asks.
        puller: WorkerId,
        /// Who is not reached.
        holder: WorkerId,
    },
}

/// What workers are told when a session is opened.
#[derive(Clone, Debug)]
pub struct Job {
    /// The leadership number.
    pub term: u64,
    /// The run key.
    pub run: Digest,
    /// The user's files, in the order in which ops number them.
    pub inputs: Vec<InputFile>,
    /// URLs or paths of the depots.
    pub depots: Vec<(DepotId, String)>,
    /// How often workers say that they live.
    pub heartbeat: Duration,
}

impl Job {
    /// Local files are served to daemons, which may be on other machines.
    fn inputs(&self, remote: bool) -> Vec<Input> {
        let reach = |file: &InputFile| match &file.place {
            InputPlace::Url(url) => Reach::Url(url.clone()),
            InputPlace::Path(_) | InputPlace::Resident(_) if remote => Reach::Served,
            InputPlace::Path(path) => Reach::Url(path.to_string_lossy().into_owned()),
            InputPlace::Resident(url) => Reach::Url(url.clone()),
        };
        self.inputs
            .iter()
            .map(|file| Input {
                reach: reach(file),
                bytes: file.bytes,
            })
            .collect()
    }

    fn depots(&self, remote: bool) -> Vec<(DepotId, Reach)> {
        let reach = |url: &str| {
            if remote && Reach::is_local(url) {
                Reach::Served
            } else {
                Reach::Url(url.to_owned())
            }
        };
        self.depots
            .iter()
            .map(|(id, url)| (*id, reach(url)))
            .collect()
    }
}

/// Workers in this process.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Compute threads of each.
    pub threads: u32,
    /// Memory of each.
    pub memory_bytes: u64,
    /// The cache of each: as many workers as caches. They outlast a session, so that the next one finds
    /// what this one staged.
    pub caches: Vec<Arc<Cache>>,
    /// The instructions of the kernels.
    pub simd: exec::Simd,
}

struct Shared {
    job: Job,
    token: Token,
    files: Arc<Files>,
    connect: Connect,
    local: LocalPeers,
    /// How this process reaches what workers hold.
    dialer: Arc<dyn Dialer>,
    relaying: Semaphore,
    heard: mpsc::UnboundedSender<Heard>,
    next: AtomicU32,
    closing: AtomicBool,
    members: Members,
}

impl Shared {
    fn next_id(&self) -> WorkerId {
        WorkerId(self.next.fetch_add(1, Relaxed))
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// The cluster may have been dropped: nobody listens then.
    fn tell(&self, heard: Heard) {
        let _ = self.heard.send(heard);
    }
}

/// The workers of one run. Dropping it ends their sessions.
pub struct Cluster {
    shared: Arc<Shared>,
    heard: mpsc::UnboundedReceiver<Heard>,
    keepers: JoinSet<()>,
}

impl Cluster {
    fn new(
        job: Job,
        connect: Connect,
        local: LocalPeers,
        dialer: Arc<dyn Dialer>,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, Failure> {
        let mut depots = BTreeMap::new();
        for (id, url) in &job.depots {
            let depot = Depot::open(url).map_err(|error| depot_failure(error, None))?;
            depots.insert(*id, Arc::new(depot));
        }
        let inputs = job.inputs.clone();
        let files = Files::new(inputs, depots, executor, Arc::clone(&dialer));
        let files = Arc::new(files);
        let (tell, heard) = mpsc::unbounded_channel();
        let token = Token::draw().map_err(|error| Failure::Refused {
            refusal: Refusal::Unavailable,
            sentence: format!("the system gives no random bytes for the token of the job: {error}"),
        })?;
        let shared = Arc::new(Shared {
            job,
            token,
            files,
            connect,
            local,
            dialer,
            relaying: Semaphore::new(relay::RELAYS_MAX),
            heard: tell,
            next: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            members: Members::default(),
        });
        Ok(Cluster {
            shared,
            heard,
            keepers: JoinSet::new(),
        })
    }

    fn keep(&mut self, place: Place) -> oneshot::Receiver<Result<(), String>> {
        let (first, tried) = oneshot::channel();
        self.keepers
            .spawn(member::keep(Arc::clone(&self.shared), place, first));
        tried
    }

    /// Starts workers in this process, each with threads and a cache of its own.
    ///
    /// # Errors
    /// Where a cache or a depot cannot be opened, or threads cannot be started.
    pub async fn embed(job: Job, embedded: &Embedded) -> Result<Self, Failure> {
        // Checked here, so that a wrong URL is told at once and not once for each worker.
        open_depots(&job.depots(false))?;
        let (local, connect) = (LocalPeers::default(), worker::grpc::tcp());
        let dialer: Arc<dyn Dialer> = Arc::new(local.clone());
        let mut cluster = Self::new(job, connect, local, Arc::clone(&dialer), file_threads()?)?;
        store::heap::keep_for(embedded.memory_bytes);
        let mut tried = Vec::new();
        for cache in &embedded.caches {
            let threads = Threads::start(embedded.threads as usize, LANES as usize)?;
            let settings = Settings {
                threads: embedded.threads,
                memory_bytes: embedded.memory_bytes,
                lanes: LANES,
                simd: embedded.simd,
            };
            let (cache, dialer) = (Arc::clone(cache), Arc::clone(&dialer));
            let worker = Worker::new(settings, cache, Arc::new(threads), dialer);
            tried.push(("embedded".to_owned(), cluster.keep(Place::Here(worker))));
        }
        some_joined(tried).await?;
        Ok(cluster)
    }

    /// Dials daemons: `HOST:PORT` each, `dns://SERVICE:PORT` for all addresses that a name has, or `file:///PATH` for those in a file.
    /// Those that do not answer are dialled again as long as the run lasts.
    ///
    /// # Errors
    /// Where none of them can be had now.
    pub async fn dial(
        job: Job,
        addresses: &[String],
        memory_bytes: u64,
        connect: Connect,
    ) -> Result<Self, Failure> {
        Self::dial_by(job, addresses, memory_bytes, connect, file_threads()?).await
    }

    /// As [`Cluster::dial`], with threads of the caller's: a simulation's.
    ///
    /// # Errors
    /// As [`Cluster::dial`].
    pub async fn dial_by(
        job: Job,
        addresses: &[String],
        memory_bytes: u64,
        connect: Connect,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, Failure> {
        let dialer = Arc::new(GrpcDialer::new(Arc::clone(&connect), memory_bytes));
        let mut cluster = Self::new(job, connect, LocalPeers::default(), dialer, executor)?;
        let mut tried = Vec::new();
        let mut patience = Duration::ZERO;
        for address in addresses {
            if let Some(roll) = Roll::of(address) {
                let found = roll.call().await?;
                for address in &found {
                    let kept = cluster.keep(Place::There(address.clone()));
                    tried.push((address.clone(), kept));
                }
                patience = roll.patience();
                let shared = Arc::clone(&cluster.shared);
                cluster.keepers.spawn(roll.watch(shared, found));
            } else {
                tried.push((address.clone(), cluster.keep(Place::There(address.clone()))));
            }
        }
        if let Err(none) = some_joined(tried).await {
            // Those on a roll may be on their way back.
            let members = &cluster.shared.members;
            let somebody = async {
                while members.ids().is_empty() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::time::timeout(patience, somebody)
                .await
                .map_err(|_| none)?;
        }
        Ok(cluster)
    }

    /// Sends a message without waiting; one to a worker that is gone is lost without a word.
    pub fn send(&self, worker: WorkerId, message: ToWorker) {
        self.shared.members.send(worker, message);
    }

    /// Ends the session of a worker. [`Heard::Lost`] does not follow. It may join again; true where it may not, since it
    /// was given up too often for not being reached, or computes something else than others.
    pub fn dismiss(&self, worker: WorkerId, why: Dismissal) -> bool {
        let members = &self.shared.members;
        let shunned = match why {
            Dismissal::Unreached => members.shun(worker),
            Dismissal::Disagreed => members.ban(worker),
            Dismissal::Silent | Dismissal::Drained => false,
        };
        members.dismiss(worker);
        shunned
    }

    /// Nobody asks a worker for what it holds until it is trusted again; what is under way ends.
    pub fn suspect(&self, worker: WorkerId) {
        self.shared.members.suspect(worker);
    }

    /// What a suspected worker holds can be had of it again.
    pub fn trust(&self, worker: WorkerId) {
        self.shared.members.trust(worker);
    }

    /// Waits for the next thing that happens. Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // Not reached: `shared` holds a sender as long as the cluster lives.
            None => std::future::pending().await,
        }
    }

    /// Pulls a whole object from a holder; where that fails, a sentence says why.
    pub fn pull(
        &self,
        worker: WorkerId,
        key: ObjectKey,
    ) -> BoxFuture<'static, Result<Held, String>> {
        let shared = Arc::clone(&self.shared);
        let pull = Pull {
            run: shared.job.run,
            term: shared.job.term,
            token: shared.token,
            key,
            puller: COORDINATOR,
            part: PullPart::Whole,
        };
        Box::pin(async move {
            let held = shared.pull(worker, pull).await;
            let held =
                held.map_err(|error| format!("{key} could not be had from {worker}: {error}"))?;
            if !shared.dialer.here() {
                shared.files.bytes.fetch_add(held.bytes(), Relaxed);
            }
            Ok(held)
        })
    }

    /// Bulk bytes that went through the coordinator so far: served reads and puts, and pulled objects.
    pub fn served_bytes(&self) -> u64 {
        self.shared.files.bytes.load(Relaxed)
    }

    /// Where a worker is, as its users named it; empty where it is in this process.
    pub fn address(&self, worker: WorkerId) -> String {
        let peer = self.shared.members.peer(worker);
        peer.map(|peer| peer.address).unwrap_or_default()
    }

    /// Ends all sessions in good order and gives each worker a moment to say its totals, which are
    /// returned as they come.
    pub async fn close(mut self, patience: Duration) -> Vec<(WorkerId, wire::Totals)> {
        self.shared.closing.store(true, Relaxed);
        let mut open = self.shared.members.ids();
        for worker in &open {
            self.send(*worker, ToWorker::Close);
        }
        let mut totals = Vec::new();
        let closing = async {
            while !open.is_empty() {
                match self.heard.recv().await {
                    Some(Heard::Said(worker, FromWorker::Closed(total))) => {
                        totals.push((worker, total));
                        open.retain(|other| *other != worker);
                    }
                    Some(Heard::Lost(worker, _)) => open.retain(|other| *other != worker),
                    Some(_) => {}
                    None => break,
                }
            }
        };
        // Who has not answered by then is left alone: its session ends with the connection.
        let _ = tokio::time::timeout(patience, closing).await;
        totals
    }
}

/// Threads that read the user's files for daemons.
fn file_threads() -> Result<Arc<dyn Executor>, Failure> {
    Ok(Arc::new(Threads::start(1, 1)?))
}

type Tried = Vec<(String, oneshot::Receiver<Result<(), String>>)>;

/// Waits for every first attempt; one that went well is enough.
async fn some_joined(tried: Tried) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    let mut joined = 0;
    for (address, tried) in tried {
        match tried.await {
            Ok(Ok(())) => joined += 1,
            Ok(Err(why)) => reasons.push(format!("{address}: {why}")),
            Err(_) => reasons.push(format!("{address}: given up")),
        }
    }
    if joined > 0 {
        for reason in &reasons {
            tracing::warn!("a worker cannot be used yet: {reason}");
        }
        return Ok(());
    }
    let sentence = format!(
        "no worker can be used ({}): start workers, or wait for them",
        reasons.join("; ")
    );
    Err(Failure::Refused {
        refusal: Refusal::Unavailable,
        sentence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_this_machine_goes_to_a_daemon() {
        let job = Job {
            term: 1,
            run: Digest([1; 32]),
            inputs: vec![InputFile {
                place: InputPlace::Path("/home/me/in.parquet".into()),
                bytes: 7,
                written: (0, 0),
            }],
            depots: vec![
                (DepotId::DATA, "/home/me/data".to_owned()),
                (DepotId::MODEL, "file:///home/me/model".to_owned()),
                (DepotId(7), "s3://bucket/me".to_owned()),
            ],
            heartbeat: Duration::from_secs(1),
        };
        let inputs: Vec<Reach> = job.inputs(true).into_iter().map(|one| one.reach).collect();
        assert_eq!(inputs, [Reach::Served]);
        let depots: Vec<Reach> = job
            .depots(true)
            .into_iter()
            .map(|(_, reach)| reach)
            .collect();
        let bucket = Reach::Url("s3://bucket/me".to_owned());
        assert_eq!(depots, [Reach::Served, Reach::Served, bucket]);
        // Workers of this process read for themselves.
        assert!(
            job.inputs(false)
                .iter()
                .all(|one| one.reach != Reach::Served)
        );
    }
}
