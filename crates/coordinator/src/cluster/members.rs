//! Who is in the run, and that everybody knows it.
//!
//! **Invariant:** the last that a member hears of the others is who they are. So who is there and what all are told of it change under one
//! lock: of two that join at once, the later word would else leave out the later one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensor::WorkerId;
use tokio::sync::mpsc::UnboundedSender;
use wire::{Peer, ToWorker};
use worker::{OpenWay, PeerLink, PeerWay};

/// How often a worker may be given up for not being reached, though its session lives, before it is dialled no more.
const UNREACHED_MAX: u32 = 3;

struct Member {
    peer: Peer,
    /// The way to what it holds; closed while it is suspected.
    way: OpenWay,
    suspected: bool,
    to: UnboundedSender<ToWorker>,
}

/// The members by their numbers.
#[derive(Default)]
pub(super) struct Members {
    there: Mutex<BTreeMap<WorkerId, Member>>,
    /// The pairs of which one's objects had to be carried to the other.
    carried: Mutex<BTreeSet<(WorkerId, WorkerId)>>,
    /// How often those at an address were given up for not being reached.
    unreached: Mutex<BTreeMap<String, u32>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Members {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Member>> {
        lock(&self.there)
    }

    /// Everybody learns of everybody, before any task can name a new holder.
    pub(super) fn join(&self, peer: Peer, link: Arc<dyn PeerLink>, to: UnboundedSender<ToWorker>) {
        let mut members = self.locked();
        let member = Member {
            way: OpenWay::new(link),
            suspected: false,
            peer,
            to,
        };
        members.insert(member.peer.worker, member);
        introduce(&members);
    }

    /// One is gone, and the others learn of it.
    pub(super) fn leave(&self, id: WorkerId) {
        let mut members = self.locked();
        members.remove(&id);
        introduce(&members);
    }

    /// One is a member no more; its session ends, and then it leaves.
    pub(super) fn dismiss(&self, id: WorkerId) {
        self.locked().remove(&id);
    }

    /// One has been given up because nobody could have what it holds. True where it will not be dialled again.
    pub(super) fn shun(&self, id: WorkerId) -> bool {
        let Some(address) = self.peer(id).map(|peer| peer.address) else {
            return false;
        };
        let mut unreached = lock(&self.unreached);
        let times = unreached.entry(address).or_default();
        *times += 1;
        *times >= UNREACHED_MAX
    }

    /// One has computed something else than others: those at its address are not dialled again.
    pub(super) fn ban(&self, id: WorkerId) -> bool {
        let Some(peer) = self.peer(id) else {
            return false;
        };
        lock(&self.unreached).insert(peer.address, UNREACHED_MAX);
        true
    }

    /// Whether those at an address have been given up too often.
    pub(super) fn is_shunned(&self, address: &str) -> bool {
        let times = lock(&self.unreached).get(address).copied();
        times.is_some_and(|times| times >= UNREACHED_MAX)
    }

    /// One has fallen silent: what is being pulled of it is given up, and nobody asks it for more.
    pub(super) fn suspect(&self, id: WorkerId) {
        let mut members = self.locked();
        if let Some(member) = members.get_mut(&id) {
            member.suspected = true;
            member.way.interrupt();
            introduce(&members);
        }
    }

    /// One that was suspected speaks again.
    pub(super) fn trust(&self, id: WorkerId) {
        let mut members = self.locked();
        if let Some(member) = members.get_mut(&id) {
            member.suspected = false;
            introduce(&members);
        }
    }

    /// The way to what one holds.
    pub(super) fn way(&self, id: WorkerId) -> Option<PeerWay> {
        let members = self.locked();
        let member = members.get(&id).filter(|member| !member.suspected);
        member.map(|member| member.way.way())
    }

    /// Notes that what `holder` has is carried to `puller`. True the first time.
    pub(super) fn first_relay(&self, puller: WorkerId, holder: WorkerId) -> bool {
        lock(&self.carried).insert((puller, holder))
    }

    /// Sends a message without waiting; one to a member that is gone is lost without a word.
    pub(super) fn send(&self, id: WorkerId, message: ToWorker) {
        if let Some(member) = self.locked().get(&id) {
            let _ = member.to.send(message);
        }
    }

    /// Their numbers.
    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.locked().keys().copied().collect()
    }

