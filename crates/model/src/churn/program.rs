//! Churn as a state machine: histories, a sample of them, regressions on it, scores of all users.
//!
//! **Invariant:** it writes nothing durable, and every name follows from data, factors and settings alone.

use super::history::Moments;
use super::ops::{ChurnOp, Factors, FitOp, HistoriesOp, SampleOp, ScoreOp, Told};
use super::{FITTED, HISTORIES, SAMPLE, SCORES};
use crate::evaluate::steps::{block_of, blocks_of, per_block, sealed};
use crate::op::Op;
use crate::training::{decode, misreduced, refuse};
use tensor::{
    BlockId, DepotId, Grid, ObjectKey, PartialSpec, PartitionRef, Program, ProgramError, Read,
    Reduced, SealedRef, Step, StepId, TableId, Task, TaskId, Turn,
};

/// Settings of churn.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When.
    pub moments: Moments,
    /// Users of the sample, about.
    pub sample: u32,
    /// What holds the weights of regressions.
    pub ridge: f64,
    /// Bootstrap replicates.
    pub replicates: u32,
    /// Of the sample and the bootstrap.
    pub seed: u64,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The users.
    pub grid: Grid,
    /// Their interactions, with times.
    pub partitions: Vec<PartitionRef>,
    /// The shape of their factors.
    pub factors: Factors,
    /// The blocks of these, as of each cut; empty where there are none.
    pub tables: Vec<Vec<SealedRef>>,
}

const HISTORIES_STEP: StepId = StepId(0);
const SAMPLE_STEP: StepId = StepId(1);
const FIT_STEP: StepId = StepId(2);
const SCORE_STEP: StepId = StepId(3);

/// The program. It delivers all blocks of [`SCORES`].
#[derive(Debug)]
pub struct Churn {
    settings: Settings,
    input: Input,
    told: Told,
    /// Users who are there at the cut where regressions are fitted and at the one where they are judged, then those of each who churn.
    counts: [u64; 4],
    waiting: u32,
}

impl Churn {
    /// A program that has not begun.
    pub fn new(settings: Settings, input: Input) -> Self {
        Churn {
            settings,
            input,
            told: Told::default(),
            counts: [0; 4],
            waiting: 0,
        }
    }

    /// What regressions came to, once the program has finished.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Users who are there at the first cut and at the second, then those of each who churn.
    pub fn counts(&self) -> [u64; 4] {
        self.counts
    }

    fn block(&self, table: TableId, block: u32) -> ObjectKey {
        block_of(blocks_of(table, &self.input.grid, 0), block)
    }

    fn cost(&self, block: u32) -> u64 {
        u64::from(self.input.grid.rows[block as usize])
    }

    /// Reads of the factors of a block as of a cut.
    fn factors(&self, cut: usize, block: u32) -> impl Iterator<Item = Read> {
        let table = self.input.tables.get(cut);
        let sealed = table.map(|blocks| blocks[block as usize].key(DepotId::MODEL));
        sealed.into_iter().map(Read::whole)
    }

    fn histories(&self) -> Step {
        let op = Op::Churn(ChurnOp::Histories(HistoriesOp {
            moments: self.settings.moments,
        }));
        let of = |block: u32| {
            let partition = &self.input.partitions[block as usize];
            let writes = vec![self.block(HISTORIES, block)];
            let cost = partition.interactions / 8;
            (vec![sealed(partition.object)], writes, cost)
        };
        let blocks = self.input.grid.blocks();
        per_block(
            HISTORIES_STEP,
            "histories",
            op,
            blocks,
            PartialSpec::Sum,
            of,
        )
    }

    fn sample(&self) -> Step {
        let there = self.counts[0].max(self.counts[1]).max(1);
        let share = f64::from(self.settings.sample) / there as f64;
        let below = (share < 1.0).then(|| (share * 2.0_f64.powi(64)) as u64);
        let tasks = self.input.grid.block_ids().map(|block| {
            let op = SampleOp {
                first: self.input.grid.row_ids(block).start,
                factors: self.input.factors,
                below,
                seed: self.settings.seed,
            };
            let histories = Read::whole(self.block(HISTORIES, block.0));
            let factors = (0..2).flat_map(|cut| self.factors(cut, block.0));
            Task {
                id: TaskId {
                    step: SAMPLE_STEP,
                    index: block.0,
                },
                op: Op::Churn(ChurnOp::Sample(op)).encode(),
                reads: std::iter::once(histories).chain(factors).collect(),
                writes: vec![self.block(SAMPLE, block.0)],
                after: Vec::new(),
                chain: None,
                cost: self.cost(block.0).max(1),
            }
        });
        Step {
            id: SAMPLE_STEP,
            name: "sample".to_owned(),
            tasks: tasks.collect(),
            partial: PartialSpec::None,
            frees: Vec::new(),
        }
    }

