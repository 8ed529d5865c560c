//! What the engine itself costs: steps of tasks that do nothing, over embedded workers and over daemons on
//! loopback. Prints the median of many steps; few steps under `cargo test`.

use coordinator::cluster::{Cluster, Embedded, Job};
use coordinator::driver::{Checkpoints, Context, Driver, Pace};
use exec::{Probe, Simd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Cache, IoMode};
use tensor::{
    DepotId, Digest, PartialSpec, Program, ProgramError, Reduced, Step, StepId, Task, TaskId, Turn,
};
use tokio::net::TcpListener;
use wire::settings::{server, service};
use worker::grpc::{GrpcDialer, Limits, Service, incoming, tcp};
use worker::{Settings, Threads, Worker};

const WORKERS: usize = 2;
const MEMORY: u64 = 256 << 20;

/// Steps of empty tasks, one after the other, and when each was whole.
struct Empties {
    blocks: u32,
    steps: u64,
    whole: Vec<Instant>,
}

impl Empties {
    fn step(&self) -> Step {
        let id = StepId(self.whole.len() as u64);
        let task = |index| Task {
            id: TaskId { step: id, index },
            op: Probe::Empty.op(),
            reads: Vec::new(),
            writes: Vec::new(),
            after: Vec::new(),
            chain: None,
            cost: 1,
        };
        Step {
            id,
            name: "empty".to_owned(),
            tasks: (0..self.blocks).map(task).collect(),
            partial: PartialSpec::None,
            frees: Vec::new(),
        }
    }

    /// Milliseconds of the median step, and of the one that a tenth is slower than.
    fn figures(&self) -> (f64, f64) {
        let mut spans: Vec<f64> = self
            .whole
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
            .collect();
        spans.sort_by(f64::total_cmp);
        (spans[spans.len() / 2], spans[spans.len() * 9 / 10])
    }
}

impl Program for Empties {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        Ok(Turn {
            steps: vec![self.step()],
            ..Turn::default()
        })
    }

    fn completed(&mut self, _: StepId, _: Reduced) -> Result<Turn, ProgramError> {
        self.whole.push(Instant::now());
        let finished = self.whole.len() as u64 == self.steps;
        Ok(Turn {
            steps: if finished {
                Vec::new()
            } else {
                vec![self.step()]
            },
            finished,
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: Option<&[u8]>) -> Result<(), ProgramError> {
        self.whole.clear();
        Ok(())
    }
}

fn job(depot: &Path) -> Job {
    Job {
        term: 1,
        run: Digest([2; 32]),
        inputs: Vec::new(),
        depots: vec![(DepotId::MODEL, depot.to_string_lossy().into_owned())],
        heartbeat: wire::settings::HEARTBEAT,
    }
}

async fn embedded(data: &Path) -> Cluster {
    let embedded = Embedded {
        threads: 1,
        memory_bytes: MEMORY,
        caches: (0..WORKERS)
            .map(|number| {
                let directory = data.join(format!("scratch-{number}"));
                Arc::new(Cache::open(&directory, 1 << 30, IoMode::Pread).expect("a cache opens"))
            })
            .collect(),
        simd: Simd::detect(),
    };
    Cluster::embed(job(&data.join("depot")), &embedded)
        .await
        .expect("workers start")
}

async fn daemons(data: &Path) -> Cluster {
    let mut addresses = Vec::new();
    for number in 0..WORKERS {
        let directory = data.join(format!("daemon-{number}"));
        let cache = Cache::open_unsynced(&directory, 1 << 30, IoMode::Pread).expect("a cache");
        let settings = Settings {
            threads: 1,
            memory_bytes: MEMORY,
            lanes: 2,
            simd: Simd::detect(),
        };
        let executor = Arc::new(Threads::start(1, 2).expect("threads"));
        let dialer = Arc::new(GrpcDialer::new(tcp(), MEMORY));
        let worker = Worker::new(settings, Arc::new(cache), executor, dialer);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("bound").to_string());
        let serving = server()
            .add_service(service(Service::new(worker)))
            .serve_with_incoming(incoming(listener, Limits::default(), Arc::default()));
        tokio::spawn(serving);
    }
    Cluster::dial(
        job(&data.join("depot")),
        &addresses,
        MEMORY,
        worker::grpc::tcp(),
    )
    .await
    .expect("daemons answer")
}

async fn run(mut cluster: Cluster, blocks: u32, steps: u64) -> Empties {
    let mut program = Empties {
        blocks,
        steps,
        whole: Vec::new(),
    };
    let context = Context {
        settings: plan::Settings::default(),
        tick: Duration::from_millis(100),
        stored: Vec::new(),
        resume: None,
        checkpoints: Checkpoints {
            pace: Pace::LAST_ONLY,
            commit: &mut |_, _| Box::pin(std::future::ready(Ok(()))),
        },
        listener: &mut |_| {},
        sink: &mut |_, _| Ok(()),
        cancel: Default::default(),
        trace: None,
        spans: None,
    };
    let outcome = Driver::run(&mut program, &mut cluster, context)
        .await
        .expect("nothing can fail");
    assert_eq!(
        (outcome.steps, outcome.tasks_run),
        (steps, steps * u64::from(blocks))
    );
    cluster.close(Duration::from_secs(1)).await;
    program
}

fn main() {
    let large = std::env::args().any(|argument| argument == "--bench");
    let steps = if large { 2_000 } else { 20 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    println!("an empty step over {WORKERS} workers, {steps} steps: median and 9th decile");
    for (blocks, limits) in [(8, ["0.1", "-"]), (64, ["1", "3"])] {
        runtime.block_on(async {
            let data = tempfile::tempdir().expect("a directory");
            let here = run(embedded(data.path()).await, blocks, steps).await;
            let there = run(daemons(data.path()).await, blocks, steps).await;
            for (name, program, limit) in [
                ("embedded", here, limits[0]),
                ("loopback", there, limits[1]),
            ] {
                let (median, decile) = program.figures();
                println!(
                    "{blocks:>3} blocks {name}: {median:.3} ms, {decile:.3} ms (target {limit} ms)"
                );
            }
        });
    }
}
