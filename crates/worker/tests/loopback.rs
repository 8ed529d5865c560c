//! Workers over real gRPC on loopback, the test playing the coordinator.

use bytes::Bytes;
use exec::Probe;
use futures::stream;
use plan::{Assignment, Failure, Holder, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Cache, IoMode};
use tensor::{
    BlockId, DepotId, Digest, KeyRange, ObjectKey, Op, Read, ReadAt, StepId, TableId, Task, TaskId,
    WorkerId,
};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use wire::settings::{CHUNK_IDLE_TIMEOUT, endpoint, server, service};
use wire::{
    BUILD, Chunk, Done, FromWorker, Open, Peer, PullReply, Reach, StorageReply, StorageRequest,
    TableRead, ToWorker, Token, proto,
};
use worker::grpc::{GrpcDialer, Limits, Service, incoming, remote, tcp};
use worker::resident;
use worker::{Link, PullError, Settings, Threads, Worker};

const ROWS: u32 = 40_000;
const WIDTH: u32 = 16;
const RUN: Digest = Digest([7; 32]);

struct Daemon {
    worker: Worker,
    address: String,
    _data: tempfile::TempDir,
}

async fn serve<S: proto::worker_server::Worker>(worker: S) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = server()
        .add_service(service(worker))
        .serve_with_incoming(incoming(listener, Limits::default(), Arc::default()));
    tokio::spawn(serving);
    address
}

async fn daemon() -> Daemon {
    let data = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread).unwrap());
    let executor = Arc::new(Threads::start(1, 2).unwrap());
    let settings = Settings {
        threads: 1,
        memory_bytes: 1 << 30,
        lanes: 2,
        simd: exec::Simd::detect(),
    };
    let worker = Worker::new(
        settings,
        cache,
        executor,
        Arc::new(GrpcDialer::new(tcp(), 1 << 30)),
    );
    let address = serve(Service::new(worker.clone())).await;
    Daemon {
        worker,
        address,
        _data: data,
    }
}

/// A session as its coordinator has it.
struct Held {
    link: Link,
    id: WorkerId,
}

impl Held {
    async fn open(address: &str, id: u32, peers: Vec<Peer>) -> Self {
        let channel = endpoint(address).unwrap().connect_lazy();
        let mut link = remote::connect(channel).await.unwrap();
        let hello = link.from_worker.recv().await.unwrap();
        assert!(
            matches!(hello, FromWorker::Hello { ref build, .. } if build == BUILD),
            "{hello:?}"
        );
        let open = Open {
            term: 1,
            run: RUN,
            token: token(),
            worker: WorkerId(id),
            build: BUILD.into(),
            inputs: vec![],
            depots: vec![(DepotId::MODEL, Reach::Served)],
            peers,
            heartbeat_ms: 50,
        };
        link.to_worker.send(ToWorker::Open(open)).await.unwrap();
        let mut held = Held {
            link,
            id: WorkerId(id),
        };
        assert_eq!(held.next().await, FromWorker::Opened);
        held
    }

    /// The next message that is no heartbeat.
    async fn next(&mut self) -> FromWorker {
        loop {
            let next = timeout(Duration::from_secs(20), self.link.from_worker.recv()).await;
            match next.expect("a message in time").expect("the session lives") {
                FromWorker::Alive { .. } => {}
                message => return message,
            }
        }
    }

    async fn send(&self, message: ToWorker) {
        self.link.to_worker.send(message).await.unwrap();
    }

    async fn run(&mut self, assignment: Assignment) -> FromWorker {
        self.send(ToWorker::Assign(vec![assignment])).await;
        self.next().await
    }

    async fn done(&mut self, assignment: Assignment) -> Done {
        match self.run(assignment).await {
            FromWorker::Done(done) => done,
            other => panic!("{}: {other:?}", self.id),
        }
    }
}

/// The secret of the job.
fn token() -> Token {
    Token::from_bytes(&[9; 32]).unwrap()
}

fn key(block: u32) -> ObjectKey {
    ObjectKey::Block {
        table: TableId(0),
        block: BlockId(block),
        version: 1,
    }
}

