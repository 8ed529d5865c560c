//! What trouble costs, measured: how soon a coordinator goes on, how soon a worker is missed, what strangers and checkpoints take. Each is a
//! test with a bound that a busy machine keeps too, and prints its figure:
//! `STRATA_FIGURES=20 cargo test -p tests --test figures -- --nocapture --test-threads=1` repeats each so often.

use depot::{Body, Checkpoint, Depot, DepotError};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tensor::Digest;
use tests::http::ask;
use tests::jobs::{Data, Inputs, Job};
use tests::nemesis::run::Run;
use tests::nemesis::table::median;
use tests::process::{
    Daemon, addresses, binary, coordinator, folder_in_memory, json_of, output_of, signal,
};

/// How long something may take before a test says that it never comes.
const PATIENCE: Duration = Duration::from_mins(2);

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().expect("a number"))
}

/// How often each figure is taken.
fn times() -> u64 {
    number("STRATA_FIGURES", 2)
}

struct Cluster {
    daemons: Vec<Daemon>,
    folder: tempfile::TempDir,
    inputs: Inputs,
}

impl Cluster {
    fn new(workers: usize, more: &[&str]) -> Cluster {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = [&["--memory", "1GiB", "--threads", "1"], more].concat();
        let daemons = (0..workers).map(|worker| {
            let data = folder.path().join(worker.to_string());
            Daemon::start(&data, &arguments)
        });
        Cluster {
            daemons: daemons.collect(),
            folder,
            inputs: Inputs::of(&[Data::Small]),
        }
    }

    fn job(&self, epochs: u32) -> Job {
        let model = format!("rank = 16\nepochs = {epochs}\ntime = \"ignore\"");
        Job::new(&self.inputs, Data::Small, &model, "")
    }

    /// Starts a daemon in the place of one that is dead, where the coordinator looks for it, and waits until it joins.
    fn replace(&mut self, at: usize, run: &mut Run) {
        let address = self.daemons[at].address.clone();
        let data = self.folder.path().join(at.to_string());
        let command = Command::new(binary("worker"));
        let arguments = ["--memory", "1GiB", "--threads", "1"];
        let joined = count(run, "a worker joined");
        self.daemons[at] = Daemon::start_by(command, &address, &data, &arguments);
        awaited(run, "it again", |run| {
            count(run, "a worker joined") > joined
        });
    }

    fn start(&self, job: &Job, more: &[&str]) -> Run {
        let workers = addresses(&self.daemons);
        let arguments = [&["--workers", workers.as_str()], more].concat();
        Run::start(&mut job.command("run", &arguments))
    }
}

/// Waits for something of a run that goes on.
fn awaited(run: &mut Run, what: &str, so: impl FnMut(&Run) -> bool) -> Instant {
    assert!(
        run.until(PATIENCE, so),
        "{what} never comes: {}",
        run.said()
    );
    Instant::now()
}

fn told(what: &str, figures: &[Duration]) {
    let slowest = figures.iter().max().copied().unwrap_or_default();
    println!(
        "{what}: median {:.2} s, slowest {:.2} s of {}",
        median(figures).as_secs_f64(),
        slowest.as_secs_f64(),
        figures.len()
    );
}

#[test]
fn a_killed_coordinator_soon_goes_on() {
    let cluster = Cluster::new(3, &[]);
    let job = cluster.job(100_000);
    let mut run = cluster.start(&job, &[]);
    let mut resumed = Vec::new();
    for _ in 0..times() {
        awaited(&mut run, "an epoch", |run| run.last_epoch().is_some());
        job.checkpoint();
        run.kill();
        let killed = Instant::now();
        run = cluster.start(&job, &[]);
        awaited(&mut run, "the next epoch", |run| run.last_epoch().is_some());
        resumed.push(run.epochs()[0].1.saturating_duration_since(killed));
    }
    told(
        "from kill -9 of the coordinator to its next epoch",
        &resumed,
    );
    assert!(median(&resumed) < Duration::from_secs(20), "{resumed:?}");
}

