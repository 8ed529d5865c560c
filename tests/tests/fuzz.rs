//! Bytes of strangers at every door (`tests::doors`): samples, and mutations of them that are the same on every machine. No door panics,
//! none takes memory out of proportion.
//!
//! Under test some ten thousands a door. As many as one likes, at one door or all:
//! `STRATA_FUZZ_RUNS=10000000 STRATA_FUZZ_DOOR=manifest cargo test -p tests --test fuzz -- --nocapture`
//! With coverage to guide them, by libFuzzer: `fuzz/README.md`.

use std::panic::catch_unwind;
use std::path::Path;
use std::time::Instant;
use tables::survey;
use tests::doors::DOORS;
use tests::ingested::{GENEROUS, inputs, spec};
use tests::mutate::mutated;

const SEED: u64 = 5;
/// Mutations at the cheapest door.
const RUNS: u32 = 60_000;
/// What all doors together may take of the address space beyond what samples take.
const GROWTH_BYTES_MAX: u64 = 1 << 30;

/// The most address space that this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

fn hex(bytes: &[u8]) -> String {
    let text = |text: String, byte: &u8| format!("{text}{byte:02x}");
    bytes.iter().fold(String::new(), text)
}

#[test]
fn no_door_panics_or_takes_too_much() {
    let wanted: Option<u32> = std::env::var("STRATA_FUZZ_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok());
    let only = std::env::var("STRATA_FUZZ_DOOR").ok();
    let seed = std::env::var("STRATA_FUZZ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(SEED);
    let (mut all, mut panics) = (0, Vec::new());
    for door in DOORS {
        if only.as_ref().is_some_and(|only| only != door.name) {
            continue;
        }
        let began = Instant::now();
        let samples = (door.samples)();
        for sample in &samples {
            (door.enter)(sample);
        }
        let before = peak_bytes();
        let runs = wanted.unwrap_or(RUNS / door.cost);
        for number in 0..runs {
            let bytes = mutated(&samples, seed, number);
            if catch_unwind(|| (door.enter)(&bytes)).is_err() {
                panics.push(format!("{}, number {number}: {}", door.name, hex(&bytes)));
            }
        }
        let grown = peak_bytes() - before;
        assert!(grown < GROWTH_BYTES_MAX, "{}: {grown} bytes", door.name);
        println!(
            "{}: {} samples, {runs} mutations, {grown} bytes more, {:?}",
            door.name,
            samples.len(),
            began.elapsed()
        );
        all += runs;
    }
    println!("{all} executions");
    panics.truncate(20);
    assert!(panics.is_empty(), "{}", panics.join("\n"));
}

/// `fuzz/` has a target for every door, and nothing else.
#[test]
fn every_door_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("fuzz/ is there");
    for door in DOORS {
        let target = folder.join(format!("fuzz_targets/{}.rs", door.name));
        let text = std::fs::read_to_string(&target).unwrap_or_default();
        assert!(text.contains("fuzz_target!"), "{}", target.display());
        assert!(
            manifest.contains(&format!("name = \"{}\"", door.name)),
            "{}",
            door.name
        );
    }
    let targets = std::fs::read_dir(folder.join("fuzz_targets")).expect("targets");
    assert_eq!(targets.count(), DOORS.len());
}

/// What libFuzzer has found lies in `fuzz/mended`, by door.
#[test]
fn what_was_found_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/mended");
    let mut found = 0;
    for door in DOORS {
        let of_door = std::fs::read_dir(folder.join(door.name));
        for file in of_door.into_iter().flatten().flatten() {
            let bytes = std::fs::read(file.path()).expect("it can be read");
            (door.enter)(&bytes);
            found += 1;
        }
    }
    assert!(found > 1, "{} is empty", folder.display());
}

/// `STRATA_FUZZ_CORPUS=fuzz/found` writes the samples where libFuzzer begins.
#[test]
fn samples_are_written_for_others() {
    let Some(folder) = std::env::var_os("STRATA_FUZZ_CORPUS") else {
        return;
    };
    // Tests run in the folder of their crate, people do not.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for door in DOORS {
        let folder = root.join(&folder).join(door.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (number, sample) in (door.samples)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("sample-{number}")), sample).expect("it is written");
        }
    }
}

/// Found by mutation: the decoder's own question for the place of such a column panics.
#[test]
fn a_footer_with_a_place_below_zero_is_refused() {
    let door = DOORS
        .iter()
        .find(|door| door.name == "purchases")
        .expect("a door");
    let bytes = mutated(&(door.samples)(), SEED, 4896);
    let refused = survey(&inputs(&[bytes.into()]), &spec(), GENEROUS);
    let said = refused.map(drop).expect_err("it is refused").to_string();
    assert!(
        said.contains("row group") && said.contains("reaches beyond the end of the file"),
        "{said}"
    );
}
