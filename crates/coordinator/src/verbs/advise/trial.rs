//! One model of a comparison: its epochs, its training, its figures.
//!
//! **Invariant:** what was found of a model is written down under its run, so a call that was killed trains and measures nothing twice.

use crate::failure::{Failure, Kind};
use crate::job::advising::{Advising, Candidate, Variant};
use crate::job::settings::Settings;
use crate::output::advice::{ModelAdvice, TaskFigures};
use crate::verbs::data;
use crate::verbs::engine::{Engine, failed, key_of};
use crate::verbs::measure::{self, Wanted};
use crate::verbs::train;
use model::Stopping;
use model::advise::Family;
use model::evaluate::{Evaluation, Metric, RankingTask, Slice};
use model::tune::ranked;
use plan::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{DataSet, DepotId, Partitions};

/// What all models of a comparison share.
pub struct Trial<'a> {
    /// The cluster, with the settings of the comparison.
    pub engine: &'a Engine<'a>,
    /// What is compared.
    pub advising: &'a Advising,
    /// The data.
    pub data: &'a DataSet,
    /// Parts that are measured by themselves.
    pub slices: Vec<Slice>,
    /// Training interactions that fade, for own counts.
    pub faded: Option<Partitions>,
}

/// A model that was trained and measured, or why it was not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// What it is one of.
    pub family: Family,
    /// What is set for it.
    pub settings: BTreeMap<String, String>,
    /// Epochs that were trained.
    pub epochs: u32,
    /// The epoch that was best, where epochs are compared.
    pub best_epoch: Option<u32>,
    /// Seconds of training.
    pub seconds: f64,
    /// The most anonymous memory of this process meanwhile.
    pub peak_anonymous_bytes: u64,
    /// Numbers of its tables.
    pub parameters: u64,
    /// The digest of its factors.
    pub digest: String,
    /// Why it was not trained.
    pub failed: Option<String>,
    /// Its figures.
    pub evaluation: Option<Evaluation>,
}

/// What a budget came to, the first time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Frozen {
    epochs: u32,
    seconds_of_an_epoch: f64,
}

impl Trial<'_> {
    /// Trains and measures a candidate, or finds what an earlier call found; within, why it cannot be trained.
    ///
    /// # Errors
    /// What ends the comparison: not what one model cannot do.
    pub async fn run(&self, candidate: &Candidate) -> Result<Result<Tried, Failure>, Failure> {
        let found = Box::pin(self.tried(candidate)).await;
        match found {
            // Singular equations and diverging objectives are an answer, and so is a model that the data do not allow.
            Err(failure)
                if [Refusal::BadData, Refusal::Config]
                    .map(Kind::Refused)
                    .contains(&failure.kind) =>
            {
                Ok(Err(failure))
            }
            found => found.map(Ok),
        }
    }

    async fn tried(&self, candidate: &Candidate) -> Result<Tried, Failure> {
        let frozen = self.frozen(&candidate.variants[0].settings).await?;
        let variant = self.best(candidate, frozen.epochs).await?;
        let settings = with_epochs(&variant.settings, frozen.epochs);
        let engine = self.engine.for_job(&settings);
        let views = data::views(&engine, self.data).await?;
        let depot = engine.depot(DepotId::MODEL)?;
        let trained = train::train(&engine, self.data, &views).await?;
        let run = trained.model.manifest.run;
        let slices = postcard::to_stdvec(&self.slices).unwrap_or_default();
        let metric = self.advising.metric();
        let seed = settings.evaluate.replicates.to_le_bytes();
        let key = key_of(&[b"tried", &run.0, &slices, metric.as_bytes(), &seed]);
        let note = format!("tried/{}.json", key.short());
        let there = depot.read_note(&note).await.map_err(failed)?;
        let there = there.and_then(|text| serde_json::from_str::<Tried>(&text).ok());
        if let Some(tried) = there {
            return Ok(tried);
        }
        let wanted = Wanted {
            slices: self.slices.clone(),
            kept: Some((self.advising.measure, self.advising.k)),
            faded: self.faded.clone(),
            ..Wanted::default()
        };
        let peak = engine.peaks().get("train").copied().unwrap_or_default();
        let evaluation =
            measure::evaluate_more(&engine, (self.data, &views), &trained.model, wanted).await?;
        let tables = trained.model.manifest.tables.iter();
        let parameters = tables.map(|table| table.grid.rows_total() * u64::from(table.rank));
        let all = train::epochs_of(&engine, &trained.model).await?;
        let tried = Tried {
            name: candidate.name.clone(),
            family: candidate.family,
            settings: variant.said(),
            epochs: all.len() as u32,
            best_epoch: trained.report.best.as_ref().map(|best| best.epoch),
            seconds: all.iter().map(|epoch| epoch.seconds).sum(),
            peak_anonymous_bytes: peak,
            parameters: parameters.sum(),
            digest: trained.report.digest.clone(),
            failed: None,
            evaluation: Some(evaluation),
        };
        let text = serde_json::to_string(&tried)
            .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
        depot
            .write_note(&note, text.clone())
            .await
            .map_err(failed)?;
        // As a later call will read it: the last bit of a number may differ.
        serde_json::from_str(&text).map_err(|error| Failure::new(Refusal::Bug, error.to_string()))
    }

    /// The variant that is best on the validation part.
    async fn best<'c>(
        &self,
        candidate: &'c Candidate,
        epochs: u32,
    ) -> Result<&'c Variant, Failure> {
        let variants = &candidate.variants;
        if variants.len() == 1 || !self.engine.settings.split.has_validation() {
            return Ok(&variants[0]);
        }
        let metric = Metric::List {
            task: RankingTask::NewProducts,
            measure: self.advising.measure,
            k: self.advising.k,
        };
        let mut values = Vec::new();
        for (place, variant) in variants.iter().enumerate() {
            let mut settings = with_epochs(&variant.settings, epochs);
            settings.model.stopping = Some(Stopping {
                metric,
                patience: epochs,
                min_improvement: 0.0,
            });
            let engine = self.engine.for_job(&settings);
            let views = data::views(&engine, self.data).await?;
            let advanced = train::advance(&engine, self.data, &views, epochs).await?;
            values.push((place, advanced.best.value));
        }
        let (best, _) = ranked(metric, values)[0];
        Ok(&variants[best])
    }

    /// The epochs that the budget comes to: those written down, or those that two epochs say now.
    async fn frozen(&self, settings: &Settings) -> Result<Frozen, Failure> {
        let most = settings.model.epochs;
        if most <= 2 {
            return Ok(Frozen {
                epochs: most,
                seconds_of_an_epoch: 0.0,
            });
        }
        let engine = self.engine.for_job(settings);
        let depot = engine.depot(DepotId::MODEL)?;
        let said = format!("{:?} {}", settings.model, self.advising.seconds);
        let lineage = &self.data.lineage.0;
        let key = key_of(&[b"budget", lineage, said.as_bytes()]);
        let note = format!("budgets/{}.json", key.short());
        let there = depot.read_note(&note).await.map_err(failed)?;
        if let Some(frozen) = there.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(frozen);
        }
        let views = data::views(&engine, self.data).await?;
        let mut pilot = with_epochs(settings, 2);
        pilot.model.stopping = None;
        let engine = self.engine.for_job(&pilot);
        let seconds = train::seconds_of_an_epoch(&engine, self.data, &views).await?;
        let fits = (self.advising.seconds / seconds.max(1e-6)).floor();
        let frozen = Frozen {
            epochs: (fits as u32).clamp(1, most),
            seconds_of_an_epoch: seconds,
        };
        let text = serde_json::to_string(&frozen)
            .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
        depot.write_note(&note, text).await.map_err(failed)?;
        Ok(frozen)
    }
}