#[test]
fn a_dead_worker_is_missed_at_once() {
    let mut cluster = Cluster::new(3, &[]);
    let job = cluster.job(100_000);
    let mut run = cluster.start(&job, &[]);
    awaited(&mut run, "an epoch", |run| run.last_epoch().is_some());
    let (mut missed, mut gone_on) = (Vec::new(), Vec::new());
    for turn in 0..times() {
        let at = turn as usize % 3;
        let before = run.last_epoch().expect("there was one").0;
        let losses = count(&run, "a worker is lost");
        cluster.daemons[at].kill();
        let killed = Instant::now();
        let lost = awaited(&mut run, "the loss", |run| {
            count(run, "a worker is lost") > losses
        });
        missed.push(lost - killed);
        awaited(&mut run, "an epoch", |run| run.beyond(before).is_some());
        let went_on = run.beyond(before).expect("it was awaited");
        gone_on.push(went_on.saturating_duration_since(killed));
        cluster.replace(at, &mut run);
    }
    told("from kill -9 of a worker until it is missed", &missed);
    told("from kill -9 of a worker to an epoch beyond", &gone_on);
    assert!(median(&missed) < Duration::from_secs(2), "{missed:?}");
}

/// Silent, with its connections open: others do its tasks long before its lease ends, and it is welcome when it speaks again.
#[test]
fn a_stopped_worker_is_suspected_and_given_up_after_its_lease() {
    let mut cluster = Cluster::new(3, &[]);
    let job = cluster.job(100_000);
    let mut run = cluster.start(&job, &[]);
    awaited(&mut run, "an epoch", |run| run.last_epoch().is_some());
    job.checkpoint();
    let (mut suspected, mut gone_on) = (Vec::new(), Vec::new());
    for turn in 0..times() {
        let at = turn as usize % 3;
        let before = count(&run, "a worker is suspected");
        signal(cluster.daemons[at].id(), "STOP");
        let stopped = Instant::now();
        // One that had ended when it was stopped does not count.
        let epoch = run.last_epoch().expect("there was one").0 + 1;
        let found = awaited(&mut run, "the suspicion", |run| {
            count(run, "a worker is suspected") > before
        });
        suspected.push(found - stopped);
        awaited(&mut run, "an epoch", |run| run.beyond(epoch).is_some());
        let went_on = run.beyond(epoch).expect("it was awaited");
        gone_on.push(went_on.saturating_duration_since(stopped));
        if turn + 1 == times() {
            break;
        }
        let before = count(&run, "a worker is trusted again");
        signal(cluster.daemons[at].id(), "CONT");
        awaited(&mut run, "trust", |run| {
            count(run, "a worker is trusted again") > before
        });
        // One is more patient with it the next time: a new one takes its place.
        cluster.daemons[at].kill();
        cluster.replace(at, &mut run);
    }
    told("from SIGSTOP of a worker until it is suspected", &suspected);
    told("from SIGSTOP of a worker to an epoch beyond", &gone_on);
    awaited(&mut run, "the end of its lease", |run| {
        run.has_said("a worker is given up")
    });
    let journal = json_of(&mut job.command("log", &[])).to_string();
    for event in ["worker_suspected", "worker_trusted"] {
        assert!(journal.contains(event), "{journal}");
    }
    assert!(median(&suspected) < Duration::from_secs(6), "{suspected:?}");
    assert!(median(&gone_on) < Duration::from_secs(9), "{gone_on:?}");
}

fn count(run: &Run, words: &str) -> usize {
    run.said().matches(words).count()
}

#[test]
fn checkpoints_take_their_share_and_no_more() {
    let cluster = Cluster::new(2, &[]);
    let job = cluster.job(if times() > 2 { 600 } else { 100 });
    let mut run = cluster.start(&job, &[]);
    run.until(PATIENCE, |_| false);
    let (epochs, checkpoints) = (run.epochs(), run.checkpoints());
    let (first, last) = (epochs[0].1, epochs[epochs.len() - 1].1);
    let (taken, whole) = (
        checkpoints.iter().sum::<f64>(),
        (last - first).as_secs_f64(),
    );
    println!(
        "{} checkpoints were in the making for {taken:.2} s of {whole:.2} s: {:.1} %",
        checkpoints.len(),
        100.0 * taken / whole
    );
    // The first is made at once, and the last whatever it costs.
    let between: f64 = checkpoints[1..checkpoints.len() - 1].iter().sum();
    assert!(
        checkpoints.len() > 2 && between < 0.1 * whole,
        "{checkpoints:?}"
    );
}

