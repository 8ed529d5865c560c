//! Data set and model in a bucket: the same bytes as in a local folder, for embedded workers and for daemons, which
//! reach the bucket themselves.
//!
//! So is what an ingest reads there: a file, or all files of a folder, by URLs of S3 and of the web.
//!
//! The bucket is that of a server for tests, moto, in a virtual environment below the target directory that is made
//! once. Where Python or its packages cannot be had, a notice is all that is left of the test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
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
        self.put("", &[]);
    }

    /// Puts an object into the bucket, which the web may read, too; without a name, makes the bucket.
    fn put(&self, name: &str, content: &[u8]) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let place = format!("/{BUCKET}/{name}");
        let request = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nx-amz-acl: public-read\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            place.trim_end_matches('/'),
            self.address,
            content.len()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.write_all(content).expect("it reads");
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

fn server() -> Option<Server> {
    // One test makes the environment, and the others wait.
    static MADE: Mutex<()> = Mutex::new(());
    let _made = MADE.lock();
    match python(env!("CARGO_TARGET_TMPDIR"), "object-store-server", &[MOTO]) {
        Ok(python) => Some(Server::start(&python)),
        Err(why) => {
            println!("NOTICE: {MOTO} cannot be had: no object store is tested ({why})");
            None
        }
    }
}

#[test]
fn a_bucket_holds_the_bytes_of_a_folder() {
    let Some(server) = server() else { return };
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

/// An ingest of these files and a training, by these workers.
fn trained(server: &Server, job: &Job, files: &str, workers: &str) -> (Value, Value) {
    let files = format!("input.files={files}");
    let verb = |verb| {
        let arguments = ["--workers", workers, "--set", files.as_str()];
        json_of(job.command(verb, &arguments).envs(server.environment()))
    };
    let (ingest, train) = (verb("ingest"), verb("train"));
    (ingest["digest"].clone(), train["digest"].clone())
}

#[test]
fn interactions_are_read_under_urls() {
    let Some(server) = server() else { return };
    let inputs = Inputs::of(&[Data::Small, Data::Bundled]);
    let job = |data| {
        let model = "rank = 8\nepochs = 1\ntime = \"ignore\"";
        Job::new(&inputs, data, model, "")
    };
    let file = |name: &str| inputs.folder().join(name);
    let local = file("small.parquet");
    let content = std::fs::read(&local).expect("the file is there");
    server.put("in/small.parquet", &content);
    let expected = trained(&server, &job(Data::Small), local.to_str().unwrap(), "2");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemons = ["a", "b"].map(|name| {
        let memory = ["--memory", "1GiB", "--threads", "1"];
        Daemon::start_within(&folder.path().join(name), &memory, &server.environment())
    });
    let there = addresses(&daemons);
    let of_the_web = format!("http://{}/{BUCKET}/in/small.parquet", server.address);
    let of_a_folder = format!("s3://{BUCKET}/in/");
    for (files, workers) in [
        (format!("s3://{BUCKET}/in/small.parquet"), "2"),
        (of_a_folder, there.as_str()),
        (of_the_web.clone(), "1"),
        (of_the_web, there.as_str()),
    ] {
        let found = trained(&server, &job(Data::Small), &files, workers);
        assert_eq!(found, expected, "{files} by {workers}");
    }
    // Folders tell times there, too.
    let days = job(Data::Bundled);
    for day in ["day=2026-01-01", "day=2026-01-08"] {
        let content = std::fs::read(file("small.parquet")).expect("the file is there");
        server.put(&format!("days/{day}/part-0.parquet"), &content);
        let below = file("days").join(day);
        std::fs::create_dir_all(&below).expect("a folder");
        std::fs::write(below.join("part-0.parquet"), content).expect("a file");
    }
    let columns = ["input.user=user", "input.product=product", "input.time=day"];
    let ingest = |job: &Job, files: &str| {
        let files = format!("input.files={files}");
        let sets = columns.iter().copied().chain([files.as_str()]);
        let arguments: Vec<&str> = sets.flat_map(|set| ["--set", set]).collect();
        json_of(job.command("ingest", &arguments).envs(server.environment()))
    };
    let there = ingest(&days, &format!("s3://{BUCKET}/days/"));
    let here = ingest(&job(Data::Bundled), file("days").to_str().unwrap());
    assert_eq!(there["digest"], here["digest"]);
    assert!(there["time_bins"].as_u64() > Some(1), "{there}");
}

#[test]
fn a_url_that_cannot_be_read_is_told_in_one_sentence() {
    let Some(server) = server() else { return };
    let inputs = Inputs::of(&[Data::Small]);
    server.put("in/small.parquet", b"no Parquet at all");
    let told = |files: &str, environment: &[(&'static str, String)]| {
        let job = Job::new(&inputs, Data::Small, "rank = 8\nepochs = 1", "");
        let files = format!("input.files={files}");
        let mut command = job.command("ingest", &["--set", files.as_str()]);
        let output = output_of(command.envs(environment.iter().cloned()));
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert!(!job.folder().join("data/manifests").exists());
        let message = said["error"]["message"].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), message)
    };
    let known = server.environment();
    let web = format!("http://{}/{BUCKET}", server.address);
    for (files, code, sentence) in [
        (
            format!("s3://{BUCKET}/nothing.parquet"),
            69,
            format!("there is no file s3://{BUCKET}/nothing.parquet"),
        ),
        (
            format!("{web}/nothing.parquet"),
            69,
            format!("there is no file {web}/nothing.parquet"),
        ),
        (
            "s3://nobody/in.parquet".to_owned(),
            69,
            "there is no file s3://nobody/in.parquet".to_owned(),
        ),
        (
            "s3://nobody/in/".to_owned(),
            78,
            "there is no bucket for s3://nobody/in/: make it, or correct the URL and its endpoint".to_owned(),
        ),
        (
            format!("s3://{BUCKET}/nothing/"),
            69,
            format!("`input.files`: s3://{BUCKET}/nothing/ holds no *.parquet file"),
        ),
        (
            format!("s3://{BUCKET}/in/*.parquet"),
            78,
            format!(
                "`input.files`: s3://{BUCKET}/in/*.parquet: a `*` is for local files: name each file, or a folder with a slash at its end \
                 for all *.parquet below it"
            ),
        ),
        (
            format!("{web}/in/"),
            78,
            format!(
                "`{web}/in/` is no URL of a file that can be read: a web server does not tell what lies in a folder: name each file; give \
                 one as s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or https://HOST/PATH"
            ),
        ),
        (
            "ftp://host/in.parquet".to_owned(),
            78,
            "`input.files`: ftp://host/in.parquet has the scheme `ftp`: known are file, s3, gs, az, https and http".to_owned(),
        ),
    ] {
        let (found, message) = told(&files, &known);
        assert!(message.ends_with(&sentence), "{message}\n{sentence}");
        assert_eq!(found, code, "{message}");
    }
    let (code, message) = told(&format!("s3://{BUCKET}/in/small.parquet"), &known);
    assert_eq!(code, 65, "{message}");
    assert!(
        message.contains("does not end with the word PAR1"),
        "{message}"
    );
    // Nobody says who we are, and neither does the machine: the server stands for what tells machines of the cloud.
    let unknown = [
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        (
            "AWS_METADATA_ENDPOINT",
            format!("http://{}/{BUCKET}", server.address),
        ),
    ];
    let (code, message) = told(&format!("s3://{BUCKET}/in/small.parquet"), &unknown);
    assert_eq!(
        message,
        format!(
            "no credentials for s3://{BUCKET}/in/small.parquet: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    );
    assert_eq!(code, 77);
}
