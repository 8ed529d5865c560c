//! Runs the op of recommending: groups of users that fit, and for each group all products in pieces.

mod directions;
mod explain;
mod gram;
pub(crate) mod index;

pub(crate) use directions::DirectionsWork;
pub(crate) use explain::ExplainWork;
pub(crate) use gram::gram;

use crate::evaluate::reading::{Reads, RowsOf, bug, limit_of, partial, partition};
use crate::evaluate::scoring::{Scorer, Scoring};
use crate::evaluate::stretches::short_by;
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::recommend::RecommendOp;
use model::score::{Packed, Ranked, Stretch, finish};
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, ObjectKey, Recommended, Task};

/// Makes the op ready to run.
pub(crate) fn begin(task: &Task, op: RecommendOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(Box::new(RecommendWork::new(task, op, room)?))
}

/// The users under way.
struct Group {
    masks: Vec<Vec<u32>>,
    best: Vec<Ranked>,
}

/// The task.
struct RecommendWork {
    op: RecommendOp,
    room: Room,
    block: BlockId,
    scoring: Scoring,
    sealed: Vec<ObjectKey>,
    write: ObjectKey,
    partitions: Vec<Partition>,
    group: Option<Group>,
    chosen: Vec<u32>,
    found: Vec<u8>,
    served: u64,
    without_training: u64,
}

impl RecommendWork {
    fn new(task: &Task, mut op: RecommendOp, room: &Room) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        let scorer = Scorer {
            moment: op.moment,
            context: op.context,
            width: op.width,
            filter: op.filter,
            most: op.most,
            grids: [&op.users, &op.products],
        };
        let (scoring, block) = Scoring::of(task, &mut reads, scorer)?;
        let sealed = (0..=op.masks)
            .map(|_| reads.one())
            .collect::<Result<_, _>>()?;
        let Some(&write) = task.writes.first() else {
            return Err(bug(format!("task {} writes nothing", task.id)));
        };
        let rows = op.users.rows.get(block.0 as usize).copied().unwrap_or(0);
        Ok(RecommendWork {
            room: room.clone(),
            block,
            scoring,
            sealed,
            write,
            partitions: Vec::new(),
            group: None,
            chosen: op.chosen.take().unwrap_or_else(|| (0..rows).collect()),
            found: Vec::new(),
            served: 0,
            without_training: 0,
            op,
        })
    }

    fn count(partition: &Partition, row: u32) -> u64 {
        partition.offsets()[row as usize + 1] - partition.offsets()[row as usize]
    }

    fn open(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        for _ in 0..=self.op.masks {
            self.partitions.push(partition(fetched.next())?);
        }
        self.scoring.take_first(fetched)?;
        let rows = self.op.users.rows[self.block.0 as usize];
        if self.partitions.iter().any(|p| p.rows() != rows)
            || self.chosen.last().is_some_and(|&last| last >= rows)
        {
            return Err(bug(format!(
                "block {} has {rows} users, its partitions have other rows",
                self.block.0
            )));
        }
        let all = self.chosen.len();
        let train = &self.partitions[0];
        self.chosen.retain(|&row| Self::count(train, row) > 0);
        self.without_training = (all - self.chosen.len()) as u64;
        let output =
            self.chosen.len() as u64 * u64::from(self.op.k) * Recommended::ROW_BYTES as u64;
        let threads = self.room.pool.current_num_threads();
        // The rows are made once and copied once into the object.
        let fixed = 2 * output + Packed::bytes(self.op.width as usize, threads);
        let budget = self.room.budget_bytes;
        let left = budget
            .checked_sub(fixed)
            .ok_or_else(|| short_by(fixed, budget))?;
        let row_bytes =
            100 + u64::from(self.op.width) * 8 + u64::from(self.op.k) * size_of::<Ranked>() as u64;
        let needed = |place: usize| {
            let partitions = self.partitions.iter();
            let seen = partitions.map(|partition| Self::count(partition, self.chosen[place]));
            row_bytes + seen.sum::<u64>() * 12
        };
        let count = self.chosen.len();
        self.scoring
            .plan(&self.op.products, left, count, needed, &self.room)?;
        self.next_group()
    }

    fn next_group(&mut self) -> Result<(), Failure> {
        let Some(places) = self.scoring.next_group() else {
            return Ok(());
        };
        let rows = &self.chosen[places];
        let mut masks = vec![Vec::new(); rows.len()];
        let first = usize::from(!self.op.exclude_train);
        for partition in &self.partitions[first..] {
            for (mask, &row) in masks.iter_mut().zip(rows) {
                let seen = RowsOf::read(partition, row as usize..row as usize + 1, false)?;
                mask.extend_from_slice(seen.csr(partition, limit_of(&self.op.products))?.columns());
            }
        }
        if self.op.but_itself {
            let first_row = self.op.users.row_ids(self.block).start;
            for (mask, &row) in masks.iter_mut().zip(rows) {
                mask.push(first_row + row);
            }
        }
        for mask in &mut masks {
            mask.sort_unstable();
            mask.dedup();
        }
        let best = vec![Ranked::NONE; rows.len() * self.op.k as usize];
        let train = &self.partitions[0];
        self.scoring.begin(rows.into(), train, &self.room)?;
        self.group = Some(Group { masks, best });
        Ok(())
    }

    fn absorb(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let loaded = self.scoring.take(fetched)?;
        let Some(mut group) = self.group.take() else {
            return Err(bug("products before users".to_owned()));
        };
        let (k, simd) = (self.op.k as usize, self.room.simd);
        let masks: Vec<&[u32]> = group.masks.iter().map(Vec::as_slice).collect();
        let (rows, users, packed) = self.scoring.under();
        let (rows, best) = (rows.to_vec(), &mut group.best);
        self.room.pool.install(|| {
            for part in loaded.stretches().flat_map(Stretch::parts) {
                packed.fill(simd, &part);
                packed.offer(simd, users, &masks, k, best);
            }
        });
        if !self.scoring.done(loaded) {
            self.group = Some(group);
            return Ok(());
        }
        self.keep(&rows, group.best);
        self.next_group()
    }

    /// The lists of a group, as rows of the object.
    fn keep(&mut self, rows: &[u32], mut best: Vec<Ranked>) {
        let first = self.op.users.row_ids(self.block).start;
        let lists = best.chunks_exact_mut(self.op.k as usize);
        for (&row, best) in rows.iter().zip(lists) {
            let taken = finish(best);
            let listed = (1_u32..)
                .zip(&best[..taken])
                .map(|(rank, place)| Recommended {
                    user: first + row,
                    rank,
                    product: place.row,
                    score: place.score + self.op.offset,
                });
            self.found.extend(listed.flat_map(Recommended::to_row));
            self.served += 1;
        }
    }
}

impl Work for RecommendWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(self.scoring.next_need(&self.sealed))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.scoring.is_open() {
            self.absorb(fetched)
        } else {
            self.open(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let buffer = Arc::new(AlignedBuf::copy_of(&self.found));
        let held = Held::Memory {
            buffer,
            row_bytes: Recommended::ROW_BYTES as u32,
        };
        let rows = self.found.len() / Recommended::ROW_BYTES;
        let partial = partial(&[
            self.served as f64,
            rows as f64,
            self.without_training as f64,
        ]);
        Ok(Output {
            objects: vec![(self.write, held)],
            partial,
            pieces: self.scoring.pieces_done(),
            ..Output::default()
        })
    }
}
