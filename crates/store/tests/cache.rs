//! Sealed files and the cache: content by name, damage found by chunk, room made by age, nothing left behind.

use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use store::sums::CHUNK_BYTES;
use store::{Cache, IoMode, Sealed, StoreError};
use tensor::{Digest, ReadAt, SealedRef};

const MODES: [IoMode; 2] = [IoMode::Mmap, IoMode::Pread];

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ seed)
        .collect()
}

fn seal(cache: &Cache, bytes: &[u8]) -> Sealed {
    let mut writer = cache.writer().unwrap();
    for piece in bytes.chunks(77_777) {
        writer.append(piece).unwrap();
    }
    writer.seal().unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

/// Changes one byte of a sealed file on disk, as a bad disk would.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn sealed_bytes_are_found_by_content_in_both_modes() {
    let contents = bytes(3, 3 * CHUNK_BYTES as usize + 12_345);
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let reference = {
            let cache = Cache::open(directory.path(), u64::MAX, mode).unwrap();
            let sealed = seal(&cache, &contents);
            assert_eq!(
                (sealed.digest(), sealed.len()),
                (digest(&contents), contents.len() as u64)
            );
            assert!(
                fs::metadata(sealed.path())
                    .unwrap()
                    .permissions()
                    .readonly()
            );
            sealed.reference()
        };
        let cache = Cache::open(directory.path(), u64::MAX, mode).unwrap();
        let sealed = cache.find(reference).unwrap().unwrap();
        assert_eq!(sealed.mode(), mode);
        for (start, end) in [
            (0, 0),
            (0, 1),
            (64, 128),
            (1_048_570, 1_048_580),
            (5, contents.len()),
            (contents.len(), contents.len()),
        ] {
            let section = sealed.section(start as u64..end as u64).unwrap();
            assert_eq!(&*section, &contents[start..end]);
            assert_eq!(
                section.anonymous_bytes() > 0,
                mode == IoMode::Pread && end > start
            );
            let mut read = vec![0; end - start];
            sealed.read_at(start as u64, &mut read).unwrap();
            assert_eq!(read, &contents[start..end]);
        }
        let aligned = sealed.section(128..192).unwrap();
        assert_eq!(aligned.as_ptr() as usize % 64, 0);
        assert_eq!(
            sealed.typed::<u32>(4..8).unwrap()[0].to_le_bytes(),
            contents[4..8]
        );
        sealed.advise_sequential();
        sealed.prefetch(0..1 << 21);
        sealed.drop_behind(100..1 << 21);
        assert_eq!(&*sealed.section(0..1 << 21).unwrap(), &contents[..1 << 21]);
        let beyond = sealed.section(0..contents.len() as u64 + 1);
        assert!(matches!(beyond, Err(StoreError::Beyond { .. })));
        let absent = SealedRef {
            digest: Digest([9; 32]),
            bytes: 4,
        };
        assert!(cache.find(absent).unwrap().is_none());
    }
}

#[test]
fn writes_in_any_order_give_the_name_of_the_content() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open_unsynced(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
    let contents = bytes(5, 2 * CHUNK_BYTES as usize + 99);
    let mut writer = cache.writer().unwrap();
    writer.append(&contents[..1000]).unwrap();
    writer.reserve(contents.len() as u64 - 99).unwrap();
    writer
        .write_at(500_000, &contents[500_000..contents.len() - 99])
        .unwrap();
    writer.write_at(1000, &contents[1000..500_000]).unwrap();
    writer.append(&contents[contents.len() - 99..]).unwrap();
    let sealed = writer.seal().unwrap();
    assert_eq!(sealed.digest(), digest(&contents));
    assert_eq!(&*sealed.section(0..sealed.len()).unwrap(), &contents);
    sealed.check().unwrap();
}

#[test]
fn damage_is_found_in_the_chunk_that_is_touched() {
    let contents = bytes(1, 3 * CHUNK_BYTES as usize);
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), u64::MAX, mode).unwrap();
        let sealed = seal(&cache, &contents);
        let path = sealed.path().to_owned();
        flip(&path, CHUNK_BYTES + 17);
        assert!(sealed.section(0..CHUNK_BYTES).is_ok());
        for range in [0..CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 1..2 * CHUNK_BYTES] {
            match sealed.section(range) {
                Err(StoreError::Damaged {
                    file,
                    chunk: 1,
                    digest,
                }) => {
                    assert_eq!((file, digest), (path.clone(), sealed.digest()));
                }
                other => panic!("chunk 1 is damaged, but: {other:?}"),
            }
        }
        assert!(sealed.section(2 * CHUNK_BYTES..3 * CHUNK_BYTES).is_ok());
        assert!(sealed.check().is_err());
        assert!(cache.find(sealed.reference()).unwrap().is_none());
        let again = seal(&cache, &contents);
        assert!(again.check().is_ok(), "another copy takes its place");
        assert_eq!(cache.used_bytes(), contents.len() as u64);
    }
}

