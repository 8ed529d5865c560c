//! The third ring: real processes under what machines and networks do to them. A coordinator and three daemons compute a job while workers and
//! the coordinator are killed and stopped, disks fill, memory and files run out, and the network between them fails in every way that a
//! proxy or the kernel can make it fail. Whatever happens, the job ends with the bits of one that nobody disturbed.
//!
//! **Invariant:** what is done to whom, and for how long, is a function of the seed; when it happens is not, since processes are real.

pub mod bed;
pub mod proxy;
pub mod rooms;
pub mod run;
pub mod table;
pub mod tally;

use kernels::random::Random;
use std::time::Duration;

/// Of the draws of troubles.
const PURPOSE: u32 = 74;

/// A series of draws.
pub struct Draw {
    random: Random,
    next: u32,
}

impl Draw {
    /// The `number`th series of a seed.
    pub fn new(seed: u64, number: u32) -> Draw {
        Draw {
            random: Random::new(seed, PURPOSE, 0, number),
            next: 0,
        }
    }

    /// A number below another.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next += 1;
        u64::from(self.random.word(self.next)) % end.max(1)
    }

    /// A length of time.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to.saturating_sub(from) + 1))
    }
}

/// Something that happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// kill -9 of a worker; another takes its place after a while.
    KillWorker,
    /// The same, and its disk is lost.
    LoseDisk,
    /// kill -9 of the coordinator; the same command again.
    KillCoordinator,
    /// SIGSTOP for less than a lease.
    PauseWorker,
    /// SIGSTOP for more than a lease: the others go on, and it comes back.
    PauseWorkerLong,
    /// The coordinator is stopped for a while.
    PauseCoordinator,
    /// What goes to and from a worker is late.
    Delay,
    /// ... is slow.
    Throttle,
    /// Connections of a worker are open, and nothing is said.
    HalfOpen,
    /// What is said to a worker does not arrive.
    NoRequests,
    /// What a worker says does not arrive.
    NoAnswers,
    /// Connections of a worker are reset in the middle of something.
    Reset,
    /// Bits between a worker and the others are flipped.
    Flip,
    /// A worker comes back with an empty cache and no room for it.
    FullDisk,
    /// All that a worker has on its disk is removed while it works.
    WipeDisk,
    /// A worker may open no further files for a while.
    FewFiles,
    /// The kernel kills a worker whose group has no more memory.
    OutOfMemory,
    /// A worker is off the net, for less than a lease.
    CutOff,
    /// ... for more than a lease.
    CutOffLong,
    /// What a worker says to another is lost.
    Wall,
    /// What a worker says to the coordinator is lost.
    Unheard,
}

impl Trouble {
    /// Those that a proxy, a signal or a limit makes.
    pub const PROXIED: &[Trouble] = &[
        Trouble::KillWorker,
        Trouble::LoseDisk,
        Trouble::KillCoordinator,
        Trouble::PauseWorker,
        Trouble::PauseCoordinator,
        Trouble::Delay,
        Trouble::Throttle,
        Trouble::HalfOpen,
        Trouble::NoRequests,
        Trouble::NoAnswers,
        Trouble::Reset,
        Trouble::Flip,
        Trouble::FullDisk,
        Trouble::WipeDisk,
        Trouble::FewFiles,
        Trouble::OutOfMemory,
    ];
    /// Those of the network's own.
    pub const NETWORKED: &[Trouble] = &[Trouble::CutOff, Trouble::Wall, Trouble::Unheard];
    /// Those that take as long as it takes to give a worker up, by proxy or signal.
    pub const LONG: &[Trouble] = &[Trouble::PauseWorkerLong];
    /// The same of the network.
    pub const LONG_NETWORKED: &[Trouble] = &[Trouble::CutOffLong];
    /// Those in which a process dies.
    pub const KILLS: &[Trouble] = &[
        Trouble::KillWorker,
        Trouble::LoseDisk,
        Trouble::KillCoordinator,
        Trouble::OutOfMemory,
    ];
    /// Those in which somebody does not hear somebody, by the kernel's network or by a proxy.
    pub const PARTITIONS: &[Trouble] = &[
        Trouble::CutOff,
        Trouble::CutOffLong,
        Trouble::Wall,
        Trouble::Unheard,
        Trouble::HalfOpen,
        Trouble::NoRequests,
        Trouble::NoAnswers,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Trouble> {
        let all = [
            Self::PROXIED,
            Self::NETWORKED,
            Self::LONG,
            Self::LONG_NETWORKED,
        ];
        let mut all = all.into_iter().flatten();
        all.find(|kind| format!("{kind:?}") == name).copied()
    }
}
