//! The errors of predicted validation values at the end of every epoch of training.

use crate::evaluate::metric::Metric;
use crate::evaluate::op::{EvaluateOp, RatingsOp};
use crate::evaluate::ratings::RatingSums;
use crate::evaluate::steps;
use crate::evaluate::{Factors, Input, SettingsError};
use crate::forecast::Moment;
use crate::training::{Sampler, TableVersion};
use tensor::{Partitions, Reduced, Step, StepId};

/// Predicts every held-out interaction: a dot product each is little beside the equations of an epoch.
#[derive(Debug)]
pub struct ValidationErrors {
    input: Input,
    held_out: Partitions,
    moment: Option<Moment>,
}

impl ValidationErrors {
    /// The factors of `input` are replaced by those of each epoch; `moment` says how those of time go on.
    ///
    /// # Errors
    /// Where the held-out part does not exist.
    pub fn new(input: Input, moment: Option<Moment>) -> Result<Self, SettingsError> {
        let held_out = input.relevant()?.clone();
        Ok(ValidationErrors {
            input,
            held_out,
            moment,
        })
    }
}

impl Sampler for ValidationErrors {
    /// The offsets of products tell which of them training knows; the bias-only model and the range of training values
    /// are of no use here, so neither the mean nor clipping is asked for.
    fn steps(&self, tables: &[TableVersion], offset: f32, first: StepId) -> Vec<Step> {
        let factors =
            Factors::of(tables, self.moment, offset).expect("training writes users and products");
        let version = tables.iter().map(|table| table.version).max().unwrap_or(0);
        let input = Input {
            factors,
            ..self.input.clone()
        };
        let op = EvaluateOp::Ratings(RatingsOp {
            products: input.product.grid.clone(),
            width: input.factors.width,
            moment: input.factors.moment(),
            context: input.factors.context_at(),
            offset: input.factors.offset,
            mean: 0.0,
            damping: 0.0,
            range: (f32::NEG_INFINITY, f32::INFINITY),
        });
        let predicted = StepId(first.0 + 1);
        vec![
            steps::product_offsets(first, &input, 0.0, 0.0, version),
            steps::ratings(predicted, &input, &self.held_out, op, version),
        ]
    }

    fn metrics(&self, reduced: Vec<Reduced>) -> Vec<(String, f64)> {
        let Some(Reduced::Sum(sums)) = reduced.get(1) else {
            return Vec::new();
        };
        let sums = RatingSums::from_slice(sums);
        if sums.count == 0.0 {
            return Vec::new();
        }
        let errors = sums.ratings((f32::NEG_INFINITY, f32::INFINITY)).unclipped;
        vec![
            (Metric::Rmse.to_string(), errors.rmse),
            (Metric::Mae.to_string(), errors.mae),
        ]
    }
}
