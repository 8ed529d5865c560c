//! The coordinator's ends of a worker's streams, over a channel. From here on a daemon and an embedded
//! worker look the same.

use crate::session::{Link, StorageLink};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use wire::settings::client;
use wire::{FromWorker, StorageRequest, proto};

const LINK_MESSAGES: usize = 1024;
const STORAGE_MESSAGES: usize = 8;

/// Opens a session.
///
/// # Errors
/// Where the worker does not answer.
pub async fn connect(channel: Channel) -> Result<Link, Status> {
    let (to_worker, outbox) = mpsc::channel(LINK_MESSAGES);
    let out = ReceiverStream::new(outbox).map(proto::ToWorker::from);
    let mut messages = client(channel).session(out).await?.into_inner();
    let (inbox, from_worker) = mpsc::channel(LINK_MESSAGES);
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            match FromWorker::try_from(message) {
                Ok(message) => {
                    if inbox.send(message).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a session ends");
                    break;
                }
            }
        }
    });
    Ok(Link {
        to_worker,
        from_worker,
    })
}

/// Opens a storage stream.
///
/// # Errors
/// Where the worker does not answer.
pub async fn connect_storage(channel: Channel) -> Result<StorageLink, Status> {
    let (replies, outbox) = mpsc::channel(STORAGE_MESSAGES);
    let out = ReceiverStream::new(outbox).map(proto::StorageReply::from);
    let mut messages = client(channel).storage(out).await?.into_inner();
    let (inbox, requests) = mpsc::channel(STORAGE_MESSAGES);
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            match StorageRequest::try_from(message) {
                Ok(request) => {
                    if inbox.send(request).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a storage stream ends");
                    break;
                }
            }
        }
    });
    Ok(StorageLink { replies, requests })
}
