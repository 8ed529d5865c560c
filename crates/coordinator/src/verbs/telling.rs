//! What the driver reports, in the log of the process: each line with its run, term, task and attempt.

use crate::driver::{OfWorker, Report};
use tensor::{News, WorkerId};

/// Logs what somebody may look for later; tasks that go well are of no account.
pub fn log(run: &str, term: u64, report: &Report) {
    match report {
        Report::News(News::Epoch {
            epoch, objective, ..
        }) => tracing::info!(run, term, epoch, objective, "an epoch ended"),
        Report::Checkpoint { epoch, seconds } => {
            tracing::info!(run, term, epoch, seconds, "a checkpoint is durable");
        }
        Report::Step { step, name, tasks } => {
            tracing::debug!(run, term, step = step.0, name, tasks, "a step is submitted");
        }
        Report::RolledBack => tracing::warn!(run, term, "back to the last durable checkpoint"),
        Report::Worker(worker, what) => of_worker(run, term, *worker, what),
        Report::Tasks { .. } | Report::Note(_) | Report::Whole(_) => {}
    }
}

fn of_worker(run: &str, term: u64, worker: WorkerId, what: &OfWorker) {
    let worker = worker.0;
    match what {
        OfWorker::Joined { address, .. } => {
            tracing::info!(run, term, worker, address, "a worker joined");
        }
        OfWorker::Draining => tracing::info!(run, term, worker, "a worker is leaving"),
        OfWorker::Lost(why) => tracing::warn!(run, term, worker, why, "a worker is lost"),
        OfWorker::Suspected => tracing::warn!(run, term, worker, "a worker is suspected"),
        OfWorker::Trusted => tracing::info!(run, term, worker, "a worker is trusted again"),
        OfWorker::Differs(task) => {
            let (step, block) = (task.step.0, task.index);
            tracing::warn!(
                run,
                term,
                worker,
                step,
                block,
                "two results of a task differ"
            );
        }
        OfWorker::ShutOut => tracing::error!(run, term, worker, "a worker is shut out"),
        OfWorker::GivenUp => tracing::warn!(run, term, worker, "a worker is given up"),
        OfWorker::Slow(task) => {
            let (step, block) = (task.step.0, task.index);
            tracing::info!(run, term, worker, step, block, "a task takes long");
        }
        OfWorker::Given(task, attempt) if *attempt > 0 => {
            let (step, block) = (task.step.0, task.index);
            tracing::info!(
                run,
                term,
                worker,
                step,
                block,
                attempt,
                "a task is given again"
            );
        }
        OfWorker::Failed {
            task,
            attempt,
            failure,
        } => {
            let (step, block) = (task.step.0, task.index);
            tracing::warn!(run, term, worker, step, block, attempt, %failure, "a task could not be done");
        }
        OfWorker::Alive { .. }
        | OfWorker::Given(..)
        | OfWorker::Returned(_)
        | OfWorker::Done { .. } => {}
    }
}