fn assignment(op: Op, reads: &[Read], writes: &[ObjectKey], holders: &[Holder]) -> Assignment {
    let task = Task {
        id: TaskId {
            step: StepId(0),
            index: 0,
        },
        op,
        reads: reads.to_vec(),
        writes: writes.to_vec(),
        after: vec![],
        chain: None,
        cost: 1,
    };
    let of = |read: &Read| Source {
        keys: read.keys,
        holders: holders.to_vec(),
    };
    Assignment {
        task: Arc::new(task),
        attempt: 0,
        verify: false,
        sources: reads.iter().map(of).collect(),
    }
}

fn fill(block: u32) -> Assignment {
    let op = Probe::Fill {
        rows: ROWS,
        width: WIDTH,
        seed: u64::from(block),
    }
    .op();
    assignment(op, &[], &[key(block)], &[])
}

fn sum_of(block: u32, holders: &[Holder]) -> Assignment {
    assignment(Probe::Sum.op(), &[Read::whole(key(block))], &[], holders)
}

fn filled(block: u32, rows: impl Iterator<Item = u32>) -> f64 {
    let row =
        |row: u32| (0..WIDTH).map(move |at| u64::from(row) * u64::from(WIDTH) + u64::from(at));
    rows.flat_map(row)
        .map(|at| f64::from(Probe::filled(u64::from(block), at)))
        .sum()
}

fn partial(done: &Done) -> f64 {
    f64::from_le_bytes(done.partial[..].try_into().unwrap())
}

fn peer(id: u32, address: &str) -> Peer {
    Peer {
        worker: WorkerId(id),
        address: address.into(),
    }
}

const W0: Holder = Holder::Worker(WorkerId(0));

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_rows_are_pulled_from_a_peer() {
    let (a, b) = (daemon().await, daemon().await);
    let mut first = Held::open(&a.address, 0, vec![]).await;
    let mut second = Held::open(&b.address, 1, vec![peer(0, &a.address)]).await;
    let wrote = first.done(fill(0)).await;
    assert_eq!(wrote.wrote[0].bytes, u64::from(ROWS * WIDTH * 4));

    // Rows before the whole: a held copy would serve them without a pull.
    let rows = Probe::SumRows {
        rows: ROWS,
        step: 3,
    }
    .op();
    let some = second
        .done(assignment(rows, &[Read::rows(key(0))], &[], &[W0]))
        .await;
    let strided = filled(0, (0..ROWS).step_by(3));
    let half = filled(0, ROWS - ROWS / 2..ROWS);
    assert_eq!(partial(&some), strided + half);

    let whole = second.done(sum_of(0, &[W0])).await;
    assert_eq!(partial(&whole), filled(0, 0..ROWS));
    let traffic = whole.traffic[0];
    let row = u64::from(WIDTH * 4);
    let rows = u64::from(ROWS) + u64::from(ROWS.div_ceil(3)) + u64::from(ROWS / 2);
    assert_eq!(
        (traffic.worker, traffic.received_bytes),
        (WorkerId(0), rows * row)
    );
    assert_eq!(
        b.worker.holds(),
        (0, 1),
        "the whole block is kept as a copy"
    );

    // The copy serves the next reader; after a drop nobody has it.
    second.done(sum_of(0, &[])).await;
    for session in [&first, &second] {
        session
            .send(ToWorker::Drop(vec![KeyRange::One(key(0))]))
            .await;
    }
    // A session's messages are taken in order, two sessions' are not: a task
    // done on the first says that its drop is done.
    first.done(fill(1)).await;
    let gone = second.run(sum_of(0, &[W0])).await;
    let unreachable = Failure::Unreachable {
        key: key(0),
        holder: WorkerId(0),
    };
    assert!(
        matches!(gone, FromWorker::Failed { ref failure, .. } if *failure == unreachable),
        "{gone:?}"
    );
}

/// Serves every pull with a chunk whose checksum is wrong.
struct Liar;

#[tonic::async_trait]
impl proto::worker_server::Worker for Liar {
    type SessionStream = stream::Empty<Result<proto::FromWorker, Status>>;
    type StorageStream = stream::Empty<Result<proto::StorageRequest, Status>>;
    type PullStream = stream::Iter<std::vec::IntoIter<Result<proto::PullReply, Status>>>;
    type ReadTableStream = Self::PullStream;

    async fn session(
        &self,
        _: Request<Streaming<proto::ToWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Ok(Response::new(stream::empty()))
    }

