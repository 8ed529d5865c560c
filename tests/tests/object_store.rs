//! Data set and model in a bucket: the same bytes as in a local folder, for embedded workers and for daemons, which
//! reach the bucket themselves.
//!
//! So is what an ingest reads there: a file, or all files of a folder, by URLs of a cloud and of the web. All is tried with S3 and with
//! Azure.

use bytes::Bytes;
use depot::{Body, Checkpoint, Depot};
use futures::TryStreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tensor::{Digest, SealedRef};
use tests::jobs::{Data, Inputs, Job};
use tests::nemesis::proxy::{Proxy, Weather};
use tests::process::{Daemon, addresses, json_of, output_of};
use tests::stores::Store;

fn s3() -> Option<Store> {
    Store::s3(env!("CARGO_TARGET_TMPDIR"))
}

fn azure() -> Option<Store> {
    Store::azure(env!("CARGO_TARGET_TMPDIR"))
}

/// A verb with its outputs under a URL.
fn under(server: &Store, job: &Job, verb: &str, url: &str, workers: &str) -> Command {
    let mut command = in_url(job, verb, url, workers);
    command.envs(server.environment());
    command
}

fn in_url(job: &Job, verb: &str, url: &str, workers: &str) -> Command {
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
    job.command(verb, &arguments)
}

fn holds_the_bytes_of_a_folder(server: &Store) {
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
    let url = server.url("embedded");
    let verb = |verb| json_of(&mut under(server, &embedded, verb, &url, "2"));
    assert_eq!(digests(verb("ingest"), verb("train")), expected);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut environment = server.environment();
    environment.push(("STRATA_LOG", "trace".to_owned()));
    let daemons = ["a", "b"].map(|name| {
        let memory = ["--memory", "1GiB", "--threads", "1"];
        Daemon::start_within(&folder.path().join(name), &memory, &environment)
    });
    let (dialled, workers) = (job(), addresses(&daemons));
    let url = server.url("daemons");
    let verb = |verb| json_of(&mut under(server, &dialled, verb, &url, &workers));
    assert_eq!(digests(verb("ingest"), verb("train")), expected);

    // Whoever writes down all that there is to say does not tell how it is let in.
    for daemon in &daemons {
        let said = daemon.said();
        assert!(said.len() > 1_000 && !said.contains(server.secret()));
    }
    // Nothing was written beside the bucket.
    for job in [&embedded, &dialled] {
        assert!(!job.folder().join("data").exists() && !job.model().exists());
    }
    let nobody = server.url_in("nobody", "x");
    let output = output_of(&mut under(server, &embedded, "train", &nobody, "2"));
    let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(
        said["error"]["message"],
        format!(
            "there is no bucket for {nobody}/data: make it, or correct the URL and its endpoint"
        )
    );
}

/// An ingest of these files and a training, by these workers.
fn trained(server: &Store, job: &Job, files: &str, workers: &str) -> (Value, Value) {
    let files = format!("input.files={files}");
    let verb = |verb| {
        let arguments = ["--workers", workers, "--set", files.as_str()];
        json_of(job.command(verb, &arguments).envs(server.environment()))
    };
    let (ingest, train) = (verb("ingest"), verb("train"));
    (ingest["digest"].clone(), train["digest"].clone())
}