    /// Those that can be asked for objects, as all are told of them.
    pub(super) fn peers(&self) -> Vec<Peer> {
        peers(&self.locked())
    }

    /// One of them.
    pub(super) fn peer(&self, id: WorkerId) -> Option<Peer> {
        self.locked().get(&id).map(|member| member.peer.clone())
    }
}

fn peers(members: &BTreeMap<WorkerId, Member>) -> Vec<Peer> {
    let asked = members.values().filter(|member| !member.suspected);
    let peers = asked.map(|member| member.peer.clone());
    peers.collect()
}

fn introduce(members: &BTreeMap<WorkerId, Member>) {
    let peers = peers(members);
    for member in members.values() {
        // Who has just ended need not know.
        let _ = member.to.send(ToWorker::Peers(peers.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use worker::{Dialer, LocalPeers};

    const TOGETHER: u32 = 8;

    /// Whom a member knows by what it heard last.
    fn known(heard: &mut UnboundedReceiver<ToWorker>) -> Vec<u32> {
        let mut last = Vec::new();
        while let Ok(ToWorker::Peers(peers)) = heard.try_recv() {
            last = peers.iter().map(|peer| peer.worker.0).collect();
        }
        last
    }

    #[test]
    fn all_who_join_at_once_know_one_another() {
        let all: Vec<u32> = (0..TOGETHER).collect();
        for _ in 0..4000 {
            let (members, together) = (Members::default(), Barrier::new(TOGETHER as usize));
            let join = |id: u32| {
                let (to, heard) = unbounded_channel();
                let peer = Peer {
                    worker: WorkerId(id),
                    address: String::new(),
                };
                together.wait();
                let link = LocalPeers::default().peer(&peer);
                members.join(peer, link, to);
                heard
            };
            let mut heard: Vec<UnboundedReceiver<ToWorker>> = std::thread::scope(|scope| {
                let joining = (0..TOGETHER).map(|id| scope.spawn(move || join(id)));
                let joining: Vec<_> = joining.collect();
                let joined = joining.into_iter().map(|joining| joining.join().unwrap());
                joined.collect()
            });
            for heard in &mut heard {
                assert_eq!(known(heard), all);
            }
            members.leave(WorkerId(7));
            assert_eq!(known(&mut heard[0]), all[..7]);
        }
    }

    #[test]
    fn who_is_suspected_is_asked_by_nobody_until_it_is_trusted() {
        let members = Members::default();
        let mut heard: Vec<_> = (0..3)
            .map(|id| {
                let (to, heard) = unbounded_channel();
                let peer = Peer {
                    worker: WorkerId(id),
                    address: String::new(),
                };
                let link = LocalPeers::default().peer(&peer);
                members.join(peer, link, to);
                heard
            })
            .collect();
        members.suspect(WorkerId(1));
        assert_eq!(known(&mut heard[0]), [0, 2]);
        assert!(members.way(WorkerId(1)).is_none() && members.way(WorkerId(2)).is_some());
        members.trust(WorkerId(1));
        assert_eq!(known(&mut heard[0]), [0, 1, 2]);
        assert!(members.way(WorkerId(1)).is_some());
    }

    #[test]
    fn who_is_not_reached_again_and_again_is_shunned() {
        let (members, there) = (Members::default(), "there:1");
        for id in 0..UNREACHED_MAX {
            assert!(!members.is_shunned(there));
            let peer = Peer {
                worker: WorkerId(id),
                address: there.to_owned(),
            };
            let link = LocalPeers::default().peer(&peer);
            members.join(peer, link, unbounded_channel().0);
            assert_eq!(members.shun(WorkerId(id)), id + 1 == UNREACHED_MAX);
            members.dismiss(WorkerId(id));
        }
        assert!(members.is_shunned(there) && !members.is_shunned("elsewhere:1"));
    }
}
