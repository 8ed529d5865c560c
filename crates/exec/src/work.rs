//! A task in progress: the seam between the worker's shell, which fetches, and the ops, which compute.

use crate::spare::SpareBuffers;
use bytes::Bytes;
use model::als::desk::{Desks, SpareDesks};
use plan::Failure;
use std::ops::Range;
use std::sync::Arc;
use store::partition::Partition;
use store::{AlignedBuf, Sealed};
use tensor::{DepotId, ObjectKey};

/// An object that a worker holds: rows of equal length, in memory or in a sealed file.
#[derive(Clone, Debug)]
pub enum Held {
    /// In memory.
    Memory {
        /// All rows.
        buffer: Arc<AlignedBuf>,
        /// The bytes of a row.
        row_bytes: u32,
    },
    /// Spilled, or staged from a depot.
    File {
        /// All rows.
        file: Sealed,
        /// The bytes of a row.
        row_bytes: u32,
    },
}

/// How much of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it. A sealed object comes as [`Fetched::Sealed`], any other as [`Fetched::Held`].
    Whole,
    /// These rows, in this order, packed; comes as [`Fetched::Rows`]. Rising order is fastest.
    Rows(Arc<[u32]>),
    /// Consecutive rows, packed; comes as [`Fetched::Rows`].
    Span(Range<u64>),
}

/// One thing that a task needs before its next piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Some of an object among the task's reads.
    Object(ObjectKey, Part),
    /// Bytes of one of the session's input files (a user's Parquet file); comes as [`Fetched::Bytes`].
    Input(u32, Range<u64>),
}

/// What came, in the order of the wants.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// A sealed object, in the local cache and open.
    Sealed(Sealed),
    /// A whole object.
    Held(Held),
    /// Rows, packed.
    Rows(Arc<AlignedBuf>),
    /// Bytes of an input file.
    Bytes(Bytes),
}

/// What a task needs now.
#[derive(Debug)]
pub enum Need {
    /// Fetch these, then call [`Work::compute`] with them.
    Fetch(Vec<Want>),
    /// Everything is computed: call [`Work::finish`].
    Nothing,
}

/// A sealed file that must be durable in a depot before the task is done.
#[derive(Debug)]
pub struct Put {
    /// Where to.
    pub depot: DepotId,
    /// The file; its name there is its digest.
    pub file: Sealed,
}

/// What a finished task hands over.
#[derive(Debug, Default)]
pub struct Output {
    /// The task's writes, in its order.
    pub objects: Vec<(ObjectKey, Held)>,
    /// Files to be put before the task is reported done.
    pub puts: Vec<Put>,
    /// The partial, empty if none.
    pub partial: Vec<u8>,
    /// Pieces it was computed in.
    pub pieces: u64,
    /// Rows of which an interaction-wise cut fell inside.
    pub cut_rows: u64,
}

/// What a task may use while it runs.
#[derive(Clone)]
pub struct Room {
    /// Anonymous memory the task may use at once, beyond what it was handed as [`Fetched::Held`].
    pub budget_bytes: u64,
    /// The compute threads.
    pub pool: Arc<rayon::ThreadPool>,
    /// The instructions that kernels use; they change no bit.
    pub simd: model::Simd,
    /// The worker's directory for sealed files and runs in the making.
    pub cache: Arc<store::Cache>,
    /// What the tasks of a session leave to each other.
    pub desks: Arc<SpareDesks>,
    /// Buffers of blocks that nobody needs any more.
    pub buffers: Arc<SpareBuffers>,
}

/// The part of a task's budget that may lie in spare desks.
const SPARE_PART: u64 = 16;

impl Room {
    /// A desk for each thread, for rows of this width and panels of so many interactions.
    pub(crate) fn desks(&self, width: usize, panel: usize) -> Desks {
        let threads = self.pool.current_num_threads();
        self.desks.take(width, panel, threads)
    }

    /// Leaves desks to the next task.
    pub(crate) fn leave(&self, width: usize, panel: usize, desks: Desks) {
        let budget = self.budget_bytes / SPARE_PART;
        self.desks.give(width, panel, desks, budget);
    }

    /// These interactions are read soon. Where their pages stay, asking for them again is only work.
    pub fn soon(&self, partition: &Partition, interactions: Range<u64>) {
        if self.cache.used_bytes() > self.budget_bytes {
            partition.prefetch(interactions);
        }
    }

    /// The next epoch reads these interactions again, and the first those that were counted before it. Their pages stay where all that is staged is as small as what a task
    /// may use, and go otherwise: read from disk anew they cost a fifth of an epoch, kept they count against a container.
    pub fn done_for_now(&self, partition: &Partition, interactions: Range<u64>) {
        if self.cache.used_bytes() > self.budget_bytes {
            partition.drop_behind(interactions);
        }
    }
}

/// A task in progress. Between calls it holds what it has accumulated and nothing else.
pub trait Work: Send {
    /// What is needed before the next piece.
    ///
    /// # Errors
    /// Where the smallest piece does not fit the budget.
    fn next_need(&mut self) -> Result<Need, Failure>;

    /// Computes a piece. `fetched` answers the wants of the last [`Work::next_need`], one for one.
    ///
    /// # Errors
    /// Where the data are bad or a sealed file is damaged.
    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure>;

    /// Hands over the results.
    ///
    /// # Errors
    /// Where a sealed file cannot be written.
    fn finish(self: Box<Self>) -> Result<Output, Failure>;
}
