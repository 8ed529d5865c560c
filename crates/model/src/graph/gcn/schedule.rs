//! The steps of graph convolution as values: which task reads and writes which keys, and when keys are freed.
//!
//! With Â = Dᵃ A Dᵇ (a = b = −½ for symmetric), layers below the last are kept times Dᵇ, so products gather rows without
//! weights; a product is scaled by Dᵃ of its own rows and stays as it is. Backwards, gradients by layers and by own rows stay as they
//! are, those by sums over neighbours are kept times Dᵃ, for the product that brings them to the other side, times Dᵇ. Users and products go
//! through a layer in the same step. All that layers made is kept until their gradients are made, spilled where memory is short.
//!
//! With dropout every step goes through layers of its own, of which numbers are dropped, in tables beside the model's; what is scored
//! goes through whole ones once an epoch, of which only the model is kept.
//!
//! **Invariant:** every name here follows from the number of the step of Adam, and that from epoch and batch, so a replay makes the
//! same steps.

use super::given::{Matrices, Reading};
use super::settings::{Settings, Weights};
use crate::als::Columns;
use crate::graph::batches::{Role, Schedule};
use crate::graph::dropout::Dropout;
use crate::graph::learnt::{BOTH, EMBEDDINGS, GRADIENTS, Learnt, MEANS, PARAMETERS, SQUARES};
use crate::graph::ops::{
    Activation, AdamOp, DenseBackOp, DenseOp, FeaturesBackOp, FeaturesOp, FirstMatrixOp,
    FirstNumbers, GraphOp, MeanOp, Onto, Power, ProductOp, Scales,
};
use crate::graph::steps::{self, Arranged, Draft, Factors, Input, along, product, rows};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use kernels::width_of;
use std::collections::BTreeMap;
use tensor::{
    Attributes, BlockId, DepotId, Grid, KeyRange, Mode, ModeEdges, Read, SealedRef, Step, TableId,
};

/// Sums over neighbours.
pub const SUMS: TableId = TableId(12);
/// Interactions by ranges of the other mode's rows.
pub const TILES: TableId = TableId(18);
/// Layers between the first and the last.
pub const LAYERS: TableId = TableId(20);
/// Gradients by sums over neighbours, and by own rows.
pub const TO_SUMS: TableId = TableId(22);
/// Gradients by own rows.
pub const TO_OWN: TableId = TableId(24);
/// Matrices, a block a layer: those of neighbours and, where they are free, those of own rows. Shared ones are users'.
pub const WEIGHTS: TableId = TableId(26);
/// The means of their gradients.
pub const WEIGHT_MEANS: TableId = TableId(28);
/// The means of the squares of these.
pub const WEIGHT_SQUARES: TableId = TableId(30);

/// The first layer, where attributes are part of it.
pub const FEATURES: TableId = TableId(32);
/// A learnt row for each column of attributes.
pub const MAPS: TableId = TableId(34);
/// The means of their gradients.
pub const MAP_MEANS: TableId = TableId(36);
/// The means of the squares of these.
pub const MAP_SQUARES: TableId = TableId(38);
/// Sums over interactions, where what goes along edges between rows of a mode is added to them. 40 and 41 are those of heads.
pub const NEIGHBOURS: TableId = TableId(42);
/// First rows as they were given.
pub const GIVEN: TableId = TableId(44);

/// From what layers make to what they make while some is dropped.
const DROPPED: u16 = 64;

/// Beyond the numbers of the reductions of Grams, which rise from 0.
const REDUCTIONS: u64 = 1 << 40;
/// Beyond those of the gradients by matrices of layers.
const MAP_REDUCTIONS: u64 = 1 << 48;

type Stage = steps::Stage<Role>;

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The graph.
    pub input: &'a Input,
    /// What is known of its nodes.
    pub attributes: &'a BTreeMap<Mode, Attributes>,
    /// Those of an earlier model, where the job names one.
    pub matrices: Option<&'a Matrices>,
    /// Whether layers lose what dropout says.
    pub drops: bool,
}

