//! Scores users by how likely they are to stop, and says how far that can be trusted.
//!
//! **Invariant:** what is read of a user at a cut, factors included, is of before it: factors are of a model that was trained on the bins
//! before the first cut, into which users are folded for the later ones.

use super::data::{self, Views};
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::initial::Initial;
use super::stored_model::{Algorithm, StoredModel};
use super::train;
use crate::failure::Failure;
use crate::job::settings::{ModelKind, Settings, Split};
use crate::output::churn::{CalibrationReport, ChurnModel, ChurnReport, CutReport, verdict};
use model::churn::ops::{Factors, Ranked};
use model::churn::{Churn, Input, Moments, SCORE_WORDS, Settings as Wish};
use plan::Refusal;
use tables::out::{ChurnRow, ChurnWriter};
use tensor::{Axis, DataSet, Mode, ObjectKey, SealedRef, SplitPart, ViewSpec};

/// Where its models are, below the model's place.
pub const PLACE: &str = "churn";

/// Horizons that regressions are learnt from: two of history, one to see who stays.
const LEARNT_HORIZONS: u32 = 3;

fn io(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Refusal::Io, error.to_string())
}

/// The cuts: a horizon before the end of training, the end of what is not test, the end of all.
fn moments(settings: &Settings, data: &DataSet) -> Result<Moments, Failure> {
    let config = |sentence: String| Err(Failure::new(Refusal::Config, sentence));
    let Some(time) = &data.time else {
        return config(
            "churn needs times, and the data set has none: name the column `time` of [input] and ingest again".to_owned(),
        );
    };
    let Split::Bins { validation, test } = settings.split else {
        return Err(Failure::new(Refusal::Bug, "churn without later bins"));
    };
    let horizon = settings.output.churn.horizon.unwrap_or(test);
    let bins = time.whole_bins();
    let held_out = u64::from(validation) + u64::from(test);
    let least = held_out + u64::from(LEARNT_HORIZONS) * u64::from(horizon);
    if u64::from(bins) < least {
        return config(format!(
            "churn within {horizon} bins is learnt from {LEARNT_HORIZONS} horizons before the {held_out} bins that are held out: that makes \
             {least} bins, and the data have {bins} whole ones; set `output.churn.horizon` lower, or take a narrower `input.time_bin`"
        ));
    }
    let learnt = bins - validation - test - horizon;
    Ok(Moments {
        cuts: [learnt, bins - test, bins],
        horizon,
        bins,
    })
}

/// The job whose factors are read: its own model as a matrix without what else is known.
fn factored(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.output.model = settings.output.model.map(|model| model.join(PLACE));
    settings.model = settings.model.as_matrix();
    settings
}

/// Interactions before a bin, as a matrix is trained on them.
async fn before(engine: &Engine<'_>, data: &DataSet, cut: u32) -> Result<Views, Failure> {
    let train_spec = ViewSpec {
        bins: Some(0..cut),
        collapse_time: true,
        collapse_context: true,
        ..ViewSpec::whole(SplitPart::Train)
    };
    Ok(Views {
        train: data::view(engine, data, train_spec.clone()).await?,
        train_spec,
        validation: None,
        test: None,
        recent: None,
        moments: None,
    })
}

/// The factors of users as of each cut; none where the job does not want them or has a model into which nobody can be folded.
async fn factors(
    engine: &Engine<'_>,
    data: &DataSet,
    moments: &Moments,
) -> Result<(Factors, Vec<Vec<SealedRef>>), Failure> {
    if !engine.settings.output.churn.factors {
        return Ok(Default::default());
    }
    let kind = engine.settings.model.kind;
    if kind != ModelKind::Als {
        engine.console.observer().note(&format!(
            "factors of kind \"{}\" are not read: they know what came after, and only those of \"als\" can be had as of an earlier time",
            kind.name()
        ));
        return Ok(Default::default());
    }
    let settings = factored(engine.settings);
    let engine = engine.for_job(&settings);
    let algorithm = Algorithm::for_data(&settings.model, data);
    let mut found: Vec<StoredModel> = Vec::new();
    for cut in moments.cuts {
        let views = before(&engine, data, cut).await?;
        let initial = match found.first() {
            None => Initial::default(),
            Some(first) => Initial::folding(first, data, &algorithm)?,
        };
        let trained = train::train_from(&engine, data, &views, initial).await?;
        found.push(trained.model);
    }
    let (_, (columns, width)) = found[0].rows_of(Mode::User)?;
    let table = |model: &StoredModel| {
        let mut tables = model.manifest.tables.iter();
        let users = tables.find(|table| table.name == Mode::User.name());
        users.map_or_else(Vec::new, |table| table.blocks.clone())
    };
    Ok((
        Factors { columns, width },
        found.iter().map(table).collect(),
    ))
}

