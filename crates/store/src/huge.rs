//! Unsafe code for memory: buffers of some size from pages of 2 MiB. A table's blocks are too short to fill such a page alone, and
//! with pages of 4 KiB every gathered row is a walk through the page table besides: it takes a third of a gather from 50 MB.
//!
//! Regions of a few huge pages are cut into places of one size; a region without a taken place is unmapped.
//!
//! **Invariant:** a place belongs to one [`Pages`] from when it is handed out until that is dropped, and every byte of a region
//! is initialized: zero where nobody has written.
#![allow(unsafe_code)]

use crate::buffer::Line;
use memmap2::{MmapMut, MmapOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A huge page.
const HUGE_BYTES: usize = 2 << 20;
/// Shorter buffers are the allocator's: whole tables of them are short.
const LEAST_BYTES: usize = 64 << 10;
/// Longer ones leave little of their last page empty, and are few.
const MOST_BYTES: usize = 8 << 20;
/// What a region may leave uncut, at most, before a longer one is tried.
const WASTE: usize = 32;

/// Memory for one buffer.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<Line>,
    lines: usize,
}

// SAFETY: a place is plain memory that its `Pages` alone reaches, and that only its `&mut` writes.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Memory for at least so many bytes, whether all of it is zero; `None` for lengths that are better off with the allocator, or where
    /// the system gives no map.
    pub(crate) fn new(bytes: usize) -> Option<(Self, bool)> {
        if cfg!(miri) || !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) {
            return None;
        }
        let size = place_bytes(bytes);
        let (start, is_zero) = regions().take(size)?;
        let lines = size / size_of::<Line>();
        Some((Pages { start, lines }, is_zero))
    }

    pub(crate) fn lines(&self) -> &[Line] {
        // SAFETY: the place is mapped until this is dropped, initialized, aligned to a line, and written only by way of `&mut self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.lines) }
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above, and `&mut self` is the only way to it now.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.lines) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let gone = regions().give(self.lines * size_of::<Line>(), self.start);
        // A region is unmapped outside of the lock.
        drop(gone);
    }
}

/// Buffers of nearly one length share regions: a thirty-second of a length is no reason for another size.
fn place_bytes(bytes: usize) -> usize {
    let step = (bytes / 64).next_power_of_two().max(4 << 10);
    bytes.next_multiple_of(step)
}

/// The bytes of a region of such places: as few pages as leave little uncut.
fn region_bytes(place: usize) -> usize {
    let least = place.div_ceil(HUGE_BYTES);
    let uncut = |pages: &usize| pages * HUGE_BYTES % place;
    let mut tried = least..=least + 3;
    let little = tried.find(|pages| uncut(pages) <= pages * HUGE_BYTES / WASTE);
    let pages = little.or_else(|| {
        // Compared as shares, in whole numbers.
        (least..=least + 3).min_by_key(|pages| uncut(pages) * 1024 / pages)
    });
    pages.unwrap_or(least) * HUGE_BYTES
}

/// Some huge pages, cut into places of one size.
#[derive(Debug)]
struct Region {
    /// Mapped until the region is dropped, and reached only by way of places.
    _map: MmapMut,
    /// The first place.
    start: NonNull<u8>,
    places: usize,
    /// How many of them were handed out once: those before this.
    touched: usize,
    /// Places that came back.
    free: Vec<usize>,
}

// SAFETY: it owns its map, and does not follow `start` itself.
unsafe impl Send for Region {}

impl Region {
    fn map(place: usize) -> Option<Self> {
        let bytes = region_bytes(place);
        // Room to begin at a huge page; what is never touched costs nothing.
        let mut map = MmapOptions::new().len(bytes + HUGE_BYTES).map_anon().ok()?;
        let first = map.as_ptr().align_offset(HUGE_BYTES);
        // Advice is only advice: pages of the common size serve too.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, first, bytes);
        let start = NonNull::new(map[first..].as_mut_ptr())?;
        Some(Region {
            _map: map,
            start,
            places: bytes / place,
            touched: 0,
            free: Vec::new(),
        })
    }

    fn address(&self) -> usize {
        self.start.addr().get()
    }

