//! Looking for rows that are alike by an index, as a state machine: directions, centres of a sample, the list of each row; then the true
//! lists of a few rows, which tell how many lists must be looked through; then the search, delivered in the order of blocks.

use super::ops::{AssignOp, CentresOp, IndexOp, RanksOp, SearchOp, ShardOp};
use super::{CENTRES, FOUND, LISTS, SAMPLE, SHARD_ROWS, SHARD_WORDS};
use crate::evaluate::PRODUCTS;
use crate::evaluate::steps::{block_of, blocks_of, per_block};
use crate::op::Op;
use crate::recommend::program::{self, Input, Recommend, Served, SettingsError};
use crate::recommend::{DIRECTIONS, RECOMMENDED};
use crate::segments::{SampleOp, SegmentsOp};
use kernels::Random;
use std::collections::BTreeMap;
use tensor::{
    BlockId, KeyRange, ObjectKey, PartialSpec, Program, ProgramError, Read, Reduced, Step, StepId,
    Task, TaskId, Turn,
};

/// Lists are as many as the square root of rows, times this: of a million rows in 3,000 groups 17 of 4,000 lists hold what 127 of 2,000 do.
const LISTS_PER_ROOT: f64 = 4.0;
/// The most lists: a number for each travels in partial results.
const LISTS_MAX: u32 = 4_096;
/// Rows of the sample for each list.
const SAMPLE_PER_LIST: u64 = 32;
/// Rows whose true lists are made.
const TRUE_ROWS: u64 = 1_000;
/// Where more than this part of the lists would be looked through, comparing all pairs costs little more.
const WORTH: f64 = 0.2;
/// Rows that a shard holds, about.
const SHARD_MOST: u64 = 1 << 16;
/// Blocks of one step of the search.
const BLOCKS_PER_STEP: u32 = 16;
/// Steps of it under way at once.
const STEPS_AHEAD: u32 = 2;
/// What random numbers are drawn for.
const PURPOSE: u32 = 0x600;

/// Settings of the index.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The length of a list.
    pub k: u32,
    /// The row ids to serve; `None`: all.
    pub users: Option<Vec<u32>>,
    /// The share of the true lists that must be found.
    pub recall: f64,
}

/// How many lists there are of so many rows.
pub fn lists_of(rows: u64) -> u32 {
    let some = ((rows as f64).sqrt() * LISTS_PER_ROOT) as u32;
    some.clamp(1, LISTS_MAX)
}

/// What the index came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Index {
    /// Its lists.
    pub lists: u32,
    /// How many of them are looked through for each row.
    pub probes: u32,
    /// The share of the true lists of the sample that these hold.
    pub recall: f64,
}

/// The steps before the search, behind those that make true lists.
#[derive(Clone, Copy, Debug)]
struct Ids {
    sample: u64,
    centres: u64,
    assign: u64,
    ranks: u64,
    shards: u64,
    search: u64,
}

/// The program. Every object of [`FOUND`] is delivered in the order of blocks, unless rows lie too far apart for an index to be worth it.
#[derive(Debug)]
pub struct ByIndex {
    settings: Settings,
    input: Input,
    /// Makes true lists.
    truth: Recommend,
    /// Knows whom to serve.
    wish: Recommend,
    lists: u32,
    counts: Option<Vec<u64>>,
    ranks: Option<Vec<f64>>,
    found: Option<Index>,
    too_wide: Option<Index>,
    submitted: u32,
    delivered: u32,
    waiting: BTreeMap<u32, Served>,
    served: Served,
}

