//! New files on top of a data set, and its compaction.

use super::attributes;
use super::data::{self, refused, unfinished};
use super::edges;
use super::engine::{Engine, Stage, failed, key_of};
use super::fold;
use super::initial::{self, Initial};
use super::stored_model::{Algorithm, StoredModel};
use super::train;
use crate::failure::Failure;
use crate::job::files;
use crate::job::settings::Location;
use crate::output::report::{AddedReport, TrainReport, UpdateReport};
use depot::{Body, Model};
use plan::Refusal;
use std::collections::BTreeMap;
use tables::{Compact, Survey, Update};
use tensor::{DataSet, DepotId, Digest, Mode, SplitPart};

/// Adds the files that the job names under [update], and compacts where there are too many updates.
///
/// # Errors
/// Where there is no data set, a file does not fit it or is in it already, or a row is bad.
pub async fn update(engine: &Engine<'_>) -> Result<UpdateReport, Failure> {
    let before = data::stored(engine).await?;
    let settings = &engine.settings.update;
    let mut report = UpdateReport::default();
    // What cannot be trained on is refused before anything is added.
    let earlier = match settings.epochs {
        0 if !settings.fold_in => None,
        _ => Some(earlier(engine, &before).await?),
    };
    if settings.fold_in {
        fold::check(engine, &before)?;
    }
    let mut after = before.clone();
    if let Some(found) = new_files(engine, &before).await? {
        after = added(engine, before.clone(), found).await?;
        report.added = difference(&before, &after);
    }
    // Before deltas are merged: they tell who was touched.
    if let Some(earlier) = earlier.as_ref().filter(|_| settings.fold_in) {
        report.train = fold::fold(engine, &after, earlier).await?;
    }
    if after.deltas.len() > settings.deltas_max as usize {
        let (compacted, partitions) = compacted(engine, after).await?;
        (after, report.compacted) = (compacted, Some(partitions));
    }
    if let Some(earlier) = earlier.filter(|_| !settings.fold_in) {
        report.train = trained_on(engine, &after, &earlier).await?;
    }
    report.deltas = after.deltas.len() as u64;
    report.data = data::report(&after, after.lineage == before.lineage, 0);
    Ok(report)
}

