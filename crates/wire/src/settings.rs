//! Every figure of the transport, in one place, with what it was measured or chosen for (FINDINGS 4).

use crate::proto::worker_client::WorkerClient;
use crate::proto::worker_server::{Worker, WorkerServer};
use std::time::Duration;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Server};

/// HTTP/2 flow control window of one stream: 16 MiB, three to eight times the speed of the default.
pub const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// HTTP/2 flow control window of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// HTTP/2 frames: 1 MiB on both ends doubles the speed again. (Above 16 MiB - 1 the stack panics.)
pub const FRAME_BYTES: u32 = 1 << 20;
/// The largest message on either end: a chunk and its framing; control messages with many assignments stay below.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The channels to one peer, used in turn.
pub const CHANNELS_PER_PEER: usize = 2;
/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest pause between two chunks of one stream, from a peer that lives: 1 MiB over a line of 9 KB/s. (A server's own timeout
/// covers the start only.) A peer that is dead is found by its silence, and much sooner.
pub const CHUNK_IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a session may be without the stream by which its coordinator serves files.
pub const STORAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// After so long without a frame the other end is asked to say something; by a client, and by a server.
pub const CLIENT_PROBE_INTERVAL: Duration = Duration::from_millis(1500);
/// See above.
pub const SERVER_PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// HTTP/2 itself does not mind how long an answer to that takes: it stands behind whatever is on its way over a slow line.
const PROBE_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a peer may say nothing at all, not a byte, before those that wait for a block of it are told: two heartbeats to miss it,
/// as the coordinator would, and time to answer a probe.
pub const PULL_SILENCE_MAX: Duration = Duration::from_secs(4);
/// The same where it must take in first what it was sent: its system does so by the megabyte.
pub const PULL_SENDING_MAX: Duration = Duration::from_secs(20);
/// The same of any other connection. Whether a worker that is silent lives is for the coordinator's plan to say, and not before its
/// lease has ended; for a client nobody waits.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);
/// See above.
pub const SENDING_MAX: Duration = Duration::from_mins(1);
/// How often a worker says that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// Streams of one connection at once.
pub const STREAMS_MAX: u32 = 256;
/// Connections of a worker at once: those of 250 peers and of coordinators, and half of the 1,024 files that a process
/// may usually have open.
pub const CONNECTIONS_MAX: usize = 512;
/// New connections that one address may make in a second: twenty clusters of ten workers could begin at once. All addresses together
/// may make four times as many.
pub const NEW_CONNECTIONS_A_SECOND: u32 = 500;
/// How long a new connection may take to say that it speaks HTTP/2. A client says it with its first packet; who then
/// says nothing more is found by the probes.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of headers.
pub const HEADER_BYTES_MAX: u32 = 16 << 10;

/// How a client connects.
///
/// # Errors
/// Where the address is none.
pub fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(tuned(Endpoint::from_shared(format!("http://{address}"))?))
}

/// The same place over TLS.
///
/// # Errors
/// Where the certificates are none.
pub fn secured(
    plain: &Endpoint,
    tls: ClientTlsConfig,
) -> Result<Endpoint, tonic::transport::Error> {
    let address = plain
        .uri()
        .authority()
        .map_or("", |authority| authority.as_str());
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    tuned(endpoint).tls_config(tls)
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(CLIENT_PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES)
}

/// How a worker serves.
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(STREAMS_MAX as usize)
        .load_shed(true)
        .http2_keepalive_interval(Some(SERVER_PROBE_INTERVAL))
        .http2_keepalive_timeout(Some(PROBE_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(64))
}

/// The client of a worker, with both limits set.
pub fn client(channel: Channel) -> WorkerClient<Channel> {
    WorkerClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The service of a worker, with both limits set.
pub fn service<S: Worker>(worker: S) -> WorkerServer<S> {
    WorkerServer::new(worker)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
