//! What both daemons tell over plain HTTP: probes, figures, the state, and on the coordinator a page that a browser keeps open.

use coordinator::driver::{OfWorker, Report, WorkerTally};
use coordinator::live::{CELLS_MAX, Live, Serving};
use coordinator::progress::{Observer, Unit};
use plan::Profile;
use serde_json::Value;
use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tensor::{Digest, News, StepId, TaskId, WorkerId};
use tests::browser::Browser;
use tests::http::{Answer, ask, events, free_address, get};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, binary, ended, json_of, output_of, parse, signal};

/// How long a condition may take before the test says that it never comes.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(10);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never comes: {what}");
        std::thread::sleep(LOOK);
    }
}

fn job(inputs: &Inputs, epochs: u32) -> Job {
    let model = format!("rank = 16\nepochs = {epochs}\ntime = \"ignore\"");
    Job::new(
        inputs,
        Data::Small,
        &model,
        "validation_bins = 1\ntest_bins = 1",
    )
}

fn started(job: &Job, arguments: &[&str]) -> Child {
    let mut command = job.command("run", arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the coordinator starts")
}

fn status(address: &str) -> Option<Value> {
    let answer = get(address, "/status.json")?;
    assert!(answer.has("content-type", "application/json"), "{answer:?}");
    assert!(answer.has("cache-control", "no-store"), "{answer:?}");
    serde_json::from_str(&answer.body).ok()
}

/// The value of a figure.
fn figure(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

fn metrics(address: &str) -> Option<String> {
    let answer = get(address, "/metrics")?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.has("content-type", kind), "{answer:?}");
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    Some(answer.body)
}

/// Everything that reads, on both daemons.
fn answers_probes(address: &str) {
    let said = |method: &str, path: &str, more: &str| -> Answer {
        ask(address, method, path, more).unwrap_or_else(|| panic!("{method} {path}: no answer"))
    };
    let health = said("GET", "/healthz", "");
    assert_eq!((health.code, health.body.as_str()), (200, "ok\n"));
    let ready = said("GET", "/readyz", "");
    assert_eq!((ready.code, ready.body.as_str()), (200, "ok\n"));
    assert_eq!(said("HEAD", "/healthz", "").code, 200);
    assert_eq!(said("POST", "/status.json", "").code, 405);
    assert_eq!(said("DELETE", "/metrics", "").code, 405);
    assert_eq!(said("GET", "/../etc/passwd", "").code, 404);
    let long = format!("X-Long: {}\r\n", "x".repeat(64 << 10));
    let refused = ask(address, "GET", "/healthz", &long).map_or(431, |answer| answer.code);
    assert_eq!(refused, 431, "a long request is refused");
}

#[test]
fn a_worker_tells_how_it_is_and_what_it_has_done() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let http = free_address();
    let arguments = ["--memory", "1GiB", "--threads", "1", "--http", &http];
    let daemon = Daemon::start(&folder.path().join("cache"), &arguments);
    answers_probes(&http);
    let before = metrics(&http).expect("figures");
    assert_eq!(figure(&before, "strata_worker_tasks_total"), Some(0.0));
    assert_eq!(figure(&before, "strata_worker_serving"), Some(0.0));
    let budget = figure(&before, "strata_memory_budget_bytes");
    assert_eq!(budget, Some(f64::from(1 << 30)));
    let mut told = Vec::new();
    for epochs in [2, 3] {
        let job = job(&inputs, epochs);
        json_of(&mut job.command("run", &["--workers", &daemon.address]));
        // The coordinator may be gone before the worker has put its books away.
        let of = until("the session is over", || {
            status(&http).filter(|of| of["run"].is_null())
        });
        told.push((of["tasks"].as_u64(), of["storage_bytes"].as_u64()));
    }
    assert!(told[0].0 > Some(100) && told[0].1 > Some(0), "{told:?}");
    assert!(told[1].0 > told[0].0 && told[1].1 > told[0].1, "{told:?}");
    let after = metrics(&http).expect("figures");
    let tasks = figure(&after, "strata_worker_tasks_total");
    assert_eq!(tasks, told[1].0.map(|tasks| tasks as f64));
    let memory = figure(&after, "strata_memory_anonymous_bytes");
    assert!(memory > Some(1e6), "{memory:?}");
}

