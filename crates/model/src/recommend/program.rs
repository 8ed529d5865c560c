//! Recommending as a state machine: describe products, then one step for every few user blocks, each delivered when
//! it and all before it are complete, so that the file has one order and workers hold little.

use crate::evaluate::steps::{self, block_of, blocks_of};
use crate::evaluate::{Factors, PRODUCTS};
use crate::op::Op;
use crate::recommend::directions::DirectionsOp;
use crate::recommend::op::RecommendOp;
use crate::recommend::{DIRECTIONS, RECOMMENDED};
use std::collections::BTreeMap;
use tensor::{
    Axis, KeyRange, PartialSpec, PartitionRef, Partitions, Program, ProgramError, Read, Reduced,
    Step, StepId, Task, TaskId, Turn,
};

/// User blocks of one step.
const BLOCKS_PER_STEP: u32 = 16;
/// Steps under way at once.
const STEPS_AHEAD: u32 = 2;

/// Settings of recommending.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The length of a list.
    pub k: u32,
    /// Leave out what the user had in training.
    pub exclude_train: bool,
    /// Leave out what he has in validation and test, where the input has them.
    pub exclude_held_out: bool,
    /// The row ids of the users to serve; `None`: all.
    pub users: Option<Vec<u32>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            k: 20,
            exclude_train: true,
            exclude_held_out: true,
            users: None,
        }
    }
}

/// Settings that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No list, or too long a list.
    #[error("lists of {0} products were asked for: give a number from 1 to 1000")]
    K(u32),
    /// Not a row in use.
    #[error("user row {0} is not in the data set")]
    User(u32),
}

/// What recommendations are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Users.
    pub user: Axis,
    /// Products.
    pub product: Axis,
    /// The model's tables.
    pub factors: Factors,
    /// The view the model was trained on.
    pub train: Partitions,
    /// Held-out views.
    pub held_out: Vec<Partitions>,
    /// Where users and products are rows of one mode and those are listed that are like a row: the leading columns of factors, by whose
    /// directions they are compared.
    pub alike: Option<u32>,
}

