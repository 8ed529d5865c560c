//! Integrity (DESIGN 3.2, 3.3, 3.6): bits are flipped and ends are cut off in every kind of file, object and chunk that a run leaves or
//! sends, and what opens it in life refuses it before a byte is used.
//!
//! Under test a tenth. 10,000 flips and 1,000 cuts:
//! `STRATA_FLIPS=all cargo test -p tests --test flips -- --nocapture`

use bytes::Bytes;
use depot::{Body, Depot};
use kernels::random::Random;
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use store::partition::Partition;
use store::{Cache, IoMode, Journal, Sealed};
use tensor::SealedRef;
use tests::interpose::small::Small;
use tests::process::{folder_in_memory, json_of};
use tokio::runtime::Runtime;
use wire::Chunk;

const SEED: u64 = 11;
/// Of the draws of what is damaged.
const PURPOSE: u32 = 72;

/// Flips and cuts.
fn counts() -> (u32, u32) {
    match std::env::var("STRATA_FLIPS") {
        Ok(all) if all == "all" => (10_000, 1_000),
        _ => (1_000, 100),
    }
}

/// What came of damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// They were refused.
    Refused,
    /// What was read is what was written: the damage changed nothing that counts.
    Same,
    /// Other bytes were used.
    Wrong,
}

fn compared(found: &[u8], whole: &[u8]) -> Found {
    if found == whole {
        Found::Same
    } else {
        Found::Wrong
    }
}

/// What opens it in life.
type Opener = dyn Fn(&[u8]) -> Found;

/// Something that can be damaged, and who opens it.
struct Thing {
    kind: &'static str,
    bytes: Vec<u8>,
    open: Box<Opener>,
}

/// An object, fetched by a worker from where it lies.
fn in_a_depot(kind: &'static str, object: SealedRef, bytes: Vec<u8>) -> Thing {
    let whole = bytes.clone();
    let folder = folder_in_memory();
    let runtime = Runtime::new().expect("a runtime");
    let open = move |damaged: &[u8]| {
        let objects = folder.path().join("objects");
        fs::create_dir_all(&objects).expect("a folder");
        fs::write(objects.join(object.digest.to_string()), damaged).expect("it is written");
        let depot = Depot::open(&folder.path().to_string_lossy()).expect("a depot");
        let directory = folder.path().join("cache");
        let cache = Cache::open_unsynced(&directory, 1 << 30, IoMode::Pread).expect("a cache");
        let Ok(fetched) = runtime.block_on(depot.fetch(object, &cache)) else {
            assert!(cache.find(object).expect("it is looked for").is_none());
            return Found::Refused;
        };
        let found = fetched
            .section(0..fetched.len())
            .map(|found| compared(&found, &whole));
        drop(fetched);
        cache.clear();
        found.unwrap_or(Found::Refused)
    };
    Thing {
        kind,
        bytes,
        open: Box::new(open),
    }
}

/// Everything that a task may ask of a sealed file.
fn used(sealed: Sealed, is_partition: bool, whole: &[u8]) -> Found {
    if is_partition {
        let opened = Partition::open(sealed.clone());
        if opened.and_then(|partition| partition.whole()).is_err() {
            return Found::Refused;
        }
    }
    let found = sealed.section(0..sealed.len());
    found.map_or(Found::Refused, |found| compared(&found, whole))
}

/// A file of a worker's cache, found again after a restart; or the sums beside it.
fn in_a_cache(
    kind: &'static str,
    object: SealedRef,
    bytes: Vec<u8>,
    is_partition: bool,
    (mode, in_sums): (IoMode, bool),
) -> Thing {
    let folder = folder_in_memory();
    let cache = Cache::open_unsynced(folder.path(), 1 << 30, mode).expect("a cache");
    let mut receiver = cache.receiver(object).expect("room");
    receiver.append(&bytes).expect("room");
    let path = receiver.finish().expect("it is whole").path().to_owned();
    drop(cache);
    let sums = path.with_extension("sums");
    let (whole, sound_sums) = (bytes.clone(), fs::read(&sums).expect("sums"));
    let damaged_first = if in_sums { sound_sums.clone() } else { bytes };
    let open = move |damaged: &[u8]| {
        let (file, beside) = if in_sums {
            (&whole[..], damaged)
        } else {
            (damaged, &sound_sums[..])
        };
        for (path, bytes) in [(&path, file), (&sums, beside)] {
            let _ = fs::remove_file(path);
            fs::write(path, bytes).expect("it is written");
        }
        let cache = Cache::open_unsynced(folder.path(), 1 << 30, mode).expect("a cache");
        match cache.find(object).expect("it is looked for") {
            None => Found::Refused,
            Some(sealed) => used(sealed, is_partition, &whole),
        }
    };
    Thing {
        kind,
        bytes: damaged_first,
        open: Box::new(open),
    }
}

