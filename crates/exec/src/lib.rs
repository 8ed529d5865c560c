//! Runs one task inside a memory budget, piece by piece: says what it needs next, computes when it is
//! there, hands on or spills.
//!
//! **Invariant:** synchronous, and nothing here waits for another process: whoever drives a task fetches
//! what [`Need`] names and calls again.

pub mod held;
pub mod pool;
pub mod probe;
pub mod shelf;
pub mod trouble;
pub mod work;

pub use held::HeldBytes;
pub use pool::pool;
pub use probe::Probe;
pub use shelf::Shelf;
pub use trouble::failure_of;
pub use work::{Fetched, Held, Need, Output, Part, Put, Room, Want, Work};

use plan::{Failure, Refusal};
use std::sync::Arc;
use tensor::{OpFamily, Task};

/// Opens a task's op and makes it ready to run.
///
/// # Errors
/// Where the op is of a family or version that this build does not know, or is malformed.
pub fn begin(task: &Arc<Task>, room: Room) -> Result<Box<dyn Work>, Failure> {
    match task.op.family {
        OpFamily::Probe => probe::begin(task),
        OpFamily::Builtin | OpFamily::Model | OpFamily::Tables => {
            drop(room);
            Err(unknown_op(task))
        }
    }
}

/// The refusal of an op that cannot be opened here.
pub fn unknown_op(task: &Task) -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence: format!(
            "task {} has a {:?} op of version {} that this worker cannot open: run the same version of the engine \
             everywhere",
            task.id, task.op.family, task.op.version
        ),
    }
}
