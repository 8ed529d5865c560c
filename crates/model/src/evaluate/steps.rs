//! The steps of an evaluation, for the program of its own and for the sample that is evaluated during training.

use crate::evaluate::op::{EvaluateOp, RankOp};
use crate::evaluate::{
    COVERED, Input, NEAREST, PRODUCT_DEGREES, PRODUCT_OFFSETS, PRODUCTS, USER_DEGREES,
};
use crate::graph::filter::{Links, Nearest, NearestOp};
use crate::graph::{DegreesOp, Edges, GraphOp};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::rules::{BlockRules, Rules};
use tensor::{
    BlockId, DepotId, Grid, KeyRange, ObjectKey, PartialSpec, PartitionRef, Partitions, Read,
    SealedRef, Step, StepId, TableId, Task, TaskId,
};

/// All blocks of a table over a grid.
pub fn blocks_of(table: TableId, grid: &Grid, version: u64) -> KeyRange {
    KeyRange::Blocks {
        table,
        first: 0,
        count: grid.blocks(),
        version,
    }
}

/// One block of a range of blocks.
pub fn block_of(range: KeyRange, index: u32) -> ObjectKey {
    match range {
        KeyRange::One(key) => key,
        KeyRange::Blocks {
            table,
            first,
            version,
            ..
        } => ObjectKey::Block {
            table,
            block: BlockId(first + index),
            version,
        },
    }
}

/// A step of one task a block; `of` says what the task of a block reads and writes and what it costs.
pub fn per_block(
    id: StepId,
    name: &str,
    op: Op,
    blocks: u32,
    partial: PartialSpec,
    of: impl Fn(u32) -> (Vec<Read>, Vec<ObjectKey>, u64),
) -> Step {
    let op = op.encode();
    let task = |index: u32| {
        let (reads, writes, cost) = of(index);
        let id = TaskId { step: id, index };
        Task {
            id,
            op: op.clone(),
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost: cost.max(1),
        }
    };
    Step {
        id,
        name: name.to_owned(),
        tasks: (0..blocks).map(task).collect(),
        partial,
        frees: Vec::new(),
    }
}

/// A read of a sealed object of the data set.
pub fn sealed(object: SealedRef) -> Read {
    Read::whole(object.key(DepotId::DATA))
}

fn partition(partitions: &[PartitionRef], block: u32) -> Read {
    sealed(partitions[block as usize].object)
}

/// Describes every product, with what `rules` make of it: [`PRODUCTS`] at `version`. The sum is the number of candidates.
pub fn products(
    id: StepId,
    product: &tensor::Axis,
    train: &Partitions,
    recent: Option<&Partitions>,
    (rules, version): (&Rules, u64),
) -> Step {
    let op = |rules: Option<BlockRules>| {
        Op::Evaluate(EvaluateOp::Products {
            recent: recent.is_some(),
            rules,
        })
    };
    let mut step = per_block(
        id,
        "describe products",
        op(None),
        product.grid.blocks(),
        PartialSpec::Sum,
        |block| {
            let mut reads = vec![partition(&train.product_major, block)];
            reads.extend(recent.map(|recent| partition(&recent.product_major, block)));
            reads.push(sealed(product.dictionary[block as usize]));
            reads.extend(rules.reads(BlockId(block)));
            let cost = train.product_major[block as usize].interactions / 16;
            (
                reads,
                vec![block_of(blocks_of(PRODUCTS, &product.grid, version), block)],
                cost,
            )
        },
    );
    for (task, block) in step.tasks.iter_mut().zip(0..) {
        if let Some(rules) = rules.of_block(&product.grid, BlockId(block)) {
            task.op = op(Some(rules)).encode();
        }
    }
    step
}

