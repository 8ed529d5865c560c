//! Rows in the order in which they are used: each is looked up once, when it is asked for from afar, and its place kept until then.
#![allow(unsafe_code)]

use crate::LANES;
use crate::rows::{FAR, NEXT, Rows};
use crate::vector::Vector;

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
pub(crate) struct Coming<'a, I> {
    rows: Rows<'a>,
    base: u32,
    ids: &'a [I],
    vectors: usize,
    /// Of the positions from the one in use on, by position modulo their number; null where there is no row.
    ring: [*const f32; RING],
}

impl<'a, I: RowId> Coming<'a, I> {
    /// Rows from a position on.
    #[inline(always)]
    pub(crate) fn new(rows: Rows<'a>, base: u32, ids: &'a [I], first: usize) -> Self {
        let mut ring = [std::ptr::null(); RING];
        for (position, id) in ids.iter().enumerate().skip(first).take(FAR) {
            ring[position % RING] = rows.find(id.row_id(base));
        }
        Coming {
            rows,
            base,
            ids,
            vectors: rows.width() / LANES,
            ring,
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
            let row = self.rows.find(id.row_id(self.base));
            self.ring[(position + FAR) % RING] = row;
            for c in 0..self.vectors {
                V::prefetch_near(row.wrapping_add(c * LANES));
            }
        }
        // Behind the last id stands the place of an earlier one.
        let near = self.ring[(position + NEXT) % RING].wrapping_add(column);
        for c in 0..vectors {
            V::prefetch(near.wrapping_add(c * LANES));
        }
        let row = self.ring[position % RING];
        assert!(!row.is_null(), "no block holds the row");
        row
    }
}
