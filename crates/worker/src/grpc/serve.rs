//! The service: pumps between the streams of the wire and the links of a worker.

use crate::seams::PullError;
use crate::session::Worker;
use bytes::Bytes;
use exec::{Held, HeldBytes};
use futures::stream::{self, Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::{CHUNK_BYTES_MAX, Chunk, Pull, PullReply, StorageReply, TableRead, ToWorker, proto};

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service of one worker.
#[derive(Clone)]
pub struct Service(Worker);

impl Service {
    /// Serves this worker.
    pub fn new(worker: Worker) -> Self {
        Service(worker)
    }
}

#[tonic::async_trait]
impl proto::worker_server::Worker for Service {
    type SessionStream = Out<proto::FromWorker>;
    type StorageStream = Out<proto::StorageRequest>;
    type PullStream = Out<proto::PullReply>;
    type ReadTableStream = Out<proto::PullReply>;

    async fn session(
        &self,
        request: Request<Streaming<proto::ToWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut messages = request.into_inner();
        let link = self.0.connect();
        tokio::spawn(async move {
            // The end of either side ends the session.
            while let Ok(Some(message)) = messages.message().await {
                match ToWorker::try_from(message) {
                    Ok(message) => {
                        if link.to_worker.send(message).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the session ends");
                        break;
                    }
                }
            }
        });
        let out = ReceiverStream::new(link.from_worker).map(|message| Ok(message.into()));
        Ok(Response::new(Box::pin(out)))
    }

    async fn storage(
        &self,
        request: Request<Streaming<proto::StorageReply>>,
    ) -> Result<Response<Self::StorageStream>, Status> {
        let mut messages = request.into_inner();
        let link = self.0.connect_storage();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                match StorageReply::try_from(message) {
                    Ok(reply) => {
                        if link.replies.send(reply).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the storage stream ends");
                        break;
                    }
                }
            }
        });
        let out = ReceiverStream::new(link.requests).map(|message| Ok(message.into()));
        Ok(Response::new(Box::pin(out)))
    }

    async fn pull(
        &self,
        request: Request<proto::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let pull = Pull::try_from(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let replies: Out<proto::PullReply> = match self.0.pulled(&pull).await {
            Ok(held) => {
                let head = PullReply::Head {
                    bytes: held.bytes(),
                    row_bytes: held.row_bytes(),
                };
                let worker = self.0.clone();
                let content =
                    (0..held.bytes().div_ceil(CHUNK_BYTES_MAX as u64)).map(move |index| {
                        let reply = chunk(&held, index);
                        if let PullReply::Content(chunk) = &reply {
                            worker.count_sent(&pull, chunk.bytes() as u64);
                        }
                        reply
                    });
                // Lazy: a chunk is cut when the stream has room for it.
                Box::pin(stream::iter(
                    std::iter::once(head)
                        .chain(content)
                        .map(|reply| Ok(reply.into())),
                ))
            }
            Err(PullError::Corrupt) => Box::pin(stream::iter([Ok(PullReply::Damaged.into())])),
            Err(_) => Box::pin(stream::iter([Ok(PullReply::Missing.into())])),
        };
        Ok(Response::new(replies))
    }

    async fn read_table(
        &self,
        request: Request<proto::TableRequest>,
    ) -> Result<Response<Self::ReadTableStream>, Status> {
        let read = TableRead::try_from(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let replies = match self.0.table(read).await {
            Ok((bytes, part)) => {
                let head = PullReply::Head {
                    bytes,
                    row_bytes: 0,
                };
                let content = Chunk::cut(part).map(PullReply::Content);
                std::iter::once(head).chain(content).collect()
            }
            Err(PullError::Corrupt) => vec![PullReply::Damaged],
            Err(_) => vec![PullReply::Missing],
        };
        let replies = replies.into_iter().map(|reply| Ok(reply.into()));
        Ok(Response::new(Box::pin(stream::iter(replies))))
    }
}

fn chunk(held: &Held, index: u64) -> PullReply {
    let start = index * CHUNK_BYTES_MAX as u64;
    let end = held.bytes().min(start + CHUNK_BYTES_MAX as u64);
    let data = match held {
        Held::Memory { buffer, .. } => {
            let bytes = Bytes::from_owner(HeldBytes::Memory(Arc::clone(buffer)));
            bytes.slice(start as usize..end as usize)
        }
        Held::File { file, .. } => match file.section(start..end) {
            Ok(section) => Bytes::from_owner(section),
            Err(error) => {
                tracing::warn!(%error, "a held object cannot be read back");
                return PullReply::Damaged;
            }
        },
    };
    PullReply::Content(Chunk::new(data))
}
