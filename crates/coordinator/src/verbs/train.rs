//! Trains a model, or finds the one that the same run made before.

use super::curve::Curve;
use super::data::{self, Views};
use super::engine::{Engine, Stage, failed, key_of, refused, simd};
use super::ids;
use super::initial::{self, Initial};
use super::phases;
use super::stored_model::{Algorithm, Record, Scorer, StoredModel, digest_of};
use super::warnings;
use super::weights::known;
use crate::driver::{Outcome, Pace, Resume, StoredObject};
use crate::failure::Failure;
use crate::output::report::{BestReport, EpochReport, TrainReport, WorkReport};
use depot::{Body, Checkpoint, CheckpointObject, Depot, Model, ModelTable, Versioned};
use futures::future::BoxFuture;
use model::als::{self, Als};
use model::evaluate::{self, Factors, Metric, RankingTask, SampledEvaluation, ValidationErrors};
use model::graph;
use model::graph::filter::Distilled;
use model::graph::gcn::{self, Gcn};
use model::graph::lightgcn::LightGcn;
use model::graph::popularity::Popularity;
use model::graph::spectral::{self, Spectral};
use model::graph::tiles::Caches;
use model::graph::ucmf::{self, Ucmf};
use model::sgd::{self, Sgd};
use model::training::{Algorithm as InEpochs, Epochs};
use model::{Best, Given, Sampler, Stopping, TableVersion, Training};
use plan::Refusal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tensor::{DataSet, DepotId, Digest, Imported, Mode, SplitPart};

/// Users of the sample that is evaluated after every epoch.
const SAMPLE_USERS: u64 = 2000;
/// The list length of that sample.
const SAMPLE_K: u32 = 20;

/// Users of the sample by which trials of a search are compared.
const TRIAL_USERS: u64 = 10_000;

/// A trained model and what it took.
pub struct Trained {
    /// The model.
    pub model: StoredModel,
    /// For people and programs.
    pub report: TrainReport,
}

/// Trains; goes on from the last checkpoint of the same run where there is one.
///
/// # Errors
/// Where settings make no sense with the data, or the run cannot be finished.
pub async fn train(engine: &Engine<'_>, data: &DataSet, views: &Views) -> Result<Trained, Failure> {
    let algorithm = Algorithm::for_data(&engine.settings.model, data);
    let initial = initial::survey(engine, data, &algorithm).await?;
    train_from(engine, data, views, initial).await
}

/// The same, from these factors.
///
/// # Errors
/// As [`train`].
pub async fn train_from(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    initial: Initial,
) -> Result<Trained, Failure> {
    let algorithm = Algorithm::for_data(&engine.settings.model, data);
    let simd_name = simd(engine.settings.run.simd)?.path().name().to_owned();
    let stopping = engine.settings.model.stopping;
    let record = record_of(engine, (data, views), &algorithm, &initial);
    let run = run_key(b"train", data, &record)?;
    let depot = engine.depot(DepotId::MODEL)?;
    let term = depot.claim_term(Some(run)).await.map_err(failed)?;
    let resume = resume(&depot, run).await?;
    let resumed_from = resume.as_ref().map(|resume| resume.checkpoint.epoch);
    let curve = Curve::open(&depot, run, resumed_from.unwrap_or(0)).await?;
    let told = TrainReport {
        netted: data.nets.then_some(views.train.netted),
        warnings: warnings::of(engine.settings, data, views),
        ..TrainReport::default()
    };
    for warning in &told.warnings {
        engine.console.observer().note(warning);
    }
    if let Some((_, model)) = depot.latest_model(Some(run)).await.map_err(failed)? {
        engine
            .console
            .observer()
            .note("the model is there and of the same job and data: it is used as it is");
        let model = StoredModel::of(model)?;
        let report = TrainReport {
            digest: model.manifest.factors.to_string(),
            best: best(stopping, model.record.best),
            curve: curve.url(),
            resumed_from,
            reused: true,
            simd: simd_name,
            ..told
        };
        return Ok(Trained { model, report });
    }
    if let Some(epoch) = resumed_from {
        engine.console.observer().note(&format!(
            "the run goes on after epoch {epoch}, its last checkpoint"
        ));
    }
    let kind = algorithm.kind();
    let course = (SAMPLE_USERS, None);
    let mut program = program(engine, data, views, algorithm, &initial, course).await?;
    let kept: Arc<Mutex<Vec<StoredObject>>> = Arc::new(Mutex::new(
        resume
            .as_ref()
            .map(|resume| resume.objects.clone())
            .unwrap_or_default(),
    ));
    let heard = curve.clone();
    let commit = committer(
        Arc::clone(&depot),
        (term, run),
        kind,
        Arc::clone(&kept),
        curve.clone(),
    );
    let stage = Stage {
        resume,
        checkpoints: Some((engine.settings.run.pace(), Box::new(commit))),
        news: Some(Box::new(move |news| heard.hear(news))),
        inputs: initial.inputs(),
        ..Stage::plain("train", run, term)
    };
    let outcome = match engine.run(&mut *program, stage).await {
        Ok(outcome) => outcome,
        Err(failure) => return Err(ids::named(engine, data, failure).await),
    };
    let objects = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let record = Record {
        offset: program.offset(),
        best: program.best(),
        ..record
    };
    let model = seal(
        engine,
        &depot,
        (term, run),
        data,
        &record,
        &program.tables(),
        &objects,
    )
    .await?;
    phases::keep(engine, &depot, run, resumed_from).await?;
    let digest = model.factors.to_string();
    let imported = program.imported();
    // Who is folded in brings nothing along.
    for (mode, of) in imported.iter().filter(|_| initial.folds.is_none()) {
        engine.console.observer().note(&format!(
            "{} of the {} rows of `{}` have ids of the data set, the others were left aside",
            of.known,
            of.rows,
            Imported::key(*mode)
        ));
    }
    let imported = imported.into_iter();
    let report = TrainReport {
        digest,
        initial: imported
            .map(|(mode, of)| (mode.name().to_owned(), of))
            .collect(),
        epochs: curve.after(resumed_from.unwrap_or(0)),
        best: best(stopping, program.best()),
        curve: curve.url(),
        resumed_from,
        reused: false,
        simd: simd_name,
        work: work(&outcome),
        ..told
    };
    Ok(Trained {
        model: StoredModel::of(model)?,
        report,
    })
}

