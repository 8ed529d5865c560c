//! Durable writes, sealed files and their maps, the bounded cache, checksums, the run journal;
//! and what a process asks of its allocator.
//!
//! **Invariant:** only a file that was sealed, here or where a depot keeps it, can be mapped; nothing here knows a manifest, an RPC
//! or a formula.

#[cfg(target_endian = "big")]
compile_error!("sealed files are little-endian and are read without conversion");

mod arrow_file;
pub mod buffer;
pub mod cache;
pub mod dictionary;
pub mod error;
pub mod folder;
pub mod heap;
mod huge;
pub mod journal;
mod link;
mod map;
pub mod partition;
pub mod scratch;
pub mod sealed;
mod spool;
pub mod sums;
pub mod writer;

pub use buffer::AlignedBuf;
pub use cache::Cache;
pub use error::StoreError;
pub use journal::{Entry, Journal, Record};
pub use scratch::Scratch;
pub use sealed::{IoMode, Sealed, Section, TypedSection};
pub use writer::{Receiver, SealWriter};
