//! The steps of subspace iteration where rows of a mode have edges among one another.
//!
//! A = [`S_u` R; Rᵀ `S_p`] is symmetric and no longer of two sides, so its eigenvectors are sought over users and products together: an
//! epoch takes orthonormal columns Q to Y = T Q with T = A, A + A² or A + A² + A³; QᵀY has the eigenvalues μ of T in their span and the
//! vectors W of Q W (Rayleigh and Ritz); and Y, made orthonormal twice, is the Q of the next. A model is published of the pairs with the
//! largest |μ|: T ≈ L Mᵀ with L = Q W √|μ| sign μ, of which users have their rows, and M = Q W √|μ|, of which products have theirs.
//!
//! With X̃ = D^a X (a = −½ for symmetric) a product is D^a A X̃, and walks are added by Horner's rule: X̃ ← Q̃ + D^2a A X̃.
//!
//! **Invariant:** every name here follows from the epoch alone, so a replay makes the same steps.

use super::program::Rounds;
use super::schedule::{Role, Stage, diagonalise};
use super::settings::Settings;
use crate::als::basis::basis_len;
use crate::graph::ops::{
    CrossOp, Edges, Factor, GraphOp, Onto, PairsOp, Power, ProductOp, ResidualsOp, Scales, StartOp,
    TurnOp,
};
use crate::graph::steps::{Arranged, Draft, Factors, Input, product, rows};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::TableVersion;
use kernels::{upper_len, width_of};
use tensor::{KeyRange, Mode, ModeEdges, ObjectKey, PartitionRef, Read, Step, TableId};

/// Tables of users; those of products have the next number. The model.
const MODEL: TableId = TableId(0);
/// Degrees.
const DEGREES: TableId = TableId(2);
/// Y; before the first epoch random rows.
const SUMS: TableId = TableId(4);
/// The same made orthonormal once.
const NEARLY: TableId = TableId(6);
/// Q.
const ORTHONORMAL: TableId = TableId(8);
/// Q̃, where that is another.
const SCALED: TableId = TableId(10);
/// Interactions by ranges of the other mode's rows.
const TILES: TableId = TableId(12);
/// Q̃ with shorter walks.
const WALKS: TableId = TableId(14);
/// Products with interactions, to which those with edges are added.
const PARTS: TableId = TableId(16);

const BOTH: [Mode; 2] = [Mode::User, Mode::Product];

/// A table of users and one of products.
type Pair = [TableVersion; 2];

/// The sums that an epoch takes over both modes.
#[derive(Clone, Copy)]
enum Sum {
    /// The Gram of [`SUMS`].
    OfSums,
    /// That of [`NEARLY`].
    OfNearly,
    /// QᵀY.
    Cross,
}

/// Rows that are added: a number of times.
fn onto(share: f64) -> Onto {
    Onto {
        share: share as f32,
        power: Power(0),
        by: 1.0,
    }
}

/// What all steps of a run share.
pub(super) struct Linked<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
}

