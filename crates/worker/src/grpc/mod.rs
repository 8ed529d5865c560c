//! A worker behind gRPC, and peers reached by it.

pub mod admission;
pub mod dial;
pub mod guard;
pub mod incoming;
pub mod lively;
pub mod remote;
pub mod serve;
pub mod tls;

pub use admission::Visits;
pub use dial::{Connect, GrpcDialer, tcp};
pub use guard::Guard;
pub use incoming::{Limits, incoming};
pub use lively::{Lively, Patience};
pub use serve::Service;
pub use tls::{Credentials, Role};
