//! The steps of subspace iteration as values: which task reads and writes which keys, and when keys are freed.
//!
//! What is iterated with is the adjacency, or a filter of the graph whose low-pass part an iteration of its own makes in the same epoch
//! ([`crate::graph::filter::chain`]). All names of that one are beside those of this one.
//!
//! **Invariant:** every name here follows from the epoch alone, so a replay makes the same steps.

use super::program::Rounds;
use super::settings::Settings;
use crate::als::basis::basis_len;
use crate::als::biases::Biases;
use crate::als::{AlsOp, BasisOp};
use crate::graph::filter::chain;
use crate::graph::ops::{
    DegreesOp, Factor, GraphOp, Onto, Power, ProductOp, ResidualsOp, Scales, StartOp, TurnOp,
};
use crate::graph::steps::{self, Arranged, Factors, Input, StageRole, product, rows, sealed};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use kernels::{upper_len, width_of};
use tensor::{KeyRange, Mode, ObjectKey, Read, Step, TableId};

/// The users of the model.
pub const USERS: TableId = TableId(0);
/// The products of the model.
pub const PRODUCTS: TableId = TableId(1);
/// The degrees of users.
pub const USER_DEGREES: TableId = TableId(2);
/// The degrees of products.
pub const PRODUCT_DEGREES: TableId = TableId(3);
/// Z: random at first, Bᵀ Y after an epoch.
pub const PRODUCT_SUMS: TableId = TableId(4);
/// The same made orthonormal once.
pub const NEARLY_ORTHONORMAL: TableId = TableId(5);
/// V, times the power of the products' degrees that users' sums want.
pub const ORTHONORMAL: TableId = TableId(6);
/// Y, times the power of the users' degrees that products' sums want.
pub const USER_SUMS: TableId = TableId(7);
/// V times the power of the products' degrees that the products of a filter begin with.
pub const SCALED: TableId = TableId(10);
/// The interactions of users by ranges of products.
pub const USER_TILES: TableId = TableId(8);
/// The interactions of products by ranges of users.
pub const PRODUCT_TILES: TableId = TableId(9);

/// From the tables of an iteration to those of one that it has part in.
const ABOVE: u16 = 32;

/// Numbers of reductions an epoch, and of an iteration.
const REDUCTIONS: u64 = 4;
const OF_ITERATION: u64 = 1 << 40;

/// What a step's reduced partials are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Counts of blocks of a mode.
    Counts(Mode),
    /// What is left of the triplets.
    Residuals,
    /// Nothing.
    Silent,
}

impl StageRole for Role {
    const SILENT: Role = Role::Silent;
}

/// The steps of one stage.
pub(in crate::graph) type Stage = steps::Stage<Role>;

/// What is iterated with.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// The adjacency; its triplets are the model.
    Whole,
    /// The adjacency; its triplets are part of a filter.
    Below,
    /// The filter that has this part.
    Above(&'a Layout<'a>),
}

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
    /// What is iterated with.
    pub part: Part<'a>,
}

impl Rounds for Layout<'_> {
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.columns_most());
        let edges = self.settings.edges;
        for mode in [Mode::User, Mode::Product] {
            let op = Op::Graph(GraphOp::Degrees(DegreesOp {
                edges,
                own: None,
                loops: false,
            }))
            .encode();
            let degrees = self.degrees(mode);
            let drafts = self
                .input
                .partitions(mode)
                .iter()
                .zip(0..)
                .map(|(partition, block)| {
                    let (reads, writes) = (vec![sealed(partition)], vec![degrees.block(block)]);
                    (op.clone(), reads, writes, partition.interactions / 64)
                });
            stage.push(
                &format!("{mode} degrees"),
                Role::Counts(mode),
                drafts,
                Vec::new(),
            );
        }
        if let Part::Above(part) = self.part {
            part.begin(&mut stage);
        }
        self.begin(&mut stage);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.columns_most());
        if let Part::Above(part) = self.part {
            part.iterate(&mut stage, epoch);
        }
        self.iterate(&mut stage, epoch);
        stage.steps
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        [Mode::User, Mode::Product]
            .map(|mode| self.table(mode, epoch))
            .to_vec()
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let sums = self.iterated(PRODUCT_SUMS, epoch);
        let arranged = [Mode::User, Mode::Product].map(|mode| self.arranged(mode));
        let tiles = arranged.iter().flatten().map(|of| of.tiles.keys());
        let kept = [
            self.degrees(Mode::User).keys(),
            self.degrees(Mode::Product).keys(),
            KeyRange::One(gram(&sums).root()),
            sums.keys(),
        ];
        let mut kept: Vec<KeyRange> = kept.into_iter().chain(tiles).collect();
        if let Part::Above(part) = self.part {
            let others = part.kept(epoch);
            kept.extend(others.into_iter().skip(2));
        }
        kept
    }
}