impl Rounds for Linked<'_> {
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.columns());
        for mode in BOTH {
            let own = self
                .edges(mode)
                .map(|own| (own, self.settings.edge_weight(mode)));
            let weights = (self.settings.edges, own, false);
            let arranged = self.arranged(mode);
            let role = Role::Counts(mode);
            stage.open(
                self.input,
                weights,
                &self.degrees(mode),
                arranged.as_ref(),
                role,
            );
        }
        let gram = self.sum(Sum::OfSums, 0);
        let drafts = BOTH.into_iter().flat_map(|mode| {
            let to = self.table(SUMS, mode, 0);
            let op = Op::Graph(GraphOp::Start(StartOp {
                mode,
                grid: to.grid.clone(),
                columns: to.rank,
                seed: self.settings.seed,
                by: 1.0,
                power: Power(0),
                zeros: 0,
                given: false,
            }))
            .encode();
            let degrees = self.degrees(mode);
            let drafts = (0..to.grid.blocks()).map(|block| {
                let reads = vec![Read::whole(degrees.block(block))];
                let writes = vec![to.block(block), self.leaf(gram, mode, block)];
                (op.clone(), reads, writes, rows(&to, block))
            });
            drafts.collect::<Vec<_>>()
        });
        stage.push("random columns", Role::Silent, drafts, Vec::new());
        stage.reduce("random columns", gram);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.columns());
        let [last, nearly, right] = [(SUMS, epoch - 1), (NEARLY, epoch), (ORTHONORMAL, epoch)]
            .map(|(table, epoch)| self.pair(table, epoch));
        let [of_last, of_nearly] = [(Sum::OfSums, epoch - 1), (Sum::OfNearly, epoch)]
            .map(|(sum, epoch)| self.sum(sum, epoch));
        let plain = (Factor::Whiten, Scales::default());
        diagonalise(&mut stage, of_last, self.columns());
        let made = (&last, of_last, &nearly);
        self.turn(&mut stage, "columns", made, [plain; 2], Some(of_nearly));
        stage.push_frees(freed(&last, [of_last]));
        stage.reduce("columns", of_nearly);
        diagonalise(&mut stage, of_nearly, self.columns());
        let made = (&nearly, of_nearly, &right);
        self.turn(&mut stage, "columns", made, [plain; 2], None);
        let power = self.power();
        let scaled = (power != Power(0)).then(|| self.pair(SCALED, epoch));
        if let Some(scaled) = &scaled {
            let stored = Scales {
                stored: power,
                ..Scales::default()
            };
            let made = (&nearly, of_nearly, scaled);
            let whitened = [(Factor::Whiten, stored); 2];
            self.turn(&mut stage, "columns", made, whitened, None);
        }
        stage.push_frees(freed(&nearly, [of_nearly]));
        self.walks(&mut stage, epoch, scaled.as_ref().unwrap_or(&right));
        if let Some(scaled) = &scaled {
            stage.push_frees(freed(scaled, []));
        }
        self.pairs(&mut stage, epoch, &right);
        stage.steps
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        let model = |mode| {
            let rank = self.settings.rank;
            self.input.table(MODEL, mode, rank, epoch.into())
        };
        BOTH.map(model).to_vec()
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let tiles = BOTH.map(|mode| self.arranged(mode));
        let mut kept = vec![KeyRange::One(self.sum(Sum::OfSums, epoch).root())];
        kept.extend(BOTH.map(|mode| self.degrees(mode).keys()));
        kept.extend(self.pair(SUMS, epoch).map(|table| table.keys()));
        kept.extend(tiles.iter().flatten().map(|of| of.tiles.keys()));
        kept
    }
}

