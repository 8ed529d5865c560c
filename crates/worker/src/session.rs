//! A worker and its one session: a job from its opening to its end.

use crate::condition::Condition;
use crate::counters::Counters;
use crate::fetch::{Flights, serve};
use crate::grpc::Visits;
use crate::holding::Holding;
use crate::memory::Split;
use crate::queue::Queue;
use crate::relay::Detours;
use crate::seams::{Beating, Dialer, Executor, Lane, OpenWay, PeerWay, PullError, through};
use crate::storage::{READ_BYTES_MAX, Served, Storage, open_depots};
use crate::{inputs, resident};
use bytes::Bytes;
use exec::{Held, Simd, SpareDesks};
use futures::future::join_all;
use plan::{Assignment, Failure, Profile, Refusal};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Cache;
use tensor::{Digest, WorkerId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use wire::{
    BUILD, FromWorker, Open, Peer, Pull, PullPart, StorageReply, StorageRequest, TableRead,
    ToWorker, Token,
};

/// Messages that may wait in a link. Control messages are small.
const LINK_MESSAGES: usize = 1024;
/// Storage messages that may wait; each may be a chunk of 1 MiB.
const STORAGE_MESSAGES: usize = 8;
/// How long a coordinator may take to say `Open` after it connected.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The coordinator's end of a session.
#[derive(Debug)]
pub struct Link {
    /// To the worker. Dropping it ends the session.
    pub to_worker: mpsc::Sender<ToWorker>,
    /// From the worker; ends with the session.
    pub from_worker: mpsc::Receiver<FromWorker>,
}

/// The coordinator's end of a session's storage stream.
#[derive(Debug)]
pub struct StorageLink {
    /// Answers; the first must be [`StorageReply::Attach`].
    pub replies: mpsc::Sender<StorageReply>,
    /// What the worker asks.
    pub requests: mpsc::Receiver<StorageRequest>,
}

/// Objects that are made durable at once.
const STORING_LANES: u32 = 2;
/// Of the memory of a task, so much is kept in buffers for inputs that are read next.
const SPARE_OF_TASK: u64 = 8;
/// How long a session that is over waits for its lanes. One that waits itself ends at once; one that computes is left
/// to it, since nobody wants the result.
const LANES_PATIENCE: Duration = Duration::from_millis(100);

/// How a worker is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads of the compute pool, as told to the coordinator.
    pub threads: u32,
    /// `--memory`.
    pub memory_bytes: u64,
    /// Tasks in progress at once, where the memory allows. Two let one fetch while another computes.
    pub lanes: u32,
    /// The instructions that kernels use; they change no bit.
    pub simd: Simd,
}

/// A worker: serves one job at a time, and outlives jobs. Cheap to clone.
#[derive(Clone)]
pub struct Worker(Arc<Shared>);

struct Shared {
    settings: Settings,
    split: Split,
    cache: Arc<Cache>,
    executor: Arc<dyn Executor>,
    dialer: Arc<dyn Dialer>,
    /// Whether a coordinator is connected.
    taken: AtomicBool,
    session: Mutex<Option<Arc<Session>>>,
    draining: watch::Sender<bool>,
    /// Told whenever a session ends.
    ended: Notify,
    /// Counts of the sessions that are over.
    past: Mutex<Condition>,
    /// What its listener has seen.
    visits: Arc<Visits>,
}

/// What belongs to one job. Dropped with it, and its memory with it.
pub(crate) struct Session {
    pub(crate) run: Digest,
    pub(crate) term: u64,
    pub(crate) token: Token,
    pub(crate) me: WorkerId,
    pub(crate) opened: Instant,
    pub(crate) memory_bytes: u64,
    pub(crate) room_bytes: u64,
    pub(crate) lanes: u32,
    pub(crate) simd: Simd,
    pub(crate) queue: Queue,
    pub(crate) desks: Arc<SpareDesks>,
    pub(crate) holding: Arc<Holding>,
    pub(crate) flights: Flights,
    pub(crate) detours: Detours,
    pub(crate) storage: Storage,
    pub(crate) counters: Arc<Counters>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) dialer: Arc<dyn Dialer>,
    links: Mutex<Links>,
    served: watch::Sender<Option<Arc<Served>>>,
    out: mpsc::Sender<FromWorker>,
    busy_lanes: AtomicUsize,
}

