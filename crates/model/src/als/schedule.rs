//! The steps of training as values: which task reads and writes which keys, and when keys are freed.
//!
//! **Invariant:** every name here follows from the epoch alone, so a replay makes the same steps.

use super::basis::basis_len;
use super::bin_sums::BINS_MAX;
use super::formula::Formula;
use super::ops::{
    AlsOp, BasisOp, First, HalfStepOp, InitOp, SmallPartialOp, SmallSolveOp, TotalsOp, TurnOp,
};
use super::program::Input;
use super::settings::Settings;
use super::small_mode::packed_len;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use tensor::{
    BlockId, DepotId, Grid, KeyRange, Mode, ObjectKey, PartialSpec, PartitionRef, Read, Small,
    Step, StepId, TableId, Task, TaskId,
};

/// The users' factors.
pub const USERS: TableId = TableId(0);
/// The products' factors.
pub const PRODUCTS: TableId = TableId(1);
/// The factors of bins.
pub const TIMES: TableId = TableId(2);
/// The factors of contexts.
pub const CONTEXTS: TableId = TableId(7);
/// Their mean by the interactions of training.
pub const CONTEXT_MEAN: TableId = TableId(8);

/// The users' factors in the basis of their Gram, for one half-step.
pub const TURNED_USERS: TableId = TableId(3);
/// The products' factors in the basis of their Gram, for one half-step.
pub const TURNED_PRODUCTS: TableId = TableId(4);

/// Users' first factors as they were given.
const GIVEN_USERS: TableId = TableId(9);
/// Products' first factors as they were given.
const GIVEN_PRODUCTS: TableId = TableId(10);
/// Those of bins.
const GIVEN_TIMES: TableId = TableId(13);
/// Those of contexts.
const GIVEN_CONTEXTS: TableId = TableId(14);

/// Numbers of reductions an epoch: a Gram of each mode, the equations of each small one.
const REDUCTIONS: u64 = 8;

/// The place of a mode's Gram among them; the equations of a small mode stand two places behind it.
fn slot(mode: Mode) -> u64 {
    match mode {
        Mode::User => 0,
        Mode::Product => 1,
        Mode::Time => 2,
        Mode::Context => 3,
    }
}

/// What a step's reduced partials are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Totals of a user block each.
    Totals,
    /// What became of first factors that were given.
    Given(Mode),
    /// A tally of solved rows of a mode each.
    Tally(Mode),
    /// The tally of the maps of a mode.
    Maps(Mode),
    /// Counts of interactions, which were counted before.
    Counts,
    /// Nothing.
    Silent,
}

/// The steps of one stage with their roles. Ids rise from the one it was begun with.
pub struct Stage {
    next: u64,
    /// What was laid out.
    pub steps: Vec<(Step, Role)>,
}

impl Stage {
    /// An empty stage whose first step will have this id.
    pub fn new(first: u64) -> Self {
        Stage {
            next: first,
            steps: Vec::new(),
        }
    }

    /// The id that the next step will have.
    pub fn next(&self) -> StepId {
        StepId(self.next)
    }

    /// Appends steps that were made with the ids from [`Stage::next`] on.
    pub fn extend(&mut self, steps: impl IntoIterator<Item = (Step, Role)>) {
        for (step, role) in steps {
            assert_eq!(step.id.0, self.next, "step ids are dense");
            self.next += 1;
            self.steps.push((step, role));
        }
    }

    pub(super) fn push(&mut self, name: &str, role: Role, tasks: Vec<Draft>, frees: Vec<KeyRange>) {
        let id = self.next();
        let tasks = tasks.into_iter().zip(0..).map(|(draft, index)| Task {
            id: TaskId { step: id, index },
            op: draft.op,
            reads: draft.reads,
            writes: draft.writes,
            after: Vec::new(),
            chain: None,
            cost: draft.cost.max(1),
        });
        let partial = if role == Role::Silent {
            PartialSpec::None
        } else {
            PartialSpec::Collect
        };
        self.extend([(
            Step {
                id,
                name: name.to_owned(),
                tasks: tasks.collect(),
                partial,
                frees,
            },
            role,
        )]);
    }

