//! The receive budget: how many bytes of peers' objects may be under way at once.
//!
//! A pull *asks* first, and learns from the head of the answer how much will come. Meanwhile the peer sends on, up
//! to the window of a stream. Only with *room* for all of it is the rest taken in. So the budget has two parts, a
//! window for each who asks, and the rest for what is announced.
//!
//! **Invariant:** who has room waits for nobody here, and both parts are given in the order in which they were asked
//! for: nothing waits in a circle, and nothing starves.

use tokio::sync::{Semaphore, SemaphorePermit};
use wire::CHUNK_BYTES_MAX;
use wire::settings::{CHANNELS_PER_PEER, CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};

/// What one permit stands for; 32 bits of them are 16 TiB.
const PERMIT_BYTES: u64 = 4 << 10;
/// Pulls that ask at once: more would not be answered sooner.
const ASKS_MAX: u64 = 16;
/// A connection has a window for one who asks beside one for those who receive (`grpc::dial` gives turns).
const _: () = assert!(CONNECTION_WINDOW_BYTES >= 2 * STREAM_WINDOW_BYTES && CHANNELS_PER_PEER > 0);

/// What may be under way; for one process.
#[derive(Debug)]
pub struct Receiving {
    asks: Semaphore,
    room: Semaphore,
    room_permits: u32,
}

impl Receiving {
    /// Within a budget. A quarter of it is for those who ask, but one may always; with less than two windows, what
    /// that one leaves is the room.
    pub fn new(budget_bytes: u64) -> Self {
        let window = u64::from(STREAM_WINDOW_BYTES);
        let asks = (budget_bytes / 4 / window).clamp(1, ASKS_MAX);
        let room_bytes = budget_bytes.saturating_sub(asks * window);
        let room_permits = room_bytes.max(CHUNK_BYTES_MAX as u64) / PERMIT_BYTES;
        let room_permits = u32::try_from(room_permits).unwrap_or(u32::MAX);
        Receiving {
            asks: Semaphore::new(asks as usize),
            room: Semaphore::new(room_permits as usize),
            room_permits,
        }
    }

    /// A turn to ask; to be given back as soon as there is room.
    pub async fn ask(&self) -> SemaphorePermit<'_> {
        let turn = self.asks.acquire().await;
        turn.expect("nobody closes the budget")
    }

    /// Room for an announced length: its buffer, and a chunk of it that is being put together. What is larger than
    /// all the room takes all of it, and so passes alone.
    pub async fn room(&self, bytes: u64) -> SemaphorePermit<'_> {
        let held = bytes.saturating_add(bytes.min(CHUNK_BYTES_MAX as u64));
        let permits = u32::try_from(held.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many(permits.min(self.room_permits)).await;
        room.expect("nobody closes the budget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    use tokio::task::{JoinSet, yield_now};

    const MIB: u64 = 1 << 20;

    /// Bytes held now and at most, and how many pulls hold them.
    #[derive(Default)]
    struct Gauge {
        now: AtomicU64,
        most: AtomicU64,
        receiving: AtomicU64,
    }

    impl Gauge {
        fn take(&self, bytes: u64) {
            let now = self.now.fetch_add(bytes, SeqCst) + bytes;
            self.most.fetch_max(now, SeqCst);
        }
    }

    /// What a pull does, with what it then has in memory: a window's worth while it asks, and after that what was
    /// announced and a chunk.
    async fn pull(receiving: &Receiving, gauge: &Gauge, bytes: u64) {
        let asking = receiving.ask().await;
        let unread = bytes.min(u64::from(STREAM_WINDOW_BYTES));
        gauge.take(unread);
        yield_now().await;
        let room = receiving.room(bytes).await;
        gauge.now.fetch_sub(unread, SeqCst);
        drop(asking);
        let held = bytes + bytes.min(MIB);
        let others = gauge.receiving.fetch_add(1, SeqCst);
        if held > u64::from(receiving.room_permits) * PERMIT_BYTES {
            assert_eq!(others, 0, "what is larger than the room passes alone");
        } else {
            gauge.take(held);
        }
        for _ in 0..=bytes / MIB {
            yield_now().await;
        }
        gauge.receiving.fetch_sub(1, SeqCst);
        if held <= u64::from(receiving.room_permits) * PERMIT_BYTES {
            gauge.now.fetch_sub(held, SeqCst);
        }
        drop(room);
    }

    #[tokio::test]
    async fn bytes_at_once_stay_within_the_budget() {
        for budget in [25 * MIB, 100 * MIB, 819 * MIB] {
            let (receiving, gauge) = (Arc::new(Receiving::new(budget)), Arc::new(Gauge::default()));
            let mut pulls = JoinSet::new();
            for i in 0..300 {
                let (receiving, gauge) = (Arc::clone(&receiving), Arc::clone(&gauge));
                // From 4 KiB to 31 MiB, and now and then more than any budget.
                let bytes = if i % 50 == 7 {
                    900 * MIB
                } else {
                    4096 << (i % 14)
                };
                pulls.spawn(async move { pull(&receiving, &gauge, bytes).await });
            }
            while let Some(done) = pulls.join_next().await {
                done.unwrap();
            }
            let most = gauge.most.load(SeqCst);
            assert!(most <= budget && most > budget / 4, "{most} of {budget}");
            assert_eq!(gauge.now.load(SeqCst), 0);
        }
    }

    #[tokio::test]
    async fn a_large_object_passes_between_small_ones_that_never_end() {
        let (receiving, gauge) = (
            Arc::new(Receiving::new(100 * MIB)),
            Arc::new(Gauge::default()),
        );
        let passed = Arc::new(AtomicBool::new(false));
        let mut small = JoinSet::new();
        for _ in 0..64 {
            let (receiving, gauge) = (Arc::clone(&receiving), Arc::clone(&gauge));
            let passed = Arc::clone(&passed);
            small.spawn(async move {
                let mut pulls = 0;
                while !passed.load(SeqCst) {
                    pull(&receiving, &gauge, 4 * MIB).await;
                    pulls += 1;
                }
                pulls
            });
        }
        for _ in 0..20 {
            yield_now().await;
        }
        pull(&receiving, &gauge, 900 * MIB).await;
        passed.store(true, SeqCst);
        while let Some(pulls) = small.join_next().await {
            assert!(pulls.unwrap() > 0);
        }
    }
}
