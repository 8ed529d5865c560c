//! A worker behind gRPC, and peers reached by it.

pub mod dial;
pub mod incoming;
pub mod remote;
pub mod serve;

pub use dial::{Connect, GrpcDialer, tcp};
pub use incoming::incoming;
pub use serve::Service;
