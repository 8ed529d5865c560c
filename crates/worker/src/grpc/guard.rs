//! Who may call what: blocks and tables are for workers and coordinators, everything else is for coordinators.
//!
//! **Invariant:** a method that is not named here is for coordinators alone, those of other services included.

use super::tls::Role;
use futures::future::{Either, Ready, ready};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};
use wire::proto::worker_server::SERVICE_NAME;

/// The layer that stands before all services of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Whether connections are over TLS. Without it everybody may call everything: the listener is on loopback, or somebody has said
    /// that he trusts the network.
    pub secured: bool,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: *self,
            inner,
        }
    }
}

/// Services behind the guard.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.guard.secured {
            let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
            let shown = info.and_then(TlsConnectInfo::peer_certs);
            if let Err(status) = allowed(request.uri().path(), shown.as_ref()) {
                return Either::Left(ready(Ok(status.into_http())));
            }
        }
        Either::Right(self.inner.call(request))
    }
}

/// Whether who has shown these certificates may call a method.
fn allowed(
    path: &str,
    shown: Option<&Arc<Vec<CertificateDer<'static>>>>,
) -> Result<(), Box<Status>> {
    let roles: &[Role] = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((SERVICE_NAME, "Pull" | "ReadTable")) => &[Role::Coordinator, Role::Worker],
        _ => &[Role::Coordinator],
    };
    let own = shown.and_then(|shown| shown.first());
    if own.is_some_and(|own| roles.iter().any(|role| role.is_of(own))) {
        return Ok(());
    }
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    Err(Box::new(Status::permission_denied(format!(
        "{path} is for certificates with the name {}, and the one that was shown has not that",
        names.join(" or ")
    ))))
}
