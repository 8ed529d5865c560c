//! How many new connections are looked at: so many a second from one address, and so many from all.
//!
//! What an address has too many of is closed at once, by a reset, before anything is done for it. What all have too many of is left to
//! the kernel, which keeps some and drops the rest: a flood costs compute no more than the budget allows. Connections that are
//! open are not asked again.
//!
//! **Invariant:** memory is bounded, whoever comes: an address is forgotten as soon as it has its whole budget again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// All addresses together may come so many times as often as one.
const ALL: u32 = 4;
/// Addresses that are remembered before those that have their whole budget again are forgotten.
const ADDRESSES: usize = 4096;
/// The pause between two lines of the log about strangers.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a listener has seen.
#[derive(Debug, Default)]
pub struct Visits {
    /// Connections that were let in.
    pub admitted: AtomicU64,
    /// Connections that were closed at once, since their address made too many.
    pub refused: AtomicU64,
    /// Times that accepting waited, since all together made too many.
    pub put_off: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
}

/// So many a second, and as many at once after a quiet second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    each: Duration,
    at_once: Duration,
}

impl Rate {
    fn of(a_second: u32) -> Self {
        let a_second = a_second.max(1);
        Rate {
            each: Duration::from_secs(1) / a_second,
            at_once: Duration::from_secs(1),
        }
    }

    /// How long until the next one may come; `busy_until` is when all that came will have had its share.
    fn wait(self, busy_until: Instant, now: Instant) -> Duration {
        let ahead = busy_until.saturating_duration_since(now);
        (ahead + self.each).saturating_sub(self.at_once)
    }

    fn take(self, busy_until: Instant, now: Instant) -> Instant {
        busy_until.max(now) + self.each
    }
}

/// The budget of a listener.
#[derive(Debug)]
pub(super) struct Admission {
    of_one: Rate,
    of_all: Rate,
    all_busy_until: Instant,
    busy_until: BTreeMap<IpAddr, Instant>,
}

impl Admission {
    /// For so many new connections a second from one address.
    pub(super) fn new(a_second: u32) -> Self {
        Admission {
            of_one: Rate::of(a_second),
            of_all: Rate::of(a_second.saturating_mul(ALL)),
            all_busy_until: Instant::now(),
            busy_until: BTreeMap::new(),
        }
    }

    /// How long to leave the next one in the backlog.
    pub(super) fn pause(&self) -> Duration {
        self.of_all.wait(self.all_busy_until, Instant::now())
    }

    /// Whether one from this address may come in.
    pub(super) fn admits(&mut self, from: IpAddr) -> bool {
        let now = Instant::now();
        self.all_busy_until = self.of_all.take(self.all_busy_until, now);
        if self.busy_until.len() >= ADDRESSES {
            self.busy_until.retain(|_, until| *until > now);
        }
        let until = self.busy_until.entry(network(from)).or_insert(now);
        if !self.of_one.wait(*until, now).is_zero() {
            return false;
        }
        *until = self.of_one.take(*until, now);
        true
    }
}

/// What is given to one machine: of IPv6 half of an address is its own to choose.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(from) => IpAddr::V6((from.to_bits() >> 64 << 64).into()),
        from @ IpAddr::V4(_) => from,
    }
}

/// Lines of the log that strangers cause: one now and then, with the number of those that were left out.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// What to add to the line, if it is to be written.
    pub(super) fn now(&mut self) -> Option<String> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < TOLD_EVERY) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        let left_out = std::mem::take(&mut self.left_out);
        Some(match left_out {
            0 => String::new(),
            more => format!(" ({more} such lines were left out)"),
        })
    }
}

impl Visits {
    pub(super) fn count(count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_its_share_and_leaves_the_others_theirs() {
        let mut admission = Admission::new(100);
        let of =
            |admission: &mut Admission, from| (0..150).filter(|_| admission.admits(from)).count();
        assert_eq!(of(&mut admission, address(1)), 100);
        assert_eq!(of(&mut admission, address(2)), 100);
        advance(Duration::from_millis(100)).await;
        assert_eq!(of(&mut admission, address(1)), 10);
        advance(Duration::from_secs(5)).await;
        assert_eq!(of(&mut admission, address(1)), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_wait_for_their_turn() {
        let mut admission = Admission::new(100);
        let mut came = 0;
        while admission.pause().is_zero() {
            admission.admits(address((came % 250) as u8));
            came += 1;
        }
        assert_eq!(came, 400);
        advance(admission.pause()).await;
        assert!(admission.pause().is_zero(), "the next one's turn has come");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_forgotten_and_those_of_one_network_are_one() {
        let mut admission = Admission::new(100);
        for number in 0..3 * ADDRESSES as u32 {
            assert!(admission.admits(IpAddr::from(number.to_be_bytes())));
            advance(Duration::from_millis(1)).await;
        }
        assert!(admission.busy_until.len() <= ADDRESSES);
        let of_one = |number: u128| IpAddr::V6(((0x2001_0db8 << 96) + number).into());
        let admitted = (0..1000).filter(|&number| admission.admits(of_one(number)));
        assert_eq!(admitted.count(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_fill_no_log() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.now().as_deref(), Some(""));
        for _ in 0..5 {
            assert_eq!(seldom.now(), None);
        }
        advance(TOLD_EVERY).await;
        let line = seldom.now().expect("one again");
        assert!(line.contains("5 such lines"), "{line}");
    }
}