fn gives_interactions(server: &Store) {
    let inputs = Inputs::of(&[Data::Small, Data::Bundled]);
    let job = |data| {
        let model = "rank = 8\nepochs = 1\ntime = \"ignore\"";
        Job::new(&inputs, data, model, "")
    };
    let file = |name: &str| inputs.folder().join(name);
    let local = file("small.parquet");
    let content = std::fs::read(&local).expect("the file is there");
    server.put("in/small.parquet", &content);
    let expected = trained(server, &job(Data::Small), local.to_str().unwrap(), "2");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemons = ["a", "b"].map(|name| {
        let memory = ["--memory", "1GiB", "--threads", "1"];
        Daemon::start_within(&folder.path().join(name), &memory, &server.environment())
    });
    let there = addresses(&daemons);
    let of_the_web = server.of_the_web("in/small.parquet");
    let of_a_folder = server.url("in/");
    for (files, workers) in [
        (server.url("in/small.parquet"), "2"),
        (of_a_folder, there.as_str()),
        (of_the_web.clone(), "1"),
        (of_the_web, there.as_str()),
    ] {
        let found = trained(server, &job(Data::Small), &files, workers);
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
    let there = ingest(&days, &server.url("days/"));
    let here = ingest(&job(Data::Bundled), file("days").to_str().unwrap());
    assert_eq!(there["digest"], here["digest"]);
    assert!(there["time_bins"].as_u64() > Some(1), "{there}");
}

fn tells_what_cannot_be_read(server: &Store) {
    let inputs = Inputs::of(&[Data::Small]);
    server.put("in/small.parquet", b"no Parquet at all");
    let told = |files: &str, environment: &[(&'static str, String)]| {
        let job = Job::new(&inputs, Data::Small, "rank = 8\nepochs = 1", "");
        let files = format!("input.files={files}");
        let mut command = job.command("ingest", &["--set", files.as_str()]);
        let output = output_of(command.envs(environment.iter().cloned()));
        for said in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(said).contains(server.secret()));
        }
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert!(!job.folder().join("data/manifests").exists());
        let message = said["error"]["message"].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), message)
    };
    let known = server.environment();
    let small = server.url("in/small.parquet");
    let nobody = |name| server.url_in("nobody", name);
    let web = server.of_the_web("");
    for (files, code, sentence) in [
        (
            server.url("nothing.parquet"),
            69,
            format!("there is no file {}", server.url("nothing.parquet")),
        ),
        (
            format!("{web}nothing.parquet"),
            69,
            format!("there is no file {web}nothing.parquet"),
        ),
        (
            nobody("in.parquet"),
            69,
            format!("there is no file {}", nobody("in.parquet")),
        ),
        (
            nobody("in/"),
            78,
            format!(
                "there is no bucket for {}: make it, or correct the URL and its endpoint",
                nobody("in/")
            ),
        ),
        (
            server.url("nothing/"),
            69,
            format!("`input.files`: {} holds no *.parquet file", server.url("nothing/")),
        ),
        (
            server.url("in/*.parquet"),
            78,
            format!(
                "`input.files`: {}: a `*` is for local files: name each file, or a folder with a slash at its end \
                 for all *.parquet below it",
                server.url("in/*.parquet")
            ),
        ),
        (
            format!("{web}in/"),
            78,
            format!(
                "`{web}in/` is no URL of a file that can be read: a web server does not tell what lies in a folder: name each file; give \
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
    let (code, message) = told(&small, &known);
    assert_eq!(code, 65, "{message}");
    assert!(
        message.contains("does not end with the word PAR1"),
        "{message}"
    );
    let unknown = server.unknown();
    let (code, message) = told(&small, &unknown);
    assert_eq!(
        message,
        format!(
            "no credentials for {small}: set {} in the environment",
            server.variables()
        )
    );
    assert_eq!(code, 77);
}

/// Objects of several parts, and sixteen who commit at once: in the process that knows the store by its environment.
async fn is_a_depot(url: String) {
    let depot = Depot::open(&url).expect("a depot");
    let content: Vec<u8> = (0..21_000_000_u32).map(|at| (at / 7) as u8).collect();
    let content = Bytes::from(content);
    let digest = Digest(*blake3::hash(&content).as_bytes());
    let object = SealedRef {
        digest,
        bytes: content.len() as u64,
    };
    depot.put_bytes(object, content.clone()).await.expect("put");
    let parts: Vec<Bytes> = depot.parts(object).try_collect().await.expect("read");
    assert!(parts.len() > 2 && parts.concat() == content);
    let listed = depot.list().await.expect("listed");
    assert_eq!(
        listed.iter().map(|at| at.object).collect::<Vec<_>>(),
        [object]
    );

    let checkpoint = |racer: u8| {
        Body::Checkpoint(Checkpoint {
            run: Digest([racer; 32]),
            epoch: 1,
            program: "als".to_owned(),
            state: Vec::new(),
            objects: Vec::new(),
            finished: false,
        })
    };
    let racers = (0..16_u8).map(|racer| {
        let (depot, body) = (depot.clone(), checkpoint(racer));
        tokio::spawn(async move { (depot.commit(1, body).await.expect("a number"), racer) })
    });
    let mut numbers = BTreeSet::new();
    for won in futures::future::join_all(racers).await {
        let (number, racer) = won.expect("it ends");
        assert!(numbers.insert(number), "two winners of {number}");
        let (manifest, _) = depot.manifest(number).await.expect("a manifest");
        assert_eq!(manifest.body, checkpoint(racer));
    }
    assert!(numbers.into_iter().eq(1..=16));
    assert!(depot.verify().await.expect("verified").is_sound());
}

/// Which depot [`is_a_depot`] is about; set for the process that `is_a_depot_by_itself` starts.
const OF_A_DEPOT: &str = "DEPOT_OF_THIS_TEST";

fn is_a_depot_by_itself(server: &Store, test: &str) {
    let mut own = Command::new(std::env::current_exe().expect("a test knows its own path"));
    own.args(["--exact", test, "--nocapture"])
        .env(OF_A_DEPOT, server.url("races"))
        .envs(server.environment());
    let output = output_of(&mut own);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_is_a_depot() {
    match std::env::var(OF_A_DEPOT) {
        Ok(url) => is_a_depot(url).await,
        Err(_) => s3()
            .iter()
            .for_each(|server| is_a_depot_by_itself(server, "s3_is_a_depot")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn azure_is_a_depot() {
    match std::env::var(OF_A_DEPOT) {
        Ok(url) => is_a_depot(url).await,
        Err(_) => azure()
            .iter()
            .for_each(|server| is_a_depot_by_itself(server, "azure_is_a_depot")),
    }
}

/// Connections to the store are reset in the middle of what passes, slow and late, all the time: the same bytes.
fn holds_them_in_bad_weather(server: &Store) {
    let inputs = Inputs::of(&[Data::Small]);
    let job = || {
        let model = "rank = 16\nepochs = 4\ntime = \"ignore\"";
        Job::new(&inputs, Data::Small, model, "")
    };
    let undisturbed = job();
    let url = server.url("clear");
    let verb = |verb| json_of(&mut under(server, &undisturbed, verb, &url, "2"));
    let expected = [verb("ingest"), verb("train")].map(|said| said["digest"].clone());

    let proxy = Proxy::before(server.address());
    let (over, ended) = mpsc::channel::<()>();
    let disturbed = job();
    let sky = &proxy;
    let found = std::thread::scope(|scope| {
        scope.spawn(move || {
            let weathers = [
                Weather::Reset(30_000),
                Weather::Clear,
                Weather::Delay(Duration::from_millis(40)),
                Weather::Reset(300),
                Weather::Throttle(400_000),
            ];
            for weather in weathers.into_iter().cycle() {
                sky.set(weather);
                let pause = ended.recv_timeout(Duration::from_millis(250));
                if pause != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let url = server.url("weather");
        let verb = |verb| {
            let mut command = in_url(&disturbed, verb, &url, "2");
            output_of(command.envs(server.environment_by(&proxy.address)))
        };
        let outputs = [verb("ingest"), verb("train")];
        drop(over);
        outputs
    });
    let found = found.map(|output| {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        said["digest"].clone()
    });
    assert_eq!(found, expected);
    println!("{} connections were reset", proxy.resets());
    assert!(proxy.resets() > 3, "{} resets", proxy.resets());
}

#[test]
fn s3_holds_them_in_bad_weather() {
    s3().iter().for_each(holds_them_in_bad_weather);
}

#[test]
fn azure_holds_them_in_bad_weather() {
    azure().iter().for_each(holds_them_in_bad_weather);
}

#[test]
fn s3_holds_the_bytes_of_a_folder() {
    s3().iter().for_each(holds_the_bytes_of_a_folder);
}

#[test]
fn azure_holds_the_bytes_of_a_folder() {
    azure().iter().for_each(holds_the_bytes_of_a_folder);
}

#[test]
fn s3_and_the_web_give_interactions() {
    s3().iter().for_each(gives_interactions);
}

#[test]
fn azure_and_the_web_give_interactions() {
    azure().iter().for_each(gives_interactions);
}

#[test]
fn s3_tells_what_cannot_be_read_in_one_sentence() {
    s3().iter().for_each(tells_what_cannot_be_read);
}

#[test]
fn azure_tells_what_cannot_be_read_in_one_sentence() {
    azure().iter().for_each(tells_what_cannot_be_read);
}
