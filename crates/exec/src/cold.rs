//! Runs the op that draws newcomers: the partition of a block passes by in pieces.

use crate::evaluate::reading::trouble;
use crate::whole::{Came, Whole};
use crate::work::{Output, Room, Work};
use model::cold::{DrawOp, Drawing};
use model::evaluate::op::collected;
use plan::Failure;
use tensor::Task;

/// Interactions that are read together.
const PIECE: u64 = 1 << 18;

/// Opens the task.
///
/// # Errors
/// Where it writes anything.
pub(crate) fn begin(task: &Task, op: DrawOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Whole::begin(task, 0, room, move |came, _, _| run(op, came))
}

fn run(op: DrawOp, mut came: Came) -> Result<Output, Failure> {
    let partition = came.partition()?;
    let mut drawing = Drawing::new(op, partition.block().0);
    let offsets = partition.offsets();
    let mut start = 0;
    while start < partition.interactions() {
        let end = partition.interactions().min(start + PIECE);
        let damaged = |error| trouble(partition.file(), error);
        let columns = partition.columns(start..end).map_err(damaged)?;
        let small = partition.small(start..end).map_err(damaged)?;
        for row in partition.rows_of(start..end) {
            for place in offsets[row].max(start)..offsets[row + 1].min(end) {
                let at = (place - start) as usize;
                let bin = small.time.as_ref().map_or(0, |times| times[at]);
                drawing.add(row, columns[at], bin);
            }
        }
        partition.drop_behind(start..end);
        start = end;
    }
    Ok(Output {
        partial: collected(&drawing.finish()),
        ..Output::default()
    })
}
