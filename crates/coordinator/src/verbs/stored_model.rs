//! A model as its manifest tells, ready to be read by other programs.

use super::engine::{Engine, failed};
use crate::driver::StoredObject;
use crate::failure::Failure;
use crate::job::settings::{self, ModelKind, ModelTime};
use depot::{Depot, Model, ModelTable, Versioned};
use model::als::{self, ContextUse, Preset, Scaling, Solver, TimeUse};
use model::digest::DigestFeed;
use model::evaluate::Factors;
use model::forecast::{Forecast, Moment};
use model::graph::filter::{Links, Nearest};
use model::graph::learning::Learning;
use model::graph::{Edges, filter, gcn, lightgcn, popularity, spectral, ucmf};
use model::sgd;
use model::{Best, Holds, Stopping, TableVersion};
use plan::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::Cache;
use tensor::{Attribute, DataSet, DepotId, Digest, KeyRange, Mode, TableId, ViewSpec};

/// The version under which programs read the tables of a stored model.
const VERSION: u64 = 0;

/// What makes a model, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Alternating least squares.
    Als(als::Settings),
    /// Stochastic gradient descent.
    Sgd(sgd::Settings),
    /// Singular vectors of the graph.
    Spectral(spectral::Settings),
    /// The closed-form filter of the graph.
    Filter(filter::Settings),
    /// An embedding smoothed over the graph.
    LightGcn(lightgcn::Settings),
    /// Layers with weights on the graph.
    Gcn(gcn::Settings),
    /// Rows of one length that learn labels too.
    Ucmf(ucmf::Settings),
    /// Counts among users of one label.
    Popularity(popularity::Settings),
}

impl Algorithm {
    /// Of a job.
    pub fn of(model: &settings::Model) -> Self {
        match model.kind {
            ModelKind::Als => Algorithm::Als(als_settings(model)),
            ModelKind::Sgd | ModelKind::Line => Algorithm::Sgd(sgd_settings(model)),
            ModelKind::Spectral => Algorithm::Spectral(spectral_settings(model)),
            ModelKind::Filter => Algorithm::Filter(filter_settings(model)),
            ModelKind::LightGcn => Algorithm::LightGcn(lightgcn_settings(model)),
            ModelKind::Gcn => Algorithm::Gcn(gcn_settings(model)),
            ModelKind::Ucmf => Algorithm::Ucmf(ucmf_settings(model)),
            ModelKind::Popularity => Algorithm::Popularity(popularity::Settings {
                label: model.labels.get(&Mode::User).cloned().unwrap_or_default(),
                ..popularity::Settings::default()
            }),
        }
    }

    /// Of a job, for data: in a tensor every pair of user and product has a cell in each bin and context, so what the job
    /// leaves open of [`als::Settings::over_cells`] is shared out over them.
    pub fn for_data(model: &settings::Model, data: &DataSet) -> Self {
        match Self::of(model) {
            Algorithm::Als(settings) => {
                Algorithm::Als(settings.over_cells(data.small(), !model.regularization_given))
            }
            other @ (Algorithm::Sgd(_)
            | Algorithm::Spectral(_)
            | Algorithm::Filter(_)
            | Algorithm::LightGcn(_)
            | Algorithm::Gcn(_)
            | Algorithm::Ucmf(_)
            | Algorithm::Popularity(_)) => other,
        }
    }

