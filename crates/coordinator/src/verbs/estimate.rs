//! What a job would take, before anything runs.

use super::data;
use super::engine::Engine;
use crate::failure::Failure;
use crate::job::settings::{ModelTime, Workers};
use crate::output::VerbOutput;
use plan::Refusal;
use plan::estimate::{Estimate, Workload};
use serde_json::json;
use tensor::ByteSize;

/// Rows behind one user and one product where nothing was counted yet: those of a grocer's year.
const ROWS_PER_USER: u64 = 100;
const ROWS_PER_PRODUCT: u64 = 50;

/// The plan of the job: of the data set where it was ingested, else of the rows in its files.
///
/// # Errors
/// Where the input cannot be read.
pub async fn estimate(engine: &Engine<'_>) -> Result<VerbOutput, Failure> {
    let settings = engine.settings;
    let (workers, threads) = match &settings.run.workers {
        Workers::Embedded(workers) => (u64::from(*workers), u64::from(engine.threads())),
        Workers::Addresses(addresses) => (addresses.len() as u64, u64::from(engine.threads())),
        Workers::Dns { .. } => (1, u64::from(engine.threads())),
    };
    let mut job = Workload {
        users: 0,
        products: 0,
        interactions: 0,
        bins: 0,
        tensor: settings.model.time == ModelTime::Factor,
        values: true,
        rank: u64::from(settings.model.rank),
        epochs: u64::from(settings.model.epochs),
        workers,
        threads,
        memory: ByteSize(engine.worker_memory()),
    };
    let known = match settings.output.data.as_ref().and_then(|at| at.as_path()) {
        Some(path) if !path.is_dir() => None,
        None if settings.output.data.is_none() => None,
        _ => data::stored(engine).await.ok(),
    };
    let mut notes = Vec::new();
    if let Some(data) = known {
        job.users = data.user.grid.rows_total();
        job.products = data.product.grid.rows_total();
        job.interactions = data.parts.iter().map(|(_, part)| part.interactions).sum();
        job.bins = data.time.as_ref().map_or(0, |time| u64::from(time.bins));
    } else {
        let rows = data::survey(engine).await?.0.rows();
        job.interactions = rows;
        job.users = rows.div_ceil(ROWS_PER_USER);
        job.products = rows.div_ceil(ROWS_PER_PRODUCT);
        job.bins = u64::from(settings.input.time.is_some()) * 104;
        notes.push(format!(
                "nothing is ingested yet: one user per {ROWS_PER_USER} rows, one product per {ROWS_PER_PRODUCT} rows and 104 \
                 bins are assumed; after `coordinator ingest` the plan counts"
            ));
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

fn lines(job: &Workload, plan: &Estimate, notes: &[String]) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} users, {} products, {} interactions, rank {}, {} workers of {} threads and {}",
            job.users,
            job.products,
            job.interactions,
            job.rank,
            job.workers,
            job.threads,
            job.memory
        ),
        format!(
            "blocks: {} of users, {} of products",
            plan.user_blocks, plan.product_blocks
        ),
        format!(
            "disk: data set {}, views {}, model {}; in the cache of each worker {}",
            plan.data_disk, plan.views_disk, plan.model_disk, plan.cache_disk_per_worker
        ),
        format!(
            "memory of each worker: at least {}, without cutting or spilling {}",
            plan.memory_smallest, plan.memory_whole
        ),
    ];
    lines.extend(plan.phases.iter().map(|phase| {
        let cut = if phase.in_pieces {
            ", will be cut in pieces"
        } else {
            ""
        };
        format!(
            "  {}: smallest piece {}, whole {}{cut}",
            phase.name, phase.smallest, phase.whole
        )
    }));
    lines.push(format!(
        "traffic between workers: {} an epoch",
        plan.traffic_per_epoch
    ));
    lines.push(format!(
        "time: ingest {:.0} s, an epoch {:.1} s, all {:.0} s",
        plan.ingest_seconds, plan.epoch_seconds, plan.total_seconds
    ));
    lines.extend(
        plan.assumptions
            .iter()
            .chain(notes)
            .map(|line| format!("  {line}")),
    );
    lines
}
