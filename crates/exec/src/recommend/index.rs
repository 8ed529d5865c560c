//! Runs the ops of the index: centres and lists of whole blocks; shards, of rows from all blocks; and the search, shard by shard.

use crate::evaluate::reading::{Reads, RowBytes, bug, partial, whole};
use crate::evaluate::stretches::short_by;
use crate::objects::{Numbers, fits, held};
use crate::whole::{Came, Whole};
use crate::work::{Fetched, Held, Need, Output, Part, Room, Want, Work};
use model::evaluate::ProductRow;
use model::evaluate::steps::block_of;
use model::recommend::index::lists::{Centres, WORDS, assign, centres, rank_of};
use model::recommend::index::ops::{AssignOp, CentresOp, RanksOp, SearchOp, ShardOp};
use model::recommend::index::search::{Shard, pack, shard_len};
use model::recommend::index::{IndexOp, NO_LIST};
use model::score::{Ranked, finish};
use plan::Failure;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use store::AlignedBuf;
use tensor::{KeyRange, ObjectKey, Recommended, Task};

/// Opens a task of the index.
///
/// # Errors
/// Where the task's keys are not those of its op.
pub(crate) fn begin(task: &Task, op: IndexOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    match op {
        IndexOp::Centres(op) => Whole::begin(task, 1, room, move |came, writes, room| {
            made(op, came, writes, room)
        }),
        IndexOp::Assign(op) => Whole::begin(task, 1, room, move |came, writes, room| {
            assigned(op, came, writes, room)
        }),
        IndexOp::Ranks(op) => {
            Whole::begin(task, 0, room, move |came, _, room| ranked(&op, came, room))
        }
        IndexOp::Shard(op) => Ok(Box::new(ShardWork::new(task, op, room)?)),
        IndexOp::Search(op) => Ok(Box::new(SearchWork::new(task, op, room)?)),
    }
}

fn made(
    op: CentresOp,
    mut came: Came,
    writes: &[ObjectKey],
    room: &Room,
) -> Result<Output, Failure> {
    let sample = came.rest()?;
    let sample: Vec<&[u32]> = sample.iter().map(Numbers::typed).collect();
    let words: u64 = sample.iter().map(|block| block.len() as u64).sum();
    // The rows once more, and sums of each share of them.
    let lists = u64::from(op.lists);
    let shares = words / u64::from(op.width) / 8_192 + 1;
    fits(
        4 * words + 8 * shares * lists * u64::from(op.width + 1),
        room.budget_bytes,
    )?;
    let rows = room.pool.install(|| centres(room.simd, op, &sample));
    let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(&rows));
    Ok(Output {
        objects: vec![(writes[0], held(buffer, 4 * op.width as usize))],
        ..Output::default()
    })
}

fn assigned(
    op: AssignOp,
    mut came: Came,
    writes: &[ObjectKey],
    room: &Room,
) -> Result<Output, Failure> {
    let (rows, known, all) = (came.numbers()?, came.numbers()?, came.numbers()?);
    let (rows, known) = (rows.typed::<f32>(), known.typed::<ProductRow>());
    if rows.len() != known.len() * op.width as usize {
        let found = rows.len() / op.width as usize;
        return Err(bug(format!("{found} directions of {} rows", known.len())));
    }
    let centres = Centres::new(op.width as usize, all.typed());
    let (lists, counts) = room
        .pool
        .install(|| assign(room.simd, &centres, rows, known));
    let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(&lists));
    Ok(Output {
        objects: vec![(writes[0], held(buffer, 4))],
        partial: partial(&counts),
        ..Output::default()
    })
}

