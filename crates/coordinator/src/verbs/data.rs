//! The data set and its views: found in the depot, or made.

use super::attributes;
use super::edges;
use super::engine::{Engine, Stage, failed, key_of};
use super::input::{self, OpenInput};
use super::kept;
use super::moments::Moments;
use super::stored_model::Algorithm;
use crate::cluster::InputFile;
use crate::failure::Failure;
use crate::job::files;
use crate::job::settings::{self, Location, ModelTime, OnBadRow};
use crate::output::report::{Blocks, IngestReport};
use depot::{Body, ViewOf};
use model::als;
use model::evaluate::recent_spec;
use plan::Refusal;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tables::{
    BuildViews, ContextSpec, ErrorKind, FolderTime, Ingest, ScanSpec, Selection, SplitSettings,
    Splits, TablesError, ValueRule,
};
use tensor::{
    DataSet, Decay, DepotId, Digest, Mode, ModeEdges, Partitions, ReadAt, Small, SplitPart,
    ViewSpec, super_blocks,
};

/// The bins of popularity of late.
const RECENT_BINS: u32 = 4;

/// What an ingest found or made.
pub struct Ingested {
    /// The data set.
    pub data: DataSet,
    /// For people and programs.
    pub report: IngestReport,
}

/// The views that training, evaluation and lists read.
pub struct Views {
    /// What is trained on.
    pub train_spec: ViewSpec,
    /// Its partitions.
    pub train: Partitions,
    /// The validation part.
    pub validation: Option<Partitions>,
    /// The test part.
    pub test: Option<Partitions>,
    /// The last training bins.
    pub recent: Option<Partitions>,
    /// At which bins a tensor scores; none in a matrix.
    pub moments: Option<Moments>,
}

/// What tables say, as the end of a verb.
pub fn refused(error: TablesError) -> Failure {
    let refusal = match error.kind() {
        ErrorKind::BadData => Refusal::BadData,
        ErrorKind::Config => Refusal::Config,
        ErrorKind::Io => Refusal::Io,
        ErrorKind::Bug => Refusal::Bug,
    };
    Failure::new(refusal, error.to_string())
}

