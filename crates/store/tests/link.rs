//! Files of another directory in a cache: taken in without a copy where they are whole, left to be copied where not.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use store::sums::CHUNK_BYTES;
use store::{Cache, IoMode};
use tensor::{Digest, SealedRef};

fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect()
}

fn reference(bytes: &[u8]) -> SealedRef {
    SealedRef {
        digest: Digest(*blake3::hash(bytes).as_bytes()),
        bytes: bytes.len() as u64,
    }
}

fn passing(directory: &Path, mode: IoMode) -> Cache {
    Cache::open_passing(&directory.join("cache"), u64::MAX, mode).unwrap()
}

#[test]
fn a_whole_file_of_the_same_disk_is_not_copied_and_outlives_its_other_name() {
    for mode in [IoMode::Mmap, IoMode::Pread] {
        for len in [0, 100, 3 * CHUNK_BYTES as usize + 12_345] {
            let directory = tempfile::tempdir().unwrap();
            let (content, file) = (bytes(len), directory.path().join("kept"));
            fs::write(&file, &content).unwrap();
            let mode_before = fs::metadata(&file).unwrap().mode();
            let cache = passing(directory.path(), mode);
            let object = reference(&content);
            let sealed = cache.link(&file, object).unwrap().expect("it is whole");
            assert_eq!(sealed.section(0..len as u64).unwrap()[..], content);
            assert_eq!(cache.used_bytes(), len as u64);
            let kept = fs::metadata(&file).unwrap();
            assert_eq!(fs::metadata(sealed.path()).unwrap().ino(), kept.ino());
            assert_eq!((kept.mode(), kept.nlink()), (mode_before, 2));
            // Also after every user has let go of it, and its first name is gone.
            fs::remove_file(&file).unwrap();
            drop(sealed);
            let again = cache.find(object).unwrap().expect("it stays");
            assert_eq!(again.section(0..len as u64).unwrap()[..], content);
            drop(again);
            cache.discard(object.digest);
            assert_eq!(cache.used_bytes(), 0);
            assert!(cache.find(object).unwrap().is_none());
        }
    }
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let content = bytes(2 * CHUNK_BYTES as usize + 77);
    let object = reference(&content);
    let cache = passing(directory.path(), IoMode::Mmap);
    let left = |what: &str, file: &Path| {
        let linked = cache.link(file, object).unwrap();
        assert!(linked.is_none(), "{what}");
        assert_eq!(cache.used_bytes(), 0, "{what}");
        let names = fs::read_dir(cache.directory()).unwrap();
        assert_eq!(names.count(), 1, "{what}: only the lock is left");
    };
    let file = directory.path().join("kept");
    left("nothing is there", &file);
    for at in [0, CHUNK_BYTES, content.len() as u64 - 1] {
        fs::write(&file, &content).unwrap();
        let open = fs::File::options().write(true).open(&file).unwrap();
        let flipped = [content[at as usize] ^ 1];
        open.write_all_at(&flipped, at).unwrap();
        left("a bit of it is another", &file);
    }
    fs::write(&file, &content[1..]).unwrap();
    left("it is too short", &file);
    fs::write(&file, &content).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    left("a symbolic link", &link);
    assert!(
        cache.link(&file, object).unwrap().is_some(),
        "the file itself"
    );
}

#[test]
fn a_cache_that_lasts_has_copies_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (content, file) = (bytes(5_000), directory.path().join("kept"));
    fs::write(&file, &content).unwrap();
    for open in [Cache::open, Cache::open_unsynced] {
        let cache = open(&directory.path().join("cache"), u64::MAX, IoMode::Mmap).unwrap();
        assert!(cache.link(&file, reference(&content)).unwrap().is_none());
    }
}

#[test]
fn what_does_not_fit_a_cache_is_no_more_linked_than_copied() {
    let directory = tempfile::tempdir().unwrap();
    let (content, file) = (bytes(5_000), directory.path().join("kept"));
    fs::write(&file, &content).unwrap();
    let cache = Cache::open_passing(&directory.path().join("cache"), 4_999, IoMode::Mmap).unwrap();
    let error = cache.link(&file, reference(&content)).unwrap_err();
    assert!(
        matches!(error, store::StoreError::CacheFull { .. }),
        "{error}"
    );
    assert_eq!(cache.used_bytes(), 0);
}

#[test]
fn nothing_is_read_or_removed_through_a_link_in_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let (place, outside) = (
        directory.path().join("cache"),
        directory.path().join("outside"),
    );
    let content = bytes(70_000);
    let object = reference(&content);
    {
        let cache = Cache::open(&place, u64::MAX, IoMode::Mmap).unwrap();
        let mut writer = cache.writer().unwrap();
        writer.append(&content).unwrap();
        writer.seal().unwrap();
    }
    // The same bytes elsewhere, with true sums beside the link.
    let kept = place.join(object.digest.to_string());
    fs::rename(&kept, &outside).unwrap();
    let laid = [kept.clone(), place.join("making-0"), place.join("a link")];
    for link in &laid {
        std::os::unix::fs::symlink(&outside, link).unwrap();
    }
    for mode in [IoMode::Mmap, IoMode::Pread] {
        let cache = Cache::open(&place, u64::MAX, mode).unwrap();
        assert!(cache.find(object).unwrap().is_none() && cache.used_bytes() == 0);
        assert!(laid.iter().all(|link| fs::symlink_metadata(link).is_err()));
        assert_eq!(fs::read(&outside).unwrap(), content);
        std::os::unix::fs::symlink(&outside, &kept).unwrap();
    }
    // One that is laid while the cache is open is replaced by what is sealed, and what it leads to stays as it was.
    fs::remove_file(&kept).unwrap();
    let cache = Cache::open(&place, u64::MAX, IoMode::Mmap).unwrap();
    fs::write(&outside, b"of somebody else").unwrap();
    std::os::unix::fs::symlink(&outside, &kept).unwrap();
    let mut writer = cache.writer().unwrap();
    writer.append(&content).unwrap();
    let sealed = writer.seal().unwrap();
    assert_eq!(sealed.section(0..70_000).unwrap()[..], content);
    assert!(fs::symlink_metadata(&kept).unwrap().is_file());
    drop(sealed);
    cache.clear();
    assert_eq!(fs::read(&outside).unwrap(), b"of somebody else");
}
