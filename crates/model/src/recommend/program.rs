//! Recommending as a state machine: describe products, then one step for every few user blocks, each delivered when
//! it and all before it are complete, so that the file has one order and workers hold little.

use crate::als::Formula;
use crate::evaluate::steps::{self, block_of, blocks_of};
use crate::evaluate::{Factors, PRODUCTS};
use crate::op::Op;
use crate::recommend::directions::DirectionsOp;
use crate::recommend::op::{ExplainOp, GramOp, RecommendOp};
use crate::recommend::{BLOCKS_PER_PART, DIRECTIONS, EXPLAINED, RECOMMENDED};
use crate::reduce::Reduction;
use crate::rules::Rules;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{
    Axis, KeyRange, ObjectKey, PartialSpec, PartitionRef, Partitions, Program, ProgramError, Read,
    Reduced, Step, StepId, Task, TaskId, Turn,
};

/// Steps under way at once.
const STEPS_AHEAD: usize = 2;

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
    /// How lists are explained, where they are.
    pub explain: Option<Explaining>,
    /// What they must obey.
    pub rules: Rules,
}

/// What explaining needs to know of the model that is recommended from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explaining {
    /// Reasons of each recommendation.
    pub top: u32,
    /// The equations that made users.
    pub formula: Formula,
    /// What it was trained on, user-major.
    pub partitions: Vec<PartitionRef>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            k: 20,
            exclude_train: true,
            exclude_held_out: true,
            users: None,
            explain: None,
            rules: Rules::default(),
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