    /// A place of this size, and whether it is still zero.
    fn take(&mut self, size: usize) -> (NonNull<Line>, bool) {
        let free = self.free.pop();
        let place = free.unwrap_or(self.touched);
        self.touched = self.touched.max(place + 1);
        assert!(place < self.places, "a full region has no place");
        // SAFETY: a region has room for its places, one after the other.
        let start = unsafe { self.start.add(place * size) };
        (start.cast(), free.is_none())
    }

    fn is_full(&self) -> bool {
        self.touched == self.places && self.free.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.touched
    }
}

/// All regions: by the size of their places, then by address.
#[derive(Debug)]
struct Regions {
    all: BTreeMap<(usize, usize), Region>,
    /// Those that have room.
    roomy: BTreeSet<(usize, usize)>,
}

static REGIONS: Mutex<Regions> = Mutex::new(Regions {
    all: BTreeMap::new(),
    roomy: BTreeSet::new(),
});

fn regions() -> MutexGuard<'static, Regions> {
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Regions {
    /// A place of this size, and whether it is zero.
    fn take(&mut self, size: usize) -> Option<(NonNull<Line>, bool)> {
        let roomy = self.roomy.range((size, 0)..=(size, usize::MAX)).next();
        let key = if let Some(&key) = roomy {
            key
        } else {
            let region = Region::map(size)?;
            let key = (size, region.address());
            self.all.insert(key, region);
            self.roomy.insert(key);
            key
        };
        let region = self.all.get_mut(&key)?;
        let place = region.take(size);
        if region.is_full() {
            self.roomy.remove(&key);
        }
        Some(place)
    }

    /// Takes a place of this size back. Returns the region, if nothing of it is taken any more.
    fn give(&mut self, size: usize, start: NonNull<Line>) -> Option<Region> {
        let address = start.addr().get();
        let (&key, region) = self
            .all
            .range_mut((size, 0)..=(size, address))
            .next_back()?;
        region.free.push((address - key.1) / size);
        if region.is_empty() {
            self.roomy.remove(&key);
            return self.all.remove(&key);
        }
        self.roomy.insert(key);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_leave_little_uncut() {
        for bytes in (LEAST_BYTES..=MOST_BYTES).step_by(4 << 10) {
            let place = place_bytes(bytes);
            assert!(
                place >= bytes && place - bytes <= (bytes / 32).max(4 << 10),
                "{bytes}"
            );
            assert!(place.is_multiple_of(4 << 10));
            let region = region_bytes(place);
            assert!(region >= place && region.is_multiple_of(HUGE_BYTES));
            assert!(region % place <= region / 5, "{bytes}: {place} of {region}");
        }
        assert_eq!(region_bytes(place_bytes(800_000)), 2 * HUGE_BYTES);
    }

    #[test]
    fn places_are_apart_and_come_back_as_they_were_left() {
        let bytes = 1_234_567;
        let fill = |pages: &mut Pages, byte| pages.lines_mut().fill(Line::of(byte));
        let mut held = Vec::new();
        for byte in 0..50_u8 {
            let (mut pages, is_zero) = Pages::new(bytes).unwrap();
            assert!(size_of_val(pages.lines()) >= bytes);
            assert!(!is_zero || pages.lines().iter().all(|line| *line == Line::of(0)));
            fill(&mut pages, byte);
            held.push((byte, pages));
        }
        held.retain(|(byte, _)| byte % 3 == 0);
        for byte in 50..80 {
            let (mut pages, _) = Pages::new(bytes).unwrap();
            fill(&mut pages, byte);
            held.push((byte, pages));
        }
        for (byte, pages) in &held {
            assert!(pages.lines().iter().all(|line| *line == Line::of(*byte)));
        }
        let size = place_bytes(bytes);
        let of_this_size = || regions().all.range((size, 0)..=(size, usize::MAX)).count();
        assert!(of_this_size() > 0);
        drop(held);
        assert_eq!(of_this_size(), 0, "an empty region is unmapped");
        assert!(Pages::new(LEAST_BYTES - 1).is_none() && Pages::new(MOST_BYTES + 1).is_none());
    }
}
