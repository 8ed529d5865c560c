//! Evaluation as a state machine.
//!
//! Lists: describe products, rank for every user block, add up the bootstrap sums, summarise; all submitted at once,
//! since every step's tasks start when what they read exists. Values: mean and range first, the rest behind it.
//!
//! **Invariant:** it reads the held-out part, and writes nothing that training could read.

use crate::evaluate::layout::{Layout, Ranker};
use crate::evaluate::op::{EvaluateOp, Intervals, RankOp, RatingsOp};
use crate::evaluate::ratings::{RatingSums, ValueRange};
use crate::evaluate::report::Evaluation;
use crate::evaluate::steps::{self, blocks_of};
use crate::evaluate::{COVERED, Goal, Input, PRODUCTS, Settings, SettingsError};
use crate::op::Op;
use crate::reduce::Reduction;
use std::collections::BTreeMap;
use tensor::{
    KeyRange, PartialSpec, Program, ProgramError, Read, Reduced, SplitPart, Step, StepId, Task,
    TaskId, Turn,
};

/// The number of the reduction of the bootstrap sums.
const BOOTSTRAP: u64 = 0x0e00;
const PRODUCTS_STEP: StepId = StepId(0);
const LINKED_STEP: StepId = StepId(1);
const VALUES_STEP: StepId = StepId(0);
const RATINGS_STEP: StepId = StepId(2);

/// The program.
#[derive(Debug)]
pub struct Evaluate {
    settings: Settings,
    input: Input,
    layout: Layout,
    range: Option<ValueRange>,
    waiting: usize,
    reduced: BTreeMap<StepId, Reduced>,
    found: Option<Evaluation>,
}

