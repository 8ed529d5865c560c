//! Holds out users and products as if they were new, and compares what serves them.
//!
//! New products are new users of the data set turned around: rows and columns change places, and so do the tables of a model. So one way does
//! for both.
//!
//! **Invariant:** whatever is trained sees no interaction of a newcomer, and whatever is folded in sees only those that are shown.

mod convolution;
mod turned;

use super::data::{self, Views};
use super::engine::{Engine, Stage, key_of};
use super::initial::Initial;
use super::stored_model::{Algorithm, StoredModel};
use super::train;
use crate::failure::Failure;
use crate::job::settings::{Model, ModelKind, Settings};
use crate::output::cold::{
    ATTRIBUTES, CONVOLVED, ColdReport, ColdRow, FOLDED, SideReport, verdict,
};
use model::advise::{Family, Row, gaps};
use model::cold::{Chosen, Draw, DrawOp};
use model::evaluate::{self, Evaluate, Evaluation, RankingTask};
use model::metrics::Measure;
use plan::Refusal;
use std::collections::BTreeMap;
use tensor::newcomers::Kept;
use tensor::{AttributeKind, DataSet, Mode, Partitions, SplitPart, ViewSpec};
use turned::{turned_data, turned_model, turned_partitions};

/// Where its models are, below the model's place.
pub const PLACE: &str = "cold";
/// The fewest newcomers of whom anything is said.
const NEWCOMERS_MIN: u64 = 20;
/// Rows are drawn as if so many times as many were held out at most: not all have enough interactions.
const DRAWN: f64 = 8.0;
/// What holds factors to attributes where the job does not say.
const ATTRIBUTE_WEIGHT: f64 = 30.0;
/// What holds the maps to attributes then.
const ATTRIBUTE_REGULARIZATION: f64 = 0.1;
/// The level of intervals.
const LEVEL: f64 = 0.95;
/// Attributes with levels that are tried by themselves.
const LABELS_MAX: usize = 8;

/// Compares.
///
/// # Errors
/// Where too few rows have enough interactions, or a model cannot be trained.
pub async fn cold(engine: &Engine<'_>) -> Result<ColdReport, Failure> {
    let data = data::ingest(engine).await?.data;
    let mut settings = engine.settings.clone();
    settings.output.model = settings.output.model.map(|model| model.join(PLACE));
    let engine = engine.for_job(&settings);
    let wish = &engine.settings.cold;
    let mut report = ColdReport {
        metric: Measure::Recall.at(wish.k),
        ..ColdReport::default()
    };
    if wish.users > 0.0 {
        report.users = Some(Box::pin(side(&engine, &data, Mode::User)).await?);
    }
    if wish.products > 0.0 {
        report.products = Some(Box::pin(side(&engine, &data, Mode::Product)).await?);
    }
    Ok(report)
}

/// A mode whose rows are held out.
struct Side<'a> {
    engine: &'a Engine<'a>,
    data: &'a DataSet,
    mode: Mode,
    /// The training part, as a matrix.
    base: ViewSpec,
    chosen: Chosen,
}

/// What was measured of a way to serve newcomers.
struct Measured {
    name: String,
    history: Option<u32>,
    evaluation: Evaluation,
}