impl ByIndex {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        let grid = &input.user.grid;
        let rows = grid.rows_total();
        let below = share_of(TRUE_ROWS, rows);
        let all = grid.block_ids().flat_map(|block| grid.row_ids(block));
        let drawn = |row: &u32| {
            let draw = Random::new(0, PURPOSE, 0, *row).word_64(0);
            below.is_none_or(|below| draw < below)
        };
        let lists = |users: Option<Vec<u32>>| program::Settings {
            k: settings.k,
            exclude_train: false,
            exclude_held_out: false,
            users,
            ..program::Settings::default()
        };
        let truth = Recommend::new(lists(Some(all.filter(drawn).collect())), input.clone())?;
        let wish = Recommend::new(lists(settings.users.clone()), input.clone())?;
        Ok(ByIndex {
            settings,
            truth,
            wish,
            lists: lists_of(rows),
            input,
            counts: None,
            ranks: None,
            found: None,
            too_wide: None,
            submitted: 0,
            delivered: 0,
            waiting: BTreeMap::new(),
            served: Served::default(),
        })
    }

    /// What the index came to, once it is made and used.
    pub fn found(&self) -> Option<Index> {
        self.found
    }

    /// What it would have taken, where it was not used.
    pub fn too_wide(&self) -> Option<Index> {
        self.too_wide
    }

    /// What was done.
    pub fn served(&self) -> Served {
        self.served
    }

    fn ids(&self) -> Ids {
        // Products and directions, then true lists.
        let first = 2 + u64::from(self.truth.groups());
        Ids {
            sample: first,
            centres: first + 1,
            assign: first + 2,
            ranks: first + 3,
            shards: first + 4,
            search: first + 5,
        }
    }

    fn width(&self) -> u32 {
        self.input.factors.width
    }

    fn all(&self, table: tensor::TableId) -> KeyRange {
        blocks_of(table, &self.input.user.grid, 0)
    }

    fn cost(&self, block: u32, by: u32) -> u64 {
        let rows = u64::from(self.input.user.grid.rows[block as usize]);
        rows * u64::from(self.width()) * u64::from(by) / 64
    }

    fn centres_key() -> ObjectKey {
        ObjectKey::Block {
            table: CENTRES,
            block: BlockId(0),
            version: 0,
        }
    }

    fn step(
        &self,
        (id, name): (u64, &str),
        partial: PartialSpec,
        op: impl Fn(u32) -> IndexOp,
        of: impl Fn(u32) -> (Vec<Read>, Vec<ObjectKey>, u64),
    ) -> Step {
        let blocks = self.input.user.grid.blocks();
        let first = Op::Index(op(0));
        let mut step = per_block(StepId(id), name, first, blocks, partial, of);
        for (task, block) in step.tasks.iter_mut().zip(0..) {
            task.op = Op::Index(op(block)).encode();
        }
        step
    }

    /// The sample, its centres, and the list of each row.
    fn index(&self) -> Vec<Step> {
        let (ids, grid, width) = (self.ids(), &self.input.user.grid, self.width());
        let [directions, products, samples, lists] =
            [DIRECTIONS, PRODUCTS, SAMPLE, LISTS].map(|table| self.all(table));
        let wanted = u64::from(self.lists) * SAMPLE_PER_LIST;
        let below = share_of(wanted, grid.rows_total());
        let sample = |block: u32| {
            let op = SampleOp {
                width,
                first: grid.row_ids(BlockId(block)).start,
                attributes: 0,
                below,
                seed: 0,
            };
            Op::Segments(SegmentsOp::Sample(op))
        };
        let mut sampling = per_block(
            StepId(ids.sample),
            "sample",
            sample(0),
            grid.blocks(),
            PartialSpec::None,
            |block| {
                let reads = vec![Read::whole(block_of(directions, block))];
                (reads, vec![block_of(samples, block)], self.cost(block, 1))
            },
        );
        for (task, block) in sampling.tasks.iter_mut().zip(0..) {
            task.op = sample(block).encode();
        }
        let id = StepId(ids.centres);
        let op = IndexOp::Centres(CentresOp {
            width,
            lists: self.lists,
        });
        let centres = Step {
            id,
            name: "centres".to_owned(),
            tasks: vec![Task {
                id: TaskId { step: id, index: 0 },
                op: Op::Index(op).encode(),
                reads: vec![Read::whole(samples)],
                writes: vec![Self::centres_key()],
                after: Vec::new(),
                chain: None,
                cost: 8 * wanted * u64::from(self.lists) * u64::from(width) / 64,
            }],
            partial: PartialSpec::None,
            frees: vec![samples],
        };
        let assign = self.step(
            (ids.assign, "assign to lists"),
            PartialSpec::Sum,
            |_| IndexOp::Assign(AssignOp { width }),
            |block| {
                let reads = [block_of(directions, block), block_of(products, block)];
                let mut reads = reads.map(Read::whole).to_vec();
                reads.push(Read::whole(Self::centres_key()));
                let cost = self.cost(block, self.lists);
                (reads, vec![block_of(lists, block)], cost)
            },
        );
        vec![sampling, centres, assign]
    }

    /// How far away the lists of true neighbours are.
    fn ranks_step(&self) -> Step {
        let (grid, width) = (&self.input.user.grid, self.width());
        let [truth, directions, lists] =
            [RECOMMENDED, DIRECTIONS, LISTS].map(|table| self.all(table));
        let op = |block: u32| {
            IndexOp::Ranks(RanksOp {
                grid: grid.clone(),
                width,
                first: grid.row_ids(BlockId(block)).start,
            })
        };
        let mut step = self.step(
            (self.ids().ranks, "where true lists are"),
            PartialSpec::Sum,
            op,
            |block| {
                let mut reads = vec![
                    Read::whole(block_of(truth, block)),
                    Read::whole(block_of(directions, block)),
                    Read::whole(Self::centres_key()),
                ];
                reads.push(Read::whole(lists));
                (reads, Vec::new(), u64::from(self.lists))
            },
        );
        step.frees.push(truth);
        step
    }

    /// The fewest lists that hold enough of the true neighbours.
    fn choose(&self, ranks: &[f64]) -> Index {
        let all: f64 = ranks.iter().sum();
        let (mut held, mut probes) = (0.0, 0);
        while held < self.settings.recall * all && probes < ranks.len() {
            held += ranks[probes];
            probes += 1;
        }
        Index {
            lists: self.lists,
            probes: probes.max(1) as u32,
            recall: if all > 0.0 { held / all } else { 1.0 },
        }
    }

    /// Where the rows of each list begin, and where shards do.
    fn layout(&self) -> (Vec<u32>, Vec<u32>) {
        let counts = self.counts.as_deref().unwrap_or(&[]);
        let (mut starts, mut shards, mut held) = (vec![0], vec![0], 0);
        for (list, &count) in counts.iter().enumerate() {
            if held > 0 && held + count > SHARD_MOST {
                shards.push(list as u32);
                held = 0;
            }
            held += count;
            starts.push(starts[list] + count as u32);
        }
        shards.push(counts.len() as u32);
        (starts, shards)
    }

    fn shards_step(&self, shards: &[u32]) -> Step {
        let id = StepId(self.ids().shards);
        let shard = |(place, lists): (usize, &[u32])| {
            let op = IndexOp::Shard(ShardOp {
                grid: self.input.user.grid.clone(),
                width: self.width(),
                first: lists[0],
                end: lists[1],
            });
            let key = |table| ObjectKey::Block {
                table,
                block: BlockId(place as u32),
                version: 0,
            };
            Task {
                id: TaskId {
                    step: id,
                    index: place as u32,
                },
                op: Op::Index(op).encode(),
                reads: vec![
                    Read::whole(self.all(LISTS)),
                    Read::whole(self.all(PRODUCTS)),
                    Read::rows(self.all(DIRECTIONS)),
                ],
                writes: vec![key(SHARD_ROWS), key(SHARD_WORDS)],
                after: Vec::new(),
                chain: None,
                cost: SHARD_MOST,
            }
        };
        Step {
            id,
            name: "bring lists together".to_owned(),
            tasks: shards.windows(2).enumerate().map(shard).collect(),
            partial: PartialSpec::None,
            frees: vec![self.all(PRODUCTS)],
        }
    }

    fn search_step(&self, group: u32, index: Index) -> Step {
        let (starts, shards) = self.layout();
        let grid = &self.input.user.grid;
        let id = StepId(self.ids().search + u64::from(group));
        let last = grid.blocks().min((group + 1) * BLOCKS_PER_STEP);
        let of_shard = |table, place: usize| ObjectKey::Block {
            table,
            block: BlockId(place as u32),
            version: 0,
        };
        let shard_keys = |place| [SHARD_ROWS, SHARD_WORDS].map(|table| of_shard(table, place));
        let count = shards.len() - 1;
        let task = |(place, block): (usize, u32)| {
            let op = IndexOp::Search(SearchOp {
                width: self.width(),
                first: grid.row_ids(BlockId(block)).start,
                rows: grid.rows[block as usize],
                k: self.settings.k,
                probes: index.probes,
                starts: starts.clone(),
                shards: shards.clone(),
                chosen: self.wish.chosen_of(block),
            });
            let mut reads = vec![
                Read::rows(block_of(self.all(DIRECTIONS), block)),
                Read::whole(block_of(self.all(LISTS), block)),
                Read::whole(Self::centres_key()),
            ];
            reads.extend((0..count).flat_map(shard_keys).map(Read::whole));
            let share = u64::from(index.probes) * grid.rows_total() / u64::from(self.lists);
            Task {
                id: TaskId {
                    step: id,
                    index: place as u32,
                },
                op: Op::Index(op).encode(),
                reads,
                writes: vec![block_of(self.all(FOUND), block)],
                after: Vec::new(),
                chain: None,
                cost: self.cost(block, share.min(1 << 30) as u32).max(1),
            }
        };
        let blocks = group * BLOCKS_PER_STEP..last;
        let mut frees = Vec::new();
        if last == grid.blocks() {
            frees.extend([self.all(DIRECTIONS), self.all(LISTS)]);
            frees.push(KeyRange::One(Self::centres_key()));
            frees.extend((0..count).flat_map(shard_keys).map(KeyRange::One));
        }
        Step {
            id,
            name: "search".to_owned(),
            tasks: blocks.enumerate().map(task).collect(),
            partial: PartialSpec::Sum,
            frees,
        }
    }

    fn groups(&self) -> u32 {
        self.input.user.grid.blocks().div_ceil(BLOCKS_PER_STEP)
    }

    fn submit(&mut self, turn: &mut Turn) {
        let Some(index) = self.found else { return };
        while self.submitted < self.groups() && self.submitted < self.delivered + STEPS_AHEAD {
            turn.steps.push(self.search_step(self.submitted, index));
            self.submitted += 1;
        }
    }

    /// Begins the search where all that it needs is known.
    fn begin(&mut self, turn: &mut Turn) {
        let (Some(ranks), Some(_)) = (&self.ranks, &self.counts) else {
            return;
        };
        let index = self.choose(ranks);
        if f64::from(index.probes) > WORTH * f64::from(self.lists) {
            self.too_wide = Some(index);
            turn.finished = true;
            return;
        }
        self.found = Some(index);
        let (_, shards) = self.layout();
        turn.steps.push(self.shards_step(&shards));
        self.submit(turn);
    }

    fn deliver(&mut self, group: u32, served: Served, turn: &mut Turn) {
        self.waiting.insert(group, served);
        while let Some(served) = self.waiting.remove(&self.delivered) {
            let first = self.delivered * BLOCKS_PER_STEP;
            let last = self.input.user.grid.blocks().min(first + BLOCKS_PER_STEP);
            let found = self.all(FOUND);
            let keys = (first..last).map(|block| block_of(found, block));
            turn.deliver.extend(keys);
            self.served.users += served.users;
            self.served.rows += served.rows;
            self.delivered += 1;
        }
        self.submit(turn);
        turn.finished = self.delivered == self.groups();
    }
}