/// How far a trial of a search has come.
pub struct Advanced {
    /// Its best epoch so far.
    pub best: Best,
    /// Epochs that are done.
    pub epochs: u32,
    /// Those that were trained now.
    pub trained: u32,
    /// The term in which they were.
    pub term: Option<u64>,
}

/// Trains until so many epochs are done, or comparing epochs ends it, and makes no model: what there is stands in a
/// checkpoint, from which a later call with more epochs goes on. Nothing is trained twice.
///
/// # Errors
/// Where settings make no sense with the data, or the run cannot be finished.
pub async fn advance(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    epochs: u32,
) -> Result<Advanced, Failure> {
    let gone = go_on(engine, data, views, epochs).await?;
    let best = gone.program.best().ok_or_else(|| {
        Failure::new(
            Refusal::Bug,
            "a trial ended without an epoch: please report this",
        )
    })?;
    Ok(Advanced {
        best,
        epochs: gone.program.epochs_done(),
        trained: gone.program.epochs_done() - gone.before,
        term: gone.term,
    })
}

/// Seconds of an epoch: of the second of two, since the first has what is made once.
///
/// # Errors
/// As [`advance`].
pub async fn seconds_of_an_epoch(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
) -> Result<f64, Failure> {
    let gone = go_on(engine, data, views, 2).await?;
    let last = gone.curve.and_then(|curve| curve.after(0).pop());
    Ok(last.map_or(0.0, |epoch| epoch.seconds))
}

/// All epochs of a model that was trained.
///
/// # Errors
/// Where the place does not answer.
pub async fn epochs_of(
    engine: &Engine<'_>,
    model: &StoredModel,
) -> Result<Vec<EpochReport>, Failure> {
    let depot = engine.depot(DepotId::MODEL)?;
    let curve = Curve::open(&depot, model.manifest.run, u32::MAX).await?;
    Ok(curve.after(0))
}

/// What a program came to.
struct Gone {
    program: Box<dyn Training>,
    /// Epochs that were done before.
    before: u32,
    /// The term in which more were.
    term: Option<u64>,
    /// Their course.
    curve: Option<Curve>,
}

