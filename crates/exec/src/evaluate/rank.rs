//! Ranks products for the users of a block: groups of users that fit, and for each group all products in pieces.

use crate::evaluate::reading::{
    Reads, RowsOf, bug, dictionary, hash_of, limit_of, partial, partition,
};
use crate::evaluate::scoring::{Scorer, Scoring};
use crate::evaluate::stretches::short_by;
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::evaluate::op::RankOp;
use model::evaluate::users::{Baselines, Group, Measured, Person};
use model::score::Packed;
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, ObjectKey, Task};

/// The partitions of the block and the hashes of its users.
struct Opened {
    train: Partition,
    mask: Option<Partition>,
    faded: Option<Partition>,
    held_out: Partition,
    hashes: Vec<u64>,
}

/// The task.
pub(crate) struct RankWork {
    op: RankOp,
    room: Room,
    block: BlockId,
    scoring: Scoring,
    sealed: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    opened: Option<Opened>,
    /// The users under way.
    group: Option<Group>,
    baselines: Option<Baselines>,
    baselines_closed: bool,
    found: Sums,
}

impl RankWork {
    pub(crate) fn new(task: &Task, op: RankOp, room: &Room) -> Result<Self, Failure> {
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
        let sealed = (0..3 + usize::from(op.mask) + usize::from(op.faded))
            .map(|_| reads.one())
            .collect::<Result<_, _>>()?;
        let found = Sums::new(&op);
        Ok(RankWork {
            room: room.clone(),
            block,
            scoring,
            sealed,
            writes: task.writes.clone(),
            opened: None,
            group: None,
            baselines: None,
            baselines_closed: false,
            found,
            op,
        })
    }

    /// What does not depend on the groups and pieces.
    fn fixed_bytes(&self, seen_max: usize) -> u64 {
        let wanted = self.op.layout.k_max() as usize + seen_max;
        let popular = if self.op.layout.rankers.len() > 1 {
            model::popularity::Popular::bytes(wanted)
        } else {
            0
        };
        let packed = Packed::bytes(self.op.width as usize, self.room.pool.current_num_threads());
        packed + popular + self.found.bytes()
    }

    fn open(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let train = partition(fetched.next())?;
        let mask = if self.op.mask {
            Some(partition(fetched.next())?)
        } else {
            None
        };
        let faded = if self.op.faded {
            Some(partition(fetched.next())?)
        } else {
            None
        };
        let held_out = partition(fetched.next())?;
        let hashes: Vec<u64> = dictionary(fetched.next())?.iter().map(hash_of).collect();
        self.scoring.take_first(fetched)?;
        let rows = self.op.users.rows[self.block.0 as usize] as usize;
        let counts = [
            train.rows() as usize,
            held_out.rows() as usize,
            hashes.len(),
        ];
        if counts
            .iter()
            .chain(mask.as_ref().map(|m| m.rows() as usize).as_ref())
            .chain(faded.as_ref().map(|f| f.rows() as usize).as_ref())
            .any(|&count| count != rows)
        {
            return Err(bug(format!(
                "block {} has {rows} users, its objects have {counts:?}",
                self.block.0
            )));
        }
        let opened = Opened {
            train,
            mask,
            faded,
            held_out,
            hashes,
        };
        let seen_max = (0..rows).map(|row| opened.seen(row)).max().unwrap_or(0) as usize;
        let (fixed, budget) = (self.fixed_bytes(seen_max), self.room.budget_bytes);
        let left = budget
            .checked_sub(fixed)
            .ok_or_else(|| short_by(fixed, budget))?;
        let needed = |row| needed(&self.op, &opened, row);
        self.scoring
            .plan(&self.op.products, left, rows, needed, &self.room)?;
        self.baselines = Some(Baselines::new(&self.op.layout, seen_max));
        self.opened = Some(opened);
        self.next_group()
    }

