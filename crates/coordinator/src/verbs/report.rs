//! Gathers what the page of a model shows, and writes it.
//!
//! **Invariant:** whatever is on the page beside what the run took follows from the data, the job and the model. What only training
//! knew is read from the notes beside the model (the learning curve, the phases); all else is computed here, by the programs of
//! other verbs.

use super::curve::Curve;
use super::data::{self, Views};
use super::engine::{Engine, failed};
use super::measure::{self, Wanted};
use super::stored_model::{Algorithm, StoredModel};
use super::{advise, graph, people, phases};
use crate::failure::Failure;
use crate::job::settings::Split;
use crate::output::advice::AdviceReport;
use crate::output::page::{self, Course, Fact, HeldOut, Origin, Page, Span, Subject, Times};
use crate::output::report::{BestReport, PageReport};
use model::als::TimeUse;
use model::evaluate::Evaluation;
use model::facts::Facts;
use plan::Refusal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tables::out::publish_text;
use tensor::time::text_of_day;
use tensor::{ContextAxis, DataSet, DepotId, Mode, TimeAxis, TimeBin};

/// Where the page goes where nobody says.
const FILE: &str = "report.html";
const SECONDS_PER_DAY: i64 = 86_400;

/// What a page shows and others want too.
pub struct Measured {
    /// Facts about the graph.
    facts: Facts,
    /// The figures on the test part, with slices; `None` where nothing is held out.
    pub evaluation: Option<Evaluation>,
}

/// Measures a model as its page shows it: with slices of users and of products.
///
/// # Errors
/// As [`measure::evaluate`].
pub async fn measured(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Measured, Failure> {
    let facts = graph::facts(engine, data).await?;
    let wanted = Wanted {
        slices: advise::slices(&facts),
        ..Wanted::default()
    };
    let evaluation = match &views.test {
        Some(_) => Some(measure::evaluate_priced(engine, (data, views), model, wanted).await?),
        None => None,
    };
    Ok(Measured { facts, evaluation })
}

/// Writes the page of a model.
///
/// # Errors
/// Where the model cannot be read or the file not be written; an earlier file then stays as it was.
pub async fn write(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
    measured: Measured,
) -> Result<PageReport, Failure> {
    let depot = engine.depot(DepotId::MODEL)?;
    let run = model.manifest.run;
    let compared = model.record.stopping.zip(model.record.best);
    let page = Page {
        subject: subject(engine, data, words(&model.record.algorithm)),
        advice: None,
        evaluation: measured.evaluation,
        course: Course {
            epochs: Curve::of(&depot, run).await?,
            best: compared.map(|(stopping, best)| BestReport {
                epoch: best.epoch,
                metric: stopping.metric.to_string(),
                value: best.value,
            }),
        },
        times: times(engine, data, views, model).await?,
        degrees: Some(measured.facts),
        map: people::map(engine, data, model).await?,
        examples: people::examples(engine, data, views, model).await?,
        work: phases::of(engine, &depot, run).await?,
        origin: origin(engine, data, model)?,
    };
    put(&file(engine), &page)
}

/// Writes the page of a comparison of models.
///
/// # Errors
/// As [`write`].
pub fn advised(
    engine: &Engine<'_>,
    data: &DataSet,
    advice: &AdviceReport,
    facts: Facts,
) -> Result<PageReport, Failure> {
    let digests = advice.models.iter().filter_map(|model| {
        let digest = model.digest.as_ref()?;
        Some(fact(&format!("Factors of {}", model.name), digest))
    });
    let settings = advice
        .models
        .iter()
        .filter(|model| !model.settings.is_empty());
    let settings = settings.flat_map(|model| {
        let set = model.settings.iter();
        set.map(|(key, value)| fact(&format!("{}: {key}", model.name), value))
    });
    let page = Page {
        subject: subject(engine, data, ("Each model".to_owned(), String::new())),
        advice: Some(advice.clone()),
        degrees: Some(facts),
        origin: Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verb: "advise".to_owned(),
            digests: of_data(data).into_iter().chain(digests).collect(),
            data: about(data),
            settings: settings.collect(),
        },
        ..Page::default()
    };
    // The page of a model keeps its name.
    put(&file(engine).with_extension("advice.html"), &page)
}

fn file(engine: &Engine<'_>) -> PathBuf {
    let wished = engine.settings.output.report.clone();
    wished.unwrap_or_else(|| PathBuf::from(FILE))
}

