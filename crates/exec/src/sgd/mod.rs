//! Runners of the ops of stochastic gradient descent.

mod bins;
mod first;
mod publish;
mod tile;

use crate::objects::{bad_partition, bug};
use crate::work::{Room, Work};
use model::sgd::SgdOp;
use plan::Failure;
use tensor::Task;

/// Opens a task of stochastic gradient descent.
///
/// # Errors
/// Where the task's reads and writes are not those of its op, or its blocks do not fit the budget.
pub(crate) fn begin(task: &Task, op: SgdOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Ok(match op {
        SgdOp::First(op) => Box::new(first::FirstWork::new(task, op, room)?),
        SgdOp::Tile(op) => Box::new(tile::TileWork::new(task, op, room)?),
        SgdOp::Publish(op) => Box::new(publish::PublishWork::new(task, op, room)?),
        SgdOp::FirstBins(op) => Box::new(bins::FirstBinsWork::new(task, op, room)?),
        SgdOp::Bins(op) => Box::new(bins::BinsWork::new(task, op, room)?),
    })
}

/// A partition with other rows than its block.
fn other_rows(block: u32, found: u32, expected: u32) -> Failure {
    bad_partition(&format!(
        "of block {block} has {found} rows, its data set {expected}"
    ))
}

/// A task whose writes are not those of its op.
fn other_writes(task: &Task) -> Failure {
    bug(task, "writes other objects than its op")
}
