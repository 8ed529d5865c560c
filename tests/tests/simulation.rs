//! Ring one: the real shells in a simulated world. The workers' gRPC service, the coordinator's cluster, driver
//! and plan are those of the binaries; network and time are turmoil's, and jobs run in place.
//!
//! A few seeds run always; `STRATA_SIMULATION_SEEDS=1000 cargo test --workspace --test simulation` runs that many, from `STRATA_SIMULATION_FIRST`
//! on.

use coordinator::cluster::{Cluster, Heard, Job};
use coordinator::driver::{
    Checkpoints, Context, Crew, Driver, OfWorker, Outcome, Pace, Report, Resume, StoredObject,
};
use depot::{Body, CheckpointObject, Depot};
use exec::{Held, HeldBytes, Simd, SpareBuffers};
use futures::future::BoxFuture;
use plan::{Dismissal, Failure, Refusal};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poll2, Poll};
use std::time::Duration;
use store::{Cache, IoMode};
use tensor::{DepotId, Digest, ObjectKey, Program, ProgramError, Reduced, StepId, Turn, WorkerId};
use tests::inline::World;
use tests::laws::{Breach, Contents, Results, chain};
use tests::liar::{Lie, Lying};
use tests::stir::{BLOCKS, Stir};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};
use wire::settings::{server, service};
use wire::{FromWorker, Peer, Pull, PullPart, ToWorker};
use worker::grpc::{Connect, GrpcDialer, Lively, Patience, Service};
use worker::receiving::Receiving;
use worker::{Dialer, Inline, PeerLink, PullError, Settings, Worker};

const EPOCHS: u64 = 6;
const WORKERS: [&str; 3] = ["anna", "bela", "cleo"];
const COORDINATOR: &str = "coordinator";
const PORT: u16 = 7077;
const RUN: Digest = Digest([5; 32]);
const MEMORY: u64 = 256 << 20;
/// Tasks of an undisturbed run, checkpoints left out.
const TASKS: u32 = EPOCHS as u32 * (3 * BLOCKS + 10 + 6);
/// Who lies, where one does.
const LIAR: &str = WORKERS[1];
/// How long a message to a slow worker or from it takes: two of them longer than any task is waited for.
const LATE: Duration = Duration::from_millis(900);
/// Two heartbeats and a second.
const DETECTION: Duration = Duration::from_secs(2);
/// Seeds that run always.
const SEEDS: u64 = 24;

/// What happens to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// A worker's process dies, which its peers learn from their connections, and comes back with an empty disk.
    Crash,
    /// Two hosts do not hear each other for a while.
    Partition,
    /// Two workers do not hear each other to the end, though the coordinator hears both; or what one says does not
    /// reach the other.
    Wall,
    /// A worker is silent for a while, as one that is stopped: for less than it takes to suspect it, for less than its lease, or
    /// for longer. What is said to it and by it comes later.
    Silence,
    /// What is said to a worker and by it takes long, all the time.
    Slow,
    /// A worker computes something else than others, and all is computed twice.
    Liar,
    /// A worker panics at what it pulls, and all is computed twice: what it stores of it is a lie.
    Panics,
    /// The coordinator dies twice, and is started again by whoever looks after it.
    Coordinator,
    /// No two hosts have the same time: each clock is ahead by its own rate, and one leaps forward once, as that of a virtual machine that
    /// was asleep. Clocks that tell the date decide nothing here, so that theirs are not set wrong.
    Skew,
    /// A worker loses power, so that its connections are just silent, and comes back; another is cut off. Checkpoints
    /// are rare: blocks are lost for which only a roll-back helps.
    Both,
}

impl Trouble {
    /// Whether one of the workers is not to be trusted.
    fn lies(self) -> bool {
        matches!(self, Trouble::Liar | Trouble::Panics)
    }
}

/// What was seen of a run, by whoever saw it.
#[derive(Default)]
struct Seen {
    trace: String,
    contents: Contents,
    results: Results,
    breaches: Vec<Breach>,
    done: u32,
    /// When epochs ended, by the world's time.
    epochs: Vec<Duration>,
    epochs_told: usize,
    /// When a worker fell silent, and for how long.
    silent: Option<(Duration, Duration)>,
    suspicions: usize,
    shut_out: Vec<String>,
    delivered: Vec<(ObjectKey, Vec<u8>)>,
    sums: Vec<f64>,
    outcome: Option<Outcome>,
    manifests: Vec<(depot::Manifest, Digest)>,
    /// From which epochs coordinators went on; those that died before a checkpoint are not here.
    resumed: Vec<u32>,
    /// By how much clocks are ahead of the world's, and whose leapt.
    ahead: BTreeMap<&'static str, Duration>,
    leapt: Option<&'static str>,
}