async fn go_on(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    epochs: u32,
) -> Result<Gone, Failure> {
    let algorithm = Algorithm::for_data(&engine.settings.model, data);
    let initial = initial::survey(engine, data, &algorithm).await?;
    let record = record_of(engine, (data, views), &algorithm, &initial);
    let run = run_key(b"tune", data, &record)?;
    let depot = engine.depot(DepotId::MODEL)?;
    let resume = resume(&depot, run).await?;
    let kind = algorithm.kind();
    let course = (TRIAL_USERS, Some(epochs));
    let mut program = program(engine, data, views, algorithm, &initial, course).await?;
    if let Some(resume) = &resume {
        let state = Some(&resume.checkpoint.state[..]);
        program
            .restore(state)
            .map_err(|error| Failure::new(Refusal::BadData, error.to_string()))?;
    }
    let before = program.epochs_done();
    let (mut trained_in, mut course) = (None, None);
    if !program.rests() {
        let term = depot.claim_term(Some(run)).await.map_err(failed)?;
        let objects = resume.as_ref().map(|resume| resume.objects.clone());
        let kept = Arc::new(Mutex::new(objects.unwrap_or_default()));
        let curve = Curve::open(&depot, run, before).await?;
        let heard = curve.clone();
        let commit = committer(Arc::clone(&depot), (term, run), kind, kept, curve.clone());
        course = Some(curve);
        let stage = Stage {
            resume,
            // Trials are short: a checkpoint where one pauses is enough.
            checkpoints: Some((Pace::LAST_ONLY, Box::new(commit))),
            news: Some(Box::new(move |news| heard.hear(news))),
            inputs: initial.inputs(),
            ..Stage::plain("trial", run, term)
        };
        if let Err(failure) = engine.run(&mut *program, stage).await {
            return Err(ids::named(engine, data, failure).await);
        }
        trained_in = Some(term);
    }
    Ok(Gone {
        program,
        before,
        term: trained_in,
        curve: course,
    })
}

fn record_of(
    engine: &Engine<'_>,
    (data, views): (&DataSet, &Views),
    algorithm: &Algorithm,
    initial: &Initial,
) -> Record {
    let model = &engine.settings.model;
    let train = views.train_spec.clone();
    let (forecast, stopping) = (model.forecast, model.stopping);
    let earlier = initial.weights.as_ref();
    let attributes = match algorithm {
        Algorithm::Gcn(settings) => known(data, settings, earlier),
        _ => BTreeMap::new(),
    };
    let attributes = attributes.into_iter();
    Record {
        attributes: attributes
            .map(|(mode, known)| (mode, known.attributes))
            .collect(),
        weights: earlier.map(|earlier| earlier.digest),
        folded: initial.folds.is_some(),
        ..Record::new(
            algorithm.clone(),
            train,
            forecast,
            stopping,
            initial.digests(),
        )
    }
}

fn run_key(verb: &[u8], data: &DataSet, record: &Record) -> Result<Digest, Failure> {
    let record = record.encode()?;
    let parts = [verb, wire::ENGINE.as_bytes(), &data.lineage.0, &record];
    Ok(key_of(&parts))
}

fn best(stopping: Option<Stopping>, best: Option<Best>) -> Option<BestReport> {
    let (stopping, best) = (stopping?, best?);
    Some(BestReport {
        epoch: best.epoch,
        metric: stopping.metric.to_string(),
        value: best.value,
    })
}

