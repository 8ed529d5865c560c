//! First factors that users bring along, on their way into training.

use super::data::{named, unfit};
use super::engine::Engine;
use super::input::{self, OpenInput};
use super::stored_model::{Algorithm, StoredModel};
use super::weights::{self, Earlier};
use crate::cluster::InputFile;
use crate::failure::Failure;
use crate::job::files;
use depot::ModelTable;
use model::Given;
use plan::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::op::CarryOp;
use tables::vectors::{RowsOf, VectorSpec, VectorSurvey};
use tensor::{DataSet, DepotId, Digest, Grid, Imported, Mode, Read, SealedRef};

/// Tables of first factors whose footers were read.
#[derive(Default)]
pub struct Initial {
    surveys: Vec<(u32, VectorSurvey)>,
    opened: Vec<Arc<OpenInput>>,
    /// Matrices of an earlier model.
    pub weights: Option<Earlier>,
    /// Tables of an earlier model, to go on from, and its digest.
    carried: Vec<(ModelTable, Digest)>,
    /// What it takes off explicit targets, where users are only folded into it.
    pub folds: Option<f32>,
}

impl Initial {
    /// Matrices of an earlier model alone.
    pub fn with_weights(weights: Earlier) -> Self {
        Initial {
            weights: Some(weights),
            ..Initial::default()
        }
    }

    /// What is read, for run keys.
    pub fn digests(&self) -> BTreeMap<Mode, Digest> {
        let surveys = self.surveys.iter();
        let surveys = surveys.map(|(_, of)| (of.spec.mode, of.digest));
        let carried = self.carried.iter();
        let carried = carried.map(|(table, digest)| (table.mode, *digest));
        surveys.chain(carried).collect()
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
        let carried = self.carried.iter();
        let carried = carried.map(|(table, _)| (table.mode, carry(data, table)));
        let surveys = self.surveys.iter().filter_map(of_mode);
        surveys.chain(carried).collect()
    }

    /// The factors of an earlier model of the same data set, as far as the algorithm begins with them.
    ///
    /// # Errors
    /// Where it cannot go on from any, or the model has rows of another length.
    pub fn of(
        earlier: &StoredModel,
        data: &DataSet,
        algorithm: &Algorithm,
    ) -> Result<Self, Failure> {
        let (modes, columns) = goes_on(algorithm)?;
        Self::carrying(earlier, data, &modes, columns)
    }

    /// The factors of users and products of an earlier model of the same data set, into which users are folded.
    ///
    /// # Errors
    /// As [`Initial::of`].
    pub fn folding(
        earlier: &StoredModel,
        data: &DataSet,
        algorithm: &Algorithm,
    ) -> Result<Self, Failure> {
        let (_, columns) = goes_on(algorithm)?;
        let carried = Self::carrying(earlier, data, &[Mode::User, Mode::Product], columns)?;
        Ok(Initial {
            folds: Some(earlier.record.offset),
            ..carried
        })
    }

    fn carrying(
        earlier: &StoredModel,
        data: &DataSet,
        modes: &[Mode],
        columns: u32,
    ) -> Result<Self, Failure> {
        let mut all = Initial::default();
        let tables = earlier.manifest.tables.iter();
        for table in tables.filter(|table| table.name == table.mode.name()) {
            if !modes.contains(&table.mode) {
                continue;
            }
            if table.rank != columns {
                let sentence = format!(
                    "the model has {} columns, those of the job have {columns}: give the [model] that it was trained with, or run \
                     `coordinator train`",
                    table.rank
                );
                return Err(Failure::new(Refusal::Config, sentence));
            }
            let now = &grid_of(data, table.mode).rows;
            let fits = table.grid.rows.len() == now.len()
                && table
                    .grid
                    .rows
                    .iter()
                    .zip(now)
                    .all(|(then, now)| then <= now);
            if !fits {
                let sentence =
                    "the model is of other rows than the data set: run `coordinator train`";
                return Err(Failure::new(Refusal::Config, sentence));
            }
            all.carried.push((table.clone(), earlier.manifest.factors));
        }
        Ok(all)
    }
}

/// The modes of which an algorithm goes on from earlier factors, and their columns.
///
/// # Errors
/// Where it always begins anew.
pub fn goes_on(algorithm: &Algorithm) -> Result<(Vec<Mode>, u32), Failure> {
    match algorithm {
        Algorithm::Als(settings) => {
            let factored = settings.factors();
            // Solvers that do not go on from the last factors make users of the products alone.
            let modes = [
                (Mode::User, settings.starts_warm()),
                (Mode::Product, true),
                (Mode::Time, factored.time),
                (Mode::Context, factored.context),
            ];
            let modes = modes.into_iter().filter(|(_, goes_on)| *goes_on);
            Ok((modes.map(|(mode, _)| mode).collect(), settings.columns()))
        }
        Algorithm::Sgd(settings) => Ok((vec![Mode::User, Mode::Product], settings.columns())),
        Algorithm::LightGcn(settings) => Ok((vec![Mode::User, Mode::Product], settings.rank)),
        Algorithm::Spectral(_)
        | Algorithm::Filter(_)
        | Algorithm::Gcn(_)
        | Algorithm::Ucmf(_)
        | Algorithm::Popularity(_) => {
            let sentence = format!(
                "a model of the kind \"{}\" always begins anew: leave `update.epochs` at 0, and run `coordinator train`",
                algorithm.kind()
            );
            Err(Failure::new(Refusal::Config, sentence))
        }
    }
}

fn grid_of(data: &DataSet, mode: Mode) -> Grid {
    let small = data.small();
    match mode {
        Mode::User => data.user.grid.clone(),
        Mode::Product => data.product.grid.clone(),
        Mode::Time => Grid::single(small.time),
        Mode::Context => Grid::single(small.context),
    }
}

/// The tasks that take over the rows of a table, a few blocks each.
fn carry(data: &DataSet, table: &ModelTable) -> Vec<Given> {
    const BLOCKS: usize = 4;
    let grid = grid_of(data, table.mode);
    let tasks = grid.rows.chunks(BLOCKS).zip(table.blocks.chunks(BLOCKS));
    let task = |(number, (rows, sealed)): (usize, (&[u32], &[SealedRef]))| {
        let op = CarryOp {
            width: table.width,
            rows: rows.to_vec(),
            total: table.grid.rows_total(),
        };
        let reads = sealed.iter();
        let first = (number * BLOCKS) as u32;
        Given {
            op: tables::Op::Carry(op).encode(),
            reads: reads
                .map(|block| Read::whole(block.key(DepotId::MODEL)))
                .collect(),
            blocks: first..first + rows.len() as u32,
            cost: 1 + rows.iter().map(|&rows| u64::from(rows)).sum::<u64>(),
        }
    };
    tasks.enumerate().map(task).collect()
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
        Algorithm::Spectral(_)
        | Algorithm::Filter(_)
        | Algorithm::Ucmf(_)
        | Algorithm::Popularity(_) => return Ok(all),
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
        let opened: Vec<Arc<OpenInput>> = locations
            .iter()
            .map(|at| input::open(engine, at))
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