impl Input {
    /// The rows of a mode that are like each of its rows, by the cosine over the first `columns` of their factors. `partitions` are the
    /// training interactions of the mode's rows: those without any are not compared.
    pub fn alike(
        axis: Axis,
        table: KeyRange,
        (columns, width): (u32, u32),
        partitions: Vec<PartitionRef>,
    ) -> Self {
        let count = partitions
            .iter()
            .map(|partition| partition.interactions)
            .sum();
        Input {
            user: axis.clone(),
            product: axis,
            factors: Factors {
                users: table,
                products: table,
                time: None,
                context: None,
                width,
                offset: 0.0,
                filter: None,
            },
            train: Partitions {
                user_major: partitions.clone(),
                product_major: partitions,
                interactions: count,
                ..Partitions::default()
            },
            held_out: Vec::new(),
            alike: Some(columns),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Users with a list.
    pub users: u64,
    /// Recommendations.
    pub rows: u64,
    /// Chosen users without training interactions, who get no list.
    pub without_training: u64,
}

/// The program. Every object of [`RECOMMENDED`] is delivered in the order of user blocks.
#[derive(Debug)]
pub struct Recommend {
    settings: Settings,
    input: Input,
    chosen: Option<BTreeMap<u32, Vec<u32>>>,
    submitted: u32,
    delivered: u32,
    waiting: BTreeMap<u32, Served>,
    served: Served,
}

impl Recommend {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        if !(1..=1000).contains(&settings.k) {
            return Err(SettingsError::K(settings.k));
        }
        let grid = &input.user.grid;
        let chosen = match &settings.users {
            None => None,
            Some(users) => {
                let mut chosen: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
                for &user in users {
                    let (block, local) = grid.split(user);
                    if grid
                        .rows
                        .get(block.0 as usize)
                        .is_none_or(|&rows| local >= rows)
                    {
                        return Err(SettingsError::User(user));
                    }
                    chosen.entry(block.0).or_default().push(local);
                }
                for locals in chosen.values_mut() {
                    locals.sort_unstable();
                    locals.dedup();
                }
                Some(chosen)
            }
        };
        let waiting = BTreeMap::new();
        Ok(Recommend {
            settings,
            input,
            chosen,
            submitted: 0,
            delivered: 0,
            waiting,
            served: Served::default(),
        })
    }

    /// What was done, once the program has finished.
    pub fn served(&self) -> Served {
        self.served
    }

    fn groups(&self) -> u32 {
        self.input.user.grid.blocks().div_ceil(BLOCKS_PER_STEP)
    }

    fn blocks(&self, group: u32) -> std::ops::Range<u32> {
        group * BLOCKS_PER_STEP
            ..self
                .input
                .user
                .grid
                .blocks()
                .min((group + 1) * BLOCKS_PER_STEP)
    }

    fn op(&self, block: u32) -> RecommendOp {
        let chosen = self
            .chosen
            .as_ref()
            .map(|chosen| chosen.get(&block).cloned().unwrap_or_default());
        RecommendOp {
            users: self.input.user.grid.clone(),
            products: self.input.product.grid.clone(),
            width: self.input.factors.width,
            moment: self.input.factors.moment(),
            context: self.input.factors.context_at(),
            offset: self.input.factors.offset,
            k: self.settings.k,
            exclude_train: self.settings.exclude_train,
            but_itself: self.input.alike.is_some(),
            masks: if self.settings.exclude_held_out {
                self.input.held_out.len() as u32
            } else {
                0
            },
            chosen,
            filter: self.input.factors.filter,
        }
    }

    /// The first step that makes lists.
    fn first_group(&self) -> u64 {
        let filtered = self.input.factors.filter.is_some();
        1 + 2 * u64::from(filtered) + u64::from(self.input.alike.is_some())
    }

    /// The tables that are multiplied.
    fn tables(&self) -> [KeyRange; 2] {
        match self.input.alike {
            None => [self.input.factors.users, self.input.factors.products],
            Some(_) => [blocks_of(DIRECTIONS, &self.input.user.grid, 0); 2],
        }
    }

    /// Makes [`DIRECTIONS`] of rows.
    fn directions(&self, columns: u32) -> Step {
        let grid = &self.input.user.grid;
        let width = self.input.factors.width;
        let (from, to) = (self.input.factors.users, blocks_of(DIRECTIONS, grid, 0));
        steps::per_block(
            StepId(1),
            "directions",
            Op::Directions(DirectionsOp { columns, width }),
            grid.blocks(),
            PartialSpec::None,
            |block| {
                let cost = u64::from(grid.rows[block as usize]) * u64::from(width) / 64;
                let reads = vec![Read::whole(block_of(from, block))];
                (reads, vec![block_of(to, block)], cost)
            },
        )
    }

    fn step(&self, group: u32) -> Step {
        let id = StepId(self.first_group() + u64::from(group));
        let grid = &self.input.user.grid;
        let shared = self
            .chosen
            .is_none()
            .then(|| Op::Recommend(self.op(0)).encode());
        let masks = if self.settings.exclude_held_out {
            self.input.held_out.as_slice()
        } else {
            &[]
        };
        let axes = (&self.input.user, &self.input.product);
        let [users, products] = self.tables();
        let task = |(index, block): (usize, u32)| {
            let place = block as usize;
            let mut reads = vec![Read::rows(block_of(users, block)), Read::whole(products)];
            reads.extend(self.input.factors.small().map(Read::whole));
            reads.push(Read::whole(blocks_of(
                PRODUCTS,
                &self.input.product.grid,
                0,
            )));
            if self.input.factors.filter.is_some() {
                reads.extend(steps::filter_reads(axes, &self.input.train, 0));
            }
            reads.push(steps::sealed(self.input.train.user_major[place].object));
            reads.extend(
                masks
                    .iter()
                    .map(|mask| steps::sealed(mask.user_major[place].object)),
            );
            let users = self.chosen.as_ref().map_or(grid.rows[place] as usize, |c| {
                c.get(&block).map_or(0, Vec::len)
            });
            let scored =
                u64::from(self.input.factors.width) * self.input.product.grid.rows_total() / 64;
            Task {
                id: TaskId {
                    step: id,
                    index: index as u32,
                },
                op: shared
                    .clone()
                    .unwrap_or_else(|| Op::Recommend(self.op(block)).encode()),
                reads,
                writes: vec![block_of(blocks_of(RECOMMENDED, grid, 0), block)],
                after: Vec::new(),
                chain: None,
                cost: (users as u64 * scored).max(1),
            }
        };
        let tasks = self.blocks(group).enumerate().map(task).collect();
        let mut frees = Vec::new();
        if group + 1 == self.groups() {
            frees.push(blocks_of(PRODUCTS, &self.input.product.grid, 0));
            if self.input.factors.filter.is_some() {
                frees.extend(steps::degrees_of(axes, 0));
            }
            if self.input.alike.is_some() {
                frees.push(products);
            }
        }
        Step {
            id,
            name: "recommend".to_owned(),
            tasks,
            partial: PartialSpec::Sum,
            frees,
        }
    }

    fn submit(&mut self, turn: &mut Turn) {
        while self.submitted < self.groups() && self.submitted < self.delivered + STEPS_AHEAD {
            turn.steps.push(self.step(self.submitted));
            self.submitted += 1;
        }
    }
}

impl Program for Recommend {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        turn.steps.push(steps::products(
            StepId(0),
            &self.input.product,
            &self.input.train,
            None,
            0,
        ));
        if let Some(edges) = self.input.factors.filter {
            let axes = (&self.input.user, &self.input.product);
            let train = &self.input.train;
            turn.steps
                .extend(steps::degrees(StepId(1), axes, train, edges, 0));
        }
        turn.steps
            .extend(self.input.alike.map(|columns| self.directions(columns)));
        self.submit(&mut turn);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let Some(group) = step.0.checked_sub(self.first_group()) else {
            return Ok(turn);
        };
        let sums = if let Reduced::Sum(sums) = reduced {
            sums
        } else {
            Vec::new()
        };
        let at = |place: usize| sums.get(place).map_or(0, |&sum| sum as u64);
        let served = Served {
            users: at(0),
            rows: at(1),
            without_training: at(2),
        };
        self.waiting.insert(group as u32, served);
        while let Some(served) = self.waiting.remove(&self.delivered) {
            let recommended = blocks_of(RECOMMENDED, &self.input.user.grid, 0);
            turn.deliver.extend(
                self.blocks(self.delivered)
                    .map(|block| block_of(recommended, block)),
            );
            self.served.users += served.users;
            self.served.rows += served.rows;
            self.served.without_training += served.without_training;
            self.delivered += 1;
        }
        self.submit(&mut turn);
        turn.finished = self.delivered == self.groups();
        Ok(turn)
    }

    /// The file is written in one go, so a restored program begins anew, and so must its sink.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.waiting.clear();
        (self.submitted, self.delivered, self.served) = (0, 0, Served::default());
        Ok(())
    }
}
