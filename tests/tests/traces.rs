//! `--trace-endpoint`: what a run did reaches a collector of OpenTelemetry as OTLP over HTTP, in JSON.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use tests::http::free_address;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of, output_of, parse};

const MODEL: &str = "rank = 16\nepochs = 3\ntime = \"ignore\"";

type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// A collector: takes what comes, and keeps it.
struct Collector {
    address: String,
    requests: Requests,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Requests::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || while take(&stream, &kept).is_some() {});
            }
        });
        Collector { address, requests }
    }

    fn requests(&self) -> Vec<(String, Value)> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request of a connection; `None` when there is no further one.
fn take(stream: &TcpStream, kept: &Requests) -> Option<()> {
    let mut from = BufReader::new(stream);
    let (mut line, mut head) = (String::new(), Vec::new());
    while from.read_line(&mut line).ok()? > 2 {
        head.push(line.trim().to_lowercase());
        line.clear();
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    from.read_exact(&mut body).ok()?;
    let is_json = head.contains(&"content-type: application/json".to_owned());
    let body = serde_json::from_slice(&body).ok().filter(|_| is_json);
    let request = (head[0].clone(), body.unwrap_or_default());
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    let mut to = stream;
    to.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    )
    .ok()
}

fn text(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

fn nanoseconds(of: &Value, key: &str) -> u64 {
    text(of, key)
        .parse()
        .unwrap_or_else(|_| panic!("{key} in {of}"))
}

/// The attributes of a span or a resource.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    let all = of["attributes"].as_array().expect("attributes").iter();
    all.map(|one| {
        let kinds = one["value"].as_object().expect("a value");
        let value = kinds.values().next().and_then(Value::as_str);
        let value = value.unwrap_or_else(|| panic!("{one} has no value"));
        (text(one, "key"), value.to_owned())
    })
    .collect()
}

/// The spans of all requests, by trace.
fn spans(collector: &Collector) -> BTreeMap<String, Vec<Value>> {
    let mut traces: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (line, body) in collector.requests() {
        assert_eq!(line, "post /v1/traces http/1.1");
        for of in body["resourceSpans"].as_array().expect("resources") {
            let about = attributes(&of["resource"]);
            assert_eq!(about["service.name"], "strata");
            assert!(!about["strata.run"].is_empty() && about["strata.term"].parse::<u64>().is_ok());
            for scope in of["scopeSpans"].as_array().expect("scopes") {
                for span in scope["spans"].as_array().expect("spans") {
                    traces
                        .entry(text(span, "traceId"))
                        .or_default()
                        .push(span.clone());
                }
            }
        }
    }
    traces
}

/// The spans of one stage: a tree, each child within its parent.
fn is_a_tree(spans: &[Value]) -> Value {
    let by_id: BTreeMap<String, &Value> = spans
        .iter()
        .map(|span| (text(span, "spanId"), span))
        .collect();
    assert_eq!(by_id.len(), spans.len(), "no id is there twice");
    let mut roots = Vec::new();
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for span in spans {
        assert!(text(span, "traceId").len() == 32 && text(span, "spanId").len() == 16);
        let (start, end) = (
            nanoseconds(span, "startTimeUnixNano"),
            nanoseconds(span, "endTimeUnixNano"),
        );
        assert!(start <= end, "{span}");
        if span["parentSpanId"].is_null() {
            roots.push(span.clone());
            continue;
        }
        let parent = text(span, "parentSpanId");
        let parent = by_id
            .get(&parent)
            .unwrap_or_else(|| panic!("{span} has no parent"));
        assert!(
            nanoseconds(parent, "startTimeUnixNano") <= start
                && end <= nanoseconds(parent, "endTimeUnixNano"),
            "{span} is not within {parent}"
        );
        let about = attributes(span);
        if let Some(block) = about.get("strata.block") {
            for key in ["strata.step", "strata.attempt", "strata.worker"] {
                assert!(about[key].parse::<u64>().is_ok(), "{key} of {span}");
            }
            let of = blocks.entry(text(parent, "spanId")).or_default();
            of.insert(block.clone());
        } else if about.is_empty() {
            let phase = text(span, "name");
            assert!(
                ["fetch", "compute", "send"].contains(&phase.as_str()),
                "{span}"
            );
            assert!(attributes(parent).contains_key("strata.block"), "{span}");
        }
    }
    // Each step has all of its tasks below it.
    for step in spans {
        let about = attributes(step);
        if let Some(tasks) = about.get("strata.tasks") {
            let below = blocks.get(&text(step, "spanId")).map_or(0, BTreeSet::len);
            assert_eq!(tasks, &below.to_string(), "{step}");
        }
    }
    assert_eq!(roots.len(), 1, "{roots:?}");
    roots.remove(0)
}

#[test]
fn what_a_run_did_reaches_a_collector() {
    let inputs = Inputs::of(&[Data::Small]);
    let wanted = json_of(&mut Job::new(&inputs, Data::Small, MODEL, "").command("run", &[]));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemons: Vec<Daemon> = ["one", "two"]
        .map(|name| Daemon::start(&folder.path().join(name), &["--memory", "1GiB"]))
        .into();
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let job = Job::new(&inputs, Data::Small, MODEL, "");
    let workers = addresses(&daemons);
    let arguments = ["--workers", &workers, "--trace-endpoint", &endpoint];
    let report = json_of(&mut job.command("run", &arguments));
    assert_eq!(report["digest"], wanted["digest"]);

    let traces = spans(&collector);
    let stages: Vec<(String, &Vec<Value>)> = traces
        .values()
        .map(|spans| (text(&is_a_tree(spans), "name"), spans))
        .collect();
    let (_, training) = stages
        .iter()
        .find(|(stage, _)| stage == "train")
        .expect("training is told");
    assert!(stages.iter().any(|(stage, _)| stage == "ingest"));
    let of_workers: Vec<BTreeMap<String, String>> = training
        .iter()
        .map(attributes)
        .filter(|about| about.contains_key("strata.worker"))
        .collect();
    assert!(of_workers.len() > 20, "{of_workers:?}");
    let known: Vec<&str> = daemons
        .iter()
        .map(|daemon| daemon.address.as_str())
        .collect();
    for about in of_workers {
        assert!(
            known.contains(&about["server.address"].as_str()),
            "{about:?}"
        );
    }
}

/// Nobody listens there: the run ends as ever, and says what was lost.
#[test]
fn a_run_does_without_its_collector() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, MODEL, "");
    let endpoint = format!("http://{}/v1/traces", free_address());
    let arguments = ["--log", "info", "--trace-endpoint", &endpoint];
    let output = output_of(&mut job.command("run", &arguments));
    parse(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    let lost = said.lines().find(|line| line.contains("spans are lost"));
    assert!(lost.is_some_and(|line| line.contains(&endpoint)), "{said}");

    let output = output_of(&mut job.command("run", &["--trace-endpoint", "localhost:4318"]));
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("`run.trace_endpoint` localhost:4318 is no URL of a collector: give one as http://localhost:4318"),
        "{said}"
    );
}