/// The program of an algorithm; it measures every epoch on the validation part where there is one, lists for so many
/// users, and pauses after so many epochs.
async fn program(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    algorithm: Algorithm,
    initial: &Initial,
    (users, pause): (u64, Option<u32>),
) -> Result<Box<dyn Training>, Failure> {
    let sampler = sampler(engine, data, views, &algorithm, users)?;
    let watch = (sampler, engine.settings.model.stopping, pause);
    let (user, product) = (data.user.grid.clone(), data.product.grid.clone());
    match algorithm {
        Algorithm::Als(settings) => {
            let small = settings.factors().zip(data.small());
            let small = small.map(|(factored, rows)| if factored { rows } else { 0 });
            let (train, decay) = data::faded(engine, data, views, &settings).await?;
            let input = als::Input {
                user,
                product,
                small,
                train,
                decay,
                attributes: data.attributes.clone(),
                edges: data.edges.clone(),
                given: initial.given(data, settings.columns()),
                folds: initial.folds,
            };
            let program = Als::new(settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
        Algorithm::Sgd(settings) => {
            settings.check().map_err(|error| config(&error))?;
            let (side, tiles) = data::tiles(engine, data, views).await?;
            let input = sgd::Input {
                user,
                product,
                side,
                train: views.train.clone(),
                tiles,
                bins: if settings.time { data.small().time } else { 0 },
                given: initial.given(data, settings.columns()),
            };
            let program = Sgd::new(settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
        Algorithm::Spectral(settings) => iterating(settings, data, views, watch),
        Algorithm::Filter(settings) => {
            settings.check().map_err(|error| config(&error))?;
            if settings.distill == 0 {
                return iterating(settings.low_pass(), data, views, watch);
            }
            let input = graph_input(data, views, BTreeMap::new());
            let program = Distilled::new(&settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
        Algorithm::LightGcn(settings) => {
            let input = graph_input(data, views, initial.given(data, settings.rank));
            let program = LightGcn::new(settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
        Algorithm::Gcn(settings) => {
            let input = gcn::Input {
                graph: graph_input(data, views, initial.given(data, settings.rank)),
                attributes: known(data, &settings, initial.weights.as_ref()),
                matrices: initial.weights.as_ref().map(|of| of.matrices.clone()),
            };
            let program = Gcn::new(settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
        Algorithm::Popularity(settings) => {
            let input = graph_input(data, views, BTreeMap::new());
            let program = Popularity::new(settings, input, &data.attributes);
            Ok(watched(program.map_err(|error| config(&error))?, watch))
        }
        Algorithm::Ucmf(settings) => {
            let input = ucmf::Input {
                graph: graph_input(data, views, BTreeMap::new()),
                attributes: data.attributes.clone(),
            };
            let program = Ucmf::new(settings, input).map_err(|error| config(&error))?;
            Ok(watched(program, watch))
        }
    }
}

/// What graph models train on.
fn graph_input(data: &DataSet, views: &Views, given: BTreeMap<Mode, Vec<Given>>) -> graph::Input {
    graph::Input {
        user: data.user.grid.clone(),
        product: data.product.grid.clone(),
        train: views.train.clone(),
        caches: Caches::default(),
        edges: data.edges.clone(),
        given,
    }
}

/// Subspace iteration on the training view.
fn iterating(
    settings: spectral::Settings,
    data: &DataSet,
    views: &Views,
    watch: Watch,
) -> Result<Box<dyn Training>, Failure> {
    let input = graph_input(data, views, BTreeMap::new());
    let program = Spectral::new(settings, input).map_err(|error| config(&error))?;
    Ok(watched(program, watch))
}

/// What measures epochs, how they are compared, and when training pauses.
type Watch = (Option<Box<dyn Sampler>>, Option<Stopping>, Option<u32>);

fn watched<A: InEpochs + 'static>(
    mut program: Epochs<A>,
    (sampler, stopping, pause): Watch,
) -> Box<dyn Training> {
    if let Some(sampler) = sampler {
        program = program.with_sampler(sampler);
    }
    if let Some(stopping) = stopping {
        program = program.with_stopping(stopping);
    }
    if let Some(pause) = pause {
        program = program.with_pause(pause);
    }
    Box::new(program)
}

fn config(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Refusal::Config, error.to_string())
}

/// Values are judged by all their errors, rankings by those of a sample of users.
fn sampler(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    algorithm: &Algorithm,
    users: u64,
) -> Result<Option<Box<dyn Sampler>>, Failure> {
    if views.validation.is_none() {
        return Ok(None);
    }
    let input = evaluate::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: Factors {
            filter: algorithm.filter(),
            ..super::stored_model::no_factors()
        },
        train: views.train.clone(),
        validation: views.validation.clone(),
        test: None,
        recent: None,
        faded: None,
        part: SplitPart::Validation,
        own: evaluate::OwnWeight::Values,
    };
    let moment = views.moments.map(|at| at.validation);
    if algorithm.fits_values() {
        let sampler = ValidationErrors::new(input, moment).map_err(|error| config(&error))?;
        return Ok(Some(Box::new(sampler)));
    }
    let mut sampled = evaluate::Settings {
        ks: vec![SAMPLE_K],
        tasks: vec![RankingTask::NewProducts],
        replicates: 0,
        seed: engine.settings.model.seed,
        ..evaluate::Settings::default()
    };
    let metric = engine
        .settings
        .model
        .stopping
        .map(|stopping| stopping.metric);
    if let Some(Metric::List { task, k, .. }) = metric {
        sampled.ks.push(k);
        sampled.tasks.push(task);
    }
    sampled.ks.sort_unstable();
    sampled.ks.dedup();
    sampled.tasks.dedup();
    let sampler =
        SampledEvaluation::new(sampled, input, moment, users).map_err(|error| config(&error))?;
    Ok(Some(Box::new(sampler)))
}

async fn resume(depot: &Depot, run: Digest) -> Result<Option<Resume>, Failure> {
    let found = depot.latest_checkpoint(run).await.map_err(failed)?;
    Ok(found.map(|(_, checkpoint)| resumed(checkpoint)))
}

/// A state as the driver goes on from it.
pub(super) fn resumed(checkpoint: Checkpoint) -> Resume {
    let stored = |object: &CheckpointObject| StoredObject {
        key: object.key,
        sealed: object.object,
        row_bytes: object.row_bytes,
    };
    let objects: Vec<StoredObject> = checkpoint.objects.iter().map(stored).collect();
    let keys = objects.iter().map(|object| object.key.into()).collect();
    let checkpoint = tensor::Checkpoint {
        epoch: checkpoint.epoch,
        state: checkpoint.state,
        objects: keys,
    };
    Resume {
        checkpoint,
        objects,
    }
}

/// The same as a manifest records it, of a run that is not finished.
pub(super) fn recorded(
    run: Digest,
    program: &str,
    checkpoint: tensor::Checkpoint,
    objects: &[StoredObject],
) -> Checkpoint {
    let named = |object: &StoredObject| CheckpointObject {
        key: object.key,
        object: object.sealed,
        row_bytes: object.row_bytes,
    };
    Checkpoint {
        run,
        epoch: checkpoint.epoch,
        program: program.to_owned(),
        state: checkpoint.state,
        objects: objects.iter().map(named).collect(),
        finished: false,
    }
}

/// Writes the learning curve and the manifest of a checkpoint, and remembers its objects.
fn committer(
    depot: Arc<Depot>,
    (term, run): (u64, Digest),
    kind: &'static str,
    kept: Arc<Mutex<Vec<StoredObject>>>,
    curve: Curve,
) -> impl FnMut(tensor::Checkpoint, Vec<StoredObject>) -> BoxFuture<'static, Result<(), plan::Failure>>
+ Send {
    move |checkpoint, objects| {
        let (depot, kept, curve) = (Arc::clone(&depot), Arc::clone(&kept), curve.clone());
        Box::pin(async move {
            curve.write().await.map_err(|error| refused(&error))?;
            let body = recorded(run, kind, checkpoint, &objects);
            depot
                .commit(term, Body::Checkpoint(body))
                .await
                .map_err(|error| refused(&error))?;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = objects;
            Ok(())
        })
    }
}

/// Hashes the factors and commits the model that the last checkpoint's objects make.
async fn seal(
    engine: &Engine<'_>,
    depot: &Depot,
    (term, run): (u64, Digest),
    data: &DataSet,
    record: &Record,
    tables: &[TableVersion],
    objects: &[StoredObject],
) -> Result<Model, Failure> {
    let mut named = Vec::new();
    for table in tables {
        let block = |key| {
            let found = objects.iter().find(|object| object.key == key);
            found.map(|object| object.sealed).ok_or_else(|| {
                Failure::new(
                    Refusal::Bug,
                    format!("the last checkpoint lacks {key}: please report this"),
                )
            })
        };
        named.push(ModelTable {
            name: table.name(),
            mode: table.mode,
            rank: table.rank,
            width: table.width,
            grid: table.grid.clone(),
            blocks: table.keys().keys().map(block).collect::<Result<_, _>>()?,
        });
    }
    named.sort_by_key(|table| table.mode);
    let factors = digest_of(depot, &engine.cache, &named).await?;
    let model = Model {
        run,
        kind: record.algorithm.kind().to_owned(),
        scorer: Scorer::of(&record.algorithm).encode()?,
        settings: Versioned {
            version: 1,
            bytes: record.encode()?,
        },
        tables: named,
        lineage: data.lineage,
        factors,
    };
    depot
        .commit(term, Body::Model(model.clone()))
        .await
        .map_err(failed)?;
    Ok(model)
}

fn work(outcome: &Outcome) -> WorkReport {
    WorkReport {
        tasks: outcome.tasks_run,
        tasks_replayed: outcome.tasks_replayed,
        pieces: outcome.pieces,
        cut_rows: outcome.cut_rows,
        bytes_to_peers: outcome
            .workers
            .values()
            .map(|worker| worker.sent_bytes)
            .collect(),
        bytes_through_coordinator: outcome.coordinator_bytes,
        peak_anonymous_bytes_of_workers: outcome
            .workers
            .values()
            .map(|worker| worker.peak_anonymous_bytes)
            .collect(),
        ..WorkReport::default()
    }
}