    /// Makes the next group that holds anybody.
    fn next_group(&mut self) -> Result<(), Failure> {
        let limit = limit_of(&self.op.products);
        let opened = self
            .opened
            .as_ref()
            .ok_or_else(|| bug("groups before partitions".to_owned()))?;
        while let Some(rows) = self.scoring.next_group() {
            let train = RowsOf::read(&opened.train, rows.clone(), true)?;
            let held_out = RowsOf::read(&opened.held_out, rows.clone(), false)?;
            let mask = opened
                .mask
                .as_ref()
                .map(|mask| RowsOf::read(mask, rows.clone(), false))
                .transpose()?;
            let faded = opened
                .faded
                .as_ref()
                .map(|faded| RowsOf::read(faded, rows.clone(), true))
                .transpose()?;
            let train = train.csr(&opened.train, limit)?;
            let held_out = held_out.csr(&opened.held_out, limit)?;
            let mask = match (&mask, &opened.mask) {
                (Some(rows), Some(partition)) => Some(rows.csr(partition, limit)?),
                _ => None,
            };
            let faded = match (&faded, &opened.faded) {
                (Some(rows), Some(partition)) => Some(rows.csr(partition, limit)?),
                _ => None,
            };
            let (mut people, mut chosen) = (Vec::new(), Vec::new());
            for row in rows.clone() {
                let hash = opened.hashes[row];
                if self.op.sample.is_some_and(|sample| !sample.holds(hash)) {
                    continue;
                }
                let (place, op) = (row - rows.start, &self.op);
                let person = Person::new(
                    hash,
                    &train,
                    mask.as_ref(),
                    faded.as_ref(),
                    &held_out,
                    place,
                    op.own,
                    &op.layout,
                );
                self.found.leave_out(op, &person);
                if person.counts_in_any(&op.layout) {
                    people.push(person);
                    chosen.push(row as u32);
                }
            }
            if !people.is_empty() {
                self.group = Some(Group::new(&self.op.layout, people));
                let rows = Arc::from(chosen);
                return self.scoring.begin(rows, &opened.train, &self.room);
            }
        }
        Ok(())
    }

    fn absorb(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let loaded = self.scoring.take(fetched)?;
        let (Some(group), Some(baselines)) = (&mut self.group, &mut self.baselines) else {
            return Err(bug("products before partitions".to_owned()));
        };
        let (op, simd, first_pass) = (&self.op, self.room.simd, !self.baselines_closed);
        let (_, users, packed) = self.scoring.under();
        self.room.pool.install(|| {
            for stretch in loaded.stretches() {
                if first_pass {
                    baselines.absorb(&op.layout, stretch.first, stretch.products);
                }
                group.absorb(&op.layout, simd, users, &stretch, packed);
            }
        });
        if !self.scoring.done(loaded) {
            return Ok(());
        }
        if first_pass {
            baselines.close();
            self.baselines_closed = true;
        }
        let (found, group) = (&mut self.found, self.group.take());
        let group = group.expect("a group was begun");
        self.room
            .pool
            .install(|| found.add(op, group.measure(&op.layout, baselines)));
        self.next_group()
    }
}

impl Opened {
    /// The most products that may be masked for a user.
    fn seen(&self, row: usize) -> u64 {
        let count = |partition: &Partition| partition.offsets()[row + 1] - partition.offsets()[row];
        count(&self.train) + self.mask.as_ref().map_or(0, count)
    }

    fn held_out(&self, row: usize) -> u64 {
        self.held_out.offsets()[row + 1] - self.held_out.offsets()[row]
    }
}

/// What a user of the block takes of memory.
fn needed(op: &RankOp, opened: &Opened, row: usize) -> u64 {
    let layout = &op.layout;
    let (tasks, k) = (layout.tasks.len() as u64, u64::from(layout.k_max()));
    let lists = tasks * layout.rankers.len() as u64 * (k * 8 + 24);
    let fixed = 200
        + u64::from(op.width) * 8
        + tasks * k * 32
        + k * 40
        + lists
        + layout.width() as u64 * 16;
    let own = if op.faded { 28 + 16 } else { 28 };
    fixed + opened.seen(row) * own + opened.held_out(row) * 24
}