async fn side(engine: &Engine<'_>, data: &DataSet, mode: Mode) -> Result<SideReport, Failure> {
    let wish = &engine.settings.cold;
    let base = ViewSpec {
        collapse_time: true,
        collapse_context: true,
        ..data::train_spec(engine, data)?
    };
    let chosen = draw(engine, data, mode, &base).await?;
    let count = chosen.count();
    let what = format!("{count} new {mode}s are held out");
    engine.console.observer().note(&what);
    let side = Side {
        engine,
        data,
        mode,
        base,
        chosen,
    };
    let views = side.views(0, Kept::Before).await?;
    let mut measured = Vec::new();
    for label in side.labels() {
        let name = if mode == Mode::User {
            format!("popularity within {label}")
        } else {
            format!("purchases of its {label}")
        };
        let model = side.within(&label, &views).await?;
        measured.push(side.measure(name, None, &model).await?);
    }
    if data.attributes.contains_key(&mode) {
        let settings = side.with_attributes();
        let model = side.trained(&settings, &views).await?;
        let name = ATTRIBUTES.to_owned();
        measured.push(side.measure(name, Some(0), &model).await?);
    }
    for (history, model) in side.convolved(&views).await? {
        let name = CONVOLVED.to_owned();
        measured.push(side.measure(name, Some(history), &model).await?);
    }
    let model = side.trained(&plain(engine.settings), &views).await?;
    for &history in wish.history.iter().filter(|history| **history > 0) {
        let folded = side.folded(&model, history).await?;
        let name = FOLDED.to_owned();
        measured.push(side.measure(name, Some(history), &folded).await?);
    }
    side.report(&measured)
}

