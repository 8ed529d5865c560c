//! The steps of LightGCN as values: which task reads and writes which keys, and when keys are freed.
//!
//! With a the power of degrees on a side (−½ for symmetric), everything that layers read is kept times Dᵃ: parameters x̃ = Dᵃ X,
//! gradients and sums. Then a layer is s ← x̃ + D²ᵃ R s, whose interactions are gathered without weights, and the last is brought
//! back, E = D⁻ᵃ s / (L + 1). Users and products go through a layer in the same step. Where rows of a mode have edges S among
//! one another, w D²ᵃ S s is added onto x̃ in a step before it.
//!
//! **Invariant:** every name here follows from the number of the step of Adam, and that from epoch and batch, so a replay makes the
//! same steps.

use super::settings::Settings;
use crate::graph::batches::Role;
use crate::graph::heads::HeadSteps;
use crate::graph::learning::HeadName;
use crate::graph::ops::{AdamOp, Batch, GraphOp, Onto, Power, ProductOp, Scales, StartOp};
use crate::graph::steps::{self, Arranged, Draft, Factors, Input, along, product, rows};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::TableVersion;
use kernels::{upper_len, width_of};
use tensor::{KeyRange, Mode, ModeEdges, ObjectKey, Read, Step, TableId};

/// Tables of users; those of products have the next number. E, which is the model.
pub const EMBEDDINGS: TableId = TableId(0);
/// Degrees.
pub const DEGREES: TableId = TableId(2);
/// x̃; without layers it is E.
pub const PARAMETERS: TableId = TableId(4);
/// The means of gradients.
pub const MEANS: TableId = TableId(6);
/// The means of their squares.
pub const SQUARES: TableId = TableId(8);
/// Gradients by E.
pub const GRADIENTS: TableId = TableId(10);
/// What layers make.
pub const SUMS: TableId = TableId(12);
/// Interactions by ranges of the other mode's rows.
pub const TILES: TableId = TableId(18);
/// What layers bring along edges between rows of a mode, with what they are added to.
pub const NEIGHBOURS: TableId = TableId(20);
/// First rows as they were given.
pub const GIVEN: TableId = TableId(22);

/// Sums that are added as they are.
const ONTO: Onto = Onto {
    share: 1.0,
    power: Power(0),
    by: 1.0,
};

const BOTH: [Mode; 2] = [Mode::User, Mode::Product];

type Stage = steps::Stage<Role>;

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
}

