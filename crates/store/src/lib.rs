//! Durable writes, sealed files and their maps, the bounded cache, checksums, the run journal.
//!
//! **Invariant:** only a file that was sealed here can be mapped; nothing here knows a manifest, an RPC
//! or a formula.

pub mod buffer;

pub use buffer::AlignedBuf;
pub mod sealed;
pub use sealed::{Cache, IoMode, Sealed, Section, StoreError};
