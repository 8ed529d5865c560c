//! A cluster, embedded and over loopback: the same tasks, the same answers, and a worker that comes back.

use coordinator::cluster::{Cluster, Embedded, Heard, Job};
use exec::Probe;
use plan::{Assignment, Dismissal, Failure, Holder, Refusal, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Cache, IoMode};
use tensor::{
    BlockId, DepotId, Digest, ObjectKey, Op, Read, StepId, TableId, Task, TaskId, WorkerId,
};
use tokio::net::TcpListener;
use tokio::time::timeout;
use wire::settings::{endpoint, server, service};
use wire::{Done, FromWorker, ToWorker};
use worker::grpc::{Connect, GrpcDialer, Limits, Service, incoming, tcp};
use worker::{Settings, Threads, Worker};

const ROWS: u32 = 1000;
const WIDTH: u32 = 16;

fn job(depot: &Path) -> Job {
    Job {
        term: 1,
        run: Digest([3; 32]),
        inputs: vec![],
        depots: vec![(DepotId::MODEL, depot.to_string_lossy().into_owned())],
        heartbeat: Duration::from_millis(100),
    }
}

/// The next message of a worker that is no heartbeat.
async fn said(cluster: &mut Cluster) -> (WorkerId, FromWorker) {
    loop {
        match timeout(Duration::from_secs(30), cluster.next())
            .await
            .expect("something happens")
        {
            Heard::Said(_, FromWorker::Alive { .. })
            | Heard::Joined(..)
            | Heard::Lost(..)
            | Heard::Relaying { .. } => {}
            Heard::Said(worker, message) => return (worker, message),
        }
    }
}

async fn joined(cluster: &mut Cluster) -> WorkerId {
    loop {
        if let Heard::Joined(worker, _) = timeout(Duration::from_secs(30), cluster.next())
            .await
            .expect("one joins")
        {
            return worker;
        }
    }
}

async fn done(cluster: &mut Cluster, worker: WorkerId, assignment: Assignment) -> Done {
    cluster.send(worker, ToWorker::Assign(vec![assignment]));
    match said(cluster).await {
        (from, FromWorker::Done(done)) if from == worker => done,
        other => panic!("{other:?}"),
    }
}

fn key() -> ObjectKey {
    ObjectKey::Block {
        table: TableId(0),
        block: BlockId(0),
        version: 1,
    }
}

fn assignment(
    op: Op,
    reads: &[ObjectKey],
    writes: &[ObjectKey],
    holder: Option<Holder>,
) -> Assignment {
    let task = Task {
        id: TaskId {
            step: StepId(0),
            index: 0,
        },
        op,
        reads: reads.iter().map(|&key| Read::whole(key)).collect(),
        writes: writes.to_vec(),
        after: vec![],
        chain: None,
        cost: 1,
    };
    let holders: Vec<Holder> = holder.into_iter().collect();
    let sources = reads
        .iter()
        .map(|&key| Source {
            keys: key.into(),
            holders: holders.clone(),
        })
        .collect();
    Assignment {
        task: Arc::new(task),
        attempt: 0,
        verify: false,
        sources,
    }
}

/// One worker fills, the other sums, one persists, the other reads the durable copy.
async fn course(cluster: &mut Cluster) -> [Vec<u8>; 3] {
    let (a, b) = (joined(cluster).await, joined(cluster).await);
    let fill = Probe::Fill {
        rows: ROWS,
        width: WIDTH,
        seed: 1,
    }
    .op();
    done(cluster, a, assignment(fill, &[], &[key()], None)).await;
    let sum = assignment(Probe::Sum.op(), &[key()], &[], Some(Holder::Worker(a)));
    let sum = done(cluster, b, sum).await;
    let persisted = done(cluster, a, assignment(Op::persist(), &[key()], &[], None)).await;
    let (digest, rest) = persisted.partial.split_first_chunk().unwrap();
    let bytes = u64::from_le_bytes(rest[..8].try_into().unwrap());
    let durable = Holder::Durable {
        digest: Digest(*digest),
        bytes,
        row_bytes: WIDTH * 4,
    };
    cluster.send(b, ToWorker::Drop(vec![key().into()]));
    let again = done(
        cluster,
        b,
        assignment(Probe::Sum.op(), &[key()], &[], Some(durable)),
    )
    .await;
    let held = cluster.pull(a, key()).await.unwrap();
    assert_eq!(held.bytes(), bytes);
    assert!(
        cluster.pull(b, key()).await.is_err(),
        "it has only a copy, and that was dropped"
    );
    [sum.partial, persisted.partial, again.partial]
}

fn daemon(data: &Path, listener: TcpListener) -> (Worker, tokio::task::JoinHandle<()>) {
    daemon_by(data, listener, tcp())
}

