//! The steps of training as values: which task reads and writes which keys, and when keys are freed.
//!
//! **Invariant:** every name here follows from the epoch alone, so a replay makes the same steps.

use super::bins::version_read;
use super::ops::{BinsOp, FirstBinsOp, FirstOp, PublishOp, SgdOp, TileOp};
use super::program::Input;
use super::settings::{Optimizer, Settings};
use crate::op::Op;
use crate::training::{Holds, TableVersion};
use kernels::random::Random;
use tensor::{
    BlockId, DepotId, Grid, KeyRange, Mode, ObjectKey, PartialSpec, PartitionRef, Read, Step,
    StepId, SuperBlocks, TableId, Task, TaskId,
};

/// The users of the model.
pub const USERS: TableId = TableId(0);
/// The products of the model.
pub const PRODUCTS: TableId = TableId(1);
/// Super-blocks of users in training: [`kernels::sgd::row_len`] floats a row.
pub const TRAINED_USERS: TableId = TableId(2);
/// Super-blocks of products in training.
pub const TRAINED_PRODUCTS: TableId = TableId(3);
/// One [`super::Noise`] a product of a super-block.
pub const NOISE: TableId = TableId(4);
/// The bins of the model.
pub const TIMES: TableId = TableId(5);
/// Bins in training, in one block; a version a stratum ([`super::bins`]).
pub const TRAINED_TIMES: TableId = TableId(6);
/// The sums of the gradients of bins, a block for each super-block of users; the version is the stratum.
pub const TIME_GRADIENTS: TableId = TableId(7);

/// Users' first factors as they were given.
const GIVEN_USERS: TableId = TableId(8);
/// Products' first factors as they were given.
const GIVEN_PRODUCTS: TableId = TableId(9);
/// Those of bins.
const GIVEN_TIMES: TableId = TableId(10);

/// The purpose of the random numbers of the orders of tiles.
const PURPOSE: u32 = 0x210;

/// What a step's reduced partials are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Totals of super-blocks of a mode.
    Totals(Mode),
    /// What became of first factors that were given.
    Given(Mode),
    /// The losses of a stratum, by its place in the epoch.
    Losses(u32),
    /// Nothing.
    Silent,
}

/// Which product super-block each user super-block meets in each stratum of an epoch: a Latin square with its rows, columns
/// and symbols permuted, so that no two tiles of a stratum share a block and every pair meets once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latin {
    users: Vec<u32>,
    strata: Vec<u32>,
    products: Vec<u32>,
}

impl Latin {
    /// Of an epoch.
    pub fn new(seed: u64, epoch: u32, side: u32) -> Self {
        let permuted = |which: u32| {
            let random = Random::new(seed, PURPOSE + which, epoch, 0);
            let mut order: Vec<u32> = (0..side).collect();
            for last in (1..side).rev() {
                let with = (u64::from(random.word(last)) * u64::from(last + 1)) >> 32;
                order.swap(last as usize, with as usize);
            }
            order
        };
        Latin {
            users: permuted(0),
            strata: permuted(1),
            products: permuted(2),
        }
    }

    /// The product super-block that a user super-block meets in a stratum.
    pub fn product(&self, stratum: u32, user: u32) -> u32 {
        let place = self.users[user as usize] + self.strata[stratum as usize];
        self.products[place as usize % self.products.len()]
    }
}

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
    /// What is added to every score.
    pub offset: f32,
    /// The noise of each product super-block.
    pub noise: &'a [f64],
}