fn with_epochs(settings: &Settings, epochs: u32) -> Settings {
    let mut settings = settings.clone();
    settings.model.epochs = epochs;
    settings
}

/// Something that needs no model, out of any evaluation.
pub fn baseline(name: &str, family: Family, ranker: &str, of: Option<&Tried>) -> ModelAdvice {
    ModelAdvice {
        tasks: of.map_or_else(BTreeMap::new, |of| of.figures(ranker)),
        ..ModelAdvice::untrained(name, family)
    }
}

impl Tried {
    /// One that could not be trained.
    pub fn failed(candidate: &Candidate, why: String) -> Self {
        Tried {
            name: candidate.name.clone(),
            family: candidate.family,
            settings: candidate.variants[0].said(),
            epochs: 0,
            best_epoch: None,
            seconds: 0.0,
            peak_anonymous_bytes: 0,
            parameters: 0,
            digest: String::new(),
            failed: Some(why),
            evaluation: None,
        }
    }

    /// A number that is set for it.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.settings.get(key)?.parse().ok()
    }

    /// As it is told, without differences.
    pub fn advice(&self) -> ModelAdvice {
        ModelAdvice {
            name: self.name.clone(),
            family: self.family,
            settings: self.settings.clone(),
            epochs: self.epochs,
            best_epoch: self.best_epoch,
            seconds: Some(self.seconds),
            peak_anonymous_bytes: Some(self.peak_anonymous_bytes),
            parameters: Some(self.parameters),
            digest: Some(self.digest.clone()).filter(|digest| !digest.is_empty()),
            failed: self.failed.clone(),
            tasks: self.figures("model"),
        }
    }

    /// The figures of a ranker of its evaluation, by task.
    pub fn figures(&self, ranker: &str) -> BTreeMap<String, TaskFigures> {
        let of = |evaluation: &Evaluation| {
            let tasks = evaluation.tasks.iter().filter_map(|(task, rankers)| {
                let figures = rankers.get(ranker)?.clone();
                let intervals = evaluation.intervals.get(task).and_then(|of| of.get(ranker));
                let slices = evaluation.slices.get(task).into_iter().flatten();
                let slices = slices.filter_map(|(slice, of)| {
                    Some((slice.clone(), (of.users, of.rankers.get(ranker)?.clone())))
                });
                let figures = TaskFigures {
                    figures,
                    intervals: intervals.cloned().unwrap_or_default(),
                    slices: slices.collect(),
                    ..TaskFigures::default()
                };
                Some((task.clone(), figures))
            });
            tasks.collect()
        };
        self.evaluation.as_ref().map_or_else(BTreeMap::new, of)
    }
}
