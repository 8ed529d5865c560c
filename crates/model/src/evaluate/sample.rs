//! The validation metrics of a fixed hash sample of users, at the end of every epoch of training.

use crate::context::ContextAt;
use crate::evaluate::layout::{Layout, Ranker};
use crate::evaluate::op::{RankOp, Sample};
use crate::evaluate::report::Evaluation;
use crate::evaluate::steps::{self, blocks_of};
use crate::evaluate::{ContextFactors, Factors, Input, PRODUCTS, Settings, SettingsError};
use crate::forecast::{Forecast, Moment};
use crate::reduce::Reduction;
use crate::rules::Rules;
use crate::training::{Holds, Sampler, TableVersion};
use tensor::{Mode, Partitions, Reduced, Step, StepId};

/// Evaluates the model alone, without baselines, intervals and coverage.
#[derive(Debug)]
pub struct SampledEvaluation {
    settings: Settings,
    input: Input,
    held_out: Partitions,
    moment: Option<Moment>,
    sample: Sample,
}

impl SampledEvaluation {
    /// Of about `users` users. The tables of `input` are replaced by those of each epoch; a tensor scores at `moment`.
    ///
    /// # Errors
    /// Where the settings cannot be honoured, or the held-out part does not exist.
    pub fn new(
        settings: Settings,
        input: Input,
        moment: Option<Moment>,
        users: u64,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let held_out = input.relevant()?.clone();
        let sample = Sample::of(settings.seed, users, input.user.grid.rows_total());
        Ok(SampledEvaluation {
            settings,
            input,
            held_out,
            moment,
            sample,
        })
    }

    fn layout(&self) -> Layout {
        Layout {
            tasks: self.settings.tasks.clone(),
            rankers: vec![Ranker::Model],
            ks: self.settings.ks.clone(),
            slices: Vec::new(),
            anyone: false,
        }
    }
}

impl Factors {
    /// Of the tables of a program; a tensor scores at `moment`, in the last of its bins where there is none, and at the mean of
    /// contexts. `None` where U or V is missing.
    pub fn of(tables: &[TableVersion], moment: Option<Moment>, offset: f32) -> Option<Self> {
        let found = |mode: Mode, holds: Holds| {
            let is_it = |table: &&TableVersion| table.mode == mode && table.holds == holds;
            tables.iter().find(is_it)
        };
        let table = |mode: Mode| found(mode, Holds::Factors);
        let contexts = table(Mode::Context).zip(found(Mode::Context, Holds::Mean));
        let (users, products) = (table(Mode::User)?, table(Mode::Product)?);
        let time = table(Mode::Time).map(|time| {
            let bins = time.grid.rows_total().max(1) as u32;
            let last = Moment::last_of(0..bins, Forecast::Last);
            (time.block(0), moment.unwrap_or(last))
        });
        Some(Factors {
            users: users.keys(),
            products: products.keys(),
            time,
            context: contexts.map(|(table, mean)| ContextFactors {
                table: table.block(0),
                mean: mean.block(0),
                at: ContextAt::Mean,
            }),
            width: users.width,
            offset,
            filter: None,
        })
    }
}

impl Sampler for SampledEvaluation {
    fn steps(&self, tables: &[TableVersion], offset: f32, first: StepId) -> Vec<Step> {
        let factors =
            Factors::of(tables, self.moment, offset).expect("training writes users and products");
        let factors = Factors {
            filter: self.input.factors.filter,
            ..factors
        };
        let version = tables.iter().map(|table| table.version).max().unwrap_or(0);
        let input = Input {
            factors,
            recent: None,
            faded: None,
            ..self.input.clone()
        };
        let op = RankOp {
            users: input.user.grid.clone(),
            products: input.product.grid.clone(),
            width: input.factors.width,
            moment: input.factors.moment(),
            context: input.factors.context_at(),
            layout: self.layout(),
            own: input.own,
            mask: input.mask().is_some(),
            faded: false,
            sample: Some(self.sample),
            seed: self.settings.seed,
            replicates: 0,
            coverage: false,
            filter: input.factors.filter,
            most: None,
        };
        let none = Reduction {
            id: 0,
            leaves: 0,
            rows: 0,
            row_bytes: 8,
        };
        let axes = (&input.user, &input.product);
        let mut steps = vec![steps::products(
            first,
            &input.product,
            &input.train,
            None,
            (&Rules::default(), version),
        )];
        let mut frees = vec![blocks_of(PRODUCTS, &input.product.grid, version)];
        if let Some(links) = input.factors.filter {
            let next = StepId(first.0 + 1);
            steps.extend(steps::linked(next, axes, &input.train, links, version));
            frees.extend(steps::linked_of(axes, links, version));
        }
        let ranked = StepId(first.0 + steps.len() as u64);
        let ranked = steps::rank(ranked, &input, &self.held_out, op, none, version);
        steps.push(Step { frees, ..ranked });
        steps
    }

    /// `new_products recall@20` and the like, then the number of users behind them.
    fn metrics(&self, reduced: Vec<Reduced>) -> Vec<(String, f64)> {
        let Some(Reduced::Sum(sums)) = reduced.last() else {
            return Vec::new();
        };
        if sums.is_empty() {
            return Vec::new();
        }
        let settings = Settings {
            replicates: 0,
            ..self.settings.clone()
        };
        let found = Evaluation::of_lists(
            self.input.part,
            &settings,
            &self.layout(),
            sums,
            0,
            &[],
            &Default::default(),
        );
        let figures = found.tasks.iter().flat_map(|(task, rankers)| {
            rankers
                .values()
                .flatten()
                .map(move |(figure, value)| (format!("{task} {figure}"), *value))
        });
        let users = found
            .users
            .iter()
            .map(|(task, users)| (format!("{task} users"), users.counted as f64));
        figures.chain(users).collect()
    }
}