/// What strangers do to a listener, until told to stop.
#[derive(Clone, Copy)]
enum Stranger {
    /// Connects and says nothing.
    Idle,
    /// Begins a handshake and does not finish it.
    Half,
    /// Says one byte a second.
    Slow,
    /// Begins a message that is larger than any may be.
    Oversized,
    /// Says what is no message at all.
    Malformed,
}

impl Stranger {
    /// What it says at once.
    fn greeting(self) -> Vec<u8> {
        match self {
            Stranger::Idle | Stranger::Slow => Vec::new(),
            Stranger::Half => vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
            Stranger::Oversized => {
                [&[0x16, 0x03, 0x01, 0xff, 0xff][..], &vec![0; 1 << 16]].concat()
            }
            Stranger::Malformed => (0..1_u32 << 12)
                .map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8)
                .collect(),
        }
    }
}

fn pester(address: &str, how: Stranger, over: &AtomicBool, open: &AtomicUsize) {
    while !over.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        };
        open.fetch_add(1, Relaxed);
        let patience = Some(Duration::from_secs(1));
        let _ = stream
            .set_write_timeout(patience)
            .and_then(|()| stream.set_read_timeout(patience));
        // Who is thrown out meanwhile learns it when it reads.
        let _ = stream.write_all(&how.greeting());
        while !over.load(Relaxed) {
            if matches!(how, Stranger::Slow) && stream.write_all(&[0x16]).is_err() {
                break;
            }
            // Nothing is said to us; an end or an error is what we were thrown out by.
            let heard = stream.read(&mut [0; 64]);
            let waits = |kind| {
                matches!(
                    kind,
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                )
            };
            match heard {
                Ok(0) => break,
                Err(error) if !waits(error.kind()) => break,
                _ => {}
            }
        }
        // Thrown out, one comes again, but not at once: that would be a flood.
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn certificates(folder: &Path) -> PathBuf {
    let made = output_of(coordinator().args(["tls", "init"]).arg(folder));
    assert!(made.status.success(), "{made:?}");
    folder.to_owned()
}

/// A thousand idle ones, a hundred half handshakes, and twenty each that say a byte a second, too much, and nonsense; a tenth of them in the
/// short form.
#[test]
fn strangers_slow_nobody() {
    let own = tempfile::tempdir().expect("a temporary folder");
    let own = certificates(&own.path().join("own"));
    let (worker, leader) = (own.join("worker"), own.join("coordinator"));
    let cluster = Cluster::new(2, &["--tls", worker.to_str().expect("a path")]);
    let share = if times() > 2 { 1 } else { 10 };
    let seconds = |crowded: bool| {
        let (over, open) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let kinds = [
            (Stranger::Idle, 1000),
            (Stranger::Half, 100),
            (Stranger::Slow, 20),
            (Stranger::Oversized, 20),
            (Stranger::Malformed, 20),
        ];
        let mut strangers = Vec::new();
        for (how, many) in kinds.into_iter().filter(|_| crowded) {
            for number in 0..many / share {
                let address = cluster.daemons[number % 2].address.clone();
                let (over, open) = (Arc::clone(&over), Arc::clone(&open));
                let thread = std::thread::Builder::new().stack_size(64 << 10);
                let pestering = move || pester(&address, how, &over, &open);
                strangers.push(thread.spawn(pestering).expect("a thread"));
            }
        }
        let began = Instant::now();
        while open.load(Relaxed) < strangers.len() / 2 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let job = cluster.job(40);
        let arguments = ["--workers", &addresses(&cluster.daemons), "--tls"];
        let arguments = [&arguments[..], &[leader.to_str().expect("a path")]].concat();
        let began = Instant::now();
        let report = json_of(&mut job.command("run", &arguments));
        let took = began.elapsed();
        over.store(true, Relaxed);
        for stranger in strangers {
            stranger.join().expect("it ends");
        }
        (took, report["digest"].clone(), open.load(Relaxed))
    };
    let (mut alone, mut crowded, mut connections) = (Vec::new(), Vec::new(), 0);
    let digest = seconds(false).1;
    for _ in 0..times() {
        let (quiet, loud) = (seconds(false), seconds(true));
        assert!(quiet.1 == digest && loud.1 == digest);
        alone.push(quiet.0);
        crowded.push(loud.0);
        connections += loud.2;
    }
    told("a job alone", &alone);
    told("a job among strangers", &crowded);
    let ratio = median(&crowded).as_secs_f64() / median(&alone).as_secs_f64();
    println!("{connections} connections of strangers; ratio of medians {ratio:.3}");
    assert!(ratio < 2.0, "{alone:?} {crowded:?}");
}