/// [`Seen`], shared by the hosts of a simulation.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, law: impl FnOnce(&mut Seen) -> Result<(), Breach>) {
        let mut seen = self.seen();
        if let Err(breach) = law(&mut seen) {
            seen.breaches.push(breach);
        }
    }

    fn note(&self, began: Instant, what: String) {
        let line = format!("{} {what}\n", began.elapsed().as_micros());
        self.seen().trace.push_str(&line);
    }
}

// The clocks.

/// How a host's clock goes, seen from the world.
#[derive(Clone, Copy)]
struct Clock {
    host: &'static str,
    /// By how much it is ahead after each [`Clock::BEAT`] of its own.
    gains: Duration,
    /// When it leaps, by itself, and how far.
    leaps: Option<(Duration, Duration)>,
}

impl Clock {
    const BEAT: Duration = Duration::from_millis(20);

    /// A rate of up to half again as fast, and for one host of four a leap: of less than it takes to suspect a worker, or of longer than
    /// a lease.
    fn planned(host: &'static str, seed: u64) -> Clock {
        let hosts = [COORDINATOR, WORKERS[0], WORKERS[1], WORKERS[2]];
        let index = hosts.iter().position(|known| *known == host);
        let index = index.expect("a host of this world") as u64;
        let at = Duration::from_millis(100 + draw(seed, 40, 700));
        let by = match draw(seed, 41, 3) {
            0 => 100 + draw(seed, 42, 1_200),
            1 => 2_000 + draw(seed, 42, 6_000),
            _ => 11_000 + draw(seed, 42, 60_000),
        };
        let leaps = draw(seed, 43, 4) == index;
        Clock {
            host,
            gains: Duration::from_millis(draw(seed, 44 + index, 11)),
            leaps: leaps.then(|| (at, Duration::from_millis(by))),
        }
    }

    async fn go(mut self, watch: Watch) {
        let began = Instant::now();
        loop {
            tokio::time::sleep(Self::BEAT).await;
            let mut by = self.gains;
            if let Some((_, leap)) = self.leaps.take_if(|(at, _)| began.elapsed() >= *at) {
                by += leap;
                watch.seen().leapt = Some(self.host);
            }
            *watch.seen().ahead.entry(self.host).or_default() += by;
            tokio::time::advance(by).await;
        }
    }
}

// The network.

/// A connection that tonic's server can take.
struct Accepted(Lively<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Poll2<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Poll2<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Poll2<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Poll2<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn connect() -> Connect {
    Arc::new(|endpoint, patience| {
        endpoint.connect_with_connector_lazy(tower::service_fn(
            move |uri: tonic::transport::Uri| async move {
                let host = uri.host().unwrap_or_default().to_owned();
                let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(PORT))).await?;
                Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(Lively::new(stream, patience)))
            },
        ))
    })
}

/// Looks at everything that a worker pulls of its peers.
struct Watching {
    dialer: GrpcDialer,
    watch: Watch,
}

struct WatchedLink {
    link: Arc<dyn PeerLink>,
    watch: Watch,
}

impl Dialer for Watching {
    fn receiving(&self) -> Option<&Receiving> {
        self.dialer.receiving()
    }

    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        Arc::new(WatchedLink {
            link: self.dialer.peer(peer),
            watch: self.watch.clone(),
        })
    }
}

