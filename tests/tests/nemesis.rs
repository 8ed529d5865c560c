//! Ring three: a job of a coordinator and three daemons under what machines and networks do to processes, in a drawn order, ends with the
//! bits of one that nobody disturbed.
//!
//! Some ten troubles run always. `STRATA_NEMESIS_MINUTES=20 cargo test -p tests --test nemesis mixed -- --nocapture` goes on for as long
//! and prints a table; `STRATA_NEMESIS_SEED` is another series, and `STRATA_NEMESIS_ONLY=KillWorker,Flip` some kinds alone.

use std::time::{Duration, Instant};
use tests::nemesis::bed::Bed;
use tests::nemesis::table::Table;
use tests::nemesis::{Draw, Trouble};

/// Epochs of a job, and troubles of it at the most: enough of the one for the other.
const SHORT: (u32, usize) = (40, 5);
const LONG: (u32, usize) = (120, 8);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// For how long, in the long form.
fn minutes() -> Option<Duration> {
    number("STRATA_NEMESIS_MINUTES").map(Duration::from_mins)
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

/// Jobs under troubles until the time is over, or one.
fn series(
    mut bed: Bed,
    kinds: &[Trouble],
    most: usize,
    lasts: Option<Duration>,
    first: u32,
) -> Table {
    let (began, mut table) = (Instant::now(), Table::default());
    let seed = number("STRATA_NEMESIS_SEED").unwrap_or(1);
    for number in first.. {
        let mut draw = Draw::new(seed, number);
        table.append(bed.trouble(kinds, most, &mut draw));
        if lasts.is_none_or(|lasts| began.elapsed() > lasts) {
            break;
        }
        println!("{:?}\n{table}", began.elapsed());
    }
    table
}

#[test]
fn mixed_troubles_change_no_bit() {
    let minutes = minutes();
    let mut table = Table::default();
    let mut kinds = asked(&[Trouble::PROXIED]);
    let mut of_the_net = asked(&[Trouble::NETWORKED]);
    if minutes.is_some() {
        kinds.extend(asked(&[Trouble::LONG]));
        of_the_net.extend(asked(&[Trouble::LONG_NETWORKED]));
    }
    let (epochs, most) = if minutes.is_some() { LONG } else { SHORT };
    // Two parts of the time by proxies and signals, one by the kernel's network.
    if !kinds.is_empty() {
        let bed = Bed::proxied(epochs);
        table.append(series(bed, &kinds, most, minutes.map(|all| all * 2 / 3), 0));
    }
    if let Some(bed) = Some(epochs)
        .filter(|_| !of_the_net.is_empty())
        .and_then(Bed::networked)
    {
        table.append(series(
            bed,
            &of_the_net,
            most,
            minutes.map(|all| all / 3),
            1_000_000,
        ));
    }
    println!("{table}");
    assert!(table.jobs > 0 && table.troubles() > 3, "{table}");
}