/// Connections that are made and broken as fast as one thread can, to each of these in turn. Ends when told to; says how many.
fn flood(addresses: Vec<String>, over: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (over, many) = (Arc::clone(over), 64);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread");
    std::thread::spawn(move || {
        let tasks = (0..many).map(|number| {
            let (addresses, over) = (addresses.clone(), Arc::clone(&over));
            async move {
                let mut made = 0_u64;
                while !over.load(Relaxed) {
                    let address = &addresses[(made + number) as usize % addresses.len()];
                    let connecting = tokio::net::TcpStream::connect(address);
                    // Who has to wait in the backlog is not waited for.
                    let soon = tokio::time::timeout(Duration::from_millis(50), connecting).await;
                    if let Ok(Ok(stream)) = soon {
                        // By a reset: ports are few.
                        let _ = stream.set_zero_linger();
                    }
                    made += 1;
                }
                made
            }
        });
        runtime
            .block_on(futures::future::join_all(tasks))
            .iter()
            .sum()
    })
}

/// Somebody else's listener, which lets everybody in and out: what a flood costs the machine that it comes from and goes to.
fn bystander(over: &Arc<AtomicBool>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let over = Arc::clone(over);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            if over.load(Relaxed) {
                return;
            }
        }
    });
    address
}

/// From one machine, all of whose processors it shares with the job: what is left to bound is what the workers do about it.
#[test]
fn a_flood_is_bounded() {
    let own = tempfile::tempdir().expect("a temporary folder");
    let own = certificates(&own.path().join("own"));
    let (worker, leader) = (own.join("worker"), own.join("coordinator"));
    let worker = worker.to_str().expect("a path");
    let cluster = Cluster::new(2, &["--tls", worker, "--http", "127.0.0.1:0"]);
    let connected = |name: &str| -> f64 {
        let of = |daemon: &Daemon| {
            let said = daemon.said();
            let at = said
                .split("http://")
                .nth(1)
                .and_then(|rest| rest.split('/').next());
            let answer =
                ask(at.expect("where it tells"), "GET", "/metrics", "").expect("an answer");
            let line = answer.body.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0.0, |value| value.trim().parse().expect("a number"))
        };
        cluster.daemons.iter().map(of).sum()
    };
    let seconds = |flooded: Option<&[String]>| {
        let job = cluster.job(if times() > 2 { 200 } else { 60 });
        let tls = ["--tls", leader.to_str().expect("a path")];
        let mut run = cluster.start(&job, &tls);
        let began = awaited(&mut run, "an epoch", |run| run.last_epoch().is_some());
        let over = Arc::new(AtomicBool::new(false));
        let flood = flooded.map(|addresses| match addresses {
            [] => flood(vec![bystander(&over)], &over),
            all => flood(all.to_vec(), &over),
        });
        run.until(PATIENCE, |_| false);
        let took = began.elapsed();
        over.store(true, Relaxed);
        let made = flood.map_or(0, |flood| flood.join().expect("it ends"));
        let digest = run.answer().expect("an object")["digest"].clone();
        (took, digest, made as f64 / took.as_secs_f64())
    };
    let workers: Vec<String> = cluster
        .daemons
        .iter()
        .map(|of| of.address.clone())
        .collect();
    let (mut alone, mut beside, mut under) = (Vec::new(), Vec::new(), Vec::new());
    let digest = seconds(None).1;
    for _ in 0..times() {
        let (quiet, bystander, flooded) =
            (seconds(None), seconds(Some(&[])), seconds(Some(&workers)));
        for run in [&quiet, &bystander, &flooded] {
            assert_eq!(run.1, digest);
        }
        println!(
            "{:.0} connections a second to a bystander, {:.0} to workers",
            bystander.2, flooded.2
        );
        alone.push(quiet.0);
        beside.push(bystander.0);
        under.push(flooded.0);
    }
    told("a job alone", &alone);
    told("a job beside a flood of somebody else", &beside);
    told("a job whose workers are flooded", &under);
    let count = |what: &str| connected(&format!("strata_worker_connections_{what}"));
    let (refused, put_off) = (count("refused_total"), count("put_off_total"));
    println!(
        "{} connections let in, {refused} closed at once, {put_off} times put off",
        count("total")
    );
    assert!(refused > 0.0, "a flood is told of");
    let ratio = |of: &[Duration]| median(of).as_secs_f64() / median(&alone).as_secs_f64();
    println!(
        "ratios to a job alone {:.2} and {:.2}",
        ratio(&beside),
        ratio(&under)
    );
    assert!(
        ratio(&under) < 2.0 * ratio(&beside).max(1.0) + 1.0,
        "{under:?}"
    );
}

