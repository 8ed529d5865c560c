//! What coordinator and worker say to each other, as Rust. Embedded workers exchange these values as they
//! are; daemons exchange their encoding (`convert`).

use crate::Token;
use plan::{Assignment, Failure, Profile, Wrote};
use std::ops::Range;
use std::sync::Arc;
use tensor::{DepotId, Digest, KeyRange, ObjectKey, TaskId, WorkerId};

/// The version of the engine: part of what names a run.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// The version and a fingerprint of the sources. Processes of different builds refuse each other in words: between two
/// versions what an op is, or the bits of a kernel, may change.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("STRATA_SOURCES"));

/// How a depot or an input file is reached by the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By this URL or path, which the worker sees as the coordinator does.
    Url(String),
    /// Through the coordinator: [`StorageRequest`].
    Served,
}

impl Reach {
    /// Whether a URL, or a path, names a place that is another one in every process or on every machine. None goes over the wire: who
    /// says what a worker opens does not say it of the worker's own disk.
    pub fn is_local(url: &str) -> bool {
        url.split_once("://").is_none_or(|(scheme, _)| {
            matches!(scheme.to_ascii_lowercase().as_str(), "file" | "memory")
        })
    }
}

/// One of the input files of a session; its number is its place in [`Open::inputs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// How to read it.
    pub reach: Reach,
    /// Its length.
    pub bytes: u64,
}

/// Where a worker can be reached by its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub worker: WorkerId,
    /// `HOST:PORT`; empty where peers share a process.
    pub address: String,
}

/// A job begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The leadership number of the coordinator.
    pub term: u64,
    /// The run key.
    pub run: Digest,
    /// The secret of the job.
    pub token: Token,
    /// The number of this worker in this session.
    pub worker: WorkerId,
    /// [`BUILD`] of the coordinator.
    pub build: String,
    /// The user's files.
    pub inputs: Vec<Input>,
    /// The durable places.
    pub depots: Vec<(DepotId, Reach)>,
    /// The other workers, as far as they are known.
    pub peers: Vec<Peer>,
    /// How often to say [`FromWorker::Alive`].
    pub heartbeat_ms: u32,
}

/// From the coordinator to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Begin a job. Answered by [`FromWorker::Opened`] or [`FromWorker::Refused`].
    Open(Open),
    /// All the other workers, now.
    Peers(Vec<Peer>),
    /// Run these, in this order.
    Assign(Vec<Assignment>),
    /// Give the task back if it has not begun.
    Revoke {
        /// Which.
        task: TaskId,
        /// As assigned under.
        attempt: u32,
    },
    /// These objects are no longer needed. Harmless where the worker does not hold them, so it may be
    /// sent to every worker: they then let go of pulled copies too.
    Drop(Vec<KeyRange>),
    /// The job is over: answer [`FromWorker::Closed`] and forget everything of it.
    Close,
}

/// What a span of a task's time was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for what it needs.
    Fetch,
    /// Computing.
    Compute,
    /// Putting what must be durable.
    Send,
}

/// For the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// On what.
    pub phase: Phase,
    /// Microseconds since the worker opened the session.
    pub start_us: u64,
    /// Microseconds.
    pub length_us: u64,
}

/// Bytes exchanged with one peer since the session was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The peer.
    pub worker: WorkerId,
    /// Served to it.
    pub sent_bytes: u64,
    /// Pulled from it.
    pub received_bytes: u64,
}

/// A task is done and its writes can be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub task: TaskId,
    /// As assigned under.
    pub attempt: u32,
    /// The partial, empty if none.
    pub partial: Vec<u8>,
    /// What it wrote.
    pub wrote: Vec<Wrote>,
    /// Pieces it was computed in.
    pub pieces: u64,
    /// Rows that a cut between pieces fell into.
    pub cut_rows: u64,
    /// Which of the worker's lanes ran it.
    pub lane: u32,
    /// How its time was spent.
    pub spans: Vec<Span>,
    /// The most anonymous memory the worker's process had so far.
    pub peak_anonymous_bytes: u64,
    /// Exchange with peers so far, peers without any left out.
    pub traffic: Vec<Traffic>,
}

/// What a worker did in a session.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Tasks done.
    pub tasks: u64,
    /// The most anonymous memory its process had.
    pub peak_anonymous_bytes: u64,
    /// Bytes read from and put to depots and inputs, served or direct.
    pub storage_bytes: u64,
    /// Exchange with peers.
    pub traffic: Vec<Traffic>,
}