#[test]
fn a_worker_that_leaves_is_not_ready() {
    let inputs = Inputs::of(&[Data::Small]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let http = free_address();
    let arguments = ["--memory", "1GiB", "--threads", "1", "--http", &http];
    let daemon = Daemon::start(&folder.path().join("cache"), &arguments);
    let job = job(&inputs, 4000);
    let coordinator = started(&job, &["--workers", &daemon.address]);
    job.checkpoint();
    let serving = status(&http).expect("a state");
    assert!(
        serving["run"].is_string() && serving["term"].is_u64(),
        "{serving}"
    );
    // It stays readable for the coordinator, which has nobody else, and answers meanwhile.
    daemon.terminate();
    until("it is leaving", || {
        get(&http, "/readyz").filter(|answer| answer.code == 503)
    });
    assert_eq!(get(&http, "/healthz").map(|answer| answer.code), Some(200));
    signal(coordinator.id(), "TERM");
    assert_eq!(ended(coordinator).status.code(), Some(143));
}

/// Who looks changes nothing: the digest is that of a run that nobody looks at.
#[test]
fn a_run_is_told_as_it_goes_on_and_to_its_end() {
    let inputs = Inputs::of(&[Data::Small]);
    let (watched, alone) = (job(&inputs, 100), job(&inputs, 100));
    let http = free_address();
    let run = started(&watched, &["--workers", "2", "--http", &http]);
    let frames = until("events", || events(&http, "/events"));
    let seen = std::thread::spawn(move || frames.collect::<Vec<String>>());
    until("an epoch", || {
        status(&http).filter(|of| of["epoch"]["epoch"].is_u64())
    });
    answers_probes(&http);
    let of = until("a checkpoint", || {
        status(&http).filter(|of| of["checkpoint"]["epoch"].is_u64())
    });
    assert_eq!(
        (&of["verb"], &of["state"]),
        (&"run".into(), &"running".into())
    );
    assert_eq!(of["workers"].as_array().map(Vec::len), Some(2), "{of}");
    assert_eq!(of["faults"]["worker_lost"], 0);
    assert!(
        of["left_seconds"].is_f64() && of["step"]["tasks"].is_u64(),
        "{of}"
    );
    let figures = metrics(&http).expect("figures");
    for name in [
        "strata_epoch",
        "strata_objective",
        "strata_checkpoint_age_seconds",
        "strata_checkpoints_total",
        "strata_tasks_total{step=\"user half-step\"}",
        "strata_run_state{state=\"running\"}",
        "strata_workers{state=\"working\"}",
        "strata_memory_budget_bytes",
    ] {
        assert!(figure(&figures, name).is_some(), "{name}\n{figures}");
    }
    let page = get(&http, "/").expect("the page");
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    assert!(page.has("content-security-policy", policy), "{page:?}");
    assert!(page.body.contains("Training goes on."), "{}", page.body);

    let told = parse(&ended(run));
    assert_eq!(
        told["digest"],
        json_of(&mut alone.command("run", &[]))["digest"]
    );
    let seen = seen.join().expect("the stream ends with the run");
    let frames: Vec<Value> = seen
        .iter()
        .map(|frame| serde_json::from_str(frame).expect("an object"))
        .collect();
    let (last, before) = frames.split_last().expect("frames");
    assert_eq!(last["over"], true, "{last}");
    assert_eq!(last["put"]["headline"], "Finished");
    assert!(before.iter().all(|frame| frame["over"] == false));
    assert!(before[0]["put"]["phases"].is_string());
    let some = |what: &str| before.iter().any(|frame| frame["map"][what].is_string());
    assert!(some("all"), "{before:?}");
}

/// A page that has read the first that it is sent, and so has its place.
fn page_of(address: &str) -> Option<impl Iterator<Item = String> + use<>> {
    let mut frames = events(address, "/events")?;
    frames.next()?;
    Some(frames)
}

#[test]
fn a_run_that_fails_says_so_to_those_who_look() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, 100_000);
    let http = free_address();
    let run = started(&job, &["--http", &http]);
    let frames = until("events", || page_of(&http));
    let seen = std::thread::spawn(move || frames.last());
    // Pages that read no further: there are only so many, and the run does not wait for them.
    let idle: Vec<_> = (0..15).map(|_| page_of(&http).expect("a page")).collect();
    let refused = get(&http, "/events").expect("an answer");
    assert_eq!(refused.code, 503, "{refused:?}");
    assert!(
        refused.body.starts_with("as many pages are open"),
        "{refused:?}"
    );
    job.checkpoint();
    signal(run.id(), "TERM");
    assert_eq!(ended(run).status.code(), Some(143));
    drop(idle);
    let last = seen.join().expect("it ends").expect("a frame");
    let last: Value = serde_json::from_str(&last).expect("an object");
    assert_eq!(
        (&last["over"], &last["put"]["headline"]),
        (&true.into(), &"Failed".into())
    );
    let sentence = last["put"]["status"].as_str().expect("a sentence");
    assert!(
        sentence.starts_with("stopped on request") && sentence.ends_with("(exit code 143)"),
        "{sentence}"
    );
}