/// Coordinators of eight terms that race for one depot: one chain, and nothing of an older term behind a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_coordinators_never_both_commit() {
    let races = number("STRATA_RACES", 40);
    let (mut committed, mut refused) = (0_u64, 0_u64);
    for race in 0..races {
        let local = folder_in_memory();
        let url = if race % 4 == 0 {
            local.path().display().to_string()
        } else {
            format!("memory://races-{race}")
        };
        let depot = Depot::open(&url).expect("a depot");
        let racers = (0..8_u8).map(|racer| {
            let depot = depot.clone();
            tokio::spawn(async move {
                let mut counts = (0, 0);
                let term = depot.claim_term(None).await.expect("a term");
                for epoch in 1..=3 {
                    match depot.commit(term, checkpoint(racer, epoch)).await {
                        Ok(_) => counts.0 += 1,
                        Err(DepotError::Superseded { .. }) => counts.1 += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                counts
            })
        });
        for counts in futures::future::join_all(racers).await {
            let counts = counts.expect("no panic");
            (committed, refused) = (committed + counts.0, refused + counts.1);
        }
        let (mut term, mut before) = (0, None);
        for (number, expected) in depot
            .manifests()
            .await
            .expect("a list")
            .into_iter()
            .zip(1..)
        {
            let (manifest, hash) = depot.manifest(number).await.expect("a whole manifest");
            let claims = matches!(manifest.body, Body::Term { .. });
            assert_eq!(
                (number, manifest.predecessor),
                (expected, before),
                "race {race}"
            );
            assert!(
                if claims {
                    manifest.term > term
                } else {
                    manifest.term == term
                },
                "race {race}: {number} is of term {} behind term {term}",
                manifest.term
            );
            (term, before) = (manifest.term, Some(hash));
        }
        assert_eq!(term, 8, "race {race}");
    }
    println!(
        "{races} races of 8 coordinators: {committed} commits, {refused} refused, no double one"
    );
    assert!(committed > 0 && refused > 0, "{committed} {refused}");
}

fn checkpoint(racer: u8, epoch: u32) -> Body {
    Body::Checkpoint(Checkpoint {
        run: Digest([racer; 32]),
        epoch,
        program: "race".to_owned(),
        state: vec![racer],
        objects: Vec::new(),
        finished: false,
    })
}