    fn fitted() -> ObjectKey {
        ObjectKey::Block {
            table: FITTED,
            block: BlockId(0),
            version: 0,
        }
    }

    fn fit(&self) -> Step {
        let op = FitOp {
            columns: self.input.factors.columns,
            ridge: self.settings.ridge,
            replicates: self.settings.replicates,
            seed: self.settings.seed,
        };
        let sample = blocks_of(SAMPLE, &self.input.grid, 0);
        let task = Task {
            id: TaskId {
                step: FIT_STEP,
                index: 0,
            },
            op: Op::Churn(ChurnOp::Fit(op)).encode(),
            reads: sample.keys().map(Read::whole).collect(),
            writes: vec![Self::fitted()],
            after: Vec::new(),
            chain: None,
            cost: u64::from(self.settings.sample) * u64::from(op.columns + 8),
        };
        Step {
            id: FIT_STEP,
            name: "regressions".to_owned(),
            tasks: vec![task],
            partial: PartialSpec::Collect,
            frees: vec![sample],
        }
    }

    fn score(&self) -> Step {
        let op = Op::Churn(ChurnOp::Score(ScoreOp {
            factors: self.input.factors,
        }));
        let of = |block: u32| {
            let histories = Read::whole(self.block(HISTORIES, block));
            let reads = std::iter::once(histories).chain(self.factors(2, block));
            let reads = reads.chain([Read::whole(Self::fitted())]);
            let writes = vec![self.block(SCORES, block)];
            (reads.collect(), writes, self.cost(block))
        };
        let blocks = self.input.grid.blocks();
        let mut step = per_block(SCORE_STEP, "scores", op, blocks, PartialSpec::None, of);
        step.frees = vec![
            blocks_of(HISTORIES, &self.input.grid, 0),
            Self::fitted().into(),
        ];
        step
    }

    /// Refuses what no regression can be fitted to.
    fn check(&self) -> Result<(), ProgramError> {
        let horizon = self.settings.moments.horizon;
        for (cut, when) in [(0, "where it is learnt"), (1, "before the test part")] {
            let (users, churned) = (self.told.users[cut], self.told.churned[cut]);
            let what = if users == 0 {
                "no user has an interaction yet".to_owned()
            } else if churned == 0 {
                format!("none of {users} users buys nothing for {horizon} bins")
            } else if churned == users {
                format!("none of {users} users buys again within {horizon} bins")
            } else {
                continue;
            };
            return refuse(format!(
                "there is no churn to tell from staying at the cut {when}: {what}; set `output.churn.horizon` to another \
                 number of bins, or `output.churn.sample` higher"
            ));
        }
        Ok(())
    }
}

impl Program for Churn {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        self.waiting = 1;
        Ok(Turn {
            steps: vec![self.histories()],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        self.waiting -= 1;
        match (step, reduced) {
            (HISTORIES_STEP, Reduced::Sum(sums)) => {
                for (to, sum) in self.counts.iter_mut().zip(sums) {
                    *to = sum as u64;
                }
                turn.steps = vec![self.sample(), self.fit()];
                self.waiting = 2;
            }
            (SAMPLE_STEP, _) => {}
            (FIT_STEP, Reduced::Collect(told)) => {
                self.told = decode(told.first().map_or(&[], Vec::as_slice))?;
                self.check()?;
                turn.steps = vec![self.score()];
                self.waiting += 1;
            }
            (SCORE_STEP, _) => {}
            (step, _) => return misreduced(step),
        }
        if self.waiting == 0 {
            let scores = blocks_of(SCORES, &self.input.grid, 0);
            turn.deliver.extend(scores.keys());
            turn.finished = true;
        }
        Ok(turn)
    }

    /// Nothing of it is durable, so a restored program begins anew.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Churn::new(self.settings.clone(), self.input.clone());
        Ok(())
    }
}
