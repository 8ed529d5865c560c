//! The nouns of the engine: modes, grids, blocks, object keys, steps and tasks.
//!
//! **Invariant:** nothing here does I/O, starts a thread, reads a clock or computes a formula. What is
//! in this crate is named by every other one, so it stays small: a thing moves in only when two rooms
//! need the same noun.

pub mod attributes;
pub mod csr;
pub mod dataset;
pub mod decay;
pub mod digest;
pub mod edges;
pub mod explained;
pub mod grid;
pub mod imported;
pub mod key;
pub mod mode;
pub mod newcomers;
pub mod op;
pub mod program;
pub mod read_at;
pub mod recommended;
pub mod size;
pub mod step;
pub mod super_blocks;
pub mod time;

pub use attributes::{Attribute, AttributeKind, Attributes};
pub use csr::{CsrError, CsrRef};
pub use dataset::{
    Axis, CONTEXTS_MAX, ContextAxis, DataSet, Delta, Duplicates, Forgotten, IdKind, PartitionRef,
    Partitions, SealedRef, SplitPart, TimeAxis, View, ViewSpec,
};
pub use decay::Decay;
pub use digest::Digest;
pub use edges::ModeEdges;
pub use explained::Explained;
pub use grid::{Grid, GridError};
pub use imported::Imported;
pub use key::{BlockId, DepotId, KeyRange, ObjectKey, TableId, WorkerId};
pub use mode::{Mode, Small};
pub use newcomers::Newcomers;
pub use op::{Op, OpFamily};
pub use program::{Checkpoint, News, Program, ProgramError, Turn};
pub use read_at::ReadAt;
pub use recommended::Recommended;
pub use size::ByteSize;
pub use step::{PartialSpec, Read, Reduced, Step, StepId, Task, TaskId};
pub use super_blocks::SuperBlocks;
pub use time::{Cycle, TimeBin};
