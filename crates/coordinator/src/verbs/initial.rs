//! First factors that users bring along, on their way into training.

use super::data::{named, unfit};
use super::engine::Engine;
use super::input::{self, LocalFile};
use super::stored_model::Algorithm;
use crate::cluster::InputFile;
use crate::failure::Failure;
use crate::job::files;
use model::als::{self, Given};
use plan::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::vectors::{VectorSpec, VectorSurvey};
use tensor::{Axis, DataSet, DepotId, Digest, Mode, Read};

/// Tables of first factors whose footers were read.
#[derive(Default)]
pub struct Initial {
    surveys: Vec<(u32, VectorSurvey)>,
    opened: Vec<Arc<LocalFile>>,
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

    /// The tasks that read them.
    pub fn given(&self, data: &DataSet, settings: &als::Settings) -> BTreeMap<Mode, Vec<Given>> {
        let width = settings.columns().next_multiple_of(16) as usize;
        let of_mode = |(first, survey): &(u32, VectorSurvey)| {
            let axis = axis(data, survey.spec.mode);
            let tasks = survey.tasks(axis, width, *first).into_iter();
            let given = tasks.map(|(blocks, op)| {
                let dictionaries = &axis.dictionary[blocks.start as usize..blocks.end as usize];
                let reads = dictionaries.iter();
                let reads = reads.map(|dictionary| Read::whole(dictionary.key(DepotId::DATA)));
                Given {
                    op: tables::Op::Vectors(op).encode(),
                    reads: reads.collect(),
                    blocks,
                    cost: 1 + survey.files.iter().map(|file| file.rows).sum::<u64>(),
                }
            });
            (survey.spec.mode, given.collect())
        };
        self.surveys.iter().map(of_mode).collect()
    }
}

fn axis(data: &DataSet, mode: Mode) -> &Axis {
    if mode == Mode::User {
        &data.user
    } else {
        &data.product
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
    let Algorithm::Als(settings) = algorithm else {
        return Ok(all);
    };
    let model = &engine.settings.model;
    for (mode, given) in [
        (Mode::User, &model.initial_users),
        (Mode::Product, &model.initial_products),
    ] {
        if given.is_empty() {
            continue;
        }
        let mut entries = vec![settings.rank, settings.columns()];
        entries.dedup();
        let spec = VectorSpec {
            key: format!("model.initial_{mode}s"),
            mode,
            entries,
            non_negative: settings.non_negative,
        };
        let locations = files::expand(&spec.key, given)?;
        let opened: Vec<Arc<LocalFile>> = locations
            .iter()
            .map(input::open)
            .collect::<Result<_, _>>()?;
        let (files, first) = (named(&opened), all.opened.len() as u32);
        let (axis, budget) = (axis(data, mode).clone(), engine.task_memory());
        let survey = move || VectorSurvey::of(&files, first, spec, &axis, budget);
        let survey = tokio::task::spawn_blocking(survey)
            .await
            .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
        let survey = survey.map_err(|error| unfit(engine, error))?;
        all.surveys.push((first, survey));
        all.opened.extend(opened);
    }
    Ok(all)
}
