//! A worker daemon as its users meet it: job after job, busy in words, healthy, careful about where it listens.

use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, binary, ended, json_of, output_of, parse, signal};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use wire::{FromWorker, Open, ToWorker};

/// How long a condition may take before the test says that it never comes.
const PATIENCE: Duration = Duration::from_mins(2);
/// What a process may keep of the memory of its jobs: threads' first allocations, and pages with something on them.
const KEPT_BYTES: u64 = 24 << 20;

fn daemon() -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let daemon = Daemon::start(&cache, &["--memory", "1GiB", "--threads", "1"]);
    (daemon, folder)
}

fn job(inputs: &Inputs, epochs: u32) -> Job {
    let model = format!("rank = 16\nepochs = {epochs}\ntime = \"ignore\"");
    Job::new(inputs, Data::Small, &model, "")
}

fn channel(daemon: &Daemon) -> Channel {
    wire::settings::endpoint(&daemon.address)
        .expect("an address")
        .connect_lazy()
}

#[test]
fn it_serves_job_after_job() {
    let inputs = Inputs::of(&[Data::Small]);
    let (daemon, _folder) = daemon();
    let digests = [2, 3, 2].map(|epochs| {
        let job = job(&inputs, epochs);
        let report = json_of(&mut job.command("run", &["--workers", &daemon.address]));
        report["digest"].clone()
    });
    assert_eq!(digests[0], digests[2]);
    assert_ne!(digests[0], digests[1]);
}

/// Objects are dropped with the session (`loopback.rs` counts them); left to itself, glibc kept 65 of 67 MiB.
#[test]
fn it_gives_its_memory_back_to_the_machine() {
    let inputs = Inputs::of(&[Data::Generated]);
    let (daemon, _folder) = daemon();
    let before = daemon.anonymous_bytes();
    let mut digests = Vec::new();
    for _ in 0..2 {
        let model = "rank = 16\nepochs = 1\ntime = \"ignore\"";
        let job = Job::new(&inputs, Data::Generated, model, "");
        let mut coordinator = job
            .command("run", &["--workers", &daemon.address])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the coordinator starts");
        let mut peak = 0;
        while coordinator.try_wait().expect("our own child").is_none() {
            peak = peak.max(daemon.anonymous_bytes());
            std::thread::sleep(Duration::from_millis(5));
        }
        digests.push(parse(&ended(coordinator))["digest"].clone());
        let after = daemon.anonymous_bytes();
        println!("{before} bytes before, {peak} in the job, {after} after it");
        // Else the next line could not fail.
        assert!(peak > before + KEPT_BYTES, "{before} -> {peak}");
        assert!(after < before + KEPT_BYTES, "{before} -> {after}");
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_second_coordinator_is_told_that_it_is_busy() {
    let inputs = Inputs::of(&[Data::Small]);
    let (daemon, _folder) = daemon();
    let (long, short) = (job(&inputs, 400), job(&inputs, 1));
    let workers = ["--workers", daemon.address.as_str()];
    let first = long
        .command("run", &workers)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the coordinator starts");
    let began = Instant::now();
    // The first manifest claims the term, the second is a checkpoint: the session is open.
    let manifests = long.model().join("manifests");
    while std::fs::read_dir(&manifests).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < PATIENCE, "the first job does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = output_of(&mut short.command("ingest", &workers));
    let said: Value = serde_json::from_slice(&refused.stdout).expect("one object");
    assert_eq!(refused.status.code(), Some(69), "{said}");
    let message = said["error"]["message"].as_str().expect("a sentence");
    assert!(message.contains(&daemon.address), "{message}");
    assert!(
        message.contains("this worker serves run ") && message.contains("wait until that is done"),
        "{message}"
    );
    signal(first.id(), "INT");
    assert_eq!(ended(first).status.code(), Some(130));
    json_of(&mut short.command("ingest", &workers));
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let (daemon, _folder) = daemon();
    let mut health = HealthClient::new(channel(&daemon));
    for service in ["", "strata.v1.Worker"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.expect("it answers");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(channel(&daemon));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .expect("it answers");
    let answer = answers.into_inner().message().await.expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("no list of services");
    };
    let names: Vec<&str> = list.service.iter().map(|one| one.name.as_str()).collect();
    assert!(names.contains(&"strata.v1.Worker"), "{names:?}");
}

/// Whoever started it may be killed in any way: the kernel closes his end of the pipe.
#[test]
fn it_ends_with_its_standard_input() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut worker = Command::new(binary("worker"))
        .args(["--until-stdin-ends", "--data"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let stdin = worker.stdin.take().expect("stdin is piped");
    std::thread::sleep(Duration::from_millis(300));
    assert!(worker.try_wait().expect("our own child").is_none());
    drop(stdin);
    let output = ended(worker);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("worker: listening on 127.0.0.1:"), "{said}");
}

#[test]
fn workers_of_a_file_may_come_later_and_elsewhere() {
    let inputs = Inputs::of(&[Data::Small]);
    let (first, _first) = daemon();
    let wanted = json_of(&mut job(&inputs, 2).command("run", &["--workers", &first.address]));
    drop(first);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("workers");
    let workers = format!("file://{}", file.display());
    let refused = |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("a file");
        }
        let output = output_of(&mut job(&inputs, 2).command("run", &["--workers", &workers]));
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let message = said["error"]["message"].as_str().expect("a sentence");
        (output.status.code(), message.to_owned())
    };
    let (code, said) = refused(None);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&format!("the workers in {} cannot be read", file.display())));
    let (code, said) = refused(Some("# none\nhere\n"));
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("line 2: `here` is no address of a worker"),
        "{said}"
    );

    // Nobody at first; then one who is there no more, and one who is.
    std::fs::write(&file, "").expect("a file");
    let job = job(&inputs, 2);
    let waiting = job
        .command("run", &["--workers", &workers])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the coordinator starts");
    let (second, _second) = daemon();
    std::fs::write(&file, format!("127.0.0.1:1\n{}\n", second.address)).expect("a file");
    assert_eq!(parse(&ended(waiting))["digest"], wanted["digest"]);
}

