//! The op of a task as it travels: a family, a version and bytes that only the family's crate opens.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The crate that can open an op's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OpFamily {
    /// The worker's own: see [`Op::persist`].
    Builtin,
    /// Ops of algorithms.
    Model,
    /// Ops of ingest and of views.
    Tables,
    /// Ops of tests of the engine itself (block sum, two-block tile, sleep): always compiled, they cost nothing.
    Probe,
}

/// Versioned bytes. The version is the family's; a worker refuses what it does not know, in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Op {
    /// Who can open it.
    pub family: OpFamily,
    /// The version of the family's encoding.
    pub version: u16,
    /// The encoded op. Shared: the tasks of a step often differ in their reads and writes only.
    pub body: Arc<[u8]>,
}

impl Op {
    /// The worker's own op that makes the one object it reads durable in the depot of the model and
    /// returns, as its partial, the 32 bytes of the digest, then the length and the bytes of a row (u64, u32, little-endian).
    pub fn persist() -> Self {
        Op {
            family: OpFamily::Builtin,
            version: 1,
            body: Arc::from(&b"persist"[..]),
        }
    }
}
