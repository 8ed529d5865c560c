//! Runs the ops of evaluation.

mod filtering;
mod nearest;
mod products;
mod rank;
mod ratings;
pub(crate) mod reading;
pub(crate) mod scoring;
pub(crate) mod stretches;
mod summary;

use crate::work::{Room, Work};
use model::evaluate::EvaluateOp;
use plan::Failure;
use tensor::Task;

/// Makes an op of evaluation ready to run.
pub(crate) fn begin(task: &Task, op: EvaluateOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(match op {
        EvaluateOp::Products { recent, rules } => {
            Box::new(products::ProductsWork::new(task, recent, rules, room))
        }
        EvaluateOp::Rank(op) => Box::new(rank::RankWork::new(task, op, room)?),
        EvaluateOp::Intervals {
            layout,
            level,
            kept,
        } => Box::new(summary::IntervalsWork::new(task, layout, level, kept)),
        EvaluateOp::Coverage { lists } => Box::new(summary::CoverageWork::new(task, lists)),
        EvaluateOp::Values => Box::new(products::ValuesWork::new(task, room)),
        EvaluateOp::ProductOffsets { mean, damping } => {
            Box::new(products::OffsetsWork::new(task, mean, damping, room))
        }
        EvaluateOp::Ratings(op) => Box::new(ratings::RatingsWork::new(task, op, room)),
        EvaluateOp::Nearest(op) => return nearest::begin(task, op, room),
    })
}