/// Replaces the file as a whole.
fn put(file: &Path, page: &Page) -> Result<PageReport, Failure> {
    let text = page::render(page);
    publish_text(file, &text).map_err(Failure::unwritten)?;
    Ok(PageReport {
        file: file.to_owned(),
        bytes: text.len() as u64,
    })
}

fn subject(engine: &Engine<'_>, data: &DataSet, (model, details): (String, String)) -> Subject {
    let bin = data.time.as_ref().map_or("bin", |time| word(time.bin));
    Subject {
        model,
        details,
        users: data.user.grid.rows_total(),
        products: data.product.grid.rows_total(),
        interactions: data.interactions(),
        span: data.time.as_ref().and_then(span),
        held_out: match engine.settings.split {
            Split::Bins { test, .. } if test > 0 => Some(HeldOut::Bins(test, bin.to_owned())),
            Split::Hash { test, .. } if test > 0.0 => Some(HeldOut::Share(test)),
            Split::Given { .. } if engine.settings.split.has_test() => Some(HeldOut::Files),
            _ => None,
        },
    }
}

/// A kind of model as people call it, and its details.
fn words(algorithm: &Algorithm) -> (String, String) {
    let (name, details) = match algorithm {
        Algorithm::Als(settings) => (
            match settings.time {
                TimeUse::Factor => "Tensor factorization",
                TimeUse::Decay => "Matrix factorization with fading weights",
                TimeUse::Ignore => "Matrix factorization",
            },
            format!("alternating least squares, rank {}", settings.rank),
        ),
        Algorithm::Sgd(settings) => (
            match (algorithm.kind(), settings.time) {
                ("line", _) => "LINE",
                (_, true) => "Tensor factorization",
                (_, false) => "Matrix factorization",
            },
            format!("stochastic gradient descent, rank {}", settings.rank),
        ),
        Algorithm::Spectral(settings) => (
            "Spectral embedding",
            format!("singular vectors of the graph, rank {}", settings.rank),
        ),
        Algorithm::Filter(settings) => (
            "The graph filter",
            format!("closed form, rank {}", settings.rank),
        ),
        Algorithm::LightGcn(settings) => (
            "LightGCN",
            format!("{} layers, rank {}", settings.layers, settings.rank),
        ),
        Algorithm::Gcn(settings) => (
            "The graph convolutional network",
            format!("{} layers, rank {}", settings.layers, settings.rank),
        ),
        Algorithm::Popularity(_) => ("Popularity", "among users of one label".to_owned()),
        Algorithm::Ucmf(settings) => ("UCMF", format!("unit embeddings, rank {}", settings.rank)),
    };
    (name.to_owned(), details)
}

fn word(bin: TimeBin) -> &'static str {
    match bin {
        TimeBin::Hour => "hour",
        TimeBin::Day => "day",
        TimeBin::Week => "week",
        TimeBin::Month => "month",
        TimeBin::Quarter => "quarter",
        TimeBin::None => "bin",
    }
}

fn day(seconds: i64) -> String {
    text_of_day(seconds.div_euclid(SECONDS_PER_DAY) as i32)
}

fn span(time: &TimeAxis) -> Option<Span> {
    let last = time.first_bin + i64::from(time.bins) - 1;
    Some(Span {
        first: day(time.bin.start(time.first_bin)?),
        last: day(time.bin.end(last)? - 1),
        bins: time.bins,
        bin: word(time.bin).to_owned(),
    })
}

