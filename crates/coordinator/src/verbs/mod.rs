//! The verbs: each takes checked settings and a console, and gives what it found.
//!
//! **Invariant:** a verb prints nothing but through the console's observer, and reads no flag or variable.

mod advise;
mod attributes;
pub mod authority;
mod churn;
mod cold;
mod curve;
mod data;
mod describe;
mod edges;
mod engine;
mod estimate;
mod export;
mod fold;
mod forget;
mod fresh;
mod generate;
mod graph;
mod ids;
mod influencers;
mod initial;
mod input;
mod journal;
mod kept;
mod list_files;
mod log;
mod measure;
mod moments;
mod people;
mod phases;
mod reasons;
mod report;
mod rising;
mod rules;
mod segments;
mod serve_lists;
mod similar;
pub mod stored_model;
mod telling;
mod train;
mod tune;
mod update;
mod warnings;
mod weights;

use crate::cli::Command;
use crate::failure::{Failure, Kind};
use crate::job::advising::Advising;
use crate::job::settings::{Location, Settings};
use crate::job::tuning::Tuning;
use crate::live::Serving;
use crate::output::report::RunReport;
use crate::output::{Console, VerbOutput};
use engine::Engine;
use plan::Refusal;
use std::sync::Arc;
use stored_model::StoredModel;
use tensor::DataSet;
use tokio_util::sync::CancellationToken;

/// Runs a verb; `tune` with its search, `advise` with what it compares. `config` never comes here: it shows what stands before settings are typed.
///
/// # Errors
/// With one sentence and the exit code of its kind.
pub fn dispatch(
    command: &Command,
    settings: &Settings,
    (tuning, advising): (Option<&Tuning>, Option<&Advising>),
    console: &Console,
    stop: Stop,
) -> Result<VerbOutput, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::io("the runtime cannot be started", &error))?;
    let cancel = CancellationToken::new();
    let done = runtime.block_on(async {
        let serving = serving(settings, console).await?;
        let signalled = tokio::spawn(stopped(stop, cancel.clone()));
        let done = Box::pin(run(
            command,
            settings,
            (tuning, advising),
            console,
            cancel.clone(),
        ))
        .await;
        let done = match (cancel.is_cancelled(), done) {
            // What a cancelled run ends with is what the signal asked for.
            (true, _) => Err(signalled
                .await
                .unwrap_or_else(|_| interrupted(Kind::Interrupted))),
            (false, done) => {
                signalled.abort();
                done
            }
        };
        if let Some(serving) = serving {
            serving.close(done.as_ref().err()).await;
        }
        done
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}

/// What stops a verb before its end.
#[derive(Clone, Debug)]
pub enum Stop {
    /// Ctrl-C or SIGTERM, of a process that is ours.
    Signals,
    /// The program that holds us, whose signals are its own.
    Token(CancellationToken),
}

/// Waits until the verb is to stop, cancels, and says why.
async fn stopped(stop: Stop, cancel: CancellationToken) -> Failure {
    let kind = match stop {
        Stop::Signals => signal().await,
        Stop::Token(token) => {
            token.cancelled().await;
            Kind::Interrupted
        }
    };
    cancel.cancel();
    interrupted(kind)
}

/// Listens where the settings say, for those who look at the run.
async fn serving(settings: &Settings, console: &Console) -> Result<Option<Serving>, Failure> {
    let (Some(address), Some(live)) = (&settings.run.http, console.live()) else {
        return Ok(None);
    };
    let serving = Serving::start(address, Arc::clone(live)).await?;
    let at = format!("http://{}/ shows the run as it goes on", serving.address);
    tracing::info!("{at}");
    console.observer().note(&at);
    Ok(Some(serving))
}

/// Waits for Ctrl-C or SIGTERM.
async fn signal() -> Kind {
    use tokio::signal::unix::{SignalKind, signal};
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => Kind::Interrupted,
            _ = terminate.recv() => Kind::Terminated,
        }
    } else {
        let _ = tokio::signal::ctrl_c().await;
        Kind::Interrupted
    }
}

