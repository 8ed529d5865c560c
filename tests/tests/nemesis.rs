//! Ring three: a job of a coordinator and three daemons under what machines and networks do to processes, in a drawn order, ends with the
//! bits of one that nobody disturbed.
//!
//! Some ten troubles run always. `STRATA_NEMESIS_MINUTES=20 cargo test -p tests --test nemesis mixed -- --nocapture` goes on for as long
//! and prints a table; `STRATA_NEMESIS_SEED` is another series, and `STRATA_NEMESIS_ONLY=KillWorker,Flip` some kinds alone.
//! `STRATA_NEMESIS_KILLS=500 STRATA_NEMESIS_PARTITIONS=200` goes on until there were so many. With `STRATA_NEMESIS_TALLY=FILE` each job is
//! noted in a file, and a run that is begun again goes on with its series and its counts.

use std::time::{Duration, Instant};
use tests::jobs::{Data, Inputs, Job};
use tests::nemesis::bed::Bed;
use tests::nemesis::run::Run;
use tests::nemesis::table::Table;
use tests::nemesis::tally::Tally;
use tests::nemesis::{Draw, Trouble};
use tests::process::{Daemon, addresses, json_of, signal};

/// Epochs of a job, and troubles of it at the most: enough of the one for the other.
const SHORT: (u32, usize) = (40, 5);
const LONG: (u32, usize) = (120, 8);

/// How long something may take before a test says that it hangs.
const PATIENCE: Duration = Duration::from_mins(5);
/// The beds by name.
const PROXIED: &str = "proxied";
const NETWORKED: &str = "networked";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// For how long, in the long form.
fn minutes() -> Option<Duration> {
    number("STRATA_NEMESIS_MINUTES").map(Duration::from_mins)
}

/// What was done so far.
fn tally() -> Tally {
    Tally::open(std::env::var_os("STRATA_NEMESIS_TALLY").map(Into::into))
}

/// Of these kinds those that are asked for.
fn asked(kinds: &[&[Trouble]]) -> Vec<Trouble> {
    let only = std::env::var("STRATA_NEMESIS_ONLY").ok();
    let wanted = |kind: &Trouble| {
        let name = format!("{kind:?}");
        only.as_ref()
            .is_none_or(|only| only.split(',').any(|one| one == name))
    };
    kinds.concat().into_iter().filter(wanted).collect()
}

/// Jobs under troubles, the first and then for as long as more are wanted.
fn series(
    mut bed: Bed,
    name: &str,
    kinds: &[Trouble],
    most: usize,
    tally: &mut Tally,
    mut more: impl FnMut(&Tally) -> bool,
) -> Table {
    let mut table = Table::default();
    let seed = number("STRATA_NEMESIS_SEED").unwrap_or(1);
    let first = if name == PROXIED { 0 } else { 1_000_000 };
    loop {
        let number = tally.next(seed, name);
        let mut draw = Draw::new(seed, first + number);
        let job = bed.trouble(kinds, most, &mut draw);
        tally.add(seed, name, number, &job);
        table.append(job);
        if !more(tally) {
            return table;
        }
        println!("{}", tally.table);
    }
}

