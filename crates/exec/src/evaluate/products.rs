//! What evaluation needs to know of products and values: passes over one partition.

use crate::evaluate::reading::{
    RowBytes, bug, dictionary, hash_of, partial, partition, walk, whole,
};
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::evaluate::ProductRow;
use model::evaluate::op::collected;
use model::evaluate::ratings::{RowOffsets, ValueRange};
use model::popularity::DistinctUsers;
use model::rules::BlockRules;
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// Interactions of a piece: two columns of 4 bytes each, in a quarter of the budget.
fn piece_of(room: &Room) -> u64 {
    (room.budget_bytes / 4 / 8).max(1)
}

/// The wants of a task that reads sealed objects once, all together.
struct Once {
    keys: Option<Vec<ObjectKey>>,
    writes: Vec<ObjectKey>,
    output: Output,
}

impl Once {
    fn of(task: &Task) -> Self {
        let keys = task
            .reads
            .iter()
            .flat_map(|read| read.keys.keys())
            .collect();
        Once {
            keys: Some(keys),
            writes: task.writes.clone(),
            output: Output::default(),
        }
    }

    fn next_need(&mut self) -> Need {
        match self.keys.take() {
            Some(keys) => Need::Fetch(keys.into_iter().map(whole).collect()),
            None => Need::Nothing,
        }
    }

    fn write<T: bytemuck::NoUninit>(&mut self, rows: &[T]) -> Result<(), Failure> {
        let key = *self
            .writes
            .first()
            .ok_or_else(|| bug("the task has nowhere to write to".to_owned()))?;
        let buffer = Arc::new(AlignedBuf::copy_of(bytemuck::cast_slice(rows)));
        self.output.objects.push((
            key,
            Held::Memory {
                buffer,
                row_bytes: size_of::<T>() as u32,
            },
        ));
        Ok(())
    }
}

/// Describes the products of a block.
pub(crate) struct ProductsWork {
    once: Once,
    recent: bool,
    rules: Option<BlockRules>,
    piece: u64,
}

impl ProductsWork {
    pub(crate) fn new(task: &Task, recent: bool, rules: Option<BlockRules>, room: &Room) -> Self {
        ProductsWork {
            once: Once::of(task),
            recent,
            rules,
            piece: piece_of(room),
        }
    }

    fn popularity(&mut self, fetched: Option<Fetched>) -> Result<Vec<u32>, Failure> {
        let block = partition(fetched)?;
        let mut distinct = DistinctUsers::new(block.rows() as usize);
        self.once.output.pieces += walk(&block, self.piece, 1 << 32, false, |csr, first| {
            distinct.absorb(csr, first);
        })?;
        Ok(distinct.counts())
    }
}

impl Work for ProductsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self.once.next_need())
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let popularity = self.popularity(fetched.next())?;
        let recent = if self.recent {
            self.popularity(fetched.next())?
        } else {
            vec![0; popularity.len()]
        };
        let ids = dictionary(fetched.next())?;
        if ids.rows() != popularity.len() || recent.len() != popularity.len() {
            return Err(bug(format!(
                "{} products have {} ids and {} counts",
                recent.len(),
                ids.rows(),
                popularity.len()
            )));
        }
        let described = ids.iter().zip(&popularity).zip(&recent);
        let mut rows: Vec<ProductRow> = described
            .map(|((id, &popularity), &recent)| ProductRow {
                tie: hash_of(id),
                popularity,
                recent,
                ..ProductRow::default()
            })
            .collect();
        if let Some(rules) = &self.rules {
            let words = fetched.next().map(RowBytes::of).transpose()?;
            let words = words.as_ref().map_or(&[][..], RowBytes::typed::<u32>);
            if let Some((_, attributes)) = rules.group
                && words.len() != rows.len() * attributes as usize
            {
                let found = words.len();
                return Err(bug(format!(
                    "{found} words describe {} products",
                    rows.len()
                )));
            }
            rules.apply(&mut rows, words);
        }
        let candidates = rows.iter().filter(|row| row.popularity > 0).count();
        self.once.output.partial = partial(&[candidates as f64]);
        self.once.write(&rows)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(self.once.output)
    }
}

/// Count, sum and range of the values of a block.
pub(crate) struct ValuesWork {
    once: Once,
    piece: u64,
}

impl ValuesWork {
    pub(crate) fn new(task: &Task, room: &Room) -> Self {
        ValuesWork {
            once: Once::of(task),
            piece: piece_of(room),
        }
    }
}

impl Work for ValuesWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self.once.next_need())
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let block = partition(fetched.into_iter().next())?;
        let mut range = ValueRange::EMPTY;
        self.once.output.pieces = walk(&block, self.piece, 1 << 32, true, |csr, _| {
            range.absorb(csr);
        })?;
        self.once.output.partial = collected(&range);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(self.once.output)
    }
}

/// The shrunk offsets of the products of a block.
pub(crate) struct OffsetsWork {
    once: Once,
    mean: f64,
    damping: f64,
    piece: u64,
}

impl OffsetsWork {
    pub(crate) fn new(task: &Task, mean: f64, damping: f64, room: &Room) -> Self {
        OffsetsWork {
            once: Once::of(task),
            mean,
            damping,
            piece: piece_of(room),
        }
    }
}

impl Work for OffsetsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self.once.next_need())
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let block = partition(fetched.into_iter().next())?;
        let mut sums = RowOffsets::new(block.rows() as usize, self.mean);
        self.once.output.pieces = walk(&block, self.piece, 1 << 32, true, |csr, first| {
            sums.absorb(csr, first);
        })?;
        let offsets: Vec<f32> = sums.offsets(self.damping).collect();
        self.once.write(&offsets)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(self.once.output)
    }
}
