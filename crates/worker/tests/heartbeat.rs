//! A worker that has its hands full still says that it lives.

use exec::Simd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use store::{Cache, IoMode};
use tensor::{Digest, WorkerId};
use wire::{BUILD, FromWorker, Open, ToWorker, Token};
use worker::{Executor, LocalPeers, Settings, Threads, Worker};

const HEARTBEAT: Duration = Duration::from_millis(20);

fn open() -> ToWorker {
    ToWorker::Open(Open {
        term: 1,
        run: Digest([7; 32]),
        token: Token::draw().unwrap(),
        worker: WorkerId(0),
        build: BUILD.into(),
        inputs: vec![],
        depots: vec![],
        peers: vec![],
        heartbeat_ms: HEARTBEAT.as_millis() as u32,
    })
}

/// Does not let go of a thread until told.
fn hold(until: &AtomicBool, held: &AtomicU32) {
    held.fetch_add(1, SeqCst);
    while !until.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn heartbeats_go_on_while_every_other_thread_is_busy() {
    let data = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open_unsynced(data.path(), 1 << 30, IoMode::Pread).unwrap());
    // Two for the session's lanes, two to be held.
    let executor = Arc::new(Threads::start(1, 4).unwrap());
    let settings = Settings {
        threads: 1,
        memory_bytes: 1 << 30,
        lanes: 2,
        simd: Simd::detect(),
    };
    let peers = Arc::new(LocalPeers::default());
    let worker = Worker::new(settings, cache, executor.clone(), peers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut link = {
        let _inside = runtime.enter();
        worker.connect()
    };
    let hello = link.from_worker.blocking_recv();
    assert!(matches!(hello, Some(FromWorker::Hello { .. })), "{hello:?}");
    link.to_worker.blocking_send(open()).unwrap();
    assert_eq!(link.from_worker.blocking_recv(), Some(FromWorker::Opened));

    let (done, held) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let holding = || {
        let (done, held) = (Arc::clone(&done), Arc::clone(&held));
        move || hold(&done, &held)
    };
    let mut lanes = Vec::new();
    for _ in 0..2 {
        let computing = holding();
        let _inside = runtime.enter();
        lanes.push(executor.lane(Box::pin(async move { computing() })));
        executor.file(Box::new(holding()));
        let holding = holding();
        runtime.spawn(async move { holding() });
    }
    while held.load(SeqCst) < 6 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // What was said before that counts for nothing.
    while link.from_worker.try_recv().is_ok() {}
    for _ in 0..10 {
        let said = link.from_worker.blocking_recv();
        assert!(matches!(said, Some(FromWorker::Alive { .. })), "{said:?}");
    }
    done.store(true, SeqCst);
    link.to_worker.blocking_send(ToWorker::Close).unwrap();
    let closing = Instant::now();
    while let Some(said) = link.from_worker.blocking_recv() {
        let last = matches!(said, FromWorker::Alive { .. } | FromWorker::Closed(_));
        assert!(last, "{said:?}");
    }
    assert!(
        closing.elapsed() < Duration::from_secs(10),
        "the heart stops with the session"
    );
}

#[test]
fn a_heart_stops_at_once_and_not_at_its_next_beat() {
    let executor = Threads::start(1, 1).unwrap();
    let beats = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&beats);
    let beat = move || _ = counted.fetch_add(1, SeqCst);
    let heart = executor
        .beat(Duration::from_hours(1), Box::new(beat))
        .unwrap();
    let began = Instant::now();
    while beats.load(SeqCst) == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the first beat is at once"
        );
    }
    drop(heart);
    // The thread owns the only other handle.
    while Arc::strong_count(&beats) > 1 {
        assert!(began.elapsed() < Duration::from_secs(10), "it ends at once");
    }
    assert_eq!(beats.load(SeqCst), 1);
}