#[test]
fn files_that_do_not_fit_their_sums_are_not_opened() {
    let contents = bytes(2, 5000);
    type Harm = fn(&Path);
    let harms: [Harm; 4] = [
        |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(4999)
                .unwrap();
        },
        |path| flip(&path.with_extension("sums"), 30),
        |path| flip(&path.with_extension("sums"), 50),
        |path| fs::write(path.with_extension("sums"), b"").unwrap(),
    ];
    for harm in harms {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
        let reference = seal(&cache, &contents).reference();
        harm(&directory.path().join(reference.digest.to_string()));
        assert!(cache.find(reference).unwrap().is_none());
        assert_eq!((names(directory.path()), cache.used_bytes()), (vec![], 0));
    }
}

#[test]
fn what_comes_from_elsewhere_is_visible_only_if_it_is_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open_unsynced(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
    let contents = bytes(4, 200_000);
    let reference = SealedRef {
        digest: digest(&contents),
        bytes: contents.len() as u64,
    };
    let receive = |bytes: &[u8]| {
        let mut receiver = cache.receiver(reference)?;
        bytes
            .chunks(1 << 16)
            .try_for_each(|piece| receiver.append(piece))?;
        receiver.finish()
    };
    let mut wrong = contents.clone();
    wrong[100_000] ^= 1;
    for wrong in [
        &wrong[..],
        &contents[..199_999],
        &[&contents[..], &[0]].concat(),
    ] {
        assert!(matches!(receive(wrong), Err(StoreError::Mismatch { .. })));
        assert!(cache.find(reference).unwrap().is_none());
        assert_eq!(names(directory.path()), Vec::<String>::new());
    }
    assert_eq!(receive(&contents).unwrap().reference(), reference);
    assert!(cache.find(reference).unwrap().is_some());
}

#[test]
fn the_least_recently_used_goes_and_what_is_in_use_stays() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open_unsynced(directory.path(), 3_500_000, IoMode::Mmap).unwrap();
    let a = seal(&cache, &bytes(1, 1_000_000)).reference();
    let b = seal(&cache, &bytes(2, 1_000_000)).reference();
    let held = seal(&cache, &bytes(3, 1_000_000));
    assert!(cache.find(a).unwrap().is_some(), "now b is the oldest");
    let d = seal(&cache, &bytes(4, 1_000_000)).reference();
    assert!(cache.find(b).unwrap().is_none());
    assert!(cache.find(a).unwrap().is_some() && cache.find(d).unwrap().is_some());
    let e = seal(&cache, &bytes(5, 2_000_000));
    assert!(cache.find(held.reference()).unwrap().is_some(), "in use");
    assert!(cache.find(a).unwrap().is_none() && cache.find(d).unwrap().is_none());
    assert_eq!(&held.section(0..10).unwrap()[..], &bytes(3, 10)[..]);
    let mut writer = cache.writer().unwrap();
    assert!(matches!(
        writer.append(&bytes(6, 600_000)),
        Err(StoreError::CacheFull { .. })
    ));
    drop(writer);
    drop(e);
    assert_eq!(seal(&cache, &bytes(6, 600_000)).len(), 600_000);
    assert!(cache.used_bytes() <= 3_500_000);
}

#[test]
fn mapped_files_stay_open_until_their_room_is_needed() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 3_500_000, mode).unwrap();
        let file = seal(&cache, &bytes(1, 1_000_000)).reference();
        let read = |cache: &Cache| {
            let sealed = cache.find(file).unwrap().unwrap();
            sealed.section(0..1_000_000).map(|section| section.len())
        };
        assert_eq!(read(&cache).unwrap(), 1_000_000);
        flip(&directory.path().join(file.digest.to_string()), 7);
        // What was checked since it was opened is not read again, so the damage shows with pread alone.
        match (mode, read(&cache)) {
            (IoMode::Mmap, Ok(1_000_000)) | (IoMode::Pread, Err(StoreError::Damaged { .. })) => {}
            (_, result) => panic!("{mode:?}: {result:?}"),
        }
        let others = [2, 3, 4].map(|seed| seal(&cache, &bytes(seed, 1_000_000)).reference());
        assert_eq!(cache.find(file).unwrap().map(|sealed| sealed.len()), None);
        assert!(
            others
                .iter()
                .all(|&other| cache.find(other).unwrap().is_some())
        );
    }
}

