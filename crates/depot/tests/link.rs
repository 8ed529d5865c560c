//! Objects of a depot on the disk of a passing cache: had without a copy, and never where they are damaged.

use depot::{Depot, DepotError};
use std::fs;
use std::os::unix::fs::MetadataExt;
use store::{Cache, IoMode};

#[tokio::test]
async fn objects_on_the_disk_of_a_passing_cache_are_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for url in [
        place("bare").display().to_string(),
        format!("file://{}", place("url").display()),
    ] {
        let depot = Depot::open(&url).unwrap();
        let made = Cache::open_unsynced(&place("made"), u64::MAX, IoMode::Mmap).unwrap();
        let mut writer = made.writer().unwrap();
        let content: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i * 7 + i / 256) as u8)
            .collect();
        writer.append(&content).unwrap();
        let object = {
            let sealed = writer.seal().unwrap();
            depot.put(&sealed).await.unwrap();
            sealed.reference()
        };
        let folder = url.strip_prefix("file://").unwrap_or(&url);
        let kept = std::path::Path::new(folder)
            .join("objects")
            .join(object.digest.to_string());

        let cache = Cache::open_passing(&place("passing"), u64::MAX, IoMode::Mmap).unwrap();
        let fetched = depot.fetch(object, &cache).await.unwrap();
        assert_eq!(fetched.section(0..object.bytes).unwrap()[..], content);
        let inode = |path: &std::path::Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(fetched.path()), inode(&kept));
        drop(fetched);
        cache.clear();

        let lasting = Cache::open_unsynced(&place("lasting"), u64::MAX, IoMode::Mmap).unwrap();
        let copied = depot.fetch(object, &lasting).await.unwrap();
        assert_ne!(inode(copied.path()), inode(&kept));
        drop(copied);
        lasting.clear();

        // A flipped bit is told before anything reads it.
        let mut flipped = content.clone();
        flipped[2_000_000] ^= 4;
        fs::write(&kept, &flipped).unwrap();
        let damaged = depot.fetch(object, &cache).await.unwrap_err();
        assert!(matches!(damaged, DepotError::Damaged { .. }), "{damaged}");
        assert!(cache.find(object).unwrap().is_none());
    }
}