impl Layout<'_> {
    fn version(&self, of_users: TableId, mode: Mode, columns: u32, version: u64) -> TableVersion {
        self.input.table(of_users, mode, columns, version)
    }

    /// A table after so many steps of Adam.
    fn after(&self, table: TableId, mode: Mode, step: u32) -> TableVersion {
        let table = if table == PARAMETERS && self.settings.layers == 0 {
            EMBEDDINGS
        } else {
            table
        };
        self.version(table, mode, self.settings.rank, step.into())
    }

    /// The edges between rows of a mode, where they count.
    pub fn edges(&self, mode: Mode) -> Option<&ModeEdges> {
        self.input.linked(mode, self.settings.edge_weight(mode))
    }

    fn degrees(&self, mode: Mode) -> TableVersion {
        self.version(DEGREES, mode, 1, 0)
    }

    /// The interactions of a mode by ranges of the other one's rows, where that pays.
    fn arranged(&self, mode: Mode) -> Option<Arranged> {
        let tiles = self.version(TILES, mode, 1, 0);
        Arranged::of(self.input, tiles, width_of(self.settings.rank as usize))
    }

    /// What the layer with a number makes, of all that a step of Adam goes through forwards and backwards.
    fn sums(&self, mode: Mode, step: u32, layer: u32) -> TableVersion {
        let number = u64::from(step) * 2 * u64::from(self.settings.layers) + u64::from(layer);
        self.version(SUMS, mode, self.settings.rank, number)
    }

    /// Steps of Adam when an epoch is done.
    fn steps(&self, epoch: u32) -> u32 {
        epoch * self.settings.batches()
    }

    fn gram(&self, mode: Mode, step: u32) -> Reduction {
        let table = self.after(EMBEDDINGS, mode, step);
        Reduction {
            id: 2 * u64::from(step) + u64::from(mode == Mode::Product),
            leaves: table.grid.blocks(),
            rows: 1,
            row_bytes: (upper_len(table.width as usize) * 8) as u32,
        }
    }

    /// Whether the head asks for Grams of embeddings.
    fn all_pairs(&self) -> bool {
        self.settings.loss == HeadName::AllPairs
    }

    /// The keys of a block of embeddings, with its Gram where it is asked for.
    fn embedded(&self, mode: Mode, step: u32, block: u32) -> Vec<ObjectKey> {
        let gram = self.all_pairs().then(|| self.gram(mode, step).leaf(block));
        let block = self.after(EMBEDDINGS, mode, step).block(block);
        std::iter::once(block).chain(gram).collect()
    }

    /// The tables of the model after an epoch.
    pub fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        BOTH.map(|mode| self.after(EMBEDDINGS, mode, self.steps(epoch)))
            .to_vec()
    }

    /// What a program restored after an epoch reads and does not write.
    pub fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let step = self.steps(epoch);
        let mut kept = Vec::new();
        for mode in BOTH {
            kept.push(self.degrees(mode).keys());
            if let Some(arranged) = self.arranged(mode).filter(|_| self.settings.layers > 0) {
                kept.push(arranged.tiles.keys());
            }
            for table in [EMBEDDINGS, PARAMETERS, MEANS, SQUARES] {
                let keys = self.after(table, mode, step).keys();
                if !kept.contains(&keys) {
                    kept.push(keys);
                }
            }
            if self.all_pairs() {
                kept.push(KeyRange::One(self.gram(mode, step).root()));
            }
        }
        kept
    }

    /// Degrees, the first parameters and the first embeddings.
    pub fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        let (settings, edges) = (self.settings, self.settings.edges);
        for mode in BOTH {
            let arranged = self.arranged(mode).filter(|_| settings.layers > 0);
            let (degrees, role) = (self.degrees(mode), Role::Counts(mode));
            let own = self
                .edges(mode)
                .map(|own| (own, settings.edge_weight(mode)));
            stage.open(self.input, (edges, own), &degrees, arranged.as_ref(), role);
        }
        let given = BOTH
            .map(|mode| stage.given(self.input, (GIVEN, mode), settings.rank, Role::Given(mode)));
        let start = |mode| {
            let given = given[usize::from(mode == Mode::Product)].as_ref();
            let op = Op::Graph(GraphOp::Start(StartOp {
                mode,
                grid: self.input.grid(mode).clone(),
                columns: settings.rank,
                seed: settings.seed,
                by: (settings.init_scale / f64::from(settings.rank).sqrt()) as f32,
                power: settings.power(mode),
                zeros: 0,
                given: given.is_some(),
            }))
            .encode();
            let (to, degrees) = (self.after(PARAMETERS, mode, 0), self.degrees(mode));
            self.blocks(mode, move |block| {
                let mut reads = vec![Read::whole(degrees.block(block))];
                reads.extend(given.map(|given| Read::whole(given.block(block))));
                let writes = self.parameters(mode, 0, block);
                (op.clone(), reads, writes, rows(&to, block))
            })
        };
        let drafts = BOTH.into_iter().flat_map(start);
        let read = given.iter().flatten().map(TableVersion::keys).collect();
        stage.push("first embeddings", Role::Silent, drafts, read);
        self.forward(&mut stage, 0);
        stage.steps
    }

    /// All steps of an epoch, counted from 1.
    pub fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        for batch in 0..self.settings.batches() {
            let step = self.steps(epoch - 1) + batch + 1;
            self.head(&mut stage, epoch, batch, step);
            self.backward(&mut stage, step);
            self.adam(&mut stage, step);
            self.forward(&mut stage, step);
        }
        stage.steps
    }

    /// A draft a block of a mode.
    fn blocks(&self, mode: Mode, draft: impl Fn(u32) -> Draft) -> impl Iterator<Item = Draft> {
        (0..self.input.grid(mode).blocks()).map(draft)
    }

    /// Where parameters go, which without layers are embeddings.
    fn parameters(&self, mode: Mode, step: u32, block: u32) -> Vec<ObjectKey> {
        if self.settings.layers == 0 {
            self.embedded(mode, step, block)
        } else {
            vec![self.after(PARAMETERS, mode, step).block(block)]
        }
    }

    /// The gradients by the embeddings that the step before made.
    fn head(&self, stage: &mut Stage, epoch: u32, batch: u32, step: u32) {
        let settings = self.settings;
        let both = |table, step| BOTH.map(|mode| self.after(table, mode, step));
        let embeddings = both(EMBEDDINGS, step - 1);
        let grams = BOTH.map(|mode| self.gram(mode, step - 1).root());
        let mut frees = Vec::new();
        if settings.layers > 0 {
            frees.extend(embeddings.iter().map(TableVersion::keys));
        }
        if self.all_pairs() {
            frees.extend(grams.map(KeyRange::One));
        }
        let head = HeadSteps {
            input: self.input,
            columns: settings.rank,
            head: settings.head(),
            noise: settings.noise_power,
            batch: Batch {
                seed: settings.seed,
                epoch,
                count: settings.batches(),
                number: batch,
            },
            step,
            embeddings,
            grams,
            degrees: BOTH.map(|mode| self.degrees(mode)),
            gradients: both(GRADIENTS, step),
            powers: BOTH.map(|mode| settings.power(mode)),
        };
        head.push(stage, Role::losses(batch, head.head), frees);
    }

    /// A layer of both modes: sums of what `from` holds onto `base`, which the last one brings back to the scale of embeddings.
    fn layer(
        &self,
        stage: &mut Stage,
        (name, number): (&str, (u64, bool)),
        (from, base): (&[TableVersion; 2], &[TableVersion; 2]),
        last: bool,
        writes: impl Fn(Mode, u32) -> Vec<ObjectKey>,
    ) {
        let (base, frees) = self.neighbours(stage, number, (from, base));
        let mut drafts: Vec<Draft> = Vec::new();
        for (at, mode) in BOTH.into_iter().enumerate() {
            let (base, others) = (&base[at], &from[1 - at]);
            let power = self.settings.power(mode);
            let op = ProductOp {
                rows: base.grid.clone(),
                others: others.grid.clone(),
                columns: self.settings.rank,
                edges: self.settings.edges,
                scales: Scales {
                    made: Power(2 * power.0),
                    stored: Power(0),
                },
                onto: Some(if last {
                    Onto {
                        power: Power(-power.0),
                        by: self.share(),
                        share: 1.0,
                    }
                } else {
                    ONTO
                }),
            };
            let of = Factors {
                others,
                degrees: &self.degrees(mode),
                base: Some(base),
            };
            let (arranged, partitions) = (self.arranged(mode), self.input.partitions(mode));
            let of_mode = |block| writes(mode, block);
            drafts.extend(product(arranged.as_ref(), &op, &of, partitions, of_mode));
        }
        stage.push(name, Role::Silent, drafts.into_iter(), frees);
    }

    /// What a layer is added onto: what it would be, with what goes along edges between rows of a mode where there are any; and what
    /// of that is to be freed when the layer is done. Backwards, edges lead back.
    fn neighbours(
        &self,
        stage: &mut Stage,
        (number, back): (u64, bool),
        (from, base): (&[TableVersion; 2], &[TableVersion; 2]),
    ) -> ([TableVersion; 2], Vec<KeyRange>) {
        let (mut onto, mut frees) = (base.clone(), Vec::new());
        let mut drafts: Vec<Draft> = Vec::new();
        for (at, mode) in BOTH.into_iter().enumerate() {
            let Some(edges) = self.edges(mode) else {
                continue;
            };
            let to = self.version(NEIGHBOURS, mode, self.settings.rank, number);
            let added = Onto {
                share: self.settings.edge_weight(mode) as f32,
                ..ONTO
            };
            let scaled = (Power(2 * self.settings.power(mode).0), added);
            let of = Factors {
                others: &from[at],
                degrees: &self.degrees(mode),
                base: Some(&base[at]),
            };
            drafts.extend(along((edges, back), &of, scaled, &to));
            frees.push(to.keys());
            onto[at] = to;
        }
        if !drafts.is_empty() {
            stage.push("neighbours", Role::Silent, drafts.into_iter(), Vec::new());
        }
        (onto, frees)
    }

    /// 1 / (L + 1).
    fn share(&self) -> f32 {
        1.0 / (self.settings.layers + 1) as f32
    }

    /// The embeddings of parameters, with their Grams where the head asks for them.
    fn forward(&self, stage: &mut Stage, step: u32) {
        let parameters = BOTH.map(|mode| self.after(PARAMETERS, mode, step));
        let mut from = parameters.clone();
        for layer in 1..=self.settings.layers {
            let last = layer == self.settings.layers;
            let to = BOTH.map(|mode| self.sums(mode, step, layer));
            let name = ("layer", (to[0].version, false));
            self.layer(stage, name, (&from, &parameters), last, |mode, block| {
                if last {
                    self.embedded(mode, step, block)
                } else {
                    vec![to[usize::from(mode == Mode::Product)].block(block)]
                }
            });
            if layer > 1 {
                stage.push_frees(from.iter().map(TableVersion::keys).collect());
            }
            from = to;
        }
        if self.all_pairs() {
            for mode in BOTH {
                stage.reduce("squares", self.gram(mode, step));
            }
        }
    }

    /// What the gradients by embeddings are to parameters, but for the scale.
    fn backward(&self, stage: &mut Stage, step: u32) {
        let gradients = BOTH.map(|mode| self.after(GRADIENTS, mode, step));
        let mut from = gradients.clone();
        for layer in 1..=self.settings.layers {
            let to = BOTH.map(|mode| self.sums(mode, step, self.settings.layers + layer));
            let blocks =
                |mode: Mode, block: u32| vec![to[usize::from(mode == Mode::Product)].block(block)];
            let name = ("layer back", (to[0].version, true));
            self.layer(stage, name, (&from, &gradients), false, blocks);
            if layer > 1 {
                stage.push_frees(from.iter().map(TableVersion::keys).collect());
            }
            from = to;
        }
        if self.settings.layers > 0 {
            stage.push_frees(gradients.iter().map(TableVersion::keys).collect());
        }
    }

    /// Moves parameters.
    fn adam(&self, stage: &mut Stage, step: u32) {
        let settings = self.settings;
        let (mut drafts, mut frees): (Vec<Draft>, _) = (Vec::new(), Vec::new());
        for mode in BOTH {
            let op = AdamOp {
                columns: settings.rank,
                power: settings.power(mode),
                share: self.share(),
                rate: settings.rate() as f32,
                regularization: settings.regularization / f64::from(settings.batches()),
                step,
            };
            let sums = if settings.layers == 0 {
                self.after(GRADIENTS, mode, step)
            } else {
                self.sums(mode, step, 2 * settings.layers)
            };
            let tables = [step - 1, step].map(|step| {
                [PARAMETERS, MEANS, SQUARES].map(|table| self.after(table, mode, step))
            });
            let gram = |block| {
                let embedded = settings.layers == 0 && self.all_pairs();
                embedded.then(|| self.gram(mode, step).leaf(block))
            };
            let moving = steps::adam(op, tables, &sums, &self.degrees(mode), gram);
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        stage.push("Adam", Role::Silent, drafts.into_iter(), frees);
    }
}
