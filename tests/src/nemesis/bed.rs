//! A cluster to be troubled: three daemons, each in a place of its own, and a job that one coordinator after another computes on them.

use super::proxy::{Proxy, Weather};
use super::rooms::{self, Group, Network};
use super::run::Run;
use super::table::Table;
use super::{Draw, Trouble};
use crate::jobs::{Data, Inputs, Job};
use crate::process::{Daemon, binary, json_of, signal};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Workers.
pub const SEATS: usize = 3;
/// How long work may stand still before a test says that it hangs: longer than it takes to do again what was done since the last
/// checkpoint, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(4);
/// A recovery that is worth a look.
const SLOW: Duration = Duration::from_secs(15);
/// How long a coordinator may find no worker after the one before it was killed.
const AGAIN: Duration = Duration::from_mins(1);
/// A disk with room for what a worker stages, more than once.
const DISK_BYTES: u64 = 64 << 20;
/// What a group of one worker may have; the worker has a part of it.
const GROUP_BYTES: u64 = 200 << 20;
/// The port in a network of its own.
const PORT: u16 = 7001;
/// Files that a worker with troubles may have open: less than it has.
const FILES: u32 = 8;
/// What a process may have open usually.
const FILES_USUAL: u32 = 1024;
/// Longer than the coordinator waits for a word of a worker.
const LONG: (u64, u64) = (11_000, 14_000);

struct Seat {
    daemon: Option<Daemon>,
    listen: String,
    folder: PathBuf,
    proxy: Option<Proxy>,
    group: Option<Group>,
    has_small_disk: bool,
    /// What becomes the worker.
    words: Vec<String>,
}

impl Seat {
    /// Starts the worker of this seat.
    fn start(&mut self) {
        let worker = binary("worker").display().to_string();
        let words: Vec<&String> = self.words.iter().chain([&worker]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let arguments = ["--memory", "256MiB", "--threads", "1", "--insecure"];
        let daemon = Daemon::start_by(command, &self.listen, &self.folder, &arguments);
        if let Some(proxy) = &self.proxy {
            proxy.retarget(&daemon.address);
        }
        self.daemon = Some(daemon);
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it is started")
    }

    /// kill -9, and its disk is lost or not.
    fn kill(&mut self, wiped: bool) {
        self.daemon = None;
        if wiped && !self.has_small_disk {
            std::fs::remove_dir_all(&self.folder).expect("its folder is there");
            std::fs::create_dir(&self.folder).expect("a folder");
        }
    }
}

/// The cluster.
pub struct Bed {
    inputs: Inputs,
    model: String,
    seats: Vec<Seat>,
    network: Option<Network>,
    folder: tempfile::TempDir,
    digest: String,
    /// What this place cannot do.
    cannot: Vec<Trouble>,
}

impl Bed {
    /// Workers behind proxies, on small disks and in groups where the machine has such.
    ///
    /// # Panics
    /// Where they do not start.
    pub fn proxied(epochs: u32) -> Bed {
        let mut bed = Self::empty(epochs);
        let has_small_disk = rooms::has_small_disks();
        for seat in 0..SEATS {
            let folder = bed.folder_of(seat);
            let group = Group::new(GROUP_BYTES);
            let mut words = group.as_ref().map_or_else(Vec::new, Group::entering);
            if has_small_disk {
                words.extend(rooms::on_small_disk(&folder, DISK_BYTES));
            }
            if group.is_none() {
                bed.cannot.push(Trouble::OutOfMemory);
            }
            let mut seat = Seat {
                daemon: None,
                listen: "127.0.0.1:0".to_owned(),
                folder,
                proxy: None,
                group,
                has_small_disk,
                words,
            };
            seat.start();
            seat.proxy = Some(Proxy::before(&seat.daemon().address));
            bed.seats.push(seat);
        }
        if !has_small_disk {
            bed.cannot.push(Trouble::FullDisk);
        }
        bed
    }

    /// Workers in a network of their own; `None`, and a notice, where none can be laid.
    ///
    /// # Panics
    /// Where they do not start.
    pub fn networked(epochs: u32) -> Option<Bed> {
        let network = Network::new(SEATS)?;
        let mut bed = Self::empty(epochs);
        for seat in 0..SEATS {
            let mut seat = Seat {
                daemon: None,
                listen: format!("{}:{PORT}", rooms::address(Some(seat))),
                folder: bed.folder_of(seat),
                proxy: None,
                group: None,
                has_small_disk: false,
                words: network.at(Some(seat)),
            };
            seat.start();
            bed.seats.push(seat);
        }
        bed.network = Some(network);
        Some(bed)
    }

    fn empty(epochs: u32) -> Bed {
        let inputs = Inputs::of(&[Data::Small]);
        let model = format!("rank = 16\nepochs = {epochs}\ntime = \"ignore\"");
        let undisturbed = Job::new(&inputs, Data::Small, &model, "");
        let report = json_of(&mut undisturbed.command("run", &[]));
        Bed {
            inputs,
            model,
            seats: Vec::new(),
            network: None,
            folder: tempfile::tempdir().expect("a temporary folder"),
            digest: report["digest"].as_str().expect("a digest").to_owned(),
            cannot: Vec::new(),
        }
    }