/// The data set of the job's input: the one in the depot if it is of the same input, else a new one.
///
/// # Errors
/// Where the input is bad, or the depot holds the data of another input.
pub async fn ingest(engine: &Engine<'_>) -> Result<Ingested, Failure> {
    let Input {
        survey,
        spec,
        opened,
        skipped_files,
        attributes,
        edges,
    } = survey(engine).await?;
    let depot = engine.depot(DepotId::DATA)?;
    let there = depot.latest_data_set(None).await.map_err(failed)?;
    if let Some((number, data)) = there {
        // An ingest that died behind its manifest has left what it kept to go on.
        if depot.manifests().await.map_err(failed)?.last() == Some(&number) {
            depot.collect_ended().await.map_err(failed)?;
        }
        if data.origin() == survey.lineage || holds_all(&data, &survey, &spec) {
            let note = if data.first.is_some() {
                "the data set is there and of the same input, with updates since: it is used as it is"
            } else {
                "the data set is there and of the same input: it is used as it is"
            };
            engine.console.observer().note(note);
            for file in &opened {
                file.let_go();
            }
            return Ok(Ingested {
                report: report(&data, true, skipped_files),
                data,
            });
        }
        let new = survey.files.iter().zip(&survey.digests);
        let new: Vec<&str> = new
            .filter(|(_, digest)| !data.inputs.contains(digest))
            .map(|(file, _)| file.name.as_str())
            .collect();
        let sentence = match new[..] {
            [first, ..] if new.len() < survey.files.len() => format!(
                "{} holds the data set of other files: {} of `input.files` are not in it, the first is {first}; `coordinator update` \
                 adds them",
                depot.url(),
                new.len()
            ),
            _ => format!(
                "{} holds the data set of another input or of other [input] settings: name another `output.data`, or remove it; \
                 `coordinator update` adds new files to it",
                depot.url()
            ),
        };
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let term = depot.claim_term(None).await.map_err(failed)?;
    let lineage = survey.lineage;
    let mut program = Ingest::new(survey, spec);
    let inputs: Vec<InputFile> = opened.iter().map(|file| file.served()).collect();
    // What was kept of a file that was written since is not gone on with, even where the lineage, which has samples, is the same.
    let written = inputs
        .iter()
        .flat_map(|file| [file.written.0, file.written.1]);
    let written: Vec<u8> = written.flat_map(i64::to_le_bytes).collect();
    let run = key_of(&[b"ingest", &lineage.0, &written]);
    let resume = kept::found(engine, &depot, run).await?;
    let resumed_from = resume.as_ref().map(|resume| resume.checkpoint.epoch);
    let pace = engine.settings.run.ingest_pace();
    let stage = Stage {
        inputs,
        resume,
        keeps_in: DepotId::DATA,
        checkpoints: pace.map(|pace| (pace, kept::committer(Arc::clone(&depot), term, run))),
        ..Stage::plain("ingest", run, term)
    };
    engine.run(&mut program, stage).await?;
    for file in &opened {
        file.let_go();
    }
    drop(opened);
    let data = program
        .into_data_set()
        .ok_or_else(|| unfinished("ingest"))?;
    let data = attributes::ingest(engine, data, attributes, term).await?;
    let data = edges::ingest(engine, data, edges, term).await?;
    depot
        .commit(term, Body::DataSet(Box::new(data.clone())))
        .await
        .map_err(failed)?;
    kept::end(&depot, term).await?;
    Ok(Ingested {
        report: IngestReport {
            resumed_from,
            ..report(&data, false, skipped_files)
        },
        data,
    })
}

/// Whether a data set is of these very files, by ingest and updates.
fn holds_all(data: &DataSet, survey: &tables::Survey, spec: &ScanSpec) -> bool {
    let there: BTreeSet<Digest> = data.inputs.iter().copied().collect();
    let here: BTreeSet<Digest> = survey.digests.iter().copied().collect();
    let whole = survey.takes_files_whole();
    data.first.is_some()
        && whole
        && there == here
        && tables::update::fits(data, survey, spec).is_ok()
}

/// What an ingest reads.
pub struct Input {
    /// What the footers of interactions say; its lineage covers attributes and edges.
    pub survey: tables::Survey,
    /// How interactions are read.
    pub spec: ScanSpec,
    /// Their files.
    pub opened: Vec<Arc<OpenInput>>,
    /// Files that were not opened, since the times of their folders are not wanted.
    pub skipped_files: u64,
    /// Tables of attributes.
    pub attributes: attributes::Surveyed,
    /// Lists of edges.
    pub edges: edges::Surveyed,
}

/// Reads the footers of the job's input files and hashes what decides the data set.
///
/// # Errors
/// Where a file is not what the job says.
pub async fn survey(engine: &Engine<'_>) -> Result<Input, Failure> {
    let chosen = inputs(engine)?;
    survey_of(engine, chosen).await
}

/// The same of these files, read so.
///
/// # Errors
/// Where a file is not what the job says.
pub(super) async fn survey_of(engine: &Engine<'_>, chosen: Chosen) -> Result<Input, Failure> {
    let Chosen {
        spec,
        selection,
        opened,
        skipped_files,
    } = chosen;
    let named = named(&opened);
    let budget = engine.task_memory();
    let surveying = move || {
        let surveyed = tables::survey_selected(&named, &spec, &selection, budget);
        (surveyed, spec)
    };
    let (surveyed, spec) = tokio::task::spawn_blocking(surveying)
        .await
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    let survey = surveyed.map_err(|error| unfit(engine, error))?;
    let attributes = attributes::survey(engine, &survey).await?;
    let edges = edges::survey(engine, &survey).await?;
    Ok(Input {
        survey: edges.extend(attributes.extend(survey)),
        spec,
        opened,
        skipped_files,
        attributes,
        edges,
    })
}

/// Files as tables read them.
pub(super) fn named(opened: &[Arc<OpenInput>]) -> Vec<(String, Arc<dyn ReadAt>)> {
    opened
        .iter()
        .map(|file| (file.name(), Arc::clone(file) as Arc<dyn ReadAt>))
        .collect()
}

/// What a survey says, with the budget that this process needs.
pub(super) fn unfit(engine: &Engine<'_>, error: TablesError) -> Failure {
    match error {
        TablesError::RowGroup {
            file,
            row_group,
            needed,
            left,
        } => Failure::new(
            Refusal::Config,
            format!(
                "row group {row_group} of {file} needs {needed}, the budget leaves {left}: give --memory {} or more, or \
                 write smaller row groups",
                engine.memory_for(needed)
            ),
        ),
        error => refused(error),
    }
}

/// The files to read, and how.
pub(super) struct Chosen {
    spec: ScanSpec,
    selection: Selection,
    opened: Vec<Arc<OpenInput>>,
    skipped_files: u64,
}

fn inputs(engine: &Engine<'_>) -> Result<Chosen, Failure> {
    let settings = engine.settings;
    let mut locations = files::expand("input.files", &settings.input.files)?;
    let mut parts = vec![SplitPart::Train; locations.len()];
    if let settings::Split::Given { validation, test } = &settings.split {
        for (key, given, part) in [
            ("split.validation_files", validation, SplitPart::Validation),
            ("split.test_files", test, SplitPart::Test),
        ] {
            let more = files::expand(key, given)?;
            parts.extend(more.iter().map(|_| part));
            locations.extend(more);
        }
    }
    chosen(engine, locations, parts)
}

/// How the job reads interactions, from those of these files of these parts whose folders tell times that are wanted.
///
/// # Errors
/// Where folders tell no times, or none is wanted, or a file cannot be opened.
pub(super) fn chosen(
    engine: &Engine<'_>,
    mut locations: Vec<Location>,
    mut parts: Vec<SplitPart>,
) -> Result<Chosen, Failure> {
    let settings = engine.settings;
    let input = &settings.input;
    let mut selection = Selection {
        range: input.range,
        folders: folder_times(input, &locations)?,
    };
    let skipped_files = leave_out(input, &mut selection, &mut locations, &mut parts)?;
    let all_train = parts.iter().all(|part| *part == SplitPart::Train);
    let spec = ScanSpec {
        user: input.user.clone(),
        product: input.product.clone(),
        time: input.time.clone(),
        value: input.value.clone(),
        event: input
            .event
            .clone()
            .map(|(column, weights)| tables::EventRule { column, weights }),
        nets: input.nets,
        time_bin: input.time_bin,
        context: input.context.clone().map(|context| match context {
            settings::Context::Column(column) => ContextSpec::Column(column),
            settings::Context::Cycle(cycle) => ContextSpec::Cycle(cycle),
        }),
        duplicates: input.duplicates,
        on_bad_row: match input.on_bad_row {
            OnBadRow::Reject => tables::OnBadRow::Reject,
            OnBadRow::Skip => tables::OnBadRow::Skip,
        },
        value_rule: if input.nets || Algorithm::of(&settings.model).takes_negative_values() {
            ValueRule::Finite
        } else {
            ValueRule::NonNegative
        },
        parts: if all_train { Vec::new() } else { parts },
    };
    let opened: Result<Vec<_>, _> = locations.iter().map(|at| input::open(engine, at)).collect();
    Ok(Chosen {
        spec,
        selection,
        opened: opened?,
        skipped_files,
    })
}

/// The times that folders tell; none where no folder is named after the column.
fn folder_times(
    input: &settings::Input,
    locations: &[Location],
) -> Result<Vec<Option<FolderTime>>, Failure> {
    let Some(column) = &input.time else {
        return Ok(Vec::new());
    };
    let time = |location: &Location| match location {
        Location::Path(path) => FolderTime::of(path, column).map_err(refused),
        Location::Url(url) => FolderTime::of(Path::new(url), column).map_err(refused),
    };
    locations.iter().map(time).collect()
}

/// Takes out the files whose folders tell times that are not wanted; says how many.
fn leave_out(
    input: &settings::Input,
    selection: &mut Selection,
    locations: &mut Vec<Location>,
    parts: &mut Vec<SplitPart>,
) -> Result<u64, Failure> {
    let Some(column) = &input.time else {
        return Ok(0);
    };
    let mut wanted = Vec::with_capacity(locations.len());
    for folder in &selection.folders {
        let span = folder.map(|time| selection.range.span(column, time.kind, input.time_bin));
        let span = span.transpose().map_err(refused)?.flatten();
        let outside = span
            .zip(*folder)
            .is_some_and(|(span, time)| !span.holds(time.number));
        wanted.push(!outside);
    }
    let skipped = wanted.iter().filter(|wanted| !**wanted).count();
    if skipped == locations.len() {
        let sentence = format!(
            "no folder of `input.files` lies {}: nothing to ingest",
            selection.range
        );
        return Err(Failure::new(Refusal::BadData, sentence));
    }
    let mut of = wanted.iter();
    locations.retain(|_| *of.next().unwrap_or(&true));
    let mut of = wanted.iter();
    parts.retain(|_| *of.next().unwrap_or(&true));
    let mut of = wanted.iter();
    selection.folders.retain(|_| *of.next().unwrap_or(&true));
    Ok(skipped as u64)
}

pub(super) fn report(data: &DataSet, reused: bool, skipped_files: u64) -> IngestReport {
    IngestReport {
        interactions: data.interactions(),
        users: data.users(),
        products: data.product.grid.rows_total(),
        time_bins: data.time.as_ref().map(|time| time.bins),
        contexts: data.context.as_ref().map(|axis| axis.rows()),
        blocks: Blocks {
            user: data.user.grid.blocks(),
            product: data.product.grid.blocks(),
            time: u32::from(data.time.is_some()),
            context: u32::from(data.context.is_some()),
        },
        input_rows: data.input_rows,
        skipped_files,
        bad_rows: data.bad_rows.clone(),
        attributes: attributes::report(data),
        edges: edges::report(data),
        digest: digest(data).to_string(),
        resumed_from: None,
        reused,
    }
}

/// The hash of every object of the data set, in order: equal for equal bytes.
fn digest(data: &DataSet) -> Digest {
    let dictionaries = data
        .user
        .dictionary
        .iter()
        .chain(&data.product.dictionary)
        .chain(data.context.iter().flat_map(|axis| axis.dictionary()))
        .copied();
    let partitions = data.partitions().map(|partition| partition.object);
    let attributes = data.attributes.values();
    let attributes = attributes.flat_map(|known| known.blocks.iter().copied());
    let edges = data.edges.values().flat_map(ModeEdges::partitions);
    let hashes: Vec<Digest> = dictionaries
        .chain(partitions)
        .chain(attributes)
        .chain(edges.map(|partition| partition.object))
        .map(|object| object.digest)
        .collect();
    let parts: Vec<&[u8]> = hashes.iter().map(|hash| &hash.0[..]).collect();
    key_of(&parts)
}

/// The data set in the depot, for verbs that do not ingest.
///
/// # Errors
/// Where there is none.
pub async fn stored(engine: &Engine<'_>) -> Result<DataSet, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let found = depot.latest_data_set(None).await.map_err(failed)?;
    found.map(|(_, data)| data).ok_or_else(|| {
        let sentence = format!(
            "{} holds no data set: run `coordinator ingest` with this job first",
            depot.url()
        );
        Failure::new(Refusal::Unavailable, sentence)
    })
}

/// The data set in the depot, for verbs that read what the job says is known of users and products.
///
/// # Errors
/// Where there is none, or the job names attributes or edges that were not ingested.
pub async fn described(engine: &Engine<'_>) -> Result<DataSet, Failure> {
    let data = stored(engine).await?;
    let input = &engine.settings.input;
    let attributes = [
        (Mode::User, input.user_attributes.is_some()),
        (Mode::Product, input.product_attributes.is_some()),
    ];
    let edges = [
        (Mode::User, input.user_edges.is_some()),
        (Mode::Product, input.product_edges.is_some()),
    ];
    let attributes = attributes.map(|(mode, named)| {
        let idle = named && !data.attributes.contains_key(&mode);
        (mode, "attributes", idle)
    });
    let edges = edges.map(|(mode, named)| {
        let idle = named && !data.edges.contains_key(&mode);
        (mode, "edges", idle)
    });
    let mut idle = attributes.into_iter().chain(edges);
    match idle.find(|(.., idle)| *idle) {
        None => Ok(data),
        Some((mode, what, _)) => {
            let sentence = format!(
                "[input.{mode}_{what}] names files, and the data set was ingested without {what} of {mode}s: name another \
                 `output.data` and run `coordinator ingest`, or remove the section"
            );
            Err(Failure::new(Refusal::Config, sentence))
        }
    }
}

impl Views {
    /// The last bin that training sees, where the split is by bins.
    pub fn last_bin(&self) -> Option<u32> {
        self.train_spec.bins.as_ref().map(|bins| bins.end - 1)
    }
}

/// The views of the job's split, those that are missing built.
///
/// # Errors
/// Where the data cannot be split so.
pub async fn views(engine: &Engine<'_>, data: &DataSet) -> Result<Views, Failure> {
    let splits = splits(engine, data)?;
    let split = &engine.settings.split;
    let moments = Moments::of(engine.settings, data, &splits)?;
    let train = splits.train;
    let recent = recent_spec(&train, RECENT_BINS).filter(|_| data.time.is_some());
    let wanted = [
        Some(train.clone()),
        Some(splits.validation).filter(|_| split.has_validation()),
        Some(splits.test).filter(|_| split.has_test()),
        recent,
    ];
    let mut found = found_or_built(engine, data, &wanted).await?.into_iter();
    let mut next = || found.next().flatten();
    let partitions = next().ok_or_else(|| unfinished("views"))?;
    Ok(Views {
        train_spec: train,
        train: partitions,
        validation: next(),
        test: next(),
        recent: next(),
        moments,
    })
}

/// The training view with values that fade by half in an eighth of its bins, for own counts of late; none without times.
///
/// # Errors
/// Where it cannot be made.
pub async fn own_of_late(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
) -> Result<Option<Partitions>, Failure> {
    let last_bin = views.last_bin();
    let last_bin = last_bin.or(data.time.as_ref().map(|time| time.bins - 1));
    let Some(last_bin) = last_bin else {
        return Ok(None);
    };
    let decay = Decay {
        half_life: (f64::from(last_bin + 1) / 8.0).max(1.0),
        last_bin,
        keeps_bin: false,
    };
    let spec = ViewSpec {
        decay: Some(decay),
        collapse_time: true,
        collapse_context: true,
        ..views.train_spec.clone()
    };
    Ok(found_or_built(engine, data, &[Some(spec)])
        .await?
        .pop()
        .flatten())
}

/// All interactions of a part, with what updates added to it.
///
/// # Errors
/// Where they cannot be brought together.
pub async fn whole(
    engine: &Engine<'_>,
    data: &DataSet,
    part: SplitPart,
) -> Result<Option<Partitions>, Failure> {
    if data.is_settled(part) {
        let mut parts = data.parts.iter();
        let found = parts.find(|(other, _)| *other == part);
        return Ok(found.map(|(_, partitions)| partitions.clone()));
    }
    let spec = ViewSpec::whole(part);
    Ok(found_or_built(engine, data, &[Some(spec)])
        .await?
        .pop()
        .flatten())
}

/// The training part as tiles, and the super-blocks of a side.
///
/// # Errors
/// Where they cannot be made.
pub async fn tiles(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
) -> Result<(u32, Partitions), Failure> {
    let (users, products) = (data.user.grid.blocks(), data.product.grid.blocks());
    let side = super_blocks::side(users, products, views.train.interactions);
    let spec = ViewSpec {
        tiles: Some(side),
        ..views.train_spec.clone()
    };
    let mut found = found_or_built(engine, data, &[Some(spec)]).await?;
    let tiles = found.pop().flatten().ok_or_else(|| unfinished("tiles"))?;
    Ok((side, tiles))
}

/// The view of a spec.
///
/// # Errors
/// Where it cannot be made.
pub async fn view(
    engine: &Engine<'_>,
    data: &DataSet,
    spec: ViewSpec,
) -> Result<Partitions, Failure> {
    let mut found = found_or_built(engine, data, &[Some(spec)]).await?;
    found.pop().flatten().ok_or_else(|| unfinished("views"))
}

/// What a decaying model trains on: the training part faded from its last bin on, and how weights fade that its values have
/// not. For presets whose value is the weight, values fade, each by its own age before they are combined; for the others
/// the bin of the interaction that decides stands beside the value.
///
/// # Errors
/// Where the data have no times, or the view cannot be made.
pub async fn faded(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    settings: &als::Settings,
) -> Result<(Partitions, Option<Decay>), Failure> {
    let Some(half_life) = settings.half_life else {
        return Ok((views.train.clone(), None));
    };
    let last_bin = views
        .last_bin()
        .or(data.time.as_ref().map(|time| time.bins - 1));
    let last_bin = last_bin.ok_or_else(|| {
        let sentence = "`model.time` is \"decay\", but the data have no time: name the column under [input] `time`";
        Failure::new(Refusal::Config, sentence)
    })?;
    let decay = Decay {
        half_life,
        last_bin,
        keeps_bin: settings.fades_weights(),
    };
    let spec = ViewSpec {
        decay: Some(decay),
        ..views.train_spec.clone()
    };
    let mut found = found_or_built(engine, data, &[Some(spec)]).await?;
    let train = found.pop().flatten().ok_or_else(|| unfinished("views"))?;
    Ok((train, Some(decay).filter(|decay| decay.keeps_bin)))
}

/// The views of some specs, those that are missing built.
async fn found_or_built(
    engine: &Engine<'_>,
    data: &DataSet,
    wanted: &[Option<ViewSpec>],
) -> Result<Vec<Option<Partitions>>, Failure> {
    let mut found: Vec<Option<Partitions>> = Vec::new();
    let mut missing = Vec::new();
    let depot = engine.depot(DepotId::DATA)?;
    for spec in wanted {
        let Some(spec) = spec else {
            found.push(None);
            continue;
        };
        let stored = depot
            .latest_view(data.lineage, spec_hash(spec)?)
            .await
            .map_err(failed)?;
        if stored.is_none() {
            missing.push((found.len(), spec.clone()));
        }
        found.push(stored.map(|(_, view)| view.view.partitions));
    }
    if !missing.is_empty() {
        let specs: Vec<ViewSpec> = missing.iter().map(|(_, spec)| spec.clone()).collect();
        let mut program = BuildViews::new(data.clone(), specs);
        let term = depot.claim_term(None).await.map_err(failed)?;
        engine
            .run(
                &mut program,
                Stage::plain("views", key_of(&[b"views", &data.lineage.0]), term),
            )
            .await?;
        let built = program.into_views().ok_or_else(|| unfinished("views"))?;
        for ((place, spec), view) in missing.into_iter().zip(built) {
            found[place] = Some(view.partitions.clone());
            let body = ViewOf {
                lineage: data.lineage,
                spec_hash: spec_hash(&spec)?,
                view,
            };
            depot.commit(term, Body::View(body)).await.map_err(failed)?;
        }
    }
    Ok(found)
}

/// What the job trains on.
///
/// # Errors
/// Where the data cannot be split so.
pub fn train_spec(engine: &Engine<'_>, data: &DataSet) -> Result<ViewSpec, Failure> {
    Ok(splits(engine, data)?.train)
}

fn splits(engine: &Engine<'_>, data: &DataSet) -> Result<Splits, Failure> {
    let split = &engine.settings.split;
    let collapse = Small {
        time: engine.settings.model.time != ModelTime::Factor,
        context: !engine.settings.model.factors_context,
    };
    let by = match split {
        settings::Split::None => {
            let all = ViewSpec {
                collapse_time: collapse.time,
                collapse_context: collapse.context,
                ..ViewSpec::whole(SplitPart::Train)
            };
            return Ok(Splits {
                train: all.clone(),
                validation: all.clone(),
                test: all,
            });
        }
        settings::Split::Bins { validation, test } => SplitSettings::Bins {
            validation: *validation,
            test: *test,
        },
        settings::Split::Hash {
            validation,
            test,
            seed,
        } => SplitSettings::Hash {
            seed: *seed,
            validation: *validation,
            test: *test,
        },
        settings::Split::Given { .. } => SplitSettings::Given,
    };
    tables::split_specs(&by, data, collapse).map_err(refused)
}

/// The name of a view: the hash of its encoded spec.
fn spec_hash(spec: &ViewSpec) -> Result<Digest, Failure> {
    let bytes =
        postcard::to_stdvec(spec).map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    Ok(Digest(*blake3::hash(&bytes).as_bytes()))
}

pub(super) fn unfinished(what: &str) -> Failure {
    Failure::new(Refusal::Bug, format!("{what} ended without a result"))
}
