//! The steps of unitized factorization as values: which task reads and writes which keys, and when keys are freed.
//!
//! Learnt rows X are made what is scored, E; a head and the labels give gradients by E, which are turned into those by X, and Adam moves
//! X. Nothing here is a product with the graph.
//!
//! **Invariant:** every name here follows from the number of the step of Adam, and that from epoch and batch, so a replay makes the
//! same steps.

use super::settings::Settings;
use crate::graph::batches::{Role, Schedule};
use crate::graph::learnt::{BOTH, EMBEDDINGS, GRADIENTS, Learnt, MEANS, PARAMETERS, SQUARES};
use crate::graph::ops::{
    AdamOp, Edges, FirstMatrixOp, FirstNumbers, GraphOp, LabelCheck, LabelsOp, Power, UnitBackOp,
    UnitOp,
};
use crate::graph::steps::{self, Draft, Input, rows};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use kernels::width_of;
use std::collections::BTreeMap;
use tensor::{Attributes, DepotId, Grid, KeyRange, Mode, ObjectKey, Read, Step, TableId};

/// These with those of labels.
pub const LABELLED: TableId = TableId(12);
/// Gradients by X.
pub const SLOPES: TableId = TableId(14);
/// Classifiers: a line a column of E, a column a class; the last line is that of the intercepts.
pub const CLASSES: TableId = TableId(20);
/// The means of their gradients.
pub const CLASS_MEANS: TableId = TableId(22);
/// The means of the squares of these.
pub const CLASS_SQUARES: TableId = TableId(24);

/// Beyond the numbers of the reductions of Grams, which rise from 0.
const REDUCTIONS: u64 = 1 << 40;

type Stage = steps::Stage<Role>;

/// Where the labels of a mode are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Which of the mode's attributes.
    pub place: u32,
    /// How many there are; a word beyond them is none.
    pub classes: u32,
    /// What others are compared with.
    pub check: Option<LabelCheck>,
}

/// What all steps of a run share.
pub struct Layout<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The graph.
    pub input: &'a Input,
    /// What is known of its nodes.
    pub attributes: &'a BTreeMap<Mode, Attributes>,
    /// What of that are labels.
    pub labels: &'a BTreeMap<Mode, Labels>,
}

impl Schedule for Layout<'_> {
    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.columns());
        for mode in BOTH {
            let (degrees, role) = (self.learnt().degrees(mode), Role::Counts(mode));
            stage.open(
                self.input,
                (Edges::Binary, None, false),
                &degrees,
                None,
                role,
            );
        }
        let deviation = self.settings.init_scale / f64::from(self.settings.rank).sqrt();
        let drafts = BOTH.into_iter().flat_map(|mode| {
            let to = self.learnt().after(PARAMETERS, mode, 0);
            let of_block = |block| vec![to.block(block)];
            self.learnt()
                .first_rows(&to, (deviation, Power(0), 1), None, of_block)
        });
        stage.push("first rows", Role::Silent, drafts, Vec::new());
        let classifiers = BOTH.into_iter().filter_map(|mode| {
            let to = self.classifier(CLASSES, mode, 0)?;
            let op = Op::Graph(GraphOp::FirstMatrix(FirstMatrixOp {
                lines: to.grid.rows[0],
                columns: to.rank,
                first: FirstNumbers::Unit(0.0),
            }));
            Some((op.encode(), Vec::new(), vec![to.block(0)], 1))
        });
        if !self.labels.is_empty() {
            stage.push("first classifiers", Role::Silent, classifiers, Vec::new());
        }
        self.forward(&mut stage, 0);
        stage.steps
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        let mut stage = Stage::new(first, self.input, self.settings.columns());
        for batch in 0..self.settings.batches() {
            let step = self.learnt().steps(epoch - 1) + batch + 1;
            self.head(&mut stage, (epoch, batch), step);
            for (&mode, labels) in self.labels {
                self.label(&mut stage, (mode, labels), batch, step);
            }
            let embeddings =
                BOTH.map(|mode| self.learnt().after(EMBEDDINGS, mode, step - 1).keys());
            stage.push_frees(embeddings.to_vec());
            self.back(&mut stage, step);
            self.adam(&mut stage, step);
            self.forward(&mut stage, step);
        }
        stage.steps
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        let step = self.learnt().steps(epoch);
        let embeddings = BOTH.map(|mode| self.learnt().after(EMBEDDINGS, mode, step));
        let classifiers = BOTH.map(|mode| self.classifier(CLASSES, mode, step));
        let learnt = classifiers.into_iter().flatten();
        embeddings.into_iter().chain(learnt).collect()
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        let step = self.learnt().steps(epoch);
        let mut kept = Vec::new();
        for mode in BOTH {
            kept.push(self.learnt().degrees(mode).keys());
            let tables = [EMBEDDINGS, PARAMETERS, MEANS, SQUARES];
            kept.extend(tables.map(|table| self.learnt().after(table, mode, step).keys()));
            let tables = [CLASSES, CLASS_MEANS, CLASS_SQUARES];
            let classifiers = tables.map(|table| self.classifier(table, mode, step));
            kept.extend(classifiers.iter().flatten().map(TableVersion::keys));
            if self.learnt().all_pairs() {
                kept.push(KeyRange::One(self.learnt().gram(mode, step).root()));
            }
        }
        kept
    }
}