impl PeerLink for WatchedLink {
    fn pull(
        &self,
        pull: Pull,
        spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>> {
        let (key, part) = (pull.key, format!("{:?}", pull.part));
        let (pulling, watch) = (self.link.pull(pull, spare), self.watch.clone());
        Box::pin(async move {
            let held = pulling.await?;
            let bytes = bytes_of(&held);
            watch.check(|seen| seen.contents.saw(key, part, &bytes));
            Ok(held)
        })
    }
}

fn bytes_of(held: &Held) -> Vec<u8> {
    let bytes: HeldBytes = held.whole().expect("what is held can be read");
    bytes.to_vec()
}

async fn serve(watch: Watch, lies: Option<Lie>, clock: Option<Clock>) -> turmoil::Result {
    if let Some(clock) = clock {
        tokio::spawn(clock.go(watch.clone()));
    }
    // A new directory each time: a worker that comes back has lost its disk.
    let data = tempfile::tempdir()?;
    let cache = Arc::new(Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread)?);
    let settings = Settings {
        threads: 1,
        memory_bytes: MEMORY,
        lanes: 2,
        simd: Simd::detect(),
    };
    let dialer = Watching {
        dialer: GrpcDialer::new(connect(), MEMORY),
        watch,
    };
    let dialer: Arc<dyn Dialer> = match lies {
        Some(lie) => Arc::new(Lying(dialer, lie)),
        None => Arc::new(dialer),
    };
    let worker = Worker::new(settings, cache, Arc::new(Inline::new()?), dialer);
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let incoming = futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((
            accepted.map(|(stream, _)| Accepted(Lively::new(stream, Patience::OfSessions))),
            listener,
        ))
    });
    server()
        .add_service(service(Service::new(worker)))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

// The coordinator.

/// A cluster, and all that is said to and by it.
struct Watched {
    cluster: Cluster,
    watch: Watch,
    began: Instant,
    /// Whose results are not held to any law.
    liar: Option<&'static str>,
}

/// What differs between two courses of one seed is left out: this process' memory.
fn without_memory(message: &FromWorker) -> FromWorker {
    let mut message = message.clone();
    match &mut message {
        FromWorker::Alive { anonymous_bytes } => *anonymous_bytes = 0,
        FromWorker::Done(done) => done.peak_anonymous_bytes = 0,
        FromWorker::Closed(totals) => totals.peak_anonymous_bytes = 0,
        _ => {}
    }
    message
}

impl Crew for Watched {
    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        self.watch
            .note(self.began, format!("to {worker}: {message:?}"));
        match &message {
            ToWorker::Assign(assignments) => {
                for given in assignments {
                    self.watch
                        .check(|seen| seen.results.assigned(worker, given.task.id, given.attempt));
                }
            }
            ToWorker::Revoke { task, attempt } => {
                self.watch
                    .check(|seen| seen.results.revoked(worker, *task, *attempt));
            }
            _ => {}
        }
        self.cluster.send(worker, message);
    }

    fn suspect(&mut self, worker: WorkerId) {
        self.watch.note(self.began, format!("suspect {worker}"));
        self.watch.seen().suspicions += 1;
        self.cluster.suspect(worker);
    }

    fn trust(&mut self, worker: WorkerId) {
        self.watch.note(self.began, format!("trust {worker}"));
        self.cluster.trust(worker);
    }

    fn dismiss(&mut self, worker: WorkerId, why: Dismissal) -> bool {
        self.watch
            .note(self.began, format!("dismiss {worker}: {why:?}"));
        if why == Dismissal::Disagreed {
            let address = self.cluster.address(worker);
            self.watch.seen().shut_out.push(address);
        }
        self.cluster.dismiss(worker, why)
    }

    async fn next(&mut self) -> Heard {
        let heard = self.cluster.next().await;
        let line = match &heard {
            Heard::Said(worker, said) => format!("from {worker}: {:?}", without_memory(said)),
            other => format!("{other:?}"),
        };
        self.watch.note(self.began, line);
        if let Heard::Said(worker, FromWorker::Done(done)) = &heard {
            let lies = self
                .liar
                .is_some_and(|liar| self.cluster.address(*worker).starts_with(liar));
            self.watch.check(|seen| {
                seen.done += 1;
                if lies {
                    return Ok(());
                }
                let (task, attempt) = (done.task, done.attempt);
                seen.results.done(*worker, task, attempt, &done.partial)
            });
        }
        heard
    }

    fn pull(&self, worker: WorkerId, key: ObjectKey) -> BoxFuture<'static, Result<Held, String>> {
        self.cluster.pull(worker, key)
    }

    fn served_bytes(&self) -> u64 {
        self.cluster.served_bytes()
    }

    fn address(&self, worker: WorkerId) -> String {
        self.cluster.address(worker)
    }
}

/// A program, and what it is told.
struct Told {
    program: Stir,
    watch: Watch,
}

impl Told {
    fn yielded(&self, turn: Turn) -> Turn {
        let mut seen = self.watch.seen();
        turn.steps
            .iter()
            .for_each(|step| seen.results.submitted(step));
        turn
    }
}

