//! The RPC messages and their sums, their conversion to our types, typed failures, channel settings.
//!
//! **Invariant:** generated types are named here and in the two shells' service files only; whatever
//! passes through [`convert`] is checked, so that behind it no message is malformed.

pub mod chunk;
pub mod codec;
pub mod convert;
pub mod message;
pub mod settings;
pub mod token;

/// Generated from `proto/strata.proto`.
#[allow(missing_docs, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("strata.v1");

    /// The encoded descriptors, for the reflection service.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/strata.bin"));
}

pub use chunk::{CHUNK_BYTES_MAX, Chunk, ChunkDamaged};
pub use convert::Malformed;
pub use message::{
    BUILD, Done, ENGINE, FromWorker, Input, Open, Peer, Phase, Pull, PullPart, PullReply, Reach,
    Span, StorageReply, StorageRequest, TableRead, ToWorker, Totals, Traffic, serves,
};
pub use token::Token;
