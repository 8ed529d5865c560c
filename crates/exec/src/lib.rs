//! Runs one task inside a memory budget, piece by piece: says what it needs next, computes when it is
//! there, hands on or spills.
//!
//! **Invariant:** synchronous, and nothing here waits for another process: whoever drives a task fetches
//! what [`Need`] names and calls again.

pub mod als;
pub mod reduce;
pub mod trouble;
pub mod work;

use plan::{Failure, Refusal};
use tensor::{OpFamily, Task};
pub use work::{Fetched, Held, Need, Output, Part, Put, Room, Want, Work};

/// Opens a task: decodes its op and checks that what it reads and writes is what the op expects.
///
/// # Errors
/// Where the op is unknown, or its smallest piece does not fit the room.
pub fn begin(task: &Task, room: &Room) -> Result<Box<dyn Work>, Failure> {
    match task.op.family {
        OpFamily::Model => begin_model(task, room),
        family => Err(refuse(format!("an op of {family:?} is not run here"))),
    }
}

fn begin_model(task: &Task, room: &Room) -> Result<Box<dyn Work>, Failure> {
    match model::Op::decode(&task.op).map_err(|error| refuse(error.to_string()))? {
        model::Op::Als(op) => als::begin(task, op, room),
        model::Op::Reduce(op) => Ok(Box::new(reduce::ReduceWork::new(task, op, room)?)),
    }
}

fn refuse(sentence: String) -> Failure {
    Failure::Refused {
        refusal: Refusal::Config,
        sentence,
    }
}