impl Program for Told {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let turn = self.program.start()?;
        Ok(self.yielded(turn))
    }
    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        self.watch
            .check(|seen| seen.results.completed(step, &reduced));
        let turn = self.program.completed(step, reduced)?;
        Ok(self.yielded(turn))
    }
    fn encode(&self) -> Vec<u8> {
        self.program.encode()
    }
    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.watch.seen().results.restarted();
        self.program.restore(state)
    }
}

fn commit(
    depot: Depot,
    term: u64,
    watch: Watch,
) -> impl FnMut(tensor::Checkpoint, Vec<StoredObject>) -> BoxFuture<'static, Result<(), Failure>> + Send
{
    move |checkpoint, objects| {
        let (depot, watch) = (depot.clone(), watch.clone());
        Box::pin(async move {
            for object in &objects {
                let whole = format!("{:?}", PullPart::Whole);
                watch.check(|seen| seen.contents.is(object.key, whole, object.sealed.digest));
            }
            let body = Body::Checkpoint(depot::Checkpoint {
                run: RUN,
                epoch: checkpoint.epoch,
                program: "stir".into(),
                state: checkpoint.state,
                objects: objects
                    .iter()
                    .map(|object| CheckpointObject {
                        key: object.key,
                        object: object.sealed,
                        row_bytes: object.row_bytes,
                    })
                    .collect(),
                finished: false,
            });
            let committed = depot.commit(term, body).await;
            committed.map(|_| ()).map_err(|error| Failure::Refused {
                refusal: Refusal::Io,
                sentence: error.to_string(),
            })
        })
    }
}

/// Where the newest checkpoint lets a coordinator go on.
async fn newest(depot: &Depot) -> Result<Option<Resume>, depot::DepotError> {
    let found = depot.latest_checkpoint(RUN).await?;
    Ok(found.map(|(_, checkpoint)| {
        let stored = |object: &CheckpointObject| StoredObject {
            key: object.key,
            sealed: object.object,
            row_bytes: object.row_bytes,
        };
        let objects: Vec<StoredObject> = checkpoint.objects.iter().map(stored).collect();
        Resume {
            checkpoint: tensor::Checkpoint {
                epoch: checkpoint.epoch,
                state: checkpoint.state,
                objects: objects.iter().map(|object| object.key.into()).collect(),
            },
            objects,
        }
    }))
}

/// Dials until a worker can be had: one that has not noticed yet that its coordinator died says that it is busy.
async fn dial(job: Job) -> Result<Cluster, Failure> {
    let addresses = WORKERS.map(|name| format!("{name}:{PORT}"));
    loop {
        let executor = Arc::new(Inline::new()?);
        match Cluster::dial_by(job.clone(), &addresses, MEMORY, connect(), executor).await {
            Err(failure) if failure.refusal() == Refusal::Unavailable => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            dialled => return dialled,
        }
    }
}

async fn coordinate(
    url: String,
    every_epochs: u32,
    trouble: Trouble,
    clock: Option<Clock>,
    watch: Watch,
) -> turmoil::Result {
    if let Some(clock) = clock {
        tokio::spawn(clock.go(watch.clone()));
    }
    let depot = Depot::open(&url)?;
    let term = depot.claim_term(Some(RUN)).await?;
    let resume = newest(&depot).await?;
    {
        // What another yielded and was delivered ended with it; contents and partials are for ever.
        let mut seen = watch.seen();
        seen.results.replaced();
        seen.delivered.clear();
        seen.resumed
            .extend(resume.as_ref().map(|resume| resume.checkpoint.epoch));
    }
    let job = Job {
        term,
        run: RUN,
        inputs: Vec::new(),
        depots: vec![(DepotId::MODEL, url)],
        heartbeat: Duration::from_millis(500),
    };
    let mut crew = Watched {
        cluster: dial(job).await?,
        watch: watch.clone(),
        began: Instant::now(),
        liar: trouble.lies().then_some(LIAR),
    };
    let mut program = Told {
        program: Stir::new(EPOCHS),
        watch: watch.clone(),
    };
    let (told, sunk, began) = (watch.clone(), watch.clone(), crew.began);
    // What a process holds in memory follows from no seed.
    let mut listener = move |report: Report| match report {
        Report::Worker(_, OfWorker::Alive { .. }) => {}
        Report::News(news) => {
            told.seen().epochs_told += 1;
            told.note(began, format!("{news:?}"));
        }
        Report::Worker(worker, OfWorker::Done { task, again, .. }) => {
            told.note(began, format!("{worker:?} did {task:?}, again: {again}"));
        }
        report => told.note(began, format!("{report:?}")),
    };
    let mut sink = move |key: ObjectKey, held: Held| {
        let bytes = bytes_of(&held);
        sunk.check(|seen| {
            let whole = format!("{:?}", PullPart::Whole);
            seen.delivered.push((key, bytes.clone()));
            seen.contents.saw(key, whole, &bytes)
        });
        Ok(())
    };
    let context = Context {
        settings: plan::Settings {
            lease_ms: if trouble == Trouble::Silence {
                plan::Settings::default().lease_ms
            } else {
                3_000
            },
            verify_millionths: if trouble.lies() { 1_000_000 } else { 0 },
            ..plan::Settings::default()
        },
        tick: Duration::from_millis(100),
        stored: Vec::new(),
        resume,
        checkpoints: Checkpoints {
            pace: Pace {
                every_epochs,
                percent: 100,
                rest: Duration::ZERO,
            },
            commit: &mut commit(depot.clone(), term, watch.clone()),
        },
        listener: &mut listener,
        sink: &mut sink,
        cancel: Default::default(),
        trace: None,
        spans: None,
    };
    let outcome = Driver::run(&mut program, &mut crew, context).await?;
    crew.cluster.close(Duration::from_secs(1)).await;
    let mut manifests = Vec::new();
    for number in depot.manifests().await? {
        manifests.push(depot.manifest(number).await?);
    }
    let mut seen = watch.seen();
    seen.sums = program.program.sums;
    seen.outcome = Some(outcome);
    seen.manifests = manifests;
    Ok(())
}

