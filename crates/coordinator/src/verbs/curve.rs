//! The learning curve of a run: one JSON line an epoch, beside the model, for people, pandas and DuckDB.
//!
//! **Invariant:** it holds seconds, so nothing that is hashed names it and no program reads it; a run that goes on keeps the
//! lines up to its checkpoint and writes the others again, so that every epoch stands there once.

use super::engine::failed;
use crate::failure::Failure;
use crate::output::report::EpochReport;
use depot::{Depot, DepotError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tensor::{Digest, News};

/// A line of the file: flat, so that every metric is a column.
#[derive(Serialize, Deserialize)]
struct Line {
    epoch: u32,
    objective: Option<f64>,
    seconds: f64,
    #[serde(flatten)]
    metrics: BTreeMap<String, f64>,
}

struct Course {
    epochs: Vec<EpochReport>,
    began: Instant,
}

/// The curve while its run goes on; cheap to clone.
#[derive(Clone)]
pub struct Curve {
    depot: Arc<Depot>,
    name: String,
    course: Arc<Mutex<Course>>,
}

impl Curve {
    /// That of a run which goes on after an epoch; 0: from the beginning.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn open(depot: &Arc<Depot>, run: Digest, after: u32) -> Result<Self, Failure> {
        let name = format!("curves/{}.jsonl", run.short());
        let before = depot.read_note(&name).await.map_err(failed)?;
        let lines = before.as_deref().unwrap_or_default().lines();
        let epochs = lines
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .filter(|line| line.epoch <= after)
            .map(|line| EpochReport {
                epoch: line.epoch,
                objective: line.objective,
                seconds: line.seconds,
                metrics: line.metrics,
            })
            .collect();
        let began = Instant::now();
        Ok(Curve {
            depot: Arc::clone(depot),
            name,
            course: Arc::new(Mutex::new(Course { epochs, began })),
        })
    }

    /// The epochs of a finished run.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn of(depot: &Arc<Depot>, run: Digest) -> Result<Vec<EpochReport>, Failure> {
        Ok(Self::open(depot, run, u32::MAX).await?.after(0))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Course) -> T) -> T {
        act(&mut self.course.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an epoch that has just ended.
    pub fn hear(&self, news: &News) {
        let News::Epoch {
            epoch,
            objective,
            metrics,
            ..
        } = news;
        self.with(|course| {
            let began = std::mem::replace(&mut course.began, Instant::now());
            course.epochs.push(EpochReport {
                epoch: *epoch,
                objective: *objective,
                seconds: began.elapsed().as_secs_f64(),
                metrics: metrics.iter().cloned().collect(),
            });
        });
    }

    /// The epochs after one.
    pub fn after(&self, epoch: u32) -> Vec<EpochReport> {
        let later = |line: &&EpochReport| line.epoch > epoch;
        self.with(|course| course.epochs.iter().filter(later).cloned().collect())
    }

    /// Writes what there is: before the manifest of a checkpoint, so that no epoch before it is missing later.
    ///
    /// # Errors
    /// Where the place refuses.
    pub async fn write(&self) -> Result<(), DepotError> {
        let lines = self.after(0).into_iter().map(|epoch| Line {
            epoch: epoch.epoch,
            objective: epoch.objective,
            seconds: epoch.seconds,
            metrics: epoch.metrics,
        });
        let text = lines
            .filter_map(|line| serde_json::to_string(&line).ok())
            .map(|line| line + "\n")
            .collect();
        self.depot.write_note(&self.name, text).await
    }

    /// Where it is; `None` where it has no line.
    pub fn url(&self) -> Option<String> {
        let empty = self.with(|course| course.epochs.is_empty());
        (!empty).then(|| self.depot.note_url(&self.name))
    }
}
