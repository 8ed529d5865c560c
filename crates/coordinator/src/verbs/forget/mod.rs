//! Forgetting users: their ids, interactions, edges, attributes and rows of factors leave the data set and its models, and so do
//! all versions that held them.
//!
//! A row keeps its place: splits by hash, models and later updates count on it. What was committed when this process dies is
//! found by the next one, which does the rest.

mod data_set;
mod models;
mod proof;
mod reach;

pub use proof::{Proof, prove};

use super::data;
use super::engine::{Engine, failed};
use super::input;
use crate::failure::Failure;
use crate::job::settings::Location;
use crate::output::report::ForgetReport;
use depot::{Body, Collected, Withdrawal};
use plan::Refusal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tables::Wanted;
use tensor::{DataSet, DepotId};

/// Unknown ids that are named at the most.
const NAMED_MAX: usize = 10;

/// Whom to forget.
#[derive(Clone, Copy, Debug)]
pub struct Whom<'a> {
    /// Files of ids.
    pub files: &'a [PathBuf],
    /// Ids as people write them.
    pub ids: &'a [String],
}

/// Forgets users.
///
/// # Errors
/// Where no user is named, an id is of another kind, or none of them is in the data set and nothing is left to be done.
pub async fn forget(engine: &Engine<'_>, whom: Whom<'_>) -> Result<ForgetReport, Failure> {
    let before = data::stored(engine).await?;
    let mut wanted = wanted(engine, &before, whom)?;
    let found = data_set::rows_of(engine, &before, &mut wanted).await?;
    if found.new.is_empty() && before.forgotten.is_none() {
        return Err(nobody(&wanted));
    }
    let unknown = wanted.unknown();
    let mut report = ForgetReport {
        asked: wanted.len() as u64,
        forgotten: found.new.len() as u64,
        unknown: unknown.len() as u64,
        unknown_ids: unknown.into_iter().take(NAMED_MAX).collect(),
        ..ForgetReport::default()
    };
    let mut after = before;
    if !found.new.is_empty() {
        (after, report.partitions) = data_set::without(engine, after, &found).await?;
    }
    let mut rows = found.erased;
    rows.extend(found.new);
    rows.sort_unstable();
    // The models first: their versions are known by those of the data set.
    let mut collected = Collected::default();
    if engine.settings.output.model.is_some() {
        let cleared = models::clear(engine, &after, &rows).await?;
        (report.models, report.models_dropped) = (cleared.kept, cleared.dropped);
        add(&mut collected, cleared.collected);
    }
    let (versions, objects) = withdraw_data(engine, &after, &rows).await?;
    report.versions = versions;
    add(&mut collected, objects);
    engine.clear_caches();
    (report.objects, report.bytes) = (collected.objects, collected.bytes);
    let did = report.forgotten + report.models + report.models_dropped + versions + report.objects;
    if did == 0 {
        return Err(nobody(&wanted));
    }
    if report.forgotten == 0 {
        let note = "none of these users is in the data set; what an earlier `forget` had left undone is done now";
        engine.console.observer().note(note);
    }
    report.users_forgotten = rows.len() as u64;
    report.out_of_reach = reach::beyond(engine, &after).await?;
    report.data = data::report(&after, false, 0);
    Ok(report)
}

fn add(sum: &mut Collected, more: Collected) {
    sum.objects += more.objects;
    sum.bytes += more.bytes;
}

fn wanted(engine: &Engine<'_>, data: &DataSet, whom: Whom<'_>) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::new(&data.user.column, data.user.id_kind);
    for id in whom.ids {
        wanted.add(id, "--user").map_err(data::refused)?;
    }
    for path in whom.files {
        let text = path.display().to_string();
        let file = input::open(engine, &Location::new(&text, Path::new("")))?;
        wanted.read(&text, &*file).map_err(data::refused)?;
    }
    if wanted.is_empty() {
        let files = whom.files.iter().map(|path| path.display().to_string());
        let files: Vec<String> = files.collect();
        let sentence = format!("{} names no user: give a file with ids", files.join(", "));
        return Err(Failure::new(Refusal::BadData, sentence));
    }
    Ok(wanted)
}

fn nobody(wanted: &Wanted) -> Failure {
    let unknown = wanted.unknown();
    let named: Vec<&str> = unknown.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = match unknown.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let sentence = format!(
        "none of the users is in the data set, which never had them or has forgotten them: {}{more}",
        named.join(", ")
    );
    Failure::new(Refusal::BadData, sentence)
}

/// Withdraws all versions of the data set but this one, and the views of the others; collects what only they held.
async fn withdraw_data(
    engine: &Engine<'_>,
    data: &DataSet,
    rows: &[u32],
) -> Result<(u64, Collected), Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    let lineages = depot.lineages_of(data.origin()).await.map_err(failed)?;
    let (mut current, mut versions) = (None, 0);
    let mut manifests = BTreeSet::new();
    for (number, body) in depot.standing().await.map_err(failed)? {
        match body {
            Body::DataSet(other) if other.origin() == data.origin() => {
                if current.is_some() {
                    manifests.insert(number);
                    versions += 1;
                }
                current = current.or(Some(number));
            }
            Body::View(view)
                if view.lineage != data.lineage && lineages.contains(&view.lineage) =>
            {
                manifests.insert(number);
            }
            _ => {}
        }
    }
    if !manifests.is_empty() {
        let withdrawal = Withdrawal {
            manifests: manifests.into_iter().collect(),
            rows: rows.to_vec(),
            cleared: Vec::new(),
        };
        let body = Body::Withdrawal(withdrawal);
        depot.commit(term, body).await.map_err(failed)?;
    }
    // Nothing else is on its way to the depot: who leads has changed.
    let collected = depot.collect(term, i64::MAX).await.map_err(failed)?;
    Ok((versions, collected))
}
