//! A worker behind gRPC, and peers reached by it.

pub mod dial;
pub mod remote;
pub mod serve;

pub use dial::{Connect, GrpcDialer, tcp};
pub use serve::Service;
