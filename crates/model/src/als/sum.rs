//! The sum of a row's normal equations in its fixed order: f32 over 256 interactions by position in the row, those
//! in f64 over 65,536, these by an aligned binary tree.
//!
//! **Invariant:** a sum may be cut and carried at any interaction, and its segments may be added up by any number of
//! threads, without changing a bit.

use super::desk::{Desk, Desks};
use kernels::{CHUNK, Onto, Simd, add, flush};
use rayon::prelude::*;
use std::ops::Range;

/// Interactions of a row that are summed in one sequence of f64 additions.
pub const SEGMENT: u64 = 65_536;

/// The consecutive interactions of one row that are at hand.
pub trait Interactions: Sync {
    /// Adds those in `range` (at most [`CHUNK`], counted from the first at hand) to a system of f32 or to zeros.
    fn add_to(&self, range: Range<usize>, desk: &mut Desk, onto: Onto, system: &mut [f32]);
}

/// A row's sum so far.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Interactions in it.
    count: u64,
    /// The open chunk; empty where there is none.
    chunk: Vec<f32>,
    /// The open segment's whole chunks; empty where there is none.
    segment: Vec<f64>,
    /// Whole segments as an ascending run of aligned subtrees, the largest first: a binary counter.
    nodes: Vec<(u32, Vec<f64>)>,
}

impl Sum {
    /// Interactions in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes that an open sum of `length` numbers may hold, its tree over `interactions` included.
    pub fn bytes(length: usize, interactions: u64) -> u64 {
        let levels = u64::from((interactions / SEGMENT + 1).ilog2()) + 1;
        length as u64
            * (4 + 8
                + if interactions > SEGMENT {
                    8 * levels
                } else {
                    0
                })
    }

    /// Takes a chunk of `count` interactions, the whole of it or the last, that was summed elsewhere, and leaves zeros.
    ///
    /// # Panics
    /// Where a chunk is open.
    pub(super) fn take_chunk(&mut self, simd: Simd, chunk: &mut [f32], count: u32) {
        assert!(self.count.is_multiple_of(CHUNK as u64), "chunk after chunk");
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk);
        chunk.fill(0.0);
        self.count += u64::from(count);
        if count as usize == CHUNK {
            self.flush(simd);
            self.close_segment(simd);
        }
    }

    /// Adds the first `count` interactions at hand, in order, on this thread.
    pub fn extend(
        &mut self,
        simd: Simd,
        length: usize,
        items: &dyn Interactions,
        count: usize,
        desk: &mut Desk,
    ) {
        let mut done = 0;
        while done < count {
            let room = (SEGMENT - self.count % SEGMENT) as usize;
            let part = room.min(count - done);
            self.extend_segment(simd, length, items, done..done + part, desk);
            self.close_segment(simd);
            done += part;
        }
    }

    /// The same, whole segments on all threads at once.
    pub fn extend_on_all(
        &mut self,
        simd: Simd,
        length: usize,
        items: &dyn Interactions,
        count: usize,
        desks: &Desks,
    ) {
        let mut done = 0;
        while done < count {
            let (chunk, segment) = (
                std::mem::take(&mut self.chunk),
                std::mem::take(&mut self.segment),
            );
            let mut carried = Some(Sum {
                count: self.count,
                chunk,
                segment,
                nodes: Vec::new(),
            });
            let mut position = self.count;
            let mut parts = Vec::new();
            while done < count && parts.len() < 2 * desks.count() {
                let part = ((SEGMENT - position % SEGMENT) as usize).min(count - done);
                let sum = carried.take().unwrap_or_else(|| Sum {
                    count: position,
                    ..Sum::default()
                });
                parts.push((done..done + part, sum));
                done += part;
                position += part as u64;
            }
            let work = |(range, sum): &mut (Range<usize>, Sum)| {
                desks.at(|desk| sum.extend_segment(simd, length, items, range.clone(), desk));
            };
            parts.par_iter_mut().with_max_len(1).for_each(work);
            for (_, part) in parts {
                (self.count, self.chunk, self.segment) = (part.count, part.chunk, part.segment);
                self.close_segment(simd);
            }
        }
    }

    /// Adds interactions that all belong to the open segment.
    fn extend_segment(
        &mut self,
        simd: Simd,
        length: usize,
        items: &dyn Interactions,
        range: Range<usize>,
        desk: &mut Desk,
    ) {
        let mut next = range.start;
        while next < range.end {
            if self.chunk.is_empty() {
                self.chunk = vec![0.0; length];
            }
            let room = CHUNK - (self.count % CHUNK as u64) as usize;
            let part = room.min(range.end - next);
            items.add_to(next..next + part, desk, Onto::Sum, &mut self.chunk);
            self.count += part as u64;
            next += part;
            if part == room {
                self.flush(simd);
            }
        }
    }

    /// Moves the chunk into the segment.
    fn flush(&mut self, simd: Simd) {
        if self.segment.is_empty() {
            self.segment = vec![0.0; self.chunk.len()];
        }
        flush(simd, &mut self.chunk, &mut self.segment);
    }

    /// Moves the segment into the tree if it is whole.
    fn close_segment(&mut self, simd: Simd) {
        if self.count.is_multiple_of(SEGMENT) && !self.segment.is_empty() {
            let mut sum = std::mem::take(&mut self.segment);
            let mut level = 0;
            while self.nodes.last().is_some_and(|(other, _)| *other == level) {
                let (_, mut left) = self.nodes.pop().expect("just seen");
                add(simd, &mut left, &sum);
                (sum, level) = (left, level + 1);
            }
            self.nodes.push((level, sum));
        }
    }

    /// The whole sum, of `length` numbers.
    pub fn total(mut self, simd: Simd, length: usize) -> Vec<f64> {
        if !self.count.is_multiple_of(CHUNK as u64) {
            self.flush(simd);
        }
        let mut subtrees: Vec<Vec<f64>> = self.nodes.into_iter().map(|(_, sum)| sum).collect();
        if !self.segment.is_empty() {
            subtrees.push(self.segment);
        }
        let Some(mut total) = subtrees.pop() else {
            return vec![0.0; length];
        };
        while let Some(mut left) = subtrees.pop() {
            add(simd, &mut left, &total);
            total = left;
        }
        total
    }
}