/// The newcomers.
async fn draw(
    engine: &Engine<'_>,
    data: &DataSet,
    mode: Mode,
    base: &ViewSpec,
) -> Result<Chosen, Failure> {
    let wish = &engine.settings.cold;
    let timed = ViewSpec {
        collapse_time: false,
        ..base.clone()
    };
    let partitions = data::view(engine, data, timed).await?;
    let (grid, partitions, share) = if mode == Mode::User {
        (&data.user.grid, partitions.user_major, wish.users)
    } else {
        (&data.product.grid, partitions.product_major, wish.products)
    };
    let most = DRAWN * wish.most as f64 / grid.rows_total().max(1) as f64;
    let shown = wish.history.last().copied().unwrap_or(0);
    let op = DrawOp {
        mode,
        stride_log2: grid.stride_log2,
        below: (share.min(most) * 2.0_f64.powi(64)) as u64,
        shown,
        seed: wish.seed,
    };
    let mut program = Draw::new(op, partitions, wish.most);
    let run = key_of(&[b"newcomers", &data.lineage.0]);
    let stage = Stage::plain("newcomers", run, 0);
    engine.run(&mut program, stage).await?;
    let chosen = program.into_chosen();
    if chosen.count() < NEWCOMERS_MIN {
        let sentence = format!(
            "only {} {mode}s can be held out as new: of {share} of them, those with more than {shown}; at least {NEWCOMERS_MIN} are needed: set \
             `cold.{mode}s` higher or `cold.history` lower, or leave {mode}s out with `cold.{mode}s` = 0",
            chosen.count()
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    Ok(chosen)
}

/// The job's model as a matrix of its own, without what else is known.
fn plain(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.model = Model {
        kind: ModelKind::Als,
        biases: false,
        ..settings.model.as_matrix()
    };
    settings
}

impl Side<'_> {
    fn spec(&self, shown: u32, kept: Kept) -> ViewSpec {
        let seed = self.engine.settings.cold.seed;
        ViewSpec {
            newcomers: Some(self.chosen.shown(self.mode, seed, shown, kept)),
            ..self.base.clone()
        }
    }

    async fn partitions(&self, shown: u32, kept: Kept) -> Result<Partitions, Failure> {
        data::view(self.engine, self.data, self.spec(shown, kept)).await
    }

    async fn views(&self, shown: u32, kept: Kept) -> Result<Views, Failure> {
        Ok(Views {
            train_spec: self.spec(shown, kept),
            train: self.partitions(shown, kept).await?,
            validation: None,
            test: None,
            recent: None,
            moments: None,
        })
    }

    fn most(&self) -> u32 {
        let history = &self.engine.settings.cold.history;
        history.last().copied().unwrap_or(0)
    }

    /// Attributes of newcomers that have levels.
    fn labels(&self) -> Vec<String> {
        let known = self.data.attributes.get(&self.mode).into_iter();
        let known = known.flat_map(|known| &known.attributes);
        let levels = known.filter(|attribute| match &attribute.kind {
            AttributeKind::Levels { levels, .. } => levels.len() > 1,
            AttributeKind::Number { .. } => false,
        });
        let names = levels.map(|attribute| attribute.name.clone());
        names.take(LABELS_MAX).collect()
    }

    async fn trained(&self, settings: &Settings, views: &Views) -> Result<StoredModel, Failure> {
        let engine = self.engine.for_job(settings);
        let initial = Initial::default();
        Ok(train::train_from(&engine, self.data, views, initial)
            .await?
            .model)
    }

    fn with_attributes(&self) -> Settings {
        let mut settings = plain(self.engine.settings);
        let job = &self.engine.settings.model;
        let (said, weight) = if self.mode == Mode::User {
            let weight = &mut settings.model.user_attribute_weight;
            (job.user_attribute_weight, weight)
        } else {
            let weight = &mut settings.model.product_attribute_weight;
            (job.product_attribute_weight, weight)
        };
        *weight = said;
        if said == 0.0 {
            *weight = ATTRIBUTE_WEIGHT;
            settings.model.attribute_regularization = ATTRIBUTE_REGULARIZATION;
        }
        settings
    }

    /// Popularity among those of one level; of products, what a user bought of the level.
    async fn within(&self, label: &str, views: &Views) -> Result<StoredModel, Failure> {
        let mut settings = plain(self.engine.settings);
        settings.model.kind = ModelKind::Popularity;
        settings.model.labels = BTreeMap::from([(Mode::User, label.to_owned())]);
        self.turned(&settings, views, Initial::default()).await
    }

    /// Newcomers solved from the first that is known of each.
    async fn folded(&self, model: &StoredModel, history: u32) -> Result<StoredModel, Failure> {
        let settings = plain(self.engine.settings);
        let views = self.views(history, Kept::First).await?;
        let algorithm = Algorithm::for_data(&settings.model, self.data);
        let initial = if self.mode == Mode::User {
            Initial::folding(model, self.data, &algorithm)?
        } else {
            let model = turned_model(model)?;
            Initial::folding(&model, &turned_data(self.data), &algorithm)?
        };
        self.turned(&settings, &views, initial).await
    }

    /// Trains with newcomers as users: the data set is turned around where they are products, and the model back again.
    async fn turned(
        &self,
        settings: &Settings,
        views: &Views,
        initial: Initial,
    ) -> Result<StoredModel, Failure> {
        let engine = self.engine.for_job(settings);
        if self.mode == Mode::User {
            return Ok(train::train_from(&engine, self.data, views, initial)
                .await?
                .model);
        }
        let views = Views {
            train_spec: views.train_spec.clone(),
            train: turned_partitions(&views.train),
            validation: None,
            test: None,
            recent: None,
            moments: None,
        };
        let data = turned_data(self.data);
        let trained = train::train_from(&engine, &data, &views, initial).await?;
        turned_model(&trained.model)
    }

    /// Lists of new users of all products, or of everybody of new products alone, judged by what stays hidden however much is shown.
    async fn measure(
        &self,
        name: String,
        history: Option<u32>,
        model: &StoredModel,
    ) -> Result<Measured, Failure> {
        let wish = &self.engine.settings.cold;
        let known = if self.mode == Mode::User {
            Kept::Before
        } else {
            Kept::First
        };
        let input = evaluate::Input {
            user: self.data.user.clone(),
            product: self.data.product.clone(),
            factors: model.factors(None)?,
            train: self.partitions(self.most(), known).await?,
            validation: None,
            test: Some(self.partitions(self.most(), Kept::Later).await?),
            recent: None,
            faded: None,
            part: SplitPart::Test,
            own: evaluate::OwnWeight::Interactions,
        };
        let settings = evaluate::Settings {
            ks: vec![wish.k],
            tasks: vec![RankingTask::NewProducts],
            replicates: self.engine.settings.evaluate.replicates,
            level: LEVEL,
            seed: self.engine.settings.model.seed,
            kept: Some((Measure::Recall, wish.k)),
            anyone: true,
            ..evaluate::Settings::default()
        };
        let mut program = Evaluate::new(settings, input)
            .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
        let run = key_of(&[b"cold", &model.manifest.run.0]);
        let stage = Stage {
            stored: model.objects(),
            ..Stage::plain("evaluate", run, 0)
        };
        self.engine.run(&mut program, stage).await?;
        let evaluation = program.found().cloned();
        let evaluation = evaluation
            .ok_or_else(|| Failure::new(Refusal::Bug, "the evaluation ended without a result"))?;
        Ok(Measured {
            name,
            history,
            evaluation,
        })
    }

    fn report(&self, measured: &[Measured]) -> Result<SideReport, Failure> {
        let wish = &self.engine.settings.cold;
        let metric = Measure::Recall.at(wish.k);
        let task = RankingTask::NewProducts.name();
        let missing = || {
            let sentence = "nothing was compared: give `cold.history` a number above 0, or the data attributes";
            Failure::new(Refusal::Config, sentence)
        };
        let first = &measured.first().ok_or_else(missing)?.evaluation;
        // New products have as many buyers as are shown: by popularity their order is that of chance.
        let baseline = if self.mode == Mode::User {
            "popularity"
        } else {
            "chance"
        };
        let ranked = std::iter::once((baseline, None, "popularity", first)).chain(
            measured
                .iter()
                .map(|of| (of.name.as_str(), of.history, "model", &of.evaluation)),
        );
        let (mut rows, mut compared) = (Vec::new(), Vec::new());
        for (name, history, ranker, evaluation) in ranked {
            let of = |all: &BTreeMap<String, f64>| {
                let figures = [Measure::Recall, Measure::Ndcg].map(|measure| measure.at(wish.k));
                let figures = figures.into_iter();
                figures
                    .filter_map(|name| all.get(&name).map(|&value| (name, value)))
                    .collect::<BTreeMap<_, _>>()
            };
            let figures = evaluation.tasks.get(task).and_then(|of| of.get(ranker));
            let figures = figures.map(of).unwrap_or_default();
            let intervals = evaluation.intervals.get(task).and_then(|of| of.get(ranker));
            let mut intervals = intervals.cloned().unwrap_or_default();
            intervals.retain(|name, _| figures.contains_key(name));
            let samples = evaluation.samples.get(task).and_then(|of| of.get(ranker));
            compared.push(Row {
                name: name.to_owned(),
                family: Family::Matrix,
                value: figures.get(&metric).copied().unwrap_or_default(),
                samples: samples.cloned().unwrap_or_default(),
            });
            rows.push(ColdRow {
                name: name.to_owned(),
                history,
                figures,
                intervals,
                gap: None,
            });
        }
        // New users are set beside popularity, new products beside the best that needs no model of them.
        let value = |place: usize| compared[place].value;
        let users = self.mode == Mode::User;
        let simple = (0..rows.len()).filter(|&place| rows[place].history.is_none());
        let simple = simple.take(if users { 1 } else { rows.len() });
        let against = simple.reduce(|best, next| {
            if value(next) > value(best) {
                next
            } else {
                best
            }
        });
        let against = against.unwrap_or(0);
        for (row, gap) in rows.iter_mut().zip(gaps(&compared, against, LEVEL)) {
            row.gap = Some(gap);
        }
        let counted = first.users.get(task).copied().unwrap_or_default();
        let mut report = SideReport {
            newcomers: self.chosen.count(),
            users: counted.counted,
            candidates: if self.mode == Mode::User {
                self.data.product.grid.rows_total()
            } else {
                self.chosen.count()
            },
            against: rows[against].name.clone(),
            rows,
            verdict: String::new(),
        };
        report.verdict = verdict(&report, &metric, &format!("{}s", self.mode));
        Ok(report)
    }
}
