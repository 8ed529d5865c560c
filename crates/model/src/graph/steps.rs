//! The steps of a stage in the making, as every graph model writes them: a task a block.

use super::ops::{
    AdamOp, ArrangeOp, DegreesOp, Edges, GraphOp, MatrixOp, Onto, Power, ProductOp, RangesOp,
    Scales,
};
use super::tiles::Caches;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::several::bundled;
use crate::training::{Given, Holds, TableVersion};
use kernels::width_of;
use std::collections::BTreeMap;
use tensor::{
    DepotId, Grid, KeyRange, Mode, ModeEdges, ObjectKey, PartialSpec, PartitionRef, Partitions,
    Read, Step, StepId, TableId, Task, TaskId,
};

/// What a graph model is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// The training view, time collapsed.
    pub train: Partitions,
    /// What decides whether blocks are multiplied together.
    pub caches: Caches,
    /// Edges between users and between products.
    pub edges: BTreeMap<Mode, ModeEdges>,
    /// First rows that users brought along, by mode.
    pub given: BTreeMap<Mode, Vec<Given>>,
}

impl Input {
    /// The grid of a mode.
    pub fn grid(&self, mode: Mode) -> &Grid {
        if mode == Mode::User {
            &self.user
        } else {
            &self.product
        }
    }

    /// The edges between rows of a mode, where they count something.
    pub fn linked(&self, mode: Mode, weight: f64) -> Option<&ModeEdges> {
        self.edges.get(&mode).filter(|_| weight > 0.0)
    }

    /// The partitions of a mode's blocks.
    pub fn partitions(&self, mode: Mode) -> &[PartitionRef] {
        if mode == Mode::User {
            &self.train.user_major
        } else {
            &self.train.product_major
        }
    }

    /// A table with a row for each of a mode's. Those of products have the number after that of users.
    pub fn table(&self, of_users: TableId, mode: Mode, columns: u32, version: u64) -> TableVersion {
        TableVersion {
            id: TableId(of_users.0 + u16::from(mode == Mode::Product)),
            mode,
            holds: Holds::Factors,
            rank: columns,
            width: width_of(columns as usize) as u32,
            grid: self.grid(mode).clone(),
            version,
        }
    }

    /// The other mode.
    pub fn other(mode: Mode) -> Mode {
        if mode == Mode::User {
            Mode::Product
        } else {
            Mode::User
        }
    }
}

/// What a step's reduced partials are to a program.
pub trait StageRole: Copy + PartialEq {
    /// Nothing.
    const SILENT: Self;
}

/// The longer of two tables that are made in bundles, at most.
const BUNDLED_BYTES: u64 = 32 << 20;

/// The steps of one stage. Ids rise from the one it was begun with.
pub struct Stage<R> {
    first: u64,
    bundles: bool,
    /// Steps in order.
    pub steps: Vec<(Step, R)>,
}

/// Op, reads, writes and cost.
pub type Draft = (tensor::Op, Vec<Read>, Vec<ObjectKey>, u64);

impl<R: StageRole> Stage<R> {
    /// One without a step, for tables of so many columns. What a bundle makes is in memory until all of it is made, so only small tables
    /// are made in bundles.
    pub fn new(first: u64, input: &Input, columns: u32) -> Self {
        let rows = [&input.user, &input.product].map(Grid::rows_total);
        let bytes = rows[0].max(rows[1]) * 4 * width_of(columns as usize) as u64;
        Stage {
            first,
            bundles: bytes <= BUNDLED_BYTES,
            steps: Vec::new(),
        }
    }

    fn next(&self) -> StepId {
        StepId(self.first + self.steps.len() as u64)
    }

    /// A step of a task a draft, small ones together where tables are small.
    pub fn push(
        &mut self,
        name: &str,
        role: R,
        drafts: impl Iterator<Item = Draft>,
        frees: Vec<KeyRange>,
    ) {
        let id = self.next();
        let tasks = drafts
            .zip(0..)
            .map(|((op, reads, writes, cost), index)| Task {
                id: TaskId { step: id, index },
                op,
                reads,
                writes,
                after: Vec::new(),
                chain: None,
                cost: cost.max(1),
            });
        let step = Step {
            id,
            name: name.to_owned(),
            tasks: tasks.collect(),
            partial: if role == R::SILENT {
                PartialSpec::None
            } else {
                PartialSpec::Collect
            },
            frees,
        };
        let step = if self.bundles { bundled(step) } else { step };
        self.steps.push((step, role));
    }