impl Schedule for Layout<'_> {
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        let settings = self.settings;
        for mode in BOTH {
            let (degrees, role) = (self.learnt().degrees(mode), Role::Counts(mode));
            let arranged = self.arranged(mode);
            let own = self.edges(mode);
            let own = own.map(|own| (own, settings.edge_weight(mode)));
            let weights = (settings.edges, own, settings.self_loops);
            stage.open(self.input, weights, &degrees, arranged.as_ref(), role);
        }
        let given = BOTH
            .map(|mode| stage.given(self.input, (GIVEN, mode), settings.rank, Role::Given(mode)));
        let rows = BOTH.into_iter().zip(&given);
        let rows = rows.flat_map(|(mode, given)| self.first_rows(mode, given.as_ref()));
        let read = given.iter().flatten().map(TableVersion::keys).collect();
        stage.push("first rows", Role::Silent, rows, read);
        let owners = self.owners().iter();
        let matrices = owners.flat_map(|&mode| self.first_weights(mode));
        let maps = BOTH.into_iter().filter_map(|mode| self.first_maps(mode));
        let drafts = matrices.chain(maps);
        stage.push("first weights", Role::Silent, drafts, Vec::new());
        self.forward(&mut stage, 0);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.rank);
        let training = self.training();
        for batch in 0..self.settings.batches() {
            let step = self.learnt().steps(epoch - 1) + batch + 1;
            if training.drops {
                training.forward(&mut stage, step - 1);
            }
            training.head(&mut stage, (epoch, batch), step);
            for layer in (0..self.settings.layers).rev() {
                training.back(&mut stage, step, layer);
            }
            training.adam(&mut stage, step);
            if !training.drops {
                self.forward(&mut stage, step);
            }
        }
        if training.drops {
            self.forward(&mut stage, self.learnt().steps(epoch));
            let before = self.learnt().steps(epoch - 1);
            let before = BOTH.map(|mode| self.learnt().after(EMBEDDINGS, mode, before).keys());
            stage.push_frees(before.to_vec());
        }
        stage.steps
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        let step = self.learnt().steps(epoch);
        let embeddings = BOTH.map(|mode| self.learnt().after(EMBEDDINGS, mode, step));
        let owners = self.owners().iter();
        let weights = owners.map(|&mode| self.weights(WEIGHTS, mode, step));
        let maps = BOTH.map(|mode| self.maps(MAPS, mode, step));
        let learnt = weights.chain(maps.into_iter().flatten());
        embeddings.into_iter().chain(learnt).collect()
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let step = self.learnt().steps(epoch);
        let mut kept = Vec::new();
        for mode in BOTH {
            kept.push(self.learnt().degrees(mode).keys());
            kept.extend(self.arranged(mode).map(|arranged| arranged.tiles.keys()));
            kept.push(self.learnt().after(EMBEDDINGS, mode, step).keys());
            for table in self.passed(mode, step) {
                if self.settings.dropout == 0.0 && !kept.contains(&table) {
                    kept.push(table);
                }
            }
            for table in self.rows_learnt(mode, step).iter().flatten() {
                if !kept.contains(&table.keys()) {
                    kept.push(table.keys());
                }
            }
            let maps = [MAPS, MAP_MEANS, MAP_SQUARES].map(|table| self.maps(table, mode, step));
            kept.extend(maps.iter().flatten().map(TableVersion::keys));
            if self.settings.dropout == 0.0 && self.learnt().all_pairs() {
                kept.push(KeyRange::One(self.learnt().gram(mode, step).root()));
            }
        }
        for &mode in self.owners() {
            let tables = [WEIGHTS, WEIGHT_MEANS, WEIGHT_SQUARES];
            kept.extend(tables.map(|table| self.weights(table, mode, step).keys()));
        }
        kept
    }
}

