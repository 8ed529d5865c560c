//! Recommends products to every user, into one Parquet file or a folder of parts.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::list_files::{self, ListFiles};
use super::reasons;
use super::rising;
use super::rules::{self, Lists};
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::report::{PartsReport, RecommendReport};
use model::context::ContextAt;
use model::recommend::{self, Recommend};
use plan::Refusal;
use tensor::{DataSet, ObjectKey, Step};

/// Writes the lists.
///
/// # Errors
/// Where the file cannot be written; nothing is left of it then.
pub async fn recommend(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<RecommendReport, Failure> {
    let wish = &engine.settings.output.recommend;
    let users = ids::of_axis(engine, &data.user).await?;
    let products = ids::of_axis(engine, &data.product).await?;
    let chosen = match &wish.users[..] {
        [] => None,
        named => Some(users.rows_of(named).map_err(|id| {
            let sentence = format!(
                "`output.recommend.users` has {id}, which is no user of the data set: name ids of the column {}",
                data.user.column
            );
            Failure::new(Refusal::Config, sentence)
        })?),
    };
    if wish.date.is_some() && data.time.is_none() {
        let sentence = "`output.recommend.date` says when lists are, but the data have no time: name the column under [input] `time`";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    rising::check(engine, views)?;
    let rules = rules::of(engine, data, Lists::Recommended).await?;
    let mut explain = None;
    if wish.explanations.is_some() {
        explain = Some(reasons::of(engine, data, views, model).await?);
    }
    let mut factors = model.factors(views.moments.map(|at| at.recommended))?;
    if let (Some(context), Some(name)) = (&mut factors.context, &wish.context) {
        context.at = ContextAt::Row(ids::context_named(engine, data, name).await?);
    }
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors,
        train: views.train.clone(),
        held_out: [&views.validation, &views.test]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        alike: None,
    };
    let settings = recommend::Settings {
        k: wish.top,
        exclude_train: wish.exclude_seen,
        exclude_held_out: wish.exclude_seen,
        users: chosen,
        explain,
        rules,
    };
    let barred = settings.rules.barred.len() as u64;
    let ruled = !settings.rules.are_none();
    let program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let ids = (users, products);
    let reasons = wish.explanations.as_deref();
    let opened = match (&wish.file, &wish.folder) {
        (Some(file), _) => ListFiles::files(file, reasons, ids),
        (None, Some(folder)) => {
            let made_of = made_of(data, model, &program);
            ListFiles::folders(engine, (folder, reasons), ids, (&program, &made_of))
        }
        (None, None) => {
            let sentence = "the job says not where lists go: set `output.recommend.file`";
            return Err(Failure::new(Refusal::Config, sentence));
        }
    };
    let mut files = opened.map_err(|error| list_files::failed(&error))?;
    let kept = files.kept().clone();
    let left = program.groups() as usize - kept.len();
    if left > 0 {
        run(engine, model, &mut program.without(&kept), &mut files).await?;
    }
    let parts = wish.folder.as_ref().map(|_| PartsReport {
        written: files.parts_written().into(),
        kept: kept.len() as u64,
    });
    let written = files.finish().map_err(|error| list_files::failed(&error))?;
    Ok(RecommendReport {
        users: written.lists.users,
        rows: written.lists.rows,
        file: wish.file.clone(),
        folder: wish.folder.clone(),
        parts,
        reasons: written.reasons,
        explanations: wish.explanations.clone(),
        barred: ruled.then_some(barred),
        rising: rising::rising(engine, data, views, model).await?,
    })
}

/// Runs the program into the files.
async fn run(
    engine: &Engine<'_>,
    model: &StoredModel,
    program: &mut Recommend,
    files: &mut ListFiles,
) -> Result<(), Failure> {
    let sink = |key: ObjectKey, held: exec::Held| {
        let refused = |sentence: String| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence,
        };
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        let taken = files.take(key, &bytes);
        taken.map_err(|error| refused(error.to_string()))
    };
    let run = key_of(&[b"recommend", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(sink)),
        ..Stage::plain("recommend", run, 0)
    };
    engine.run(program, stage).await.map(drop)
}

/// A word for all that lists follow from: what tasks are told and read, the model's rows, the ids, and the engine.
fn made_of(data: &DataSet, model: &StoredModel, program: &Recommend) -> String {
    let told = |of: &Step| postcard::to_stdvec(of).expect("a step is a plain value");
    let ids = postcard::to_stdvec(&(&data.user, &data.product)).expect("axes are plain values");
    let mut parts = vec![
        b"lists".to_vec(),
        env!("CARGO_PKG_VERSION").as_bytes().to_vec(),
        ids,
    ];
    parts.extend(program.course().iter().map(told));
    let rows = model.objects().into_iter();
    parts.extend(rows.map(|object| object.sealed.digest.0.to_vec()));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    key_of(&parts).to_string()
}
