//! Runs one program over workers: feeds `plan` what happens and does what it says.
//!
//! **Invariant:** nothing is decided here that changes a result. The only clock is tokio's, which a
//! simulation replaces; the only way out is through the seams of [`Context`].

mod checkpoints;
mod crew;
mod deliveries;
mod heard;
mod repeats;
mod run;
mod spans;
mod tally;
#[cfg(test)]
mod tests;
mod trace;

pub use checkpoints::{Checkpoints, Pace, Resume, StoredObject};
pub use crew::Crew;
pub use heard::{OfWorker, Report};
pub use spans::{Attribute, Moment, Span, Spans, Value};
pub use tally::{Outcome, WorkerTally};
pub use trace::Trace;

use futures::future::BoxFuture;
use plan::{Failure, Settings};
use std::time::Duration;
use tensor::{ObjectKey, Program};
use tokio_util::sync::CancellationToken;

/// Hears reports.
pub type Listener<'a> = dyn FnMut(Report) + Send + 'a;

/// Takes a delivered object; called in the order of deliveries, once for each.
pub type Sink<'a> = dyn FnMut(ObjectKey, exec::Held) -> Result<(), Failure> + Send + 'a;

/// Makes a checkpoint durable: its bytes already are.
pub type Commit<'a> = dyn FnMut(tensor::Checkpoint, Vec<StoredObject>) -> BoxFuture<'static, Result<(), Failure>>
    + Send
    + 'a;

/// Everything around a program.
pub struct Context<'a> {
    /// Limits of patience and of queues.
    pub settings: Settings,
    /// How often time is looked at.
    pub tick: Duration,
    /// Durable objects that the program reads and that no checkpoint names: a stored model to be evaluated.
    pub stored: Vec<StoredObject>,
    /// Where to go on.
    pub resume: Option<Resume>,
    /// Which checkpoints to make, and how.
    pub checkpoints: Checkpoints<'a>,
    /// Hears reports.
    pub listener: &'a mut Listener<'a>,
    /// Takes what the program delivers.
    pub sink: &'a mut Sink<'a>,
    /// Cancelled by Ctrl-C: ends the run, a checkpoint in the making is completed.
    pub cancel: CancellationToken,
    /// Written if asked for.
    pub trace: Option<Trace>,
    /// Told to a collector if asked for.
    pub spans: Option<Spans>,
}

/// Runs programs.
pub struct Driver;

impl Driver {
    /// Runs a program to its end, restored to `context.resume` where there is one.
    ///
    /// # Errors
    /// Where the plan stops the run, the program fails, or a checkpoint or a delivery does.
    pub async fn run<'a, C: Crew>(
        program: &'a mut dyn Program,
        crew: &'a mut C,
        context: Context<'a>,
    ) -> Result<Outcome, Failure> {
        run::Run::new(program, crew, context).run().await
    }
}
