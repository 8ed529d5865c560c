//! Who is let in where certificates are asked for: the programs of a cluster with the digest of one process, and nobody else, at no method.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, binary, coordinator, json_of, output_of};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};
use worker::grpc::{Credentials, Patience, Role};

/// How long a condition may take before the test says that it never comes.
const PATIENCE: Duration = Duration::from_mins(1);

/// The certificates of a new authority.
fn certificates(folder: &Path, more: &[&str]) -> PathBuf {
    let output = output_of(coordinator().args(["tls", "init"]).arg(folder).args(more));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    folder.to_owned()
}

fn daemon(folder: &Path, name: &str, certificates: &Path) -> Daemon {
    let tls = certificates.join("worker");
    let arguments = ["--memory", "1GiB", "--threads", "1", "--tls"];
    let arguments = [&arguments[..], &[tls.to_str().unwrap()]].concat();
    Daemon::start(&folder.join(name), &arguments)
}

fn job(inputs: &Inputs) -> Job {
    Job::new(inputs, Data::Small, "rank = 8\nepochs = 3", "")
}

/// The error of a run that has none of its workers.
fn refused(job: &Job, arguments: &[&str]) -> String {
    let output = output_of(&mut job.command("run", arguments));
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    said["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_secured_cluster_has_the_digest_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificates(&folder.path().join("own"), &[]);
    let inputs = Inputs::of(&[Data::Small]);
    let expected = json_of(&mut job(&inputs).command("run", &[]));
    let daemons = ["a", "b"].map(|name| daemon(folder.path(), name, &own));
    let (workers, tls) = (addresses(&daemons), own.join("coordinator"));
    let tls = tls.to_str().unwrap();
    let found = job(&inputs);
    let found = json_of(&mut found.command("run", &["--workers", &workers, "--tls", tls]));
    assert_eq!(found["digest"], expected["digest"]);
    // The same daemons, and somebody without certificates, with those of another authority, with a worker's.
    let plain = refused(&job(&inputs), &["--workers", &workers]);
    assert!(
        plain.contains("if it asks for certificates, give `--tls`"),
        "{plain}"
    );
    let other = certificates(&folder.path().join("other"), &[]);
    let other = other.join("coordinator");
    let arguments = ["--workers", &workers, "--tls", other.to_str().unwrap()];
    let stranger = refused(&job(&inputs), &arguments);
    assert!(stranger.contains("invalid peer certificate"), "{stranger}");
    // A worker that asks for none is none that a secured coordinator talks with.
    let open = Daemon::start(&folder.path().join("open"), &["--memory", "1GiB"]);
    let open = refused(&job(&inputs), &["--workers", &open.address, "--tls", tls]);
    assert!(
        open.contains("it speaks no TLS: start it with `--tls`"),
        "{open}"
    );
}

/// Calls a method with an empty message.
async fn call(channel: Channel, path: &str) -> Status {
    let mut grpc = Grpc::new(channel);
    if let Err(error) = grpc.ready().await {
        return Status::unavailable(error.to_string());
    }
    let path: PathAndQuery = path.parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let called = grpc.server_streaming(Request::new(()), path, codec).await;
    match called {
        Err(status) => status,
        Ok(answer) => match answer.into_inner().message().await {
            Err(status) => status,
            Ok(_) => Status::ok("served"),
        },
    }
}

/// Every method of every service of a worker.
fn methods() -> Vec<String> {
    use prost::Message as _;
    let described = prost_types::FileDescriptorSet::decode(wire::proto::DESCRIPTORS).unwrap();
    let mut paths = Vec::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service, method) = (file.package(), service.name(), method.name());
                paths.push(format!("/{package}.{service}/{method}"));
            }
        }
    }
    assert!(paths.len() >= 3, "{paths:?}");
    paths.extend(
        [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/a.Service/ThatIsNotThere",
        ]
        .map(str::to_owned),
    );
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_is_served_to_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificates(&folder.path().join("own"), &[]);
    let other = certificates(&folder.path().join("other"), &[]);
    let daemon = daemon(folder.path(), "a", &own);
    let plain = wire::settings::endpoint(&daemon.address).unwrap();
    let authority = std::fs::read(own.join("ca.crt")).unwrap();
    let authority = tonic::transport::Certificate::from_pem(authority);
    let nobody = ClientTlsConfig::new()
        .ca_certificate(authority)
        .domain_name(Role::Worker.name());
    let nobody = wire::settings::secured(&plain, nobody).unwrap();
    let with = |folder: &Path, role: Role| {
        let credentials = Credentials::open(folder, role).unwrap();
        credentials.connect()(plain.clone(), Patience::OfSessions)
    };
    for path in methods() {
        for stranger in [
            plain.connect_lazy(),
            nobody.connect_lazy(),
            with(&other.join("coordinator"), Role::Coordinator),
        ] {
            let status = call(stranger, &path).await;
            // It is the connection that fails: a status that a service sends has no source.
            let broken = std::error::Error::source(&status).is_some();
            assert!(broken, "{path}: {status:?}");
        }
        let worker = call(with(&own.join("worker"), Role::Worker), &path).await;
        // What workers ask of one another.
        let is_pull = path.ends_with("/Pull") || path.ends_with("/ReadTable");
        assert_eq!(
            worker.code() != Code::PermissionDenied,
            is_pull,
            "{path}: {worker:?}"
        );
        if !is_pull {
            assert!(
                worker.message().contains("coordinator.strata"),
                "{worker:?}"
            );
        }
        let commander = with(&own.join("coordinator"), Role::Coordinator);
        // Streams that wait for us to say something are served, too.
        let commander = tokio::time::timeout(Duration::from_millis(500), call(commander, &path));
        if let Ok(status) = commander.await {
            assert_ne!(status.code(), Code::PermissionDenied, "{path}");
            assert_ne!(status.code(), Code::Unavailable, "{path}: {status:?}");
        }
    }
}