// The world.

/// A number below `below`, from seed and question (SplitMix64's finalizer).
fn draw(seed: u64, question: u64, below: u64) -> u64 {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (question << 32);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) % below
}

/// Something done to the world: after so many results it begins, and ends so long after.
struct Fault {
    results: u32,
    lasts: Duration,
    ends: Option<Duration>,
    over: bool,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Crash(&'static str),
    PowerLoss(&'static str),
    Partition(&'static str, &'static str),
    OneWay(&'static str, &'static str),
    Silence(&'static str),
}

/// A host with each of the others.
fn all_others(host: &'static str) -> Vec<(&'static str, &'static str)> {
    let all = WORKERS.into_iter().chain([COORDINATOR]);
    let others = all.filter(|other| *other != host);
    others.map(|other| (host, other)).collect()
}

impl Kind {
    /// The pairs of hosts that hear each other later.
    fn held(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Kind::Silence(host) => all_others(host),
            _ => Vec::new(),
        }
    }

    /// The pairs of hosts that do not hear each other.
    fn silent(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Kind::Crash(_) | Kind::Silence(_) => Vec::new(),
            Kind::PowerLoss(host) => all_others(host),
            Kind::Partition(one, other) => vec![(one, other)],
            Kind::OneWay(..) => Vec::new(),
        }
    }

    fn dead(self) -> Option<&'static str> {
        match self {
            Kind::Crash(host) | Kind::PowerLoss(host) => Some(host),
            Kind::Partition(..) | Kind::OneWay(..) | Kind::Silence(_) => None,
        }
    }
}

impl Fault {
    fn planned(trouble: Trouble, seed: u64) -> Vec<Fault> {
        let name = |at: u64| WORKERS[at as usize % WORKERS.len()];
        let (first, other) = (draw(seed, 1, 3), 1 + draw(seed, 2, 2));
        let fault = |question, kind, longest| Fault {
            results: 5 + draw(seed, question, u64::from(TASKS) * 3 / 4) as u32,
            lasts: Duration::from_millis(50 + draw(seed, question + 10, longest)),
            ends: None,
            over: false,
            kind,
        };
        // From the coordinator or from another worker.
        let second = if draw(seed, 4, 2) == 0 {
            COORDINATOR
        } else {
            name(first)
        };
        let partition = || fault(5, Kind::Partition(name(first + other), second), 25_000);
        match trouble {
            Trouble::None | Trouble::Slow | Trouble::Liar | Trouble::Panics | Trouble::Skew => {
                vec![]
            }
            Trouble::Crash => vec![fault(3, Kind::Crash(name(first)), 2_000)],
            Trouble::Partition => vec![partition()],
            Trouble::Wall => {
                let (one, other) = (name(first), name(first + other));
                let kind = if draw(seed, 7, 2) == 0 {
                    Kind::Partition(one, other)
                } else {
                    Kind::OneWay(one, other)
                };
                let lasts = Duration::from_hours(1);
                vec![Fault {
                    lasts,
                    ..fault(3, kind, 1)
                }]
            }
            Trouble::Silence => {
                let lasts = match draw(seed, 7, 3) {
                    0 => 200 + draw(seed, 8, 1_200),
                    1 => 2_500 + draw(seed, 8, 5_000),
                    _ => 11_000 + draw(seed, 8, 10_000),
                };
                vec![Fault {
                    lasts: Duration::from_millis(lasts),
                    ..fault(3, Kind::Silence(name(first)), 1)
                }]
            }
            Trouble::Coordinator => [3, 6]
                .map(|question| fault(question, Kind::Crash(COORDINATOR), 5_000))
                .into(),
            Trouble::Both => vec![fault(3, Kind::PowerLoss(name(first)), 2_000), partition()],
        }
    }

