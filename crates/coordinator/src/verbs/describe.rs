//! What lies under a URL, and whether it is whole.

use super::edges;
use super::engine::{failed, open_depot};
use super::forget::{Proof, prove};
use crate::failure::Failure;
use crate::job::settings::Location;
use crate::output::report::VerifyReport;
use crate::output::tables::edges_line;
use crate::output::{Console, VerbOutput};
use crate::progress::Unit;
use depot::{Body, Depot, Model};
use plan::Refusal;
use serde_json::{Map, Value, json};
use store::{Cache, IoMode};
use tensor::{Attribute, AttributeKind, ByteSize, ContextAxis, DataSet};

/// Opens a place that must be there already: looking makes nothing.
pub(super) fn open(at: &Location) -> Result<Depot, Failure> {
    if at.as_path().is_some_and(|path| !path.is_dir()) {
        return Err(Failure::new(
            Refusal::Unavailable,
            format!("there is no directory {at}"),
        ));
    }
    open_depot(at)
}

/// Tells what a data set or a model is.
///
/// # Errors
/// Where there is neither.
pub async fn inspect(at: &Location) -> Result<VerbOutput, Failure> {
    let (fields, lines) = look(at).await?;
    Ok(VerbOutput::Described { fields, lines })
}

/// The same, for programs and for people.
///
/// # Errors
/// Where there is neither.
pub async fn look(at: &Location) -> Result<(Map<String, Value>, Vec<String>), Failure> {
    let depot = open(at)?;
    let (mut fields, mut lines) = (Map::new(), Vec::new());
    if let Some((number, data)) = depot.latest_data_set(None).await.map_err(failed)? {
        describe_data(number, &data, &mut fields, &mut lines);
    }
    if let Some((number, model)) = depot.latest_model(None).await.map_err(failed)? {
        describe_model(number, &model, &mut fields, &mut lines);
    }
    let (mut views, mut checkpoints) = (0, 0);
    for (_, body) in depot.standing().await.map_err(failed)? {
        match body {
            Body::View(_) => views += 1,
            Body::Checkpoint(_) => checkpoints += 1,
            _ => {}
        }
    }
    if fields.is_empty() && checkpoints == 0 {
        return Err(Failure::new(
            Refusal::Unavailable,
            format!("{at} holds neither a data set nor a model"),
        ));
    }
    fields.insert("views".to_owned(), json!(views));
    fields.insert("checkpoints".to_owned(), json!(checkpoints));
    lines.push(format!("views {views}, checkpoints {checkpoints}"));
    Ok((fields, lines))
}

fn describe_data(
    number: u64,
    data: &DataSet,
    fields: &mut Map<String, Value>,
    lines: &mut Vec<String>,
) {
    let interactions = data.interactions();
    let partitions = data.partitions();
    let bytes: u64 = partitions.map(|partition| partition.object.bytes).sum();
    let (users, products) = (data.users(), data.product.grid.rows_total());
    lines.push(format!(
        "data set (manifest {number}), lineage {}",
        data.lineage
    ));
    lines.push(format!(
        "{interactions} interactions of {users} {} and {products} {}, {} in partitions",
        data.user.column,
        data.product.column,
        ByteSize(bytes)
    ));
    if data.first.is_some() {
        lines.push(format!(
            "updated since its first ingest; {} updates stand beside its partitions",
            data.deltas.len()
        ));
    }
    if let Some(forgotten) = data.forgotten {
        lines.push(format!("{} users were forgotten", forgotten.users));
    }
    if let Some(time) = &data.time {
        let partial = if time.last_is_partial {
            ", the last one partial"
        } else {
            ""
        };
        lines.push(format!(
            "{} bins of {} ({:?}){partial}",
            time.bins, time.column, time.bin
        ));
    }
    match data.context.as_deref() {
        Some(ContextAxis::Ids(axis)) => lines.push(format!(
            "{} contexts by {}",
            axis.grid.rows_total(),
            axis.column
        )),
        Some(ContextAxis::Cycle { column, cycle }) => lines.push(format!(
            "{} contexts by {column} ({cycle:?})",
            cycle.places()
        )),
        None => {}
    }
    for (mode, known) in &data.attributes {
        lines.push(format!(
            "{} attributes in {} columns of {} of the {mode}s; {} ids of their tables have no interaction",
            known.attributes.len(),
            known.columns(),
            known.described,
            known.unknown
        ));
        for attribute in &known.attributes {
            lines.push(format!("  {}: {}", attribute.name, kind_of(attribute)));
        }
    }
    let edges = edges::report(data);
    lines.extend(edges.iter().map(|(mode, edges)| edges_line(mode, edges)));
    fields.insert(
        "data_set".to_owned(),
        json!({
            "manifest": number,
            "lineage": data.lineage.to_string(),
            "interactions": interactions,
            "users": users,
            "users_forgotten": data.forgotten.map_or(0, |forgotten| forgotten.users),
            "products": products,
            "time_bins": data.time.as_ref().map(|time| time.bins),
            "contexts": data.context.as_ref().map(|axis| axis.rows()),
            "blocks": {"user": data.user.grid.blocks(), "product": data.product.grid.blocks()},
            "partition_bytes": bytes,
            "input_rows": data.input_rows,
            "bad_rows": data.bad_rows,
            "attributes": data.attributes,
            "edges": edges,
        }),
    );
}

