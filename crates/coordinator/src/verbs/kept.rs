//! What an ingest that was broken off has kept beside its data set, and how it goes on from there.

use super::engine::{CommitFn, Engine, failed, refused};
use super::train::{recorded, resumed};
use crate::driver::Resume;
use crate::failure::Failure;
use depot::manifest::INGEST;
use depot::{Body, Checkpoint, Depot};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::Ingest;
use tensor::Digest;

/// Where the ingest of a run goes on; `None`, with a word for people where there was something: at the files.
///
/// # Errors
/// Where the depot does not answer, or a manifest is damaged.
pub async fn found(
    engine: &Engine<'_>,
    depot: &Depot,
    run: Digest,
) -> Result<Option<Resume>, Failure> {
    let Some(kept) = newest(depot).await? else {
        return Ok(None);
    };
    let note = |line: &str| engine.console.observer().note(line);
    if kept.run != run {
        note(
            "an ingest was broken off here, of files or [input] settings that were others than now: this one begins at the files",
        );
        return Ok(None);
    }
    if !is_whole(depot, &kept).await? {
        note(
            "an ingest was broken off here, but not all that it kept is there: it begins at the files",
        );
        return Ok(None);
    }
    note(&format!(
        "the ingest goes on where it was broken off: {} of its tasks are done",
        kept.epoch
    ));
    Ok(Some(resumed(kept)))
}

/// The last state of the last ingest.
async fn newest(depot: &Depot) -> Result<Option<Checkpoint>, Failure> {
    for (_, body) in depot.standing().await.map_err(failed)? {
        match body {
            Body::Checkpoint(kept) if kept.program == INGEST => return Ok(Some(kept)),
            Body::DataSet(_) => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

/// Whether everything that the state needs is there.
async fn is_whole(depot: &Depot, kept: &Checkpoint) -> Result<bool, Failure> {
    // Of another version of the engine.
    let Ok(put) = Ingest::put_by(&kept.state) else {
        return Ok(false);
    };
    let listed = depot.list().await.map_err(failed)?.into_iter();
    let there: BTreeMap<Digest, u64> = listed
        .map(|listed| (listed.object.digest, listed.object.bytes))
        .collect();
    let mut needed = kept.objects.iter().map(|kept| kept.object).chain(put);
    Ok(needed.all(|object| there.get(&object.digest) == Some(&object.bytes)))
}

/// Removes what was kept, once there is a data set; with it goes what a process that died had put and not named.
///
/// # Errors
/// Where the depot refuses.
pub async fn end(depot: &Depot, term: u64) -> Result<(), Failure> {
    let ended = depot.collect_ended().await.map_err(failed)?;
    if ended.objects > 0 {
        depot.collect(term, i64::MAX).await.map_err(failed)?;
    }
    Ok(())
}

/// Writes the manifest of a state, and removes what only those before it needed.
pub fn committer(depot: Arc<Depot>, term: u64, run: Digest) -> Box<CommitFn> {
    Box::new(move |checkpoint, objects| -> BoxFuture<'static, _> {
        let depot = Arc::clone(&depot);
        Box::pin(async move {
            let body = recorded(run, INGEST, checkpoint, &objects);
            let kept = async {
                depot.commit(term, Body::Checkpoint(body)).await?;
                depot.collect_ended().await
            };
            kept.await.map(drop).map_err(|error| refused(&error))
        })
    })
}