fn manifest(number: u64, bytes: Vec<u8>) -> Thing {
    let whole = bytes.clone();
    let folder = folder_in_memory();
    let runtime = Runtime::new().expect("a runtime");
    let open = move |damaged: &[u8]| {
        let manifests = folder.path().join("manifests");
        fs::create_dir_all(&manifests).expect("a folder");
        fs::write(manifests.join(format!("{number:010}")), damaged).expect("it is written");
        let depot = Depot::open(&folder.path().to_string_lossy()).expect("a depot");
        match runtime.block_on(depot.manifest(number)) {
            Ok((manifest, _)) => compared(&manifest.encode(), &whole),
            Err(_) => Found::Refused,
        }
    };
    Thing {
        kind: "manifest",
        bytes,
        open: Box::new(open),
    }
}

/// A journal tells what stands before the damage, and nothing that was not written.
fn journal(bytes: Vec<u8>) -> Thing {
    let path = Path::new("journal");
    let whole = Journal::parse(path, &bytes).expect("a journal");
    assert!(whole.len() > 3);
    let open = move |damaged: &[u8]| match Journal::parse(path, damaged) {
        Ok(found) if found == whole => Found::Same,
        Ok(found) if whole.starts_with(&found) => Found::Refused,
        Ok(_) => Found::Wrong,
        Err(_) => Found::Refused,
    };
    Thing {
        kind: "journal",
        bytes,
        open: Box::new(open),
    }
}

/// A chunk as it travels between workers.
fn chunk(bytes: Vec<u8>) -> Thing {
    let whole = bytes.clone();
    let sent: wire::proto::Chunk = Chunk::new(Bytes::from(bytes)).into();
    let open = move |damaged: &[u8]| {
        let Ok(received) = wire::proto::Chunk::decode(damaged) else {
            return Found::Refused;
        };
        match Chunk::from(received).verified() {
            // Who pulls takes no empty chunk: the length was announced.
            Ok(found) if found.is_empty() => Found::Refused,
            Ok(found) => compared(&found, &whole),
            Err(_) => Found::Refused,
        }
    };
    Thing {
        kind: "wire chunk",
        bytes: sent.encode_to_vec(),
        open: Box::new(open),
    }
}

/// Some of each kind of object, from the depots of a run.
async fn objects(root: &Path) -> Vec<(&'static str, SealedRef, Vec<u8>, bool)> {
    let mut found: BTreeMap<&'static str, Vec<(SealedRef, PathBuf, bool)>> = BTreeMap::new();
    for name in ["data", "model"] {
        let place = root.join(name);
        let depot = Depot::open(&place.to_string_lossy()).expect("a depot");
        for number in depot.manifests().await.expect("a list") {
            let (manifest, _) = depot.manifest(number).await.expect("a whole manifest");
            let mut add = |kind, object: SealedRef, is_partition| {
                let path = place.join("objects").join(object.digest.to_string());
                if object.bytes > 0 && path.exists() {
                    found
                        .entry(kind)
                        .or_default()
                        .push((object, path, is_partition));
                }
            };
            match &manifest.body {
                Body::DataSet(data) => {
                    let dictionaries = data.user.dictionary.iter().chain(&data.product.dictionary);
                    dictionaries.for_each(|&object| add("dictionary", object, false));
                    data.partitions()
                        .for_each(|one| add("partition", one.object, true));
                }
                body @ Body::View(_) => body
                    .objects()
                    .into_iter()
                    .for_each(|object| add("view", object, true)),
                body @ Body::Checkpoint(_) => body
                    .objects()
                    .into_iter()
                    .for_each(|object| add("checkpoint", object, false)),
                body @ Body::Model(_) => body
                    .objects()
                    .into_iter()
                    .for_each(|object| add("model", object, false)),
                Body::Term { .. } | Body::Withdrawal(_) => {}
            }
        }
    }
    let kinds: Vec<&str> = found.keys().copied().collect();
    assert_eq!(
        kinds,
        ["checkpoint", "dictionary", "model", "partition", "view"]
    );
    let mut some = Vec::new();
    for (kind, objects) in found {
        let stride = objects.len().div_ceil(4);
        for (object, path, is_partition) in objects.into_iter().step_by(stride) {
            some.push((
                kind,
                object,
                fs::read(path).expect("an object"),
                is_partition,
            ));
        }
    }
    some
}

