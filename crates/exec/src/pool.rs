//! The compute pool: the only threads that kernels run on.

use plan::{Failure, Refusal};
use std::sync::Arc;

/// The threads that kernels divide rows over.
pub type Pool = Arc<rayon::ThreadPool>;

/// A pool of this many threads (at least one), named for the process list.
///
/// # Errors
/// Where the system gives no more threads.
pub fn pool(threads: usize) -> Result<Pool, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|i| format!("compute-{i}"))
        .build()
        .map(Arc::new)
        .map_err(|error| Failure::Refused {
            refusal: Refusal::TryAgain,
            sentence: format!(
                "{threads} compute threads cannot be started ({error}): give fewer with --threads"
            ),
        })
}
