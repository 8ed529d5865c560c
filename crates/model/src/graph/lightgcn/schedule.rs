//! The steps of LightGCN as values: which task reads and writes which keys, and when keys are freed.
//!
//! With Â = Dᵃ A Dᵇ (a = b = −½ for symmetric), everything that layers read is kept times Dᵇ: parameters x̃ = Dᵇ X and
//! sums. Then a layer is s ← x̃ + Dᵃ⁺ᵇ R s, whose interactions are gathered without weights, and the last is brought
//! back, E = D⁻ᵇ s / (L + 1). Backwards, where Â is its transpose, gradients are kept times Dᵃ. Users and products go through a layer in the same step. Where rows of a mode have edges S among
//! one another, w Dᵃ⁺ᵇ S s is added onto x̃ in a step before it. Where rows have edges to themselves, s is added to R s.
//!
//! **Invariant:** every name here follows from the number of the step of Adam, and that from epoch and batch, so a replay makes the
//! same steps.

use super::settings::Settings;
use crate::graph::batches::{Role, Schedule};
use crate::graph::learnt::{BOTH, EMBEDDINGS, GRADIENTS, Learnt, MEANS, PARAMETERS, SQUARES};
use crate::graph::ops::{AdamOp, Onto, Power, ProductOp, Scales};
use crate::graph::steps::{self, Arranged, Draft, Factors, Input, along, product};
use crate::training::TableVersion;
use kernels::width_of;
use tensor::{KeyRange, Mode, ModeEdges, ObjectKey, Step, TableId};

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

type Stage = steps::Stage<Role>;

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data.
    pub input: &'a Input,
}

impl Schedule for Layout<'_> {
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        let (settings, edges) = (self.settings, self.settings.edges);
        for mode in BOTH {
            let arranged = self.arranged(mode).filter(|_| settings.layers > 0);
            let (degrees, role) = (self.learnt().degrees(mode), Role::Counts(mode));
            let own = self
                .edges(mode)
                .map(|own| (own, settings.edge_weight(mode)));
            let weights = (edges, own, settings.self_loops && settings.layers > 0);
            stage.open(self.input, weights, &degrees, arranged.as_ref(), role);
        }
        let given = BOTH
            .map(|mode| stage.given(self.input, (GIVEN, mode), settings.rank, Role::Given(mode)));
        let deviation = settings.init_scale / f64::from(settings.rank).sqrt();
        let drafts = BOTH.into_iter().zip(&given).flat_map(|(mode, given)| {
            let to = self.after(PARAMETERS, mode, 0);
            let of = (deviation, settings.powers()[1], 0);
            let of_block = |block| self.parameters(mode, 0, block);
            self.learnt().first_rows(&to, of, given.as_ref(), of_block)
        });
        let read = given.iter().flatten().map(TableVersion::keys).collect();
        stage.push("first embeddings", Role::Silent, drafts, read);
        self.forward(&mut stage, 0);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        for batch in 0..self.settings.batches() {
            let step = self.learnt().steps(epoch - 1) + batch + 1;
            self.head(&mut stage, (epoch, batch), step);
            self.backward(&mut stage, step);
            self.adam(&mut stage, step);
            self.forward(&mut stage, step);
        }
        stage.steps
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        BOTH.map(|mode| self.after(EMBEDDINGS, mode, self.learnt().steps(epoch)))
            .to_vec()
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let step = self.learnt().steps(epoch);
        let mut kept = Vec::new();
        for mode in BOTH {
            kept.push(self.learnt().degrees(mode).keys());
            if let Some(arranged) = self.arranged(mode).filter(|_| self.settings.layers > 0) {
                kept.push(arranged.tiles.keys());
            }
            for table in [EMBEDDINGS, PARAMETERS, MEANS, SQUARES] {
                let keys = self.after(table, mode, step).keys();
                if !kept.contains(&keys) {
                    kept.push(keys);
                }
            }
            if self.learnt().all_pairs() {
                kept.push(KeyRange::One(self.learnt().gram(mode, step).root()));
            }
        }
        kept
    }
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

    /// What is as in other models that learn in batches.
    fn learnt(&self) -> Learnt<'_> {
        Learnt {
            input: self.input,
            columns: self.settings.rank,
            scored: EMBEDDINGS,
            learning: self.settings.learning,
        }
    }

    /// The edges between rows of a mode, where they count.
    fn edges(&self, mode: Mode) -> Option<&ModeEdges> {
        self.input.linked(mode, self.settings.edge_weight(mode))
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

    /// The keys of a block of embeddings, with its Gram where it is asked for.
    fn embedded(&self, mode: Mode, step: u32, block: u32) -> Vec<ObjectKey> {
        let gram = self
            .learnt()
            .all_pairs()
            .then(|| self.learnt().gram(mode, step).leaf(block));
        let block = self.after(EMBEDDINGS, mode, step).block(block);
        std::iter::once(block).chain(gram).collect()
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
    fn head(&self, stage: &mut Stage, (epoch, batch): (u32, u32), step: u32) {
        let gradients = BOTH.map(|mode| self.after(GRADIENTS, mode, step));
        let powers = [self.settings.powers()[0]; 2];
        let head = self.learnt().head((epoch, batch), step, gradients, powers);
        let mut frees = Vec::new();
        if self.settings.layers > 0 {
            frees.extend(head.embeddings.iter().map(TableVersion::keys));
        }
        if self.learnt().all_pairs() {
            frees.extend(head.grams.map(KeyRange::One));
        }
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
        let [made, read] = self.settings.powers();
        let mut drafts: Vec<Draft> = Vec::new();
        for (at, mode) in BOTH.into_iter().enumerate() {
            let (base, others) = (&base[at], &from[1 - at]);
            let op = ProductOp {
                rows: base.grid.clone(),
                others: others.grid.clone(),
                columns: self.settings.rank,
                edges: self.settings.edges,
                scales: Scales {
                    made: Power(made.0 + read.0),
                    stored: Power(0),
                },
                onto: Some(if last {
                    Onto {
                        power: Power(-read.0),
                        by: self.share(),
                        share: 1.0,
                    }
                } else {
                    ONTO
                }),
                loops: self.settings.self_loops,
            };
            let of = Factors {
                others,
                degrees: &self.learnt().degrees(mode),
                base: Some(base),
                own: self.settings.self_loops.then_some(&from[at]),
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
            let [made, read] = self.settings.powers();
            let scaled = (Power(made.0 + read.0), added);
            let of = Factors {
                others: &from[at],
                degrees: &self.learnt().degrees(mode),
                base: Some(&base[at]),
                own: None,
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
        if self.learnt().all_pairs() {
            for mode in BOTH {
                stage.reduce("squares", self.learnt().gram(mode, step));
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
                power: settings.powers()[1],
                of_gradients: settings.powers()[0],
                share: self.share(),
                rate: (settings.rate() * settings.learning.left_at(step)) as f32,
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
                let embedded = settings.layers == 0 && self.learnt().all_pairs();
                embedded.then(|| self.learnt().gram(mode, step).leaf(block))
            };
            let moving = steps::adam(op, tables, &sums, &self.learnt().degrees(mode), gram);
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        stage.push("Adam", Role::Silent, drafts.into_iter(), frees);
    }
}