#[test]
fn it_refuses_to_listen_beyond_loopback() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = output_of(
        Command::new(binary("worker"))
            .args(["--listen", "0.0.0.0:0", "--data"])
            .arg(folder.path()),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        said.contains("--listen 0.0.0.0:0") && said.contains("--insecure"),
        "{said}"
    );
}

#[tokio::test]
async fn a_coordinator_of_another_build_is_refused_and_the_next_is_served() {
    let (daemon, _folder) = daemon();
    // The same version of other sources is refused too.
    let other = format!("{}+0", wire::ENGINE);
    for (build, taken) in [("0.0.0", false), (&*other, false), (wire::BUILD, true)] {
        let mut link = worker::grpc::remote::connect(channel(&daemon))
            .await
            .expect("it answers");
        let hello = link.from_worker.recv().await;
        assert!(matches!(hello, Some(FromWorker::Hello { .. })), "{hello:?}");
        let open = Open {
            term: 1,
            run: tensor::Digest([7; 32]),
            token: wire::Token::draw().expect("random bytes"),
            worker: tensor::WorkerId(0),
            build: build.to_owned(),
            inputs: Vec::new(),
            depots: Vec::new(),
            peers: Vec::new(),
            heartbeat_ms: 1000,
        };
        link.to_worker
            .send(ToWorker::Open(open))
            .await
            .expect("it listens");
        match link.from_worker.recv().await {
            Some(FromWorker::Opened) => assert!(taken),
            Some(FromWorker::Refused(failure)) => {
                assert!(!taken);
                let sentence = failure.to_string();
                assert!(
                    sentence.contains(&format!("build {build} of the engine")),
                    "{sentence}"
                );
                assert_eq!(failure.refusal(), plan::Refusal::Config);
                // The session ends with that: the worker is free again.
                assert_eq!(link.from_worker.recv().await, None);
            }
            other => panic!("{other:?}"),
        }
    }
}