/// The program. Every object of [`RECOMMENDED`] is delivered in the order of user blocks, and where reasons are asked for those of
/// [`EXPLAINED`] are, of some blocks at a time behind their lists.
#[derive(Debug)]
pub struct Recommend {
    settings: Settings,
    input: Input,
    chosen: Option<BTreeMap<u32, Vec<u32>>>,
    /// The groups to make, in order; how many of them are under way, and how many are complete.
    wanted: Vec<u32>,
    submitted: usize,
    complete: usize,
    /// Of groups whose lists are made.
    listed: BTreeMap<u32, Served>,
    explained: BTreeSet<u32>,
    /// Objects of each group that have left the engine.
    left: BTreeMap<u32, u32>,
    served: BTreeMap<u32, Served>,
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
        let mut program = Recommend {
            settings,
            input,
            chosen,
            wanted: Vec::new(),
            submitted: 0,
            complete: 0,
            listed: BTreeMap::new(),
            explained: BTreeSet::new(),
            left: BTreeMap::new(),
            served: BTreeMap::new(),
        };
        program.wanted = (0..program.groups()).collect();
        Ok(program)
    }

    /// Leaves out parts that somebody has already, of a program that has not begun: groups of [`BLOCKS_PER_PART`] user blocks.
    #[must_use]
    pub fn without(mut self, parts: &BTreeSet<u32>) -> Self {
        self.wanted.retain(|group| !parts.contains(group));
        self
    }

    /// What was done, once the program has finished.
    pub fn served(&self) -> Served {
        let mut all = Served::default();
        for of in self.served.values() {
            all.users += of.users;
            all.rows += of.rows;
            all.without_training += of.without_training;
        }
        all
    }

    /// All steps of an undisturbed course in order, whatever is left out of this one: lists are what these steps are told and
    /// the objects that they read.
    pub fn course(&self) -> Vec<Step> {
        let mut steps = self.first_steps();
        for group in 0..self.groups() {
            steps.push(self.step(group));
            let explain = self.settings.explain.as_ref();
            steps.extend(explain.map(|explaining| self.explain(group, explaining)));
        }
        // What is freed depends on what is left out.
        for step in &mut steps {
            step.frees.clear();
        }
        steps
    }

    /// The steps that make all lists, submitted together; what they leave is for others to free.
    pub(super) fn lists_at_once(&self) -> Vec<Step> {
        let mut steps = self.first_steps();
        let lists = (0..self.groups()).map(|group| Step {
            frees: Vec::new(),
            ..self.step(group)
        });
        steps.extend(lists);
        steps
    }

    /// The places in a block of those who are served; `None`: all.
    pub(super) fn chosen_of(&self, block: u32) -> Option<Vec<u32>> {
        let chosen = self.chosen.as_ref()?;
        Some(chosen.get(&block).cloned().unwrap_or_default())
    }

    /// What comes before lists.
    fn first_steps(&self) -> Vec<Step> {
        let mut first = vec![steps::products(
            StepId(0),
            &self.input.product,
            &self.input.train,
            None,
            (&self.settings.rules, 0),
        )];
        if let Some(links) = self.input.factors.filter {
            let axes = (&self.input.user, &self.input.product);
            let train = &self.input.train;
            first.extend(steps::linked(StepId(1), axes, train, links, 0));
        }
        first.extend(self.input.alike.map(|columns| self.directions(columns)));
        let next = StepId(first.len() as u64);
        first.extend(self.grams(next));
        first
    }

    /// Groups of blocks: a step each, and a part of what is written.
    pub fn groups(&self) -> u32 {
        self.input.user.grid.blocks().div_ceil(BLOCKS_PER_PART)
    }

    /// User blocks.
    pub fn blocks_total(&self) -> u32 {
        self.input.user.grid.blocks()
    }

    fn blocks(&self, group: u32) -> std::ops::Range<u32> {
        group * BLOCKS_PER_PART
            ..self
                .input
                .user
                .grid
                .blocks()
                .min((group + 1) * BLOCKS_PER_PART)
    }

    fn op(&self, block: u32) -> RecommendOp {
        let chosen = self.chosen_of(block);
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
            most: self.settings.rules.most(),
        }
    }

    /// The first step that makes lists.
    fn first_group(&self) -> u64 {
        let linked = steps::linked_steps(self.input.factors.filter);
        let grams = self.gram().map_or(0, |gram| 1 + u64::from(gram.levels()));
        1 + linked + u64::from(self.input.alike.is_some()) + grams
    }

    /// Steps of a group: its lists, and their reasons.
    fn steps_per_group(&self) -> u64 {
        1 + u64::from(self.settings.explain.is_some())
    }

    /// The step that makes the lists of a group.
    fn lists_of(&self, group: u32) -> StepId {
        StepId(self.first_group() + u64::from(group) * self.steps_per_group())
    }

    /// The Gram of products, where unobserved cells are among what explains.
    fn gram(&self) -> Option<Reduction> {
        let explain = self.settings.explain.as_ref()?;
        explain.formula.has_base().then(|| Reduction {
            id: 0,
            leaves: self.input.product.grid.blocks(),
            rows: 1,
            row_bytes: (kernels::upper_len(explain.formula.width()) * 8) as u32,
        })
    }

    /// The steps that make it.
    fn grams(&self, first: StepId) -> Vec<Step> {
        let Some(gram) = self.gram() else {
            return Vec::new();
        };
        let (grid, width) = (&self.input.product.grid, self.input.factors.width);
        let products = self.input.factors.products;
        let leaves = steps::per_block(
            first,
            "gram",
            Op::Gram(GramOp { width }),
            grid.blocks(),
            PartialSpec::None,
            |block| {
                let cost = u64::from(grid.rows[block as usize]) * u64::from(width);
                let reads = vec![Read::whole(block_of(products, block))];
                (reads, vec![gram.leaf(block)], cost)
            },
        );
        let mut steps = vec![leaves];
        steps.extend(gram.steps(StepId(first.0 + 1), "gram"));
        steps
    }

    /// Finds the reasons of the lists of a group.
    fn explain(&self, group: u32, explaining: &Explaining) -> Step {
        let (users, factors) = (&self.input.user.grid, &self.input.factors);
        let op = Op::Explain(ExplainOp {
            users: users.clone(),
            products: self.input.product.grid.clone(),
            formula: explaining.formula,
            moment: factors.moment(),
            context: factors.context_at(),
            top: explaining.top,
        });
        let gram = self.gram().map(|gram| gram.root());
        let first = self.blocks(group).start;
        let mut step = steps::per_block(
            StepId(self.lists_of(group).0 + 1),
            "explain",
            op,
            self.blocks(group).len() as u32,
            PartialSpec::None,
            |index| {
                let block = first + index;
                let partition = &explaining.partitions[block as usize];
                let mut reads = vec![
                    Read::rows(factors.products),
                    steps::sealed(partition.object),
                    Read::whole(block_of(blocks_of(RECOMMENDED, users, 0), block)),
                ];
                reads.extend(factors.small().map(Read::whole));
                reads.extend(gram.map(Read::whole));
                let cost = partition.interactions * u64::from(factors.width) / 8;
                let writes = vec![block_of(blocks_of(EXPLAINED, users, 0), block)];
                (reads, writes, cost)
            },
        );
        if self.wanted.last() == Some(&group) {
            step.frees.extend(gram.map(KeyRange::One));
        }
        step
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
        let id = self.lists_of(group);
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
            if let Some(links) = self.input.factors.filter {
                reads.extend(steps::linked_reads(axes, &self.input.train, links, 0));
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
        if self.wanted.last() == Some(&group) {
            frees.push(blocks_of(PRODUCTS, &self.input.product.grid, 0));
            if let Some(links) = self.input.factors.filter {
                frees.extend(steps::linked_of(axes, links, 0));
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
        while self.submitted < self.wanted.len() && self.submitted < self.complete + STEPS_AHEAD {
            let group = self.wanted[self.submitted];
            turn.steps.push(self.step(group));
            let explain = self.settings.explain.as_ref();
            turn.steps
                .extend(explain.map(|explaining| self.explain(group, explaining)));
            self.submitted += 1;
        }
        turn.finished = self.complete == self.wanted.len();
    }

    /// The tables of a group that leave the engine, in order.
    fn leaving(&self) -> impl Iterator<Item = tensor::TableId> + use<> {
        let reasons = self.settings.explain.as_ref().map(|_| EXPLAINED);
        [Some(RECOMMENDED), reasons].into_iter().flatten()
    }

    /// Whether all of a group has left the engine.
    fn has_left(&self, group: u32) -> bool {
        let objects = self.blocks(group).len() * self.leaving().count();
        self.left.get(&group) == Some(&(objects as u32))
    }

    /// Whether lists of a group are made, and their reasons where they are asked for.
    fn is_whole(&self, group: u32) -> bool {
        let explained = self.settings.explain.is_none() || self.explained.contains(&group);
        explained && self.listed.contains_key(&group)
    }
}

impl Program for Recommend {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        if !self.wanted.is_empty() {
            turn.steps = self.first_steps();
        }
        self.submit(&mut turn);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let Some(since) = step.0.checked_sub(self.first_group()) else {
            return Ok(turn);
        };
        let (group, explains) = (
            (since / self.steps_per_group()) as u32,
            since % self.steps_per_group() == 1,
        );
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
        if explains {
            self.explained.insert(group);
        } else {
            self.listed.insert(group, served);
        }
        while let Some(&group) = self.wanted.get(self.complete)
            && self.is_whole(group)
        {
            for table in self.leaving() {
                let made = blocks_of(table, &self.input.user.grid, 0);
                let blocks = self.blocks(group);
                turn.deliver
                    .extend(blocks.map(|block| block_of(made, block)));
            }
            let served = self.listed.remove(&group).unwrap_or_default();
            self.served.insert(group, served);
            self.complete += 1;
        }
        self.submit(&mut turn);
        Ok(turn)
    }

    fn delivered(&mut self, object: ObjectKey) {
        if let ObjectKey::Block { block, .. } = object {
            *self.left.entry(block.0 / BLOCKS_PER_PART).or_default() += 1;
        }
    }

    /// There are no checkpoints: what was delivered is with the sink, and all else is made again.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|&group| !self.has_left(group));
        self.served.retain(|group, _| !wanted.contains(group));
        self.wanted = wanted;
        self.listed.clear();
        self.explained.clear();
        (self.submitted, self.complete) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::{Digest, Grid, IdKind, SealedRef, TableId};

    /// Lists of what is alike among 200 rows in 64 blocks: four groups.
    fn program() -> Recommend {
        let grid = Grid::deal(200, 1000).unwrap();
        let object = SealedRef {
            digest: Digest([7; 32]),
            bytes: 8,
        };
        let partition = |&rows: &u32| PartitionRef {
            object,
            rows,
            interactions: 5,
        };
        let partitions = grid.rows.iter().map(partition).collect();
        let table = blocks_of(TableId(1), &grid, 0);
        let axis = Axis {
            column: "id".to_owned(),
            id_kind: IdKind::Int64,
            dictionary: vec![object; grid.rows.len()],
            grid,
        };
        let input = Input::alike(axis, table, (4, 16), partitions);
        Recommend::new(Settings::default(), input).unwrap()
    }

    /// The groups whose lists a turn begins.
    fn begun(program: &Recommend, turn: &Turn) -> Vec<u32> {
        let lists = turn.steps.iter().filter(|step| step.name == "recommend");
        lists
            .map(|step| (step.id.0 - program.first_group()) as u32)
            .collect()
    }

    /// Completes the steps of a turn and all that follow, as long as `go_on`; gives what was to be delivered.
    fn complete(
        program: &mut Recommend,
        turn: Turn,
        mut go_on: impl FnMut() -> bool,
    ) -> (Vec<ObjectKey>, bool) {
        let (mut steps, mut out, mut finished) = (turn.steps, Vec::new(), turn.finished);
        while !steps.is_empty() && go_on() {
            let step = steps.remove(0);
            let sums = Reduced::Sum(vec![2.0, 6.0, 1.0]);
            let next = program.completed(step.id, sums).unwrap();
            steps.extend(next.steps);
            out.extend(next.deliver);
            finished |= next.finished;
        }
        (out, finished)
    }

    #[test]
    fn what_somebody_has_is_left_out() {
        let mut some = program().without(&BTreeSet::from([0, 2]));
        let turn = some.start().unwrap();
        assert_eq!(begun(&some, &turn), [1, 3]);
        let (out, finished) = complete(&mut some, turn, || true);
        assert!(finished && out.len() == 32);
        assert_eq!((some.served().users, some.served().rows), (4, 12));
        let mut nothing = program().without(&(0..4).collect());
        let turn = nothing.start().unwrap();
        assert!(turn.finished && turn.steps.is_empty());
    }

    #[test]
    fn a_course_tells_the_same_whatever_is_left_out() {
        let whole = program().course();
        assert_eq!(program().without(&BTreeSet::from([0, 3])).course(), whole);
    }

    /// A program that begins again makes what has not left the engine whole, and no more, by the steps that it had.
    #[test]
    fn what_has_left_is_not_made_again() {
        let mut program = program();
        let turn = program.start().unwrap();
        let first = program.first_group() as usize;
        let mut steps_left = first + 2;
        let (out, finished) = complete(&mut program, turn, || {
            steps_left = steps_left.saturating_sub(1);
            steps_left > 0
        });
        assert!(!finished && out.len() == 16, "{}", out.len());
        for &object in &out {
            program.delivered(object);
        }
        program.restore(None).unwrap();
        let turn = program.start().unwrap();
        assert_eq!(begun(&program, &turn), [1, 2]);
        let (out, finished) = complete(&mut program, turn, || true);
        assert!(finished && out.len() == 48);
        assert_eq!(program.served().users, 8);
        // Of the second group all but one object.
        for &object in &out[..15] {
            program.delivered(object);
        }
        program.restore(None).unwrap();
        let turn = program.start().unwrap();
        assert_eq!(begun(&program, &turn), [1, 2]);
    }
}