    fn folder_of(&self, seat: usize) -> PathBuf {
        let folder = self.folder.path().join(seat.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        folder.canonicalize().expect("it is there")
    }

    /// Where the coordinator finds the workers.
    pub fn addresses(&self) -> String {
        let address = |seat: &Seat| match &seat.proxy {
            Some(proxy) => proxy.address.clone(),
            None => seat.listen.clone(),
        };
        self.seats.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// A new job of this bed.
    pub fn job(&self) -> Job {
        Job::new(&self.inputs, Data::Small, &self.model, "")
    }

    /// Starts a coordinator of a job.
    pub fn coordinator(&self, job: &Job) -> Run {
        let command = job.command("run", &["--workers", &self.addresses()]);
        let Some(network) = &self.network else {
            return Run::start(&mut { command });
        };
        let words = network.at(None);
        let mut within = Command::new(&words[0]);
        within.args(&words[1..]).arg(command.get_program());
        within.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => within.env(key, value),
                None => within.env_remove(key),
            };
        }
        Run::start(&mut within)
    }

    /// Computes a job under troubles to its end; at most so many.
    ///
    /// # Panics
    /// Where work stands still, the job fails, or its digest is another one.
    pub fn trouble(&mut self, kinds: &[Trouble], most: usize, draw: &mut Draw) -> Table {
        let kinds: Vec<Trouble> = kinds
            .iter()
            .copied()
            .filter(|kind| !self.cannot.contains(kind))
            .collect();
        let (job, mut table, mut course) = (self.job(), Table::default(), Vec::new());
        let mut run = self.coordinator(&job);
        let began = run.until(PATIENCE, |run| run.last_epoch().is_some());
        assert!(
            began,
            "the job does not begin: {}",
            self.told(&run, &course)
        );
        while run.ended().is_none() && course.len() < most {
            let kind = kinds[draw.below(kinds.len() as u64) as usize];
            let seat = draw.below(SEATS as u64) as usize;
            course.push((kind, seat));
            let (at, before) = (
                Instant::now(),
                run.last_epoch().map_or(0, |(epoch, _)| epoch),
            );
            let from = if kind == Trouble::KillCoordinator {
                run = self.next_coordinator(run, &job, &mut table);
                0
            } else {
                self.strike(kind, seat, &run, draw);
                before
            };
            let went_on = run.until(PATIENCE, |run| run.beyond(from).is_some());
            if let Some(beyond) = run.beyond(from) {
                let took = beyond.saturating_duration_since(at);
                table.add(kind, took);
                if took > SLOW && std::env::var_os("STRATA_NEMESIS_TELL").is_some() {
                    println!("{took:?} after {kind:?}: {}", self.told(&run, &course));
                }
            } else {
                let over = run.ended().is_some_and(|status| status.success());
                assert!(over && !went_on, "{kind:?}: {}", self.told(&run, &course));
            }
            std::thread::sleep(draw.millis(0, 300));
        }
        // It may take its time, but not stand still.
        while run.ended().is_none() {
            let last = run.last_epoch().map_or(0, |(epoch, _)| epoch);
            let went_on = run.until(PATIENCE, |run| run.beyond(last).is_some());
            assert!(
                went_on || run.ended().is_some(),
                "it does not end: {}",
                self.told(&run, &course)
            );
        }
        let status = run.ended();
        let answer = run.answer().unwrap_or_default();
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?} {answer}: {}",
            self.told(&run, &course)
        );
        assert_eq!(answer["digest"], self.digest, "{course:?}");
        table.jobs = 1;
        table
    }

    /// kill -9 of a coordinator, and the same command again, until it has a worker.
    fn next_coordinator(&self, mut run: Run, job: &Job, table: &mut Table) -> Run {
        run.kill();
        let began = Instant::now();
        loop {
            let mut next = self.coordinator(job);
            if next.until(PATIENCE, |run| run.has_said("a worker joined")) {
                return next;
            }
            let unavailable = next.ended().is_some_and(|status| status.code() == Some(69));
            let soon = began.elapsed() < AGAIN;
            assert!(unavailable && soon, "{}", self.told(&next, &[]));
            table.again += 1;
        }
    }

    /// All that is known of a run that went wrong.
    fn told(&self, run: &Run, course: &[(Trouble, usize)]) -> String {
        let mut text = format!(
            "{course:?}\n{}\nlast epoch {:?}\n",
            run.said(),
            run.last_epoch()
        );
        for (seat, daemon) in self
            .seats
            .iter()
            .filter_map(|seat| seat.daemon.as_ref())
            .enumerate()
        {
            let said = daemon.said();
            let tail = said.len().saturating_sub(3000);
            let tail = said.char_indices().find(|(at, _)| *at >= tail);
            let tail = &said[tail.map_or(0, |(at, _)| at)..];
            text = text + "worker " + &seat.to_string() + ":\n" + tail + "\n";
        }
        text
    }

    /// One trouble, from its beginning to its end.
    pub fn strike(&mut self, kind: Trouble, at: usize, run: &Run, draw: &mut Draw) {
        let place = &mut self.seats[at];
        match kind {
            Trouble::KillCoordinator => unreachable!("it is the job's own"),
            Trouble::KillWorker | Trouble::LoseDisk => {
                place.kill(kind == Trouble::LoseDisk);
                std::thread::sleep(draw.millis(0, 800));
                place.start();
            }
            Trouble::PauseWorker => pause(place.daemon().id(), draw.millis(100, 2500)),
            Trouble::PauseWorkerLong => pause(place.daemon().id(), draw.millis(LONG.0, LONG.1)),
            Trouble::PauseCoordinator => pause(run.id(), draw.millis(100, 2500)),
            Trouble::FullDisk => {
                place.kill(true);
                place.start();
                let folder = rooms::seen_by(place.daemon().id(), &place.folder);
                let filler = rooms::fill(&folder).expect("its disk is there");
                std::thread::sleep(draw.millis(300, 2000));
                std::fs::remove_file(filler).expect("it is there");
            }
            Trouble::WipeDisk => {
                let folder = rooms::seen_by(place.daemon().id(), &place.folder);
                rooms::wipe(&folder).expect("its disk is there");
            }
            Trouble::FewFiles => {
                let process = place.daemon().id();
                assert!(rooms::limit_files(process, FILES), "limits can be set");
                std::thread::sleep(draw.millis(300, 2000));
                assert!(
                    rooms::limit_files(process, FILES_USUAL),
                    "limits can be set"
                );
            }
            Trouble::OutOfMemory => {
                let group = place.group.as_ref().expect("only with groups");
                let daemon = place.daemon.as_mut().expect("it is started");
                let began = Instant::now();
                // Now and then the kernel takes the one that asked for the memory.
                while !daemon.is_dead() {
                    assert!(began.elapsed() < PATIENCE, "the kernel does not kill it");
                    group.exhaust(2 * GROUP_BYTES);
                    std::thread::sleep(Duration::from_millis(50));
                }
                std::thread::sleep(draw.millis(0, 500));
                place.start();
            }
            Trouble::CutOff | Trouble::CutOffLong | Trouble::Wall | Trouble::Unheard => {
                self.partition(kind, at, draw);
            }
            weather => {
                let proxy = place.proxy.as_ref().expect("only with proxies");
                let (sky, lasts) = weather_of(weather, draw);
                proxy.set(sky);
                std::thread::sleep(lasts);
                proxy.set(Weather::Clear);
            }
        }
    }

    fn partition(&self, kind: Trouble, at: usize, draw: &mut Draw) {
        let network = self.network.as_ref().expect("only with a network");
        let short = draw.millis(200, 4000);
        match kind {
            Trouble::CutOff | Trouble::CutOffLong => {
                network.wire(at, false);
                let long = draw.millis(LONG.0, LONG.1);
                std::thread::sleep(if kind == Trouble::CutOff { short } else { long });
                network.wire(at, true);
            }
            Trouble::Wall | Trouble::Unheard => {
                let other = (at + 1 + draw.below(SEATS as u64 - 1) as usize) % SEATS;
                let to = (kind == Trouble::Wall).then_some(other);
                network.hears(Some(at), to, false);
                std::thread::sleep(short);
                network.hears(Some(at), to, true);
            }
            _ => unreachable!("no partition"),
        }
    }
}

/// SIGSTOP, and SIGCONT after a while. A job may have ended meanwhile.
fn pause(process: u32, lasts: Duration) {
    if std::path::Path::new("/proc")
        .join(process.to_string())
        .exists()
    {
        signal(process, "STOP");
        std::thread::sleep(lasts);
        signal(process, "CONT");
    }
}

/// The weather of a trouble, and how long it lasts.
fn weather_of(kind: Trouble, draw: &mut Draw) -> (Weather, Duration) {
    let lasts = draw.millis(200, 2500);
    // From the first byte to far inside of a block.
    let scale = 4 + draw.below(15);
    let place = draw.below(1 << scale);
    let sky = match kind {
        Trouble::Delay => Weather::Delay(draw.millis(2, 60)),
        Trouble::Throttle => Weather::Throttle(20_000 << draw.below(7)),
        Trouble::HalfOpen => Weather::HalfOpen,
        Trouble::NoRequests => Weather::NoRequests,
        Trouble::NoAnswers => Weather::NoAnswers,
        Trouble::Reset => Weather::Reset(place),
        Trouble::Flip => Weather::Flip(place),
        other => unreachable!("{other:?} is no weather"),
    };
    (sky, lasts)
}