#[test]
fn an_address_that_cannot_be_had_is_told() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, 1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    let held = TcpListener::bind(&taken);
    let in_use = format!(
        "--http {taken}: Address already in use (os error 98): give another address or port"
    );
    for (address, code, sentence) in [
        (
            "here",
            78,
            "--http here is no HOST:PORT: write 127.0.0.1:7080, say",
        ),
        (
            "127.0.0.1:70800",
            78,
            "--http 127.0.0.1:70800 is no HOST:PORT: write 127.0.0.1:7080, say",
        ),
        (taken.as_str(), 69, in_use.as_str()),
    ] {
        let output = output_of(&mut job.command("run", &["--http", address]));
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(said["error"]["message"], sentence);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let cache = job.folder().join("cache");
        let mut worker = std::process::Command::new(binary("worker"));
        let output = output_of(
            worker
                .args(["--listen", "127.0.0.1:0", "--http", address, "--data"])
                .arg(&cache),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("worker: {sentence}\n")), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
    assert!(!job.model().exists(), "nothing was begun");
    drop(held);
}

/// Strangers who connect and say nothing: who asks is answered, at the latest when their time is up.
#[test]
fn silent_connections_keep_nobody_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let http = free_address();
    let daemon = Daemon::start(&folder.path().join("cache"), &["--http", &http]);
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(&http).expect("the backlog takes it"))
        .collect();
    let began = Instant::now();
    assert_eq!(get(&http, "/healthz").map(|answer| answer.code), Some(200));
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    drop((silent, daemon));
}

/// A run of so many workers and blocks, in which every look finds something new.
struct Large {
    live: Arc<Live>,
    step: u64,
    epoch: u32,
    at: u32,
}

const WORKERS: u32 = 1000;
const BLOCKS: u32 = 10_000;

impl Large {
    fn new() -> Self {
        assert_eq!(u64::from(BLOCKS), CELLS_MAX);
        let live = Arc::new(Live::new("run", 64 << 30));
        live.begin("train", Unit::Tasks, None);
        live.open(Digest([7; 32]), 3);
        for worker in 0..WORKERS {
            let profile = Profile {
                threads: 16,
                memory_bytes: 64 << 30,
            };
            let address = format!("10.0.{}.{}:7070", worker / 250, worker % 250);
            let joined = OfWorker::Joined { profile, address };
            live.hear(&Report::Worker(WorkerId(worker), joined));
        }
        let mut large = Large {
            live,
            step: 0,
            epoch: 0,
            at: BLOCKS,
        };
        large.advance(1);
        large
    }

    fn of(&self, index: u32, what: impl FnOnce(TaskId) -> OfWorker) {
        let step = StepId(self.step);
        let worker = WorkerId(index.wrapping_mul(7919) % WORKERS);
        let what = what(TaskId { step, index });
        self.live.hear(&Report::Worker(worker, what));
    }

    /// Some tasks further; a step after the other.
    fn advance(&mut self, tasks: u32) {
        for _ in 0..tasks {
            if self.at == BLOCKS {
                self.live.hear(&Report::Whole(StepId(self.step)));
                (self.step, self.at, self.epoch) = (self.step + 1, 0, self.epoch + 1);
                let name = "user half-step".to_owned();
                self.live.hear(&Report::Step {
                    step: StepId(self.step),
                    name,
                    tasks: BLOCKS.into(),
                });
                self.live.hear(&Report::Checkpoint {
                    epoch: self.epoch,
                    seconds: 1.25,
                });
                if self.step == 2 {
                    let lost = "the worker at 10.0.1.91:7070 is gone".to_owned();
                    self.live.note(&format!("w341 is lost: {lost}"));
                    let lost = Report::Worker(WorkerId(341), OfWorker::Lost(lost));
                    self.live.hear(&lost);
                }
                for worker in 0..WORKERS {
                    let anonymous_bytes = u64::from(20 + worker % 7) << 30;
                    let alive = OfWorker::Alive { anonymous_bytes };
                    self.live.hear(&Report::Worker(WorkerId(worker), alive));
                }
                (0..2 * WORKERS).for_each(|index| self.of(index, |task| OfWorker::Given(task, 0)));
                self.live.news(&News::Epoch {
                    epoch: self.epoch,
                    epochs: 500,
                    objective: Some(1e6 / f64::from(self.epoch)),
                    metrics: vec![("new_products ndcg@20".into(), 0.1)],
                });
            }
            let (index, tasks) = (self.at, self.step * 10);
            let tally = WorkerTally {
                tasks,
                received_bytes: tasks << 20,
                sent_bytes: tasks << 20,
                compute_seconds: 0.4 * tasks as f64,
                fetch_seconds: 0.02 * tasks as f64,
                ..WorkerTally::default()
            };
            self.of(index, |task| OfWorker::Done {
                task,
                again: false,
                tally,
            });
            self.at += 1;
            let next = index + 2 * WORKERS;
            if next < BLOCKS {
                self.of(next, |task| OfWorker::Given(task, 0));
            }
        }
        self.live
            .progress(self.step * u64::from(BLOCKS) + u64::from(self.at), None);
    }
}

