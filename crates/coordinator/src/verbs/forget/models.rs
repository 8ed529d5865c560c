//! Models without users: the newest of each job keeps its place with their rows zero, all older ones and every checkpoint go.

use super::data_set::{io, sealed};
use crate::failure::Failure;
use crate::verbs::engine::{Engine, failed, key_of};
use crate::verbs::stored_model::{Record, StoredModel, digest_of};
use depot::{Body, Collected, Model, ModelTable, Withdrawal};
use std::collections::BTreeSet;
use tensor::{DataSet, DepotId, Digest, Mode};

/// What became of the models at a place.
#[derive(Default)]
pub(super) struct Cleared {
    /// Models that were cleared of the users.
    pub kept: u64,
    /// Models that went.
    pub dropped: u64,
    /// Objects that were collected.
    pub collected: Collected,
}

/// Clears the models of a data set, whichever version of it they are of. Those of other data stay as they are.
pub(super) async fn clear(
    engine: &Engine<'_>,
    data: &DataSet,
    rows: &[u32],
) -> Result<Cleared, Failure> {
    let versions = engine.depot(DepotId::DATA)?;
    let lineages = versions.lineages_of(data.origin()).await.map_err(failed)?;
    let depot = engine.depot(DepotId::MODEL)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    let (mut newest, mut of_others) = (Vec::new(), BTreeSet::new());
    let (mut manifests, mut checkpoints) = (BTreeSet::new(), Vec::new());
    let (mut jobs, mut cleared) = (BTreeSet::new(), Cleared::default());
    for (number, body) in depot.standing().await.map_err(failed)? {
        match body {
            Body::Model(model) if !lineages.contains(&model.lineage) => {
                of_others.insert(model.run);
            }
            Body::Model(model) if jobs.insert(job_of(&model)?) => newest.push((number, model)),
            Body::Model(_) => {
                manifests.insert(number);
                cleared.dropped += 1;
            }
            Body::Checkpoint(checkpoint) => checkpoints.push((number, checkpoint.run)),
            _ => {}
        }
    }
    // Whose run is not known to be of other data may hold these users.
    let ours = checkpoints
        .iter()
        .filter(|(_, run)| !of_others.contains(run));
    manifests.extend(ours.map(|(number, _)| *number));
    let mut now = BTreeSet::new();
    // The oldest first: the newest stays the newest.
    for (number, model) in newest.into_iter().rev() {
        match without(engine, data, &model, rows).await? {
            None => {
                now.insert(number);
            }
            Some(model) => {
                let body = Body::Model(model);
                now.insert(depot.commit(term, body).await.map_err(failed)?);
                manifests.insert(number);
                cleared.kept += 1;
            }
        }
    }
    if !manifests.is_empty() {
        let withdrawal = Withdrawal {
            manifests: manifests.into_iter().collect(),
            rows: rows.to_vec(),
            cleared: now.into_iter().collect(),
        };
        let body = Body::Withdrawal(withdrawal);
        depot.commit(term, body).await.map_err(failed)?;
    }
    cleared.collected = depot.collect(term, i64::MAX).await.map_err(failed)?;
    Ok(cleared)
}

/// What tells the models of one job from those of another: the algorithm and the shape of its split.
fn job_of(model: &Model) -> Result<Vec<u8>, Failure> {
    let StoredModel { record, .. } = StoredModel::of(model.clone())?;
    let mut train = record.train;
    // It moves with every update.
    train.bins = train.bins.map(|_| 0..0);
    let plain = Record::new(
        record.algorithm,
        train,
        record.forecast,
        record.stopping,
        Default::default(),
    );
    plain.encode()
}

/// A model with the rows of users zero; `None` where it is so already.
async fn without(
    engine: &Engine<'_>,
    data: &DataSet,
    model: &Model,
    rows: &[u32],
) -> Result<Option<Model>, Failure> {
    let depot = engine.depot(DepotId::MODEL)?;
    let mut tables = model.tables.clone();
    for table in tables.iter_mut().filter(|table| of_users(table)) {
        for block in table.grid.block_ids() {
            let used = table.grid.row_ids(block);
            let from = rows.partition_point(|&row| row < used.start);
            let to = rows.partition_point(|&row| row < used.end);
            if from == to {
                continue;
            }
            let object = table.blocks[block.0 as usize];
            let file = depot.fetch(object, &engine.cache).await.map_err(failed)?;
            let mut bytes = file.section(0..file.len()).map_err(io)?.to_vec();
            for row in &rows[from..to] {
                let start = (row - used.start) as usize * table.width as usize * 4;
                bytes[start..start + table.width as usize * 4].fill(0);
            }
            let file = sealed(engine, &bytes).map_err(io)?;
            depot.put(&file).await.map_err(failed)?;
            table.blocks[block.0 as usize] = file.reference();
        }
    }
    let forgotten = data
        .forgotten
        .filter(|forgotten| forgotten.before == model.lineage);
    let lineage = forgotten.map_or(model.lineage, |forgotten| forgotten.after);
    if tables == model.tables && lineage == model.lineage {
        return Ok(None);
    }
    let factors: Digest = digest_of(&depot, &engine.cache, &tables).await?;
    Ok(Some(Model {
        // Training on what is left makes another model.
        run: key_of(&[b"forget", &model.run.0, &data.lineage.0]),
        tables,
        lineage,
        factors,
        ..model.clone()
    }))
}

/// Whether a table has a row a user.
pub(super) fn of_users(table: &ModelTable) -> bool {
    table.mode == Mode::User && table.name == Mode::User.name()
}