    fn strike(&mut self, sim: &mut turmoil::Sim<'_>, results: u32) {
        let now = sim.elapsed();
        match self.ends {
            None if results >= self.results => {
                self.ends = Some(now + self.lasts);
                for (one, other) in self.kind.silent() {
                    sim.partition(one, other);
                }
                for (one, other) in self.kind.held() {
                    sim.hold(one, other);
                }
                if let Kind::OneWay(from, to) = self.kind {
                    sim.partition_oneway(from, to);
                }
                if let Some(host) = self.kind.dead() {
                    sim.crash(host);
                }
            }
            Some(ends) if now >= ends && !self.over => {
                self.over = true;
                for (one, other) in self.kind.silent() {
                    sim.repair(one, other);
                }
                for (one, other) in self.kind.held() {
                    sim.release(one, other);
                }
                if let Some(host) = self.kind.dead() {
                    sim.bounce(host);
                }
            }
            _ => {}
        }
    }
}

fn simulate(trouble: Trouble, seed: u64) -> Seen {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    let url = format!("memory://simulation-{}", WORLDS.fetch_add(1, Relaxed));
    let watch = Watch::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_mins(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(15))
        .build();
    let clock = |host| (trouble == Trouble::Skew).then(|| Clock::planned(host, seed));
    for name in WORKERS {
        let watch = watch.clone();
        let clock = clock(name);
        let lies = match trouble {
            Trouble::Liar => Some(Lie::Turned),
            Trouble::Panics => Some(Lie::Torn),
            _ => None,
        };
        let lies = lies.filter(|_| name == LIAR);
        sim.host(name, move || serve(watch.clone(), lies, clock));
    }
    let every = if trouble == Trouble::Both { 3 } else { 1 };
    if trouble == Trouble::Coordinator {
        let (of_host, of_client) = (watch.clone(), watch.clone());
        sim.host(COORDINATOR, move || {
            coordinate(url.clone(), every, trouble, None, of_host.clone())
        });
        sim.client("user", async move {
            while of_client.seen().outcome.is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        });
    } else {
        let coordinated = coordinate(url, every, trouble, clock(COORDINATOR), watch.clone());
        sim.client(COORDINATOR, coordinated);
    }
    if trouble == Trouble::Slow {
        sim.set_link_latency(WORKERS[draw(seed, 1, 3) as usize], COORDINATOR, LATE);
    }
    let mut faults = Fault::planned(trouble, seed);
    loop {
        let over = sim.step();
        match over {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                let seen = watch.seen();
                // Heartbeats go on whatever else does not.
                let told = seen
                    .trace
                    .lines()
                    .filter(|line| !line.contains(": Alive {"));
                let told: Vec<&str> = told.collect();
                let tail = told[told.len().saturating_sub(40)..].join("\n");
                panic!("{trouble:?} with seed {seed} does not finish: {error}\n{tail}");
            }
        }
        let results = watch.seen().done;
        for fault in &mut faults {
            fault.strike(&mut sim, results);
        }
        let mut seen = watch.seen();
        while seen.epochs.len() < seen.epochs_told {
            seen.epochs.push(sim.elapsed());
        }
        let silence = faults
            .iter()
            .find(|fault| matches!(fault.kind, Kind::Silence(_)));
        seen.silent =
            silence.and_then(|fault| Some((fault.ends?.saturating_sub(fault.lasts), fault.lasts)));
    }
    drop(sim);
    std::mem::take(&mut *watch.seen())
}