impl Layout<'_> {
    fn grid(&self, mode: Mode) -> Grid {
        match mode {
            Mode::User => self.input.user.clone(),
            Mode::Time => Grid::single(self.input.bins),
            _ => self.input.product.clone(),
        }
    }

    /// How many super-blocks of a mode there are.
    fn side(&self, mode: Mode) -> u32 {
        if mode == Mode::Time {
            1
        } else {
            self.input.side
        }
    }

    /// The super-blocks of a mode.
    pub fn joined(&self, mode: Mode) -> SuperBlocks {
        SuperBlocks::new(&self.grid(mode), self.side(mode))
    }

    /// The modes that have factors.
    fn modes(&self) -> impl Iterator<Item = Mode> + use<> {
        let time = self.settings.time.then_some(Mode::Time);
        [Mode::User, Mode::Product].into_iter().chain(time)
    }

    /// A table of the model after an epoch.
    pub fn table(&self, mode: Mode, epoch: u32) -> TableVersion {
        TableVersion {
            id: match mode {
                Mode::User => USERS,
                Mode::Time => TIMES,
                _ => PRODUCTS,
            },
            mode,
            holds: Holds::Factors,
            rank: self.settings.columns(),
            width: kernels::width_of(self.settings.columns() as usize) as u32,
            grid: self.grid(mode),
            version: epoch.into(),
        }
    }

    /// All of them.
    pub fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.modes().map(|mode| self.table(mode, epoch)).collect()
    }

    /// All super-blocks of a mode, written so often.
    fn trained(&self, mode: Mode, version: u64) -> KeyRange {
        KeyRange::Blocks {
            table: match mode {
                Mode::User => TRAINED_USERS,
                Mode::Time => TRAINED_TIMES,
                _ => TRAINED_PRODUCTS,
            },
            first: 0,
            count: self.side(mode),
            version,
        }
    }

    /// The sums of the gradients of bins of all tiles of a stratum.
    fn gradients(&self, version: u64) -> KeyRange {
        KeyRange::Blocks {
            table: TIME_GRADIENTS,
            first: 0,
            count: self.input.side,
            version,
        }
    }

    fn noise_keys(&self) -> KeyRange {
        KeyRange::Blocks {
            table: NOISE,
            first: 0,
            count: self.input.side,
            version: 0,
        }
    }

    fn draws(&self) -> bool {
        self.settings.negatives() > 0
    }

    /// How often each super-block is written in the epochs before this one.
    fn writes_before(&self, epoch: u32) -> u64 {
        u64::from(epoch - 1) * u64::from(self.input.side)
    }

    /// What a program restored after an epoch reads and does not write.
    pub fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let version = self.writes_before(epoch + 1);
        let mut kept: Vec<KeyRange> = self
            .modes()
            .map(|mode| self.trained(mode, version))
            .collect();
        if self.settings.time {
            kept.push(self.trained(Mode::Time, version_read(version)));
        }
        if self.draws() {
            kept.push(self.noise_keys());
        }
        kept
    }

    /// The table of the first factors of a mode that were given, where they were.
    fn given(&self, mode: Mode) -> Option<TableVersion> {
        let id = match mode {
            Mode::User => GIVEN_USERS,
            Mode::Time => GIVEN_TIMES,
            _ => GIVEN_PRODUCTS,
        };
        let given = self.input.given.contains_key(&mode);
        given.then(|| TableVersion {
            id,
            ..self.table(mode, 0)
        })
    }

    /// Counts, first rows and noise.
    pub fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut steps: Vec<(Step, Role)> = Vec::new();
        let next = |steps: &[(Step, Role)]| StepId(first + steps.len() as u64);
        for mode in self.modes() {
            let given = self.given(mode);
            if let Some(given) = &given {
                let read = self.read_given(next(&steps), given);
                steps.push((read, Role::Given(mode)));
            }
            let (mut step, role) = match mode {
                Mode::User => (
                    self.first(next(&steps), mode, &self.input.train.user_major),
                    Role::Totals(mode),
                ),
                Mode::Time => (self.first_bins(next(&steps)), Role::Silent),
                _ => (
                    self.first(next(&steps), mode, &self.input.train.product_major),
                    Role::Totals(mode),
                ),
            };
            step.frees = given.iter().map(TableVersion::keys).collect();
            steps.push((step, role));
        }
        steps
    }

    /// Reads the rows of a table that users brought along.
    fn read_given(&self, id: StepId, given: &TableVersion) -> Step {
        let tasks = self.input.given[&given.mode].iter();
        let drafts = tasks.map(|task| {
            let writes = task.blocks.clone().map(|block| given.block(block));
            (
                task.op.clone(),
                task.reads.clone(),
                writes.collect(),
                task.cost,
            )
        });
        let name = format!("given {} factors", given.mode);
        step(id, &name, PartialSpec::Collect, drafts)
    }

    fn first_bins(&self, id: StepId) -> Step {
        let given = self.given(Mode::Time);
        let op = FirstBinsOp {
            bins: self.input.bins,
            rank: self.settings.rank,
            given: given.as_ref().map(|_| self.settings.published()),
        };
        let reads = given.iter().map(|given| Read::whole(given.block(0)));
        let draft = (
            Op::Sgd(SgdOp::FirstBins(op)).encode(),
            reads.collect(),
            vec![block(self.trained(Mode::Time, 0), 0)],
            u64::from(self.input.bins),
        );
        step(
            id,
            "first time rows",
            PartialSpec::None,
            std::iter::once(draft),
        )
    }

    fn first(&self, id: StepId, mode: Mode, partitions: &[PartitionRef]) -> Step {
        let settings = self.settings;
        let noise = (mode == Mode::Product && self.draws()).then(|| settings.noise_power());
        let given = self.given(mode);
        let op = Op::Sgd(SgdOp::First(FirstOp {
            mode,
            grid: self.grid(mode),
            side: self.input.side,
            rank: settings.rank,
            seed: settings.seed,
            scale: self.first_scale(),
            loss: settings.loss,
            noise,
            given: given.as_ref().map(|_| settings.published()),
        }))
        .encode();
        let joined = self.joined(mode);
        let task = |one: u32| {
            let blocks = joined.blocks(one);
            let read = &partitions[blocks.start as usize..blocks.end as usize];
            let mut reads: Vec<Read> = read.iter().map(sealed).collect();
            if let Some(given) = &given {
                reads.extend(blocks.map(|block| Read::whole(given.block(block))));
            }
            let mut writes = vec![block(self.trained(mode, 0), one)];
            writes.extend(noise.map(|_| block(self.noise_keys(), one)));
            let cost = read.iter().map(|read| read.interactions).sum::<u64>() / 64;
            (op.clone(), reads, writes, cost)
        };
        step(
            id,
            &format!("first {mode} rows"),
            PartialSpec::Collect,
            (0..self.input.side).map(task),
        )
    }

    /// The standard deviation of first factors. Where all cells count, the mean of factors by which the scores have the
    /// mean of the cells.
    fn first_scale(&self) -> f32 {
        let rank = f64::from(self.settings.rank);
        let scale = if self.settings.loss.covers_all_cells() {
            let cells =
                self.input.user.rows_total() as f64 * self.input.product.rows_total() as f64;
            (self.input.train.interactions as f64 / cells.max(1.0) / rank).sqrt()
        } else {
            1.0 / rank.sqrt()
        };
        (self.settings.init_scale * scale) as f32
    }

    /// All steps of an epoch, counted from 1: its strata, then the tables of the model. A tile waits for the versions that
    /// it reads, hence for the earlier tiles of its two blocks and for nothing else.
    pub fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let side = self.input.side;
        let latin = Latin::new(self.settings.seed, epoch, side);
        let joined = [self.joined(Mode::User), self.joined(Mode::Product)];
        let total: f64 = self.noise.iter().sum();
        let before = self.writes_before(epoch);
        let mut steps: Vec<(Step, Role)> = Vec::new();
        let next = |steps: &[(Step, Role)]| StepId(first + steps.len() as u64);
        for stratum in 0..side {
            let version = before + u64::from(stratum);
            let task = |user: u32| {
                let product = latin.product(stratum, user);
                let share = self
                    .noise
                    .get(product as usize)
                    .map_or(0.0, |noise| noise / total);
                let rows = [joined[0].rows(user), joined[1].rows(product)];
                self.tile(epoch, (user, product), rows, share, version)
            };
            let tasks = (0..side).map(task);
            let mut step = step(next(&steps), "stratum", PartialSpec::Sum, tasks);
            step.frees = [Mode::User, Mode::Product]
                .map(|mode| self.trained(mode, version))
                .to_vec();
            if self.settings.time && version > 0 {
                // The bins' own task has read them before.
                step.frees
                    .push(self.trained(Mode::Time, version_read(version)));
            }
            steps.push((step, Role::Losses(stratum)));
            if self.settings.time {
                let moved = self.bins(next(&steps), epoch, version);
                steps.push((moved, Role::Silent));
            }
        }
        for mode in self.modes() {
            let mut step = self.publish(next(&steps), mode, epoch);
            if epoch > 1 {
                step.frees = vec![self.table(mode, epoch - 1).keys()];
            }
            steps.push((step, Role::Silent));
        }
        steps
    }

    /// Moves bins by what the tiles of a stratum found.
    fn bins(&self, id: StepId, epoch: u32, stratum: u64) -> Step {
        let settings = self.settings;
        let op = BinsOp {
            bins: self.input.bins,
            rank: settings.rank,
            rate: settings.rate_of(epoch),
            adagrad: settings.optimizer == Optimizer::Adagrad,
            regularization: settings.regularization as f32,
        };
        let gradients = self.gradients(stratum);
        let bins = |version| block(self.trained(Mode::Time, version), 0);
        let mut reads = vec![Read::whole(bins(stratum))];
        reads.extend(gradients.keys().map(Read::whole));
        let cost = u64::from(self.input.bins) * u64::from(self.input.side) / 16;
        let draft = (
            Op::Sgd(SgdOp::Bins(op)).encode(),
            reads,
            vec![bins(stratum + 1)],
            cost,
        );
        let mut step = step(id, "time rows", PartialSpec::None, std::iter::once(draft));
        step.frees = vec![gradients];
        step
    }

    fn tile(
        &self,
        epoch: u32,
        (user, product): (u32, u32),
        rows: [u32; 2],
        share: f64,
        version: u64,
    ) -> Draft {
        let settings = self.settings;
        let tile = user * self.input.side + product;
        let op = TileOp {
            rank: settings.rank,
            loss: settings.loss,
            negatives: settings.negatives(),
            share,
            rate: settings.rate_of(epoch),
            adagrad: settings.optimizer == Optimizer::Adagrad,
            regularization: settings.regularization as f32,
            biases: settings.biases,
            offset: self.offset,
            seed: settings.seed,
            epoch,
            tile,
            users: rows[0],
            products: rows[1],
            bins: if settings.time { self.input.bins } else { 0 },
        };
        let partition = &self.input.tiles.user_major[tile as usize];
        let blocks = |version| {
            [
                block(self.trained(Mode::User, version), user),
                block(self.trained(Mode::Product, version), product),
            ]
        };
        let mut reads = vec![sealed(partition)];
        reads.extend(blocks(version).map(Read::whole));
        if self.draws() {
            reads.push(Read::whole(block(self.noise_keys(), product)));
        }
        let mut writes = blocks(version + 1).to_vec();
        if settings.time {
            let bins = self.trained(Mode::Time, version_read(version));
            reads.push(Read::whole(block(bins, 0)));
            writes.push(block(self.gradients(version), user));
        }
        // A step is worth some two interactions of a normal equation.
        let cost = 2 * partition.interactions * (1 + u64::from(op.negatives)) + u64::from(rows[0]);
        (Op::Sgd(SgdOp::Tile(op)).encode(), reads, writes, cost)
    }

    fn publish(&self, id: StepId, mode: Mode, epoch: u32) -> Step {
        let settings = self.settings;
        let op = Op::Sgd(SgdOp::Publish(PublishOp {
            mode,
            grid: self.grid(mode),
            side: self.side(mode),
            rank: settings.rank,
            beside: settings.published(),
            power: settings.noise_power(),
            noise: self.noise.iter().sum(),
        }))
        .encode();
        let joined = self.joined(mode);
        let table = self.table(mode, epoch);
        let trained = self.trained(mode, self.writes_before(epoch + 1));
        let task = |at: u32| {
            let (one, _) = joined.place(BlockId(at));
            let rows = u64::from(table.grid.rows[at as usize]);
            let reads = vec![Read::rows(block(trained, one))];
            (op.clone(), reads, vec![table.block(at)], rows / 4)
        };
        step(
            id,
            &format!("{mode} factors"),
            PartialSpec::None,
            (0..table.grid.blocks()).map(task),
        )
    }
}

