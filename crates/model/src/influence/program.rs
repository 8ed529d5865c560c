//! Influencers as a state machine: strengths, scores, and whom the rows of the highest scores reach.
//!
//! **Invariant:** it writes nothing durable, and every name follows from data and settings alone.

use super::ops::{EdgesOp, InfluenceOp, OthersOp, ReachedOp, Scored, ScoresOp};
use super::ties::best;
use super::{MARKS, SHARED, STRENGTHS};
use crate::evaluate::steps::{block_of, blocks_of, sealed};
use crate::facts::FactsOp;
use crate::facts::ops::MarksOp;
use crate::op::Op;
use crate::training::{decode, misreduced};
use std::collections::BTreeMap;
use tensor::{
    BlockId, Grid, KeyRange, ObjectKey, PartialSpec, PartitionRef, Program, ProgramError, Read,
    Reduced, Step, StepId, TableId, Task, TaskId, Turn,
};

/// Settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many influencers.
    pub top: u32,
    /// The most ties of a row that is nearly isolated.
    pub ties_max: u32,
    /// The least share of its ties that an influencer who reaches it holds.
    pub share: f64,
}

/// What ties rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Ties {
    /// Edges between them: those of each block and, where they are directed, those turned.
    Edges {
        /// S, by rows.
        forward: Vec<PartitionRef>,
        /// Sᵀ, by rows; none where S is its own transpose.
        backward: Vec<PartitionRef>,
    },
    /// What they share.
    Shared {
        /// Interactions, by rows.
        partitions: Vec<PartitionRef>,
        /// The grid of the other mode.
        columns: Grid,
        /// Interactions, by it.
        column_partitions: Vec<PartitionRef>,
    },
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The rows.
    pub grid: Grid,
    /// Their ties.
    pub ties: Ties,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Influencer {
    /// The row.
    pub row: u32,
    /// Its score.
    pub score: f64,
    /// Its strength.
    pub strength: f64,
    /// Neighbours, or what it shares with anyone.
    pub ties: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The highest score first.
    pub influencers: Vec<Influencer>,
}

/// What a step is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Silent,
    Scores,
    Reached,
}

/// The program. It delivers, block by block, (place of the influencer, row) of each row that is reached, a u32 each.
#[derive(Debug)]
pub struct Influencers {
    settings: Settings,
    input: Input,
    next: u64,
    waiting: BTreeMap<StepId, Role>,
    found: Found,
}

/// What a task of a block is.
type Draft = (Op, Vec<Read>, Vec<ObjectKey>, u64);

const REACHED: TableId = TableId(0x0f1b);

fn whole(range: KeyRange) -> impl Iterator<Item = Read> {
    range.keys().map(Read::whole)
}

impl Influencers {
    /// A program that has not begun.
    pub fn new(settings: Settings, input: Input) -> Self {
        Influencers {
            settings,
            input,
            next: 0,
            waiting: BTreeMap::new(),
            found: Found::default(),
        }
    }

