//! What a peer holds that cannot be reached from here: through the coordinator, which reaches both.
//!
//! **Invariant:** a detour changes who carries bytes, never which. While it lasts the straight way is tried again
//! after a pause, so that a network that has healed carries them itself.

use crate::receiving::Receiving;
use crate::seams::PullError;
use crate::storage::{Asked, READ_BYTES_MAX, Served};
use exec::{Held, SpareBuffers};
use plan::Failure;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::AlignedBuf;
use tensor::WorkerId;
use tokio::time::Instant;
use wire::{Pull, StorageReply, StorageRequest};

/// How long a detour is taken before the straight way is tried again; doubled each time it is still closed, up to the
/// longest. Trying may cost the time of a connection that does not come about.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// The peers that are not reached from here.
#[derive(Debug, Default)]
pub(crate) struct Detours(Mutex<BTreeMap<WorkerId, (Duration, Instant)>>);

impl Detours {
    fn of(&self) -> MutexGuard<'_, BTreeMap<WorkerId, (Duration, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the straight way to a peer is to be left alone for now.
    pub(crate) fn lead_to(&self, peer: WorkerId) -> bool {
        self.of()
            .get(&peer)
            .is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// The straight way is closed, and another was found. True where that is news.
    pub(crate) fn open(&self, peer: WorkerId) -> bool {
        let mut detours = self.of();
        let before = detours.get(&peer).map(|(pause, _)| *pause);
        let pause = before.map_or(PAUSE, |pause| (pause * 2).min(PAUSE_MAX));
        detours.insert(peer, (pause, Instant::now() + pause));
        before.is_none()
    }

    /// The straight way is open.
    pub(crate) fn close(&self, peer: WorkerId) {
        self.of().remove(&peer);
    }
}

fn unreachable(why: impl ToString) -> PullError {
    PullError::Unreachable(why.to_string())
}

fn refused(failure: &Failure) -> PullError {
    match failure {
        Failure::Corrupt { .. } => PullError::Corrupt,
        other => unreachable(other),
    }
}

/// What bounds a relay on this worker.
pub(crate) struct Bounds<'a> {
    /// The most that an object may take.
    pub memory_bytes: u64,
    /// The budget of all that is received.
    pub receiving: Option<&'a Receiving>,
    /// Buffers to receive into.
    pub spare: &'a Arc<SpareBuffers>,
}

impl Served {
    /// Asks the coordinator for what a peer holds.
    ///
    /// # Errors
    /// Where the coordinator does not reach the peer either, the peer does not hold it, or what comes is damaged.
    pub(crate) async fn relay(
        &self,
        holder: WorkerId,
        pull: Pull,
        bounds: &Bounds<'_>,
    ) -> Result<Held, PullError> {
        let _turn = self.relay_turn().await.map_err(unreachable)?;
        let mut asked = self.ask();
        let id = asked.id;
        let relay = StorageRequest::Relay { id, holder, pull };
        self.request(relay).await.map_err(unreachable)?;
        let (bytes, row_bytes) = head(&mut asked, bounds.memory_bytes).await?;
        let _room = match bounds.receiving {
            Some(receiving) => Some(receiving.room(bytes).await),
            None => None,
        };
        let mut buffer = bounds.spare.take_empty(bytes as usize);
        while (buffer.len() as u64) < bytes {
            let start = buffer.len() as u64;
            let range = start..bytes.min(start + READ_BYTES_MAX);
            let end = range.end;
            let take = StorageRequest::Take { id, range };
            self.request(take).await.map_err(unreachable)?;
            while (buffer.len() as u64) < end {
                take_in(&mut asked, &mut buffer, end).await?;
            }
        }
        let over = StorageRequest::Take { id, range: 0..0 };
        self.request(over).await.map_err(unreachable)?;
        Ok(Held::Memory {
            buffer: Arc::new(buffer),
            row_bytes,
        })
    }
}

/// The length of what will come, and that of a row.
async fn head(asked: &mut Asked<'_>, memory_bytes: u64) -> Result<(u64, u32), PullError> {
    match asked.reply().await.map_err(unreachable)? {
        StorageReply::Head {
            bytes, row_bytes, ..
        } if bytes <= memory_bytes => Ok((bytes, row_bytes)),
        StorageReply::Head { bytes, .. } => Err(unreachable(format!(
            "it sends {bytes} bytes, more than this worker's memory"
        ))),
        StorageReply::Failed { failure, .. } => Err(refused(&failure)),
        StorageReply::Attach { .. }
        | StorageReply::Content { .. }
        | StorageReply::Stored { .. } => Err(PullError::Corrupt),
    }
}

/// Appends the next chunk, which must not reach beyond `end`.
async fn take_in(
    asked: &mut Asked<'_>,
    buffer: &mut AlignedBuf,
    end: u64,
) -> Result<(), PullError> {
    match asked.reply().await.map_err(unreachable)? {
        StorageReply::Content { chunk, .. } => {
            let data = chunk.verified().map_err(|_| PullError::Corrupt)?;
            if data.is_empty() || data.len() as u64 > end - buffer.len() as u64 {
                return Err(PullError::Corrupt);
            }
            buffer.append(&data);
            Ok(())
        }
        StorageReply::Failed { failure, .. } => Err(refused(&failure)),
        StorageReply::Attach { .. } | StorageReply::Head { .. } | StorageReply::Stored { .. } => {
            Err(PullError::Corrupt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_straight_way_is_tried_again_less_and_less_often() {
        let (detours, peer) = (Detours::default(), WorkerId(3));
        assert!(!detours.lead_to(peer));
        let mut pause = PAUSE;
        for attempt in 0..8 {
            assert_eq!(detours.open(peer), attempt == 0, "told once");
            tokio::time::advance(pause / 2).await;
            assert!(detours.lead_to(peer) && !detours.lead_to(WorkerId(4)));
            tokio::time::advance(pause / 2).await;
            assert!(!detours.lead_to(peer));
            pause = (pause * 2).min(PAUSE_MAX);
        }
        assert_eq!(pause, PAUSE_MAX);
        detours.close(peer);
        assert!(detours.open(peer), "closed again, and told again");
    }
}
