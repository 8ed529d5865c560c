//! First factors that users bring along, on their way into training.

use super::data::{named, unfit};
use super::engine::Engine;
use super::input::{self, LocalFile};
use super::stored_model::Algorithm;
use super::weights::{self, Earlier};
use crate::cluster::InputFile;
use crate::failure::Failure;
use crate::job::files;
use model::Given;
use plan::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::vectors::{RowsOf, VectorSpec, VectorSurvey};
use tensor::{DataSet, DepotId, Digest, Imported, Mode, Read};

/// Tables of first factors whose footers were read.
#[derive(Default)]
pub struct Initial {
    surveys: Vec<(u32, VectorSurvey)>,
    opened: Vec<Arc<LocalFile>>,
    /// Matrices of an earlier model.
    pub weights: Option<Earlier>,
}

impl Initial {
    /// What is read, for run keys.
    pub fn digests(&self) -> BTreeMap<Mode, Digest> {
        let surveys = self.surveys.iter();
        surveys.map(|(_, of)| (of.spec.mode, of.digest)).collect()
    }

    /// The files, as a session serves them.
    pub fn inputs(&self) -> Vec<InputFile> {
        self.opened.iter().map(|file| file.served()).collect()
    }

    /// The tasks that read them, for rows of so many columns.
    pub fn given(&self, data: &DataSet, columns: u32) -> BTreeMap<Mode, Vec<Given>> {
        let width = columns.next_multiple_of(16) as usize;
        let of_mode = |(first, survey): &(u32, VectorSurvey)| {
            let rows = RowsOf::of(data, survey.spec.mode)?;
            let tasks = survey.tasks(&rows, width, *first).into_iter();
            let given = tasks.map(|(blocks, op)| {
                let reads = rows.dictionaries(&blocks).iter();
                let reads = reads.map(|dictionary| Read::whole(dictionary.key(DepotId::DATA)));
                Given {
                    op: tables::Op::Vectors(op).encode(),
                    reads: reads.collect(),
                    blocks,
                    cost: 1 + survey.files.iter().map(|file| file.rows).sum::<u64>(),
                }
            });
            Some((survey.spec.mode, given.collect()))
        };
        self.surveys.iter().filter_map(of_mode).collect()
    }
}

/// Reads the footers of the tables that the job names.
///
/// # Errors
/// Where a file is not what the job says.
pub async fn survey(
    engine: &Engine<'_>,
    data: &DataSet,
    algorithm: &Algorithm,
) -> Result<Initial, Failure> {
    let mut all = Initial::default();
    let (rank, columns, non_negative) = match algorithm {
        Algorithm::Als(settings) => (settings.rank, settings.columns(), settings.non_negative),
        Algorithm::Sgd(settings) => {
            let non_negative = settings.loss.covers_all_cells();
            (settings.rank, settings.columns(), non_negative)
        }
        Algorithm::LightGcn(settings) => (settings.rank, settings.rank, false),
        Algorithm::Gcn(settings) => {
            all.weights = weights::earlier(engine, data, settings).await?;
            (settings.rank, settings.rank, false)
        }
        // They start from random rows, whatever there was before.
        Algorithm::Spectral(_) | Algorithm::Filter(_) | Algorithm::Ucmf(_) => return Ok(all),
    };
    let model = &engine.settings.model;
    for (mode, given) in [
        (Mode::User, &model.initial_users),
        (Mode::Product, &model.initial_products),
        (Mode::Time, &model.initial_time),
        (Mode::Context, &model.initial_contexts),
    ] {
        // Data without the mode are refused by the program, in words of its setting.
        let Some(rows) = RowsOf::of(data, mode).filter(|_| !given.is_empty()) else {
            continue;
        };
        let mut entries = vec![rank, columns];
        entries.dedup();
        let spec = VectorSpec {
            key: format!("model.{}", Imported::key(mode)),
            mode,
            entries,
            non_negative,
        };
        let locations = files::expand(&spec.key, given)?;
        let opened: Vec<Arc<LocalFile>> = locations
            .iter()
            .map(input::open)
            .collect::<Result<_, _>>()?;
        let (files, first) = (named(&opened), all.opened.len() as u32);
        let budget = engine.task_memory();
        let survey = move || VectorSurvey::of(&files, first, spec, &rows, budget);
        let survey = tokio::task::spawn_blocking(survey)
            .await
            .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
        let survey = survey.map_err(|error| unfit(engine, error))?;
        all.surveys.push((first, survey));
        all.opened.extend(opened);
    }
    Ok(all)
}
