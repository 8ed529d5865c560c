//! The steps of training as values: which task reads and writes which keys, and when keys are freed.
//!
//! **Invariant:** every name here follows from the epoch alone, so a replay makes the same steps.

use super::basis::basis_len;
use super::formula::Formula;
use super::ops::{
    AlsOp, BasisOp, First, HalfStepOp, InitOp, TimePartialOp, TimeSolveOp, TotalsOp, TurnOp,
};
use super::program::Input;
use super::settings::{Settings, TimeUse};
use super::time_mode::packed_len;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use tensor::{
    DepotId, Grid, KeyRange, Mode, ObjectKey, PartialSpec, PartitionRef, Read, Step, StepId,
    TableId, Task, TaskId,
};

/// The users' factors.
pub const USERS: TableId = TableId(0);
/// The products' factors.
pub const PRODUCTS: TableId = TableId(1);
/// The factors of bins.
pub const TIMES: TableId = TableId(2);

/// The users' factors in the basis of their Gram, for one half-step.
pub const TURNED_USERS: TableId = TableId(3);
/// The products' factors in the basis of their Gram, for one half-step.
pub const TURNED_PRODUCTS: TableId = TableId(4);

/// What a step's reduced partials are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Totals of a user block each.
    Totals,
    /// A tally of solved rows of a mode each.
    Tally(Mode),
    /// The tally of the maps of a mode.
    Maps(Mode),
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
    /// Whether there is a time mode.
    pub fn factors_time(&self) -> bool {
        self.settings.time == TimeUse::Factor
    }

    /// Whether the time mode is solved.
    pub fn solves_time(&self) -> bool {
        self.factors_time() && !self.settings.hold_time
    }

    /// Whether half-steps of a mode work in the eigenbasis of the other table's Gram: with a base, which is one Gram only in
    /// the matrix where nothing else is known of the rows, and for solvers that gain by it.
    pub fn takes_basis(&self, solved: Mode) -> bool {
        self.formula.has_base()
            && !self.factors_time()
            && self.settings.solver.takes_panels()
            && self.attributes(solved).is_none()
    }

    /// Whether rows of a mode differ in right-hand side and ridge alone, so that they are solved in the basis of what they
    /// share.
    fn shares_matrix(&self, solved: Mode) -> bool {
        self.formula.is_weightless()
            && !self.settings.non_negative
            && !self.settings.biases
            && self.attributes(solved).is_none()
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
            Mode::Time | Mode::Context => (TIMES, Grid::single(self.input.bins)),
        };
        let held = mode == Mode::Time && self.settings.hold_time;
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
        let modes: &[Mode] = if self.factors_time() {
            &[Mode::User, Mode::Product, Mode::Time]
        } else {
            &[Mode::User, Mode::Product]
        };
        let factors = modes.iter().map(|&mode| self.table(mode, epoch));
        factors.chain(self.maps_after(epoch)).collect()
    }

    /// The reduction of a table's Gram matrix.
    pub fn gram(&self, table: &TableVersion) -> Reduction {
        Reduction {
            id: table.version * 4 + u64::from(table.id.0),
            leaves: table.grid.blocks(),
            rows: 1,
            row_bytes: (kernels::upper_len(self.formula.width()) * 8) as u32,
        }
    }

    fn time_equations(&self, epoch: u32) -> Reduction {
        Reduction {
            id: u64::from(epoch) * 4 + 3,
            leaves: self.input.user.blocks(),
            rows: u64::from(self.input.bins),
            row_bytes: (packed_len(&self.formula) * 8) as u32,
        }
    }

    /// What a program restored after an epoch reads and does not write.
    pub fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let mut tables = vec![self.table(Mode::Product, epoch)];
        if self.factors_time() {
            tables.push(self.table(Mode::Time, epoch));
        }
        let mut kept: Vec<KeyRange> = tables.iter().map(TableVersion::keys).collect();
        if self.starts_warm() {
            kept.push(self.table(Mode::User, epoch).keys());
        }
        kept.extend(self.maps_after(epoch).map(|maps| maps.keys()));
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
        let scale = (self.settings.init_scale / f64::from(self.settings.rank).sqrt()) as f32;
        let (seed, mode) = (self.settings.seed, Mode::Product);
        let normal = if self.settings.non_negative {
            First::HalfNormal { seed, mode, scale }
        } else {
            First::Normal { seed, mode, scale }
        };
        self.init(&mut stage, &self.table(mode, 0), normal);
        if self.factors_time() {
            self.init(&mut stage, &self.table(Mode::Time, 0), First::Ones);
        }
        stage
    }

    fn init(&self, stage: &mut Stage, table: &TableVersion, first: First) {
        let gram = self.formula.has_base();
        let op = InitOp {
            rank: self.formula.rank,
            grid: table.grid.clone(),
            first,
            gram,
            biases: self.formula.biases(table.mode),
        };
        let op = Op::Als(AlsOp::Init(op)).encode();
        let drafts = table.grid.block_ids().map(|block| Draft {
            op: op.clone(),
            reads: Vec::new(),
            writes: self.block_and_gram(table, block.0),
            cost: u64::from(table.grid.rows[block.0 as usize]),
        });
        stage.push(
            &format!("first {} factors", table.mode),
            Role::Silent,
            drafts.collect(),
            Vec::new(),
        );
        self.gram_reduce(stage, table);
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
        let times = self.factors_time().then(|| before(Mode::Time));
        let (old_users, users) = (before(Mode::User), after(Mode::User));
        let (old_products, products) = (before(Mode::Product), after(Mode::Product));

        let mut frees = self.root_of(&old_products);
        if epoch > 1 {
            frees.push(old_users.keys());
        }
        self.half_step(
            &mut stage,
            &users,
            &self.input.train.user_major,
            &old_products,
            times.as_ref(),
            (epoch > 1).then_some(&old_users),
            frees,
        );

        let mut frees = vec![old_products.keys()];
        if let Some(times) = times.as_ref().filter(|_| self.solves_time()) {
            if !self.settings.non_negative {
                frees.push(times.keys());
            }
            frees.extend(self.root_of(times));
        } else {
            frees.extend(self.root_of(&users));
        }
        self.half_step(
            &mut stage,
            &products,
            &self.input.train.product_major,
            &users,
            times.as_ref(),
            Some(&old_products),
            frees,
        );
        if self.solves_time() {
            self.time_steps(&mut stage, epoch, &users, &products);
        }
        stage
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
        times: Option<&TableVersion>,
        last: Option<&TableVersion>,
        mut frees: Vec<KeyRange>,
    ) {
        let last = last.filter(|_| self.starts_warm());
        let op = HalfStepOp {
            formula: self.formula,
            rows: solved.grid.clone(),
            columns: other.grid.clone(),
            bins: times.map(|_| self.input.bins),
            closes_epoch: solved.mode == Mode::Product && !self.solves_time(),
            solver: self.settings.solver,
            cg_steps: self.settings.cg_steps,
            basis: self.takes_basis(solved.mode) || self.shares_matrix(solved.mode),
            warm: last.is_some(),
            side: self.side(solved),
            non_negative: self.settings.non_negative,
            biases: self.formula.biases(solved.mode),
        };
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
            self.diagonalise(stage, solved.mode, std::iter::once(other).chain(times));
            frees.push(KeyRange::One(basis));
            vec![Read::rows(other.keys()), Read::whole(basis)]
        } else {
            with_roots(other, Read::rows(other.keys()))
        };
        if let Some(times) = times {
            let read = Read::whole(times.keys());
            if self.shares_matrix(solved.mode) {
                shared.push(read);
            } else {
                shared.extend(with_roots(times, read));
            }
        }
        let drafts = partitions.iter().zip(0..).map(|(partition, block)| Draft {
            op: op.clone(),
            reads: std::iter::once(sealed(partition))
                .chain(shared.iter().copied())
                .chain(last.map(|last| Read::whole(last.block(block))))
                .chain(self.side_reads(solved, block))
                .collect(),
            writes: self
                .block_and_gram(solved, block)
                .into_iter()
                .chain(
                    side.as_ref()
                        .map(|side| self.side_sums(solved, side).leaf(block)),
                )
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
        self.gram_reduce(stage, solved);
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

    fn time_steps(
        &self,
        stage: &mut Stage,
        epoch: u32,
        users: &TableVersion,
        products: &TableVersion,
    ) {
        let equations = self.time_equations(epoch);
        let op = TimePartialOp {
            formula: self.formula,
            columns: self.input.product.clone(),
            bins: self.input.bins,
        };
        let op = Op::Als(AlsOp::TimePartial(op)).encode();
        let drafts = self
            .input
            .train
            .user_major
            .iter()
            .zip(0..)
            .map(|(partition, block)| Draft {
                op: op.clone(),
                reads: vec![
                    sealed(partition),
                    Read::whole(users.block(block)),
                    Read::rows(products.keys()),
                ],
                writes: vec![equations.leaf(block)],
                cost: partition.interactions,
            });
        stage.push("time equations", Role::Silent, drafts.collect(), Vec::new());
        stage.reduce("time equations", equations);

        let cells = self.input.user.rows_total() as f64 * self.input.product.rows_total() as f64;
        let op = TimeSolveOp {
            formula: self.formula,
            bins: self.input.bins,
            cells,
            non_negative: self.settings.non_negative,
            smoothing: self.settings.time_smoothing,
            biases: self.formula.biases(Mode::Time),
        };
        let last = self.table(Mode::Time, epoch - 1);
        let last = self.settings.non_negative.then(|| last.keys());
        let mut reads = vec![Read::whole(equations.root())];
        reads.extend(
            self.root_of(users)
                .into_iter()
                .chain(self.root_of(products))
                .map(Read::whole),
        );
        reads.extend(last.map(Read::whole));
        let solve = Draft {
            op: Op::Als(AlsOp::TimeSolve(op)).encode(),
            reads,
            writes: self.block_and_gram(&self.table(Mode::Time, epoch), 0),
            cost: u64::from(self.input.bins) * u64::from(self.formula.rank),
        };
        let mut frees = self.root_of(users);
        frees.push(KeyRange::One(equations.root()));
        frees.extend(last);
        stage.push(
            "time half-step",
            Role::Tally(Mode::Time),
            vec![solve],
            frees,
        );
    }
}

fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}