    /// The steps that every model begins with: degrees of a mode, told with a role, and its interactions by ranges where they are
    /// wanted. Edges between its rows count in degrees where there are some, times a number, and so do those of rows to themselves.
    pub fn open(
        &mut self,
        input: &Input,
        (edges, own, loops): (Edges, Option<(&ModeEdges, f64)>, bool),
        degrees: &TableVersion,
        arranged: Option<&Arranged>,
        role: R,
    ) {
        let mode = degrees.mode;
        let op = Op::Graph(GraphOp::Degrees(DegreesOp {
            edges,
            own: own.map(|(_, weight)| weight),
            loops,
        }))
        .encode();
        let drafts = input.partitions(mode).iter().zip(0..);
        let drafts = drafts.map(|(partition, block)| {
            let own = own.map(|(own, _)| &own.forward[block as usize]);
            let all = std::iter::once(partition).chain(own);
            let cost = all.clone().map(|partition| partition.interactions / 64);
            let writes = vec![degrees.block(block)];
            (op.clone(), all.map(sealed).collect(), writes, cost.sum())
        });
        self.push(&format!("{mode} degrees"), role, drafts, Vec::new());
        if let Some(arranged) = arranged {
            let drafts = arranged.drafts(input, edges);
            self.push(&format!("{mode} tiles"), R::SILENT, drafts, Vec::new());
        }
    }

    /// The step that reads first rows of a mode, where users brought some along: to where.
    pub fn given(
        &mut self,
        input: &Input,
        (of_users, mode): (TableId, Mode),
        columns: u32,
        role: R,
    ) -> Option<TableVersion> {
        let tasks = input.given.get(&mode)?;
        let given = input.table(of_users, mode, columns, 0);
        let drafts = tasks.iter().map(|task| {
            let writes = task.blocks.clone().map(|block| given.block(block));
            (
                task.op.clone(),
                task.reads.clone(),
                writes.collect(),
                task.cost,
            )
        });
        self.push(&format!("given {mode} rows"), role, drafts, Vec::new());
        Some(given)
    }

    /// The steps of a reduction.
    pub fn reduce(&mut self, name: &str, reduction: Reduction) {
        let steps = reduction.steps(self.next(), name);
        self.steps
            .extend(steps.into_iter().map(|step| (step, R::SILENT)));
    }

    /// The last step is also the last to read these.
    pub fn push_frees(&mut self, keys: Vec<KeyRange>) {
        if let Some((step, _)) = self.steps.last_mut() {
            step.frees.extend(keys);
        }
    }
}

/// The cost of a task on the rows of a block.
pub fn rows(table: &TableVersion, block: u32) -> u64 {
    u64::from(table.grid.rows[block as usize]) / 4
}

/// A partition, to be read.
pub fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}

/// The interactions of a mode by ranges of the other one's rows, and how many blocks are multiplied together.
pub struct Arranged {
    /// Where they are: an object a block.
    pub tiles: TableVersion,
    together: u32,
    range_rows: u32,
}

impl Arranged {
    /// Of the mode of `tiles`, for products with tables of a width; none where that does not pay.
    pub fn of(input: &Input, tiles: TableVersion, width: usize) -> Option<Self> {
        let partitions = input.partitions(tiles.mode).iter();
        let interactions = partitions.map(|partition| partition.interactions).sum();
        let others = input.grid(Input::other(tiles.mode));
        let caches = input.caches;
        let together = caches.together(&tiles.grid, others, interactions, width)?;
        Some(Arranged {
            tiles,
            together,
            range_rows: caches.range_rows(width),
        })
    }

    /// The tasks that arrange them.
    pub fn drafts(&self, input: &Input, edges: Edges) -> impl Iterator<Item = Draft> {
        let op = Op::Graph(GraphOp::Arrange(ArrangeOp {
            others: input.grid(Input::other(self.tiles.mode)).clone(),
            range_rows: self.range_rows,
            edges,
        }))
        .encode();
        let partitions = input.partitions(self.tiles.mode).iter();
        partitions.zip(0..).map(move |(partition, block)| {
            let (reads, writes) = (vec![sealed(partition)], vec![self.tiles.block(block)]);
            (op.clone(), reads, writes, partition.interactions / 32)
        })
    }
}

/// What a product reads beside interactions: the other table, the degrees of its rows, what it is added to, and the rows themselves.
pub struct Factors<'a> {
    /// The other table.
    pub others: &'a TableVersion,
    /// Degrees of the rows.
    pub degrees: &'a TableVersion,
    /// What sums are added to, where the op is onto something.
    pub base: Option<&'a TableVersion>,
    /// What rows bring to themselves, where the op has loops.
    pub own: Option<&'a TableVersion>,
}

