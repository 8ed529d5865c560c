//! Runs one task inside a memory budget, piece by piece: says what it needs next, computes when it is
//! there, hands on or spills.
//!
//! **Invariant:** synchronous, and nothing here waits for another process: whoever drives a task fetches
//! what [`Need`] names and calls again.

pub mod als;
mod churn;
mod cold;
mod evaluate;
mod facts;
mod graph;
pub mod held;
mod influence;
mod ingest;
mod objects;
mod pieces;
pub mod pool;
pub mod probe;
mod recommend;
pub mod reduce;
mod segments;
mod several;
mod sgd;
pub mod shelf;
pub mod spare;
pub mod trouble;
mod view;
mod whole;
pub mod work;

pub use held::HeldBytes;
pub use model::Simd;
pub use model::als::desk::SpareDesks;
pub use pool::pool;
pub use probe::Probe;
pub use shelf::Shelf;
pub use spare::SpareBuffers;
pub use trouble::failure_of;
pub use work::{Fetched, Held, Need, Output, Part, Put, Room, Want, Work};

use plan::{Failure, Refusal};
use tensor::{OpFamily, Task};

/// Opens a task: decodes its op and checks that what it reads and writes is what the op expects.
///
/// # Errors
/// Where the op is of a family or version that this build does not know, or is malformed, or its
/// smallest piece does not fit the room.
pub fn begin(task: &Task, room: &Room) -> Result<Box<dyn Work>, Failure> {
    match task.op.family {
        OpFamily::Model => begin_model(task, room),
        OpFamily::Tables => ingest::begin(task, room),
        OpFamily::Probe => probe::begin(task),
        OpFamily::Builtin => Err(unknown_op(task)),
    }
}

fn begin_model(task: &Task, room: &Room) -> Result<Box<dyn Work>, Failure> {
    match model::Op::decode(&task.op).map_err(|_| unknown_op(task))? {
        model::Op::Als(op) => als::begin(task, op, room),
        model::Op::Evaluate(op) => evaluate::begin(task, op, room),
        model::Op::Recommend(op) => recommend::begin(task, op, room),
        model::Op::Index(op) => recommend::index::begin(task, op, room),
        model::Op::Gram(op) => recommend::gram(task, op, room),
        model::Op::Explain(op) => Ok(Box::new(recommend::ExplainWork::new(task, op, room)?)),
        model::Op::Directions(op) => Ok(Box::new(recommend::DirectionsWork::new(task, op, room)?)),
        model::Op::Reduce(op) => Ok(Box::new(reduce::ReduceWork::new(task, op, room)?)),
        model::Op::Sgd(op) => sgd::begin(task, op, room),
        model::Op::Graph(op) => graph::begin(task, op, room),
        model::Op::Facts(op) => facts::begin(task, op, room),
        model::Op::Churn(op) => churn::begin(task, op, room),
        model::Op::Draw(op) => cold::begin(task, op, room),
        model::Op::Influence(op) => influence::begin(task, op, room),
        model::Op::Segments(op) => segments::begin(task, op, room),
        model::Op::Several(op) => Ok(Box::new(several::SeveralWork::new(task, &op, room)?)),
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
