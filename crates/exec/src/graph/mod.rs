//! Runners of the ops of graph models.

mod adam;
mod cross;
mod dense;
mod head;
mod product;
mod ranges;
mod rows;
mod unit;

use crate::work::{Room, Work};
use model::graph::GraphOp;
use plan::Failure;
use tensor::Task;

/// Opens a task of a graph model.
///
/// # Errors
/// Where the task's reads and writes are not those of its op.
pub(crate) fn begin(task: &Task, op: GraphOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(match op {
        GraphOp::Degrees(op) => Box::new(rows::DegreesWork::new(task, op, room)?),
        GraphOp::Start(op) => Box::new(rows::StartWork::new(task, op, room)?),
        GraphOp::Product(op) => Box::new(product::ProductPass::begin(task, op, room)?),
        GraphOp::Arrange(op) => Box::new(ranges::ArrangeWork::new(task, op, room)?),
        GraphOp::Ranges(op) => Box::new(ranges::RangesWork::new(task, op, room)?),
        GraphOp::Turn(op) => Box::new(rows::TurnWork::new(task, op, room)?),
        GraphOp::Cross(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Pairs(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Times(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Residuals(op) => Box::new(rows::ResidualsWork::new(task, op)?),
        GraphOp::Rivals(op) => Box::new(head::RivalsWork::new(task, op, false, room)?),
        GraphOp::Undo(op) => Box::new(head::RivalsWork::new(task, op, true, room)?),
        GraphOp::Head(op) => Box::new(head::HeadPass::begin(task, op, room)?),
        GraphOp::Adam(op) => Box::new(adam::AdamWork::new(task, op, room)?),
        GraphOp::Dense(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::DenseBack(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Mean(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::FirstMatrix(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Matrix(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Features(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::FeaturesBack(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Unit(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::UnitBack(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Groups(op) => Box::new(dense::WholeWork::new(task, op, room)?),
        GraphOp::Labels(op) => Box::new(unit::LabelsWork::new(task, op, room)?),
    })
}