#[test]
fn mixed_troubles_change_no_bit() {
    if number("STRATA_NEMESIS_KILLS")
        .or(number("STRATA_NEMESIS_PARTITIONS"))
        .is_some()
    {
        return counted();
    }
    let minutes = minutes();
    let mut table = Table::default();
    let mut tally = tally();
    let mut kinds = asked(&[Trouble::PROXIED]);
    let mut of_the_net = asked(&[Trouble::NETWORKED]);
    if minutes.is_some() {
        kinds.extend(asked(&[Trouble::LONG]));
        of_the_net.extend(asked(&[Trouble::LONG_NETWORKED]));
    }
    let (epochs, most) = if minutes.is_some() { LONG } else { SHORT };
    // Two parts of the time by proxies and signals, one by the kernel's network.
    let until = |lasts: Option<Duration>| {
        let began = Instant::now();
        move |_: &Tally| lasts.is_some_and(|lasts| began.elapsed() < lasts)
    };
    if !kinds.is_empty() {
        let (bed, more) = (Bed::proxied(epochs), until(minutes.map(|all| all * 2 / 3)));
        table.append(series(bed, PROXIED, &kinds, most, &mut tally, more));
    }
    if let Some(bed) = Some(epochs)
        .filter(|_| !of_the_net.is_empty())
        .and_then(Bed::networked)
    {
        let more = until(minutes.map(|all| all / 3));
        table.append(series(bed, NETWORKED, &of_the_net, most, &mut tally, more));
    }
    println!("{}", tally.table);
    assert!(table.jobs > 0 && table.troubles() > 3, "{table}");
}

/// Until there were so many kills and so many partitions, those of the tally among them.
fn counted() {
    let (epochs, most) = LONG;
    let mut tally = tally();
    let wanted = |name| number(name).unwrap_or(0) as usize;
    let kills = wanted("STRATA_NEMESIS_KILLS");
    let partitions = wanted("STRATA_NEMESIS_PARTITIONS");
    let kills_left = |tally: &Tally| tally.count(Trouble::KILLS) < kills;
    let partitions_left = |tally: &Tally| tally.count(Trouble::PARTITIONS) < partitions;
    if kills_left(&tally) {
        let bed = Bed::proxied(epochs);
        series(bed, PROXIED, Trouble::KILLS, most, &mut tally, kills_left);
    }
    if partitions_left(&tally) {
        let (net, by_proxy) = Trouble::PARTITIONS.split_at(4);
        match Bed::networked(epochs) {
            Some(bed) => series(bed, NETWORKED, net, most, &mut tally, partitions_left),
            None => {
                let bed = Bed::proxied(epochs);
                series(bed, PROXIED, by_proxy, most, &mut tally, partitions_left)
            }
        };
    }
    println!("{}", tally.table);
    println!(
        "{} kills and {} partitions",
        tally.count(Trouble::KILLS),
        tally.count(Trouble::PARTITIONS)
    );
    assert!(!kills_left(&tally) && !partitions_left(&tally));
}

/// A process that is stopped most of the time, for less than it takes to suspect it: what it is at is given to another as well.
#[test]
fn what_a_slowed_process_is_at_is_given_to_another_as_well() {
    let inputs = Inputs::of(&[Data::Small]);
    let model = "rank = 16\nepochs = 80\ntime = \"ignore\"";
    let job = || Job::new(&inputs, Data::Small, model, "");
    let wanted = json_of(&mut job().command("run", &[]));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemons: Vec<Daemon> = ["one", "two"]
        .map(|name| {
            Daemon::start(
                &folder.path().join(name),
                &["--memory", "1GiB", "--threads", "1"],
            )
        })
        .into();
    let workers = addresses(&daemons);
    let slowed = job();
    let mut run = Run::start(&mut slowed.command("run", &["--workers", &workers]));
    let began = run.until(PATIENCE, |run| run.last_epoch().is_some());
    assert!(began, "{}", run.said());
    // A machine that is loaded may stop it for longer: then it is suspected, and the next time one is more patient with it.
    let is_told = |run: &Run| run.has_said("a task takes long");
    while !is_told(&run) && run.ended().is_none() {
        signal(daemons[1].id(), "STOP");
        std::thread::sleep(Duration::from_millis(1_500));
        signal(daemons[1].id(), "CONT");
        std::thread::sleep(Duration::from_millis(75));
    }
    assert!(is_told(&run), "{}", run.said());
    let ended = run.until(PATIENCE, |_| false);
    assert!(
        !ended && run.ended().is_some_and(|status| status.success()),
        "{}",
        run.said()
    );
    let answer = run.answer().expect("an object");
    assert_eq!(answer["digest"], wanted["digest"]);
}