/// What a run comes to.
fn digest(sums: &[f64], delivered: &[(ObjectKey, Vec<u8>)]) -> Digest {
    let mut hash = blake3::Hasher::new();
    for sum in sums {
        hash.update(&sum.to_le_bytes());
    }
    for (key, bytes) in delivered {
        hash.update(key.to_string().as_bytes()).update(bytes);
    }
    Digest(*hash.finalize().as_bytes())
}

/// The same program without plan, wire and shells.
fn oracle() -> Digest {
    let data = tempfile::tempdir().expect("a temporary directory");
    let cache = Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread).expect("a cache");
    let mut world = World::new(exec::Room {
        budget_bytes: MEMORY,
        pool: exec::pool(1).expect("a thread"),
        simd: Simd::detect(),
        cache: Arc::new(cache),
        desks: Arc::default(),
        buffers: Arc::default(),
    });
    let mut program = Stir::new(EPOCHS);
    world
        .run(&mut program, &exec::begin)
        .expect("it runs inline");
    digest(&program.sums, &world.delivered)
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("STRATA_SIMULATION_FIRST").unwrap_or(0);
    first..first + number("STRATA_SIMULATION_SEEDS").unwrap_or(SEEDS)
}

/// Runs all seeds, checks digest and laws of each; replays, roll-backs and resumes over all.
fn all_seeds(trouble: Trouble) -> (u64, u64, usize) {
    let oracle = oracle();
    let (mut replays, mut rollbacks, mut resumes) = (0, 0, 0);
    for seed in seeds() {
        let seen = simulate(trouble, seed);
        let at = format!("{trouble:?} with seed {seed}");
        assert_eq!(seen.breaches, [], "{at}");
        chain(&seen.manifests).unwrap_or_else(|breach| panic!("{at}: {breach}"));
        let (manifests, contents) = (seen.manifests.len(), seen.contents.len());
        assert!(
            manifests > 2 && contents > 25,
            "{at}: {manifests} {contents}"
        );
        assert_eq!(digest(&seen.sums, &seen.delivered), oracle, "{at}");
        let newest = seen.manifests.last();
        let terms = newest.map_or(0, |(manifest, _)| manifest.term);
        assert_eq!(terms > 1, trouble == Trouble::Coordinator, "{at}: {terms}");
        resumes += seen.resumed.len();
        let outcome = seen.outcome.expect("it has ended well");
        replays += outcome.tasks_replayed;
        rollbacks += outcome.rollbacks;
    }
    println!("{trouble:?}: {replays} replays, {rollbacks} roll-backs, {resumes} resumes");
    (replays, rollbacks, resumes)
}

#[test]
fn undisturbed() {
    assert_eq!(all_seeds(Trouble::None), (0, 0, 0));
}

#[test]
fn a_worker_crashes_and_comes_back() {
    let (replays, ..) = all_seeds(Trouble::Crash);
    assert!(replays > 0, "crashes lose results");
}

#[test]
fn a_coordinator_dies_and_the_next_goes_on_from_its_checkpoint() {
    let (_, _, resumes) = all_seeds(Trouble::Coordinator);
    assert!(resumes > 0, "some die after their first checkpoint");
}

#[test]
fn a_partition_heals() {
    all_seeds(Trouble::Partition);
}

#[test]
fn two_workers_that_never_hear_each_other_again_exchange_through_the_coordinator() {
    let (_, rollbacks, _) = all_seeds(Trouble::Wall);
    assert_eq!(rollbacks, 0, "nothing is lost");
}

/// Who is silent for longer than it takes to suspect it holds the others up for that long, and for what has to be done again.
#[test]
fn a_worker_is_silent_for_a_while() {
    all_seeds(Trouble::Silence);
    let alone = simulate(Trouble::None, 1);
    let whole = alone.epochs.last().copied().unwrap_or_default();
    let (mut suspicions, mut slowest) = (0, Duration::ZERO);
    for seed in seeds() {
        let seen = simulate(Trouble::Silence, seed);
        let (began, lasts) = seen.silent.expect("it was silent");
        let next = seen.epochs.iter().find(|ended| **ended > began);
        let waited = next.map_or(Duration::ZERO, |ended| ended.saturating_sub(began));
        suspicions += seen.suspicions;
        assert!(
            waited <= DETECTION + whole,
            "seed {seed}: silent for {lasts:?}, the next epoch ended after {waited:?}, a whole run takes {whole:?}"
        );
        if lasts < Duration::from_millis(1_300) {
            assert_eq!(seen.suspicions, 0, "seed {seed}: silent for {lasts:?}");
        }
        slowest = slowest.max(waited);
    }
    println!(
        "{suspicions} suspicions; an epoch ended {slowest:?} after silence at the latest; a whole run takes {whole:?}"
    );
    assert!(suspicions > 0, "some are silent for long");
}