impl Linked<'_> {
    fn columns(&self) -> u32 {
        self.settings.columns()
    }

    /// What of degrees rows are divided by on either side.
    fn power(&self) -> Power {
        self.settings.normalization.power(Mode::User)
    }

    fn table(&self, table: TableId, mode: Mode, version: u32) -> TableVersion {
        self.input
            .table(table, mode, self.columns(), version.into())
    }

    fn pair(&self, table: TableId, version: u32) -> Pair {
        BOTH.map(|mode| self.table(table, mode, version))
    }

    fn degrees(&self, mode: Mode) -> TableVersion {
        self.input.table(DEGREES, mode, 1, 0)
    }

    fn edges(&self, mode: Mode) -> Option<&ModeEdges> {
        self.input.linked(mode, self.settings.edge_weight(mode))
    }

    fn arranged(&self, mode: Mode) -> Option<Arranged> {
        let tiles = self.input.table(TILES, mode, 1, 0);
        Arranged::of(self.input, tiles, width_of(self.columns() as usize))
    }

    /// A sum over the rows of users, then those of products.
    fn sum(&self, sum: Sum, epoch: u32) -> Reduction {
        let (columns, width) = (self.columns(), width_of(self.columns() as usize));
        let (number, lines, numbers) = match sum {
            Sum::OfSums => (0, 1, upper_len(width)),
            Sum::OfNearly => (1, 1, upper_len(width)),
            Sum::Cross => (2, columns, width),
        };
        Reduction {
            id: 3 * u64::from(epoch) + number,
            leaves: self.input.user.blocks() + self.input.product.blocks(),
            rows: lines.into(),
            row_bytes: (8 * numbers) as u32,
        }
    }

    fn leaf(&self, sum: Reduction, mode: Mode, block: u32) -> ObjectKey {
        let before = match mode {
            Mode::User => 0,
            _ => self.input.user.blocks(),
        };
        sum.leaf(before + block)
    }

    /// The rows of both modes times a factor each of the basis of a sum.
    fn turn(
        &self,
        stage: &mut Stage,
        name: &str,
        (from, basis_of, to): (&Pair, Reduction, &Pair),
        factors: [(Factor, Scales); 2],
        gram: Option<Reduction>,
    ) {
        let mut drafts: Vec<Draft> = Vec::new();
        for ((from, to), (factor, scales)) in from.iter().zip(to).zip(factors) {
            let op = Op::Graph(GraphOp::Turn(TurnOp {
                columns: from.rank,
                factor,
                scales,
            }))
            .encode();
            let degrees = self.degrees(from.mode);
            drafts.extend((0..to.grid.blocks()).map(|block| {
                let reads = [
                    from.block(block),
                    basis_of.above_root(),
                    degrees.block(block),
                ];
                let gram = gram.map(|gram| self.leaf(gram, from.mode, block));
                let writes = std::iter::once(to.block(block)).chain(gram);
                let reads = reads.map(Read::whole).to_vec();
                (op.clone(), reads, writes.collect(), rows(to, block))
            }));
        }
        stage.push(name, Role::Silent, drafts.into_iter(), Vec::new());
    }

    /// Y, and its Gram.
    fn walks(&self, stage: &mut Stage, epoch: u32, first: &Pair) {
        let (power, length) = (self.power(), self.settings.walk_length);
        let mut from = first.clone();
        for walk in 1..=length {
            let version = epoch * length + walk;
            let (to, made, gram) = if walk == length {
                let gram = self.sum(Sum::OfSums, epoch);
                (self.pair(SUMS, epoch), power, Some(gram))
            } else {
                (self.pair(WALKS, version), Power(2 * power.0), None)
            };
            let base = (walk < length).then_some(first);
            self.product(stage, (&from, base), (made, version), &to, gram);
            if walk > 1 {
                stage.push_frees(freed(&from, []));
            }
            from = to;
        }
        stage.reduce("sums", self.sum(Sum::OfSums, epoch));
    }

    /// A times both tables, scaled as made and added to what there is: interactions first, then edges.
    fn product(
        &self,
        stage: &mut Stage,
        (from, base): (&Pair, Option<&Pair>),
        (made, version): (Power, u32),
        to: &Pair,
        gram: Option<Reduction>,
    ) {
        let parts = self.pair(PARTS, version);
        let (mut drafts, mut along, mut frees) = (Vec::new(), Vec::new(), Vec::new());
        for (at, mode) in BOTH.into_iter().enumerate() {
            let gram_of = |block| gram.map(|gram| self.leaf(gram, mode, block));
            let finished = |block| -> Vec<ObjectKey> {
                let block_of = to[at].block(block);
                std::iter::once(block_of).chain(gram_of(block)).collect()
            };
            let op = |others: &TableVersion, edges, onto| ProductOp {
                rows: to[at].grid.clone(),
                others: others.grid.clone(),
                columns: self.columns(),
                edges,
                scales: Scales {
                    made,
                    stored: Power(0),
                },
                onto,
                loops: false,
            };
            let degrees = self.degrees(mode);
            let others = &from[1 - at];
            let of = Factors {
                others,
                degrees: &degrees,
                base: base.map(|base| &base[at]),
                own: None,
            };
            let plain = op(others, self.settings.edges, base.map(|_| onto(1.0)));
            let (arranged, interactions) = (self.arranged(mode), self.input.partitions(mode));
            let Some(edges) = self.edges(mode) else {
                drafts.extend(product(
                    arranged.as_ref(),
                    &plain,
                    &of,
                    interactions,
                    finished,
                ));
                continue;
            };
            let part = |block| vec![parts[at].block(block)];
            drafts.extend(product(arranged.as_ref(), &plain, &of, interactions, part));
            let weight = self.settings.edge_weight(mode);
            let linked = op(&from[at], Edges::Values, Some(onto(weight)));
            let of = Factors {
                others: &from[at],
                degrees: &degrees,
                base: Some(&parts[at]),
                own: None,
            };
            let entries: &[PartitionRef] = &edges.forward;
            along.extend(product(None, &linked, &of, entries, finished));
            frees.push(parts[at].keys());
        }
        stage.push("sums", Role::Silent, drafts.into_iter(), Vec::new());
        if !along.is_empty() {
            stage.push("sums along edges", Role::Silent, along.into_iter(), frees);
        }
    }

    /// The model out of Q and Y, and what is left of its pairs.
    fn pairs(&self, stage: &mut Stage, epoch: u32, right: &Pair) {
        let (columns, rank, cross) = (
            self.columns(),
            self.settings.rank,
            self.sum(Sum::Cross, epoch),
        );
        let op = Op::Graph(GraphOp::Cross(CrossOp {
            left: columns,
            right: columns,
        }))
        .encode();
        let sums = self.pair(SUMS, epoch);
        let drafts = right.iter().zip(&sums).flat_map(|(right, sums)| {
            let drafts = (0..right.grid.blocks()).map(|block| {
                let reads = [right.block(block), sums.block(block)].map(Read::whole);
                let writes = vec![self.leaf(cross, right.mode, block)];
                let cost = rows(right, block) * u64::from(columns.div_ceil(16));
                (op.clone(), reads.to_vec(), writes, cost)
            });
            drafts.collect::<Vec<_>>()
        });
        stage.push("pairs", Role::Silent, drafts, Vec::new());
        stage.reduce("pairs", cross);
        let (root, basis) = (cross.root(), cross.above_root());
        let cost = basis_len(width_of(columns as usize)) as u64 / 16;
        let op = Op::Graph(GraphOp::Pairs(PairsOp { columns })).encode();
        let draft = (op, vec![Read::whole(root)], vec![basis], cost);
        let frees = vec![KeyRange::One(root)];
        stage.push("basis", Role::Silent, std::iter::once(draft), frees);
        // Factors are those of A, not of what it is divided by.
        let scales = Scales {
            made: Power(-self.power().0),
            ..Scales::default()
        };
        let factors = [true, false].map(|signed| (Factor::Pair { rank, signed }, scales));
        let model: Pair = BOTH.map(|mode| self.input.table(MODEL, mode, rank, epoch.into()));
        self.turn(stage, "factors", (right, cross, &model), factors, None);
        stage.push_frees(freed(right, []));
        if epoch > 1 {
            let before = BOTH.map(|mode| self.input.table(MODEL, mode, rank, u64::from(epoch - 1)));
            stage.push_frees(freed(&before, []));
        }
        let op = ResidualsOp {
            columns,
            rank,
            pairs: true,
        };
        let gram = self.sum(Sum::OfSums, epoch).root();
        let draft = (
            Op::Graph(GraphOp::Residuals(op)).encode(),
            vec![Read::whole(basis), Read::whole(gram)],
            Vec::new(),
            cost,
        );
        let frees = vec![KeyRange::One(basis)];
        stage.push("residuals", Role::Residuals, std::iter::once(draft), frees);
    }
}

/// What is not read again: both tables, and the bases of sums.
fn freed<const N: usize>(tables: &Pair, sums: [Reduction; N]) -> Vec<KeyRange> {
    let tables = tables.iter().map(TableVersion::keys);
    let bases = sums.map(|sum| KeyRange::One(sum.above_root()));
    tables.chain(bases).collect()
}