    /// The word in manifests.
    pub fn kind(&self) -> &'static str {
        match self {
            Algorithm::Als(_) => "als",
            Algorithm::Sgd(settings) if settings.loss == sgd::Loss::Line => "line",
            Algorithm::Sgd(_) => "sgd",
            Algorithm::Spectral(_) => "spectral",
            Algorithm::Filter(_) => "filter",
            Algorithm::LightGcn(_) => "lightgcn",
            Algorithm::Gcn(_) => "gcn",
            Algorithm::Ucmf(_) => "ucmf",
            Algorithm::Popularity(_) => "popularity",
        }
    }

    /// Whether the model is one of values, to be judged by their errors, and not of rankings.
    pub fn fits_values(&self) -> bool {
        match self {
            Algorithm::Als(settings) => settings.preset == Preset::Explicit,
            Algorithm::Sgd(settings) => settings.fits_values(),
            Algorithm::LightGcn(settings) => settings.learning.fits_values(),
            Algorithm::Gcn(settings) => settings.learning.fits_values(),
            Algorithm::Ucmf(settings) => settings.learning().fits_values(),
            Algorithm::Spectral(_) | Algorithm::Filter(_) | Algorithm::Popularity(_) => false,
        }
    }

    /// What is added to its scores by what a user had, where something is.
    pub fn filter(&self) -> Option<Links> {
        match self {
            Algorithm::Filter(settings) => settings.scored_by(),
            Algorithm::Als(_)
            | Algorithm::Sgd(_)
            | Algorithm::Spectral(_)
            | Algorithm::LightGcn(_)
            | Algorithm::Gcn(_)
            | Algorithm::Ucmf(_)
            | Algorithm::Popularity(_) => None,
        }
    }

    /// The leading columns of its rows that are factors: biases follow them.
    pub fn factor_columns(&self, columns: u32) -> u32 {
        match self {
            Algorithm::Als(settings) => settings.rank.min(columns),
            Algorithm::Sgd(settings) => settings.rank.min(columns),
            Algorithm::Ucmf(_) => columns - 1,
            Algorithm::Spectral(_)
            | Algorithm::Filter(_)
            | Algorithm::LightGcn(_)
            | Algorithm::Gcn(_)
            | Algorithm::Popularity(_) => columns,
        }
    }

    /// Whether values below zero mean something to it.
    pub fn takes_negative_values(&self) -> bool {
        let full = matches!(self, Algorithm::Als(settings) if settings.preset == Preset::Full);
        full || self.fits_values()
    }
}

fn als_settings(model: &settings::Model) -> als::Settings {
    als::Settings {
        rank: model.rank,
        epochs: model.epochs,
        preset: match model.preset {
            settings::Preset::Explicit => Preset::Explicit,
            settings::Preset::Hu => Preset::Hu,
            settings::Preset::Rendle => Preset::Rendle,
            settings::Preset::Full => Preset::Full,
        },
        alpha: model.alpha,
        scaling: if model.epsilon.is_some() {
            Scaling::Log
        } else if model.power.is_some() {
            Scaling::Power
        } else {
            Scaling::Linear
        },
        epsilon: model.epsilon.unwrap_or(1.0),
        power: model.power.unwrap_or(1.0),
        alpha0: model.alpha0,
        regularization: model.regularization,
        nu: model.nu,
        time: match model.time {
            ModelTime::Ignore => TimeUse::Ignore,
            ModelTime::Factor => TimeUse::Factor,
            ModelTime::Decay => TimeUse::Decay,
        },
        hold_time: model.hold_time,
        context: if model.factors_context {
            ContextUse::Factor
        } else {
            ContextUse::Ignore
        },
        hold_context: model.hold_context,
        center: model.center,
        seed: model.seed,
        init_scale: model.init,
        tolerance: model.tolerance,
        solver: match model.solver {
            settings::Solver::Auto => Solver::Auto,
            settings::Solver::Cholesky => Solver::Cholesky,
            settings::Solver::Dual => Solver::Dual,
            settings::Solver::Cg => Solver::Cg,
            settings::Solver::Subspace => Solver::Subspace,
        },
        cg_steps: model.cg_steps,
        user_attribute_weight: model.user_attribute_weight,
        product_attribute_weight: model.product_attribute_weight,
        user_edge_weight: model.user_edge_weight.unwrap_or(0.0),
        product_edge_weight: model.product_edge_weight.unwrap_or(0.0),
        attribute_regularization: model.attribute_regularization,
        linear_attributes: model.linear_attributes,
        non_negative: model.non_negative,
        half_life: model.half_life,
        time_smoothing: model.time_smoothing,
        biases: model.biases,
    }
}

fn sgd_settings(model: &settings::Model) -> sgd::Settings {
    sgd::Settings {
        rank: model.rank,
        epochs: model.epochs,
        loss: model.loss,
        negatives: model.negatives,
        noise_power: model.noise_power,
        optimizer: model.optimizer,
        rate: model.rate.unwrap_or(sgd::Settings::default().rate),
        decay: model.decay,
        regularization: model.regularization,
        biases: model.biases,
        time: model.time == ModelTime::Factor,
        init_scale: model.init,
        seed: model.seed,
        tolerance: model.tolerance,
    }
}

