//! The memory that a process is expected to have at the most, beside the bounds that it keeps to.
//!
//! **Invariant:** a sum of what is known to lie in memory at once, none of it more than its share of `--memory`. Constants are
//! measured in processes of one thread with 40,000 to 400,000 rows, and compared with what was seen of some 10, 100 and 300 million
//! (docs/scaling.md).

use super::TASK_PERCENT;
use serde::{Deserialize, Serialize};
use tensor::ByteSize;

/// What a process has before it reads anything: threads, the runtime, what it is linked with.
pub const PROCESS_BYTES: u64 = 17 << 19;
/// Of a row that is ingested, in runs and their order,
const RUN_ROW_BYTES: u64 = 46;
/// and while its row group is decoded;
const DECODED_ROW_BYTES: u64 = 16;
/// rows of a row group that others write.
const GROUP_ROWS: u64 = 1 << 20;
/// Runs are in memory up to this share of `--memory`, in percent, and spilled beyond it.
const RUNS_PERCENT: u64 = 40;
/// Block versions up to this share,
const SHELF_PERCENT: u64 = 25;
/// and copies of blocks of peers up to this one.
const COPIES_PERCENT: u64 = 20;

/// What a worker's process is expected to have of anonymous memory at the most. It never has more than `--memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// While data are ingested.
    pub ingest: ByteSize,
    /// While a model is trained.
    pub train: ByteSize,
}

/// What lies in memory.
pub(super) struct Parts {
    pub memory: u64,
    pub workers: u64,
    pub threads: u64,
    /// Rows of the input.
    pub rows_read: u64,
    /// All tables, in as many versions as are held at once.
    pub tables: u64,
    /// The table that peers hold parts of.
    pub largest_table: u64,
    /// A block that is being written.
    pub block: u64,
    /// Equations of a small mode, of all blocks.
    pub normals: u64,
    /// Interactions arranged by ranges.
    pub arranged: u64,
    /// What a task holds besides.
    pub task: u64,
}

impl Expected {
    pub(super) fn of(parts: &Parts) -> Self {
        let share = |percent: u64| parts.memory / 100 * percent;
        let each = |bytes: u64| bytes.div_ceil(parts.workers);
        let runs = each(parts.rows_read * RUN_ROW_BYTES).min(share(RUNS_PERCENT));
        let decoded =
            parts.threads.min(2) * GROUP_ROWS.min(each(parts.rows_read)) * DECODED_ROW_BYTES;
        // Leaves of the reduction, and as many nodes above them.
        let shelf = each(parts.tables + parts.arranged + 2 * parts.normals) + parts.block;
        let others = parts.largest_table - each(parts.largest_table);
        let train = shelf.min(share(SHELF_PERCENT))
            + others.min(share(COPIES_PERCENT))
            + parts.task.min(share(TASK_PERCENT));
        let within = |bytes: u64| ByteSize((PROCESS_BYTES + bytes).min(parts.memory));
        Expected {
            ingest: within(runs + decoded.min(share(TASK_PERCENT))),
            train: within(train),
        }
    }
}
