//! Objects of one worker for another that cannot reach it: the coordinator, which reaches both, carries them.
//!
//! **Invariant:** at most [`RELAYS_MAX`] objects are held here at once, each received within the receive budget, and
//! none longer than its taker is heard of.

use super::{Heard, Shared};
use bytes::Bytes;
use exec::failure_of;
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tensor::{ObjectKey, WorkerId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::{Chunk, Pull, StorageReply};
use worker::PullError;

/// Objects held at once for all workers together.
pub(super) const RELAYS_MAX: usize = 4;
/// How long one is held for a worker that takes nothing: it may wait for room among what it receives.
const TAKE_TIMEOUT: Duration = Duration::from_mins(1);
/// A worker asks for one part after the other.
const TAKES: usize = 2;

/// The relays that one worker has asked for.
#[derive(Default)]
pub(super) struct Relays(BTreeMap<u64, mpsc::Sender<Range<u64>>>);

impl Relays {
    /// Where what is taken of a new one will be heard.
    pub(super) fn begin(&mut self, id: u64) -> mpsc::Receiver<Range<u64>> {
        let (to, takes) = mpsc::channel(TAKES);
        self.0.retain(|_, relay| !relay.is_closed());
        self.0.insert(id, to);
        takes
    }

    /// More of one is wanted. Who asks faster than it is answered, or for what is over, is not heard.
    pub(super) fn take(&self, id: u64, range: Range<u64>) {
        if let Some(relay) = self.0.get(&id) {
            let _ = relay.try_send(range);
        }
    }
}

/// A worker's request.
pub(super) struct Relay {
    pub(super) id: u64,
    pub(super) holder: WorkerId,
    pub(super) pull: Pull,
}

impl Relay {
    /// Carries it, from the head to the last part that is taken.
    pub(super) async fn carry(
        self,
        shared: Arc<Shared>,
        mut takes: mpsc::Receiver<Range<u64>>,
        replies: mpsc::Sender<StorageReply>,
    ) {
        let id = self.id;
        if let Err(failure) = self.carried(&shared, &mut takes, &replies).await {
            // A worker that is gone needs no answer.
            let _ = replies.send(StorageReply::Failed { id, failure }).await;
        }
    }

    async fn carried(
        self,
        shared: &Shared,
        takes: &mut mpsc::Receiver<Range<u64>>,
        replies: &mpsc::Sender<StorageReply>,
    ) -> Result<(), Failure> {
        let Relay { id, holder, pull } = self;
        let (key, puller) = (pull.key, pull.puller);
        let _turn = shared.relaying.acquire().await;
        let held = shared.pull(holder, pull).await;
        let held = held.map_err(|error| not_had(error, key, holder))?;
        shared.carries(puller, holder);
        let (bytes, row_bytes) = (held.bytes(), held.row_bytes());
        let content = held.whole().map_err(|error| failure_of(error, Some(key)))?;
        let content = Bytes::from_owner(content);
        let head = StorageReply::Head {
            id,
            bytes,
            row_bytes,
        };
        if replies.send(head).await.is_err() {
            return Ok(());
        }
        while let Ok(Some(range)) = timeout(TAKE_TIMEOUT, takes.recv()).await {
            if range.is_empty() {
                break;
            }
            if range.end > bytes {
                return Err(Failure::Refused {
                    refusal: Refusal::Bug,
                    sentence: format!("bytes {range:?} of {key} were asked for, which has {bytes}"),
                });
            }
            shared
                .files
                .bytes
                .fetch_add(range.end - range.start, Relaxed);
            for chunk in Chunk::cut(content.slice(range.start as usize..range.end as usize)) {
                let content = StorageReply::Content { id, chunk };
                if replies.send(content).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn not_had(error: PullError, key: ObjectKey, holder: WorkerId) -> Failure {
    match error {
        PullError::Corrupt => Failure::Corrupt {
            key,
            holder: Some(holder),
        },
        PullError::Missing | PullError::Unreachable(_) => Failure::Unreachable { key, holder },
    }
}

impl Shared {
    /// Pulls from a holder, as this coordinator's run.
    pub(super) async fn pull(&self, holder: WorkerId, pull: Pull) -> Result<exec::Held, PullError> {
        let way = self.members.way(holder);
        let way = way.ok_or_else(|| PullError::Unreachable("it is gone".into()))?;
        let pull = Pull {
            run: self.job.run,
            term: self.job.term,
            token: self.token,
            ..pull
        };
        way.pull(pull, &Arc::default()).await
    }

    /// Tells once of two workers that what one holds has to be carried to the other.
    fn carries(&self, puller: WorkerId, holder: WorkerId) {
        if self.members.first_relay(puller, holder) {
            self.tell(Heard::Relaying { puller, holder });
        }
    }
}