fn things(root: &Path) -> Vec<Thing> {
    let mut things = Vec::new();
    let runtime = Runtime::new().expect("a runtime");
    for (kind, object, bytes, is_partition) in runtime.block_on(objects(root)) {
        things.push(in_a_depot(kind, object, bytes.clone()));
        for (kind, way) in [
            ("cached file, mapped", (IoMode::Mmap, false)),
            ("cached file, read", (IoMode::Pread, false)),
            ("sums of a cached file", (IoMode::Mmap, true)),
        ] {
            things.push(in_a_cache(kind, object, bytes.clone(), is_partition, way));
        }
        things.push(chunk(bytes));
    }
    for (place, number) in [
        ("data", 1),
        ("data", 2),
        ("data", 3),
        ("model", 2),
        ("model", 4),
    ] {
        let path = root.join(place).join(format!("manifests/{number:010}"));
        things.push(manifest(number, fs::read(path).expect("a manifest")));
    }
    let journals = fs::read_dir(root.join("model/journal")).expect("journals");
    for entry in journals {
        things.push(journal(
            fs::read(entry.expect("an entry").path()).expect("a journal"),
        ));
    }
    things
}

#[test]
fn no_damaged_byte_is_used() {
    let small = Small::new();
    let root = small.folder();
    json_of(&mut Small::command(&root, "run", &[]));
    let things = things(&root);
    for thing in &things {
        assert_eq!(
            (thing.open)(&thing.bytes),
            Found::Same,
            "{} as it was",
            thing.kind
        );
    }
    // Kinds in turn, so that those of which there are many do not take all.
    let mut kinds: BTreeMap<&str, Vec<&Thing>> = BTreeMap::new();
    for thing in &things {
        kinds.entry(thing.kind).or_default().push(thing);
    }
    let kinds: Vec<Vec<&Thing>> = kinds.into_values().collect();
    let (flips, cuts) = counts();
    let mut found: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for turn in 0..flips + cuts {
        let random = Random::new(SEED, PURPOSE, 0, turn);
        let kind = &kinds[turn as usize % kinds.len()];
        let thing = kind[random.word(0) as usize % kind.len()];
        let mut damaged = thing.bytes.clone();
        let is_flip = turn < flips;
        if is_flip {
            let bit = random.word_64(1) % (8 * damaged.len() as u64);
            damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
        } else {
            damaged.truncate(random.word_64(1) as usize % damaged.len());
        }
        let entry = found.entry(thing.kind).or_default();
        entry[usize::from(!is_flip)] += 1;
        match (thing.open)(&damaged) {
            Found::Refused => {}
            Found::Same => entry[2] += 1,
            Found::Wrong => panic!("{}, turn {turn}: damaged bytes were used", thing.kind),
        }
    }
    for (kind, [flips, cuts, same]) in &found {
        println!(
            "{kind}: {flips} flips, {cuts} cuts, all found; of {same} of them nothing was changed"
        );
    }
    println!(
        "{flips} flips and {cuts} cuts of {} kinds: none was used",
        found.len()
    );
    let same: u32 = found.values().map(|[.., same]| same).sum();
    assert_eq!(same, 0, "every bit of these counts");
}