impl Layout<'_> {
    /// What is as in other models that learn in batches.
    fn learnt(&self) -> Learnt<'_> {
        Learnt {
            input: self.input,
            columns: self.settings.columns(),
            scored: EMBEDDINGS,
            learning: self.settings.learning(),
        }
    }

    /// The classifier of a mode, or its means.
    fn classifier(&self, table: TableId, mode: Mode, step: u32) -> Option<TableVersion> {
        let labels = self.labels.get(&mode)?;
        let table = self.input.table(table, mode, labels.classes, step.into());
        Some(TableVersion {
            holds: Holds::Labels,
            grid: Grid::single(self.settings.columns()),
            ..table
        })
    }

    /// The gradients of a mode by its classifier.
    fn class_slopes(&self, mode: Mode, step: u32, labels: &Labels) -> Reduction {
        Reduction {
            id: REDUCTIONS + 2 * u64::from(step) + u64::from(mode == Mode::Product),
            leaves: self.input.grid(mode).blocks(),
            rows: self.settings.columns().into(),
            row_bytes: 8 * width_of(labels.classes as usize) as u32,
        }
    }

    /// A draft a block of a mode.
    fn blocks(&self, mode: Mode, draft: impl Fn(u32) -> Draft) -> impl Iterator<Item = Draft> {
        (0..self.input.grid(mode).blocks()).map(draft)
    }

    /// The gradients by the embeddings that the step before made.
    fn head(&self, stage: &mut Stage, (epoch, batch): (u32, u32), step: u32) {
        let gradients = BOTH.map(|mode| self.learnt().after(GRADIENTS, mode, step));
        let of = self.learnt();
        let head = of.head((epoch, batch), step, gradients, [Power(0); 2]);
        let all_pairs = of.all_pairs().then_some(head.grams.map(KeyRange::One));
        let frees = all_pairs.into_iter().flatten().collect();
        head.push(stage, Role::losses(batch, head.head), frees);
    }

    /// Adds the gradients by the labels of a mode. In the mean all labels of an epoch weigh `cotraining` times what its interactions do.
    fn label(&self, stage: &mut Stage, (mode, labels): (Mode, &Labels), batch: u32, step: u32) {
        let (settings, known) = (self.settings, &self.attributes[&mode]);
        let partitions = self.input.partitions(mode).iter();
        let interactions: u64 = partitions.map(|partition| partition.interactions).sum();
        let labels_in_all = known.described.max(1) as f64 * f64::from(settings.batches());
        let op = Op::Graph(GraphOp::Labels(LabelsOp {
            columns: settings.columns(),
            classes: labels.classes,
            attributes: known.attributes.len() as u32,
            place: labels.place,
            by: 1.0 / settings.by(),
            weight: (settings.cotraining * interactions as f64 / labels_in_all) as f32,
            check: labels.check.clone(),
        }))
        .encode();
        let [embeddings, gradients, to] =
            [(EMBEDDINGS, step - 1), (GRADIENTS, step), (LABELLED, step)]
                .map(|(table, step)| self.learnt().after(table, mode, step));
        let classifier = self.classifier(CLASSES, mode, step - 1);
        let classifier = classifier.expect("the mode has labels").block(0);
        let (degrees, slopes) = (
            self.learnt().degrees(mode),
            self.class_slopes(mode, step, labels),
        );
        let drafts = known.blocks.iter().zip(0..).map(|(words, block)| {
            let reads = [
                embeddings.block(block),
                gradients.block(block),
                degrees.block(block),
                words.key(DepotId::DATA),
                classifier,
            ];
            let writes = vec![to.block(block), slopes.leaf(block)];
            let cost = rows(&to, block) * u64::from(labels.classes.div_ceil(4));
            (op.clone(), reads.map(Read::whole).to_vec(), writes, cost)
        });
        let frees = vec![gradients.keys()];
        stage.push(
            &format!("{mode} labels"),
            Role::Labels(mode, batch),
            drafts,
            frees,
        );
        stage.reduce("classifier back", slopes);
    }

    /// The gradients by learnt rows.
    fn back(&self, stage: &mut Stage, step: u32) {
        let (mut drafts, mut frees): (Vec<Draft>, _) = (Vec::new(), Vec::new());
        for mode in BOTH {
            let op = Op::Graph(GraphOp::UnitBack(UnitBackOp {
                columns: self.settings.columns(),
                by: self.settings.by(),
                biased: mode == Mode::Product,
            }))
            .encode();
            let labelled = self.labels.contains_key(&mode);
            let from = if labelled { LABELLED } else { GRADIENTS };
            let [learnt, from, to] = [(PARAMETERS, step - 1), (from, step), (SLOPES, step)]
                .map(|(table, step)| self.learnt().after(table, mode, step));
            drafts.extend(self.blocks(mode, |block| {
                let reads = [learnt.block(block), from.block(block)];
                let (reads, writes) = (reads.map(Read::whole).to_vec(), vec![to.block(block)]);
                (op.clone(), reads, writes, 16 * rows(&to, block))
            }));
            frees.push(from.keys());
        }
        stage.push("unit back", Role::Silent, drafts.into_iter(), frees);
    }

    /// Moves learnt rows and classifiers.
    fn adam(&self, stage: &mut Stage, step: u32) {
        let settings = self.settings;
        let (mut drafts, mut frees): (Vec<Draft>, _) = (Vec::new(), Vec::new());
        let rate = (settings.rate() * settings.learning.left_at(step)) as f32;
        for mode in BOTH {
            let op = AdamOp {
                columns: settings.columns(),
                power: Power(0),
                of_gradients: Power(0),
                share: 1.0,
                rate,
                regularization: 0.0,
                step,
            };
            let slopes = self.learnt().after(SLOPES, mode, step);
            let tables = [step - 1, step].map(|step| {
                [PARAMETERS, MEANS, SQUARES].map(|table| self.learnt().after(table, mode, step))
            });
            let moving = steps::adam(op, tables, &slopes, &self.learnt().degrees(mode), |_| None);
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        for (&mode, labels) in self.labels {
            let table = |id, step| self.classifier(id, mode, step).expect("it has labels");
            let tables = [step - 1, step]
                .map(|step| [CLASSES, CLASS_MEANS, CLASS_SQUARES].map(|id| table(id, step)));
            let roots = vec![vec![self.class_slopes(mode, step, labels).root()]];
            let moving = steps::adam_of_matrices(tables, roots, (rate, step));
            drafts.extend(moving.0);
            frees.extend(moving.1);
        }
        stage.push("Adam", Role::Silent, drafts.into_iter(), frees);
    }

    /// What is scored of learnt rows, with Grams where the head asks for them.
    fn forward(&self, stage: &mut Stage, step: u32) {
        let mut drafts: Vec<Draft> = Vec::new();
        for mode in BOTH {
            let op = Op::Graph(GraphOp::Unit(UnitOp {
                columns: self.settings.columns(),
                by: self.settings.by(),
                biased: mode == Mode::Product,
            }))
            .encode();
            let [from, to] =
                [PARAMETERS, EMBEDDINGS].map(|table| self.learnt().after(table, mode, step));
            let gram = self
                .learnt()
                .all_pairs()
                .then(|| self.learnt().gram(mode, step));
            drafts.extend(self.blocks(mode, |block| {
                let writes: Vec<ObjectKey> = std::iter::once(to.block(block))
                    .chain(gram.map(|gram| gram.leaf(block)))
                    .collect();
                let reads = vec![Read::whole(from.block(block))];
                (op.clone(), reads, writes, 16 * rows(&to, block))
            }));
        }
        stage.push("unit", Role::Silent, drafts.into_iter(), Vec::new());
        if self.learnt().all_pairs() {
            for mode in BOTH {
                stage.reduce("squares", self.learnt().gram(mode, step));
            }
        }
    }
}
