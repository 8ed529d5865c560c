//! Whole files of another directory, taken into a cache by a second name.
//!
//! **Invariant:** a file is in the cache only after every byte of it was read here and its hash was the one asked for; so what is wrong
//! with it is found before anything uses it.

use crate::cache::{Reservation, Shared};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::sums::{Summing, Sums};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::SealedRef;

/// Bytes that are read at a time: they are hashed while they lie in the second-level cache.
const READ_BYTES: usize = 256 << 10;

/// As [`crate::Cache::link`], for a cache that goes with the process.
pub(crate) fn take(
    shared: &Arc<Shared>,
    file: &Path,
    object: SealedRef,
) -> Result<Option<Sealed>, StoreError> {
    // A link to elsewhere would be taken in as such, and what it leads to is on no disk that is known.
    let is_plain = fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
    let name = Name(shared.temporary_path());
    if !is_plain || fs::hard_link(file, &name.0).is_err() {
        return Ok(None);
    }
    let Some(sums) = sums_of(&name.0, object) else {
        return Ok(None);
    };
    let mut reservation = Reservation::empty(Arc::clone(shared));
    reservation.grow_to(object.bytes)?;
    let sealed = shared.adopt(&name.0, sums, &mut reservation)?;
    sealed.know_all_checked();
    Ok(Some(sealed))
}

/// The second name while nobody knows of it. It is gone already where the file was given its last one.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The sums of a file that is what it should be.
fn sums_of(path: &Path, object: SealedRef) -> Option<Sums> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() != object.bytes {
        return None;
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut summing = Summing::new();
    for at in (0..object.bytes).step_by(READ_BYTES) {
        let now = &mut buffer[..(object.bytes - at).min(READ_BYTES as u64) as usize];
        file.read_exact_at(now, at).ok()?;
        summing.update(now);
    }
    let sums = summing.finish();
    (sums.digest == object.digest).then_some(sums)
}
