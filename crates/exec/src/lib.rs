//! Runs one task inside a memory budget, piece by piece: says what it needs next, computes when it is
//! there, hands on or spills.
//!
//! **Invariant:** synchronous, and nothing here waits for another process: whoever drives a task fetches
//! what [`Need`] names and calls again.

mod ingest;
pub mod trouble;
mod view;
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
        OpFamily::Tables => ingest::begin(task, room),
        family => Err(refuse(format!("an op of {family:?} is not run here"))),
    }
}

fn refuse(sentence: String) -> Failure {
    Failure::Refused {
        refusal: Refusal::Config,
        sentence,
    }
}