#[test]
fn unnamed_files_and_scratch_give_their_room_back() {
    let directory = tempfile::tempdir().unwrap();
    for mode in MODES {
        let cache = Cache::open_unsynced(directory.path(), 1_000_000, mode).unwrap();
        let contents = bytes(8, 600_000);
        for _ in 0..3 {
            let mut writer = cache.writer().unwrap();
            writer.append(&contents).unwrap();
            let sealed = writer.seal_unnamed().unwrap();
            assert_eq!(names(directory.path()), Vec::<String>::new());
            assert_eq!(&*sealed.clone().section(0..600_000).unwrap(), &contents);
            let mut scratch = cache.scratch().unwrap();
            scratch.append(&contents[..300_000]).unwrap();
            assert!(matches!(
                scratch.append(&contents),
                Err(StoreError::CacheFull { .. })
            ));
            let mut back = vec![0; 100];
            scratch.read_into(1000, &mut back).unwrap();
            assert_eq!(back, &contents[1000..1100]);
        }
        assert_eq!(cache.used_bytes(), 0);
    }
}

const KILLED_IN: &str = "STRATA_TEST_KILLED_IN";

/// Not a test by itself: what the next one runs in a process of its own, and kills.
#[test]
fn a_process_that_is_killed_while_it_writes() {
    let Some(directory) = std::env::var_os(KILLED_IN) else {
        return;
    };
    let cache = Cache::open_unsynced(Path::new(&directory), u64::MAX, IoMode::Mmap).unwrap();
    seal(&cache, b"whole");
    let mut writer = cache.writer().unwrap();
    writer.append(&bytes(1, 300_000)).unwrap();
    let mut scratch = cache.scratch().unwrap();
    scratch.append(&bytes(1, 300_000)).unwrap();
    fs::write(cache.directory().join("ready"), b"").unwrap();
    std::thread::sleep(std::time::Duration::from_mins(10));
}

#[test]
fn a_killed_process_leaves_nothing_that_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_is_killed_while_it_writes"])
        .env(KILLED_IN, directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !directory.path().join("ready").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended before it was killed"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        names(directory.path())
            .iter()
            .any(|name| name.starts_with("making-")),
        "it was killed while it wrote"
    );
    fs::write(
        directory.path().join(format!("{}.sums", Digest([1; 32]))),
        b"torn",
    )
    .unwrap();

    let cache = Cache::open_unsynced(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
    let name = digest(b"whole").to_string();
    assert_eq!(
        names(directory.path()),
        [name.clone(), format!("{name}.sums"), "ready".to_owned()]
    );
    let kept = SealedRef {
        digest: digest(b"whole"),
        bytes: 5,
    };
    assert_eq!(
        (
            cache.used_bytes(),
            &cache.find(kept).unwrap().unwrap().section(0..5).unwrap()[..]
        ),
        (5, &b"whole"[..])
    );
}

#[test]
fn a_directory_has_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
    let second = Cache::open(directory.path(), u64::MAX, IoMode::Mmap);
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    drop(cache);
    // A process that another test is about to start has all that is open here for a moment, the lock too.
    let again = (0..500).find_map(|_| {
        let opened = Cache::open(directory.path(), u64::MAX, IoMode::Mmap).ok();
        if opened.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        opened
    });
    assert!(again.is_some(), "the lock goes with the cache");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    // A file system of two megabytes, where the machine lets us make one.
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(directory.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let cache = Cache::open(directory.path(), u64::MAX, IoMode::Mmap).unwrap();
        let contents = bytes(1, 5 << 20);
        let mut writer = cache.writer().unwrap();
        let full = contents
            .chunks(100_000)
            .try_for_each(|piece| writer.append(piece));
        assert!(matches!(full, Err(StoreError::DiskFull { .. })), "{full:?}");
        drop(writer);
        let mut writer = cache.writer().unwrap();
        assert!(matches!(
            writer.reserve(3 << 20),
            Err(StoreError::DiskFull { .. })
        ));
        drop(writer);
        let mut scratch = cache.scratch().unwrap();
        assert!(matches!(
            scratch.append(&contents),
            Err(StoreError::DiskFull { .. })
        ));
        drop(scratch);
        let sealed = seal(&cache, &contents[..1 << 20]);
        assert_eq!(&*sealed.section(0..1 << 20).unwrap(), &contents[..1 << 20]);
    });
    let _ = std::process::Command::new("umount")
        .arg(directory.path())
        .status();
    outcome.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_the_bytes_that_were_appended(
        len in 0_usize..2_300_000,
        piece in 1_usize..400_000,
        at: prop::sample::Index,
        span in 0_usize..1_200_000,
        mapped: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mode = if mapped { IoMode::Mmap } else { IoMode::Pread };
        let cache = Cache::open_unsynced(directory.path(), u64::MAX, mode).unwrap();
        let contents = bytes(9, len);
        let mut writer = cache.writer().unwrap();
        for piece in contents.chunks(piece) {
            writer.append(piece).unwrap();
        }
        let sealed = writer.seal().unwrap();
        prop_assert_eq!(sealed.digest(), digest(&contents));
        let start = at.index(len + 1);
        let end = (start + span).min(len);
        prop_assert_eq!(&*sealed.section(start as u64..end as u64).unwrap(), &contents[start..end]);
    }
}
