//! How a daemon is connected to: injected, so that a simulation can own the network.

use futures::future::BoxFuture;
use tonic::transport::Channel;

/// Opens a channel to an address.
pub trait Dial: Send + Sync {
    /// A connected channel, or why there is none.
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Channel, String>>;
}

/// Plain TCP with the settings of `wire`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Channel, String>> {
        let endpoint = wire::settings::endpoint(address);
        Box::pin(async move {
            let endpoint = endpoint.map_err(|error| format!("is no address ({error})"))?;
            endpoint.connect().await.map_err(|error| reason(&error))
        })
    }
}

/// The innermost cause, which is the one that people understand.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