/// Draws below it make up so many of all; `None`: all are taken.
fn share_of(wanted: u64, all: u64) -> Option<u64> {
    (wanted < all).then(|| (u128::from(u64::MAX) * u128::from(wanted) / u128::from(all)) as u64)
}

impl Program for ByIndex {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut steps = self.truth.lists_at_once();
        steps.extend(self.index());
        steps.push(self.ranks_step());
        Ok(Turn {
            steps,
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let (mut turn, ids) = (Turn::default(), self.ids());
        let Reduced::Sum(sums) = reduced else {
            return Ok(turn);
        };
        if step.0 == ids.assign {
            self.counts = Some(sums.iter().map(|&count| count as u64).collect());
            self.begin(&mut turn);
        } else if step.0 == ids.ranks {
            self.ranks = Some(sums);
            self.begin(&mut turn);
        } else if let Some(group) = step.0.checked_sub(ids.search) {
            let at = |place: usize| sums.get(place).map_or(0, |&sum| sum as u64);
            let served = Served {
                users: at(0),
                rows: at(1),
                without_training: 0,
            };
            self.deliver(group as u32, served, &mut turn);
        }
        Ok(turn)
    }

    /// The file is written in one go, so a restored program begins anew, and so must its sink.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.waiting.clear();
        (self.counts, self.ranks, self.found, self.too_wide) = (None, None, None, None);
        (self.submitted, self.delivered, self.served) = (0, 0, Served::default());
        Ok(())
    }
}
