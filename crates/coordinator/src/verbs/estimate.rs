//! What a job would take, before anything runs.

use super::data;
use super::engine::Engine;
use super::stored_model::Algorithm;
use crate::failure::Failure;
use crate::job::settings::{self, ModelTime, Workers};
use crate::output::VerbOutput;
use indicatif::HumanCount;
use model::als::Preset;
use model::graph::Head;
use model::graph::filter::Links;
use model::sgd::Loss;
use plan::Refusal;
use plan::estimate::{Attributes, Estimate, Workload};
use serde_json::json;
use tensor::{ByteSize, DataSet, Mode, ModeEdges, Small};

/// Rows behind one user and one product where nothing was counted yet: those of a grocer's year.
const ROWS_PER_USER: u64 = 100;
const ROWS_PER_PRODUCT: u64 = 50;

/// The plan of the job: of the data set where it was ingested, else of the rows in its files.
///
/// # Errors
/// Where the input cannot be read.
pub async fn estimate(engine: &Engine<'_>) -> Result<VerbOutput, Failure> {
    let settings = engine.settings;
    let (here, threads) = match &settings.run.workers {
        Workers::Embedded(workers) => (u64::from(*workers), u64::from(engine.threads())),
        Workers::Addresses(addresses) => (addresses.len() as u64, u64::from(engine.threads())),
        Workers::Dns { .. } | Workers::File(_) => (1, u64::from(engine.threads())),
    };
    let machines = settings.plan;
    let workers = machines.workers.map_or(here, u64::from);
    let mut job = Workload {
        users: 0,
        products: 0,
        interactions: 0,
        bins: 0,
        tensor: settings.model.time == ModelTime::Factor,
        contexts: 0,
        factors_context: settings.model.factors_context,
        values: true,
        samples: samples(&settings.model),
        products_of: products_of(&settings.model),
        arranges: products_of(&settings.model) > 0,
        edges: 0,
        products_of_edges: products_of_edges(&settings.model),
        kept_tables: kept_tables(&settings.model),
        made_tables: made_tables(&settings.model),
        gram: has_gram(&settings.model),
        nearest: nearest(&settings.model),
        rank: u64::from(settings.model.rank),
        columns_beside: columns_beside(&settings.model),
        user_attributes: Attributes::default(),
        product_attributes: Attributes::default(),
        epochs: u64::from(settings.model.epochs),
        workers,
        threads,
        memory: match machines.workers {
            // Each a process of its own.
            Some(_) => settings.run.memory,
            None => ByteSize(engine.worker_memory()),
        },
        network: machines.network,
        disk: machines.disk,
    };
    let known = match settings.output.data.as_ref().and_then(|at| at.as_path()) {
        Some(path) if !path.is_dir() => None,
        None if settings.output.data.is_none() => None,
        _ => data::stored(engine).await.ok(),
    };
    let mut notes = Vec::new();
    if let Some(data) = known {
        job.users = data.users();
        job.products = data.product.grid.rows_total();
        job.interactions = data.interactions();
        let Small { time, context } = data.small().map(u64::from);
        (job.bins, job.contexts) = (time, context);
        job.user_attributes = known_of(&data, Mode::User);
        job.product_attributes = known_of(&data, Mode::Product);
        let sealed = data.edges.values().flat_map(ModeEdges::partitions);
        job.edges = sealed.map(|partition| partition.interactions).sum();
    } else {
        let input = data::survey(engine).await?;
        let rows = input.survey.rows_read();
        job.interactions = rows;
        job.user_attributes = input.attributes.counted(Mode::User);
        job.product_attributes = input.attributes.counted(Mode::Product);
        job.edges = input.edges.counted();
        job.users = rows.div_ceil(ROWS_PER_USER);
        job.products = rows.div_ceil(ROWS_PER_PRODUCT);
        job.bins = u64::from(settings.input.time.is_some()) * 104;
        job.contexts = match &settings.input.context {
            None => 0,
            Some(settings::Context::Column(_)) => 100,
            Some(settings::Context::Cycle(cycle)) => cycle.places().into(),
        };
        notes.push(format!(
                "nothing is ingested yet: one user per {ROWS_PER_USER} rows, one product per {ROWS_PER_PRODUCT} rows and 104 \
                 bins (and, of a column, 100 contexts) are assumed; after `coordinator ingest` the plan counts"
            ));
    }
    job.user_attributes.used = settings.model.user_attribute_weight > 0.0;
    job.product_attributes.used = settings.model.product_attribute_weight > 0.0;
    for known in [&mut job.user_attributes, &mut job.product_attributes] {
        known.linear = settings.model.linear_attributes && known.attributes > 0;
    }
    let plan = Estimate::of(&job);
    if !plan.fits {
        let sentence = format!(
            "--memory {} does not suffice: the smallest that would do is {}",
            job.memory, plan.memory_smallest
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    let lines = lines(&job, &plan, &notes);
    let mut fields = serde_json::Map::new();
    for (name, value) in [
        ("workload", json!(job)),
        ("estimate", json!(plan)),
        ("notes", json!(notes)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    Ok(VerbOutput::Described { fields, lines })
}

/// What a data set knows besides of the rows of a mode.
fn known_of(data: &DataSet, mode: Mode) -> Attributes {
    let known = data.attributes.get(&mode);
    known.map_or_else(Attributes::default, |known| Attributes {
        table_rows: known.described + known.unknown,
        attributes: known.attributes.len() as u64,
        columns: known.columns(),
        used: false,
        linear: false,
    })
}

/// Columns of the tables beside factors.
fn columns_beside(model: &settings::Model) -> u64 {
    match Algorithm::of(model) {
        Algorithm::Als(settings) => settings.bias_columns().into(),
        Algorithm::Sgd(settings) => u64::from(settings.columns() - settings.rank),
        Algorithm::Spectral(settings) => u64::from(settings.columns() - settings.rank),
        Algorithm::Filter(settings) => {
            let columns = settings.low_pass().columns();
            let columns = columns.max(settings.whole().columns() * u32::from(settings.distill > 0));
            u64::from(columns - settings.rank)
        }
        Algorithm::LightGcn(_) | Algorithm::Gcn(_) => 0,
        Algorithm::Ucmf(settings) => u64::from(settings.columns() - settings.rank),
        Algorithm::Popularity(_) => 1,
    }
}

/// Passes over the interactions in which an epoch of a graph model gathers rows.
fn products_of(model: &settings::Model) -> u64 {
    // Each layer in both directions, forwards and back; and the gradients, of a batch each, with each rival.
    let layered = |batches: u32, layers: u32, head: Head| {
        u64::from(batches) * 4 * u64::from(layers) + 2 * u64::from(head.passes())
    };
    match Algorithm::of(model) {
        Algorithm::Als(_) | Algorithm::Sgd(_) => 0,
        Algorithm::Popularity(_) => 1,
        // And three each way with the filter that is distilled.
        Algorithm::Filter(settings) if settings.distill > 0 => 2 + 6,
        Algorithm::Spectral(_) | Algorithm::Filter(_) => 2,
        Algorithm::LightGcn(settings) => {
            layered(settings.batches(), settings.layers, settings.head())
        }
        Algorithm::Gcn(settings) => layered(settings.batches(), settings.layers, settings.head()),
        Algorithm::Ucmf(settings) => layered(settings.batches(), 0, settings.head()),
    }
}

/// Passes over edges between rows of a mode in which an epoch gathers rows.
fn products_of_edges(model: &settings::Model) -> u64 {
    // Each layer, forwards and back, of a batch each.
    let layered = |batches: u32, layers: u32| u64::from(batches) * 2 * u64::from(layers);
    match Algorithm::of(model) {
        Algorithm::LightGcn(settings) => layered(settings.batches(), settings.layers),
        Algorithm::Gcn(settings) => layered(settings.batches(), settings.layers),
        _ => 0,
    }
}

/// Tables that training keeps beside the factors.
fn kept_tables(model: &settings::Model) -> u64 {
    match Algorithm::of(model) {
        // Parameters, and Adam's two.
        Algorithm::LightGcn(_) | Algorithm::Ucmf(_) => 3,
        // These, of each layer its rows and their sums over neighbours, features where rows are not them, and the mean of layers.
        Algorithm::Gcn(settings) => {
            let mean = u64::from(settings.share().is_some());
            3 + 2 * u64::from(settings.layers) + u64::from(settings.reads_attributes()) + mean
        }
        // The sums of the low-pass part, its factors, what they add, and two steps of the chain of products.
        Algorithm::Filter(settings) if settings.distill > 0 => 5,
        _ => 0,
    }
}

/// Tables that a pass makes: one of each layer, and their mean.
fn made_tables(model: &settings::Model) -> u64 {
    match Algorithm::of(model) {
        Algorithm::LightGcn(settings) => u64::from(settings.layers) + 1,
        _ => 0,
    }
}

/// Whether the Gram of each table is added up over its blocks.
fn has_gram(model: &settings::Model) -> bool {
    matches!(Algorithm::of(model), Algorithm::Als(settings) if settings.preset != Preset::Explicit)
}

/// Of each product, the nearest that are kept.
fn nearest(model: &settings::Model) -> u64 {
    match Algorithm::of(model).filter() {
        Some(Links::Nearest(nearest)) => nearest.count.into(),
        Some(Links::Shared(_)) | None => 0,
    }
}

/// Samples for an interaction; 0 where the model is solved.
fn samples(model: &settings::Model) -> u64 {
    match Algorithm::of(model) {
        Algorithm::Als(_)
        | Algorithm::Spectral(_)
        | Algorithm::Filter(_)
        | Algorithm::LightGcn(_)
        | Algorithm::Gcn(_)
        | Algorithm::Ucmf(_)
        | Algorithm::Popularity(_) => 0,
        Algorithm::Sgd(settings) if settings.loss == Loss::Bpr => settings.negatives().into(),
        Algorithm::Sgd(settings) => 1 + u64::from(settings.negatives()),
    }
}

/// A line a figure: its name, then what it is.
fn lines(job: &Workload, plan: &Estimate, notes: &[String]) -> Vec<String> {
    let count = |number: u64| HumanCount(number).to_string();
    let small = [
        (job.tensor, job.bins, "bins of time"),
        (job.factors_context, job.contexts, "contexts"),
    ];
    let small = small.into_iter().filter(|(factored, ..)| *factored);
    let bins: String = small
        .map(|(_, rows, what)| [" in ", &count(rows), " ", what].concat())
        .collect();
    let mut figures = vec![
        (
            "job",
            format!(
                "{} interactions of {} users and {} products{bins}, rank {}, {} epochs",
                count(job.interactions),
                count(job.users),
                count(job.products),
                job.rank,
                job.epochs
            ),
        ),
        (
            "workers",
            format!(
                "{}, each with {} threads and {}",
                job.workers, job.threads, job.memory
            ),
        ),
        (
            "blocks",
            format!(
                "{} of users, {} of products",
                plan.user_blocks, plan.product_blocks
            ),
        ),
        (
            "disk",
            format!(
                "data set {}, views {}, model {}; in the cache of each worker {}",
                plan.data_disk, plan.views_disk, plan.model_disk, plan.cache_disk_per_worker
            ),
        ),
        (
            "",
            format!(
                "at most {} while ingest goes on, and {} beside the model while training does",
                plan.ingest_disk,
                ByteSize(2 * (plan.model_disk.0 + plan.checkpoint_disk.0))
            ),
        ),
        (
            "memory",
            format!(
                "about {} in ingest and {} in training expected of each worker, {} at most",
                plan.memory_expected.ingest, plan.memory_expected.train, job.memory
            ),
        ),
        (
            "",
            format!(
                "each worker needs at least {}; with {} nothing is cut or spilled",
                plan.memory_smallest, plan.memory_whole
            ),
        ),
    ];
    for phase in &plan.phases {
        let cut = if phase.in_pieces {
            "; will be cut in pieces"
        } else {
            ""
        };
        let needs = format!(
            "{}: smallest piece {}, whole {}{cut}",
            phase.name, phase.smallest, phase.whole
        );
        figures.push(("", needs));
    }
    figures.push((
        "traffic",
        format!("{} an epoch between workers", plan.traffic_per_epoch),
    ));
    figures.push((
        "time",
        format!(
            "about {:.0} s: ingest {:.0} s, an epoch {:.1} s",
            plan.total_seconds, plan.ingest_seconds, plan.epoch_seconds
        ),
    ));
    let assumed = plan.assumptions.iter().chain(notes);
    figures.extend(assumed.enumerate().map(|(place, line)| {
        let name = if place == 0 { "assumed" } else { "" };
        (name, line.clone())
    }));
    figures
        .iter()
        .map(|(name, text)| format!("{name:8} {text}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_line_a_figure() {
        let job = Workload {
            users: 200_000,
            products: 50_000,
            interactions: 20_000_000,
            bins: 52,
            tensor: false,
            contexts: 0,
            factors_context: false,
            values: true,
            samples: 0,
            products_of: 0,
            arranges: false,
            edges: 0,
            products_of_edges: 0,
            kept_tables: 0,
            made_tables: 0,
            gram: true,
            nearest: 0,
            rank: 64,
            columns_beside: 0,
            user_attributes: Attributes::default(),
            product_attributes: Attributes::default(),
            epochs: 10,
            workers: 2,
            threads: 4,
            memory: ByteSize(256 << 20),
            network: ByteSize(1_000_000_000),
            disk: ByteSize(1_000_000_000),
        };
        let plan = Estimate::of(&job);
        assert!(plan.fits, "{}", plan.memory_smallest);
        let lines = lines(&job, &plan, &["a note".to_owned()]);
        let named: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split(' ').next().filter(|name| !name.is_empty()))
            .collect();
        assert_eq!(
            named,
            [
                "job", "workers", "blocks", "disk", "memory", "traffic", "time", "assumed"
            ]
        );
        assert_eq!(
            lines[0],
            "job      20,000,000 interactions of 200,000 users and 50,000 products, rank 64, 10 epochs"
        );
        assert_eq!(lines.last().unwrap(), "         a note");
        assert!(plan.memory_smallest <= plan.memory_whole && plan.traffic_per_epoch.0 > 0);
    }
}