/// The tasks of a product: a block each, or of some blocks together where they are arranged. `writes` are the keys of a block.
pub fn product(
    arranged: Option<&Arranged>,
    op: &ProductOp,
    of: &Factors<'_>,
    partitions: &[PartitionRef],
    writes: impl Fn(u32) -> Vec<ObjectKey>,
) -> Vec<Draft> {
    let interactions = |blocks: std::ops::Range<u32>| -> u64 {
        let some = &partitions[blocks.start as usize..blocks.end as usize];
        some.iter().map(|partition| partition.interactions).sum()
    };
    let Some(arranged) = arranged else {
        let encoded = Op::Graph(GraphOp::Product(op.clone())).encode();
        let blocks = partitions.iter().zip(0..);
        let drafts = blocks.map(|(partition, block)| {
            let mut reads = vec![
                sealed(partition),
                Read::rows(of.others.keys()),
                Read::whole(of.degrees.block(block)),
            ];
            let beside = of.base.iter().chain(&of.own);
            reads.extend(beside.map(|rows| Read::whole(rows.block(block))));
            // A row is gathered in some tenth of the time that it takes to solve with it.
            let cost = partition.interactions / 8 + rows(of.degrees, block);
            (encoded.clone(), reads, writes(block), cost)
        });
        return drafts.collect();
    };
    let all = partitions.len() as u32;
    let firsts = (0..all).step_by(arranged.together as usize);
    let drafts = firsts.map(|first| {
        let count = arranged.together.min(all - first);
        let blocks = first..first + count;
        let encoded = Op::Graph(GraphOp::Ranges(RangesOp {
            rows: op.rows.clone(),
            others: op.others.clone(),
            range_rows: arranged.range_rows,
            columns: op.columns,
            interactions: interactions(blocks.clone()),
            scales: op.scales,
            onto: op.onto,
            loops: op.loops,
        }))
        .encode();
        let mut reads = vec![
            Read::rows(arranged.tiles.some(first, count)),
            Read::rows(of.others.keys()),
            Read::rows(of.degrees.some(first, count)),
        ];
        let beside = of.base.iter().chain(&of.own);
        reads.extend(beside.map(|rows| Read::rows(rows.some(first, count))));
        let cost = interactions(blocks.clone()) / 16
            + blocks
                .clone()
                .map(|block| rows(of.degrees, block))
                .sum::<u64>();
        (encoded, reads, blocks.flat_map(&writes).collect(), cost)
    });
    drafts.collect()
}

/// The tasks of a product along edges between rows of a mode, back where it leads them back: sums scaled as `made`, added as `onto` says
/// to the base of `of`.
pub fn along(
    (edges, back): (&ModeEdges, bool),
    of: &Factors<'_>,
    (made, onto): (Power, Onto),
    to: &TableVersion,
) -> Vec<Draft> {
    let op = ProductOp {
        rows: to.grid.clone(),
        others: to.grid.clone(),
        columns: to.rank,
        edges: Edges::Values,
        scales: Scales {
            made,
            stored: Power(0),
        },
        onto: Some(onto),
        loops: false,
    };
    let partitions = if back { edges.turned() } else { &edges.forward };
    product(None, &op, of, partitions, |block| vec![to.block(block)])
}

/// The tasks of a step of Adam on a mode's rows, with what nobody reads behind it: parameters and both means before it and after. `gram`
/// is the leaf of a block's Gram, where that is wanted.
pub fn adam(
    op: AdamOp,
    [before, now]: [[TableVersion; 3]; 2],
    sums: &TableVersion,
    degrees: &TableVersion,
    gram: impl Fn(u32) -> Option<ObjectKey>,
) -> (Vec<Draft>, Vec<KeyRange>) {
    let encoded = Op::Graph(GraphOp::Adam(op)).encode();
    // Before the first step there are no means.
    let known = if op.step > 1 { 3 } else { 1 };
    let blocks = 0..sums.grid.blocks();
    let drafts = blocks.map(|block| {
        let mut reads = vec![
            before[0].block(block),
            sums.block(block),
            degrees.block(block),
        ];
        reads.extend(before[1..known].iter().map(|table| table.block(block)));
        let mut writes: Vec<_> = now.iter().map(|table| table.block(block)).collect();
        writes.extend(gram(block));
        let reads = reads.into_iter().map(Read::whole).collect();
        // Seven tables are read or written where a product gathers rows of one.
        (encoded.clone(), reads, writes, 32 * rows(sums, block))
    });
    let frees = std::iter::once(sums).chain(&before[..known]);
    (drafts.collect(), frees.map(TableVersion::keys).collect())
}

/// The tasks that move matrices, a block each, along the sums of the gradients by them: with both means, before the step and after.
pub fn adam_of_matrices(
    [before, now]: [[TableVersion; 3]; 2],
    roots: Vec<Vec<ObjectKey>>,
    (rate, step): (f32, u32),
) -> (Vec<Draft>, Vec<KeyRange>) {
    // Before the first step there are no means.
    let known = if step > 1 { 3 } else { 1 };
    let mut frees: Vec<KeyRange> = before[..known].iter().map(TableVersion::keys).collect();
    let mut drafts = Vec::new();
    for (roots, block) in roots.into_iter().zip(0..) {
        let op = Op::Graph(GraphOp::Matrix(MatrixOp {
            columns: before[0].rank,
            sums: roots.len() as u32,
            rate,
            step,
        }));
        let mut reads = vec![before[0].block(block)];
        reads.extend(&roots);
        reads.extend(before[1..known].iter().map(|table| table.block(block)));
        let reads = reads.into_iter().map(Read::whole).collect();
        let writes = now.iter().map(|table| table.block(block)).collect();
        drafts.push((op.encode(), reads, writes, 1));
        frees.extend(roots.into_iter().map(KeyRange::One));
    }
    (drafts, frees)
}