fn spectral_settings(model: &settings::Model) -> spectral::Settings {
    spectral::Settings {
        rank: model.rank,
        epochs: model.epochs,
        oversampling: model.oversampling,
        normalization: model.normalization,
        edges: model.edges,
        user_edge_weight: model.user_edge_weight.unwrap_or(1.0),
        product_edge_weight: model.product_edge_weight.unwrap_or(1.0),
        walk_length: model.walk_length,
        weight: 1.0,
        seed: model.seed,
        tolerance: model.tolerance,
    }
}

fn filter_settings(model: &settings::Model) -> filter::Settings {
    filter::Settings {
        rank: model.rank,
        epochs: model.epochs,
        oversampling: model.oversampling,
        edges: model.edges,
        weight: model.filter_weight,
        linear: model.filter_linear,
        nearest: model.filter_nearest,
        shrinkage: model.filter_shrinkage,
        distill: model.distill,
        seed: model.seed,
        tolerance: model.tolerance,
    }
}

/// How a graph model learns.
fn learning(model: &settings::Model) -> Learning {
    Learning {
        batches: model.batches,
        loss: model.head,
        alpha0: model.alpha0,
        negatives: model.negatives,
        noise_power: model.noise_power.unwrap_or(0.0),
        rate: model.rate,
        decay: model.decay,
        seed: model.seed,
    }
}

fn lightgcn_settings(model: &settings::Model) -> lightgcn::Settings {
    lightgcn::Settings {
        rank: model.rank,
        layers: model.layers,
        epochs: model.epochs,
        learning: learning(model),
        regularization: model.regularization,
        normalization: model.normalization,
        self_loops: model.self_loops,
        edges: model.edges,
        user_edge_weight: model.user_edge_weight.unwrap_or(1.0),
        product_edge_weight: model.product_edge_weight.unwrap_or(1.0),
        init_scale: model.init,
        tolerance: model.tolerance,
    }
}

fn gcn_settings(model: &settings::Model) -> gcn::Settings {
    gcn::Settings {
        rank: model.rank,
        layers: model.layers,
        activation: model.activation,
        dropout: model.dropout,
        readout: model.readout,
        self_weights: model.self_weights,
        weights: model.weights,
        features: model.features,
        epochs: model.epochs,
        learning: learning(model),
        regularization: model.regularization,
        normalization: model.normalization,
        self_loops: model.self_loops,
        edges: model.edges,
        user_edge_weight: model.user_edge_weight.unwrap_or(1.0),
        product_edge_weight: model.product_edge_weight.unwrap_or(1.0),
        init_scale: model.init,
        tolerance: model.tolerance,
    }
}

fn ucmf_settings(model: &settings::Model) -> ucmf::Settings {
    ucmf::Settings {
        rank: model.rank,
        epochs: model.epochs,
        learning: learning(model),
        temperature: model.temperature,
        labels: model.labels.clone(),
        checks: model.label_checks.clone(),
        cotraining: model.cotraining,
        init_scale: model.init,
        tolerance: model.tolerance,
    }
}

/// How scores come from the tables of a model, as its manifest says it: whoever scores need not know what made them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// Dot products.
    Dot,
    /// Dot products, and the linear filter of the training view, which is found by the manifest's lineage.
    Filter {
        /// What interactions weigh.
        edges: Edges,
    },
    /// Dot products, and what is near to the products that a user had in the training view.
    Nearest {
        /// So many are near to each.
        count: u32,
        /// What similarities of few users are shrunk by.
        shrinkage: f64,
    },
}

impl Scorer {
    /// Of what an algorithm makes.
    pub fn of(algorithm: &Algorithm) -> Self {
        match algorithm.filter() {
            None => Scorer::Dot,
            Some(Links::Shared(edges)) => Scorer::Filter { edges },
            Some(Links::Nearest(Nearest { count, shrinkage })) => {
                Scorer::Nearest { count, shrinkage }
            }
        }
    }

