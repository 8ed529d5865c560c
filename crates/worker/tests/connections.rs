//! The cap on connections, with real sockets: strangers come and say nothing, and a coordinator is served.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use store::{Cache, IoMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wire::FromWorker;
use wire::settings::{endpoint, server, service};
use worker::grpc::{Limits, Service, Visits, incoming, remote};
use worker::{LocalPeers, Settings, Threads, Worker};

const CONNECTIONS: usize = 4;
/// No deadline of a test's own: what is waited for comes at once, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    address: String,
    visits: Arc<Visits>,
    _data: tempfile::TempDir,
}

async fn daemon(preface: Duration) -> Daemon {
    daemon_with(preface, 1000).await
}

async fn daemon_with(preface: Duration, a_second: u32) -> Daemon {
    let data = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread).unwrap());
    let settings = Settings {
        threads: 1,
        memory_bytes: 1 << 30,
        lanes: 1,
        simd: exec::Simd::detect(),
    };
    let threads = Arc::new(Threads::start(1, 1).unwrap());
    let worker = Worker::new(settings, cache, threads, Arc::new(LocalPeers::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limits = Limits {
        connections: CONNECTIONS,
        a_second,
        preface,
    };
    let visits = worker.visits();
    let serving = server()
        .add_service(service(Service::new(worker)))
        .serve_with_incoming(incoming(listener, limits, Arc::clone(&visits)));
    tokio::spawn(serving);
    Daemon {
        address,
        visits,
        _data: data,
    }
}

async fn greet(address: &str) -> worker::Link {
    let channel = endpoint(address).unwrap().connect_lazy();
    let connected = timeout(PATIENCE, remote::connect(channel)).await;
    connected.expect("an answer in time").expect("a session")
}

/// Waits until the other side has closed.
async fn closed(stranger: &mut TcpStream) {
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut said))
        .await
        .expect("it is closed in time");
}

/// Whether it goes on for a while. The server's settings may come before the preface has.
async fn is_open(stranger: &mut TcpStream) -> bool {
    let mut said = Vec::new();
    timeout(Duration::from_millis(50), stranger.read_to_end(&mut said))
        .await
        .is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_silent_leaves_for_a_coordinator() {
    let daemon = daemon(Duration::from_hours(1)).await;
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        strangers.push(TcpStream::connect(&daemon.address).await.unwrap());
    }
    // Half a preface is silence.
    strangers[1].write_all(b"PRI * HTTP/2").await.unwrap();
    let mut link = greet(&daemon.address).await;
    let hello = link.from_worker.recv().await;
    assert!(matches!(hello, Some(FromWorker::Hello { .. })), "{hello:?}");
    closed(&mut strangers[0]).await;
    for stranger in &mut strangers[1..] {
        assert!(is_open(stranger).await, "one had to leave, and only one");
    }
    // A flood of others drives out its own kind, and not the coordinator.
    let mut flood = Vec::new();
    for _ in 0..10 * CONNECTIONS {
        flood.push(TcpStream::connect(&daemon.address).await.unwrap());
    }
    for stranger in &mut strangers[1..] {
        closed(stranger).await;
    }
    let mut second = greet(&daemon.address).await;
    let busy = second.from_worker.recv().await;
    assert!(matches!(busy, Some(FromWorker::Busy(_))), "{busy:?}");
    assert!(!link.to_worker.is_closed(), "the session lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_not_waited_for() {
    let daemon = daemon(Duration::from_millis(200)).await;
    let mut stranger = TcpStream::connect(&daemon.address).await.unwrap();
    let began = Instant::now();
    closed(&mut stranger).await;
    assert!(began.elapsed() >= Duration::from_millis(150));
    // Who has spoken may be quiet for longer.
    let mut link = greet(&daemon.address).await;
    let hello = link.from_worker.recv().await;
    assert!(matches!(hello, Some(FromWorker::Hello { .. })), "{hello:?}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!link.to_worker.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn among_connections_in_use_the_next_waits_for_one_to_end() {
    let daemon = daemon(Duration::from_hours(1)).await;
    let mut links = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut link = greet(&daemon.address).await;
        link.from_worker.recv().await.expect("hello or busy");
        links.push(link);
    }
    let next = tokio::spawn({
        let address = daemon.address.clone();
        async move { greet(&address).await.from_worker.recv().await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!next.is_finished(), "it waits");
    // The first is the session: with it the worker becomes free.
    links.truncate(0);
    assert!(matches!(
        next.await.unwrap(),
        Some(FromWorker::Hello { .. } | FromWorker::Busy(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_closed_at_once_and_open_connections_do_not_mind() {
    const A_SECOND: u32 = 5;
    const FLOOD: u64 = 40;
    let daemon = daemon_with(Duration::from_hours(1), A_SECOND).await;
    let began = Instant::now();
    let mut link = greet(&daemon.address).await;
    let hello = link.from_worker.recv().await;
    assert!(matches!(hello, Some(FromWorker::Hello { .. })), "{hello:?}");
    for _ in 0..FLOOD {
        // Who is closed before he has looked around has come all the same.
        let _ = TcpStream::connect(&daemon.address).await;
    }
    let seen = || {
        let visits = &daemon.visits;
        (visits.admitted.load(Relaxed), visits.refused.load(Relaxed))
    };
    while seen().0 + seen().1 <= FLOOD {
        assert!(began.elapsed() < PATIENCE, "{:?}", seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The budget of the first second, and of those that have passed.
    let most = u64::from(A_SECOND) * (2 + began.elapsed().as_secs());
    let (admitted, refused) = seen();
    assert!(admitted <= most, "{admitted} of {FLOOD}");
    assert!(refused > 0 && daemon.visits.put_off.load(Relaxed) > 0);
    assert!(!link.to_worker.is_closed(), "the session lives");
    // Soon its address is as good as any other.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let busy = greet(&daemon.address).await.from_worker.recv().await;
    assert!(matches!(busy, Some(FromWorker::Busy(_))), "{busy:?}");
}
