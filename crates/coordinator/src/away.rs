//! What is done over a network for a caller that reads as of a file, and waits.

use plan::Failure;
use tokio::runtime::Handle;

/// What comes of it, on the runtime's threads. For callers on a thread of their own, and for verbs, which have the runtime's threads
/// beside theirs.
///
/// # Errors
/// What the work says.
pub fn waited<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let (tell, told) = std::sync::mpsc::channel();
    drop(runtime.spawn(async move {
        // The listener waits, whatever comes.
        let _ = tell.send(work.await);
    }));
    told.recv().unwrap_or_else(|_| {
        let sentence = "the process is ending".to_owned();
        Err(Failure::Exhausted { sentence })
    })
}
