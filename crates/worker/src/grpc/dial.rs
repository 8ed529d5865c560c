//! Peers by gRPC: a few channels each, chunks compared with their checksums, no wait for a peer without a limit, and
//! all that is under way within the receive budget.

use super::lively::{Lively, Patience};
use crate::memory::Split;
use crate::receiving::Receiving;
use crate::seams::{Dialer, PeerLink, PullError};
use bytes::{Bytes, BytesMut};
use exec::{Held, SpareBuffers};
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status, Streaming};
use tower::{Service, ServiceExt, service_fn};
use wire::settings::{CHANNELS_PER_PEER, CHUNK_IDLE_TIMEOUT, CONNECT_TIMEOUT, client, endpoint};
use wire::{Peer, Pull, PullReply, TableRead, proto};

/// How an endpoint becomes a channel that bears with so much silence; connects when first used.
pub type Connect = Arc<dyn Fn(Endpoint, Patience) -> Channel + Send + Sync>;

/// By TCP.
pub fn tcp() -> Connect {
    Arc::new(|endpoint, patience| channel(&endpoint, patience))
}

/// A channel by TCP whose other end must be heard; over TLS where the endpoint says so.
pub(super) fn channel(endpoint: &Endpoint, patience: Patience) -> Channel {
    let mut tcp = HttpConnector::new();
    // The endpoint may be one of TLS, which is laid over what this connects.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    endpoint.connect_with_connector_lazy(service_fn(move |to: Uri| {
        let connecting = tcp.clone().oneshot(to);
        async move {
            let stream = connecting.await?.into_inner();
            Ok::<_, <HttpConnector as Service<Uri>>::Error>(TokioIo::new(Lively::new(
                stream, patience,
            )))
        }
    }))
}

/// Reaches peers by gRPC.
#[derive(Clone)]
pub struct GrpcDialer {
    connect: Connect,
    memory_bytes: u64,
    receiving: Arc<Receiving>,
}

impl GrpcDialer {
    /// For a process with so much memory: what is under way at once stays within its receive budget, and what a
    /// peer claims must not exceed all of it.
    pub fn new(connect: Connect, memory_bytes: u64) -> Self {
        let receive_bytes = Split::of(memory_bytes, false).receive_bytes;
        GrpcDialer {
            connect,
            memory_bytes,
            receiving: Arc::new(Receiving::new(receive_bytes)),
        }
    }
}

impl Dialer for GrpcDialer {
    fn receiving(&self) -> Option<&Receiving> {
        Some(&self.receiving)
    }

    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        let ways = match endpoint(&peer.address) {
            Ok(endpoint) => (0..CHANNELS_PER_PEER)
                .map(|_| Way {
                    channel: (self.connect)(endpoint.clone(), Patience::OfPulls),
                    asking: Arc::default(),
                })
                .collect(),
            Err(error) => {
                tracing::warn!(address = peer.address, %error, "a peer has no usable address");
                Vec::new()
            }
        };
        Arc::new(GrpcPeer {
            ways,
            turn: AtomicUsize::new(0),
            memory_bytes: self.memory_bytes,
            receiving: Arc::clone(&self.receiving),
        })
    }
}

/// A channel, and whose turn it is to ask on it. An answer that waits for room fills its stream's window, which is
/// half of the connection's: a second one would leave nothing to those that receive, and nobody would go on.
#[derive(Clone)]
struct Way {
    channel: Channel,
    asking: Arc<Mutex<()>>,
}

struct GrpcPeer {
    ways: Vec<Way>,
    turn: AtomicUsize,
    memory_bytes: u64,
    receiving: Arc<Receiving>,
}

impl PeerLink for GrpcPeer {
    fn pull(
        &self,
        pull: Pull,
        spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>> {
        let way = self.way();
        let (memory_bytes, receiving) = (self.memory_bytes, Arc::clone(&self.receiving));
        let spare = Arc::clone(spare);
        Box::pin(async move {
            let way = way?;
            let turn = (way.asking.lock().await, receiving.ask().await);
            let request = proto::PullRequest::from(pull);
            let asked = async { client(way.channel.clone()).pull(request).await };
            let (mut replies, bytes, row_bytes) = head(asked).await?;
            if bytes > memory_bytes {
                return Err(unreachable(format!(
                    "it sends {bytes} bytes, more than this worker's memory"
                )));
            }
            let _room = receiving.room(bytes).await;
            drop(turn);
            let mut buffer = spare.take_empty(bytes as usize);
            receive(&mut replies, bytes as usize, |data| buffer.append(data)).await?;
            Ok(Held::Memory {
                buffer: Arc::new(buffer),
                row_bytes,
            })
        })
    }

    fn read_table(&self, read: TableRead) -> BoxFuture<'static, Result<(Bytes, u64), PullError>> {
        let (way, receiving) = (self.way(), Arc::clone(&self.receiving));
        Box::pin(async move {
            let way = way?;
            let turn = (way.asking.lock().await, receiving.ask().await);
            let wanted = read.range.end - read.range.start;
            let request = proto::TableRequest::from(read);
            let asked = async { client(way.channel.clone()).read_table(request).await };
            let (mut replies, length, _) = head(asked).await?;
            let _room = receiving.room(wanted).await;
            drop(turn);
            let mut bytes = BytesMut::with_capacity(wanted as usize);
            let append = |data: &[u8]| bytes.extend_from_slice(data);
            receive(&mut replies, wanted as usize, append).await?;
            Ok((bytes.freeze(), length))
        })
    }
}

impl GrpcPeer {
    /// The channel whose turn it is.
    fn way(&self) -> Result<Way, PullError> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let way = self.ways.get(turn % self.ways.len().max(1)).cloned();
        way.ok_or_else(|| unreachable("it has no usable address"))
    }
}

fn unreachable(why: impl ToString) -> PullError {
    PullError::Unreachable(why.to_string())
}

/// The answer, and what its head announces: the length, and that of a row.
async fn head(
    asked: impl Future<Output = Result<Response<Streaming<proto::PullReply>>, Status>>,
) -> Result<(Streaming<proto::PullReply>, u64, u32), PullError> {
    let answer = timeout(CHUNK_IDLE_TIMEOUT, asked).await;
    let mut replies = answer
        .map_err(unreachable)?
        .map_err(unreachable)?
        .into_inner();
    match next(&mut replies).await? {
        PullReply::Head { bytes, row_bytes } => Ok((replies, bytes, row_bytes)),
        PullReply::Missing => Err(PullError::Missing),
        PullReply::Damaged | PullReply::Content(_) => Err(PullError::Corrupt),
    }
}

/// Takes in so many bytes.
async fn receive(
    replies: &mut Streaming<proto::PullReply>,
    bytes: usize,
    mut take: impl FnMut(&[u8]),
) -> Result<(), PullError> {
    let mut left = bytes;
    while left > 0 {
        let PullReply::Content(chunk) = next(replies).await? else {
            return Err(PullError::Corrupt);
        };
        let data = chunk.verified().map_err(|_| PullError::Corrupt)?;
        if data.is_empty() || data.len() > left {
            return Err(PullError::Corrupt);
        }
        left -= data.len();
        take(&data);
    }
    Ok(())
}

async fn next(replies: &mut Streaming<proto::PullReply>) -> Result<PullReply, PullError> {
    let reply = timeout(CHUNK_IDLE_TIMEOUT, replies.message())
        .await
        .map_err(unreachable)?;
    let reply = reply
        .map_err(unreachable)?
        .ok_or_else(|| unreachable("its stream ended early"))?;
    PullReply::try_from(reply).map_err(unreachable)
}
