//! A worker behind gRPC, and peers reached by it.

pub mod dial;
pub mod guard;
pub mod incoming;
pub mod remote;
pub mod serve;
pub mod tls;

pub use dial::{Connect, GrpcDialer, tcp};
pub use guard::Guard;
pub use incoming::incoming;
pub use serve::Service;
pub use tls::{Credentials, Role};
