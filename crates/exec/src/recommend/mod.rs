//! Runs the op of recommending: groups of users that fit, and for each group all products in pieces.

use crate::evaluate::rank::{small_keys, small_rows};
use crate::evaluate::reading::{Reads, RowBytes, RowsOf, bug, limit_of, partial, partition, whole};
use crate::evaluate::stretches::{Loaded, Pieces, short_by};
use crate::work::{Fetched, Held, Need, Output, Part, Room, Want, Work};
use model::recommend::RecommendOp;
use model::score::{Packed, Ranked, Stretch, at_row, finish};
use plan::Failure;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, KeyRange, ObjectKey, Recommended, Task};

/// Makes the op ready to run.
pub(crate) fn begin(task: &Task, op: RecommendOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(Box::new(RecommendWork::new(task, op, room)?))
}

/// The users under way.
struct Group {
    rows: Arc<[u32]>,
    masks: Vec<Vec<u32>>,
    factors: Vec<f32>,
    best: Vec<Ranked>,
    piece: usize,
}

/// The task.
struct RecommendWork {
    op: RecommendOp,
    room: Room,
    block: BlockId,
    users: ObjectKey,
    factors: KeyRange,
    small: Vec<ObjectKey>,
    products: KeyRange,
    sealed: Vec<ObjectKey>,
    write: ObjectKey,
    partitions: Vec<Partition>,
    small_rows: Vec<Vec<f32>>,
    pieces: Option<Pieces>,
    groups: VecDeque<Range<usize>>,
    group: Option<Group>,
    kept: Option<Loaded>,
    packed: Packed,
    chosen: Vec<u32>,
    found: Vec<u8>,
    served: u64,
    without_training: u64,
    pieces_done: u64,
}

impl RecommendWork {
    fn new(task: &Task, mut op: RecommendOp, room: &Room) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        let users = reads.one()?;
        let factors = reads.range()?;
        let small = small_keys(&mut reads, op.moment, op.context)?;
        let products = reads.range()?;
        let sealed = (0..=op.masks)
            .map(|_| reads.one())
            .collect::<Result<_, _>>()?;
        let (ObjectKey::Block { block, .. }, Some(&write)) = (users, task.writes.first()) else {
            return Err(bug(format!(
                "task {} reads no block of users or writes nothing",
                task.id
            )));
        };
        let rows = op.users.rows.get(block.0 as usize).copied().unwrap_or(0);
        Ok(RecommendWork {
            room: room.clone(),
            block,
            users,
            factors,
            small,
            products,
            sealed,
            write,
            partitions: Vec::new(),
            small_rows: Vec::new(),
            pieces: None,
            groups: VecDeque::new(),
            group: None,
            kept: None,
            packed: Packed::new(op.width as usize),
            chosen: op.chosen.take().unwrap_or_else(|| (0..rows).collect()),
            found: Vec::new(),
            served: 0,
            without_training: 0,
            pieces_done: 0,
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
        let op = &self.op;
        self.small_rows = small_rows(fetched, op.moment, op.context, op.width)?;
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
        self.cut(left / 2)?;
        self.pieces = Some(Pieces::plan(
            self.factors,
            self.products,
            &self.op.products,
            self.op.width as usize,
            left / 2,
        )?);
        self.next_group()
    }

    /// Cuts the chosen users into groups that fit `budget`.
    fn cut(&mut self, budget: u64) -> Result<(), Failure> {
        let (mut start, mut bytes) = (0, 0);
        for (place, &row) in self.chosen.iter().enumerate() {
            let seen: u64 = self
                .partitions
                .iter()
                .map(|partition| Self::count(partition, row))
                .sum();
            let needed = 100 + u64::from(self.op.width) * 8 + u64::from(self.op.k) * 16 + seen * 12;
            if needed > budget {
                return Err(short_by(2 * needed, budget));
            }
            if bytes + needed > budget {
                self.groups.push_back(start..place);
                (start, bytes) = (place, 0);
            }
            bytes += needed;
        }
        if start < self.chosen.len() {
            self.groups.push_back(start..self.chosen.len());
        }
        Ok(())
    }

    fn next_group(&mut self) -> Result<(), Failure> {
        let Some(places) = self.groups.pop_front() else {
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
        for mask in &mut masks {
            mask.sort_unstable();
            mask.dedup();
        }
        let best = vec![Ranked::NONE; rows.len() * self.op.k as usize];
        self.group = Some(Group {
            rows: rows.into(),
            masks,
            factors: Vec::new(),
            best,
            piece: 0,
        });
        Ok(())
    }

    fn absorb(&mut self, mut fetched: Vec<Fetched>) -> Result<(), Failure> {
        let (Some(mut group), Some(pieces)) = (self.group.take(), &self.pieces) else {
            return Err(bug("products before users".to_owned()));
        };
        if group.piece == 0 {
            group.factors = RowBytes::of(fetched.remove(0))?.typed::<f32>().to_vec();
            for row in &self.small_rows {
                at_row(&mut group.factors, row);
            }
        }
        let loaded = match self.kept.take() {
            Some(kept) => kept,
            None => pieces.load(group.piece, fetched)?,
        };
        let (k, simd, packed) = (self.op.k as usize, self.room.simd, &mut self.packed);
        let masks: Vec<&[u32]> = group.masks.iter().map(Vec::as_slice).collect();
        let (factors, best) = (&group.factors, &mut group.best);
        self.room.pool.install(|| {
            for part in loaded.stretches().flat_map(Stretch::parts) {
                packed.fill(simd, &part);
                packed.offer(simd, factors, &masks, k, best);
            }
        });
        self.pieces_done += 1;
        if pieces.len() == 1 {
            self.kept = Some(loaded);
        }
        group.piece += 1;
        if group.piece < pieces.len() {
            self.group = Some(group);
            return Ok(());
        }
        self.keep(group);
        self.next_group()
    }

    /// The lists of a group, as rows of the object.
    fn keep(&mut self, mut group: Group) {
        let first = self.op.users.row_ids(self.block).start;
        for (&row, best) in group
            .rows
            .iter()
            .zip(group.best.chunks_exact_mut(self.op.k as usize))
        {
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
        let Some(pieces) = &self.pieces else {
            let sealed = self.sealed.iter().copied();
            let first = sealed.chain(self.small.iter().copied());
            return Ok(Need::Fetch(first.map(whole).collect()));
        };
        let Some(group) = &self.group else {
            return Ok(Need::Nothing);
        };
        let mut wants = Vec::new();
        if group.piece == 0 {
            wants.push(Want::Object(self.users, Part::Rows(group.rows.clone())));
        }
        if self.kept.is_none() {
            wants.extend(pieces.wants(group.piece));
        }
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.pieces.is_none() {
            self.open(fetched)
        } else {
            self.absorb(fetched)
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
            pieces: self.pieces_done,
            ..Output::default()
        })
    }
}
