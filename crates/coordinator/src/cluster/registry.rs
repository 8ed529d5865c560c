//! Who is in the session now, under which number, and how to say something to them.

use super::ClusterEvent;
use plan::Profile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensor::WorkerId;
use tokio::sync::mpsc;
use wire::{FromWorker, Peer, ToWorker};

struct Member {
    address: String,
    outbox: mpsc::UnboundedSender<ToWorker>,
}

#[derive(Default)]
struct State {
    next: u32,
    members: BTreeMap<WorkerId, Member>,
    troubles: BTreeMap<String, String>,
    closing: bool,
}

/// Shared by the tasks that keep sessions.
#[derive(Clone)]
pub struct Registry {
    state: Arc<Mutex<State>>,
    tell: mpsc::UnboundedSender<ClusterEvent>,
}

impl Registry {
    pub fn new(tell: mpsc::UnboundedSender<ClusterEvent>) -> Self {
        Registry {
            state: Arc::default(),
            tell,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no worker of this session has had.
    pub fn number(&self) -> WorkerId {
        let mut state = self.state();
        state.next += 1;
        WorkerId(state.next - 1)
    }

    /// The peers that a new worker is told of.
    pub fn peers(&self) -> Vec<Peer> {
        let peer = |(worker, member): (&WorkerId, &Member)| Peer {
            worker: *worker,
            address: member.address.clone(),
        };
        self.state().members.iter().map(peer).collect()
    }

    /// A worker opened the session: everybody learns of it.
    pub fn join(
        &self,
        worker: WorkerId,
        address: String,
        profile: Profile,
        outbox: mpsc::UnboundedSender<ToWorker>,
    ) {
        {
            let mut state = self.state();
            state.troubles.remove(&address);
            state.members.insert(worker, Member { address, outbox });
        }
        self.broadcast(&ToWorker::Peers(self.peers()));
        self.event(ClusterEvent::Joined(worker, profile));
    }

    /// What a worker said.
    pub fn said(&self, worker: WorkerId, message: FromWorker) {
        self.event(ClusterEvent::Said(worker, message));
    }

    /// A session ended. Told once, and not for a worker that was removed before.
    pub fn lost(&self, worker: WorkerId, reason: String) {
        if self.remove(worker) {
            self.broadcast(&ToWorker::Peers(self.peers()));
            self.event(ClusterEvent::Lost(worker, reason));
        }
    }

    /// Notes why an address does not serve.
    pub fn trouble(&self, address: &str, reason: String) {
        self.state().troubles.insert(address.to_owned(), reason);
    }

    pub fn troubles(&self) -> Vec<String> {
        self.state()
            .troubles
            .iter()
            .map(|(address, reason)| format!("{address}: {reason}"))
            .collect()
    }

    /// Ends a worker's session by closing its outbox.
    pub fn remove(&self, worker: WorkerId) -> bool {
        self.state().members.remove(&worker).is_some()
    }

    pub fn address(&self, worker: WorkerId) -> Option<String> {
        self.state()
            .members
            .get(&worker)
            .map(|member| member.address.clone())
    }

    pub fn send(&self, worker: WorkerId, message: ToWorker) {
        if let Some(member) = self.state().members.get(&worker) {
            // A closed outbox means that the loss is about to be told.
            let _ = member.outbox.send(message);
        }
    }

    pub fn broadcast(&self, message: &ToWorker) {
        for member in self.state().members.values() {
            let _ = member.outbox.send(message.clone());
        }
    }

    /// Says goodbye to all; returns those who have to answer.
    pub fn close(&self) -> BTreeSet<WorkerId> {
        self.state().closing = true;
        self.broadcast(&ToWorker::Close);
        self.state().members.keys().copied().collect()
    }

    /// Whether the session is being closed, so that nobody is to be dialled again.
    pub fn is_closing(&self) -> bool {
        self.state().closing
    }

    fn event(&self, event: ClusterEvent) {
        // The receiver is gone only where the whole session is.
        let _ = self.tell.send(event);
    }
}