/// Makes what scores by what users had need, out of training and of [`PRODUCTS`] at `version`.
pub fn linked(
    first: StepId,
    axes: (&tensor::Axis, &tensor::Axis),
    train: &Partitions,
    links: Links,
    version: u64,
) -> Vec<Step> {
    match links {
        Links::Shared(edges) => degrees(first, axes, train, edges, version).into(),
        Links::Nearest(of) => vec![nearest(first, axes.1, train, of, version)],
    }
}

/// How many steps [`linked`] are.
pub fn linked_steps(links: Option<Links>) -> u64 {
    match links {
        Some(Links::Shared(_)) => 2,
        Some(Links::Nearest(_)) => 1,
        None => 0,
    }
}

/// What [`linked`] wrote.
pub fn linked_of(
    (user, product): (&tensor::Axis, &tensor::Axis),
    links: Links,
    version: u64,
) -> Vec<KeyRange> {
    match links {
        Links::Shared(_) => vec![
            blocks_of(USER_DEGREES, &user.grid, version),
            blocks_of(PRODUCT_DEGREES, &product.grid, version),
        ],
        Links::Nearest(_) => vec![blocks_of(NEAREST, &product.grid, version)],
    }
}

/// What a task reads to score by what users had: degrees and the interactions of all products, or the nearest of each.
pub fn linked_reads(
    axes: (&tensor::Axis, &tensor::Axis),
    train: &Partitions,
    links: Links,
    version: u64,
) -> Vec<Read> {
    let made = linked_of(axes, links, version).into_iter();
    let made = made.map(Read::whole);
    match links {
        Links::Shared(_) => {
            let partitions = train.product_major.iter();
            made.chain(partitions.map(|part| sealed(part.object)))
                .collect()
        }
        Links::Nearest(_) => made.collect(),
    }
}

/// Finds the products nearest to each: [`NEAREST`] at `version`.
fn nearest(
    id: StepId,
    product: &tensor::Axis,
    train: &Partitions,
    nearest: Nearest,
    version: u64,
) -> Step {
    let op = EvaluateOp::Nearest(NearestOp {
        products: product.grid.clone(),
        nearest,
    });
    let described = blocks_of(PRODUCTS, &product.grid, version);
    let to = blocks_of(NEAREST, &product.grid, version);
    let name = "nearest products";
    let (op, blocks) = (Op::Evaluate(op), product.grid.blocks());
    per_block(id, name, op, blocks, PartialSpec::None, |block| {
        let mut reads = vec![Read::whole(described)];
        reads.extend(train.user_major.iter().map(|part| sealed(part.object)));
        let cost = train.product_major[block as usize].interactions;
        (reads, vec![block_of(to, block)], cost)
    })
}

/// Counts the degrees of users and of products: [`USER_DEGREES`] and [`PRODUCT_DEGREES`] at `version`.
fn degrees(
    first: StepId,
    (user, product): (&tensor::Axis, &tensor::Axis),
    train: &Partitions,
    edges: Edges,
    version: u64,
) -> [Step; 2] {
    let modes = [
        (USER_DEGREES, "user degrees", user, &train.user_major),
        (
            PRODUCT_DEGREES,
            "product degrees",
            product,
            &train.product_major,
        ),
    ];
    let mut id = first;
    modes.map(|(table, name, axis, partitions)| {
        let op = Op::Graph(GraphOp::Degrees(DegreesOp {
            edges,
            own: None,
            loops: false,
        }));
        let blocks = blocks_of(table, &axis.grid, version);
        let step = per_block(
            id,
            name,
            op,
            axis.grid.blocks(),
            PartialSpec::Collect,
            |block| {
                let cost = partitions[block as usize].interactions / 64;
                (
                    vec![partition(partitions, block)],
                    vec![block_of(blocks, block)],
                    cost,
                )
            },
        );
        id = StepId(id.0 + 1);
        step
    })
}

