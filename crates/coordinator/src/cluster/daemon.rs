//! Keeps a session with one daemon: dial, open, carry messages, dial again when it is lost.

use super::Session;
use super::dial::Dial;
use super::registry::Registry;
use super::serve;
use exec::Held;
use plan::Profile;
use std::sync::Arc;
use std::time::Duration;
use store::AlignedBuf;
use tensor::WorkerId;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use wire::{
    ENGINE, FromWorker, Open, Pull, PullReply, StorageReply, StorageRequest, ToWorker, proto,
};

/// The first pause before a lost daemon is dialled again; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A heartbeat must come within this many intervals.
const HEARTBEATS_MISSED_MAX: u32 = 20;

/// Dials until the session is closed. A daemon that speaks another version is not dialled again.
pub async fn keep(address: String, dial: Arc<dyn Dial>, session: Session, registry: Registry) {
    let mut pause = PAUSE;
    while !registry.is_closing() {
        let ended = match dial.connect(&address).await {
            Ok(channel) => serve_one(&address, channel, &session, &registry).await,
            Err(reason) => Ended::NotOpened(reason),
        };
        match ended {
            Ended::Lost => pause = PAUSE,
            Ended::NotOpened(reason) => registry.trouble(&address, reason),
            Ended::Refused(reason) => return registry.trouble(&address, reason),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// How a session with a daemon ended.
enum Ended {
    /// It had been open.
    Lost,
    /// It never was; trying again may help.
    NotOpened(String),
    /// It never will be.
    Refused(String),
}

async fn serve_one(
    address: &str,
    channel: Channel,
    session: &Session,
    registry: &Registry,
) -> Ended {
    let (outbox, inbox) = mpsc::unbounded_channel::<ToWorker>();
    let outgoing = UnboundedReceiverStream::new(inbox).map(proto::ToWorker::from);
    let mut client = wire::settings::client(channel.clone());
    let mut incoming = match client.session(outgoing).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ended::NotOpened(status.message().to_owned()),
    };
    let worker = registry.number();
    let profile = match hello(next(&mut incoming).await) {
        Ok(profile) => profile,
        Err(ended) => return ended,
    };
    let _ = outbox.send(ToWorker::Open(open(session, worker, registry)));
    let storage = tokio::spawn(storage(channel, session.clone()));
    let ended = match next(&mut incoming).await {
        Ok(FromWorker::Opened) => {
            registry.join(worker, address.to_owned(), profile, outbox);
            let reason = listen(&mut incoming, worker, registry).await;
            registry.lost(worker, reason);
            Ended::Lost
        }
        Ok(FromWorker::Refused(failure)) => Ended::Refused(failure.to_string()),
        Ok(FromWorker::Busy(sentence)) => Ended::NotOpened(sentence),
        Ok(_) => Ended::NotOpened("it did not answer Open".to_owned()),
        Err(reason) => Ended::NotOpened(reason),
    };
    storage.abort();
    ended
}

fn hello(first: Result<FromWorker, String>) -> Result<Profile, Ended> {
    match first {
        Ok(FromWorker::Hello { engine, profile }) if engine == ENGINE => Ok(profile),
        Ok(FromWorker::Hello { engine, .. }) => Err(Ended::Refused(format!(
            "runs engine {engine}, this is {ENGINE}: install the same version on both"
        ))),
        Ok(FromWorker::Busy(sentence)) => Err(Ended::NotOpened(sentence)),
        Ok(_) => Err(Ended::NotOpened("it did not say Hello".to_owned())),
        Err(reason) => Err(Ended::NotOpened(reason)),
    }
}

fn open(session: &Session, worker: WorkerId, registry: &Registry) -> Open {
    Open {
        term: session.term,
        run: session.run,
        worker,
        engine: ENGINE.to_owned(),
        inputs: session.places.inputs_for_daemons(),
        depots: session.places.depots_for_daemons(),
        peers: registry.peers(),
        io: session.io,
        simd: session.simd,
        heartbeat_ms: wire::settings::HEARTBEAT.as_millis() as u32,
    }
}

/// Carries messages until the stream ends or falls silent; returns why.
async fn listen(
    incoming: &mut tonic::Streaming<proto::FromWorker>,
    worker: WorkerId,
    registry: &Registry,
) -> String {
    loop {
        let silence = wire::settings::HEARTBEAT * HEARTBEATS_MISSED_MAX;
        match tokio::time::timeout(silence, next(incoming)).await {
            Ok(Ok(message)) => {
                let closed = matches!(message, FromWorker::Closed(_));
                registry.said(worker, message);
                if closed {
                    return "closed".to_owned();
                }
            }
            Ok(Err(reason)) => return reason,
            Err(_) => return format!("said nothing for {} s", silence.as_secs()),
        }
    }
}

async fn next(incoming: &mut tonic::Streaming<proto::FromWorker>) -> Result<FromWorker, String> {
    match incoming.message().await {
        Ok(Some(message)) => {
            FromWorker::try_from(message).map_err(|malformed| malformed.to_string())
        }
        Ok(None) => Err("it ended the session".to_owned()),
        Err(status) => Err(status.message().to_owned()),
    }
}

/// Opens the storage stream and answers what the worker asks on it.
async fn storage(channel: Channel, session: Session) {
    let (replies, outgoing) = mpsc::channel::<StorageReply>(serve::REPLIES_MAX);
    let attach = StorageReply::Attach {
        run: session.run,
        term: session.term,
    };
    if replies.send(attach).await.is_err() {
        return;
    }
    let outgoing =
        tokio_stream::wrappers::ReceiverStream::new(outgoing).map(proto::StorageReply::from);
    match wire::settings::client(channel).storage(outgoing).await {
        Ok(response) => {
            // A malformed request ends the stream: the worker is of another making.
            let requests = response
                .into_inner()
                .map_while(|message| StorageRequest::try_from(message.ok()?).ok());
            serve::answer(requests, replies, session.places).await;
        }
        Err(status) => tracing::warn!(
            reason = status.message(),
            "a worker opened no storage stream"
        ),
    }
}

/// Pulls an object whole.
pub async fn pull(channel: Channel, pull: Pull) -> Result<Held, String> {
    let request = proto::PullRequest::from(pull);
    let replies = wire::settings::client(channel)
        .pull(request)
        .await
        .map_err(|status| status.message().to_owned())?;
    let mut replies = replies.into_inner();
    let (mut buffer, mut filled, mut row) = (AlignedBuf::zeroed(0), 0, 0);
    while let Some(reply) =
        tokio::time::timeout(wire::settings::CHUNK_IDLE_TIMEOUT, replies.message())
            .await
            .map_err(|_| "it fell silent while sending".to_owned())?
            .map_err(|status| status.message().to_owned())?
    {
        match PullReply::try_from(reply).map_err(|malformed| malformed.to_string())? {
            PullReply::Head { bytes, row_bytes } => {
                (buffer, row) = (AlignedBuf::zeroed(bytes as usize), row_bytes);
            }
            PullReply::Content(chunk) => {
                let data = chunk.verified().map_err(|damaged| damaged.to_string())?;
                let place = buffer.bytes_mut().get_mut(filled..filled + data.len());
                place
                    .ok_or("it sent more than it announced")?
                    .copy_from_slice(&data);
                filled += data.len();
            }
            PullReply::Missing => return Err("it does not hold the object".to_owned()),
            PullReply::Damaged => return Err("its copy is damaged".to_owned()),
        }
    }
    if filled < buffer.len() {
        return Err("it sent less than it announced".to_owned());
    }
    Ok(Held::Memory {
        buffer: Arc::new(buffer),
        row_bytes: row,
    })
}
