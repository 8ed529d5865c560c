//! The daemon: listens, serves one job at a time, outlives jobs, drains on SIGTERM.

use crate::arguments::Arguments;
use crate::grpc::tls::handshakes;
use crate::grpc::{Credentials, GrpcDialer, Guard, Limits, Role, Service, incoming, tcp};
use crate::http;
use crate::{Settings, Threads, Worker};
use clap::Parser;
use plan::{Failure, Refusal};
use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{Cache, IoMode};
use tensor::ByteSize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wire::settings::{server, service};

/// Below this there is no room for a block and its neighbours.
const MEMORY_MIN: ByteSize = ByteSize(256 << 20);
/// How long a worker that is to leave stays readable for the others.
const GRACE: Duration = Duration::from_secs(30);
/// The most threads that talk with the others, one for each four that compute: a second one beside a single one that computes
/// only wakes and is woken.
const TALKING_THREADS: u32 = 4;
/// 128 + 15, as a shell reports a process that SIGTERM ended.
const TERMINATED: u8 = 143;
/// 128 + 2, likewise for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// All that the program does: the arguments begin with its name, and what is given is the exit code.
pub fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    store::heap::fix_thresholds();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. If stderr is closed there is nobody to tell.
            let _ = error.print();
            let usage = if error.use_stderr() {
                Refusal::Usage.exit_code()
            } else {
                0
            };
            return usage;
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("worker: {failure}");
            failure.refusal().exit_code()
        }
    }
}

fn refused(refusal: Refusal, sentence: String) -> Failure {
    Failure::Refused { refusal, sentence }
}

fn run(arguments: Arguments) -> Result<u8, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log)
        .map_err(|error| refused(Refusal::Usage, format!("--log {}: {error}", arguments.log)))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if arguments.log_format == "json" {
        lines.json().init();
    } else {
        lines.init();
    }
    if arguments.memory < MEMORY_MIN {
        let sentence = format!(
            "--memory {} is too little: give {MEMORY_MIN} or more",
            arguments.memory
        );
        return Err(refused(Refusal::Config, sentence));
    }
    store::heap::keep_for(arguments.memory.0);
    let threads = arguments.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
    });
    let mode = if arguments.io == "pread" {
        IoMode::Pread
    } else {
        IoMode::Mmap
    };
    let cache = Cache::open(&arguments.data, arguments.disk.0, mode)
        .map_err(|error| exec::failure_of(error, None))?;
    let simd = arguments
        .simd
        .parse::<exec::Simd>()
        .map_err(|error| refused(Refusal::Config, format!("--simd: {error}")))?;
    let settings = Settings {
        threads,
        memory_bytes: arguments.memory.0,
        lanes: 2,
        simd,
    };
    let executor = Arc::new(Threads::start(threads as usize, settings.lanes as usize)?);
    let credentials = arguments.tls.as_deref();
    let credentials = credentials.map(|folder| Credentials::open(folder, Role::Worker));
    let credentials = credentials.transpose()?;
    let connect = credentials.as_ref().map_or_else(tcp, Credentials::connect);
    let dialer = Arc::new(GrpcDialer::new(connect, arguments.memory.0));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.div_ceil(4).min(TALKING_THREADS) as usize)
        .enable_all()
        .build()
        .map_err(|error| {
            refused(
                Refusal::TryAgain,
                format!("no thread can be started: {error}"),
            )
        })?;
    runtime.block_on(async {
        let worker = Worker::new(settings, Arc::new(cache), executor, dialer);
        listen(&arguments, worker, credentials).await
    })
}

/// Told when standard input ends, by a thread that waits for nothing else.
fn stdin_ends() -> Result<oneshot::Receiver<()>, Failure> {
    let (tell, told) = oneshot::channel();
    let wait = move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 256];
        // What cannot be read has ended, too.
        while stdin.read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        // The daemon may be on its way out already.
        let _ = tell.send(());
    };
    let waiting = std::thread::Builder::new().name("stdin".to_owned());
    waiting.spawn(wait).map_err(|error| {
        refused(
            Refusal::TryAgain,
            format!("no thread can be started: {error}"),
        )
    })?;
    Ok(told)
}

async fn ended(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        // An error: the thread is gone, which only waits for the end.
        Some(stdin) => drop(stdin.await),
        None => std::future::pending().await,
    }
}

async fn bind(arguments: &Arguments) -> Result<(TcpListener, SocketAddr), Failure> {
    let cannot = |error: std::io::Error| {
        let sentence = format!(
            "--listen {}: {error}: give another address or port",
            arguments.listen
        );
        refused(Refusal::Unavailable, sentence)
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&arguments.listen)
        .await
        .map_err(cannot)?
        .collect();
    if !arguments.insecure
        && arguments.tls.is_none()
        && addresses.iter().any(|address| !address.ip().is_loopback())
    {
        let sentence = format!(
            "--listen {} is reachable from other machines, and nothing would be encrypted: give --tls with certificates \
             (`coordinator tls init`), listen on 127.0.0.1, or give --insecure on a network you trust",
            arguments.listen
        );
        return Err(refused(Refusal::Config, sentence));
    }
    let listener = TcpListener::bind(&addresses[..]).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

async fn listen(
    arguments: &Arguments,
    worker: Worker,
    credentials: Option<Credentials>,
) -> Result<u8, Failure> {
    let (listener, address) = bind(arguments).await?;
    if let Some(http) = &arguments.http {
        let (listener, address) = http::bind("--http", http).await?;
        eprintln!("worker: http://{address}/status.json tells how it is");
        tokio::spawn(http::serve(
            listener,
            http::common(Arc::new(worker.clone())),
        ));
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<wire::proto::worker_server::WorkerServer<Service>>()
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::proto::DESCRIPTORS)
        .build_v1()
        .map_err(|error| {
            refused(
                Refusal::Bug,
                format!("the reflection service does not start: {error}"),
            )
        })?;
    let guard = Guard {
        secured: credentials.is_some(),
    };
    let services = server()
        .layer(guard)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(service(Service::new(worker.clone())));
    let limits = Limits {
        a_second: arguments.connections_per_second,
        ..Limits::default()
    };
    let connections = incoming(listener, limits, worker.visits());
    let mut serving = match credentials {
        Some(credentials) => {
            tokio::spawn(services.serve_with_incoming(handshakes(connections, credentials)))
        }
        None => tokio::spawn(services.serve_with_incoming(connections)),
    };
    let no_signals =
        |error: std::io::Error| refused(Refusal::Bug, format!("signals cannot be caught: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let left = arguments.until_stdin_ends.then(stdin_ends).transpose()?;
    eprintln!("worker: listening on {address}");
    tokio::select! {
        biased;
        () = ended(left) => return Ok(TERMINATED),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => return Ok(INTERRUPTED),
        ended = &mut serving => {
            let why = ended.map_or_else(|e| e.to_string(), |r| r.err().map_or(String::new(), |e| e.to_string()));
            return Err(refused(Refusal::Io, format!("listening on {address} ended: {why}")));
        }
    }
    health
        .set_not_serving::<wire::proto::worker_server::WorkerServer<Service>>()
        .await;
    worker.drain();
    worker.drained(GRACE).await;
    // The runtime ends with this function, and with it what still streams.
    Ok(TERMINATED)
}