/// The factors of the bins that were trained on.
async fn times(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Option<Times>, Failure> {
    let mut tables = model.manifest.tables.iter();
    let table = tables.find(|table| table.name == Mode::Time.name());
    let (Some(table), Some(time)) = (table, &data.time) else {
        return Ok(None);
    };
    let depot = engine.depot(DepotId::MODEL)?;
    let Some(&block) = table.blocks.first() else {
        return Ok(None);
    };
    let file = depot.fetch(block, &engine.cache).await.map_err(failed)?;
    let bytes = file
        .section(0..file.len())
        .map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
    let rows: Vec<&[f32]> = bytes
        .typed::<f32>()
        .chunks_exact(table.width as usize)
        .collect();
    let trained = views.train_spec.bins.clone().unwrap_or(0..time.bins);
    let trained = trained.start as usize..(trained.end as usize).min(rows.len());
    let columns = model.record.algorithm.factor_columns(table.rank) as usize;
    let starts = trained.clone().map(|bin| {
        let start = time.bin.start(time.first_bin + bin as i64);
        start.map_or_else(String::new, day)
    });
    let factor = |column: usize| {
        rows[trained.clone()]
            .iter()
            .map(|row| row[column])
            .collect()
    };
    Ok(Some(Times {
        bin: word(time.bin).to_owned(),
        starts: starts.collect(),
        factors: (0..columns).map(factor).collect(),
    }))
}

fn fact(name: &str, value: impl ToString) -> Fact {
    Fact {
        name: name.to_owned(),
        value: value.to_string(),
    }
}

/// Digests of a data set.
fn of_data(data: &DataSet) -> [Fact; 2] {
    [
        fact("Data set", data::report(data, true, 0).digest),
        fact("Lineage of the data", data.lineage),
    ]
}

fn origin(engine: &Engine<'_>, data: &DataSet, model: &StoredModel) -> Result<Origin, Failure> {
    let record = serde_json::to_value(&model.record.algorithm)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    let mut settings = vec![fact("kind", model.record.algorithm.kind())];
    flatten(
        "",
        record.as_object().and_then(|kinds| kinds.values().next()),
        &mut settings,
    );
    let split = match &engine.settings.split {
        // Where files lie is no part of what a model is.
        Split::Given { .. } => Value::from("files of their own"),
        split => serde_json::to_value(split)
            .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?,
    };
    flatten("split", Some(&split), &mut settings);
    Ok(Origin {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        verb: "run".to_owned(),
        digests: [fact("Factors", model.manifest.factors)]
            .into_iter()
            .chain(of_data(data))
            .chain([fact("Run", model.manifest.run)])
            .collect(),
        data: about(data),
        settings,
    })
}

/// Columns, rules, and what was left out.
fn about(data: &DataSet) -> Vec<Fact> {
    let mut facts = vec![
        fact("User", &data.user.column),
        fact("Product", &data.product.column),
    ];
    if let Some(time) = &data.time {
        let partial = if time.last_is_partial {
            "; the last one is partial and left out of splits"
        } else {
            ""
        };
        facts.push(fact(
            "Time",
            format!("{}, by {}{partial}", time.column, word(time.bin)),
        ));
    }
    match data.context.as_deref() {
        Some(ContextAxis::Ids(axis)) => facts.push(fact("Context", &axis.column)),
        Some(ContextAxis::Cycle { column, .. }) => {
            facts.push(fact("Context", format!("place of {column} in its cycle")));
        }
        None => {}
    }
    if let Some(column) = &data.value_column {
        facts.push(fact("Value", column));
    }
    facts.push(fact(
        "Duplicates",
        format!("{:?}", data.duplicates).to_lowercase(),
    ));
    facts.push(fact("Rows read", data.input_rows));
    let bad = data.bad_rows.iter().filter(|(_, rows)| **rows > 0);
    facts.extend(bad.map(|(reason, rows)| fact(&format!("Left out, {reason}"), rows)));
    for (mode, known) in &data.attributes {
        let names: Vec<&str> = known.attributes.iter().map(|of| of.name.as_str()).collect();
        facts.push(fact(&format!("Known of {mode}s"), names.join(", ")));
    }
    facts
}

/// A tree of settings as names with dots; what is not set is left out.
fn flatten(name: &str, value: Option<&Value>, to: &mut Vec<Fact>) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(entries)) => {
            for (key, value) in entries {
                let path = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(&path, Some(value), to);
            }
        }
        Some(Value::String(text)) => to.push(fact(name, text)),
        Some(other) => to.push(fact(name, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat() {
        let mut found = Vec::new();
        let tree = serde_json::json!({"rank": 8, "none": null, "stop": {"metric": "ndcg"}});
        flatten("", Some(&tree), &mut found);
        assert_eq!(found, [fact("rank", 8), fact("stop.metric", "ndcg")]);
    }

    #[test]
    fn a_span_ends_with_the_last_day_of_its_last_bin() {
        let time = TimeAxis {
            column: "day".to_owned(),
            bin: TimeBin::Week,
            first_bin: TimeBin::Week.index(0),
            bins: 2,
            last_is_partial: false,
        };
        let span = span(&time).unwrap();
        assert_eq!(
            (span.first.as_str(), span.last.as_str()),
            ("1969-12-29", "1970-01-11")
        );
    }
}
