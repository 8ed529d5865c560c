//! Data set and model in a bucket: the same bytes as in a local folder, for embedded workers and for daemons, which
//! reach the bucket themselves.
//!
//! The bucket is that of a server for tests, moto, in a virtual environment below the target directory that is made
//! once. Where Python or its packages cannot be had, a notice is all that is left of the test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of, output_of};
use tests::python::python;

const MOTO: &str = "moto[server]==5.2.5";
const BUCKET: &str = "strata";
/// How long the server may take to say where it listens.
const PATIENCE: Duration = Duration::from_mins(1);

/// An object store on a free loopback port, with one bucket; ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(python: &Path) -> Server {
        let mut child = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let (sender, receiver) = mpsc::channel();
        // Goes on to the end, so that the server's log never fills the pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("Running on http://") {
                    let _ = sender.send(address.trim().to_owned());
                }
            }
        });
        let address = receiver.recv_timeout(PATIENCE);
        let address = address.expect("the server says where it listens");
        let server = Server { child, address };
        server.make_bucket();
        server
    }

    fn make_bucket(&self) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// What a process needs to reach it.
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A verb with its outputs under a URL.
fn under(server: &Server, job: &Job, verb: &str, url: &str, workers: &str) -> Command {
    let data = format!("output.data={url}/data");
    let model = format!("output.model={url}/model");
    let arguments = [
        "--workers",
        workers,
        "--set",
        data.as_str(),
        "--set",
        model.as_str(),
    ];
    let mut command = job.command(verb, &arguments);
    command.envs(server.environment());
    command
}

#[test]
fn a_bucket_holds_the_bytes_of_a_folder() {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "object-store-server", &[MOTO]) {
        Ok(python) => python,
        Err(why) => {
            println!("NOTICE: {MOTO} cannot be had: no object store is tested ({why})");
            return;
        }
    };
    let server = Server::start(&python);
    let inputs = Inputs::of(&[Data::Small]);
    let job = || {
        let model = "rank = 16\nepochs = 2\ntime = \"ignore\"";
        Job::new(&inputs, Data::Small, model, "")
    };
    let digests = |ingest: Value, train: Value| {
        assert!(train["resumed_from"].is_null());
        assert!(ingest["digest"].is_string() && train["digest"].is_string());
        (ingest["digest"].clone(), train["digest"].clone())
    };

    let local = job();
    let verb = |verb| json_of(&mut local.command(verb, &["--workers", "2"]));
    let expected = digests(verb("ingest"), verb("train"));

    let embedded = job();
    let url = format!("s3://{BUCKET}/embedded");
    let verb = |verb| json_of(&mut under(&server, &embedded, verb, &url, "2"));
    assert_eq!(digests(verb("ingest"), verb("train")), expected);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemons = ["a", "b"].map(|name| {
        let memory = ["--memory", "1GiB", "--threads", "1"];
        Daemon::start_within(&folder.path().join(name), &memory, &server.environment())
    });
    let (dialled, workers) = (job(), addresses(&daemons));
    let url = format!("s3://{BUCKET}/daemons");
    let verb = |verb| json_of(&mut under(&server, &dialled, verb, &url, &workers));
    assert_eq!(digests(verb("ingest"), verb("train")), expected);

    // Nothing was written beside the bucket.
    for job in [&embedded, &dialled] {
        assert!(!job.folder().join("data").exists() && !job.model().exists());
    }
    let output = output_of(&mut under(
        &server,
        &embedded,
        "train",
        "s3://nobody/x",
        "2",
    ));
    let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(
        said["error"]["message"],
        "there is no bucket for s3://nobody/x/data: make it, or correct the URL and its endpoint"
    );
}