#[test]
fn new_certificates_are_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificates(&folder.path().join("own"), &[]);
    let inputs = Inputs::of(&[Data::Small]);
    let daemon = daemon(folder.path(), "a", &own);
    let run = |certificates: &Path| {
        let tls = certificates.join("coordinator");
        let arguments = [
            "--workers",
            daemon.address.as_str(),
            "--tls",
            tls.to_str().unwrap(),
        ];
        output_of(&mut job(&inputs).command("run", &arguments))
    };
    assert!(run(&own).status.success());
    certificates(&own, &["--renew", "--days", "2"]);
    assert!(run(&own).status.success());
    // Another authority, whose files take the place of those that the daemon was started with.
    let other = certificates(&folder.path().join("other"), &[]);
    assert_eq!(run(&other).status.code(), Some(69));
    for name in ["tls.key", "tls.crt", "ca.crt"] {
        std::fs::rename(
            other.join("worker").join(name),
            own.join("worker").join(name),
        )
        .unwrap();
    }
    let began = Instant::now();
    while !run(&other).status.success() {
        assert!(
            began.elapsed() < PATIENCE,
            "the new certificates are not taken up"
        );
    }
    assert_eq!(run(&own).status.code(), Some(69));
    // Rubbish is told of in the log, and what was good stays.
    std::fs::write(own.join("worker/tls.crt"), "rubbish").unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    assert!(run(&other).status.success());
}

#[test]
fn who_says_nothing_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificates(&folder.path().join("own"), &[]);
    let inputs = Inputs::of(&[Data::Small]);
    let daemon = daemon(folder.path(), "a", &own);
    let tls = own.join("coordinator");
    let silent: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = TcpStream::connect(&daemon.address).unwrap();
            // The head of a greeting that is not finished, or nothing.
            if number % 2 == 0 {
                stream
                    .write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
                    .unwrap();
            }
            stream
        })
        .collect();
    let began = Instant::now();
    let arguments = [
        "--workers",
        daemon.address.as_str(),
        "--tls",
        tls.to_str().unwrap(),
    ];
    json_of(&mut job(&inputs).command("run", &arguments));
    // Handshakes may take five seconds each: one after the other they would take minutes.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn what_cannot_be_used_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let own = certificates(&folder.path().join("own"), &[]);
    for secret in ["ca.key", "worker/tls.key", "coordinator/tls.key"] {
        let mode = std::fs::metadata(own.join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let start = |tls: &Path| {
        let mut worker = Command::new(binary("worker"));
        worker.args(["--listen", "127.0.0.1:0", "--data"]);
        let output = output_of(worker.arg(folder.path().join("w")).arg("--tls").arg(tls));
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = start(&own.join("coordinator"));
    assert!(
        said.contains("tls.crt has not the name worker.strata"),
        "{said}"
    );
    let said = start(&own.join("nowhere"));
    assert!(
        said.contains("ca.crt: No such file") && said.contains("coordinator tls init"),
        "{said}"
    );
    // A certificate of one authority beside the certificate of another.
    let other = certificates(&folder.path().join("other"), &[]);
    std::fs::copy(own.join("ca.crt"), other.join("worker/ca.crt")).unwrap();
    let said = start(&other.join("worker"));
    assert!(said.contains("tls.crt is not believed"), "{said}");
    std::fs::copy(other.join("ca.crt"), other.join("worker/ca.crt")).unwrap();
    std::fs::copy(own.join("worker/tls.key"), other.join("worker/tls.key")).unwrap();
    let said = start(&other.join("worker"));
    assert!(said.contains("tls.key: "), "{said}");
    let init = |arguments: &[&str], code: i32, sentence: &str| {
        let output = output_of(coordinator().args(["tls", "init"]).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
    };
    let (there, none) = (own.to_str().unwrap(), folder.path().join("none"));
    init(&[there], 64, "there is an authority in");
    init(&[none.to_str().unwrap(), "--renew"], 64, "to renew by");
    init(&[there, "--days", "0"], 64, "invalid value '0'");
    let inside = own.join("ca.crt").join("x");
    init(&[inside.to_str().unwrap()], 74, "cannot be written");
}