    /// What was found, once the program has finished.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn rows(&self, table: TableId) -> KeyRange {
        blocks_of(table, &self.input.grid, 0)
    }

    fn push(
        &mut self,
        turn: &mut Turn,
        (name, role): (&str, Role),
        drafts: Vec<Draft>,
        frees: Vec<KeyRange>,
    ) {
        let id = StepId(self.next);
        let tasks = drafts.into_iter().zip(0..);
        let tasks = tasks.map(|((op, reads, writes, cost), index)| Task {
            id: TaskId { step: id, index },
            op: op.encode(),
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost: cost.max(1),
        });
        let partial = if role == Role::Scores {
            PartialSpec::Collect
        } else {
            PartialSpec::None
        };
        turn.steps.push(Step {
            id,
            name: name.to_owned(),
            tasks: tasks.collect(),
            partial,
            frees,
        });
        self.next += 1;
        self.waiting.insert(id, role);
    }

    /// The partitions of a block: two where edges are directed.
    fn partitions(&self, block: usize) -> Vec<&PartitionRef> {
        match &self.input.ties {
            Ties::Edges { forward, backward } => [forward, backward]
                .into_iter()
                .filter_map(|of| of.get(block))
                .collect(),
            Ties::Shared { partitions, .. } => vec![&partitions[block]],
        }
    }

    /// Reads of these, and what passing over them costs.
    fn reads(&self, block: u32) -> (Vec<Read>, u64) {
        let of = self.partitions(block as usize);
        let cost = of.iter().map(|of| of.interactions / 8).sum();
        (of.into_iter().map(|of| sealed(of.object)).collect(), cost)
    }

    /// The id of a block's first row.
    fn first(&self, block: u32) -> u32 {
        self.input.grid.row_ids(BlockId(block)).start
    }

    /// One task a block of rows.
    fn by_rows(
        &self,
        of: impl Fn(u32, Vec<Read>) -> (InfluenceOp, Vec<Read>, Vec<ObjectKey>),
    ) -> Vec<Draft> {
        let blocks = 0..self.input.grid.blocks();
        let draft = |block| {
            let (reads, cost) = self.reads(block);
            let (op, reads, writes) = of(block, reads);
            (Op::Influence(op), reads, writes, cost)
        };
        blocks.map(draft).collect()
    }

    /// One task a block of what rows share.
    fn by_columns(
        partitions: &[PartitionRef],
        of: impl Fn(u32) -> (InfluenceOp, Vec<Read>, ObjectKey),
    ) -> Vec<Draft> {
        let draft = |(partition, block): (&PartitionRef, u32)| {
            let (op, more, write) = of(block);
            let mut reads = vec![sealed(partition.object)];
            reads.extend(more);
            (
                Op::Influence(op),
                reads,
                vec![write],
                partition.interactions / 8,
            )
        };
        partitions.iter().zip(0..).map(draft).collect()
    }

    /// Scores of all rows, and what comes before them.
    fn score(&mut self, turn: &mut Turn) {
        let strengths = self.rows(STRENGTHS);
        let (columns, others, edges) = match self.input.ties.clone() {
            Ties::Edges { .. } => {
                let drafts = self.by_rows(|block, reads| {
                    let op = InfluenceOp::Edges(EdgesOp {
                        first: self.first(block),
                        partitions: reads.len() as u32,
                    });
                    (op, reads, vec![block_of(strengths, block)])
                });
                self.push(turn, ("ties", Role::Silent), drafts, Vec::new());
                (self.input.grid.clone(), strengths, true)
            }
            Ties::Shared {
                columns,
                column_partitions,
                ..
            } => {
                let counts = blocks_of(SHARED, &columns, 0);
                let shared = blocks_of(SHARED, &columns, 1);
                let drafts = Self::by_columns(&column_partitions, |block| {
                    (InfluenceOp::Counts, Vec::new(), block_of(counts, block))
                });
                self.push(turn, ("degrees", Role::Silent), drafts, Vec::new());
                let drafts = self.by_rows(|block, mut reads| {
                    reads.extend(whole(counts));
                    let op = InfluenceOp::Strengths(OthersOp {
                        columns: columns.clone(),
                    });
                    (op, reads, vec![block_of(strengths, block)])
                });
                self.push(turn, ("ties", Role::Silent), drafts, vec![counts]);
                let drafts = Self::by_columns(&column_partitions, |block| {
                    let op = InfluenceOp::Through(OthersOp {
                        columns: self.input.grid.clone(),
                    });
                    (op, whole(strengths).collect(), block_of(shared, block))
                });
                self.push(turn, ("shares", Role::Silent), drafts, Vec::new());
                (columns, shared, false)
            }
        };
        let drafts = self.by_rows(|block, mut reads| {
            let op = InfluenceOp::Scores(ScoresOp {
                first: self.first(block),
                partitions: reads.len() as u32,
                columns: columns.clone(),
                edges,
                top: self.settings.top,
            });
            if !edges {
                reads.push(Read::whole(block_of(strengths, block)));
            }
            reads.extend(whole(others));
            (op, reads, Vec::new())
        });
        self.push(turn, ("scores", Role::Scores), drafts, Vec::new());
    }

    fn scored(&mut self, turn: &mut Turn, partials: &[Vec<u8>]) -> Result<(), ProgramError> {
        let mut scored: Vec<Scored> = Vec::new();
        for partial in partials {
            scored.append(&mut decode(partial)?);
        }
        let chosen = best(scored, self.settings.top);
        let influencers = chosen.iter().map(|of| Influencer {
            row: of.row,
            score: of.score,
            strength: of.strength,
            ties: of.ties,
        });
        self.found.influencers = influencers.collect();
        let mut places: Vec<(u32, u32)> = chosen.iter().map(|of| of.row).zip(0..).collect();
        places.sort_unstable();
        let (columns, mut more) = (self.columns(), Vec::new());
        let mut frees = Vec::new();
        if let Some(columns) = &columns {
            let (drafts, marks) = self.mark(&places);
            if !drafts.is_empty() {
                self.push(
                    turn,
                    ("what influencers have", Role::Silent),
                    drafts,
                    Vec::new(),
                );
            }
            more.extend(whole(blocks_of(SHARED, columns, 1)));
            more.extend(marks.iter().map(|&key| Read::whole(key)));
            frees = marks.into_iter().map(KeyRange::One).collect();
        }
        let (strengths, written) = (self.rows(STRENGTHS), self.rows(REACHED));
        frees.push(strengths);
        let drafts = self.by_rows(|block, mut reads| {
            let op = InfluenceOp::Reached(ReachedOp {
                first: self.first(block),
                partitions: reads.len() as u32,
                columns: columns.clone(),
                influencers: places.clone(),
                ties_max: self.settings.ties_max,
                share: self.settings.share,
            });
            reads.push(Read::whole(block_of(strengths, block)));
            reads.extend(more.iter().copied());
            (op, reads, vec![block_of(written, block)])
        });
        self.push(turn, ("reached", Role::Reached), drafts, frees);
        Ok(())
    }

    /// The grid of what rows share.
    fn columns(&self) -> Option<Grid> {
        match &self.input.ties {
            Ties::Edges { .. } => None,
            Ties::Shared { columns, .. } => Some(columns.clone()),
        }
    }

    /// Tasks that list what influencers have, and what they write.
    fn mark(&self, places: &[(u32, u32)]) -> (Vec<Draft>, Vec<ObjectKey>) {
        let mut of_block: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for &(row, place) in places {
            let (block, local) = self.input.grid.split(row);
            of_block.entry(block.0).or_default().push((local, place));
        }
        let marks = self.rows(MARKS);
        let drafts = of_block.into_iter().map(|(block, rows)| {
            let op = Op::Facts(FactsOp::Marks(MarksOp { rows }));
            let (reads, cost) = self.reads(block);
            (op, reads, vec![block_of(marks, block)], cost)
        });
        let drafts: Vec<Draft> = drafts.collect();
        let written = drafts.iter().flat_map(|draft| draft.2.clone()).collect();
        (drafts, written)
    }
}

impl Program for Influencers {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        self.score(&mut turn);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        match (self.waiting.remove(&step), reduced) {
            (Some(Role::Silent), _) => {}
            (Some(Role::Scores), Reduced::Collect(partials)) => {
                self.scored(&mut turn, &partials)?;
            }
            (Some(Role::Reached), _) => {
                turn.deliver.extend(self.rows(REACHED).keys());
                turn.finished = true;
            }
            (role, _) => return misreduced(role),
        }
        Ok(turn)
    }

    /// Nothing of it is durable, so a restored program begins anew; what was delivered before comes again with the same bytes, or not at all.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Influencers::new(self.settings.clone(), self.input.clone());
        Ok(())
    }
}