impl Work for RankWork {
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
        let mut values = Vec::new();
        if self.op.replicates > 0 {
            values.push(held(&self.found.replicates, self.op.layout.width() * 8));
        }
        if self.op.coverage {
            values.push(held(&self.found.covered, self.found.words * 8));
        }
        if values.len() != self.writes.len() {
            return Err(bug(format!(
                "{} objects for {} writes",
                values.len(),
                self.writes.len()
            )));
        }
        let objects = self.writes.iter().copied().zip(values).collect();
        let partial = partial(&[self.found.totals, self.found.left_out].concat());
        Ok(Output {
            objects,
            partial,
            pieces: self.scoring.pieces_done(),
            ..Output::default()
        })
    }
}

fn held<T: bytemuck::NoUninit>(rows: &[T], row_bytes: usize) -> Held {
    Held::Memory {
        buffer: Arc::new(AlignedBuf::copy_of(bytemuck::cast_slice(rows))),
        row_bytes: row_bytes as u32,
    }
}

/// What a block adds up to.
struct Sums {
    totals: Vec<f64>,
    left_out: Vec<f64>,
    replicates: Vec<f64>,
    covered: Vec<u64>,
    words: usize,
    starts: Vec<u64>,
}

impl Sums {
    fn new(op: &RankOp) -> Self {
        let width = op.layout.width();
        let words = if op.coverage {
            op.products.rows_total().div_ceil(64) as usize
        } else {
            0
        };
        let starts = op.products.rows.iter().scan(0, |sum, &rows| {
            *sum += u64::from(rows);
            Some(*sum - u64::from(rows))
        });
        Sums {
            totals: vec![0.0; width],
            left_out: vec![0.0; 2 * op.layout.tasks.len()],
            replicates: vec![0.0; op.replicates as usize * width],
            covered: vec![0; op.layout.lists() * words],
            words,
            starts: starts.collect(),
        }
    }

    fn bytes(&self) -> u64 {
        ((self.replicates.len() + self.covered.len() + self.totals.len()) * 8 * 2) as u64
    }

    fn leave_out(&mut self, op: &RankOp, person: &Person) {
        for (task, &ranking) in op.layout.tasks.iter().enumerate() {
            self.left_out[2 * task] += f64::from(u8::from(person.lacks_training(ranking)));
            self.left_out[2 * task + 1] += f64::from(u8::from(person.lacks_relevant(ranking)));
        }
    }

    /// Adds persons in the order of their rows.
    fn add(&mut self, op: &RankOp, measured: Measured) {
        let width = op.layout.width();
        for figures in measured.figures.chunks_exact(width) {
            self.totals
                .iter_mut()
                .zip(figures)
                .for_each(|(sum, figure)| *sum += figure);
        }
        model::bootstrap::accumulate(
            op.seed,
            &measured.hashes,
            &measured.figures,
            width,
            &mut self.replicates,
        );
        if !op.coverage {
            return;
        }
        let per_person = op.layout.tasks.len() * op.layout.rankers.len();
        for (place, list) in measured.lists.iter().enumerate() {
            let (task, ranker) = (
                place % per_person / op.layout.rankers.len(),
                place % op.layout.rankers.len(),
            );
            for (index, &k) in op.layout.ks.iter().enumerate() {
                let start = op.layout.list(task, ranker, index) * self.words;
                for listed in list.iter().take(k as usize) {
                    let (block, local) = op.products.split(listed.product);
                    let bit = self.starts[block.0 as usize] + u64::from(local);
                    self.covered[start + bit as usize / 64] |= 1 << (bit % 64);
                }
            }
        }
    }
}