/// Opens the page, looks at it in two lights and on a phone, and measures what its script takes for an update.
const WATCH: &str = r##"
import json, sys, time
from playwright.sync_api import sync_playwright
from axe_playwright_python.sync_playwright import Axe
browser, url, pictures, updates, end = sys.argv[1:6]
TIMED = """
window.took = [];
const add = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (type, handle) {
  return add.call(this, type, (event) => {
    const began = performance.now();
    handle(event);
    if (type === "message") window.took.push(performance.now() - began);
  });
};
"""
views = {
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
}
found = {}

# The page's policy lets no text be run as a script, so that nothing can be waited for within it.
def until(page, expression):
    for _ in range(1200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise SystemExit("it never comes: " + expression)

with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
    for name, view in views.items():
        context = chromium.new_context(**view)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(TIMED)
        page.goto(url)
        until(page, "window.took.length >= 2")
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        spent = lambda: {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        before, had = spent(), page.evaluate("window.took.length")
        until(page, f"window.took.length >= {had + int(updates)}")
        after, has = spent(), page.evaluate("window.took.length")
        page.screenshot(path=f"{pictures}/top.png")
        page.screenshot(path=f"{pictures}/{name}.png", full_page=True)
        shown = {id: page.inner_text("#" + id) for id in ("headline", "status", "map-title", "link", "workers-more")}
        of = {
            "shown": shown,
            "cells": page.evaluate("document.querySelectorAll('#map path').length"),
            "drawn": page.evaluate("[...document.querySelectorAll('#map path')].filter((p) => p.getAttribute('d')).length"),
            "elements": page.evaluate("document.querySelectorAll('*').length"),
            "phases": page.evaluate("document.querySelectorAll('#phases tr').length"),
            "charts": page.evaluate("document.querySelectorAll('#course svg').length"),
            "took": page.evaluate("window.took"),
            "script": (after["ScriptDuration"] - before["ScriptDuration"]) * 1000 / (has - had),
            "layout": (after["LayoutDuration"] + after["RecalcStyleDuration"] - before["LayoutDuration"] - before["RecalcStyleDuration"]) * 1000 / (has - had),
            "width": page.evaluate("document.documentElement.scrollWidth"),
        }
        checked = Axe().run(page).response
        of["violations"] = [
            {"rule": v["id"], "nodes": [node["html"][:200] for node in v["nodes"][:5]]} for v in checked["violations"]
        ]
        of["passed"] = len(checked["passes"])
        if end == "end" and name == "light":
            until(page, "document.getElementById('link').textContent.startsWith('It is over')")
            of["shown"] = {id: page.inner_text("#" + id) for id in ("headline", "status", "link")}
            page.screenshot(path=f"{pictures}/over.png", full_page=True)
        of["said"], of["asked"] = said, sorted({a for a in asked if not a.startswith(url)})
        found[name] = of
        context.close()
    chromium.close()
print(json.dumps(found))
"##;

fn browser() -> Option<Browser> {
    match Browser::find(env!("CARGO_TARGET_TMPDIR")) {
        Ok(browser) => Some(browser),
        Err(why) => {
            eprintln!("NOTICE: the live page was not opened in a browser: {why}");
            None
        }
    }
}

fn is_sound(found: &Value) {
    for view in ["light", "dark", "phone"] {
        let of = &found[view];
        let none = Value::Array(Vec::new());
        assert_eq!(of["violations"], none, "{view}: accessibility");
        assert_eq!(of["said"], none, "{view}: console");
        assert_eq!(of["asked"], none, "{view}: requests to others");
        let rules = of["passed"].as_u64();
        assert!(rules > Some(15), "{view}: {of}");
        assert_eq!(of["cells"], 25, "{view}: shapes of the map");
        assert!(of["drawn"].as_u64() > Some(0), "{view}: {of}");
    }
    assert_eq!(
        found["phone"]["width"], 390,
        "a phone scrolls in one direction only"
    );
}

#[test]
fn a_browser_follows_a_run_to_its_end() {
    let Some(browser) = browser() else { return };
    let inputs = Inputs::of(&[Data::Small]);
    let job = job(&inputs, 100_000);
    let http = free_address();
    let run = started(&job, &["--workers", "2", "--http", &http]);
    job.checkpoint();
    let url = format!("http://{http}/");
    let (pictures, id) = (job.folder().to_owned(), run.id());
    let looking = std::thread::spawn(move || {
        let arguments = [
            url.as_ref(),
            pictures.as_os_str(),
            OsStr::new("2"),
            OsStr::new("end"),
        ];
        browser.run(WATCH, &arguments)
    });
    let folder = job.folder().to_owned();
    until("the last view", || {
        let there = looking.is_finished() || folder.join("light.png").exists();
        there.then_some(())
    });
    // The end may come while that view is being checked: the page stays.
    signal(id, "TERM");
    assert_eq!(ended(run).status.code(), Some(143));
    let found = match looking.join().expect("no panic") {
        Ok(found) => found,
        Err(why) => panic!("the browser is there and does not work: {why}"),
    };
    is_sound(&found);
    for view in ["dark", "phone"] {
        let of = &found[view];
        assert_eq!(of["shown"]["headline"], "Training", "{of}");
        assert_eq!(of["phases"], 3, "ingest, views, train: {of}");
        assert!(of["charts"].as_u64() > Some(0), "{of}");
    }
    let over = &found["light"]["shown"];
    assert_eq!(over["headline"], "Failed", "{over}");
    assert!(
        over["status"]
            .as_str()
            .is_some_and(|text| text.contains("stopped on request")),
        "{over}"
    );
}

#[test]
fn a_thousand_workers_and_ten_thousand_blocks_take_little_of_a_browser() {
    let Some(browser) = browser() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut large = Large::new();
    let serving = Serving::start("127.0.0.1:0", Arc::clone(&large.live));
    let serving = runtime.block_on(serving).expect("a free port");
    let url = format!("http://{}/", serving.address);
    let over = Arc::new(AtomicBool::new(false));
    let feeding = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Relaxed) {
                // Every second a fifth of the map is another's.
                large.advance(200);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let pictures = tempfile::tempdir().expect("a temporary folder");
    let folder = pictures.path().as_os_str();
    let arguments = [url.as_ref(), folder, OsStr::new("5"), OsStr::new("stay")];
    let found = browser.run(WATCH, &arguments);
    over.store(true, Relaxed);
    feeding.join().expect("no panic");
    let found = match found {
        Ok(found) => found,
        Err(why) => panic!("the browser is there and does not work: {why}"),
    };
    is_sound(&found);
    for view in ["light", "dark", "phone"] {
        let of = &found[view];
        let mut took: Vec<f64> = serde_json::from_value(of["took"].clone()).expect("numbers");
        took.sort_by(f64::total_cmp);
        // By the clock on the wall: another process may come between, so that the worst of few says little.
        let (middle, most) = (took[took.len() / 2], took[took.len() - 1]);
        let script = of["script"].as_f64().expect("a number");
        println!(
            "{view}: the script took {middle:.1} ms in the middle, {most:.1} ms at the most, {script:.1} ms on average, layout {} ms, {} elements",
            of["layout"], of["elements"]
        );
        assert!(took.len() >= 5 && middle > 0.0, "{of}");
        assert!(middle < 100.0, "{view}: {middle} ms for an update");
        assert!(script < 100.0, "{view}: {script} ms of scripting an update");
        assert!(of["elements"].as_u64() < Some(1500), "{of}");
        assert_eq!(of["shown"]["workers-more"], "968 more are in /status.json.");
    }
    if let Some(keep) = std::env::var_os("STRATA_PICTURE") {
        std::fs::copy(pictures.path().join("top.png"), keep).expect("it is written");
    }
    runtime.block_on(serving.close(None));
}