    async fn read_table(
        &self,
        _: Request<proto::TableRequest>,
    ) -> Result<Response<Self::ReadTableStream>, Status> {
        Err(Status::unimplemented("it has no table"))
    }

    async fn storage(
        &self,
        _: Request<Streaming<proto::StorageReply>>,
    ) -> Result<Response<Self::StorageStream>, Status> {
        Ok(Response::new(stream::empty()))
    }

    async fn pull(
        &self,
        _: Request<proto::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let data = Bytes::from(vec![0; 64]);
        let sum = Chunk::new(data.clone()).crc32c();
        let replies = [
            PullReply::Head {
                bytes: 64,
                row_bytes: 64,
            },
            PullReply::Content(Chunk::received(data, sum ^ 1)),
        ];
        let replies: Vec<_> = replies.into_iter().map(|reply| Ok(reply.into())).collect();
        Ok(Response::new(stream::iter(replies)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_noticed_and_the_next_holder_asked() {
    let (a, b) = (daemon().await, daemon().await);
    let liar = serve(Liar).await;
    let mut first = Held::open(&a.address, 0, vec![]).await;
    let mut second = Held::open(&b.address, 1, vec![peer(0, &a.address), peer(9, &liar)]).await;
    first.done(fill(0)).await;

    let lie = Holder::Worker(WorkerId(9));
    let failed = second.run(sum_of(0, std::slice::from_ref(&lie))).await;
    let corrupt = Failure::Corrupt {
        key: key(0),
        holder: Some(WorkerId(9)),
    };
    assert!(
        matches!(failed, FromWorker::Failed { ref failure, .. } if *failure == corrupt),
        "{failed:?}"
    );
    let done = second.done(sum_of(0, &[lie, W0])).await;
    assert_eq!(partial(&done), filled(0, 0..ROWS));
}

/// More than the receive budget of the least memory, and than the window of a stream.
const LARGE_BYTES: usize = 30 << 20;

/// Serves every pull with a large object.
struct Giant(Bytes);

#[tonic::async_trait]
impl proto::worker_server::Worker for Giant {
    type SessionStream = stream::Empty<Result<proto::FromWorker, Status>>;
    type StorageStream = stream::Empty<Result<proto::StorageRequest, Status>>;
    type PullStream = stream::Iter<std::vec::IntoIter<Result<proto::PullReply, Status>>>;
    type ReadTableStream = Self::PullStream;

    async fn session(
        &self,
        _: Request<Streaming<proto::ToWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Ok(Response::new(stream::empty()))
    }

    async fn read_table(
        &self,
        _: Request<proto::TableRequest>,
    ) -> Result<Response<Self::ReadTableStream>, Status> {
        Err(Status::unimplemented("it has no table"))
    }

    async fn storage(
        &self,
        _: Request<Streaming<proto::StorageReply>>,
    ) -> Result<Response<Self::StorageStream>, Status> {
        Ok(Response::new(stream::empty()))
    }

    async fn pull(
        &self,
        _: Request<proto::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let head = PullReply::Head {
            bytes: self.0.len() as u64,
            row_bytes: 64,
        };
        let content = Chunk::cut(self.0.clone()).map(PullReply::Content);
        let replies: Vec<_> = std::iter::once(head)
            .chain(content)
            .map(|reply| Ok(reply.into()))
            .collect();
        Ok(Response::new(stream::iter(replies)))
    }
}

/// If answers that wait for room filled the window of their connection, the one that has room would not go on.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_wait_for_each_other_and_none_stands_still() {
    for memory in [256 << 20, 2 << 30] {
        let giant = serve(Giant(Bytes::from(vec![7; LARGE_BYTES]))).await;
        let dialer = GrpcDialer::new(tcp(), memory);
        let link = worker::Dialer::peer(&dialer, &peer(0, &giant));
        let pulls = (0..8).map(|block| {
            let pull = wire::Pull {
                run: RUN,
                term: 1,
                token: token(),
                key: key(block),
                puller: WorkerId(1),
                part: wire::PullPart::Whole,
            };
            link.pull(pull, &Arc::default())
        });
        let all = timeout(CHUNK_IDLE_TIMEOUT, futures::future::try_join_all(pulls)).await;
        for held in all.expect("nobody waits for a chunk").unwrap() {
            assert_eq!(held.bytes(), LARGE_BYTES as u64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_token_of_a_job_gets_nothing_of_it() {
    let a = daemon().await;
    let mut held = Held::open(&a.address, 0, vec![]).await;
    held.done(fill(0)).await;
    let link = worker::Dialer::peer(&GrpcDialer::new(tcp(), 1 << 30), &peer(0, &a.address));
    for (token, given) in [(Token::draw().unwrap(), false), (token(), true)] {
        let pull = wire::Pull {
            run: RUN,
            term: 1,
            token,
            key: key(0),
            puller: WorkerId(1),
            part: wire::PullPart::Whole,
        };
        let pulled = link.pull(pull, &Arc::default()).await;
        assert_eq!(pulled.err(), (!given).then_some(PullError::Missing));
    }
    // Nor does it serve files: the worker takes those from its own coordinator alone.
    let mut stranger = remote::connect_storage(endpoint(&a.address).unwrap().connect_lazy())
        .await
        .unwrap();
    let attach = StorageReply::Attach {
        run: RUN,
        term: 1,
        token: Token::draw().unwrap(),
    };
    stranger.replies.send(attach).await.unwrap();
    let said = timeout(Duration::from_secs(20), stranger.requests.recv()).await;
    assert_eq!(said.expect("it is told at once"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_memory_is_read_in_parts_by_its_name_until_it_is_let_go() {
    let a = daemon().await;
    let content: Arc<[u8]> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let table = resident::Resident::named("6e6f626f6479", Arc::new(Table(Arc::clone(&content))));
    let link = worker::Dialer::peer(&GrpcDialer::new(tcp(), 1 << 30), &peer(0, &a.address));
    let read = async |name: &str, range: std::ops::Range<u64>, last| {
        let url = format!("resident://{}/{name}", a.address);
        link.read_table(TableRead { url, range, last }).await
    };
    let bytes = content.len() as u64;
    for range in [0..0, 0..1, 1_000_000..2_500_000, bytes - 9..bytes] {
        let part = Bytes::copy_from_slice(&content[range.start as usize..range.end as usize]);
        assert_eq!(read("6e6f626f6479", range, false).await, Ok((part, bytes)));
    }
    let missing = Err(PullError::Missing);
    assert_eq!(read("6e6f626f6478", 0..1, false).await, missing);
    // More than there is, and more than is given at once.
    for range in [0..bytes + 1, 0..u64::MAX] {
        let refused = read("6e6f626f6479", range, false).await;
        assert_eq!(refused, Err(PullError::Corrupt));
    }
    let told = read("6e6f626f6479", 0..0, true).await;
    assert_eq!(told, Ok((Bytes::new(), bytes)));
    assert_eq!(read("6e6f626f6479", 0..1, false).await, missing);
    assert!(resident::find(table.url()).is_none());
}

/// Bytes as a table.
struct Table(Arc<[u8]>);

impl ReadAt for Table {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_one_job_at_a_time_and_forgets_it() {
    let a = daemon().await;
    let mut first = Held::open(&a.address, 0, vec![]).await;
    first.done(fill(0)).await;
    assert_eq!(a.worker.holds(), (1, 0));

    let mut other = remote::connect(endpoint(&a.address).unwrap().connect_lazy())
        .await
        .unwrap();
    let busy = other.from_worker.recv().await.unwrap();
    assert!(
        matches!(busy, FromWorker::Busy(ref why) if why.contains("serves run 07070707")),
        "{busy:?}"
    );
    assert!(
        other.from_worker.recv().await.is_none(),
        "busy is the last word"
    );

    first.send(ToWorker::Close).await;
    let closed = first.next().await;
    assert!(
        matches!(closed, FromWorker::Closed(ref totals) if totals.tasks == 1),
        "{closed:?}"
    );
    assert_eq!(a.worker.holds(), (0, 0));
    let next = Held::open(&a.address, 5, vec![]).await;

    // A coordinator that goes away without a word frees the worker too.
    drop(next);
    timeout(
        Duration::from_secs(10),
        a.worker.drained(Duration::from_secs(9)),
    )
    .await
    .unwrap();
    Held::open(&a.address, 6, vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_stays_readable() {
    let (a, b) = (daemon().await, daemon().await);
    let mut first = Held::open(&a.address, 0, vec![]).await;
    let mut second = Held::open(&b.address, 1, vec![peer(0, &a.address)]).await;
    first.done(fill(0)).await;
    a.worker.drain();
    assert_eq!(first.next().await, FromWorker::Draining);
    let returned = first.run(fill(1)).await;
    assert!(
        matches!(returned, FromWorker::Returned { .. }),
        "{returned:?}"
    );
    let done = second.done(sum_of(0, &[W0])).await;
    assert_eq!(partial(&done), filled(0, 0..ROWS));
    first.send(ToWorker::Close).await;
    a.worker.drained(Duration::from_secs(10)).await;
    assert_eq!(a.worker.holds(), (0, 0));
}

/// A depot in memory behind the storage stream. The bit is flipped in what is read where asked.
async fn depot(
    address: &str,
    damage: bool,
    objects: Arc<std::sync::Mutex<BTreeMap<Digest, Vec<u8>>>>,
) {
    let mut link = remote::connect_storage(endpoint(address).unwrap().connect_lazy())
        .await
        .unwrap();
    link.replies
        .send(StorageReply::Attach {
            run: RUN,
            term: 1,
            token: token(),
        })
        .await
        .unwrap();
    tokio::spawn(async move {
        let mut puts: BTreeMap<u64, (Digest, u64, Vec<u8>)> = BTreeMap::new();
        while let Some(request) = link.requests.recv().await {
            match request {
                StorageRequest::Put {
                    id, digest, bytes, ..
                } => {
                    puts.insert(id, (digest, bytes, vec![]));
                }
                StorageRequest::Content { id, chunk } => {
                    let (_, bytes, content) = puts.get_mut(&id).unwrap();
                    content.extend_from_slice(&chunk.verified().unwrap());
                    if content.len() as u64 == *bytes {
                        let (digest, _, content) = puts.remove(&id).unwrap();
                        objects.lock().unwrap().insert(digest, content);
                        link.replies
                            .send(StorageReply::Stored { id })
                            .await
                            .unwrap();
                    }
                }
                StorageRequest::ReadObject {
                    id, digest, range, ..
                } => {
                    let mut content = objects.lock().unwrap()[&digest].clone();
                    content[0] ^= u8::from(damage);
                    let content =
                        Bytes::from(content).slice(range.start as usize..range.end as usize);
                    for chunk in Chunk::cut(content) {
                        link.replies
                            .send(StorageReply::Content { id, chunk })
                            .await
                            .unwrap();
                    }
                }
                StorageRequest::ReadInput { .. } => panic!("no inputs here"),
                StorageRequest::Relay { .. } | StorageRequest::Take { .. } => {
                    panic!("no relays here")
                }
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_made_durable_and_read_back_from_the_depot() {
    let (a, b, c) = (daemon().await, daemon().await, daemon().await);
    let mut sessions = [
        Held::open(&a.address, 0, vec![]).await,
        Held::open(&b.address, 1, vec![]).await,
        Held::open(&c.address, 2, vec![]).await,
    ];
    let objects = Arc::default();
    for (daemon, damage) in [(&a, false), (&b, false), (&c, true)] {
        depot(&daemon.address, damage, Arc::clone(&objects)).await;
    }
    sessions[0].done(fill(3)).await;
    let persisted = sessions[0]
        .done(assignment(Op::persist(), &[Read::whole(key(3))], &[], &[]))
        .await;
    let (digest, rest) = persisted.partial.split_first_chunk().unwrap();
    let bytes = u64::from_le_bytes(rest[..8].try_into().unwrap());
    let row_bytes = u32::from_le_bytes(rest[8..].try_into().unwrap());
    assert_eq!((bytes, row_bytes), (u64::from(ROWS * WIDTH * 4), WIDTH * 4));
    assert_eq!(
        objects.lock().unwrap()[&Digest(*digest)].len() as u64,
        bytes
    );

    let durable = Holder::Durable {
        digest: Digest(*digest),
        bytes,
        row_bytes,
    };
    let done = sessions[1]
        .done(sum_of(3, std::slice::from_ref(&durable)))
        .await;
    assert_eq!(partial(&done), filled(3, 0..ROWS));
    let failed = sessions[2].run(sum_of(3, &[durable])).await;
    assert!(
        matches!(
            failed,
            FromWorker::Failed {
                failure: Failure::Corrupt { holder: None, .. },
                ..
            }
        ),
        "{failed:?}"
    );
}