fn interrupted(kind: Kind) -> Failure {
    Failure::stopped(
        kind,
        "stopped on request: give the same command again to go on from the last checkpoint",
    )
}

async fn run(
    command: &Command,
    settings: &Settings,
    (tuning, advising): (Option<&Tuning>, Option<&Advising>),
    console: &Console,
    cancel: CancellationToken,
) -> Result<VerbOutput, Failure> {
    match command {
        Command::Inspect { at, graph: false } => return describe::inspect(at).await,
        Command::Verify { at } => return describe::verify(at, console).await,
        Command::Log { run, .. } => return log_of(settings, run.as_deref()),
        Command::Generate { at, .. } => return generate::generate(at, settings, console, &cancel),
        _ => {}
    }
    let engine = Engine::start(settings, console, cancel)?;
    let done = Box::pin(with_engine(command, (tuning, advising), &engine)).await;
    if done.is_err() {
        engine.withdraw().await;
    }
    done
}

async fn with_engine(
    command: &Command,
    (tuning, advising): (Option<&Tuning>, Option<&Advising>),
    engine: &Engine<'_>,
) -> Result<VerbOutput, Failure> {
    match command {
        Command::Tune { job } => {
            let missing = || Failure::new(Refusal::Bug, "the verb `tune` has no search");
            let tuning = tuning.ok_or_else(missing)?;
            let found = tune::tune(engine, tuning, job).await?;
            Ok(VerbOutput::Tune(found))
        }
        Command::Advise { .. } => {
            let missing = || Failure::new(Refusal::Bug, "the verb `advise` has nothing to compare");
            let advising = advising.ok_or_else(missing)?;
            let found = Box::pin(advise::advise(engine, advising)).await?;
            Ok(VerbOutput::Advise(Box::new(found)))
        }
        Command::Cold { .. } => {
            let found = Box::pin(cold::cold(engine)).await?;
            Ok(VerbOutput::Cold(Box::new(found)))
        }
        Command::Plan { .. } => estimate::estimate(engine).await,
        Command::Ingest { .. } => Ok(VerbOutput::Ingest(data::ingest(engine).await?.report)),
        Command::Update { .. } => {
            let updated = Box::pin(update::update(engine)).await?;
            Ok(VerbOutput::Update(Box::new(updated)))
        }
        Command::Forget { users, ids, .. } => {
            let whom = forget::Whom { files: users, ids };
            let forgotten = Box::pin(forget::forget(engine, whom)).await?;
            Ok(VerbOutput::Forget(Box::new(forgotten)))
        }
        Command::Train { .. } => {
            let data = data::described(engine).await?;
            let views = data::views(engine, &data).await?;
            Ok(VerbOutput::Train(
                train::train(engine, &data, &views).await?.report,
            ))
        }
        Command::Evaluate { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            Ok(VerbOutput::Evaluate(
                measure::evaluate(engine, &data, &views, &model).await?,
            ))
        }
        Command::Recommend { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            Ok(VerbOutput::Recommend(
                serve_lists::recommend(engine, &data, &views, &model).await?,
            ))
        }
        Command::Similar { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            Ok(VerbOutput::Similar(
                similar::similar(engine, &data, &views, &model).await?,
            ))
        }
        Command::Segments { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            let found = segments::segments(engine, &data, &views, &model).await?;
            Ok(VerbOutput::Segments(Box::new(found)))
        }
        Command::Influencers { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            let found = influencers::influencers(engine, &data, &views, &model).await?;
            Ok(VerbOutput::Influencers(Box::new(found)))
        }
        Command::Churn { .. } => {
            let data = data::described(engine).await?;
            let found = Box::pin(churn::churn(engine, &data)).await?;
            Ok(VerbOutput::Churn(Box::new(found)))
        }
        Command::Export { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let written = export::export(engine, &data, &model).await?;
            Ok(VerbOutput::Export(written))
        }
        Command::Report { .. } => {
            let (data, model) = model_of_job(engine).await?;
            let views = data::views(engine, &data).await?;
            let measured = report::measured(engine, &data, &views, &model).await?;
            Ok(VerbOutput::Page(
                report::write(engine, &data, &views, &model, measured).await?,
            ))
        }
        Command::Demo | Command::Run { .. } => Box::pin(whole_path(engine)).await,
        Command::Inspect { at, .. } => graph::inspect(engine, at).await,
        Command::Log { .. }
        | Command::Verify { .. }
        | Command::Generate { .. }
        | Command::Config { .. } => Err(Failure::new(
            Refusal::Bug,
            format!("the verb `{}` does not come here", command.name()),
        )),
    }
}