/// One that reaches its peers by this.
fn daemon_by(
    data: &Path,
    listener: TcpListener,
    connect: Connect,
) -> (Worker, tokio::task::JoinHandle<()>) {
    let cache = Arc::new(Cache::open_unsynced(data, 1 << 30, IoMode::Mmap).unwrap());
    let settings = Settings {
        threads: 1,
        memory_bytes: 1 << 30,
        lanes: 2,
        simd: exec::Simd::detect(),
    };
    let dialer = Arc::new(GrpcDialer::new(connect, 1 << 30));
    let worker = Worker::new(
        settings,
        cache,
        Arc::new(Threads::start(1, 2).unwrap()),
        dialer,
    );
    let serving = server()
        .add_service(service(Service::new(worker.clone())))
        .serve_with_incoming(incoming(listener, Limits::default(), Arc::default()));
    (worker, tokio::spawn(async move { serving.await.unwrap() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_workers_and_daemons_give_the_same_answers() {
    let scratch = tempfile::tempdir().unwrap();
    let embedded = Embedded {
        threads: 1,
        memory_bytes: 1 << 28,
        caches: (0..2)
            .map(|number| {
                let directory = scratch.path().join(format!("scratch-{number}"));
                Arc::new(Cache::open(&directory, 1 << 30, IoMode::Mmap).unwrap())
            })
            .collect(),
        simd: exec::Simd::detect(),
    };
    let mut cluster = Cluster::embed(job(&scratch.path().join("m1")), &embedded)
        .await
        .unwrap();
    let here = course(&mut cluster).await;
    assert_eq!(here[0], here[2]);
    assert_eq!(
        cluster.served_bytes(),
        0,
        "embedded workers reach the depot themselves"
    );
    let totals = cluster.close(Duration::from_secs(10)).await;
    assert_eq!(totals.iter().map(|(_, total)| total.tasks).sum::<u64>(), 4);

    let mut addresses = Vec::new();
    let mut daemons = Vec::new();
    for number in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        daemons.push(daemon(&scratch.path().join(format!("d{number}")), listener));
    }
    let mut cluster = Cluster::dial(job(&scratch.path().join("m2")), &addresses, 1 << 30, tcp())
        .await
        .unwrap();
    assert_eq!(course(&mut cluster).await, here);
    // Put once, read once, pulled once.
    assert_eq!(cluster.served_bytes(), 3 * u64::from(ROWS * WIDTH * 4));
    cluster.close(Duration::from_secs(10)).await;
    for (worker, _) in &daemons {
        worker.drained(Duration::from_secs(10)).await;
        assert_eq!(worker.holds(), (0, 0));
    }
}

/// Every way leads to a port where nobody listens.
fn wall(nowhere: &str) -> Connect {
    let nowhere = endpoint(nowhere).unwrap();
    Arc::new(move |_, _| nowhere.connect_lazy())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_cannot_reach_comes_through_the_coordinator() {
    const LONG: u32 = 150_000;
    let bytes = u64::from(LONG * WIDTH * 4);
    let scratch = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = closed.local_addr().unwrap().to_string();
    drop(closed);
    let (mut addresses, mut daemons) = (Vec::new(), Vec::new());
    for number in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        let data = scratch.path().join(format!("d{number}"));
        daemons.push(daemon_by(&data, listener, wall(&nowhere)));
    }
    let mut cluster = Cluster::dial(job(&scratch.path().join("m")), &addresses, 1 << 30, tcp())
        .await
        .unwrap();
    let (a, b) = (joined(&mut cluster).await, joined(&mut cluster).await);
    let (rows, width, seed) = (LONG, WIDTH, 1);
    let fill = Probe::Fill { rows, width, seed }.op();
    done(&mut cluster, a, assignment(fill, &[], &[key()], None)).await;
    let sum = |holder| assignment(Probe::Sum.op(), &[key()], &[], Some(Holder::Worker(holder)));
    let here = done(&mut cluster, a, sum(a)).await;
    for _ in 0..2 {
        let there = done(&mut cluster, b, sum(a)).await;
        assert_eq!(there.partial, here.partial);
        cluster.send(b, ToWorker::Drop(vec![key().into()]));
    }
    assert_eq!(cluster.served_bytes(), 2 * bytes, "in three parts each");
    cluster.send(a, ToWorker::Drop(vec![key().into()]));
    for asked in [a, b] {
        cluster.send(asked, ToWorker::Assign(vec![sum(a)]));
        let (from, failed) = said(&mut cluster).await;
        let FromWorker::Failed { failure, .. } = failed else {
            panic!("{failed:?}");
        };
        let (key, holder) = (key(), a);
        assert_eq!(
            (from, failure),
            (asked, Failure::Unreachable { key, holder })
        );
    }
    let totals = cluster.close(Duration::from_secs(10)).await;
    let received = totals.iter().flat_map(|(_, totals)| &totals.traffic);
    assert_eq!(
        received.map(|peer| peer.received_bytes).sum::<u64>(),
        2 * bytes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_worker_joins_again_under_a_new_number() {
    let scratch = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_worker, _serving) = daemon(&scratch.path().join("d"), listener);
    let mut cluster = Cluster::dial(job(&scratch.path().join("m")), &[address], 1 << 30, tcp())
        .await
        .unwrap();
    let first = joined(&mut cluster).await;
    assert!(!cluster.dismiss(first, Dismissal::Silent));
    let second = joined(&mut cluster).await;
    assert_ne!(first, second);
    let fill = Probe::Fill {
        rows: ROWS,
        width: WIDTH,
        seed: 1,
    }
    .op();
    done(&mut cluster, second, assignment(fill, &[], &[key()], None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_at_all_is_told_in_one_sentence() {
    let scratch = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failure = Cluster::dial(
        job(scratch.path()),
        std::slice::from_ref(&address),
        1 << 30,
        tcp(),
    )
    .await
    .err()
    .unwrap();
    assert!(matches!(
        failure,
        Failure::Refused {
            refusal: Refusal::Unavailable,
            ..
        }
    ));
    assert!(failure.to_string().contains(&address), "{failure}");
}
