//! The two executors: threads of their own, and in place.

use crate::seams::{Beat, Beating, Executor, Job, Lane};
use exec::pool::Pool;
use futures::future::BoxFuture;
use plan::{Failure, Refusal};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Threads that read and write files, so that a slow disk does not hold up what computes.
const FILE_THREADS: usize = 2;

/// Jobs run on threads that tokio does not know.
#[derive(Debug)]
pub struct Threads {
    lanes: Sender<Job>,
    file: Sender<Job>,
    pool: Pool,
}

impl Threads {
    /// A pool of `threads` for kernels, and `lanes` threads that drive lanes: more than one lets tasks that
    /// do not divide their rows run side by side, and one fetch while another computes.
    ///
    /// # Errors
    /// Where the system gives no more threads.
    pub fn start(threads: usize, lanes: usize) -> Result<Self, Failure> {
        Ok(Threads {
            lanes: serve("lane", lanes).map_err(short)?,
            file: serve("file", FILE_THREADS).map_err(short)?,
            pool: exec::pool(threads)?,
        })
    }
}

fn short(error: io::Error) -> Failure {
    Failure::Refused {
        refusal: Refusal::TryAgain,
        sentence: format!("no thread can be started ({error}): give fewer with --threads"),
    }
}

/// Threads that take jobs from one channel, and end when its sender is dropped.
fn serve(name: &str, count: usize) -> io::Result<Sender<Job>> {
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for i in 0..count.max(1) {
        let queue = Arc::clone(&queue);
        std::thread::Builder::new()
            .name(format!("{name}-{i}"))
            .spawn(move || {
                while let Some(job) = next(&queue) {
                    // A panic is a bug of ours, and told by the hook; the next session needs this thread.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })?;
    }
    Ok(jobs)
}

fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

impl Executor for Threads {
    fn lane(&self, lane: BoxFuture<'static, ()>) -> Lane {
        let (lane, driven) = Lane::of(lane);
        let runtime = Handle::current();
        // The threads outlive the sender, so there is always a receiver.
        let _ = self.lanes.send(Box::new(move || runtime.block_on(driven)));
        lane
    }

    fn file(&self, job: Job) {
        let _ = self.file.send(job);
    }

    fn beat(&self, every: Duration, mut beat: Beat) -> Result<Beating, Failure> {
        let (goes_on, ended) = channel::<()>();
        let beating = move || {
            beat();
            // Nothing is ever sent: the pause ends early when the sender is dropped.
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                beat();
            }
        };
        std::thread::Builder::new()
            .name("heart".into())
            .spawn(beating)
            .map_err(short)?;
        Ok(Box::new(goes_on))
    }

    fn pool(&self) -> Pool {
        Arc::clone(&self.pool)
    }
}

/// Jobs run at once, where they are handed over: for simulations, which own time and order.
#[derive(Debug)]
pub struct Inline(Pool);

impl Inline {
    /// With a pool of one thread for ops that ask for one.
    ///
    /// # Errors
    /// Where not even that can be started.
    pub fn new() -> Result<Self, Failure> {
        Ok(Inline(exec::pool(1)?))
    }
}

/// A task of tokio's that ends with this.
struct Aborted(AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Executor for Inline {
    fn lane(&self, lane: BoxFuture<'static, ()>) -> Lane {
        let (lane, driven) = Lane::of(lane);
        tokio::spawn(driven);
        lane
    }

    fn file(&self, job: Job) {
        job();
    }

    fn beat(&self, every: Duration, mut beat: Beat) -> Result<Beating, Failure> {
        let beating = tokio::spawn(async move {
            loop {
                beat();
                sleep(every).await;
            }
        });
        Ok(Box::new(Aborted(beating.abort_handle())))
    }

    fn pool(&self) -> Pool {
        Arc::clone(&self.0)
    }
}