    /// As a manifest keeps it.
    ///
    /// # Errors
    /// Never.
    pub fn encode(self) -> Result<Versioned, Failure> {
        let json = || serde_json::to_vec(&self);
        let bytes = match self {
            Scorer::Dot => Ok(b"dot".to_vec()),
            Scorer::Filter { .. } | Scorer::Nearest { .. } => json(),
        };
        let bytes = bytes.map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
        Ok(Versioned { version: 1, bytes })
    }

    fn decode(kept: &Versioned) -> Result<Self, Failure> {
        if kept.bytes == b"dot" {
            return Ok(Scorer::Dot);
        }
        serde_json::from_slice(&kept.bytes).map_err(|error| {
            let sentence = format!(
                "how the model scores cannot be read ({error}): it is of another version, train again"
            );
            Failure::new(Refusal::BadData, sentence)
        })
    }
}

/// The settings that made a model, as its manifest keeps them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of the algorithm.
    pub algorithm: Algorithm,
    /// What it was trained on.
    pub train: ViewSpec,
    /// Added to every prediction of a value.
    pub offset: f32,
    /// By which its epochs were judged. Verbs that score take the one of their job.
    #[serde(default)]
    pub forecast: Forecast,
    /// How its epochs were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// The epoch that it is of, where epochs were compared; else it is of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// The attributes that a graph convolution knows, as its matrices count them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Mode, Vec<Attribute>>,
    /// The model whose matrices it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Digest>,
    /// The tables that its first factors came from, where users brought them along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub initial: BTreeMap<Mode, Digest>,
    /// Whether users were only folded into an earlier model.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folded: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Record {
    /// Before training.
    pub fn new(
        algorithm: Algorithm,
        train: ViewSpec,
        forecast: Forecast,
        stopping: Option<Stopping>,
        initial: BTreeMap<Mode, Digest>,
    ) -> Self {
        Record {
            algorithm,
            train,
            offset: 0.0,
            forecast,
            stopping,
            best: None,
            attributes: BTreeMap::new(),
            weights: None,
            initial,
            folded: false,
        }
    }

    /// As JSON: a person can read it in a manifest.
    ///
    /// # Errors
    /// Never for settings that were checked.
    pub fn encode(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| Failure::new(Refusal::Bug, error.to_string()))
    }
}

/// A model that programs can read.
pub struct StoredModel {
    /// What its manifest says.
    pub manifest: Model,
    /// How it was made.
    pub record: Record,
    scorer: Scorer,
    tables: Vec<TableVersion>,
}

impl StoredModel {
    /// Of a manifest.
    ///
    /// # Errors
    /// Where its settings are of another version.
    pub fn of(manifest: Model) -> Result<Self, Failure> {
        let record = serde_json::from_slice(&manifest.settings.bytes).map_err(|error| {
            let sentence = format!("the model's settings cannot be read ({error}): it is of another version, train again");
            Failure::new(Refusal::BadData, sentence)
        })?;
        let table = |(number, table): (usize, &ModelTable)| TableVersion {
            id: TableId(number as u16),
            mode: table.mode,
            holds: match table.name.strip_prefix(table.mode.name()) {
                Some("") => Holds::Factors,
                Some("_mean") => Holds::Mean,
                Some("_terms") => Holds::Terms,
                Some("_weights") => Holds::Weights,
                Some("_labels") => Holds::Labels,
                _ => Holds::Maps,
            },
            rank: table.rank,
            width: table.width,
            grid: table.grid.clone(),
            version: VERSION,
        };
        let tables = manifest.tables.iter().enumerate().map(table).collect();
        Ok(StoredModel {
            scorer: Scorer::decode(&manifest.scorer)?,
            manifest,
            record,
            tables,
        })
    }

    /// What scores, a tensor at `moment`.
    ///
    /// # Errors
    /// Where the model has no users or no products.
    pub fn factors(&self, moment: Option<Moment>) -> Result<Factors, Failure> {
        let factors = Factors::of(&self.tables, moment, self.record.offset).ok_or_else(|| {
            Failure::new(
                Refusal::BadData,
                "the model has no user or no product factors: train again",
            )
        })?;
        let filter = match self.scorer {
            Scorer::Dot => None,
            Scorer::Filter { edges } => Some(Links::Shared(edges)),
            Scorer::Nearest { count, shrinkage } => {
                Some(Links::Nearest(Nearest { count, shrinkage }))
            }
        };
        Ok(Factors { filter, ..factors })
    }