/// From a worker to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// The first word on a free worker's session.
    Hello {
        /// [`BUILD`] of the worker.
        build: String,
        /// What it offers.
        profile: Profile,
    },
    /// The job is open: assign.
    Opened,
    /// The first and last word of a worker that is not to be had; [`serves`] where it has a job.
    Busy(String),
    /// A heartbeat.
    Alive {
        /// The anonymous memory of its process now.
        anonymous_bytes: u64,
    },
    /// A task is done.
    Done(Done),
    /// A task could not be done.
    Failed {
        /// Which.
        task: TaskId,
        /// As assigned under.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// A revoked task that had not begun.
    Returned {
        /// Which.
        task: TaskId,
        /// As assigned under.
        attempt: u32,
    },
    /// It wants to leave: it finishes what runs, takes nothing new, and serves what it holds for a while.
    Draining,
    /// The last word after [`ToWorker::Close`].
    Closed(Totals),
    /// The session cannot be served: another build, a depot that does not open.
    Refused(Failure),
}

/// From a worker to the coordinator, on the stream for files that only the latter sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageRequest {
    /// Bytes of an input file; answered by chunks that together are the range.
    ReadInput {
        /// Chosen by the worker, in all messages of this exchange.
        id: u64,
        /// Its number.
        input: u32,
        /// Which bytes.
        range: Range<u64>,
    },
    /// Bytes of an object in a depot; answered likewise.
    ReadObject {
        /// Chosen by the worker.
        id: u64,
        /// Which depot.
        depot: DepotId,
        /// Which object.
        digest: Digest,
        /// Which bytes.
        range: Range<u64>,
    },
    /// An object to be made durable; the content follows as [`StorageRequest::Content`]. Answered by
    /// [`StorageReply::Stored`].
    Put {
        /// Chosen by the worker.
        id: u64,
        /// Which depot.
        depot: DepotId,
        /// Its name.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// The next bytes of a put.
    Content {
        /// That of the put.
        id: u64,
        /// The bytes.
        chunk: crate::Chunk,
    },
    /// What a peer holds that this worker cannot reach itself; answered by [`StorageReply::Head`]. The coordinator then
    /// keeps it until all of it was taken.
    Relay {
        /// Chosen by the worker.
        id: u64,
        /// Who holds it.
        holder: WorkerId,
        /// As the peer would have been asked.
        pull: Pull,
    },
    /// Bytes of what is being relayed, answered by chunks that together are the range; an empty range ends it.
    Take {
        /// That of the relay.
        id: u64,
        /// Which bytes.
        range: Range<u64>,
    },
}

/// From the coordinator to a worker, on the same stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageReply {
    /// The first word: to which session the stream belongs.
    Attach {
        /// The run key.
        run: Digest,
        /// The term.
        term: u64,
        /// The secret of the job.
        token: Token,
    },
    /// The next bytes of a read.
    Content {
        /// That of the request.
        id: u64,
        /// The bytes.
        chunk: crate::Chunk,
    },
    /// What is about to be relayed.
    Head {
        /// That of the request.
        id: u64,
        /// Its length.
        bytes: u64,
        /// The bytes of one row.
        row_bytes: u32,
    },
    /// A put is durable.
    Stored {
        /// That of the put.
        id: u64,
    },
    /// A request failed.
    Failed {
        /// That of the request.
        id: u64,
        /// Why.
        failure: Failure,
    },
}

/// How much of an object a peer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPart {
    /// All rows.
    Whole,
    /// These rows in this order, packed.
    Rows(Arc<[u32]>),
    /// Consecutive rows, packed.
    Span(Range<u64>),
}

/// A peer's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The run key.
    pub run: Digest,
    /// The term.
    pub term: u64,
    /// The secret of the job: who does not know it gets nothing.
    pub token: Token,
    /// What.
    pub key: ObjectKey,
    /// Who asks, for the counters.
    pub puller: WorkerId,
    /// How much.
    pub part: PullPart,
}

/// A request for a part of a table in the memory of a worker's process, which belongs to no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRead {
    /// The table. Who knows it may read it.
    pub url: String,
    /// Bytes of it; of none, its length alone is told.
    pub range: Range<u64>,
    /// Nobody will read it again.
    pub last: bool,
}

/// The answer to [`Pull`] and [`TableRead`]: the head, then chunks, or one of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullReply {
    /// What will come.
    Head {
        /// Bytes in all chunks together; of a table, all that it has.
        bytes: u64,
        /// The bytes of a row.
        row_bytes: u32,
    },
    /// The next bytes.
    Content(crate::Chunk),
    /// Not held here (any more), or a row beyond its end.
    Missing,
    /// The holder's own copy cannot be read back.
    Damaged,
}

/// What a worker that serves a run says to whom else wants it. A coordinator knows by it that it is the run that it wants to go on
/// with.
pub fn serves(run: &Digest) -> String {
    format!(
        "this worker serves run {}: wait until that is done, or use another worker",
        run.short()
    )
}
