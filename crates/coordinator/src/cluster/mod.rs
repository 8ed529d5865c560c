//! The workers of one program's session: daemons that were dialled, or workers embedded in this process,
//! behind one interface.
//!
//! **Invariant:** nothing here decides anything about tasks; it opens sessions, carries messages, serves
//! files that only this process sees, and says who came and who went.

mod daemon;
mod dial;
mod embedded;
mod registry;
mod serve;

pub use dial::{Dial, Tcp};
pub use embedded::Embedding;
pub use serve::{LocalFile, Places, Source, Store};

use plan::Profile;
use registry::Registry;
use std::sync::Arc;
use tensor::{Digest, ObjectKey, WorkerId};
use tokio::sync::mpsc;
use wire::{FromWorker, ToWorker, Totals};

/// What happens among the workers.
#[derive(Debug)]
pub enum ClusterEvent {
    /// A worker opened the session and is idle.
    Joined(WorkerId, Profile),
    /// A worker said something.
    Said(WorkerId, FromWorker),
    /// A worker is gone, with all that it held in memory, and why.
    Lost(WorkerId, String),
}

/// Who is to compute.
pub enum Members {
    /// So many workers in this process.
    Embedded(Embedding),
    /// Daemons at these addresses, `HOST:PORT`; those that are lost are dialled again.
    Daemons(Vec<String>, Arc<dyn Dial>),
}

/// What the session is about.
#[derive(Clone)]
pub struct Session {
    /// The leadership number.
    pub term: u64,
    /// The run key.
    pub run: Digest,
    /// Where inputs and depots are.
    pub places: Arc<Places>,
    /// `None`: as the workers were started.
    pub io: Option<wire::message::Io>,
    /// `None`: as the workers were started.
    pub simd: Option<wire::Simd>,
}

/// One session with all workers.
pub struct Cluster {
    registry: Registry,
    events: mpsc::UnboundedReceiver<ClusterEvent>,
    session: Session,
    embedded: Option<embedded::Crew>,
    dial: Option<Arc<dyn Dial>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Cluster {
    /// Opens a session; workers join one by one as [`ClusterEvent::Joined`] tells.
    ///
    /// # Errors
    /// Where an embedded worker cannot be started.
    pub fn open(members: Members, session: Session) -> Result<Self, plan::Failure> {
        let (tell, events) = mpsc::unbounded_channel();
        let registry = Registry::new(tell);
        let mut tasks = tokio::task::JoinSet::new();
        let (mut crew, mut dialler) = (None, None);
        match members {
            Members::Embedded(embedding) => {
                crew = Some(embedded::Crew::start(
                    &embedding, &session, &registry, &mut tasks,
                )?);
            }
            Members::Daemons(addresses, dial) => {
                for address in addresses {
                    tasks.spawn(daemon::keep(
                        address,
                        Arc::clone(&dial),
                        session.clone(),
                        registry.clone(),
                    ));
                }
                dialler = Some(dial);
            }
        }
        Ok(Cluster {
            registry,
            events,
            session,
            embedded: crew,
            dial: dialler,
            tasks,
        })
    }

    /// Sends a message; to a worker that is gone it is ignored. Never waits.
    pub fn send(&mut self, worker: WorkerId, message: ToWorker) {
        self.registry.send(worker, message);
    }

    /// Sends a message to every worker.
    pub fn broadcast(&mut self, message: &ToWorker) {
        self.registry.broadcast(message);
    }

    /// What happens next. Safe to cancel.
    pub async fn next(&mut self) -> ClusterEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The registry holds a sender, so the channel cannot end.
            None => std::future::pending().await,
        }
    }

    /// Ends the session of one worker; `Lost` does not follow.
    pub fn dismiss(&mut self, worker: WorkerId) {
        self.registry.remove(worker);
    }

    /// Pulls a whole object from a worker.
    ///
    /// # Errors
    /// Where the worker is gone or does not hold it.
    pub async fn pull(&self, worker: WorkerId, key: ObjectKey) -> Result<exec::Held, String> {
        let pull = wire::Pull {
            run: self.session.run,
            term: self.session.term,
            key,
            // No worker has this number: what the coordinator takes is not exchange between workers.
            puller: WorkerId(u32::MAX),
            part: wire::PullPart::Whole,
        };
        if let Some(crew) = &self.embedded {
            return crew.pull(worker, pull).await;
        }
        let address = self
            .registry
            .address(worker)
            .ok_or_else(|| format!("{worker} is gone"))?;
        let dial = self.dial.as_ref().ok_or("no way to dial")?;
        daemon::pull(dial.connect(&address).await?, pull).await
    }

    /// The last reason why each address could not be reached or was lost.
    pub fn troubles(&self) -> Vec<String> {
        self.registry.troubles()
    }

    /// Bytes of ranged reads and puts that went through this process for workers that see less than it.
    pub fn served_bytes(&self) -> u64 {
        self.session.places.served_bytes()
    }

    /// Closes the session with every worker and collects what they did.
    pub async fn close(mut self) -> Vec<(WorkerId, Totals)> {
        let mut waiting = self.registry.close();
        let mut totals = Vec::new();
        let deadline = tokio::time::sleep(std::time::Duration::from_secs(10));
        tokio::pin!(deadline);
        while !waiting.is_empty() {
            tokio::select! {
                biased;
                event = self.next() => match event {
                    ClusterEvent::Said(worker, FromWorker::Closed(total)) => {
                        waiting.remove(&worker);
                        totals.push((worker, total));
                    }
                    ClusterEvent::Lost(worker, _) => { waiting.remove(&worker); }
                    _ => {}
                },
                () = &mut deadline => break,
            }
        }
        totals.sort_by_key(|(worker, _)| *worker);
        self.tasks.shutdown().await;
        totals
    }
}