fn kind_of(attribute: &Attribute) -> String {
    match &attribute.kind {
        AttributeKind::Number { mean, deviation } => {
            format!("a number, mean {mean:.4}, deviation {deviation:.4}")
        }
        AttributeKind::Levels { levels, others } => {
            let rest = if *others {
                " and one of all rarer ones"
            } else {
                ""
            };
            format!("{} levels{rest}", levels.len())
        }
    }
}

fn describe_model(
    number: u64,
    model: &Model,
    fields: &mut Map<String, Value>,
    lines: &mut Vec<String>,
) {
    lines.push(format!(
        "model (manifest {number}) of kind {}, factors {}",
        model.kind, model.factors
    ));
    for table in &model.tables {
        let what = match table.name.strip_prefix(table.mode.name()) {
            Some("") => format!("{} factors", table.name),
            Some("_mean") => format!("mean of the {} factors", table.mode),
            Some("_terms") => format!("linear terms of {}s' attributes", table.mode),
            _ => format!("maps to {}s' attributes", table.mode),
        };
        lines.push(format!(
            "{what}: {} rows of rank {}",
            table.grid.rows_total(),
            table.rank
        ));
    }
    let settings: Value = serde_json::from_slice(&model.settings.bytes).unwrap_or(Value::Null);
    let tables: Vec<Value> = model
        .tables
        .iter()
        .map(|table| json!({"name": table.name, "rows": table.grid.rows_total(), "rank": table.rank}))
        .collect();
    fields.insert(
        "model".to_owned(),
        json!({
            "manifest": number,
            "kind": model.kind,
            "digest": model.factors.to_string(),
            "run": model.run.to_string(),
            "lineage": model.lineage.to_string(),
            "settings": settings,
            "tables": tables,
        }),
    );
}

/// Hashes every object again.
///
/// # Errors
/// Where one is missing or damaged, by name.
pub async fn verify(at: &Location, console: &Console) -> Result<VerbOutput, Failure> {
    let depot = open(at)?;
    console.observer().begin("verify", Unit::Objects, None);
    let report = depot.verify().await.map_err(failed)?;
    console.observer().end(&format!("{} objects", report.sound));
    if report.manifests == 0 {
        return Err(Failure::new(
            Refusal::Unavailable,
            format!("{at} holds neither a data set nor a model"),
        ));
    }
    if report.is_sound() {
        let proof = proof_of(&depot).await?;
        let whole = VerifyReport {
            manifests: report.manifests,
            objects: report.sound,
            bytes: report.sound_bytes,
            users_forgotten: proof.map(|proof| proof.users),
            objects_without_them: proof.map(|proof| proof.objects),
        };
        return Ok(VerbOutput::Verify(whole));
    }
    let mut faults: Vec<String> = Vec::new();
    faults.extend(
        report
            .missing
            .iter()
            .map(|(object, by)| format!("object {} (manifest {by}) is missing", object.digest)),
    );
    faults.extend(
        report
            .damaged
            .iter()
            .map(|(object, by)| format!("object {} (manifest {by}) is damaged", object.digest)),
    );
    faults.extend(
        report
            .damaged_manifests
            .iter()
            .map(|(number, why)| format!("manifest {number} is damaged: {why}")),
    );
    faults.extend(report.lingering.iter().map(|object| {
        let digest = object.digest;
        format!("object {digest} is of users who were forgotten, and still there: run `coordinator forget` with the job and them again")
    }));
    let more = if faults.len() > 3 {
        format!(" and {} more", faults.len() - 3)
    } else {
        String::new()
    };
    faults.truncate(3);
    let sentence = format!(
        "{at} is not whole: {}{more}: restore it from a copy, or make it again",
        faults.join("; ")
    );
    Err(Failure::new(Refusal::BadData, sentence))
}

/// Whether nothing that stands at a place is of users who were forgotten there.
async fn proof_of(depot: &Depot) -> Result<Option<Proof>, Failure> {
    let scratch = tempfile::Builder::new().prefix("strata-").tempdir();
    let scratch =
        scratch.map_err(|error| Failure::io("a temporary directory cannot be made", &error))?;
    let cache = Cache::open_unsynced(scratch.path(), u64::MAX, IoMode::Pread);
    let cache = cache.map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
    prove(depot, &cache).await
}
