//! What is injected: where jobs run, and how peers are reached.

use crate::receiving::Receiving;
use bytes::Bytes;
use exec::pool::Pool;
use exec::{Held, SpareBuffers};
use futures::future::BoxFuture;
use futures::future::{AbortHandle, abortable};
use plan::Failure;
use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use wire::{Peer, Pull, TableRead};

/// Something to be run elsewhere.
pub type Job = Box<dyn FnOnce() + Send>;

/// A lane at work; it ends at its next wait once this is dropped.
#[derive(Debug)]
pub struct Lane {
    end: AbortHandle,
    ended: oneshot::Receiver<()>,
}

impl Lane {
    /// Splits a lane into its handle and what is to be driven.
    pub(crate) fn of(
        lane: impl Future<Output = ()> + Send + 'static,
    ) -> (Lane, BoxFuture<'static, ()>) {
        let (lane, end) = abortable(lane);
        let (tell, ended) = oneshot::channel();
        let driven = async move {
            let _ = lane.await;
            // The session may not wait for this.
            let _ = tell.send(());
        };
        (Lane { end, ended }, Box::pin(driven))
    }

    /// Tells the lane to end; waits until it has.
    pub(crate) async fn ended(mut self) {
        self.end.abort();
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end.abort();
    }
}

/// Something to be done again and again; must not wait.
pub type Beat = Box<dyn FnMut() + Send>;

/// What goes on until this is dropped, and ends promptly then.
pub type Beating = Box<dyn Any + Send>;

/// Where jobs run: threads of their own in a daemon, in place in a simulation.
pub trait Executor: Send + Sync {
    /// Drives a lane where it may compute for as long as it likes between two waits. That a small task costs no change
    /// of threads is half of what a step of many costs.
    fn lane(&self, lane: BoxFuture<'static, ()>) -> Lane;
    /// Runs a job that reads or writes files.
    fn file(&self, job: Job);
    /// Does something at once and then again and again, with such a pause, however busy jobs and tokio's threads are.
    ///
    /// # Errors
    /// Where the system gives no more threads.
    fn beat(&self, every: Duration, beat: Beat) -> Result<Beating, Failure>;
    /// The threads that kernels divide rows over.
    fn pool(&self) -> Pool;
}

/// Runs a closure through one of the executor's two ways and waits for its result without blocking.
/// `None` if the executor is gone.
pub async fn through<T: Send + 'static>(
    way: impl FnOnce(Job),
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    way(Box::new(move || {
        // The receiver is gone where the session ended meanwhile: nobody wants the result.
        let _ = tell.send(work());
    }));
    told.await.ok()
}

/// Why a peer did not give an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// It does not hold it (any more).
    #[error("the peer does not hold it")]
    Missing,
    /// Its copy, or what arrived, is damaged.
    #[error("what came is damaged")]
    Corrupt,
    /// It does not answer.
    #[error("the peer does not answer: {0}")]
    Unreachable(String),
}

/// A way to one peer.
pub trait PeerLink: Send + Sync {
    /// Fetches an object, or packed rows of it; into a spare buffer, where it must be copied and one has its length.
    fn pull(
        &self,
        pull: Pull,
        spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>>;

    /// Reads a part of a table in the memory of the peer's process; gives its whole length, too. Peers in this process have none that
    /// is not found here.
    fn read_table(&self, read: TableRead) -> BoxFuture<'static, Result<(Bytes, u64), PullError>> {
        drop(read);
        Box::pin(async { Err(PullError::Missing) })
    }
}

/// A way to a peer as its keeper has it: what is being pulled by it ends when this is dropped, since a peer that has
/// fallen silent would answer nothing and a connection finds that out late.
pub struct OpenWay {
    link: Arc<dyn PeerLink>,
    open: watch::Sender<()>,
}

impl OpenWay {
    /// Keeps a link open.
    pub fn new(link: Arc<dyn PeerLink>) -> Self {
        OpenWay {
            link,
            open: watch::Sender::new(()),
        }
    }

    /// Ends what is being pulled; what is pulled from now on is not touched.
    pub fn interrupt(&mut self) {
        self.open = watch::Sender::new(());
    }

    /// The way as those have it who pull.
    pub fn way(&self) -> PeerWay {
        PeerWay {
            link: Arc::clone(&self.link),
            open: self.open.subscribe(),
        }
    }
}

/// A way to a peer as long as its keeper holds it open.
pub struct PeerWay {
    link: Arc<dyn PeerLink>,
    open: watch::Receiver<()>,
}

impl PeerWay {
    /// As [`PeerLink::pull`].
    ///
    /// # Errors
    /// As there, and where the way is closed meanwhile.
    pub async fn pull(mut self, pull: Pull, spare: &Arc<SpareBuffers>) -> Result<Held, PullError> {
        tokio::select! {
            biased;
            pulled = self.link.pull(pull, spare) => pulled,
            // Nothing is ever sent: this ends when the sender is dropped.
            _ = self.open.changed() => Err(PullError::Unreachable("it has fallen silent".into())),
        }
    }
}

/// Opens ways to peers.
pub trait Dialer: Send + Sync {
    /// A way to this peer; it may turn out not to answer.
    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink>;

    /// Whether peers are in this process, and hand over what they hold instead of a copy.
    fn here(&self) -> bool {
        false
    }

    /// The budget within which bytes of peers are received; none where they are handed over.
    fn receiving(&self) -> Option<&Receiving> {
        None
    }
}