/// The open ways to peers, each with the peer as it was when dialled.
type Links = BTreeMap<WorkerId, (Peer, OpenWay)>;

/// A task in progress, counted until dropped.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(crate) fn running(&self) -> Running<'_> {
        self.busy_lanes.fetch_add(1, SeqCst);
        Running(&self.busy_lanes)
    }

    /// The coordinator may be gone; its session is then about to end anyway.
    pub(crate) async fn say(&self, message: FromWorker) {
        let _ = self.out.send(message).await;
    }

    pub(crate) fn way(&self, peer: WorkerId) -> Option<PeerWay> {
        lock(&self.links).get(&peer).map(|(_, way)| way.way())
    }

    /// The peers that can be asked now; what is being pulled of others ends.
    fn meet(&self, peers: Vec<Peer>) {
        let mut links = lock(&self.links);
        let mut known = std::mem::take(&mut *links);
        for peer in peers.into_iter().filter(|peer| peer.worker != self.me) {
            let old = known.remove(&peer.worker).filter(|(old, _)| *old == peer);
            let way = old.map_or_else(|| OpenWay::new(self.dialer.peer(&peer)), |(_, way)| way);
            links.insert(peer.worker, (peer, way));
        }
    }

    /// Says that this worker lives until what it returns is dropped. A full link has enough to say already.
    fn heartbeats(&self, every: Duration) -> Result<Beating, Failure> {
        let (counters, out) = (Arc::clone(&self.counters), self.out.clone());
        let beat = move || {
            let anonymous_bytes = counters.sample_memory();
            let _ = out.try_send(FromWorker::Alive { anonymous_bytes });
        };
        self.executor.beat(every, Box::new(beat))
    }

    /// Adds what it did to what was done before.
    fn count_into(&self, sum: &mut Condition) {
        let totals = self.counters.totals();
        sum.sessions += 1;
        sum.tasks += totals.tasks;
        sum.tasks_failed += self.counters.failed();
        sum.storage_bytes += totals.storage_bytes;
        for peer in totals.traffic {
            sum.sent_bytes += peer.sent_bytes;
            sum.received_bytes += peer.received_bytes;
        }
    }

    async fn give_back(&self, assignments: Vec<Assignment>) {
        for waiting in assignments {
            self.say(FromWorker::Returned {
                task: waiting.task.id,
                attempt: waiting.attempt,
            })
            .await;
        }
    }
}

impl Worker {
    /// A free worker.
    pub fn new(
        settings: Settings,
        cache: Arc<Cache>,
        executor: Arc<dyn Executor>,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        Worker(Arc::new(Shared {
            settings,
            split: Split::of(settings.memory_bytes, dialer.here()),
            cache,
            executor,
            dialer,
            taken: AtomicBool::new(false),
            session: Mutex::new(None),
            draining: watch::Sender::new(false),
            ended: Notify::new(),
            past: Mutex::default(),
            visits: Arc::default(),
        }))
    }

    /// A coordinator connects. What it finds is said on the link: `Hello`, or `Busy` and the end.
    pub fn connect(&self) -> Link {
        let (to_worker, inbox) = mpsc::channel(LINK_MESSAGES);
        let (out, from_worker) = mpsc::channel(LINK_MESSAGES);
        let worker = self.clone();
        tokio::spawn(async move { worker.serve(inbox, out).await });
        Link {
            to_worker,
            from_worker,
        }
    }