/// Takes the scores that the program delivers.
struct Sink<'a> {
    axis: &'a Axis,
    writer: Option<ChurnWriter>,
    users: u64,
    expected: f64,
}

impl Sink<'_> {
    fn take(&mut self, key: ObjectKey, held: &exec::Held) -> Result<(), String> {
        let ObjectKey::Block { block, .. } = key else {
            return Err(format!("{key} is no block of scores"));
        };
        let bytes = held.whole().map_err(|error| error.to_string())?;
        let words = bytes.chunks_exact(4);
        let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let words: Vec<u32> = words.collect();
        let scored = words.chunks_exact(SCORE_WORDS);
        let scored = self.axis.grid.row_ids(block).zip(scored);
        let rows: Vec<ChurnRow> = scored
            .filter(|(_, of)| of[3] > 0)
            .map(|(row, of)| ChurnRow {
                row,
                score: f32::from_bits(of[0]),
                recency: of[1],
                frequency: of[2],
                interactions: of[3],
                trend: f32::from_bits(of[4]),
            })
            .collect();
        self.users += rows.len() as u64;
        let scores = rows.iter().map(|row| f64::from(row.score));
        self.expected += scores.sum::<f64>();
        match &mut self.writer {
            Some(writer) => writer.write(&rows).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// Writes or tells the scores.
///
/// # Errors
/// Where the data have too few bins, all or none churn, or the file cannot be written; nothing is left of it then.
pub async fn churn(engine: &Engine<'_>, data: &DataSet) -> Result<ChurnReport, Failure> {
    let wish = &engine.settings.output.churn;
    let moments = moments(engine.settings, data)?;
    let (factors, tables) = factors(engine, data, &moments).await?;
    let timed = ViewSpec {
        collapse_context: true,
        ..ViewSpec::whole(SplitPart::Train)
    };
    let partitions = data::view(engine, data, timed).await?.user_major;
    let writer = match &wish.file {
        Some(file) => {
            let ids = ids::of_axis(engine, &data.user).await?;
            Some(ChurnWriter::create(file, ids).map_err(|error| io(&error))?)
        }
        None => None,
    };
    let mut sink = Sink {
        axis: &data.user,
        writer,
        users: 0,
        expected: 0.0,
    };
    let settings = Wish {
        moments,
        sample: wish.sample,
        ridge: wish.regularization,
        replicates: engine.settings.evaluate.replicates,
        seed: wish.seed,
    };
    let input = Input {
        grid: data.user.grid.clone(),
        partitions,
        factors,
        tables,
    };
    let mut program = Churn::new(settings, input);
    let take = |key: ObjectKey, held: exec::Held| {
        sink.take(key, &held)
            .map_err(|sentence| plan::Failure::Refused {
                refusal: Refusal::Io,
                sentence,
            })
    };
    let stage = Stage {
        sink: Some(Box::new(take)),
        ..Stage::plain("churn", key_of(&[b"churn", &data.lineage.0]), 0)
    };
    let settings = factored(engine.settings);
    let with_factors = (factors.columns > 0).then(|| engine.for_job(&settings));
    let engine = with_factors.as_ref().unwrap_or(engine);
    engine.run(&mut program, stage).await?;
    let mut report = report(&program, &moments);
    report.users = sink.users;
    report.expected = sink.expected;
    report.file.clone_from(&wish.file);
    if let Some(writer) = sink.writer {
        writer.finish().map_err(|error| io(&error))?;
    }
    Ok(report)
}

fn report(program: &Churn, moments: &Moments) -> ChurnReport {
    let (told, counts) = (program.told(), program.counts());
    let cut = |place: usize| CutReport {
        bin: moments.cuts[place],
        users: counts[place],
        churned: counts[2 + place],
        sample: told.users[place],
    };
    let model = |of: &Ranked| ChurnModel {
        reads: of.name.clone(),
        auc: of.quality.auc,
        auc_interval: of.intervals[0],
        lift: of.quality.lift,
        lift_interval: of.intervals[1],
        brier: of.quality.brier,
        brier_interval: of.intervals[2],
        gain: of.gain.value,
        gain_interval: of.gain.interval,
    };
    let calibration = told.calibration.iter().map(|of| CalibrationReport {
        users: of.users,
        foretold: of.foretold,
        churned: of.churned,
    });
    let mut report = ChurnReport {
        horizon: moments.horizon,
        learnt: cut(0),
        judged: cut(1),
        models: told.ranked.iter().map(model).collect(),
        scorer: told
            .ranked
            .get(told.chosen as usize)
            .map_or_else(String::new, |of| of.name.clone()),
        weights: told.weights.iter().cloned().collect(),
        calibration: calibration.collect(),
        scored_at_bin: moments.bins,
        ..ChurnReport::default()
    };
    report.verdict = verdict(&report);
    report
}
