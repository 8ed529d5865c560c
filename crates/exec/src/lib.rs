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
use tensor::{OpFamily, Task};

/// Opens a task: decodes its op and checks that what it reads and writes is what the op expects.
///
/// # Errors
/// Where the op is unknown, or its smallest piece does not fit the room.
pub fn begin(task: &Task, _room: &Room) -> Result<Box<dyn Work>, Failure> {
    match task.op.family {
        OpFamily::Probe => probe::begin(task),
        // The worker's own ops never come here.
        OpFamily::Builtin | OpFamily::Model | OpFamily::Tables => Err(unknown_op(task)),
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
