//! What training took, kept beside its model: a later report tells of it.
//!
//! **Invariant:** as the learning curve, it holds seconds, so nothing that is hashed names it.

use super::engine::{Engine, failed};
use crate::failure::Failure;
use crate::output::page::Work;
use depot::Depot;
use plan::Refusal;
use tensor::Digest;

fn name(run: Digest) -> String {
    format!("work/{}.json", run.short())
}

/// Writes the phases up to now.
///
/// # Errors
/// Where the place refuses.
pub async fn keep(
    engine: &Engine<'_>,
    depot: &Depot,
    run: Digest,
    resumed_from: Option<u32>,
) -> Result<(), Failure> {
    let work = Work {
        phases: engine.phases(),
        resumed_from,
    };
    let text = serde_json::to_string(&work)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    depot.write_note(&name(run), text).await.map_err(failed)
}

/// The phases of a run that trained, then those of this process that are others. A run of which nothing was kept has none.
///
/// # Errors
/// Where the place does not answer.
pub async fn of(engine: &Engine<'_>, depot: &Depot, run: Digest) -> Result<Work, Failure> {
    let kept = depot.read_note(&name(run)).await.map_err(failed)?;
    let kept = kept.and_then(|text| serde_json::from_str::<Work>(&text).ok());
    let mut work = kept.unwrap_or_default();
    for phase in engine.phases() {
        if !work.phases.iter().any(|known| known.phase == phase.phase) {
            work.phases.push(phase);
        }
    }
    Ok(work)
}
