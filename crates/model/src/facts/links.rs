//! The graph with edges between users and between products: degrees of these, and a forest over all users and products, which
//! interactions and edges join. It takes 20 bytes a node while it is made.
//!
//! **Invariant:** nothing of this is looked at where there is no such edge.

use super::ops::{Branch, FactsOp, ForestOp, GroveTally, GrovesOp, LinksOp};
use super::program::{Draft, GraphFacts, Known, Part, block, blocks, sealed, table};
use super::report::{Components, Linked, Links};
use crate::op::Op;
use crate::reduce::Reduction;
use tensor::{
    Grid, KeyRange, Mode, ModeEdges, PartitionRef, ProgramError, Read, StepId, TableId, Turn,
};

/// The number of the reduction that joins forests.
const FORESTS: u64 = 0x0f01;

const BOTH: [Mode; 2] = [Mode::User, Mode::Product];

/// Degrees and prints of edges, which nobody reads.
fn tables(mode: Mode) -> [TableId; 2] {
    [table(8, mode), table(10, mode)]
}

/// The steps that look at edges, where there are some.
pub(super) fn look(facts: &mut GraphFacts, turn: &mut Turn) {
    if facts.input.edges.is_empty() {
        return;
    }
    let mut counted: Vec<KeyRange> = Vec::new();
    for (mode, edges) in facts.input.edges.clone() {
        let op = facts.counting(mode);
        let of = |(partition, at): (&PartitionRef, u32)| {
            let writes = tables(mode).map(|table| block(table, at)).to_vec();
            (
                op.clone(),
                vec![sealed(partition)],
                writes,
                partition.interactions / 32,
            )
        };
        let drafts: Vec<Draft> = edges.forward.iter().zip(0..).map(of).collect();
        let name = format!("{mode} edges");
        facts.push(turn, (&name, Part::Links(mode)), drafts, Vec::new());
        let count = facts.grid(mode).blocks();
        counted.extend(tables(mode).map(|table| blocks(table, count)));
    }
    let grids = BOTH.map(|mode| facts.grid(mode).clone());
    let nodes = grids.iter().map(Grid::rows_total).sum::<u64>() as u32;
    let mut partitions = of_mode(facts.partitions(Mode::User), [Mode::User, Mode::Product]);
    for (&mode, edges) in &facts.input.edges {
        partitions.extend(of_mode(&edges.forward, [mode, mode]));
    }
    let reduction = Reduction {
        id: FORESTS,
        leaves: partitions.len() as u32,
        rows: nodes.into(),
        row_bytes: size_of::<Branch>() as u32,
    };
    let drafts = partitions.iter().zip(0..);
    let drafts = drafts.map(|(&(partition, [rows, columns], block), at)| {
        let op = FactsOp::Links(LinksOp {
            grids: grids.clone(),
            rows,
            columns,
            block,
        });
        let (reads, writes) = (vec![Read::whole(partition)], vec![reduction.leaf(at)]);
        (op, reads, writes, u64::from(nodes) / 32)
    });
    let drafts: Vec<Draft> = drafts.collect();
    facts.push(turn, ("links", Part::Silent), drafts, counted);
    let all = ForestOp {
        nodes: Grid::single(nodes),
    };
    let join = Op::Facts(FactsOp::Join(all));
    for step in reduction.steps_of(&join, StepId(facts.next), "join links") {
        facts.submit(turn, step, Part::Silent);
    }
    let root = KeyRange::One(reduction.root());
    let op = FactsOp::Groves(GrovesOp {
        users: grids[0].rows_total() as u32,
        nodes,
    });
    let draft = (
        op,
        vec![Read::whole(root)],
        Vec::new(),
        u64::from(nodes) / 64,
    );
    facts.push(
        turn,
        ("linked components", Part::Groves),
        [draft],
        vec![root],
    );
}

/// Partitions with the modes of their rows and columns, and their blocks.
fn of_mode(partitions: &[PartitionRef], modes: [Mode; 2]) -> Vec<(KeyRange, [Mode; 2], u32)> {
    let blocks = partitions.iter().zip(0..);
    let keys = blocks.map(|(partition, block)| (sealed(partition).keys, modes, block));
    keys.collect()
}

/// What they tell.
pub(super) fn found(facts: &GraphFacts) -> Result<Option<Linked>, ProgramError> {
    let edges = &facts.input.edges;
    if edges.is_empty() {
        return Ok(None);
    }
    let links = |mode: Mode| -> Result<Option<Links>, ProgramError> {
        let of = |edges: &ModeEdges| {
            let none = Vec::new();
            let known = Known::of(facts.heard.get(&Part::Links(mode)).unwrap_or(&none))?;
            Ok(Links {
                edges: known.spread.moment(1) as u64,
                directed: edges.directed,
                isolated: known.spread.isolated(),
                degrees: known.spread.report(),
            })
        };
        edges.get(&mode).map(of).transpose()
    };
    let groves: Vec<GroveTally> = facts.tallies(Part::Groves)?;
    let groves = groves.first().copied().unwrap_or_default();
    let isolated = |mode, seen: u64| facts.grid(mode).rows_total() - seen;
    let (largest, seen) = (
        groves.largest_users + groves.largest_products,
        groves.users + groves.products,
    );
    Ok(Some(Linked {
        users: links(Mode::User)?,
        products: links(Mode::Product)?,
        isolated_users: isolated(Mode::User, groves.users),
        isolated_products: isolated(Mode::Product, groves.products),
        components: Components {
            count: groves.trees,
            largest_users: groves.largest_users,
            largest_products: groves.largest_products,
            largest_share: largest as f64 / seen.max(1) as f64,
        },
    }))
}
