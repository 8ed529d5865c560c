//! Rows in the order in which they are used: each is looked up once, when it is asked for from afar, and its place kept until then.
#![allow(unsafe_code)]

use crate::LANES;
use crate::rows::{FAR, NEXT, Rows};
use crate::vector::Vector;
use std::ops::Range;

/// Places that are kept: above FAR, a power of two.
const RING: usize = 64;

/// What names a row.
pub trait RowId: Copy {
    /// The row's id, where ids count from a base.
    fn row_id(self, base: u32) -> u32;
}

impl RowId for u32 {
    #[inline(always)]
    fn row_id(self, base: u32) -> u32 {
        base.wrapping_add(self)
    }
}

impl RowId for u16 {
    #[inline(always)]
    fn row_id(self, base: u32) -> u32 {
        base.wrapping_add(u32::from(self))
    }
}

/// The rows of ids, used one after the other.
///
/// Looking a row up, in blocks that lie anywhere, takes as many instructions as adding it where it has 64 floats; done for each of two
/// requests and for the use, it took longer than the third-level cache.
///
/// Where C is above 0 rows have 16 C floats, and their ids were [seen](Coming::sees) to have rows.
pub(crate) struct Coming<'a, I, const C: usize> {
    rows: Rows<'a>,
    base: u32,
    ids: &'a [I],
    vectors: usize,
    /// Of the positions from the one in use on, by position modulo their number; null where there is no row.
    ring: [*const f32; RING],
}

impl<'a, I: RowId, const C: usize> Coming<'a, I, C> {
    /// Whether the rows of these positions, and of those that are asked for meanwhile, are sure to be there.
    #[inline(always)]
    pub(crate) fn sees(rows: Rows<'_>, base: u32, ids: &[I], positions: Range<usize>) -> bool {
        let end = ids.len().min(positions.end + FAR);
        let ids = &ids[positions.start.min(end)..end];
        rows.hold(ids.iter().map(|id| id.row_id(base)))
    }

    /// Rows from a position on.
    ///
    /// # Safety
    /// Where C is above 0 rows have 16 C floats, and [`Coming::sees`] was true of all positions that are used.
    #[inline(always)]
    pub(crate) unsafe fn new(rows: Rows<'a>, base: u32, ids: &'a [I], first: usize) -> Self {
        let mut coming = Coming {
            rows,
            base,
            ids,
            vectors: rows.width() / LANES,
            ring: [std::ptr::null(); RING],
        };
        for (position, &id) in ids.iter().enumerate().skip(first).take(FAR) {
            coming.ring[position % RING] = coming.place(id);
        }
        coming
    }

    #[inline(always)]
    fn place(&self, id: I) -> *const f32 {
        let id = id.row_id(self.base);
        if C == 0 {
            return self.rows.find(id);
        }
        let (blocks, stride_log2) = self.rows.blocks();
        let within = id & ((1_u64 << stride_log2) - 1) as u32;
        let block = (u64::from(id) >> stride_log2) as usize;
        // SAFETY: the promise that it was made with: the block is there, and the row of 16 C floats within it.
        unsafe {
            let block = blocks.get_unchecked(block).as_ptr();
            block.add(within as usize * C * LANES)
        }
    }

    /// The row of a position, one after the last one's. It has as many floats as all rows. The far request is for all of them, the near
    /// one for `vectors` from a column on.
    ///
    /// # Panics
    /// Where no block holds it.
    #[inline(always)]
    pub(crate) fn row<V: Vector>(
        &mut self,
        position: usize,
        column: usize,
        vectors: usize,
    ) -> *const f32 {
        if let Some(&id) = self.ids.get(position + FAR) {
            let row = self.place(id);
            self.ring[(position + FAR) % RING] = row;
            let vectors = if C == 0 { self.vectors } else { C };
            for c in 0..vectors {
                V::prefetch_near(row.wrapping_add(c * LANES));
            }
        }
        // Behind the last id stands the place of an earlier one.
        // One line comes from the second-level cache while others are added.
        if C != 1 {
            let near = self.ring[(position + NEXT) % RING].wrapping_add(column);
            for c in 0..vectors {
                V::prefetch(near.wrapping_add(c * LANES));
            }
        }
        let row = self.ring[position % RING];
        assert!(C > 0 || !row.is_null(), "no block holds the row");
        row
    }
}