    /// A storage stream opens; it is tied to the session that its first message names.
    pub fn connect_storage(&self) -> StorageLink {
        let (replies, mut inbox) = mpsc::channel(STORAGE_MESSAGES);
        let (out, requests) = mpsc::channel(STORAGE_MESSAGES);
        let worker = self.clone();
        tokio::spawn(async move {
            let Some(StorageReply::Attach { run, term, token }) = inbox.recv().await else {
                return;
            };
            let Some(session) = worker.session(run, term, token) else {
                return;
            };
            let served = Arc::new(Served::new(out));
            session.served.send_replace(Some(Arc::clone(&served)));
            drop(session);
            while let Some(reply) = inbox.recv().await {
                served.deliver(reply);
            }
            served.ended();
            if let Some(session) = worker.session(run, term, token) {
                session.served.send_if_modified(|now| {
                    let mine = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &served));
                    if mine {
                        *now = None;
                    }
                    mine
                });
            }
        });
        StorageLink { replies, requests }
    }

    fn session(&self, run: Digest, term: u64, token: Token) -> Option<Arc<Session>> {
        lock(&self.0.session)
            .clone()
            .filter(|session| session.run == run && session.term == term && session.token == token)
    }

    /// What a peer asked for, packed where it asked for rows.
    ///
    /// # Errors
    /// Where it is not held, or not readable.
    pub async fn pulled(&self, pull: &Pull) -> Result<Held, PullError> {
        let session = self
            .session(pull.run, pull.term, pull.token)
            .ok_or(PullError::Missing)?;
        if pull.part == PullPart::Whole {
            return serve(&session.holding, pull);
        }
        let pull = pull.clone();
        let packing = move || serve(&session.holding, &pull);
        let packed = through(|job| self.0.executor.file(job), packing).await;
        packed.unwrap_or_else(|| Err(PullError::Unreachable("it is ending".into())))
    }

    /// A part of a table in the memory of this process, and the length of all of it.
    ///
    /// # Errors
    /// Where it is not here (any more), or more is asked for than is given at once.
    pub async fn table(&self, read: TableRead) -> Result<(u64, Bytes), PullError> {
        let table = resident::find(&read.url).ok_or(PullError::Missing)?;
        if read.last {
            resident::let_go(&read.url);
        }
        let bytes = table.len();
        if read.range.end > bytes || read.range.end - read.range.start > READ_BYTES_MAX {
            return Err(PullError::Corrupt);
        }
        let reading = move || inputs::part(&*table, read.range, &Arc::default());
        let part = through(|job| self.0.executor.file(job), reading).await;
        let part = part.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()));
        let part = part.map_err(|error| {
            tracing::warn!(%error, "a table in memory cannot be read");
            PullError::Corrupt
        })?;
        Ok((bytes, part))
    }

    /// Bytes that went to a peer.
    pub fn count_sent(&self, pull: &Pull, bytes: u64) {
        if let Some(session) = self.session(pull.run, pull.term, pull.token) {
            session.counters.sent(pull.puller, bytes);
        }
    }

    /// Objects held now, made and copied: none between jobs.
    pub fn holds(&self) -> (usize, usize) {
        lock(&self.0.session)
            .as_ref()
            .map_or((0, 0), |session| session.holding.counts())
    }

    /// Where the listener of this worker counts who comes.
    pub fn visits(&self) -> Arc<Visits> {
        Arc::clone(&self.0.visits)
    }

    /// How it is, and what it has done since the process began.
    pub fn condition(&self) -> Condition {
        let open = lock(&self.0.session);
        let (session, past) = (open.clone(), lock(&self.0.past).clone());
        drop(open);
        let mut condition = Condition {
            draining: *self.0.draining.borrow(),
            threads: self.0.settings.threads,
            memory_budget_bytes: self.0.settings.memory_bytes,
            anonymous_bytes: store::heap::anonymous_bytes(),
            connections_open: self.0.visits.open.load(Relaxed),
            connections: self.0.visits.admitted.load(Relaxed),
            connections_refused: self.0.visits.refused.load(Relaxed),
            connections_put_off: self.0.visits.put_off.load(Relaxed),
            ..past
        };
        if let Some(session) = session {
            let (made, copies) = session.holding.counts();
            condition.run = Some(session.run.short());
            condition.term = Some(session.term);
            condition.worker = Some(session.me.0);
            condition.running = session.busy_lanes.load(SeqCst) as u64;
            (condition.made, condition.copies) = (made as u64, copies as u64);
            session.count_into(&mut condition);
        }
        condition
    }

    /// The session is over, and its counts are among those before. Under both locks: nobody sees them twice, or not at all.
    fn count_past(&self) {
        let mut open = lock(&self.0.session);
        if let Some(over) = open.take() {
            over.count_into(&mut lock(&self.0.past));
        }
    }

    /// The worker is to leave: no new job, no new task; what it holds stays readable.
    pub fn drain(&self) {
        self.0.draining.send_replace(true);
    }

    /// Until no job is open, or the grace has passed.
    pub async fn drained(&self, grace: Duration) {
        let free = async {
            loop {
                let ended = self.0.ended.notified();
                if !self.0.taken.load(SeqCst) {
                    return;
                }
                ended.await;
            }
        };
        let _ = timeout(grace, free).await;
    }

    async fn serve(self, mut inbox: mpsc::Receiver<ToWorker>, out: mpsc::Sender<FromWorker>) {
        if *self.0.draining.borrow() {
            let _ = out
                .send(FromWorker::Busy(
                    "this worker is leaving: use another".into(),
                ))
                .await;
            return;
        }
        if self.0.taken.swap(true, SeqCst) {
            let run = lock(&self.0.session).as_ref().map(|session| session.run);
            let sentence = run.map_or_else(
                || "this worker serves another coordinator: wait until that is done, or use another worker".to_owned(),
                |run| wire::serves(&run),
            );
            let _ = out.send(FromWorker::Busy(sentence)).await;
            return;
        }
        let free = Free(&self);
        let profile = Profile {
            threads: self.0.settings.threads,
            memory_bytes: self.0.settings.memory_bytes,
        };
        let _ = out
            .send(FromWorker::Hello {
                build: BUILD.to_owned(),
                profile,
            })
            .await;
        if let Ok(Some(ToWorker::Open(open))) = timeout(OPEN_TIMEOUT, inbox.recv()).await {
            if open.build == BUILD {
                self.run_session(open, &mut inbox, &out, free).await;
            } else {
                let sentence = format!(
                    "the coordinator is build {} of the engine, the worker {BUILD}: run the same build everywhere",
                    open.build
                );
                let refusal = Failure::Refused {
                    refusal: Refusal::Config,
                    sentence,
                };
                let _ = out.send(FromWorker::Refused(refusal)).await;
            }
        }
    }

    fn begin(&self, open: &Open, out: mpsc::Sender<FromWorker>) -> Result<Arc<Session>, Failure> {
        let direct = open_depots(&open.depots)?;
        let shared = &self.0;
        let counters = Arc::new(Counters::default());
        let served = watch::Sender::new(None);
        Ok(Arc::new(Session {
            run: open.run,
            term: open.term,
            token: open.token,
            me: open.worker,
            opened: Instant::now(),
            simd: shared.settings.simd,
            memory_bytes: shared.settings.memory_bytes,
            room_bytes: shared.split.task_bytes(shared.settings.lanes),
            lanes: shared.settings.lanes,
            queue: Queue::default(),
            desks: Arc::default(),
            holding: Arc::new(Holding::new(&shared.split, Arc::clone(&shared.cache))),
            flights: Flights::default(),
            detours: Detours::default(),
            storage: Storage {
                served: served.subscribe(),
                direct,
                inputs: open.inputs.clone(),
                ways: inputs::Inputs::new(
                    Arc::clone(&shared.executor),
                    Arc::clone(&shared.dialer),
                    shared.split.task_bytes(shared.settings.lanes) / SPARE_OF_TASK,
                ),
                cache: Arc::clone(&shared.cache),
                executor: Arc::clone(&shared.executor),
                counters: Arc::clone(&counters),
            },
            counters,
            executor: Arc::clone(&shared.executor),
            dialer: Arc::clone(&shared.dialer),
            links: Mutex::default(),
            served,
            out,
            busy_lanes: AtomicUsize::new(0),
        }))
    }

    async fn run_session(
        &self,
        open: Open,
        inbox: &mut mpsc::Receiver<ToWorker>,
        out: &mpsc::Sender<FromWorker>,
        free: Free<'_>,
    ) {
        let session = match self.begin(&open, out.clone()) {
            Ok(session) => session,
            Err(failure) => {
                let _ = out.send(FromWorker::Refused(failure)).await;
                return;
            }
        };
        session.meet(open.peers);
        *lock(&self.0.session) = Some(Arc::clone(&session));
        session.say(FromWorker::Opened).await;
        let every = Duration::from_millis(open.heartbeat_ms.max(10).into());
        let heart = match session.heartbeats(every) {
            Ok(heart) => heart,
            Err(failure) => {
                *lock(&self.0.session) = None;
                return session.say(FromWorker::Refused(failure)).await;
            }
        };
        let lanes = (0..self.0.split.lanes(self.0.settings.lanes)).map(|lane| {
            let lane = Arc::clone(&session).lane(lane);
            self.0.executor.lane(Box::pin(lane))
        });
        let lanes: Vec<Lane> = lanes.collect();
        let mut storing = JoinSet::new();
        for lane in 0..STORING_LANES {
            let lane = self.0.settings.lanes + lane;
            storing.spawn(Arc::clone(&session).storing_lane(lane));
        }
        let closed = self.converse(&session, inbox).await;
        drop(heart);
        storing.shutdown().await;
        let ended = join_all(lanes.into_iter().map(Lane::ended));
        let _ = timeout(LANES_PATIENCE, ended).await;
        session.holding.clear();
        let totals = session.counters.totals();
        self.count_past();
        drop(session);
        // What a job's last kernels still hold comes back with the end of the next session, if it is small.
        through(|job| self.0.executor.file(job), store::heap::give_back).await;
        drop(free);
        if closed {
            let _ = out.send(FromWorker::Closed(totals)).await;
        }
    }

    /// Does what the coordinator says until it closes (true) or is gone.
    async fn converse(&self, session: &Arc<Session>, inbox: &mut mpsc::Receiver<ToWorker>) -> bool {
        let mut draining = self.0.draining.subscribe();
        let mut leaving = false;
        loop {
            let message = tokio::select! {
                biased;
                message = inbox.recv() => message,
                () = told_to_leave(&mut draining), if !leaving => {
                    leaving = true;
                    session.give_back(session.queue.take_all()).await;
                    session.say(FromWorker::Draining).await;
                    continue;
                }
            };
            match message {
                None => return false,
                Some(ToWorker::Close) => return true,
                Some(ToWorker::Open(_)) => {
                    tracing::warn!("a second Open in one session is ignored");
                }
                Some(ToWorker::Peers(peers)) => session.meet(peers),
                // Not by way of the queue, where a lane might be quicker.
                Some(ToWorker::Assign(assignments)) if leaving => {
                    session.give_back(assignments).await;
                }
                Some(ToWorker::Assign(assignments)) => session.queue.push(assignments),
                Some(ToWorker::Revoke { task, attempt }) => {
                    if session.queue.revoke(task, attempt) {
                        session.say(FromWorker::Returned { task, attempt }).await;
                    }
                }
                Some(ToWorker::Drop(keys)) => session.holding.drop_keys(&keys),
            }
        }
    }
}

async fn told_to_leave(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the worker.
    let _ = draining.wait_for(|on| *on).await;
}

/// Makes the worker free again when its session is over, however that came.
struct Free<'a>(&'a Worker);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.0.taken.store(false, SeqCst);
        self.0.0.ended.notify_waiters();
    }
}