/// The last model at the job's place, of the data set as it is or was.
async fn earlier(engine: &Engine<'_>, data: &DataSet) -> Result<StoredModel, Failure> {
    let algorithm = Algorithm::for_data(&engine.settings.model, data);
    let (_, columns) = initial::goes_on(&algorithm)?;
    let wanted = algorithm.kind();
    let models = engine.depot(DepotId::MODEL)?;
    // Jobs may share a place: what this one cannot go on from is another's, as long as there is one that it can.
    let of_job = |model: &Model| {
        let mut tables = model.tables.iter();
        model.kind == wanted && tables.any(|table| table.rank == columns)
    };
    let mut found = models.newest_model(of_job).await.map_err(failed)?;
    if found.is_none() {
        found = models.latest_model(None).await.map_err(failed)?;
    }
    let (_, manifest) = found.ok_or_else(|| {
        let sentence = format!(
            "{} holds no model to go on from: run `coordinator train` with this job first",
            models.url()
        );
        Failure::new(Refusal::Unavailable, sentence)
    })?;
    let earlier = StoredModel::of(manifest)?;
    let depot = engine.depot(DepotId::DATA)?;
    let lineage = earlier.manifest.lineage;
    let known = depot.lineages_of(data.origin()).await.map_err(failed)?;
    if !known.contains(&lineage) {
        let sentence = "the model was trained on another data set than that of `output.data`: run `coordinator train`";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let kind = earlier.record.algorithm.kind();
    if kind != wanted {
        let sentence = format!(
            "the model is of the kind \"{kind}\", the job says \"{wanted}\": give the [model] that it was trained with, or run `coordinator \
             train`"
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    Initial::of(&earlier, data, &algorithm)?;
    Ok(earlier)
}

/// Trains a model on with all data, from its own factors; nothing where it is of all data already.
async fn trained_on(
    engine: &Engine<'_>,
    data: &DataSet,
    earlier: &StoredModel,
) -> Result<Option<TrainReport>, Failure> {
    if earlier.manifest.lineage == data.lineage {
        let note = "the model is of all data already: it is left alone";
        engine.console.observer().note(note);
        return Ok(None);
    }
    let mut settings = engine.settings.clone();
    settings.model.epochs = settings.update.epochs;
    let engine = engine.for_job(&settings);
    let algorithm = Algorithm::for_data(&settings.model, data);
    let initial = Initial::of(earlier, data, &algorithm)?;
    let views = data::views(&engine, data).await?;
    let trained = train::train_from(&engine, data, &views, initial).await?;
    Ok(Some(trained.report))
}

/// The files of [update], or else those of [input] that are not in the data set; `None` where there are none of these.
async fn new_files(engine: &Engine<'_>, before: &DataSet) -> Result<Option<data::Input>, Failure> {
    let settings = engine.settings;
    if !settings.update.files.is_empty() {
        let locations = files::expand("update.files", &settings.update.files)?;
        return Ok(Some(read(engine, locations).await?));
    }
    if settings.input.files.is_empty() {
        let sentence = "neither `update.files` nor `input.files` names files: give the Parquet files with new rows";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    if before.inputs.is_empty() {
        let sentence = "the data set does not say which files it was made of: name the new ones under `update.files`";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let locations = files::expand("input.files", &settings.input.files)?;
    let all = read(engine, locations).await?;
    if !all.survey.takes_files_whole() {
        let sentence = "with `input.from` or `input.until` a file may be in the data set in part: name the new ones under `update.files`, \
                        or keep files in folders that tell their times";
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let files = all.opened.iter().zip(&all.survey.digests);
    let new = files.filter(|(_, digest)| !before.inputs.contains(digest));
    let new: Vec<Location> = new.map(|(file, _)| file.location()).collect();
    if new.is_empty() {
        let note = "all of `input.files` is in the data set already: nothing is added";
        engine.console.observer().note(note);
        return Ok(None);
    }
    Ok(Some(read(engine, new).await?))
}

/// What the footers of files say that are read as [input] says.
async fn read(engine: &Engine<'_>, locations: Vec<Location>) -> Result<data::Input, Failure> {
    let parts = vec![SplitPart::Train; locations.len()];
    let chosen = data::chosen(engine, locations, parts)?;
    data::survey_of(engine, chosen).await
}

/// The data set with these files: the one that is there, if they were the last to be added.
async fn added(
    engine: &Engine<'_>,
    before: DataSet,
    found: data::Input,
) -> Result<DataSet, Failure> {
    tables::update::fits(&before, &found.survey, &found.spec).map_err(refused)?;
    described(engine, &before)?;
    if is_there(&before, &found.survey)? {
        let note = "these files are in the data set already: nothing is added";
        engine.console.observer().note(note);
        return Ok(before);
    }
    let settings = &engine.settings.update;
    if before.deltas.len() >= settings.deltas_max.max(1) as usize && !settings.compact {
        let sentence = format!(
            "the data set keeps {} updates, and `update.deltas_max` is {}: set `update.compact` = true, or raise the limit",
            before.deltas.len(),
            settings.deltas_max
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let depot = engine.depot(DepotId::DATA)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    let lineage = key_of(&[b"update", &before.lineage.0, &found.survey.lineage.0]);
    let stage = Stage {
        inputs: found.opened.iter().map(|file| file.served()).collect(),
        ..Stage::plain("update", key_of(&[b"ingest", &lineage.0]), term)
    };
    let mut program = Update::new(before, found.survey, found.spec, lineage);
    engine.run(&mut program, stage).await?;
    for file in &found.opened {
        file.let_go();
    }
    drop(found.opened);
    let data = program.into_data_set();
    let data = data.ok_or_else(|| unfinished("an update"))?;
    // Rows of both modes may be more now: what is known of them is read again.
    let data = attributes::ingest(engine, data, found.attributes, term).await?;
    let data = edges::ingest(engine, data, found.edges, term).await?;
    depot
        .commit(term, Body::DataSet(Box::new(data.clone())))
        .await
        .map_err(failed)?;
    Ok(data)
}

/// Whether all files are in the data set.
fn is_there(data: &DataSet, survey: &Survey) -> Result<bool, Failure> {
    let mut names: BTreeMap<Digest, &str> = BTreeMap::new();
    let mut known = Vec::new();
    for (file, digest) in survey.files.iter().zip(&survey.digests) {
        if let Some(other) = names.insert(*digest, &file.name) {
            let sentence = format!(
                "{} and {other} are the same file: their rows would count double",
                file.name
            );
            return Err(Failure::new(Refusal::BadData, sentence));
        }
        if data.inputs.contains(digest) {
            known.push(file.name.as_str());
        }
    }
    if known.len() == survey.files.len() {
        return Ok(true);
    }
    match known[..] {
        [] => Ok(false),
        [first, ..] => {
            let sentence = format!(
                "{first} is in the data set already, and its rows would count double: name only new files under `update.files`"
            );
            Err(Failure::new(Refusal::BadData, sentence))
        }
    }
}

/// Refuses a job that does not name what the data set knows besides: it must be known of new rows, too.
fn described(engine: &Engine<'_>, data: &DataSet) -> Result<(), Failure> {
    let input = &engine.settings.input;
    let missing = |mode: &Mode, what: &str| {
        let sentence = format!(
            "the data set has {what} of {mode}s: name their files under [input.{mode}_{what}], so that new {mode}s have them, too"
        );
        Failure::new(Refusal::Config, sentence)
    };
    for mode in data.attributes.keys() {
        let tables = match mode {
            Mode::User => &input.user_attributes,
            _ => &input.product_attributes,
        };
        if tables.is_none() {
            return Err(missing(mode, "attributes"));
        }
    }
    for mode in data.edges.keys() {
        let lists = match mode {
            Mode::User => &input.user_edges,
            _ => &input.product_edges,
        };
        if lists.is_none() {
            return Err(missing(mode, "edges"));
        }
    }
    Ok(())
}

/// The data set with its updates merged into its partitions, and how many were sealed anew.
async fn compacted(engine: &Engine<'_>, data: DataSet) -> Result<(DataSet, u64), Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    let run = key_of(&[b"compact", &data.lineage.0]);
    let mut program = Compact::new(data);
    let partitions = program.partitions() as u64;
    engine
        .run(&mut program, Stage::plain("compact", run, term))
        .await?;
    let data = program.into_data_set();
    let data = data.ok_or_else(|| unfinished("a compaction"))?;
    depot
        .commit(term, Body::DataSet(Box::new(data.clone())))
        .await
        .map_err(failed)?;
    Ok((data, partitions))
}

fn difference(before: &DataSet, after: &DataSet) -> AddedReport {
    let bins = |data: &DataSet| data.time.as_ref().map_or(0, |time| time.bins);
    let partitions = after.deltas.iter().skip(before.deltas.len());
    AddedReport {
        input_rows: after.input_rows - before.input_rows,
        interactions: after.interactions() - before.interactions(),
        users: after.user.grid.rows_total() - before.user.grid.rows_total(),
        products: after.product.grid.rows_total() - before.product.grid.rows_total(),
        time_bins: bins(after) - bins(before),
        partitions: partitions
            .map(|delta| delta.partitions().count() as u64)
            .sum(),
    }
}
