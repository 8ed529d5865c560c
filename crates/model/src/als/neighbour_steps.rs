//! The steps by which rows are held to their neighbours: the degrees of edges once, and before each half-step what neighbours come to.

use super::schedule::{Draft, Layout, Role, Stage};
use crate::graph::steps::{self, Factors};
use crate::graph::{DegreesOp, Edges, GraphOp, ProductOp, Scales};
use crate::op::Op;
use crate::training::TableVersion;
use tensor::{Mode, ModeEdges, Read, TableId};

/// Degrees of users' edges; those of products have the next number.
const DEGREES: TableId = TableId(15);
/// What the neighbours of users come to.
const PULLS: TableId = TableId(17);

fn of_mode(table: TableId, mode: Mode) -> TableId {
    TableId(table.0 + u16::from(mode == Mode::Product))
}

impl Layout<'_> {
    /// The edges that hold rows of a mode together.
    pub(super) fn edges(&self, mode: Mode) -> Option<&ModeEdges> {
        let edges = self.input.edges.get(&mode);
        edges.filter(|_| self.settings.edge_weight(mode) > 0.0)
    }

    /// What edges of each row weigh, an f64 a row.
    pub(super) fn edge_degrees(&self, mode: Mode) -> TableVersion {
        TableVersion {
            id: of_mode(DEGREES, mode),
            version: 0,
            ..self.table(mode, 0)
        }
    }

    /// Adds up the edges of rows.
    pub(super) fn count_edges(&self, stage: &mut Stage) {
        let op = Op::Graph(GraphOp::Degrees(DegreesOp {
            edges: Edges::Values,
            own: None,
            loops: false,
        }))
        .encode();
        for mode in [Mode::User, Mode::Product] {
            let Some(edges) = self.edges(mode) else {
                continue;
            };
            let degrees = self.edge_degrees(mode);
            let drafts = edges
                .forward
                .iter()
                .zip(0..)
                .map(|(partition, block)| Draft {
                    op: op.clone(),
                    reads: vec![steps::sealed(partition)],
                    writes: vec![degrees.block(block)],
                    cost: partition.interactions / 64,
                });
            let name = format!("{mode} edges");
            stage.push(&name, Role::Counts, drafts.collect(), Vec::new());
        }
    }

    /// S x' for the rows of a mode as they last were.
    pub(super) fn pulls(&self, stage: &mut Stage, last: &TableVersion) -> Option<TableVersion> {
        let edges = self.edges(last.mode)?;
        let pulls = TableVersion {
            id: of_mode(PULLS, last.mode),
            ..last.clone()
        };
        let op = ProductOp {
            rows: last.grid.clone(),
            others: last.grid.clone(),
            columns: last.rank,
            edges: Edges::Values,
            scales: Scales::default(),
            onto: None,
            loops: false,
        };
        let of = Factors {
            others: last,
            degrees: &self.edge_degrees(last.mode),
            base: None,
            own: None,
        };
        let writes = |block| vec![pulls.block(block)];
        let drafts = steps::product(None, &op, &of, &edges.forward, writes);
        let drafts = drafts.into_iter().map(|(op, reads, writes, cost)| Draft {
            op,
            reads,
            writes,
            cost,
        });
        let name = format!("{} neighbours", last.mode);
        stage.push(&name, Role::Silent, drafts.collect(), Vec::new());
        Some(pulls)
    }

    /// What a half-step reads of neighbours.
    pub(super) fn pull_reads(
        &self,
        pulls: Option<&TableVersion>,
        block: u32,
    ) -> impl Iterator<Item = Read> {
        let keys = pulls.map(|pulls| {
            [
                self.edge_degrees(pulls.mode).block(block),
                pulls.block(block),
            ]
        });
        keys.into_iter().flatten().map(Read::whole)
    }
}
