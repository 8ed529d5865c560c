//! Plain HTTP for probes, scrapers and people: what this process is at.
//!
//! **Invariant:** it only reads, and a client costs the job nothing, whatever it does or leaves undone: connections are few,
//! a request is short, soon sent and soon answered, and nobody waits for a reader.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use plan::{Failure, Refusal};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Connections at once; more wait in the backlog of the listener.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that a request may be long, and its headers many.
const REQUEST_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// How long an answer may take to be read.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of a stream; browsers ask again by themselves.
const STREAM_TIMEOUT: Duration = Duration::from_mins(10);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a process tells of itself.
pub trait Told: Send + Sync + 'static {
    /// Whether it can do what it is there for.
    fn is_ready(&self) -> bool;

    /// Its figures, in the text format of OpenMetrics.
    fn metrics(&self) -> String;

    /// Its state as one JSON object.
    fn status(&self) -> String;
}

/// Listens on an address that came by a flag.
///
/// # Errors
/// Where it is none (78), or cannot be had (69).
pub async fn bind(flag: &str, address: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let refused = |refusal, sentence| Failure::Refused { refusal, sentence };
    let port = address.rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        let sentence = format!("{flag} {address} is no HOST:PORT: write 127.0.0.1:7080, say");
        return Err(refused(Refusal::Config, sentence));
    }
    let cannot = |error: std::io::Error| {
        let sentence = format!("{flag} {address}: {error}: give another address or port");
        refused(Refusal::Unavailable, sentence)
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let at = listener.local_addr().map_err(cannot)?;
    Ok((listener, at))
}

/// `/healthz`, `/readyz`, `/metrics` and `/status.json`. The first two say a word and nothing else.
pub fn common<T: Told>(told: Arc<T>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness::<T>))
        .route("/metrics", get(metrics::<T>))
        .route("/status.json", get(status::<T>))
        .with_state(told)
}

async fn readiness<T: Told>(State(told): State<Arc<T>>) -> (StatusCode, &'static str) {
    if told.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics<T: Told>(State(told): State<Arc<T>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], told.metrics())
}

async fn status<T: Told>(State(told): State<Arc<T>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], told.status())
}

/// What every answer says: nothing is kept, nothing is guessed, and no other site may use it.
async fn reserve(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let name = header::HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(name, HeaderValue::from_static("same-origin"));
    response
}

/// Put into every request: a handler whose answer is a stream says so.
#[derive(Clone, Debug, Default)]
pub struct Lasting(Arc<AtomicBool>);

impl Lasting {
    /// The answer may last.
    pub fn lasts(&self) {
        self.0.store(true, Relaxed);
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let router = router.layer(map_response(reserve));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request of one connection.
async fn answer(stream: TcpStream, router: Router) {
    let lasting = Lasting::default();
    let told = lasting.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(told.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    // What goes wrong between a client and us is the client's trouble.
    let ended = timeout(ANSWER_TIMEOUT, &mut serving).await;
    if ended.is_err() && lasting.0.load(Relaxed) {
        let _ = timeout(STREAM_TIMEOUT, serving).await;
    }
}
