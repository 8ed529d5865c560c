//! The shell that receives tasks, moves blocks between peers, and hands tasks to `exec`.
//!
//! **Invariant:** nothing computes on tokio's threads, and nothing here decides what is computed: it
//! fetches what a task names, runs it, holds what it wrote, and says so. Time is tokio's, so that a
//! simulation can drive it; threads and connections come through [`seams`].

pub mod arguments;
pub mod condition;
pub mod counters;
pub mod daemon;
pub mod executor;
pub mod exposition;
pub mod fetch;
pub mod grpc;
pub mod holding;
pub mod http;
pub mod inputs;
pub mod memory;
pub mod queue;
pub mod receiving;
mod relay;
pub mod resident;
pub mod run;
pub mod seams;
pub mod session;
pub mod storage;

pub use executor::{Inline, Threads};
pub use holding::LocalPeers;
pub use memory::Split;
pub use seams::{Dialer, Executor, OpenWay, PeerLink, PeerWay, PullError};
pub use session::{Link, Settings, StorageLink, Worker};