impl Layout<'_> {
    pub(in crate::graph) fn version(
        &self,
        id: TableId,
        mode: Mode,
        columns: u32,
        version: u32,
    ) -> TableVersion {
        let above =
            matches!(self.part, Part::Above(_)) && ![USER_DEGREES, PRODUCT_DEGREES].contains(&id);
        TableVersion {
            id: TableId(id.0 + if above { ABOVE } else { 0 }),
            mode,
            holds: Holds::Factors,
            rank: columns,
            width: width_of(columns as usize) as u32,
            grid: self.input.grid(mode).clone(),
            version: version.into(),
        }
    }

    /// A table in iteration.
    fn iterated(&self, id: TableId, epoch: u32) -> TableVersion {
        let mode = if id == USER_SUMS {
            Mode::User
        } else {
            Mode::Product
        };
        self.version(id, mode, self.settings.columns(), epoch)
    }

    pub(in crate::graph) fn degrees(&self, mode: Mode) -> TableVersion {
        let id = if mode == Mode::User {
            USER_DEGREES
        } else {
            PRODUCT_DEGREES
        };
        self.version(id, mode, 1, 0)
    }

    /// Floats of a row in iteration.
    fn width(&self) -> usize {
        width_of(self.settings.columns() as usize)
    }

    /// The interactions of a mode by ranges of the other one's rows, where that pays.
    fn arranged(&self, mode: Mode) -> Option<Arranged> {
        let id = if mode == Mode::User {
            USER_TILES
        } else {
            PRODUCT_TILES
        };
        Arranged::of(self.input, self.version(id, mode, 1, 0), self.width())
    }

    /// A table of the model after an epoch.
    pub(in crate::graph) fn table(&self, mode: Mode, epoch: u32) -> TableVersion {
        let id = if mode == Mode::User { USERS } else { PRODUCTS };
        self.version(id, mode, self.settings.rank, epoch)
    }

    /// The columns of the widest table that is iterated.
    fn columns_most(&self) -> u32 {
        let columns = self.settings.columns();
        match self.part {
            Part::Above(part) => columns.max(part.settings.columns()),
            _ => columns,
        }
    }

    /// The interactions as this iteration reads them, and its random rows with their Gram.
    fn begin(&self, stage: &mut Stage) {
        let edges = self.settings.edges;
        for mode in [Mode::User, Mode::Product] {
            if let Some(arranged) = self.arranged(mode) {
                let drafts = arranged.drafts(self.input, edges);
                stage.push(&format!("{mode} tiles"), Role::Silent, drafts, Vec::new());
            }
        }
        let start = self.iterated(PRODUCT_SUMS, 0);
        let op = Op::Graph(GraphOp::Start(StartOp {
            mode: Mode::Product,
            grid: self.input.product.clone(),
            columns: start.rank,
            seed: self.settings.seed,
            by: 1.0,
            power: Power(0),
            zeros: 0,
            given: false,
        }))
        .encode();
        let degrees = self.degrees(Mode::Product);
        let drafts = (0..start.grid.blocks()).map(|block| {
            let reads = vec![Read::whole(degrees.block(block))];
            (
                op.clone(),
                reads,
                block_and_gram(&start, block),
                rows(&start, block),
            )
        });
        stage.push("random columns", Role::Silent, drafts, Vec::new());
        stage.reduce("random columns", gram(&start));
    }

    /// From the columns that the last epoch left to triplets, and to those of the next.
    fn iterate(&self, stage: &mut Stage, epoch: u32) {
        let (rank, cubes) = (self.settings.rank, self.settings.cubes());
        let weight = self.settings.weight;
        let to_left = Factor::Left {
            rank,
            cubes,
            weight,
        };
        let power = |mode| self.settings.normalization.power(mode);
        let [last, sums] = [epoch - 1, epoch].map(|epoch| self.iterated(PRODUCT_SUMS, epoch));
        let [nearly, right, left] =
            [NEARLY_ORTHONORMAL, ORTHONORMAL, USER_SUMS].map(|id| self.iterated(id, epoch));

        let whitened = |stored| {
            (
                Factor::Whiten,
                Scales {
                    stored,
                    ..Scales::default()
                },
            )
        };
        diagonalise(stage, gram(&last), last.rank);
        self.turn(
            stage,
            "columns",
            &last,
            &last,
            whitened(Power(0)),
            &nearly,
            true,
        );
        stage.push_frees(vec![last.keys(), KeyRange::One(gram(&last).above_root())]);
        stage.reduce("columns", gram(&nearly));
        diagonalise(stage, gram(&nearly), nearly.rank);
        self.turn(
            stage,
            "columns",
            &nearly,
            &nearly,
            whitened(power(Mode::Product)),
            &right,
            false,
        );
        let scaled = self.scaled(epoch);
        if let Some(scaled) = &scaled {
            let stored = whitened(Power(-1));
            self.turn(stage, "columns", &nearly, &nearly, stored, scaled, false);
        }
        stage.push_frees(vec![
            nearly.keys(),
            KeyRange::One(gram(&nearly).above_root()),
        ]);

        let user_power = power(Mode::User);
        let scales = Scales {
            made: user_power,
            stored: user_power,
        };
        match (self.part, &scaled) {
            (Part::Above(part), Some(scaled)) => {
                chain::forward(self, part, stage, [&right, scaled], &left);
            }
            _ => self.product(stage, &right, scales, &left, None),
        }
        stage.reduce("user sums", gram(&left));
        diagonalise(stage, gram(&left), left.rank);
        // Stored rows carry the power once of B and once for those that read them; factors are those of R.
        let back = |mode| Scales {
            made: power(mode).back_twice(),
            ..Scales::default()
        };
        for (mode, from, factor) in [
            (Mode::User, &left, to_left),
            (Mode::Product, &right, Factor::Right { rank, cubes }),
        ] {
            let name = format!("{mode} factors");
            let table = self.table(mode, epoch);
            self.turn(
                stage,
                &name,
                from,
                &left,
                (factor, back(mode)),
                &table,
                false,
            );
            if epoch > 1 && !matches!(self.part, Part::Below) {
                stage.push_frees(vec![self.table(mode, epoch - 1).keys()]);
            }
        }
        stage.push_frees(vec![right.keys()]);
        let scales = Scales {
            made: power(Mode::Product),
            ..Scales::default()
        };
        match self.part {
            Part::Above(part) => chain::back(self, part, stage, &left, &sums),
            _ => self.product(stage, &left, scales, &sums, None),
        }
        stage.reduce("product sums", gram(&sums));
        stage.push_frees(vec![left.keys()]);
        if let Part::Below = self.part {
            stage.push_frees(vec![KeyRange::One(gram(&left).above_root())]);
        } else {
            self.residuals(stage, &left, &sums);
        }
    }

    /// The columns times the power of the products' degrees that a chain of products begins with.
    fn scaled(&self, epoch: u32) -> Option<TableVersion> {
        let above = matches!(self.part, Part::Above(_));
        above.then(|| self.iterated(SCALED, epoch))
    }

    /// The rows of a table times a factor of the basis of another's Gram.
    fn turn(
        &self,
        stage: &mut Stage,
        name: &str,
        from: &TableVersion,
        basis_of: &TableVersion,
        (factor, scales): (Factor, Scales),
        to: &TableVersion,
        with_gram: bool,
    ) {
        let op = Op::Graph(GraphOp::Turn(TurnOp {
            columns: from.rank,
            factor,
            scales,
        }))
        .encode();
        let (basis, degrees) = (gram(basis_of).above_root(), self.degrees(from.mode));
        let drafts = (0..to.grid.blocks()).map(|block| {
            let reads = [from.block(block), basis, degrees.block(block)].map(Read::whole);
            let writes = if with_gram {
                block_and_gram(to, block)
            } else {
                vec![to.block(block)]
            };
            (op.clone(), reads.to_vec(), writes, rows(to, block))
        });
        stage.push(name, Role::Silent, drafts, Vec::new());
    }

    /// The sums of the rows that interactions name, onto others where there are some, with a leaf of their Gram where they are iterated.
    pub(in crate::graph) fn product(
        &self,
        stage: &mut Stage,
        others: &TableVersion,
        scales: Scales,
        to: &TableVersion,
        onto: Option<&TableVersion>,
    ) {
        let op = ProductOp {
            rows: to.grid.clone(),
            others: others.grid.clone(),
            columns: to.rank,
            edges: self.settings.edges,
            scales,
            onto: onto.map(|_| Onto {
                share: 1.0,
                power: Power(0),
                by: 1.0,
            }),
            loops: false,
        };
        let of = Factors {
            others,
            degrees: &self.degrees(to.mode),
            base: onto,
            own: None,
        };
        let (arranged, partitions) = (self.arranged(to.mode), self.input.partitions(to.mode));
        let iterated = [
            self.iterated(USER_SUMS, 0).id,
            self.iterated(PRODUCT_SUMS, 0).id,
        ];
        let writes = |block| {
            if iterated.contains(&to.id) {
                block_and_gram(to, block)
            } else {
                vec![to.block(block)]
            }
        };
        let drafts = product(arranged.as_ref(), &op, &of, partitions, writes);
        let name = format!("{} sums", to.mode);
        stage.push(&name, Role::Silent, drafts.into_iter(), Vec::new());
    }

    fn residuals(&self, stage: &mut Stage, left: &TableVersion, sums: &TableVersion) {
        let basis = gram(left).above_root();
        let op = ResidualsOp {
            columns: left.rank,
            rank: self.settings.rank,
            pairs: false,
        };
        let draft = (
            Op::Graph(GraphOp::Residuals(op)).encode(),
            vec![Read::whole(basis), Read::whole(gram(sums).root())],
            Vec::new(),
            basis_len(left.width as usize) as u64 / 16,
        );
        stage.push(
            "residuals",
            Role::Residuals,
            std::iter::once(draft),
            vec![KeyRange::One(basis)],
        );
    }
}

