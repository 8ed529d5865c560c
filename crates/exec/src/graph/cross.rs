//! What two tables have in common, its eigenbasis, and the rows of one times it.

use super::dense::{Whole, width};
use crate::objects::{Numbers, fits, held, held_row};
use crate::work::{Held, Room};
use model::graph::cross::{cross_sums, crossing_bytes, times};
use model::graph::turn::{pairs, pairs_bytes};
use model::graph::{CrossOp, PairsOp, TimesOp};
use plan::Failure;

impl Whole for CrossOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        2
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let (left, right) = (came[0].typed::<f32>(), came[1].typed());
        let (rows, threads) = (
            left.len() / width(self.left),
            room.pool.current_num_threads(),
        );
        let beside = crossing_bytes(self.left, self.right, rows, threads);
        fits(beside, room.budget_bytes)?;
        let sums = room
            .pool
            .install(|| cross_sums(room.simd, *self, left, right));
        Ok(vec![held_row(&sums)])
    }
}

impl Whole for PairsOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        1
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        fits(pairs_bytes(self.columns), room.budget_bytes)?;
        Ok(vec![held_row(&pairs(room.simd, *self, came[0].typed()))])
    }
}

impl Whole for TimesOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        2
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let rows = came[0].typed::<f32>();
        let (count, threads) = (
            rows.len() / width(self.left),
            room.pool.current_num_threads(),
        );
        let bytes = 4 * count * width(self.right);
        let beside = crossing_bytes(self.left, self.right, 0, threads);
        fits(bytes as u64 + beside, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        room.pool
            .install(|| times(room.simd, *self, came[1].typed(), rows, out.typed_mut()));
        Ok(vec![held(out, 4 * width(self.right))])
    }
}