/// Ranks products for the users of every block. `bootstrap` names the sums of replicates where the op asks for them.
pub fn rank(
    id: StepId,
    input: &Input,
    held_out: &Partitions,
    op: RankOp,
    bootstrap: Reduction,
    version: u64,
) -> Step {
    let (replicates, coverage, with_faded) = (op.replicates, op.coverage, op.faded);
    let scored = u64::from(op.width) * input.product.grid.rows_total() / 64;
    let blocks = input.user.grid.blocks();
    per_block(
        id,
        "rank products",
        Op::Evaluate(EvaluateOp::Rank(op)),
        blocks,
        PartialSpec::Sum,
        |block| {
            let mut reads = factors(input, block);
            reads.push(Read::whole(blocks_of(
                PRODUCTS,
                &input.product.grid,
                version,
            )));
            if let Some(links) = input.factors.filter {
                let axes = (&input.user, &input.product);
                reads.extend(linked_reads(axes, &input.train, links, version));
            }
            reads.push(partition(&input.train.user_major, block));
            reads.extend(input.mask().map(|mask| partition(&mask.user_major, block)));
            let faded = input.faded.as_ref().filter(|_| with_faded);
            reads.extend(faded.map(|faded| partition(&faded.user_major, block)));
            reads.push(partition(&held_out.user_major, block));
            reads.push(sealed(input.user.dictionary[block as usize]));
            let mut writes = Vec::new();
            if replicates > 0 {
                writes.push(bootstrap.leaf(block));
            }
            if coverage {
                writes.push(block_of(
                    blocks_of(COVERED, &input.user.grid, version),
                    block,
                ));
            }
            (
                reads,
                writes,
                u64::from(input.user.grid.rows[block as usize]) * scored,
            )
        },
    )
}

/// The block of U, all of V, and the tables of small modes where there are any.
pub fn factors(input: &Input, block: u32) -> Vec<Read> {
    let mut reads = vec![
        Read::rows(block_of(input.factors.users, block)),
        Read::whole(input.factors.products),
    ];
    reads.extend(input.factors.small().map(Read::whole));
    reads
}

/// Count, sum and range of the training values.
pub fn values(id: StepId, input: &Input) -> Step {
    let op = Op::Evaluate(EvaluateOp::Values);
    per_block(
        id,
        "mean of training values",
        op,
        input.user.grid.blocks(),
        PartialSpec::Collect,
        |block| {
            let reads = vec![partition(&input.train.user_major, block)];
            (
                reads,
                Vec::new(),
                input.train.user_major[block as usize].interactions / 16,
            )
        },
    )
}

/// The offset of every product: [`PRODUCT_OFFSETS`] at `version`.
pub fn product_offsets(id: StepId, input: &Input, mean: f64, damping: f64, version: u64) -> Step {
    let op = Op::Evaluate(EvaluateOp::ProductOffsets { mean, damping });
    let grid = &input.product.grid;
    per_block(
        id,
        "product offsets",
        op,
        grid.blocks(),
        PartialSpec::None,
        |block| {
            let part = &input.train.product_major[block as usize];
            let writes = vec![block_of(blocks_of(PRODUCT_OFFSETS, grid, version), block)];
            (vec![sealed(part.object)], writes, part.interactions / 16)
        },
    )
}

/// Predicts the held-out values of every user block; reads [`PRODUCT_OFFSETS`] at `version` and frees them.
pub fn ratings(
    id: StepId,
    input: &Input,
    held_out: &Partitions,
    op: EvaluateOp,
    version: u64,
) -> Step {
    let blocks = input.user.grid.blocks();
    let offsets = blocks_of(PRODUCT_OFFSETS, &input.product.grid, version);
    let mut step = per_block(
        id,
        "predict values",
        Op::Evaluate(op),
        blocks,
        PartialSpec::Sum,
        |block| {
            let mut reads = factors(input, block);
            reads.push(Read::whole(offsets));
            reads.push(partition(&input.train.user_major, block));
            reads.push(partition(&held_out.user_major, block));
            (
                reads,
                Vec::new(),
                held_out.user_major[block as usize].interactions,
            )
        },
    );
    step.frees = vec![offsets];
    step
}