/// Tasks of the slow one are given to others as well, though nobody is suspected: the first result counts.
#[test]
fn a_slow_worker_holds_nobody_up() {
    all_seeds(Trouble::Slow);
    let mut doubled = 0;
    for seed in seeds() {
        let seen = simulate(Trouble::Slow, seed);
        assert_eq!(seen.suspicions, 0, "seed {seed}");
        doubled += seen.outcome.map_or(0, |outcome| outcome.tasks_doubled);
    }
    println!("{doubled} tasks were given to a second worker");
    assert!(doubled > 0, "some tasks take long");
}

/// What one of three makes of what it pulls goes into nothing.
#[test]
fn a_liar_is_shut_out() {
    all_seeds(Trouble::Liar);
    let mut found = 0;
    for seed in seeds() {
        let shut_out = simulate(Trouble::Liar, seed).shut_out;
        assert!(
            shut_out.iter().all(|address| address.starts_with(LIAR)),
            "{shut_out:?}"
        );
        found += shut_out.len();
    }
    println!("{found} times the liar was found out");
    assert!(found > 0);
}

/// What one of three panics at, the others do; that they came to the same shuts it out.
#[test]
fn a_worker_that_panics_holds_nobody_up() {
    all_seeds(Trouble::Panics);
    let (mut panics, mut found) = (0, 0);
    for seed in seeds() {
        let seen = simulate(Trouble::Panics, seed);
        panics += seen.trace.matches("failure: Panicked").count();
        let shut_out = seen.shut_out;
        assert!(
            shut_out.iter().all(|address| address.starts_with(LIAR)),
            "{shut_out:?}"
        );
        found += shut_out.len();
    }
    println!("{panics} panics were told, and who panicked was shut out {found} times");
    assert!(panics > 0 && found > 0);
}

/// No clock that is fast or leaps makes others look silent, the coordinator's included, which then gives all of them time anew.
#[test]
fn clocks_differ_and_leap() {
    all_seeds(Trouble::Skew);
    let (mut leaps, mut apart) = (BTreeMap::new(), Duration::ZERO);
    for seed in seeds() {
        let seen = simulate(Trouble::Skew, seed);
        assert_eq!(seen.suspicions, 0, "seed {seed}, leapt {:?}", seen.leapt);
        let ahead = |host: &str| seen.ahead.get(host).copied().unwrap_or_default();
        let of_workers = WORKERS
            .iter()
            .map(|worker| ahead(COORDINATOR).abs_diff(ahead(worker)));
        apart = of_workers.fold(apart, Duration::max);
        *leaps.entry(seen.leapt).or_insert(0) += 1;
    }
    println!("leaps {leaps:?}, at most {apart:?} apart");
    assert!(apart > Duration::from_secs(10), "{apart:?}");
    assert!(
        leaps.contains_key(&Some(COORDINATOR)) && leaps.len() > 2,
        "{leaps:?}"
    );
}

#[test]
fn a_crash_and_a_partition_with_rare_checkpoints() {
    let (replays, rollbacks, _) = all_seeds(Trouble::Both);
    assert!(
        replays > 0 && rollbacks > 0,
        "{replays} replays, {rollbacks} roll-backs"
    );
}

/// [`Trouble::Crash`] is left out: in which order tokio drops the tasks of a process, and with them its
/// connections, hangs on task numbers, which count over all tests of this process. In silence nobody sees it.
#[test]
fn a_seed_has_one_course() {
    for trouble in [
        Trouble::None,
        Trouble::Partition,
        Trouble::Skew,
        Trouble::Both,
    ] {
        for seed in [3, 5] {
            let (first, second) = (simulate(trouble, seed), simulate(trouble, seed));
            let (a, b) = (first.trace.lines(), second.trace.lines());
            let differs = a.zip(b).find(|(a, b)| a != b);
            assert_eq!(differs, None, "{trouble:?} with seed {seed}");
            assert!(first.trace == second.trace && first.trace.lines().count() > 100);
        }
    }
    assert!(
        simulate(Trouble::None, 3).trace != simulate(Trouble::None, 4).trace,
        "another seed is another course"
    );
}
