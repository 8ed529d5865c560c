//! Searches settings by successive halving on the validation part; the test part is never read.
//!
//! **Invariant:** what is known of a trial is in its checkpoints alone, so a search that was killed asks them and goes on.

use super::data;
use super::engine::{Engine, failed};
use super::train::{self, Advanced};
use crate::failure::{Failure, Kind};
use crate::job::tuning::{Tuning, shown};
use crate::output::report::{TrialReport, TuneReport};
use model::tune::ranked;
use plan::Refusal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tables::out::publish_text;
use tensor::{DataSet, DepotId};

/// The table of trials, beside their checkpoints.
const TABLE: &str = "trials.jsonl";

/// Runs all trials, writes their table and the best one's job file beside `job`.
///
/// # Errors
/// Where no trial can be trained, or a file not be written.
pub async fn tune(engine: &Engine<'_>, tuning: &Tuning, job: &Path) -> Result<TuneReport, Failure> {
    let data = data::ingest(engine).await?.data;
    let depot = engine.depot(DepotId::MODEL)?;
    let mut trials: BTreeMap<usize, TrialReport> = BTreeMap::new();
    let mut alive: Vec<usize> = (0..tuning.trials.len()).collect();
    let mut order = Vec::new();
    let mut first_failure = None;
    for (number, rung) in tuning.rungs.iter().enumerate() {
        alive.truncate(rung.trials as usize);
        let (mut values, mut term) = (Vec::new(), None);
        for &trial in &alive {
            engine.console.observer().note(&format!(
                "rung {} of {}, trial {} of {}, to epoch {}: {}",
                number + 1,
                tuning.rungs.len(),
                trial + 1,
                tuning.trials.len(),
                rung.epochs,
                shown(&tuning.trials[trial].point)
            ));
            let advanced = advance(engine, tuning, &data, trial, rung.epochs).await;
            term = advanced
                .as_ref()
                .map_or(term, |advanced| advanced.term.or(term));
            let mut found = match advanced {
                // Equations that are singular and objectives that diverge are an answer too.
                Err(failure) if failure.kind == Kind::Refused(Refusal::BadData) => {
                    let why = failure.message();
                    engine.console.observer().note(&format!(
                        "trial {} cannot be trained and is out: {why}",
                        trial + 1
                    ));
                    first_failure.get_or_insert(failure);
                    report(tuning, trial, None, Some(why))
                }
                found => report(tuning, trial, Some(found?), None),
            };
            found.rung = number as u32 + 1;
            values.push((trial, found.value));
            trials.insert(trial, found);
        }
        // What trials paused with on the rung before is needed no more. Nothing is on its way to the depot here, so its age
        // does not matter.
        if let Some(term) = term {
            depot.collect(term, i64::MAX).await.map_err(failed)?;
        }
        let places = ranked(tuning.metric, values);
        let ranking = places.iter().map(|(trial, _)| *trial);
        // Those that go no further stand behind those that do, and those that failed behind all.
        order.retain(|trial| !alive.contains(trial));
        let (sound, out): (Vec<usize>, Vec<usize>) = ranking
            .chain(order)
            .partition(|trial| trials[trial].failed.is_none());
        alive.retain(|trial| sound.contains(trial));
        alive.sort_by_key(|trial| sound.iter().position(|sound| sound == trial));
        order = sound.into_iter().chain(out).collect();
        if let Some(failure) = first_failure.take_if(|_| alive.is_empty()) {
            return Err(failure);
        }
    }
    let best = order.first().copied().ok_or_else(|| {
        Failure::new(
            Refusal::Bug,
            "a search ended without a trial: please report this",
        )
    })?;
    let trials: Vec<TrialReport> = order
        .iter()
        .filter_map(|trial| trials.remove(trial))
        .collect();
    let lines = trials
        .iter()
        .filter_map(|trial| serde_json::to_string(trial).ok());
    let table = lines.map(|line| line + "\n").collect();
    depot.write_note(TABLE, table).await.map_err(failed)?;
    let written = written(tuning, job, best, &trials[0])?;
    Ok(TuneReport {
        metric: tuning.metric.to_string(),
        trials,
        table: depot.note_url(TABLE),
        job: written,
    })
}

/// Trains a trial until so many epochs are done, if they are not.
async fn advance(
    engine: &Engine<'_>,
    tuning: &Tuning,
    data: &DataSet,
    trial: usize,
    epochs: u32,
) -> Result<Advanced, Failure> {
    let settings = &tuning.trials[trial].settings;
    let engine = engine.for_job(settings);
    let views = data::views(&engine, data).await?;
    train::advance(&engine, data, &views, epochs).await
}

/// A trial that was trained, or why it was not.
fn report(
    tuning: &Tuning,
    trial: usize,
    advanced: Option<Advanced>,
    failed: Option<String>,
) -> TrialReport {
    let point = &tuning.trials[trial].point;
    let setting = |(path, text): &(&'static str, String)| {
        let name = path.trim_start_matches("model.").to_owned();
        let number = text.parse().ok().and_then(serde_json::Number::from_f64);
        let whole = text.parse::<u64>().map(serde_json::Value::from);
        let value = whole.or_else(|_| number.map(serde_json::Value::Number).ok_or(()));
        (name, value.unwrap_or_else(|()| text.as_str().into()))
    };
    let best = advanced.as_ref().map(|advanced| advanced.best);
    TrialReport {
        trial: trial as u32 + 1,
        rung: 0,
        epochs: advanced.as_ref().map_or(0, |advanced| advanced.epochs),
        best_epoch: best.map_or(0, |best| best.epoch),
        value: best.map_or(f64::NAN, |best| best.value),
        failed,
        trained: advanced.map_or(0, |advanced| advanced.trained),
        settings: point.iter().map(setting).collect(),
    }
}

/// Writes `JOB.tuned.toml` beside the job, replacing an earlier one as a whole.
fn written(
    tuning: &Tuning,
    job: &Path,
    best: usize,
    found: &TrialReport,
) -> Result<PathBuf, Failure> {
    let comment = format!(
        "Written by `coordinator tune {}`: trial {} of {}, {} {:.4} on the validation part\nafter {} epochs. \
         The test part was not read.",
        job.file_name().unwrap_or_default().to_string_lossy(),
        found.trial,
        tuning.trials.len(),
        tuning.metric,
        found.value,
        found.best_epoch
    );
    let text = tuning.job(&tuning.trials[best], found.best_epoch, &comment);
    let path = job.with_extension("tuned.toml");
    publish_text(&path, &text).map_err(Failure::unwritten)?;
    Ok(path)
}