impl Layout<'_> {
    /// What is as in other models that learn in batches.
    fn learnt(&self) -> Learnt<'_> {
        Learnt {
            input: self.input,
            columns: self.settings.rank,
            scored: self.in_pass(EMBEDDINGS),
            learning: self.settings.learning,
        }
    }

    /// The layers that gradients are made of.
    fn training(&self) -> Layout<'_> {
        Layout {
            drops: self.settings.dropout > 0.0,
            ..*self
        }
    }

    /// A table of layers, or the one beside it.
    fn in_pass(&self, table: TableId) -> TableId {
        TableId(table.0 + if self.drops { DROPPED } else { 0 })
    }

    /// Whether a head reads what this pass makes.
    fn is_trained(&self) -> bool {
        self.drops || self.settings.dropout == 0.0
    }

    /// What a layer, counted from 0, drops at a step, of a block.
    fn dropout(&self, mode: Mode, step: u32, (layer, block): (u32, u32)) -> Option<Dropout> {
        let between = self.drops && layer + 1 < self.settings.layers;
        between.then(|| Dropout {
            share: self.settings.dropout,
            seed: self.settings.learning.seed,
            mode,
            layer,
            step,
            first_row: self.input.grid(mode).row_ids(BlockId(block)).start,
        })
    }

    /// What a layer, counted from 0, makes or is made of at a step.
    fn of_layer(&self, table: TableId, mode: Mode, step: u32, layer: u32) -> TableVersion {
        let number = u64::from(step) * u64::from(self.settings.layers + 1) + u64::from(layer);
        let table = self.in_pass(table);
        self.input.table(table, mode, self.settings.rank, number)
    }

    /// What layers made and were made of at a step, but learnt rows and what is scored.
    fn passed(&self, mode: Mode, step: u32) -> Vec<KeyRange> {
        let settings = self.settings;
        let first = u32::from(!settings.reads_attributes());
        let last = settings.layers - u32::from(settings.share().is_none());
        let layers = (first..=last).map(|layer| self.layer(mode, step, layer));
        let sums = (0..settings.layers).map(|layer| self.of_layer(SUMS, mode, step, layer));
        layers.chain(sums).map(|table| table.keys()).collect()
    }

    /// The layer with a number: 0 are the features, the last the model.
    fn layer(&self, mode: Mode, step: u32, layer: u32) -> TableVersion {
        match layer {
            0 if self.settings.reads_attributes() => {
                self.learnt().after(self.in_pass(FEATURES), mode, step)
            }
            0 => self.learnt().after(PARAMETERS, mode, step),
            last if last == self.settings.layers && self.settings.share().is_none() => {
                self.scored(mode, step)
            }
            between => self.of_layer(LAYERS, mode, step, between),
        }
    }

    /// What the pass ends with.
    fn scored(&self, mode: Mode, step: u32) -> TableVersion {
        let learnt = self.learnt();
        learnt.after(learnt.scored, mode, step)
    }

    /// The edges between rows of a mode, where they count.
    fn edges(&self, mode: Mode) -> Option<&ModeEdges> {
        self.input.linked(mode, self.settings.edge_weight(mode))
    }

    /// The interactions of a mode by ranges of the other one's rows, where that pays.
    fn arranged(&self, mode: Mode) -> Option<Arranged> {
        let tiles = self.input.table(TILES, mode, 1, 0);
        Arranged::of(self.input, tiles, width_of(self.settings.rank as usize))
    }

    /// Whose matrices there are.
    fn owners(&self) -> &'static [Mode] {
        match self.settings.weights {
            Weights::Separate => &BOTH,
            Weights::Shared => &BOTH[..1],
        }
    }

    /// The matrices that a mode goes through, or their means.
    fn weights(&self, table: TableId, mode: Mode, step: u32) -> TableVersion {
        let owner = if self.owners().contains(&mode) {
            mode
        } else {
            Mode::User
        };
        let lines = self.settings.parts() * self.settings.rank;
        TableVersion {
            holds: Holds::Weights,
            grid: Grid {
                stride_log2: lines.next_power_of_two().trailing_zeros() as u8,
                rows: vec![lines; self.settings.layers as usize],
            },
            ..self.learnt().after(table, owner, step)
        }
    }

    /// What is known of a mode's rows, where the job reads it.
    fn known(&self, mode: Mode) -> Option<&Attributes> {
        let attributes = self.attributes.get(&mode);
        attributes.filter(|_| self.settings.reads_attributes())
    }

    /// How their words are read.
    fn readings(&self, mode: Mode) -> Vec<Reading> {
        let words = self.matrices.and_then(|given| given.words.get(&mode));
        words.cloned().unwrap_or_default()
    }

    /// The matrix of a mode's attributes, or its means.
    fn maps(&self, table: TableId, mode: Mode, step: u32) -> Option<TableVersion> {
        let known = self.known(mode)?;
        Some(TableVersion {
            holds: Holds::Maps,
            grid: Grid::single(known.columns() as u32),
            ..self.learnt().after(table, mode, step)
        })
    }

    /// The tables of rows that a mode learns: with their means, or alone.
    fn rows_learnt(&self, mode: Mode, step: u32) -> Option<[TableVersion; 3]> {
        let tables =
            [PARAMETERS, MEANS, SQUARES].map(|table| self.learnt().after(table, mode, step));
        self.settings.learns_rows().then_some(tables)
    }

    /// The gradients of a mode by the matrices of a layer.
    fn slopes(&self, mode: Mode, step: u32, layer: u32) -> Reduction {
        let table = self.of_layer(LAYERS, mode, step, layer);
        let lines = self.settings.parts() * self.settings.rank;
        Reduction {
            id: REDUCTIONS + 2 * table.version + u64::from(mode == Mode::Product),
            leaves: table.grid.blocks(),
            rows: lines.into(),
            row_bytes: table.width * 8,
        }
    }

    /// The gradients of a mode by the matrix of its attributes.
    fn map_slopes(&self, mode: Mode, step: u32, lines: u32) -> Reduction {
        let table = self.learnt().after(MAPS, mode, step);
        Reduction {
            id: MAP_REDUCTIONS + 2 * table.version + u64::from(mode == Mode::Product),
            leaves: table.grid.blocks(),
            rows: lines.into(),
            row_bytes: table.width * 8,
        }
    }

    fn first_rows(&self, mode: Mode, given: Option<&TableVersion>) -> Vec<Draft> {
        let Some([to, ..]) = self.rows_learnt(mode, 0) else {
            return Vec::new();
        };
        let power = self.settings.kept_power();
        let deviation = self.settings.init_scale / f64::from(self.settings.rank).sqrt();
        let of_block = |block| vec![to.block(block)];
        self.learnt()
            .first_rows(&to, (deviation, power, 0), given, of_block)
    }

    /// Smaller than rows by the root of the rank: all rows have parts of the same few lines, and with them one direction, so what is little for
    /// one is much for the sums over neighbours and for all pairs.
    fn first_maps(&self, mode: Mode) -> Option<Draft> {
        let to = self.maps(MAPS, mode, 0)?;
        let drawn = FirstNumbers::Normal {
            seed: self.settings.learning.seed,
            stream: u32::from(mode == Mode::User),
            by: (self.settings.init_scale / f64::from(self.settings.rank)) as f32,
        };
        let given = self.matrices.and_then(|given| given.maps.get(&mode));
        Some(first_matrix(&to, 0, given, drawn))
    }

    fn first_weights(&self, mode: Mode) -> impl Iterator<Item = Draft> {
        let to = self.weights(WEIGHTS, mode, 0);
        let given = self.matrices.and_then(|given| given.weights.get(&mode));
        (0..to.grid.blocks()).map(move |layer| {
            let given = given.map(|given| &given[layer as usize]);
            first_matrix(&to, layer, given, self.settings.first_weights(mode, layer))
        })
    }

    /// The gradients by the embeddings that the step before made.
    fn head(&self, stage: &mut Stage, (epoch, batch): (u32, u32), step: u32) {
        let last = |mode| self.of_layer(GRADIENTS, mode, step, self.settings.layers);
        let of = (BOTH.map(last), [Power(0); 2]);
        let head = self.learnt().head((epoch, batch), step, of.0, of.1);
        let mut frees: Vec<KeyRange> = head.embeddings.iter().map(TableVersion::keys).collect();
        if self.learnt().all_pairs() {
            frees.extend(head.grams.map(KeyRange::One));
        }
        head.push(stage, Role::losses(batch, head.head), frees);
    }

    /// A product of both modes: sums of what `from` holds, onto `base` where there is one. Where rows of a mode have edges among one
    /// another, what goes along them, backwards back, is added in a step behind it.
    fn products(
        &self,
        stage: &mut Stage,
        (name, number, back): (&str, u64, bool),
        (from, base): (&[TableVersion; 2], Option<&[TableVersion; 2]>),
        (to, onto): (&[TableVersion; 2], impl Fn(Mode) -> Power),
    ) {
        let (mut drafts, mut linked): (Vec<Draft>, Vec<Draft>) = (Vec::new(), Vec::new());
        let mut frees = Vec::new();
        // Â backwards is its transpose.
        let divided = if back {
            self.settings.read_power()
        } else {
            self.settings.made_power()
        };
        for (at, mode) in BOTH.into_iter().enumerate() {
            let (mut to, others) = (&to[at], &from[1 - at]);
            let (base, degrees) = (base.map(|base| &base[at]), self.learnt().degrees(mode));
            let (mut power, made) = (onto(mode), divided);
            let between = self.input.table(
                self.in_pass(NEIGHBOURS),
                mode,
                self.settings.rank,
                2 * number + u64::from(back),
            );
            if let Some(edges) = self.edges(mode) {
                let onto = Onto {
                    share: self.settings.edge_weight(mode) as f32,
                    power,
                    by: 1.0,
                };
                let of = Factors {
                    others: &from[at],
                    degrees: &degrees,
                    base: Some(&between),
                    own: None,
                };
                linked.extend(along((edges, back), &of, (made, onto), to));
                frees.push(between.keys());
                (to, power) = (&between, Power(0));
            }
            let op = ProductOp {
                rows: to.grid.clone(),
                others: others.grid.clone(),
                columns: self.settings.rank,
                edges: self.settings.edges,
                scales: Scales {
                    made,
                    stored: Power(0),
                },
                onto: base.map(|_| Onto {
                    share: 1.0,
                    power,
                    by: 1.0,
                }),
                // Those go past sums, which rows without a degree have none of.
                loops: false,
            };
            let of = Factors {
                others,
                degrees: &degrees,
                base,
                own: None,
            };
            let (arranged, partitions) = (self.arranged(mode), self.input.partitions(mode));
            let writes = |block| vec![to.block(block)];
            drafts.extend(product(arranged.as_ref(), &op, &of, partitions, writes));
        }
        stage.push(name, Role::Silent, drafts.into_iter(), Vec::new());
        if !linked.is_empty() {
            stage.push(name, Role::Silent, linked.into_iter(), frees);
        }
    }

    /// The layers of parameters and, where the head asks for them, the Grams of the last.
    fn forward(&self, stage: &mut Stage, step: u32) {
        if self.settings.reads_attributes() {
            let drafts = BOTH.into_iter().flat_map(|mode| self.features(mode, step));
            stage.push("features", Role::Silent, drafts, Vec::new());
        }
        for layer in 0..self.settings.layers {
            let from = BOTH.map(|mode| self.layer(mode, step, layer));
            let sums = BOTH.map(|mode| self.of_layer(SUMS, mode, step, layer));
            let name = ("neighbours", sums[0].version, false);
            self.products(stage, name, (&from, None), (&sums, |_| Power(0)));
            let drafts = BOTH
                .into_iter()
                .flat_map(|mode| self.dense(mode, step, layer));
            stage.push("layer", Role::Silent, drafts, Vec::new());
        }
        if self.settings.share().is_some() {
            let drafts = BOTH.into_iter().flat_map(|mode| self.mean(mode, step));
            stage.push("mean of layers", Role::Silent, drafts, Vec::new());
        }
        if self.wants_grams() {
            for mode in BOTH {
                stage.reduce("squares", self.learnt().gram(mode, step));
            }
        }
        if !self.is_trained() {
            stage.push_frees(BOTH.map(|mode| self.passed(mode, step)).concat());
        }
    }

    /// Whether a head asks for the Grams of what this pass ends with.
    fn wants_grams(&self) -> bool {
        self.is_trained() && self.learnt().all_pairs()
    }

    /// The tasks that make the first layer of attributes and learnt rows.
    fn features(&self, mode: Mode, step: u32) -> impl Iterator<Item = Draft> {
        let known = self.known(mode).zip(self.maps(MAPS, mode, step));
        let learnt = self.rows_learnt(mode, step);
        let op = Op::Graph(GraphOp::Features(FeaturesOp {
            columns: self.settings.rank,
            attributes: known
                .as_ref()
                .map_or_else(Vec::new, |(of, _)| Columns::of(of)),
            words: self.readings(mode),
            learns_rows: learnt.is_some(),
            power: self.settings.read_power(),
        }))
        .encode();
        let (to, degrees) = (self.layer(mode, step, 0), self.learnt().degrees(mode));
        (0..to.grid.blocks()).map(move |block| {
            let mut reads = vec![degrees.block(block)];
            if let Some((known, maps)) = &known {
                let words = known.blocks[block as usize].key(DepotId::DATA);
                reads.extend([words, maps.block(0)]);
            }
            reads.extend(learnt.iter().map(|[rows, ..]| rows.block(block)));
            let reads = reads.into_iter().map(Read::whole).collect();
            (op.clone(), reads, vec![to.block(block)], rows(&to, block))
        })
    }

    /// The tasks that make the mean of layers.
    fn mean(&self, mode: Mode, step: u32) -> impl Iterator<Item = Draft> {
        let layers = 0..=self.settings.layers;
        let layers: Vec<_> = layers.map(|layer| self.layer(mode, step, layer)).collect();
        let op = Op::Graph(GraphOp::Mean(MeanOp {
            columns: self.settings.rank,
            layers: layers.len() as u32,
            power: self.settings.read_power(),
        }))
        .encode();
        let (to, degrees) = (self.scored(mode, step), self.learnt().degrees(mode));
        let gram = self.wants_grams().then(|| self.learnt().gram(mode, step));
        (0..to.grid.blocks()).map(move |block| {
            let mut reads = vec![Read::whole(degrees.block(block))];
            reads.extend(layers.iter().map(|layer| Read::whole(layer.block(block))));
            let mut writes = vec![to.block(block)];
            writes.extend(gram.map(|gram| gram.leaf(block)));
            (op.clone(), reads, writes, 4 * rows(&to, block))
        })
    }

    /// The tasks that make a layer of its sums.
    fn dense(&self, mode: Mode, step: u32, layer: u32) -> impl Iterator<Item = Draft> {
        let last = layer + 1 == self.settings.layers;
        let power = self.settings.read_power();
        let op = DenseOp {
            columns: self.settings.rank,
            activation: self.settings.activation(layer),
            power,
            stored: if last { Power(0) } else { power },
            loops: self.settings.loops(),
            dropout: None,
        };
        let sums = self.of_layer(SUMS, mode, step, layer);
        let [own, to] = [layer, layer + 1].map(|layer| self.layer(mode, step, layer));
        let weights = self.weights(WEIGHTS, mode, step).block(layer);
        let degrees = self.learnt().degrees(mode);
        let scored = last && self.settings.share().is_none();
        let gram = (scored && self.wants_grams()).then(|| self.learnt().gram(mode, step));
        (0..to.grid.blocks()).map(move |block| {
            let dropout = self.dropout(mode, step, (layer, block));
            let op = Op::Graph(GraphOp::Dense(DenseOp { dropout, ..op }));
            let reads = [
                sums.block(block),
                own.block(block),
                weights,
                degrees.block(block),
            ];
            let mut writes = vec![to.block(block)];
            writes.extend(gram.map(|gram| gram.leaf(block)));
            let cost = turning(&to, block);
            (op.encode(), reads.map(Read::whole).to_vec(), writes, cost)
        })
    }

    /// From the gradients by a layer's rows to those by its matrices and by the rows below.
    fn back(&self, stage: &mut Stage, step: u32, layer: u32) {
        let gradients = BOTH.map(|mode| self.of_layer(GRADIENTS, mode, step, layer + 1));
        let to_sums = BOTH.map(|mode| self.of_layer(TO_SUMS, mode, step, layer));
        let to_own = BOTH.map(|mode| self.of_layer(TO_OWN, mode, step, layer));
        let (activation, share) = (self.settings.activation(layer), self.settings.share());
        let top = self.settings.layers;
        let by_mean = BOTH.map(|mode| self.of_layer(GRADIENTS, mode, step, top));
        let mut frees: Vec<KeyRange> = Vec::new();
        if share.is_none() || layer + 1 < top {
            frees.extend(gradients.iter().map(TableVersion::keys));
        }
        if share.is_some() && layer == 0 {
            frees.extend(by_mean.iter().map(TableVersion::keys));
        }
        let mut drafts: Vec<Draft> = Vec::new();
        for (at, mode) in BOTH.into_iter().enumerate() {
            let op = DenseBackOp {
                columns: self.settings.rank,
                activation,
                parts: self.settings.parts(),
                power: self.settings.read_power(),
                of_sums: self.settings.made_power(),
                share: share.filter(|_| layer + 1 == top).unwrap_or(1.0),
                of_mean: share,
                loops: self.settings.loops(),
                dropout: None,
            };
            let sums = self.of_layer(SUMS, mode, step - 1, layer);
            let [own, made] = [layer, layer + 1].map(|layer| self.layer(mode, step - 1, layer));
            let weights = self.weights(WEIGHTS, mode, step - 1).block(layer);
            let degrees = self.learnt().degrees(mode);
            let slopes = self.slopes(mode, step, layer);
            drafts.extend((0..own.grid.blocks()).map(|block| {
                let dropout = self.dropout(mode, step - 1, (layer, block));
                let op = Op::Graph(GraphOp::DenseBack(DenseBackOp { dropout, ..op }));
                let mut reads = vec![
                    gradients[at].block(block),
                    sums.block(block),
                    own.block(block),
                    weights,
                    degrees.block(block),
                ];
                reads.extend((activation != Activation::Identity).then(|| made.block(block)));
                reads.extend(share.map(|_| by_mean[at].block(block)));
                let writes = vec![
                    to_sums[at].block(block),
                    to_own[at].block(block),
                    slopes.leaf(block),
                ];
                let reads = reads.into_iter().map(Read::whole).collect();
                (op.encode(), reads, writes, 3 * turning(&own, block))
            }));
            frees.push(sums.keys());
            if layer + 1 < top || share.is_some() {
                frees.push(made.keys());
            }
            if layer == 0 && self.settings.reads_attributes() {
                frees.push(own.keys());
            }
        }
        stage.push("layer back", Role::Silent, drafts.into_iter(), frees);
        for mode in BOTH {
            stage.reduce("weights", self.slopes(mode, step, layer));
        }
        let below = BOTH.map(|mode| self.of_layer(GRADIENTS, mode, step, layer));
        // Learnt rows are kept times a power of degrees where they are the first layer, and so are their gradients.
        let power = |_| {
            if layer == 0 {
                self.settings.kept_power()
            } else {
                Power(0)
            }
        };
        let name = ("neighbours back", below[0].version, true);
        self.products(stage, name, (&to_sums, Some(&to_own)), (&below, power));
        let made = to_sums.iter().chain(&to_own);
        stage.push_frees(made.map(TableVersion::keys).collect());
    }

    /// Moves parameters: rows, matrices of layers and those of attributes.
    fn adam(&self, stage: &mut Stage, step: u32) {
        let settings = self.settings;
        for mode in BOTH {
            self.features_back(stage, mode, step);
        }
        let (mut drafts, mut frees): (Vec<Draft>, Vec<KeyRange>) = (Vec::new(), Vec::new());
        let left = settings.learning.left_at(step);
        for mode in BOTH {
            let sums = self.of_layer(GRADIENTS, mode, step, 0);
            let learnt = [step - 1, step].map(|step| self.rows_learnt(mode, step));
            let [Some(before), Some(now)] = learnt else {
                frees.push(sums.keys());
                continue;
            };
            let op = AdamOp {
                columns: settings.rank,
                power: settings.kept_power(),
                of_gradients: settings.kept_power(),
                share: 1.0,
                rate: (settings.rate() * left) as f32,
                regularization: settings.regularization / f64::from(settings.batches()),
                step,
            };
            let moving = steps::adam(
                op,
                [before, now],
                &sums,
                &self.learnt().degrees(mode),
                |_| None,
            );
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        let mut matrices = Vec::new();
        for &mode in self.owners() {
            let through: &[Mode] = match settings.weights {
                Weights::Separate => &[mode],
                Weights::Shared => &BOTH,
            };
            let layers = (0..settings.layers).map(|layer| {
                let slopes = through.iter().map(|&mode| self.slopes(mode, step, layer));
                slopes.map(|slopes| slopes.root()).collect()
            });
            let tables = [step - 1, step].map(|step| {
                [WEIGHTS, WEIGHT_MEANS, WEIGHT_SQUARES].map(|table| self.weights(table, mode, step))
            });
            matrices.push((tables, layers.collect::<Vec<_>>(), settings.weight_rate()));
        }
        for mode in BOTH {
            if let Some(lines) = self.maps(MAPS, mode, step).map(|maps| maps.grid.rows[0]) {
                let table =
                    |table, step| self.maps(table, mode, step).expect("attributes are read");
                let tables = [step - 1, step]
                    .map(|step| [MAPS, MAP_MEANS, MAP_SQUARES].map(|id| table(id, step)));
                let root = self.map_slopes(mode, step, lines).root();
                matrices.push((tables, vec![vec![root]], settings.map_rate()));
            }
        }
        for (tables, roots, rate) in matrices {
            let rate = (rate * left) as f32;
            let moving = steps::adam_of_matrices(tables, roots, (rate, step));
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        stage.push("Adam", Role::Silent, drafts.into_iter(), frees);
    }

    /// The gradients by the matrix of a mode's attributes.
    fn features_back(&self, stage: &mut Stage, mode: Mode, step: u32) {
        let Some(known) = self.known(mode) else {
            return;
        };
        let op = Op::Graph(GraphOp::FeaturesBack(FeaturesBackOp {
            columns: self.settings.rank,
            attributes: Columns::of(known),
            words: self.readings(mode),
        }))
        .encode();
        let gradients = self.of_layer(GRADIENTS, mode, step, 0);
        let slopes = self.map_slopes(mode, step, known.columns() as u32);
        let drafts = known.blocks.iter().zip(0..).map(|(words, block)| {
            let reads = [gradients.block(block), words.key(DepotId::DATA)];
            let (reads, writes) = (reads.map(Read::whole).to_vec(), vec![slopes.leaf(block)]);
            (op.clone(), reads, writes, rows(&gradients, block))
        });
        stage.push("features back", Role::Silent, drafts, Vec::new());
        stage.reduce("features back", slopes);
    }
}

/// The task that makes a first matrix, or takes over one that is given.
fn first_matrix(
    to: &TableVersion,
    block: u32,
    given: Option<&SealedRef>,
    drawn: FirstNumbers,
) -> Draft {
    let op = Op::Graph(GraphOp::FirstMatrix(FirstMatrixOp {
        lines: to.grid.rows[block as usize],
        columns: to.rank,
        first: given.map_or(drawn, |_| FirstNumbers::Given),
    }));
    let reads = given.map(|given| Read::whole(given.key(DepotId::MODEL)));
    (
        op.encode(),
        reads.into_iter().collect(),
        vec![to.block(block)],
        1,
    )
}

/// The cost of multiplying a block's rows with a small matrix.
fn turning(table: &TableVersion, block: u32) -> u64 {
    u64::from(table.grid.rows[block as usize]) * u64::from(table.width) / 256
}
