//! Runners of the ops of alternating least squares.

mod basis;
mod first;
mod half_step;
mod maps;
mod small;

use crate::work::{Room, Work};
use model::als::AlsOp;
use plan::Failure;
use tensor::Task;

/// Opens a task of alternating least squares.
///
/// # Errors
/// Where the task's reads and writes are not those of its op.
pub fn begin(task: &Task, op: AlsOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(match op {
        AlsOp::Totals(op) => Box::new(first::TotalsWork::new(task, op, room)?),
        AlsOp::Init(op) => Box::new(first::InitWork::new(task, op, room)?),
        AlsOp::HalfStep(op) => Box::new(half_step::HalfStepPass::begin(task, op, room)?),
        AlsOp::SmallPartial(op) => Box::new(small::SmallPartialPass::begin(task, op, room)?),
        AlsOp::Basis(op) => Box::new(basis::BasisWork::new(task, op, room)?),
        AlsOp::Turn(op) => Box::new(basis::TurnWork::new(task, op, room)?),
        AlsOp::Maps(op) => Box::new(maps::MapsWork::new(task, op, room)?),
        AlsOp::SmallSolve(op) => Box::new(small::SmallSolveWork::new(task, op, room)?),
    })
}