/// Op, reads, writes and cost.
type Draft = (tensor::Op, Vec<Read>, Vec<ObjectKey>, u64);

fn step(id: StepId, name: &str, partial: PartialSpec, drafts: impl Iterator<Item = Draft>) -> Step {
    let tasks = drafts
        .zip(0..)
        .map(|((op, reads, writes, cost), index)| Task {
            id: TaskId { step: id, index },
            op,
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost: cost.max(1),
        });
    Step {
        id,
        name: name.to_owned(),
        tasks: tasks.collect(),
        partial,
        frees: Vec::new(),
    }
}

fn block(range: KeyRange, index: u32) -> ObjectKey {
    crate::evaluate::steps::block_of(range, index)
}

fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn strata_share_no_block_and_every_pair_meets_once() {
        for side in [1, 2, 5, 8, 9, 64] {
            let mut met = BTreeSet::new();
            let latin = Latin::new(7, 3, side);
            for stratum in 0..side {
                let products: BTreeSet<u32> =
                    (0..side).map(|user| latin.product(stratum, user)).collect();
                assert_eq!(products.len() as u32, side);
                met.extend((0..side).map(|user| (user, latin.product(stratum, user))));
            }
            assert_eq!(met.len() as u32, side * side);
        }
        assert_ne!(Latin::new(7, 3, 9), Latin::new(7, 4, 9));
        assert_ne!(Latin::new(7, 3, 9), Latin::new(8, 3, 9));
    }
}
