//! One worker: its session from greeting to end, and again after a while if it was lost.

use super::{Heard, Shared};
use std::sync::Arc;
use std::time::Duration;
use tensor::WorkerId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use wire::settings::{CONNECT_TIMEOUT, endpoint};
use wire::{BUILD, FromWorker, Open, Peer, StorageReply, ToWorker};
use worker::grpc::{Patience, remote};
use worker::{Link, StorageLink, Worker};

/// The first pause before a lost worker is dialled again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a worker may take to notice that the coordinator of its session is gone.
const GONE: Duration = Duration::from_secs(12);
/// How long a worker may take to say each word of the greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a worker is.
#[derive(Clone)]
pub(super) enum Place {
    /// In this process.
    Here(Worker),
    /// At this address.
    There(String),
}

impl Place {
    fn address(&self) -> &str {
        match self {
            Place::Here(_) => "",
            Place::There(address) => address,
        }
    }

    fn channel(shared: &Shared, address: &str) -> Result<Channel, String> {
        let endpoint =
            endpoint(address).map_err(|error| format!("{address} is no address: {error}"))?;
        Ok((shared.connect)(endpoint, Patience::OfSessions))
    }

    async fn connect(&self, shared: &Shared) -> Result<(Link, Option<Channel>), String> {
        match self {
            Place::Here(worker) => Ok((worker.connect(), None)),
            Place::There(address) => {
                let channel = Self::channel(shared, address)?;
                let connecting = timeout(CONNECT_TIMEOUT, remote::connect(channel.clone())).await;
                let connected = connecting.map_err(|_| "it does not answer".to_owned())?;
                Ok((connected.map_err(|status| said(&status))?, Some(channel)))
            }
        }
    }

    async fn connect_storage(&self, channel: Option<Channel>) -> Result<StorageLink, String> {
        match (self, channel) {
            (Place::Here(worker), _) => Ok(worker.connect_storage()),
            (Place::There(_), Some(channel)) => remote::connect_storage(channel)
                .await
                .map_err(|status| status.message().to_owned()),
            (Place::There(address), None) => Err(format!("{address} has no channel")),
        }
    }
}

/// Why a worker is not to be had. The words of the libraries on an end that speaks TLS and one that does not help
/// nobody, and where the end is cut off it is chance which of them comes.
fn said(status: &tonic::Status) -> String {
    let message = status.message();
    if message.contains("InvalidContentType") {
        return "it speaks no TLS: start it with `--tls`, or leave `--tls` out here".to_owned();
    }
    let cut_off = [
        "operation was canceled",
        "h2 protocol error",
        "broken pipe",
        "transport error",
    ];
    if cut_off.iter().any(|words| message.contains(words)) {
        return format!("{message}; if it asks for certificates, give `--tls`");
    }
    message.to_owned()
}

/// How a session ended.
enum End {
    /// It never came about.
    NotBegun(String),
    /// It was open and is over.
    Over,
}

