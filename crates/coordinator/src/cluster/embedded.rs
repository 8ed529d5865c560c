//! Workers in this process: the same shell, the same messages, in memory.

use super::Session;
use super::registry::Registry;
use super::serve;
use exec::Held;
use plan::Failure;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Cache;
use tensor::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use wire::{FromWorker, Open, Pull, StorageReply, ToWorker};
use worker::{Dialer, Executor, LocalPeers, Settings, Threads, Worker};

/// Tasks in progress at once in each worker: one fetches while another computes.
const LANES: u32 = 2;

/// What embedded workers are made of.
#[derive(Clone)]
pub struct Embedding {
    /// How many.
    pub workers: u32,
    /// Compute threads of each.
    pub threads: u32,
    /// Memory of each.
    pub memory_bytes: u64,
    /// Sealed files, shared by all of them.
    pub cache: Arc<Cache>,
    /// Where jobs run: threads of their own, or in place in a simulation.
    pub executor: fn(threads: u32, lanes: u32) -> Result<Arc<dyn Executor>, Failure>,
}

impl Embedding {
    /// With threads of their own.
    pub fn threads(workers: u32, threads: u32, memory_bytes: u64, cache: Arc<Cache>) -> Self {
        let executor = |threads: u32, lanes: u32| -> Result<Arc<dyn Executor>, Failure> {
            Ok(Arc::new(Threads::start(threads as usize, lanes as usize)?))
        };
        Embedding {
            workers,
            threads,
            memory_bytes,
            cache,
            executor,
        }
    }
}

/// The workers of a session.
pub struct Crew {
    workers: BTreeMap<WorkerId, Worker>,
    term: u64,
}

impl Crew {
    /// Starts the workers and their sessions.
    pub fn start(
        embedding: &Embedding,
        session: &Session,
        registry: &Registry,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Failure> {
        let peers = LocalPeers::default();
        let mut workers = BTreeMap::new();
        for _ in 0..embedding.workers.max(1) {
            let settings = Settings {
                threads: embedding.threads,
                memory_bytes: embedding.memory_bytes,
                lanes: LANES,
            };
            let executor = (embedding.executor)(embedding.threads, LANES)?;
            let dialer: Arc<dyn Dialer> = Arc::new(peers.clone());
            let worker = Worker::new(settings, Arc::clone(&embedding.cache), executor, dialer);
            let id = registry.number();
            peers.join(id, worker.clone());
            workers.insert(id, worker.clone());
            tasks.spawn(keep(id, worker, session.clone(), registry.clone()));
        }
        Ok(Crew {
            workers,
            term: session.term,
        })
    }

    /// Pulls an object from one of them.
    pub async fn pull(&self, worker: WorkerId, mut pull: Pull) -> Result<Held, String> {
        pull.term = self.term;
        let worker = self
            .workers
            .get(&worker)
            .ok_or_else(|| format!("{worker} is gone"))?;
        worker
            .pulled(&pull)
            .await
            .map_err(|error| error.to_string())
    }
}

/// Carries the messages of one worker.
async fn keep(id: WorkerId, worker: Worker, session: Session, registry: Registry) {
    let mut link = worker.connect();
    let Some(FromWorker::Hello { profile, .. }) = link.from_worker.recv().await else {
        return registry.trouble(&format!("embedded worker {id}"), "did not start".to_owned());
    };
    let open = Open {
        term: session.term,
        run: session.run,
        worker: id,
        engine: wire::ENGINE.to_owned(),
        inputs: session.places.inputs_embedded(),
        depots: session.places.depots_embedded(),
        peers: registry.peers(),
        io: session.io,
        simd: session.simd,
        heartbeat_ms: wire::settings::HEARTBEAT.as_millis() as u32,
    };
    if link.to_worker.send(ToWorker::Open(open)).await.is_err() {
        return;
    }
    match link.from_worker.recv().await {
        Some(FromWorker::Opened) => {}
        Some(FromWorker::Refused(failure)) => {
            return registry.trouble(&format!("embedded worker {id}"), failure.to_string());
        }
        _ => {
            return registry.trouble(
                &format!("embedded worker {id}"),
                "did not open the session".to_owned(),
            );
        }
    }
    let storage = tokio::spawn(storage(worker, session));
    let (outbox, mut inbox) = mpsc::unbounded_channel();
    registry.join(id, String::new(), profile, outbox);
    loop {
        tokio::select! {
            biased;
            message = link.from_worker.recv() => match message {
                Some(message) => registry.said(id, message),
                None => break,
            },
            message = inbox.recv() => match message {
                Some(message) => { let _ = link.to_worker.send(message).await; }
                None => break,
            },
        }
    }
    storage.abort();
    registry.lost(id, "it ended".to_owned());
}

async fn storage(worker: Worker, session: Session) {
    let link = worker.connect_storage();
    let attach = StorageReply::Attach {
        run: session.run,
        term: session.term,
    };
    if link.replies.send(attach).await.is_ok() {
        serve::answer(
            ReceiverStream::new(link.requests),
            link.replies,
            session.places,
        )
        .await;
    }
}
