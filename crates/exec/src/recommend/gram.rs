//! Runs the op that sums up a block of a stored table: a block comes whole, its Gram goes.

use crate::objects::{fits, held_gram};
use crate::whole::Whole;
use crate::work::{Output, Room, Work};
use model::recommend::GramOp;
use plan::Failure;
use tensor::Task;

/// Opens the task.
///
/// # Errors
/// Where the task's keys are not those of its op.
pub(crate) fn gram(task: &Task, op: GramOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Whole::begin(task, 1, room, move |mut came, writes, room| {
        let rows = came.numbers()?;
        let rows = rows.typed::<f32>();
        fits(4 * rows.len() as u64, room.budget_bytes)?;
        Ok(Output {
            objects: vec![(writes[0], held_gram(room, op.width as usize, rows))],
            ..Output::default()
        })
    })
}