fn ranked(op: &RanksOp, mut came: Came, room: &Room) -> Result<Output, Failure> {
    let (truth, directions, all) = (came.numbers()?, came.numbers()?, came.numbers()?);
    let lists = came.rest()?;
    let width = op.width as usize;
    let truth: Vec<Recommended> = Recommended::rows(truth.typed()).collect();
    let of_row: Vec<&[Recommended]> = truth.chunk_by(|one, next| one.user == next.user).collect();
    let directions = directions.typed::<f32>();
    let mut rows = Vec::with_capacity(of_row.len() * width);
    for list in &of_row {
        let at = (list[0].user - op.first) as usize * width;
        let row = directions.get(at..at + width);
        rows.extend_from_slice(row.ok_or_else(|| bug("a row of another block".to_owned()))?);
    }
    let centres = Centres::new(width, all.typed());
    let counts: Vec<AtomicU32> = (0..centres.count()).map(|_| AtomicU32::new(0)).collect();
    room.pool.install(|| {
        centres.each(room.simd, &rows, |place, apart| {
            for neighbour in of_row[place] {
                let (block, local) = op.grid.split(neighbour.product);
                let lists = lists[block.0 as usize].typed::<u32>();
                // Sums of whole numbers have no order.
                if let Some(&list) = lists.get(local as usize).filter(|&&list| list != NO_LIST) {
                    counts[rank_of(apart, list)].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    let counts: Vec<f64> = counts
        .iter()
        .map(|of| f64::from(of.load(Ordering::Relaxed)))
        .collect();
    Ok(Output {
        partial: partial(&counts),
        ..Output::default()
    })
}

/// A [`ShardOp`].
struct ShardWork {
    op: ShardOp,
    room: Room,
    lists: KeyRange,
    known: KeyRange,
    directions: KeyRange,
    writes: [ObjectKey; 2],
    /// (list, row, hash of the id), in the order of lists.
    rows: Option<Vec<(u32, u32, u64)>>,
    made: Option<AlignedBuf>,
}

impl ShardWork {
    fn new(task: &Task, op: ShardOp, room: &Room) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        let (lists, known, directions) = (reads.range()?, reads.range()?, reads.range()?);
        let &[rows, words] = &task.writes[..] else {
            return Err(bug(format!("task {} writes no shard", task.id)));
        };
        Ok(ShardWork {
            op,
            room: room.clone(),
            lists,
            known,
            directions,
            writes: [rows, words],
            rows: None,
            made: None,
        })
    }

    /// The rows of these lists.
    fn find(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came: Vec<RowBytes> = fetched
            .into_iter()
            .map(RowBytes::of)
            .collect::<Result<_, _>>()?;
        let (lists, known) = came.split_at(came.len() / 2);
        let mut rows = Vec::new();
        let wanted = self.op.first..self.op.end;
        for ((block, lists), known) in self.op.grid.block_ids().zip(lists).zip(known) {
            let known = known.typed::<ProductRow>();
            let ids = self
                .op
                .grid
                .row_ids(block)
                .zip(lists.typed::<u32>())
                .zip(known);
            let ours = ids.filter(|((_, list), _)| wanted.contains(list));
            rows.extend(ours.map(|((row, &list), known)| (list, row, known.tie)));
        }
        rows.sort_unstable();
        let row_bytes = 12 * u64::from(self.op.width) + 16 + 4 * WORDS as u64;
        // Panels of the last rows of each list are filled up.
        let padded = rows.len() as u64 + 16 * u64::from(self.op.end - self.op.first);
        fits(padded * row_bytes, self.room.budget_bytes)?;
        self.rows = Some(rows);
        Ok(())
    }

    /// The places of the rows in the order in which blocks give them.
    fn by_row(rows: &[(u32, u32, u64)]) -> Vec<u32> {
        let mut places: Vec<u32> = (0..rows.len() as u32).collect();
        places.sort_unstable_by_key(|&place| rows[place as usize].1);
        places
    }
}

impl Work for ShardWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(rows) = &self.rows else {
            let keys = self.lists.keys().chain(self.known.keys());
            return Ok(Need::Fetch(keys.map(whole).collect()));
        };
        if self.made.is_some() {
            return Ok(Need::Nothing);
        }
        let places = Self::by_row(rows);
        let split = |place: u32| self.op.grid.split(rows[place as usize].1);
        let blocks = places.chunk_by(|&one, &next| split(one).0 == split(next).0);
        let wants = blocks.map(|places| {
            let locals = places.iter().map(|&place| split(place).1).collect();
            let key = block_of(self.directions, split(places[0]).0.0);
            Want::Object(key, Part::Rows(locals))
        });
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let Some(rows) = &self.rows else {
            return self.find(fetched);
        };
        let width = self.op.width as usize;
        let came: Vec<RowBytes> = fetched
            .into_iter()
            .map(RowBytes::of)
            .collect::<Result<_, _>>()?;
        let came = came
            .iter()
            .flat_map(|rows| rows.typed::<f32>().chunks_exact(width));
        let mut directions = vec![0.0; rows.len() * width];
        for (place, row) in Self::by_row(rows).into_iter().zip(came) {
            directions[place as usize * width..][..width].copy_from_slice(row);
        }
        let mut sizes = vec![0; (self.op.end - self.op.first) as usize];
        for (list, ..) in rows {
            sizes[(list - self.op.first) as usize] += 1;
        }
        let mut made = AlignedBuf::zeroed(4 * shard_len(width, &sizes));
        pack(self.room.simd, width, &sizes, &directions, made.typed_mut());
        self.made = Some(made);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let rows = self.rows.expect("everything is computed");
        let words = rows
            .iter()
            .flat_map(|&(_, row, tie)| [row, tie as u32, (tie >> 32) as u32]);
        let words: Vec<u32> = words.collect();
        let words = AlignedBuf::copy_of(bytemuck::cast_slice(&words));
        let made = self.made.expect("everything is computed");
        Ok(Output {
            objects: vec![
                (self.writes[0], held(made, 4 * self.op.width as usize)),
                (self.writes[1], held(words, 4 * WORDS)),
            ],
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`SearchOp`].
struct SearchWork {
    op: SearchOp,
    room: Room,
    directions: ObjectKey,
    lists: ObjectKey,
    centres: ObjectKey,
    /// Rows and words of each.
    shards: Vec<[ObjectKey; 2]>,
    write: ObjectKey,
    near: Option<Centres>,
    /// Whom to serve, by place in the block.
    chosen: Vec<u32>,
    groups: VecDeque<Range<usize>>,
    group: Option<Group>,
    found: Vec<u8>,
    served: u64,
    pieces: u64,
}

/// Rows that are looked for together.
struct Group {
    rows: Range<usize>,
    /// Fetched with the first shard.
    looking: Option<Looking>,
    shard: usize,
}

struct Looking {
    directions: Vec<f32>,
    own: Vec<u32>,
    near: Vec<u32>,
    best: Vec<Ranked>,
}

impl SearchWork {
    fn new(task: &Task, mut op: SearchOp, room: &Room) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        let (directions, lists, centres) = (reads.one()?, reads.one()?, reads.one()?);
        let shard = |_| Ok([reads.one()?, reads.one()?]);
        let shards = (1..op.shards.len())
            .map(shard)
            .collect::<Result<_, Failure>>()?;
        let Some(&write) = task.writes.first() else {
            return Err(bug(format!("task {} writes nothing", task.id)));
        };
        let chosen = op.chosen.take();
        Ok(SearchWork {
            room: room.clone(),
            directions,
            lists,
            centres,
            shards,
            write,
            near: None,
            chosen: chosen.unwrap_or_else(|| (0..op.rows).collect()),
            groups: VecDeque::new(),
            group: None,
            found: Vec::new(),
            served: 0,
            pieces: 0,
            op,
        })
    }

    /// The rows of the lists of a shard, each.
    fn sizes(&self, shard: usize) -> Vec<usize> {
        let lists = self.op.shards[shard] as usize..=self.op.shards[shard + 1] as usize;
        let starts = self.op.starts[lists].windows(2);
        starts.map(|pair| (pair[1] - pair[0]) as usize).collect()
    }

    fn open(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came: Vec<RowBytes> = fetched
            .into_iter()
            .map(RowBytes::of)
            .collect::<Result<_, _>>()?;
        let [lists, centres] = &came[..] else {
            return Err(bug("lists and centres did not come".to_owned()));
        };
        let lists = lists.typed::<u32>();
        self.chosen
            .retain(|&row| lists.get(row as usize) != Some(&NO_LIST));
        let (width, k) = (u64::from(self.op.width), u64::from(self.op.k));
        self.near = Some(Centres::new(self.op.width as usize, centres.typed()));
        let output = self.chosen.len() as u64 * k * Recommended::ROW_BYTES as u64;
        let threads = self.room.pool.current_num_threads() as u64;
        let sizes = (0..self.shards.len()).map(|shard| {
            let sizes = self.sizes(shard);
            let rows: usize = sizes.iter().sum();
            Shard::bytes(width as usize, rows as u64, threads, k)
        });
        let centres = 4 * width * (self.op.starts.len() as u64 + 16);
        let fixed = 2 * output + sizes.max().unwrap_or(0) + centres;
        let budget = self.room.budget_bytes;
        let left = budget
            .checked_sub(fixed)
            .ok_or_else(|| short_by(fixed, budget))?;
        let row = 8 * width + 4 * u64::from(self.op.probes) + 24 * k + 64;
        let together = (left / row) as usize;
        if together == 0 {
            return Err(short_by(row, left));
        }
        let all = self.chosen.len();
        let starts = (0..all).step_by(together);
        self.groups
            .extend(starts.map(|start| start..all.min(start + together)));
        self.next_group();
        Ok(())
    }

    fn next_group(&mut self) {
        self.group = self.groups.pop_front().map(|rows| Group {
            rows,
            looking: None,
            shard: 0,
        });
    }

    fn search(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let (Some(mut group), Some(centres)) = (self.group.take(), &self.near) else {
            return Err(bug("a shard before rows".to_owned()));
        };
        let mut came = fetched.into_iter().map(RowBytes::of);
        let mut next = || {
            came.next()
                .unwrap_or_else(|| Err(bug("a shard did not come".to_owned())))
        };
        let (simd, k) = (self.room.simd, self.op.k as usize);
        let (width, probes) = (self.op.width as usize, self.op.probes as usize);
        if group.looking.is_none() {
            let directions = next()?.typed::<f32>().to_vec();
            let near = || centres.nearest(simd, &directions, probes);
            let near = self.room.pool.install(near);
            let rows = self.chosen[group.rows.clone()].iter();
            group.looking = Some(Looking {
                own: rows.map(|&row| self.op.first + row).collect(),
                best: vec![Ranked::NONE; group.rows.len() * k],
                directions,
                near,
            });
        }
        let (rows, words) = (next()?, next()?);
        let sizes = self.sizes(group.shard);
        let first = self.op.shards[group.shard];
        let Some(looking) = &mut group.looking else {
            return Err(bug("nobody looks".to_owned()));
        };
        self.room.pool.install(|| {
            let shard = Shard::new(width, (first, &sizes), rows.typed(), words.typed());
            let (near, best) = ((&looking.near[..], probes), &mut looking.best);
            shard.offer(simd, &looking.directions, &looking.own, near, k, best);
        });
        group.shard += 1;
        self.pieces += 1;
        if group.shard < self.shards.len() {
            self.group = Some(group);
            return Ok(());
        }
        let best = std::mem::take(&mut looking.best);
        let own = std::mem::take(&mut looking.own);
        self.keep(&own, best);
        self.next_group();
        Ok(())
    }

    fn keep(&mut self, own: &[u32], mut best: Vec<Ranked>) {
        for (&row, best) in own.iter().zip(best.chunks_exact_mut(self.op.k as usize)) {
            let taken = finish(best);
            let listed = (1_u32..)
                .zip(&best[..taken])
                .map(|(rank, place)| Recommended {
                    user: row,
                    rank,
                    product: place.row,
                    score: place.score,
                });
            self.found.extend(listed.flat_map(Recommended::to_row));
            self.served += 1;
        }
    }
}

impl Work for SearchWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.near.is_none() {
            return Ok(Need::Fetch([self.lists, self.centres].map(whole).to_vec()));
        }
        let Some(group) = &self.group else {
            return Ok(Need::Nothing);
        };
        let mut wants = Vec::new();
        if group.looking.is_none() {
            let rows = self.chosen[group.rows.clone()].into();
            wants.push(Want::Object(self.directions, Part::Rows(rows)));
        }
        wants.extend(self.shards[group.shard].map(whole));
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.near.is_some() {
            self.search(fetched)
        } else {
            self.open(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let rows = self.found.len() / Recommended::ROW_BYTES;
        let object = Held::Memory {
            buffer: std::sync::Arc::new(AlignedBuf::copy_of(&self.found)),
            row_bytes: Recommended::ROW_BYTES as u32,
        };
        Ok(Output {
            objects: vec![(self.write, object)],
            partial: partial(&[self.served as f64, rows as f64]),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