/// What happened in the ingest of the job's data set and in the runs of its model.
fn log_of(settings: &Settings, run: Option<&str>) -> Result<VerbOutput, Failure> {
    let output = &settings.output;
    // Both may lie at one place. A model under a URL has no journal, wherever its data are.
    let data = output.data.as_ref().filter(|data| {
        output.model.as_ref().is_none_or(|model| {
            model != *data && model.as_path().is_some() && data.as_path().is_some()
        })
    });
    let places: Vec<&Location> = data.into_iter().chain(&output.model).collect();
    if places.is_empty() {
        let sentence = "the job names neither `output.data` nor `output.model`";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    log::log(&places, run)
}

/// The data set and the model that a job made before.
async fn model_of_job(engine: &Engine<'_>) -> Result<(DataSet, StoredModel), Failure> {
    let data = data::described(engine).await?;
    let train = data::train_spec(engine, &data)?;
    let model = stored_model::stored(engine, &data, &train).await?;
    // Before views are made of a split that the model does not know.
    measure::fits(&data, &train, &model)?;
    Ok((data, model))
}

/// Ingest, train, evaluate where something is held out, recommend where it is asked for.
async fn whole_path(engine: &Engine<'_>) -> Result<VerbOutput, Failure> {
    let ingested = data::ingest(engine).await?;
    let data = ingested.data;
    let views = data::views(engine, &data).await?;
    let trained = train::train(engine, &data, &views).await?;
    let mut report = RunReport {
        ingest: ingested.report,
        train: trained.report,
        ..RunReport::default()
    };
    let mut page = None;
    if engine.settings.output.report.is_some() {
        let measured = report::measured(engine, &data, &views, &trained.model).await?;
        report.evaluation.clone_from(&measured.evaluation);
        page = Some(measured);
    } else if engine.settings.split.has_test() {
        report.evaluation = Some(measure::evaluate(engine, &data, &views, &trained.model).await?);
    }
    if engine.settings.output.recommend.is_asked() {
        report.recommend =
            Some(serve_lists::recommend(engine, &data, &views, &trained.model).await?);
    }
    if engine.settings.output.similar.file.is_some() {
        report.similar = Some(similar::similar(engine, &data, &views, &trained.model).await?);
    }
    if engine.settings.output.export.folder.is_some() {
        report.export = Some(export::export(engine, &data, &trained.model).await?);
    }
    if engine.settings.output.segments.file.is_some() {
        report.segments = Some(segments::segments(engine, &data, &views, &trained.model).await?);
    }
    if engine.settings.output.influencers.file.is_some() {
        report.influencers =
            Some(influencers::influencers(engine, &data, &views, &trained.model).await?);
    }
    if engine.settings.output.churn.file.is_some() {
        report.churn = Some(Box::pin(churn::churn(engine, &data)).await?);
    }
    if let Some(measured) = page {
        let written = report::write(engine, &data, &views, &trained.model, measured).await?;
        report.report = Some(written);
    }
    report.train.work.peak_anonymous_bytes_by_phase = engine.peaks();
    Ok(VerbOutput::Run(Box::new(report)))
}