/// Keeps one worker in the run: dials, serves its session, and dials again when it is lost. `first` learns
/// how the first attempt went.
pub(super) async fn keep(
    shared: Arc<Shared>,
    place: Place,
    first: oneshot::Sender<Result<(), String>>,
) {
    let mut first = Some(first);
    let mut pause = PAUSE;
    let (began, ours) = (Instant::now(), wire::serves(&shared.job.run));
    loop {
        if shared.members.is_shunned(place.address()) {
            return;
        }
        match session(&shared, &place, &mut first).await {
            End::Over => pause = PAUSE,
            // The coordinator before this one was killed, and the worker has not noticed yet.
            End::NotBegun(why) if why == ours && began.elapsed() < GONE => {}
            End::NotBegun(why) => {
                tracing::debug!(address = place.address(), why, "a worker is not to be had");
                if let Some(first) = first.take() {
                    // The cluster may have been dropped meanwhile.
                    let _ = first.send(Err(why));
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        if shared.is_closing() {
            return;
        }
        sleep(pause).await;
    }
}

async fn word(link: &mut Link) -> Result<FromWorker, String> {
    let word = timeout(GREETING_TIMEOUT, link.from_worker.recv()).await;
    word.ok()
        .flatten()
        .ok_or_else(|| "it ended the session without a word".to_owned())
}

/// Greets a worker and opens the job on it.
async fn greet(
    shared: &Shared,
    link: &mut Link,
    id: WorkerId,
    place: &Place,
) -> Result<plan::Profile, String> {
    let profile = match word(link).await? {
        FromWorker::Hello { build, profile } if build == BUILD => profile,
        FromWorker::Hello { build, .. } => {
            return Err(format!(
                "it is build {build} of the engine, this coordinator {BUILD}: run the same build everywhere"
            ));
        }
        FromWorker::Busy(sentence) => return Err(sentence),
        other => return Err(format!("it greets with {other:?}")),
    };
    let remote = matches!(place, Place::There(_));
    let open = Open {
        term: shared.job.term,
        run: shared.job.run,
        token: shared.token,
        worker: id,
        build: BUILD.to_owned(),
        inputs: shared.job.inputs(remote),
        depots: shared.job.depots(remote),
        peers: shared.members.peers(),
        heartbeat_ms: shared.job.heartbeat.as_millis() as u32,
    };
    link.to_worker
        .send(ToWorker::Open(open))
        .await
        .map_err(|_| "it is gone".to_owned())?;
    match word(link).await? {
        FromWorker::Opened => Ok(profile),
        FromWorker::Refused(failure) => Err(failure.to_string()),
        other => Err(format!("it answers with {other:?}")),
    }
}

async fn session(
    shared: &Arc<Shared>,
    place: &Place,
    first: &mut Option<oneshot::Sender<Result<(), String>>>,
) -> End {
    let (mut link, channel) = match place.connect(shared).await {
        Ok(connected) => connected,
        Err(why) => return End::NotBegun(why),
    };
    let id = shared.next_id();
    if let Place::Here(worker) = place {
        shared.local.join(id, worker.clone());
    }
    let profile = match greet(shared, &mut link, id, place).await {
        Ok(profile) => profile,
        Err(why) => return End::NotBegun(why),
    };
    let storage = match place.connect_storage(channel).await {
        Ok(storage) => storage,
        Err(why) => return End::NotBegun(why),
    };
    let attach = StorageReply::Attach {
        run: shared.job.run,
        term: shared.job.term,
        token: shared.token,
    };
    let files = Arc::clone(&shared.files);
    let serving = tokio::spawn(files.serve(Arc::clone(shared), storage, attach));
    let (to, outbox) = mpsc::unbounded_channel();
    let peer = Peer {
        worker: id,
        address: place.address().to_owned(),
    };
    let way = shared.dialer.peer(&peer);
    shared.members.join(peer, way, to);
    shared.tell(Heard::Joined(id, profile));
    if let Some(first) = first.take() {
        let _ = first.send(Ok(()));
    }
    let dismissed = converse(shared, id, link, outbox).await;
    shared.members.leave(id);
    shared.local.leave(id);
    serving.abort();
    if !dismissed {
        let at = place.address();
        let sentence = if at.is_empty() {
            format!("worker {id} ended")
        } else {
            format!("the worker at {at} is gone")
        };
        shared.tell(Heard::Lost(id, sentence));
    }
    End::Over
}

/// Passes messages both ways. True if the session was ended from here.
async fn converse(
    shared: &Shared,
    id: WorkerId,
    mut link: Link,
    mut outbox: mpsc::UnboundedReceiver<ToWorker>,
) -> bool {
    loop {
        tokio::select! {
            biased;
            said = link.from_worker.recv() => match said {
                Some(said) => shared.tell(Heard::Said(id, said)),
                None => return false,
            },
            message = outbox.recv() => match message {
                Some(message) => {
                    if link.to_worker.send(message).await.is_err() {
                        return false;
                    }
                }
                None => return true,
            },
        }
    }
}
