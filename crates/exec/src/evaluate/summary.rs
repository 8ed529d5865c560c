//! The ends of an evaluation: intervals from replicates, coverage from bitmaps.

use crate::evaluate::reading::{RowBytes, bug, whole};
use crate::work::{Fetched, Need, Output, Work};
use model::evaluate::Layout;
use model::evaluate::op::{Intervals, collected};
use plan::Failure;
use std::collections::VecDeque;
use tensor::{ObjectKey, Task};

/// Intervals of all figures and differences.
pub(crate) struct IntervalsWork {
    key: Option<ObjectKey>,
    layout: Layout,
    level: f64,
    kept: Option<u32>,
    partial: Vec<u8>,
}

impl IntervalsWork {
    pub(crate) fn new(task: &Task, layout: Layout, level: f64, kept: Option<u32>) -> Self {
        let key = task.reads.iter().flat_map(|read| read.keys.keys()).next();
        IntervalsWork {
            key,
            layout,
            level,
            kept,
            partial: Vec::new(),
        }
    }
}

impl Work for IntervalsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self
            .key
            .take()
            .map_or(Need::Nothing, |key| Need::Fetch(vec![whole(key)])))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let sums = fetched
            .into_iter()
            .next()
            .ok_or_else(|| bug("no replicates came".to_owned()))?;
        self.partial = collected(&Intervals::of(
            &self.layout,
            RowBytes::of(sums)?.typed(),
            self.level,
            self.kept,
        ));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            partial: self.partial,
            pieces: 1,
            ..Output::default()
        })
    }
}

/// The union of bitmaps, block by block of users.
pub(crate) struct CoverageWork {
    keys: VecDeque<ObjectKey>,
    lists: usize,
    covered: Vec<u64>,
}

impl CoverageWork {
    pub(crate) fn new(task: &Task, lists: u32) -> Self {
        let keys = task
            .reads
            .iter()
            .flat_map(|read| read.keys.keys())
            .collect();
        CoverageWork {
            keys,
            lists: lists as usize,
            covered: Vec::new(),
        }
    }
}

impl Work for CoverageWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self
            .keys
            .pop_front()
            .map_or(Need::Nothing, |key| Need::Fetch(vec![whole(key)])))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let bitmaps = fetched
            .into_iter()
            .next()
            .ok_or_else(|| bug("no bitmaps came".to_owned()))?;
        let bitmaps = RowBytes::of(bitmaps)?;
        let bits: &[u64] = bitmaps.typed();
        self.covered.resize(bits.len(), 0);
        self.covered
            .iter_mut()
            .zip(bits)
            .for_each(|(union, bits)| *union |= bits);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let words = (self.covered.len() / self.lists.max(1)).max(1);
        let count = |list: &[u64]| {
            list.iter()
                .map(|bits| u64::from(bits.count_ones()))
                .sum::<u64>()
        };
        let covered: Vec<u64> = self.covered.chunks(words).map(count).collect();
        Ok(Output {
            partial: collected(&covered),
            pieces: 1,
            ..Output::default()
        })
    }
}