impl Evaluate {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Where the settings cannot be honoured, or the held-out part does not exist.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        input.relevant()?;
        let mut rankers = vec![Ranker::Model, Ranker::Popularity];
        rankers.extend(input.recent.as_ref().map(|_| Ranker::PopularityRecent));
        rankers.push(Ranker::OwnCount);
        rankers.extend(input.faded.as_ref().map(|_| Ranker::OwnRecent));
        let layout = Layout {
            tasks: settings.tasks.clone(),
            rankers,
            ks: settings.ks.clone(),
            slices: settings.slices.clone(),
            anyone: settings.anyone,
        };
        let (waiting, reduced) = (0, BTreeMap::new());
        Ok(Evaluate {
            settings,
            input,
            layout,
            range: None,
            waiting,
            reduced,
            found: None,
        })
    }

    /// The result, once the program has finished.
    pub fn found(&self) -> Option<&Evaluation> {
        self.found.as_ref()
    }

    /// The part that is evaluated.
    pub fn part(&self) -> SplitPart {
        self.input.part
    }

    fn bootstrap(&self) -> Reduction {
        let row_bytes = (self.layout.width() * size_of::<f64>()) as u32;
        let (leaves, rows) = (
            self.input.user.grid.blocks(),
            u64::from(self.settings.replicates),
        );
        Reduction {
            id: BOOTSTRAP,
            leaves,
            rows,
            row_bytes,
        }
    }

    fn rank_step(&self) -> StepId {
        StepId(PRODUCTS_STEP.0 + 1 + steps::linked_steps(self.input.factors.filter))
    }

    fn summary_step(&self) -> StepId {
        let levels = if self.settings.replicates > 0 {
            self.bootstrap().levels()
        } else {
            0
        };
        StepId(self.rank_step().0 + 1 + u64::from(levels))
    }

    fn submit(&mut self, turn: &mut Turn, steps: Vec<Step>) {
        self.waiting += steps.len();
        turn.steps.extend(steps);
    }

    fn ranking_steps(&self) -> Result<Vec<Step>, SettingsError> {
        let input = &self.input;
        let op = RankOp {
            users: input.user.grid.clone(),
            products: input.product.grid.clone(),
            width: input.factors.width,
            moment: input.factors.moment(),
            context: input.factors.context_at(),
            layout: self.layout.clone(),
            own: input.own,
            mask: input.mask().is_some(),
            faded: input.faded.is_some(),
            sample: None,
            seed: self.settings.seed,
            replicates: self.settings.replicates,
            coverage: true,
            filter: input.factors.filter,
            most: self.settings.rules.most(),
        };
        let mut steps = vec![steps::products(
            PRODUCTS_STEP,
            &input.product,
            &input.train,
            input.recent.as_ref(),
            (&self.settings.rules, 0),
        )];
        let mut frees = vec![blocks_of(PRODUCTS, &input.product.grid, 0)];
        if let Some(links) = input.factors.filter {
            let axes = (&input.user, &input.product);
            steps.extend(steps::linked(LINKED_STEP, axes, &input.train, links, 0));
            frees.extend(steps::linked_of(axes, links, 0));
        }
        let id = self.rank_step();
        let ranked = steps::rank(id, input, input.relevant()?, op, self.bootstrap(), 0);
        steps.push(Step { frees, ..ranked });
        if self.settings.replicates > 0 {
            steps.extend(self.bootstrap().steps(StepId(id.0 + 1), "add replicates"));
        }
        steps.push(self.summary());
        Ok(steps)
    }

    /// Coverage first, then intervals where they are asked for.
    fn summary(&self) -> Step {
        let id = self.summary_step();
        let covered = blocks_of(COVERED, &self.input.user.grid, 0);
        let coverage = EvaluateOp::Coverage {
            lists: self.layout.lists() as u32,
        };
        let mut parts = vec![(coverage, covered)];
        if self.settings.replicates > 0 {
            let intervals = EvaluateOp::Intervals {
                layout: self.layout.clone(),
                level: self.settings.level,
                kept: self.settings.kept.and_then(|kept| self.layout.place(kept)),
            };
            parts.push((intervals, self.bootstrap().root().into()));
        }
        let frees = parts.iter().map(|(_, keys)| *keys).collect();
        let task = |(index, (op, keys)): (usize, (EvaluateOp, KeyRange))| Task {
            id: TaskId {
                step: id,
                index: index as u32,
            },
            op: Op::Evaluate(op).encode(),
            reads: vec![Read::whole(keys)],
            writes: Vec::new(),
            after: Vec::new(),
            chain: None,
            cost: 1 + self.layout.width() as u64 * u64::from(self.settings.replicates),
        };
        let tasks = parts.into_iter().enumerate().map(task).collect();
        Step {
            id,
            name: "summarise".to_owned(),
            tasks,
            partial: PartialSpec::Collect,
            frees,
        }
    }

    fn ratings_steps(&self, range: ValueRange) -> Result<Vec<Step>, SettingsError> {
        let input = &self.input;
        let op = EvaluateOp::Ratings(RatingsOp {
            products: input.product.grid.clone(),
            width: input.factors.width,
            moment: input.factors.moment(),
            context: input.factors.context_at(),
            offset: input.factors.offset,
            mean: range.mean(),
            damping: self.settings.damping,
            range: (range.least, range.largest),
        });
        Ok(vec![
            steps::product_offsets(StepId(1), input, range.mean(), self.settings.damping, 0),
            steps::ratings(RATINGS_STEP, input, input.relevant()?, op, 0),
        ])
    }

    fn learn_range(&mut self, reduced: &Reduced) -> Result<Vec<Step>, ProgramError> {
        let blocks: Vec<ValueRange> = collected(reduced).map(decode).collect::<Result<_, _>>()?;
        let range = ValueRange::join(&blocks);
        if range.count == 0.0 {
            return Err(ProgramError {
                sentence: "the training part holds no interaction to compare with".to_owned(),
            });
        }
        self.range = Some(range);
        self.ratings_steps(range).map_err(refused)
    }

    fn conclude(&self) -> Result<Evaluation, ProgramError> {
        let sums = |step: StepId| match self.reduced.get(&step) {
            Some(Reduced::Sum(sums)) => sums.as_slice(),
            _ => &[],
        };
        if let Some(range) = self.range {
            let sums = RatingSums::from_slice(sums(RATINGS_STEP));
            return Ok(Evaluation::of_ratings(
                self.input.part,
                &sums,
                (range.least, range.largest),
            ));
        }
        let candidates = sums(PRODUCTS_STEP).first().map_or(0, |&count| count as u64);
        let mut parts = self
            .reduced
            .get(&self.summary_step())
            .into_iter()
            .flat_map(collected);
        let covered: Vec<u64> = parts.next().map(decode).transpose()?.unwrap_or_default();
        let intervals: Intervals = parts.next().map(decode).transpose()?.unwrap_or_default();
        let (part, ranked) = (self.input.part, sums(self.rank_step()));
        Ok(Evaluation::of_lists(
            part,
            &self.settings,
            &self.layout,
            ranked,
            candidates,
            &covered,
            &intervals,
        ))
    }
}

fn collected(reduced: &Reduced) -> impl Iterator<Item = &[u8]> {
    let parts = if let Reduced::Collect(parts) = reduced {
        parts.as_slice()
    } else {
        &[]
    };
    parts.iter().map(Vec::as_slice)
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProgramError> {
    postcard::from_bytes(bytes).map_err(|error| ProgramError {
        sentence: format!("the result of a task of the evaluation is damaged: {error}"),
    })
}

fn refused(error: SettingsError) -> ProgramError {
    ProgramError {
        sentence: error.to_string(),
    }
}

impl Program for Evaluate {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let steps = match self.settings.goal {
            Goal::Ranking => self.ranking_steps().map_err(refused)?,
            Goal::Ratings => vec![steps::values(VALUES_STEP, &self.input)],
        };
        self.submit(&mut turn, steps);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        self.waiting -= 1;
        if self.settings.goal == Goal::Ratings && step == VALUES_STEP {
            let steps = self.learn_range(&reduced)?;
            self.submit(&mut turn, steps);
        }
        self.reduced.insert(step, reduced);
        if self.waiting == 0 {
            self.found = Some(self.conclude()?);
            turn.finished = true;
        }
        Ok(turn)
    }

    /// An evaluation is short: it is done again from the beginning.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.waiting = 0;
        self.reduced.clear();
        self.range = None;
        self.found = None;
        Ok(())
    }
}
