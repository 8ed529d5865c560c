//! Peers by gRPC: a few channels each, chunks compared with their checksums, no wait without a limit.

use crate::seams::{Dialer, PeerLink, PullError};
use exec::Held;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use store::AlignedBuf;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use wire::settings::{CHANNELS_PER_PEER, CHUNK_IDLE_TIMEOUT, client, endpoint};
use wire::{Peer, Pull, PullReply, proto};

/// How an endpoint becomes a channel; connects when first used.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// By TCP.
pub fn tcp() -> Connect {
    Arc::new(|endpoint| endpoint.connect_lazy())
}

/// Reaches peers by gRPC.
#[derive(Clone)]
pub struct GrpcDialer {
    connect: Connect,
    object_bytes_max: u64,
}

impl GrpcDialer {
    /// Takes in objects up to a length: what a peer claims must not exhaust memory.
    pub fn new(connect: Connect, object_bytes_max: u64) -> Self {
        GrpcDialer {
            connect,
            object_bytes_max,
        }
    }
}

impl Dialer for GrpcDialer {
    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        let channels = match endpoint(&peer.address) {
            Ok(endpoint) => (0..CHANNELS_PER_PEER)
                .map(|_| (self.connect)(endpoint.clone()))
                .collect(),
            Err(error) => {
                tracing::warn!(address = peer.address, %error, "a peer has no usable address");
                Vec::new()
            }
        };
        Arc::new(GrpcPeer {
            channels,
            turn: AtomicUsize::new(0),
            object_bytes_max: self.object_bytes_max,
        })
    }
}

struct GrpcPeer {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    object_bytes_max: u64,
}

impl PeerLink for GrpcPeer {
    fn pull(&self, pull: Pull) -> BoxFuture<'static, Result<Held, PullError>> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let channel = self
            .channels
            .get(turn % self.channels.len().max(1))
            .cloned();
        let object_bytes_max = self.object_bytes_max;
        Box::pin(async move {
            let channel = channel.ok_or_else(|| unreachable("it has no usable address"))?;
            receive(channel, pull, object_bytes_max).await
        })
    }
}

fn unreachable(why: impl ToString) -> PullError {
    PullError::Unreachable(why.to_string())
}

async fn receive(channel: Channel, pull: Pull, object_bytes_max: u64) -> Result<Held, PullError> {
    let request = proto::PullRequest::from(pull);
    let answer = timeout(CHUNK_IDLE_TIMEOUT, async {
        client(channel).pull(request).await
    })
    .await;
    let mut replies = answer
        .map_err(unreachable)?
        .map_err(unreachable)?
        .into_inner();
    let (bytes, row_bytes) = match next(&mut replies).await? {
        PullReply::Head { bytes, row_bytes } if bytes <= object_bytes_max => {
            (bytes as usize, row_bytes)
        }
        PullReply::Head { bytes, .. } => {
            return Err(unreachable(format!(
                "it sends {bytes} bytes, more than this worker's memory"
            )));
        }
        PullReply::Missing => return Err(PullError::Missing),
        PullReply::Damaged | PullReply::Content(_) => return Err(PullError::Corrupt),
    };
    let mut buffer = AlignedBuf::zeroed(bytes);
    let mut at = 0;
    while at < bytes {
        let PullReply::Content(chunk) = next(&mut replies).await? else {
            return Err(PullError::Corrupt);
        };
        let data = chunk.verified().map_err(|_| PullError::Corrupt)?;
        let room = buffer.bytes_mut()[at..]
            .get_mut(..data.len())
            .filter(|_| !data.is_empty());
        room.ok_or(PullError::Corrupt)?.copy_from_slice(&data);
        at += data.len();
    }
    Ok(Held::Memory {
        buffer: Arc::new(buffer),
        row_bytes,
    })
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
