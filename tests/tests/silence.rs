//! A peer that falls silent in the middle of a block is given up after a few seconds; one behind a slow line is not, however long it takes. Real
//! workers and real sockets, and between them a proxy that holds and throttles.

use exec::Probe;
use plan::Assignment;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Cache, IoMode};
use tensor::{BlockId, DepotId, Digest, ObjectKey, StepId, TableId, Task, TaskId, WorkerId};
use tests::nemesis::proxy::{Proxy, Weather};
use tokio::net::TcpListener;
use tokio::time::sleep;
use wire::settings::{PULL_SILENCE_MAX, server, service};
use wire::{BUILD, FromWorker, Open, Peer, Pull, PullPart, Reach, ToWorker, Token};
use worker::grpc::{GrpcDialer, Limits, Service, incoming, tcp};
use worker::{Dialer, Link, PeerLink, PullError, Settings, Threads, Worker};

const RUN: Digest = Digest([7; 32]);
const WIDTH: u32 = 16;
const MEMORY: u64 = 1 << 30;
/// What a busy machine adds.
const SLACK: Duration = Duration::from_secs(2);

/// A worker that holds a block, and a way to it through a proxy.
struct Holder {
    proxy: Proxy,
    way: Arc<dyn PeerLink>,
    bytes: u64,
    _session: Link,
    _data: tempfile::TempDir,
}

fn token() -> Token {
    Token::from_bytes(&[9; 32]).expect("its length")
}

fn key() -> ObjectKey {
    ObjectKey::Block {
        table: TableId(0),
        block: BlockId(0),
        version: 1,
    }
}

async fn said(session: &mut Link) -> FromWorker {
    loop {
        match session.from_worker.recv().await.expect("it lives") {
            FromWorker::Alive { .. } => {}
            other => return other,
        }
    }
}

async fn holder(rows: u32) -> Holder {
    let data = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread).expect("a cache");
    let settings = Settings {
        threads: 1,
        memory_bytes: MEMORY,
        lanes: 1,
        simd: exec::Simd::detect(),
    };
    let dialer = || GrpcDialer::new(tcp(), MEMORY);
    let threads = Threads::start(1, 1).expect("threads");
    let worker = Worker::new(
        settings,
        Arc::new(cache),
        Arc::new(threads),
        Arc::new(dialer()),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let connections = incoming(listener, Limits::default(), worker.visits());
    let services = server().add_service(service(Service::new(worker.clone())));
    tokio::spawn(services.serve_with_incoming(connections));
    let mut session = worker.connect();
    assert!(matches!(said(&mut session).await, FromWorker::Hello { .. }));
    let open = Open {
        term: 1,
        run: RUN,
        token: token(),
        worker: WorkerId(0),
        build: BUILD.into(),
        inputs: vec![],
        depots: vec![(DepotId::MODEL, Reach::Served)],
        peers: vec![],
        heartbeat_ms: 500,
    };
    let task = Task {
        id: TaskId {
            step: StepId(0),
            index: 0,
        },
        op: Probe::Fill {
            rows,
            width: WIDTH,
            seed: 0,
        }
        .op(),
        reads: vec![],
        writes: vec![key()],
        after: vec![],
        chain: None,
        cost: 1,
    };
    let fill = Assignment {
        task: Arc::new(task),
        attempt: 0,
        verify: false,
        sources: vec![],
    };
    for message in [ToWorker::Open(open), ToWorker::Assign(vec![fill])] {
        session.to_worker.send(message).await.expect("it lives");
    }
    assert_eq!(said(&mut session).await, FromWorker::Opened);
    assert!(matches!(said(&mut session).await, FromWorker::Done(_)));
    // Its runtime ends where that may block.
    let proxy = tokio::task::spawn_blocking(move || Proxy::before(&address));
    let proxy = proxy.await.expect("it listens");
    let way = dialer().peer(&Peer {
        worker: WorkerId(0),
        address: proxy.address.clone(),
    });
    Holder {
        proxy,
        way,
        bytes: u64::from(rows) * u64::from(WIDTH) * 4,
        _session: session,
        _data: data,
    }
}

impl Holder {
    /// How a pull of the block ends, and how long it takes.
    fn pull(&self) -> impl Future<Output = (Result<u64, PullError>, Duration)> + use<> {
        let pull = Pull {
            run: RUN,
            term: 1,
            token: token(),
            key: key(),
            puller: WorkerId(1),
            part: PullPart::Whole,
        };
        let pulling = self.way.pull(pull, &Arc::default());
        async {
            let began = Instant::now();
            let pulled = pulling.await;
            (pulled.map(|held| held.bytes()), began.elapsed())
        }
    }

    /// Leaves it where runtimes may be dropped.
    async fn leave(self) {
        let left = tokio::task::spawn_blocking(move || drop(self));
        left.await.expect("it is dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_in_the_middle_of_a_block_is_soon_given_up() {
    let holder = holder(1 << 17).await;
    let (pulled, _) = holder.pull().await;
    assert_eq!(pulled, Ok(holder.bytes));
    for silent in [Weather::HalfOpen, Weather::NoAnswers, Weather::NoRequests] {
        // Some of it comes, slowly, and then nothing does.
        holder.proxy.set(Weather::Throttle(1 << 20));
        let before = holder.proxy.bytes();
        let pulling = tokio::spawn(holder.pull());
        while holder.proxy.bytes() < before + (3 << 17) {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(!pulling.is_finished());
        holder.proxy.set(silent);
        let fell_silent = Instant::now();
        if silent == Weather::NoRequests {
            // Answers still come: those of a block that has been asked for.
            let (pulled, _) = pulling.await.expect("it ends");
            assert_eq!(pulled, Ok(holder.bytes));
        } else {
            let (pulled, _) = pulling.await.expect("it ends");
            let took = fell_silent.elapsed();
            println!("{silent:?}: given up after {took:?}");
            assert!(
                matches!(pulled, Err(PullError::Unreachable(_))),
                "{pulled:?}"
            );
            assert!(took < PULL_SILENCE_MAX + SLACK, "{silent:?}: {took:?}");
        }
        // The next one finds a connection that is silent from its beginning, and after that one that is not.
        let (pulled, took) = holder.pull().await;
        println!("{silent:?}: nothing of the next after {took:?}");
        assert!(
            matches!(pulled, Err(PullError::Unreachable(_))),
            "{pulled:?}"
        );
        assert!(took < PULL_SILENCE_MAX + SLACK, "{silent:?}: {took:?}");
        holder.proxy.set(Weather::Clear);
        let (pulled, _) = holder.pull().await;
        assert_eq!(pulled, Ok(holder.bytes), "{silent:?}");
    }
    holder.leave().await;
}

/// A block of a chunk and a half, of which the first chunk takes twenty seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_not_given_up() {
    let holder = holder(24_576).await;
    let (pulled, _) = holder.pull().await;
    assert_eq!(pulled, Ok(holder.bytes));
    holder.proxy.set(Weather::Throttle((1 << 20) / 20));
    let (pulled, took) = holder.pull().await;
    println!("{} bytes in {took:?}", holder.bytes);
    assert_eq!(pulled, Ok(holder.bytes));
    assert!(took > Duration::from_secs(25), "{took:?}");
    holder.leave().await;
}