    /// The factors of a mode: all blocks, the leading columns that are no biases, and f32 per row.
    ///
    /// # Errors
    /// Where the model has none.
    pub fn rows_of(&self, mode: Mode) -> Result<(KeyRange, (u32, u32)), Failure> {
        let mut tables = self.tables.iter();
        let found = tables.find(|table| table.mode == mode && table.holds == Holds::Factors);
        let table = found.ok_or_else(|| {
            let sentence = format!("the model has no factors of {mode}s: train again");
            Failure::new(Refusal::BadData, sentence)
        })?;
        let columns = self.record.algorithm.factor_columns(table.rank);
        Ok((table.keys(), (columns, table.width)))
    }

    /// Where the blocks of its tables are.
    pub fn objects(&self) -> Vec<StoredObject> {
        let blocks = self
            .tables
            .iter()
            .zip(&self.manifest.tables)
            .flat_map(|(table, stored)| {
                table
                    .keys()
                    .keys()
                    .zip(&stored.blocks)
                    .map(|(key, sealed)| StoredObject {
                        key,
                        sealed: *sealed,
                        row_bytes: table.width * 4,
                    })
            });
        blocks.collect()
    }
}

/// The model in the depot, for verbs that do not train: the newest that this job's settings made of this data. Jobs may share a
/// place, and a run that found its model there already made no newer one.
///
/// Where there is none, the newest of all, and a note of what differs.
///
/// # Errors
/// Where there is no model at all.
pub async fn stored(
    engine: &Engine<'_>,
    data: &DataSet,
    train: &ViewSpec,
) -> Result<StoredModel, Failure> {
    let depot = engine.depot(DepotId::MODEL)?;
    let algorithm = Algorithm::for_data(&engine.settings.model, data);
    let of_job = |model: &Model| {
        let record = serde_json::from_slice::<Record>(&model.settings.bytes);
        model.lineage == data.lineage
            && record.is_ok_and(|record| record.algorithm == algorithm && record.train == *train)
    };
    if let Some((_, manifest)) = depot.newest_model(of_job).await.map_err(failed)? {
        return StoredModel::of(manifest);
    }
    let found = depot.latest_model(None).await.map_err(failed)?;
    let (_, manifest) = found.ok_or_else(|| {
        let sentence = format!(
            "{} holds no model: run `coordinator train` with this job first",
            depot.url()
        );
        Failure::new(Refusal::Unavailable, sentence)
    })?;
    let found = StoredModel::of(manifest)?;
    if found.record.algorithm != algorithm {
        engine.console.observer().note(&format!(
            "the model was trained with other settings than this job's [model]: it is used as it is, of kind \"{}\" and rank {}",
            found.manifest.kind,
            found.manifest.tables.first().map_or(0, |table| table.rank)
        ));
    }
    Ok(found)
}

/// Factors that a program replaces by its own.
pub fn no_factors() -> Factors {
    let none = KeyRange::Blocks {
        table: TableId(0),
        first: 0,
        count: 0,
        version: 0,
    };
    Factors {
        users: none,
        products: none,
        time: None,
        context: None,
        width: 0,
        offset: 0.0,
        filter: None,
    }
}

/// The digest of DESIGN 3.10 over tables in the order of their modes.
///
/// # Errors
/// Where a block cannot be had.
pub async fn digest_of(
    depot: &Depot,
    cache: &Cache,
    tables: &[ModelTable],
) -> Result<Digest, Failure> {
    let mut hasher = blake3::Hasher::new();
    let mut feed = DigestFeed::new(|bytes: &[u8]| {
        hasher.update(bytes);
    });
    for table in tables {
        feed.table(&table.name, table.grid.rows_total(), table.rank);
        for block in &table.blocks {
            let file = depot.fetch(*block, cache).await.map_err(failed)?;
            if file.is_empty() {
                continue;
            }
            let rows = file
                .section(0..file.len())
                .map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
            feed.rows(rows.typed::<f32>(), table.rank, table.width);
        }
    }
    drop(feed);
    Ok(Digest(*hasher.finalize().as_bytes()))
}