/// The reduction of the Gram of a table in iteration.
fn gram(table: &TableVersion) -> Reduction {
    let (iteration, of) = (table.id.0 / ABOVE, table.id.0 % ABOVE);
    let number = table.version * REDUCTIONS + u64::from(of - PRODUCT_SUMS.0);
    Reduction {
        id: u64::from(iteration) * OF_ITERATION + number,
        leaves: table.grid.blocks(),
        rows: 1,
        row_bytes: (upper_len(table.width as usize) * 8) as u32,
    }
}

fn block_and_gram(table: &TableVersion, block: u32) -> Vec<ObjectKey> {
    vec![table.block(block), gram(table).leaf(block)]
}

/// Diagonalises the Gram of tables of a rank and frees it: the basis stands above its root.
pub(super) fn diagonalise(stage: &mut Stage, gram: Reduction, rank: u32) {
    let root = gram.root();
    let op = BasisOp {
        rank,
        biases: Biases::new(rank, 0, Mode::User),
    };
    let draft = (
        Op::Als(AlsOp::Basis(op)).encode(),
        vec![Read::whole(root)],
        vec![gram.above_root()],
        basis_len(width_of(rank as usize)) as u64 / 16,
    );
    stage.push(
        "basis",
        Role::Silent,
        std::iter::once(draft),
        vec![KeyRange::One(root)],
    );
}