    pub(super) fn reduce(&mut self, name: &str, reduction: Reduction) {
        self.extend(
            reduction
                .steps(self.next(), name)
                .into_iter()
                .map(|step| (step, Role::Silent)),
        );
    }
}

/// A task that has no id yet.
pub(super) struct Draft {
    pub(super) op: tensor::Op,
    pub(super) reads: Vec<Read>,
    pub(super) writes: Vec<ObjectKey>,
    pub(super) cost: u64,
}

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
    /// The equations, with what is taken off the targets.
    pub formula: Formula,
}

impl Layout<'_> {
    /// Whether any small mode is solved, and so closes the epoch.
    fn solves_small(&self) -> bool {
        self.settings.trains().count() > 0
    }

    /// Rows of each small mode that is factored.
    fn small_rows(&self) -> Small<Option<u32>> {
        let factored = self.settings.factors().zip(self.input.small);
        factored.map(|(factored, rows)| factored.then_some(rows))
    }

    /// Whether half-steps of a mode work in the eigenbasis of the other table's Gram: with a base, which is one Gram only in
    /// the matrix where nothing else is known of the rows, and for solvers that gain by it.
    pub fn takes_basis(&self, solved: Mode) -> bool {
        self.formula.has_base()
            && self.settings.factors().count() == 0
            && self.settings.solver_of_rows().takes_panels()
            && self.attributes(solved).is_none()
            && !self.shares_matrix(solved)
    }

    /// Whether rows of a mode differ in right-hand side and ridge alone, so that they are solved in the basis of what they
    /// share.
    fn shares_matrix(&self, solved: Mode) -> bool {
        self.formula.is_weightless()
            && !self.settings.non_negative
            && !self.settings.biases
            && self.attributes(solved).is_none()
    }

    /// The small mode of which products put out the equations as they are solved: the only one that is factored, where rows share
    /// their matrix and a row's sums of all bins fit the caches.
    fn sums(&self, solved: Mode) -> Option<Mode> {
        if solved != Mode::Product || !self.shares_matrix(solved) {
            return None;
        }
        let factored = self.small_rows().each().into_iter();
        let mut factored = factored.filter_map(|(mode, rows)| rows.map(|rows| (mode, rows)));
        let (mode, rows) = factored.next()?;
        let alone = factored.next().is_none() && rows <= BINS_MAX;
        (alone && self.settings.trains().of(mode) == Some(&true)).then_some(mode)
    }

    /// Whether rows start from their last factors.
    pub fn starts_warm(&self) -> bool {
        self.settings.starts_warm()
    }

    /// A table as it is after an epoch; 0: as it was first made.
    pub fn table(&self, mode: Mode, epoch: u32) -> TableVersion {
        let (id, grid) = match mode {
            Mode::User => (USERS, self.input.user.clone()),
            Mode::Product => (PRODUCTS, self.input.product.clone()),
            Mode::Time => (TIMES, Grid::single(self.input.small.time)),
            Mode::Context => (CONTEXTS, Grid::single(self.input.small.context)),
        };
        let folds = self.input.folds.is_some() && mode != Mode::User;
        let held = folds || self.settings.trains().of(mode) == Some(&false);
        let version = if held { 0 } else { u64::from(epoch) };
        TableVersion {
            id,
            mode,
            holds: Holds::Factors,
            rank: self.formula.rank,
            width: self.formula.width() as u32,
            grid,
            version,
        }
    }

    /// All tables of the model after an epoch.
    pub fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        let large = [Mode::User, Mode::Product].map(|mode| self.table(mode, epoch));
        let factors = large.into_iter().chain(self.small_tables(epoch));
        factors
            .chain(self.context_mean(epoch))
            .chain(self.learnt_after(epoch))
            .collect()
    }

    /// The tables of the small modes that are factored, after an epoch.
    fn small_tables(&self, epoch: u32) -> impl Iterator<Item = TableVersion> {
        let factored = self.settings.factors().each().into_iter();
        let factored = factored.filter(|(_, factored)| *factored);
        factored.map(move |(mode, _)| self.table(mode, epoch))
    }

    /// What stands for the context where none is known: the mean of its factors.
    fn context_mean(&self, epoch: u32) -> Option<TableVersion> {
        self.settings.factors().context.then(|| TableVersion {
            id: CONTEXT_MEAN,
            holds: Holds::Mean,
            grid: Grid::single(1),
            ..self.table(Mode::Context, epoch)
        })
    }

    /// The reduction of a table's Gram matrix.
    pub fn gram(&self, table: &TableVersion) -> Reduction {
        Reduction {
            id: table.version * REDUCTIONS + slot(table.mode),
            leaves: table.grid.blocks(),
            rows: 1,
            row_bytes: (kernels::upper_len(self.formula.width()) * 8) as u32,
        }
    }

    fn small_equations(&self, mode: Mode, epoch: u32) -> Reduction {
        Reduction {
            id: u64::from(epoch) * REDUCTIONS + slot(mode) + 2,
            leaves: if self.sums(Mode::Product) == Some(mode) {
                self.input.product.blocks()
            } else {
                self.input.user.blocks()
            },
            rows: self.table(mode, epoch).grid.rows_total(),
            row_bytes: (packed_len(&self.formula) * 8) as u32,
        }
    }

    /// What a program restored after an epoch reads and does not write.
    pub fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let mut tables = vec![self.table(Mode::Product, epoch)];
        tables.extend(self.small_tables(epoch));
        let mut kept: Vec<KeyRange> = tables.iter().map(TableVersion::keys).collect();
        if self.starts_warm() || self.edges(Mode::User).is_some() {
            kept.push(self.table(Mode::User, epoch).keys());
        }
        for mode in [Mode::User, Mode::Product] {
            kept.extend(self.edges(mode).map(|_| self.edge_degrees(mode).keys()));
        }
        kept.extend(self.learnt_after(epoch).map(|learnt| learnt.keys()));
        if self.formula.has_base() {
            kept.extend(
                tables
                    .iter()
                    .map(|table| KeyRange::One(self.gram(table).root())),
            );
        }
        kept
    }

    /// Counts, and the first factors of products and bins with their Grams.
    pub fn first_stage(&self, first: u64) -> Stage {
        let mut stage = Stage::new(first);
        let op = TotalsOp {
            formula: self.formula,
            rows: self.input.user.clone(),
        };
        let op = Op::Als(AlsOp::Totals(op)).encode();
        let count = |partition: &PartitionRef| Draft {
            op: op.clone(),
            reads: vec![sealed(partition)],
            writes: Vec::new(),
            cost: partition.interactions / 64,
        };
        let counts = self.input.train.user_major.iter().map(count).collect();
        stage.push("count", Role::Totals, counts, Vec::new());
        self.count_edges(&mut stage);
        let scale = (self.settings.init_scale / f64::from(self.settings.rank).sqrt()) as f32;
        let (seed, mode) = (self.settings.seed, Mode::Product);
        let normal = if self.settings.non_negative {
            First::HalfNormal { seed, mode, scale }
        } else {
            First::Normal { seed, mode, scale }
        };
        // Where products do not move, those that nobody has solved are in no score.
        let normal = match self.input.folds {
            Some(_) => First::Zeros,
            None => normal,
        };
        self.init(&mut stage, &self.table(mode, 0), normal);
        // Where users start from something, it is what is given.
        if self.input.given.contains_key(&Mode::User) {
            self.init(&mut stage, &self.table(Mode::User, 0), First::Zeros);
        }
        for table in self.small_tables(0) {
            self.init(&mut stage, &table, First::Ones);
        }
        // Contexts that are held have this mean for good; others have theirs from the first epoch on.
        let held = self.context_mean(0).filter(|_| self.settings.hold_context);
        if let Some(mean) = held {
            let name = "mean of contexts";
            let draft = self.first_block(&mean, First::Ones, false, None, BlockId(0));
            stage.push(name, Role::Silent, vec![draft], Vec::new());
        }
        stage
    }

    fn init(&self, stage: &mut Stage, table: &TableVersion, first: First) {
        // Users are solved before anybody asks for their Gram.
        let gram = self.formula.has_base() && table.mode != Mode::User;
        let given = self.read_given(stage, table);
        let blocks = table.grid.block_ids();
        let drafts =
            blocks.map(|block| self.first_block(table, first, gram, given.as_ref(), block));
        stage.push(
            &format!("first {} factors", table.mode),
            Role::Silent,
            drafts.collect(),
            given.iter().map(TableVersion::keys).collect(),
        );
        if gram {
            self.gram_reduce(stage, table);
        }
    }

    /// Reads the rows of a table that users brought along, where they did.
    fn read_given(&self, stage: &mut Stage, table: &TableVersion) -> Option<TableVersion> {
        let tasks = self.input.given.get(&table.mode)?;
        let given = TableVersion {
            id: match table.mode {
                Mode::User => GIVEN_USERS,
                Mode::Product => GIVEN_PRODUCTS,
                Mode::Time => GIVEN_TIMES,
                Mode::Context => GIVEN_CONTEXTS,
            },
            ..table.clone()
        };
        let drafts = tasks.iter().map(|task| Draft {
            op: task.op.clone(),
            reads: task.reads.clone(),
            writes: task
                .blocks
                .clone()
                .map(|block| given.block(block))
                .collect(),
            cost: task.cost,
        });
        let name = format!("given {} factors", table.mode);
        stage.push(&name, Role::Given(table.mode), drafts.collect(), Vec::new());
        Some(given)
    }

    fn first_block(
        &self,
        table: &TableVersion,
        first: First,
        gram: bool,
        given: Option<&TableVersion>,
        block: BlockId,
    ) -> Draft {
        let op = InitOp {
            rank: self.formula.rank,
            grid: table.grid.clone(),
            first,
            gram,
            biases: self.formula.biases(table.mode),
            given: given.is_some(),
        };
        let mut writes = vec![table.block(block.0)];
        writes.extend(gram.then(|| self.gram(table).leaf(block.0)));
        Draft {
            op: Op::Als(AlsOp::Init(op)).encode(),
            reads: given
                .iter()
                .map(|given| Read::whole(given.block(block.0)))
                .collect(),
            writes,
            cost: u64::from(table.grid.rows[block.0 as usize]),
        }
    }

    fn gram_reduce(&self, stage: &mut Stage, table: &TableVersion) {
        if self.formula.has_base() {
            stage.reduce(&format!("{} Gram", table.mode), self.gram(table));
        }
    }

    fn block_and_gram(&self, table: &TableVersion, block: u32) -> Vec<ObjectKey> {
        let mut writes = vec![table.block(block)];
        if self.formula.has_base() {
            writes.push(self.gram(table).leaf(block));
        }
        writes
    }

    /// All steps of an epoch, counted from 1.
    pub fn epoch(&self, first: u64, epoch: u32) -> Stage {
        let mut stage = Stage::new(first);
        let before = |mode| self.table(mode, epoch - 1);
        let after = |mode| self.table(mode, epoch);
        let small: Vec<TableVersion> = self.small_tables(epoch - 1).collect();
        let (old_users, users) = (before(Mode::User), after(Mode::User));
        let (old_products, products) = (before(Mode::Product), after(Mode::Product));
        if self.input.folds.is_some() {
            let partitions = &self.input.train.user_major;
            let (last, frees) = (Some(&old_users), vec![old_users.keys()]);
            self.half_step(
                &mut stage,
                &users,
                partitions,
                &old_products,
                &small,
                last,
                frees,
            );
            return stage;
        }

        let starts = epoch > 1 || self.input.given.contains_key(&Mode::User);
        let mut frees = self.root_of(&old_products);
        if starts {
            frees.push(old_users.keys());
        }
        self.half_step(
            &mut stage,
            &users,
            &self.input.train.user_major,
            &old_products,
            &small,
            starts.then_some(&old_users),
            frees,
        );

        let mut frees = vec![old_products.keys()];
        let solves = self.settings.trains();
        match solves.each().into_iter().find(|(_, solves)| *solves) {
            // What is solved first has been read for the last time.
            Some((mode, _)) => frees.extend(self.spent(mode, epoch)),
            None => frees.extend(self.root_of(&users)),
        }
        self.half_step(
            &mut stage,
            &products,
            &self.input.train.product_major,
            &users,
            &small,
            Some(&old_products),
            frees,
        );
        if solves.time {
            // The equations of time are the last to read the contexts as they were.
            let spent = if solves.context {
                self.spent(Mode::Context, epoch)
            } else {
                self.root_of(&users)
            };
            let other = self
                .settings
                .factors()
                .context
                .then(|| before(Mode::Context));
            let others = (&users, &products, other);
            self.small_steps(&mut stage, Mode::Time, epoch, others, spent);
        }
        if solves.context {
            let time = if solves.time { epoch } else { epoch - 1 };
            let other = self.settings.factors().time;
            let other = other.then(|| self.table(Mode::Time, time));
            let mut spent = self.root_of(&users);
            let mean = self.context_mean(epoch - 1).filter(|_| epoch > 1);
            spent.extend(mean.map(|mean| mean.keys()));
            let others = (&users, &products, other);
            self.small_steps(&mut stage, Mode::Context, epoch, others, spent);
        }
        stage
    }

    /// What is left of a small mode of the epoch before once nothing but its own solving reads it.
    fn spent(&self, mode: Mode, epoch: u32) -> Vec<KeyRange> {
        let table = self.table(mode, epoch - 1);
        let mut spent = self.root_of(&table);
        if !self.settings.non_negative {
            spent.push(table.keys());
        }
        spent
    }

    fn root_of(&self, table: &TableVersion) -> Vec<KeyRange> {
        if self.formula.has_base() {
            vec![KeyRange::One(self.gram(table).root())]
        } else {
            Vec::new()
        }
    }

    fn half_step(
        &self,
        stage: &mut Stage,
        solved: &TableVersion,
        partitions: &[PartitionRef],
        other: &TableVersion,
        small: &[TableVersion],
        last: Option<&TableVersion>,
        mut frees: Vec<KeyRange>,
    ) {
        let pulls = last.and_then(|last| self.pulls(stage, last));
        frees.extend(pulls.iter().map(TableVersion::keys));
        let keeps = self.input.folds.is_some();
        let last = last.filter(|_| self.starts_warm() || keeps);
        let op = HalfStepOp {
            formula: self.formula,
            rows: solved.grid.clone(),
            columns: other.grid.clone(),
            small: self.small_rows(),
            closes_epoch: solved.mode == Mode::Product && !self.solves_small(),
            solver: self.settings.solver_of_rows(),
            cg_steps: self.settings.cg_steps,
            basis: self.takes_basis(solved.mode) || self.shares_matrix(solved.mode),
            warm: last.is_some() && self.starts_warm(),
            side: self.side(solved),
            non_negative: self.settings.non_negative,
            biases: self.formula.biases(solved.mode),
            sums: self.sums(solved.mode),
            neighbours: pulls
                .as_ref()
                .map(|_| self.settings.edge_weight(solved.mode)),
            keeps,
        };
        let has_gram = self.formula.has_base() && !keeps;
        let equations = op
            .sums
            .map(|mode| self.small_equations(mode, solved.version as u32));
        let side = op.side.clone();
        let op = Op::Als(AlsOp::HalfStep(op)).encode();
        let with_roots = |table: &TableVersion, read: Read| {
            std::iter::once(read)
                .chain(self.root_of(table).into_iter().map(Read::whole))
                .collect::<Vec<_>>()
        };
        let basis = self.basis(other);
        let mut shared = if self.takes_basis(solved.mode) {
            let turned = self.turn(stage, other, solved.mode);
            frees.extend([turned.keys(), KeyRange::One(basis)]);
            vec![Read::rows(turned.keys()), Read::whole(basis)]
        } else if self.shares_matrix(solved.mode) {
            self.diagonalise(stage, solved.mode, std::iter::once(other).chain(small));
            frees.push(KeyRange::One(basis));
            vec![Read::rows(other.keys()), Read::whole(basis)]
        } else {
            with_roots(other, Read::rows(other.keys()))
        };
        for table in small {
            let read = Read::whole(table.keys());
            if self.shares_matrix(solved.mode) {
                shared.push(read);
            } else {
                shared.extend(with_roots(table, read));
            }
        }
        let drafts = partitions.iter().zip(0..).map(|(partition, block)| Draft {
            op: op.clone(),
            reads: std::iter::once(sealed(partition))
                .chain(shared.iter().copied())
                .chain(last.map(|last| Read::whole(last.block(block))))
                .chain(self.side_reads(solved, block))
                .chain(self.pull_reads(pulls.as_ref(), block))
                .collect(),
            writes: std::iter::once(solved.block(block))
                .chain(has_gram.then(|| self.gram(solved).leaf(block)))
                .chain(
                    side.as_ref()
                        .map(|side| self.side_sums(solved, side).leaf(block)),
                )
                .chain(equations.as_ref().map(|equations| equations.leaf(block)))
                .collect(),
            // A row's factorization is worth some r/3 interactions.
            cost: partition.interactions
                + u64::from(partition.rows) * u64::from(self.formula.rank) / 3,
        });
        stage.push(
            &format!("{} half-step", solved.mode),
            Role::Tally(solved.mode),
            drafts.collect(),
            frees,
        );
        if has_gram {
            self.gram_reduce(stage, solved);
        }
        if let Some(side) = side {
            self.map_steps(stage, solved, side);
        }
    }

    /// The key of the eigenbasis of a table's Gram: it stands one level above the root.
    fn basis(&self, table: &TableVersion) -> ObjectKey {
        let gram = self.gram(table);
        ObjectKey::Partial {
            reduction: gram.id,
            level: gram.levels() + 1,
            index: 0,
        }
    }

    /// Diagonalises the product of the Grams of tables, but for the biases that a mode holds; the basis is named by the first.
    fn diagonalise<'a>(
        &self,
        stage: &mut Stage,
        solved: Mode,
        tables: impl Iterator<Item = &'a TableVersion> + Clone,
    ) {
        let table = tables.clone().next().expect("one table at least");
        let roots = tables.map(|table| Read::whole(self.gram(table).root()));
        let (rank, biases) = (self.formula.rank, self.formula.biases(solved));
        let diagonalise = Draft {
            op: Op::Als(AlsOp::Basis(BasisOp { rank, biases })).encode(),
            reads: roots.collect(),
            writes: vec![self.basis(table)],
            cost: basis_len(table.width as usize) as u64 / 16,
        };
        let name = format!("{} basis", table.mode);
        stage.push(&name, Role::Silent, vec![diagonalise], Vec::new());
    }

    /// Diagonalises the Gram of a table, but for the biases that a mode holds, and turns all of it into that basis.
    fn turn(&self, stage: &mut Stage, table: &TableVersion, solved: Mode) -> TableVersion {
        let (rank, basis) = (self.formula.rank, self.basis(table));
        self.diagonalise(stage, solved, std::iter::once(table));
        let turned = TableVersion {
            id: if table.mode == Mode::User {
                TURNED_USERS
            } else {
                TURNED_PRODUCTS
            },
            ..table.clone()
        };
        let op = Op::Als(AlsOp::Turn(TurnOp { rank })).encode();
        let drafts = table.grid.block_ids().map(|block| Draft {
            op: op.clone(),
            reads: vec![Read::whole(table.block(block.0)), Read::whole(basis)],
            writes: vec![turned.block(block.0)],
            cost: u64::from(table.grid.rows[block.0 as usize]),
        });
        let name = format!("{} in the basis", table.mode);
        stage.push(&name, Role::Silent, drafts.collect(), Vec::new());
        turned
    }

    /// Adds up the equations of a small mode and solves them, given users, products and, where it is factored, the other
    /// small mode.
    fn small_steps(
        &self,
        stage: &mut Stage,
        mode: Mode,
        epoch: u32,
        (users, products, other): (&TableVersion, &TableVersion, Option<TableVersion>),
        spent: Vec<KeyRange>,
    ) {
        let (solved, last) = (self.table(mode, epoch), self.table(mode, epoch - 1));
        let equations = self.small_equations(mode, epoch);
        let op = SmallPartialOp {
            mode,
            formula: self.formula,
            columns: self.input.product.clone(),
            small: self.small_rows(),
        };
        let op = Op::Als(AlsOp::SmallPartial(op)).encode();
        let partitions = self.input.train.user_major.iter().zip(0..);
        let drafts = partitions.map(|(partition, block)| {
            let mut reads = vec![
                sealed(partition),
                Read::whole(users.block(block)),
                Read::rows(products.keys()),
            ];
            reads.extend(other.iter().map(|other| Read::whole(other.keys())));
            Draft {
                op: op.clone(),
                reads,
                writes: vec![equations.leaf(block)],
                cost: partition.interactions,
            }
        });
        let name = format!("{mode} equations");
        if self.sums(Mode::Product) != Some(mode) {
            stage.push(&name, Role::Silent, drafts.collect(), Vec::new());
        }
        stage.reduce(&name, equations);

        let others = [Some(users), Some(products), other.as_ref()];
        let others: Vec<&TableVersion> = others.into_iter().flatten().collect();
        let cells = others
            .iter()
            .map(|table| table.grid.rows_total() as f64)
            .product();
        let mean = self.context_mean(epoch).filter(|_| mode == Mode::Context);
        let op = SmallSolveOp {
            formula: self.formula,
            rows: solved.grid.rows_total() as u32,
            cells,
            grams: others.len() as u32,
            non_negative: self.settings.non_negative,
            smoothing: if mode == Mode::Time {
                self.settings.time_smoothing
            } else {
                0.0
            },
            mean: mean.is_some(),
            biases: self.formula.biases(mode),
        };
        let last = self.settings.non_negative.then(|| last.keys());
        let mut reads = vec![Read::whole(equations.root())];
        let roots = others.into_iter().flat_map(|table| self.root_of(table));
        reads.extend(roots.map(Read::whole));
        reads.extend(last.map(Read::whole));
        let mut writes = self.block_and_gram(&solved, 0);
        writes.extend(mean.map(|mean| mean.block(0)));
        let solve = Draft {
            op: Op::Als(AlsOp::SmallSolve(op)).encode(),
            reads,
            writes,
            cost: solved.grid.rows_total() * u64::from(self.formula.rank),
        };
        let mut frees = spent;
        frees.push(KeyRange::One(equations.root()));
        frees.extend(last);
        let name = format!("{mode} half-step");
        stage.push(&name, Role::Tally(mode), vec![solve], frees);
    }
}

fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}
