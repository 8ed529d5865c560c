//! What a process asks of its allocator: to give memory back to the machine.
//!
//! glibc raises its threshold for maps of their own with every large buffer that is freed, up to 32 MiB, and keeps
//! what is freed below it. A daemon that outlives its jobs then holds 65 MiB after one whose peak was 67 MiB; and
//! three million interactions take 249 MiB at their peak in an ingest, for what is done in 160 MiB with fixed
//! thresholds. These cost 6 % of that ingest's processor time; glibc's own start, 128 KiB for both, costs 18 %. Who knows its
//! budget of memory raises them with it. Other allocators are left alone.
//!
//! **Invariant:** nothing here changes what a program computes.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// A buffer of this size and more is a map of its own, gone when it is freed. Most blocks of factors and chunks of
/// partitions are larger.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAP_BYTES: libc::c_int = 4 << 20;
/// The free end of a heap that is kept for what comes next. There is a heap for each busy thread, and only what is
/// freed in it shortens its end.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 2 << 20;
/// The most that glibc takes for a map of its own: half of a thread's heap.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAP_BYTES_MAX: u64 = 32 << 20;
/// A whole heap of a thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Fixes the thresholds. For the start of a process: what was freed before has raised them already.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn fix_thresholds() {
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, MAP_BYTES),
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
    ] {
        // SAFETY: takes two numbers, locks the allocator's own state, and moves nothing that is allocated. A
        // refusal leaves everything as it was.
        let _ = unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// The same thresholds for a process that may use this much memory, within the bounds of glibc. With those of the start, blocks
/// that are received are new pages, cleared one by one, in every epoch.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_for(memory_bytes: u64) {
    let part = |of: u64, least: libc::c_int, most: u64| {
        (memory_bytes / of).clamp(least as u64, most) as libc::c_int
    };
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, part(64, MAP_BYTES, MAP_BYTES_MAX)),
        (
            libc::M_TRIM_THRESHOLD,
            part(256, KEPT_BYTES, KEPT_BYTES_MAX),
        ),
    ] {
        // SAFETY: as above.
        let _ = unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Sets the thresholds: another allocator has none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_for(_memory_bytes: u64) {}

/// Fixes the thresholds: another allocator has none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn fix_thresholds() {}

/// The anonymous memory of this process, as the system counts it; 0 where it does not tell. What is resident without what is
/// of files: looked at dozens of times a second, so not taken from `status`, which costs the kernel ten times as much, and by
/// way of a file that stays open.
pub fn anonymous_bytes() -> u64 {
    static SIZES: OnceLock<Option<File>> = OnceLock::new();
    let sizes = SIZES.get_or_init(|| File::open("/proc/self/statm").ok());
    let mut text = [0; 128];
    let length = sizes
        .as_ref()
        .and_then(|sizes| sizes.read_at(&mut text, 0).ok());
    let pages = std::str::from_utf8(&text[..length.unwrap_or(0)]).unwrap_or("");
    let mut pages = pages
        .split(' ')
        .skip(1)
        .map(|number| number.parse::<u64>().unwrap_or(0));
    let (resident, of_files) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(of_files) * page_bytes()
}

/// The bytes of a page of memory.
fn page_bytes() -> u64 {
    // SAFETY: asks for a constant of the system, and touches nothing of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Gives the free pages between used ones back to the machine, in all heaps. Takes milliseconds, and
/// longer for gigabytes: for the end of a job.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    // SAFETY: locks each heap in turn, and drops only pages on which nothing is allocated.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Gives free pages back: another allocator does so by itself.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident pages of this process.
    fn resident_bytes() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages << 12
    }

    #[test]
    fn what_is_freed_goes_back_and_what_is_held_stays() {
        fix_thresholds();
        let mut pieces: Vec<Vec<u8>> = (0..256).map(|i| vec![i as u8; 512 << 10]).collect();
        let (held, anonymous) = (resident_bytes(), anonymous_bytes());
        assert!(
            (120 << 20..=held).contains(&anonymous),
            "{anonymous} of {held}"
        );
        // Every fourth stays, so that the holes are no end of a heap.
        let mut index = 0;
        pieces.retain(|_| {
            index += 1;
            index % 4 == 0
        });
        give_back();
        let after = resident_bytes();
        assert!(after + (64 << 20) < held, "{held} -> {after}");
        assert!(anonymous_bytes() + (64 << 20) < anonymous);
        for (piece, i) in pieces.iter().zip((3..256).step_by(4)) {
            assert!(piece.iter().all(|&byte| byte == i as u8));
        }
    }
}
