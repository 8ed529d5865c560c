//! A worker behind gRPC, and peers reached by it.

pub mod dial;
pub mod remote;
pub mod serve;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

pub use dial::{Connect, GrpcDialer, tcp};
pub use serve::Service;

/// The connections of a listener, without delay (the server's own setting does not reach them).
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}
